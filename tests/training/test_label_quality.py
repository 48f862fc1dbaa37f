import numpy as np
import pytest

from training import label_quality
from training.data.photo_source import split_indices
from training.fit_labels import label_landmarks
from training.label_quality import (
    HeldOutPhotos,
    held_out_photos,
    hidden_label_distances,
    main,
)

NUM_SHIFTED = 6


@pytest.fixture
def misled(miniature_crops):
    """Photos of which the teacher puts some faces aside; people do not."""
    landmarks = miniature_crops.teacher_landmarks.copy()
    landmarks[:NUM_SHIFTED, :, 0] += np.where(
        np.arange(NUM_SHIFTED) % 2, 5, -5
    )[:, None]
    return miniature_crops._replace(teacher_landmarks=landmarks)


@pytest.mark.slow
def test_labels_are_measured_by_points_that_they_were_not_fitted_to(
    miniature_crops, miniature_model, misled
):
    exact = hidden_label_distances(miniature_crops, miniature_model)
    fitted = hidden_label_distances(misled, miniature_model)
    size = np.ptp(misled.teacher_landmarks[..., :2], axis=1).prod(axis=1)
    shift = 100 * 5 / np.sqrt(size)
    # The points shown say where the face is.
    assert np.nanmean(fitted[:NUM_SHIFTED]) < 0.6 * shift.mean()
    # Noise of the hidden ones is seen, and cannot be fitted.
    noise = np.random.default_rng(1).normal(
        0, 6, miniature_crops.human_points.shape
    )
    noisy = miniature_crops._replace(
        human_points=miniature_crops.human_points + noise
    )
    seen = hidden_label_distances(noisy, miniature_model)
    expected = 100 * 6 * np.sqrt(np.pi / 2) / np.sqrt(size)
    assert np.nanmean(seen) > 0.9 * expected.mean()
    assert np.nanmean(exact) < 0.2 * expected.mean()


@pytest.mark.slow
def test_labels_of_a_second_round_follow_the_mean_of_both_teachers(
    miniature_crops, miniature_model, misled
):
    crops, model = miniature_crops, miniature_model
    exact = hidden_label_distances(crops, model, crops)
    moved = hidden_label_distances(crops, model, misled)
    # Corrected, so by a part of the five units only.
    shifted = slice(NUM_SHIFTED)
    assert np.nanmean(moved[shifted]) > 1.2 * np.nanmean(exact[shifted])


@pytest.mark.slow
def test_photos_without_a_label_are_not_counted(
    miniature_crops, miniature_model
):
    landmarks = miniature_crops.teacher_landmarks.copy()
    scatter = np.random.default_rng(3).normal(0, 40, (68, 2))
    landmarks[0, :, :2] += scatter
    crops = miniature_crops._replace(teacher_landmarks=landmarks)
    distances = hidden_label_distances(crops, miniature_model)
    assert np.isnan(distances[0])
    assert np.isfinite(distances).sum() > len(distances) / 2


@pytest.mark.slow
def test_table_has_three_rows_a_share(
    miniature_crops, miniature_model, misled, monkeypatch, capsys
):
    shares = []

    def average(crops, weights, share):
        assert weights == "lite"
        shares.append(share)
        return miniature_crops

    monkeypatch.setattr(label_quality, "with_second_teacher", average)
    held = HeldOutPhotos(misled, misled.teacher_landmarks)
    monkeypatch.setattr(label_quality, "held_out_photos", lambda *_: held)
    monkeypatch.setattr(label_quality.AflwCrops, "load", lambda _: misled)
    monkeypatch.setattr(
        label_quality.MorphableModel, "bundled", lambda: miniature_model
    )
    main(data_dir="anywhere", weights="lite")
    lines = capsys.readouterr().out.splitlines()[1:]
    assert shares == [0.4, 0.7, 1.0]
    assert [line[:24].strip() for line in lines] == [
        f"{share}{kind}"
        for share in ("0", "0.4", "0.7", "1")
        for kind in ("", ", corrected", ", fitted")
    ]
    teacher, fitted = (float(lines[row].split()[-3]) for row in (0, 2))
    assert fitted < teacher


def test_the_photos_are_those_that_trainings_hold_out(
    miniature_crops, miniature_model, labels, tmp_path, monkeypatch
):
    path = tmp_path / "labels.npz"
    labels.save(path)

    def refuse(*_):
        raise AssertionError("fitted labels though some were given")

    monkeypatch.setattr(label_quality, "labels_for", refuse)
    head = label_quality.MorphableModel
    monkeypatch.setattr(head, "bundled", lambda: miniature_model)
    held, landmarks = held_out_photos(miniature_crops, path, 3)
    _, indices = split_indices(len(labels), 3, 0)
    expected = labels.photo_indices[indices]
    np.testing.assert_array_equal(held.names, miniature_crops.names[expected])
    assert held.jpegs == [miniature_crops.jpegs[i] for i in expected]
    np.testing.assert_array_equal(held.yaw, miniature_crops.yaw[expected])
    np.testing.assert_allclose(
        landmarks, label_landmarks(labels, miniature_model)[indices]
    )
    more, _ = held_out_photos(miniature_crops, path, 5)
    assert set(held.names) < set(more.names)


def test_labels_of_another_model_are_refused(miniature_crops, labels, tmp_path):
    path = tmp_path / "labels.npz"
    labels.save(path)
    with pytest.raises(ValueError, match="labels of the bundled head, with"):
        held_out_photos(miniature_crops, path, 3)
