"""What accuracy costs: patterns seen, size of the network and of the patterns.

    python benchmarks/packaged_model.py train xception_narrow ... --keep --work work/narrow
    python benchmarks/accuracy_against_cost.py curve work/narrow --output curve.json
    python benchmarks/accuracy_against_cost.py compare --minutes 3 --output compare.json
    python benchmarks/accuracy_against_cost.py draw curve.json compare.json --figure cost.png

*curve* measures the checkpoints of a training on simulated patterns: how accuracy grows with the
patterns seen. *compare* trains networks for equally long on mild imperfections, each with its whole
schedule. Both take the batch statistics anew, as moving averages lag behind while the learning
rate is high. Accuracies are means of the recalls of the six common space groups, of phases trained
on and of phases left out.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from packaged_model import (
    CLASSES,
    SIX,
    Task,
    labels_among,
    logits_of,
    read_network,
    recalls,
    some_groups,
)
from records import write_record

from kikuchipy_cnn import PatternTransform
from kikuchipy_cnn.models import build_network
from kikuchipy_cnn.models.acceleration import with_fused_normalisation, with_input_size
from kikuchipy_cnn.models.statistics import BatchStatistics
from kikuchipy_cnn.simulation.disturbances import NOISE_LEVELS
from kikuchipy_cnn.simulation.sampler import Disturbances, PatternSampler
from kikuchipy_cnn.training.simulated import SimulatedTraining, train_on_simulations

COMPARED = (
    ("xception_narrow", 51),
    ("xception_narrow", 71),
    ("xception_narrow", 95),
    ("xception", 71),
)
MILD = 0.3
BATCH_SIZE = 128


def measure(
    network, size: int, task: Task, worst: Disturbances, tests: dict[str, Disturbances], n: int
) -> dict:
    """Mean recalls on phases seen and left out, by the imperfections of the test.

    Statistics are those of patterns as in the training, of which *worst* is the most severe.
    """
    transform = PatternTransform(size=size)
    protocol = SimulatedTraining(n_steps=1)
    sampler = PatternSampler(task.master_patterns, task.probabilities(5, 2), size, seed=5)
    rng = np.random.default_rng(5)

    def batches():
        for _ in range(12):
            parts = []
            for _ in range(protocol.parts):
                part = worst.scaled(rng.uniform(), geometry=False)
                sampler.disturbances = part.thinned(protocol.thinning, rng)
                sample = sampler.sample(BATCH_SIZE // protocol.parts)
                parts.append(transform.standardise(sample.patterns, sample.weights))
            yield np.concatenate(parts)[..., None]

    BatchStatistics(network).retake(batches())
    model = some_groups("measured", network.name, network, SIX, transform)
    found = {}
    for level, ranges in tests.items():
        for kind, names in (("seen", task.seen), ("left out", task.left_out)):
            names = [name for name in names if task.library.space_groups[name] in SIX]
            images, phases = task.simulate(names, n, transform, 99, ranges)
            predicted = logits_of(model.network, images).argmax(axis=1)
            found[f"{kind}, {level}"] = float(
                np.mean(recalls(predicted, labels_among(SIX, task, phases)))
            )
    return found


def curve(options: argparse.Namespace) -> None:
    task = Task()
    _, network, stages = read_network(options.work)
    batch_size = stages[-1]["protocol"]["batch_size"]
    levels = {level: Disturbances.of_level(level) for level in NOISE_LEVELS}
    rows = []
    files = (options.work / "checkpoints").glob("*.weights.h5")
    for file in sorted(files, key=lambda file: int(file.name.split(".")[0])):
        network.load_weights(file)
        row = {"patterns": int(file.name.split(".")[0]) * batch_size}
        size = network.input_shape[1]
        row |= measure(network, size, task, Disturbances(), levels, options.patterns)
        rows.append(row)
        print(row, flush=True)
    write_record(options.output, rows)


def compare(options: argparse.Namespace) -> None:
    import keras

    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    task = Task()
    mild = {"mild": Disturbances().scaled(MILD)}
    rows = []
    for architecture, size in COMPARED:
        keras.utils.set_random_seed(options.seed)
        network = build_network(architecture, (max(size, 71),) * 2 + (1,), len(CLASSES))
        network = with_fused_normalisation(with_input_size(network, size))
        sampler = PatternSampler(task.master_patterns, task.probabilities(5, 2), size)

        def trained(n_steps: int, network=network, sampler=sampler, size=size) -> float:
            protocol = SimulatedTraining(
                n_steps=n_steps,
                batch_size=BATCH_SIZE,
                learning_rate=3e-3,
                severities=(0.02, MILD),
                seed=options.seed,
            )
            start = time.time()
            train_on_simulations(
                network,
                sampler,
                task.labels,
                PatternTransform(size=size),
                protocol,
                show_progressbar=False,
            )
            return time.time() - start

        # As many steps as fit in the time, less what every training takes to set up.
        weights = network.get_weights()
        short, long = trained(5), trained(25)
        per_step = (long - short) / 20
        n_steps = max(10, int((options.minutes * 60 - (short - 5 * per_step)) / per_step))
        network.set_weights(weights)
        seconds = trained(n_steps)
        row = {"architecture": architecture, "size": size, "patterns": n_steps * BATCH_SIZE}
        row["seconds"] = seconds
        row |= measure(network, size, task, mild["mild"], mild, options.patterns)
        rows.append(row)
        print(row, flush=True)
        write_record(options.output, rows)


def draw(options: argparse.Namespace) -> None:
    import matplotlib.pyplot as plt

    n = 1 if options.compare is None else 2
    fig, axes = plt.subplots(1, n, figsize=(4.8 * n, 3.8), layout="constrained", squeeze=False)
    _draw_curve(axes[0, 0], json.loads(options.curve.read_text()))
    if options.compare is not None:
        _draw_comparison(axes[0, 1], json.loads(options.compare.read_text()))
    fig.savefig(options.figure, dpi=110)


def _draw_curve(ax, rows: list[dict]) -> None:
    patterns = np.array([row["patterns"] for row in rows]) / 1e6
    for color, level in zip(("C0", "C1", "C3"), NOISE_LEVELS, strict=True):
        for kind, style in (("seen", "-"), ("left out", "--")):
            label = f"{level} noise, phases {kind}"
            values = [row[f"{kind}, {level}"] for row in rows]
            ax.plot(patterns, values, style, marker=".", color=color, label=label)
    ax.set(xlabel="simulated patterns seen / million", ylabel="mean recall, six space groups")
    ax.set(ylim=(0, 1), title="narrow Xception, 71 x 71 pixels")
    ax.legend(fontsize="x-small")


def _draw_comparison(ax, rows: list[dict]) -> None:
    names = [f"{row['architecture']}\n{row['size']} px\n{row['patterns']:,}" for row in rows]
    places = np.arange(len(rows))
    for shift, kind in ((-0.2, "seen"), (0.2, "left out")):
        values = [row[f"{kind}, mild"] for row in rows]
        bars = ax.bar(places + shift, values, 0.4, label=f"phases {kind}")
        ax.bar_label(bars, fmt="%.2f", fontsize="x-small")
    minutes = np.mean([row["seconds"] for row in rows]) / 60
    ax.set(ylim=(0, 1), title=f"after {minutes:.1f} minutes each, mild imperfections")
    ax.set_xticks(places, names, fontsize="x-small")
    ax.legend(fontsize="x-small")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("curve")
    command.add_argument("work", type=Path)
    command.add_argument("--patterns", type=int, default=1500)
    command.add_argument("--output", type=Path, required=True)
    command.set_defaults(run=curve)
    command = commands.add_parser("compare")
    command.add_argument("--minutes", type=float, default=3.0)
    command.add_argument("--patterns", type=int, default=1500)
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--output", type=Path, required=True)
    command.set_defaults(run=compare)
    command = commands.add_parser("draw")
    command.add_argument("curve", type=Path)
    command.add_argument("compare", type=Path, nargs="?")
    command.add_argument("--figure", type=Path, required=True)
    command.set_defaults(run=draw)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
