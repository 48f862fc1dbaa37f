"""LoadedBatches: batches as a Keras `PyDataset`, without TensorFlow."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import keras
import numpy as np
from numpy.typing import NDArray

from training.data.batch_loader import BatchLoader
from training.data.epoch_sampler import EpochSampler
from training.data.validation_steps import ValidationSteps

ImagesAndVertices = tuple[NDArray[np.uint8], NDArray[np.float32]]

# Batches that are loaded while another is trained on, beyond those that are
# loaded at a time.
_NUM_AHEAD = 1


class LoadedBatches(keras.utils.PyDataset):
    """Batches of images and vertices for `fit` on any backend of Keras.

    The same batches as those of the `tf.data` datasets. Training batches have
    no end: give `steps_per_epoch` to `fit`. An item depends on its index
    alone, however often and in whichever order Keras asks; it is loaded ahead
    here and not by Keras' own workers, which after the look that `fit` takes
    at the first batch would go on with the second.

    Args:
        loader: Loads the examples.
        steps: Which examples come when: an `EpochSampler` to train,
            `ValidationSteps` to validate.
        first_step: The step that item 0 is.
    """

    def __init__(
        self,
        loader: BatchLoader,
        steps: EpochSampler | ValidationSteps,
        first_step: int = 0,
    ) -> None:
        super().__init__(workers=1)
        self.loader = loader
        self.steps = steps
        self.first_step = first_step
        self._threads = ThreadPoolExecutor(loader.concurrency)
        self._loading: dict[int, Future[ImagesAndVertices]] = {}
        self._lock = threading.Lock()

    @property
    def num_batches(self) -> int | None:
        """Number of batches, `None` for endless training batches."""
        steps = self.steps
        return None if isinstance(steps, EpochSampler) else len(steps)

    def __getitem__(self, index: int) -> ImagesAndVertices:
        last = index + self.loader.concurrency + _NUM_AHEAD
        if self.num_batches is not None:
            last = min(last, self.num_batches - 1)
        with self._lock:
            wanted = range(index, last + 1)
            for number in set(self._loading) - set(wanted):
                self._loading.pop(number).cancel()
            for number in wanted:
                if number not in self._loading:
                    self._loading[number] = self._threads.submit(
                        self._load, number
                    )
            future = self._loading[index]
        return future.result()

    def _load(self, index: int) -> ImagesAndVertices:
        step = self.steps.step(self.first_step + index)
        return self.loader.load_with_vertices(*step)
