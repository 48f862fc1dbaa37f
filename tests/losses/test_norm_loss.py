import numpy as np
import pytest

from tf_facegcn.losses.norm_loss import NormLoss

Y_TRUE = np.zeros((1, 1, 3), "float32")
# Within smooth L1's parabola, at its end, beyond it.
Y_PRED = np.array([[[0.5, -1.0, 4.0]]], "float32")


@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        ("l1", 0.5 + 1 + 4),
        ("l2", 0.25 + 1 + 16),
        ("smooth_l1", 0.125 + 0.5 + 3.5),
    ],
)
def test_is_the_formula(norm, expected):
    loss = NormLoss(norm)
    assert loss.name == norm
    assert float(loss(Y_TRUE, Y_PRED)) == pytest.approx(expected / 3)


def test_rejects_an_unknown_norm():
    with pytest.raises(ValueError, match="norm='l3'"):
        NormLoss("l3")
