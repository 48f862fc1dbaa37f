"""The benchmark of building and loading a mesh hierarchy."""

import statistics
import tempfile
import time
from pathlib import Path

from tf_facegcn.benchmarks.environment import describe_environment
from tf_facegcn.geometry.mesh_hierarchy import MeshHierarchy
from tf_facegcn.geometry.triangle_mesh import TriangleMesh

_NUM_LOADS = 5


def benchmark_hierarchy(template: TriangleMesh) -> dict[str, object]:
    """Times the hierarchy of a template mesh: built once, loaded five times.

    Args:
        template: The finest mesh, more than 16,384 vertices.

    Returns:
        A dictionary that JSON can hold: `build_s` and `load_s` (median of
        five) in seconds, `file_mb`, `level_counts` (vertices of each level,
        finest first), `environment`.
    """
    started = time.perf_counter()
    hierarchy = MeshHierarchy.build(template)
    build_s = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hierarchy.npz"
        hierarchy.save(path)
        file_mb = path.stat().st_size / 1e6
        load_times = []
        for _ in range(_NUM_LOADS):
            started = time.perf_counter()
            MeshHierarchy.load(path)
            load_times.append(time.perf_counter() - started)
    return {
        "build_s": build_s,
        "load_s": statistics.median(load_times),
        "file_mb": file_mb,
        "level_counts": list(hierarchy.sizes),
        "units": {"build_s": "s", "load_s": "s", "file_mb": "1e6 bytes"},
        "environment": describe_environment(),
    }
