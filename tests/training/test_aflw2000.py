import numpy as np
import pytest
import scipy.io

from tests.training.miniature import make_faces, write_aflw2000
from training.data.aflw2000 import Aflw2000


@pytest.fixture
def folder(tmp_path, miniature_model):
    landmarks, _ = make_faces(miniature_model, 3)
    write_aflw2000(tmp_path, landmarks, [10.0, -40.0, 95.0])
    return tmp_path


def test_reads_the_official_layout(folder, miniature_model):
    data = Aflw2000.load(folder)
    assert data.names == ["image00000", "image00001", "image00002"]
    np.testing.assert_allclose(
        data.landmarks, make_faces(miniature_model, 3)[0]
    )
    np.testing.assert_allclose(data.yaw, [10, 40, 95])
    assert data.reannotated is None


def test_angles_of_a_whole_turn_more_are_the_same(tmp_path, miniature_model):
    landmarks, _ = make_faces(miniature_model, 1)
    write_aflw2000(tmp_path, landmarks, [-105.0], pitch=-328.0, roll=334.0)
    data = Aflw2000.load(tmp_path)
    np.testing.assert_allclose([data.pitch, data.roll], [[32.0], [26.0]])
    # The bins of the protocol take the yaw as it is written.
    np.testing.assert_allclose(data.yaw, [105.0])


def test_reannotated_points_are_joined_by_name(folder):
    names = np.array(["image00002", "image00000", "other", "image00001"])
    points = np.arange(4)[:, None, None] + np.zeros((4, 68, 2))
    np.savez(folder / "annotations.npz", names=names, reannotated68=points)
    data = Aflw2000.load(folder)
    np.testing.assert_array_equal(data.reannotated[:, 0, 0], [1, 3, 0])


def test_incomplete_reannotation_is_left_out(folder):
    np.savez(
        folder / "annotations.npz",
        names=np.array(["image00002"]),
        reannotated68=np.zeros((1, 68, 2)),
    )
    assert Aflw2000.load(folder).reannotated is None


def test_missing_files_are_named(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        Aflw2000.load(tmp_path / "nowhere")
    (folder / "image00001.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"image00001\.jpg"):
        Aflw2000.load(folder)


def test_missing_and_misshapen_arrays_are_named(folder):
    path = folder / "image00001.mat"
    pose = np.zeros((1, 7))
    scipy.io.savemat(path, {"Pose_Para": pose})
    with pytest.raises(ValueError, match=r"image00001.*no 'pt3d_68'"):
        Aflw2000.load(folder)
    scipy.io.savemat(path, {"Pose_Para": pose, "pt3d_68": np.zeros((2, 68))})
    with pytest.raises(ValueError, match=r"\(2, 68\)"):
        Aflw2000.load(folder)


def test_reads_the_real_files(real_data):
    data = Aflw2000.load(real_data / "AFLW2000")
    assert len(data.names) == len(data.reannotated)
    bins = np.histogram(data.yaw, [0, 30, 60, 180])[0]
    assert bins.sum() == len(data.names)
    assert np.all(bins > 0)
