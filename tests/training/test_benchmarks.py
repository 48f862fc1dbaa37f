"""The two benchmarks of the training, on little."""

import numpy as np
import pytest

from training.bench_data import stored_photos
from training.bench_train import CASES, RATIOS, TrainingCase, _in_a_process
from training.data.synthetic import SyntheticFaces
from training.data.vertex_model import VertexModel


def test_photos_are_those_of_the_rendered_faces(
    miniature_model, tiny_hierarchy
):
    nothing = np.zeros((68, 3))
    model = VertexModel.of_labels(miniature_model, nothing, nothing[None][:0])
    faces = SyntheticFaces(model, miniature_model, tiny_hierarchy, 64)
    photos = stored_photos(faces, 3)
    for number in range(3):
        loaded, face = photos.load(number), faces.face((number,))
        np.testing.assert_array_equal(loaded.parameters, face.parameters)
        difference = loaded.image.astype(int) - face.image
        # JPEG loses colours, and would lose more of swapped ones.
        assert np.abs(difference).mean() < 8


def test_every_ratio_is_of_measured_cases():
    for names in RATIOS.values():
        assert set(names) <= set(CASES)


@pytest.mark.slow
@pytest.mark.parametrize("num_devices", [1, 2])
def test_measures_a_step_in_a_process_of_its_own(num_devices):
    found = _in_a_process(TrainingCase("tiny", num_devices=num_devices))
    assert found["images_per_second"] == pytest.approx(
        8 / found["seconds_a_step"]
    )
    assert 300 < found["peak_memory_mb"] < 10_000


def test_case_that_fails_says_so():
    with pytest.raises(OSError, match="no_such_preset"):
        _in_a_process(TrainingCase("no_such_preset"))
