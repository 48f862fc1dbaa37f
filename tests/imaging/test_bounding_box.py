import json
import math

import numpy as np
import pytest

from tf_facegcn.imaging.bounding_box import BoundingBox


def test_the_box_of_a_photo_spans_its_pixel_edges():
    box = BoundingBox.of_photo(np.zeros((30, 40, 3), np.uint8))
    assert box == BoundingBox(0, 0, 40, 30)
    assert (box.width, box.height, box.center) == (40, 30, (20, 15))
    assert box.size == pytest.approx(math.sqrt(1200))


def test_points_are_pixel_centres_half_a_pixel_inside_the_edges():
    # The centres of the outermost pixels of a photo of 40 x 30.
    box = BoundingBox.from_points([[0, 0, 9], [39, 29, -9]])
    assert box == BoundingBox(0.5, 0.5, 39.5, 29.5)


def test_the_crop_of_landmarks_by_hand():
    crop = BoundingBox(10, 20, 40, 60).landmarks_crop()
    assert crop.width == crop.height == pytest.approx(math.sqrt(2) * 40)
    assert crop.center == pytest.approx((25, 40))


def test_a_square_is_shifted_in_pixels():
    square = BoundingBox(10, 20, 40, 60).square(0.5, shift=(3, -2))
    assert square == BoundingBox(18, 28, 38, 48)


def test_edges_become_plain_floats_that_json_takes():
    box = BoundingBox(*np.float32([1, 2, 3, 4]))
    assert json.dumps(box.as_tuple()) == "[1.0, 2.0, 3.0, 4.0]"


@pytest.mark.parametrize(
    "edges", [(5, 0, 5, 9), (0, 9, 9, 5), (0, 0, math.inf, 9), (math.nan,) * 4]
)
def test_rejects_empty_and_endless_boxes(edges):
    with pytest.raises(ValueError, match="Received: "):
        BoundingBox(*edges)


@pytest.mark.parametrize("points", [[], [1.0, 2.0], np.zeros((3, 4))])
def test_rejects_what_are_no_points(points):
    with pytest.raises(ValueError, match=r"points\.shape="):
        BoundingBox.from_points(points)
