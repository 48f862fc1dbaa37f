import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.miniature import (
    draw_face,
    make_faces,
    make_miniature_model,
)
from tf_facegcn.imaging.bounding_box import BoundingBox
from tf_facegcn.imaging.face_crop import FaceCrop
from training.data.augmentation import (
    Augmentation,
    augment,
    draw_affine,
    move_camera,
)

SIZE = 128
# Grey of the drawn photos.
BACKGROUND = 30
GEOMETRIC = Augmentation(
    rotation=45, translation=0.1, scale_min=0.9, scale_max=1.2, mirror=0.5
)
PHOTOMETRIC = Augmentation(
    color=1.0, greyscale=0.5, blur=0.5, noise=0.5, jpeg=0.5, occluder=0.5
)


@pytest.fixture(scope="module")
def face():
    landmarks, _ = make_faces(make_miniature_model(), 1)
    return landmarks[0]


def moved_points(affine, points):
    return points[:, :2] @ affine[:2, :2].T + affine[:2, 3]


def center_of_dot(image, near):
    """Where a dot is, searched around a point; both in crop units."""
    scale = image.shape[0] / 256
    x, y = (near + 0.5) * scale - 0.5
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    brightness = image.max(axis=-1).astype(float) - BACKGROUND
    window = np.hypot(columns - x, rows - y) < 5
    weight = np.where(window, np.maximum(brightness, 0), 0.0)
    found = np.array([(weight * columns).sum(), (weight * rows).sum()])
    return (found / weight.sum() + 0.5) / scale - 0.5


@given(seed=st.integers(0, 10_000))
def test_points_move_with_the_picture(seed):
    landmarks, _ = make_faces(make_miniature_model(), 1)
    # Few enough that dots do not overlap.
    sparse = landmarks[0][::9]
    crop = augment(
        draw_face(sparse),
        landmarks[0],
        GEOMETRIC,
        SIZE,
        np.random.default_rng(seed),
    )
    points = moved_points(crop.affine, sparse)
    inside = points[np.all((points > 12) & (points < 243), axis=1)]
    errors = [center_of_dot(crop.image, point) - point for point in inside]
    assert len(errors) >= 3
    # A pixel of the network's input is two units.
    assert np.linalg.norm(errors, axis=1).max() < 0.5
    assert np.abs(np.mean(errors, axis=0)).max() < 0.2


def test_without_changes_it_is_the_crop_of_evaluation(face):
    image = draw_face(face)
    # As if the photo ended with the stored crop.
    ending = Augmentation(black_border=1.0)
    crop = augment(image, face, ending, SIZE, np.random.default_rng(0))
    scale = 120 / 256
    pixels = (face + 0.5) * scale - 0.5
    evaluated = FaceCrop(BoundingBox.from_points(pixels).landmarks_crop(), SIZE)
    difference = crop.image.astype(int) - evaluated.crop(image)
    # Fixed-point sampling rounds differently by a few grey levels at edges.
    assert np.abs(difference).mean() < 0.5
    np.testing.assert_allclose(
        moved_points(crop.affine, face),
        evaluated.to_crop(pixels)[:, :2],
        atol=1e-9,
    )


def test_mirror_turns_left_into_right(face):
    always = Augmentation(mirror=1.0)
    straight, _ = draw_affine(face, Augmentation(), np.random.default_rng(0))
    mirrored, flag = draw_affine(face, always, np.random.default_rng(0))
    assert flag
    expected = moved_points(straight, face) * [-1, 1] + [255, 0]
    np.testing.assert_allclose(
        moved_points(mirrored, face), expected, atol=1e-9
    )


def test_crop_is_cut_around_the_box_of_the_rotated_landmarks(face):
    turned = Augmentation(rotation=40)
    affine, _ = draw_affine(face, turned, np.random.default_rng(1))
    points = moved_points(affine, face)
    low, high = points.min(axis=0), points.max(axis=0)
    assert np.arctan2(affine[1, 0], affine[0, 0]) != 0
    np.testing.assert_allclose((low + high) / 2, 127.5, atol=1e-9)
    assert (high - low).max() == pytest.approx(256 / np.sqrt(2))


def test_some_photos_are_turned_far(face):
    turned = Augmentation(rotation=10, large_rotation=0.25)
    generator = np.random.default_rng(0)
    angles = []
    for _ in range(1000):
        affine, _ = draw_affine(face, turned, generator)
        angles.append(np.degrees(np.arctan2(affine[1, 0], affine[0, 0])))
    size = np.abs(angles)
    assert 115 < size.max() <= 120
    # A quarter is drawn from +-120 degrees, of which 11 of 12 are beyond 10.
    assert np.mean(size > 10) == pytest.approx(0.25 * 11 / 12, abs=0.04)


def test_some_crops_are_nearly_right_as_those_of_a_second_pass(face):
    straight, _ = draw_affine(face, Augmentation(), np.random.default_rng(0))
    far = Augmentation(
        translation=0.2, scale_min=1.4, scale_max=1.6, second_pass=0.6
    )
    generator = np.random.default_rng(0)
    affines = np.stack(
        [draw_affine(face, far, generator)[0] for _ in range(2000)]
    )
    sizes = np.log(affines[:, 0, 0] / straight[0, 0])
    near = sizes < 0.2
    assert near.mean() == pytest.approx(0.6, abs=0.04)
    assert sizes[near].mean() == pytest.approx(0, abs=0.003)
    assert sizes[near].std() == pytest.approx(0.02, rel=0.1)
    box = BoundingBox.from_points(face)
    center = np.array([[*box.center]]) - 0.5
    shifts = np.stack(
        [moved_points(affine, center)[0] - 127.5 for affine in affines]
    )
    assert shifts[near].std(axis=0) == pytest.approx(2.56, rel=0.1)
    assert np.abs(shifts[near].mean(axis=0)).max() < 0.3
    assert np.abs(shifts[~near]).max() > 0.18 * 256


def test_outline_of_the_stored_crop_is_not_seen(face):
    """It would give away where the face is and how far it was turned."""
    bright = np.full((120, 120, 3), 200, np.uint8)
    turned = Augmentation(
        rotation=45, translation=0.2, scale_max=0.8, scale_min=0.8
    )
    for seed in range(10):
        generator = np.random.default_rng(seed)
        crop = augment(bright, face, turned, SIZE, generator)
        np.testing.assert_array_equal(crop.image, np.uint8(200))


def test_borders_have_their_shares(face):
    stripes = np.zeros((120, 120, 3), np.uint8)
    stripes[:, 0::8] = stripes[:, 1::8] = stripes[:, 2::8] = 250
    smaller = {"scale_min": 0.5, "scale_max": 0.5}
    shares = Augmentation(smeared_border=0.3, black_border=0.2, **smaller)
    # The last column has a level of its own, which smearing repeats.
    stripes[:, 119] = 100
    counts = {"black": 0, "smeared": 0, "reflected": 0}
    for seed in range(300):
        generator = np.random.default_rng(seed)
        edge = augment(stripes, face, shares, SIZE, generator).image[64, -12:]
        if not edge.any():
            counts["black"] += 1
        elif np.all(np.abs(edge.astype(int) - 100) < 4):
            counts["smeared"] += 1
        else:
            counts["reflected"] += 1
    assert counts["black"] == pytest.approx(60, abs=25)
    assert counts["smeared"] == pytest.approx(90, abs=28)
    assert counts["reflected"] == pytest.approx(150, abs=30)


def test_moved_camera_projects_to_moved_points(face):
    _, cameras = make_faces(make_miniature_model(), 1)
    vertices = np.random.default_rng(0).normal(size=(9, 3)) * 50
    projected = vertices @ cameras[0][:, :3].T + cameras[0][:, 3]
    affine, _ = draw_affine(face, GEOMETRIC, np.random.default_rng(2))
    moved = move_camera(affine, cameras[0])
    found = vertices @ moved[:, :3].T + moved[:, 3]
    np.testing.assert_allclose(found[:, :2], moved_points(affine, projected))
    scale = np.sqrt(abs(np.linalg.det(affine[:2, :2])))
    np.testing.assert_allclose(found[:, 2], projected[:, 2] * scale)


def test_same_seed_gives_the_same_picture(face):
    both = Augmentation(
        **{
            field.name: max(
                getattr(GEOMETRIC, field.name), getattr(PHOTOMETRIC, field.name)
            )
            for field in dataclasses.fields(Augmentation)
        }
    )
    image = draw_face(face)
    first, second, other = (
        augment(image, face, both, SIZE, np.random.default_rng(seed)).image
        for seed in (7, 7, 8)
    )
    np.testing.assert_array_equal(first, second)
    assert np.any(first != other)


@pytest.mark.parametrize(
    "name", ["color", "greyscale", "blur", "noise", "jpeg", "occluder"]
)
def test_each_photometric_change_changes_pixels_and_no_positions(face, name):
    image = draw_face(face)
    change = Augmentation(**{name: 1.0})
    plain, changed = (
        augment(image, face, which, SIZE, np.random.default_rng(3))
        for which in (Augmentation(), change)
    )
    assert np.any(plain.image != changed.image)
    np.testing.assert_array_equal(plain.affine, changed.affine)
    if name == "greyscale":
        assert np.ptp(changed.image.astype(int), axis=-1).max() == 0


def test_given_picture_stays_as_it_is(face):
    image = draw_face(face)
    before = image.copy()
    augment(image, face, PHOTOMETRIC, SIZE, np.random.default_rng(0))
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mirror", 1.5),
        ("large_rotation", 2.0),
        ("second_pass", -1.0),
        ("black_border", -0.5),
        ("smeared_border", 1.5),
        ("jpeg", -0.1),
        ("rotation", 200),
        ("scale_min", 1.5),
    ],
)
def test_amount_out_of_range_is_named(name, value):
    with pytest.raises(ValueError, match=f"{name}={value}"):
        Augmentation(**{name: value})


def test_shares_of_borders_beyond_one_are_refused():
    with pytest.raises(ValueError, match=r"smeared_border \+ black_border"):
        Augmentation(smeared_border=0.7, black_border=0.6)
