# SPDX-License-Identifier: GPL-3.0-or-later

"""The command kikuchipy-cnn."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import kikuchipy_cnn
from kikuchipy_cnn._adapt_command import add_adapt_parser
from kikuchipy_cnn._explain_command import add_explain_parser
from kikuchipy_cnn._files import check_all_different, check_destination, check_figure, save_figure
from kikuchipy_cnn._map_commands import add_map_parsers
from kikuchipy_cnn._options import add_common_options, model_names
from kikuchipy_cnn._signals import load_signal
from kikuchipy_cnn._simulate_commands import add_simulate_parser
from kikuchipy_cnn._train_commands import add_train_parsers
from kikuchipy_cnn._watch_command import add_watch_parser

if TYPE_CHECKING:
    from distributed import Client
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
    # TensorFlow talks at every start, and calls it an error if there is no graphics processor. What
    # is one comes as an exception.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
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
    parser.add_argument(
        "--version", action="version", version=f"%(prog)s {kikuchipy_cnn.__version__}"
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
        help="file for the crystal map, .ang, .ctf or .h5; can be given more than once",
    )
    classify.add_argument(
        "--prior",
        nargs="+",
        metavar="LABEL[=FRACTION]",
        help="space groups that are possible, such as 225 229, or their fractions of the area, "
        "such as 225=0.9 229=0.1",
    )
    classify.add_argument(
        "--pooling-radius",
        type=int,
        default=0,
        help="pool probabilities over neighbours of the same grain, up to so many steps away; "
        "default is not to",
    )
    classify.add_argument("--doubt", type=Path, help="file for a picture of the confidence")
    classify.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="classify on the Dask cluster of this address, such as tcp://localhost:8786",
    )
    add_common_options(classify)
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
    add_common_options(demo, figure=False)
    demo.set_defaults(run=_demo)

    add_map_parsers(commands)
    add_explain_parser(commands)
    add_simulate_parser(commands)
    add_train_parsers(commands)
    add_adapt_parser(commands)
    add_watch_parser(commands)
    return parser


def _classify(options: argparse.Namespace) -> None:
    from kikuchipy_cnn import io, plotting

    # Everything that can fail without the patterns fails before they are read.
    for output in options.output:
        io.check_output(output, options.overwrite)
    figures = [figure for figure in (options.figure, options.doubt) if figure is not None]
    for figure in figures:
        check_figure(figure, options.overwrite)
    # Neither may the patterns be overwritten, nor one result by another.
    check_all_different([Path(options.file), *options.output, *figures])
    signal = load_signal(options.file)
    if signal.axes_manager.navigation_size <= 1 and any(
        output.suffix.lower() in (".ang", ".ctf") for output in options.output
    ):
        raise ValueError(
            f"{options.file} holds a single pattern, which .ang and .ctf cannot: give .h5."
        )
    # Results are kept here until the map is written, so that the same command can go on.
    store = options.output[0].with_name(f"{options.output[0].name}.partial")
    with _client(options.scheduler) as client:
        xmap = _run_classification(
            signal,
            options,
            prior=_prior(options.prior),
            pooling_radius=options.pooling_radius,
            store=store,
            scheduler="threads" if client is None else client,
        )
    for output in options.output:
        io.save(output, xmap, overwrite=options.overwrite)
        print(f"Map: {output}")
    if options.figure is not None:
        save_figure(plotting.plot_space_groups(xmap), options.figure)
    if options.doubt is not None:
        save_figure(plotting.plot_confidence(xmap), options.doubt)
    store.unlink(missing_ok=True)


def _client(address: str | None) -> AbstractContextManager[Client | None]:
    """Client of the cluster of an address, or none."""
    if address is None:
        return nullcontext()
    if find_spec("distributed") is None:
        raise ImportError("--scheduler needs Dask's clusters: pip install 'dask[distributed]'.")
    from distributed import Client

    return Client(address, set_as_default=False)


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
    check_destination(figure, options.overwrite)
    signal = kp.data.nickel_ebsd_small()
    xmap = _run_classification(signal, options)
    for output in outputs:
        io.save(output, xmap, overwrite=options.overwrite)
        print(f"Map: {output}")
    save_figure(plotting.plot_patterns(signal, xmap), figure)


def _prior(entries: Sequence[str] | None) -> list | dict | None:
    """Prior as labels, or labels with fractions, of text."""
    from kikuchipy_cnn.space_groups import label_of_text

    if entries is None:
        return None
    pairs = [entry.rpartition("=") if "=" in entry else (entry, "", "") for entry in entries]
    labels = [label_of_text(text) for text, _, _ in pairs]
    fractions = [fraction for _, _, fraction in pairs]
    if not any(fractions):
        return labels
    try:
        return dict(zip(labels, map(float, fractions), strict=True))
    except ValueError as error:
        raise ValueError(
            f"--prior {' '.join(entries)}: give all labels a fraction, as in 225=0.9, or none."
        ) from error


def _run_classification(signal, options: argparse.Namespace, **settings) -> CrystalMap:
    from kikuchipy_cnn import classify_space_group
    from kikuchipy_cnn.crystal_map import summary_table
    from kikuchipy_cnn.models import as_model

    model = as_model(model_names(options))
    xmap = classify_space_group(
        signal,
        model,
        max_risk=options.max_risk,
        reject=not options.no_rejection,
        engine=options.engine,
        precision=options.precision,
        batch_size=options.batch_size,
        show_progressbar=False if options.no_progress else None,
        **settings,
    )
    print(summary_table(xmap, model.classes))
    return xmap
