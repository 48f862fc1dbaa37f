"""ShardWorker: predicts a shard of a long list of photos, into one file."""

from __future__ import annotations

import io
import json
import os
import socket
import tarfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict

from tf_facegcn.imaging.bounding_box import BoundingBox
from tf_facegcn.imaging.photo import read_photo
from tf_facegcn.photo_job import find_some_faces
from tf_facegcn.predictor import Predictor
from tf_facegcn.writers.result_files import encode_results

REPORT = "report.jsonl"
# A photo that ended its process this often is left out.
_MAX_DEATHS = 2
_NEW_ATTEMPT = "attempt"


class ShardTask(TypedDict):
    """A row that Ray Data hands to a worker.

    Attributes:
        name: Of the shard's file, without a folder.
        photos: JSON of a list of pairs: path, and what the names of its
            results begin with.
    """

    name: str
    photos: str


class ShardReport(TypedDict):
    """What became of a shard.

    Attributes:
        name: Of its file.
        photos: How many it has.
        faces: How many were found in them.
        failures: How many photos have none.
    """

    name: str
    photos: int
    faces: int
    failures: int


class PhotoReport(NamedTuple):
    """A line of a shard's report.

    Attributes:
        photo: Path, as given.
        stem: What the names of its results begin with.
        faces: How many were found.
        error: Why there is no result; empty if there is.
    """

    photo: str
    stem: str
    faces: int
    error: str


class ShardWorker:
    """Predicts shards, one a call. Ray Data makes one in each process.

    A shard is a tar file with the files that `facegcn predict` writes, and a
    report of all its photos. It appears by a rename once it is whole.

    A photo may end the process, for example for want of memory, and the shard
    is tried again in a new one. Each photo is noted before it is begun, so that
    the one to blame is left out when that has happened twice.

    Args:
        make_predictor: Makes the predictor, here in the worker's process.
        folder: Paths of photos are relative to it.
        output: Folder of the shards' files; it exists, for all workers.
        formats: Names of formats, see `write_results`.
        boxes: Where the faces are in each photo; `None` to detect them.
        num_threads: Threads of a worker.
    """

    def __init__(
        self,
        make_predictor: Callable[[], Predictor],
        folder: Path,
        output: Path,
        formats: Sequence[str],
        boxes: Sequence[BoundingBox] | None = None,
        num_threads: int = 1,
    ) -> None:
        import cv2

        # Read by TensorFlow when it is imported: workers share the cores.
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(num_threads))
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        cv2.setNumThreads(num_threads)
        os.chdir(folder)
        self._predictor = make_predictor()
        self._output = output
        self._formats = tuple(formats)
        self._boxes = boxes

    def __call__(self, task: Mapping[str, str]) -> ShardReport:
        """Predicts a shard.

        Args:
            task: See `ShardTask`.

        Returns:
            What became of it.

        Raises:
            OSError: If the output folder does not take it.
        """
        path = self._output / task["name"]
        photos = json.loads(task["photos"])
        # Two processes may try a shard at the same time, if one was thought
        # to be lost.
        partial = self._output / (
            f".{task['name']}-{socket.gethostname()}-{os.getpid()}.partial"
        )
        try:
            with _Journal(self._output / f".{task['name']}.journal") as journal:
                reports = self._write(partial, photos, journal)
                partial.replace(path)
                journal.remove()
        finally:
            partial.unlink(missing_ok=True)
        return {
            "name": task["name"],
            "photos": len(reports),
            "faces": sum(report.faces for report in reports),
            "failures": sum(bool(report.error) for report in reports),
        }

    def _write(
        self, path: Path, photos: Sequence[tuple[str, str]], journal: _Journal
    ) -> list[PhotoReport]:
        reports = []
        with tarfile.open(path, "w") as shard:
            for index, (photo, stem) in enumerate(photos):
                if journal.num_deaths(index) >= _MAX_DEATHS:
                    error = (
                        f"{photo}: the process ended {_MAX_DEATHS} times while "
                        "it did this photo, which is left out"
                    )
                    reports.append(PhotoReport(photo, stem, 0, error))
                    continue
                journal.begin(index)
                reports.append(self._predict(photo, stem, shard))
            lines = (json.dumps(report._asdict()) for report in reports)
            _add(shard, REPORT, "".join(f"{x}\n" for x in lines).encode())
        return reports

    def _predict(
        self, photo: str, stem: str, shard: tarfile.TarFile
    ) -> PhotoReport:
        path = Path(photo)
        try:
            pixels = read_photo(path)
            found = find_some_faces(self._predictor, pixels, path, self._boxes)
            faces = self._predictor.predict(pixels, found)
            # All of a photo's files or none.
            files = list(encode_results(faces, pixels, stem, self._formats))
        except ValueError as error:
            return PhotoReport(photo, stem, 0, str(error))
        for name, data in files:
            _add(shard, name, data)
        return PhotoReport(photo, stem, len(faces), "")


class _Journal:
    """Notes which photo of a shard is being done, for the next attempt."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._deaths: Counter[str] = Counter()
        last = _NEW_ATTEMPT
        if path.exists():
            for line in [*path.read_text().split(), _NEW_ATTEMPT]:
                if line == _NEW_ATTEMPT:
                    self._deaths[last] += 1
                last = line
        self._file = path.open("a")
        self._note(_NEW_ATTEMPT)

    def __enter__(self) -> _Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def num_deaths(self, index: int) -> int:
        """How often the process ended while it did a photo."""
        return self._deaths[str(index)]

    def begin(self, index: int) -> None:
        """Notes that a photo is begun."""
        self._note(str(index))

    def remove(self) -> None:
        """Forgets it all: the shard is done."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    def _note(self, line: str) -> None:
        self._file.write(f"{line}\n")
        self._file.flush()


def _add(shard: tarfile.TarFile, name: str, data: bytes) -> None:
    """Adds a file; of no time and owner, so that a shard repeats itself."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    member.mode = 0o644
    shard.addfile(member, io.BytesIO(data))
