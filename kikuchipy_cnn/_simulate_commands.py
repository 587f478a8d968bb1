# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands ``kikuchipy-cnn simulate ...``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from kikuchipy_cnn._files import check_destination, replacing
from kikuchipy_cnn._phase_options import add_space_group_option, is_cif, read_phase

if TYPE_CHECKING:
    from orix.crystal_map import Phase


def add_simulate_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to those of the program.

    Parameters
    ----------
    commands
        Sub-parsers of the program.
    """
    simulate = commands.add_parser(
        "simulate",
        help="simulate master patterns and patterns of any crystal",
        description="Simulate master patterns and patterns of phases of the catalogue or of CIFs.",
    )
    kinds = simulate.add_subparsers(required=True, metavar="what")

    phases = kinds.add_parser(
        "phases",
        help="list the catalogue of crystal structures",
        description="List the catalogue of crystal structures.",
    )
    phases.add_argument("--space-group", type=int, action="append", help="only of this number")
    phases.set_defaults(run=_list_phases)

    master = kinds.add_parser(
        "master-patterns",
        help="simulate master patterns",
        description="Simulate master patterns. A library (.npz) that is broken off goes on where "
        "it stopped when the command is given again.",
    )
    _add_phases(master)
    master.add_argument("--all", action="store_true", help="all phases of the catalogue")
    master.add_argument(
        "--output",
        type=Path,
        required=True,
        help=".npz for a library of any number of phases, or .h5 in EMsoft's layout for one",
    )
    master.add_argument("--energy", type=float, default=20.0, help="in keV; default is 20")
    master.add_argument(
        "--half-width",
        type=int,
        default=150,
        help="pixels from the centre to the edge; default is 150, a side of 301",
    )
    master.add_argument(
        "--method", choices=("dynamical", "kinematical"), default="dynamical", help="for .h5 only"
    )
    master.add_argument(
        "--variants",
        type=int,
        default=0,
        help="further master patterns of each phase with other lattice parameters, displacement "
        "factors and energies, for .npz only",
    )
    _add_common(master)
    master.set_defaults(run=_simulate_master_patterns)

    patterns = kinds.add_parser(
        "patterns",
        help="simulate labelled patterns",
        description="Simulate patterns of random orientations with their labels, in kikuchipy's "
        "h5 format. Master patterns of the catalogue are packaged; those of CIFs are simulated.",
    )
    _add_phases(patterns)
    patterns.add_argument("--output", type=Path, required=True, help="file to write (.h5)")
    patterns.add_argument("--number", type=int, default=1000, help="of patterns; default is 1000")
    patterns.add_argument(
        "--shape",
        type=int,
        nargs=2,
        default=(60, 60),
        metavar=("ROWS", "COLUMNS"),
        help="default is 60 60",
    )
    patterns.add_argument(
        "--pc",
        type=float,
        nargs=3,
        metavar=("X", "Y", "Z"),
        help="projection center in Bruker's convention; drawn from ranges if not given",
    )
    patterns.add_argument(
        "--severity",
        type=float,
        default=1.0,
        help="fraction of the full ranges of imperfections; with 0 there are none, but detectors "
        "may still be circular or wide; default is 1",
    )
    patterns.add_argument("--seed", type=int, default=0, help="default is 0")
    patterns.add_argument("--library", type=Path, help="library of master patterns (.npz)")
    _add_common(patterns)
    patterns.set_defaults(run=_simulate_patterns)


def _add_phases(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "phase", nargs="*", help="name in the catalogue (see: simulate phases), or a file .cif"
    )
    add_space_group_option(parser)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers",
        type=int,
        help="processes for dynamical simulation; default is one per processor for a library, "
        "else one",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
    parser.add_argument("--no-progress", action="store_true", help="show no progress bar")


def _list_phases(options: argparse.Namespace) -> None:
    from kikuchipy_cnn.simulation.phases import load_phase_table

    for name, record in load_phase_table().items():
        if options.space_group is None or record.space_group in options.space_group:
            print(f"{record.space_group:4d}  {name:20s} {record.formula:16s} {record.prototype}")


def _simulate_master_patterns(options: argparse.Namespace) -> None:
    from kikuchipy_cnn.simulation import (
        build_library,
        load_phases,
        save_master_pattern,
        simulate_master_pattern,
    )

    suffix = options.output.suffix.lower()
    if suffix not in (".npz", ".h5"):
        raise ValueError(f"Suffix {suffix!r} of '{options.output}' must be .npz or .h5.")
    if suffix == ".npz" and options.method != "dynamical":
        raise ValueError("A library holds dynamical master patterns. Give --output with .h5.")
    if suffix == ".h5" and options.variants:
        raise ValueError("--variants makes several master patterns. Give --output with .npz.")
    check_destination(options.output, options.overwrite)
    if options.all and options.phase:
        raise ValueError(f"--all and {options.phase} exclude each other.")
    phases = load_phases() if options.all else _read_phases(options)
    if suffix == ".npz":
        build_library(
            options.output,
            phases,
            energy=options.energy,
            half_width=options.half_width,
            variants=options.variants,
            workers=options.workers,
            show_progressbar=not options.no_progress,
        )
        print(f"Library: {options.output}")
        return
    if len(phases) != 1:
        raise ValueError(f"{len(phases)} phases do not fit into one .h5 file. Give .npz.")
    (phase,) = phases.values()
    master_pattern = simulate_master_pattern(
        phase,
        options.energy,
        half_width=options.half_width,
        method=options.method,
        workers=options.workers,
        show_progressbar=not options.no_progress,
    )
    save_master_pattern(options.output, master_pattern, overwrite=options.overwrite)
    print(f"Master pattern: {options.output}")


def _simulate_patterns(options: argparse.Namespace) -> None:
    import kikuchipy as kp

    from kikuchipy_cnn.simulation import (
        Disturbances,
        load_library,
        simulate_patterns,
    )

    if options.output.suffix.lower() != ".h5":
        raise ValueError(f"Suffix of '{options.output}' must be .h5.")
    check_destination(options.output, options.overwrite)
    disturbances = Disturbances().scaled(options.severity)
    phases = _read_phases(options)
    library = load_library(options.library)
    master_patterns = []
    for given, (name, phase) in zip(options.phase, phases.items(), strict=True):
        # A crystal of the user's may have the name of another one in the library.
        if name in library and not is_cif(given):
            master_patterns.append(library.signal(name))
            continue
        master_patterns.append(
            library.simulate(
                phase, workers=options.workers, show_progressbar=not options.no_progress
            )
        )
    shape, detector = tuple(options.shape), None
    if options.pc is not None:
        detector = kp.detectors.EBSDDetector(shape=shape, pc=options.pc)
    signal = simulate_patterns(
        master_patterns,
        options.number,
        shape=shape,
        detector=detector,
        disturbances=disturbances,
        seed=options.seed,
        show_progressbar=not options.no_progress,
    )
    with replacing(options.output) as temporary:
        signal.save(temporary)
    print(f"Patterns: {options.output}")


def _read_phases(options: argparse.Namespace) -> dict[str, Phase]:
    """Phases named on the command line, by name and in that order."""
    from kikuchipy_cnn.simulation.phases import load_phase_table

    if not options.phase:
        raise ValueError("No phase is given. Give names of the catalogue or files .cif.")
    catalogue = load_phase_table()
    phases = {}
    for name in options.phase:
        phase = read_phase(name, catalogue, options.space_group)
        if phase.name in phases:
            raise ValueError(f"Two phases are named {phase.name!r}. Rename a file.")
        phases[phase.name] = phase
    return phases
