"""Rendered faces of the bundled head, and the model of their vertices."""

from __future__ import annotations

from importlib import resources

import numpy as np

from tf_facegcn.geometry.mesh_hierarchy import MeshHierarchy
from tf_facegcn.geometry.morphable_model import MorphableModel
from training.data.synthetic import SyntheticFaces
from training.data.vertex_model import VertexModel


def bundled_vertex_model() -> VertexModel:
    """Makes the vertex model of the bundled head, no landmark displaced."""
    return VertexModel.of_labels(
        MorphableModel.bundled(), np.zeros((68, 3)), np.zeros((0, 68, 3))
    )


def bundled_faces(size: int = 256) -> SyntheticFaces:
    """Makes faces of the bundled head.

    Args:
        size: Side of the pictures in pixels.
    """
    hierarchy = resources.files("tf_facegcn") / "assets" / "hierarchy.npz"
    with resources.as_file(hierarchy) as path:
        levels = MeshHierarchy.load(path)
    return SyntheticFaces(
        bundled_vertex_model(), MorphableModel.bundled(), levels, size
    )
