"""StopOnNaN: the callback that ends a training whose loss is no number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from training.data.batch_loader import BatchLoader
from training.data.epoch_sampler import EpochSampler

# What the training saw when its loss became NaN.
NAN_BATCH_NAME = "nan_batch.npz"


class StopOnNaN(keras.callbacks.Callback):
    """Ends a training at the first loss that is no number.

    The batch that it came with is written to `nan_batch.npz`: `images`,
    `vertices`, `indices` of the examples, `epoch` and `step`.

    Args:
        folder: Where it is written.
        loader: Loads the training's examples.
        sampler: Which examples came when.
    """

    def __init__(
        self, folder: str | Path, loader: BatchLoader, sampler: EpochSampler
    ) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.loader = loader
        self.sampler = sampler
        self.failure: FloatingPointError | None = None
        self._epoch = 0

    def on_epoch_begin(
        self, epoch: int, logs: Mapping[str, float] | None = None
    ) -> None:
        """Remembers the epoch."""
        del logs
        self._epoch = epoch

    def on_train_batch_end(
        self, batch: int, logs: Mapping[str, float] | None = None
    ) -> None:
        """Looks at the loss."""
        loss = (logs or {}).get("loss")
        if loss is None or math.isfinite(float(loss)):
            return
        self.model.stop_training = True
        self.failure = self._report(batch)

    def _report(self, batch: int) -> FloatingPointError:
        number = self._epoch * self.sampler.steps_per_epoch + batch
        indices, seeds = self.sampler.step(number)
        images, vertices = self.loader.load_with_vertices(indices, seeds)
        path = self.folder / NAN_BATCH_NAME
        np.savez_compressed(
            path,
            images=images,
            vertices=vertices,
            indices=indices,
            epoch=self._epoch,
            step=batch,
        )
        finite = np.isfinite(vertices).all(axis=(1, 2))
        if finite.all():
            cause = "its labels are finite; a lower learning_rate may help"
        else:
            bad = ", ".join(str(index) for index in indices[~finite])
            cause = f"the labels of the examples {bad} are NaN"
        return FloatingPointError(
            f"The loss is not a number any more at step {batch + 1} of epoch "
            f"{self._epoch + 1}; {cause}. The batch is in {path}, the last "
            f"good checkpoint in {self.folder / 'checkpoints'}"
        )
