"""Claims about the benchmark of whole networks."""

import json

import numpy as np
import pytest

from tests.models.shake import shake
from tf_facegcn.benchmarks.coma_formulation import in_coma_formulation
from tf_facegcn.benchmarks.model import (
    HEADLINE,
    RATIOS,
    ModelCase,
    benchmark_model,
    grid_cases,
    make_network,
)
from tf_facegcn.benchmarks.prnet import make_prnet
from tf_facegcn.models.face_gcn import FaceGCN


@pytest.mark.slow
def test_reports_figures_that_json_can_hold():
    headline = (ModelCase("tiny"), ModelCase("tiny", "bfloat16", batch=2))
    ratios = {"half": ("tiny_bfloat16_batch_2", "tiny")}
    grid = [(ModelCase("tiny_fused"), ModelCase("tiny_coma_formulation"))]
    lines = []
    figures = benchmark_model(headline, ratios, grid, 0.01, lines.append)
    figures = json.loads(json.dumps(figures))
    ms = figures["ms"]
    assert set(ms) == {"tiny", "tiny_bfloat16_batch_2"}
    assert figures["ratios"]["half"] == ms["tiny_bfloat16_batch_2"] / ms["tiny"]
    assert set(figures["one_thread_ms"]) == set(ms)
    assert set(figures["grid_ms"]) == {"tiny_fused", "tiny_coma_formulation"}
    assert figures["num_parameters"] == {
        "tiny": FaceGCN.from_preset("tiny").count_params()
    }
    rate = figures["gflop"]["tiny"] / (ms["tiny"] / 1e3)
    share = rate / figures["matrix_product_gflops"]["float32"]
    assert figures["share"]["tiny"] == pytest.approx(share)
    # Twice the photos are twice the work.
    assert figures["share"]["tiny_bfloat16_batch_2"] == pytest.approx(
        share
        * (2 * ms["tiny"] / ms["tiny_bfloat16_batch_2"])
        * figures["matrix_product_gflops"]["float32"]
        / figures["matrix_product_gflops"]["bfloat16"]
    )
    assert len(lines) == 3


def test_ratios_are_of_networks_timed_in_turn():
    names = {case.name for case in HEADLINE}
    assert {name for pair in RATIOS.values() for name in pair} <= names
    assert {
        "paper_over_prnet",
        "paper_bfloat16_over_prnet",
        "lite_over_paper",
        "paper_over_coma_formulation",
    } <= set(RATIOS)


def test_the_grid_has_every_network_batch_and_dtype():
    cases = [case for group in grid_cases(["paper"]) for case in group]
    assert {case.name for case in cases} == {
        f"{network}{dtype}{batch}"
        for network in ("paper", "prnet")
        for dtype in ("", "_bfloat16")
        for batch in ("", "_batch_8")
    }


@pytest.mark.slow
def test_prnet_has_its_size_and_maps_photos_to_maps():
    prnet = make_prnet()
    assert prnet.count_params() == pytest.approx(13.35e6, rel=2e-3)
    assert prnet.output_shape == (None, 256, 256, 3)
    shapes = {layer.output.shape[1:] for layer in prnet.layers}
    assert (8, 8, 512) in shapes
    assert min(shape[0] for shape in shapes) == 8


def test_comas_formulation_gives_the_same_mesh(tiny_hierarchy):
    landmarks = np.arange(0, 640, 10)
    model = FaceGCN.from_preset(
        "tiny", tiny_hierarchy, landmarks, lowering="sparse"
    )
    shake(model)
    generator = np.random.default_rng(1)
    photos = generator.uniform(size=(2, 32, 32, 3)).astype("float32")
    expected = np.array(model(photos))
    assert np.abs(expected - model.template).max() > 1.0
    network = in_coma_formulation(model)
    kinds = {type(layer).__name__ for layer in network.layers}
    assert {"CoMAChebConv", "CoMADenseGCNBlock"} <= kinds
    np.testing.assert_allclose(network(photos), expected, atol=1e-3)


@pytest.mark.slow
def test_networks_run_in_bfloat16():
    assert make_network("tiny", "bfloat16").dtype_policy.name == (
        "mixed_bfloat16"
    )
    prnet = make_network("prnet", "bfloat16")
    assert prnet.layers[1].compute_dtype == "bfloat16"
