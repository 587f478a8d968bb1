"""Latency of classification while patterns are written, and whether it keeps up.

Another process writes patterns of 60 x 60 pixels, the nickel patterns of kikuchipy with noise, at
some rate, into a file of NORDIF's (``--source dat``), a kikuchipy file that is filled (``h5``) or
images (``tif``). The latency of a pattern is the time from when it is written to when it is in the
map.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import tempfile
import threading
import time
import warnings
from pathlib import Path

import kikuchipy as kp
import numpy as np

from kikuchipy_cnn.watching import PatternStream

# Looks go on for so many seconds after the last pattern, to see how far behind they are.
AFTERWARDS = 3.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["fast_fewshot", "xception_fewshot"])
    parser.add_argument("--rates", nargs="+", type=int, default=[50, 200, 1000])
    parser.add_argument("--seconds", type=float, default=15.0, help="of writing, for each row")
    parser.add_argument("--interval", type=float, default=1.0)
    parser.add_argument("--source", choices=list(WRITERS), default="dat")
    options = parser.parse_args()
    # That there is no background beside the patterns.
    warnings.simplefilter("ignore", UserWarning)
    print(f"{platform.machine()}, Python {platform.python_version()}, {options.source}", end=", ")
    print(f"looks every {options.interval:g} s\n")
    print(
        "| model | patterns/s written | classified at the end of writing | latency, median (s) | "
        "95th percentile (s) | keeps up |"
    )
    print("|---|---|---|---|---|---|")
    for model in options.models:
        for rate in options.rates:
            print(row(model, rate, options), flush=True)


def row(model: str, rate: int, options: argparse.Namespace) -> str:
    """Write and watch one map, and return a line of the table."""
    n = max(int(rate * options.seconds), 10)
    with tempfile.TemporaryDirectory() as folder:
        path, write = WRITERS[options.source](Path(folder), n)
        stream = PatternStream(
            path,
            model,
            shape=(1, n) if options.source == "tif" else None,
            interval=options.interval,
            report=lambda _: None,
        )
        written, finished = watched(stream, write, n, rate)
    latency = (finished - written)[np.isfinite(finished)]
    done = np.mean(finished <= written[-1])
    # Behind by no more than what comes between two looks and while these patterns are classified.
    keeps_up = np.isfinite(finished).all() and np.median(latency[-rate:]) < 3 * options.interval
    return (
        f"| {model} | {rate} | {done:.0%} | {np.median(latency):.2f} | "
        f"{np.percentile(latency, 95):.2f} | {'yes' if keeps_up else 'no'} |"
    )


def watched(stream: PatternStream, write, n: int, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Times at which patterns were written, and were in the map, of shape (n,)."""
    context = multiprocessing.get_context("spawn")
    times = context.Array("d", n, lock=False)
    writer = context.Process(target=write_at, args=(write, n, rate, times))
    writer.start()

    def end() -> None:
        writer.join()
        if not stopped.wait(AFTERWARDS):
            stream.stop()

    stopped = threading.Event()
    ending = threading.Thread(target=end)
    ending.start()
    finished = np.full(n, np.inf)
    try:
        for part in stream:
            finished[part.n_done - part.n_new : part.n_done] = part.finished
    finally:
        stopped.set()
        ending.join()
    return np.array(times), finished


def write_at(write, n: int, rate: int, times) -> None:
    """Write patterns at a rate, and note when each was written."""
    patterns = some_patterns()
    start = time.perf_counter()
    with write as writer:
        for i in range(n):
            time.sleep(max(0.0, start + i / rate - time.perf_counter()))
            writer(i, patterns[i % len(patterns)])
            times[i] = time.time()


def some_patterns() -> np.ndarray:
    """Return 180 patterns of nickel, no two of which are the same."""
    nickel = np.tile(kp.data.nickel_ebsd_small().data.reshape(-1, 60, 60), (20, 1, 1))
    noise = np.random.default_rng(0).normal(0, 8, nickel.shape)
    return np.clip(nickel + noise, 0, 255).astype(np.uint8)


class NordifWriter:
    """Lengthens a file of NORDIF's."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> NordifWriter:
        self.file = open(self.path, "ab", buffering=0)
        return self

    def __call__(self, i: int, pattern: np.ndarray) -> None:
        self.file.write(pattern.tobytes())

    def __exit__(self, *_) -> None:
        self.file.close()


class HDF5Writer:
    """Fills a file of kikuchipy's."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> HDF5Writer:
        import h5py

        self.file = h5py.File(self.path, "r+")
        self.data = self.file["Scan 1/EBSD/Data/patterns"]
        return self

    def __call__(self, i: int, pattern: np.ndarray) -> None:
        self.data[i] = pattern
        self.file.flush()

    def __exit__(self, *_) -> None:
        self.file.close()


class ImageWriter:
    """Puts images into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> ImageWriter:
        return self

    def __call__(self, i: int, pattern: np.ndarray) -> None:
        import imageio.v3 as iio

        iio.imwrite(self.folder / f"_x{i}y0.tif", pattern)

    def __exit__(self, *_) -> None:
        pass


def nordif(folder: Path, n: int) -> tuple[Path, NordifWriter]:
    settings = Path(kp.__file__).parent / "data/nordif/Setting.txt"
    text = settings.read_text(encoding="latin-1").replace("samples\t3x3\t", f"samples\t1x{n}\t")
    (folder / "Setting.txt").write_text(text, encoding="latin-1")
    path = folder / "Pattern.dat"
    path.touch()
    return path, NordifWriter(path)


def hdf5(folder: Path, n: int) -> tuple[Path, HDF5Writer]:
    path = folder / "scan.h5"
    kp.signals.EBSD(np.zeros((n, 60, 60), np.uint8)).save(path)
    return path, HDF5Writer(path)


def images(folder: Path, n: int) -> tuple[Path, ImageWriter]:
    return folder / "*.tif", ImageWriter(folder)


WRITERS = {"dat": nordif, "h5": hdf5, "tif": images}


if __name__ == "__main__":
    main()
