"""Let models follow imaging conditions that drifted, and see whether they get better.

    python benchmarks/drift.py --work drift --output drift.json --figure docs/images/drift.png

A map of 1,400 patterns of known phases under new conditions is given to iterative training without
its labels. Accuracy is that on 600 other patterns of the same conditions, all simulated. Beside it:
the same members trained on as many true labels as there were self-labels, and on five of each
phase. Two of the cases are ones in which it should not be used: conditions too far from what the
models know, and a phase that is none of their classes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import accuracy
import numpy as np
from kikuchipy.signals import EBSD
from records import write_record

from kikuchipy_cnn.evaluation import wilson_interval
from kikuchipy_cnn.models import Ensemble, as_model
from kikuchipy_cnn.plotting import plot_drift
from kikuchipy_cnn.simulation import Disturbances, load_phases
from kikuchipy_cnn.simulation.library import build_library, load_library
from kikuchipy_cnn.simulation.sampler import PatternSampler
from kikuchipy_cnn.training import (
    Augmentation,
    FewShotProtocol,
    FewShotTrainer,
    IterativeSettings,
    LabelledPatterns,
    iterative_training,
)
from kikuchipy_cnn.training.replay import simulate_replay

PHASES = {"Ni3Al": 221, "Cr3Si": 223, "Ni": 225, "Si": 227, "Fe-bcc": 229}
# Of no class of the models.
STRANGER = "Ti-alpha"
SHAPE = (35, 40)
N_TEST = 600
SIZE = 71
FEW = 5
MEMBERS = 3
PROTOCOL = FewShotProtocol(
    learning_rate=3e-4,
    max_epochs=4,
    patience=3,
    batch_size=64,
    augmentation=Augmentation(mirror=True),
    statistics="frozen",
    precision="mixed_bfloat16",
)
SETTINGS = IterativeSettings(n_patterns=1400, per_class=120, max_rounds=2, confidence=0.85)


def conditions() -> dict[str, Disturbances]:
    """New conditions; the models know a noise of up to 1.6 and a blur of up to 0.02 in pattern
    widths, though not always both, projection centers of 0.4 to 0.6, 0.08 to 0.6 and 0.42 to 1.1,
    and energies near 20 kV."""
    usual = accuracy.disturbances("medium")
    return {
        "none": usual,
        "noise": replace(usual, noise=(1.0, 1.3)),
        "blur": replace(usual, blur=(0.022, 0.026)),
        "projection center": replace(usual, pcx=(0.33, 0.37), pcy=(0.6, 0.65), pcz=(1.1, 1.2)),
        "10 kV": usual,
        "too far (blur)": replace(usual, blur=(0.035, 0.04)),
        "stranger": replace(usual, blur=(0.022, 0.026)),
    }


def masters(case: str, work: Path) -> dict[str, np.ndarray]:
    """Master patterns of the phases that are there."""
    names = [*PHASES, STRANGER] if case == "stranger" else list(PHASES)
    if case != "10 kV":
        library = load_library()
    else:
        phases = load_phases()
        file = work / "10kV.npz"
        library = (
            load_library(file)
            if file.exists()
            else build_library(file, {name: phases[name] for name in names}, energy=10.0)
        )
    return {name: library[name] for name in names}


def sample(patterns: Mapping[str, np.ndarray], disturbances: Disturbances, n: int, seed: int):
    """Patterns of 8 bit and the names of their phases."""
    sampler = PatternSampler(
        np.stack(list(patterns.values())), np.ones(len(patterns)), SIZE, disturbances, seed
    )
    drawn = sampler.sample(n)
    return accuracy.as_8_bit(drawn.patterns), np.array(list(patterns))[drawn.phases]


def labelled(images: np.ndarray, names: np.ndarray) -> LabelledPatterns:
    return LabelledPatterns.concatenate(
        [
            LabelledPatterns.from_signals({PHASES[name]: {name: EBSD(images[names == name])}})
            for name in PHASES
        ]
    )


def accuracy_of(model: Ensemble, images: np.ndarray, names: np.ndarray) -> tuple:
    """Share of right answers, none refused, with its interval. A stranger is never right."""
    inputs, _ = model.transform(images)
    probabilities = np.concatenate(
        [model.predict_probabilities(inputs[i : i + 300]) for i in range(0, len(inputs), 300)]
    )
    winners = np.array(model.classes.ids)[probabilities.argmax(axis=1)]
    right = int((winners == [PHASES.get(name, -1) for name in names]).sum())
    return right / len(names), *wilson_interval(right, len(names))


def fine_tuned(model: Ensemble, truth: LabelledPatterns, n: int, replay, seed: int) -> Ensemble:
    """The members trained on true labels, with the same replay and protocol."""
    rng = np.random.default_rng(seed)
    chosen = np.concatenate(
        [
            rng.permutation(np.flatnonzero(truth.material == name))[: max(2, n // len(PHASES))]
            for name in PHASES
        ]
    )
    n_validation = max(1, len(chosen) // 5)
    chosen = rng.permutation(chosen)
    first, second = np.arange(len(replay)) % 4 != 0, np.arange(len(replay)) % 4 == 0
    training = LabelledPatterns.concatenate([truth.take(chosen[n_validation:]), replay.take(first)])
    validation = LabelledPatterns.concatenate(
        [truth.take(chosen[:n_validation]), replay.take(second)]
    )
    members = [
        FewShotTrainer(member, PROTOCOL, name=member.name, seed=seed + i)
        .fit(training, validation, classes=member.classes, show_progressbar=False)
        .bundle
        for i, member in enumerate(model.members)
    ]
    return Ensemble("fine-tuned", tuple(members))


def run(model: Ensemble, case: str, disturbances: Disturbances, work: Path, seed: int) -> dict:
    """One drift: before, after, and with true labels."""
    start = time.time()
    patterns = masters(case, work)
    images, names = sample(patterns, disturbances, SHAPE[0] * SHAPE[1], seed)
    test = sample(patterns, disturbances, N_TEST, seed + 1)
    row = {"drift": case, "before": accuracy_of(model, *test)}
    replay = simulate_replay(
        model.classes,
        "space group",
        SETTINGS.replay_per_class,
        SIZE,
        seed=seed,
        show_progressbar=False,
    )
    try:
        result = iterative_training(
            model,
            EBSD(images.reshape(*SHAPE, SIZE, SIZE)),
            work=work / case.replace(" ", "_"),
            protocol=PROTOCOL,
            settings=SETTINGS,
            replay=replay,
            seed=seed,
            show_progressbar=False,
        )
    except ValueError as error:
        row |= {"refused": str(error), "iterative": row["before"], "n_self_labels": 0}
    else:
        print(result.table(), flush=True)
        each = [accuracy_of(result.model_of(i), *test)[0] for i in _rounds_with_models(result)]
        n = max(x["self_labels"] or 0 for x in result.rounds)
        row |= {
            "iterative": accuracy_of(result.model, *test),
            "accuracy of rounds": each,
            "stopped": result.stopped,
            "n_self_labels": n,
            "rounds": result.rounds,
        }
    known = np.isin(names, list(PHASES))
    truth = labelled(images[known], names[known])
    for name, n in ((f"{FEW} true labels each", FEW * len(PHASES)), ("as many true labels", None)):
        n = row["n_self_labels"] if n is None else n
        if n:
            row[name] = accuracy_of(fine_tuned(model, truth, n, replay, seed), *test)
    row["seconds"] = time.time() - start
    return row


def _rounds_with_models(result) -> list[int]:
    return [0, *(x["round"] for x in result.rounds[1:] if x["agreement"] is not None)]


def report(rows: list[dict]) -> str:
    names = ("before", "iterative", "as many true labels", f"{FEW} true labels each")
    lines = ["| drift | " + " | ".join(names) + " | self-labels | end |"]
    lines += ["|---" * (len(names) + 3) + "|"]
    for row in rows:
        cells = [
            f"{row[x][0]:.3f} ({row[x][1]:.3f} to {row[x][2]:.3f})" if x in row else ""
            for x in names
        ]
        end = "refused" if "refused" in row else row["stopped"]
        lines.append(f"| {row['drift']} | {' | '.join(cells)} | {row['n_self_labels']} | {end} |")
    return "\n".join(lines)


def draw(rows: list[dict], path: Path) -> None:
    names = ("before", "iterative", "as many true labels")
    figure = plot_drift(
        [
            {"drift": row["drift"]} | {x: tuple(row.get(x, row["before"])) for x in names}
            for row in rows
        ]
    )
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ensemble_fewshot", help="an ensemble")
    parser.add_argument("--cases", nargs="+", choices=list(conditions()), default=None)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="JSON file")
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    model = as_model(options.model)
    model = Ensemble(model.name, model.members[:MEMBERS])
    rows = []
    for case, disturbances in conditions().items():
        if options.cases is None or case in options.cases:
            rows.append(run(model, case, disturbances, options.work, options.seed))
            write_record(options.output, rows)
            print(f"{case}: {rows[-1]['seconds']:.0f} s\n{report(rows)}\n", flush=True)
    if options.figure is not None:
        draw(rows, options.figure)


if __name__ == "__main__":
    main()
