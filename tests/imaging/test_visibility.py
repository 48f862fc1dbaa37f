import numpy as np

from tests.geometry.meshes import make_icosphere
from tf_facegcn.imaging.visibility import visible_vertices


def sphere_in_pixels(radius, x, y, z):
    sphere = make_icosphere(3)
    return sphere.vertices * [radius, -radius, radius] + [x, y, z], sphere.faces


def test_the_front_of_a_sphere_is_visible():
    vertices, faces = sphere_in_pixels(40, 100, 80, 0)
    height = vertices[:, 2] / 40
    visible = visible_vertices(vertices, faces)
    assert visible[height > 0.1].all()
    assert not visible[height < -0.1].any()


def test_what_lies_behind_something_is_not_visible():
    front, faces = sphere_in_pixels(20, 100, 80, 90)
    back, _ = sphere_in_pixels(40, 100, 80, 0)
    visible = visible_vertices(
        np.concatenate([front, back]),
        np.concatenate([faces, faces + len(front)]),
    )[len(front) :]
    distance = np.hypot(back[:, 0] - 100, back[:, 1] - 80)
    facing = back[:, 2] > 10
    assert visible[facing & (distance > 22)].all()
    assert not visible[facing & (distance < 18)].any()


def test_position_and_scale_do_not_matter():
    vertices, faces = sphere_in_pixels(40, 100, 80, 0)
    visible = visible_vertices(vertices, faces)
    rim = np.abs(vertices[:, 2]) < 4  # Decided by the last bits of rounding.
    for scale, shift in [(0.01, -900.0), (250.0, 1e4)]:
        moved = visible_vertices(vertices * scale + shift, faces)
        np.testing.assert_array_equal(moved[~rim], visible[~rim])
