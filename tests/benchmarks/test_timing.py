import time

import pytest

from tf_facegcn.benchmarks.timing import interleaved_medians


def test_takes_functions_in_turn_after_warming_up():
    calls = []
    medians = interleaved_medians(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 0.0
    )
    assert "".join(calls) == "aabb" + 3 * "ab"
    assert set(medians) == {"a", "b"}


def test_a_turn_goes_on_for_its_time():
    calls = []

    def slow():
        calls.append("s")
        time.sleep(0.02)

    interleaved_medians(
        {"slow": slow, "quick": lambda: calls.append("q")}, 0, 0.01
    )
    turns = "".join(calls).removeprefix("ssqq")
    assert turns.count("s") == 3
    assert turns.count("q") > 3 * 3
    # A turn is not broken by the other function.
    assert turns.count("sq") == 3


def test_gives_milliseconds():
    medians = interleaved_medians({"sleep": lambda: time.sleep(0.02)}, 0.1)
    assert medians["sleep"] == pytest.approx(20.0, abs=15.0)
