"""Measure how classification grows with the workers of a Dask cluster on one machine.

    python benchmarks/cluster.py --work work

A file of patterns is classified by one and by two workers of one thread each, and here, with all
threads. Each is timed the second time, when every worker has its model, in turns. Prints a table in
Markdown.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import kikuchipy as kp
import machine
import numpy as np
from distributed import Client, LocalCluster
from speed import file_of_noise, quiet

from kikuchipy_cnn import load_model

N_ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", help="names of packaged models, or folders of bundles")
    parser.add_argument("--patterns", type=int, default=8000)
    parser.add_argument("--engines", nargs="+", default=["openvino", "keras"])
    parser.add_argument("--work", type=Path, default=Path("work"), help="folder for files")
    options = parser.parse_args()
    print(f"{machine.describe()}\n")
    signal = kp.load(file_of_noise(options.work, options.patterns, 60), lazy=True)
    print("| model | engine | where | patterns/s | against one worker |\n|---|---|---|---|---|")
    for name in options.models or ["xception_fewshot"]:
        model = load_model(name)
        for engine in options.engines:
            rates = {}
            for n_workers in (1, 2, 0):
                rates[n_workers] = _rate(signal, model, engine, n_workers, options.patterns)
                where = f"{n_workers} worker(s), 1 thread each" if n_workers else "no cluster"
                print(
                    f"| {name} | {engine} | {where} | {rates[n_workers]:.0f} | "
                    f"{rates[n_workers] / rates[1]:.2f} |",
                    flush=True,
                )


def _rate(signal, model, engine: str, n_workers: int, n: int) -> float:
    def classify(scheduler) -> None:
        with quiet():
            signal.classify_space_group(
                model, engine=engine, scheduler=scheduler, show_progressbar=False
            )

    def rates(scheduler) -> list[float]:
        classify(scheduler)  # starts TensorFlow and compiles
        return [n / machine.seconds_of(lambda: classify(scheduler)) for _ in range(N_ROUNDS)]

    if n_workers == 0:
        return float(np.median(rates("threads")))
    with (
        LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        return float(np.median(rates(client)))


if __name__ == "__main__":
    main()
