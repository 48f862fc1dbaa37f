"""PhotoJob: the main job, from a photo's file to the files of its faces."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tf_facegcn.imaging.bounding_box import BoundingBox
from tf_facegcn.imaging.detection import Detection
from tf_facegcn.imaging.photo import read_photo
from tf_facegcn.prediction import FacePrediction
from tf_facegcn.predictor import Predictor
from tf_facegcn.writers.result_files import write_results


@dataclass(frozen=True)
class PhotoJob:
    """Reads photos, predicts their faces, writes the results, reports.

    Args:
        predictor: Finds the faces and predicts their meshes.
        output: Folder of the results, made when the first are written.
        formats: Names of formats, see `write_results`.
        boxes: Where the faces are, see `Predictor`; `None` to detect them.
    """

    predictor: Predictor
    output: Path
    formats: tuple[str, ...]
    boxes: Sequence[BoundingBox] | None = None

    def run(self, path: Path, stem: str) -> list[str]:
        """Does one photo.

        Args:
            path: The photo's file.
            stem: What the names of its results begin with.

        Returns:
            Lines to print: what was done, then details: a line for each face
            and one of the times in milliseconds, split into read, detect,
            network (with cropping, mapping back and the pose) and write.

        Raises:
            ValueError: If this is no photo or no face is found in it.
            OSError: If the results cannot be written.
        """
        started = time.perf_counter()
        photo = read_photo(path)
        read = time.perf_counter()
        detections = find_some_faces(self.predictor, photo, path, self.boxes)
        detected = time.perf_counter()
        faces = self.predictor.predict(photo, detections)
        predicted = time.perf_counter()
        self.output.mkdir(parents=True, exist_ok=True)
        files = write_results(faces, photo, self.output, stem, self.formats)
        written = time.perf_counter()
        return [
            f"{path}: {_count(len(faces), 'face')}, "
            f"{_count(len(files), 'file')} {self.output / stem}_*",
            *map(_describe, range(1, len(faces) + 1), faces),
            f"  read {_ms(read - started)}, detect {_ms(detected - read)}, "
            f"network {_ms(predicted - detected)}, "
            f"write {_ms(written - predicted)}, "
            f"together {_ms(written - started)}",
        ]


def find_some_faces(
    predictor: Predictor,
    photo: NDArray[np.uint8],
    path: Path,
    boxes: Sequence[BoundingBox] | None = None,
) -> list[Detection]:
    """Finds the faces of a photo.

    Args:
        predictor: Finds them.
        photo: `(height, width, 3)` uint8, RGB.
        path: What messages call it.
        boxes: Where the faces are; `None` to detect them.

    Raises:
        ValueError: If there is none, or a box lies outside.
    """
    detections = predictor.find_faces(photo, boxes)
    if not detections:
        height, width = photo.shape[:2]
        raise ValueError(
            f"{path}: no face found in {width} x {height} pixels. Expected "
            "a face, upright or on its side; if there is one, say where with "
            "--box L T R B"
        )
    return detections


def _describe(number: int, face: FacePrediction) -> str:
    edges = ", ".join(f"{edge:.0f}" for edge in face.box.as_tuple())
    score = "" if face.score is None else f", score {face.score:.2f}"
    pose = ", ".join(
        # Not "-0.0".
        f"{name} {round(angle, 1) + 0.0:+.1f}"
        for name, angle in face.pose._asdict().items()
    )
    return f"  face {number}: box ({edges}){score}, {pose} degrees"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.0f} ms"
