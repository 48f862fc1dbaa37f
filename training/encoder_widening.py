"""widen_encoder: a larger encoder that begins with a trained smaller one."""

from __future__ import annotations

import keras
import numpy as np
from numpy.typing import NDArray

from tf_facegcn.layers.leaky_slope import PAIR_GAIN
from tf_facegcn.layers.residual_block import ResidualBlock
from tf_facegcn.models.face_gcn import FaceGCN

_NUM_COLORS = 3


def is_widened(source: FaceGCN, target: FaceGCN) -> bool:
    """Whether a network's encoder has more stages than another's."""
    return _num_stages(source) < _num_stages(target)


def widen_encoder(source: FaceGCN, target: FaceGCN) -> None:
    """Gives a network the encoder of one with fewer and narrower stages.

    After Net2Net (Chen et al., 2016): the first channels of the target's last
    stages, and the first entries of its first dense layer, become what the
    source computes of the picture at its own size, exactly. The stages before
    halve the picture and pass it on, each color as a pair of channels of
    opposite sign, as leaky ReLU follows. All other channels keep their initial
    weights; what was learned does not see them at first, as their kernels into
    it begin with zero.

    Args:
        source: Trained network.
        target: Network with more stages. Where its encoder and first dense
            layer do not count, it stays as it is.

    Raises:
        ValueError: If the source's encoder does not fit into the target's.
    """
    _check(source, target)
    num_before = _num_stages(target) - _num_stages(source)
    for stage in range(num_before):
        _pass_on(_block(target, stage, 0), has_pairs=stage > 0)
    for stage, depth in enumerate(source.preset.encoder_depths):
        for block in range(depth):
            _widen_block(
                _block(source, stage, block),
                _block(target, stage + num_before, block),
                has_pairs=stage == block == 0,
            )
    _widen_dense(source, target)


def _num_stages(model: FaceGCN) -> int:
    return len(model.preset.encoder_widths)


def _block(model: FaceGCN, stage: int, block: int) -> ResidualBlock:
    return model.get_layer(f"encoder_{stage}_{block}")


def _first_dense(model: FaceGCN) -> keras.layers.Dense:
    has_hidden = bool(model.preset.embedding_hidden)
    return model.get_layer("embedding_hidden_0" if has_hidden else "embedding")


def _check(source: FaceGCN, target: FaceGCN) -> None:
    ours, theirs = target.preset, source.preset
    num_before = _num_stages(target) - _num_stages(source)
    if not (
        num_before > 0
        and ours.input_size == theirs.input_size * 2**num_before
        and all(
            depth == 1 and width >= 2 * _NUM_COLORS
            for depth, width in zip(
                ours.encoder_depths[:num_before],
                ours.encoder_widths[:num_before],
                strict=True,
            )
        )
        and ours.encoder_depths[num_before:] == theirs.encoder_depths
        and all(
            width >= narrower
            for width, narrower in zip(
                ours.encoder_widths[num_before:],
                theirs.encoder_widths,
                strict=True,
            )
        )
        and _first_dense(target).units >= _first_dense(source).units
    ):
        raise ValueError(
            "Expected initial weights of an encoder whose stages are the last "
            "of the trained network's, not deeper and not wider: "
            f"input_size={ours.input_size}, encoder_widths="
            f"{ours.encoder_widths}, encoder_depths={ours.encoder_depths}. "
            f"Received: input_size={theirs.input_size}, encoder_widths="
            f"{theirs.encoder_widths}, encoder_depths={theirs.encoder_depths}"
        )


def _pass_on(block: ResidualBlock, has_pairs: bool) -> None:
    """Makes the first channels the halved picture, in pairs."""
    (kernel,) = block.shortcut.get_weights()
    picture = np.eye(_NUM_COLORS, dtype=kernel.dtype)[None, None]
    pairs = np.concatenate([picture, -picture], axis=-1)
    block.shortcut.set_weights([_widened(kernel, pairs, has_pairs)])
    # The convolutions beside the shortcut add nothing to it.
    scale, offset, *statistics = block.normalizations[-1].get_weights()
    block.normalizations[-1].set_weights(
        [_begun(scale, 0.0, pairs), _begun(offset, 0.0, pairs), *statistics]
    )


def _widen_block(
    source: ResidualBlock, target: ResidualBlock, has_pairs: bool
) -> None:
    # As their strides are the same, both have a shortcut with weights or none.
    if target.shortcut is not None:
        (kernel,) = target.shortcut.get_weights()
        (learned,) = source.shortcut.get_weights()
        target.shortcut.set_weights([_widened(kernel, learned, has_pairs)])
    for index, (ours, theirs) in enumerate(
        zip(target.convolutions, source.convolutions, strict=True)
    ):
        (kernel,), (learned,) = ours.get_weights(), theirs.get_weights()
        ours.set_weights([_widened(kernel, learned, has_pairs and index == 0)])
    for ours, theirs in zip(
        target.normalizations, source.normalizations, strict=True
    ):
        ours.set_weights(
            [
                _begun(initial, learned, learned)
                for initial, learned in zip(
                    ours.get_weights(), theirs.get_weights(), strict=True
                )
            ]
        )


def _widen_dense(source: FaceGCN, target: FaceGCN) -> None:
    """The first dense layer, of a map that was flattened."""
    ours, theirs = _first_dense(target), _first_dense(source)
    kernel, bias = ours.get_weights()
    learned, offset = theirs.get_weights()
    channels, width = (
        model.preset.encoder_widths[-1] for model in (source, target)
    )
    flat = kernel.shape
    kernel = kernel.reshape(1, -1, width, flat[-1])
    learned = learned.reshape(1, -1, channels, learned.shape[-1])
    ours.set_weights(
        [
            _widened(kernel, learned).reshape(flat),
            _begun(bias, offset, learned),
        ]
    )


def _widened(
    kernel: NDArray[np.float32],
    learned: NDArray[np.float32],
    has_pairs: bool = False,
) -> NDArray[np.float32]:
    """A `(height, width, inputs, outputs)` kernel with a smaller one in it."""
    inputs, outputs = learned.shape[2:]
    widened = kernel.copy()
    widened[..., :outputs] = 0
    if has_pairs:
        widened[:, :, :inputs, :outputs] = learned / PAIR_GAIN
        widened[:, :, inputs : 2 * inputs, :outputs] = -learned / PAIR_GAIN
    else:
        widened[:, :, :inputs, :outputs] = learned
    return widened


def _begun(
    initial: NDArray[np.float32],
    values: NDArray[np.float32] | float,
    learned: NDArray[np.float32],
) -> NDArray[np.float32]:
    """A vector of all channels that begins with those that were learned."""
    begun = initial.copy()
    begun[: learned.shape[-1]] = values
    return begun
