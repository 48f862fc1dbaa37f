import dataclasses
import json

import keras
import numpy as np
import pytest

from tests.training.miniature import make_faces, write_crops
from tf_facegcn.geometry.camera import project
from tf_facegcn.geometry.mesh_hierarchy import MeshHierarchy
from training import initial_network
from training.basel_face_model import load_basel_face_model
from training.config import get_config
from training.data.aflw_crops import AflwCrops, parameter_deviations
from training.fit_labels import fit_labels
from training.teacher_correction import human_point_matrix
from training.train import train

# Not those of unit deviation, as in the real file.
SHAPE_DEVIATIONS = np.array([4e5, 2e5, 1e5, 5e4])
EXPRESSION_DEVIATIONS = np.array([1.5, 0.5])


@pytest.fixture(scope="module")
def arrays(miniature_model):
    """What the real file holds: micrometres, its triangles inside out."""
    return {
        "mean": miniature_model.mean * 1000,
        "shape_basis": miniature_model.shape_basis * 1000 / SHAPE_DEVIATIONS,
        "expression_basis": miniature_model.expression_basis
        * 1000
        / EXPRESSION_DEVIATIONS,
        "faces": miniature_model.faces[:, ::-1],
        "landmarks": miniature_model.landmarks,
    }


@pytest.fixture(scope="module")
def basel(arrays, tmp_path_factory):
    path = tmp_path_factory.mktemp("basel") / "basel.npz"
    np.savez(path, **arrays)
    return path


def test_is_the_same_model_in_the_projects_conventions(basel, miniature_model):
    model = load_basel_face_model(
        basel, SHAPE_DEVIATIONS, EXPRESSION_DEVIATIONS
    )
    for name in ("mean", "shape_basis", "expression_basis"):
        np.testing.assert_allclose(
            getattr(model, name), getattr(miniature_model, name), rtol=1e-5
        )
    np.testing.assert_array_equal(model.mirror, miniature_model.mirror)
    # Cyclic shifts of a triangle are the same triangle.
    orders = [np.roll(model.faces, k, axis=1) for k in range(3)]
    same = [(order == miniature_model.faces).all(axis=1) for order in orders]
    assert np.any(same, axis=0).all()
    assert model.name == "basel"


def test_is_symmetric_about_zero(arrays, tmp_path, basel):
    shifted = arrays["mean"] + np.array([700.0, 0.0, 0.0])
    np.savez(tmp_path / "shifted.npz", **{**arrays, "mean": shifted})
    deviations = SHAPE_DEVIATIONS, EXPRESSION_DEVIATIONS
    model = load_basel_face_model(tmp_path / "shifted.npz", *deviations)
    expected = load_basel_face_model(basel, *deviations)
    np.testing.assert_allclose(model.mean, expected.mean, atol=1e-3)
    np.testing.assert_array_equal(model.mirror, expected.mirror)


def test_expressions_have_either_sign(basel, miniature_model):
    model = load_basel_face_model(
        basel, SHAPE_DEVIATIONS, EXPRESSION_DEVIATIONS
    )
    draws = [model.sample(np.random.default_rng(k))[1] for k in range(20)]
    assert min(map(np.min, draws)) < -0.5
    # A mouth that is pressed shut, half as far as it could be open.
    expressions = np.full((50, 2), [-0.5, 0.0])
    vertices = miniature_model.vertices(np.zeros((50, 4)), expressions)
    faces, cameras = make_faces(miniature_model, 50)
    targets = project(vertices[:, model.landmarks], cameras)
    faces = AflwCrops(
        np.array([str(k) for k in range(50)]),
        [b""] * 50,
        human_point_matrix() @ targets[..., :2],
        targets,
        np.zeros(50),
        "made",
    )
    labels, _ = fit_labels(faces, model)
    found = labels.parameters[:, 4].mean()
    labels, _ = fit_labels(faces, miniature_model)
    assert found < -0.3
    assert labels.parameters[:, 4].mean() > found / 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"faces": lambda faces: faces + 1}, r"from 0; subtract 1.*1 to 642"),
        ({"faces": np.transpose}, r"faces of shape \(3, 3\).*\(3, 1280\)"),
        ({"landmarks": lambda found: found[:5]}, r"landmarks of .*\(5,\)"),
    ],
)
def test_arrays_that_do_not_fit_are_named(arrays, tmp_path, change, message):
    changed = {name: do(arrays[name]) for name, do in change.items()}
    np.savez(tmp_path / "wrong.npz", **{**arrays, **changed})
    with pytest.raises(ValueError, match=rf"{message}.*wrong\.npz"):
        load_basel_face_model(
            tmp_path / "wrong.npz", SHAPE_DEVIATIONS, EXPRESSION_DEVIATIONS
        )


def test_triangles_that_look_at_the_viewer_stay(arrays, tmp_path):
    faces = arrays["faces"][:, ::-1]
    np.savez(tmp_path / "front.npz", **{**arrays, "faces": faces})
    model = load_basel_face_model(
        tmp_path / "front.npz", SHAPE_DEVIATIONS, EXPRESSION_DEVIATIONS
    )
    np.testing.assert_array_equal(model.faces, faces)


@pytest.mark.parametrize("missing", ["mean", "landmarks"])
def test_other_files_are_refused(arrays, tmp_path, missing):
    path = tmp_path / "other.npz"
    np.savez(path, **{k: v for k, v in arrays.items() if k != missing})
    with pytest.raises(ValueError, match=rf"{missing}.*other\.npz"):
        load_basel_face_model(path, SHAPE_DEVIATIONS, EXPRESSION_DEVIATIONS)
    path.write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"Expected a face model.*other\.npz"):
        load_basel_face_model(path, SHAPE_DEVIATIONS, EXPRESSION_DEVIATIONS)


def test_deviations_of_another_basis_are_refused(basel):
    with pytest.raises(ValueError, match=r"4 components.*\(3,\)"):
        load_basel_face_model(basel, np.ones(3), EXPRESSION_DEVIATIONS)


@pytest.fixture
def folder(tmp_path, miniature_model):
    """Photos with parameters of a teacher, as the real files have them."""
    write_crops(tmp_path, miniature_model, 16)
    with np.load(tmp_path / "aflw_crops_0.npz") as file:
        crops = dict(file)
    deviations = np.concatenate([np.full(40, 3e5), np.full(10, 2.0)])
    rows = np.random.default_rng(0).normal(size=(16, 62))
    rows[:, 12:] = np.where(rows[:, 12:] > 0, 1, -1) * deviations
    crops["teacher_parameters"] = rows
    np.savez(tmp_path / "aflw_crops_0.npz", **crops)
    return tmp_path


def test_deviations_come_from_the_teachers_parameters(folder):
    shape, expression = parameter_deviations(folder)
    np.testing.assert_allclose(shape, np.full(40, 3e5))
    np.testing.assert_allclose(expression, np.full(10, 2.0))


def test_photos_without_parameters_are_named(miniature_folder):
    AflwCrops.load(miniature_folder)
    with pytest.raises(ValueError, match=r"teacher_parameters.*aflw_crops_0"):
        parameter_deviations(miniature_folder)


@pytest.mark.slow
def test_trains_on_its_mesh(basel, folder, tmp_path, monkeypatch):
    deviations = SHAPE_DEVIATIONS, EXPRESSION_DEVIATIONS
    monkeypatch.setattr(
        initial_network, "parameter_deviations", lambda _: deviations
    )
    build = MeshHierarchy.build
    monkeypatch.setattr(
        MeshHierarchy,
        "build",
        lambda mesh: build(mesh, level_sizes=(256, 64, 16)),
    )
    config = dataclasses.replace(
        get_config("smoke"),
        data_dir=str(folder),
        face_model=str(basel),
        synthetic_share=0.0,
        batch_size=4,
        steps_per_epoch=5,
        epochs=2,
        warmup_steps=2,
        supervised_level=0,
        num_validation=4,
        tensorboard=False,
    )
    path = train(config, tmp_path / "run")
    model = keras.saving.load_model(path)
    assert model.output_shape == (None, 642, 3)
    metrics = json.loads((path.parent / "metrics.json").read_text())
    assert np.isfinite(metrics["validation"]["mean"])
