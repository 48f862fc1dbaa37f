"""Claims about morphable models and the bundled head."""

import dataclasses

import numpy as np
import pytest
from scipy import sparse

from tests.geometry.checks import check_mesh
from tf_facegcn.geometry.morphable_model import (
    MorphableModel,
    save_control_model,
)


@pytest.fixture(scope="module")
def head():
    return MorphableModel.bundled()


def small_model(**changes):
    generator = np.random.default_rng(0)
    fields = {
        "mean": generator.normal(size=(70, 3)).astype(np.float32),
        "shape_basis": generator.normal(size=(70, 3, 2)).astype(np.float32),
        "expression_basis": generator.normal(size=(70, 3, 1)).astype(
            np.float32
        ),
        "faces": np.array([[0, 1, 2]], dtype=np.int32),
        "landmarks": np.arange(68, dtype=np.int32),
    }
    return MorphableModel(**{**fields, **changes})


def test_vertices_are_the_mean_plus_the_bases():
    model = small_model()
    shape, expression = [0.5, -2.0], [0.25]
    expected = np.array(model.mean, dtype=float)
    for vertex in range(70):
        for axis in range(3):
            for k in range(2):
                expected[vertex, axis] += (
                    shape[k] * model.shape_basis[vertex, axis, k]
                )
            expected[vertex, axis] += (
                expression[0] * model.expression_basis[vertex, axis, 0]
            )
    np.testing.assert_allclose(
        model.vertices(shape, expression), expected, rtol=1e-6
    )


def test_vertices_of_a_batch_are_those_of_each_face():
    model = small_model()
    shape = np.random.default_rng(1).normal(size=(4, 2))
    expression = np.zeros((4, 1))
    batch = model.vertices(shape, expression)
    for index in range(4):
        np.testing.assert_allclose(
            batch[index], model.vertices(shape[index], expression[index])
        )


def test_rejects_parameters_of_another_model():
    with pytest.raises(ValueError, match="2 shape and 1 expression"):
        small_model().vertices(np.zeros(3), np.zeros(1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean": np.zeros((70, 2), np.float32)}, "mean of shape"),
        ({"landmarks": np.zeros(67, np.int32)}, "landmarks of shape"),
        ({"faces": np.array([[0, 1, 70]])}, "faces to index"),
        ({"regions": {"nose": np.array([-1])}}, "regions"),
        ({"expression_names": ("a", "b")}, "2 names for 1"),
    ],
)
def test_rejects_parts_that_do_not_fit(changes, message):
    with pytest.raises(ValueError, match=message):
        small_model(**changes)


def test_sampled_expressions_stay_in_their_range():
    _, expression = small_model().sample(np.random.default_rng(0))
    assert expression.shape == (1,)
    assert 0 <= expression.min() <= expression.max() <= 1


def save_small(path):
    generator = np.random.default_rng(2)
    operator = sparse.csr_array(
        sparse.random_array((70, 5), density=0.5, rng=generator)
    )
    control = {
        "mean": generator.normal(size=(5, 3)),
        "shape_basis": generator.normal(size=(5, 3, 2)),
        "expression_basis": generator.normal(size=(5, 3, 1)),
    }
    topology = {
        "faces": np.array([[0, 1, 2]]),
        "landmarks": np.arange(68),
        "mirror": np.arange(70),
    }
    labels = {
        "name": "small",
        "expression_names": ("smile",),
        "regions": {"nose": np.array([3, 4])},
    }
    save_control_model(path, operator, control, topology, labels)
    return operator, control


def test_a_saved_model_comes_back_expanded(tmp_path):
    operator, control = save_small(tmp_path / "small.npz")
    model = MorphableModel.load(tmp_path / "small.npz")
    np.testing.assert_allclose(
        model.mean, operator @ control["mean"], rtol=1e-5, atol=1e-6
    )
    # The bases are rounded to 1/32767 of their largest entry.
    expected = operator @ control["shape_basis"].reshape(5, -1)
    np.testing.assert_allclose(
        model.shape_basis.reshape(70, -1), expected, atol=5e-4
    )
    assert model.expression_names == ("smile",)
    assert model.regions["nose"].tolist() == [3, 4]


def test_equal_models_give_equal_bytes(tmp_path):
    save_small(tmp_path / "first.npz")
    save_small(tmp_path / "second.npz")
    first = (tmp_path / "first.npz").read_bytes()
    assert first == (tmp_path / "second.npz").read_bytes()


def test_refuses_a_damaged_file(tmp_path):
    save_small(tmp_path / "small.npz")
    data = (tmp_path / "small.npz").read_bytes()
    (tmp_path / "small.npz").write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="damaged or holds something else"):
        MorphableModel.load(tmp_path / "small.npz")


def test_the_bundled_head_is_a_sound_mesh_of_the_papers_size(head):
    assert head.num_vertices == 53_215
    assert head.num_shape >= 60
    assert head.num_expression >= 30
    assert head.template.num_components == 1
    check_mesh(head.template)


def test_the_bundled_heads_surface_faces_outwards(head):
    mesh = head.template
    # From a point inside, most of the surface is seen from behind.
    outwards = (mesh.vertices * mesh.vertex_normals).sum(axis=1) > 0
    assert outwards.mean() > 0.8


def test_the_bundled_heads_landmarks_are_where_they_are_called(head):
    points = head.mean[head.landmarks]
    assert len(set(head.landmarks.tolist())) == 68
    # The image's left is first, so x rises along jaw, brows and mouth.
    assert points[0, 0] < points[8, 0] < points[16, 0]
    assert points[36, 0] < points[39, 0] < points[42, 0] < points[45, 0]
    assert np.all(np.diff(points[17:27, 0]) > 0)
    assert points[48, 0] < points[51, 0] < points[54, 0]
    assert points[:, 2].argmax() == 30
    assert points[:, 1].argmin() == 8
    upper, lower = points[[61, 62, 63], 1], points[[67, 66, 65], 1]
    assert np.all(upper > lower)


def test_the_bundled_head_is_its_own_mirror_image(head):
    mirror, flip = head.mirror, np.array([-1, 1, 1])
    np.testing.assert_array_equal(mirror[mirror], np.arange(len(mirror)))
    np.testing.assert_allclose(head.mean[mirror] * flip, head.mean, atol=1e-4)
    faces = np.sort(head.faces, axis=1)
    mirrored = np.sort(mirror[head.faces], axis=1)
    np.testing.assert_array_equal(
        faces[np.lexsort(faces.T)], mirrored[np.lexsort(mirrored.T)]
    )


@pytest.mark.slow
def test_a_component_of_the_bundled_head_is_symmetric_or_the_opposite(head):
    basis = head.shape_basis
    mirrored = basis[head.mirror] * np.array([-1, 1, 1])[:, None]
    signs = np.sign((basis * mirrored).sum(axis=(0, 1)))
    assert set(signs.tolist()) == {-1.0, 1.0}
    np.testing.assert_allclose(mirrored * signs, basis, atol=1e-4)


def test_the_bundled_heads_left_expressions_mirror_the_right(head):
    names = head.expression_names
    left = head.expression_basis[..., names.index("eye-left-closure")]
    right = head.expression_basis[..., names.index("eye-right-closure")]
    np.testing.assert_allclose(left[head.mirror] * [-1, 1, 1], right, atol=1e-3)
    # The person's left is the image's right.
    moved = head.mean[np.linalg.norm(left, axis=1) > 1]
    assert moved[:, 0].min() > 0


def test_the_bundled_heads_landmarks_mirror_each_other(head):
    # iBUG's order of the mirrored face's jaw, eyes' and mouth's corners.
    pairs = [(0, 16), (4, 12), (17, 26), (36, 45), (39, 42), (31, 35), (48, 54)]
    for left, right in pairs:
        assert head.mirror[head.landmarks[left]] == head.landmarks[right]
    middle = head.landmarks[[8, 27, 28, 29, 30, 33, 51, 57, 62, 66]]
    np.testing.assert_array_equal(head.mirror[middle], middle)


def test_the_bundled_heads_regions_divide_it(head):
    named = {"eyes", "brows", "nose", "lips", "ears", "jaw", "forehead", "neck"}
    assert named <= set(head.regions)
    members = np.concatenate(list(head.regions.values()))
    assert np.array_equal(np.sort(members), np.arange(head.num_vertices))
    nose = head.landmarks[30]
    assert nose in head.regions["nose"]
    assert head.landmarks[57] in head.regions["lips"]
    assert head.landmarks[19] in head.regions["brows"]


def test_closing_the_bundled_heads_eye_lowers_its_lid(head):
    expression = np.zeros(head.num_expression)
    expression[head.expression_names.index("eye-right-closure")] = 1.0
    opened = head.mean[head.landmarks]
    closed = head.vertices(np.zeros(head.num_shape), expression)
    closed = closed[head.landmarks]
    assert opened[37, 1] - closed[37, 1] > 4.0  # mm
    assert abs(opened[44, 1] - closed[44, 1]) < 0.1


def test_the_bundled_head_has_the_measures_of_a_head(head):
    width, height, depth = np.ptp(head.mean, axis=0)
    # mm, with ears and neck.
    assert 150 < width < 200
    assert 220 < height < 280
    assert 180 < depth < 230
    eyes = head.mean[head.landmarks[[36, 45]]]
    assert 80 < eyes[1, 0] - eyes[0, 0] < 100
    ears = head.mean[head.regions["ears"]]
    np.testing.assert_allclose(ears.mean(axis=0), 0, atol=0.1)


def test_opening_the_mouth_parts_the_lips(head):
    expression = np.zeros(head.num_expression)
    expression[head.expression_names.index("mouth-open")] = 1.0
    closed = head.mean[head.landmarks]
    opened = head.vertices(np.zeros(head.num_shape), expression)
    opened = opened[head.landmarks]
    gap = (opened[62] - opened[66])[1] - (closed[62] - closed[66])[1]
    assert gap > 15.0  # mm


def test_a_subset_holds_the_rows_of_its_vertices():
    model = small_model()
    mean, shape_basis, expression_basis = model.subset([5, 2])
    np.testing.assert_array_equal(mean, model.mean[[5, 2]])
    np.testing.assert_array_equal(shape_basis, model.shape_basis[[5, 2]])
    assert expression_basis.shape == (2, 3, 1)


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        MorphableModel.load(tmp_path / "none.npz")


def test_refuses_an_archive_of_something_else(tmp_path):
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match="something else"):
        MorphableModel.load(tmp_path / "other.npz")


def test_an_immutable_model_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        small_model().name = "other"
