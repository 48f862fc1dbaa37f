import dataclasses

import keras
import numpy as np
import pytest

from training.data.augmentation import Augmentation
from training.data.batch_loader import BatchLoader
from training.data.epoch_sampler import EpochSampler
from training.data.photo_source import PhotoSource
from training.normalization_statistics import renew_statistics


@pytest.fixture(scope="module")
def loader(vertex_model, source):
    return BatchLoader(source, vertex_model, Augmentation(color=0.5), 32)


@pytest.fixture
def sampler(loader):
    count = len(loader.source)
    return EpochSampler(np.full(count, 1 / count), 4, None, seed=3)


@pytest.fixture
def network():
    return keras.Sequential(
        [keras.Input((32, 32, 3)), keras.layers.BatchNormalization()]
    )


def test_statistics_are_those_of_the_batches(network, loader, sampler):
    batches = [loader.load(*sampler.step(k)).images / 255 for k in range(3)]
    assert np.std([batch.mean() for batch in batches]) > 1e-3
    renew_statistics(network, loader, sampler, 3)
    layer = network.layers[-1]
    axes = (0, 1, 2)
    np.testing.assert_allclose(
        layer.moving_mean, np.mean(batches, axis=(0, 1, 2, 3)), rtol=1e-4
    )
    np.testing.assert_allclose(
        layer.moving_variance,
        np.mean([batch.var(axis=axes) for batch in batches], axis=0),
        rtol=1e-4,
    )
    assert layer.momentum == keras.layers.BatchNormalization().momentum


def test_without_steps_they_stay(network, loader, sampler):
    before = network.get_weights()
    renew_statistics(network, loader, sampler, 0)
    for weight, old in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_momenta_return_after_a_failure(network, loader, sampler):
    photos = loader.source
    examples = list(photos.examples)
    (index, *_), _ = sampler.step(1)
    examples[index] = examples[index]._replace(image=b"no photo")
    broken = dataclasses.replace(
        loader, source=PhotoSource(examples, photos.yaw)
    )
    with pytest.raises(ValueError, match="encoded image"):
        renew_statistics(network, broken, sampler, 2)
    assert network.layers[-1].momentum == 0.99
