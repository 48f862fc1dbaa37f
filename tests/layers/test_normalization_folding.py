import keras
import numpy as np
import pytest

from tf_facegcn.layers.aggregation_block import AggregationBlock
from tf_facegcn.layers.dense_gcn_block import DenseGCNBlock
from tf_facegcn.layers.mesh_operator import MeshOperator
from tf_facegcn.layers.normalization_folding import (
    assign_folded,
    folds_cheaply,
)
from tf_facegcn.layers.residual_block import ResidualBlock


def _shake(layer):
    """Weights and statistics as after training; variances are positive."""
    generator = np.random.default_rng(0)
    for variable in layer.weights:
        values = generator.normal(size=variable.shape)
        variable.assign(
            np.abs(values) + 0.1 if "var" in variable.path else values
        )


def test_one_channel_folded_by_hand():
    source = keras.layers.Conv2D(1, 1, use_bias=False)
    normalization = keras.layers.BatchNormalization(epsilon=0.0)
    target = keras.layers.Conv2D(1, 1)
    for layer in (source, normalization, target):
        layer.build((1, 1, 1, 1))
    source.kernel.assign([[[[6.0]]]])
    normalization.gamma.assign([2.0])
    normalization.beta.assign([5.0])
    normalization.moving_mean.assign([1.0])
    normalization.moving_variance.assign([16.0])
    assign_folded(target, source, normalization)
    # 2 (6 x - 1) / 4 + 5 = 3 x + 4.5
    assert float(target.kernel[0, 0, 0, 0]) == 3.0
    assert float(target.bias[0]) == 4.5


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_a_folded_residual_block_does_the_same(strides, dtype):
    inputs = np.random.default_rng(1).normal(size=(2, 8, 8, 3))
    _check_folding(
        lambda normalize: ResidualBlock(
            4, strides, normalize=normalize, dtype=dtype
        ),
        inputs.astype("float32"),
        1e-5 if dtype == "float32" else 0.03,
    )


def test_a_folded_dense_gcn_block_does_the_same(grid_laplacian):
    operator = MeshOperator(grid_laplacian)
    inputs = np.random.default_rng(1).normal(size=(2, 80, 3))
    _check_folding(
        lambda normalize: DenseGCNBlock(4, operator, normalize=normalize),
        inputs.astype("float32"),
    )


def test_a_folded_aggregation_block_does_the_same():
    generator = np.random.default_rng(1)
    inputs = [
        generator.normal(size=(2, side, side, 3)).astype("float32")
        for side in (16, 8, 4)
    ]
    _check_folding(
        lambda normalize: AggregationBlock([4, 3, 2], 2, normalize=normalize),
        inputs,
    )


def _check_folding(make_layer, inputs, tolerance=1e-5):
    source, target = make_layer(True), make_layer(False)  # noqa: FBT003
    source(inputs)
    target(inputs)
    _shake(source)
    target.assign_folded(source)
    assert len(target.weights) < len(source.weights)
    assert not any("normalization" in x.path for x in target.weights)
    expected = keras.tree.flatten(source(inputs))
    # Also as a graph, which TensorFlow rewrites.
    symbolic = keras.tree.map_structure(
        lambda x: keras.Input(x.shape[1:]), inputs
    )
    model = keras.Model(symbolic, target(symbolic))
    for found in (target(inputs), model.predict_on_batch(inputs)):
        for ours, theirs in zip(
            keras.tree.flatten(found), expected, strict=True
        ):
            ours, theirs = (
                np.array(keras.ops.cast(x, "float32")) for x in (ours, theirs)
            )
            np.testing.assert_allclose(
                ours, theirs, atol=tolerance * np.abs(theirs).max()
            )


@pytest.mark.parametrize("kind", ["residual", "dense_gcn"])
def test_scaling_kernels_and_scaling_outputs_are_equal(
    kind, grid_laplacian, monkeypatch
):
    generator = np.random.default_rng(1)
    if kind == "residual":
        layer, shape = ResidualBlock(4, 2), (2, 8, 8, 3)
    else:
        layer = DenseGCNBlock(4, MeshOperator(grid_laplacian))
        shape = (2, 80, 3)
    inputs = generator.normal(size=shape).astype("float32")
    layer(inputs)
    _shake(layer)
    outputs = []
    for cheaply in (False, True):
        monkeypatch.setattr(
            "tf_facegcn.layers.normalization_folding.folds_cheaply",
            lambda kernel, shape, cheaply=cheaply: cheaply,
        )
        outputs.append(np.array(layer(inputs, training=False)))
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-4, atol=1e-4)
    # Training normalises by the batch, however cheap scaling kernels is.
    assert np.abs(layer(inputs, training=True) - outputs[0]).max() > 0.1


def test_small_kernels_fold_cheaply():
    kernel = np.zeros((3, 3, 2, 4))
    assert folds_cheaply(kernel, (None, 8, 8, 4))
    assert not folds_cheaply(kernel, (None, 4, 4, 4))
