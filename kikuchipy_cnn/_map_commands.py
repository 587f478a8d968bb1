# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands ``kikuchipy-cnn export`` and ``kikuchipy-cnn compare``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from kikuchipy_cnn._files import (
    check_all_different,
    check_destination,
    check_figure,
    save_figure,
)
from kikuchipy_cnn._phase_options import add_space_group_option
from kikuchipy_cnn._signals import load_signal

if TYPE_CHECKING:
    from kikuchipy.signals import EBSD
    from orix.crystal_map import CrystalMap, Phase

_INDEXING = ("hough", "dictionary")


def add_map_parsers(commands: argparse._SubParsersAction) -> None:
    """Add the commands to those of the program.

    Parameters
    ----------
    commands
        Sub-parsers of the program.
    """
    export = commands.add_parser(
        "export",
        help="write a map to files of other programs",
        description="Write a crystal map to .ang (EDAX), .ctf (Oxford Instruments) or .h5 (orix "
        "and MTEX).",
    )
    export.add_argument("map", help="map in any format that orix reads")
    export.add_argument(
        "--output",
        action="append",
        required=True,
        type=Path,
        help="file to write; can be given more than once",
    )
    _add_phases(
        export,
        "name in the catalogue, or a file .cif, of a phase whose name and unit cell its space "
        "group gets; can be given more than once, in the order of the file",
    )
    export.add_argument("--overwrite", action="store_true", help="replace existing files")
    export.set_defaults(run=_export)

    compare = commands.add_parser(
        "compare",
        help="compare the phases in maps of the same points",
        description="Compare the phases in maps of the same points, with each other and with what "
        "Hough and dictionary indexing say.",
    )
    compare.add_argument("map", nargs="+", help="map in any format that orix reads")
    compare.add_argument("--truth", help="map of what the points are")
    compare.add_argument(
        "--level",
        choices=("space group", "phase"),
        default="space group",
        help="what to compare; default is %(default)s",
    )
    compare.add_argument(
        "--patterns", help="the patterns of the map, in any format that kikuchipy reads"
    )
    compare.add_argument(
        "--with",
        dest="indexing",
        action="append",
        choices=_INDEXING,
        default=[],
        help="index the patterns this way too; can be given more than once",
    )
    _add_phases(
        compare,
        "name in the catalogue, or a file .cif, of a candidate for --with; can be given more than "
        "once, in the order in which they are tried",
    )
    compare.add_argument(
        "--resolution",
        type=float,
        default=2.0,
        help="of the dictionary, in degrees; default is %(default)s",
    )
    compare.add_argument("--figure", type=Path, help="file for a picture of the maps")
    compare.add_argument("--agreement", type=Path, help="file for a picture of where they agree")
    compare.add_argument(
        "--disagreements", type=Path, help="file (.csv) for a list of the points where they differ"
    )
    compare.add_argument("--overwrite", action="store_true", help="replace existing files")
    compare.add_argument("--no-progress", action="store_true", help="show no progress bar")
    compare.set_defaults(run=_compare)


def _add_phases(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--phase", action="append", default=[], help=text)
    add_space_group_option(parser)


def _export(options: argparse.Namespace) -> None:
    from kikuchipy_cnn import io

    for output in options.output:
        io.check_output(output, options.overwrite)
    check_all_different([Path(options.map), *options.output])
    phases = _phases(options)
    xmap = io.load(options.map)
    for output in options.output:
        io.save(output, xmap, overwrite=options.overwrite, phase_list=phases or None)
        print(f"Map: {output}")


def _compare(options: argparse.Namespace) -> None:
    from kikuchipy_cnn import io, plotting
    from kikuchipy_cnn.comparison import compare_phase_maps

    # Everything that can fail without the patterns fails before they are read.
    _check_options(options)
    phases = _phases(options)
    maps = {_title(options, file): io.load(file) for file in options.map}
    truth = None if options.truth is None else io.load(options.truth)
    if options.indexing:
        maps |= _indexed(options, phases)
    comparison = compare_phase_maps(
        *maps.values(), names=list(maps), truth=truth, level=options.level
    )
    print(comparison.table())
    names = list(maps)
    rows = ["truth"] if truth is not None else names[1:]
    for other in rows:
        print(f"\n{comparison.confusion_table(other, names[0])}")
    if options.figure is not None:
        panels = maps | ({} if truth is None else {"truth": truth})
        save_figure(plotting.plot_phase_maps(panels), options.figure)
    if options.agreement is not None:
        save_figure(plotting.plot_agreement(comparison), options.agreement)
    if options.disagreements is not None:
        comparison.save_disagreements(options.disagreements, options.overwrite)
        print(f"Disagreements: {options.disagreements}")


def _check_options(options: argparse.Namespace) -> None:
    figures = [i for i in (options.figure, options.agreement) if i is not None]
    for figure in figures:
        check_figure(figure, options.overwrite)
    tables = [] if options.disagreements is None else [options.disagreements]
    for table in tables:
        check_destination(table, options.overwrite)
    inputs = [*options.map, options.truth, options.patterns]
    written_over = {Path(i).resolve() for i in inputs if i is not None}
    for output in (*figures, *tables):
        if output.resolve() in written_over:
            raise ValueError(f"'{output}' is a file to read. Give another name.")
    check_all_different([*figures, *tables])
    if options.indexing and (options.patterns is None or not options.phase):
        raise ValueError(
            f"--with {options.indexing[0]} needs --patterns and at least one --phase to index them "
            "with."
        )
    n_maps = len(options.map) + len(set(options.indexing))
    if n_maps < 2 and (options.truth is None or options.agreement is not None):
        raise ValueError("There is one map only: give another one, --truth, or --with hough.")


def _phases(options: argparse.Namespace) -> list[Phase]:
    if not options.phase:
        return []
    from kikuchipy_cnn._phase_options import read_phase
    from kikuchipy_cnn.simulation.phases import load_phase_table

    catalogue = load_phase_table()
    return [read_phase(name, catalogue, options.space_group) for name in options.phase]


def _title(options: argparse.Namespace, file: str) -> str:
    """Name of a map: that of its file, with as much of the path as tells it from the others."""
    taken = [*(Path(i).stem for i in options.map), "truth"]
    return file if taken.count(Path(file).stem) > 1 else Path(file).stem


def _indexed(options: argparse.Namespace, phases: list[Phase]) -> dict[str, CrystalMap]:
    from kikuchipy_cnn.comparison import dictionary_phase_map, hough_phase_map

    signal = _without_background(load_signal(options.patterns))
    shown = False if options.no_progress else None
    found = {}
    for indexing in dict.fromkeys(options.indexing):
        if indexing == "hough":
            xmap = hough_phase_map(signal, phases, show_progressbar=shown)
        else:
            xmap = dictionary_phase_map(
                signal, phases, resolution=options.resolution, show_progressbar=shown
            )
        found[f"{indexing} indexing"] = xmap
    return found


def _without_background(signal: EBSD) -> EBSD:
    """Patterns in memory as they are prepared for indexing."""
    from kikuchipy_cnn._patterns import has_background

    signal.compute(show_progressbar=False)
    if has_background(signal):
        signal.remove_static_background(show_progressbar=False)
    signal.remove_dynamic_background(show_progressbar=False)
    return signal
