import numpy as np

from tf_facegcn.models.frontal_template import frontal_template


def test_template_is_a_frontal_face_that_fills_the_crop():
    # A box of 2 x 4 about (11, 2), y up; depths 0 to 6.
    vertices = [[10.0, 0, 0], [12, 4, 6], [11, 2, 3]]
    template = frontal_template(vertices, [0, 1])
    # 4 units are 256 / sqrt(2) pixels high; up is a smaller y.
    half = 128 / np.sqrt(2)
    expected = [
        [127.5 - half / 2, 127.5 + half, -1.5 * half],
        [127.5 + half / 2, 127.5 - half, 1.5 * half],
        [127.5, 127.5, 0.0],
    ]
    np.testing.assert_allclose(template, expected, rtol=1e-5, atol=1e-4)


def test_does_not_change_its_argument():
    vertices = np.array([[10.0, 0, 0], [12, 4, 6]])
    before = vertices.copy()
    frontal_template(vertices, [0, 1])
    np.testing.assert_array_equal(vertices, before)
