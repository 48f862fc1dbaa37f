"""`facegcn serve` as a process of its own."""

import json
import signal
import threading
import time
from pathlib import Path

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
import trustme
from tensorflow_serving.apis import (
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.server_process import free_port, wait_until_serving
from tests.serving.saved_models import half_plus, save_half_plus
from tests.serving.server_process import serving
from tf_facegcn.serve_command import _as_words

pytestmark = pytest.mark.slow


def predict(channel, x=4.0, name="half_plus"):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    value = np.array([x], np.float32)
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(value))
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    response = stub.Predict(request, timeout=20)
    return response.outputs["y"].float_val[0], response.model_spec.version.value


def test_swaps_versions_and_ends_under_load_without_a_failure(tmp_path):
    base = tmp_path / "half_plus"
    save_half_plus(base / "1", 1)
    batching, session = tmp_path / "batching", tmp_path / "session"
    batching.write_text("max_batch_size { value: 4 }")
    session.write_text("allow_soft_placement: true")
    port, rest_port = free_port(), free_port()
    answers, failures, ended = [], [], threading.Event()
    with (
        serving(
            # As TensorFlow Serving writes them.
            f"--port={port}",
            f"--rest_api_port={rest_port}",
            "--model_name=half_plus",
            f"--model_base_path={base}",
            "--file_system_poll_wait_seconds=0.2",
            "--enable_model_warmup",
            "--max_waiting_requests=100",
            "--enable_batching",
            f"--batching_parameters_file={batching}",
            f"--tensorflow_session_config_file={session}",
            "--rest_api_enable_cors_support",
            "--num_request_iterations_for_warmup=2",
            "--grpc_max_threads=40",
        ) as (process, _),
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        wait_until_serving(f"localhost:{port}", process)

        def ask():
            while not ended.is_set():
                try:
                    answers.append(predict(channel))
                except grpc.RpcError as error:
                    # Once it ends, it refuses what is new. What gRPC holds and
                    # has not given to Python yet, it cancels, see
                    # https://github.com/grpc/grpc/issues/41785.
                    refused = error.code() in (
                        grpc.StatusCode.UNAVAILABLE,
                        grpc.StatusCode.CANCELLED,
                    )
                    if not (stopping.is_set() and refused):
                        failures.append(error)
                        return
                    time.sleep(0.05)

        stopping = threading.Event()
        threads = [threading.Thread(target=ask, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        for version in range(2, 7):
            save_half_plus(tmp_path / "next", version)
            (tmp_path / "next").rename(base / str(version))
            end = time.monotonic() + 30
            while not answers or answers[-1][1] != version:
                assert time.monotonic() < end and not failures
                time.sleep(0.02)
        status = requests.get(
            f"http://127.0.0.1:{rest_port}/v1/models/half_plus", timeout=10
        ).json()
        assert status["model_version_status"][0]["version"] == "6"
        stopping.set()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        ended.set()
        for thread in threads:
            thread.join(20)
    assert not failures
    for y, version in answers:
        assert y == half_plus(4.0, version)


def test_ends_at_once_while_it_loads(tmp_path, exported):
    with serving(f"--model_base_path={exported.parent}") as (process, read_log):
        end = time.monotonic() + 60
        while not read_log() and time.monotonic() < end:
            time.sleep(0.01)
            # Python's handlers are there once TensorFlow is imported.
            if "libtensorflow" in maps_of(process):
                break
        time.sleep(1.0)
        process.send_signal(signal.SIGTERM)
        status = process.wait(60)
        assert status in (0, -signal.SIGTERM)
        assert "Traceback" not in read_log()


def maps_of(process):
    """The libraries that a process has loaded."""
    try:
        return Path(f"/proc/{process.pid}/maps").read_text()
    except OSError:
        return "libtensorflow"


def pem_of(certificate):
    """The key and the certificate, as PEM."""
    return (
        certificate.private_key_pem.bytes(),
        b"".join(each.bytes() for each in certificate.cert_chain_pems),
    )


def test_mutual_tls_unix_socket_and_files_of_configuration(
    tmp_path, models_folder
):
    certificates = trustme.CA()
    authority = certificates.cert_pem.bytes()
    server_key, server_cert = pem_of(certificates.issue_cert("localhost"))
    key, cert = pem_of(certificates.issue_cert("client@localhost"))

    def text(value):
        return json.dumps(value.decode())

    ssl_file = tmp_path / "ssl.pbtxt"
    ssl_file.write_text(
        f"server_key: {text(server_key)}\nserver_cert: {text(server_cert)}\n"
        f"custom_ca: {text(authority)}\nclient_verify: true\n"
    )
    models_file = tmp_path / "models.pbtxt"
    base = models_folder / "half_plus"

    def write_models(version):
        models_file.write_text(
            'model_config_list { config { name: "half_plus" '
            f'base_path: "{base}" model_platform: "tensorflow" '
            "model_version_policy { specific { versions: "
            f"{version} }} }} }} }}"
        )

    write_models(2)
    monitoring = tmp_path / "monitoring.pbtxt"
    monitoring.write_text('prometheus_config { enable: true path: "/m" }')
    port, rest_port = free_port(), free_port()
    socket_path = tmp_path / "socket"
    with (
        serving(
            *("--port", port, "--rest-api-port", rest_port),
            *("--ssl-config-file", ssl_file),
            *("--model-config-file", models_file),
            *("--model-config-file-poll-wait-seconds", 0.2),
            *("--monitoring-config-file", monitoring),
            *("--grpc-socket-path", socket_path),
            *("--host", "127.0.0.1", "--log-format", "json"),
        ) as (process, read_log),
        grpc.insecure_channel(f"unix:{socket_path}") as local,
    ):
        wait_until_serving(f"unix:{socket_path}", process)
        assert predict(local) == (half_plus(4.0, 2), 2)
        address = f"localhost:{port}"
        both = grpc.ssl_channel_credentials(authority, key, cert)
        with grpc.secure_channel(address, both) as channel:
            assert predict(channel) == (half_plus(4.0, 2), 2)
        alone = grpc.ssl_channel_credentials(authority)
        with (
            grpc.secure_channel(address, alone) as channel,
            pytest.raises(grpc.RpcError),
        ):
            predict(channel)
        text = requests.get(f"http://127.0.0.1:{rest_port}/m", timeout=10).text
        assert 'request_count{model_name="half_plus",status="OK"} 2.0' in text
        write_models(3)
        end = time.monotonic() + 30
        while predict(local)[1] != 3:
            assert time.monotonic() < end
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        lines = [json.loads(line) for line in read_log().splitlines()]
    assert {"time", "level", "logger", "message"} <= set(lines[0])
    assert any("half_plus version 3: loaded" in x["message"] for x in lines)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "--model-base-path DIR"),
        (["--model_config_file=nowhere"], 1, "nowhere"),
        (["--model_base_path=.", "--port=1", "--host=8.8.8.8"], 1, "listen"),
        (["--model_base_path=.", "--model_nam=x"], 2, "No such option"),
        (["--model_base_path=.", "--port=9", "--rest_api_port=9"], 2, "both 9"),
        (
            ["--model_base_path=.", "--batching_parameters_file=x"],
            2,
            "needs --enable_batching",
        ),
        (["--model_base_path=.", "--enable_batching=3"], 2, "true or false"),
        (
            ["--model_base_path=.", "--ssl_config_file=pyproject.toml"],
            1,
            "SSLConfig",
        ),
    ],
)
def test_wrong_usage_ends_with_one_line(arguments, code, message):
    with serving(*arguments) as (process, read_log):
        process.wait(60)
        output = read_log()
    assert process.returncode == code
    assert message in output
    assert "Traceback" not in output


def test_flags_of_tensorflow_serving_become_words(capsys):
    given = [
        "--model_name=a_b",
        "--enable_model_warmup",
        "x_y",
        "--flush_filesystem_caches=true",
    ]
    assert _as_words(given) == [
        "--model-name=a_b",
        "--enable-model-warmup=true",
        "x_y",
    ]
    assert "--flush-filesystem-caches is ignored" in capsys.readouterr().err
