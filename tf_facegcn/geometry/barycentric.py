"""Barycentric up-sampling from a decimated mesh to the mesh it came from."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, spatial

from tf_facegcn.geometry.triangle_mesh import TriangleMesh

# Weights below it are rounding errors of a point on an edge or a corner.
_SMALLEST_WEIGHT = 1e-9
# Candidate pairs of point and face that are worked on at once.
_CHUNK = 1 << 18
# Slack of the search radius, relative to it, against rounding errors.
_SEARCH_SLACK = 1e-9


def upsampling_matrix(
    coarse_mesh: TriangleMesh,
    fine_vertices: NDArray[np.floating],
    kept: NDArray[np.integer],
) -> sparse.csr_array:
    """Computes the matrix `Q_u` that carries values up to a finer mesh.

    Each vertex of the finer mesh takes the values of the closest point on the
    coarser surface: the mean of a face's three corners with the point's
    barycentric weights (paper, Sec. 3.4). They lie in [0, 1] and sum to 1,
    unlike those that CoMA published.

    Args:
        coarse_mesh: The decimated mesh of `V_coarse` vertices.
        fine_vertices: `(V_fine, 3)` float, the vertices before decimation.
        kept: `(V_coarse,)` int, the index in `fine_vertices` of each vertex
            of `coarse_mesh`. Their rows have a single 1.

    Returns:
        `(V_fine, V_coarse)` float64 CSR with at most 3 entries a row.

    Raises:
        ValueError: If `kept` does not tell where the coarse vertices are.
    """
    points = np.asarray(fine_vertices, dtype=np.float64)
    kept = np.asarray(kept)
    if len(kept) != coarse_mesh.num_vertices or not np.array_equal(
        points[kept], coarse_mesh.vertices
    ):
        raise ValueError(
            "Expected fine_vertices[kept] to be the coarse mesh's "
            f"{coarse_mesh.num_vertices} vertices. Received: "
            f"{len(kept)} indices, or other positions at them"
        )
    is_new = np.ones(len(points), dtype=bool)
    is_new[kept] = False
    new = np.flatnonzero(is_new)
    closest_faces, weights = closest_points(coarse_mesh, points[new])
    rows = np.concatenate([kept, np.repeat(new, 3)])
    columns = np.concatenate(
        [np.arange(len(kept)), coarse_mesh.faces[closest_faces].ravel()]
    )
    values = np.concatenate([np.ones(len(kept)), weights.ravel()])
    used = values > 0
    matrix = sparse.coo_array(
        (
            values[used],
            (rows[used].astype(np.int32), columns[used].astype(np.int32)),
        ),
        shape=(len(points), len(kept)),
    ).tocsr()
    matrix.sort_indices()
    return matrix


def closest_points(
    mesh: TriangleMesh, points: NDArray[np.floating]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Finds the closest point of a mesh's surface to each point.

    The search is exact: every face that could be the closest is measured. Of
    equally close faces the first counts.

    Args:
        mesh: The surface.
        points: `(n, 3)` float.

    Returns:
        `(n,)` int, the face that the closest point lies on, and `(n, 3)`
        float64, its barycentric weights at the face's corners.
    """
    targets = np.asarray(points, dtype=np.float64)
    faces = np.zeros(len(targets), dtype=np.intp)
    weights = np.zeros((len(targets), 3))
    corners = mesh.vertices[mesh.faces]
    owners, candidates = _candidate_pairs(mesh, targets)
    # Pairs are sorted by point, so a chunk ends where a point's pairs end.
    starts = np.searchsorted(owners, np.arange(len(targets) + 1))
    begin = 0
    while begin < len(targets):
        end = int(np.searchsorted(starts, starts[begin] + _CHUNK, "right")) - 1
        end = min(max(end, begin + 1), len(targets))
        pairs = slice(starts[begin], starts[end])
        owner, face = owners[pairs], candidates[pairs]
        weight, distance = _closest_on_triangles(corners[face], targets[owner])
        order = np.lexsort((face, distance, owner))
        best = order[starts[begin:end] - starts[begin]]
        faces[begin:end], weights[begin:end] = face[best], weight[best]
        begin = end
    return faces, weights


def _candidate_pairs(
    mesh: TriangleMesh, points: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """All `(point, face)` pairs that can be closest, sorted by point.

    A face's every point is within its radius of its centroid. So with an upper
    bound of a point's distance, only faces whose centroid lies within bound +
    radius can be closer. Faces are searched in classes of similar radius.
    """
    corners = mesh.vertices[mesh.faces]
    centroids = corners.mean(axis=1)
    radii = np.linalg.norm(corners - centroids[:, None], axis=2).max(axis=1)
    used = mesh.vertices[np.unique(mesh.faces)]
    bounds = spatial.KDTree(used).query(points)[0]
    nearest = spatial.KDTree(centroids).query(points)[1]
    closer = np.sqrt(_closest_on_triangles(corners[nearest], points)[1])
    bounds = np.minimum(bounds, closer)

    classes = np.floor(np.log2(np.maximum(radii, np.finfo(float).tiny)))
    owners, candidates = [], []
    for radius_class in np.unique(classes):
        members = np.flatnonzero(classes == radius_class)
        reach = (bounds + radii[members].max()) * (1.0 + _SEARCH_SLACK)
        found = spatial.KDTree(centroids[members]).query_ball_point(
            points, reach
        )
        lengths = [len(indices) for indices in found]
        owners.append(np.repeat(np.arange(len(points)), lengths))
        flat = np.fromiter(
            (index for indices in found for index in indices),
            dtype=np.intp,
            count=sum(lengths),
        )
        candidates.append(members[flat])
    owner, candidate = np.concatenate(owners), np.concatenate(candidates)
    order = np.argsort(owner, kind="stable")
    return owner[order], candidate[order]


def _closest_on_triangles(
    corners: NDArray[np.float64], points: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The closest point of one triangle to one point, for each of n pairs.

    Where the foot of the perpendicular lies inside the triangle it is the
    closest point, otherwise the closest of the points closest on each edge.

    Args:
        corners: `(n, 3, 3)`.
        points: `(n, 3)`.

    Returns:
        `(n, 3)` barycentric weights and `(n,)` squared distances.
    """
    first, second, third = np.moveaxis(corners, 1, 0)
    weights = _plane_weights(first, second, third, points)
    inside = (weights >= 0).all(axis=1)
    weights[~inside] = 0.0
    distances = np.where(
        inside, _squared_distances(corners, weights, points), np.inf
    )
    for start, end in ((0, 1), (1, 2), (2, 0)):
        origin, edge = corners[:, start], corners[:, end] - corners[:, start]
        along = np.sum((points - origin) * edge, axis=1)
        length = np.sum(edge * edge, axis=1)
        share = np.clip(along / np.where(length > 0, length, 1.0), 0.0, 1.0)
        edge_weights = np.zeros_like(weights)
        edge_weights[:, start], edge_weights[:, end] = 1.0 - share, share
        edge_distances = _squared_distances(corners, edge_weights, points)
        closer = ~inside & (edge_distances < distances)
        weights[closer] = edge_weights[closer]
        distances[closer] = edge_distances[closer]
    weights[weights < _SMALLEST_WEIGHT] = 0.0
    return weights / weights.sum(axis=1, keepdims=True), distances


def _plane_weights(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    third: NDArray[np.float64],
    points: NDArray[np.float64],
) -> NDArray[np.float64]:
    """`(n, 3)` barycentric weights of the feet of the perpendiculars.

    For a triangle without area they are (-1, 1, 1): not inside.
    """
    edge_a, edge_b, offset = second - first, third - first, points - first
    normal = np.cross(edge_a, edge_b)
    square = np.sum(normal * normal, axis=1)
    scale = np.where(square > 0, square, 1.0)
    weight_b = np.sum(np.cross(offset, edge_b) * normal, axis=1) / scale
    weight_c = np.sum(np.cross(edge_a, offset) * normal, axis=1) / scale
    weights = np.stack([1.0 - weight_b - weight_c, weight_b, weight_c], axis=1)
    weights[square <= 0] = (-1.0, 1.0, 1.0)
    return weights


def _squared_distances(
    corners: NDArray[np.float64],
    weights: NDArray[np.float64],
    points: NDArray[np.float64],
) -> NDArray[np.float64]:
    offsets = np.sum(corners * weights[:, :, None], axis=1) - points
    return np.sum(offsets * offsets, axis=1)
