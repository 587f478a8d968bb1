"""Measure how well models know when not to know.

    python benchmarks/uncertainty.py measure fast_fewshot xception_fewshot --output uncertainty
    python benchmarks/uncertainty.py draw uncertainty/fast_fewshot.json --output docs/images

Patterns are simulated anew (see ``accuracy.py``) or real, with all classes alike. Models were
calibrated on phases that they were trained on (85 % of the weight) and on phases left out (15 %).
For figures of phases left out, the temperatures are fitted anew to the other two thirds of these
phases, so that no phase is judged by a temperature that knows it. What refuses other phases was
shown half of the structure types outside the classes, and images of noise, without features and
blocked; figures are of the other half, and of textures and overlaps as kinds that are new to it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import accuracy
import kikuchipy as kp
import numpy as np
from accuracy import REAL_PATTERNS
from kikuchipy.signals import EBSD
from matplotlib.figure import Figure
from orix.crystal_map import PhaseList
from records import write_record
from scipy.special import softmax
from scipy.stats import spearmanr

from kikuchipy_cnn.evaluation import detect, expected_calibration_error, reliability
from kikuchipy_cnn.models import Ensemble, ModelBundle, as_model
from kikuchipy_cnn.models.ensemble import members_of
from kikuchipy_cnn.plotting import plot_reliability, plot_risk_coverage
from kikuchipy_cnn.simulation import NON_PATTERNS, load_phases
from kikuchipy_cnn.simulation.disturbances import NOISE_LEVELS
from kikuchipy_cnn.simulation.library import load_library
from kikuchipy_cnn.simulation.phases import load_phase_table
from kikuchipy_cnn.simulation.sampler import PatternSampler
from kikuchipy_cnn.training import LabelledPatterns, calibrate, fit_rejection
from kikuchipy_cnn.training.calibration import fit_temperatures
from kikuchipy_cnn.training.network_outputs import NetworkOutputs
from kikuchipy_cnn.training.rejection import simulate_non_patterns, simulate_other_phases
from kikuchipy_cnn.uncertainty import FeatureDistance, RejectReason, RiskCoverage, energy
from kikuchipy_cnn.uncertainty.measures import mutual_information, spread
from kikuchipy_cnn.uncertainty.rejection import reject_reasons

Model = ModelBundle | Ensemble
# Share of the phases left out in what calibration and risk are fitted to.
SHARE_LEFT_OUT = 0.15
N_FOLDS = 3
# Seeds of patterns to fit to and of patterns to judge by.
FIT_SEED, TEST_SEED = 300, 400
SIZE = 71
# Standard deviations of added noise, in units of that of the real pattern.
ADDED_NOISE = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, np.inf)
N_NOISY = 20
RISKS = (0.01, 0.02, 0.05, 0.1)
COVERAGE = 0.95
PROBABILITY = "winner's probability"


def known_patterns(
    model: Model, n_seen: int, n_left_out: int, seed: int
) -> tuple[LabelledPatterns, np.ndarray, np.ndarray]:
    """Patterns at all levels of noise, about equally many of each class.

    Parameters
    ----------
    model
        Model.
    n_seen, n_left_out
        Patterns of each class and level: of phases that it was trained on, and of those left out.
    seed
        Seed.

    Returns
    -------
    patterns, level, is_seen
        Patterns, number of their level of noise, and whether their phase was trained on.
    """
    seen, left_out = accuracy.phases_of(model)
    parts, levels, is_seen = [], [], []
    for i, level in enumerate(NOISE_LEVELS):
        for names, n in ((seen, n_seen), (left_out, n_left_out)):
            for number in model.classes:
                own = [name for name in names if accuracy.group(name) == number]
                n_of_phase = max(1, round(n / len(own)))
                parts.append(accuracy.simulated(own, n_of_phase, SIZE, level, seed + i))
                levels.append(np.full(len(parts[-1]), i))
                is_seen.append(np.full(len(parts[-1]), names is seen))
    return LabelledPatterns.concatenate(parts), np.concatenate(levels), np.concatenate(is_seen)


def weights_of(is_seen: np.ndarray) -> np.ndarray:
    """Weights with which phases left out have their share, and the mean is 1."""
    shares = np.where(is_seen, (1 - SHARE_LEFT_OUT) / is_seen.sum(), 0.0)
    shares[~is_seen] = SHARE_LEFT_OUT / (~is_seen).sum()
    return shares * len(is_seen)


@cache
def _table() -> dict:
    return load_phase_table()


def outside_phases() -> tuple[list[str], list[str]]:
    """Phases of other point groups than m-3m, of one half of the structure types and the other."""
    names = [name for name in load_library().names if not 221 <= _table()[name].space_group <= 230]
    types = sorted({_table()[name].prototype for name in names})
    chosen = set(np.random.default_rng(2026).permutation(types)[: len(types) // 2])
    fitted = [name for name in names if _table()[name].prototype in chosen]
    return fitted, [name for name in names if name not in fitted]


def related_phases(model: Model) -> tuple[list[str], list[str]]:
    """Phases of m-3m whose space group is no class: learned from by the network, and not."""
    left_out = model.training["left_out_phases"]
    learned = [name for number, name in model.trained_materials if number not in model.classes]
    others = [name for name in left_out if _table()[name].space_group not in model.classes]
    return sorted(learned), others


def prepare(model: Model, show_progressbar: bool = False) -> Model:
    """Calibrate a model and fit its rejection, as the packaged ones are."""
    known, _, is_seen = known_patterns(model, 500, 150, FIT_SEED)
    weights = weights_of(is_seen)
    model = calibrate(model, known, weights, show_progressbar=show_progressbar)
    others = simulate_other_phases(
        model,
        outside_phases()[0] + related_phases(model)[0],
        seed=FIT_SEED,
        show_progressbar=show_progressbar,
    )
    return fit_rejection(
        model,
        known,
        others,
        simulate_non_patterns(model, seed=FIT_SEED),
        weights=weights,
        description=f"simulated, all classes and low, medium and high noise alike, "
        f"{SHARE_LEFT_OUT:.0%} of phases not trained on",
        show_progressbar=show_progressbar,
    )


class Judged:
    """Outputs of a model on a set of patterns, and all scores of doubt."""

    def __init__(self, model: Model, outputs: NetworkOutputs) -> None:
        self.model, self.outputs = model, outputs
        self.probabilities = outputs.probabilities(model)
        kinds = [
            member.detector(features, logits)
            for member, features, logits in zip(
                members_of(model), outputs.features, outputs.logits, strict=True
            )
        ]
        self.kinds = np.mean(kinds, axis=0)

    @property
    def confidence(self) -> np.ndarray:
        return self.probabilities.max(axis=1) * self.kinds[:, 0]

    def refused(self, max_risk: float | None = None) -> np.ndarray:
        limits = self.model.rejection.limits_for(max_risk)
        winner, valid = self.probabilities.max(axis=1), np.ones(len(self.kinds), bool)
        return reject_reasons(winner, self.kinds, valid, limits)[1] > 0

    def right(self) -> np.ndarray:
        return self.probabilities.argmax(axis=1) == self.outputs.labels(self.model.classes)

    def scores(self, distances: Sequence[FeatureDistance]) -> dict[str, np.ndarray]:
        """Scores that are higher the more a pattern is like those known."""
        logits, features = self.outputs.logits, self.outputs.features
        scores = {
            PROBABILITY: self.probabilities.max(axis=1),
            "energy": np.mean([energy(x) for x in logits], axis=0),
            "largest logit": np.mean([x.max(axis=1) for x in logits], axis=0),
            "feature distance": np.mean(
                [d(x, relative=False) for d, x in zip(distances, features, strict=True)], axis=0
            ),
            "relative feature distance": np.mean(
                [d(x) for d, x in zip(distances, features, strict=True)], axis=0
            ),
            "known phase (detector)": self.kinds[:, 0],
            "confidence": self.confidence,
        }
        if isinstance(self.model, Ensemble):
            each = np.array(
                [
                    softmax(x / member.temperature, axis=1)
                    for x, member in zip(logits, self.model.members, strict=True)
                ]
            )
            scores["mutual information"] = -mutual_information(each)
            scores["spread"] = -spread(each)
        return scores


def measure(model: Model, n_seen: int, n_left_out: int, real: Path) -> dict:
    """All figures of a model."""
    patterns, level, is_seen = known_patterns(model, n_seen, n_left_out, TEST_SEED)
    known = Judged(model, NetworkOutputs.of_patterns(model, patterns, False))
    probabilities = _cross_calibrated(model, known, is_seen)
    result = {
        "model": model.name,
        "n": len(patterns),
        "calibration": _calibration(model, known, probabilities, level, is_seen),
        "detection": _detection(model, known, level, is_seen),
        "risk": _risk(model, known, level, is_seen),
        "real": _real(model, real),
        "noise": _added_noise(model, real),
        "limits": model.rejection.limits._asdict(),
    }
    if isinstance(model, Ensemble):
        result["members"] = _members(model, known, level, is_seen)
    return result


def _cross_calibrated(model: Model, known: Judged, is_seen: np.ndarray) -> np.ndarray:
    """Probabilities; those of phases left out with temperatures that do not know the phase."""
    weights = weights_of(is_seen)
    names = known.outputs.patterns.material
    phases = np.unique(names[~is_seen])
    numbers = np.random.default_rng(7).permutation(len(phases)) % N_FOLDS
    fold = dict(zip(phases, numbers, strict=True))
    folds = np.array([fold.get(name, -1) for name in names])
    probabilities = known.probabilities.copy()
    for number in range(N_FOLDS):
        own = folds == number
        # Those to fit to are other patterns of the same noise.
        refitted = fit_temperatures(model, known.outputs.take(~own), weights[~own])
        probabilities[own] = known.outputs.probabilities(refitted)[own]
    return probabilities


def _calibration(model, known: Judged, probabilities, level, is_seen) -> dict:
    right = known.right()
    confidence = probabilities.max(axis=1)
    rows = {}
    for i, name in enumerate(NOISE_LEVELS):
        for kind, of_kind in (("seen", is_seen), ("left out", ~is_seen)):
            chosen = of_kind & (level == i)
            rows[f"{name}, {kind}"] = _calibration_row(confidence[chosen], right[chosen])
    for kind, of_kind in (("seen", is_seen), ("left out", ~is_seen)):
        rows[f"all, {kind}"] = _calibration_row(confidence[of_kind], right[of_kind])
    rows["geometry shifted, seen"] = _shifted(model)
    winners = np.array(model.classes.ids)[probabilities.argmax(axis=1)]
    groups = {
        int(number): _calibration_row(confidence[own], right[own])
        for number in model.classes.ids
        for own in [is_seen & (winners == number)]
    }
    curves = {
        kind: reliability(confidence[of_kind], right[of_kind])
        for kind, of_kind in (("phases seen", is_seen), ("phases left out", ~is_seen))
    }
    diagrams = {
        name: {
            field: getattr(curve, field).tolist()
            for field in ("confidence", "accuracy", "low", "high", "count")
        }
        for name, curve in curves.items()
    }
    return {"rows": rows, "by predicted space group": groups, "diagrams": diagrams}


def _calibration_row(confidence, right) -> dict:
    return {
        "n": len(right),
        "accuracy": right.mean(),
        "error": expected_calibration_error(confidence, right),
    }


def _shifted(model: Model) -> dict:
    """Patterns of a geometry beyond what was trained on: farther and higher up."""
    seen, _ = accuracy.phases_of(model)
    known, masters = accuracy.master_patterns()
    ranges = replace(
        accuracy.disturbances("medium"), pcx=(0.3, 0.38), pcy=(0.65, 0.75), pcz=(1.15, 1.4)
    )
    sampler = PatternSampler(
        masters[[known.index(name) for name in seen]], np.ones(len(seen)), SIZE, ranges, TEST_SEED
    )
    sample = sampler.sample(3000)
    images, _ = model.transform(sample.patterns)
    probabilities = np.concatenate(
        [model.predict_probabilities(images[i : i + 250]) for i in range(0, len(images), 250)]
    )
    labels = np.array([model.classes.index(accuracy.group(name)) for name in seen])[sample.phases]
    return _calibration_row(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels)


def _detection(model, known: Judged, level, is_seen) -> dict:
    """How well scores tell known phases from the rest."""
    fit, _, of_phases_seen = known_patterns(model, 300, 1, FIT_SEED)
    examples = NetworkOutputs.of_patterns(model, fit.take(of_phases_seen), False)
    labels = examples.labels(model.classes)
    distances = [FeatureDistance.fit(features, labels) for features in examples.features]
    sets: dict[str, tuple[dict, np.ndarray | None, np.ndarray]] = {}
    refused = {}
    for name, phases in (
        ("other point groups", outside_phases()[1]),
        ("other groups of m-3m", related_phases(model)[1]),
    ):
        if phases:
            others = simulate_other_phases(
                model, phases, 20, seed=TEST_SEED, show_progressbar=False
            )
            judged = Judged(model, NetworkOutputs.of_patterns(model, others, False))
            levels = np.repeat(np.arange(len(NOISE_LEVELS)), len(others) // len(NOISE_LEVELS))
            sets[name] = judged.scores(distances), others.material, levels
            refused[name] = _share(judged.refused())
    for kind in NON_PATTERNS:
        images = simulate_non_patterns(model, (kind,), 200, seed=TEST_SEED)
        judged = Judged(model, NetworkOutputs.of_images(model, images))
        levels = np.repeat(np.arange(len(NOISE_LEVELS)), 200)
        sets[kind] = judged.scores(distances), None, levels
        refused[kind] = _share(judged.refused())
    inside = known.scores(distances)
    table = {
        score: {
            name: _area(values[is_seen], of[score], phases)
            for name, (of, phases, _) in sets.items()
        }
        for score, values in inside.items()
    }
    best = "known phase (detector)"
    by_level = {}
    for i, name in enumerate(NOISE_LEVELS):
        of, phases, levels = sets["other point groups"]
        here = levels == i
        for kind, of_kind in (("seen", is_seen), ("left out", ~is_seen)):
            own = inside[best][of_kind & (level == i)]
            by_level[f"{name}, {kind}"] = _area(own, of[best][here], phases[here])
    of, phases, _ = sets["other point groups"]
    zinc_blende = np.array([_table()[name].prototype.startswith("ZnS zinc") for name in phases])
    groups = {
        "zinc blende": zinc_blende,
        "other cubic": ~zinc_blende & _system(phases, (195, 230)),
        "hexagonal and trigonal": _system(phases, (143, 194)),
        "tetragonal": _system(phases, (75, 142)),
        "lower symmetry": _system(phases, (1, 74)),
    }
    by_system = {
        name: _area(inside[best][is_seen], of[best][chosen], phases[chosen])
        for name, chosen in groups.items()
        if chosen.any()
    }
    of_known = known.refused()
    refused |= {
        "known, seen": _share(of_known[is_seen]),
        "known, left out": _share(of_known[~is_seen]),
    }
    return {"scores": table, "by level": by_level, "by system": by_system, "refused": refused}


def _system(phases: np.ndarray, limits: tuple[int, int]) -> np.ndarray:
    first, last = limits
    return np.array([first <= _table()[name].space_group <= last for name in phases])


def _share(refused: np.ndarray) -> dict:
    return {"n": len(refused), "share": refused.mean()}


def _area(inside, outside, phases) -> dict:
    found = detect(inside, outside, phases)
    return {
        "area": found.area,
        "interval": found.interval,
        "n": found.n_outside,
        "phases": None if phases is None else len(set(phases)),
    }


def _risk(model, known: Judged, level, is_seen) -> dict:
    """What is gained by not answering the least confident patterns."""
    right, rows, curves = known.right(), {}, {}
    scores = {
        "confidence": known.confidence,
        PROBABILITY: known.probabilities.max(axis=1),
    }
    for i, name in enumerate((*NOISE_LEVELS, "all")):
        for kind, of_kind in (("seen", is_seen), ("left out", ~is_seen)):
            chosen = of_kind & ((level == i) | (name == "all"))
            row = {"n": int(chosen.sum()), "error": (~right[chosen]).mean()}
            for score, values in scores.items():
                curve = RiskCoverage.from_scores(values[chosen], ~right[chosen])
                answered = values[chosen] >= curve.threshold_for_coverage(COVERAGE)
                row[score] = (~right[chosen])[answered].mean()
                row[f"{score}, area"] = curve.area()
            rows[f"{name}, {kind}"] = row
            if name != "all":
                curves[f"{name} noise, {kind}"] = RiskCoverage.from_scores(
                    known.confidence[chosen], ~right[chosen]
                ).to_dict()
    promised = {}
    weights = weights_of(is_seen)
    for risk in RISKS:
        try:
            answered = ~known.refused(risk)
        except ValueError as error:
            promised[str(risk)] = {"refused": str(error)}
            continue
        promised[str(risk)] = {
            "threshold": model.rejection.limits_for(risk).confidence,
            "coverage": np.average(answered, weights=weights),
            "wrong": np.average(~right[answered], weights=weights[answered]),
        }
    return {"rows": rows, "curves": curves, "promised": promised}


def _members(model: Ensemble, known: Judged, level, is_seen) -> dict:
    """Accuracy and calibration error of members and of all together."""
    labels = known.outputs.labels(model.classes)
    each = {
        f"{i} {member.name}": softmax(logits / member.temperature, axis=1)
        for i, (member, logits) in enumerate(
            zip(model.members, known.outputs.logits, strict=True), start=1
        )
    }
    rows = {}
    for name, probabilities in (each | {"ensemble": known.probabilities}).items():
        right = probabilities.argmax(axis=1) == labels
        rows[name] = {
            kind: _calibration_row(probabilities[of_kind].max(axis=1), right[of_kind])
            for kind, of_kind in (("seen", is_seen), ("left out", ~is_seen))
        }
    return rows


def _classified(signal: EBSD, model: Model):
    with contextlib.redirect_stdout(io.StringIO()):
        return signal.classify_space_group(model, show_progressbar=False)


def _real(model: Model, folder: Path) -> dict:
    """Real patterns one by one: confidence indices against ours."""
    rows = {}
    for name, (signals, number) in accuracy.real_signals(folder).items():
        maps = [_classified(signal, model) for signal in signals]
        columns = {
            key: np.concatenate([xmap.prop[key] for xmap in maps]).tolist()
            for key in ("confidence", "known_phase", "no_pattern", f"p_{number}", "reject_reason")
        }
        winner = np.concatenate([_winners(xmap, model) for xmap in maps])
        rows[name] = columns | {"winner": winner.tolist(), "space group": number}
    file = folder / "steel_ferrite" / "patterns.npz"
    if file.exists():
        with np.load(file) as data:
            index, patterns = data["ci"], data["patterns"]
        xmap = _classified(EBSD(patterns), model)
        rows["steel, all"] = {
            "ci": index.tolist(),
            "confidence": xmap.confidence.tolist(),
            "right": (_winners(xmap, model) == 229).tolist(),
            "rank correlation": list(spearmanr(index, xmap.confidence)),
        }
    return rows


def _winners(xmap, model: Model) -> np.ndarray:
    columns = np.stack([xmap.prop[name] for name in model.classes.properties], axis=1)
    return np.array(model.classes.ids)[columns.argmax(axis=1)]


def _added_noise(model: Model, folder: Path) -> dict:
    """Rejection of real patterns with ever more noise, up to nothing but noise."""
    result = {}
    for name, (signals, number) in accuracy.real_signals(folder).items():
        patterns = [
            image
            for signal in signals
            for image in _without_background(signal).reshape(-1, *signal.data.shape[-2:])
        ]
        rng = np.random.default_rng(TEST_SEED)
        rows = []
        for level in ADDED_NOISE:
            noisy = np.stack(
                [
                    _noisy(pattern, level, rng)
                    for pattern in patterns
                    for _ in range(max(1, N_NOISY * 9 // len(patterns)))
                ]
            )
            xmap = _classified(EBSD(noisy), model)
            reasons = np.bincount(xmap.reject_reason, minlength=len(RejectReason))
            wrong = ((xmap.phase_id != -1) & (xmap.phase_id != number)).mean()
            rows.append([level, xmap.size, (xmap.phase_id == -1).mean(), wrong, reasons.tolist()])
        result[name] = rows
    return result


def _without_background(signal: EBSD) -> np.ndarray:
    """Patterns without static and dynamic background, which would hide the noise."""
    signal = signal.deepcopy()
    with contextlib.redirect_stdout(io.StringIO()):
        if np.ndim(signal.static_background) == 2:
            signal.remove_static_background(show_progressbar=False)
        signal.remove_dynamic_background(show_progressbar=False)
    return signal.data.astype(np.float32)


def _noisy(pattern: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    pattern = (pattern - pattern.mean()) / pattern.std()
    # Bands are some 3 % wide; noise of as many pixels as a pattern of 60 has stays noise in larger.
    noise = rng.standard_normal(pattern.shape)
    scale = max(1.0, pattern.shape[0] / 60)
    mixed = noise if np.isinf(level) else pattern + level * scale * noise
    low, high = np.quantile(mixed, (0.001, 0.999))
    return ((mixed - low) / (high - low) * 255).clip(0, 255).astype(np.uint8)


def hough(options: argparse.Namespace) -> None:
    """Print PyEBSDIndex' confidence metric of the nine nickel patterns beside a model's."""
    signal = kp.data.nickel_ebsd_small()
    model = as_model(options.model)
    xmap = _classified(signal, model)
    phases = PhaseList({225: load_phases()["Ni"]})
    with contextlib.redirect_stdout(io.StringIO()):
        signal.remove_static_background(show_progressbar=False)
        signal.remove_dynamic_background(show_progressbar=False)
        indexed = signal.hough_indexing(phases, signal.detector.get_indexer(phases), verbose=0)
    print(f"| pattern | confidence metric | fit | bands | {model.name}: p(225) | confidence |")
    print("|---|---|---|---|---|---|")
    for i in range(xmap.size):
        print(
            f"| {i + 1} | {indexed.cm[i]:.2f} | {indexed.fit[i]:.2f} | {indexed.nmatch[i]} "
            f"| {xmap.p_225[i]:.2f} | {xmap.confidence[i]:.2f} |"
        )
    print(f"\nRank correlation: {spearmanr(indexed.cm, xmap.confidence)}")


def report(result: dict) -> str:
    """Tables in Markdown."""
    calibration, detection, risk = (result[key] for key in ("calibration", "detection", "risk"))
    lines = [f"## {result['model']}", "", f"Default limits: {result['limits']}.", ""]
    lines += ["| noise, phases | n | accuracy | calibration error |", "|---|---|---|---|"]
    for name, x in calibration["rows"].items():
        lines.append(f"| {name} | {x['n']} | {x['accuracy']:.3f} | {x['error']:.3f} |")
    lines += ["", "| predicted, phases seen | n | right | calibration error |", "|---|---|---|---|"]
    for name, x in calibration["by predicted space group"].items():
        lines.append(f"| {name} | {x['n']} | {x['accuracy']:.3f} | {x['error']:.3f} |")
    if "members" in result:
        lines += ["", "| | accuracy, seen | left out | calibration error, seen | left out |"]
        lines += ["|---|---|---|---|---|"]
        for name, x in result["members"].items():
            lines.append(
                f"| {name} | {x['seen']['accuracy']:.4f} | {x['left out']['accuracy']:.4f} "
                f"| {x['seen']['error']:.4f} | {x['left out']['error']:.4f} |"
            )
    names = list(next(iter(detection["scores"].values())))
    lines += ["", "Area under the ROC curve, phases seen against:", ""]
    lines += ["| score | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for score, areas in detection["scores"].items():
        lines.append(
            f"| {score} | " + " | ".join(f"{x['area']:.3f}" for x in areas.values()) + " |"
        )
    lines += ["", "| detector, other point groups | area | n | phases |", "|---|---|---|---|"]
    for name, x in (detection["by level"] | detection["by system"]).items():
        lines.append(
            f"| {name} | {_with_interval(x['area'], x['interval'])} | {x['n']} | {x['phases']} |"
        )
    lines += ["", "| refused by default | n | share |", "|---|---|---|"]
    lines += [
        f"| {name} | {x['n']} | {x['share']:.3f} |" for name, x in detection["refused"].items()
    ]
    lines += [
        "",
        "| noise, phases | n | error | at 95 % coverage, by confidence | by probability |",
    ]
    lines += ["|---|---|---|---|---|"]
    for name, x in risk["rows"].items():
        lines.append(
            f"| {name} | {x['n']} | {x['error']:.4f} | {x['confidence']:.4f} "
            f"| {x[PROBABILITY]:.4f} |"
        )
    lines += ["", "| risk allowed | threshold | answered | wrong of these |", "|---|---|---|---|"]
    for name, x in risk["promised"].items():
        if "refused" in x:
            lines.append(f"| {name} | cannot be had | | |")
        else:
            lines.append(
                f"| {name} | {x['threshold']:.3f} | {x['coverage']:.3f} | {x['wrong']:.4f} |"
            )
    lines += ["", "| real patterns | n | right | answered | right of these | mean confidence |"]
    lines += ["|---|---|---|---|---|---|"]
    for name, x in result["real"].items():
        if "winner" in x:
            right = np.array(x["winner"]) == x["space group"]
            answered = np.array(x["reject_reason"]) == RejectReason.INDEXED
            lines.append(
                f"| {name} | {len(right)} | {right.sum()} | {answered.sum()} "
                f"| {(right & answered).sum()} | {np.mean(x['confidence']):.2f} |"
            )
    lines += ["", "| added noise | " + " | ".join(f"{x:g}" for x in ADDED_NOISE) + " |"]
    lines += ["|---" * (len(ADDED_NOISE) + 1) + "|"]
    for name, rows in result["noise"].items():
        lines.append(f"| {name}, refused | " + " | ".join(f"{row[2]:.2f}" for row in rows) + " |")
        lines.append("| wrong | " + " | ".join(f"{row[3]:.2f}" for row in rows) + " |")
    return "\n".join(lines)


def _with_interval(value: float, interval) -> str:
    text = f"{value:.3f}"
    return text if interval is None else f"{text} ({interval[0]:.3f} to {interval[1]:.3f})"


def draw(result: dict, folder: Path) -> None:
    """Reliability diagram and risk-coverage curves."""
    from kikuchipy_cnn.evaluation import Reliability

    folder.mkdir(parents=True, exist_ok=True)
    diagrams = {
        name: Reliability(**{key: np.array(values) for key, values in fields.items()})
        for name, fields in result["calibration"]["diagrams"].items()
    }
    name = result["model"]
    plot_reliability(diagrams).savefig(folder / f"reliability_{name}.png", dpi=120)
    curves = {key: RiskCoverage.from_dict(x) for key, x in result["risk"]["curves"].items()}
    plot_risk_coverage(curves).savefig(folder / f"risk_coverage_{name}.png", dpi=120)
    draw_real(result).savefig(folder / f"real_patterns_{name}.png", dpi=120)


def draw_real(result: dict) -> Figure:
    """Confidence of steel patterns against EDAX' index, and rejection of patterns with noise."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    steel = result["real"].get("steel, all")
    if steel is not None:
        is_right = np.array(steel["right"])
        for chosen, label, color in (
            (is_right, "right", "tab:blue"),
            (~is_right, "wrong", "tab:orange"),
        ):
            index, confidence = (np.array(steel[key])[chosen] for key in ("ci", "confidence"))
            left.plot(index, confidence, "o", color=color, alpha=0.7, label=label)
    left.axhline(result["limits"]["confidence"], color="black", linestyle="--", linewidth=1)
    left.set(xlabel="Confidence index of Hough indexing", ylabel="Confidence", ylim=(0, 1))
    left.set_title("Ferritic steel")
    left.legend(frameon=False)
    for name, rows in result["noise"].items():
        levels = [row[0] for row in rows]
        places = np.arange(len(levels))
        right.plot(places, [row[2] for row in rows], "o-", label=name.split(" (3")[0])
        right.set_xticks(places, [f"{level:g}" for level in levels])
    right.set(xlabel="Noise added to real patterns", ylabel="Refused")
    right.set_ylim(-0.02, 1.35)
    right.set_yticks(np.linspace(0, 1, 6))
    right.legend(frameon=False, fontsize="x-small", loc="upper left")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("measure")
    command.add_argument(
        "models", nargs="+", help="names of packaged models, or folders of bundles"
    )
    command.add_argument("--seen", type=int, default=400, help="patterns of each class and level")
    command.add_argument("--left-out", type=int, default=200, help="of phases left out")
    command.add_argument("--prepare", action="store_true", help="calibrate and fit first")
    command.add_argument("--real", type=Path, default=REAL_PATTERNS)
    command.add_argument("--output", type=Path, required=True, help="folder for figures as JSON")
    command.set_defaults(run=_measure)
    command = commands.add_parser("hough", help="nickel patterns: Hough indexing beside a model")
    command.add_argument("model")
    command.set_defaults(run=hough)
    command = commands.add_parser("draw")
    command.add_argument("result", type=Path, help="JSON of a measurement")
    command.add_argument("--output", type=Path, required=True)
    command.set_defaults(run=lambda o: draw(json.loads(o.result.read_text()), o.output))
    options = parser.parse_args()
    options.run(options)


def _measure(options: argparse.Namespace) -> None:
    options.output.mkdir(parents=True, exist_ok=True)
    for name in options.models:
        start = time.time()
        model = as_model(name)
        if options.prepare:
            model = prepare(model)
        result = measure(model, options.seen, options.left_out, options.real)
        file = options.output / f"{model.name}.json"
        write_record(file, result)
        print(f"{report(result)}\n\n({time.time() - start:.0f} s)\n", flush=True)


if __name__ == "__main__":
    main()
