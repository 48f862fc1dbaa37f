import functools
import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.losses.slopes import loss_and_slope
from tf_facegcn.losses.exponential_wing import (
    ExponentialWing,
    exponential_wing,
)

_loss_and_slope = functools.partial(loss_and_slope, exponential_wing)


def test_is_the_formula_of_the_paper_inside():
    # W (e^(4/4) - 1) with W = 5; the slope is W / 4 e^(4/4).
    loss, slope = _loss_and_slope(-4.0)
    assert loss == pytest.approx(5 * (math.e - 1), rel=1e-6)
    assert slope == pytest.approx(-1.25 * math.e, rel=1e-6)


def test_is_linear_and_continuous_outside():
    at_width = 5 * math.expm1(5 / 4)
    assert _loss_and_slope(5.0)[0] == pytest.approx(at_width, rel=1e-6)
    assert _loss_and_slope(4.9999)[0] == pytest.approx(at_width, rel=1e-3)
    assert _loss_and_slope(15.0) == pytest.approx((at_width + 10, 1.0))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("error", [1e4, 6e4])
def test_far_errors_do_not_overflow(dtype, error):
    loss, slope = _loss_and_slope(error, dtype)
    assert loss == pytest.approx(error + 7.45, rel=1e-2)
    assert slope == pytest.approx(1.0, rel=1e-2)


def test_a_million_away_the_slope_is_one():
    assert _loss_and_slope(1e6) == pytest.approx((1e6 + 7.4517, 1.0))


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_million_away_of_half_precision_predictions(sign):
    # Beyond float16's largest number, 65,504.
    y_pred = tf.fill((1, 2, 3), tf.constant(6e4 * sign, "float16"))
    y_true = tf.fill((1, 2, 3), -1e6 * sign)
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        losses = exponential_wing(y_true, y_pred)
        loss = tf.reduce_mean(losses)
    assert float(loss) == pytest.approx(1.06e6, rel=1e-3)
    slopes = np.array(tape.gradient(loss, y_pred), "float32")
    np.testing.assert_allclose(slopes, sign / 6, rtol=1e-3)


def test_slope_at_zero_is_none_and_beside_it_the_smallest():
    assert _loss_and_slope(0.0) == (0.0, 0.0)
    assert _loss_and_slope(1e-6)[1] == pytest.approx(5 / 4, rel=1e-5)
    assert _loss_and_slope(-1e-6)[1] == pytest.approx(-5 / 4, rel=1e-5)


def test_slope_drops_to_one_at_the_width():
    steepest = 5 / 4 * math.exp(5 / 4)
    assert steepest == pytest.approx(4.363, abs=1e-3)
    below, above = np.nextafter(np.float32(5), np.float32([0, 9]))
    assert _loss_and_slope(below)[1] == pytest.approx(steepest, rel=1e-5)
    assert _loss_and_slope(5.0)[1] == pytest.approx(1.0, rel=1e-6)
    assert _loss_and_slope(above)[1] == pytest.approx(1.0, rel=1e-6)
    assert _loss_and_slope(-below)[1] == pytest.approx(-steepest, rel=1e-5)
    assert _loss_and_slope(-5.0)[1] == pytest.approx(-1.0, rel=1e-6)


def test_width_and_curvature_are_arguments():
    # W = 2, epsilon = 1: 2 (e - 1) at 1, and beyond 2 linear.
    assert _loss_and_slope(1.0, width=2.0, curvature=1.0)[0] == pytest.approx(
        2 * (math.e - 1), rel=1e-6
    )
    assert _loss_and_slope(3.0, width=2.0, curvature=1.0)[1] == pytest.approx(1)


def test_averages_over_coordinates_only():
    y_pred = np.zeros((2, 3, 3), "float32")
    y_pred[1, 2, 0] = 4.0
    losses = np.array(exponential_wing(np.zeros_like(y_pred), y_pred))
    assert losses.shape == (2, 3)
    assert losses[1, 2] == pytest.approx(5 * (math.e - 1) / 3, rel=1e-6)
    assert np.count_nonzero(losses) == 1


def test_vertex_weights_multiply():
    y_true = np.zeros((1, 2, 3), "float32")
    plain = float(ExponentialWing()(y_true, y_true + 1))
    weighted = ExponentialWing(vertex_weights=[3.0, 0.0])
    assert float(weighted(y_true, y_true + 1)) == pytest.approx(1.5 * plain)
    far_second = np.array([[[1.0] * 3, [100.0] * 3]], "float32")
    assert float(weighted(y_true, far_second)) == pytest.approx(1.5 * plain)


def test_config_restores_the_loss():
    loss = ExponentialWing(3.0, 2.0, vertex_weights=[1.0, 2.5])
    config = json.loads(json.dumps(keras.losses.serialize(loss)))
    revived = keras.losses.deserialize(config)
    y_true = np.zeros((1, 2, 3), "float32")
    assert float(revived(y_true, y_true + 2)) == float(loss(y_true, y_true + 2))
    assert revived.get_config() == loss.get_config()


def test_rejects_weights_of_another_mesh():
    loss = ExponentialWing(vertex_weights=[1.0, 1.0])
    vertices = np.zeros((1, 3, 3), "float32")
    with pytest.raises(ValueError, match="Expected 2 vertices"):
        loss(vertices, vertices)


def test_rejects_a_curvature_of_zero():
    with pytest.raises(ValueError, match="curvature=0"):
        ExponentialWing(curvature=0)
