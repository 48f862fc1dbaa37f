"""Fixtures that several packages' tests share: tiny meshes."""

import hypothesis
import pytest

from tests.geometry.meshes import make_grid, make_icosphere, make_tetrahedron
from tf_facegcn.geometry.laplacian import (
    adjacency_matrix,
    laplacian_matrix,
    rescale_laplacian,
)
from tf_facegcn.geometry.mesh_hierarchy import MeshHierarchy

# The same few examples in every run, on machines of any speed.
hypothesis.settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=20,
)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def tetrahedron():
    """Four vertices, each a neighbour of the others."""
    return make_tetrahedron()


@pytest.fixture(scope="session")
def icosphere():
    """A closed mesh of 642 vertices."""
    return make_icosphere(3)


@pytest.fixture(scope="session")
def open_grid():
    """A flat mesh of 8 x 10 vertices with one boundary loop."""
    return make_grid(8, 10)


@pytest.fixture(scope="session")
def tiny_hierarchy(icosphere):
    """Levels of 642, 256, 64 and 16 vertices."""
    return MeshHierarchy.build(icosphere, level_sizes=(256, 64, 16))


@pytest.fixture(scope="session")
def grid_laplacian(open_grid):
    """The rescaled Laplacian of the open grid's 80 vertices."""
    adjacency = adjacency_matrix(open_grid.faces, open_grid.num_vertices)
    return rescale_laplacian(
        laplacian_matrix(adjacency, "combinatorial"), lambda_max=12.0
    )
