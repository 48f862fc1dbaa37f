import numpy as np
import pytest

from training.data.aflw_crops import (
    HUMAN_POINT_GROUPS,
    AflwCrops,
    crop_pixels_to_units,
    decode,
)


def test_reads_photos_and_points(miniature_crops):
    assert len(miniature_crops.jpegs) == len(miniature_crops.names) == 24
    assert miniature_crops.image(5).shape == (120, 120, 3)
    assert miniature_crops.human_points.shape == (24, 21, 2)
    assert miniature_crops.teacher_landmarks.shape == (24, 68, 3)
    assert np.isnan(miniature_crops.human_points).any()


def test_crop_pixels_become_256ths_of_the_crop():
    # The centre of the first of 120 pixels is 1/240 into the crop, that of
    # the first of 256 is 1/512: (1/240 - 1/512) * 256.
    points = np.array([[0.0, 59.5, 3.0]])
    expected = [[256 / 240 - 0.5, 127.5, 6.4]]
    np.testing.assert_allclose(crop_pixels_to_units(points), expected)


def test_human_points_name_each_of_the_21():
    assert len(HUMAN_POINT_GROUPS) == 21
    assert HUMAN_POINT_GROUPS[14] == (30,)  # The tip of the nose.
    assert HUMAN_POINT_GROUPS[20] == (8,)  # The chin.


def test_fingerprint_is_of_the_content(miniature_folder, tmp_path):
    content = dict(np.load(miniature_folder / "aflw_crops_0.npz"))
    np.savez(tmp_path / "aflw_crops_0.npz", **content)
    same = AflwCrops.load(tmp_path).fingerprint
    assert same == AflwCrops.load(miniature_folder).fingerprint
    content["landmarks21"][0, 0] += 1
    np.savez(tmp_path / "aflw_crops_0.npz", **content)
    assert AflwCrops.load(tmp_path).fingerprint != same


def test_missing_folder_and_folder_without_photos_are_told_apart(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such file.*data_dir"):
        AflwCrops.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        AflwCrops.load(tmp_path / "nowhere")


def test_missing_array_is_named(miniature_folder, tmp_path):
    content = dict(np.load(miniature_folder / "aflw_crops_0.npz"))
    del content["yaw"]
    np.savez(tmp_path / "aflw_crops_0.npz", **content)
    with pytest.raises(ValueError, match="Received: no yaw"):
        AflwCrops.load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no image at all"])
def test_bytes_that_are_no_image_are_refused(content):
    with pytest.raises(ValueError, match=f"{len(content)} bytes"):
        decode(content)


def test_damaged_file_is_named(miniature_folder, tmp_path):
    content = (miniature_folder / "aflw_crops_0.npz").read_bytes()
    for damaged in (content[:-500], b"no arrays", b""):
        (tmp_path / "aflw_crops_0.npz").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"aflw_crops_0\.npz, but it"):
            AflwCrops.load(tmp_path)


def test_landmark_that_is_no_number_names_file_and_photo(
    miniature_folder, tmp_path
):
    with np.load(miniature_folder / "aflw_crops_0.npz") as arrays:
        data = dict(arrays)
    data["teacher_landmarks68"][3, 5, 0] = np.nan
    np.savez(tmp_path / "aflw_crops_0.npz", **data)
    with pytest.raises(ValueError, match=r"aflw_crops_0\.npz.*photo3\.jpg"):
        AflwCrops.load(tmp_path)
