"""What every benchmark file says about where its figures were measured."""

import os
import platform
from importlib import metadata
from pathlib import Path

# Flags of Linux for x86 processors.
_BFLOAT16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16")
_PACKAGES = ("tf_facegcn", "tensorflow", "keras", "numpy", "scipy")


def describe_environment() -> dict[str, object]:
    """Describes the machine and the package versions of this process.

    Returns:
        A dictionary that JSON can hold: `processor` (the model's name),
        `num_cores` (usable by this process), `bfloat16_instructions` (those
        of the processor), `python`, `packages` (name to version, of what is
        installed).
    """
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processor": _processor_name(),
        "num_cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "bfloat16_instructions": [
            name
            for name in _BFLOAT16_INSTRUCTIONS
            if name in _cpu_entry("flags").split()
        ],
        "python": platform.python_version(),
        "packages": packages,
    }


def _processor_name() -> str:
    name = _cpu_entry("model name")
    return name or platform.processor() or platform.machine()


def _cpu_entry(key: str) -> str:
    """What Linux says of the first processor, nothing elsewhere."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith(key):
                return line.partition(":")[2].strip()
    return ""
