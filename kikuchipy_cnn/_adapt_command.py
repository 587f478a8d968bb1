# SPDX-License-Identifier: GPL-3.0-or-later

"""The command ``kikuchipy-cnn adapt``."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from kikuchipy_cnn._signals import load_signal


def add_adapt_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to those of the program.

    Parameters
    ----------
    commands
        Sub-parsers of the program.
    """
    adapt = commands.add_parser(
        "adapt",
        help="let models follow patterns whose imaging conditions drifted",
        description="Let models follow patterns whose voltage, noise, camera or contamination "
        "drifted: they label the patterns that they agree on and are sure of, and learn from these "
        "labels, round by round, as long as there is a gain. A run that was broken off goes on "
        "after its last round when the command is given again.",
    )
    adapt.add_argument("file", nargs="+", help="maps in any format that kikuchipy reads")
    adapt.add_argument(
        "--model",
        action="append",
        required=True,
        help="name of a packaged model or path of a bundle; give several, or one ensemble",
    )
    adapt.add_argument(
        "--work", type=Path, required=True, help="folder for the rounds, any of which can be used"
    )
    adapt.add_argument("--output", type=Path, required=True, help="folder for the best ensemble")
    adapt.add_argument(
        "--known",
        type=Path,
        metavar="MANIFEST",
        help="CSV file of patterns of the new conditions and of known label, as for train; without "
        "it, nothing tells whether the self-labels are right",
    )
    adapt.add_argument(
        "--replay",
        type=Path,
        metavar="MANIFEST",
        help="CSV file of patterns by which the models keep what they know; default is to simulate "
        "some",
    )
    # The defaults of IterativeSettings, whose import is too slow for a help text. A test compares.
    adapt.add_argument(
        "--rounds",
        type=int,
        default=4,
        help="most rounds; default is %(default)s",
    )
    adapt.add_argument(
        "--confidence",
        type=float,
        default=0.9,
        help="least mean probability of a self-label; default is %(default)s",
    )
    adapt.add_argument(
        "--patterns",
        type=int,
        default=4000,
        help="most patterns of the maps that are used; default is %(default)s",
    )
    adapt.add_argument("--seed", type=int, default=0)
    adapt.add_argument("--overwrite", action="store_true", help="replace the output")
    adapt.add_argument("--no-progress", action="store_true", help="show no progress bar")
    adapt.set_defaults(run=_adapt)


def _adapt(options: argparse.Namespace) -> None:
    from kikuchipy_cnn.models._folder import check_bundle_folder
    from kikuchipy_cnn.training import IterativeSettings, iterative_training, read_manifest

    # Everything that can fail without the patterns fails before they are read.
    settings = IterativeSettings(
        max_rounds=options.rounds, confidence=options.confidence, n_patterns=options.patterns
    )
    check_bundle_folder(options.output, options.overwrite)
    output, work = options.output.resolve(), options.work.resolve()
    if work in (output, *output.parents):
        raise ValueError(
            f"The output '{options.output}' lies in the folder of the rounds '{options.work}'. "
            "Give another one."
        )
    show_progressbar = not options.no_progress
    labelled = {
        name: read_manifest(path, show_progressbar=show_progressbar)
        for name, path in (("known", options.known), ("replay", options.replay))
        if path is not None
    }
    result = iterative_training(
        options.model,
        [load_signal(file) for file in options.file],
        work=options.work,
        settings=settings,
        seed=options.seed,
        show_progressbar=show_progressbar,
        **labelled,
    )
    print(result.table())
    print(f"Stopped ({result.stopped}): {result.rounds[-1]['reason']}")
    model = replace(result.model, name=options.output.name)
    model.save(options.output, options.overwrite)
    if result.best_round == 0:
        print("No round is better than the models as they were given, which are the output.")
    else:
        print(f"The best round is {result.best_round}.")
    print(f"Model: {options.output}\nRounds: {options.work}")
