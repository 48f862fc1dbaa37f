"""A mesh hierarchy as a string, to stand in a model's configuration."""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path

from tf_facegcn.geometry.mesh_hierarchy import MeshHierarchy


def encode_hierarchy(hierarchy: MeshHierarchy) -> str:
    """Encodes a hierarchy as ASCII: base64 of the file that `save` writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hierarchy.npz"
        hierarchy.save(path)
        return base64.b64encode(path.read_bytes()).decode("ascii")


def decode_hierarchy(text: str) -> MeshHierarchy:
    """Decodes what `encode_hierarchy` returned.

    Raises:
        ValueError: If the text is damaged.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hierarchy.npz"
        path.write_bytes(base64.b64decode(text))
        return MeshHierarchy.load(path)
