import io
import json

import cv2
import numpy as np
import pytest
import trimesh

from tests.fake_model import POSE, FakeFaceModel
from tf_facegcn.imaging.bounding_box import BoundingBox
from tf_facegcn.imaging.detection import Detection
from tf_facegcn.predictor import Predictor
from tf_facegcn.writers.depth_writer import encode_depth
from tf_facegcn.writers.glb_writer import encode_glb
from tf_facegcn.writers.json_writer import encode_json
from tf_facegcn.writers.npz_writer import encode_npz
from tf_facegcn.writers.obj_writer import encode_obj
from tf_facegcn.writers.overlay_writer import draw_overlay, encode_overlay
from tf_facegcn.writers.ply_writer import encode_ply

HEIGHT, WIDTH = 600, 800
PHOTO = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)


@pytest.fixture(scope="module")
def face():
    box = BoundingBox(300, 100, 500, 300)
    detection = Detection(box, 0.875, box)
    (face,) = Predictor(FakeFaceModel()).predict(PHOTO, [detection])
    return face


def to_y_up(vertices):
    return vertices * [1, -1, 1] + [0, HEIGHT - 1, 0]


def parse_obj(text):
    vertices, faces = [], []
    for line in text.splitlines():
        kind, *rest = line.split()
        if kind == "v":
            vertices.append([float(word) for word in rest])
        elif kind == "f":
            faces.append([int(word) - 1 for word in rest])
    return np.array(vertices), np.array(faces)


def test_obj_keeps_vertices_and_faces(face):
    vertices, faces = parse_obj(encode_obj(face, PHOTO).decode("ascii"))
    # A thousandth of a pixel, rounded.
    np.testing.assert_allclose(vertices, to_y_up(face.vertices), atol=6e-4)
    np.testing.assert_array_equal(faces, face.faces)


def test_obj_by_hand(face):
    lines = encode_obj(face, PHOTO).decode("ascii").splitlines()
    x, y, z = face.vertices[0]
    assert f"v {x:.3f} {HEIGHT - 1 - y:.3f} {z:.3f}" in lines
    a, b, c = face.faces[0] + 1
    assert f"f {a} {b} {c}" in lines


@pytest.mark.parametrize(
    ("encode", "file_type"),
    [(encode_obj, "obj"), (encode_ply, "ply"), (encode_glb, "glb")],
)
def test_meshes_load_with_faces_pointing_outward(face, encode, file_type):
    file = io.BytesIO(encode(face, PHOTO))
    mesh = trimesh.load_mesh(file, file_type=file_type, process=False)
    np.testing.assert_allclose(
        np.asarray(mesh.vertices), to_y_up(face.vertices), atol=6e-4
    )
    np.testing.assert_array_equal(np.asarray(mesh.faces), face.faces)
    # Closed, and its signed volume is that of a ball, not minus that.
    radius = np.ptp(face.vertices[:, 0]) / 2
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.05)


def test_glb_has_normals_for_smooth_shading(face):
    data = encode_glb(face, PHOTO)
    assert data[:4] == b"glTF"
    assert b'"NORMAL"' in data


def test_json_says_what_was_found(face):
    fields = json.loads(encode_json(face, PHOTO))
    assert fields["image_size"] == {"width": WIDTH, "height": HEIGHT}
    box = {"left": 300.0, "top": 100.0, "right": 500.0, "bottom": 300.0}
    assert fields["box"] == box
    assert fields["score"] == 0.875
    assert list(fields["pose"]) == ["yaw", "pitch", "roll"]
    assert list(fields["pose"].values()) == pytest.approx(POSE, abs=0.01)
    np.testing.assert_allclose(fields["landmarks"], face.landmarks, atol=6e-4)
    assert fields["landmark_indices"] == face.landmark_indices.tolist()
    assert set(fields["definitions"]) <= set(fields)
    assert "tf_facegcn" in fields["versions"]


def test_json_of_a_given_box_has_no_score(face):
    (given,) = Predictor(FakeFaceModel())(PHOTO, [face.box])
    assert json.loads(encode_json(given, PHOTO))["score"] is None
    with np.load(io.BytesIO(encode_npz(given, PHOTO))) as arrays:
        assert np.isnan(arrays["score"])


def test_npz_keeps_the_photos_pixels(face):
    with np.load(io.BytesIO(encode_npz(face, PHOTO))) as arrays:
        np.testing.assert_array_equal(arrays["vertices"], face.vertices)
        np.testing.assert_array_equal(arrays["landmarks"], face.landmarks)
        np.testing.assert_array_equal(arrays["faces"], face.faces)
        np.testing.assert_array_equal(
            arrays["vertices"][arrays["landmark_indices"]], face.landmarks
        )
        np.testing.assert_array_equal(arrays["pose"], face.pose)
        assert arrays["box"].tolist() == [300, 100, 500, 300]
        assert arrays["image_size"].tolist() == [WIDTH, HEIGHT]
        assert arrays["score"] == 0.875


def test_depth_is_an_eighth_of_a_pixel_a_step(face):
    data = np.frombuffer(encode_depth(face, PHOTO), np.uint8)
    depth = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    assert depth.shape == (HEIGHT, WIDTH)
    assert depth.dtype == np.uint16
    assert depth[0, 0] == 0
    nearest = face.vertices[np.argmax(face.vertices[:, 2])]
    column, row = np.rint(nearest[:2]).astype(int)
    expected = 32768 + 8 * nearest[2]
    assert depth[row, column] == pytest.approx(expected, abs=8)


def test_the_overlay_shows_mesh_landmarks_and_box(face):
    pixels = draw_overlay([face], PHOTO)
    assert pixels.shape == PHOTO.shape
    assert (PHOTO == 128).all()
    low, high = face.vertices.min(axis=0), face.vertices.max(axis=0)
    column, row = ((low + high)[:2] / 2).astype(int)
    assert (pixels[row - 3 : row + 3, column - 3 : column + 3] != 128).any()
    reds = (pixels[..., 0] > 180) & (pixels[..., 1] < 120)
    assert reds.sum() > 68
    assert (pixels[: int(low[1]) - 2] == 128).all()
    decoded = cv2.imdecode(
        np.frombuffer(encode_overlay([face], PHOTO), np.uint8),
        cv2.IMREAD_COLOR_RGB,
    )
    assert np.abs(decoded.astype(int) - pixels).mean() < 3


def test_the_overlay_of_a_small_photo_is_enlarged():
    small = np.full((60, 100, 3), 128, np.uint8)
    (face,) = Predictor(FakeFaceModel())(small)
    assert draw_overlay([face], small).shape == (360, 600, 3)


def test_one_pixel_can_be_written_in_every_format():
    photo = np.zeros((1, 1, 3), np.uint8)
    (face,) = Predictor(FakeFaceModel())(photo)
    for encode in (encode_obj, encode_json, encode_npz, encode_depth):
        assert encode(face, photo)
    assert encode_overlay([face], photo)
