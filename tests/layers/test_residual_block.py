import numpy as np
import pytest

from tests.layers.contract import check_layer
from tf_facegcn.layers.residual_block import ResidualBlock


@pytest.mark.parametrize(
    ("strides", "output_shape"), [(1, (2, 6, 6, 4)), (2, (2, 3, 3, 4))]
)
def test_keeps_the_contract(strides, output_shape, tmp_path):
    def make_layer(**kwargs):
        return ResidualBlock(4, strides=strides, **kwargs)

    check_layer(make_layer, [(2, 6, 6, 3)], [output_shape], tmp_path)


def test_without_kernels_the_identity_remains():
    block = ResidualBlock(1, num_convolutions=3)
    inputs = np.array([1.0, -1.0, 2.0, -2.0], "float32").reshape(1, 2, 2, 1)
    block(inputs)
    for convolution in block.convolutions:
        convolution.kernel.assign(np.zeros(convolution.kernel.shape))
    # Leaky ReLU of slope 0.1 after the sum.
    np.testing.assert_allclose(
        np.ravel(block(inputs)), [1.0, -0.1, 2.0, -0.2], rtol=1e-6
    )


def test_a_strided_shortcut_sees_every_pixel():
    block = ResidualBlock(1, strides=2, num_convolutions=1)
    inputs = np.array([1.0, 2.0, 3.0, 6.0], "float32").reshape(1, 2, 2, 1)
    block(inputs)
    block.convolutions[0].kernel.assign(np.zeros((3, 3, 1, 1)))
    block.shortcut.kernel.assign(np.ones((1, 1, 1, 1)))
    np.testing.assert_allclose(np.ravel(block(inputs)), [3.0], rtol=1e-6)


def test_rejects_a_stride_of_zero():
    with pytest.raises(ValueError, match="strides=0"):
        ResidualBlock(4, strides=0)
