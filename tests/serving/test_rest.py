"""TensorFlow Serving's REST interface, over a real socket."""

import base64
import json

import numpy as np
import pytest
import requests

from tests.imaging.photo_files import ASTRONAUT
from tests.serving.saved_models import half_plus


@pytest.fixture(scope="module")
def url(server):
    return f"http://127.0.0.1:{server.rest_port}/v1/models"


def post(url, body, code=200):
    data = body if isinstance(body, bytes) else json.dumps(body)
    response = requests.post(url, data=data, timeout=20)
    assert response.status_code == code, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()


def test_rows_and_columns(url):
    call = f"{url}/half_plus:predict"
    expected = half_plus([1, 2, 5], 3).tolist()
    assert post(call, {"instances": [1, 2, 5]}) == {"predictions": expected}
    rows = [{"x": 1}, {"x": 2}, {"x": 5}]
    assert post(call, {"instances": rows}) == {"predictions": expected}
    for columns in ([1, 2, 5], {"x": [1, 2, 5]}):
        assert post(call, {"inputs": columns}) == {"outputs": expected}


@pytest.mark.parametrize(
    ("place", "version"),
    [("", 3), ("/versions/2", 2), ("/labels/stable", 2)],
)
def test_versions_and_labels(url, place, version):
    found = post(f"{url}/half_plus{place}:predict", {"instances": [4]})
    assert found == {"predictions": [2.0 + version]}
    status = requests.get(f"{url}/half_plus{place}", timeout=20).json()
    first = status["model_version_status"][0]
    assert first["version"] == str(version)
    assert first["state"] == "AVAILABLE"
    assert first["status"] == {"error_code": "OK", "error_message": ""}


def test_several_outputs_and_bytes(url):
    body = {
        "signature_name": "describe",
        "inputs": {"pixels": [[1, 2], [3, 4]], "title": {"b64": "bg=="}},
    }
    found = post(f"{url}/half_plus:predict", body)["outputs"]
    assert found["sums"] == [3, 7]
    assert found["title"] == "n!"
    raw = base64.b64encode(b"\xff\x00").decode()
    assert found["raw_bytes"] == [{"b64": raw}] * 2


def test_a_photo_as_base64_gives_rows_by_name(url, small_model):
    photo = base64.b64encode(ASTRONAUT.read_bytes()).decode()
    body = {"signature_name": "encoded", "instances": [{"b64": photo}] * 2}
    rows = post(f"{url}/facegcn:predict", body)["predictions"]
    assert len(rows) == 2
    assert np.shape(rows[0]["landmarks"]) == (68, 3)
    assert np.shape(rows[1]["vertices"]) == small_model.template.shape
    assert np.isfinite(rows[1]["vertices"]).all()


def test_classifies_and_regresses(url):
    body = {"examples": [{"x": 1.0}, {"x": [4.0]}]}
    found = post(f"{url}/examples:regress", body)
    assert found == {"results": [2.5, 4.0]}
    body = {
        "signature_name": "classify",
        "context": {"shift": 10.0},
        "examples": [{"x": 1.0}],
    }
    found = post(f"{url}/examples/versions/7:classify", body)
    assert found == {"results": [[["low", -11.5], ["high", 12.5]]]}


def test_metadata(url):
    response = requests.get(f"{url}/half_plus/metadata", timeout=20)
    found = response.json()
    assert found["model_spec"] == {
        "name": "half_plus",
        "signature_name": "",
        "version": "3",
    }
    signatures = found["metadata"]["signature_def"]["signature_def"]
    x = signatures["serving_default"]["inputs"]["x"]
    assert x["dtype"] == "DT_FLOAT"
    assert x["tensor_shape"]["dim"] == [{"size": "-1", "name": ""}]


PREDICT = "/half_plus:predict"


@pytest.mark.parametrize(
    ("path", "body", "code", "message"),
    [
        (PREDICT, b"{no json", 400, "JSON Parse error"),
        (PREDICT, b"\xff\xfe", 400, "JSON Parse error"),
        (PREDICT, b"[" * 100_000, 400, "JSON Parse error"),
        (PREDICT, [1], 400, "must be a JSON object"),
        (PREDICT, {}, 400, "Missing 'inputs' or 'instances' key"),
        (PREDICT, {"instances": [1], "inputs": [1]}, 400, "only one of"),
        (PREDICT, {"instances": []}, 400, "No values in 'instances'"),
        (
            PREDICT,
            {"instances": ["a"]},
            400,
            "is not of expected type: float",
        ),
        (PREDICT, {"instances": [True]}, 400, "Boolean is not of expected"),
        (
            PREDICT,
            {"instances": [[1], [2, 3]]},
            400,
            "unexpected size: 2",
        ),
        (PREDICT, {"instances": [1, [2]]}, 400, "list at unexpected level"),
        (PREDICT, {"instances": [[1]]}, 400, "not compatible"),
        (PREDICT, {"instances": [{"y": 1}]}, 400, "keys must be equal to: x"),
        (PREDICT, {"instances": [{"x": 1}, 2]}, 400, "at item 1 of"),
        (PREDICT, {"instances": [1e39]}, 400, "float cannot hold"),
        (PREDICT, {"instances": [10**400]}, 400, "float cannot hold"),
        (PREDICT, {"instances": [None]}, 400, "Null is not of expected"),
        (
            PREDICT,
            {"inputs": {"y": 1}},
            400,
            "Missing named input: x",
        ),
        (
            PREDICT,
            {"inputs": {"x": [1], "y": 1}},
            400,
            "named input: y",
        ),
        (PREDICT, {"signature_name": 3}, 400, "to be a string"),
        (
            PREDICT,
            {"signature_name": "no", "instances": [1]},
            400,
            'Serving signature key "no" not found',
        ),
        (
            PREDICT,
            {
                "signature_name": "describe",
                "inputs": {"pixels": [[1, 300]], "title": "n"},
            },
            400,
            "uint8 cannot hold",
        ),
        (
            PREDICT,
            {
                "signature_name": "describe",
                "inputs": {"pixels": [[1, 3]], "title": {"b64": "?"}},
            },
            400,
            "Unable to base64 decode",
        ),
        (
            "/half_plus/versions/9:predict",
            {"instances": [1]},
            404,
            "Specific(half_plus, 9)",
        ),
        ("/half_plus/labels/no:predict", {"instances": [1]}, 400, "label: no"),
        ("/nobody:predict", {"instances": [1]}, 404, "Latest(nobody)"),
        ("/half_plus:dance", {}, 404, "Malformed request: POST"),
        ("/half_plus", {}, 405, "Malformed request: POST"),
        ("/examples:regress", {"examples": []}, 400, "not empty"),
        ("/examples:regress", {"examples": [{"x": None}]}, 400, "feature x"),
        (
            "/examples:classify",
            {"examples": [{"x": 1.0}]},
            400,
            "at least one of",
        ),
    ],
)
def test_says_what_is_wrong(url, path, body, code, message):
    found = post(url + path, body, code)
    assert set(found) == {"error"}
    assert message in found["error"]


def test_too_large_a_body_is_refused(url):
    response = requests.post(
        f"{url}/half_plus:predict", data=b" " * 3_000_000, timeout=20
    )
    assert response.status_code == 413


def test_prometheus_reads_the_names_of_tensorflow_serving(server, url):
    post(f"{url}/half_plus:predict", {"instances": [1]})
    post(f"{url}/made_up_name:predict", {"instances": [1]}, 404)
    text = requests.get(
        f"http://127.0.0.1:{server.rest_port}/metrics", timeout=20
    ).text
    counted = ':tensorflow:serving:request_count{model_name="half_plus",'
    assert f'{counted}status="OK"}}' in text
    assert "# TYPE :tensorflow:serving:request_count counter" in text
    assert ':tensorflow:serving:request_latency_bucket{API="' in text
    # Names that callers make up must not fill the memory.
    assert "made_up_name" not in text
