"""Checkpoint: the callback that saves a training run and resumes it."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

import keras

from training.disk_space import check_disk_space

# Name of the weights with the lowest validation error so far.
BEST_NAME = "best.weights.h5"

_PREFIX = "checkpoint-"
_SUFFIX = ".weights.h5"

# The newest one, and one before in case that the newest is damaged.
_NUM_KEPT = 2


class Checkpoint(keras.callbacks.Callback):
    """Saves weights, optimiser state and epoch after every epoch.

    A checkpoint is written under a temporary name and renamed, so that a run
    killed at any moment finds a whole one. The best weights are the moving
    averages where the optimiser keeps them.

    Args:
        folder: Folder of the checkpoints.
        monitor: Name of the logged value whose lowest makes the best weights.
        writable: Whether this process writes them; of several machines only
            the first does.
    """

    def __init__(
        self, folder: str | Path, monitor: str, *, writable: bool = True
    ) -> None:
        super().__init__()
        self.writable = writable
        self.folder = Path(folder)
        self.monitor = monitor
        self.best = math.inf

    def restore(self, model: keras.Model) -> int:
        """Loads the newest checkpoint that can be read.

        Args:
            model: The compiled model, whose weights and optimiser state are
                replaced.

        Returns:
            How many epochs were trained; 0 where there is no checkpoint.

        Raises:
            ValueError: If there are checkpoints and none can be loaded.
        """
        model.optimizer.build(model.trainable_variables)
        saved = self._saved()
        failure: Exception | None = None
        for epochs, path in reversed(saved):
            try:
                model.load_weights(path)
            except (OSError, ValueError, KeyError) as error:
                # Cut off by a full disk or a crash: take the one before.
                failure = error
            else:
                return epochs
        if failure is not None:
            raise ValueError(
                "None of the checkpoints can be loaded into this network "
                f"({str(failure).splitlines()[0]}). Remove them to start "
                f"anew. Received: folder={str(self.folder)!r}"
            ) from failure
        return 0

    def on_epoch_end(
        self, epoch: int, logs: Mapping[str, float] | None = None
    ) -> None:
        """Saves a checkpoint; a run with a loss of NaN is not saved."""
        logs = logs or {}
        if not self.writable or not math.isfinite(logs.get("loss", 0.0)):
            return
        self._write(self.folder / f"{_PREFIX}{epoch + 1:06d}{_SUFFIX}")
        for _, path in self._saved()[:-_NUM_KEPT]:
            path.unlink()
        value = logs.get(self.monitor, math.inf)
        if value < self.best:
            self.best = value
            self._write_average(self.folder / BEST_NAME)

    def _saved(self) -> list[tuple[int, Path]]:
        found = []
        for path in self.folder.glob(f"{_PREFIX}*{_SUFFIX}"):
            number = path.name[len(_PREFIX) : -len(_SUFFIX)]
            if number.isdecimal():
                found.append((int(number), path))
        return sorted(found)

    def _write(self, path: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"partial-{path.name}")
        check_disk_space(
            partial, [*self.model.variables, *self.model.optimizer.variables]
        )
        try:
            self.model.save_weights(partial)
            _synchronize(partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def _write_average(self, path: Path) -> None:
        variables = self.model.trainable_variables
        kept = [keras.ops.convert_to_numpy(v) for v in variables]
        self.model.optimizer.finalize_variable_values(variables)
        self._write(path)
        for variable, value in zip(variables, kept, strict=True):
            variable.assign(value)


def _synchronize(path: Path) -> None:
    """Waits until a file is on the disk, so that its new name finds it."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
