"""Measure how many patterns are simulated per second.

    python benchmarks/simulation_speed.py

Three rates are compared, for several sizes of patterns: the projection of master patterns, the
projection with all disturbances of cameras, and kikuchipy's projection
(`EBSDMasterPattern.get_patterns`). Each is the best of several runs on the same master patterns.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from pathlib import Path

import kikuchipy as kp
import numpy as np
from orix.crystal_map import Phase
from orix.quaternion import Rotation

from kikuchipy_cnn.simulation._threads import available_processors
from kikuchipy_cnn.simulation.library import load_library
from kikuchipy_cnn.simulation.projection import as_master_patterns, project
from kikuchipy_cnn.simulation.sampler import PatternSampler

_N_PHASES = 20


def rate(work: Callable[[], object], n: int, runs: int) -> float:
    """Patterns per second in the best run, after one that compiles."""
    work()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return n / min(times)


def projection_rate(
    master_patterns: np.ndarray, size: int, workers: int, options: argparse.Namespace
) -> float:
    n = options.patterns
    sample = PatternSampler(master_patterns, np.ones(len(master_patterns)), 8, seed=0).sample(n)
    geometry = (sample.phases, sample.rotations, sample.geometry)
    return rate(
        lambda: project(master_patterns, *geometry, (size, size), workers=workers), n, options.runs
    )


def sampler_rate(
    master_patterns: np.ndarray, size: int, workers: int, options: argparse.Namespace
) -> float:
    n = options.patterns
    sampler = PatternSampler(
        master_patterns, np.ones(len(master_patterns)), size, seed=0, workers=workers
    )
    return rate(lambda: sampler.sample(n), n, options.runs)


def kikuchipy_rate(
    master_patterns: np.ndarray, size: int, workers: int, options: argparse.Namespace
) -> float:
    """One master pattern and one projection center, since kikuchipy takes no more at once."""
    import dask

    signal = kp.signals.EBSDMasterPattern(
        np.repeat(master_patterns[0], 3 - len(master_patterns[0]), axis=0),
        projection="lambert",
        hemisphere="both",
        phase=Phase("one", space_group=225),
    )
    rotations = Rotation.random(options.patterns)
    detector = kp.detectors.EBSDDetector(shape=(size, size), pc=(0.5, 0.3, 0.6))

    def work() -> None:
        with dask.config.set(scheduler="threads", num_workers=workers):
            signal.get_patterns(
                rotations, detector, dtype_out="float32", compute=True, show_progressbar=False
            )

    return rate(work, options.patterns, options.runs)


def processor() -> str:
    """Name of the processor, where the system tells it."""
    file = Path("/proc/cpuinfo")
    if file.exists():
        for line in file.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=(64, 96, 128, 240))
    parser.add_argument("--threads", type=int, nargs="+", default=(1, 2))
    parser.add_argument("--patterns", type=int, default=256)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()

    library = load_library()
    master_patterns = as_master_patterns(
        np.stack([library[name] for name in library.names[:_N_PHASES]])
    )
    side = master_patterns.shape[-1]
    print(f"{processor()}, {available_processors()} cores for this process")
    print(f"{_N_PHASES} master patterns of {side} x {side} pixels; patterns per second\n")
    print("| pixels | threads | projection | with all disturbances | kikuchipy's projection |")
    print("|---|---|---|---|---|")
    for size in options.sizes:
        for workers in options.threads:
            rates = [
                measure(master_patterns, size, workers, options)
                for measure in (projection_rate, sampler_rate, kikuchipy_rate)
            ]
            print(f"| {size} | {workers} | " + " | ".join(f"{x:,.0f}" for x in rates) + " |")


if __name__ == "__main__":
    main()
