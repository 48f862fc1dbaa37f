import asyncio
import collections
import contextlib
import subprocess
import sys
from concurrent import futures

import grpc
import numpy as np
import pytest

from serving.async_client import AsyncFaceGCNClient
from serving.client import FaceGCNClient
from serving.client_messages import decode_arrays
from serving.protos import predict_client_pb2 as messages
from serving.remote_face_model import RemoteFaceModel
from tests.imaging.photo_files import ASTRONAUT
from tf_facegcn.imaging.bounding_box import BoundingBox
from tf_facegcn.predictor import Predictor

BOX = (150, 40, 310, 210)


@pytest.fixture
def client(server):
    with FaceGCNClient(f"127.0.0.1:{server.port}") as opened:
        yield opened


def test_a_photo_gives_the_mesh_that_the_predictor_finds(client, small_model):
    expected = Predictor(small_model)(ASTRONAUT, [BoundingBox(*BOX)])[0]
    for photo in (ASTRONAUT, str(ASTRONAUT), ASTRONAUT.read_bytes()):
        found = client.predict(photo, BOX)
        np.testing.assert_allclose(found.vertices, expected.vertices, atol=2e-3)
        np.testing.assert_allclose(
            found.landmarks, expected.landmarks, atol=2e-3
        )
        assert found.version == 1
    whole = client.predict(ASTRONAUT)
    assert np.abs(whole.vertices - found.vertices).max() > 10


def test_crops_give_meshes_in_crop_units(client, small_model):
    size = client.input_size()
    assert size == small_model.input_size
    crops = np.random.default_rng(0).integers(
        0, 256, (2, size, size, 3), np.uint8
    )
    vertices, landmarks = client.predict_crops(crops)
    expected = small_model.predict_on_batch(crops / np.float32(255))
    np.testing.assert_allclose(vertices, expected, atol=2e-4)
    np.testing.assert_array_equal(landmarks, vertices[:, small_model.landmarks])


def test_asyncio(server, client):
    async def ask():
        address = f"127.0.0.1:{server.port}"
        async with AsyncFaceGCNClient(address) as opened:
            meshes = await asyncio.gather(
                *(opened.predict(ASTRONAUT, BOX) for _ in range(4))
            )
            crops = np.zeros((1, 32, 32, 3), np.uint8)
            vertices, _ = await opened.predict_crops(crops)
            with pytest.raises(ValueError, match="JPEG or PNG"):
                await opened.predict(b"no photo")
        return meshes, vertices

    meshes, vertices = asyncio.run(ask())
    expected = client.predict(ASTRONAUT, BOX)
    for mesh in meshes:
        np.testing.assert_array_equal(mesh.vertices, expected.vertices)
    assert vertices.shape[0] == 1


def test_says_plainly_what_went_wrong(server, client, tmp_path):
    address = f"127.0.0.1:{server.port}"
    with pytest.raises(ValueError, match="INVALID_ARGUMENT"):
        client.predict(ASTRONAUT, (9000, 9000, 9100, 9100))
    with (
        FaceGCNClient(address, "nobody") as other,
        pytest.raises(ValueError, match=r"Latest\(nobody\).*NOT_FOUND"),
    ):
        other.predict(ASTRONAUT)
    with (
        FaceGCNClient(address, version=9) as other,
        pytest.raises(ValueError, match=r"Specific\(facegcn, 9\)"),
    ):
        other.predict(ASTRONAUT)
    with (
        FaceGCNClient(address, timeout=1e-6) as other,
        pytest.raises(TimeoutError, match="DEADLINE_EXCEEDED"),
    ):
        other.predict(ASTRONAUT)
    with (
        FaceGCNClient(f"unix:{tmp_path / 'nobody'}", timeout=5) as other,
        pytest.raises(ConnectionError, match="Is the server running"),
    ):
        other.predict(ASTRONAUT)
    with pytest.raises(ValueError, match="uint8 or float32"):
        client.predict_crops(np.zeros((1, 32, 32, 3)))


def test_another_mesh_is_refused_by_the_photo_command(client):
    model = RemoteFaceModel(client)
    with pytest.raises(ValueError, match="642 vertices"):
        model.predict_on_batch(np.zeros((1, 32, 32, 3), np.float32))


@contextlib.contextmanager
def running(answer):
    """A server of `Predict` alone; yields its port."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                "tensorflow.serving.PredictionService",
                {"Predict": grpc.unary_unary_rpc_method_handler(answer)},
            ),
        )
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(0)


def test_asks_again_where_nothing_was_run_and_only_there():
    calls = []

    def refuse_twice_then_fail(request, context):
        calls.append(request)
        if len(calls) <= 2:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy")
        context.abort(grpc.StatusCode.INTERNAL, "broken")

    with (
        running(refuse_twice_then_fail) as port,
        FaceGCNClient(f"127.0.0.1:{port}", timeout=10) as client,
        pytest.raises(ConnectionError, match="broken"),
    ):
        client.predict(b"any")
    assert len(calls) == 3  # Not again after an error inside.


def test_asks_all_servers_of_an_address_in_turn():
    calls = collections.Counter()

    def count_as(name):
        def fail(_, context):
            calls[name] += 1
            context.abort(grpc.StatusCode.INTERNAL, "broken")

        return fail

    with (
        running(count_as("first")) as first,
        running(count_as("second")) as second,
        FaceGCNClient(
            f"ipv4:127.0.0.1:{first},127.0.0.1:{second}", timeout=10
        ) as client,
    ):
        for _ in range(40):
            with pytest.raises(ConnectionError, match="broken"):
                client.predict(b"any")
    # The first of them go to the one that is connected first.
    assert sum(calls.values()) == 40
    assert min(calls["first"], calls["second"]) >= 10


def test_reads_both_ways_of_holding_values():
    array = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    response = messages.PredictResponse()
    for name in ("field", "content"):
        tensor = response.outputs[name]
        tensor.dtype = 1
        for size in array.shape:
            tensor.tensor_shape.dim.add(size=size)
    response.outputs["field"].float_val.extend(array.ravel())
    response.outputs["content"].tensor_content = array.tobytes()
    for found in decode_arrays(response).values():
        np.testing.assert_array_equal(found, array)


def test_needs_no_tensorflow():
    code = (
        "import sys; sys.modules['tensorflow'] = sys.modules['keras'] = None\n"
        "import serving.client, serving.async_client\n"
        "import serving.remote_face_model, tf_facegcn.predictor\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
