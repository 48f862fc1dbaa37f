import zipfile

import numpy as np
import pytest
from hypothesis import given, settings

from tests.geometry.checks import check_hierarchy, check_raster_order
from tests.geometry.meshes import closed_meshes, make_grid, make_tube
from tf_facegcn.geometry.mesh_hierarchy import (
    LEVEL_SIZES,
    MeshHierarchy,
    raster_order,
)
from tf_facegcn.geometry.triangle_mesh import TriangleMesh


@pytest.fixture
def saved(tiny_hierarchy, tmp_path):
    path = tmp_path / "hierarchy.npz"
    tiny_hierarchy.save(path)
    return path


def arrays_of(path):
    with np.load(path) as file:
        return dict(file)


def check_equal(first, second):
    assert first.fingerprint == second.fingerprint
    assert first.laplacian == second.laplacian
    assert first.vertex_order == second.vertex_order
    for one, other in zip(first.levels, second.levels, strict=True):
        np.testing.assert_array_equal(one.mesh.vertices, other.mesh.vertices)
        np.testing.assert_array_equal(one.mesh.faces, other.mesh.faces)
        assert one.lambda_max == other.lambda_max
        for name in ("laplacian", "downsampling", "upsampling"):
            matrix, same = getattr(one, name), getattr(other, name)
            if matrix is not None:
                assert matrix.dtype == same.dtype
                assert matrix.shape == same.shape
                np.testing.assert_array_equal(matrix.data, same.data)
                np.testing.assert_array_equal(matrix.indices, same.indices)
                np.testing.assert_array_equal(matrix.indptr, same.indptr)


def test_levels_of_a_sphere(tiny_hierarchy):
    assert tiny_hierarchy.sizes == (642, 256, 64, 16)
    assert repr(tiny_hierarchy) == (
        "MeshHierarchy(sizes=(642, 256, 64, 16), laplacian='combinatorial', "
        "vertex_order='raster')"
    )
    check_hierarchy(tiny_hierarchy)


@given(closed_meshes())
def test_levels_of_any_closed_mesh(mesh):
    check_hierarchy(MeshHierarchy.build(mesh, level_sizes=(10, 6)))


@pytest.mark.parametrize("vertex_order", ["raster", "index"])
@pytest.mark.parametrize("laplacian", ["combinatorial", "normalized"])
def test_levels_of_an_open_mesh(vertex_order, laplacian):
    # Two boundary loops.
    mesh = make_tube(15, 20)
    hierarchy = MeshHierarchy.build(
        mesh, (100, 36, 16), vertex_order=vertex_order, laplacian=laplacian
    )
    assert hierarchy.laplacian == laplacian
    assert hierarchy.vertex_order == vertex_order
    check_hierarchy(hierarchy)
    if laplacian == "normalized":
        assert all(level.lambda_max <= 2 for level in hierarchy.levels)


def test_the_finest_level_keeps_the_templates_order(icosphere, tiny_hierarchy):
    finest = tiny_hierarchy.levels[0].mesh
    np.testing.assert_array_equal(finest.vertices, icosphere.vertices)
    np.testing.assert_array_equal(finest.faces, icosphere.faces)


def test_vertex_order_changes_the_numbers_and_nothing_else(
    icosphere, tiny_hierarchy
):
    by_index = MeshHierarchy.build(icosphere, (256, 64, 16), "index")
    places = raster_places = np.arange(642)
    for level, raster in zip(
        by_index.levels[1:], tiny_hierarchy.levels[1:], strict=True
    ):
        places = places[level.kept]
        raster_places = raster_places[raster.kept]
        np.testing.assert_array_equal(places, np.sort(raster_places))
        triangles = np.sort(places[level.mesh.faces], axis=1)
        raster_triangles = np.sort(raster_places[raster.mesh.faces], axis=1)
        assert set(map(tuple, triangles)) == set(map(tuple, raster_triangles))


def test_upsampling_twice_stays_close_to_the_surface(tiny_hierarchy):
    levels = tiny_hierarchy.levels
    values = levels[2].mesh.vertices
    values = levels[1].upsampling @ (levels[2].upsampling @ values)
    distances = np.linalg.norm(values - levels[0].mesh.vertices, axis=1)
    assert distances.max() < 0.25


def test_raster_order_worked_out_by_hand():
    #   3 . 1      y = 2
    #   . 0 2      y = 1 and below
    vertices = np.array([[1, 1, 5], [2, 2, 0], [2, 0.9, 1], [0, 2, 9]])
    assert raster_order(vertices).tolist() == [3, 1, 0, 2]


def test_raster_order_of_a_grid_is_the_grid():
    vertices = make_grid(6, 6).vertices
    order = np.random.default_rng(0).permutation(36)
    rows = vertices[order][raster_order(vertices[order])].reshape(6, 6, 3)
    np.testing.assert_array_equal(rows[0], vertices[30:])
    np.testing.assert_array_equal(rows[:, 0, 1], [5, 4, 3, 2, 1, 0])


@pytest.mark.parametrize("size", [1, 2, 7, 10, 642])
def test_raster_order_of_any_number_has_rows_as_equal_as_possible(size):
    vertices = np.random.default_rng(size).normal(size=(size, 3))
    order = raster_order(vertices)
    assert sorted(order) == list(range(size))
    check_raster_order(vertices[order])


def test_raster_order_of_equal_places_is_their_order():
    assert raster_order(np.zeros((9, 3))).tolist() == list(range(9))


def test_fingerprint_covers_the_topology_not_the_shape(
    icosphere, tiny_hierarchy
):
    sizes = (256, 64, 16)
    fingerprint = tiny_hierarchy.fingerprint
    assert len(fingerprint) == 64
    # A larger sphere decimates alike.
    larger = TriangleMesh(icosphere.vertices * 4, icosphere.faces)
    assert MeshHierarchy.build(larger, sizes).fingerprint == fingerprint
    others = [
        MeshHierarchy.build(icosphere, (256, 64)),
        MeshHierarchy.build(icosphere, sizes, "index"),
        MeshHierarchy.build(icosphere, sizes, laplacian="normalized"),
        MeshHierarchy.build(
            TriangleMesh(icosphere.vertices, icosphere.faces[::-1]), sizes
        ),
        MeshHierarchy.build(
            TriangleMesh(icosphere.vertices * [1, 2, 1], icosphere.faces), sizes
        ),
    ]
    fingerprints = {other.fingerprint for other in others}
    assert len(fingerprints | {fingerprint}) == 6


def test_save_and_load_give_the_same(tiny_hierarchy, saved):
    loaded = MeshHierarchy.load(saved)
    check_equal(loaded, tiny_hierarchy)
    check_hierarchy(loaded)


def test_save_and_load_keep_the_options(tmp_path):
    hierarchy = MeshHierarchy.build(
        make_tube(9, 9), (25,), "index", "normalized"
    )
    path = tmp_path / "name without ending"
    hierarchy.save(str(path))
    check_equal(MeshHierarchy.load(str(path)), hierarchy)


def test_equal_hierarchies_give_equal_files(icosphere, saved, tmp_path):
    again = tmp_path / "again.npz"
    MeshHierarchy.build(icosphere, (256, 64, 16)).save(again)
    assert again.read_bytes() == saved.read_bytes()


def test_a_failed_save_leaves_the_old_file(tiny_hierarchy, saved, monkeypatch):
    before = saved.read_bytes()

    def fail(file, **_):
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="No space left"):
        tiny_hierarchy.save(saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_load_says_that_there_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        MeshHierarchy.load(tmp_path / "missing.npz")


@pytest.mark.parametrize(
    "content", [b"", b"not a hierarchy", b"PK\x03\x04", b"\x80\x04N."]
)
def test_load_rejects_other_files(tmp_path, content):
    path = tmp_path / "other.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged.*Received: path=.*other"):
        MeshHierarchy.load(path)


def test_load_rejects_a_single_array(tmp_path):
    path = tmp_path / "array.npy"
    np.save(path, np.zeros(3))
    with pytest.raises(ValueError, match="something else"):
        MeshHierarchy.load(path)


def test_load_rejects_a_file_cut_short(saved):
    content = saved.read_bytes()
    for length in (len(content) - 1, len(content) // 2, 100):
        saved.write_bytes(content[:length])
        with pytest.raises(ValueError, match="damaged"):
            MeshHierarchy.load(saved)


def test_load_rejects_changed_bytes_or_reads_what_was_saved(
    saved, tiny_hierarchy
):
    content = bytearray(saved.read_bytes())
    generator = np.random.default_rng(0)
    refused = 0
    for place in generator.integers(0, len(content), 60):
        damaged = content.copy()
        damaged[place] ^= 1 << int(generator.integers(8))
        saved.write_bytes(damaged)
        try:
            loaded = MeshHierarchy.load(saved)
        except ValueError:
            refused += 1
        else:
            # A byte of the archive that carries nothing, such as a date.
            check_equal(loaded, tiny_hierarchy)
    assert refused > 30


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("format", lambda _: np.array("tf_facegcn.MeshHierarchy/0")),
        ("fingerprint", lambda _: np.array("0" * 64)),
        ("laplacian", lambda _: np.array("normalized")),
        ("vertex_order", lambda _: np.array("index")),
        ("vertices", lambda a: a[:-1]),
        ("vertices", lambda a: a * np.nan),
        ("faces_0", lambda a: a[::-1]),
        ("faces_2", lambda a: a + 1),
        ("kept_1", lambda a: a + 1000),
        ("kept_3", lambda a: a[::-1]),
        ("weights_1", lambda a: a * 2),
        ("weights_1", lambda a: a * np.nan),
        ("weights_2", lambda a: a[:-1]),
        ("columns_2", lambda a: a + 1000),
        ("row_ends_1", lambda a: a[::-1]),
        ("lambda_max", lambda a: a[:-1]),
        ("lambda_max", lambda a: np.append(a, 1.0)),
        ("lambda_max", lambda a: -a),
    ],
)
def test_load_rejects_changed_contents(saved, name, change):
    arrays = arrays_of(saved)
    arrays[name] = change(arrays[name])
    np.savez_compressed(saved, **arrays)
    with pytest.raises(ValueError, match="Received: path="):
        MeshHierarchy.load(saved)


@pytest.mark.parametrize("name", ["format", "vertices", "faces_1", "kept_2"])
def test_load_rejects_a_missing_part(saved, name):
    arrays = arrays_of(saved)
    del arrays[name]
    np.savez_compressed(saved, **arrays)
    with pytest.raises(ValueError, match=f"damaged.*{name}"):
        MeshHierarchy.load(saved)


def test_load_runs_no_pickle(saved):
    arrays = arrays_of(saved)
    arrays["vertices"] = np.array([{}], dtype=object)
    np.savez_compressed(saved, **arrays)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        MeshHierarchy.load(saved)


def test_the_file_has_no_machines_date(saved):
    with zipfile.ZipFile(saved) as file:
        assert {entry.date_time[0] for entry in file.infolist()} == {1980}


@pytest.mark.parametrize(
    "level_sizes", [(), (642,), (1000, 16), (64, 64), (16, 64)]
)
def test_rejects_sizes_that_do_not_descend_from_the_mesh(
    icosphere, level_sizes
):
    with pytest.raises(ValueError, match=r"642 vertices.*level_sizes="):
        MeshHierarchy.build(icosphere, level_sizes)


def test_rejects_the_papers_sizes_for_a_small_mesh(icosphere):
    assert LEVEL_SIZES == (16384, 4096, 1024, 256, 64, 16)
    with pytest.raises(ValueError, match=r"642 vertices.*16384"):
        MeshHierarchy.build(icosphere)


def test_rejects_several_components(icosphere):
    vertices = np.concatenate([icosphere.vertices, icosphere.vertices + 9])
    faces = np.concatenate([icosphere.faces, icosphere.faces + 642])
    with pytest.raises(ValueError, match=r"mesh.num_components=2"):
        MeshHierarchy.build(TriangleMesh(vertices, faces), (64,))


def test_rejects_isolated_vertices(icosphere):
    vertices = np.concatenate([icosphere.vertices, [[0, 0, 0]]])
    with pytest.raises(ValueError, match="Received: isolated vertex 642"):
        MeshHierarchy.build(TriangleMesh(vertices, icosphere.faces), (64,))


def test_rejects_an_edge_of_three_faces(icosphere):
    vertices = np.concatenate([icosphere.vertices, [[0, 0, 2]]])
    fin = [*icosphere.edges[0], 642]
    faces = np.concatenate([icosphere.faces, [fin]])
    with pytest.raises(ValueError, match="not edge-manifold"):
        MeshHierarchy.build(TriangleMesh(vertices, faces), (64,))


def test_rejects_options_that_do_not_exist(icosphere):
    with pytest.raises(ValueError, match="vertex_order='spiral'"):
        MeshHierarchy.build(icosphere, (64,), vertex_order="spiral")
    with pytest.raises(ValueError, match="kind='cotangent'"):
        MeshHierarchy.build(icosphere, (64,), laplacian="cotangent")


@pytest.mark.slow
def test_levels_of_the_papers_size(tmp_path):
    # As many vertices as the face model, and two boundary loops as well.
    mesh = make_tube(145, 367)
    hierarchy = MeshHierarchy.build(mesh)
    assert hierarchy.sizes == (53215, 16384, 4096, 1024, 256, 64, 16)
    check_hierarchy(hierarchy)
    hierarchy.save(tmp_path / "hierarchy.npz")
    check_equal(MeshHierarchy.load(tmp_path / "hierarchy.npz"), hierarchy)


@pytest.mark.slow
@settings(max_examples=200)
@given(closed_meshes())
def test_many_closed_meshes(mesh):
    check_hierarchy(MeshHierarchy.build(mesh, level_sizes=(11, 8, 4)))


def test_changes_the_laplacian_as_if_built_with_it(icosphere):
    sizes = (256, 64, 16)
    built = MeshHierarchy.build(icosphere, sizes, laplacian="normalized")
    changed = MeshHierarchy.build(icosphere, sizes).with_laplacian("normalized")
    assert changed.fingerprint == built.fingerprint
    for level, expected in zip(changed.levels, built.levels, strict=True):
        np.testing.assert_array_equal(
            level.laplacian.toarray(), expected.laplacian.toarray()
        )
    assert changed.with_laplacian("normalized") is changed


@pytest.mark.parametrize("order", ["raster", "index"])
def test_changes_the_vertex_order_as_if_built_with_it(order, icosphere):
    sizes = (256, 64, 16)
    other = {"raster": "index", "index": "raster"}[order]
    built = MeshHierarchy.build(icosphere, sizes, vertex_order=order)
    changed = MeshHierarchy.build(icosphere, sizes, vertex_order=other)
    changed = changed.with_vertex_order(order)
    assert changed.fingerprint == built.fingerprint
    for level, expected in zip(changed.levels, built.levels, strict=True):
        np.testing.assert_array_equal(
            level.mesh.vertices, expected.mesh.vertices
        )
        np.testing.assert_array_equal(
            level.laplacian.toarray(), expected.laplacian.toarray()
        )
    for level, expected in zip(
        changed.levels[1:], built.levels[1:], strict=True
    ):
        np.testing.assert_array_equal(
            level.downsampling.toarray(), expected.downsampling.toarray()
        )
        np.testing.assert_allclose(
            level.upsampling.toarray(), expected.upsampling.toarray(), atol=1e-6
        )
    assert changed.with_vertex_order(order) is changed


def test_rejects_an_unknown_order_or_laplacian(icosphere):
    hierarchy = MeshHierarchy.build(icosphere, (16,))
    with pytest.raises(ValueError, match="vertex_order='spiral'"):
        hierarchy.with_vertex_order("spiral")
    with pytest.raises(ValueError, match="round"):
        hierarchy.with_laplacian("round")
