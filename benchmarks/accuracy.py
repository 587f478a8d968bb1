"""Measure how often the packaged models are right, on freshly simulated and on real patterns.

    python benchmarks/accuracy.py fast_fewshot xception_fewshot --output accuracy

Simulated patterns come from the packaged library of master patterns, as `classify_space_group`
would get them: 8 bit, of any size, phase by phase equally many. Which phases a model was trained on
and which were left out is read from its bundle. Figures are given with their number of patterns
and an interval of 95 % confidence for other phases of the same kind (phases are drawn anew, not
patterns). Real patterns are read from --real and left out where that folder is absent.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

import kikuchipy as kp
import numpy as np
from kikuchipy.signals import EBSD
from papers.materials import MATERIALS
from records import write_record

from kikuchipy_cnn.evaluation import Evaluation, evaluate, expected_calibration_error
from kikuchipy_cnn.models import ModelBundle, load_model
from kikuchipy_cnn.simulation import (
    Disturbances,
    load_phases,
    simulate_patterns,
    superlattice_strength,
)
from kikuchipy_cnn.simulation.disturbances import NOISE_LEVELS
from kikuchipy_cnn.simulation.library import load_library
from kikuchipy_cnn.simulation.phases import load_phase_table
from kikuchipy_cnn.simulation.sampler import PatternSampler
from kikuchipy_cnn.space_groups import probability_property
from kikuchipy_cnn.training import LabelledPatterns
from kikuchipy_cnn.training.labelled import PatternSource

REAL_PATTERNS = Path(__file__).resolve().parents[2] / "shared" / "patterns"
# Below this share of its intensity in the reflections that set a phase apart from one of a denser
# lattice, its space group does not show in a pattern of usual quality.
LEAST_VISIBLE = 0.01
SIZES = (40, 60, 120, 240)
CIRCULAR_SIZE = 120
# The spread of fewer phases says nothing of others.
LEAST_PHASES = 8
PAPERS = [name for names in MATERIALS.values() for name in names]
N_BOOTSTRAP = 1000
_HEADING = "n | precision | recall | balanced recall | centring | calibration error |"


@cache
def visibility() -> dict[str, float]:
    """Share of each phase's intensity in the reflections that tell its space group."""
    phases = load_phases()
    return {
        name: superlattice_strength(phases[name]).ratio
        for name, entry in load_phase_table().items()
        if 221 <= entry.space_group <= 230
    }


def disturbances(level: str) -> Disturbances:
    """Imperfections of a level. A map tells the shape of its detector, which is square here."""
    return Disturbances.of_level(level).of_whole_detector()


def measure(model: ModelBundle, n_seen: int, n_left_out: int, seed: int, real: Path) -> dict:
    """All figures of a model.

    Parameters
    ----------
    model
        Model with a record of its training.
    n_seen, n_left_out
        Patterns of each phase that was trained on, and of each that was left out.
    seed
        Seed of the simulated patterns.
    real
        Folder of real patterns.
    """
    seen, left_out = phases_of(model)
    result: dict = {"model": model.name, "seed": seed, "levels": {}, "sizes": {}}
    for level in NOISE_LEVELS:
        result["levels"][level] = {}
        for kind, names, n in (("seen", seen, n_seen), ("left out", left_out, n_left_out)):
            judged = _evaluate(model, names, n, 71, level, seed)
            result["levels"][level][kind] = summary(judged)
            if level == "medium":
                result[kind] = details(judged)
    for size in SIZES:
        patterns = simulated(seen, max(1, n_seen // 4), size, "medium", seed + 1)
        result["sizes"][size] = summary(judge(model, patterns))
        if size == CIRCULAR_SIZE:
            (source,) = patterns.sources
            patterns = replace(patterns, sources=(replace(source, signal_mask=_circle(size)),))
            result["circular"] = summary(judge(model, patterns))
    papers = [name for name in PAPERS if group(name) in model.classes]
    result["papers"] = details(_evaluate(model, papers, 4 * n_seen, 71, "medium", seed + 2))
    result["emsoft"] = {level: emsoft_nickel(model, level, seed) for level in NOISE_LEVELS}
    result["real"] = real_patterns(model, real)
    return result


def phases_of(model: ModelBundle) -> tuple[list[str], list[str]]:
    """Phases of a model's space groups that it was trained on, and those left out for the test."""
    if "left_out_phases" not in model.training or model.trained_materials is None:
        raise ValueError(
            f"{model.name} has no record of phases left out. Judge it with "
            "`kikuchipy-cnn evaluate`."
        )
    seen = sorted(name for number, name in model.trained_materials if number in model.classes)
    left_out = [n for n in model.training["left_out_phases"] if group(n) in model.classes]
    return seen, left_out


@cache
def _groups() -> dict[str, int]:
    """Space group of each phase of the catalogue."""
    return {name: entry.space_group for name, entry in load_phase_table().items()}


def group(name: str) -> int:
    return _groups()[name]


@cache
def master_patterns() -> tuple[list[str], np.ndarray]:
    """Names and master patterns of the packaged phases of m-3m; one hemisphere says all."""
    library = load_library()
    names = [name for name in library.names if 221 <= library.space_groups[name] <= 230]
    return names, np.stack([library[name][0] for name in names])


def as_8_bit(recorded: np.ndarray) -> np.ndarray:
    """Patterns as most cameras give them, each over the whole range."""
    low, high = (f(recorded, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
    return np.round((recorded - low) / (high - low) * 255).astype(np.uint8)


def simulated(names: list[str], n: int, size: int, level: str, seed: int) -> LabelledPatterns:
    """Equally many patterns of each phase, of 8 bit, as of one map."""
    known, masters = master_patterns()
    chosen = masters[[known.index(name) for name in names]]
    sampler = PatternSampler(chosen, np.ones(len(names)), size, disturbances(level), seed)
    patterns = np.empty((len(names), n, size, size), np.uint8)
    for i, only in enumerate(np.eye(len(names))):
        sampler.probabilities = only
        patterns[i] = as_8_bit(sampler.sample(n).patterns)
    material = np.repeat(names, n)
    return LabelledPatterns(
        sources=(PatternSource(patterns.reshape(-1, size, size)),),
        source=np.zeros(len(material), int),
        index=np.arange(len(material)),
        space_group=np.array([group(name) for name in material]),
        material=material,
        map_name=material,
    )


def judge(model: ModelBundle, patterns: LabelledPatterns) -> Evaluation:
    return evaluate(model, patterns, with_quality=False, show_progressbar=False)


def _evaluate(model: ModelBundle, names, n, size, level, seed) -> Evaluation:
    return judge(model, simulated(names, n, size, level, seed))


def _circle(size: int) -> np.ndarray:
    """Mask of a circular detector, True outside."""
    from_middle = np.arange(size) + 0.5 - size / 2
    return np.hypot(*np.meshgrid(from_middle, from_middle)) > size / 2


def summary(judged: Evaluation) -> dict:
    """Figures over all patterns."""
    centring = judged.coarser("centring")
    weighted, macro = judged.weighted(), judged.macro()
    return {
        "n": len(judged),
        "phases": len(set(judged.patterns.material)),
        "precision": weighted.precision,
        "recall": weighted.recall,
        "interval": interval(judged.patterns.material, judged.right),
        "balanced recall": macro.recall,
        "centring": centring.accuracy,
        "centring interval": interval(judged.patterns.material, centring.right),
        "calibration error": expected_calibration_error(judged.scores, judged.right),
    }


def details(judged: Evaluation) -> dict:
    """Figures by space group and by phase."""
    centring = judged.coarser("centring").right
    material, group = judged.patterns.material, judged.patterns.space_group
    by_group = {}
    for score in judged.by_class():
        own = group == score.label
        by_group[int(score.label)] = {
            "precision": score.precision,
            "recall": score.recall,
            "interval": interval(material[own], judged.right[own]),
            "n": score.n,
            "phases": len(set(material[own])),
        }
    return {
        "by space group": by_group,
        "by phase": {
            score.material: [
                int(score.space_group),
                score.accuracy,
                float(centring[material == score.material].mean()),
                score.n,
            ]
            for score in judged.by_material()
        },
        "taken for": {
            str(row): dict(zip(map(str, table.columns), map(int, counts), strict=True))
            for table in [judged.confusion()]
            for row, counts in zip(table.rows, table.counts, strict=True)
        },
    }


def interval(phases: np.ndarray, right: np.ndarray) -> list[float] | None:
    """Interval of 95 % confidence of a mean over phases (bootstrap: phases are drawn anew)."""
    rng = np.random.default_rng(0)
    names, index = np.unique(phases, return_inverse=True)
    if len(names) < LEAST_PHASES:
        return None
    means = np.bincount(index, right) / np.bincount(index)
    drawn = rng.integers(len(names), size=(N_BOOTSTRAP, len(names)))
    return np.quantile(means[drawn].mean(axis=1), [0.025, 0.975]).tolist()


def emsoft_nickel(model: ModelBundle, level: str, seed: int, n: int = 400) -> dict:
    """Nickel from the master pattern of EMsoft that comes with kikuchipy."""
    master_pattern = kp.data.nickel_ebsd_master_pattern_small(projection="lambert", energy=20)
    s = simulate_patterns(
        [master_pattern],
        n,
        shape=(71, 71),
        disturbances=disturbances(level),
        seed=seed,
        show_progressbar=False,
    )
    return _found([s], model, 225)


def real_signals(folder: Path) -> dict[str, tuple[list[EBSD], int]]:
    """Real patterns at hand and their space group."""
    found = {"nickel (kikuchipy, 60 x 60)": ([kp.data.nickel_ebsd_small()], 225)}
    files = sorted((folder / "si_wafer").glob("*.h5"))
    if files:
        signals = [kp.load(file) for file in files]
        found["silicon wafer (3 camera distances, 480 x 480)"] = (signals, 227)
    file = folder / "steel_ferrite" / "patterns.npz"
    if file.exists():
        with np.load(file) as data:
            patterns, good = data["patterns"], data["ci"] > 0.5
        name = "ferritic steel (240 x 240), confidence index"
        found[f"{name} > 0.5"] = ([EBSD(patterns[good])], 229)
        found[f"{name} <= 0.5"] = ([EBSD(patterns[~good])], 229)
    return found


def real_patterns(model: ModelBundle, folder: Path = REAL_PATTERNS) -> dict[str, dict]:
    """What a user gets for the real patterns."""
    return {
        name: _found(signals, model, number)
        for name, (signals, number) in real_signals(folder).items()
    }


def _found(signals: Iterable[EBSD], model: ModelBundle, number: int) -> dict:
    """Counts of the space groups that signals of one are given."""
    with contextlib.redirect_stdout(io.StringIO()):
        maps = [
            s.classify_space_group(model, reject=False, show_progressbar=False) for s in signals
        ]
    counts = Counter(int(i) for xmap in maps for i in xmap.phase_id)
    mean = np.concatenate([xmap.prop[probability_property(number)] for xmap in maps]).mean()
    n = sum(xmap.size for xmap in maps)
    return {"class": number, "counts": dict(counts), "n": n, "mean": float(mean)}


def report(result: dict) -> str:
    """Tables in Markdown."""
    parts = [
        "## Simulated patterns, by noise level",
        "",
        "Equally many patterns of each phase, 71 x 71 pixels, all geometries. Levels are those of",
        "`Disturbances.of_level`. In brackets: interval of 95 % for other phases of the same kind.",
        "Phases whose space group hardly shows are neither among the phases seen nor left out:",
        "with them all figures would be lower.",
        "",
        "| level | phases | " + _HEADING,
        "|---|---|---|---|---|---|---|---|",
    ]
    for level, kinds in result["levels"].items():
        parts += [_row(f"{level} | {x['phases']} {kind}", x) for kind, x in kinds.items()]
    parts += ["", "## By pattern size", "", "Medium noise, phases trained on.", ""]
    parts += ["| pixels | " + _HEADING]
    parts += ["|---|---|---|---|---|---|---|"]
    parts += [_row(f"{size} x {size}", x) for size, x in result["sizes"].items()]
    parts += [_row("120 x 120, circular detector", result["circular"])]
    parts += ["", "## By space group", "", "Medium noise.", ""]
    parts += [
        "| space group | patterns | phases | n | precision | recall |",
        "|---|---|---|---|---|---|",
    ]
    for number in result["seen"]["by space group"]:
        for kind in ("seen", "left out"):
            x = result[kind]["by space group"].get(number)
            if x is not None and x["n"]:
                parts.append(
                    f"| {number} | {kind} | {x['phases']} | {x['n']} | {x['precision']:.3f} "
                    f"| {x['recall']:.3f}{_brackets(x['interval'])} |"
                )
    parts += ["", "## Real patterns", ""]
    parts += ["Through `classify_space_group`, with its defaults.", ""]
    parts += [
        "| patterns | space group | right | mean probability | found |",
        "|---|---|---|---|---|",
    ]
    for name, x in result["real"].items():
        parts.append(_found_row(name, x))
    parts += ["", "## Another simulator", "", "EMsoft's nickel, as kikuchipy ships it.", ""]
    parts += ["| noise | space group | right | mean probability | found |", "|---|---|---|---|---|"]
    parts += [_found_row(level, x) for level, x in result["emsoft"].items()]
    table = load_phase_table()
    for title, key in (("The papers' materials", "papers"), ("Phases left out", "left out")):
        parts += ["", f"## {title}", "", "Medium noise.", ""]
        parts += ["| phase | space group | structure type | visible | right | centring right | n |"]
        parts += ["|---|---|---|---|---|---|---|"]
        for name, (number, right, centring, n) in result[key]["by phase"].items():
            parts.append(
                f"| {name} | {number} | {table[name].prototype} "
                f"| {visibility()[name]:.4f} | {right:.2f} | {centring:.2f} | {n} |"
            )
    parts += [
        "",
        "Visible: share of the intensity of reflections that sets the phase apart from one",
    ]
    parts += ["of a denser lattice (`superlattice_strength`)."]
    return "\n".join(parts)


def _row(name: str, x: dict) -> str:
    return (
        f"| {name} | {x['n']} | {x['precision']:.3f} | {x['recall']:.3f}{_brackets(x['interval'])} "
        f"| {x['balanced recall']:.3f} | {x['centring']:.3f}{_brackets(x['centring interval'])} "
        f"| {x['calibration error']:.3f} |"
    )


def _brackets(limits: list[float] | None) -> str:
    return "" if limits is None else f" ({limits[0]:.3f} to {limits[1]:.3f})"


def _found_row(name: str, x: dict) -> str:
    found = ", ".join(f"{number}: {count}" for number, count in sorted(x["counts"].items()))
    right = x["counts"].get(x["class"], 0)
    return f"| {name} | {x['class']} | {right} of {x['n']} | {x['mean']:.2f} | {found} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", help="names of packaged models, or folders of bundles")
    parser.add_argument("--seen", type=int, default=8, help="patterns of each phase trained on")
    parser.add_argument("--left-out", type=int, default=60, help="of each phase left out")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--real", type=Path, default=REAL_PATTERNS)
    parser.add_argument("--output", type=Path, help="folder for the figures as JSON")
    options = parser.parse_args()
    for name in options.models:
        start = time.time()
        model = load_model(name)
        result = measure(model, options.seen, options.left_out, options.seed, options.real)
        print(f"# {model.name} ({time.time() - start:.0f} s)\n\n{report(result)}\n", flush=True)
        if options.output is not None:
            options.output.mkdir(parents=True, exist_ok=True)
            file = options.output / f"{model.name}.json"
            write_record(file, result)


if __name__ == "__main__":
    main()
