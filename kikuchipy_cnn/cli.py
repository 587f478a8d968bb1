"""The command kikuchipy-cnn."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kikuchipy_cnn._files import check_figure, save_figure
from kikuchipy_cnn._simulate_commands import add_simulate_parser
from kikuchipy_cnn._train_commands import add_train_parsers

if TYPE_CHECKING:
    from orix.crystal_map import CrystalMap

# Errors that tell the user what to change; anything else is a fault of ours and is shown in full.
_USER_ERRORS = (OSError, ValueError, ImportError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments
        Arguments without the name of the program. If not given, those
        of the process.

    Returns
    -------
    status
        0, 1 after an error that the user can mend, or 130 after Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    # TensorFlow talks about the processor's abilities at every start.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        options.run(options)
    except _USER_ERRORS as error:
        print(f"kikuchipy-cnn: error: {error}", file=sys.stderr)
        if isinstance(error, FileExistsError):
            print("On the command line this is --overwrite.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("kikuchipy-cnn: interrupted", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kikuchipy-cnn", description="Space groups from single EBSD patterns."
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    classify = commands.add_parser(
        "classify", help="classify the patterns of a file", description="Classify patterns."
    )
    classify.add_argument("file", help="EBSD patterns in any format that kikuchipy reads")
    classify.add_argument(
        "--output",
        action="append",
        required=True,
        type=Path,
        help="file for the crystal map, .ang or .h5; can be given more than once",
    )
    _add_common_options(classify)
    classify.set_defaults(run=_classify)

    models = commands.add_parser(
        "models", help="list the packaged models", description="List the packaged models."
    )
    models.set_defaults(run=_models)

    demo = commands.add_parser(
        "demo",
        help="classify the nickel patterns that come with kikuchipy",
        description="Classify the nine nickel patterns (Fm-3m, 225) that come with kikuchipy.",
    )
    demo.add_argument(
        "--folder",
        type=Path,
        default=Path(),
        help="where to write nickel.ang, nickel.h5 and nickel.png; default is here",
    )
    _add_common_options(demo, figure=False)
    demo.set_defaults(run=_demo)

    add_simulate_parser(commands)
    add_train_parsers(commands)
    return parser


def _add_common_options(parser: argparse.ArgumentParser, figure: bool = True) -> None:
    parser.add_argument(
        "--model",
        default="xception_fewshot",
        help="name of a packaged model or path of a bundle; default is %(default)s",
    )
    if figure:
        parser.add_argument("--figure", type=Path, help="file for a picture of the map")
    parser.add_argument(
        "--batch-size", type=int, default=64, help="patterns at once; default is %(default)s"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.add_argument("--no-progress", action="store_true", help="show no progress bar")


def _classify(options: argparse.Namespace) -> None:
    from kikuchipy_cnn import io, plotting

    # Everything that can fail without the patterns fails before they are read.
    for output in options.output:
        io.check_output(output, options.overwrite)
    if options.figure is not None:
        check_figure(options.figure, options.overwrite)
    _check_all_different(options)
    signal = _load_signal(options.file)
    if signal.axes_manager.navigation_size <= 1 and any(
        output.suffix.lower() == ".ang" for output in options.output
    ):
        raise ValueError(f"{options.file} holds a single pattern, which .ang cannot: give .h5.")
    xmap = _run_classification(signal, options)
    for output in options.output:
        io.save(output, xmap, overwrite=options.overwrite)
        print(f"Map: {output}")
    if options.figure is not None:
        save_figure(plotting.plot_space_groups(xmap), options.figure)


def _models(options: argparse.Namespace) -> None:
    from kikuchipy_cnn import describe_model, list_models
    from kikuchipy_cnn.label_classes import classes_from_dict

    for name in list_models():
        description = describe_model(name)
        classes = classes_from_dict(description)
        groups = ", ".join(
            name if number is None else f"{number} {name}"
            for number, name in zip(classes.space_groups, classes.names, strict=True)
        )
        rows, columns, _ = description["input_shape"]
        print(f"{name}\n  {description['architecture']}, {rows} x {columns} pixels\n  {groups}")


def _demo(options: argparse.Namespace) -> None:
    import kikuchipy as kp

    from kikuchipy_cnn import io, plotting

    outputs = [options.folder / name for name in ("nickel.ang", "nickel.h5")]
    figure = options.folder / "nickel.png"
    for output in outputs:
        io.check_output(output, options.overwrite)
    io.check_destination(figure, options.overwrite)
    signal = kp.data.nickel_ebsd_small()
    xmap = _run_classification(signal, options)
    for output in outputs:
        io.save(output, xmap, overwrite=options.overwrite)
        print(f"Map: {output}")
    save_figure(plotting.plot_patterns(signal, xmap), figure)


def _run_classification(signal, options: argparse.Namespace) -> CrystalMap:
    from kikuchipy_cnn import classify_space_group, load_model
    from kikuchipy_cnn.crystal_map import summary_table

    bundle = load_model(options.model)
    xmap = classify_space_group(
        signal,
        bundle,
        batch_size=options.batch_size,
        show_progressbar=False if options.no_progress else None,
    )
    print(summary_table(xmap, bundle.classes))
    return xmap


def _load_signal(file: str):
    import kikuchipy as kp

    if not Path(file).exists():
        raise FileNotFoundError(f"There is no file {file!r}.")
    try:
        signal = kp.load(file, lazy=True)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"kikuchipy cannot read {file!r}: {error}") from error
    if not isinstance(signal, kp.signals.EBSD):
        raise ValueError(f"{file!r} holds {signal}, not EBSD patterns.")
    return signal


def _check_all_different(options: argparse.Namespace) -> None:
    """Neither may the patterns be overwritten, nor one result by another."""
    paths = [Path(options.file), *options.output]
    paths += [] if options.figure is None else [options.figure]
    resolved = [path.resolve() for path in paths]
    for path, place in zip(paths, resolved, strict=True):
        if resolved.count(place) > 1:
            raise ValueError(f"'{path}' is given for more than one file. Give another name.")
