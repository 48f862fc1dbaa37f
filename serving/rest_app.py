"""REST interface of TensorFlow Serving, a WSGI application."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import grpc
from google.protobuf import json_format
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter, Map, Rule
from werkzeug.wrappers import Request, Response

from serving.grpc_services import model_status
from serving.inference import (
    DEFAULT_SIGNATURE,
    Inference,
    signature_of,
    version_choice,
)
from serving.metrics import Metrics
from serving.rest_json import (
    body_of_outputs,
    examples_of_body,
    inputs_of_body,
)
from serving.serving_error import ServingError, invalid_argument
from serving.tensor_codec import encode_tensor

_HTTP_CODES = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
_CORS_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": "Content-Type",
}
_MODEL = "/v1/models/<name:name>"
_VERSIONS = ("", "/versions/<int:version>", "/labels/<name:label>")

_LOGGER = logging.getLogger(__name__)

Answer = Callable[["Call"], bytes]


class _NameConverter(BaseConverter):
    """A model's name, up to the method that follows a colon."""

    regex = "[^/:]+"


class Call:
    """A request to a model.

    Args:
        request: The HTTP request.
        spec: The model.
        timeout: Seconds that it may take.
    """

    def __init__(
        self, request: Request, spec: model_pb2.ModelSpec, timeout: float
    ) -> None:
        self.spec = spec
        self.timeout = timeout
        self._request = request

    def body(self) -> dict[str, Any]:
        """Parses the body.

        Raises:
            ServingError: If it is no JSON object.
        """
        text = self._request.get_data(cache=False)
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise invalid_argument(f"JSON Parse error: {error}") from error
        if not isinstance(parsed, dict):
            raise invalid_argument(
                "Request must be a JSON object. Received: "
                f"{type(parsed).__name__}"
            )
        if "signature_name" in parsed:
            self.spec.signature_name = _text(parsed, "signature_name")
        return parsed


class RestApp:
    """The REST interface.

    Args:
        inference: Answers the requests.
        metrics: Counts them.
        timeout: Seconds that a request may take.
        metrics_path: Where Prometheus reads; `None` for nowhere.
        with_cors: Whether pages of other origins may ask.
    """

    def __init__(
        self,
        inference: Inference,
        metrics: Metrics,
        timeout: float = 30.0,
        metrics_path: str | None = None,
        *,
        with_cors: bool = False,
    ) -> None:
        self._inference = inference
        self._metrics = metrics
        self._timeout = timeout
        self._headers = _CORS_HEADERS if with_cors else {}
        answers: dict[str, tuple[str, Answer]] = {
            ":predict": ("POST", self._predict),
            ":classify": ("POST", self._classify),
            ":regress": ("POST", self._regress),
            "/metadata": ("GET", self._metadata),
            "": ("GET", self._status),
        }
        rules = [
            Rule(
                f"{_MODEL}{version}{ending}",
                endpoint=answer,
                methods=[method],
            )
            for version in _VERSIONS
            for ending, (method, answer) in answers.items()
        ]
        self._map = Map(
            rules,
            merge_slashes=False,
            converters={"name": _NameConverter},
        )
        self._metrics_path = metrics_path

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answers a request, as WSGI applications do."""
        request = Request(environ)
        if self._metrics_path and request.path == self._metrics_path:
            response = Response(
                self._metrics.text(), content_type="text/plain; version=0.0.4"
            )
        elif request.method == "OPTIONS" and self._headers:
            response = Response(status=204)
        else:
            response = self._response(request)
        response.headers.update(self._headers)
        return response(environ, start_response)

    def _response(self, request: Request) -> Response:
        started = time.perf_counter()
        code, method, name = grpc.StatusCode.OK, "", ""
        try:
            answer, values = self._map.bind_to_environ(request.environ).match()
            method = answer.__name__.strip("_")
            name = values["name"]
            spec = model_pb2.ModelSpec(name=name)
            if "version" in values:
                spec.version.value = values["version"]
            if "label" in values:
                spec.version_label = values["label"]
            content, status = answer(Call(request, spec, self._timeout)), 200
        except HTTPException as error:
            # RoutingException for a path, or a body that is too large.
            status = error.code or 404
            content = _error(
                f"Malformed request: {request.method} {request.path}"
            )
        except (ServingError, OverflowError) as error:
            code = getattr(error, "code", grpc.StatusCode.INVALID_ARGUMENT)
            content = _error(str(error))
            status = _HTTP_CODES.get(code, 500)
        except Exception as error:  # A defect; the server goes on.
            _LOGGER.exception("%s %s failed", request.method, request.path)
            code, status = grpc.StatusCode.INTERNAL, 500
            content = _error(f"{type(error).__name__}: {error}")
        if method:
            self._metrics.count(
                method,
                "REST",
                self._inference.manager.known(name),
                code,
                time.perf_counter() - started,
            )
        return Response(content, status=status, content_type="application/json")

    def _predict(self, call: Call) -> bytes:
        body = call.body()
        with self._inference.manager.use(*_choice(call.spec)) as (model, _):
            name = call.spec.signature_name or DEFAULT_SIGNATURE
            signature = signature_of(model, name)
        request = predict_pb2.PredictRequest(model_spec=call.spec)
        inputs, in_rows = inputs_of_body(body, signature)
        for alias, array in inputs.items():
            request.inputs[alias].CopyFrom(encode_tensor(array))
        outputs, _ = self._inference.predict(request, call.timeout)
        return _dump(body_of_outputs(outputs, in_rows=in_rows))

    def _classify(self, call: Call) -> bytes:
        body = call.body()
        response = self._inference.classify(
            classification_pb2.ClassificationRequest(
                model_spec=call.spec, input=examples_of_body(body)
            ),
            call.timeout,
        )
        return _dump(
            {
                "results": [
                    [[each.label, each.score] for each in item.classes]
                    for item in response.result.classifications
                ]
            }
        )

    def _regress(self, call: Call) -> bytes:
        body = call.body()
        response = self._inference.regress(
            regression_pb2.RegressionRequest(
                model_spec=call.spec, input=examples_of_body(body)
            ),
            call.timeout,
        )
        values = [each.value for each in response.result.regressions]
        return _dump({"results": values})

    def _metadata(self, call: Call) -> bytes:
        response = self._inference.metadata(
            get_model_metadata_pb2.GetModelMetadataRequest(
                model_spec=call.spec, metadata_field=["signature_def"]
            )
        )
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        spec = response.model_spec
        return _dump(
            {
                "model_spec": {
                    "name": spec.name,
                    "signature_name": spec.signature_name,
                    "version": str(spec.version.value),
                },
                "metadata": {"signature_def": _message(signatures)},
            }
        )

    def _status(self, call: Call) -> bytes:
        response = model_status(
            self._inference,
            get_model_status_pb2.GetModelStatusRequest(model_spec=call.spec),
        )
        found = _message(response)
        for each in found["model_version_status"]:
            # A `Code` of TensorFlow's, whose names are those of gRPC.
            number = each["status"].get("error_code", 0)
            if isinstance(number, int):
                each["status"]["error_code"] = _code_name(number)
        return _dump(found)


def _choice(
    spec: model_pb2.ModelSpec,
) -> tuple[str, int | None, str | None]:
    return (spec.name, *version_choice(spec))


def _message(message: Any) -> dict[str, Any]:
    found: dict[str, Any] = json_format.MessageToDict(
        message,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )
    return found


def _code_name(number: int) -> str:
    names = {code.value[0]: code.name for code in grpc.StatusCode}
    return names.get(number, "UNKNOWN")


def _text(body: Mapping[str, Any], name: str) -> str:
    if not isinstance(body[name], str):
        raise invalid_argument(f'Expected "{name}" to be a string')
    return str(body[name])


def _error(message: str) -> bytes:
    return _dump({"error": message})


def _dump(value: Any) -> bytes:
    return json.dumps(value).encode()
