"""AsyncFaceGCNClient: `FaceGCNClient` for asyncio."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import grpc
import numpy as np
from numpy.typing import NDArray

from serving.client_messages import (
    CHANNEL_OPTIONS,
    PREDICT,
    Box,
    ModelTarget,
    Photo,
    PredictedMesh,
    array_request,
    decode_arrays,
    decode_mesh,
    photo_request,
    plain_error,
)
from serving.protos import predict_client_pb2 as messages


class AsyncFaceGCNClient:
    """`FaceGCNClient` for asyncio: the same arguments, results and errors.

    Example:
        .. code-block:: python

            async with AsyncFaceGCNClient("localhost:8500") as client:
                meshes = await asyncio.gather(*map(client.predict, photos))
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
            grpc.aio.insecure_channel(address, CHANNEL_OPTIONS)
            if credentials is None
            else grpc.aio.secure_channel(address, credentials, CHANNEL_OPTIONS)
        )
        self._predict = self._channel.unary_unary(
            PREDICT,
            messages.PredictRequest.SerializeToString,
            messages.PredictResponse.FromString,
        )

    async def predict(
        self, photo: Photo, box: Box | None = None
    ) -> PredictedMesh:
        """Asks for the mesh of the face in a photo."""
        request = photo_request(self.target, photo, box)
        return decode_mesh(await self._ask(request))

    async def predict_crops(
        self, crops: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Asks for the meshes of crops that are known to be right."""
        request = array_request(
            self.target, "serving_default", {"photos": crops}
        )
        arrays = decode_arrays(await self._ask(request))
        return arrays["vertices"], arrays["landmarks"]

    async def close(self) -> None:
        """Closes the connection."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _ask(
        self, request: messages.PredictRequest
    ) -> messages.PredictResponse:
        try:
            response: messages.PredictResponse = await self._predict(
                request, timeout=self.timeout
            )
        except grpc.RpcError as error:
            raise plain_error(error, self.address) from error
        return response
