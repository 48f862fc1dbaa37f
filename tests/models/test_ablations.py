"""What each ablation leaves out, and what each switch changes."""

import keras
import numpy as np
import pytest

from tf_facegcn.models.face_gcn import FaceGCN
from tf_facegcn.models.face_gcn_presets import ABLATIONS, PRESETS

LANDMARKS = np.arange(0, 640, 10)


def _model(hierarchy, **fields):
    keras.utils.set_random_seed(0)
    return FaceGCN.from_preset(
        "tiny", hierarchy, LANDMARKS, lowering="gather", **fields
    )


def _names(model):
    return {layer.name for layer in model.layers}


@pytest.mark.parametrize("size", ["paper", "lite"])
@pytest.mark.parametrize("name", ABLATIONS)
def test_is_a_preset_in_both_sizes(size, name):
    whole, ablated = PRESETS[size], PRESETS[f"{size}_{name}"]
    assert whole != ablated
    # Apart from what is left out, the network is the same (Sec. V-C).
    for field in ("encoder_widths", "decoder_growths", "embedding_size"):
        assert getattr(whole, field) == getattr(ablated, field)


def test_without_aggregation_the_decoder_sees_the_embedding_only(
    tiny_hierarchy,
):
    model = _model(tiny_hierarchy, **ABLATIONS["no_aggregation"])
    assert "aggregation" not in _names(model)
    decoder = keras.Model(model.get_layer("embedding").output, model.outputs)
    assert decoder(np.zeros((1, 16), "float32")).shape == (1, 642, 3)
    with pytest.raises(ValueError, match="is not connected"):
        whole = _model(tiny_hierarchy)
        keras.Model(whole.get_layer("embedding").output, whole.outputs)


def test_a_unet_feeds_the_encoders_maps(tiny_hierarchy):
    model = _model(tiny_hierarchy, **ABLATIONS["unet"])
    aggregation = model.get_layer("aggregation")
    assert not aggregation.residuals
    maps = [np.array(x) for x in model.encoder(_photos())]
    fused = keras.Model(model.input, aggregation.output)(_photos())
    # The finest has the block's width already; the others are brought to it.
    np.testing.assert_array_equal(fused[0], maps[0])
    assert [x.shape[-1] for x in fused] == [4, 4, 4]


@pytest.mark.parametrize(
    ("name", "left", "lost"),
    [
        ("no_upsampling", "downsampling", "upsampling"),
        ("no_downsampling", "upsampling", "downsampling"),
    ],
)
def test_one_way_is_left(name, left, lost, tiny_hierarchy):
    aggregation = _model(tiny_hierarchy, **ABLATIONS[name]).get_layer(
        "aggregation"
    )
    assert getattr(aggregation, left)
    assert not getattr(aggregation, lost)
    assert aggregation.residuals


def test_order_is_the_number_of_terms(tiny_hierarchy):
    model = _model(tiny_hierarchy, order=2)
    assert model.get_layer("displacements").kernel.shape[0] == 2
    block = model.get_layer("dense_gcn_16")
    assert [c.kernel.shape[0] for c in block.convolutions] == [2, 2]


def test_switches_bring_the_hierarchy_along(tiny_hierarchy):
    model = _model(tiny_hierarchy, laplacian="normalized", vertex_order="index")
    assert model.hierarchy.laplacian == "normalized"
    assert model.hierarchy.vertex_order == "index"
    assert model.fingerprint != tiny_hierarchy.fingerprint
    np.testing.assert_array_equal(
        model.get_layer("dense_gcn_16").operator.matrix.toarray(),
        model.hierarchy.levels[3].laplacian.toarray(),
    )


def test_without_switches_the_hierarchy_stays_as_it_is(tiny_hierarchy):
    normalized = tiny_hierarchy.with_laplacian("normalized")
    assert _model(normalized).hierarchy is normalized


def _photos():
    generator = np.random.default_rng(1)
    return generator.uniform(size=(2, 32, 32, 3)).astype("float32")
