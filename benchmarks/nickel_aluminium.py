"""Nickel with precipitates of Ni3Al: networks against Hough and dictionary indexing.

    python benchmarks/nickel_aluminium.py run --work ni --output ni.json
    python benchmarks/nickel_aluminium.py table ni.json
    python benchmarks/nickel_aluminium.py draw --work ni --level medium --figure ni.png

A simulated map of 6,900 patterns, as many as in the map of Ni90Al10 of the 2021 paper (Sci Rep
11:8172, Fig. 5): a textured matrix of nickel (225) with precipitates of Ni3Al (221), some oriented
as the grain around them, and patterns of boundaries that are mixtures of two. One camera at each of
three levels of noise. Another area of the same sample, never classified, gives 400 patterns of each
phase to tune a network with, and 400 of each of the four space groups that the map has not got.

All methods see the same patterns. The patterns come from the same master patterns that dictionary
indexing uses, with the right projection center and the right candidates: nothing is better for it.
The packaged network has been trained on patterns of these phases from these master patterns too, of
other orientations and cameras. The matrix is pure nickel; in the paper it has 20 at% aluminium.

Every method runs in a process of its own, so that its memory is its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import kikuchipy as kp
import numpy as np
from orix.crystal_map import CrystalMap, PhaseList, create_coordinate_arrays
from orix.quaternion import Orientation, Rotation
from records import write_record

from kikuchipy_cnn import classify_space_group, io, plotting
from kikuchipy_cnn._files import replacing
from kikuchipy_cnn.comparison import (
    compare_phase_maps,
    dictionary_phase_map,
    hough_phase_map,
    index_with,
)
from kikuchipy_cnn.simulation import Cameras, Disturbances, load_library, simulate_map
from kikuchipy_cnn.training import (
    Augmentation,
    FewShotProtocol,
    FewShotTrainer,
    LabelledPatterns,
)

LEVELS = ("low", "medium", "high")
SHAPE = (69, 100)
STEP = 0.5
DETECTOR = {"shape": (60, 60), "pc": (0.48, 0.25, 0.6), "sample_tilt": 70}
MATRIX, PRECIPITATE = "Ni", "Ni3Al"
N_GRAINS, N_PRECIPITATES = 30, 45
# Of the precipitates, those oriented as the grain around them; of the grains, those near cube
COHERENT, TEXTURED, SPREAD = 0.5, 0.6, 12
# The materials of the paper's other four space groups
OTHERS = (
    ("Cr3Si", "Mo3Si"), ("Si", "Ge"), ("W", "Ta", "Fe-bcc"), ("Al4CoNi2", "Al4Ni3"),
)  # fmt: skip
# One of each, so that dictionary indexing has as many candidates as the network has classes
ONE_OF_EACH = tuple(materials[0] for materials in OTHERS)
N_TRAINING, N_VALIDATION = 400, 100
RESOLUTION = 2.5
CAMERA_SEED = 7
PARTS = ("map", "other_area", "other_materials")
PROTOCOL = FewShotProtocol(
    learning_rate=3e-4,
    schedule="cosine",
    max_epochs=6,
    batch_size=64,
    augmentation=Augmentation(mirror=True),
    precision="mixed_bfloat16",
)


def area(seed: int) -> tuple[CrystalMap, CrystalMap, np.ndarray]:
    """Phases and orientations of an area, what lies beside each point, and its share."""
    rng = np.random.default_rng(seed)
    rows, columns = SHAPE
    y, x = np.mgrid[:rows, :columns].reshape(2, -1)
    centres = rng.uniform(0, SHAPE, (N_GRAINS, 2))
    grain = np.hypot(y[:, None] - centres[:, 0], x[:, None] - centres[:, 1]).argmin(axis=1)
    own = Rotation(rng.standard_normal((N_GRAINS, 4)))
    near = Rotation.from_axes_angles(
        rng.standard_normal((N_GRAINS, 3)), rng.normal(0, SPREAD, N_GRAINS), degrees=True
    )
    is_textured = rng.random(N_GRAINS) < TEXTURED
    orientations = np.where(is_textured[:, None], near.data, own.data)[grain]

    piece = grain.copy()
    is_precipitate = np.zeros(grain.size, bool)
    for i in range(N_PRECIPITATES):
        middle, radii = rng.uniform(0, SHAPE), rng.uniform(2, 6, 2)
        angle = rng.uniform(0, np.pi)
        dy, dx = y - middle[0], x - middle[1]
        along = (dx * np.cos(angle) + dy * np.sin(angle)) / radii[0]
        across = (dy * np.cos(angle) - dx * np.sin(angle)) / radii[1]
        inside = along**2 + across**2 < 1
        is_precipitate |= inside
        piece[inside] = N_GRAINS + i
        if rng.random() > COHERENT:
            orientations[inside] = Rotation(rng.standard_normal((1, 4))).data
    phase_id = is_precipitate.astype(int)

    # The neighbour of a point of a boundary is the first of its four that is of another piece
    places = np.arange(grain.size).reshape(SHAPE)
    beside, overlap = np.arange(grain.size), np.zeros(grain.size)
    for axis, by in ((0, 1), (0, -1), (1, 1), (1, -1)):
        other = np.roll(places, by, axis).ravel()
        is_boundary = (piece[other] != piece) & (overlap == 0)
        is_boundary &= (np.abs(y[other] - y) + np.abs(x[other] - x)) == 1
        beside[is_boundary] = other[is_boundary]
        overlap[is_boundary] = rng.uniform(0.1, 0.45, np.count_nonzero(is_boundary))
    library = load_library()
    phases = {i: library.signal(name).phase for i, name in enumerate((MATRIX, PRECIPITATE))}
    return (
        crystal_map(orientations, phase_id, phases),
        crystal_map(orientations[beside], phase_id[beside], phases),
        overlap.reshape(SHAPE),
    )


def strangers(seed: int) -> CrystalMap:
    """Random orientations of the materials of the other space groups, equally many of each."""
    rng = np.random.default_rng(seed)
    library = load_library()
    n = N_TRAINING + N_VALIDATION
    names = [materials[i * len(materials) // n] for materials in OTHERS for i in range(n)]
    phases = {i: library.signal(name).phase for i, name in enumerate(dict.fromkeys(names))}
    ids = {phase.name: i for i, phase in phases.items()}
    phase_id = np.array([ids[name] for name in names])
    return crystal_map(rng.standard_normal((len(names), 4)), phase_id, phases)


def crystal_map(quaternions: np.ndarray, phase_id: np.ndarray, phases: dict) -> CrystalMap:
    """Crystal map of rows as long as those of the area."""
    shape = (len(phase_id) // SHAPE[1], SHAPE[1])
    coordinates, _ = create_coordinate_arrays(shape, (STEP, STEP))
    return CrystalMap(
        rotations=Rotation(quaternions),
        phase_id=phase_id,
        phase_list=PhaseList(phases),
        scan_unit="um",
        **coordinates,
    )


def simulate(level: str, work: Path) -> None:
    """Simulate the map, the other area and the other materials with the noise of a level."""
    imperfections = Disturbances.of_level(level).of_whole_detector()
    camera = Cameras.draw(imperfections, 1, np.random.default_rng(CAMERA_SEED))
    detector = kp.detectors.EBSDDetector(**DETECTOR)
    areas = (area(1), area(2), (strangers(3), None, None))
    for part, (xmap, neighbours, overlap) in zip(PARTS, areas, strict=True):
        signal = simulate_map(
            xmap, detector, disturbances=camera, neighbours=neighbours, overlap=overlap,
            seed=PARTS.index(part), lazy=False,
        )  # fmt: skip
        if overlap is not None:
            signal.xmap.prop["overlap"] = overlap.ravel()
        signal.save(work / f"{level}_{part}.h5", overwrite=True)


def tune(level: str, work: Path) -> dict:
    """Tune the packaged network to the sample and the camera, and save it."""
    other, others = (
        LabelledPatterns.from_crystal_map(kp.load(work / f"{level}_{part}.h5"), map_name=part)
        for part in PARTS[1:]
    )
    rng = np.random.default_rng(0)
    n = N_TRAINING + N_VALIDATION
    by_group = [
        rng.permutation(np.flatnonzero(patterns.space_group == group))[:n]
        for patterns in (other, others)
        for group in np.unique(patterns.space_group)
    ]
    sets = [
        LabelledPatterns.concatenate(
            [(other if i < 2 else others).take(chosen[part]) for i, chosen in enumerate(by_group)]
        )
        for part in (slice(N_TRAINING), slice(N_TRAINING, n))
    ]
    start = time.perf_counter()
    result = FewShotTrainer("xception_fewshot", PROTOCOL, name=f"tuned_{level}").fit(*sets)
    result.bundle.save(work / f"tuned_{level}", overwrite=True)
    return {"seconds": time.perf_counter() - start, "epochs": len(result.history)}


def signal_of(level: str, work: Path, *, prepared: bool) -> kp.signals.EBSD:
    """Patterns of the map, prepared for Hough and dictionary indexing as their users do it."""
    signal = kp.load(work / f"{level}_map.h5")
    if prepared:
        signal.remove_dynamic_background(show_progressbar=False)
    return signal


def phases() -> list:
    """Candidates of Hough and dictionary indexing."""
    library = load_library()
    return [library.signal(name).phase for name in (MATRIX, PRECIPITATE)]


def network(level: str, work: Path, model: str | None = None) -> CrystalMap:
    """The packaged network, or the one that is tuned on the other area and materials."""
    return classify_space_group(
        signal_of(level, work, prepared=False),
        "xception_fewshot" if model is None else str(work / f"{model}_{level}"),
        reject=False,
        show_progressbar=False,
    )


def hough(level: str, work: Path, *, first: str = MATRIX) -> CrystalMap:
    """Hough indexing, with one of the phases first."""
    ordered = sorted(phases(), key=lambda phase: phase.name != first)
    signal = signal_of(level, work, prepared=True)
    return hough_phase_map(signal, ordered, show_progressbar=False)


def dictionary(
    level: str, work: Path, candidates: tuple[str, ...] = (), *, refine: bool = False
) -> CrystalMap:
    """Dictionary indexing in both phases and other candidates, and refinement in all of them."""
    return dictionary_phase_map(
        signal_of(level, work, prepared=True),
        [MATRIX, PRECIPITATE, *candidates],
        resolution=RESOLUTION,
        refine=refine,
        show_progressbar=False,
    )


def joined(level: str, work: Path) -> CrystalMap:
    """Dictionary indexing and refinement in the phase that the tuned network has named."""
    return index_with(
        signal_of(level, work, prepared=True),
        io.load(work / f"{level}_tuned.h5"),
        [MATRIX, PRECIPITATE],
        resolution=RESOLUTION,
        show_progressbar=False,
    )


METHODS: dict[str, tuple[str, Callable[[str, Path], CrystalMap]]] = {
    "packaged": ("packaged network", network),
    "tuned": ("tuned network", lambda level, work: network(level, work, "tuned")),
    "hough": (f"Hough indexing, {MATRIX} first", hough),
    "hough_reversed": (
        f"Hough indexing, {PRECIPITATE} first",
        lambda level, work: hough(level, work, first=PRECIPITATE),
    ),
    "dictionary": ("dictionary indexing", dictionary),
    "refined": (
        "dictionary indexing, refined",
        lambda level, work: dictionary(level, work, refine=True),
    ),
    "refined_six": (
        "dictionary indexing in six phases, refined",
        lambda level, work: dictionary(level, work, ONE_OF_EACH, refine=True),
    ),
    "joined": ("orientations in the tuned network's phases", joined),
}


def run_method(level: str, method: str, work: Path) -> dict:
    """Run a method in this process, save its map, and say how it did."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    xmap = METHODS[method][1](level, work)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        io.save(work / f"{level}_{method}.h5", xmap, overwrite=True)
    truth = signal_of(level, work, prepared=False).xmap
    comparison = compare_phase_maps(xmap, names=[method], truth=truth)
    overlap = truth.prop["overlap"]
    # Labels of comparison are numbers of space groups
    called, true = (
        np.array([str(comparison.labels[i]) for i in codes])
        for codes in (comparison.codes[0], comparison.true_codes)
    )
    right = called == true
    row = {
        "method": METHODS[method][0],
        "level": level,
        "accuracy": float(right.mean()),
        "recall_221": float(right[true == "221"].mean()),
        "recall_225": float(right[true == "225"].mean()),
        "accuracy_inside": float(right[overlap == 0].mean()),
        "accuracy_boundary": float(right[overlap > 0].mean()),
        "kappa": comparison.kappa(0, "truth"),
        "impossible": comparison.n_impossible(0),
        "counts": {
            str(label): int(np.count_nonzero(comparison.codes[0] == i))
            for i, label in enumerate(comparison.labels)
        },
        "seconds": seconds,
        "patterns_per_second": right.size / seconds,
        "peak_mib": peak / 1024,
        "before_mib": before / 1024,
    }
    if "n_tied" in xmap.prop:
        row["tied"] = float(np.mean(xmap.prop["n_tied"] > 1))
    if method not in ("packaged", "tuned"):
        row |= orientations(xmap, truth)
    return row


def orientations(xmap: CrystalMap, truth: CrystalMap) -> dict:
    """How far orientations are from the truth, whatever the phase is called."""
    symmetry = truth.phases[0].point_group
    found, true = (
        Orientation(i.rotations.data.reshape(truth.size, -1, 4)[:, 0], symmetry=symmetry)
        for i in (xmap, truth)
    )
    has_one = np.abs(found.data[:, 1:]).max(axis=1) > 0
    angles = np.rad2deg((found - true).angle)[has_one]
    return {
        "median_error": float(np.median(angles)),
        "within_3_degrees": float(np.mean(angles < 3) * has_one.mean()),
    }


def run(work: Path, levels: list[str], methods: list[str], output: Path) -> None:
    """Run all methods at all levels, each in a process of its own; go on where it ended."""
    work.mkdir(parents=True, exist_ok=True)
    results = json.loads(output.read_text()) if output.exists() else {"tuning": {}, "rows": []}
    for level in levels:
        if not (work / f"{level}_{PARTS[-1]}.h5").exists():
            simulate(level, work)
        if not (work / f"tuned_{level}").exists():
            results["tuning"][level] = in_process(["tune", level, "--work", str(work)])
        for method in methods:
            results["rows"] = [
                i
                for i in results["rows"]
                if (i["level"], i["method"]) != (level, METHODS[method][0])
            ]
            row = in_process(["method", level, method, "--work", str(work)])
            results["rows"].append(row)
            print(f"{level}: {row['method']}: {row['accuracy']:.3f}, {row['seconds']:.0f} s")
            write_record(output, results)


def in_process(arguments: list[str]) -> dict:
    """Run a command of this script in another process, and return what it prints last."""
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def table(results: dict) -> str:
    """Results as a table for the documentation."""
    lines = [
        "| noise | method | right | 221 right | 225 right | inside / at boundaries | kappa "
        "| impossible | tied | orientation | s | patterns/s | GiB |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    by_name = {(row["level"], row["method"]): row for row in results["rows"]}
    for level in LEVELS:
        for name, _ in METHODS.values():
            row = by_name.get((level, name))
            if row is None:
                continue
            orientation = "-"
            if "median_error" in row:
                orientation = f"{row['median_error']:.2f}, {row['within_3_degrees']:.1%}"
            cells = (
                level,
                name,
                f"{row['accuracy']:.3f}",
                f"{row['recall_221']:.3f}",
                f"{row['recall_225']:.3f}",
                f"{row['accuracy_inside']:.3f} / {row['accuracy_boundary']:.3f}",
                f"{row['kappa']:.2f}",
                f"{row['impossible']}",
                f"{row['tied']:.0%}" if "tied" in row else "-",
                orientation,
                f"{row['seconds']:.0f}",
                f"{row['patterns_per_second']:.0f}",
                f"{row['peak_mib'] / 1024:.1f}",
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(work: Path, level: str, figure: Path) -> None:
    """Draw the maps in the layout of Fig. 5 of the paper."""

    def indexed(method: str, *, with_ties: bool = True) -> CrystalMap:
        xmap = io.load(work / f"{level}_{method}.h5")
        if not with_ties:
            del xmap.prop["n_tied"]
        return xmap

    signal = signal_of(level, work, prepared=False)
    panels = {
        "image quality": signal.get_image_quality(show_progressbar=False),
        "Hough indexing": indexed("hough"),
        "IPF-Y, in the tuned network's phases": plotting.ipf_image(indexed("joined")),
        "packaged network": indexed("packaged"),
        "truth": signal.xmap,
        "tuned network": indexed("tuned"),
        f"Hough indexing, {MATRIX} first": indexed("hough", with_ties=False),
        f"Hough indexing, {PRECIPITATE} first": indexed("hough_reversed", with_ties=False),
        "dictionary indexing, refined": indexed("refined"),
    }
    with replacing(figure) as temporary:
        plotting.plot_phase_maps(panels).savefig(temporary, dpi=110)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    everything = commands.add_parser("run", help="run all methods")
    everything.add_argument("--level", nargs="+", choices=LEVELS, default=list(LEVELS))
    everything.add_argument("--method", nargs="+", choices=METHODS, default=list(METHODS))
    everything.add_argument("--output", type=Path, default=Path("nickel_aluminium.json"))
    one = commands.add_parser("method", help="run one method, in this process")
    one.add_argument("level", choices=LEVELS)
    one.add_argument("method", choices=METHODS)
    tuning = commands.add_parser("tune", help="tune the network, in this process")
    tuning.add_argument("level", choices=LEVELS)
    drawing = commands.add_parser("draw", help="draw the maps")
    drawing.add_argument("--level", choices=LEVELS, default="medium")
    drawing.add_argument("--figure", type=Path, required=True)
    for command in (everything, one, tuning, drawing):
        command.add_argument("--work", type=Path, default=Path("nickel_aluminium"))
    printing = commands.add_parser("table", help="print the results")
    printing.add_argument("results", type=Path)
    options = parser.parse_args()
    if options.command == "run":
        run(options.work, options.level, options.method, options.output)
        print(table(json.loads(options.output.read_text())))
    elif options.command == "method":
        print(json.dumps(run_method(options.level, options.method, options.work)))
    elif options.command == "tune":
        print(json.dumps(tune(options.level, options.work)))
    elif options.command == "draw":
        draw(options.work, options.level, options.figure)
    else:
        print(table(json.loads(options.results.read_text())))


if __name__ == "__main__":
    main()
