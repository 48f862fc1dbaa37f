"""FittedLabels: what is known of each photo's face, in about 1 kB a photo."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray


@dataclass(frozen=True)
class FittedLabels:
    """Morphable-model parameters and a camera for each photo.

    A face is `mean + basis @ parameters` (see `VertexModel`). Besides identity
    and expression the parameters weigh smooth displacements that bring the 68
    landmarks to where they were seen, as far as the model cannot.

    Attributes:
        photo_indices: `(n,)` int64, which photo of the data each label is of.
        parameters: `(n, S + E + K)` float32: identity, expression and weights
            of the landmark displacements.
        cameras: `(n, 3, 4)` float32 from model space to crop units, see
            `tf_facegcn.geometry.camera`.
        landmarks: `(n, 68, 3)` float32, the landmarks that were fitted, in
            crop units: the quality of a label is its distance from them.
        yaw: `(n,)` float32, absolute yaw of the camera, degrees.
        displacement_mean: `(68, 3)` float32, displacement of the landmarks of
            every face, in model units.
        displacement_components: `(K, 68, 3)` float32.
        num_rejected: How many photos were dropped as badly labelled.
        fingerprint: Hex digest of what the labels were made from.
    """

    photo_indices: Array
    parameters: Array
    cameras: Array
    landmarks: Array
    yaw: Array
    displacement_mean: Array
    displacement_components: Array
    num_rejected: int
    fingerprint: str

    def __len__(self) -> int:
        return len(self.photo_indices)

    def save(self, path: str | Path) -> None:
        """Writes one `.npz`; an interrupted write leaves no half file."""
        target = Path(path)
        partial = target.with_name(target.name + ".partial")
        with partial.open("wb") as file:
            np.savez_compressed(
                file, **{f.name: getattr(self, f.name) for f in fields(self)}
            )
        partial.replace(target)

    @classmethod
    def load(cls, path: str | Path) -> FittedLabels:
        """Reads what `save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            values = {f.name: arrays[f.name] for f in fields(cls)}
        values["num_rejected"] = int(values["num_rejected"])
        values["fingerprint"] = str(values["fingerprint"])
        return cls(**values)
