import numpy as np
import pytest
import typer

from tests.training.miniature import make_faces
from tests.training.test_second_teacher import Bright, spot
from tf_facegcn.imaging.upright_crop import in_plane_roll
from training import look_errors, second_teacher
from training.data.aflw_crops import AflwCrops, crop_pixels_to_units
from training.label_quality import HeldOutPhotos
from training.look_errors import (
    human_targets,
    look_landmarks,
    main,
    standard_error,
)
from training.teacher_correction import human_point_matrix

LOOKS = ["label", "teacher", "first", "second", "upright"]


class Faces(Bright):
    """A network that puts a face, always as large, around the light."""

    def __init__(self, aside=0.0, roll=0.0):
        angles = np.linspace(0, 2 * np.pi, 68, endpoint=False)
        circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        self.template = circle
        # Counter-clockwise as seen, with y down.
        angles = angles - np.radians(roll)
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
    looks = look_landmarks(Faces(roll=50), crops, crops.teacher_landmarks + 9)
    assert list(looks) == LOOKS
    for landmarks in looks.values():
        assert landmarks.shape == crops.teacher_landmarks.shape
        found = landmarks[..., :2].mean(axis=1)
        np.testing.assert_allclose(found, expected, atol=0.6)


def test_the_second_crop_is_cut_around_the_first_landmarks(spotted):
    crops, _ = spotted
    network = Faces()
    look_landmarks(network, crops, crops.teacher_landmarks + 7)
    first, label, teacher, second, upright = np.split(
        np.array(network.places), 5
    )
    side = 2**0.5 * np.ptp(crops.teacher_landmarks[..., :2], axis=1).max(axis=1)
    aside = np.repeat(7 * 256 / side[:, None], 2, axis=1)
    np.testing.assert_allclose(teacher - label, aside, atol=0.6)
    assert np.abs(teacher - 127.5).min() > 3
    assert np.abs(first - teacher).max() > 10
    assert np.abs(first - teacher).max() < 0.08 * 256 + 5
    assert np.abs(second - 127.5).max() < 1.5
    np.testing.assert_array_equal(upright, second)


def test_the_upright_crop_is_turned_as_the_landmarks_lean(spotted):
    crops, _ = spotted
    network = Faces(aside=30, roll=50)
    looks = look_landmarks(network, crops, crops.teacher_landmarks)
    rolls = {
        look: [in_plane_roll(face[:, :2], network.template) for face in found]
        for look, found in looks.items()
    }
    np.testing.assert_allclose(rolls["first"], 50, atol=1e-6)
    np.testing.assert_allclose(rolls["second"], 50, atol=1e-6)
    # Cut as if the head leaned by 45 degrees, and leaning by 50 in that.
    np.testing.assert_allclose(rolls["upright"], 95, atol=1e-6)


def test_first_crops_are_the_same_for_every_network(spotted):
    crops, _ = spotted
    networks = Faces(), Faces(aside=20)
    for network in networks:
        look_landmarks(network, crops, crops.teacher_landmarks)
    count = len(crops.jpegs)
    np.testing.assert_array_equal(
        networks[0].places[:count], networks[1].places[:count]
    )


def test_errors_are_shares_of_the_face(miniature_crops):
    crops = miniature_crops
    human = human_point_matrix() @ crops.teacher_landmarks[..., :2]
    human[:, [3, 5]] = np.nan
    human[2] = np.nan
    crops = crops._replace(human_points=human)
    landmarks = crops.teacher_landmarks
    size = np.sqrt(np.ptp(landmarks[..., :2], axis=1).prod(axis=1))
    np.testing.assert_allclose(
        look_errors.look_errors(crops, landmarks),
        np.where(np.arange(len(size)) == 2, np.nan, 0.0),
        atol=1e-9,
    )
    # Also what is the same in all photos.
    moved = landmarks + np.array([3.0, 4.0, 9.0])
    errors = look_errors.look_errors(crops, moved)
    np.testing.assert_allclose(np.delete(errors, 2), 500 / np.delete(size, 2))


def test_targets_are_in_the_teachers_convention(miniature_model):
    truth, _ = make_faces(miniature_model, 300, seed=4)
    human = human_point_matrix() @ truth[..., :2]
    human += np.array([1.0, 1.2])
    human[5, 7] = np.nan
    crops = AflwCrops(
        names=np.array([f"photo{i}" for i in range(300)]),
        jpegs=[b""] * 300,
        human_points=human,
        teacher_landmarks=truth,
        yaw=np.zeros(300),
        fingerprint="",
    )
    targets = human_targets(crops)
    assert np.isnan(targets[5, 7]).all()
    # The ears are not among the landmarks.
    assert np.isnan(targets[:, [12, 16]]).all()
    errors = look_errors.look_errors(
        crops._replace(human_points=targets), truth
    )
    size = np.sqrt(np.ptp(truth[..., :2], axis=1).prod(axis=1))
    shift = 100 * np.hypot(1.0, 1.2) / size
    assert np.mean(errors) < 0.3 * np.mean(shift)


def test_table_compares_with_the_first_network(spotted, monkeypatch, capsys):
    crops, _ = spotted
    networks = {"good": Faces(), "worse": Faces(aside=12)}
    monkeypatch.setattr(look_errors, "load_model", networks.__getitem__)
    held = HeldOutPhotos(crops, crops.teacher_landmarks)
    monkeypatch.setattr(look_errors, "held_out_photos", lambda *_: held)
    monkeypatch.setattr(look_errors.AflwCrops, "load", lambda _: crops)

    monkeypatch.setattr(look_errors, "human_targets", lambda _: None)

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
        [f"{network},", look] for network in ("good", "worse") for look in LOOKS
    ]
    # Twelve units of the network's crop to the right.
    for line in lines[len(LOOKS) :]:
        change, deviation = map(float, line.split()[-5:-3])
        assert change > 4
        assert 0 < deviation < 2
    # From the labels, which stand in the middle of every exact crop, too.
    aside, change, deviation = map(float, lines[len(LOOKS)].split()[-3:])
    good = float(lines[0].split()[-1])
    assert aside - good == pytest.approx(change, abs=0.002)
    assert abs(change) > 0.5
    # Turned crops of the first network against those that are not.
    change = float(lines[LOOKS.index("upright")].split()[-5])
    assert change == pytest.approx(0, abs=1e-3)


def test_only_heads_that_lean(spotted, monkeypatch, capsys, miniature_model):
    crops, _ = spotted
    monkeypatch.setattr(
        look_errors.MorphableModel, "bundled", lambda: miniature_model
    )
    template = miniature_model.mean[miniature_model.landmarks] * [1, -1, 1]
    leaning = np.array(
        [
            abs(in_plane_roll(face[:, :2], template)) >= 8
            for face in crops.teacher_landmarks
        ]
    )
    assert 0 < leaning.sum() < len(leaning)
    held = HeldOutPhotos(crops, crops.teacher_landmarks)
    monkeypatch.setattr(look_errors, "held_out_photos", lambda *_: held)
    monkeypatch.setattr(look_errors.AflwCrops, "load", lambda _: crops)
    monkeypatch.setattr(look_errors, "human_targets", lambda _: None)
    monkeypatch.setattr(look_errors, "load_model", lambda _: Faces())
    seen = []

    def errors(part, landmarks):
        seen.append(part.names)
        return np.zeros(len(landmarks))

    monkeypatch.setattr(look_errors, "look_errors", errors)
    main(["any"], data_dir="anywhere", least_lean=8.0)
    assert f"{leaning.sum()} photos" in capsys.readouterr().out
    with pytest.raises(typer.BadParameter, match="no head leans by 170"):
        main(["any"], data_dir="anywhere", least_lean=170.0)
    for names in seen:
        np.testing.assert_array_equal(names, crops.names[leaning])


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


def test_a_bin_of_one_photo_has_no_standard_error():
    yaw = np.array([3.0, 5.0, 80.0])
    assert np.isnan(standard_error(np.array([1.0, 2.0, 4.0]), yaw))
