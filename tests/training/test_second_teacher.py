import numpy as np
import pytest

import training.kept_labels
from tests.training.miniature import make_faces
from tf_facegcn.geometry.camera import decompose_camera
from tf_facegcn.imaging.bounding_box import BoundingBox
from training import second_teacher
from training.data.aflw_crops import AflwCrops, crop_pixels_to_units
from training.fit_labels import fit_labels, refit_labels
from training.kept_labels import labels_for
from training.label_quality import hidden_point_distances
from training.second_teacher import predict_crops, with_second_teacher
from training.systematic_errors import turned_back
from training.teacher_correction import human_point_matrix


class Bright:
    """A network whose landmarks all lie at the middle of the light."""

    input_size = 128
    landmarks = np.arange(68)

    def at_vertices(self, indices):
        assert len(indices) == 68
        return self

    def predict_on_batch(self, x):
        places = np.arange(128) * 2 + 0.5
        light = x.sum(axis=3) + 1e-9
        total = light.sum(axis=(1, 2))
        points = np.zeros((len(x), 68, 3))
        points[..., 0] = ((light.sum(axis=1) @ places) / total)[:, None]
        points[..., 1] = ((light.sum(axis=2) @ places) / total)[:, None]
        return points


def spot(column, row):
    """A black crop with a bright spot around a pixel."""
    image = np.zeros((120, 120, 3), np.uint8)
    image[row - 3 : row + 4, column - 3 : column + 4] = 255
    return image


def test_predictions_are_where_the_photo_shows_it(miniature_crops, monkeypatch):
    crops = miniature_crops
    pixels = np.array([(45 + i, 60 - i) for i in range(len(crops.jpegs))])
    monkeypatch.setattr(
        type(crops), "image", lambda self, index: spot(*pixels[index])
    )
    found = predict_crops(Bright(), crops, range(1, 7))
    expected = crop_pixels_to_units(pixels[1:7])[:, None]
    np.testing.assert_allclose(
        found[..., :2], np.broadcast_to(expected, (6, 68, 2)), atol=0.3
    )


def test_the_network_sees_no_crop_of_the_first_teachers_size(
    miniature_crops, monkeypatch
):
    """It might repeat that size instead of looking."""
    widths = []

    class Measuring(Bright):
        def predict_on_batch(self, x):
            widths.extend(
                np.sqrt(image.sum() / 3) for image in x if image.any()
            )
            return super().predict_on_batch(x)

    monkeypatch.setattr(type(miniature_crops), "image", lambda *_: spot(60, 60))
    predict_crops(Measuring(), miniature_crops, [0])
    landmarks = miniature_crops.teacher_landmarks[0]
    side = BoundingBox.from_points(landmarks).landmarks_crop().width
    # The spot is 7 of 120 pixels of the stored crop, the crop 128.
    usual = 7 / 120 * 256 / side * 128
    shares = sorted(width / usual for width in widths)
    assert shares == pytest.approx([0.9, 0.9, 1.1, 1.1], rel=0.03)


def test_the_mean_has_the_networks_share(miniature_crops, monkeypatch):
    teacher = miniature_crops.teacher_landmarks
    monkeypatch.setattr(second_teacher, "load_model", lambda name: None)
    found = teacher + np.array([8.0, 0, 30.0])
    monkeypatch.setattr(second_teacher, "predict_crops", lambda *_: found)
    mixed = with_second_teacher(miniature_crops, "lite", 0.25)
    moved = mixed.teacher_landmarks - teacher
    np.testing.assert_allclose(moved[..., 0], 2.0)
    np.testing.assert_allclose(moved[..., 1], 0.0, atol=1e-9)
    np.testing.assert_allclose(
        mixed.teacher_landmarks[..., 2].mean(axis=1), 0.0, atol=1e-9
    )


def test_labels_of_other_teachers_are_fitted_anew(
    miniature_crops, miniature_model, tmp_path, monkeypatch
):
    calls = []

    def double(crops, weights, share):
        calls.append((weights, share))
        return crops

    monkeypatch.setattr(training.kept_labels, "with_second_teacher", double)
    monkeypatch.setattr(training.kept_labels, "weights_digest", str)
    path = tmp_path / "labels.npz"

    def fit(*teacher):
        return labels_for(
            miniature_crops, miniature_model, path, *teacher
        ).fingerprint

    prints = [fit(), fit("a", 0.5), fit("a", 0.5), fit("a", 0.7), fit("b", 0.7)]
    # The second time they were there.
    assert calls == [("a", 0.5), ("a", 0.7), ("b", 0.7)]
    assert len(set(prints)) == 4


def test_unknown_weights_are_refused(miniature_crops, miniature_model):
    with pytest.raises(ValueError, match="'huge'"):
        labels_for(miniature_crops, miniature_model, None, "huge")


def test_hidden_points_tell_a_better_teacher(miniature_crops, miniature_model):
    """Human points are the truth here, so what was moved is measured."""
    reference = miniature_model.mean[miniature_model.landmarks].astype(float)
    before, after = hidden_point_distances(miniature_crops, reference)
    shifted = miniature_crops.teacher_landmarks.copy()
    generator = np.random.default_rng(0)
    shifts = generator.normal(0, 6, (len(shifted), 1, 2))
    shifted[..., :2] += shifts
    moved = miniature_crops._replace(teacher_landmarks=shifted)
    worse, repaired = hidden_point_distances(moved, reference)
    extent = np.ptp(shifted[..., :2], axis=1).prod(axis=1)
    size = 100 * np.linalg.norm(shifts[:, 0], axis=1) / np.sqrt(extent)
    assert np.mean(worse) - np.mean(before) > 0.5 * size.mean()
    # The other points say where the face is.
    assert np.mean(repaired) < 0.5 * np.mean(worse)
    assert np.mean(after) < np.mean(before) + 0.1


def test_points_are_hidden_from_the_correction(
    miniature_crops, miniature_model
):
    """Noise cannot be corrected, unless it was shown."""
    human = miniature_crops.human_points
    noise = np.random.default_rng(1).normal(0, 8, human.shape)
    reference = miniature_model.mean[miniature_model.landmarks].astype(float)
    before, after = hidden_point_distances(
        miniature_crops._replace(human_points=human + noise), reference
    )
    assert np.mean(after) > np.mean(before)


def test_refitted_labels_are_nearer_to_the_truth(
    miniature_crops, miniature_model
):
    """The first teacher errs, the mean of the two errs half as much."""
    truth = miniature_crops.teacher_landmarks
    noise = np.random.default_rng(2).normal(0, 6, (len(truth), 1, 2))
    teacher, averaged = truth.copy(), truth.copy()
    teacher[..., :2] += noise
    averaged[..., :2] += noise / 2
    # Of most photos nothing else tells where the face is.
    human = miniature_crops.human_points.copy()
    human[6:] = np.nan
    crops = miniature_crops._replace(
        teacher_landmarks=teacher, human_points=human
    )
    first, _ = fit_labels(crops, miniature_model)
    mixed = crops._replace(teacher_landmarks=averaged)
    second, _ = refit_labels(crops, miniature_model, first, mixed)
    np.testing.assert_array_equal(second.photo_indices, first.photo_indices)

    def error(labels):
        distance = labels.landmarks - truth[labels.photo_indices]
        unaided = labels.photo_indices >= 6
        return np.linalg.norm(distance[unaided, :, :2], axis=-1).mean()

    assert error(second) < 0.8 * error(first)


def test_refitting_keeps_photos_that_no_longer_fit(
    miniature_crops, miniature_model
):
    """The same photos are held out from training as before."""
    first, _ = fit_labels(miniature_crops, miniature_model)
    scrambled = miniature_crops.teacher_landmarks.copy()
    scrambled[0, :, :2] += np.random.default_rng(3).normal(0, 40, (68, 2))
    mixed = miniature_crops._replace(teacher_landmarks=scrambled)
    worse, _ = fit_labels(mixed, miniature_model)
    second, _ = refit_labels(miniature_crops, miniature_model, first, mixed)
    assert 0 in first.photo_indices
    assert 0 not in worse.photo_indices
    np.testing.assert_array_equal(second.photo_indices, first.photo_indices)


def test_refitted_labels_keep_the_teachers_convention(
    miniature_crops, miniature_model
):
    """What the second teacher puts elsewhere in all photos is no error."""
    teacher = miniature_crops.teacher_landmarks
    human = miniature_crops.human_points.copy()
    human[6:] = np.nan
    crops = miniature_crops._replace(human_points=human)
    first, _ = fit_labels(crops, miniature_model)
    # The outer corners of the mouth go down.
    moved = teacher.copy()
    moved[:, [48, 54], 1] += 8
    mixed = crops._replace(teacher_landmarks=moved)
    second, _ = refit_labels(crops, miniature_model, first, mixed)
    distance = second.landmarks - teacher[second.photo_indices]
    # Their human points are taken as evidence, to a part.
    assert np.abs(distance[:, [48, 54], 1]).mean() < 2


def test_refitted_labels_turn_heads_as_far_as_people_see_them(miniature_model):
    truth, cameras = make_faces(miniature_model, 800, seed=6, largest_yaw=88)
    reference = miniature_model.mean[miniature_model.landmarks].astype(float)
    too_far = np.array([0.0, 0.0, 4.0, 4.0, 0.0])
    human = human_point_matrix() @ truth[..., :2]
    crops = AflwCrops(
        names=np.array([f"photo{i}" for i in range(800)]),
        jpegs=[b""] * 800,
        human_points=human + np.random.default_rng(0).normal(0, 2, human.shape),
        teacher_landmarks=turned_back(truth, reference, -too_far),
        yaw=np.abs(decompose_camera(cameras).yaw),
        fingerprint="",
    )
    first, _ = fit_labels(crops, miniature_model)
    second, _ = refit_labels(crops, miniature_model, first, crops)

    def error(labels):
        part = (crops.yaw > 40) & (crops.yaw < 65)
        indices = np.flatnonzero(part[labels.photo_indices])
        found = np.abs(decompose_camera(labels.cameras[indices]).yaw)
        return np.mean(found - crops.yaw[labels.photo_indices[indices]])

    assert error(first) > 2.5
    assert abs(error(second)) < 0.5 * error(first)
