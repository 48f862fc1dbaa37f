"""Times of functions, taken in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

_WARM_UPS = 2
_FEWEST_RUNS = 3


def interleaved_medians(
    functions: Mapping[str, Callable[[], object]], seconds: float
) -> dict[str, float]:
    """Times functions in turn, so that a noisy machine is unfair to none.

    Args:
        functions: Functions by name; each returns when its work is done.
        seconds: How long to go on measuring, after two calls to warm up; each
            function runs at least three times.

    Returns:
        The median time of each function, in milliseconds.
    """
    for function in functions.values():
        for _ in range(_WARM_UPS):
            function()
    times: dict[str, list[float]] = {name: [] for name in functions}
    end = time.perf_counter() + seconds
    runs = 0
    while runs < _FEWEST_RUNS or time.perf_counter() < end:
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - started)
        runs += 1
    return {name: 1e3 * statistics.median(each) for name, each in times.items()}
