"""The layers on Keras' JAX backend, in a process of its own."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("jax") is None,
    reason="JAX is not installed, see requirements-jax.txt",
)
@pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="is running on JAX already"
)
def test_the_tests_of_the_layers_pass_on_jax():
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        # Polynomials are compared in double precision.
        "JAX_ENABLE_X64": "1",
    }
    folder = Path(__file__).parent
    process = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            str(folder),
        ],
        cwd=folder.parents[1],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout[-5000:]
    assert "passed" in process.stdout
