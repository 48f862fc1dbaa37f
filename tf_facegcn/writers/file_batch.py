"""FileBatch: files that appear together, whole, or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType


class FileBatch:
    """Writes files under temporary names and renames them at the end.

    A context manager. If its block ends without an exception, all files get
    their names, replacing older ones; otherwise the temporary files are
    removed and older files stay as they were.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "answer.txt"
        ...     with FileBatch() as batch:
        ...         batch.write(path, b"42")
        ...         before = path.exists()
        ...     before, path.read_bytes()
        (False, b'42')
    """

    def __init__(self) -> None:
        self._temporary: dict[Path, Path] = {}

    def __enter__(self) -> FileBatch:
        return self

    def write(self, path: Path, data: bytes) -> None:
        """Writes a file, for now under a temporary name in the same folder.

        Args:
            path: Where the file will be.
            data: Its content.

        Raises:
            OSError: If the folder or the disk does not take it.
        """
        # Not made of the file's name, which may be as long as names can be.
        name = f".facegcn-{os.getpid()}-{len(self._temporary)}.partial"
        temporary = path.with_name(name)
        self._temporary[path] = temporary
        temporary.write_bytes(data)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                for path, temporary in self._temporary.items():
                    temporary.replace(path)
        finally:
            for temporary in self._temporary.values():
                temporary.unlink(missing_ok=True)
