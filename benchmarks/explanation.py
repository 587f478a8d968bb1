"""What explanations cost, and how much of them lies at zone axes and in bands.

    python benchmarks/explanation.py cost
    python benchmarks/explanation.py where --output where.json
    python benchmarks/explanation.py draw --output docs/images
    python benchmarks/explanation.py kernels --output docs/images

``cost`` prints time and memory for each pattern, each in a process of its own. ``where`` explains
simulated and real patterns of known orientation, and compares with chance, with the contrast of
the patterns, with the same network with shuffled weights, and right with wrong answers. ``draw``
makes the figures of docs/explanation.md. ``kernels`` trains two networks, one from scratch and one
from packaged weights, on the same few simulated patterns, and compares their first layers.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from kikuchipy.detectors import EBSDDetector
from orix.quaternion import Rotation
from real_and_simulated import REAL_PATTERNS, ferrite, full_size, nickel, refine, silicon
from records import write_record

from kikuchipy_cnn import ModelBundle, load_model
from kikuchipy_cnn.explanation import (
    Attributions,
    crystallographic_shares,
    feature_maps,
    geometrical_simulations,
    grad_cam,
    rank_correlations,
    shapley_values,
    similar_kernels,
    simulate_background,
    with_shuffled_weights,
)
from kikuchipy_cnn.models.acceleration import with_input_size
from kikuchipy_cnn.plotting import (
    plot_attribution_comparison,
    plot_attributions,
    plot_feature_maps,
    plot_kernels,
)
from kikuchipy_cnn.simulation import Disturbances, load_master_pattern, load_phases
from kikuchipy_cnn.simulation.disturbances import NOISE_LEVELS
from kikuchipy_cnn.simulation.signals import simulate_patterns
from kikuchipy_cnn.training import (
    FewShotProtocol,
    FewShotTrainer,
    LabelledPatterns,
    split_patterns,
)

MODEL = "xception_fewshot"
# Phases that the model has learned, of three space groups whose bands differ.
SIMULATED = {"Ni": 225, "Fe-bcc": 229, "Si": 227}
# Another model, for comparison, and where few-shot training starts from.
OTHER = "fast_fewshot"
# One phase of each space group, for figures and few-shot training.
PHASES = {221: ["Ni3Al"], 223: ["Cr3Si"], 225: ["Ni"], 227: ["Si"], 229: ["W"], 230: ["Al4Ni3"]}
SIZES = (71, 128, 299)
# Patterns of a timed call.
_N_TIMED = 4
_SPACE_GROUPS = {"nickel": 225, "silicon": 227, "steel": 229}


class Patterns(NamedTuple):
    """Patterns of one phase and known orientation."""

    data: np.ndarray
    mask: np.ndarray | None
    background: np.ndarray | None
    phase: str
    space_group: int
    rotations: Rotation
    detector: EBSDDetector


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    cost = commands.add_parser("cost")
    cost.add_argument("--background", type=int, default=20, help="of each class")
    cost.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    cost.set_defaults(run=print_costs)
    where = commands.add_parser("where")
    where.add_argument("--number", type=int, default=12, help="simulated patterns of each kind")
    where.add_argument("--background", type=int, default=20, help="of each class")
    where.add_argument("--output", type=Path, required=True, help="file for all numbers")
    where.set_defaults(run=measure_where)
    draw = commands.add_parser("draw")
    draw.add_argument("--background", type=int, default=100, help="of each class")
    draw.add_argument("--output", type=Path, required=True, help="folder")
    draw.set_defaults(run=draw_all)
    kernels = commands.add_parser("kernels")
    kernels.add_argument("--number", type=int, default=400, help="of patterns of each class")
    kernels.add_argument("--epochs", type=int, default=20, help="at most")
    kernels.add_argument("--output", type=Path, required=True, help="folder")
    kernels.set_defaults(run=draw_kernels)
    one = commands.add_parser("one-cost")
    one.add_argument("what", choices=tuple(COSTS))
    one.add_argument("size", type=int)
    one.add_argument("background", type=int)
    one.set_defaults(run=measure_cost)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    options.run(options)


def print_costs(options: argparse.Namespace) -> None:
    """Run each measurement in a process of its own, one after the other."""
    print("| | size | first pattern | each further one | of which each comparison | peak memory |")
    print("|---|---|---|---|---|---|")
    for what in COSTS:
        for size in options.sizes:
            command = [sys.executable, __file__, "one-cost", what, str(size)]
            done = subprocess.run(
                [*command, str(options.background)], capture_output=True, text=True, check=True
            )
            print(done.stdout.strip().splitlines()[-1], flush=True)


def measure_cost(options: argparse.Namespace) -> None:
    """Time and memory for a pattern."""
    size = options.size
    model = load_model(MODEL)
    model = replace(
        model,
        network=with_input_size(model.network, size),
        transform=replace(model.transform, size=size),
    )
    signal = simulate_patterns(
        [load_master_pattern("Ni")], _N_TIMED, shape=(size, size), show_progressbar=False
    )
    patterns = signal.data.reshape(-1, size, size)
    background, n = None, 0
    if options.what == "shap":
        background = simulate_background(model, options.background, shape=(size, size))
        n = len(background)
    run = COSTS[options.what]
    seconds = []
    # Each call compiles anew, whatever the number of patterns; the first imports, too.
    for part in (patterns[:1], patterns[:1], patterns):
        start = time.perf_counter()
        run(model, part, background)
        seconds.append(time.perf_counter() - start)
    further = (seconds[2] - seconds[1]) / (len(patterns) - 1)
    each = f"{1000 * further / n:.0f} ms" if n else ""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"| {options.what} | {size} | {seconds[0]:.1f} s | {further:.2f} s | {each} | "
        f"{peak:.2f} GiB |"
    )


def _classify(model, patterns, background):
    model.predict_probabilities(model.transform(patterns)[0])


def _shap(model, patterns, background):
    errors = shapley_values(
        model, patterns, background, space_group=225, show_progressbar=False
    ).additivity_errors
    assert errors.max() < 1e-3, errors


def _grad_cam(model, patterns, background):
    grad_cam(model, patterns, 225, show_progressbar=False)


COSTS = {"classify": _classify, "gradcam": _grad_cam, "shap": _shap}


def real_patterns() -> Iterator[tuple[str, Patterns]]:
    """The real patterns at hand, with refined orientations and projection centers."""
    found = {"nickel": nickel()}
    for name, read, folder in (
        ("silicon", silicon, "si_wafer"),
        ("steel", ferrite, "steel_ferrite"),
    ):
        if (REAL_PATTERNS / folder).exists():
            found[name] = read(REAL_PATTERNS / folder)
    for name, (patterns, mask, detector, rotations, phase) in found.items():
        rotations, detector, scores = refine(patterns, mask, detector, rotations, phase)
        print(f"{name}: correlation with the master pattern {scores.mean():.2f}", flush=True)
        data, mask, background = full_size(name)
        detector.shape = data.shape[1:]
        yield (
            name,
            Patterns(data, mask, background, phase, _SPACE_GROUPS[name], rotations, detector),
        )


def simulated_patterns(n: int) -> Iterator[tuple[str, Patterns]]:
    """Simulated patterns of three phases and three levels of noise."""
    for level in NOISE_LEVELS:
        for i, (phase, space_group) in enumerate(SIMULATED.items()):
            signal = simulate_patterns(
                [load_master_pattern(phase)],
                n,
                shape=(71, 71),
                disturbances=Disturbances.of_level(level),
                seed=i,
                show_progressbar=False,
            )
            yield (
                f"{phase}, {level} noise (simulated)",
                Patterns(
                    signal.data.reshape(-1, 71, 71),
                    None,
                    None,
                    phase,
                    space_group,
                    signal.xmap.rotations,
                    signal.detector,
                ),
            )


def measure_where(options: argparse.Namespace) -> None:
    """Explain all patterns by all methods and write how much lies where."""
    model = load_model(MODEL)
    shuffled = with_shuffled_weights(model)
    phases = load_phases()
    rows = []
    for name, patterns in (*real_patterns(), *simulated_patterns(options.number)):
        background = simulate_background(
            model, options.background, shape=patterns.data.shape[1:], signal_mask=patterns.mask
        )
        explained = {
            (kind, one): attributions
            for one in ("trained", "shuffled")
            # The shuffled network is looked at where noise disturbs least.
            if one == "trained" or "medium" not in name and "high" not in name
            for kind, attributions in explanations(
                model if one == "trained" else shuffled, patterns, background
            )
        }
        right = explained["DeepSHAP", "trained"].predicted == model.classes.index(
            patterns.space_group
        )
        for (kind, one), attributions in explained.items():
            row = {"set": name, "method": kind, "weights": one, "right": right.tolist()}
            row |= shares_of(attributions, kind, patterns, phases[patterns.phase])
            if kind == "DeepSHAP":
                row["additivity"] = attributions.additivity_errors.max().item()
            if one == "shuffled":
                row["rank_correlation"] = rank_correlations(
                    explained[kind, "trained"],
                    attributions,
                    details=kind == "guided Grad-CAM",
                )[:, 0].tolist()
            rows.append(row)
            print(summary(row), flush=True)
        write_record(options.output, rows)
    print_tables(rows)


def explanations(
    model: ModelBundle, patterns: Patterns, background: np.ndarray
) -> Iterator[tuple[str, Attributions]]:
    """Explanations of the true class by all methods."""
    settings = {
        "space_group": patterns.space_group,
        "signal_mask": patterns.mask,
        "static_background": patterns.background,
        "show_progressbar": False,
    }
    regions = grad_cam(model, patterns.data, **settings)
    yield "Grad-CAM", regions
    yield "guided Grad-CAM", regions
    yield "DeepSHAP", shapley_values(model, patterns.data, background, **settings)


def shares_of(attributions: Attributions, kind: str, patterns: Patterns, phase) -> dict:
    """Parts at zone axes and in bands, by what is expected of their area."""
    shares = crystallographic_shares(
        attributions,
        phase,
        patterns.rotations,
        patterns.detector,
        details=kind == "guided Grad-CAM",
    )
    return {
        f"{region}_{quantity}": np.asarray(getattr(share, quantity)).reshape(-1).tolist()
        for region, share in (("axes", shares.zone_axes), ("bands", shares.bands))
        for quantity in ("observed", "chance", "p_value", "area", "contrast")
    }


def summary(row: dict) -> str:
    """One row of the table: mean parts, chance, and how many are more than chance."""
    cells = [row["set"], row["method"], row["weights"], str(len(row["right"]))]
    for region in ("axes", "bands"):
        observed, chance, contrast, p = (
            np.array(row[f"{region}_{quantity}"])
            for quantity in ("observed", "chance", "contrast", "p_value")
        )
        cells += [
            f"{np.nanmean(observed):.3f}",
            f"{np.nanmean(chance):.3f}",
            f"{contrast.mean():.3f}",
            f"{(p < 0.05).mean():.2f}",
        ]
    correlation = row.get("rank_correlation")
    cells.append("" if correlation is None else f"{np.nanmean(correlation):.2f}")
    return f"| {' | '.join(cells)} |"


def print_tables(rows: list[dict]) -> None:
    """Print all rows, and right answers beside wrong ones."""
    header = ["patterns", "method", "weights", "n"]
    header += ["zone axes", "chance", "contrast", "p < 0.05"]
    header += ["bands", "chance", "contrast", "p < 0.05", "rank correlation"]
    print(f"| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for row in rows:
        print(summary(row))
    print("\n| method | answers | n | zone axes / chance | bands / chance |\n|---|---|---|---|---|")
    for method in dict.fromkeys(row["method"] for row in rows):
        for answer in (True, False):
            of_method = [r for r in rows if (r["method"], r["weights"]) == (method, "trained")]
            chosen = np.concatenate([np.array(r["right"]) == answer for r in of_method])
            ratios = [
                np.nanmean(np.concatenate([r[f"{region}_observed"] for r in of_method])[chosen])
                / np.nanmean(np.concatenate([r[f"{region}_chance"] for r in of_method])[chosen])
                for region in ("axes", "bands")
            ]
            print(
                f"| {method} | {'right' if answer else 'wrong'} | {chosen.sum()} | "
                f"{ratios[0]:.2f} | {ratios[1]:.2f} |"
            )


def draw_all(options: argparse.Namespace) -> None:
    """Make the figures of the documentation."""
    model = load_model(MODEL)
    phases = load_phases()
    options.output.mkdir(parents=True, exist_ok=True)
    for name, patterns in real_patterns():
        chosen = np.linspace(0, len(patterns.data) - 1, min(4, len(patterns.data))).astype(int)
        detector = patterns.detector.deepcopy()
        detector.pc = patterns.detector.pc_flattened[chosen]
        simulations = geometrical_simulations(
            phases[patterns.phase], patterns.rotations[chosen], detector
        )
        settings = {"signal_mask": patterns.mask, "static_background": patterns.background}
        background = simulate_background(
            model, options.background, shape=patterns.data.shape[1:], signal_mask=patterns.mask
        )
        values = shapley_values(model, patterns.data[chosen], background, **settings)
        regions = grad_cam(model, patterns.data[chosen], **settings)
        for kind, attributions in (("shap", values), ("gradcam", regions)):
            print(f"{name}, {kind}\n{attributions.table()}", flush=True)
            figure = plot_attributions(attributions, simulations=simulations)
            figure.savefig(options.output / f"explain_{name}_{kind}.png", dpi=90)
        draw_failed_case(model, patterns, options.output / f"explain_{name}_failed.png")
    draw_space_groups(model, options)


def draw_failed_case(model: ModelBundle, patterns: Patterns, file: Path) -> None:
    """Compare the first patterns, at most two, of which this model or another alone is right."""
    other = load_model(OTHER)
    settings = {"signal_mask": patterns.mask, "static_background": patterns.background}
    both = [
        grad_cam(one, patterns.data, patterns.space_group, **settings) for one in (model, other)
    ]
    is_right = [one.predicted == one.explained[:, 0] for one in both]
    chosen = np.flatnonzero(is_right[0] != is_right[1])[:2]
    if not len(chosen):
        print(f"{MODEL} and {OTHER} are right and wrong about the same patterns: no {file.name}")
        return
    background = simulate_background(
        model, 50, shape=patterns.data.shape[1:], signal_mask=patterns.mask
    )
    explained = [
        shapley_values(
            one, patterns.data[chosen], background, space_group=patterns.space_group, **settings
        )
        for one in (model, other)
    ]
    figure = plot_attribution_comparison(*explained, titles=[MODEL, OTHER])
    figure.savefig(file, dpi=80)


def draw_space_groups(model: ModelBundle, options: argparse.Namespace) -> None:
    """One simulated pattern of each space group, as in Fig. 4 of the paper of 2021."""
    patterns = simulate_of_classes(model.classes, 1)
    data = np.stack([source.data[0] for source in patterns.sources])
    background = simulate_background(model, options.background, seed=1)
    values = shapley_values(model, data, background)
    print(f"simulated\n{values.table()}", flush=True)
    plot_attributions(values).savefig(options.output / "explain_space_groups_shap.png", dpi=90)


def simulate_of_classes(classes, n: int) -> LabelledPatterns:
    """Patterns of the space groups in their order, of low noise, as many of each phase."""
    phases = [phase for number in classes.space_groups for phase in PHASES[number]]
    return LabelledPatterns.from_simulation(
        phases,
        n,
        shape=(71, 71),
        # Round detectors would each need a mask of their own.
        disturbances=Disturbances.of_level("low").of_whole_detector(),
        show_progressbar=False,
    )


def draw_kernels(options: argparse.Namespace) -> None:
    """Train from two starts and compare the kernels of the first layers."""
    other = load_model(OTHER)
    patterns = simulate_of_classes(other.classes, options.number)
    split = split_patterns(patterns, options.number * 4 // 5, options.number // 5, seed=0)
    protocol = FewShotProtocol(max_epochs=options.epochs)
    networks = {}
    for name, start, settings in (
        ("from scratch", "scratch", {"architecture": other.architecture, "size": 71}),
        ("transfer", OTHER, {}),
    ):
        trainer = FewShotTrainer(start, protocol, name=name, **settings)
        result = trainer.fit(split.training, split.validation, show_progressbar=False)
        networks[name] = result.bundle
        best = result.history[result.best_epoch - 1]
        print(f"{name}: {len(result.history)} epochs, {result.stopped}; best {best}", flush=True)
    rng = np.random.default_rng(0)
    for up_to in ({}, {"up_to_sign": True, "up_to_scale": True}):
        pairs = similar_kernels(*networks.values(), **up_to)
        untrained = [
            [
                pair.distance
                for pair in similar_kernels(
                    *(
                        with_shuffled_weights(network, images, seed=int(rng.integers(2**31)))
                        for network in networks.values()
                    ),
                    **up_to,
                )
            ]
            for images in [simulate_background(other, 5)] * 10
        ]
        print(up_to, [(pair.index_a, pair.index_b, round(pair.distance, 3)) for pair in pairs])
        print("shuffled weights:", np.mean(untrained, axis=0).round(3))
    pairs = similar_kernels(*networks.values())
    figure = plot_kernels(pairs, titles=list(networks))
    figure.savefig(options.output / "explain_kernels.png", dpi=90)
    shown = simulate_of_classes(other.classes, 1)
    data = np.stack([source.data[0] for source in shown.sources])
    numbers = [pair.index_b for pair in pairs]
    maps = feature_maps(networks["transfer"], data, kernels=numbers)
    figure = plot_feature_maps(data, maps, kernels=numbers, row_labels=other.classes.space_groups)
    figure.savefig(options.output / "explain_feature_maps.png", dpi=80)


if __name__ == "__main__":
    main()
