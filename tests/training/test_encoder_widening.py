"""A larger network that begins with a smaller one's encoder."""

import keras
import numpy as np
import pytest

from tests.models.shake import shake
from tf_facegcn.models.face_gcn import FaceGCN
from training.encoder_widening import widen_encoder
from training.initial_network import set_initial_weights

LANDMARKS = np.arange(0, 640, 10)


def make(hierarchy, widths, input_size, **fields):
    keras.utils.set_random_seed(len(widths))
    num_stages = len(widths)
    fields = {
        "encoder_depths": (1,) * (num_stages - 1) + (2,),
        "aggregation_widths": (4,) * num_stages,
        "aggregation_rounds": num_stages - 1,
        "decoder_growths": (2,) * num_stages,
        **fields,
    }
    return FaceGCN.from_preset(
        "tiny",
        hierarchy,
        LANDMARKS,
        lowering="gather",
        encoder_widths=widths,
        input_size=input_size,
        **fields,
    )


@pytest.fixture
def source(tiny_hierarchy):
    model = make(tiny_hierarchy, (4,), 8)
    shake(model)
    return model


def halved(photos):
    """The mean over 2 x 2 pixels."""
    rows, columns = np.asarray(photos.shape[1:3]) // 2
    return photos.reshape(-1, rows, 2, columns, 2, 3).mean(axis=(2, 4))


def outputs(model, photos, names):
    part = keras.Model(
        model.input, [model.get_layer(name).output for name in names]
    )
    return [np.asarray(x) for x in part(photos)]


@pytest.mark.parametrize("widths", [(7, 6), (6, 8, 5)])
def test_computes_what_the_smaller_one_does(
    source, tiny_hierarchy, tmp_path, widths
):
    path = tmp_path / "source.keras"
    source.save(path)
    num_before = len(widths) - 1
    target = make(
        tiny_hierarchy, widths, 8 * 2**num_before, embedding_hidden=(20,)
    )
    set_initial_weights(target, str(path))
    generator = np.random.default_rng(0)
    photos = generator.uniform(
        size=(3, target.input_size, target.input_size, 3)
    )
    photos = photos.astype("float32")
    smaller = photos
    for _ in range(num_before):
        smaller = halved(smaller)
    features, embedding = outputs(
        target, photos, [f"encoder_{num_before}_1", "embedding_hidden_0"]
    )
    expected_features, expected_embedding = outputs(
        source, smaller, ["encoder_0_1", "embedding"]
    )
    assert np.ptp(expected_features) > 0.1
    assert np.ptp(expected_embedding) > 0.1
    np.testing.assert_allclose(
        features[..., :4], expected_features, rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(
        embedding[:, :16], expected_embedding, rtol=1e-4, atol=1e-4
    )
    # The channels beside them see the picture, too.
    assert np.ptp(features[..., 4:], axis=(0, 1, 2)).min() > 0.1


@pytest.mark.parametrize(
    ("widths", "fields"),
    [
        ((6, 3), {}),  # Narrower than what was learned.
        ((5, 4), {}),  # Too narrow for pairs of colors.
        ((6, 4), {"encoder_depths": (2, 2)}),
        ((6, 4), {"encoder_depths": (1, 3)}),
        ((6, 4), {"embedding_size": 8}),
    ],
)
def test_an_encoder_that_does_not_fit_is_refused(
    source, tiny_hierarchy, widths, fields
):
    target = make(tiny_hierarchy, widths, 16, **fields)
    before = target.get_weights()
    with pytest.raises(ValueError, match="Expected initial weights of an"):
        widen_encoder(source, target)
    for weight, old in zip(target.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)
