"""Counts the arithmetic of a network by walking through its graph."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

# What a graph may hold beside single operations; their bodies would have to
# be walked through too.
_CALLS = ("PartitionedCall", "StatefulPartitionedCall", "While", "If")


def count_flops(model: keras.Model) -> int:
    """Counts the floating-point operations of one inference of one photo.

    A multiplication and an addition are two operations. Counted are
    convolutions, matrix products and sparse products, which is all but a few
    per cent; normalisations, activations, sums and interpolations of maps are
    not.

    Args:
        model: A Keras model of photos of a fixed size; the mesh operators of
            a `FaceGCN` must have the lowering `"sparse"`.

    Returns:
        The number of operations.

    Raises:
        ValueError: If the graph holds calls that hide operations.
    """
    specification = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32)
    function = tf.function(
        lambda photos: model(photos, training=False), autograph=False
    )
    graph = function.get_concrete_function(specification).graph
    return sum(_flops(operation) for operation in graph.get_operations())


def _flops(operation: Any) -> int:
    if operation.type in _CALLS:
        raise ValueError(
            "Expected a graph of single operations, as the lowering 'sparse' "
            f"makes. Received: {operation.type} {operation.name!r}"
        )
    if operation.type not in _TERMS:
        return 0
    # Each output is a sum of products.
    return 2 * _TERMS[operation.type](operation)


def _output_size(operation: Any) -> int:
    return math.prod(operation.outputs[0].shape.as_list())


def _convolution(operation: Any) -> int:
    *window, channels, _ = operation.inputs[1].shape.as_list()
    return _output_size(operation) * math.prod(window) * channels


def _transposed_convolution(operation: Any) -> int:
    # As the convolution whose gradient it is: each input meets each tap once.
    *window, channels, _ = operation.inputs[1].shape.as_list()
    inputs = operation.inputs[2].shape.as_list()
    return math.prod(inputs) * math.prod(window) * channels


def _matrix_product(operation: Any) -> int:
    left = operation.inputs[0].shape.as_list()
    names = ("transpose_a", "adj_x")
    transposed = any(
        operation.get_attr(name)
        for name in names
        if name in operation.node_def.attr
    )
    return _output_size(operation) * left[-2 if transposed else -1]


def _sparse_product(operation: Any) -> int:
    values, columns = operation.inputs[1], operation.inputs[3]
    return values.shape[0] * columns.shape[-1]


_TERMS = {
    "Conv2D": _convolution,
    "Conv2DBackpropInput": _transposed_convolution,
    "MatMul": _matrix_product,
    "BatchMatMulV2": _matrix_product,
    "SparseTensorDenseMatMul": _sparse_product,
}
