"""LoaderProcesses: a batch loader whose photos are read by processes."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import signal
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.batch_loader import Batch, BatchLoader


@dataclass(frozen=True)
class LoaderProcesses(BatchLoader):
    """Loads and augments each batch in one of several processes.

    The batches are those of a plain `BatchLoader`. Threads of one process
    share its interpreter, which does not keep up with a GPU. Vertices are
    computed in the calling process, as they are larger than what they are
    computed of.

    A script that uses it needs `if __name__ == "__main__":` around what it
    does, as the processes import it.

    Attributes:
        num_processes: How many processes; they start with the first batches
            and end with `close`, or with this one.
    """

    num_processes: int = 1
    _folder: tempfile.TemporaryDirectory[str] = field(
        init=False, repr=False, compare=False
    )
    _pool: ProcessPoolExecutor = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        loader = BatchLoader(
            self.source, self.vertex_model, self.augmentation, self.size
        )
        # By a file, as a process that ends before it has read all of a pipe
        # leaves this one waiting for ever.
        folder = tempfile.TemporaryDirectory(prefix="facegcn_loader_")
        path = Path(folder.name) / "loader.pickle"
        with path.open("wb") as file:
            pickle.dump(loader, file, pickle.HIGHEST_PROTOCOL)
        pool = ProcessPoolExecutor(
            self.num_processes,
            # A copy of a process that has threads, or holds a GPU, may hang.
            multiprocessing.get_context("spawn"),
            _read_loader,
            (str(path),),
        )
        object.__setattr__(self, "_folder", folder)
        object.__setattr__(self, "_pool", pool)

    @property
    def concurrency(self) -> int:
        """How many batches to ask for at a time."""
        return self.num_processes + 1

    def load(
        self, indices: NDArray[np.integer], seeds: Sequence[Sequence[int]]
    ) -> Batch:
        """Loads a batch, see `BatchLoader.load`.

        Raises:
            ChildProcessError: If a process could not start, or was ended.
        """
        try:
            return self._pool.submit(_load, indices, seeds).result()
        except BrokenProcessPool as error:
            raise ChildProcessError(
                "A process that loads photos was ended or could not start: "
                "there may be too little memory, or it may be a script "
                'without if __name__ == "__main__". Start again with fewer; '
                "the training goes on from its last checkpoint. Received: "
                f"loader_processes={self.num_processes}"
            ) from error

    def close(self) -> None:
        """Ends the processes; what is asked for is not loaded any more."""
        self._pool.shutdown(cancel_futures=True)
        self._folder.cleanup()


# Of a process of the pool.
_loader: BatchLoader


def _read_loader(path: str) -> None:
    global _loader
    threading.Thread(
        target=_end_with_parent, args=(Path(path).parent,), daemon=True
    ).start()
    # Ctrl-C is for the training, which ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)  # There are other processes for the other cores.
    with Path(path).open("rb") as file:
        _loader = pickle.load(file)


def _end_with_parent(folder: Path) -> None:
    """Ends this process when its parent was killed, and could not say so."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)


def _load(
    indices: NDArray[np.integer], seeds: Sequence[Sequence[int]]
) -> Batch:
    return _loader.load(indices, seeds)
