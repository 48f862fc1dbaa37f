"""Messages of a client, to and from NumPy, without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import grpc
import numpy as np
from numpy.typing import NDArray

from serving.protos import predict_client_pb2 as messages

PREDICT = "/tensorflow.serving.PredictionService/Predict"
METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"

# Of `types.proto`.
_DTYPES = {np.dtype(np.float32): 1, np.dtype(np.uint8): 4}
_FLOAT, _STRING = 1, 7
_LARGEST_PHOTO = 199_000_000

# A prediction changes nothing, so it may be asked again: where no server was
# reached, and where one refused before it began. If an address has several
# servers, requests go to all of them in turn.
_SERVICE_CONFIG = """{"loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [{
    "name": [{"service": "tensorflow.serving.PredictionService"}],
    "retryPolicy": {
        "maxAttempts": 4, "initialBackoff": "0.1s", "maxBackoff": "2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"]
}}]}"""
CHANNEL_OPTIONS = (
    # A mesh takes 0.64 MB, gRPC's own limit is 4 MB.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.service_config", _SERVICE_CONFIG),
)

Photo = bytes | str | PathLike[str]
Box = tuple[float, float, float, float]


class PredictedMesh(NamedTuple):
    """A face as a server found it.

    Attributes:
        vertices: `(V, 3)` float32 in the photo's pixels: x right, y down, the
            centre of the top-left pixel at (0, 0); z towards the viewer.
        landmarks: `(68, 3)` float32, iBUG order.
        version: Of the model that answered.
    """

    vertices: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    version: int


class ModelTarget(NamedTuple):
    """Which model of a server is asked.

    Attributes:
        name: Its name.
        version: Its version; `None` for the newest.
        label: Its version's label, instead of a version.
    """

    name: str
    version: int | None = None
    label: str | None = None

    def spec(self, signature: str = "") -> messages.ModelSpec:
        """Makes the message that names it."""
        spec = messages.ModelSpec(name=self.name, signature_name=signature)
        if self.version is not None:
            spec.version.value = self.version
        elif self.label is not None:
            spec.version_label = self.label
        return spec


def array_request(
    target: ModelTarget,
    signature: str,
    inputs: Mapping[str, np.ndarray],
    outputs: tuple[str, ...] = (),
) -> messages.PredictRequest:
    """Makes a request of arrays.

    Args:
        target: The model.
        signature: Its signature.
        inputs: uint8 or float32 arrays by name.
        outputs: Names of the outputs wanted; all if empty.

    Raises:
        ValueError: If an array has another type.
    """
    request = messages.PredictRequest(
        model_spec=target.spec(signature), output_filter=outputs
    )
    for name, array in inputs.items():
        if array.dtype not in _DTYPES:
            raise ValueError(
                f"Expected a uint8 or float32 array as {name}. Received: "
                f"{array.dtype}"
            )
        tensor = request.inputs[name]
        tensor.dtype = _DTYPES[array.dtype]
        tensor.tensor_content = array.tobytes()
        tensor.tensor_shape.SetInParent()
        for size in array.shape:
            tensor.tensor_shape.dim.add(size=size)
    return request


def photo_request(
    target: ModelTarget, photo: Photo, box: Box | None
) -> messages.PredictRequest:
    """Makes a request of a photo's file.

    Args:
        target: The model.
        photo: Path, or bytes, of a JPEG or PNG file.
        box: Where its face is, left, top, right, bottom in pixels; `None` if
            the photo shows little else.

    Raises:
        ValueError: If the file is too large.
        OSError: If it cannot be read.
    """
    data = photo if isinstance(photo, bytes) else Path(photo).read_bytes()
    if len(data) > _LARGEST_PHOTO:
        raise ValueError(
            f"Expected a file of at most {_LARGEST_PHOTO:,} bytes. Received: "
            f"{len(data):,}"
        )
    inputs = {}
    if box is not None:
        inputs["boxes"] = np.array([box], np.float32)
    request = array_request(
        target, "encoded" if box is None else "encoded_boxes", inputs
    )
    tensor = request.inputs["photos"]
    tensor.dtype = _STRING
    tensor.tensor_shape.dim.add(size=1)
    tensor.string_val.append(data)
    return request


def decode_arrays(
    response: messages.PredictResponse,
) -> dict[str, NDArray[np.float32]]:
    """Decodes the outputs of a response, whichever way it holds them."""
    found = {}
    for name, tensor in response.outputs.items():
        if tensor.dtype != _FLOAT:
            raise ValueError(f"Expected floats as {name}, got another type")
        shape = [dim.size for dim in tensor.tensor_shape.dim]
        values = (
            np.frombuffer(tensor.tensor_content, np.float32)
            if tensor.tensor_content
            else np.array(tensor.float_val, np.float32)
        )
        found[name] = values.reshape(shape)
    return found


def decode_mesh(response: messages.PredictResponse) -> PredictedMesh:
    """Decodes the mesh of a photo."""
    arrays = decode_arrays(response)
    return PredictedMesh(
        arrays["vertices"][0],
        arrays["landmarks"][0],
        response.model_spec.version.value,
    )


def decode_input_size(response: messages.GetModelMetadataResponse) -> int:
    """Reads the side of the network's photos out of its metadata."""
    signatures = messages.SignatureDefMap()
    # Packed under TensorFlow's name of the same message.
    signatures.ParseFromString(response.metadata["signature_def"].value)
    info = signatures.signature_def["serving_default"].inputs["photos"]
    if len(info.tensor_shape.dim) != 4:
        raise ValueError(
            f"Expected {response.model_spec.name} to be a FaceGCN that "
            "`facegcn export` wrote; its input is another one"
        )
    return int(info.tensor_shape.dim[1].size)


def plain_error(error: grpc.RpcError, address: str) -> Exception:
    """Makes an error of Python's own of a call that failed.

    Args:
        error: What gRPC raised.
        address: The server.

    Returns:
        `ConnectionError`, `TimeoutError`, or `ValueError` where the request
        is what is wrong.
    """
    code, details = error.code(), error.details()
    message = f"{address}: {details} ({code.name})"
    if code is grpc.StatusCode.UNAVAILABLE:
        return ConnectionError(
            f"{message}. Is the server running, and its address right?"
        )
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return TimeoutError(f"{message}. Allow more time or try again later")
    if code in (
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.FAILED_PRECONDITION,
    ):
        return ValueError(message)
    return ConnectionError(message)
