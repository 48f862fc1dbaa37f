"""FaceGCNClient: asks a server for meshes, without TensorFlow."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import grpc
import numpy as np
from numpy.typing import NDArray

from serving.client_messages import (
    CHANNEL_OPTIONS,
    METADATA,
    PREDICT,
    Box,
    ModelTarget,
    Photo,
    PredictedMesh,
    array_request,
    decode_arrays,
    decode_input_size,
    decode_mesh,
    photo_request,
    plain_error,
)
from serving.protos import predict_client_pb2 as messages


class FaceGCNClient:
    """Asks TensorFlow Serving, or `facegcn serve`, for meshes.

    Requests that reached no server, or that a busy one refused, are repeated
    up to three times within their deadline. May be used from several threads.

    Args:
        address: `host:port`, or `unix:path`.
        model: Name of the model.
        version: Its version; `None` for the newest.
        credentials: As `grpc.ssl_channel_credentials` makes them; `None` for
            a connection that is not encrypted.
        timeout: Seconds that a request may take.

    Example:
        .. code-block:: python

            with FaceGCNClient("localhost:8500") as client:
                mesh = client.predict("photo.jpg", box=(90, 40, 310, 260))
                mesh.vertices  # (53215, 3), in the photo's pixels
    """

    def __init__(
        self,
        address: str,
        model: str = "facegcn",
        version: int | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        timeout: float = 30.0,
    ) -> None:
        self.address = address
        self.target = ModelTarget(model, version)
        self.timeout = timeout
        self._channel = (
            grpc.insecure_channel(address, CHANNEL_OPTIONS)
            if credentials is None
            else grpc.secure_channel(address, credentials, CHANNEL_OPTIONS)
        )
        self._predict = self._channel.unary_unary(
            PREDICT,
            messages.PredictRequest.SerializeToString,
            messages.PredictResponse.FromString,
        )
        self._metadata = self._channel.unary_unary(
            METADATA,
            messages.GetModelMetadataRequest.SerializeToString,
            messages.GetModelMetadataResponse.FromString,
        )

    def predict(self, photo: Photo, box: Box | None = None) -> PredictedMesh:
        """Asks for the mesh of the face in a photo.

        The server decodes, crops, and crops again around the landmarks found.

        Args:
            photo: Path, or bytes, of a JPEG or PNG file.
            box: Where the face is, with some room around it: left, top,
                right, bottom in pixels; `None` if the photo shows little else.

        Raises:
            ValueError: If the server has no such model, or the photo or the
                box is wrong.
            ConnectionError: If no server was reached.
            TimeoutError: If it took too long.
        """
        return decode_mesh(self._ask(photo_request(self.target, photo, box)))

    def predict_crops(
        self, crops: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Asks for the meshes of crops that are known to be right.

        Args:
            crops: `(batch, size, size, 3)` uint8 RGB, see `input_size`.

        Returns:
            Vertices `(batch, V, 3)` and landmarks `(batch, 68, 3)`, in
            1/256ths of the crop; errors as `predict`.
        """
        request = array_request(
            self.target, "serving_default", {"photos": crops}
        )
        arrays = decode_arrays(self._ask(request))
        return arrays["vertices"], arrays["landmarks"]

    def input_size(self) -> int:
        """Asks for the side of the network's photos, in pixels."""
        request = messages.GetModelMetadataRequest(
            model_spec=self.target.spec(), metadata_field=["signature_def"]
        )
        try:
            response = self._metadata(request, timeout=self.timeout)
        except grpc.RpcError as error:
            raise plain_error(error, self.address) from error
        return decode_input_size(response)

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(
        self, request: messages.PredictRequest
    ) -> messages.PredictResponse:
        try:
            response: messages.PredictResponse = self._predict(
                request, timeout=self.timeout
            )
        except grpc.RpcError as error:
            raise plain_error(error, self.address) from error
        return response
