"""Levels at which a model's classes are compared with the patterns."""

from __future__ import annotations

from kikuchipy_cnn.hierarchy import coarse_classes
from kikuchipy_cnn.space_groups import Classes, SpaceGroupClasses
from kikuchipy_cnn.training.labelled import LEVELS, LabelledPatterns

__all__ = ["level_of"]


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
