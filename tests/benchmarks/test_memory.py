import subprocess
import sys

import numpy as np
import pytest

from tf_facegcn.benchmarks.memory import peak_memory

MEGABYTE = 2**20


def test_peak_stays_after_memory_was_freed():
    before = peak_memory()
    held = np.ones(before // 4, np.uint32)  # As much again.
    del held
    assert peak_memory() > 1.9 * before


@pytest.mark.skipif(sys.platform == "darwin", reason="reads /proc")
def test_peak_of_a_process_is_not_its_parents():
    held = np.ones(500 * MEGABYTE, np.uint8)
    assert peak_memory() > held.size
    found = subprocess.run(
        [
            sys.executable,
            "-c",
            "from tf_facegcn.benchmarks.memory import peak_memory; "
            "print(peak_memory())",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert 5 * MEGABYTE < int(found.stdout) < 400 * MEGABYTE
