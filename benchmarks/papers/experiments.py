"""The papers' experiments on simulated patterns.

    python benchmarks/papers/experiments.py run --work results --other-materials pretrained
    python benchmarks/papers/experiments.py table results
    python benchmarks/papers/experiments.py shots --work shots --figure shots.png

*run* trains and tests networks, five trials where the papers did five; trials that are done are not
repeated. The small setting takes about two hours on 2 cores; ``--full`` is the papers' own, for a
GPU. *table* prints the results beside the papers', as in docs/training.md, and draws the figures;
*shots* trains with fewer patterns.

A network begins from random weights ("scratch"), from those of the packaged model ("packaged"),
which has seen simulated patterns of all 18 materials, from one that was trained on other materials
only ("other materials"; the folder comes from ``benchmarks/packaged_model.py train
--without-papers``), or from ImageNet's ("imagenet", a file of Keras' weights). Where a material is
not trained on, the packaged model would know it nevertheless, so it is not tested there.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

import kikuchipy as kp
import numpy as np
from materials import EXPERIMENTS, MATERIALS
from orix.crystal_map import CrystalMap, PhaseList
from orix.quaternion import Rotation
from tables import mean_and_deviation

from kikuchipy_cnn import PatternTransform, SpaceGroupClasses, load_model, plotting
from kikuchipy_cnn._files import replacing
from kikuchipy_cnn.evaluation import Evaluation, evaluate, shots_curve
from kikuchipy_cnn.models import ModelBundle, build_network, select_space_groups
from kikuchipy_cnn.simulation import Disturbances, load_master_pattern, simulate_map
from kikuchipy_cnn.training import (
    Augmentation,
    FewShotProtocol,
    FewShotTrainer,
    LabelledPatterns,
    split_patterns,
)
from kikuchipy_cnn.training.checkpoint import remove_state

CLASSES = SpaceGroupClasses(tuple(MATERIALS))
# What packaged_model.py trains.
TRAINED_CLASSES = SpaceGroupClasses(tuple(range(221, 231)))
ALL = "all materials"
# The same with patterns of few orientations, as in maps of few grains: a test on a random part of a
# map's patterns knows their orientations from the training.
GRAINS = "all materials in 30 grains each"
N_GRAINS = 30
# For each space group.
N_TRAINING, N_VALIDATION = 400, 100
# Accuracy on all 18 materials, where the papers give one.
PAPERS_FIGURES = {
    "one heavy material": "0.512",
    "TaC swapped for Al": "0.40 to 0.65",
    "Ge swapped for Si": "0.40 to 0.65",
    "Ta swapped for Fe": "0.40 to 0.65",
    "two materials": "0.80",
    ALL: "0.93",
}
PROTOCOL = FewShotProtocol()
SHOTS = (1, 5, 10, 50, 100, 400)
# Changes of the default protocol.
_COSINE = {"schedule": "cosine", "max_epochs": 30, "patience": 30}
RECIPES = {
    "cosine": _COSINE,
    "cosine and mirror": {**_COSINE, "augmentation": Augmentation(mirror=True)},
    "cosine and camera": {**_COSINE, "augmentation": Augmentation(severity=0.2)},
    "moving averages": {"statistics": "moving"},
}
# Imperfections of one microscope that averages 30 frames.
SEVERITY = 0.4
PROJECTION_CENTER = (0.5, 0.28, 0.62)


@dataclass(frozen=True)
class Setting:
    """Size of the experiments."""

    architecture: str
    packaged: str
    shape: tuple[int, int]
    size: int
    n_test: int  # of each material
    precision: str


SMALL = Setting("xception_narrow", "fast_fewshot", (96, 96), 71, 150, "mixed_bfloat16")
# 145,453 test patterns of 18 materials.
FULL = Setting("xception", "xception_fewshot", (299, 299), 299, 8081, "mixed_bfloat16")


def simulate(
    setting: Setting, *, few_grains: bool = False
) -> tuple[LabelledPatterns, LabelledPatterns]:
    """Patterns to draw training and validation sets from, and test patterns of all materials."""
    detector = kp.detectors.EBSDDetector(shape=setting.shape, pc=PROJECTION_CENTER)
    disturbances = Disturbances().scaled(SEVERITY)
    n_pool = N_TRAINING + N_VALIDATION
    n = n_pool + setting.n_test
    if few_grains:
        patterns = LabelledPatterns.concatenate(
            [
                map_of_grains(number, name, n, detector, disturbances)
                for number, names in MATERIALS.items()
                for name in names
            ]
        )
    else:
        patterns = LabelledPatterns.from_simulation(
            EXPERIMENTS[ALL], n, detector=detector, disturbances=disturbances, seed=2021
        )
    in_pool = patterns.index < n_pool
    return patterns.take(in_pool), patterns.take(~in_pool)


def map_of_grains(
    number: int,
    name: str,
    n: int,
    detector: kp.detectors.EBSDDetector,
    disturbances: Disturbances,
) -> LabelledPatterns:
    """Patterns of random grains of one material, which differ by noise within a grain."""
    master_pattern = load_master_pattern(name)
    rng = np.random.default_rng([2021, *name.encode()])
    grain = rng.integers(N_GRAINS, size=n)
    xmap = CrystalMap(
        rotations=Rotation(rng.standard_normal((N_GRAINS, 4)))[grain],
        phase_list=PhaseList(master_pattern.phase),
        x=np.arange(n),
    )
    # The seed decides the camera, too, which is the same for all materials.
    signal = simulate_map(
        xmap,
        detector,
        {master_pattern.phase.name: master_pattern},
        disturbances=disturbances,
        seed=2021,
    )
    return LabelledPatterns.from_signal(signal, number, name, grain=grain.astype(str))


@dataclass(frozen=True)
class Approach:
    """What a network begins with, and how it is trained."""

    start: object
    changes: dict = field(default_factory=dict)  # of the papers' protocol


def approaches(options: argparse.Namespace, setting: Setting) -> dict[str, Approach]:
    """Approaches by name, those of the papers first."""
    packaged = load_model(setting.packaged)
    found = {"packaged": Approach(packaged), "scratch": Approach("scratch")}
    if options.other_materials is not None:
        found["other materials"] = Approach(bundle_of_run(options.other_materials))
    if options.imagenet is not None:
        found["imagenet"] = Approach(options.imagenet)
    for name, changes in RECIPES.items():
        found[f"packaged + {name}"] = Approach(packaged, changes)
    for name in ("cosine and mirror", "moving averages"):
        found[f"scratch + {name}"] = Approach("scratch", RECIPES[name])
    return found


def bundle_of_run(folder: Path) -> ModelBundle:
    """Model from a folder of ``packaged_model.py train``."""
    stages = json.loads((folder / "training.json").read_text())["stages"]
    known = {name for stage in stages for name in stage["phases"]} & set(EXPERIMENTS[ALL])
    if known:
        raise ValueError(f"The network in {folder} was trained on {sorted(known)}.")
    architecture, size = stages[-1]["architecture"], stages[-1]["size"]
    network = build_network(architecture, (size, size, 1), len(TRAINED_CLASSES))
    network.load_weights(folder / "network.weights.h5")
    model = ModelBundle(
        "other materials", architecture, network, TRAINED_CLASSES, PatternTransform(size=size)
    )
    return select_space_groups(model, CLASSES.ids)


def plan(options: argparse.Namespace, names: list[str]) -> list[tuple[str, str, int]]:
    """Experiment, approach and trial of each training, the most telling ones first."""
    trials = [(ALL, name, t) for t in range(options.trials) for name in ("packaged", "scratch")]
    grains = [(GRAINS, name, 0) for name in ("packaged", "scratch")]
    # The packaged model knows the materials that others are not trained on.
    new = [e for e in EXPERIMENTS if e != ALL]
    fresh = [name for name in ("other materials", "imagenet") if name in names]
    swaps = [(experiment, name, 0) for name in fresh for experiment in new]
    from_scratch = [(experiment, "scratch", 0) for experiment in (new[0], new[-1], *new)]
    recipes = [(ALL, name, 0) for name in sorted(names, reverse=True) if " + " in name]
    again = [(ALL, name, t) for t in range(options.trials) for name in fresh]
    order = [*trials[:4], *grains, *swaps, from_scratch[0], *trials[:6], *recipes]
    return list(dict.fromkeys([*order, *trials, *again, *from_scratch]))


def run(options: argparse.Namespace) -> None:
    setting = FULL if options.full else SMALL
    options.work.mkdir(parents=True, exist_ok=True)
    sets = {few_grains: simulate(setting, few_grains=few_grains) for few_grains in (False, True)}
    known = approaches(options, setting)
    for experiment, approach, trial in plan(options, list(known)):
        place = options.work / f"{experiment}, {approach}, {trial}.json"
        if place.exists():
            continue
        pool, test = sets[experiment == GRAINS]
        chosen = pool.take(np.isin(pool.material, EXPERIMENTS.get(experiment, EXPERIMENTS[ALL])))
        split = split_patterns(chosen, N_TRAINING, N_VALIDATION, seed=trial)
        trainer = FewShotTrainer(
            known[approach].start,
            replace(PROTOCOL, precision=setting.precision, **known[approach].changes),
            architecture=setting.architecture if known[approach].start == "scratch" else None,
            size=setting.size,
            # The papers replaced the last layer of the network from ImageNet.
            new_head=True,
            seed=trial,
        )
        state = options.work / "state" / place.stem
        result = trainer.fit(split.training, split.validation, work=state, show_progressbar=False)
        if result.stopped == "interrupted":
            raise KeyboardInterrupt
        evaluation = evaluate(result.bundle, test, with_quality=False, show_progressbar=False)
        record = {
            "stopped": result.stopped,
            "history": result.history,
            "probabilities": evaluation.probabilities.astype(float).round(4).tolist(),
        }
        with replacing(place) as temporary:
            temporary.write_text(json.dumps(record))
        # Hundreds of megabytes, of the full Xception.
        remove_state(state)
        seconds = sum(row["seconds"] for row in result.history)
        print(
            f"{place.stem}: {len(result.history)} epochs, {seconds:.0f} s, accuracy "
            f"{evaluation.accuracy:.3f}",
            flush=True,
        )


def shots(options: argparse.Namespace) -> None:
    """Accuracy against the number of training patterns, by what a network begins with."""
    setting = FULL if options.full else SMALL
    pool, test = simulate(setting)
    curves = {}
    for name, approach in approaches(options, setting).items():
        if " + " in name or name == "scratch":
            continue
        trainer = FewShotTrainer(
            approach.start,
            replace(PROTOCOL, precision=setting.precision),
            size=setting.size,
        )
        curves[name] = shots_curve(
            trainer, pool, test, shots=SHOTS, n_trials=options.trials, work=options.work / name
        )
        print(f"| {name} | {' | '.join(map(str, curves[name].shots))} |")
        print("|" + "---|" * (len(curves[name].shots) + 1))
        cells = map(mean_and_deviation, curves[name].accuracies)
        print(f"| accuracy | {' | '.join(cells)} |", flush=True)
    with replacing(options.figure) as temporary:
        plotting.plot_shots_curve(curves).savefig(temporary, dpi=110)


def read_results(
    folder: Path, test: LabelledPatterns, quality: np.ndarray
) -> dict[tuple[str, str], list[tuple[list[dict], Evaluation]]]:
    """Courses of the trainings and tests of their models, by experiment and approach."""
    results: dict[tuple[str, str], list] = defaultdict(list)
    for experiment in (*EXPERIMENTS, GRAINS):
        for path in sorted(folder.glob(f"{experiment}, *.json")):
            approach = path.stem.split(", ")[1]
            record = json.loads(path.read_text())
            probabilities = np.array(record["probabilities"], np.float32)
            evaluation = Evaluation(test, CLASSES, "space group", probabilities, quality)
            results[experiment, approach].append((record["history"], evaluation))
    return results


def print_approaches(results: dict) -> None:
    """Items 1 to 3 of the papers, all materials in the training."""
    print("| | precision | recall | loss 1 | validation loss 1 | epochs | patterns | trials |")
    print("|---|---|---|---|---|---|---|---|")
    print("| papers, transfer (ImageNet) | 0.97 | 0.96 | 0.56 | 0.52 | 26 ± 3 | real | 5 |")
    print("| papers, scratch | 0.93 | 0.92 | 0.84 | 11.5 | 50 ± 12 | real | 5 |")
    for (experiment, approach), trials in sorted(
        results.items(), key=lambda item: (item[0][0], " + " in item[0][1], item[0][1])
    ):
        if experiment not in (ALL, GRAINS):
            continue
        name = approach if experiment == ALL else f"{approach}, {N_GRAINS} grains"
        means = [evaluation.weighted() for _, evaluation in trials]
        cells = [
            mean_and_deviation([mean.precision for mean in means]),
            mean_and_deviation([mean.recall for mean in means]),
            mean_and_deviation([history[0]["loss"] for history, _ in trials], 2),
            mean_and_deviation([history[0]["val_loss"] for history, _ in trials], 2),
            mean_and_deviation([len(history) for history, _ in trials], 0),
        ]
        print(f"| {name} | {' | '.join(cells)} | simulated | {len(trials)} |")


def print_materials(results: dict) -> None:
    """Items 6 to 9: what a network makes of materials that it was not trained on."""
    chance = 1 / len(CLASSES)
    print("\n| trained on | start | all 18 | trained on | not trained on | of these above chance |")
    print("|---|---|---|---|---|---|")
    for experiment, papers in PAPERS_FIGURES.items():
        print(f"| {experiment} | papers | {papers} | | | |")
        for (name, approach), trials in results.items():
            if name != experiment or " + " in approach:
                continue
            evaluation = trials[0][1]
            seen = np.isin(evaluation.patterns.material, EXPERIMENTS[name])
            new = [
                score
                for score in evaluation.by_material()
                if score.material not in EXPERIMENTS[name]
            ]
            above = sum(score.low > chance for score in new)
            unseen = f"{evaluation.right[~seen].mean():.3f}" if new else "-"
            found = f"{above} of {len(new)}" if new else "-"
            print(
                f"| {name} | {approach} | {evaluation.accuracy:.3f} | "
                f"{evaluation.right[seen].mean():.3f} | {unseen} | {found} |"
            )


def print_each_material(results: dict, approach: str) -> None:
    """Accuracy by material; in bold those that were trained on."""
    shown = {
        name: trials[0][1]
        for (name, a), trials in results.items()
        if a == approach and name in EXPERIMENTS
    }
    print(f"\n{approach}:\n\n| material | Z | " + " | ".join(shown) + " |")
    print("|---|---|" + "---|" * len(shown))
    scores = {
        name: {score.material: score for score in evaluation.by_material()}
        for name, evaluation in shown.items()
    }
    for number, names in MATERIALS.items():
        for material in names:
            cells = []
            for name in shown:
                text = f"{scores[name][material].accuracy:.2f}"
                cells.append(f"**{text}**" if material in EXPERIMENTS[name] else text)
            z = next(iter(scores.values()))[material].atomic_number
            print(f"| {material} ({number}) | {z:.1f} | {' | '.join(cells)} |")


def print_right_and_wrong(evaluation: Evaluation) -> None:
    """Item 10."""
    quality = evaluation.compare_quality()
    print(
        f"\nImage quality, median: {quality.median_right:.3f} of {quality.n_right} right and "
        f"{quality.median_wrong:.3f} of {quality.n_wrong} wrong patterns; area under the curve "
        f"{quality.auc:.3f}, p {quality.p_value:.2g}"
    )
    for found in evaluation.compare_orientations():
        print(
            f"Orientations, {found.laue_group}: distance {found.distance:.3f}, by chance "
            f"{found.by_chance:.3f}, p {found.p_value:.2g}"
        )
    confusion = evaluation.confusion_by_material()
    wrong = [
        (int(n), row, column)
        for row, counts in zip(confusion.rows, confusion.counts, strict=True)
        for column, n in zip(confusion.columns, counts, strict=True)
        if column != row[0]
    ]
    pairs = ", ".join(
        f"{row[1]} ({row[0]}) as {column}: {n}" for n, row, column in sorted(wrong)[:-9:-1]
    )
    print(f"Most frequent errors: {pairs}")


def table(options: argparse.Namespace) -> None:
    setting = FULL if options.full else SMALL
    _, test = simulate(setting)
    quality = evaluate(load_model(setting.packaged), test).quality
    results = read_results(options.work, test, quality)
    print_approaches(results)
    print_materials(results)
    for approach in sorted({a for name, a in results if name not in (ALL, GRAINS)}):
        print_each_material(results, approach)
    if (ALL, options.approach) not in results:
        raise ValueError(f"There is no trial of {options.approach!r} in '{options.work}'.")
    print_right_and_wrong(results[ALL, options.approach][0][1])
    if options.figures is not None:
        draw(results, options.figures, options.approach)


def draw(results: dict, folder: Path, approach: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    curves = {
        a: [history for history, _ in trials]
        for (name, a), trials in results.items()
        if name == ALL and " + " not in a
    }
    evaluation = results[ALL, approach][0][1]
    figures = {
        "training_curves": plotting.plot_training_curves(curves),
        "scores": plotting.plot_scores(evaluation),
        "confusion": plotting.plot_confusion(evaluation, by="material"),
        "orientations": plotting.plot_orientations(evaluation),
        "quality": plotting.plot_quality(evaluation),
    }
    heavy = "one heavy material"
    for start in {a for name, a in results if name == heavy}:
        trained = {(n, m) for n, names in MATERIALS.items() for m in names}
        trained = [key for key in trained if key[1] in EXPERIMENTS[heavy]]
        figures[f"one_heavy_{start.replace(' ', '_')}"] = plotting.plot_accuracy_by_atomic_number(
            results[heavy, start][0][1], trained_on=trained
        )
    for name, figure in figures.items():
        with replacing(folder / f"papers_{name}.png") as temporary:
            figure.savefig(temporary, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("run")
    command.add_argument("--work", type=Path, required=True)
    command.add_argument("--full", action="store_true", help="the papers' own size")
    command.add_argument("--trials", type=int, default=5)
    command.add_argument("--other-materials", type=Path, help="folder of a network to start from")
    command.add_argument("--imagenet", type=Path, help="file of Keras' ImageNet weights")
    command.set_defaults(run=run)
    command = commands.add_parser("shots")
    command.add_argument("--work", type=Path, required=True)
    command.add_argument("--full", action="store_true", help="the papers' own size")
    command.add_argument("--trials", type=int, default=3)
    command.add_argument("--other-materials", type=Path, help="folder of a network to start from")
    command.add_argument("--imagenet", type=Path, help="file of Keras' ImageNet weights")
    command.add_argument("--figure", type=Path, required=True)
    command.set_defaults(run=shots)
    command = commands.add_parser("table")
    command.add_argument("work", type=Path)
    command.add_argument("--full", action="store_true", help="the papers' own size")
    command.add_argument("--approach", default="packaged", help="that figures show")
    command.add_argument("--figures", type=Path, help="folder for figures")
    command.set_defaults(run=table)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
