"""Small meshes and random ones for tests."""

import numpy as np
from hypothesis import strategies as st
from scipy.sparse import csgraph
from scipy.spatial import ConvexHull

from tf_facegcn.geometry.laplacian import adjacency_matrix
from tf_facegcn.geometry.triangle_mesh import TriangleMesh


def make_tetrahedron():
    """Four vertices, each a neighbour of the others; faces look outwards."""
    vertices = [[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]
    faces = [[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]]
    return TriangleMesh(vertices, faces)


def make_icosphere(subdivisions):
    """A unit sphere of `10 * 4**subdivisions + 2` vertices."""
    golden = (1 + 5**0.5) / 2
    corners = [
        [sign * 1, other * golden, 0] for sign in (1, -1) for other in (1, -1)
    ]
    vertices = np.concatenate([np.roll(corners, axis, 1) for axis in range(3)])
    mesh = make_convex_hull(vertices)
    for _ in range(subdivisions):
        mesh = subdivide(mesh)
    lengths = np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
    return TriangleMesh(mesh.vertices / lengths, mesh.faces)


def make_convex_hull(points):
    """The closed mesh around points, without the points inside it."""
    hull = ConvexHull(points)
    corners = hull.points[hull.simplices]
    normals = np.cross(
        corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    )
    inwards = np.sum(normals * hull.equations[:, :3], axis=1) < 0
    faces = hull.simplices.copy()
    faces[inwards] = faces[inwards][:, ::-1]
    return without_isolated_vertices(hull.points, faces)


def subdivide(mesh):
    """Each triangle becomes four; new vertices come after the old ones."""
    middles = {
        frozenset(edge): mesh.num_vertices + index
        for index, edge in enumerate(mesh.edges.tolist())
    }
    faces = []
    for a, b, c in mesh.faces.tolist():
        ab, bc, ca = (
            middles[frozenset(edge)] for edge in ((a, b), (b, c), (c, a))
        )
        faces += [(a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca)]
    positions = mesh.vertices[mesh.edges].mean(axis=1)
    return TriangleMesh(np.concatenate([mesh.vertices, positions]), faces)


def make_grid(rows, columns, heights=0.0):
    """An open mesh in the x-y plane, faces towards the viewer."""
    y, x = np.mgrid[0:rows, 0:columns]
    z = np.broadcast_to(heights, x.shape)
    vertices = np.stack([x, y, z], axis=-1).reshape(-1, 3).astype(float)
    start = (y[:-1, :-1] * columns + x[:-1, :-1]).ravel()
    right, up = start + 1, start + columns
    faces = np.concatenate(
        [
            np.stack([start, right, up + 1], axis=1),
            np.stack([start, up + 1, up], axis=1),
        ]
    )
    return TriangleMesh(vertices, faces)


def make_tube(rows, columns):
    """A bumpy barrel of `rows * columns` vertices, open above and below."""
    height = np.repeat(np.linspace(-1, 1, rows), columns)
    angle = np.tile(np.arange(columns) * 2 * np.pi / columns, rows)
    radius = np.sqrt(1.3 - height**2) * (
        1 + 0.1 * np.sin(5 * angle) * np.cos(4 * height)
    )
    vertices = np.stack(
        [radius * np.sin(angle), height, radius * np.cos(angle)], axis=1
    )
    start = np.arange((rows - 1) * columns)
    right = start // columns * columns + (start + 1) % columns
    faces = np.concatenate(
        [
            np.stack([start, right, right + columns], axis=1),
            np.stack([start, right + columns, start + columns], axis=1),
        ]
    )
    return TriangleMesh(vertices, faces)


def make_torus(rows, columns):
    """A closed surface with one handle."""
    tube = make_tube(rows + 1, columns)
    turn, angle = np.divmod(np.arange(rows * columns), columns)
    turn, angle = turn * 2 * np.pi / rows, angle * 2 * np.pi / columns
    distance = 3 + np.cos(turn)
    vertices = np.stack(
        [distance * np.sin(angle), np.sin(turn), distance * np.cos(angle)],
        axis=1,
    )
    return TriangleMesh(vertices, tube.faces % len(vertices))


def without_isolated_vertices(vertices, faces):
    """The mesh of the vertices that a face uses."""
    used, faces_of_used = np.unique(faces, return_inverse=True)
    return TriangleMesh(
        np.asarray(vertices)[used],
        faces_of_used.reshape(-1, 3).astype(np.int32),
    )


def largest_component(vertices, faces):
    """The part of a mesh with the most vertices."""
    adjacency = adjacency_matrix(faces, len(vertices))
    _, labels = csgraph.connected_components(adjacency, directed=False)
    largest = np.argmax(np.bincount(labels))
    return without_isolated_vertices(
        vertices, faces[labels[faces[:, 0]] == largest]
    )


@st.composite
def closed_meshes(draw):
    """Bumpy spheres, and hulls of ellipsoids; 12 to 162 vertices."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if draw(st.booleans()):
        points = generator.normal(size=(draw(st.integers(12, 80)), 3))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        return make_convex_hull(points * [1, draw(st.floats(0.2, 5)), 1])
    sphere = make_icosphere(draw(st.integers(1, 2)))
    bumps = draw(st.floats(0, 0.4)) * generator.normal(
        size=(sphere.num_vertices, 1)
    )
    return TriangleMesh(sphere.vertices * np.exp(bumps), sphere.faces)


@st.composite
def open_meshes(draw):
    """Bumpy grids with up to four faces missing, where also at a corner.

    Holes that touch make vertices with several fans of faces.
    """
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.integers(5, 12)), draw(st.integers(5, 12))
    heights = draw(st.floats(0, 2)) * generator.normal(size=shape)
    grid = make_grid(*shape, heights)
    missing = draw(
        st.sets(st.integers(0, grid.num_faces - 1), min_size=0, max_size=4)
    )
    faces = np.delete(grid.faces, sorted(missing), axis=0)
    return largest_component(grid.vertices, faces)
