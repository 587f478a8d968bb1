# SPDX-License-Identifier: GPL-3.0-or-later

"""What level of detail the classes of a model are of, and how patterns are labelled with them."""

from __future__ import annotations

from collections.abc import Callable

from kikuchipy_cnn.hierarchy import coarse_classes
from kikuchipy_cnn.space_groups import (
    Classes,
    SpaceGroupClasses,
    hermann_mauguin_symbol,
    laue_group,
)
from kikuchipy_cnn.training.labelled import LEVELS, LabelledPatterns

_ALL_SPACE_GROUPS = range(1, 231)
_COARSE: dict[str, Callable[[int], str]] = {
    "centring": lambda number: hermann_mauguin_symbol(number)[0],
    "Laue group": laue_group,
}


def level_of_classes(classes: Classes) -> str:
    """Tell the level of classes from their names.

    Parameters
    ----------
    classes
        Classes of a model.

    Returns
    -------
    level
        One of :data:`~kikuchipy_cnn.training.labelled.LEVELS`.

    Raises
    ------
    ValueError
        If the classes have other names than lattice centrings and Laue groups, and the space group
        of one is not known.
    """
    if isinstance(classes, SpaceGroupClasses):
        return "space group"
    if None not in classes.space_groups:
        return "phase"
    for level, name in _COARSE.items():
        if set(classes.names) <= {name(number) for number in _ALL_SPACE_GROUPS}:
            return level
    raise ValueError(
        f"The classes {', '.join(classes.names)} are neither centrings nor Laue groups, and not "
        "all of their space groups are known. Give them: LabelClasses(names, space_groups)."
    )


def level_of(classes: Classes, patterns: LabelledPatterns, level: str | None) -> str:
    """Level of a model's classes, which are of labels of the patterns.

    Parameters
    ----------
    classes
        Classes of the model.
    patterns
        Patterns to judge it by.
    level
        What to judge, which space groups can be summed to. If not given, what most patterns are of
        a class at.

    Returns
    -------
    level
        One of :data:`~kikuchipy_cnn.training.labelled.LEVELS`.

    Raises
    ------
    ValueError
        If no pattern is of a class, or the level cannot be had from the classes.
    """
    if isinstance(classes, SpaceGroupClasses):
        if level not in (None, "space group"):
            coarse_classes(classes, level)
        return "space group"
    levels = [i for i in LEVELS if i != "space group"] if level is None else [level]
    known = {i: sum(label in classes.names for label in patterns.labels(i)) for i in levels}
    best = max(known, key=known.get)
    if known[best] == 0:
        found = ", ".join(repr(i) for i in sorted(map(str, set(patterns.labels(best).tolist()))))
        raise ValueError(
            f"None of the patterns ({best}: {found}) is of a class of the model, "
            f"{', '.join(map(repr, classes.names))}. Name them as the model does, or give the "
            "level that its classes are of."
        )
    return best


def label_of_phase(number: int, name: str, level: str) -> int | str:
    """Label that patterns of a phase have.

    Parameters
    ----------
    number
        Space group of the phase.
    name
        Its name.
    level
        From :func:`level_of_classes`.
    """
    if level in _COARSE:
        return _COARSE[level](number)
    return name if level == "phase" else number


def phases_of_classes(classes: Classes, level: str, name: str) -> list[tuple[int, str]]:
    """Find a space group and a name for each class, with which a pattern is labelled as of it.

    Parameters
    ----------
    classes
        Classes of a model.
    level
        Their level.
    name
        Name of the phases, where it is not the label itself.

    Returns
    -------
    phases
        Space group and name for each class. Where several space groups are of a class, the first.
    """
    if level == "phase":
        return list(zip(classes.space_groups, classes.names, strict=True))
    if level == "space group":
        return [(number, name) for number in classes.space_groups]
    labels = [_COARSE[level](number) for number in _ALL_SPACE_GROUPS]
    return [(_ALL_SPACE_GROUPS[labels.index(label)], name) for label in classes.labels]
