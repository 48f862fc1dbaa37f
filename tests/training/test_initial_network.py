from pathlib import Path

import keras
import numpy as np
import pytest

from tests.models.shake import shake
from tf_facegcn import predictor
from tf_facegcn.imaging.bounding_box import BoundingBox
from tf_facegcn.imaging.face_crop import FaceCrop
from tf_facegcn.imaging.photo import read_photo
from tf_facegcn.models.face_gcn import FaceGCN
from tf_facegcn.models.released_weights import load_model
from training.initial_network import set_initial_weights

LANDMARKS = np.arange(0, 640, 10)


def make(hierarchy, **fields):
    keras.utils.set_random_seed(0)
    return FaceGCN.from_preset(
        "tiny", hierarchy, LANDMARKS, lowering="gather", **fields
    )


@pytest.fixture
def initial(tiny_hierarchy, tmp_path):
    model = make(tiny_hierarchy)
    shake(model)
    path = tmp_path / "initial.keras"
    model.save(path)
    return model, str(path)


@pytest.fixture
def photos():
    generator = np.random.default_rng(1)
    return generator.uniform(size=(2, 32, 32, 3)).astype("float32")


def test_blocks_that_are_added_begin_as_the_identity(
    initial, tiny_hierarchy, photos
):
    model, path = initial
    deeper = make(tiny_hierarchy, encoder_depths=(1, 2, 1))
    set_initial_weights(deeper, path)
    maps = [np.array(x) for x in model.encoder(photos)]
    deeper_maps = [np.array(x) for x in deeper.encoder(photos)]
    np.testing.assert_allclose(deeper_maps[0], maps[0], rtol=1e-5, atol=1e-6)
    # A leaky ReLU more, of slope 0.1.
    np.testing.assert_allclose(
        deeper_maps[1],
        np.where(maps[1] < 0, 0.1 * maps[1], maps[1]),
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.slow
def test_displacements_of_a_finer_level_begin_as_the_coarser_ones(
    initial, tiny_hierarchy, photos
):
    model, path = initial
    finer = make(tiny_hierarchy, displacement_level=1)
    set_initial_weights(finer, path)
    assert finer.count_params() > model.count_params()
    np.testing.assert_allclose(
        finer.predict_on_batch(photos),
        model.predict_on_batch(photos),
        rtol=1e-4,
        atol=1e-2,
    )


@pytest.mark.slow
def test_weights_of_a_network_with_more_blocks_are_refused(
    tiny_hierarchy, tmp_path
):
    path = tmp_path / "deeper.keras"
    make(tiny_hierarchy, encoder_depths=(1, 2, 1)).save(path)
    model = make(tiny_hierarchy)
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"fewer blocks .*deeper\.keras"):
        set_initial_weights(model, str(path))
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_another_mesh_takes_what_sees_the_photo(
    initial, tiny_hierarchy, photos
):
    model, path = initial
    other = make(tiny_hierarchy.with_vertex_order("index"))
    own = other.get_layer("coarsest_vertices").get_weights()
    set_initial_weights(other, path)
    for ours, theirs in zip(
        other.encoder(photos), model.encoder(photos), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    for name in ("embedding", "aggregation"):
        for ours, theirs in zip(
            other.get_layer(name).get_weights(),
            model.get_layer(name).get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(ours, theirs)
    for weight, before in zip(
        other.get_layer("coarsest_vertices").get_weights(), own, strict=True
    ):
        np.testing.assert_array_equal(weight, before)


@pytest.mark.slow
def test_base_goes_on_from_lite():
    base = FaceGCN.from_preset("base")
    set_initial_weights(base, "lite")
    lite = load_model("lite")
    photo = read_photo(Path(predictor.__file__).parent / "assets/astronaut.jpg")
    crop = FaceCrop(BoundingBox(150, 45, 295, 190), 128).crop(photo)
    photos = crop[None] / np.float32(255)
    expected = lite.predict_on_batch(photos)[0]
    found = base.predict_on_batch(photos)[0]
    # Leaky ReLUs that are applied again change less than was learnt.
    change = np.abs(found - expected).mean()
    assert 0 < change < 0.6 * np.abs(expected - base.template).mean()


def test_weights_of_a_narrower_network_are_refused(initial, tiny_hierarchy):
    wider = make(tiny_hierarchy, encoder_widths=(4, 6, 12))
    with pytest.raises(ValueError, match="network that is trained"):
        set_initial_weights(wider, initial[1])
