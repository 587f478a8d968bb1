# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of all commands that classify patterns."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_common_options(parser: argparse.ArgumentParser, figure: bool = True) -> None:
    """Add the options that all commands have that classify.

    Parameters
    ----------
    parser
        Parser of a command.
    figure
        Whether it has the option for a picture of the map.
    """
    parser.add_argument(
        "--model",
        action="append",
        help="name of a packaged model or path of a bundle; given more than once, their ensemble; "
        "default is xception_fewshot",
    )
    doubt = parser.add_mutually_exclusive_group()
    doubt.add_argument(
        "--max-risk",
        type=float,
        help="part of the answers that may be wrong, such as 0.01; patterns of less confidence "
        "than this takes are not indexed",
    )
    doubt.add_argument(
        "--no-rejection", action="store_true", help="index patterns of any confidence"
    )
    if figure:
        parser.add_argument("--figure", type=Path, help="file for a picture of the map")
    parser.add_argument(
        "--engine",
        default="auto",
        help="what runs the network: openvino, keras or, by default, what is fastest here",
    )
    parser.add_argument(
        "--precision",
        default="auto",
        help="float32, bfloat16, float16 (graphics processors only) or, by default, what the "
        "processor is fastest with",
    )
    parser.add_argument("--batch-size", type=int, help="patterns at once; default is to find it")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.add_argument("--no-progress", action="store_true", help="show no progress bar")


def model_names(options: argparse.Namespace) -> str | list[str]:
    """Return the model that a user names, or several, which are an ensemble.

    Parameters
    ----------
    options
        Options of a command, with ``model``.
    """
    names = options.model or ["xception_fewshot"]
    return names if len(names) > 1 else names[0]
