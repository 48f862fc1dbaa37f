"""Released weights: where they are and how a model is made of them."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

# The folder of the repository in which released weights stand.
WEIGHTS_FOLDER = Path(__file__).resolve().parents[2] / "saved_models"
_SUFFIX = ".keras"
# Digests of the released files, in the format of `sha256sum`.
_CHECKSUMS = "SHA256SUMS"


def known_weights() -> list[str]:
    """Lists the names of the released weights that are there, sorted."""
    return sorted(path.stem for path in WEIGHTS_FOLDER.glob(f"*{_SUFFIX}"))


def find_weights(name_or_path: str | PathLike[str]) -> Path:
    """Finds a file of weights.

    Args:
        name_or_path: Name of released weights, for example `"lite"`, or path
            of a `.keras` file.

    Returns:
        The path of an existing file.

    Raises:
        ValueError: If there is no such file; says which names there are.
    """
    path = Path(name_or_path)
    if path.suffix != _SUFFIX and path.name == str(name_or_path):
        path = WEIGHTS_FOLDER / f"{name_or_path}{_SUFFIX}"
    if path.is_file():
        return path
    names = ", ".join(known_weights()) or "none"
    raise ValueError(
        f"Expected the name of released weights (there are: {names}) or the "
        f"path of a {_SUFFIX} file. Received: {str(name_or_path)!r}"
    )


def weights_digest(name_or_path: str | PathLike[str]) -> str:
    """Returns the SHA-256 of a file of weights, as hex digits.

    Args:
        name_or_path: See `find_weights`.

    Raises:
        ValueError: If there is no such file.
    """
    return hashlib.sha256(find_weights(name_or_path).read_bytes()).hexdigest()


def load_model(name_or_path: str | PathLike[str]) -> keras.Model:
    """Loads a FaceGCN with its weights; no mesh file is needed.

    Args:
        name_or_path: See `find_weights`.

    Returns:
        The model, not compiled for training.

    Raises:
        ValueError: If there is no such file, it is not a whole `.keras` file
            of a FaceGCN, or it has the name of released weights and is not
            the file that was released.
    """
    path = find_weights(name_or_path)
    _check_released(path)
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"{path}: expected a {_SUFFIX} file, which is a zip archive, got "
            "something else or a part of one; fetch or write it again"
        )
    import keras

    # Registers the class, and those of its layers, with Keras.
    from tf_facegcn.models.face_gcn import FaceGCN

    try:
        model = keras.saving.load_model(path, compile=False)
    except (
        *(OSError, ValueError, TypeError, KeyError),
        *(zipfile.BadZipFile, zlib.error),
    ) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(
            f"{path}: cannot be loaded as a FaceGCN ({reason[0]}). Expected a "
            "whole file as model.save writes it; fetch or write it again"
        ) from error
    if not isinstance(model, FaceGCN):
        raise ValueError(
            f"{path}: expected a FaceGCN, got a {type(model).__name__}"
        )
    return model


def _check_released(path: Path) -> None:
    """Compares a file of the released weights' folder with its digest."""
    checksums = WEIGHTS_FOLDER / _CHECKSUMS
    if not path.resolve().is_relative_to(WEIGHTS_FOLDER.resolve()):
        return
    if not checksums.is_file():
        return
    lines = checksums.read_text().splitlines()
    pairs = (line.split() for line in lines if line.strip())
    expected = {name: digest for digest, name in pairs}.get(path.name)
    received = weights_digest(path)
    if expected not in (None, received):
        raise ValueError(
            f"{path}: expected the released file, of SHA-256 {expected} "
            f"({checksums}). Received: SHA-256 {received}; fetch it again, or "
            "give weights of your own another name"
        )
