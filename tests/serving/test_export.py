import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from serving.export import difference, export, next_version
from serving.loaded_model import LoadedModel
from serving.serving_error import ServingError
from serving.warmup import WARMUP_FILE
from tests.imaging.photo_files import ASTRONAUT, encode
from tf_facegcn.imaging.bounding_box import BoundingBox
from tf_facegcn.imaging.photo import read_photo
from tf_facegcn.models.released_weights import WEIGHTS_FOLDER, load_model
from tf_facegcn.predictor import Predictor

BOX = (150, 40, 310, 210)

# Loads a SavedModel where the package cannot be imported.
ALONE = """
import sys
sys.modules["tf_facegcn"] = sys.modules["serving"] = None
import numpy as np, tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
photos = np.load(sys.argv[2])
found = model.signatures["serving_default"](photos=tf.constant(photos))
np.savez(sys.argv[3], **{name: value.numpy() for name, value in found.items()})
"""


@pytest.fixture(scope="module")
def photos(small_model):
    size = small_model.input_size
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (3, size, size, 3), np.uint8)


@pytest.fixture(scope="module")
def loaded(exported):
    model = LoadedModel(exported)
    yield model
    model.close()


@pytest.fixture(scope="module")
def lite():
    if not (WEIGHTS_FOLDER / "lite.keras").exists():
        pytest.skip("saved_models/lite.keras is not there")
    return load_model("lite")


@pytest.fixture(scope="module")
def exported_lite(lite, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lite")
    model = LoadedModel(export(lite, folder, 1, "A card."))
    yield model
    model.close()


def predictions(model, photos):
    return np.asarray(model.predict_on_batch(photos / np.float32(255)))


@pytest.mark.slow
def test_loads_in_a_process_without_the_package(
    exported, small_model, photos, tmp_path
):
    np.save(tmp_path / "photos.npy", photos)
    arguments = [exported, tmp_path / "photos.npy", tmp_path / "found.npz"]
    subprocess.run(
        [sys.executable, "-c", ALONE, *map(str, arguments)], check=True
    )
    found = np.load(tmp_path / "found.npz")
    expected = predictions(small_model, photos)
    assert np.ptp(expected, axis=0).max() > 0.1  # Depends on the photo.
    # Units go to 256, of which 2e-4 is less than 1e-6.
    np.testing.assert_allclose(found["vertices"], expected, atol=2e-4)
    np.testing.assert_allclose(
        found["landmarks"], expected[:, small_model.landmarks], atol=2e-4
    )


def test_signatures_agree(loaded, photos, small_model):
    found = loaded.run("serving_default", {"photos": photos})
    floats = loaded.run("float", {"photos": photos / np.float32(255)})
    landmarks = loaded.run("landmarks", {"photos": photos})
    expected = predictions(small_model, photos)
    np.testing.assert_allclose(found["vertices"], expected, atol=1e-4)
    np.testing.assert_array_equal(found["vertices"], floats["vertices"])
    assert set(landmarks) == {"landmarks"}
    np.testing.assert_allclose(
        landmarks["landmarks"], found["landmarks"], atol=1e-4
    )


@pytest.mark.parametrize("box", [None, BOX])
def test_photo_files_give_what_the_predictor_finds(loaded, small_model, box):
    data = np.array([ASTRONAUT.read_bytes()] * 2, object)
    boxes = None if box is None else [BoundingBox(*box)]
    expected = Predictor(small_model)(ASTRONAUT, boxes)[0]
    if box is None:
        found = loaded.run("encoded", {"photos": data})
    else:
        rows = np.array([box] * 2, np.float32)
        found = loaded.run("encoded_boxes", {"photos": data, "boxes": rows})
    assert found["vertices"].shape == (2, len(small_model.template), 3)
    for name in ("vertices", "landmarks"):
        for each in found[name]:
            np.testing.assert_allclose(each, getattr(expected, name), atol=2e-3)
    np.testing.assert_allclose(found["vertices"][..., 2].mean(1), 0, atol=1e-3)


def test_says_where_it_looked_last(loaded):
    """An untrained network sees the mean head wherever it looks."""
    data = np.array([ASTRONAUT.read_bytes()], object)
    found = loaded.run(
        "encoded_boxes", {"photos": data, "boxes": np.array([BOX], np.float32)}
    )
    left, top, right, bottom = found["crops"][0]
    assert right - left == pytest.approx(bottom - top)
    points = found["landmarks"][0, :, :2]
    assert (points > [left, top]).all()
    assert (points < [right, bottom]).all()
    assert found["rolls"].tolist() == [0]


@pytest.mark.slow
@pytest.mark.parametrize("angle", [-40, 75])
def test_a_leaning_face_is_found_as_the_predictor_finds_it(
    lite, exported_lite, angle
):
    photo = read_photo(ASTRONAUT)
    box = BoundingBox(*BOX)
    turn = cv2.getRotationMatrix2D(box.center, angle, 1.0)
    photo = cv2.warpAffine(photo, turn, photo.shape[1::-1])
    (expected,) = Predictor(lite)(photo, [box])
    assert expected.pose.roll == pytest.approx(angle, abs=10)
    found = exported_lite.run(
        "encoded_boxes",
        {
            "photos": np.array([encode(photo)], object),
            "boxes": np.array([BOX], np.float32),
        },
    )
    (roll,) = found["rolls"]
    assert roll % 15 == 0
    assert roll == pytest.approx(angle, abs=20)
    np.testing.assert_allclose(
        found["vertices"][0], expected.vertices, atol=2e-3
    )


def test_no_photos_give_no_meshes(loaded, small_model):
    found = loaded.run("encoded", {"photos": np.zeros(0, object)})
    assert found["vertices"].shape == (0, len(small_model.template), 3)
    assert found["rolls"].shape == (0,)


def test_as_many_boxes_as_photos(loaded):
    data = np.array([ASTRONAUT.read_bytes()], object)
    with pytest.raises(ServingError, match="as many boxes as photos"):
        loaded.run(
            "encoded_boxes",
            {"photos": data, "boxes": np.array([BOX] * 2, np.float32)},
        )


@pytest.mark.slow
def test_a_wrong_rank_is_an_error_of_the_graph(exported, photos):
    """Without `ensure_shape` this would end the process."""
    model = tf.saved_model.load(str(exported))
    for name in ("serving_default", "landmarks"):
        function = model.signatures[name]
        with pytest.raises(tf.errors.InvalidArgumentError):
            function(photos=tf.constant(photos[0]))


def test_has_topology_card_and_warm_up_requests(exported, small_model):
    with np.load(exported / "assets" / "topology.npz") as topology:
        np.testing.assert_array_equal(topology["faces"], small_model.faces)
        np.testing.assert_array_equal(
            topology["landmarks"], small_model.landmarks
        )
        assert str(topology["fingerprint"]) == small_model.fingerprint
    assert (exported / "assets" / "model_card.md").read_text() == "A card."
    description = json.loads((exported / "assets" / "export.json").read_text())
    assert description["input_size"] == small_model.input_size
    records = tf.data.TFRecordDataset(str(exported / WARMUP_FILE))
    names = {
        prediction_log_pb2.PredictionLog.FromString(
            record
        ).predict_log.request.model_spec.signature_name
        for record in records.as_numpy_iterator()
    }
    assert names == {
        *("serving_default", "float", "landmarks"),
        *("encoded", "encoded_boxes"),
    }


def test_a_version_is_never_replaced(exported, small_model):
    assert next_version(exported.parent) == 2
    with pytest.raises(ValueError, match="Export version 2"):
        export(small_model, exported.parent, version=1)
    with pytest.raises(ValueError, match="at least 1"):
        export(small_model, exported.parent, version=0)


def test_a_failure_leaves_nothing(small_model, tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError("No space left on device")

    monkeypatch.setattr("serving.export.write_warmup_requests", fail)
    with pytest.raises(OSError, match="No space"):
        export(small_model, tmp_path / "model")
    assert not list((tmp_path / "model").iterdir())


class Moved:
    """A model whose vertices are 5 units from another's."""

    def __init__(self, model):
        self.model = model

    def predict_on_batch(self, photos):
        return np.add(self.model.predict_on_batch(photos), (3, 4, 0))


def test_measures_what_a_variant_changes(small_model, photos):
    assert difference(small_model, small_model, photos)["largest"] == 0
    fused = small_model.fuse()
    changed = difference(small_model, fused, photos)
    assert 0 < changed["mean"] <= changed["largest"] < 0.01
    found = difference(small_model, Moved(small_model), photos)
    assert found["mean"] == pytest.approx(5, abs=1e-4)
