import dataclasses

import numpy as np
import pytest

from training.config import get_config
from training.data.augmentation import Augmentation
from training.data.batch_loader import BatchLoader

SIZE = 64
STRONG = get_config("lite").augmentation


def test_vertices_equal_a_loop_over_photos(source, vertex_model):
    indices = np.array([3, 0, 7])
    seeds = [(0, i) for i in range(3)]
    unmirrored = dataclasses.replace(STRONG, mirror=0.0)
    loader = BatchLoader(source, vertex_model, unmirrored, SIZE)
    batch = loader.load(indices, seeds)
    images, found = loader.load_with_vertices(indices, seeds)
    np.testing.assert_array_equal(images, batch.images)
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
    plain, mirrored = (
        BatchLoader(
            source, vertex_model, Augmentation(mirror=mirror), SIZE
        ).load_with_vertices(indices, seeds)
        for mirror in (0.0, 1.0)
    )
    expected = plain[1][:, miniature_model.mirror] * [-1, 1, 1] + [255, 0, 0]
    np.testing.assert_allclose(mirrored[1], expected, atol=0.2)
    difference = mirrored[0].astype(int) - plain[0][:, :, ::-1]
    assert np.abs(difference).mean() < 1.0


def test_photos_are_mirrored_only_with_a_face_model_that_can_be(
    source, vertex_model
):
    without = dataclasses.replace(vertex_model, mirror_matrix=None)
    loader = BatchLoader(source, without, Augmentation(mirror=1.0), SIZE)
    with pytest.raises(ValueError, match=r"augmentation\.mirror=1"):
        loader.load(np.array([0]), [(0,)])
