import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_facegcn.losses.exponential_wing import ExponentialWing
from tf_facegcn.losses.mesh_loss import MeshLoss, absolute_errors
from tf_facegcn.losses.norm_loss import NormLoss
from tf_facegcn.losses.wing import Wing

LOSSES = {
    "exponential_wing": ExponentialWing,
    "wing": Wing,
    "l1": lambda **kwargs: NormLoss("l1", **kwargs),
    "l2": lambda **kwargs: NormLoss("l2", **kwargs),
    "smooth_l1": lambda **kwargs: NormLoss("smooth_l1", **kwargs),
}
every_loss = pytest.mark.parametrize("make_loss", LOSSES.values(), ids=LOSSES)


def _meshes():
    generator = np.random.default_rng(0)
    return generator.normal(0.0, 8.0, (2, 2, 3, 3)).astype("float32")


@every_loss
def test_weights_select_and_scale_vertices(make_loss):
    y_true, y_pred = _meshes()
    alone = float(make_loss()(y_true[:, 1:2], y_pred[:, 1:2]))
    weighted = make_loss(vertex_weights=[0.0, 3.0, 0.0])
    # The mean over three vertices of three times the second.
    assert float(weighted(y_true, y_pred)) == pytest.approx(alone, rel=1e-5)


@every_loss
def test_weights_are_off_unless_asked_for(make_loss):
    y_true, y_pred = _meshes()
    plain = float(make_loss()(y_true, y_pred))
    ones = make_loss(vertex_weights=[1.0, 1.0, 1.0])
    assert make_loss().vertex_weights is None
    assert float(ones(y_true, y_pred)) == pytest.approx(plain, rel=1e-6)


@every_loss
def test_config_restores_the_loss(make_loss):
    y_true, y_pred = _meshes()
    loss = make_loss(vertex_weights=[1.0, 2.0, 0.5])
    config = json.loads(json.dumps(keras.losses.serialize(loss)))
    revived = keras.losses.deserialize(config)
    assert type(revived) is type(loss)
    assert revived.get_config() == loss.get_config()
    assert float(revived(y_true, y_pred)) == float(loss(y_true, y_pred))


@every_loss
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_predictions_do_not_overflow(make_loss, dtype):
    y_true = tf.zeros((1, 2, 3))
    y_pred = tf.fill((1, 2, 3), tf.constant(3e4, dtype))
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        loss = make_loss()(y_true, y_pred)
    assert loss.dtype == "float32"
    assert np.isfinite(float(loss))
    assert np.all(np.isfinite(tf.cast(tape.gradient(loss, y_pred), "float32")))


@every_loss
def test_rejects_weights_of_another_mesh(make_loss):
    with pytest.raises(ValueError, match="Expected 2 vertices"):
        make_loss(vertex_weights=[1.0, 1.0])(*_meshes())


@every_loss
def test_rejects_weights_of_coordinates(make_loss):
    with pytest.raises(ValueError, match=r"shape \(3, 3\)"):
        make_loss(vertex_weights=np.ones((3, 3)))


def test_a_loss_of_its_own_names_its_formula():
    class Largest(MeshLoss):
        def vertex_losses(self, y_true, y_pred):
            return keras.ops.max(absolute_errors(y_true, y_pred), axis=-1)

    y_true = np.zeros((1, 2, 3), "float32")
    y_pred = np.array([[[0, 1, 3], [0, -5, 2]]], "float32")
    loss = Largest(vertex_weights=[1.0, 2.0])
    assert float(loss(y_true, y_pred)) == pytest.approx((3 + 2 * 5) / 2)
