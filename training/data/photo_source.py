"""PhotoSource: photos with fitted labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.data.aflw_crops import AflwCrops, decode
from training.data.example_source import (
    LoadedExample,
    balanced_probabilities,
)
from training.data.fitted_labels import FittedLabels
from training.data.record import TrainingExample


@dataclass(frozen=True)
class PhotoSource:
    """Photos with fitted labels, an `ExampleSource`.

    Attributes:
        examples: The examples.
        yaw: `(n,)` absolute yaw in degrees.
    """

    examples: Sequence[TrainingExample]
    yaw: NDArray[np.floating]

    @classmethod
    def of_photos(cls, crops: AflwCrops, labels: FittedLabels) -> PhotoSource:
        """Joins photos with their labels.

        Raises:
            ValueError: If a label is not finite; the message names the photo.
        """
        _check_finite(crops, labels)
        examples = [
            TrainingExample(
                str(crops.names[index]),
                crops.jpegs[index],
                parameters,
                camera,
                landmarks,
            )
            for index, parameters, camera, landmarks in zip(
                labels.photo_indices,
                labels.parameters,
                labels.cameras.astype(np.float64),
                labels.landmarks.astype(np.float64),
                strict=True,
            )
        ]
        return cls(examples, labels.yaw)

    def __len__(self) -> int:
        return len(self.examples)

    def probabilities(self, balance: float) -> NDArray[np.float64]:
        """Computes probabilities of being drawn, see `ExampleSource`."""
        return balanced_probabilities(self.yaw, balance)

    def load(self, index: int, seed: Sequence[int] = ()) -> LoadedExample:
        """Decodes a photo.

        Raises:
            ValueError: If it cannot be decoded; the message names it.
        """
        example = self.examples[index]
        try:
            image = decode(example.image)
        except ValueError as error:
            raise ValueError(f"Photo {example.name}: {error}") from error
        return LoadedExample(
            image, example.parameters, example.camera, example.landmarks
        )

    def split(
        self, num_held_out: int, seed: int
    ) -> tuple[PhotoSource, PhotoSource]:
        """Splits off a random part.

        Returns:
            The remaining examples and the held-out ones.
        """
        parts = split_indices(len(self), num_held_out, seed)
        kept, held_out = (
            PhotoSource([self.examples[i] for i in part], self.yaw[part])
            for part in parts
        )
        return kept, held_out


def split_indices(
    count: int, num_held_out: int, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Splits examples at random.

    Returns:
        The indices of those that remain and of those held out, sorted.
    """
    if not 0 < num_held_out < count:
        raise ValueError(
            "Expected to hold out at least one example and to keep one, "
            f"of {count}. Received: num_held_out={num_held_out}"
        )
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[num_held_out:]), np.sort(order[:num_held_out])


def _check_finite(crops: AflwCrops, labels: FittedLabels) -> None:
    for name in ("parameters", "cameras", "landmarks", "yaw"):
        values = getattr(labels, name).reshape(len(labels), -1)
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(bad):
            photo = crops.names[labels.photo_indices[bad[0]]]
            raise ValueError(
                f"Expected finite labels. Received: {name} of photo {photo} "
                f"with NaN or infinity ({len(bad)} of {len(labels)} labels). "
                "Remove labels.npz from the workdir to fit them anew"
            )
