# SPDX-License-Identifier: GPL-3.0-or-later

"""Classes that are not space groups: phases, lattice centrings, Laue
groups."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from kikuchipy_cnn.space_groups import (
    Classes,
    SpaceGroupClasses,
    checked_space_group,
    distinct_colors,
)

__all__ = ["LabelClasses", "classes_from_dict"]

# What orix keeps unchanged in .h5 and .ang, and Matplotlib takes neither for mathematics nor, by
# its start, for a label to hide. ":" stands for "/" in names of map properties
_WORD = r"[A-Za-z0-9_+,.'()/-]+"
_NAME = re.compile(rf"(?!_){_WORD}(?: {_WORD})*")

# Keys by which orix selects points of a map
_RESERVED_NAMES = ("indexed", "not_indexed")


@dataclass(frozen=True)
class LabelClasses(Classes):
    """Classes of any name that a model tells apart, in the order of its
    outputs.

    The phase IDs are 1, 2 and so on.

    Parameters
    ----------
    names
        Names of the classes, at least two, each only once, and sorted:
        files do not keep another order. They are of letters, digits,
        single spaces and _+-,.'()/, with more than digits.
    space_groups
        Space-group number of each class, None where it is not known or
        the class has several. Classes may share one. If not given, none
        is known.

    Raises
    ------
    TypeError
        If a name is not text, or a space group not an integer.
    ValueError
        If there are fewer than two names, they cannot be used, are
        repeated or not sorted, or the space groups are not one per
        class or not in 1-230.

    Examples
    --------
    >>> import kikuchipy_cnn
    >>> classes = kikuchipy_cnn.LabelClasses(
    ...     ("Ni", "Ni3Al"), (225, 221)
    ... )
    >>> classes.ids
    (1, 2)
    >>> classes.properties
    ('p_Ni', 'p_Ni3Al')
    """

    noun = "class"
    plural = "classes"

    names: tuple[str, ...]
    space_groups: tuple[int | None, ...] | None = None

    def __post_init__(self) -> None:
        names = _checked_names(self.names)
        numbers = (None,) * len(names) if self.space_groups is None else tuple(self.space_groups)
        if len(numbers) != len(names):
            raise ValueError(
                f"Space groups {numbers} must be one for each of the {len(names)} names {names}: "
                "give None where it is not known"
            )
        object.__setattr__(self, "names", names)
        object.__setattr__(
            self,
            "space_groups",
            tuple(None if i is None else checked_space_group(i) for i in numbers),
        )

    @property
    def ids(self) -> tuple[int, ...]:
        """Phase IDs: 1, 2 and so on."""
        return tuple(range(1, len(self.names) + 1))

    @property
    def labels(self) -> tuple[str, ...]:
        """What patterns of each class are labelled with: the names."""
        return self.names

    @property
    def colors(self) -> tuple[str, ...]:
        """Name of a color of each class."""
        # Not those of the space groups, which classes may share and a file may have lost
        return distinct_colors(len(self.names))

    def to_dict(self) -> dict[str, list]:
        """Return the classes as
        :func:`~kikuchipy_cnn.label_classes.classes_from_dict` reads
        them, ready for JSON.

        Returns
        -------
        description
            Dictionary of lists: "labels" and "space_groups".
        """
        return {"labels": list(self.names), "space_groups": list(self.space_groups)}


def classes_from_dict(description: Mapping) -> SpaceGroupClasses | LabelClasses:
    """Return the classes that a dictionary describes.

    Parameters
    ----------
    description
        Dictionary with what a class's *to_dict()* returned, such as the
        content of a model bundle's JSON file.

    Raises
    ------
    KeyError
        If there are no classes in the dictionary.
    TypeError, ValueError
        If they are not valid.
    """
    if "labels" in description:
        return LabelClasses(description["labels"], description["space_groups"])
    return SpaceGroupClasses(description["space_groups"])


def _checked_names(names: tuple[str, ...]) -> tuple[str, ...]:
    if isinstance(names, str):
        raise TypeError(f"Names {names!r} must be a sequence of at least two texts, not one text")
    names = tuple(names)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"Name {name!r} of a class must be text")
        if name.isdecimal():
            raise ValueError(
                f"Name {name!r} of a class would be read as a space-group number: add a letter, or "
                "use SpaceGroupClasses"
            )
        if not _NAME.fullmatch(name) or name in _RESERVED_NAMES:
            raise ValueError(
                f"Name {name!r} of a class must be of letters A-Z and a-z, digits, single spaces "
                f"and _+-,.'()/, not start with _, and be none of {', '.join(_RESERVED_NAMES)}: "
                "rename the class"
            )
    if len(names) < 2:
        raise ValueError(f"There must be at least two classes, but there are {names}")
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"Name {name!r} is repeated in {names}: give it once")
    if list(names) != sorted(names):
        raise ValueError(
            f"Names {names} must be in the order {tuple(sorted(names))}: sort them, and what "
            "belongs to them likewise"
        )
    # Python's own text, not that of NumPy
    return tuple(str(i) for i in names)
