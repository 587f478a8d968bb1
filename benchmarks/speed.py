"""Measure how fast patterns are classified, as ratios within one run.

    python benchmarks/speed.py routes xception_fewshot fast_fewshot
    python benchmarks/speed.py pipeline xception_fewshot fast_fewshot --work work
    python benchmarks/speed.py precision xception_fewshot fast_fewshot
    python benchmarks/speed.py methods

*routes* runs the networks alone, by engine and precision, against `predict` of Keras. *pipeline*
runs `classify_space_group` from a file on disk to the crystal map, against the same engine on
patterns that are preprocessed already, in the same process. *precision* judges the answers of each
engine and precision on simulated patterns of known phase. *methods* classifies a simulated map of
nickel and Ni3Al with networks, Hough indexing and dictionary indexing. Each prints its tables in
Markdown. Nothing else should run at the same time.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import accuracy
import kikuchipy as kp
import machine
import numpy as np
from kikuchipy.detectors import EBSDDetector
from kikuchipy.signals import EBSD
from orix.crystal_map import PhaseList
from orix.quaternion import Rotation

from kikuchipy_cnn import load_model
from kikuchipy_cnn.evaluation import evaluate
from kikuchipy_cnn.inference import Runner
from kikuchipy_cnn.models import ModelBundle
from kikuchipy_cnn.simulation import Disturbances, load_library, simulate_patterns

ENGINES = ("keras", "openvino")
PRECISIONS = ("float32", "bfloat16")
N_FILE = 20_000
# Slow enough that the clock does not matter, quick enough that rounds follow each other closely.
ROUND_SECONDS = 4.0
DETECTOR_RATES = "5,000 to 6,700"
DICTIONARY_SIZE = 100_000
N_MAP = 2000


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def images_of(model: ModelBundle, n: int, seed: int = 0) -> np.ndarray:
    """Preprocessed patterns of noise; a network takes as long for any others."""
    rng = np.random.default_rng(seed)
    images, _ = model.transform(rng.integers(0, 255, (n, 60, 60), np.uint8))
    return images


def bare_rate(runner: Runner, images: np.ndarray, n: int) -> float:
    """Patterns per second of an engine alone, as many calls at once as it gains from."""
    starts = [i % len(images) for i in range(0, n, runner.batch_size)]
    batches = [images[start : start + runner.batch_size] for start in starts]
    with ThreadPoolExecutor(runner.concurrency) as pool:
        seconds = machine.seconds_of(lambda: list(pool.map(runner.outputs, batches)))
    return sum(map(len, batches)) / seconds


def repeated_rate(function: Callable[[], int]) -> float:
    """Patterns per second of a function that returns how many it has classified."""
    start, n = time.perf_counter(), 0
    while time.perf_counter() - start < ROUND_SECONDS:
        n += function()
    return n / (time.perf_counter() - start)


def routes(names: list[str], n_rounds: int) -> None:
    """Networks alone."""
    print("| model | engine | patterns/s | against `predict` |\n|---|---|---|---|")
    for name in names:
        model = load_model(name)
        images = images_of(model, 1024)
        channels = model.network_input(images)

        def plain(network=model.network, channels=channels) -> int:
            network.predict(channels, batch_size=64, verbose=0)
            return len(channels)

        runners = {
            f"{engine}, {precision}": Runner(model, engine=engine, precision=precision)
            for engine in ENGINES
            for precision in PRECISIONS
        }
        plain()
        for runner in runners.values():
            bare_rate(runner, images, len(images))
        rates: dict[str, list[float]] = {"`predict`, float32": []} | {key: [] for key in runners}
        for _ in range(n_rounds):
            rates["`predict`, float32"].append(repeated_rate(plain))
            for key, runner in runners.items():
                rates[key].append(
                    bare_rate(
                        runner, images, int(rates["`predict`, float32"][-1] * ROUND_SECONDS * 2)
                    )
                )
        base = np.median(rates["`predict`, float32"])
        for key, values in rates.items():
            rate = np.median(values)
            print(f"| {name} | {key} | {rate:.0f} | {rate / base:.2f} |", flush=True)


def file_of_noise(work: Path, n: int, size: int) -> Path:
    """File of patterns as kikuchipy writes it."""
    path = work / f"noise_{n}_{size}.h5"
    if not path.exists():
        rng = np.random.default_rng(size)
        rows = 100
        data = rng.integers(0, 255, (rows, n // rows, size, size), np.uint8)
        work.mkdir(parents=True, exist_ok=True)
        EBSD(data).save(path)
    return path


def pipeline(
    names: list[str], sizes: list[int], n: int, engines: list[str], work: Path, n_rounds: int
) -> None:
    """From a file to a map, against the engine alone."""
    print("| model | engine | pattern | network alone | from file to map | ratio |")
    print("|---|---|---|---|---|---|")
    for name in names:
        model = load_model(name)
        images = images_of(model, 2048)
        for engine in engines:
            runner = Runner(model, engine=engine)
            bare_rate(runner, images, len(images))
            for size in sizes:
                path = file_of_noise(work, n, size)

                def whole(path=path, engine=engine, model=model) -> None:
                    signal = kp.load(path, lazy=True)
                    signal.classify_space_group(model, engine=engine, show_progressbar=False)

                bare, found = [], []
                for _ in range(n_rounds):
                    bare.append(bare_rate(runner, images, n))
                    with quiet():
                        found.append(n / machine.seconds_of(whole))
                ratio = np.median(found) / np.median(bare)
                print(
                    f"| {name} | {runner.description} | {size} x {size} | {np.median(bare):.0f} | "
                    f"{np.median(found):.0f} | {ratio:.2f} |",
                    flush=True,
                )
    print(f"\nDetectors record {DETECTOR_RATES} patterns/s.")


def precision(names: list[str], n_seen: int, n_left_out: int) -> None:
    """Answers by engine and precision, against single precision in Keras."""
    print("| model | noise | phases | n | engine | right | points more | other answers |")
    print("|---|---|---|---|---|---|---|---|")
    for name in names:
        model = load_model(name)
        kinds = zip(
            ("seen", "left out"), accuracy.phases_of(model), (n_seen, n_left_out), strict=True
        )
        for kind, phases, n in list(kinds):
            for level in accuracy.NOISE_LEVELS:
                patterns = accuracy.simulated(phases, n, 71, level, seed=31)
                base = None
                for engine in ENGINES:
                    for digits in PRECISIONS:
                        found = evaluate(
                            model,
                            patterns,
                            engine=engine,
                            precision=digits,
                            with_quality=False,
                            show_progressbar=False,
                        )
                        base = found if base is None else base
                        right, others = (
                            found.right.mean(),
                            (found.predicted != base.predicted).mean(),
                        )
                        points = 100 * (right - base.right.mean())
                        print(
                            f"| {name} | {level} | {kind} | {len(patterns)} | {engine}, {digits} | "
                            f"{right:.4f} | {points:+.2f} | {others:.2%} |",
                            flush=True,
                        )


def methods(names: list[str]) -> None:
    """One map by networks, Hough indexing and dictionary indexing."""
    signal, detector, masters = _map_of_two_phases()
    n = N_MAP
    runs: dict[str, tuple[Callable[[EBSD], object], int]] = {}
    for name in names:
        model = load_model(name)
        for engine in ENGINES:
            runs[f"{name}, {Runner(model, engine=engine).description}"] = (
                lambda s, model=model, engine=engine: s.classify_space_group(
                    model, engine=engine, show_progressbar=False
                ),
                n,
            )
    phases = PhaseList([master.phase for master in masters])
    indexer = detector.get_indexer(phases)
    runs["Hough indexing, kikuchipy with PyEBSDIndex, no graphics processor"] = (
        lambda s: s.hough_indexing(phases, indexer, verbose=0),
        n,
    )
    rotations = Rotation.random(DICTIONARY_SIZE // len(masters))

    def by_dictionary(s: EBSD) -> None:
        for master in masters:
            dictionary = master.get_patterns(
                rotations, detector, energy=20, dtype_out=np.float32, compute=False
            )
            s.dictionary_indexing(dictionary, keep_n=1)

    runs[f"dictionary indexing, {DICTIONARY_SIZE:,} patterns of two phases"] = (by_dictionary, n)
    print("| method | s | patterns/s |\n|---|---|---|")
    for label, (run, n_patterns) in runs.items():
        with quiet():
            if run is not by_dictionary:
                run(signal.inav[:10])  # compiles
            seconds = machine.seconds_of(lambda run=run: run(signal))
        print(f"| {label} | {seconds:.1f} | {n_patterns / seconds:.0f} |", flush=True)


def _map_of_two_phases():
    library = load_library()
    masters = [library.signal(name) for name in ("Ni", "Ni3Al")]
    detector = EBSDDetector(shape=(60, 60), pc=(0.48, 0.25, 0.6), sample_tilt=70)
    signal = simulate_patterns(
        masters,
        N_MAP,
        detector=detector,
        disturbances=Disturbances.of_level("low"),
        seed=3,
        show_progressbar=False,
    )
    return signal, detector, masters


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("routes", "pipeline", "precision", "methods"))
    parser.add_argument("models", nargs="*", help="names of packaged models, or folders of bundles")
    parser.add_argument("--sizes", type=int, nargs="+", default=[60, 240])
    parser.add_argument("--patterns", type=int, default=N_FILE, help="in a file")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts")
    parser.add_argument("--engines", nargs="+", default=["auto"])
    parser.add_argument("--work", type=Path, default=Path("work"), help="folder for files")
    parser.add_argument("--seen", type=int, default=8, help="patterns of each phase trained on")
    parser.add_argument("--left-out", type=int, default=60, help="of each phase left out")
    options = parser.parse_args()
    names = options.models or ["xception_fewshot", "fast_fewshot"]
    print(f"{machine.describe()}\n")
    if options.what == "routes":
        routes(names, options.rounds)
    elif options.what == "pipeline":
        pipeline(
            names, options.sizes, options.patterns, options.engines, options.work, options.rounds
        )
    elif options.what == "precision":
        precision(names, options.seen, options.left_out)
    else:
        methods(names)


if __name__ == "__main__":
    main()
