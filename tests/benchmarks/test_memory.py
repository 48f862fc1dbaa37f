import subprocess
import sys

import numpy as np
import pytest

MEGABYTE = 2**20
MEASURED = """
from tf_facegcn.benchmarks.memory import peak_memory

before = peak_memory()
held = b"\\1" * 300 * 2**20
del held
print(before, peak_memory())
"""


def measured():
    """The peaks of a process, before and after it had 300 MB more."""
    found = subprocess.run(
        [sys.executable, "-c", MEASURED],
        capture_output=True,
        text=True,
        check=True,
    )
    return tuple(map(int, found.stdout.split()))


def test_peak_stays_after_memory_was_freed():
    before, after = measured()
    assert after - before > 250 * MEGABYTE


@pytest.mark.skipif(sys.platform == "darwin", reason="reads /proc")
def test_peak_of_a_process_is_not_its_parents():
    held = np.ones(500 * MEGABYTE, np.uint8)
    before, _ = measured()
    assert 5 * MEGABYTE < before < 400 * MEGABYTE < held.nbytes
