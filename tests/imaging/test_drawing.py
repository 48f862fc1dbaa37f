import numpy as np
import pytest

from tests.geometry.meshes import make_icosphere
from tf_facegcn.imaging.bounding_box import BoundingBox
from tf_facegcn.imaging.drawing import (
    AXIS_COLORS,
    BOX_COLOR,
    LANDMARK_COLOR,
    MESH_COLOR,
    Drawing,
)

GREY = np.full((100, 140, 3), 90, np.uint8)


def sphere_in_pixels(radius, x, y):
    sphere = make_icosphere(3)
    return sphere.vertices * [radius, -radius, radius] + [x, y, 0], sphere.faces


def changed(drawing, photo=GREY):
    return (drawing.pixels != photo).any(axis=2)


def test_draws_on_a_copy():
    photo = GREY.copy()
    Drawing(photo).draw_box(BoundingBox(10, 10, 50, 50))
    np.testing.assert_array_equal(photo, GREY)


def test_a_mesh_is_blended_in_where_it_lies():
    drawing = Drawing(GREY)
    drawing.draw_mesh(*sphere_in_pixels(30, 70, 40))
    rows, columns = np.indices(GREY.shape[:2])
    distance = np.hypot(columns - 70, rows - 40)
    assert changed(drawing)[distance < 28].all()
    assert not changed(drawing)[distance > 31].any()
    # The middle faces the light: 60 % of the mesh's colour.
    expected = 0.4 * 90 + 0.6 * np.array(MESH_COLOR)
    np.testing.assert_allclose(drawing.pixels[40, 70], expected, atol=3)
    # The rim looks away from it.
    assert drawing.pixels[40, 42].sum() < drawing.pixels[40, 70].sum()


@pytest.mark.parametrize(("x", "y"), [(0, 0), (140, 100), (-29, 50), (70, 129)])
def test_a_mesh_may_reach_beyond_the_photo(x, y):
    drawing = Drawing(GREY)
    drawing.draw_mesh(*sphere_in_pixels(30, x, y))
    assert changed(drawing).any()
    assert not changed(drawing).all()


def test_a_mesh_beside_the_photo_changes_nothing():
    drawing = Drawing(GREY)
    drawing.draw_mesh(*sphere_in_pixels(30, 500, -500))
    assert not changed(drawing).any()


def test_a_face_larger_than_the_renderer_is_enlarged():
    photo = np.full((2500, 2600, 3), 90, np.uint8)
    drawing = Drawing(photo)
    drawing.draw_mesh(*sphere_in_pixels(1200, 1300, 1250))
    rows, columns = np.indices(photo.shape[:2])
    distance = np.hypot(columns - 1300, rows - 1250)
    assert changed(drawing, photo)[distance < 1180].all()
    assert not changed(drawing, photo)[distance > 1205].any()


def landmarks_on_a_grid(spacing):
    """68 points whose neighbours in the order lie `spacing` apart."""
    columns, rows = np.meshgrid(np.arange(17), np.arange(4))
    grid = np.stack([columns.ravel(), rows.ravel()], axis=1)
    return grid * spacing + [10, 20]


@pytest.mark.parametrize("enlargement", [1, 4])
def test_a_landmark_is_a_dot_on_its_pixel(enlargement):
    drawing = Drawing(GREY, enlargement)
    points = landmarks_on_a_grid(7)
    drawing.draw_landmarks(points)
    for x, y in points:
        middle = np.rint(
            np.array([x, y]) * enlargement + (enlargement - 1) / 2
        ).astype(int)
        color = drawing.pixels[middle[1], middle[0]].astype(int)
        assert np.abs(color - LANDMARK_COLOR).max() < 100
        assert color[0] > color[1] + 80


def test_a_box_runs_along_its_edges():
    drawing = Drawing(GREY)
    drawing.draw_box(BoundingBox(20.5, 30.5, 60.5, 70.5))
    # OpenCV's smoothed lines reach nine tenths of their colour.
    np.testing.assert_allclose(drawing.pixels[30, 40], BOX_COLOR, atol=15)
    np.testing.assert_allclose(drawing.pixels[50, 60], BOX_COLOR, atol=15)
    assert not changed(drawing)[33:68, 23:58].any()
    assert not changed(drawing)[:28].any()


def test_edges_stay_in_place_in_an_enlarged_drawing():
    drawing = Drawing(GREY, enlargement=4)
    drawing.draw_box(BoundingBox(20, 30, 60, 70))
    # The edge between the pixels 19 and 20 lies between 79 and 80.
    row = drawing.pixels[200, :, 1].astype(int)
    assert min(row[79], row[80]) > 150 > 110 > max(row[78], row[81])
    column = drawing.pixels[:, 160, 1].astype(int)
    assert min(column[119], column[120]) > 150


def test_axes_point_where_they_are_told():
    drawing = Drawing(GREY)
    # x right, y up (that is minus in pixels), z to the viewer and left.
    directions = [[1, 0, 0], [0, -1, 0], [-0.8, 0, 0.6]]
    drawing.draw_axes([70.0, 50.0], directions, 30.0)
    for axis, (x, y) in enumerate([(90, 50), (70, 30), (55, 50)]):
        color = drawing.pixels[y, x]
        np.testing.assert_allclose(color, AXIS_COLORS[axis], atol=15)
    assert not changed(drawing)[50, 44:46].any()
    assert not changed(drawing)[55:].any()


def test_positions_far_outside_do_not_overflow():
    drawing = Drawing(GREY)
    drawing.draw_box(BoundingBox(-1e12, 40, 1e12, 60))
    drawing.draw_landmarks(landmarks_on_a_grid(1e12))
    assert drawing.pixels.shape == GREY.shape
