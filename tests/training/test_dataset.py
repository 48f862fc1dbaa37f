import dataclasses

import numpy as np
import pytest

from training.config import get_config
from training.data.augmentation import Augmentation
from training.data.dataset import (
    EpochSampler,
    ExampleSource,
    load_batch,
    training_dataset,
    validation_dataset,
)
from training.data.vertex_model import VertexModel
from training.fit_labels import fit_labels

SIZE = 64
STRONG = get_config("lite").augmentation


@pytest.fixture(scope="module")
def labels(miniature_crops, miniature_model):
    return fit_labels(miniature_crops, miniature_model)[0]


@pytest.fixture(scope="module")
def source(miniature_crops, labels):
    return ExampleSource.of_photos(miniature_crops, labels)


@pytest.fixture(scope="module")
def vertex_model(miniature_model, labels):
    return VertexModel.of_labels(
        miniature_model,
        labels.displacement_mean,
        labels.displacement_components,
    )


@pytest.fixture
def sampler(source):
    return EpochSampler(source.probabilities(0.5), 4, 3, seed=5)


def take(source, vertex_model, sampler, steps, first_step=0):
    dataset = training_dataset(
        source, vertex_model, STRONG, SIZE, sampler, first_step
    )
    return [(x.numpy(), y.numpy()) for x, y in dataset.take(steps)]


def test_gives_images_and_vertices_of_fixed_shapes(
    source, vertex_model, sampler
):
    dataset = training_dataset(source, vertex_model, STRONG, SIZE, sampler)
    images, vertices = dataset.element_spec
    assert images.shape == (4, SIZE, SIZE, 3)
    assert images.dtype.name == "uint8"
    assert vertices.shape == (4, 642, 3)
    assert vertices.dtype.name == "float32"


def test_same_seed_gives_the_same_batches(source, vertex_model, sampler):
    first, second = (take(source, vertex_model, sampler, 4) for _ in range(2))
    for (images, vertices), (other_images, other_vertices) in zip(
        first, second, strict=True
    ):
        np.testing.assert_array_equal(images, other_images)
        np.testing.assert_array_equal(vertices, other_vertices)
    assert np.any(first[0][0] != first[1][0])


def test_goes_on_in_the_middle_of_an_epoch(source, vertex_model, sampler):
    whole = take(source, vertex_model, sampler, 6)
    rest = take(source, vertex_model, sampler, 2, first_step=4)
    for (images, vertices), (other_images, other_vertices) in zip(
        whole[4:], rest, strict=True
    ):
        np.testing.assert_array_equal(images, other_images)
        np.testing.assert_array_equal(vertices, other_vertices)


def test_epochs_and_seeds_differ(source):
    probabilities = source.probabilities(0.0)
    sampler = EpochSampler(probabilities, 8, 2, seed=0)
    other = EpochSampler(probabilities, 8, 2, seed=1)
    draws = [sampler.step(0)[0], sampler.step(2)[0], other.step(0)[0]]
    assert len({tuple(draw.tolist()) for draw in draws}) == 3
    seeds = [seed for number in range(4) for seed in sampler.step(number)[1]]
    assert len(set(seeds)) == 32


def test_vertices_equal_a_loop_over_photos(source, vertex_model):
    indices = np.array([3, 0, 7])
    seeds = [(0, i) for i in range(3)]
    mirroring = dataclasses.replace(STRONG, mirror=0.0)
    batch = load_batch(source, vertex_model, indices, mirroring, SIZE, seeds)
    sampler = EpochSampler(source.probabilities(0), 3, 1, 0)
    sampler.step = lambda number: (indices, seeds)
    dataset = training_dataset(source, vertex_model, mirroring, SIZE, sampler)
    _, found = next(iter(dataset))
    for row, index in enumerate(indices):
        parameters = source.examples[index].parameters
        face = vertex_model.mean.astype(float)
        for number, weight in enumerate(parameters):
            face = face + weight * vertex_model.basis[..., number]
        camera = batch.cameras[row]
        expected = np.array([camera[:, :3] @ v + camera[:, 3] for v in face])
        np.testing.assert_allclose(found[row], expected, atol=2e-3)
        assert abs(expected[:, 2].mean()) < 1e-3


def test_mirrored_photo_has_the_mirrored_vertices(
    source, vertex_model, miniature_model
):
    seeds = [(0,)] * 5
    indices = np.arange(5)
    faces = []
    for mirror in (0.0, 1.0):
        batch = load_batch(
            source,
            vertex_model,
            indices,
            Augmentation(mirror=mirror),
            SIZE,
            seeds,
        )
        vertices = vertex_model.vertices(batch.parameters)
        cameras = batch.cameras.astype(float)
        faces.append(
            np.einsum("nij,nvj->nvi", cameras[..., :3], vertices)
            + cameras[:, None, :, 3]
        )
        if mirror:
            images = batch.images
        else:
            plain = batch.images
    expected = faces[0][:, miniature_model.mirror] * [-1, 1, 1] + [255, 0, 0]
    np.testing.assert_allclose(faces[1], expected, atol=0.2)
    difference = images.astype(int) - plain[:, :, ::-1]
    assert np.abs(difference).mean() < 1.0


def test_photos_are_mirrored_only_with_a_face_model_that_can_be(
    source, vertex_model
):
    without = dataclasses.replace(vertex_model, mirror_matrix=None)
    with pytest.raises(ValueError, match=r"augmentation\.mirror=1"):
        load_batch(
            source,
            without,
            np.array([0]),
            Augmentation(mirror=1.0),
            SIZE,
            [(0,)],
        )


def test_landmarks_of_validation_fill_the_crop(source, vertex_model):
    count, landmarks = 0, vertex_model.landmarks
    for images, vertices in validation_dataset(source, vertex_model, SIZE, 5):
        count += len(images)
        points = vertices.numpy()[:, landmarks, :2]
        longest = np.ptp(points, axis=1).max(axis=1)
        np.testing.assert_allclose(longest, 256 / np.sqrt(2), rtol=0.02)
    assert count == len(source.examples)


def test_split_is_complete_and_repeatable(source):
    kept, held_out = source.split(5, seed=3)
    again = source.split(5, seed=3)[1]
    names = [example.image for example in kept.examples + held_out.examples]
    assert sorted(names) == sorted(e.image for e in source.examples)
    assert len(held_out.examples) == 5
    assert [e.image for e in again.examples] == [
        e.image for e in held_out.examples
    ]
    with pytest.raises(ValueError, match="num_held_out=99"):
        source.split(99, seed=3)


def test_balance_draws_rare_poses_more_often():
    source = ExampleSource([None] * 4, np.array([1.0, 2.0, 3.0, 75.0]))
    np.testing.assert_allclose(source.probabilities(0.0), [0.25] * 4)
    np.testing.assert_allclose(source.probabilities(1.0), [1 / 6] * 3 + [1 / 2])
