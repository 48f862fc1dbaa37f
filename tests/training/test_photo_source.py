import dataclasses

import numpy as np
import pytest

from training.data.photo_source import PhotoSource


def test_split_is_complete_and_repeatable(source):
    kept, held_out = source.split(5, seed=3)
    again = source.split(5, seed=3)[1]
    names = [example.image for example in kept.examples + held_out.examples]
    assert sorted(names) == sorted(e.image for e in source.examples)
    assert len(held_out) == 5
    assert [e.image for e in again.examples] == [
        e.image for e in held_out.examples
    ]
    with pytest.raises(ValueError, match="num_held_out=99"):
        source.split(99, seed=3)


def test_balance_draws_rare_poses_more_often():
    source = PhotoSource([None] * 4, np.array([1.0, 2.0, 3.0, 75.0]))
    np.testing.assert_allclose(source.probabilities(0.0), [0.25] * 4)
    np.testing.assert_allclose(source.probabilities(1.0), [1 / 6] * 3 + [1 / 2])


@pytest.mark.parametrize("name", ["parameters", "cameras", "landmarks"])
def test_label_that_is_no_number_names_its_photo(miniature_crops, labels, name):
    damaged = getattr(labels, name).copy()
    damaged[4].flat[0] = np.nan
    photo = miniature_crops.names[labels.photo_indices[4]]
    with pytest.raises(ValueError, match=rf"{name} of photo {photo} .*1 of"):
        PhotoSource.of_photos(
            miniature_crops, dataclasses.replace(labels, **{name: damaged})
        )
