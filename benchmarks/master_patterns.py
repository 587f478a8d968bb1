"""Evidence for the solver of the master patterns: against other codes, real patterns, itself.

Five tables, each printed by one command:

``compare``
    Nickel at 20 keV against EMsoft's master pattern that kikuchipy ships, and what it costs.
    ``--ebsdsim`` adds that package's own exact solver; ``--reference NAME=FILE.npy`` adds the upper
    hemisphere of any other, on a square Lambert grid.
``camera``
    Correlation with the nine nickel patterns that kikuchipy ships, orientation and projection
    center refined.
``convergence``
    Against many more beams, pixel by pixel and at the resolution of patterns.
``interpolation``
    Pixels that are interpolated from equivalent directions against computed ones.
``cost``
    Seconds for a phase, by the size of its cell.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import platform
import time
import warnings
from pathlib import Path

import kikuchipy as kp
import numpy as np
from kikuchipy.filters import Window
from orix.crystal_map import CrystalMap, Phase, PhaseList
from scipy.ndimage import gaussian_filter, map_coordinates
from threadpoolctl import threadpool_limits

from kikuchipy_cnn.simulation.bloch import (
    BlochParameters,
    backscattered_intensity,
    build_tables,
)
from kikuchipy_cnn.simulation.lambert import lambert_to_direction, symmetric_grid
from kikuchipy_cnn.simulation.master_pattern import as_signal, simulate_master_pattern
from kikuchipy_cnn.simulation.phases import load_phases

# Pixels of the other codes' grids are not ours: all are compared on this one.
HALF_WIDTH = 150
EMSOFT_DMIN = 0.05  # nm, of EMsoft's nickel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    compare = commands.add_parser("compare")
    compare.add_argument("--ebsdsim", action="store_true")
    compare.add_argument("--reference", action="append", default=[], metavar="NAME=FILE")
    compare.set_defaults(run=run_comparison)
    camera = commands.add_parser("camera")
    camera.add_argument("--reference", action="append", default=[], metavar="NAME=FILE")
    camera.set_defaults(run=run_camera)
    convergence = commands.add_parser("convergence")
    convergence.add_argument("phases", nargs="*", default=["Al", "Ni", "TaC", "W"])
    convergence.set_defaults(run=run_convergence)
    interpolation = commands.add_parser("interpolation")
    interpolation.add_argument("phases", nargs="*", default=["Ni", "Mg", "SiC-3C"])
    interpolation.set_defaults(run=run_interpolation)
    cost = commands.add_parser("cost")
    cost.add_argument(
        "phases", nargs="*", default=["Ni", "NaCl", "Cr3Si", "MgCu2", "MgAl2O4", "Y3Al5O12"]
    )
    cost.set_defaults(run=run_cost)
    options = parser.parse_args()
    print(f"{platform.machine()}, one core, Python {platform.python_version()}")
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options.run(options)


def run_comparison(options: argparse.Namespace) -> None:
    """Print correlations of all pairs of nickel's master patterns, and their costs."""
    patterns, seconds = simulated_nickel()
    if options.ebsdsim:
        start = time.process_time()
        patterns["ebsdsim"] = ebsdsim_nickel()
        seconds["ebsdsim"] = time.process_time() - start
    patterns |= read_references(options.reference)
    names = list(patterns)
    print("| | CPU s | " + " | ".join(names) + " |\n|---" * 1 + "|---" * (len(names) + 1) + "|")
    for name in names:
        row = [f"{correlation(patterns[name], patterns[other]):.3f}" for other in names]
        print(f"| {name} | {seconds.get(name, np.nan):.1f} | " + " | ".join(row) + " |")


def run_camera(options: argparse.Namespace) -> None:
    """Print refined correlations of nickel's master patterns with real patterns."""
    patterns, _ = simulated_nickel()
    patterns |= read_references(options.reference)
    signal = kp.data.nickel_ebsd_small()
    signal.remove_static_background(show_progressbar=False)
    signal.remove_dynamic_background(show_progressbar=False)
    print("| master pattern | mean | each |\n|---|---|---|")
    for name, pattern in patterns.items():
        scores = refined_scores(signal, pattern)
        print(f"| {name} | {scores.mean():.3f} | {' '.join(f'{s:.2f}' for s in scores)} |")


def run_convergence(options: argparse.Namespace) -> None:
    """Print correlations with a calculation of many beams, in a field of the sphere."""
    phases = load_phases()
    # A generic field of 28 x 28 pixels of a master pattern of half width 150.
    i, j = np.mgrid[40:68, 75:103]
    directions = lambert_to_direction(j / 150, i / 150).reshape(-1, 3)
    print("| phase | dmin / nm | strong | weak | ms | pixels | patterns |\n" + "|---" * 7 + "|")
    many = BlochParameters(0.02, 200, 400, 0.0005, 1e-5)
    cases = [
        many,
        *(BlochParameters(dmin) for dmin in (0.07, 0.05, 0.04, 0.03, 0.02)),
        *(BlochParameters(strong=strong) for strong in (20, 80, 120)),
        *(BlochParameters(weak=weak) for weak in (40, 80, 320)),
    ]
    for name in options.phases:
        reference = None
        for parameters in cases:
            tables = build_tables(phases[name], 20, parameters)
            start = time.process_time()
            field = [backscattered_intensity(d, tables, parameters) for d in directions]
            milliseconds = (time.process_time() - start) / len(directions) * 1e3
            field = np.array(field).reshape(28, 28)
            reference = field if reference is None else reference
            # A pattern of 60 pixels does not resolve a pixel of the master pattern.
            blurred = [gaussian_filter(x, 1.2)[3:-3, 3:-3] for x in (field, reference)]
            print(
                f"| {name} | {parameters.dmin} | {parameters.strong:g} | {parameters.weak:g} | "
                f"{milliseconds:.2f} | {correlation(field, reference):.4f} | "
                f"{correlation(*blurred):.4f} |",
                flush=True,
            )


def run_interpolation(options: argparse.Namespace) -> None:
    """Print correlations of computed and interpolated pixels."""
    phases = load_phases()
    # A field near the equator in which none of these phases has its independent directions.
    i, j = np.mgrid[115:143, 60:88]
    directions = lambert_to_direction(j / HALF_WIDTH, i / HALF_WIDTH).reshape(-1, 3)
    parameters = BlochParameters()
    print("| phase | pixels | patterns |\n|---|---|---|")
    for name in options.phases:
        tables = build_tables(phases[name], 20, parameters)
        computed = [backscattered_intensity(d, tables, parameters) for d in directions]
        computed = np.array(computed).reshape(i.shape)
        whole = simulate_master_pattern(
            phases[name], half_width=HALF_WIDTH, show_progressbar=False
        ).data[0]
        found = whole[HALF_WIDTH + i, HALF_WIDTH + j]
        blurred = [gaussian_filter(x, 1.2)[3:-3, 3:-3] for x in (found, computed)]
        print(f"| {name} | {correlation(found, computed):.3f} | {correlation(*blurred):.3f} |")


def run_cost(options: argparse.Namespace) -> None:
    """Print the time for whole master patterns."""
    phases = load_phases()
    print("| phase | space group | atoms | directions | CPU s |\n|---|---|---|---|---|")
    for name in options.phases:
        phase = phases[name]
        n_directions = len(symmetric_grid(phase, HALF_WIDTH))
        start = time.process_time()
        simulate_master_pattern(phase, half_width=HALF_WIDTH, show_progressbar=False)
        seconds = time.process_time() - start
        print(
            f"| {name} | {phase.space_group.number} | {len(phase.structure)} | {n_directions} | "
            f"{seconds:.1f} |",
            flush=True,
        )


def simulated_nickel() -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Upper hemispheres of nickel on the common grid, and CPU seconds of those computed here."""
    nickel = load_phases()["Ni"]
    emsoft = kp.data.nickel_ebsd_master_pattern_small(projection="lambert", hemisphere="upper")
    patterns = {"EMsoft": on_common_grid(emsoft.data.astype(float))}
    seconds = {}
    cases = {
        "here": {},
        "here, EMsoft's dmin": {"parameters": BlochParameters(dmin=EMSOFT_DMIN)},
        "kinematical": {"method": "kinematical"},
    }
    for name, arguments in cases.items():
        start = time.process_time()
        master_pattern = simulate_master_pattern(
            nickel, half_width=HALF_WIDTH, show_progressbar=False, **arguments
        )
        seconds[name] = time.process_time() - start
        patterns[name] = master_pattern.data[0]
    return patterns, seconds


def ebsdsim_nickel() -> np.ndarray:
    """Nickel by ebsdsim's exact solver at EMsoft's smallest spacing, energy of the beam only."""
    from ebsdsim.api import Atom, Cell, Material
    from ebsdsim.engine.master_pattern import run_master_pattern
    from ebsdsim.engine.params import SimParams

    a = load_phases()["Ni"].structure.lattice.a
    b_iso = load_phases()["Ni"].structure[0].Bisoequiv
    material = Material(Cell(a, a, a, space_group=225), [Atom("Ni", 0, 0, 0, 1, b_iso)], "Ni")
    parameters = SimParams(halfw=HALF_WIDTH, dmin=EMSOFT_DMIN, exact_slow_cpu=True, chunk_size=64)
    result = run_master_pattern(
        material.to_simulation_cell(), parameters, source="Ni", max_bins_run=1
    )
    return result.data[0, 0, 0]


def read_references(arguments: list[str]) -> dict[str, np.ndarray]:
    """Read upper hemispheres given as NAME=FILE."""
    pairs = (argument.split("=", 1) for argument in arguments)
    return {name: on_common_grid(np.load(Path(file)).astype(float)) for name, file in pairs}


def on_common_grid(pattern: np.ndarray) -> np.ndarray:
    """Interpolate a square Lambert projection on the common grid."""
    rows = np.arange(2 * HALF_WIDTH + 1) * (len(pattern) - 1) / (2 * HALF_WIDTH)
    return map_coordinates(pattern, np.meshgrid(rows, rows, indexing="ij"), order=1)


def refined_scores(signal: kp.signals.EBSD, pattern: np.ndarray) -> np.ndarray:
    """Normalised cross-correlations after refinement of orientation and projection center."""
    phase = Phase("Ni", space_group=225)
    start = signal.xmap
    xmap = CrystalMap(
        rotations=start.rotations.reshape(start.size, -1)[:, 0],
        x=start.x,
        y=start.y,
        phase_list=PhaseList(phase),
    )
    with contextlib.redirect_stdout(io.StringIO()):
        refined = signal.refine_orientation_projection_center(
            xmap=xmap,
            detector=signal.detector,
            master_pattern=as_signal(np.stack([pattern] * 2).astype(np.float32), phase, 20, ""),
            energy=20,
            signal_mask=~Window("circular", signal.detector.shape).astype(bool),
            rtol=1e-4,
        )
    return refined[0].scores


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    return np.corrcoef(np.ravel(first), np.ravel(second))[0, 1]


if __name__ == "__main__":
    main()
