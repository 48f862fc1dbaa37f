"""The benchmark of whole networks: latency, size and arithmetic."""

from __future__ import annotations

import functools
import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from tf_facegcn.benchmarks.coma_formulation import in_coma_formulation
from tf_facegcn.benchmarks.environment import describe_environment
from tf_facegcn.benchmarks.operation_count import count_flops
from tf_facegcn.benchmarks.prnet import make_prnet
from tf_facegcn.benchmarks.timing import interleaved_medians
from tf_facegcn.models.face_gcn import FaceGCN

PRNET = "prnet"
FLOAT32, BFLOAT16 = "float32", "bfloat16"
# What a name says behind the preset's.
_COMA, _FUSED = "_coma_formulation", "_fused"
# Long enough for a network of some milliseconds to be in the caches.
_TURN_SECONDS = 0.1
# Side of the square matrices whose product is the machine's rate.
_MATRIX_SIZE = 2048

Function = Callable[[], object]


@dataclass(frozen=True)
class ModelCase:
    """A network in use.

    Attributes:
        network: A preset, or `"prnet"`; behind a preset may stand `"_fused"`
            (see `FaceGCN.fuse`) or `"_coma_formulation"`.
        dtype: `"float32"` or `"bfloat16"`, which is Keras'
            `"mixed_bfloat16"`.
        batch: Photos of a call.
    """

    network: str
    dtype: str = FLOAT32
    batch: int = 1

    @property
    def name(self) -> str:
        """For example `"paper_bfloat16_batch_8"`."""
        name = self.network
        if self.dtype != FLOAT32:
            name += f"_{self.dtype}"
        return name if self.batch == 1 else f"{name}_batch_{self.batch}"

    @property
    def architecture(self) -> str:
        """The preset, or `"prnet"`."""
        return self.network.removesuffix(_FUSED).removesuffix(_COMA)


# Timed in turn, so that their ratios are those of one run.
HEADLINE = (
    ModelCase("paper"),
    ModelCase(PRNET),
    ModelCase("lite"),
    ModelCase("paper_fused"),
    ModelCase("lite_fused"),
    ModelCase("paper", BFLOAT16),
    ModelCase(PRNET, BFLOAT16),
    ModelCase("paper_coma_formulation"),
)
# Over and under the line of each ratio, from cases above.
RATIOS = {
    "paper_over_prnet": ("paper", PRNET),
    "paper_bfloat16_over_prnet": ("paper_bfloat16", PRNET),
    "lite_over_paper": ("lite", "paper"),
    "lite_fused_over_paper_fused": ("lite_fused", "paper_fused"),
    "paper_over_coma_formulation": ("paper", "paper_coma_formulation"),
}


def grid_cases(networks: Sequence[str]) -> list[tuple[ModelCase, ...]]:
    """Every network at batch 1 and 8, in both dtypes, and PRNet's.

    Args:
        networks: Presets.

    Returns:
        Groups of cases to be timed in turn.
    """
    return [
        tuple(ModelCase(name, dtype, batch) for name in (*networks, PRNET))
        for batch in (1, 8)
        for dtype in (FLOAT32, BFLOAT16)
    ]


def benchmark_model(
    headline: Sequence[ModelCase],
    ratios: Mapping[str, tuple[str, str]],
    grid: Sequence[Sequence[ModelCase]],
    seconds: float = 30.0,
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, object]:
    """Times networks called as a user calls them, in a `tf.function`.

    Weights are random: they do not change the time.

    Args:
        headline: Cases timed in turn, whose ratios are computed.
        ratios: By name, the names of two of these cases.
        grid: Groups of further cases, each timed in turn in a process of its
            own, as TensorFlow keeps the memory that it once took.
        seconds: How long to measure each group, after warming up.
        report: Called with a line after each group.

    Returns:
        A dictionary that JSON can hold: `ms`, `ratios`, and by case of the
        grid `grid_ms`; by network `weights_mb`, `gflop` (of one photo),
        `num_parameters`; `matrix_product_gflops` by dtype; `share`, the part
        of that rate that each case of the headline reaches; `one_thread_ms`,
        the headline again with one thread for each operation; `units`,
        `environment`.
    """
    ms, rates = _measure(headline, seconds, with_rates=True)
    report(_summary(ms))
    one_thread, _ = _in_a_process(headline, seconds, intra_op_threads=1)
    report(f"one thread an operation: {_summary(one_thread)}")
    grid_ms: dict[str, float] = {}
    for group in grid:
        times, _ = _in_a_process(group, seconds)
        report(_summary(times))
        grid_ms.update(times)
    cases = [*headline, *(case for group in grid for case in group)]
    # In the order of the cases, each once.
    architectures = dict.fromkeys(case.architecture for case in cases)
    sizes = {name: measure_size(name) for name in architectures}
    share = {}
    for case in headline:
        flops = case.batch * sizes[case.architecture]["gflop"]
        rate = flops / (ms[case.name] / 1e3)
        share[case.name] = rate / rates[case.dtype]
    return {
        "ms": ms,
        "ratios": {
            name: ms[over] / ms[under] for name, (over, under) in ratios.items()
        },
        "one_thread_ms": one_thread,
        "grid_ms": grid_ms,
        **{
            key: {name: size[key] for name, size in sizes.items()}
            for key in ("num_parameters", "weights_mb", "gflop")
        },
        "matrix_product_gflops": rates,
        "share": share,
        "units": {
            "ms": "milliseconds a call, median",
            "weights_mb": "10^6 bytes in float32",
            "gflop": "10^9 operations a photo, see count_flops",
            "matrix_product_gflops": "10^9 operations a second",
            "share": "of matrix_product_gflops of the dtype",
        },
        "environment": describe_environment(),
    }


def make_network(network: str, dtype: str = FLOAT32) -> keras.Model:
    """Makes the network of a case, with random weights.

    Raises:
        ValueError: If there is no such network.
    """
    policy = "mixed_bfloat16" if dtype == BFLOAT16 else dtype
    if network == PRNET:
        return make_prnet(policy)
    if network.endswith(_COMA):
        preset = network.removesuffix(_COMA)
        model = FaceGCN.from_preset(preset, lowering="sparse", dtype=policy)
        return in_coma_formulation(model)
    model = FaceGCN.from_preset(network.removesuffix(_FUSED), dtype=policy)
    return model.fuse() if network.endswith(_FUSED) else model


def _in_a_process(
    cases: Sequence[ModelCase], seconds: float, intra_op_threads: int = 0
) -> tuple[dict[str, float], dict[str, float]]:
    with ProcessPoolExecutor(
        max_workers=1, mp_context=multiprocessing.get_context("spawn")
    ) as process:
        return process.submit(
            _measure, cases, seconds, intra_op_threads=intra_op_threads
        ).result()


def _measure(
    cases: Sequence[ModelCase],
    seconds: float,
    *,
    with_rates: bool = False,
    intra_op_threads: int = 0,
) -> tuple[dict[str, float], dict[str, float]]:
    """Times of cases in ms, and the rates of matrix products by dtype."""
    if intra_op_threads:
        tf.config.threading.set_intra_op_parallelism_threads(intra_op_threads)
        tf.config.threading.set_inter_op_parallelism_threads(
            os.cpu_count() or 1
        )
    functions = {case.name: _call(case) for case in cases}
    dtypes = sorted({case.dtype for case in cases}) if with_rates else []
    for dtype in dtypes:
        functions[_product_name(dtype)] = _matrix_product(dtype)
    ms = interleaved_medians(functions, seconds, _TURN_SECONDS)
    gflop = 2 * _MATRIX_SIZE**3 / 1e9
    rates = {
        dtype: gflop / (ms.pop(_product_name(dtype)) / 1e3) for dtype in dtypes
    }
    return ms, rates


def _call(case: ModelCase) -> Function:
    model = make_network(case.network, case.dtype)
    function = tf.function(
        lambda photos: model(photos, training=False), autograph=False
    )
    photos = _photos((case.batch, *model.input_shape[1:]))
    # Until the mesh is there, not only under way.
    return lambda: function(photos).numpy()


@functools.lru_cache(maxsize=8)
def _photos(shape: tuple[int, ...]) -> tf.Tensor:
    values = np.random.default_rng(0).uniform(size=shape)
    return tf.constant(values.astype("float32"))


def _product_name(dtype: str) -> str:
    return f"matrix_product_{dtype}"


def _matrix_product(dtype: str) -> Function:
    matrix = tf.cast(_photos((_MATRIX_SIZE, _MATRIX_SIZE)), dtype)
    multiply = tf.function(tf.matmul)
    return lambda: multiply(matrix, matrix)


def measure_size(architecture: str) -> dict[str, float]:
    """Measures a network without running it.

    Args:
        architecture: A preset, or `"prnet"`.

    Returns:
        `num_parameters` with the statistics of batch normalisation,
        `weights_mb` (10^6 bytes in float32) and `gflop` (of one photo).
    """
    if architecture == PRNET:
        model = make_prnet()
    else:
        model = FaceGCN.from_preset(architecture, lowering="sparse")
    count = model.count_params()
    return {
        "num_parameters": count,
        "weights_mb": 4 * count / 1e6,
        "gflop": count_flops(model) / 1e9,
    }


def _summary(times: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {ms:.3g}" for name, ms in times.items()) + " ms"
