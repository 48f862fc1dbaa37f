"""Renews the statistics of batch normalisation for trained weights."""

from __future__ import annotations

import keras
import numpy as np

from training.compilation import normalizations
from training.data.batch_loader import BatchLoader
from training.data.epoch_sampler import EpochSampler


def renew_statistics(
    model: keras.Model,
    loader: BatchLoader,
    sampler: EpochSampler,
    num_steps: int,
) -> None:
    """Replaces moving means and variances by those of training batches.

    While training, they follow weights that change, and forget all but some
    ten batches. The averaged weights, which are kept, never had statistics of
    their own (Izmailov et al., 2018, Sec. 3.2).

    Args:
        model: The network; its statistics become the mean over the batches.
        loader: Loads the training examples.
        sampler: Says which, from the first step on.
        num_steps: Batches; 0 leaves the statistics as they are.
    """
    layers = normalizations(model.layers)
    momenta = [layer.momentum for layer in layers]
    try:
        for number in range(num_steps):
            images = loader.load(*sampler.step(number)).images
            for layer in layers:
                # The mean over all batches so far.
                layer.momentum = number / (number + 1)
            model(images / np.float32(255), training=True)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
