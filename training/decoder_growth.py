"""pass_on_displacements: a finer decoder begins where a coarser one ends."""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tf_facegcn.geometry.mesh_hierarchy import MeshHierarchy
from tf_facegcn.layers.cheb_conv import ChebConv
from tf_facegcn.layers.dense_gcn_block import DenseGCNBlock
from tf_facegcn.layers.leaky_slope import PAIR_GAIN
from tf_facegcn.models.face_gcn import FaceGCN

Floats = NDArray[np.float64]

# Each coordinate as a pair of opposite sign, as leaky ReLU follows.
_PAIRS = np.concatenate([np.eye(3), -np.eye(3)], axis=1)
_NUM_CHANNELS = _PAIRS.shape[1]

# Ridge of the regression, over the mean square of the features.
_RIDGE = 1e-5

_BATCH = 8


class _Moments(NamedTuple):
    """Mean and variance of `(3,)` coordinates."""

    mean: Floats
    variance: Floats


def passes_on(source: FaceGCN, target: FaceGCN) -> bool:
    """Whether a network can begin with another's displacements.

    It has more DenseGCN blocks on the same mesh, wide enough for them and
    without embeddings of the vertices in between, and is otherwise alike.
    """
    preset = target.preset
    num_before = len(source.preset.decoder_growths)
    widths = (*preset.decoder_growths[num_before:], *preset.output_filters)
    return (
        source.fingerprint == target.fingerprint
        and source.preset.encoder_widths == preset.encoder_widths
        and source.preset.template_transform == preset.template_transform
        and num_before < len(preset.decoder_growths)
        and min(widths) >= _NUM_CHANNELS
        and not preset.vertex_embedding
    )


def pass_on_displacements(
    source: FaceGCN, target: FaceGCN, photos: NDArray[np.floating]
) -> None:
    """Lets a network begin with the displacements of one with fewer blocks.

    The first channels of the target's new blocks become what the source's
    last convolution makes of its features: in the first of these blocks by a
    regression on what this block sees, from there on unchanged. All other
    channels keep their initial weights; the last convolution does not see
    them at first.

    Args:
        source: Trained network.
        target: Network with more DenseGCN blocks, whose others have the
            source's weights already, see `passes_on`.
        photos: `(n, S, S, 3)` float in [0, 1], crops of both networks' input
            size, of which the regression is learnt; some dozens.
    """
    num_before = len(source.preset.decoder_growths)
    num_blocks = len(target.preset.decoder_growths)
    hierarchy = target.hierarchy
    level = len(hierarchy.levels) - 1 - num_before
    blocks = [
        target.get_layer(f"dense_gcn_{hierarchy.sizes[finer]}")
        for finer in range(level, level - (num_blocks - num_before), -1)
    ]
    coordinates = _on_level(
        _outputs(source, source.get_layer("displacements").output, photos)[0],
        hierarchy,
        source.preset.output_level,
        level,
    )
    features = _outputs(target, blocks[0].input, photos)
    kernel, constant = _regression(
        features,
        coordinates,
        hierarchy.levels[level].laplacian,
        blocks[0].order,
    )
    _begin_block(blocks[0], kernel, constant, _moments(coordinates))
    for block in blocks[1:]:
        coordinates = _on_level(coordinates, hierarchy, level, level - 1)
        level -= 1
        _begin_block(block, None, np.zeros(3), _moments(coordinates))
    for index in range(len(target.preset.output_filters)):
        _begin(target.get_layer(f"output_{index}"), _PAIRS)
    _begin(target.get_layer("displacements"), np.eye(3))


def _outputs(
    model: FaceGCN,
    tensors: keras.KerasTensor | list[keras.KerasTensor],
    photos: NDArray[np.floating],
) -> list[Floats]:
    """Values of tensors of a network, one array for each."""
    tensors = tensors if isinstance(tensors, list) else [tensors]
    part = keras.Model(model.input, tensors)
    batches = [
        keras.tree.flatten(part(photos[start : start + _BATCH], training=False))
        for start in range(0, len(photos), _BATCH)
    ]
    return [
        np.concatenate(
            [
                keras.ops.convert_to_numpy(keras.ops.cast(each, "float32"))
                for each in values
            ]
        ).astype(np.float64)
        for values in zip(*batches, strict=True)
    ]


def _on_level(
    values: Floats, hierarchy: MeshHierarchy, level: int, other: int
) -> Floats:
    """Values of one level's vertices `(n, V, c)` on another level."""
    for finer in range(level - 1, other - 1, -1):
        matrix = sparse.csr_array(hierarchy.levels[finer + 1].upsampling)
        values = np.stack([matrix @ each for each in values])
    for coarser in range(level + 1, other + 1):
        values = values[:, hierarchy.levels[coarser].kept]
    return values


def _regression(
    features: list[Floats],
    coordinates: Floats,
    laplacian: sparse.sparray,
    order: int,
) -> tuple[Floats, Floats]:
    """`(order, channels, 3)` kernel and `(3,)` constant of a convolution."""
    matrix = sparse.csr_array(laplacian)
    channels = sum(each.shape[-1] for each in features)
    size = order * channels + 1
    normal, right = np.zeros((size, size)), np.zeros((size, 3))
    for example, wanted in zip(
        np.concatenate(features, axis=-1), coordinates, strict=True
    ):
        terms = [example, matrix @ example]
        while len(terms) < order:
            terms.append(2 * (matrix @ terms[-1]) - terms[-2])
        ones = np.ones((len(example), 1))
        design = np.concatenate([*terms[:order], ones], axis=1)
        normal += design.T @ design
        right += design.T @ wanted
    hold = np.full(size, _RIDGE * np.trace(normal) / size)
    hold[-1] = 0
    solution = np.linalg.solve(normal + np.diag(hold), right)
    return solution[:-1].reshape(order, channels, 3), solution[-1]


def _moments(coordinates: Floats) -> _Moments:
    return _Moments(coordinates.mean((0, 1)), coordinates.var((0, 1)))


def _begin_block(
    block: DenseGCNBlock,
    kernel: Floats | None,
    constant: Floats,
    moments: _Moments,
) -> None:
    """Makes a block's first channels coordinates: of a kernel, or passed on."""
    if kernel is None:
        _begin(block.convolutions[0], _PAIRS)
    else:
        _set_columns(block.convolutions[0], kernel @ _PAIRS)
    # Normalisation by these statistics changes nothing.
    normalization = block.normalizations[0]
    mean = (moments.mean - constant) @ _PAIRS
    variance = np.tile(moments.variance, 2)
    values = (
        np.sqrt(variance + normalization.epsilon),  # Scale.
        moments.mean @ _PAIRS,  # Offset.
        mean,
        variance,
    )
    weights = normalization.get_weights()
    for weight, begun in zip(weights, values, strict=True):
        weight[:_NUM_CHANNELS] = begun
    normalization.set_weights(weights)


def _begin(convolution: ChebConv, outputs: Floats) -> None:
    """Makes first filters of the coordinates in the first channels."""
    kernel = np.zeros((*convolution.kernel.shape[:2], outputs.shape[1]))
    # Without its neighbours, a vertex is the polynomial of degree 0.
    kernel[0, :_NUM_CHANNELS] = _PAIRS.T @ outputs / PAIR_GAIN
    _set_columns(convolution, kernel)


def _set_columns(convolution: ChebConv, columns: Floats) -> None:
    kernel, *bias = convolution.get_weights()
    count = columns.shape[-1]
    kernel[..., :count] = columns
    for each in bias:
        each[:count] = 0
    convolution.set_weights([kernel, *bias])
