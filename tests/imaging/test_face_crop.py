import numpy as np
import pytest

from tf_facegcn.imaging.bounding_box import BoundingBox
from tf_facegcn.imaging.face_crop import CROP_UNITS, FaceCrop


def photo_with_a_spot(x, y, width, height, radius=2.5):
    """A grey photo with a soft white spot centred on a sub-pixel position."""
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    distances = (columns - x) ** 2 + (rows - y) ** 2
    spot = 40 + 200 * np.exp(-distances / (2 * radius**2))
    return np.repeat(np.rint(spot)[..., None], 3, axis=2).astype(np.uint8)


def center_of_spot(crop):
    """Centre of brightness, in crop pixels."""
    weights = np.clip(crop[..., 0].astype(float) - 60, 0, None)
    rows, columns = np.indices(weights.shape)
    total = weights.sum()
    return (columns * weights).sum() / total, (rows * weights).sum() / total


def to_crop_pixels(units, size):
    return (units + 0.5) * size / CROP_UNITS - 0.5


@pytest.mark.parametrize(
    ("box", "spot", "radius"),
    [
        # One to one, on whole pixels.
        (BoundingBox(20, 30, 84, 94), (50.0, 60.0), 2.5),
        # Enlarged fourfold, sub-pixel.
        (BoundingBox(40.3, 51.7, 56.3, 67.7), (47.6, 60.2), 2.5),
        # Slightly shrunk: sampled, not averaged.
        (BoundingBox(10.2, 10.4, 98.2, 98.4), (60.3, 41.8), 4.0),
        # Shrunk: averaged in blocks of 2 and 3, then sampled.
        (BoundingBox(3.1, 2.2, 113.3, 112.4), (60.7, 41.2), 6.0),
        (BoundingBox(-20.4, -30.3, 181.6, 171.7), (60.7, 41.2), 9.0),
        # Beyond the photo to the top left and to the bottom right.
        (BoundingBox(-33.7, -21.2, 30.3, 42.8), (17.3, 19.6), 2.5),
        (BoundingBox(80.5, 70.25, 144.5, 134.25), (96.1, 88.9), 2.5),
    ],
)
def test_a_point_lands_where_to_crop_says(box, spot, radius):
    photo = photo_with_a_spot(*spot, width=120, height=110, radius=radius)
    crop = FaceCrop(box, size=64)
    expected = to_crop_pixels(crop.to_crop([spot])[0], 64)
    found = center_of_spot(crop.crop(photo))
    np.testing.assert_allclose(found, expected, atol=0.1)


@pytest.mark.parametrize("roll", [-150.0, -90.0, -30.0, 12.5, 60.0, 180.0])
@pytest.mark.parametrize(
    ("box", "radius"),
    [
        (BoundingBox(40.3, 31.7, 80.3, 71.7), 2.5),
        (BoundingBox(3.1, 2.2, 113.3, 112.4), 6.0),
        (BoundingBox(-20.4, -30.3, 181.6, 171.7), 9.0),
    ],
)
def test_a_point_lands_where_to_crop_says_when_turned(box, radius, roll):
    spot = (62.7, 49.2)
    photo = photo_with_a_spot(*spot, width=120, height=110, radius=radius)
    crop = FaceCrop(box, 64, roll)
    expected = to_crop_pixels(crop.to_crop([spot])[0], 64)
    found = center_of_spot(crop.crop(photo))
    np.testing.assert_allclose(found, expected, atol=0.1)


@pytest.mark.parametrize(("roll", "turns"), [(90, 3), (180, 2), (-90, 1)])
def test_turned_by_quarters_the_crop_is_the_turned_crop(roll, turns):
    photo = np.random.default_rng(0).integers(0, 256, (60, 70, 3), np.uint8)
    box = BoundingBox(10.25, 8.5, 58.25, 56.5)
    upright = FaceCrop(box, size=32).crop(photo)
    turned = FaceCrop(box, 32, roll).crop(photo)
    np.testing.assert_array_equal(turned, np.rot90(upright, turns))


def test_a_roll_is_positive_counter_clockwise_as_seen():
    # Up the photo from the centre: the top of an upright head. In the crop of
    # a head that leans by a quarter to the left, its right side.
    crop = FaceCrop(BoundingBox(0, 0, 256, 256), 64, roll=90.0)
    found = crop.to_crop([[127.5, 27.5, 7.0]])
    np.testing.assert_allclose(found, [[227.5, 127.5, 7.0]])


def test_the_whole_photo_at_its_size_is_the_photo():
    photo = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    crop = FaceCrop(BoundingBox.of_photo(photo), size=48).crop(photo)
    np.testing.assert_array_equal(crop, photo)


def test_crop_units_by_hand():
    # 120 photo pixels are 256 units: the formula of the 120 x 120 crops.
    crop = FaceCrop(BoundingBox(0, 0, 120, 120), size=128)
    points = crop.to_crop([[0.0, 59.5, 30.0]])
    np.testing.assert_allclose(points, [[0.5 * 256 / 120 - 0.5, 127.5, 64.0]])


def test_to_photo_undoes_to_crop():
    points = np.random.default_rng(0).normal(100, 50, (2, 7, 3))
    crop = FaceCrop(BoundingBox(-7.3, 12.9, 193.1, 213.3), size=128)
    np.testing.assert_allclose(crop.to_photo(crop.to_crop(points)), points)
    turned = FaceCrop(crop.box, 128, roll=-52.0)
    np.testing.assert_allclose(turned.to_photo(turned.to_crop(points)), points)
    assert abs(turned.to_crop(points) - crop.to_crop(points)).max() > 10
    flat = points[..., :2]
    np.testing.assert_allclose(
        crop.to_photo(flat), crop.to_photo(points)[..., :2]
    )


def test_detail_finer_than_the_crop_is_averaged():
    rows, columns = np.indices((400, 400))
    board = np.repeat(((rows + columns) % 2 * 255)[..., None], 3, axis=2)
    photo = board.astype(np.uint8)
    crop = FaceCrop(BoundingBox(0.3, 0.6, 399.1, 399.4), size=64).crop(photo)
    assert np.ptp(crop[2:-2, 2:-2]) <= 2
    assert abs(crop.mean() - 127.5) < 3


def test_beyond_the_photo_is_black():
    white = np.full((10, 10, 3), 255, np.uint8)
    crop = FaceCrop(BoundingBox(-10, -10, 20, 20), size=30).crop(white)
    assert crop[10:20, 10:20].min() == 255
    crop[10:20, 10:20] = 0
    assert crop.max() == 0


@pytest.mark.parametrize(
    "box",
    [
        BoundingBox(500, 500, 600, 600),
        BoundingBox(-600, 0, -500, 100),
        BoundingBox(-1e9, -1e9, 1e9, 1e9),
    ],
)
def test_a_crop_without_photo_in_it_costs_nothing(box):
    photo = np.full((30, 40, 3), 200, np.uint8)
    assert FaceCrop(box, size=16).crop(photo).shape == (16, 16, 3)


def test_long_narrow_photos_are_within_the_limits_of_opencv():
    photo = np.full((2, 40_000, 3), 200, np.uint8)
    crop = FaceCrop(BoundingBox(0, -19_999, 40_000, 20_001), size=16)
    assert crop.crop(photo).shape == (16, 16, 3)


def test_arguments_are_left_alone():
    photo = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    points = np.ones((4, 3))
    copies = photo.copy(), points.copy()
    crop = FaceCrop(BoundingBox(1, 1, 7, 7), size=4)
    crop.crop(photo), crop.to_crop(points), crop.to_photo(points)
    np.testing.assert_array_equal(photo, copies[0])
    np.testing.assert_array_equal(points, copies[1])


def test_rejects_boxes_that_are_not_square():
    with pytest.raises(ValueError, match="must be square"):
        FaceCrop(BoundingBox(0, 0, 10, 11), size=8)


def test_rejects_a_roll_that_is_no_number():
    with pytest.raises(ValueError, match="roll=nan"):
        FaceCrop(BoundingBox(0, 0, 10, 10), 8, float("nan"))


def test_rejects_an_empty_crop_and_points_of_one_number():
    with pytest.raises(ValueError, match="size=0"):
        FaceCrop(BoundingBox(0, 0, 10, 10), size=0)
    with pytest.raises(ValueError, match=r"points\.shape="):
        FaceCrop(BoundingBox(0, 0, 10, 10), size=8).to_crop([[1.0]])
