# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of phases as files of other programs hold them."""

from __future__ import annotations

import unicodedata

from orix.crystal_map import Phase

from kikuchipy_cnn.space_groups import hermann_mauguin_symbol, space_group_number

__all__ = ["ascii_text", "name_with_space_group", "split_name"]

_OVERLINES = ("\N{COMBINING MACRON}", "\N{COMBINING OVERLINE}")
_SPELLED = {"\N{PRIME}": "'", "\N{MINUS SIGN}": "-", "\N{MIDDLE DOT}": "."}


def ascii_text(text: str) -> str:
    """Return text in the letters that all programs read.

    Parameters
    ----------
    text
        Text. A bar over a digit becomes a minus sign before it, Greek
        letters are spelled, sub- and superscripts and letters with
        accents become plain. What has no such form becomes "?".

    Returns
    -------
    ascii
        One line without leading and trailing spaces.

    Examples
    --------
    >>> from kikuchipy_cnn.io._names import ascii_text
    >>> ascii_text("γ′-Ni₃Al")
    "gamma'-Ni3Al"
    >>> ascii_text("Fm3̄m")
    'Fm-3m'
    """
    characters: list[str] = []
    for character in unicodedata.normalize("NFKD", text):
        if character in _OVERLINES and characters:
            characters[-1] = f"-{characters[-1]}"
        elif not unicodedata.combining(character):
            characters.append(_in_ascii(character))
    return " ".join("".join(characters).split())


def name_with_space_group(phase: Phase) -> str:
    """Return a phase's name with the symbol of its space group, for
    programs that know of point groups only.

    Parameters
    ----------
    phase
        Phase.

    Returns
    -------
    name
        Name in ASCII, followed by the symbol in parentheses unless the
        name is the symbol, or the space group is not known.

    Examples
    --------
    >>> from kikuchipy_cnn.io._names import name_with_space_group
    >>> from orix.crystal_map import Phase
    >>> name_with_space_group(Phase("Ni", space_group=225))
    'Ni (Fm-3m)'
    """
    name = ascii_text(phase.name)
    if phase.space_group is None:
        return name
    symbol = hermann_mauguin_symbol(phase.space_group.number)
    if not name:
        return symbol
    # diffpy has two symbols of rhombohedral groups
    return name if space_group_number(name) == phase.space_group.number else f"{name} ({symbol})"


def split_name(text: str) -> tuple[str, int | None]:
    """Return what :func:`name_with_space_group` put together.

    Parameters
    ----------
    text
        Name of a phase in a file.

    Returns
    -------
    name
        Name without the symbol, unless it is all of it.
    space_group
        Number of the space group, or None if there is no symbol.
    """
    number = space_group_number(text)
    if number is not None:
        return text, number
    name, _, symbol = text.rpartition(" (")
    number = space_group_number(symbol[:-1]) if symbol.endswith(")") else None
    return (text, None) if number is None else (name, number)


def _in_ascii(character: str) -> str:
    if character.isascii():
        return character if character.isprintable() else " "
    if character in _SPELLED:
        return _SPELLED[character]
    name = unicodedata.name(character, "")
    if unicodedata.category(character) == "Pd":
        return "-"
    if name.startswith("GREEK ") and " LETTER " in name:
        letter = name.split(" LETTER ")[1].split()[-1].lower()
        return letter.capitalize() if "CAPITAL" in name else letter
    return "?"
