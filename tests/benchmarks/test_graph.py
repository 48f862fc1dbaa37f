"""Claims about the benchmark of graph convolutions."""

import json

import numpy as np
import pytest

from tf_facegcn.benchmarks.coma_formulation import (
    CoMAChebConv,
    CoMADenseGCNBlock,
)
from tf_facegcn.benchmarks.graph import benchmark_graph
from tf_facegcn.benchmarks.graph_cases import (
    CASES,
    BlockCase,
    GraphCase,
    grid_cases,
)
from tf_facegcn.layers.cheb_conv import ChebConv
from tf_facegcn.layers.dense_gcn_block import DenseGCNBlock
from tf_facegcn.layers.mesh_operator import MeshOperator


@pytest.mark.slow
def test_reports_ratios_and_a_grid_that_json_can_hold(tiny_hierarchy):
    cases = {
        "conv": GraphCase(256, channels=4, filters=2),
        "step": GraphCase(256, batch=2, channels=4, filters=4, training=True),
        "block": BlockCase(64, (4, 2), 2),
    }
    grid = [GraphCase(16, channels=4, filters=4, dtype="bfloat16")]
    lines = []
    figures = benchmark_graph(tiny_hierarchy, cases, grid, 0.01, lines.append)
    figures = json.loads(json.dumps(figures))
    for name in cases:
        ms = figures["ms"][name]
        assert figures["ratios"][name] == ms["ours"] / ms["coma"] > 0
        assert figures["floor"][name] == ms["ours"] / ms["dense"] > 0
    (row,) = figures["grid"]
    assert row["dtype"] == "bfloat16"
    assert set(row["ms"]) == {
        *("compiled", "gather", "csr", "sparse", "coma", "dense")
    }
    assert len(lines) == 4
    assert "16 vertices, 4 channels, batch 1, bfloat16, forward" in lines[-1]
    assert figures["environment"]["num_cores"] >= 1


def test_the_named_cases_are_the_budgets():
    assert set(CASES) == {
        "cheb_16384_128_128",
        "cheb_53215_128_3",
        "dense_gcn_16384",
        "train_16384_128_128",
    }


def test_the_grid_has_every_level_batch_width_type_and_pass():
    cases = list(grid_cases([53215, 16384, 4096, 1024, 256, 64, 16]))
    assert len(set(cases)) == len(cases) == 7 * 2 * 3 * 2 * 2
    assert {case.vertices for case in cases} == {
        *(16, 64, 256, 1024, 4096, 16384, 53215)
    }


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_comas_formulation_gives_our_outputs(order, grid_laplacian):
    operator = MeshOperator(grid_laplacian)
    ours = ChebConv(5, operator, order)
    coma = CoMAChebConv(5, operator, order)
    inputs = np.random.default_rng(0).normal(size=(2, 80, 4)).astype("float32")
    expected = ours(inputs)
    coma(inputs)
    coma.set_weights(ours.get_weights())
    np.testing.assert_allclose(coma(inputs), expected, atol=1e-5)


def test_comas_block_gives_our_outputs(grid_laplacian):
    operator = MeshOperator(grid_laplacian)
    ours, coma = DenseGCNBlock(3, operator), CoMADenseGCNBlock(3, operator)
    generator = np.random.default_rng(0)
    inputs = [
        generator.normal(size=(2, 80, channels)).astype("float32")
        for channels in (4, 2)
    ]
    expected = ours(inputs)
    coma(inputs)
    for source, target in zip(
        ours.convolutions, coma.convolutions, strict=True
    ):
        target.set_weights(source.get_weights())
    np.testing.assert_allclose(coma(inputs), expected, atol=1e-5)
