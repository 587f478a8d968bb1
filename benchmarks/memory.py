"""Measure the memory that the classification of a large lazy map takes.

    python benchmarks/memory.py --work work --figure docs/images/memory.png

Maps of a million patterns of 60 x 60 pixels, in chunks of several kinds: in an HDF5 file and in a
NORDIF file as kikuchipy reads them, and generated, in chunks from single patterns to rows and
squares. The file's and the process's memory are sampled ten times a second. Each map is classified
in a process of its own, which takes as its zero what it has with the model loaded and compiled.
Prints a table in Markdown and draws the memory over time. Needs Linux.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import dask.array as da
import kikuchipy as kp
import machine
import matplotlib.pyplot as plt
import numpy as np
from kikuchipy.signals import LazyEBSD

from kikuchipy_cnn import load_model
from kikuchipy_cnn._files import replacing

SIDE = 60
INTERVAL = 0.1
KINDS = ("HDF5", "NORDIF", "rows", "squares", "few patterns")


def h5_file(work: Path, shape: tuple[int, int]) -> LazyEBSD:
    """HDF5 file of nickel patterns, again and again, written row by row."""
    import h5py

    path = work / f"nickel_{shape[0]}_{shape[1]}.h5"
    if not path.exists():
        nine = kp.data.nickel_ebsd_small()
        rows = np.resize(nine.data.reshape(9, SIDE, SIDE), (shape[1], SIDE, SIDE))
        with replacing(path) as temporary:
            signal = kp.signals.EBSD(rows[np.newaxis])
            signal.save(temporary)
            with h5py.File(temporary, "r+") as file:
                data = file["Scan 1/EBSD/Data/patterns"]
                header = file["Scan 1/EBSD/Header"]
                del file["Scan 1/EBSD/Data/patterns"]
                header["n_rows"][...] = shape[0]
                new = file["Scan 1/EBSD/Data"].create_dataset(
                    "patterns", (shape[0] * shape[1], SIDE, SIDE), np.uint8
                )
                for i in range(shape[0]):
                    new[i * shape[1] : (i + 1) * shape[1]] = rows
                del data
    return kp.load(path, lazy=True)


def nordif_file(work: Path, shape: tuple[int, int]) -> LazyEBSD:
    """Raw file of nickel patterns, again and again."""
    path = work / f"nickel_{shape[0]}_{shape[1]}.dat"
    if not path.exists():
        nine = kp.data.nickel_ebsd_small()
        row = np.resize(nine.data.reshape(9, SIDE, SIDE), (shape[1], SIDE, SIDE)).tobytes()
        with replacing(path) as temporary, temporary.open("wb") as file:
            for _ in range(shape[0]):
                file.write(row)
    return kp.load(path, lazy=True, scan_size=shape[::-1], pattern_size=(SIDE, SIDE))


def generated(shape: tuple[int, int], chunk: tuple[int, int]) -> LazyEBSD:
    """Nickel patterns, again and again, made when they are read."""
    nine = kp.data.nickel_ebsd_small().data.reshape(9, SIDE, SIDE)

    def make(numbers: np.ndarray) -> np.ndarray:
        return nine[numbers[..., 0, 0] % 9]

    numbers = da.arange(shape[0] * shape[1]).reshape(shape).rechunk(chunk)[..., None, None]
    return LazyEBSD(numbers.map_blocks(make, chunks=(*numbers.chunks[:2], SIDE, SIDE), dtype="u1"))


def signal_of(kind: str, shape: tuple[int, int], work: Path) -> LazyEBSD:
    """Lazy map of a kind of chunks."""
    make: dict[str, Callable[[], LazyEBSD]] = {
        "HDF5": lambda: h5_file(work, shape),
        "NORDIF": lambda: nordif_file(work, shape),
        "rows": lambda: generated(shape, (1, shape[1])),
        "squares": lambda: generated(shape, (100, 100)),
        "few patterns": lambda: generated(shape, (10, 10)),
    }
    return make[kind]()


def memory() -> int:
    """Memory of this process in bytes, without the files that it has mapped."""
    lines = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


def measure(kind: str, name: str, shape: tuple[int, int], work: Path) -> dict:
    """Memory over time of one classification, in this process."""
    model = load_model(name)
    samples: list[tuple[float, int]] = []
    stop = threading.Event()

    def sample(start: float) -> None:
        while not stop.wait(INTERVAL):
            samples.append((time.perf_counter() - start, memory()))

    with contextlib.redirect_stdout(io.StringIO()):
        signal = signal_of(kind, shape, work)
        kp.data.nickel_ebsd_small().classify_space_group(model, show_progressbar=False)
        before, start = memory(), time.perf_counter()
        thread = threading.Thread(target=sample, args=(start,), daemon=True)
        thread.start()
        signal.classify_space_group(model, show_progressbar=False)
        seconds = time.perf_counter() - start
        stop.set()
        thread.join()
    return {
        "kind": kind,
        "model": name,
        "chunks": [list(sizes[:3]) for sizes in signal.data.chunks[:2]],
        "seconds": seconds,
        "above": [[t, m - before] for t, m in samples],
        "before": before,
    }


def draw(results: list[dict], figure: Path) -> None:
    """Memory over time."""
    fig, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
    for result in results:
        t, above = np.array(result["above"]).T
        ax.plot(t, above / 2**20, lw=1, label=result["kind"])
    ax.axhline(1024, color="0.6", ls=":", lw=1)
    ax.set(xlabel="time (s)", ylabel="memory above the loaded model (MiB)", ylim=(0, None))
    ax.legend(frameon=False, ncols=3)
    with replacing(figure) as temporary:
        fig.savefig(temporary, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="fast_fewshot", help="packaged model, or a bundle")
    parser.add_argument("--shape", type=int, nargs=2, default=[1000, 1000], help="of the map")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--work", type=Path, default=Path("work"), help="folder for files")
    parser.add_argument("--figure", type=Path, help="file for the picture")
    parser.add_argument("--only", choices=KINDS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    if options.only:
        print(json.dumps(measure(options.only, options.model, options.shape, options.work)))
        return
    print(f"{machine.describe()}\n")
    print("| patterns | chunks | s | patterns/s | most memory above the model (MiB) | median |")
    print("|---|---|---|---|---|---|")
    results = []
    for kind in options.kinds:
        command = [sys.executable, __file__, *sys.argv[1:], "--only", kind]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        result = json.loads(output.splitlines()[-1])
        results.append(result)
        above = np.array(result["above"])[:, 1] / 2**20
        n = options.shape[0] * options.shape[1]
        chunks = " and ".join(", ".join(map(str, sizes)) + ", …" for sizes in result["chunks"])
        print(
            f"| {kind} | {chunks} | {result['seconds']:.0f} | {n / result['seconds']:.0f} | "
            f"{above.max():.0f} | {np.median(above):.0f} |",
            flush=True,
        )
    if options.figure:
        draw(results, options.figure)


if __name__ == "__main__":
    main()
