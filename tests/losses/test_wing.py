import functools
import math

import pytest

from tests.losses.slopes import loss_and_slope
from tf_facegcn.losses.wing import Wing, wing

_loss_and_slope = functools.partial(loss_and_slope, wing)


def test_is_the_formula_inside():
    # w ln(1 + 2 / epsilon) with w = 10; the slope is w / (epsilon + 2).
    loss, slope = _loss_and_slope(-2.0)
    assert loss == pytest.approx(10 * math.log(2), rel=1e-6)
    assert slope == pytest.approx(-2.5, rel=1e-6)


def test_is_linear_and_continuous_outside():
    at_width = 10 * math.log(6)
    assert _loss_and_slope(10.0)[0] == pytest.approx(at_width, rel=1e-6)
    assert _loss_and_slope(9.9999)[0] == pytest.approx(at_width, rel=1e-4)
    assert _loss_and_slope(25.0) == pytest.approx((at_width + 15, 1.0))
    assert _loss_and_slope(1e6)[1] == pytest.approx(1.0)


def test_slope_is_steepest_beside_zero():
    assert _loss_and_slope(1e-6)[1] == pytest.approx(5.0, rel=1e-5)


def test_rejects_a_curvature_of_zero():
    with pytest.raises(ValueError, match="curvature=0"):
        Wing(curvature=0)
