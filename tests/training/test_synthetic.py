"""Rendered faces: what the label says is what the picture shows."""

import numpy as np
import pytest
from tensorflow_graphics.math import spherical_harmonics as reference

from tf_facegcn.geometry.camera import decompose_camera, project
from tf_facegcn.geometry.mesh_hierarchy import MeshHierarchy
from tf_facegcn.imaging.rasterizer import render_mesh
from tf_facegcn.imaging.visibility import visible_vertices
from training.data.batch_loader import BatchLoader
from training.data.bundled_faces import bundled_faces
from training.data.mixed_source import MixedSource
from training.data.synthetic import SyntheticFaces
from training.data.synthetic_light import FaceLight, spherical_harmonics
from training.data.synthetic_source import KeptFaces, SyntheticSource
from training.data.vertex_model import VertexModel
from training.draw_synthetic_faces import draw_synthetic_faces

SIZE = 128


@pytest.fixture(scope="module")
def plain_model(miniature_model):
    nothing = np.zeros((68, 3))
    return VertexModel.of_labels(miniature_model, nothing, nothing[None][:0])


@pytest.fixture(scope="module")
def hierarchy(miniature_model):
    return MeshHierarchy.build(
        miniature_model.template, level_sizes=(256, 64, 16)
    )


@pytest.fixture(scope="module")
def miniatures(plain_model, miniature_model, hierarchy):
    """Faces without regions, rendered whole, with nothing in front."""
    return SyntheticFaces(
        plain_model, miniature_model, hierarchy, SIZE, 0, occluders=0.0
    )


@pytest.fixture(scope="module")
def heads():
    return bundled_faces()


def vertices_of(face, model):
    return project(model.vertices(face.parameters[None])[0], face.camera)


def test_same_seed_gives_the_same_face_and_others_differ(miniatures):
    first, second, other = (
        miniatures.face(seed) for seed in ((1,), (1,), (2,))
    )
    for one, again in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, again)
    assert np.any(first.image != other.image)
    assert np.any(first.camera != other.camera)


def test_landmarks_are_vertices_under_the_camera(
    miniatures, plain_model, miniature_model
):
    for seed in range(5):
        face = miniatures.face((seed,))
        vertices = vertices_of(face, plain_model)
        np.testing.assert_allclose(
            face.landmarks, vertices[miniature_model.landmarks], atol=1e-3
        )
        assert abs(vertices[:, 2].mean()) < 1e-2
        points = face.landmarks[:, :2]
        assert points.min() > 0
        assert points.max() < 255


def silhouette_agreement(image, vertices, faces, shift):
    """How well the edge of a rendered mesh lies on edges of a picture."""
    size = image.shape[0]
    scale = size / 256
    pixels = vertices * scale
    pixels[:, :2] += 0.5 * scale - 0.5 + shift
    mask = render_mesh(pixels, faces, size, size).mask
    grey = image.astype(float).mean(axis=-1)
    slope = np.hypot(*np.gradient(grey))
    inner = mask[1:-1, 1:-1]
    around = [mask[:-2, 1:-1], mask[2:, 1:-1], mask[1:-1, :-2], mask[1:-1, 2:]]
    edge = inner & ~np.logical_and.reduce(around)
    # What the slope gains at the edge over its mean.
    return slope[1:-1, 1:-1][edge].mean() / slope.mean()


def test_picture_shows_the_mesh_of_the_label(
    miniatures, plain_model, miniature_model
):
    best = []
    shifts = [(0, 0), (2, 0), (-2, 0), (0, 2), (0, -2)]
    for seed in range(24):
        face = miniatures.face((seed,))
        vertices = vertices_of(face, plain_model)
        scores = [
            silhouette_agreement(
                face.image, vertices, miniature_model.faces, np.array(shift)
            )
            for shift in shifts
        ]
        best.append(int(np.argmax(scores)))
    # Where a background is of the skin's colour an edge may be lost.
    assert best.count(0) >= 20


def test_yaw_reaches_profiles_on_both_sides(miniatures):
    cameras = np.stack(
        [miniatures.face((7, seed)).camera for seed in range(60)]
    )
    yaw = decompose_camera(cameras).yaw
    assert yaw.min() < -75
    assert yaw.max() > 75
    assert np.abs(yaw).max() <= 90.01
    assert 0.25 < np.mean(np.abs(yaw) < 40) < 0.65


@pytest.mark.slow
def test_visibility_is_that_of_the_whole_mesh(heads):
    model, faces = heads._face_model, heads
    faces.occluders = 0.0
    agreements = []
    for seed in range(6):
        face = faces.face((3, seed))
        shape = face.parameters[: model.num_shape]
        expression = face.parameters[model.num_shape :]
        vertices = project(
            model.vertices(shape[None], expression[None])[0], face.camera
        )
        inside = np.all((vertices[:, :2] > 0) & (vertices[:, :2] < 255), axis=1)
        # Hair hides ears and neck, so only what lies before them is compared.
        inside &= vertices[:, 2] > np.quantile(vertices[:, 2], 0.6)
        expected = visible_vertices(vertices, model.faces)
        agreements.append(np.mean(face.visible[inside] == expected[inside]))
        assert 0.2 < face.visible.mean() < 0.75
    assert np.mean(agreements) > 0.95


@pytest.mark.slow
def test_occluders_hide_vertices(heads):
    shares = []
    for occluders in (0.0, 1.0):
        heads.occluders = occluders
        shares.append(
            np.mean([heads.face((5, seed)).visible.mean() for seed in range(8)])
        )
    assert shares[1] < shares[0] - 0.02


def test_spherical_harmonics_are_those_of_tensorflow_graphics():
    generator = np.random.default_rng(0)
    directions = generator.normal(size=(20, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    degrees, orders = reference.generate_l_m_permutations(2)
    theta = np.arccos(directions[:, 2:])
    phi = np.arctan2(directions[:, 1:2], directions[:, :1])
    expected = reference.evaluate_spherical_harmonics(
        np.tile(degrees, (20, 1)), np.tile(orders, (20, 1)), theta, phi
    )
    found = spherical_harmonics(directions)
    # Some texts give the odd orders the other sign, which turns the light by
    # half a turn and nothing else.
    np.testing.assert_allclose(
        np.abs(found), np.abs(expected.numpy()), atol=1e-6
    )


def test_light_is_never_negative_and_varies():
    normals = np.random.default_rng(0).normal(size=(200, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    means = []
    for seed in range(10):
        light = FaceLight.draw(np.random.default_rng(seed))
        irradiance = light.irradiance(normals)
        assert irradiance.min() > 0
        assert np.ptp(irradiance) > 0.1
        assert np.linalg.norm(light.direction) == pytest.approx(1)
        means.append(irradiance.mean())
    assert 0.7 < np.mean(means) < 1.4


def test_loads_as_examples_alone_and_mixed(
    miniatures, plain_model, source, vertex_model, miniature_model, hierarchy
):
    alone = SyntheticSource(miniatures, 10)
    first, second = (alone.load(3, (0, epoch, 0, 3)) for epoch in (0, 1))
    assert np.any(first.image != second.image)
    np.testing.assert_allclose(alone.probabilities(0.5), [0.1] * 10)
    rendered = SyntheticSource(
        SyntheticFaces(vertex_model, miniature_model, hierarchy, SIZE), 10
    )
    mixed = MixedSource(source, rendered, 0.25)
    probabilities = mixed.probabilities(0.5)
    assert len(mixed) == len(source) + 10 == len(probabilities)
    assert probabilities[len(source) :].sum() == pytest.approx(0.25)
    assert probabilities.sum() == pytest.approx(1)
    assert mixed.load(0, (0,)).image.shape == (120, 120, 3)
    assert mixed.load(len(source), (0,)).image.shape == (SIZE, SIZE, 3)
    from training.config import get_config

    loader = BatchLoader(
        mixed, vertex_model, get_config("lite").augmentation, 64
    )
    images, vertices = loader.load_with_vertices(
        np.array([0, len(source)]), [(0,), (1,)]
    )
    assert images.shape == (2, 64, 64, 3)
    assert np.isfinite(vertices).all()


def test_kept_faces_are_rendered_once(miniatures):
    endless = SyntheticSource(miniatures, 10)
    kept, others = KeptFaces(endless), KeptFaces(endless)
    first = kept.load(3, (0, 1, 0, 3))
    again = kept.load(3, (0, 2, 7, 3))
    # An interrupted training finds the faces it had, in whatever order.
    others.load(5, (0,))
    resumed = others.load(3, (0, 2, 7, 3))
    for example in (again, resumed):
        for one, other in zip(first, example, strict=True):
            np.testing.assert_array_equal(one, other)
    assert np.any(kept.load(4, (0, 1, 0, 3)).image != first.image)
    rendered = endless.load(3, ())
    np.testing.assert_array_equal(first.parameters, rendered.parameters)
    np.testing.assert_array_equal(first.camera, rendered.camera)
    difference = first.image.astype(float) - rendered.image
    assert np.abs(difference).mean() < 4
    np.testing.assert_allclose(kept.probabilities(0), [0.1] * 10)


def test_kept_faces_are_not_rendered_again(miniatures, monkeypatch):
    kept = KeptFaces(SyntheticSource(miniatures, 10))
    kept.load(0, (0,))
    monkeypatch.setattr(type(miniatures), "face", None)
    kept.load(0, (1,))
    with pytest.raises(TypeError):
        kept.load(1, (1,))


def test_models_that_do_not_belong_together_are_refused(
    plain_model, miniature_model, tiny_hierarchy, open_grid
):
    other = MeshHierarchy.build(open_grid, level_sizes=(16,))
    with pytest.raises(ValueError, match="642 and 80 vertices"):
        SyntheticFaces(plain_model, miniature_model, other)
    with pytest.raises(ValueError, match="size=8"):
        SyntheticFaces(plain_model, miniature_model, tiny_hierarchy, 8)


@pytest.mark.slow
def test_sheet_shows_the_faces_of_the_first_seeds(heads):
    heads.occluders = 0.35
    sheet = draw_synthetic_faces(heads, 2, 32)
    assert sheet.shape == (64, 64, 3)
    assert sheet.std() > 20


def test_nose_casts_a_shadow_on_the_far_cheek(heads):
    surface, model = heads._surface, heads._face_model
    positions = (model.mean[surface.kept] * [1, -1, 1]).astype(np.float32)
    centre = positions[:, :2].mean(axis=0)
    positions[:, :2] += 128 - centre
    cheeks = np.isin(surface.kept, model.regions["cheeks"])
    near = cheeks & (model.mean[surface.kept][:, 2] > 70)
    left = near & (model.mean[surface.kept][:, 0] < -22)
    right = near & (model.mean[surface.kept][:, 0] > 22)
    beside = np.array([0.9, 0.0, np.sqrt(1 - 0.81)])
    lit = surface.shadow(positions, positions, beside)
    # The lamp is on the picture's right.
    assert lit[right].mean() > 0.9
    assert lit[left].mean() < lit[right].mean() - 0.15
    front = surface.shadow(positions, positions, np.array([0.0, 0.0, 1.0]))
    assert front[left].mean() > 0.9
