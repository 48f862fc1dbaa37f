"""REST interface of TensorFlow Serving, a WSGI application."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.example import example_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    input_pb2,
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
    check_names,
    signature_of,
    version_choice,
)
from serving.loaded_model import Arrays, Signature
from serving.metrics import Metrics
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
_MODEL = "/v1/models/<name:name>"
_VERSIONS = ("", "/versions/<int:version>", "/labels/<name:label>")
_BASE64_KEY = "b64"

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
    """

    def __init__(
        self,
        inference: Inference,
        metrics: Metrics,
        timeout: float = 30.0,
        metrics_path: str | None = None,
    ) -> None:
        self._inference = inference
        self._metrics = metrics
        self._timeout = timeout
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
        else:
            response = self._response(request)
        return response(environ, start_response)

    def _response(self, request: Request) -> Response:
        started = time.perf_counter()
        code, method, name = grpc.StatusCode.OK, "", ""
        try:
            answer, values = self._map.bind_to_environ(request.environ).match()
            method = answer.__name__.strip("_").title()
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
        is_row_format = "instances" in body
        if is_row_format == ("inputs" in body):
            raise invalid_argument(
                'Expected either "instances" or "inputs" in the request'
            )
        inputs = (
            _of_rows(body["instances"], signature)
            if is_row_format
            else _of_columns(body["inputs"], signature)
        )
        for alias, array in inputs.items():
            request.inputs[alias].CopyFrom(encode_tensor(array))
        outputs, _ = self._inference.predict(request, call.timeout)
        if is_row_format:
            return _dump({"predictions": _rows(outputs)})
        columns = {name: _plain(name, value) for name, value in outputs.items()}
        single = len(columns) == 1
        found = next(iter(columns.values())) if single else columns
        return _dump({"outputs": found})

    def _classify(self, call: Call) -> bytes:
        body = call.body()
        response = self._inference.classify(
            classification_pb2.ClassificationRequest(
                model_spec=call.spec, input=_examples(body)
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
                model_spec=call.spec, input=_examples(body)
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


def _of_rows(rows: Any, signature: Signature) -> Arrays:
    if not isinstance(rows, list) or not rows:
        raise invalid_argument(
            'Expected "instances" to be a list that is not empty'
        )
    names = sorted(signature.inputs)
    by_name = all(
        isinstance(row, dict) and set(row) != {_BASE64_KEY} for row in rows
    )
    if not by_name:
        if len(names) != 1:
            raise invalid_argument(
                "Expected each of the instances to be an object with the "
                f"inputs {names}"
            )
        return {names[0]: _array(names[0], rows, signature)}
    check_names(signature, rows[0])
    for row in rows:
        if set(row) != set(names):
            raise invalid_argument(
                "Expected the same inputs in all instances, "
                f"{names}. Received: {sorted(row)}"
            )
    return {
        name: _array(name, [row[name] for row in rows], signature)
        for name in names
    }


def _of_columns(columns: Any, signature: Signature) -> Arrays:
    names = sorted(signature.inputs)
    if not isinstance(columns, dict) or set(columns) == {_BASE64_KEY}:
        if len(names) != 1:
            raise invalid_argument(
                f'Expected "inputs" to be an object with the inputs {names}'
            )
        return {names[0]: _array(names[0], columns, signature)}
    check_names(signature, columns)
    return {
        name: _array(name, value, signature) for name, value in columns.items()
    }


def _array(name: str, value: Any, signature: Signature) -> np.ndarray:
    """Makes an array of an input's type out of JSON."""
    info: meta_graph_pb2.TensorInfo = signature.inputs[name]
    dtype = tf.dtypes.as_dtype(info.dtype)
    try:
        shape, items = _flatten(value)
        if dtype == tf.string:
            array = np.empty(len(items), object)
            array[:] = [_bytes(item) for item in items]
        elif dtype == tf.bool:
            _check_types(items, bool)
            array = np.array(items, np.bool_)
        else:
            _check_types(items, (int, float) if dtype.is_floating else int)
            array = np.array(items).astype(dtype.as_numpy_dtype)
            if dtype.is_integer and array.tolist() != items:
                raise ValueError(f"a number that {dtype.name} cannot hold")
        return array.reshape(shape)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise invalid_argument(
            f"JSON Value of {name} is no tensor of type {dtype.name}: {error}"
        ) from error


def _flatten(value: Any) -> tuple[list[int], list[Any]]:
    """Finds the shape of nested lists, and what they hold in order."""
    shape, items = [], [value]
    while items and isinstance(items[0], list):
        size = len(items[0])
        if not all(
            isinstance(item, list) and len(item) == size for item in items
        ):
            raise ValueError("lists of different lengths")
        shape.append(size)
        items = [item for row in items for item in row]
    if any(isinstance(item, list) for item in items):
        raise ValueError("lists beside values")
    return shape, items


def _check_types(items: list[Any], kinds: type | tuple[type, ...]) -> None:
    for item in items:
        is_number = not isinstance(item, bool) or kinds is bool
        if not isinstance(item, kinds) or not is_number:
            raise TypeError(f"{type(item).__name__} among its values")


def _bytes(item: Any) -> bytes:
    if isinstance(item, str):
        return item.encode()
    if isinstance(item, dict) and set(item) == {_BASE64_KEY}:
        return base64.b64decode(item[_BASE64_KEY], validate=True)
    raise TypeError(f"{type(item).__name__} among its strings")


def _rows(outputs: Arrays) -> list[Any]:
    for name, array in outputs.items():
        if not array.ndim:
            raise invalid_argument(
                f'Output {name} has no batch; ask with "inputs" instead of '
                '"instances"'
            )
    if len({len(array) for array in outputs.values()}) > 1:
        raise invalid_argument(
            'Outputs have batches of different sizes; ask with "inputs" '
            'instead of "instances"'
        )
    columns = {name: _plain(name, array) for name, array in outputs.items()}
    if len(columns) == 1:
        return list(next(iter(columns.values())))
    return [
        dict(zip(columns, row, strict=True))
        for row in zip(*columns.values(), strict=True)
    ]


def _plain(name: str, array: np.ndarray) -> Any:
    """Makes JSON of an array; bytes become base64 if the name says so."""
    if array.dtype != object:
        return array.tolist()
    values = np.empty(array.shape, object)
    for place, item in np.ndenumerate(array):
        values[place] = (
            {_BASE64_KEY: base64.b64encode(item).decode()}
            if name.endswith("_bytes")
            else item.decode(errors="replace")
        )
    return values.tolist()


def _examples(body: Mapping[str, Any]) -> input_pb2.Input:
    rows = body.get("examples")
    if not isinstance(rows, list) or not rows:
        raise invalid_argument(
            'Expected "examples" to be a list that is not empty'
        )
    found = input_pb2.Input()
    if "context" in body:
        examples = found.example_list_with_context
        _fill(examples.context, body["context"])
    else:
        examples = found.example_list
    for row in rows:
        _fill(examples.examples.add(), row)
    return found


def _fill(example: example_pb2.Example, features: Any) -> None:
    if not isinstance(features, dict):
        raise invalid_argument("Expected an object of features as an example")
    for name, value in features.items():
        values = value if isinstance(value, list) else [value]
        feature = example.features.feature[name]
        try:
            if all(type(item) is int for item in values):
                feature.int64_list.value.extend(values)
            elif all(type(item) in (int, float) for item in values):
                feature.float_list.value.extend(values)
            else:
                feature.bytes_list.value.extend(map(_bytes, values))
        except (TypeError, ValueError) as error:
            raise invalid_argument(
                f"Expected numbers or strings as feature {name}: {error}"
            ) from error


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
