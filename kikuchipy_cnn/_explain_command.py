# SPDX-License-Identifier: GPL-3.0-or-later

"""The command ``kikuchipy-cnn explain``."""

from __future__ import annotations

import argparse
from pathlib import Path

from kikuchipy_cnn._files import check_all_different, check_figure, save_figure
from kikuchipy_cnn._signals import load_signal

_BACKGROUND = 100


def add_explain_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command to those of the program.

    Parameters
    ----------
    commands
        Sub-parsers of the program.
    """
    explain = commands.add_parser(
        "explain",
        help="show what in patterns speaks for and against space groups",
        description="Show what in patterns of a map speaks for and against space groups. Red is "
        "for the space group, blue against it.",
    )
    explain.add_argument("file", help="EBSD patterns in any format that kikuchipy reads")
    explain.add_argument(
        "--index",
        action="append",
        type=_place,
        metavar="I,J",
        help="row and column of a pattern in the map, or its number in a line; can be given more "
        "than once",
    )
    explain.add_argument(
        "--method",
        choices=("shap", "gradcam"),
        default="shap",
        help="Shapley values of pixels, or regions by Grad-CAM; default is %(default)s",
    )
    explain.add_argument("--output", type=Path, required=True, help="file for the picture")
    explain.add_argument(
        "--model",
        default="xception_fewshot",
        help="name of a packaged model or path of a bundle; default is %(default)s",
    )
    explain.add_argument(
        "--space-group",
        nargs="+",
        metavar="LABEL",
        help="space groups, or other classes, to explain; default is the most probable one and, "
        "with shap, the next",
    )
    explain.add_argument(
        "--compare",
        metavar="MODEL",
        help="another model, whose explanation of the one --space-group is put beside",
    )
    explain.add_argument(
        "--phase",
        help="name in the catalogue, or a file .cif: draw its bands and zone axes, in the "
        "orientations in the file, and tell how much lies there",
    )
    explain.add_argument(
        "--background",
        type=int,
        metavar="N",
        help="simulated patterns of each class to compare with, for shap; default is "
        f"{_BACKGROUND}",
    )
    explain.add_argument("--layer", help="layer for gradcam; default is the last")
    explain.add_argument("--seed", type=int, help="of the simulated patterns, for shap")
    explain.add_argument("--overwrite", action="store_true", help="replace an existing picture")
    explain.add_argument("--no-progress", action="store_true", help="show no progress bar")
    explain.set_defaults(run=_explain)


def _explain(options: argparse.Namespace) -> None:
    from kikuchipy_cnn import plotting
    from kikuchipy_cnn.explanation import (
        crystallographic_shares,
        geometrical_simulations,
        orientations_at,
    )
    from kikuchipy_cnn.explanation import explain as explain_patterns
    from kikuchipy_cnn.models import as_model

    # Everything that can fail without the patterns fails before they are read.
    check_figure(options.output, options.overwrite)
    _check_options(options)
    phase = _phase(options.phase)
    models = [as_model(name) for name in (options.model, options.compare) if name is not None]
    check_all_different([Path(options.file), options.output])
    signal = load_signal(options.file)
    attributions = [
        explain_patterns(signal, options.index, model, options.method, **_settings(options))
        for model in models
    ]
    for model, of_model in zip(models, attributions, strict=True):
        print(f"{of_model.method} of {model.name}:\n{of_model.table()}")
    simulations = None
    if phase is not None:
        rotations, detector = orientations_at(signal, attributions[0].places)
        simulations = geometrical_simulations(phase, rotations, detector)
        for model, of_model in zip(models, attributions, strict=True):
            for details in [False] if of_model.details is None else [False, True]:
                shares = crystallographic_shares(
                    of_model, phase, rotations, detector, details=details
                )
                what = "guided Grad-CAM" if details else of_model.method
                print(f"Parts of {what} of {model.name}:\n{shares.table()}")
    if options.compare is None:
        figure = plotting.plot_attributions(attributions[0], simulations=simulations)
    else:
        figure = plotting.plot_attribution_comparison(
            *attributions, titles=[model.name for model in models]
        )
    save_figure(figure, options.output)


def _place(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no place in a map, such as 2,5.") from None


def _check_options(options: argparse.Namespace) -> None:
    if options.method == "gradcam" and (options.background, options.seed) != (None, None):
        raise ValueError("--background and --seed are for --method shap only.")
    if options.method == "shap" and options.layer is not None:
        raise ValueError("--layer is for --method gradcam only.")
    if options.compare is not None and len(options.space_group or ()) != 1:
        raise ValueError(
            "--compare needs one --space-group that both models are to be asked about."
        )


def _phase(name: str | None):
    from kikuchipy_cnn._phase_options import read_phase
    from kikuchipy_cnn.simulation.phases import load_phase_table

    return None if name is None else read_phase(name, load_phase_table())


def _settings(options: argparse.Namespace) -> dict:
    from kikuchipy_cnn.space_groups import label_of_text

    settings = {"show_progressbar": False if options.no_progress else None}
    if options.space_group is not None:
        settings["space_group"] = [label_of_text(text) for text in options.space_group]
    if options.method == "gradcam":
        return settings | {"layer": options.layer}
    return settings | {
        "n_background": _BACKGROUND if options.background is None else options.background,
        "seed": options.seed or 0,
    }
