"""Visibility of a mesh's vertices, seen along the z axis."""

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tf_facegcn.imaging.rasterizer import render_mesh, vertex_normals

# Longer side of the depth map that vertices are compared with, in pixels.
_RESOLUTION = 512

# How far behind the nearest face in its neighbourhood a visible vertex may
# lie, in pixels of the depth map: about what a surface at 60° gains in depth
# over one pixel.
_TOLERANCE = 2.0


def visible_vertices(
    vertices: ArrayLike, faces: ArrayLike
) -> NDArray[np.bool_]:
    """Finds the vertices that the viewer sees.

    A vertex is visible if its normal points towards the viewer and no face
    lies more than a tolerance in front of it, in a depth map of the whole
    mesh of 512 pixels. The picture's edges play no role.

    Args:
        vertices: `(V, 3)` float, pixels, z towards the viewer.
        faces: `(F, 3)` int, vertex indices.

    Returns:
        `(V,)` bool.
    """
    positions = np.asarray(vertices, dtype=np.float64)
    corner = positions[:, :2].min(axis=0)
    extent = max(float(np.ptp(positions[:, :2], axis=0).max()), 1e-9)
    scaled = positions * (_RESOLUTION / extent)
    scaled[:, :2] -= corner * (_RESOLUTION / extent)
    width, height = np.ceil(scaled[:, :2].max(axis=0)).astype(int) + 1
    depth = render_mesh(scaled, faces, int(width), int(height)).depth
    # The farthest of the neighbouring pixels: beside a silhouette a vertex
    # may fall on a pixel that a nearer part covers.
    farthest = cv2.erode(depth, np.ones((3, 3), np.uint8))
    columns, rows = np.rint(scaled[:, :2]).astype(int).T
    not_hidden = scaled[:, 2] >= farthest[rows, columns] - _TOLERANCE
    towards_viewer = vertex_normals(scaled, faces)[:, 2] > 0
    return np.asarray(not_hidden & towards_viewer, np.bool_)
