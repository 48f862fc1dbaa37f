import numpy as np
import pytest

from tf_facegcn.geometry.camera import compose_camera, project
from tf_facegcn.imaging.bounding_box import BoundingBox
from tf_facegcn.imaging.face_crop import CROP_UNITS
from tf_facegcn.imaging.upright_crop import in_plane_roll, upright_crop

# Eyes, nose and chin of a head as high as two units, y down.
TEMPLATE = np.array([[-0.4, -0.5], [0.4, -0.5], [0.0, 0.0], [0.0, 1.0]])


def leaning(roll, scale=20.0, center=(50.0, 40.0)):
    """The same of a head of some roll, counter-clockwise as seen."""
    angle = np.radians(roll)
    to_right = np.array([np.cos(angle), -np.sin(angle)])
    down = np.array([np.sin(angle), np.cos(angle)])
    return scale * TEMPLATE @ [to_right, down] + center


def test_a_head_that_leans_to_the_left_by_hand():
    # Its chin points to the right, its left eye (seen) down.
    points = [[40, 48], [40, 32], [50, 40], [70, 40]]
    np.testing.assert_allclose(leaning(90), points, atol=1e-9)


@pytest.mark.parametrize("roll", [-170, -90, -14, 0, 3, 45, 120, 179])
def test_finds_the_roll(roll):
    assert in_plane_roll(leaning(roll), TEMPLATE) == pytest.approx(roll)


@pytest.mark.parametrize(("yaw", "expected"), [(90.0, -45), (-90.0, 45)])
def test_a_nod_in_profile_is_a_lean(yaw, expected):
    """A head that faces the right and looks down has turned clockwise."""
    generator = np.random.default_rng(0)
    # Symmetric, long from the brows to the chin, with y up.
    half = generator.normal(0, [20.0, 40.0, 10.0], (34, 3))
    head = np.concatenate([half, half * [-1, 1, 1]])
    camera = compose_camera(1.0, yaw, 45.0, 0.0, np.zeros(3))
    crop = upright_crop(project(head, camera), head * [1, -1, 1], 64)
    assert abs(crop.roll - expected) <= 15


@pytest.mark.parametrize(
    ("roll", "expected"),
    [(29, 0), (-29, 0), (31, 30), (-44, -45), (53, 60), (98, 105), (179, 180)],
)
def test_turns_by_the_nearest_multiple_of_15_degrees(roll, expected):
    assert upright_crop(leaning(roll), TEMPLATE, 64).roll == expected


def test_an_upright_head_is_cut_as_evaluations_cut_it():
    points = leaning(25)
    crop = upright_crop(points, TEMPLATE, 64)
    expected = BoundingBox.from_points(points).landmarks_crop()
    assert crop.box.as_tuple() == pytest.approx(expected.as_tuple())
    assert (crop.roll, crop.size) == (0, 64)


@pytest.mark.parametrize("roll", [-120.0, -45.0, 60.0, 90.0])
def test_a_leaning_head_looks_in_its_crop_as_an_upright_one(roll):
    """Of the same size, around the crop's middle, and upright."""
    crop = upright_crop(leaning(roll), TEMPLATE, 64)
    upright = upright_crop(leaning(0), TEMPLATE, 64)
    found = crop.to_crop(leaning(roll))
    np.testing.assert_allclose(found, upright.to_crop(leaning(0)), atol=1e-9)
    middle = (found.min(axis=0) + found.max(axis=0)) / 2
    np.testing.assert_allclose(middle, CROP_UNITS / 2 - 0.5)
    assert np.ptp(found, axis=0).max() == pytest.approx(CROP_UNITS / 2**0.5)
