# SPDX-License-Identifier: GPL-3.0-or-later

"""Phases that are named on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orix.crystal_map import Phase

    from kikuchipy_cnn.simulation.phases import PhaseRecord


def add_space_group_option(parser: argparse.ArgumentParser) -> None:
    """Add the option for the space group of CIFs that say none.

    Parameters
    ----------
    parser
        Parser of a command.
    """
    parser.add_argument(
        "--space-group",
        type=_number_or_find,
        help="of the CIFs, if they say none: its number, or find to derive it from the atoms",
    )


def _number_or_find(text: str) -> int | str:
    if text == "find":
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is neither a number nor find") from None


def read_phase(
    name: str, catalogue: Mapping[str, PhaseRecord], space_group: int | str | None = None
) -> Phase:
    """Read a phase that is named on the command line.

    Parameters
    ----------
    name
        Name in the catalogue, or a file .cif.
    catalogue
        From :func:`~kikuchipy_cnn.simulation.phases.load_phase_table`.
    space_group
        Of a CIF that says none: its number, or ``"find"``.
    """
    from kikuchipy_cnn.simulation import phase_from_cif
    from kikuchipy_cnn.simulation.phases import phase_from_record

    if is_cif(name):
        return phase_from_cif(name, space_group=space_group)
    if name not in catalogue:
        raise ValueError(
            f"{name!r} is neither a phase of the catalogue nor a file .cif. "
            "'kikuchipy-cnn simulate phases' lists the catalogue."
        )
    return phase_from_record(catalogue[name])


def is_cif(name: str) -> bool:
    """Tell whether a phase is named by a CIF.

    Parameters
    ----------
    name
        Name in the catalogue, or a file.
    """
    return Path(name).suffix.lower() == ".cif"
