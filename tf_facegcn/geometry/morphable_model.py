"""MorphableModel: faces as a mean plus linear bases of shape and expression."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from tf_facegcn.geometry.triangle_mesh import TriangleMesh

NUM_LANDMARKS = 68

# First entry of a stored model; the number changes with the layout.
_FORMAT = "tf_facegcn.MorphableModel/1"
_BUNDLED = Path(__file__).parents[1] / "assets" / "head.npz"
# The bases are stored as 16-bit integers times a step for each component.
_LARGEST_STEP_COUNT = 32767
# Standard deviation of sampled expression parameters: a half-normal, so that
# most units rest and a few act, clipped to the nominal range [0, 1].
_EXPRESSION_DEVIATION = 0.35


@dataclass(frozen=True, eq=False)
class MorphableModel:
    """A linear model of faces on one mesh topology.

    `vertices = mean + shape_basis @ shape + expression_basis @ expression`.
    Axes: x to the image's right in a frontal view, y up, z towards the viewer.

    Args:
        mean: `(V, 3)` float32, the mean face; the bundled head's unit is mm.
        shape_basis: `(V, 3, S)` float32, displacement by one standard
            deviation of each component: shape parameters are N(0, 1).
        expression_basis: `(V, 3, E)` float32, displacement of each expression
            unit at full strength: parameters are nominally in [0, 1]. With
            `signed_expressions`, by one standard deviation.
        faces: `(F, 3)` int32, counter-clockwise seen from outside.
        landmarks: `(68,)` int32 vertex indices, iBUG order: jaw 0-16, brows
            17-26, nose 27-35, eyes 36-47, mouth 48-67, each from the image's
            left to its right in a frontal view.
        expression_names: `E` names.
        regions: Mapping of a region's name to its vertex indices.
        mirror: `(V,)` int32, for each vertex the one nearest to its mirror
            image; `None` where the model has none.
        name: Short name, for messages and files.
        signed_expressions: Whether expression parameters are N(0, 1), as of
            components that are principal axes, instead of in [0, 1].

    Raises:
        ValueError: If shapes do not fit together or an index is out of range.
    """

    mean: NDArray[np.float32]
    shape_basis: NDArray[np.float32]
    expression_basis: NDArray[np.float32]
    faces: NDArray[np.int32]
    landmarks: NDArray[np.int32]
    expression_names: tuple[str, ...] = ()
    regions: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)
    mirror: NDArray[np.int32] | None = None
    name: str = "unnamed"
    signed_expressions: bool = False

    def __post_init__(self) -> None:
        num_vertices = len(self.mean)
        for key, expected in (
            ("mean", (num_vertices, 3)),
            ("shape_basis", (num_vertices, 3, self.num_shape)),
            ("expression_basis", (num_vertices, 3, self.num_expression)),
            ("faces", (len(self.faces), 3)),
            ("landmarks", (NUM_LANDMARKS,)),
        ):
            shape = np.shape(getattr(self, key))
            if shape != expected:
                raise ValueError(
                    f"Expected {key} of shape {expected}. Received: "
                    f"{key}.shape={shape}"
                )
        indexed = {"faces": self.faces, "landmarks": self.landmarks}
        indexed |= {f"regions[{k!r}]": v for k, v in self.regions.items()}
        if self.mirror is not None:
            indexed["mirror"] = self.mirror
        for key, indices in indexed.items():
            if np.any(indices < 0) or np.any(indices >= num_vertices):
                raise ValueError(
                    f"Expected {key} to index the {num_vertices} vertices. "
                    f"Received: {key} from {np.min(indices)} to "
                    f"{np.max(indices)}"
                )
        if len(self.expression_names) not in (0, self.num_expression):
            raise ValueError(
                "Expected a name for each expression component. Received: "
                f"{len(self.expression_names)} names for "
                f"{self.num_expression} components"
            )
        regions = MappingProxyType(dict(self.regions))
        object.__setattr__(self, "regions", regions)

    def __reduce__(self) -> tuple[type[MorphableModel], tuple[object, ...]]:
        # Python cannot pickle a read-only mapping.
        values = [getattr(self, item.name) for item in fields(self)]
        return type(self), tuple(
            dict(value) if isinstance(value, MappingProxyType) else value
            for value in values
        )

    @property
    def num_vertices(self) -> int:
        """Number of vertices, `V`."""
        return len(self.mean)

    @property
    def num_shape(self) -> int:
        """Number of identity components, `S`."""
        return int(np.shape(self.shape_basis)[-1])

    @property
    def num_expression(self) -> int:
        """Number of expression components, `E`."""
        return int(np.shape(self.expression_basis)[-1])

    @property
    def template(self) -> TriangleMesh:
        """The mean face as a mesh."""
        return TriangleMesh(self.mean.astype(np.float64), self.faces)

    def vertices(
        self, shape_parameters: ArrayLike, expression_parameters: ArrayLike
    ) -> NDArray[np.float64]:
        """Computes the vertices of faces.

        Args:
            shape_parameters: `(..., S)` float.
            expression_parameters: `(..., E)` float.

        Returns:
            `(..., V, 3)` float64 vertices, in the unit of `mean`.

        Raises:
            ValueError: If a last dimension is not the model's.
        """
        shape = np.asarray(shape_parameters, dtype=np.float64)
        expression = np.asarray(expression_parameters, dtype=np.float64)
        received = (shape.shape[-1:], expression.shape[-1:])
        if received != ((self.num_shape,), (self.num_expression,)):
            raise ValueError(
                f"Expected {self.num_shape} shape and {self.num_expression} "
                "expression parameters in the last dimension. Received: "
                f"shapes {shape.shape} and {expression.shape}"
            )
        flat_shape = self.shape_basis.reshape(-1, self.num_shape)
        flat_expression = self.expression_basis.reshape(-1, self.num_expression)
        flat = shape @ flat_shape.T + expression @ flat_expression.T
        return self.mean + flat.reshape(*flat.shape[:-1], self.num_vertices, 3)

    def sample(
        self, generator: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Draws the parameters of a random face.

        Args:
            generator: Source of randomness.

        Returns:
            `(S,)` shape parameters, standard normal, and `(E,)` expression
            parameters in [0, 1], most of them small, or standard normal with
            `signed_expressions`.
        """
        shape = generator.standard_normal(self.num_shape)
        if self.signed_expressions:
            return shape, generator.standard_normal(self.num_expression)
        expression = generator.normal(
            scale=_EXPRESSION_DEVIATION, size=self.num_expression
        )
        return shape, np.clip(expression, 0.0, 1.0)

    def subset(
        self, indices: ArrayLike
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Cuts out some vertices, for fitting to a few points.

        Args:
            indices: `(n,)` vertex indices.

        Returns:
            float64 `(n, 3)` mean, `(n, 3, S)` shape basis and `(n, 3, E)`
            expression basis.
        """
        rows = np.asarray(indices, dtype=np.int64)
        return (
            self.mean[rows].astype(np.float64),
            self.shape_basis[rows].astype(np.float64),
            self.expression_basis[rows].astype(np.float64),
        )

    @classmethod
    def bundled(cls) -> MorphableModel:
        """Loads the head that comes with the package.

        53,215 vertices in millimetres, made from MakeHuman's CC0 data; see
        `assets/head_card.md`.
        """
        return cls.load(_BUNDLED)

    @classmethod
    def load(cls, path: str | Path) -> MorphableModel:
        """Reads a model that `save_control_model` wrote.

        Args:
            path: The `.npz` file.

        Returns:
            The model, its bases expanded from the control mesh.

        Raises:
            OSError: If the file cannot be opened.
            ValueError: If the file is damaged or holds something else.
        """
        with Path(path).open("rb") as stream:
            try:
                with np.load(stream, allow_pickle=False) as file:
                    return _expand(dict(file))
            except (
                *(ValueError, TypeError, KeyError, IndexError),
                *(OSError, EOFError, zipfile.BadZipFile, zlib.error),
            ) as error:
                raise ValueError(
                    "Expected a morphable model of this project; the file is "
                    f"damaged or holds something else ({error}). Received: "
                    f"path={str(path)!r}"
                ) from error


def save_control_model(
    path: str | Path,
    operator: sparse.csr_array,
    control: Mapping[str, NDArray[np.float64]],
    topology: Mapping[str, NDArray[np.int32]],
    labels: Mapping[str, Any],
) -> None:
    """Writes a model as a control mesh and a subdivision operator.

    The bases are linear in a control mesh that has far fewer vertices; they
    are stored there, rounded to 16-bit integers (a relative step of 3e-5 of
    each component's largest displacement). Equal input gives equal bytes.

    Args:
        path: The `.npz` file, replaced as a whole or not at all.
        operator: `(V, C)` CSR, maps control vertices to the mesh's.
        control: `mean` `(C, 3)`, `shape_basis` `(C, 3, S)`,
            `expression_basis` `(C, 3, E)`.
        topology: `faces` `(F, 3)`, `landmarks` `(68,)`, `mirror` `(V,)`.
        labels: `name`, `expression_names`, and `regions`, a mapping.
    """
    operator = sparse.csr_array(operator)
    arrays: dict[str, Any] = {
        "format": np.array(_FORMAT),
        "name": np.array(labels["name"]),
        "expression_names": np.array(labels["expression_names"]),
        "operator_data": operator.data.astype(np.float32),
        "operator_columns": operator.indices.astype(np.uint16),
        "operator_lengths": np.diff(operator.indptr).astype(np.uint16),
        "mean": control["mean"].astype(np.float32),
        **{key: value.astype(np.int32) for key, value in topology.items()},
    }
    for region, indices in labels["regions"].items():
        arrays[f"region_{region}"] = indices.astype(np.int32)
    for key in ("shape_basis", "expression_basis"):
        basis = control[key]
        step = np.abs(basis).max(axis=(0, 1)) / _LARGEST_STEP_COUNT
        # The step is rounded first, so that reading multiplies by the same.
        step = step.astype(np.float32)
        arrays[f"{key}_step"] = step
        arrays[key] = np.clip(
            np.rint(basis / step), -_LARGEST_STEP_COUNT, _LARGEST_STEP_COUNT
        ).astype(np.int16)
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _expand(arrays: dict[str, NDArray[Any]]) -> MorphableModel:
    if str(arrays["format"]) != _FORMAT:
        raise ValueError(f"its format is not {_FORMAT!r}")
    lengths = arrays["operator_lengths"].astype(np.int64)
    mean = arrays["mean"]
    operator = sparse.csr_array(
        (
            arrays["operator_data"],
            arrays["operator_columns"].astype(np.int32),
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32),
        ),
        shape=(len(lengths), len(mean)),
    )
    operator.check_format()
    bases = []
    for key in ("shape_basis", "expression_basis"):
        basis = arrays[key].astype(np.float32) * arrays[f"{key}_step"]
        flat = operator @ basis.reshape(len(mean), -1)
        bases.append(flat.reshape(len(lengths), 3, -1))
    return MorphableModel(
        mean=operator @ mean,
        shape_basis=bases[0],
        expression_basis=bases[1],
        faces=arrays["faces"],
        landmarks=arrays["landmarks"],
        expression_names=tuple(arrays["expression_names"].tolist()),
        regions={
            key.removeprefix("region_"): value
            for key, value in arrays.items()
            if key.startswith("region_")
        },
        mirror=arrays.get("mirror"),
        name=str(arrays["name"]),
    )
