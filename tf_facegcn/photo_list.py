"""Which photos a command is to do: files, folders and lists of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".tif", ".tiff")
)


def find_photos(paths: Iterable[Path]) -> Iterator[Path]:
    """Replaces folders by the photos inside.

    Args:
        paths: Files, taken as they are, and folders, searched with all the
            folders below them for files with the suffix of a photo (those of
            `SUFFIXES`; upper case too). Hidden ones are left out.

    Yields:
        Files; those of a folder in the order of their names.

    Raises:
        ValueError: If there is no photo in a folder.
    """
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        found = sorted(
            file
            for file in path.rglob("*")
            if file.suffix.lower() in SUFFIXES
            and not any(
                part.startswith(".") for part in file.relative_to(path).parts
            )
        )
        if not found:
            raise ValueError(
                f"{path}: no photo in this folder. Expected files that end "
                f"with {', '.join(sorted(SUFFIXES))}"
            )
        yield from found


def read_photo_list(file: Path) -> list[Path]:
    """Reads a list of photos: a path a line, empty lines ignored.

    Args:
        file: A text file; its paths are relative to the working folder.

    Raises:
        ValueError: If it names no photo.
        OSError: If it cannot be read.
    """
    # Names of files need not be text.
    text = file.read_text("utf-8", errors="surrogateescape")
    paths = [Path(line) for line in text.splitlines() if line.strip()]
    if not paths:
        raise ValueError(f"{file}: expected a path of a photo in each line")
    return paths
