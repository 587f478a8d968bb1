"""Twenty real patterns improve a packaged model on the others of their sources.

    python benchmarks/few_real_patterns.py --model fast_fewshot --trials 5

Needs ../shared/patterns. Of nickel, silicon and ferritic steel 4, 1 and 15 patterns are learned,
beside simulated patterns of all six space groups, so that these are not forgotten. Of steel they
are of three or four grains, and the other grains are tested: patterns of one grain hardly differ.
Nickel and silicon are one map of few grains and one crystal at three distances, where nothing like
it can be done. Each trial draws other patterns. Printed is what the model makes of the patterns not
drawn, before and after, and of simulated patterns of orientations that neither has seen. As a
control, the same training without the real patterns.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import kikuchipy as kp
import numpy as np
from accuracy import REAL_PATTERNS
from kikuchipy.signals import EBSD
from orix.quaternion import Orientation
from orix.quaternion.symmetry import Oh
from packaged_model import SIX, Task
from papers.tables import mean_and_deviation
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from kikuchipy_cnn import load_model
from kikuchipy_cnn.evaluation import Evaluation, evaluate
from kikuchipy_cnn.models import ModelBundle
from kikuchipy_cnn.training import (
    Augmentation,
    FewShotProtocol,
    FewShotTrainer,
    LabelledPatterns,
)

N_NICKEL, N_SILICON, N_STEEL = 4, 1, 15
MOST_OF_A_GRAIN = 5
GRAIN_BOUNDARY = 5  # degrees
# Of the real patterns that are drawn, one in so many tells when to stop.
VALIDATION_EVERY = 5
# How often a real pattern comes, each time with other imperfections.
REPEATS = 12
PROTOCOL = FewShotProtocol(
    learning_rate=3e-4,
    schedule="cosine",
    max_epochs=12,
    statistics="frozen",
    augmentation=Augmentation(mirror=True, severity=0.4),
)


def real_patterns() -> LabelledPatterns:
    """All real patterns at hand, those of steel with their grains."""
    with np.load(REAL_PATTERNS / "steel_ferrite" / "patterns.npz") as data:
        patterns, euler = data["patterns"], data["euler_bunge_rad"]
    orientations = Orientation.from_euler(euler, symmetry=Oh)
    angles = np.rad2deg(orientations.get_distance_matrix(progressbar=False))
    tree = linkage(squareform(angles, checks=False), "single")
    grains = [f"grain {i}" for i in fcluster(tree, GRAIN_BOUNDARY, "distance")]
    silicon = [kp.load(file) for file in sorted((REAL_PATTERNS / "si_wafer").glob("*.h5"))]
    others = {225: {"nickel": kp.data.nickel_ebsd_small()}, 227: {"silicon": silicon}}
    return LabelledPatterns.from_signals(others) + LabelledPatterns.from_signal(
        EBSD(patterns), 229, "steel", grain=grains
    )


def draw(real: LabelledPatterns, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Indices of twenty patterns to learn, and of those to test."""
    learned: list[int] = []
    tested: list[int] = []
    for material, n in (("nickel", N_NICKEL), ("silicon", N_SILICON)):
        places = rng.permutation(np.flatnonzero(real.material == material))
        learned.extend(places[:n])
        tested.extend(places[n:])
    missing = N_STEEL
    for grain in rng.permutation(np.unique(real.grain[real.material == "steel"])):
        places = rng.permutation(np.flatnonzero(real.grain == grain))
        if missing:
            chosen = places[: min(missing, MOST_OF_A_GRAIN)]
            learned.extend(chosen)
            missing -= len(chosen)
        else:
            tested.extend(places)
    return np.array(learned), np.array(tested)


def simulated_patterns(names: list[str], n: int, seed: int) -> LabelledPatterns:
    """Patterns of some phases of each space group, of any camera."""
    return LabelledPatterns.from_simulation(
        names, n, shape=(71, 71), seed=seed, show_progressbar=False
    )


def some_phases(rng: np.random.Generator, n: int) -> list[str]:
    """Phases that the packaged models were trained on, as many of each space group."""
    task = Task()
    names: list[str] = []
    for number in SIX:
        members = [name for name in task.seen if task.library.space_groups[name] == number]
        names += [str(name) for name in rng.choice(members, min(n, len(members)), replace=False)]
    return names


def adapt(
    start: ModelBundle, learned: LabelledPatterns, simulated: LabelledPatterns, seed: int
) -> ModelBundle:
    """Train on with simulated patterns and, where there are some, real ones."""
    order = np.random.default_rng(seed).permutation(len(learned))
    for_stop, for_fit = order[::VALIDATION_EVERY], np.setdiff1d(order, order[::VALIDATION_EVERY])
    simulated_for_stop = simulated.index % 6 == 0
    result = FewShotTrainer(start, PROTOCOL, name="adapted", seed=seed).fit(
        simulated.take(~simulated_for_stop) + learned.take(np.repeat(for_fit, REPEATS)),
        simulated.take(simulated_for_stop) + learned.take(np.repeat(for_stop, REPEATS)),
        classes=start.classes,
        show_progressbar=False,
    )
    return result.bundle


def show(name: str, evaluation: Evaluation) -> tuple[float, float]:
    """Print the accuracy of each material; return that of all and the right one's probability."""
    found = {score.material: score.accuracy for score in evaluation.by_material()}
    columns = np.array([evaluation.classes.index(number) for number in evaluation.true])
    right = evaluation.probabilities[np.arange(len(columns)), columns]
    print(
        f"  {name:7s}"
        + "".join(f"  {material} {value:.2f}" for material, value in found.items())
        + f"  | all {evaluation.right.sum()} of {len(evaluation)}, "
        f"probability of the right one {right.mean():.3f}",
        flush=True,
    )
    return evaluation.accuracy, float(right.mean())


def judge(bundle: ModelBundle, patterns: LabelledPatterns) -> Evaluation:
    return evaluate(bundle, patterns, with_quality=False, show_progressbar=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="fast_fewshot")
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--phases", type=int, default=10, help="simulated, of each space group")
    parser.add_argument("--patterns", type=int, default=12, help="of each phase")
    parser.add_argument("--save", type=Path, help="folder for the model of the first trial")
    options = parser.parse_args()
    start = load_model(options.model)
    real = real_patterns()
    table: dict[str, list[tuple[float, float, float]]] = {
        name: [] for name in ("before", "control", "after")
    }
    for trial in range(options.trials):
        rng = np.random.default_rng(trial)
        learned, tested = draw(real, rng)
        names = some_phases(rng, options.phases)
        simulated = simulated_patterns(names, options.patterns, seed=trial)
        unseen = simulated_patterns(names, 8, seed=1000 + trial)
        print(f"Trial {trial}: learns {len(learned)}, tests {len(tested)}")
        models = {
            "before": start,
            "control": adapt(start, real.take(learned[:0]), simulated, trial),
            "after": adapt(start, real.take(learned), simulated, trial),
        }
        for name, model in models.items():
            on_real = show(name, judge(model, real.take(tested)))
            table[name].append((*on_real, judge(model, unseen).accuracy))
            print(f"    simulated, new orientations: {table[name][-1][-1]:.3f}")
        if trial == 0 and options.save is not None:
            models["after"].save(options.save)
    print("\n| | real patterns right | probability of the right one | simulated right |")
    print("|---|---|---|---|")
    for name, rows in table.items():
        cells = [mean_and_deviation(column) for column in zip(*rows, strict=True)]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
