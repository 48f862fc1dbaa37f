import numpy as np
import pytest

from tests.training.test_second_teacher import Bright, spot
from training import label_quality, look_errors, second_teacher
from training.data.aflw_crops import crop_pixels_to_units
from training.data.photo_source import split_indices
from training.label_quality import held_out_crops
from training.look_errors import look_landmarks, main, standard_error


class Faces(Bright):
    """A network that puts a face, always as large, around the light."""

    def __init__(self, aside=0.0):
        angles = np.linspace(0, 2 * np.pi, 68, endpoint=False)
        circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        self.face = 80 * circle + [aside, 0]
        self.places = []

    def predict_on_batch(self, x):
        points = super().predict_on_batch(x)
        self.places.extend(points[x.any(axis=(1, 2, 3)), 0, :2])
        points[..., :2] += self.face
        return points


@pytest.fixture
def spotted(miniature_crops, monkeypatch):
    """Photos of a spot, somewhat aside of the teacher's landmarks."""
    crops = miniature_crops
    monkeypatch.setattr(second_teacher, "_BATCH", 4)
    low, high = (
        getattr(crops.teacher_landmarks[..., :2], end)(axis=1)
        for end in ("min", "max")
    )
    middles = (low + high) / 2 * 120 / 256
    pixels = np.rint(middles + np.array([4.0, -3.0])).astype(int)
    monkeypatch.setattr(
        type(crops), "image", lambda self, index: spot(*pixels[index])
    )
    return crops, crop_pixels_to_units(pixels)


def test_every_look_is_in_units_of_the_stored_crop(spotted):
    crops, expected = spotted
    looks = look_landmarks(Faces(), crops)
    assert list(looks) == ["teacher", "first", "second"]
    for landmarks in looks.values():
        assert landmarks.shape == crops.teacher_landmarks.shape
        found = landmarks[..., :2].mean(axis=1)
        np.testing.assert_allclose(found, expected, atol=0.6)


def test_the_second_crop_is_cut_around_the_first_landmarks(spotted):
    crops, _ = spotted
    network = Faces()
    look_landmarks(network, crops)
    count = len(crops.jpegs)
    first, teacher, second = np.split(
        np.array(network.places), [count, 2 * count]
    )
    assert np.abs(teacher - 127.5).min() > 3
    assert np.abs(first - teacher).max() > 10
    assert np.abs(first - teacher).max() < 0.08 * 256 + 5
    assert np.abs(second - 127.5).max() < 1.5


def test_errors_are_shares_of_the_face(miniature_crops):
    crops = miniature_crops
    landmarks = crops.teacher_landmarks
    size = np.sqrt(np.ptp(landmarks[..., :2], axis=1).prod(axis=1))
    # People see the constant part of a difference in their definitions, so
    # only every second photo differs.
    sign = np.where(np.arange(len(landmarks)) % 2, 1.0, -1.0)
    moved = landmarks.copy()
    moved[..., 1] += (sign * 0.1 * size)[:, None]
    errors = look_errors.look_errors(crops, moved)
    assert np.median(look_errors.look_errors(crops, landmarks)) < 2
    assert np.median(errors) == pytest.approx(10, abs=2)


def test_table_compares_with_the_first_network(spotted, monkeypatch, capsys):
    crops, _ = spotted
    networks = {"good": Faces(), "worse": Faces(aside=12)}
    monkeypatch.setattr(look_errors, "load_model", networks.__getitem__)
    monkeypatch.setattr(look_errors, "held_out_crops", lambda *_: crops)
    monkeypatch.setattr(look_errors.AflwCrops, "load", lambda _: crops)

    def errors(_, landmarks):
        middle = landmarks[..., 0].mean(axis=1)
        first = network_errors.setdefault("first", middle)
        return np.where(np.arange(len(middle)) == 3, np.nan, middle - first + 5)

    network_errors = {}
    monkeypatch.setattr(look_errors, "look_errors", errors)
    main(["good", "worse"], data_dir="anywhere")
    lines = capsys.readouterr().out.splitlines()[1:]
    names = [line.split()[:2] for line in lines]
    assert names == [
        [f"{network},", look]
        for network in ("good", "worse")
        for look in ("teacher", "first", "second")
    ]
    # Twelve units of the network's crop to the right.
    for line in lines[3:]:
        less, deviation = map(float, line.split()[-2:])
        assert less > 4
        assert 0 < deviation < 2


def test_standard_error_is_that_of_a_mean_of_bins():
    generator = np.random.default_rng(0)
    yaw = np.repeat([10.0, 40.0, 80.0], [400, 100, 25])
    draws = [
        np.mean([values[yaw == each].mean() for each in (10, 40, 80)])
        for values in generator.normal(0, 2, (3000, len(yaw)))
    ]
    found = [
        standard_error(generator.normal(0, 2, len(yaw)), yaw) for _ in range(50)
    ]
    assert np.mean(found) == pytest.approx(np.std(draws), rel=0.08)


def test_the_photos_are_those_that_trainings_hold_out(
    miniature_crops, labels, tmp_path, monkeypatch
):
    path = tmp_path / "labels.npz"
    labels.save(path)

    def refuse(*_):
        raise AssertionError("fitted labels though some were given")

    monkeypatch.setattr(label_quality, "labels_for", refuse)
    held = held_out_crops(miniature_crops, path, 3)
    _, indices = split_indices(len(labels), 3, 0)
    expected = labels.photo_indices[indices]
    np.testing.assert_array_equal(held.names, miniature_crops.names[expected])
    assert held.jpegs == [miniature_crops.jpegs[i] for i in expected]
    np.testing.assert_array_equal(held.yaw, miniature_crops.yaw[expected])
    more = held_out_crops(miniature_crops, path, 5)
    assert set(held.names) < set(more.names)
