"""AflwCrops: the reader of face crops with human and teacher landmarks."""

from __future__ import annotations

import hashlib
import itertools
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tf_facegcn.imaging.face_crop import CROP_UNITS

FILE_PATTERN = "aflw_crops_*.npz"

# Side of the stored crops, in pixels.
CROP_SIZE = 120

# The landmarks of the 68 (0-based) whose mean each of the 21 human points is.
HUMAN_POINT_GROUPS: tuple[tuple[int, ...], ...] = (
    *((i,) for i in (17, 19, 21, 22, 24, 26)),  # Brows.
    *((36,), (36, 37, 38, 39, 40, 41), (39,)),  # Eye on the image's left.
    *((42,), (42, 43, 44, 45, 46, 47), (45,)),  # Eye on the image's right.
    *((2,), (31,), (30,), (35,), (14,)),  # Ear, nose, nose tip, nose, ear.
    *((48,), (60, 61, 62, 63, 64, 65, 66, 67), (54,)),  # Mouth.
    (8,),  # Chin.
)

# Arrays of a file.
_ARRAYS = (
    *("jpeg", "offsets", "names", "landmarks21"),
    *("teacher_landmarks68", "yaw"),
)

Floats = NDArray[np.float64]


class AflwCrops(NamedTuple):
    """Square crops of real faces and what is known of each.

    Points are in crop units, 1/256ths of the crop, see `FaceCrop`.

    Attributes:
        names: `(n,)` str, the photos' file names.
        jpegs: `n` encoded crops.
        human_points: `(n, 21, 2)` human annotation, NaN where not visible;
            `HUMAN_POINT_GROUPS` says what they are of the 68.
        teacher_landmarks: `(n, 68, 3)` predictions of a public regressor, z
            towards the viewer with an arbitrary offset.
        yaw: `(n,)` absolute yaw of the teacher's fit, degrees.
        fingerprint: Hex digest of the files' content.
    """

    names: NDArray[np.str_]
    jpegs: list[bytes]
    human_points: Floats
    teacher_landmarks: Floats
    yaw: Floats
    fingerprint: str

    @classmethod
    def load(cls, data_dir: str | Path) -> AflwCrops:
        """Reads every `aflw_crops_*.npz` of a folder.

        Raises:
            FileNotFoundError: If the folder does not exist or holds no such
                file.
            ValueError: If a file lacks an array.
        """
        parts = [_read(path) for path in _find(data_dir)]
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part.fingerprint.encode())
        return cls(
            np.concatenate([part.names for part in parts]),
            [jpeg for part in parts for jpeg in part.jpegs],
            np.concatenate([part.human_points for part in parts]),
            np.concatenate([part.teacher_landmarks for part in parts]),
            np.concatenate([part.yaw for part in parts]),
            digest.hexdigest(),
        )

    def image(self, index: int) -> np.ndarray:
        """Decodes the crop at an index to `(120, 120, 3)` uint8 RGB."""
        return decode(self.jpegs[index])

    def subset(self, indices: NDArray[np.integer]) -> AflwCrops:
        """Returns some of the photos, in the order of the indices."""
        return self._replace(
            names=self.names[indices],
            jpegs=[self.jpegs[index] for index in indices],
            human_points=self.human_points[indices],
            teacher_landmarks=self.teacher_landmarks[indices],
            yaw=self.yaw[indices],
        )


def decode(jpeg: bytes) -> np.ndarray:
    """Decodes an image to `(height, width, 3)` uint8 RGB.

    Raises:
        ValueError: If the bytes are not an image.
    """
    buffer = np.frombuffer(jpeg, np.uint8)
    image = cv2.imdecode(buffer, cv2.IMREAD_COLOR_RGB) if len(buffer) else None
    if image is None:
        raise ValueError(
            f"Expected an encoded image. Received: {len(buffer)} bytes "
            f"starting with {jpeg[:8]!r}"
        )
    return image


def crop_pixels_to_units(
    points: NDArray[np.floating], size: int = CROP_SIZE
) -> Floats:
    """Maps pixels of a crop of `size` pixels to crop units.

    Args:
        points: `(..., 2)` or `(..., 3)`; z is scaled only.
        size: Side of the crop in pixels.

    Returns:
        The points in 1/256ths of the crop, of the same shape.
    """
    scale = CROP_UNITS / size
    units = np.asarray(points, np.float64) * scale
    units[..., :2] += 0.5 * scale - 0.5
    return units


def parameter_deviations(data_dir: str | Path) -> tuple[Floats, Floats]:
    """Reads how much the teacher's parameters of a face model vary.

    Returns:
        `(40,)` and `(10,)`: root mean squares over the photos of the identity
        and the expression, in the units of the reduced Basel Face Model.

    Raises:
        FileNotFoundError: If there are no photos.
        ValueError: If a file has no `teacher_parameters`.
    """
    key = "teacher_parameters"
    parts = [_arrays(path, (key,))[key] for path in _find(data_dir)]
    # The first twelve are the camera's.
    parameters = np.concatenate(parts)[:, 12:].astype(np.float64)
    deviations = np.sqrt(np.mean(parameters**2, axis=0))
    return deviations[:40], deviations[40:]


def _find(data_dir: str | Path) -> list[Path]:
    folder = Path(data_dir)
    paths = sorted(folder.glob(FILE_PATTERN))
    if not paths:
        state = "has no such file" if folder.is_dir() else "does not exist"
        raise FileNotFoundError(
            f"Expected training photos {FILE_PATTERN} in the data folder, "
            f"but it {state}. Name it with --set data_dir=FOLDER. "
            f"Received: data_dir={str(data_dir)!r}"
        )
    return paths


def _arrays(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    try:
        # NumPy leaves a damaged file open that it has opened itself.
        with path.open("rb") as file, np.load(file) as arrays:
            missing = [name for name in names if name not in arrays]
            data = {name: arrays[name] for name in names if name in arrays}
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"Expected arrays in {path}, but it cannot be read as .npz; it "
            f"may be damaged or incomplete ({error})"
        ) from error
    if missing:
        raise ValueError(
            f"Expected the arrays {', '.join(names)} in {path}. "
            f"Received: no {', '.join(missing)}"
        )
    return data


def _read(path: Path) -> AflwCrops:
    data = _arrays(path, _ARRAYS)
    landmarks = data["teacher_landmarks68"]
    bad = np.flatnonzero(~np.isfinite(landmarks).all(axis=(1, 2)))
    if len(bad):
        raise ValueError(
            f"Expected finite teacher_landmarks68 in {path}. Received: NaN or "
            f"infinity for photo {data['names'][bad[0]]} ({len(bad)} of "
            f"{len(landmarks)} photos)"
        )
    digest = hashlib.sha256()
    for name in _ARRAYS:
        digest.update(np.ascontiguousarray(data[name]).tobytes())
    offsets = data["offsets"]
    buffer = data["jpeg"].tobytes()
    return AflwCrops(
        data["names"],
        [buffer[start:stop] for start, stop in itertools.pairwise(offsets)],
        crop_pixels_to_units(data["landmarks21"]),
        crop_pixels_to_units(data["teacher_landmarks68"]),
        np.abs(data["yaw"].astype(np.float64)),
        digest.hexdigest(),
    )
