"""The examples of docs/fine_tuning.md, run as they stand there."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.imaging.photo_files import ASTRONAUT
from tf_facegcn.imaging.photo import read_photo
from tf_facegcn.models.released_weights import load_model
from tf_facegcn.predictor import Predictor

PAGE = Path(__file__).parents[2] / "docs" / "fine_tuning.md"
EXAMPLES = dict(
    re.findall(
        r"<!-- example: (.+?) -->\n```python\n(.+?)```",
        PAGE.read_text(),
        re.DOTALL,
    )
)


@pytest.fixture(scope="module")
def data():
    names = {"batch_size": 2}
    exec(EXAMPLES["data"], names)
    return names["data"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(example, data):
    names = {"data": data, "epochs": 1, "steps": 2}
    exec(EXAMPLES[example], names)
    return names["model"]


@pytest.mark.slow
def test_ten_lines_train_a_network(data, here):
    batches = [data[0], data[1]]

    class Two(keras.utils.PyDataset):
        num_batches = 2

        def __getitem__(self, index):
            return batches[index]

    assert EXAMPLES["train"].count("\n") <= 11
    model = run("train", Two())
    revived = keras.saving.load_model(here / "mine.keras")
    photos = data[2][0]
    np.testing.assert_allclose(
        revived.predict_on_batch(photos),
        model.predict_on_batch(photos),
        atol=1e-3,
    )


@pytest.mark.slow
def test_a_predicted_mesh_becomes_a_pair_that_the_network_finds_again():
    photo = read_photo(ASTRONAUT)
    (face,) = Predictor.from_preset("lite")(photo)
    model = load_model("lite")
    names = {"model": model, "photo": photo, "mesh": face.vertices}
    exec(EXAMPLES["pair"], names)
    image, vertices = names["pair"]
    found = model.predict_on_batch(image[None])[0]
    distance = np.linalg.norm((found - vertices)[:, :2], axis=1)
    assert vertices[model.landmarks, :2].min() >= 0
    assert distance.mean() < 2  # Of the crop's 256 units.


@pytest.mark.slow
@pytest.mark.parametrize("frozen", ["encoder", "decoder"])
def test_the_frozen_part_stays_and_the_other_learns(frozen, data, here):
    model = run(f"freeze the {frozen}", data)
    released = load_model("lite")
    encoder = {variable.path for variable in model.encoder.weights}
    before = {variable.path: variable.numpy() for variable in released.weights}
    changed = {
        variable.path
        for variable in model.weights
        if np.any(variable.numpy() != before[variable.path])
    }
    assert 0 < len(encoder) < len(before)
    assert changed
    if frozen == "encoder":
        assert not changed & encoder
    else:
        assert changed <= encoder
    revived = load_model(str(here / "fine_tuned.keras"))
    photos = data[2][0]
    np.testing.assert_allclose(
        revived.predict_on_batch(photos),
        model.predict_on_batch(photos),
        atol=1e-3,
    )
