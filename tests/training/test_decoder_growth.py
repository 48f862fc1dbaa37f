import keras
import numpy as np
import pytest

from tests.models.shake import shake
from tf_facegcn.models.face_gcn import FaceGCN
from training.decoder_growth import pass_on_displacements, passes_on
from training.initial_network import begin_displacements, set_initial_weights

LANDMARKS = np.arange(0, 640, 10)
FINE = {
    "decoder_growths": (2, 6, 7),
    "output_filters": (8,),
    "vertex_embedding": False,
    "displacement_level": None,
}
COARSE = {
    **FINE,
    "aggregation_widths": (4,),
    "aggregation_rounds": 0,
    "decoder_growths": (2,),
    "output_filters": (),
}


def make(hierarchy, fields):
    keras.utils.set_random_seed(0)
    return FaceGCN.from_preset(
        "tiny", hierarchy, LANDMARKS, lowering="gather", **fields
    )


@pytest.fixture
def photos():
    generator = np.random.default_rng(1)
    return generator.uniform(size=(12, 32, 32, 3)).astype("float32")


def displacements(model, photos):
    part = keras.Model(model.input, model.get_layer("displacements").output)
    return part.predict(photos, verbose=0)


@pytest.mark.parametrize("output_level", [3, 1, 0])
def test_begins_with_what_the_coarser_one_predicts(
    tiny_hierarchy, photos, tmp_path, output_level
):
    coarse = make(tiny_hierarchy, {**COARSE, "output_level": output_level})
    shake(coarse)
    # What lies beyond the neighbours of a finer vertex is not seen there.
    kernel, bias = coarse.get_layer("displacements").get_weights()
    kernel[1:] *= 0.1
    coarse.get_layer("displacements").set_weights([kernel, bias])
    coarse.save(tmp_path / "coarse.keras")
    fine = make(tiny_hierarchy, FINE)
    set_initial_weights(fine, str(tmp_path / "coarse.keras"))
    before = fine.get_weights()
    assert np.ptp(displacements(fine, photos)) == 0
    begin_displacements(fine, str(tmp_path / "coarse.keras"), lambda: photos)

    found, expected = fine.predict(photos), coarse.predict(photos)
    spread = (expected - expected.mean(axis=0)).std()
    assert spread > 0.5
    assert np.abs(found - expected).mean() < 0.2 * spread
    # The rest is as random as it was.
    changed = [
        np.mean(after != weight)
        for after, weight in zip(fine.get_weights(), before, strict=True)
    ]
    assert 0 < np.mean(changed) < 0.5


def test_is_passed_on_unchanged_after_the_first_block(tiny_hierarchy, photos):
    coarse = make(tiny_hierarchy, {**COARSE, "output_level": 3})
    shake(coarse)
    fine = make(tiny_hierarchy, FINE)
    pass_on_displacements(coarse, fine, photos)
    block = fine.get_layer("dense_gcn_64")
    pairs = keras.Model(fine.input, block.output).predict(photos, verbose=0)
    coordinates = (pairs[..., :3] - pairs[..., 3:6]) / 1.1
    for level in (2, 1):
        matrix = tiny_hierarchy.levels[level].upsampling
        coordinates = np.stack([matrix @ each for each in coordinates])
    assert np.ptp(coordinates) > 0.1
    np.testing.assert_allclose(
        displacements(fine, photos), coordinates, atol=1e-4
    )


def test_networks_that_cannot_take_it_begin_anew(tiny_hierarchy):
    coarse = make(tiny_hierarchy, COARSE)
    fine = make(tiny_hierarchy, FINE)
    assert passes_on(coarse, fine)
    assert not passes_on(fine, fine)
    assert not passes_on(fine, coarse)
    for fields in (
        {"output_filters": (5,)},
        {"decoder_growths": (2, 6, 4)},
        {"vertex_embedding": True},
        {"template_transform": False},
        {"encoder_widths": (4, 6, 9)},
    ):
        assert not passes_on(coarse, make(tiny_hierarchy, {**FINE, **fields}))
    other = make(tiny_hierarchy.with_vertex_order("index"), FINE)
    assert not passes_on(coarse, other)
