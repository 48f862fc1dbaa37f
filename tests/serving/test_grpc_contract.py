"""TensorFlow Serving's answers, row by row, over a real socket."""

import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.grpc_services import MODEL_SERVICE, PREDICTION_SERVICE
from serving.inference import Inference
from tests.serving.saved_models import CLASSIFY, REGRESS, examples, half_plus

State = get_model_status_pb2.ModelVersionStatus.State


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as opened:
        yield opened


@pytest.fixture(scope="module")
def predictions(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def models(channel):
    return model_service_pb2_grpc.ModelServiceStub(channel)


def request(name="half_plus", version=None, label=None, signature="", **inputs):
    found = predict_pb2.PredictRequest()
    found.model_spec.name = name
    found.model_spec.signature_name = signature
    if version is not None:
        found.model_spec.version.value = version
    if label is not None:
        found.model_spec.version_label = label
    for alias, value in inputs.items():
        found.inputs[alias].CopyFrom(tf.make_tensor_proto(value))
    return found


X = np.array([1, 2, 5], np.float32)


def assert_fails(call, message, code, *parts):
    with pytest.raises(grpc.RpcError) as caught:
        call(message, timeout=20)
    assert caught.value.code() is code, caught.value
    for part in parts:
        assert part in caught.value.details()


@pytest.mark.parametrize(
    ("choice", "version"),
    [({}, 3), ({"version": 2}, 2), ({"label": "stable"}, 2)],
)
def test_predicts_with_the_version_asked_for(predictions, choice, version):
    response = predictions.Predict(request(x=X, **choice))
    np.testing.assert_allclose(
        tf.make_ndarray(response.outputs["y"]), half_plus(X, version)
    )
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == (
        *("half_plus", version),
        "serving_default",
    )
    # TensorFlow Serving's default way of holding values.
    assert response.outputs["y"].float_val
    assert not response.outputs["y"].tensor_content


def test_every_type_of_output(predictions):
    response = predictions.Predict(
        request(
            signature="describe",
            pixels=np.array([[1, 2], [250, 250]], np.uint8),
            title=b"n\xff",
        )
    )
    found = {k: tf.make_ndarray(v) for k, v in response.outputs.items()}
    np.testing.assert_array_equal(found["sums"], [3, 500])
    assert found["title"] == b"n\xff!"
    assert found["raw_bytes"].tolist() == [b"\xff\x00"] * 2


INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
MISMATCH = "input size does not match signature: "


@pytest.mark.parametrize(
    ("message", "code", "parts"),
    [
        (predict_pb2.PredictRequest(), INVALID, ["Missing ModelSpec"]),
        (
            request("", signature="x"),
            INVALID,
            ["ModelSpec has no name specified."],
        ),
        (
            request("nobody", x=X),
            NOT_FOUND,
            ["Servable not found for request: Latest(nobody)"],
        ),
        (
            request(version=7, x=X),
            NOT_FOUND,
            ["Servable not found for request: Specific(half_plus, 7)"],
        ),
        (
            request(version=1, x=X),
            NOT_FOUND,
            ["Servable not found for request: Specific(half_plus, 1)"],
        ),
        (
            request(label="no", x=X),
            INVALID,
            ["Unrecognized servable version label: no"],
        ),
        (
            request(signature="no", x=X),
            grpc.StatusCode.FAILED_PRECONDITION,
            ['Serving signature key "no" not found.'],
        ),
        (
            request(),
            INVALID,
            [MISMATCH + "0!=1", "Missing but required: {x}."],
        ),
        (
            request(x=X, extra=X),
            INVALID,
            [MISMATCH + "2!=1", "Sent extra: {extra}."],
        ),
        (request(other=X), INVALID, ["other", "Missing but required: {x}."]),
        (
            request(x=X.astype(np.float64)),
            INVALID,
            ["Expects arg[0] to be float but double is provided"],
        ),
        (
            request(x=X[None]),
            INVALID,
            ["Shape of tensor x", "not compatible with expected shape [?]"],
        ),
        (
            request("facegcn", photos=np.zeros((1, 30, 30, 3), np.uint8)),
            INVALID,
            ["is not compatible with expected shape [?,32,32,3]"],
        ),
        (
            request("facegcn", signature="encoded", photos=[b"no photo"]),
            INVALID,
            ["Expected the bytes of a JPEG or PNG file"],
        ),
    ],
)
def test_says_what_is_wrong_with_a_prediction(
    predictions, message, code, parts
):
    assert_fails(predictions.Predict, message, code, *parts)


def test_undecodable_tensors_name_their_input(predictions):
    message = request(x=X)
    message.inputs["x"].tensor_shape.dim[0].size = 4
    assert_fails(
        *(predictions.Predict, message, INVALID, "tensor parsing error: x")
    )


def test_a_request_that_is_no_message(channel):
    call = channel.unary_unary(f"/{PREDICTION_SERVICE}/Predict")
    assert_fails(
        call, b"\xff" * 30, INVALID, "The request is no PredictRequest"
    )


def test_output_filter(predictions):
    message = request(
        signature="describe",
        pixels=np.zeros((1, 2), np.uint8),
        title=b"n",
    )
    message.output_filter.append("title")
    assert set(predictions.Predict(message).outputs) == {"title"}
    message.output_filter.append("title")
    duplicate = "duplicate output tensor alias: title"
    assert_fails(predictions.Predict, message, INVALID, duplicate)
    message.output_filter[1] = "z"
    unknown = "output tensor alias not found in signature: z"
    assert_fails(predictions.Predict, message, INVALID, unknown)


def test_too_large_a_request_is_refused(predictions):
    message = request(x=np.zeros(600_000, np.float32))
    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    assert_fails(predictions.Predict, message, code, "larger than max")


def test_classifies_and_regresses_examples(predictions):
    message = regression_pb2.RegressionRequest()
    message.model_spec.name = "examples"
    message.input.example_list.examples.extend(examples(1, 4))
    found = predictions.Regress(message)
    assert [each.value for each in found.result.regressions] == [2.5, 4.0]
    assert found.model_spec.version.value == 7

    message = classification_pb2.ClassificationRequest()
    message.model_spec.name = "examples"
    message.model_spec.signature_name = "classify"
    with_context = message.input.example_list_with_context
    with_context.examples.extend(examples(1, 4))
    shift = with_context.context.features.feature["shift"]
    shift.float_list.value.append(10)
    found = predictions.Classify(message)
    (first, second) = found.result.classifications
    assert [each.label for each in first.classes] == ["low", "high"]
    assert [each.score for each in first.classes] == [-11.5, 12.5]
    assert [each.score for each in second.classes] == [-13.0, 14.0]


def test_says_what_is_wrong_with_examples(predictions):
    message = regression_pb2.RegressionRequest()
    message.model_spec.name = "examples"
    assert_fails(predictions.Regress, message, INVALID, "Input is empty")
    message.input.example_list.examples.extend(examples(1))
    message.model_spec.signature_name = "classify"
    outputs = "Expected one output Tensor"
    assert_fails(predictions.Regress, message, INVALID, outputs)
    message.model_spec.signature_name = "no"
    unknown = "No signature was found with the name: no"
    assert_fails(predictions.Regress, message, INVALID, unknown)
    message.model_spec.signature_name = ""
    message.model_spec.name = "half_plus"
    precondition = grpc.StatusCode.FAILED_PRECONDITION
    no_inputs = "No regression inputs found in SignatureDef"
    assert_fails(predictions.Regress, message, precondition, no_inputs)


def test_infers_several_tasks(predictions):
    message = inference_pb2.MultiInferenceRequest()
    message.input.example_list.examples.extend(examples(4))
    for method, signature in ((REGRESS, ""), (CLASSIFY, "classify")):
        task = message.tasks.add(method_name=method)
        task.model_spec.name = "examples"
        task.model_spec.signature_name = signature
    first, second = predictions.MultiInference(message).results
    assert first.regression_result.regressions[0].value == 4
    classes = second.classification_result.classifications[0].classes
    assert [each.score for each in classes] == [-3, 4]
    message.tasks[1].model_spec.name = "half_plus"
    same = "must access the same model name"
    assert_fails(predictions.MultiInference, message, INVALID, same)


def test_metadata(predictions):
    message = get_model_metadata_pb2.GetModelMetadataRequest()
    call = predictions.GetModelMetadata
    assert_fails(call, message, INVALID, "Missing ModelSpec")
    message.model_spec.name = "half_plus"
    missing = "must specify at least one metadata_field"
    assert_fails(call, message, INVALID, missing)
    message.metadata_field.append("weights")
    unknown = "Metadata field weights is not supported"
    assert_fails(call, message, INVALID, unknown)
    message.metadata_field[0] = "signature_def"
    response = call(message)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert set(signatures.signature_def) == {"serving_default", "describe"}
    assert response.model_spec.version.value == 3


def test_status(models):
    message = get_model_status_pb2.GetModelStatusRequest()
    call = models.GetModelStatus
    assert_fails(call, message, INVALID, "Missing ModelSpec")
    message.model_spec.name = "nobody"
    missing = "Could not find any versions of model nobody"
    assert_fails(call, message, NOT_FOUND, missing)
    message.model_spec.name = "half_plus"
    found = call(message).model_version_status
    assert [(each.version, each.state) for each in found] == [
        (3, State.AVAILABLE),
        (2, State.AVAILABLE),
    ]
    message.model_spec.version.value = 9
    missing = "Could not find version 9 of model half_plus"
    assert_fails(call, message, NOT_FOUND, missing)


def test_reload_takes_lists_of_models_only(models):
    message = model_management_pb2.ReloadConfigRequest()
    only = "Only ModelConfigList is currently supported"
    assert_fails(models.HandleReloadConfigRequest, message, INVALID, only)


def test_health_and_reflection(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ("", PREDICTION_SERVICE, MODEL_SERVICE):
        response = stub.Check(health_pb2.HealthCheckRequest(service=service))
        assert response.status == health_pb2.HealthCheckResponse.SERVING
    reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    (answer,) = reflection.ServerReflectionInfo(iter([asked]))
    names = {each.name for each in answer.list_services_response.service}
    assert {PREDICTION_SERVICE, MODEL_SERVICE} <= names


def test_the_callers_request_id_comes_back(channel):
    call = channel.unary_unary(
        f"/{PREDICTION_SERVICE}/Predict",
        predict_pb2.PredictRequest.SerializeToString,
    )
    _, finished = call.with_call(
        request(x=X), metadata=[("x-request-id", "mine")]
    )
    assert dict(finished.trailing_metadata())["x-request-id"] == "mine"


def test_late_requests_never_run_and_too_many_are_refused(
    server, predictions, monkeypatch
):
    started, go_on = threading.Semaphore(0), threading.Event()
    num_runs = []
    predict = Inference.predict

    def slow_predict(self, message, timeout=None):
        with self.admission.admit(timeout):
            num_runs.append(message.model_spec.name)
            started.release()
            go_on.wait(30)
        return predict(self, message, None)

    admission = server._inference.admission
    monkeypatch.setattr(admission, "max_running", 1)
    monkeypatch.setattr(admission, "max_waiting", 1)
    monkeypatch.setattr(Inference, "predict", slow_predict)
    running = predictions.Predict.future(request(x=X))
    assert started.acquire(timeout=20)
    late = predictions.Predict.future(request(x=X), timeout=0.3)
    time.sleep(0.1)
    begun = time.monotonic()
    exhausted = grpc.StatusCode.RESOURCE_EXHAUSTED
    assert_fails(
        *(predictions.Predict, request(x=X), exhausted, "which is the limit")
    )
    assert time.monotonic() - begun < 0.2
    assert late.exception().code() is grpc.StatusCode.DEADLINE_EXCEEDED
    time.sleep(0.1)
    go_on.set()
    assert running.result().outputs["y"].float_val
    assert len(num_runs) == 1
    assert admission.wait_until_idle(10)
