import numpy as np

from training.mesh_pictures import draw_meshes


def test_meshes_are_drawn_where_they_are_beside_the_photos(tetrahedron):
    photos = np.full((3, 32, 32, 3), 90, np.uint8)
    # A small mesh in the lower left quarter of the crop.
    vertices = np.asarray(tetrahedron.vertices) * [20, -20, 20] + [64, 192, 0]
    landmarks = np.resize(np.arange(4), 68)
    picture = draw_meshes(photos, [vertices] * 3, tetrahedron.faces, landmarks)
    assert picture.shape == (2 * 192, 4 * 192, 3)
    first, drawn = picture[:192, :192], picture[:192, 192:384]
    assert np.all(first == 90)
    rows, columns = np.nonzero(np.any(drawn != 90, axis=-1))
    # 64 and 192 of 256 units are 48 and 144 of 192 pixels.
    assert abs(columns.mean() - 48) < 8
    assert abs(rows.mean() - 144) < 8
    # A third photo leaves the last place empty.
    assert not picture[192:, 384:].any()
