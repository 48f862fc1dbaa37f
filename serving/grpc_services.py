"""gRPC services of TensorFlow Serving, answered by `Inference`."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.inference import Inference, version_choice
from serving.loaded_model import Arrays
from serving.log_format import log_request
from serving.metrics import Metrics
from serving.serving_error import ServingError, invalid_argument
from serving.tensor_codec import serialize_map_entry, serialize_tensor, varint

PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"

# Fields of `PredictResponse`, number and wire type.
_OUTPUTS_TAG, _SPEC_TAG = b"\x0a", b"\x12"
_REQUEST_ID = "x-request-id"

_LOGGER = logging.getLogger(__name__)

Answer = Callable[[Any, float | None], Message | bytes]


def add_services(
    server: grpc.Server,
    inference: Inference,
    metrics: Metrics,
    *,
    with_tensor_content: bool = False,
) -> None:
    """Registers both services with a server.

    Args:
        server: The server.
        inference: Answers the requests.
        metrics: Counts them.
        with_tensor_content: Whether predictions hold packed bytes in place of
            values.
    """

    def predict(
        request: predict_pb2.PredictRequest, timeout: float | None
    ) -> bytes:
        outputs, spec = inference.predict(request, timeout)
        return serialize_prediction(
            outputs, spec, as_content=with_tensor_content
        )

    def metadata(
        request: get_model_metadata_pb2.GetModelMetadataRequest,
        timeout: float | None,
    ) -> Message:
        return inference.metadata(request)

    def status(
        request: get_model_status_pb2.GetModelStatusRequest,
        timeout: float | None,
    ) -> Message:
        return model_status(inference, request)

    def reload(
        request: model_management_pb2.ReloadConfigRequest,
        timeout: float | None,
    ) -> Message:
        return _reload(inference, request)

    methods: dict[str, dict[str, tuple[type[Message], Answer]]] = {
        PREDICTION_SERVICE: {
            "Predict": (predict_pb2.PredictRequest, predict),
            "Classify": (
                classification_pb2.ClassificationRequest,
                inference.classify,
            ),
            "Regress": (regression_pb2.RegressionRequest, inference.regress),
            "MultiInference": (
                inference_pb2.MultiInferenceRequest,
                inference.multi_inference,
            ),
            "GetModelMetadata": (
                get_model_metadata_pb2.GetModelMetadataRequest,
                metadata,
            ),
        },
        MODEL_SERVICE: {
            "GetModelStatus": (
                get_model_status_pb2.GetModelStatusRequest,
                status,
            ),
            "HandleReloadConfigRequest": (
                model_management_pb2.ReloadConfigRequest,
                reload,
            ),
        },
    }
    for service, answers in methods.items():
        handlers = {
            name: _handler(name, request, answer, inference, metrics)
            for name, (request, answer) in answers.items()
        }
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, handlers),)
        )


def serialize_prediction(
    outputs: Arrays, spec: model_pb2.ModelSpec, *, as_content: bool = False
) -> bytes:
    """Serializes a `PredictResponse` without copying a mesh value by value."""
    entries = [
        serialize_map_entry(
            _OUTPUTS_TAG, name, serialize_tensor(array, as_content=as_content)
        )
        for name, array in outputs.items()
    ]
    model = spec.SerializeToString()
    return b"".join([*entries, _SPEC_TAG, varint(len(model)), model])


def model_status(
    inference: Inference, request: get_model_status_pb2.GetModelStatusRequest
) -> get_model_status_pb2.GetModelStatusResponse:
    """Answers GetModelStatus.

    Raises:
        ServingError: If there is no such model or version.
    """
    spec = request.model_spec
    if not spec.name:
        raise invalid_argument(
            "Missing ModelSpec"
            if spec == model_pb2.ModelSpec()
            else "ModelSpec has no name specified."
        )
    found = inference.manager.statuses(spec.name, *version_choice(spec))
    response = get_model_status_pb2.GetModelStatusResponse()
    for version, status in found.items():
        each = response.model_version_status.add(
            version=version, state=status.state
        )
        each.status.error_code = status.code.value[0]
        each.status.error_message = status.message
    return response


def _reload(
    inference: Inference, request: model_management_pb2.ReloadConfigRequest
) -> model_management_pb2.ReloadConfigResponse:
    if request.config.WhichOneof("config") != "model_config_list":
        raise invalid_argument("Only ModelConfigList is currently supported")
    inference.manager.replace(request.config.model_config_list.config)
    response = model_management_pb2.ReloadConfigResponse()
    response.status.SetInParent()
    return response


def _handler(
    method: str,
    request_type: type[Message],
    answer: Answer,
    inference: Inference,
    metrics: Metrics,
) -> grpc.RpcMethodHandler:
    def handle(content: bytes, context: grpc.ServicerContext) -> bytes:
        started = time.perf_counter()
        identity = _request_id(context)
        name, code = "", grpc.StatusCode.OK
        try:
            request = _parse(request_type, content)
            name = inference.manager.known(_model_name(request))
            found = answer(request, context.time_remaining())
            return found if isinstance(found, bytes) else _serialize(found)
        except ServingError as error:
            code = error.code
            context.abort(error.code, error.message)
        except Exception as error:
            code = grpc.StatusCode.INTERNAL
            _LOGGER.exception(
                "%s failed", method, extra={"request_id": identity}
            )
            context.abort(code, f"{type(error).__name__}: {error}")
        finally:
            seconds = time.perf_counter() - started
            metrics.count(method, "GRPC", name, code, seconds)
            log_request("gRPC", method, name, code, seconds, identity)
        raise AssertionError("abort raises")  # For type checkers.

    # Parsed here and not by gRPC, which would answer INTERNAL.
    return grpc.unary_unary_rpc_method_handler(handle)


def _parse(request_type: type[Message], content: bytes) -> Message:
    try:
        return request_type.FromString(content)
    except DecodeError as error:
        raise invalid_argument(
            f"The request is no {request_type.DESCRIPTOR.name}: {error}"
        ) from error


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()


def _model_name(request: Any) -> str:
    if hasattr(request, "model_spec"):
        return str(request.model_spec.name)
    tasks = getattr(request, "tasks", ())
    return str(tasks[0].model_spec.name) if tasks else ""


def _request_id(context: grpc.ServicerContext) -> str:
    """Takes the caller's id or makes one, and sends it back."""
    sent: Mapping[str, str | bytes] = dict(context.invocation_metadata() or ())
    value = sent.get(_REQUEST_ID)
    identity = value if isinstance(value, str) else uuid.uuid4().hex
    context.set_trailing_metadata(((_REQUEST_ID, identity),))
    return identity
