"""Claims about the benchmark of the mesh hierarchy."""

import json

import numpy as np
import pytest

from tests.geometry.meshes import make_grid
from tf_facegcn.benchmarks.hierarchy import benchmark_hierarchy


@pytest.mark.slow
def test_reports_times_and_level_counts_that_json_can_hold():
    generator = np.random.default_rng(0)
    heights = generator.normal(scale=0.1, size=(140, 120))
    figures = json.loads(
        json.dumps(benchmark_hierarchy(make_grid(140, 120, heights)))
    )
    assert figures["level_counts"] == [16800, 16384, 4096, 1024, 256, 64, 16]
    assert figures["build_s"] > figures["load_s"] > 0
    assert figures["environment"]["num_cores"] >= 1
    assert set(figures["units"]) == {"build_s", "load_s", "file_mb"}
