"""What a benchmark ran on, and for how long."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("tensorflow", "tensorflow-cpu", "keras", "openvino", "dask", "kikuchipy")


def describe() -> str:
    """Processor, cores and versions, for the head of a table."""
    return f"{_processor()}, {len(os.sched_getaffinity(0))} cores; {', '.join(_versions())}."


def seconds_of(function: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor()
    lines = info.read_text().splitlines()
    name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    flags = next(line for line in lines if line.startswith("flags")).split()
    found = [flag for flag in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if flag in flags]
    return f"{name} ({found[0] if found else 'no AVX2'})"


def _versions() -> list[str]:
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except ModuleNotFoundError:
            continue
    return found
