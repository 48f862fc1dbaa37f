import numpy as np
import pytest

from tests.geometry.meshes import make_icosphere
from tf_facegcn.imaging.rasterizer import render_mesh, vertex_normals

# Two triangles over 50 x 44 pixels that share an edge; counter-clockwise as
# seen, so the cross product of their edges is negative where y points down.
VERTICES = np.array(
    [[2.3, 3.1, 5.0], [40.7, 8.2, -5.0], [12.4, 30.9, 9.0], [45.2, 37.1, 2.0]]
)
FACES = np.array([[0, 2, 1], [2, 3, 1]])
COLORS = np.array(
    [[0.1, 0.9, 0.3], [0.8, 0.2, 0.5], [0.4, 0.6, 1.0], [0.0, 0.3, 0.7]]
)


def naive_render(vertices, faces, colors, width, height):
    """Tests the centre of every pixel against every face."""
    image = np.zeros((height, width, 3))
    depth = np.full((height, width), -np.inf)
    for face in faces:
        a, b, c = vertices[face]
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if area >= 0:  # Turned away.
            continue
        for y in range(height):
            for x in range(width):
                u = (x - a[0]) * (c[1] - a[1]) - (y - a[1]) * (c[0] - a[0])
                v = (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])
                weights = np.array([1 - (u + v) / area, u / area, v / area])
                z = weights @ vertices[face, 2]
                if weights.min() >= 0 and z > depth[y, x]:
                    depth[y, x] = z
                    image[y, x] = weights @ colors[face]
    return image, depth


@pytest.mark.parametrize(
    ("scale", "shift"),
    [
        ([1, 1, 1], [0, 0, 0]),
        ([1, 1, 0], [0, 0, 7]),  # Flat.
        ([9, 9, 1], [-150, -130, 0]),  # Reaches beyond all four sides.
        ([0.3, 0.3, 30], [4.2, 5.3, 0]),  # Small and deep.
    ],
)
def test_agrees_with_a_naive_rasteriser(scale, shift):
    vertices = VERTICES * scale + shift
    rendered = render_mesh(vertices, FACES, 50, 44, COLORS)
    image, depth = naive_render(vertices, FACES, COLORS, 50, 44)
    np.testing.assert_array_equal(rendered.mask, np.isfinite(depth))
    np.testing.assert_allclose(rendered.colors, image, atol=2e-3)
    depth_range = max(np.ptp(vertices[:, 2]), 1)
    np.testing.assert_allclose(
        rendered.depth[rendered.mask],
        depth[rendered.mask],
        atol=2e-3 * depth_range,
    )
    assert (rendered.depth[~rendered.mask] == -np.inf).all()


def test_the_nearest_face_wins():
    back = np.array([[2, 2, 0], [2, 40, 0], [40, 2, 0]])
    front = back * [0.5, 0.5, 1] + [0, 0, 3]
    vertices = np.concatenate([front, back])
    colors = np.repeat([[1.0, 0, 0], [0, 0, 1.0]], 3, axis=0)
    rendered = render_mesh(vertices, [[0, 1, 2], [3, 4, 5]], 44, 44, colors)
    np.testing.assert_allclose(rendered.colors[5, 5], [1, 0, 0], atol=1e-4)
    np.testing.assert_allclose(rendered.colors[5, 30], [0, 0, 1], atol=1e-4)
    assert rendered.depth[5, 5] == pytest.approx(3, abs=0.01)
    assert rendered.depth[5, 30] == pytest.approx(0, abs=0.01)


def test_faces_that_turn_away_are_left_out():
    rendered = render_mesh(VERTICES, FACES[:, ::-1], 50, 44)
    assert not rendered.mask.any()


def test_a_mesh_beside_the_picture_leaves_it_empty():
    beside = VERTICES + np.array([500, 0, 0])
    rendered = render_mesh(beside, FACES, 50, 44)
    assert not rendered.mask.any()
    assert rendered.colors.max() == 0


def test_white_without_colors():
    rendered = render_mesh(VERTICES, FACES, 50, 44)
    np.testing.assert_allclose(rendered.colors[rendered.mask], 1, atol=1e-5)


def test_a_model_in_pixels_shows_its_outside():
    sphere = make_icosphere(3)
    # As a camera does: y points down in pixels, the faces keep their order.
    pixels = sphere.vertices * [20, -20, 20] + [24.5, 24.5, 0]
    rendered = render_mesh(pixels, sphere.faces, 50, 50)
    assert rendered.depth.max() == pytest.approx(20, abs=0.3)
    assert rendered.depth[rendered.mask].min() > -1
    normals = vertex_normals(pixels, sphere.faces)
    # The normal of a sphere points along its radius.
    np.testing.assert_allclose(
        normals, (pixels - [24.5, 24.5, 0]) / 20, atol=0.05
    )


def test_a_vertex_without_faces_has_no_normal():
    vertices = np.concatenate([VERTICES, [[0, 0, 0]]])
    normals = vertex_normals(vertices, FACES)
    np.testing.assert_array_equal(normals[4], 0)
    np.testing.assert_allclose(np.linalg.norm(normals[:4], axis=1), 1)


def test_rejects_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"vertices\.shape=\(4, 2\)"):
        render_mesh(VERTICES[:, :2], FACES, 50, 44)
    with pytest.raises(ValueError, match=r"colors\.shape=\(3, 3\)"):
        render_mesh(VERTICES, FACES, 50, 44, COLORS[:3])
    with pytest.raises(ValueError, match="width=0"):
        render_mesh(VERTICES, FACES, 0, 44)
    with pytest.raises(ValueError, match="finite"):
        render_mesh(VERTICES * np.nan, FACES, 50, 44)
