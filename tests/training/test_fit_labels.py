import numpy as np
import pytest

from tests.training.miniature import write_crops
from tf_facegcn.geometry.camera import project
from training.data.aflw_crops import AflwCrops
from training.data.fitted_labels import FittedLabels
from training.data.vertex_model import VertexModel
from training.fit_labels import fit_labels, label_errors
from training.kept_labels import labels_for


@pytest.fixture(scope="module")
def labels(miniature_crops, miniature_model):
    return fit_labels(miniature_crops, miniature_model)[0]


def test_labels_lie_where_the_landmarks_were_seen(
    miniature_crops, miniature_model, tmp_path
):
    truth = write_crops(tmp_path, miniature_model, 24)
    labels, report = fit_labels(AflwCrops.load(tmp_path), miniature_model)
    assert report.num_photos == 24
    assert report.num_rejected == 0
    assert label_errors(labels, miniature_model).max() < 0.1
    vertex_model = VertexModel.of_labels(
        miniature_model,
        labels.displacement_mean,
        labels.displacement_components,
    )
    vertices = vertex_model.vertices(labels.parameters)
    found = project(vertices, labels.cameras)[:, miniature_model.landmarks]
    distance = np.linalg.norm((found - truth)[..., :2], axis=-1)
    assert distance.mean() < 0.3


def test_badly_labelled_photo_is_dropped(
    miniature_folder, miniature_model, tmp_path
):
    content = dict(np.load(miniature_folder / "aflw_crops_0.npz"))
    generator = np.random.default_rng(0)
    content["landmarks21"][3] = generator.uniform(0, 120, (21, 2))
    np.savez(tmp_path / "aflw_crops_0.npz", **content)
    labels, report = fit_labels(AflwCrops.load(tmp_path), miniature_model)
    assert report.num_rejected == labels.num_rejected == 1
    assert 3 not in labels.photo_indices


def test_labels_are_kept_and_made_again_for_other_photos(
    miniature_crops, miniature_model, tmp_path
):
    path = tmp_path / "labels.npz"
    first = labels_for(miniature_crops, miniature_model, path)
    written = path.stat().st_mtime_ns
    again = labels_for(miniature_crops, miniature_model, path)
    assert path.stat().st_mtime_ns == written
    np.testing.assert_array_equal(first.parameters, again.parameters)
    other = miniature_crops._replace(fingerprint="other")
    labels_for(other, miniature_model, path)
    assert path.stat().st_mtime_ns != written


def test_labels_survive_saving(labels, tmp_path):
    labels.save(tmp_path / "labels.npz")
    loaded = FittedLabels.load(tmp_path / "labels.npz")
    assert loaded.fingerprint == labels.fingerprint
    assert loaded.num_rejected == labels.num_rejected
    for name in ("photo_indices", "parameters", "cameras", "landmarks", "yaw"):
        np.testing.assert_array_equal(
            getattr(loaded, name), getattr(labels, name)
        )
    assert [path.name for path in tmp_path.iterdir()] == ["labels.npz"]
