"""The two kinds of data that `fit` takes: `tf.data` and Keras' `PyDataset`."""

import keras
import numpy as np
import pytest

from training.config import get_config
from training.data.augmentation import Augmentation
from training.data.batch_loader import BatchLoader
from training.data.dataset import training_dataset, validation_dataset
from training.data.epoch_sampler import EpochSampler
from training.data.photo_source import PhotoSource
from training.data.py_dataset import LoadedBatches
from training.data.reading_failure import reading_failures
from training.data.validation_steps import ValidationSteps

SIZE = 64
STRONG = get_config("lite").augmentation


@pytest.fixture(scope="module")
def loader(source, vertex_model):
    return BatchLoader(source, vertex_model, STRONG, SIZE)


@pytest.fixture
def sampler(source):
    return EpochSampler(source.probabilities(0.5), 4, 3, seed=5)


def of_tensorflow(loader, sampler, count, first_step=0):
    dataset = training_dataset(loader, sampler, first_step)
    return [(x.numpy(), y.numpy()) for x, y in dataset.take(count)]


def of_keras(loader, sampler, count, first_step=0):
    batches = LoadedBatches(loader, sampler, first_step)
    return [batches[number] for number in range(count)]


KINDS = pytest.mark.parametrize("take", [of_tensorflow, of_keras])


def assert_same(first, second):
    for (images, vertices), (other_images, other_vertices) in zip(
        first, second, strict=True
    ):
        np.testing.assert_array_equal(images, other_images)
        np.testing.assert_array_equal(vertices, other_vertices)


def test_gives_images_and_vertices_of_fixed_shapes(loader, sampler):
    images, vertices = training_dataset(loader, sampler).element_spec
    assert images.shape == (4, SIZE, SIZE, 3)
    assert images.dtype.name == "uint8"
    assert vertices.shape == (4, 642, 3)
    assert vertices.dtype.name == "float32"


@KINDS
def test_same_seed_gives_the_same_batches(loader, sampler, take):
    first, second = (take(loader, sampler, 4) for _ in range(2))
    assert_same(first, second)
    assert np.any(first[0][0] != first[1][0])


def test_both_kinds_give_the_same_batches(loader, sampler):
    pairs = zip(
        of_tensorflow(loader, sampler, 4),
        of_keras(loader, sampler, 4),
        strict=True,
    )
    for (images, vertices), (other_images, other_vertices) in pairs:
        np.testing.assert_array_equal(images, other_images)
        np.testing.assert_allclose(vertices, other_vertices, atol=1e-3)


@KINDS
def test_goes_on_in_the_middle_of_an_epoch(loader, sampler, take):
    whole = take(loader, sampler, 6)
    assert_same(whole[4:], take(loader, sampler, 2, first_step=4))


def test_items_may_be_asked_for_in_any_order(loader, sampler):
    batches = LoadedBatches(loader, sampler)
    expected = [batches[number] for number in range(4)]
    order = [3, 0, 0, 2, 1]
    assert_same([batches[n] for n in order], [expected[n] for n in order])


class Seen(keras.layers.Layer):
    """Passes photos on and notes the mean of each batch."""

    def build(self, shape):
        self.sums = self.add_weight((8,), "zeros", trainable=False, name="sums")
        self.place = self.add_weight((), "zeros", trainable=False, name="place")

    def call(self, photos):
        here = keras.ops.equal(keras.ops.arange(8.0), self.place)
        mean = keras.ops.mean(keras.ops.cast(photos, "float32"))
        self.sums.assign(keras.ops.where(here, mean, self.sums))
        self.place.assign(self.place + 1)
        return mean


@pytest.mark.parametrize("kind", ["tensorflow", "keras"])
def test_fit_sees_each_batch_once_and_in_order(loader, sampler, kind):
    seen = Seen()
    photos = keras.Input((SIZE, SIZE, 3))
    mesh = keras.layers.Dense(642 * 3)(keras.layers.Flatten()(photos) / 255)
    mesh = keras.layers.Reshape((642, 3))(mesh) + 0 * seen(photos)
    model = keras.Model(photos, mesh)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    data = (
        training_dataset(loader, sampler)
        if kind == "tensorflow"
        else LoadedBatches(loader, sampler)
    )
    model.fit(data, epochs=2, steps_per_epoch=3, verbose=0, shuffle=False)
    expected = [x.mean() for x, _ in of_keras(loader, sampler, 6)]
    np.testing.assert_allclose(seen.sums[:6], expected, rtol=1e-5)


def test_validation_has_each_photo_once_and_fills_the_crop(
    source, vertex_model
):
    loader = BatchLoader(source, vertex_model, Augmentation(), SIZE)
    steps = ValidationSteps(len(source), 5)
    count, landmarks = 0, vertex_model.landmarks
    for images, vertices in validation_dataset(loader, steps):
        count += len(images)
        points = vertices.numpy()[:, landmarks, :2]
        longest = np.ptp(points, axis=1).max(axis=1)
        np.testing.assert_allclose(longest, 256 / np.sqrt(2), rtol=0.02)
    assert count == len(source)
    again = LoadedBatches(loader, steps)
    assert sum(len(again[n][0]) for n in range(again.num_batches)) == count


@pytest.mark.parametrize("kind", ["tensorflow", "keras"])
def test_photo_that_cannot_be_read_is_named(source, vertex_model, kind):
    broken = source.examples[2]._replace(image=b"no photo", name="broken.jpg")
    examples = [*source.examples[:2], broken]
    damaged = PhotoSource(examples, source.yaw[:3])
    loader = BatchLoader(damaged, vertex_model, Augmentation(), SIZE)
    steps = ValidationSteps(3, 3)
    with pytest.raises(ValueError, match=r"^Photo broken\.jpg: Expected an"):
        if kind == "keras":
            LoadedBatches(loader, steps)[0]
        else:
            with reading_failures():
                next(iter(validation_dataset(loader, steps)))
