"""The files of a photo's result: their formats, their names."""

from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tf_facegcn.prediction import FacePrediction
from tf_facegcn.writers.depth_writer import encode_depth
from tf_facegcn.writers.file_batch import FileBatch
from tf_facegcn.writers.glb_writer import encode_glb
from tf_facegcn.writers.json_writer import encode_json
from tf_facegcn.writers.npz_writer import encode_npz
from tf_facegcn.writers.obj_writer import encode_obj
from tf_facegcn.writers.overlay_writer import encode_overlay
from tf_facegcn.writers.ply_writer import encode_ply

Photo = NDArray[np.uint8]

# One file a face: what its name ends with, and its encoder.
FACE_FORMATS: Mapping[
    str, tuple[str, Callable[[FacePrediction, Photo], bytes]]
] = {
    "obj": (".obj", encode_obj),
    "ply": (".ply", encode_ply),
    "glb": (".glb", encode_glb),
    "json": (".json", encode_json),
    "npz": (".npz", encode_npz),
    "depth": ("_depth.png", encode_depth),
}
# One file a photo.
PHOTO_FORMATS: Mapping[
    str, tuple[str, Callable[[Sequence[FacePrediction], Photo], bytes]]
] = {"overlay": ("_overlay.jpg", encode_overlay)}

DEFAULT_FORMATS = ("obj", "json", "npz", "overlay")


def write_results(
    predictions: Sequence[FacePrediction],
    photo: Photo,
    folder: Path,
    stem: str,
    formats: Iterable[str] = DEFAULT_FORMATS,
) -> list[Path]:
    """Writes the faces of a photo: all files, or none if one fails.

    The files of face `k`, counted from 1, are named `<stem>_face<k>.obj` and
    so on, that of the photo `<stem>_overlay.jpg`. Older files of these names
    are replaced.

    Args:
        predictions: The photo's faces.
        photo: `(height, width, 3)` uint8, RGB.
        folder: Where the files go; it must exist.
        stem: What their names begin with.
        formats: Names from `FACE_FORMATS` and `PHOTO_FORMATS`.

    Returns:
        The paths written.

    Raises:
        ValueError: If a format is not known.
        OSError: If the folder or the disk does not take a file.
    """
    paths = []
    with FileBatch() as batch:
        for name, data in encode_results(predictions, photo, stem, formats):
            paths.append(folder / name)
            batch.write(paths[-1], data)
    return paths


def encode_results(
    predictions: Sequence[FacePrediction],
    photo: Photo,
    stem: str,
    formats: Iterable[str] = DEFAULT_FORMATS,
) -> Iterator[tuple[str, bytes]]:
    """Makes the files of a photo's faces, without writing them.

    Args:
        predictions: The photo's faces.
        photo: `(height, width, 3)` uint8, RGB.
        stem: What the names of the files begin with, see `write_results`.
        formats: Names from `FACE_FORMATS` and `PHOTO_FORMATS`.

    Yields:
        The name of a file, and what is in it.

    Raises:
        ValueError: If a format is not known.
    """
    for name in check_formats(formats):
        if name in PHOTO_FORMATS:
            suffix, encode_photo = PHOTO_FORMATS[name]
            yield f"{stem}{suffix}", encode_photo(predictions, photo)
            continue
        suffix, encode_face = FACE_FORMATS[name]
        for number, prediction in enumerate(predictions, start=1):
            yield (
                f"{stem}_face{number}{suffix}",
                encode_face(prediction, photo),
            )


def check_formats(formats: Iterable[str]) -> tuple[str, ...]:
    """Checks the names of formats and drops repetitions."""
    names = tuple(dict.fromkeys(formats))
    known = (*FACE_FORMATS, *PHOTO_FORMATS)
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ValueError(
            f"Expected formats among {', '.join(known)}. Received: "
            f"{', '.join(map(repr, unknown)) or 'none'}"
        )
    return names


def result_stems(photos: Collection[Path]) -> list[str]:
    """Names the results of photos so that none overwrites another's.

    Args:
        photos: Paths of the photos.

    Returns:
        For each the stem of its file's name, followed by `_2`, `_3`, ... if
        an earlier photo or the name of another one has taken it.

    Example:
        >>> result_stems([Path("a/me.jpg"), Path("b/me.jpg"), Path("me.png")])
        ['me', 'me_2', 'me_3']
    """
    own = {photo.stem for photo in photos}
    taken: set[str] = set()
    # Among a million photos, many may have the same name.
    last: dict[str, int] = {}
    stems = []
    for photo in photos:
        stem, number = photo.stem, last.get(photo.stem, 1)
        if number > 1:
            stem = f"{stem}_{number}"
        while stem in taken or (number > 1 and stem in own):
            number += 1
            stem = f"{photo.stem}_{number}"
        last[photo.stem] = number
        taken.add(stem)
        stems.append(stem)
    return stems
