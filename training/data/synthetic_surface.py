"""FaceSurface: the mesh that rendered faces are drawn with."""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tf_facegcn.geometry.barycentric import upsampling_matrix
from tf_facegcn.geometry.mesh_hierarchy import MeshHierarchy
from tf_facegcn.imaging.rasterizer import render_mesh

Floats = NDArray[np.float64]

# Side of the depth map seen from the light, pixels.
SHADOW_MAP_SIZE = 112
# How far behind the light's nearest surface shadow begins, and over which
# depth it becomes full, as shares of the head's size.
_SHADOW_BIAS = 0.016
_SHADOW_RAMP = 0.02

# Directions that ambient occlusion is measured along.
_NUM_DIRECTIONS = 48

# How far behind the depth map a visible vertex may lie, in pixels, as in
# `visible_vertices`.
_TOLERANCE = 2.0

# A depth behind everything; finite, so that it can be interpolated.
_FAR = -1e4


class Raster(NamedTuple):
    """A mesh level as pixels.

    Attributes:
        colors: `(size, size, 3)` float32.
        depth: `(size, size)` float32.
        mask: `(size, size)` bool.
    """

    colors: NDArray[np.float32]
    depth: NDArray[np.float32]
    mask: NDArray[np.bool_]


class FaceSurface:
    """Two levels of a mesh hierarchy, ready to be rendered.

    The finer one carries what is seen, the coarser one what is blurred
    anyway: shadows and soft light.

    Args:
        hierarchy: Levels of the model's mesh.
        level: The finer of the two levels; the other is the next one.

    Attributes:
        kept: `(n,)` indices of the finer level's vertices in the whole mesh.
        faces: `(m, 3)` of the finer level.
        coarse: Indices of the coarser level's vertices in the finer one.
        coarse_faces: Faces of the coarser level.
        mean_normals: `(n, 3)` normals of the mean head in the model's axes.
        openness: `(coarse,)` how much of the sky a vertex sees on the mean
            head, 0 to 1, for ambient light.
    """

    def __init__(self, hierarchy: MeshHierarchy, level: int) -> None:
        if not 0 <= level < len(hierarchy.levels):
            raise ValueError(
                f"Expected a level from 0 to {len(hierarchy.levels) - 1}. "
                f"Received: level={level}"
            )
        kept = np.arange(hierarchy.sizes[0])
        for finer in hierarchy.levels[1 : level + 1]:
            kept = kept[finer.kept]
        self.kept = kept
        mesh = hierarchy.levels[level].mesh
        self.faces = np.ascontiguousarray(mesh.faces, np.int32)
        self.coarse = np.arange(len(kept))
        self.coarse_faces = self.faces
        if level + 1 < len(hierarchy.levels):
            below = hierarchy.levels[level + 1]
            self.coarse = self.coarse[below.kept]
            self.coarse_faces = np.ascontiguousarray(below.mesh.faces, np.int32)
        corners = self.faces.ravel()
        incidence = sparse.csr_array(
            (
                np.ones(len(corners), np.float32),
                (corners, np.repeat(np.arange(len(self.faces)), 3)),
            ),
            shape=(len(kept), len(self.faces)),
        )
        self._incidence = incidence
        self._corners = np.ascontiguousarray(self.faces.T)
        # From the model's axes to the picture's.
        flipped = (mesh.vertices * [1.0, -1.0, 1.0]).astype(np.float32)
        self.mean_normals = self.normals(flipped)[0] * np.array(
            [1, -1, 1], np.float32
        )
        template = hierarchy.levels[0].mesh.vertices
        self._upsampling = sparse.csr_array(
            upsampling_matrix(mesh, template, kept).astype(np.float32)
            if level
            else sparse.eye_array(len(kept), dtype=np.float32, format="csr")
        )
        self.openness = self._measure_openness(mesh.vertices)

    def normals(
        self, positions: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Computes normals of vertices given in pixels, y down.

        Returns:
            `(n, 3)` unit normals and which `(m,)` faces look at the viewer.
        """
        # Planes of x, y and z: what NumPy is fast with.
        a, b, c = np.take(positions.T, self._corners, axis=1).swapaxes(0, 1)
        edge, other = c - a, b - a
        # Twice the area, in the order of `vertex_normals`.
        areas = np.empty((len(self.faces), 3), np.float32)
        for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
            areas[:, i] = edge[j] * other[k] - edge[k] * other[j]
        normals = self._incidence @ areas
        length = np.sqrt(np.einsum("ij,ij->i", normals, normals))
        normals /= np.maximum(length, 1e-12)[:, None]
        return normals, areas[:, 2] > 0

    def render(
        self,
        positions: NDArray[np.floating],
        towards_viewer: NDArray[np.bool_],
        colors: NDArray[np.floating],
        size: int,
    ) -> Raster:
        """Renders the finer level; positions are pixels."""
        front = np.compress(towards_viewer, self.faces, axis=0)
        result = render_mesh(positions, front, size, size, colors)
        return Raster(result.colors, result.depth, result.mask)

    def render_soft(
        self,
        positions: NDArray[np.floating],
        colors: NDArray[np.floating],
        size: int,
    ) -> NDArray[np.float32]:
        """Renders the coarser level at a third of the size and magnifies it.

        Args:
            positions: `(n, 3)` vertices of the finer level, pixels.
            colors: `(coarse, 3)` at the coarser level's, 0 to 1.
            size: Side of the picture.

        Returns:
            `(size, size, 3)` float32; values run on a little way beyond the
            silhouette.
        """
        small = max(size // 3, 1)
        scale = small / size
        reduced = positions[self.coarse] * scale
        reduced[:, :2] += 0.5 * scale - 0.5
        result = render_mesh(reduced, self.coarse_faces, small, small, colors)
        covered = result.mask.astype(np.float32)
        blur = partial(cv2.blur, ksize=(5, 5))
        spread = np.asarray(blur(result.colors), np.float32)
        spread /= np.maximum(blur(covered), 1e-3)[..., None]
        spread[result.mask] = result.colors[result.mask]
        return np.asarray(
            cv2.resize(spread, (size, size), interpolation=cv2.INTER_LINEAR)
        )

    def shadow(
        self,
        positions: NDArray[np.floating],
        points: NDArray[np.float32],
        direction: Floats,
    ) -> NDArray[np.float32]:
        """Computes how much of a directional light reaches points.

        Args:
            positions: `(n, 3)` vertices of the finer level, pixels.
            points: `(k, 3)` points on the surface, pixels.
            direction: `(3,)` unit vector to the light.

        Returns:
            `(k,)` from 0, in shadow, to 1.
        """
        turn = _turn_towards(direction)
        turned = positions[self.coarse] @ turn.T
        low = turned[:, :2].min(axis=0)
        extent = max(float(np.ptp(turned[:, :2], axis=0).max()), 1e-6)
        scale = (SHADOW_MAP_SIZE - 3) / extent
        offset = np.array([*(1 - scale * low), 0.0])
        rendered = render_mesh(
            turned * scale + offset,
            self.coarse_faces,
            SHADOW_MAP_SIZE,
            SHADOW_MAP_SIZE,
        )
        depth = np.maximum(rendered.depth, np.float32(_FAR))
        seen = points @ (scale * turn.T).astype(np.float32)
        seen += offset.astype(np.float32)
        nearest = _sample(depth, seen[:, 0], seen[:, 1])
        behind = (nearest - seen[:, 2]) / SHADOW_MAP_SIZE
        return np.clip(1 - (behind - _SHADOW_BIAS) / _SHADOW_RAMP, 0, 1)

    def visible(
        self,
        positions: NDArray[np.floating],
        normals: NDArray[np.floating],
        depth: NDArray[np.float32],
        occluded: NDArray[np.uint8],
    ) -> NDArray[np.bool_]:
        """Finds the visible ones of all vertices of the whole mesh.

        A vertex is looked up where it lies on the rendered level.

        Args:
            positions: `(n, 3)` vertices of the finer level, pixels.
            normals: `(n, 3)` their normals.
            depth: `(size, size)` depth of the rendered level.
            occluded: `(size, size)`, above 127 where something covers the
                face.
        """
        values = np.concatenate([positions, normals[:, 2:]], axis=1)
        x, y, z, towards = (self._upsampling @ values.astype(np.float32)).T
        size = len(depth)
        columns, rows = np.rint(x).astype(np.int32), np.rint(y).astype(np.int32)
        inside = (columns >= 0) & (columns < size) & (rows >= 0)
        inside &= (rows < size) & (towards > 0)
        columns = np.where(inside, columns, 0)
        rows = np.where(inside, rows, 0)
        farthest = cv2.erode(depth, np.ones((3, 3), np.uint8))
        place = rows * size + columns
        inside &= z >= farthest.ravel()[place] - _TOLERANCE
        inside &= occluded.ravel()[place] <= 127
        return inside

    def _measure_openness(self, vertices: Floats) -> NDArray[np.float32]:
        # From the model's axes to the picture's.
        positions = np.asarray(vertices, np.float64) * [1.0, -1.0, 1.0]
        normals = self.normals(positions.astype(np.float32))[0][self.coarse]
        points = positions[self.coarse].astype(np.float32)
        arriving = np.zeros(len(points))
        possible = np.zeros(len(points))
        # Fibonacci's spiral: directions spread evenly over the sphere.
        heights = 1 - (2 * np.arange(_NUM_DIRECTIONS) + 1) / _NUM_DIRECTIONS
        turns = np.arange(_NUM_DIRECTIONS) * math.pi * (3 - math.sqrt(5))
        for height, turn in zip(heights, turns, strict=True):
            radius = math.sqrt(1 - height**2)
            direction = np.array(
                [radius * math.cos(turn), height, radius * math.sin(turn)]
            )
            cosine = np.maximum(normals @ direction, 0)
            arriving += cosine * self.shadow(positions, points, direction)
            possible += cosine
        return (arriving / np.maximum(possible, 1e-9)).astype(np.float32)


def _turn_towards(direction: Floats) -> Floats:
    """`(3, 3)` rotation whose third row is a direction."""
    helper = np.array([0.0, 1.0, 0.0])
    if abs(direction[1]) > 0.9:
        helper = np.array([1.0, 0.0, 0.0])
    first = np.cross(helper, direction)
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(direction, first), direction])


def _sample(
    picture: NDArray[np.float32],
    x: NDArray[np.float32],
    y: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Bilinear samples at any number of points."""
    return sample_chart(picture, np.stack([x, y], axis=1))[:, 0]


def sample_chart(
    picture: NDArray[np.float32],
    places: NDArray[np.float32],
    border: int = cv2.BORDER_REPLICATE,
) -> NDArray[np.float32]:
    """Samples a picture bilinearly.

    Args:
        picture: `(height, width)` or `(height, width, channels)` float32.
        places: `(n, 2)` x and y.
        border: OpenCV's name of what lies beyond the picture.

    Returns:
        `(n, channels)` float32.
    """
    count = len(places)
    # OpenCV's pictures have at most 32,767 rows or columns.
    width = 256
    height = -(-max(count, 1) // width)
    padded = np.zeros((height * width, 2), np.float32)
    padded[:count] = places
    columns, rows = cv2.split(padded.reshape(height, width, 2))
    sampled = cv2.remap(
        picture,
        columns,
        rows,
        cv2.INTER_LINEAR,
        borderMode=border,
    )
    flat = np.asarray(sampled, np.float32).reshape(height * width, -1)
    return flat[:count]
