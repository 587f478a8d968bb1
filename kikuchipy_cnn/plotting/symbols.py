# SPDX-License-Identifier: GPL-3.0-or-later

"""Symbols of space groups as they are drawn."""

from __future__ import annotations

import re

from diffpy.structure.spacegroups import GetSpaceGroup

from kikuchipy_cnn.space_groups import hermann_mauguin_symbol

__all__ = ["symbol_label"]


def symbol_label(number: int) -> str:
    r"""Return the Hermann-Mauguin symbol of a space group as Matplotlib's math text.

    Parameters
    ----------
    number
        Space-group number.

    Returns
    -------
    label
        Text with the bars of inversion axes and the indices of screw axes.

    Raises
    ------
    TypeError
        If the number is not an integer.
    ValueError
        If there is no such space group.

    Examples
    --------
    >>> from kikuchipy_cnn.plotting import symbol_label
    >>> symbol_label(225)
    '$Fm\\overline{3}m$'
    >>> symbol_label(194)
    '$P6_{3}/mmc$'
    """
    symbol = hermann_mauguin_symbol(number)
    # "P4232" is P 42 3 2, not P 4 23 2: only the full symbol has its parts separated
    full = GetSpaceGroup(number).pdb_name.split()[1:]
    screws = {axis for part in full for axis in re.findall(r"^[2346][1-5]", part)}
    label, rest = symbol[0], symbol[1:]
    while rest:
        if rest[0] == "-":
            label, rest = label + rf"\overline{{{rest[1]}}}", rest[2:]
        elif rest[:2] in screws:
            label, rest = label + f"{rest[0]}_{{{rest[1]}}}", rest[2:]
        else:
            label, rest = label + rest[0], rest[1:]
    return f"${label}$"
