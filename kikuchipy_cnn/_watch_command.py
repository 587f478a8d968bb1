# SPDX-License-Identifier: GPL-3.0-or-later

"""The command ``kikuchipy-cnn watch``."""

from __future__ import annotations

import argparse
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kikuchipy_cnn._files import check_all_different, check_figure, replacing
from kikuchipy_cnn._options import add_common_options, model_names

if TYPE_CHECKING:
    import numpy as np

    from kikuchipy_cnn.watching import PatternStream, Round


def add_watch_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to those of the program.

    Parameters
    ----------
    commands
        Sub-parsers of the program.
    """
    watch = commands.add_parser(
        "watch",
        help="classify patterns while the microscope writes them",
        description="Classify the patterns of a scan that is still being written, until the map is "
        "complete, or to Ctrl-C, after which the map is written too.",
    )
    watch.add_argument(
        "path",
        type=Path,
        metavar="FOLDER_OR_FILE",
        help="file of patterns that grows or is filled, .h5 or NORDIF's .dat; or folder that "
        "images of single patterns arrive in; it need not be there yet",
    )
    watch.add_argument(
        "--output",
        action="append",
        required=True,
        type=Path,
        help="file for the crystal map, .ang, .ctf or .h5, which is written at the end; can be "
        "given more than once",
    )
    # The defaults of PatternStream, whose import is too slow for a help text. A test compares.
    watch.add_argument(
        "--interval",
        type=float,
        default=1.0,
        help="seconds from one look to the next; default is %(default)g",
    )
    watch.add_argument(
        "--refresh",
        type=float,
        default=5.0,
        help="seconds from one picture of the map to the next, at least; default is %(default)g",
    )
    watch.add_argument(
        "--timeout",
        type=float,
        help="seconds without a new pattern after which to end; default is to wait for ever",
    )
    watch.add_argument(
        "--background",
        type=Path,
        metavar="FILE",
        help="image to divide the patterns by; default is the static background in the file of "
        "patterns, if it has one",
    )
    watch.add_argument(
        "--name-pattern",
        metavar="REGEX",
        help=r"where the names of images have the column and the row; default is _x(\d+)y(\d+) or "
        r"-(\d+)-(\d+), before the suffix",
    )
    watch.add_argument(
        "--shape",
        type=int,
        nargs=2,
        metavar=("ROWS", "COLUMNS"),
        help="of the map that images make; default is to go by their names",
    )
    add_common_options(watch)
    watch.set_defaults(run=_watch)


def _watch(options: argparse.Namespace) -> None:
    from kikuchipy_cnn.watching import PatternStream

    # Everything that can fail without the patterns fails before there are any.
    _check_files(options)
    stream = PatternStream(
        options.path,
        model_names(options),
        max_risk=options.max_risk,
        reject=not options.no_rejection,
        static_background=None if options.background is None else _image(options.background),
        name_pattern=options.name_pattern,
        shape=None if options.shape is None else tuple(options.shape),
        interval=options.interval,
        timeout=options.timeout,
        engine=options.engine,
        precision=options.precision,
        batch_size=options.batch_size,
    )
    print(f"Watching '{options.path}'. Ctrl-C ends it and writes the map.")
    print(f"  Model: {stream.model.name}\n  Engine: {stream.engine}", flush=True)
    with _stopped_by_interrupt(stream):
        _follow(stream, options)
    if stream.ended == "stopped":
        raise KeyboardInterrupt
    if stream.ended == "timeout":
        print(f"Nothing has come for {options.timeout:g} s.")


def _follow(stream: PatternStream, options: argparse.Namespace) -> None:
    """Show each round, and write what there is in the end, however it comes."""
    newest: Round | None = None
    drawn = -float("inf")
    try:
        for newest in stream:
            if newest.n_new == newest.n_done:
                _print_decision(stream)
            if not options.no_progress:
                print(newest, flush=True)
            if options.figure is not None and time.monotonic() - drawn >= options.refresh:
                _try_to_draw(newest, options.figure)
                drawn = time.monotonic()
    finally:
        if newest is not None:
            _finish(newest, stream, options)


def _print_decision(stream: PatternStream) -> None:
    divided = "none" if stream.static_background is None else "divided by"
    mask = stream.signal_mask
    used = "none" if mask is None else f"found, {(~mask).mean():.0%} of pixels used"
    print(f"  Static background: {divided}\n  Signal mask: {used}")


def _try_to_draw(newest: Round, path: Path) -> None:
    # A picture that cannot be replaced, as another program shows it, is no reason to end.
    try:
        _draw(newest, path)
    except OSError as error:
        print(f"The figure could not be refreshed: {error}")


def _draw(newest: Round, path: Path) -> None:
    from kikuchipy_cnn import plotting

    with replacing(path) as temporary:
        plotting.plot_space_groups(newest.xmap).savefig(temporary, dpi=150)


def _finish(newest: Round, stream: PatternStream, options: argparse.Namespace) -> None:
    from kikuchipy_cnn import io
    from kikuchipy_cnn.crystal_map import summary_table

    errors = []
    for output in options.output:
        # What went wrong with one file is not to cost the others.
        try:
            io.save(output, newest.xmap, overwrite=options.overwrite)
            print(f"Map: {output}")
        except (OSError, ValueError) as error:
            errors.append(error)
    if errors:
        raise errors[0]
    if options.figure is not None:
        _draw(newest, options.figure)
        print(f"Figure: {options.figure}")
    print(summary_table(newest.xmap, stream.model.classes))


@contextmanager
def _stopped_by_interrupt(stream: PatternStream) -> Iterator[None]:
    """Let Ctrl-C end a stream after its round, and a second one at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_) -> None:
        signal.signal(signal.SIGINT, previous)
        stream.stop()

    previous = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _check_files(options: argparse.Namespace) -> None:
    from kikuchipy_cnn import io
    from kikuchipy_cnn.watching.images import IMAGE_SUFFIXES
    from kikuchipy_cnn.watching.opening import FILE_SUFFIXES, has_wildcards

    for output in options.output:
        io.check_output(output, options.overwrite)
    written = list(options.output)
    if options.figure is not None:
        check_figure(options.figure, options.overwrite)
        written.append(options.figure)
    check_all_different([options.path, *written])
    watched = options.path.resolve()
    folder = watched.parent if has_wildcards(watched) else watched
    for path in written:
        place = path.resolve()
        is_like_patterns = place.suffix.lower() in (*IMAGE_SUFFIXES, *FILE_SUFFIXES)
        if place.parent == folder and is_like_patterns:
            raise ValueError(
                f"'{path}' would be taken for patterns, as its folder is watched. Give another one."
            )


def _image(path: Path) -> np.ndarray:
    import imageio.v3 as iio

    try:
        image = iio.imread(path)
    # Each of imageio's decoders has errors of its own.
    except Exception as error:
        raise ValueError(f"The background '{path}' cannot be read: {error}") from error
    if image.ndim != 2:
        raise ValueError(
            f"The background '{path}' has the shape {image.shape}; rows and columns are needed."
        )
    return image
