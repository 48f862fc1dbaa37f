"""Aflw2000: the reader of AFLW2000-3D in its official layout."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.io
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ANNOTATIONS_NAME = "annotations.npz"


class Aflw2000(NamedTuple):
    """Photos of AFLW2000-3D and their annotation, in photo pixels.

    Attributes:
        names: `(n,)` str, file names without their ending.
        photos: Paths of the photos.
        landmarks: `(n, 68, 3)` original annotation `pt3d_68`, z towards the
            viewer.
        reannotated: `(n, 68, 2)` re-annotated points, or `None` where the
            folder has none: they are no part of the official files.
        yaw: `(n,)` absolute yaw of the fitted 3DMM (`Pose_Para`), degrees.
        pitch: `(n,)` absolute pitch, degrees, at most 180.
        roll: `(n,)` absolute roll, degrees, at most 180.
    """

    names: list[str]
    photos: list[Path]
    landmarks: Floats
    reannotated: Floats | None
    yaw: Floats
    pitch: Floats
    roll: Floats

    @classmethod
    def load(cls, data_dir: str | Path) -> Aflw2000:
        """Reads a folder of `imageNNNNN.jpg` and `imageNNNNN.mat`.

        Re-annotated points are read from `annotations.npz` (`names`,
        `reannotated68`) if the folder has this file and it knows every photo.

        Raises:
            FileNotFoundError: If the folder has no `.mat` file, or a photo is
                missing.
            ValueError: If a file lacks an array.
        """
        folder = Path(data_dir)
        paths = sorted(folder.glob("*.mat"))
        if not paths:
            state = "has none" if folder.is_dir() else "does not exist"
            raise FileNotFoundError(
                "Expected the .mat and .jpg files of AFLW2000-3D in the data "
                f"folder, but it {state}. Received: data_dir={str(data_dir)!r}"
            )
        photos = [path.with_suffix(".jpg") for path in paths]
        for photo in photos:
            if not photo.is_file():
                raise FileNotFoundError(
                    f"Expected a photo beside every .mat file. Received: no "
                    f"{photo}"
                )
        annotations = [_read(path) for path in paths]
        names = [path.stem for path in paths]
        pitch, yaw, roll = np.abs([pose for _, pose in annotations]).T
        return cls(
            names,
            photos,
            np.stack([landmarks for landmarks, _ in annotations]),
            _reannotated(folder / ANNOTATIONS_NAME, names),
            # As the protocol has it: a few are beyond 90, none is turned back.
            yaw,
            *(np.abs((angle + 180) % 360 - 180) for angle in (pitch, roll)),
        )


def _read(path: Path) -> tuple[Floats, Floats]:
    """The landmarks, and pitch, yaw and roll in degrees."""
    try:
        arrays = scipy.io.loadmat(path)
        landmarks = np.asarray(arrays["pt3d_68"], np.float64).T
        pose = np.asarray(arrays["Pose_Para"], np.float64).ravel()
    except KeyError as error:
        raise ValueError(
            f"Expected pt3d_68 and Pose_Para in {path}. Received: no {error}"
        ) from None
    if landmarks.shape != (68, 3) or len(pose) < 3:
        raise ValueError(
            f"Expected pt3d_68 (3, 68) and Pose_Para (1, 7) in {path}. "
            f"Received: {landmarks.T.shape} and {pose.shape}"
        )
    # Pose_Para is pitch, yaw, roll in radians, translation, scale.
    return landmarks, np.degrees(pose[:3])


def _reannotated(path: Path, names: list[str]) -> Floats | None:
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as arrays:
        known = {str(name): i for i, name in enumerate(arrays["names"])}
        points = arrays["reannotated68"]
    if not known.keys() >= set(names):
        return None
    return points[[known[name] for name in names]].astype(np.float64)
