# SPDX-License-Identifier: GPL-3.0-or-later

"""Ordered classes of a model, space groups, their symbols and groupings."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import matplotlib.colors as mcolors
import numpy as np
from diffpy.structure.spacegroups import GetSpaceGroup
from orix.crystal_map import Phase, PhaseList

__all__ = [
    "Classes",
    "SpaceGroupClasses",
    "checked_space_group",
    "distinct_colors",
    "hermann_mauguin_symbol",
    "label_text",
    "laue_group",
    "probability_keys",
    "probability_property",
    "space_group_color",
    "space_group_number",
]

# Last space-group number of each Laue group. orix names no Laue group for 6 to 9 (point group m)
_LAST_OF_LAUE_GROUP = {
    "-1": 2,
    "2/m": 15,
    "mmm": 74,
    "4/m": 88,
    "4/mmm": 142,
    "-3": 148,
    "-3m": 167,
    "6/m": 176,
    "6/mmm": 194,
    "m-3": 206,
    "m-3m": 230,
}

_PROBABILITY_PREFIX = "p_"

# Chosen by eye to be told apart where they meet in one map, the most different ones first
_COMMON_COLORS = {
    225: "royalblue",
    229: "orangered",
    221: "gold",
    227: "seagreen",
    194: "mediumpurple",
    230: "skyblue",
    223: "orchid",
}


class Classes:
    """What a model tells apart, in the order of its outputs.

    This is what :class:`SpaceGroupClasses` and
    :class:`~kikuchipy_cnn.label_classes.LabelClasses` have in common.
    The length is the number of classes, and iteration is over the phase
    IDs.

    Attributes
    ----------
    ids
        Phase ID of each class in a crystal map.
    names
        Name of each class, which is its phase's.
    labels
        What patterns of each class are labelled with: the number of a
        space group, or the name of another class.
    space_groups
        Space-group number of each class, None where it is not known.
    colors
        Name of a color of each class.
    properties
        Name of the map property with the probability of each class, see
        :func:`probability_property`.
    noun, plural
        What the user knows a class as, and several.

    Examples
    --------
    >>> import kikuchipy_cnn
    >>> for classes in (
    ...     kikuchipy_cnn.SpaceGroupClasses((221, 225)),
    ...     kikuchipy_cnn.LabelClasses(("Ni", "Ni3Al"), (225, 221)),
    ... ):
    ...     print(classes.ids, classes.names, classes.labels)
    (221, 225) ('Pm-3m', 'Fm-3m') (221, 225)
    (1, 2) ('Ni', 'Ni3Al') ('Ni', 'Ni3Al')
    """

    noun: ClassVar[str]
    plural: ClassVar[str]

    ids: tuple[int, ...]
    names: tuple[str, ...]
    labels: tuple[int, ...] | tuple[str, ...]
    space_groups: tuple[int | None, ...]
    colors: tuple[str, ...]

    @property
    def properties(self) -> tuple[str, ...]:
        """Name of the map property with the probability of each class,
        e.g. "p_225"."""
        return tuple(probability_property(label) for label in self.labels)

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[int]:
        return iter(self.ids)

    def index(self, phase_id: int) -> int:
        """Return the position of a class among the classes.

        Parameters
        ----------
        phase_id
            Phase ID of the class, which is the number if it is a space
            group.

        Returns
        -------
        position
            Position from 0.

        Raises
        ------
        ValueError
            If it is not the ID of a class.
        """
        if phase_id not in self.ids:
            raise ValueError(
                f"{self.noun.capitalize()} {phase_id} is not among the classes {self.ids}"
            )
        return self.ids.index(phase_id)

    def phase_list(self) -> PhaseList:
        """Return one phase per class, with its ID, name, color and
        space group.

        A class without a space group that is named as a Laue group is
        given that point group. The structures are without atoms, in
        orix's default lattice of unit lengths, as the classes say
        nothing of either.

        Returns
        -------
        phases
            Phases by ID.
        """
        return PhaseList(
            {
                phase_id: Phase(
                    name=name,
                    space_group=number,
                    point_group=name if number is None and name in _LAST_OF_LAUE_GROUP else None,
                    color=color,
                )
                for phase_id, name, number, color in zip(
                    self.ids, self.names, self.space_groups, self.colors, strict=True
                )
            }
        )

    def check_probabilities(self, probabilities: np.ndarray) -> None:
        """Raise ValueError unless the array has one column per class.

        Parameters
        ----------
        probabilities
            Array to check, which should be of shape (n, n classes).
        """
        if np.ndim(probabilities) != 2 or np.shape(probabilities)[1] != len(self):
            raise ValueError(
                f"Probabilities of shape {np.shape(probabilities)} must be of shape "
                f"(n, {len(self)}), with one column for each of the {self.plural} "
                f"{', '.join(self.names)}"
            )

    def to_dict(self) -> dict[str, list]:
        """Return the classes as
        :func:`~kikuchipy_cnn.label_classes.classes_from_dict` reads
        them, ready for JSON.

        Returns
        -------
        description
            Dictionary of lists.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class SpaceGroupClasses(Classes):
    """Space groups that a model tells apart, in the order of its
    outputs.

    The phase IDs are the space-group numbers, the names the short
    Hermann-Mauguin symbols. A class's color depends on its space group
    only.

    Parameters
    ----------
    numbers
        Space-group numbers in the International Tables, at least two
        and each only once.

    Raises
    ------
    TypeError
        If a number is not an integer.
    ValueError
        If a number is not in 1-230 or repeated, or there are fewer than
        two.

    Examples
    --------
    >>> import kikuchipy_cnn
    >>> classes = kikuchipy_cnn.SpaceGroupClasses((225, 227, 229))
    >>> classes.hermann_mauguin
    ('Fm-3m', 'Fd-3m', 'Im-3m')
    >>> classes.index(229)
    2
    >>> classes.lattice_centrings
    ('F', 'F', 'I')
    """

    noun = "space group"
    plural = "space groups"

    numbers: tuple[int, ...]

    def __post_init__(self) -> None:
        numbers = tuple(checked_space_group(i) for i in self.numbers)
        for i in numbers:
            if numbers.count(i) > 1:
                raise ValueError(f"Space group {i} is repeated in {numbers}; give it once")
        if len(numbers) < 2:
            raise ValueError(f"There must be at least two space groups, but there are {numbers}")
        object.__setattr__(self, "numbers", numbers)

    @property
    def ids(self) -> tuple[int, ...]:
        """Phase IDs, which are the space-group numbers."""
        return self.numbers

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the phases, which are :attr:`hermann_mauguin`."""
        return self.hermann_mauguin

    @property
    def labels(self) -> tuple[int, ...]:
        """What patterns of each class are labelled with: the space-group
        numbers."""
        return self.numbers

    @property
    def space_groups(self) -> tuple[int, ...]:
        """Space-group number of each class."""
        return self.numbers

    @property
    def colors(self) -> tuple[str, ...]:
        """Name of the color of each space group."""
        return tuple(space_group_color(i) for i in self)

    @property
    def hermann_mauguin(self) -> tuple[str, ...]:
        """Short Hermann-Mauguin symbols, e.g. "Fm-3m"."""
        return tuple(hermann_mauguin_symbol(i) for i in self)

    @property
    def lattice_centrings(self) -> tuple[str, ...]:
        """Letters P, A, C, F, I or R of the lattices' centrings."""
        return tuple(symbol[0] for symbol in self.hermann_mauguin)

    @property
    def laue_groups(self) -> tuple[str, ...]:
        """Symbols of the Laue groups, e.g. "m-3m"."""
        return tuple(laue_group(i) for i in self)

    def to_dict(self) -> dict[str, list]:
        """Return the classes as
        :func:`~kikuchipy_cnn.label_classes.classes_from_dict` reads
        them, ready for JSON.

        Returns
        -------
        description
            Dictionary of a list, "space_groups".
        """
        return {"space_groups": list(self.numbers)}

    def sum_by_centring(self, probabilities: np.ndarray) -> dict[str, np.ndarray]:
        """Return the probability of each lattice centring.

        Parameters
        ----------
        probabilities
            Probabilities of the classes, of shape (n, n classes).

        Returns
        -------
        sums
            Probabilities of shape (n,) by centring, in the order in
            which the centrings first appear among the classes.

        Raises
        ------
        ValueError
            If the shape is not (n, n classes).

        Examples
        --------
        >>> import kikuchipy_cnn
        >>> classes = kikuchipy_cnn.SpaceGroupClasses((225, 227, 229))
        >>> sums = classes.sum_by_centring([[0.5, 0.25, 0.25]])
        >>> float(sums["F"][0])
        0.75
        """
        return self._sum_by(self.lattice_centrings, probabilities)

    def sum_by_laue_group(self, probabilities: np.ndarray) -> dict[str, np.ndarray]:
        """Return the probability of each Laue group.

        Parameters
        ----------
        probabilities
            Probabilities of the classes, of shape (n, n classes).

        Returns
        -------
        sums
            Probabilities of shape (n,) by Laue group, in the order in
            which the groups first appear among the classes.

        Raises
        ------
        ValueError
            If the shape is not (n, n classes).
        """
        return self._sum_by(self.laue_groups, probabilities)

    def _sum_by(self, labels: tuple[str, ...], probabilities: np.ndarray) -> dict[str, np.ndarray]:
        probabilities = np.asarray(probabilities)
        self.check_probabilities(probabilities)
        return {
            label: probabilities[:, [i == label for i in labels]].sum(axis=1)
            for label in dict.fromkeys(labels)
        }


def checked_space_group(number: int) -> int:
    """Return a space-group number as Python's own integer.

    Parameters
    ----------
    number
        Space-group number.

    Raises
    ------
    TypeError
        If the number is not an integer.
    ValueError
        If the number is not in 1-230.
    """
    if isinstance(number, (bool, np.bool_)) or not hasattr(number, "__index__"):
        raise TypeError(f"Space group {number!r} must be an integer in 1-230")
    number = operator.index(number)
    if not 1 <= number <= 230:
        raise ValueError(f"Space group {number} must be in 1-230")
    return number


def hermann_mauguin_symbol(number: int) -> str:
    """Return the short Hermann-Mauguin symbol of a space group.

    Parameters
    ----------
    number
        Space-group number.

    Raises
    ------
    TypeError
        If the number is not an integer.
    ValueError
        If the number is not in 1-230.

    Notes
    -----
    diffpy's "H" for hexagonal axes of a rhombohedral lattice is the "R"
    of the International Tables.
    """
    return _symbols()[checked_space_group(number) - 1]


def label_of_text(text: str) -> int | str:
    """Return the label of a class that was typed: a number is of a
    space group, anything else is a name.

    Parameters
    ----------
    text
        What was typed.
    """
    return int(text) if text.isdecimal() else text


def label_text(label: int | str) -> str:
    """Return the number and symbol of a space group, or a name as it
    is.

    Parameters
    ----------
    label
        Space-group number, or name of a class.

    Examples
    --------
    >>> from kikuchipy_cnn.space_groups import label_text
    >>> label_text(225)
    '225 Fm-3m'
    """
    return label if isinstance(label, str) else f"{label} {hermann_mauguin_symbol(label)}"


def space_group_number(hermann_mauguin: str) -> int | None:
    """Return the number of a space group, or None if the text is not
    the symbol of one.

    Parameters
    ----------
    hermann_mauguin
        Short Hermann-Mauguin symbol as
        :func:`hermann_mauguin_symbol` writes it. "H-3m" is understood
        as "R-3m".
    """
    symbol = "R" + hermann_mauguin[1:] if hermann_mauguin[:1] == "H" else hermann_mauguin
    return _symbols().index(symbol) + 1 if symbol in _symbols() else None


def laue_group(number: int) -> str:
    """Return the symbol of the Laue group of a space group.

    Parameters
    ----------
    number
        Space-group number.

    Raises
    ------
    TypeError
        If the number is not an integer.
    ValueError
        If the number is not in 1-230.
    """
    number = checked_space_group(number)
    return next(label for label, last in _LAST_OF_LAUE_GROUP.items() if number <= last)


def space_group_color(number: int) -> str:
    """Return the name of a color that is a space group's alone.

    Parameters
    ----------
    number
        Space-group number.

    Raises
    ------
    TypeError
        If the number is not an integer.
    ValueError
        If the number is not in 1-230.
    """
    number = checked_space_group(number)
    return _COMMON_COLORS.get(number) or _colors()[number - 1]


def distinct_colors(n: int) -> tuple[str, ...]:
    """Return names of colors that orix takes, those first that are told
    apart best.

    Parameters
    ----------
    n
        Number of colors. There are about 700 different ones; beyond
        them, they are repeated.
    """
    colors = (*_COMMON_COLORS.values(), *_colors())
    return tuple(colors[i % len(colors)] for i in range(n))


def probability_property(key: int | str) -> str:
    """Return the name of the map property that holds the probability of
    a class.

    Parameters
    ----------
    key
        Space-group number, or the class's name where classes are not
        space groups.

    Notes
    -----
    "/" is written ":", as HDF5 takes it for a group.

    Examples
    --------
    >>> from kikuchipy_cnn.space_groups import probability_property
    >>> probability_property(225)
    'p_225'
    >>> probability_property("4/mmm")
    'p_4:mmm'
    """
    return f"{_PROBABILITY_PREFIX}{key}".replace("/", ":")


def probability_keys(properties: Iterable[str]) -> list[str]:
    """Return the keys for which :func:`probability_property` gives some
    of the names of map properties.

    Parameters
    ----------
    properties
        Names of all properties of a map.
    """
    return [
        name.removeprefix(_PROBABILITY_PREFIX).replace(":", "/")
        for name in properties
        if name.startswith(_PROBABILITY_PREFIX)
    ]


@cache
def _symbols() -> tuple[str, ...]:
    return tuple(GetSpaceGroup(i).short_name.replace("H", "R") for i in range(1, 231))


@cache
def _colors() -> tuple[str, ...]:
    # orix takes only colors that Matplotlib has a name for
    by_hue = {}
    for name, code in mcolors.XKCD_COLORS.items():
        hue, saturation, value = mcolors.rgb_to_hsv(mcolors.to_rgb(code))
        if saturation > 0.4 and value > 0.4:
            by_hue[code] = (hue, name)
    names = [name for _, name in sorted(by_hue.values())]
    # Neighbouring numbers land far apart in hue, and no color is met twice before all are used
    stride = round(len(names) * 0.618)
    while np.gcd(stride, len(names)) > 1:
        stride += 1
    return tuple(names[i * stride % len(names)] for i in range(len(names)))
