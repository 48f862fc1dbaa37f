"""Rasteriser of meshes that are given in pixels: colours and depths."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

# OpenCV renders in perspective. A mesh that is unprojected to this distance,
# in multiples of its own depth, meets every pixel exactly at its vertices;
# between them the error is at most 1 / (2 * distance) of a face's depth.
_DISTANCE = 300.0

# Depth beyond the mesh at which OpenCV clips, as a share of the distance.
_CLIP_MARGIN = 0.1


@dataclass(frozen=True)
class RenderedMesh:
    """A mesh as pixels.

    Args:
        colors: `(height, width, channels)` float32, the interpolated vertex
            colours; 0 where `mask` is false.
        depth: `(height, width)` float32, z of the nearest face, in the unit
            of the vertices, towards the viewer; `-inf` where there is none.
        mask: `(height, width)` bool, the pixels whose centre a face covers.
    """

    colors: NDArray[np.float32]
    depth: NDArray[np.float32]
    mask: NDArray[np.bool_]


def render_mesh(
    vertices: ArrayLike,
    faces: ArrayLike,
    width: int,
    height: int,
    colors: ArrayLike | None = None,
) -> RenderedMesh:
    """Renders a mesh that is given in pixels, seen along the z axis.

    A pixel belongs to a face if the face covers its centre; of several faces
    the one with the largest z wins. Faces that turn away from the viewer are
    left out: those whose corners run clockwise as seen in the picture.

    Args:
        vertices: `(V, 3)` float, pixels: x right, y down, the centre of the
            top-left pixel at (0, 0), z towards the viewer. They may lie
            outside the picture.
        faces: `(F, 3)` int, vertex indices.
        width: Columns of the picture.
        height: Rows of the picture.
        colors: `(V, 3)` float, from 0 to 1; white if not given.

    Returns:
        The picture, see `RenderedMesh`.

    Raises:
        ValueError: If a shape is wrong or a vertex is not finite.
    """
    positions = _checked_vertices(vertices)
    triangles = np.ascontiguousarray(faces, dtype=np.int32)
    shades = (
        np.ones_like(positions, np.float32)
        if colors is None
        else np.ascontiguousarray(colors, dtype=np.float32)
    )
    if shades.shape != positions.shape:
        raise ValueError(
            "colors must have the shape of vertices. Received: colors.shape="
            f"{shades.shape}, vertices.shape={positions.shape}"
        )
    if width < 1 or height < 1:
        raise ValueError(
            "width and height must be at least 1. Received: "
            f"width={width}, height={height}"
        )
    color_buffer = np.zeros((height, width, 3), np.float32)
    scene = _Scene.of_pixels(positions, width, height)
    depth_buffer = np.full((height, width), scene.far, np.float32)
    cv2.triangleRasterize(
        scene.vertices,
        triangles,
        shades,
        color_buffer,
        depth_buffer,
        np.eye(4, dtype=np.float32),
        scene.field_of_view,
        scene.near,
        scene.far,
        cv2.TriangleRasterizeSettings()
        .setCullingMode(cv2.RASTERIZE_CULLING_CW)
        .setShadingType(cv2.RASTERIZE_SHADING_SHADED),
    )
    # Not `< far`: OpenCV rounds the depths that it does not touch, too.
    mask = depth_buffer < (scene.farthest + scene.far) / 2
    depth = np.where(mask, scene.origin - depth_buffer, -np.inf)
    return RenderedMesh(color_buffer, depth.astype(np.float32), mask)


def vertex_normals(
    vertices: ArrayLike, faces: ArrayLike
) -> NDArray[np.float64]:
    """Computes unit normals of a mesh that is given in pixels.

    Args:
        vertices: `(V, 3)` float, pixels.
        faces: `(F, 3)` int, vertex indices.

    Returns:
        `(V, 3)` float64: the normals, weighted by the faces' areas, pointing
        out of the side from which the corners run counter-clockwise as seen
        in the picture, z towards the viewer, y down. 0 for a vertex without
        faces.
    """
    positions = _checked_vertices(vertices)
    triangles = np.asarray(faces)
    a, b, c = (positions[triangles[:, i]] for i in range(3))
    # Pixels are left-handed (y down, z towards the viewer): the other order.
    doubled_areas = np.cross(c - a, b - a)
    corners = triangles.T.ravel()
    normals: NDArray[np.float64] = np.stack(
        [
            np.bincount(
                corners, np.tile(doubled_areas[:, axis], 3), len(positions)
            )
            for axis in range(3)
        ],
        axis=1,
    )
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    normals /= np.where(lengths > 0, lengths, 1.0)
    return normals


@dataclass(frozen=True)
class _Scene:
    """A mesh in the camera's axes: x right, y up, looking along -z."""

    vertices: NDArray[np.float32]
    field_of_view: float
    near: float
    farthest: float
    far: float
    origin: float

    @classmethod
    def of_pixels(
        cls, positions: NDArray[np.float64], width: int, height: int
    ) -> "_Scene":
        z = positions[:, 2]
        depth_range = max(float(np.ptp(z)), 1.0)
        distance = _DISTANCE * depth_range
        origin = float(z.mean()) + distance
        # Each vertex is moved along its own line of sight, so that the
        # perspective projection brings it back to its pixel.
        depths = origin - z
        scale = depths / distance
        vertices = np.stack(
            [
                (positions[:, 0] + 0.5 - width / 2) * scale,
                -(positions[:, 1] + 0.5 - height / 2) * scale,
                -depths,
            ],
            axis=1,
        )
        return cls(
            vertices=vertices.astype(np.float32),
            field_of_view=2 * float(np.arctan2(height / 2, distance)),
            near=float(depths.min()) * (1 - _CLIP_MARGIN),
            farthest=float(depths.max()),
            far=float(depths.max()) * (1 + _CLIP_MARGIN),
            origin=origin,
        )


def _checked_vertices(vertices: ArrayLike) -> NDArray[np.float64]:
    positions = np.asarray(vertices, dtype=np.float64)
    if positions.ndim != 2 or positions.shape[1] != 3 or not len(positions):
        raise ValueError(
            "vertices must have shape (V, 3) with V at least 1. Received: "
            f"vertices.shape={positions.shape}"
        )
    if not np.isfinite(positions).all():
        raise ValueError("vertices must be finite. Received: NaN or infinity")
    return positions
