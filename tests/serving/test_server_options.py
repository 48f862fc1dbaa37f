"""What a server can be told to do otherwise, over real sockets."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.config.model_server_config_pb2 import ModelConfig

from serving.batching_options import BatchingOptions
from serving.server import ModelServer
from serving.server_options import ServerOptions
from tests.serving.saved_models import (
    CLASSIFY,
    examples,
    half_plus,
    save_native_examples,
)


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    folder = tmp_path_factory.mktemp("native")
    save_native_examples(folder / "1")
    return folder


@pytest.fixture(scope="module")
def start(models_folder, native):
    started = []

    def start_server(**options):
        bases = {"half_plus": models_folder / "half_plus", "native": native}
        models = tuple(
            ModelConfig(name=name, base_path=str(base))
            for name, base in bases.items()
        )
        server = ModelServer(
            ServerOptions(
                models,
                host="127.0.0.1",
                port=0,
                rest_port=0,
                metrics_path="/metrics",
                **options,
            )
        )
        server.start()
        started.append(server)
        return server

    yield start_server
    for server in started:
        server.stop(5)


@pytest.fixture(scope="module")
def batching_server(start):
    return start(
        batching=BatchingOptions(
            max_batch_size=8,
            timeout=0.2,
            num_threads=1,
            allowed_sizes=(4, 8),
        ),
        max_running=64,
        with_tensor_content=True,
        with_cors=True,
    )


def stub_of(server):
    channel = grpc.insecure_channel(f"127.0.0.1:{server.port}")
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def request_of(x):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "half_plus"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.float32(x)))
    return request


def classification():
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = "native"
    request.model_spec.signature_name = "classify"
    request.input.example_list.examples.extend(examples(1, 3))
    return request


def metrics_of(server):
    url = f"http://127.0.0.1:{server.rest_port}/metrics"
    text = requests.get(url, timeout=20).text
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            found[name] = float(value)
    return found


def test_is_ready_once_it_listens(start):
    found = stub_of(start()).Predict(request_of([1.0]), timeout=20)
    assert found.outputs["y"].float_val[0] == half_plus(1.0, 3)


def test_requests_share_batches_and_get_their_own_rows(batching_server):
    stub = stub_of(batching_server)
    before = metrics_of(batching_server)

    def ask(x):
        response = stub.Predict(request_of([x, x + 1]), timeout=20)
        return tf.make_ndarray(response.outputs["y"])

    values = np.arange(16) * 10.0
    with ThreadPoolExecutor(16) as pool:
        for x, y in zip(values, pool.map(ask, values), strict=True):
            np.testing.assert_array_equal(y, half_plus([x, x + 1], 3))
    after = metrics_of(batching_server)
    session = ":tensorflow:serving:batching_session:"

    def added(name):
        return after[session + name] - before[session + name]

    assert added("input_batch_size_count") == 16
    assert added("input_batch_size_sum") == 32
    # 32 rows in batches of 8 or of 4, padding included; it was not always so
    # that a request was alone.
    assert 4 <= added("processed_batch_size_count") < 16
    assert added("processed_batch_size_sum") % 4 == 0
    assert added("queuing_latency_count") == 16


def test_batching_needs_rows(batching_server):
    with pytest.raises(grpc.RpcError) as caught:
        stub_of(batching_server).Predict(request_of(1.0), timeout=20)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "at least one dimension" in caught.value.details()


def test_answers_in_packed_bytes(batching_server):
    found = stub_of(batching_server).Predict(request_of([1.0]), timeout=20)
    y = found.outputs["y"]
    assert not y.float_val
    expected = half_plus([1.0], 3).astype("<f4").tobytes()
    assert y.tensor_content == expected


def test_pages_of_other_origins_may_ask(batching_server, start):
    url = f"http://127.0.0.1:{batching_server.rest_port}/v1/models/half_plus"
    allowed = requests.options(f"{url}:predict", timeout=20)
    assert allowed.status_code == 204
    for response in (allowed, requests.get(url, timeout=20)):
        assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert "Content-Type" in allowed.headers["Access-Control-Allow-Headers"]
    other = start()
    url = f"http://127.0.0.1:{other.rest_port}/v1/models/half_plus"
    headers = requests.get(url, timeout=20).headers
    assert "Access-Control-Allow-Origin" not in headers


def test_native_signatures_classify_unless_their_method_is_checked(
    batching_server, start
):
    found = stub_of(batching_server).Classify(classification(), timeout=20)
    scores = [
        [each.score for each in item.classes]
        for item in found.result.classifications
    ]
    assert scores == [[0.5, 0.5], [-0.5, 1.5]]
    strict = stub_of(start(check_method_names=True))
    with pytest.raises(grpc.RpcError) as caught:
        strict.Classify(classification(), timeout=20)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert f"method_name to be {CLASSIFY}" in caught.value.details()


def test_counts_under_tensorflow_servings_names(batching_server, native):
    stub_of(batching_server).Classify(classification(), timeout=20)
    url = f"http://127.0.0.1:{batching_server.rest_port}/v1/models/native"
    requests.post(
        f"{url}:regress", json={"examples": [{"x": 1.0}]}, timeout=20
    ).raise_for_status()
    found = metrics_of(batching_server)
    serving, loads = ":tensorflow:serving:", ":tensorflow:cc:saved_model:"
    for name in (
        serving + 'request_count{model_name="native",status="OK"}',
        serving + 'request_latency_count{API="Classify",entrypoint="GRPC",'
        'model_name="native"}',
        serving + 'request_latency_count{API="regress",entrypoint="REST",'
        'model_name="native"}',
        serving + 'runtime_latency_count{API="Classify",'
        'model_name="native",runtime="TF1"}',
        f'{loads}load_latency{{model_path="{native}/1"}}',
        f'{loads}load_attempt_count{{model_path="{native}/1",'
        'status="success"}',
        f'{serving}model_warmup_latency_count{{model_path="{native}/1",'
        'status="success"}',
    ):
        assert found[name] >= 1, name
    assert not any("_created" in name for name in found)


def test_tells_of_a_failed_load(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"\xff" * 40)
    server = ModelServer(
        ServerOptions(
            (ModelConfig(name="broken", base_path=str(tmp_path)),),
            host="127.0.0.1",
            port=0,
            rest_port=0,
            metrics_path="/metrics",
            num_load_retries=0,
        )
    )
    server.start()
    try:
        url = f"http://127.0.0.1:{server.rest_port}/v1/models/broken"
        (status,) = requests.get(url, timeout=20).json()["model_version_status"]
        assert status["state"] == "END"
        assert "cannot be loaded" in status["status"]["error_message"]
        name = (
            ":tensorflow:cc:saved_model:load_attempt_count"
            f'{{model_path="{tmp_path}/1",status="fail"}}'
        )
        assert metrics_of(server)[name] == 1
    finally:
        server.stop(5)


def test_a_graph_of_other_tags_is_not_found(start, native):
    server = start(saved_model_tags=("gpu", "serve"), num_load_retries=0)
    url = f"http://127.0.0.1:{server.rest_port}/v1/models/native"
    (status,) = requests.get(url, timeout=20).json()["model_version_status"]
    assert status["state"] == "END"
    assert "gpu" in status["status"]["error_message"]


def test_threads_share_the_cores():
    models = (ModelConfig(name="a", base_path="/a"),)
    many = ServerOptions(models, max_running=1000)
    assert many.session_config().intra_op_parallelism_threads == 1
    told = ServerOptions(models, intra_op_threads=3, inter_op_threads=2)
    assert told.session_config().intra_op_parallelism_threads == 3
    assert told.session_config().inter_op_parallelism_threads == 2
    session = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=5, allow_soft_placement=True
    )
    given = ServerOptions(models, session=session).session_config()
    assert given.intra_op_parallelism_threads == 5
    assert given.allow_soft_placement
