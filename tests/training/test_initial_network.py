import keras
import numpy as np
import pytest

from tests.models.shake import shake
from tf_facegcn.models.face_gcn import FaceGCN
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


def test_weights_of_a_narrower_network_are_refused(initial, tiny_hierarchy):
    wider = make(tiny_hierarchy, encoder_widths=(4, 6, 12))
    with pytest.raises(ValueError, match="network that is trained"):
        set_initial_weights(wider, initial[1])


def test_the_coarse_half_stays_what_it_was(tiny_hierarchy, tmp_path, photos):
    coarse = make(
        tiny_hierarchy,
        aggregation_widths=(4, 4),
        aggregation_rounds=1,
        decoder_growths=(2, 2),
        output_filters=(),
        output_level=1,
    )
    shake(coarse)
    path = tmp_path / "coarse.keras"
    coarse.save(path)
    whole = make(tiny_hierarchy)
    own = whole.get_layer("displacements").get_weights()
    set_initial_weights(whole, str(path))
    for name in ("embedding", "dense_gcn_16", "dense_gcn_64", "camera"):
        ours, theirs = (
            keras.Model(model.input, model.get_layer(name).output)
            for model in (whole, coarse)
        )
        expected = theirs.predict(photos, verbose=0)
        assert np.ptp(expected) > 0.1
        np.testing.assert_allclose(
            ours.predict(photos, verbose=0), expected, rtol=1e-5, atol=1e-5
        )
    for weight, before in zip(
        whole.get_layer("displacements").get_weights(), own, strict=True
    ):
        np.testing.assert_array_equal(weight, before)


def test_a_coarse_half_of_other_widths_is_refused(tiny_hierarchy, tmp_path):
    coarse = make(
        tiny_hierarchy,
        aggregation_widths=(6, 4),
        aggregation_rounds=1,
        decoder_growths=(2, 2),
    )
    path = tmp_path / "coarse.keras"
    coarse.save(path)
    with pytest.raises(ValueError, match="network that is trained"):
        set_initial_weights(make(tiny_hierarchy), str(path))
