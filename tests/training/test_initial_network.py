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
