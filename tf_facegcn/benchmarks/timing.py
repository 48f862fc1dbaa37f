"""Times of functions, taken in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

_WARM_UPS = 2
_FEWEST_RUNS = 3


def interleaved_medians(
    functions: Mapping[str, Callable[[], object]],
    seconds: float,
    turn_seconds: float = 0.0,
) -> dict[str, float]:
    """Times functions in turn, so that a noisy machine is unfair to none.

    Args:
        functions: Functions by name; each returns when its work is done.
        seconds: How long to go on measuring, after two calls to warm up; each
            function has at least three turns.
        turn_seconds: A turn goes on for as long, so that a quick function
            finds the caches as after itself, not as after a slow one.

    Returns:
        The median over turns of each function's median time, in
        milliseconds.
    """
    for function in functions.values():
        for _ in range(_WARM_UPS):
            function()
    times: dict[str, list[float]] = {name: [] for name in functions}
    end = time.perf_counter() + seconds
    runs = 0
    while runs < _FEWEST_RUNS or time.perf_counter() < end:
        for name, function in functions.items():
            turn = _timed_calls(function, turn_seconds)
            times[name].append(statistics.median(turn))
        runs += 1
    return {name: 1e3 * statistics.median(each) for name, each in times.items()}


def _timed_calls(function: Callable[[], object], seconds: float) -> list[float]:
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return times
