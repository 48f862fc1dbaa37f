"""The benchmark of Chebyshev convolutions on the levels of a hierarchy."""

from __future__ import annotations

import functools
import itertools
import multiprocessing
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from scipy import sparse

from tf_facegcn.benchmarks.coma_formulation import (
    CoMAChebConv,
    CoMADenseGCNBlock,
)
from tf_facegcn.benchmarks.environment import describe_environment
from tf_facegcn.benchmarks.graph_cases import BlockCase, GraphCase
from tf_facegcn.benchmarks.timing import interleaved_medians
from tf_facegcn.geometry.mesh_hierarchy import MeshHierarchy
from tf_facegcn.layers.cheb_conv import ChebConv
from tf_facegcn.layers.dense_gcn_block import DenseGCNBlock
from tf_facegcn.layers.mesh_operator import LOWERINGS, MeshOperator

ORDER = 3
OURS, COMA, DENSE = "ours", "coma", "dense"
# A case of the table is measured for this share of a named one's time.
_GRID_SHARE = 0.1

Function = Callable[..., Any]


def benchmark_graph(
    hierarchy: MeshHierarchy,
    cases: Mapping[str, GraphCase | BlockCase],
    grid: Iterable[GraphCase],
    seconds: float = 3.0,
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, object]:
    """Times convolutions, beside CoMA's formulation and a dense product.

    The dense product, of `(batch * V, order * channels)` and `(order *
    channels, filters)`, is the floor: what mixing costs once all terms are
    there. Convolutions are called as a user calls them, in a `tf.function`.

    Args:
        hierarchy: Has levels of the cases' vertices.
        cases: By name; our convolution with the lowering `"auto"`, CoMA's and
            the dense product are timed in turn.
        grid: Cases that are timed in every lowering, CoMA's formulation and
            the dense product; those of a level, data type and pass follow
            each other and are timed in a process of their own.
        seconds: How long to measure each named case, after warming up.
        report: Called with a line after each case.

    Returns:
        A dictionary that JSON can hold: `ms` (by name and formulation),
        `ratios` (ours over CoMA's), `floor` (ours over the dense product),
        `grid` (a list of cases with the times of each formulation), `units`,
        `environment`.
    """
    laplacians = {
        level.mesh.num_vertices: sparse.csr_array(level.laplacian)
        for level in hierarchy.levels
    }
    times = {}
    for name, case in cases.items():
        times[name] = interleaved_medians(
            _named_functions(laplacians[case.vertices], case), seconds
        )
        report(f"{name}: {_summary(times[name])}")
    rows = []
    for (vertices, _, _), group in itertools.groupby(
        grid, lambda case: (case.vertices, case.dtype, case.training)
    ):
        # TensorFlow keeps the memory that it once took; this gives it back.
        with ProcessPoolExecutor(
            max_workers=1, mp_context=multiprocessing.get_context("spawn")
        ) as process:
            measured = process.submit(
                _measure, laplacians[vertices], list(group), seconds
            ).result()
        for row in measured:
            rows.append(row)
            report(f"{_title(row)}: {_summary(row['ms'])}")
    return {
        "ms": times,
        "ratios": {
            name: each[OURS] / each[COMA] for name, each in times.items()
        },
        "floor": {
            name: each[OURS] / each[DENSE] for name, each in times.items()
        },
        "grid": rows,
        "units": {"ms": "milliseconds, median", "ratios": "1", "floor": "1"},
        "environment": describe_environment(),
    }


def _measure(
    laplacian: sparse.csr_array, cases: list[GraphCase], seconds: float
) -> list[dict[str, Any]]:
    rows = []
    for case in cases:
        functions = _grid_functions(laplacian, case)
        ms = interleaved_medians(functions, seconds * _GRID_SHARE)
        rows.append({**asdict(case), "ms": ms})
    return rows


def _named_functions(
    laplacian: sparse.csr_array, case: GraphCase | BlockCase
) -> dict[str, Function]:
    operator = MeshOperator(laplacian)
    if isinstance(case, BlockCase):
        return _block_functions(operator, case)
    layer = ChebConv(case.filters, operator, ORDER, dtype=case.policy)
    return {OURS: _timed(layer, case), **_references(operator, case)}


def _grid_functions(
    laplacian: sparse.csr_array, case: GraphCase
) -> dict[str, Function]:
    functions = {}
    for lowering in LOWERINGS:
        if lowering != "auto":
            operator = MeshOperator(laplacian, lowering)
            layer = ChebConv(case.filters, operator, ORDER, dtype=case.policy)
            functions[lowering] = _timed(layer, case)
    return {**functions, **_references(MeshOperator(laplacian), case)}


def _references(operator: MeshOperator, case: GraphCase) -> dict[str, Function]:
    coma = CoMAChebConv(case.filters, operator, ORDER, dtype=case.policy)
    rows, columns = case.batch * case.vertices, ORDER * case.channels
    terms = _features((rows, columns), case.dtype)
    kernel = _features((columns, case.filters), case.dtype)
    upstream = _features((rows, case.filters), case.dtype)
    step, multiply = _step(tf.matmul), tf.function(tf.matmul)
    return {
        COMA: _timed(coma, case),
        DENSE: (lambda: step(upstream, terms, kernel))
        if case.training
        else (lambda: multiply(terms, kernel)),
    }


def _timed(layer: ChebConv, case: GraphCase) -> Function:
    shape = (case.batch, case.vertices)
    inputs = _features((*shape, case.channels), case.dtype)
    upstream = _features((*shape, case.filters), case.dtype)
    layer(inputs)
    step, call = _step(layer, layer.trainable_weights), _inference(layer)
    if case.training:
        return lambda: step(upstream, inputs)
    return lambda: call(inputs)


def _block_functions(
    operator: MeshOperator, case: BlockCase
) -> dict[str, Function]:
    sources = [
        _features((1, case.vertices, width), "float32")
        for width in case.channels
    ]
    ours = DenseGCNBlock(case.growth, operator, order=ORDER)
    coma = CoMADenseGCNBlock(case.growth, operator, order=ORDER)
    pairs = []
    for index in range(ours.num_convolutions):
        columns = ORDER * (sum(case.channels) + index * case.growth)
        terms = _features((case.vertices, columns), "float32")
        pairs.append((terms, _features((columns, case.growth), "float32")))
    functions = {OURS: _inference(ours), COMA: _inference(coma)}
    dense = _inference(lambda pairs: [tf.matmul(*pair) for pair in pairs])
    ours(sources)
    coma(sources)
    return {
        OURS: lambda: functions[OURS](sources),
        COMA: lambda: functions[COMA](sources),
        DENSE: lambda: dense(pairs),
    }


def _inference(function: Function) -> Function:
    return tf.function(lambda inputs: function(inputs), autograph=False)


def _step(
    function: Function, weights: Sequence[keras.Variable] = ()
) -> Function:
    """The two passes of a training step, given the outputs' gradient."""
    values = [weight.value for weight in weights]

    def forward_and_backward(upstream: tf.Tensor, *inputs: tf.Tensor) -> object:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = function(*inputs)
        # The outputs too, or a linear function would not be evaluated.
        return outputs, tape.gradient(outputs, [*inputs, *values], upstream)

    return tf.function(forward_and_backward, autograph=False)


# The formulations of a case share their inputs, which may be gigabytes.
@functools.lru_cache(maxsize=4)
def _features(shape: tuple[int, ...], dtype: str) -> tf.Tensor:
    values = np.random.default_rng(0).normal(size=shape).astype("float32")
    return tf.cast(values, dtype)


def _title(row: Mapping[str, Any]) -> str:
    return (
        f"{row['vertices']} vertices, {row['channels']} channels, batch "
        f"{row['batch']}, {row['dtype']}, "
        + ("forward and backward" if row["training"] else "forward")
    )


def _summary(times: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {ms:.3g}" for name, ms in times.items()) + " ms"
