"""Ordered space-group classes of a model, their symbols and groupings."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import matplotlib.colors as mcolors
import numpy as np
from diffpy.structure.spacegroups import GetSpaceGroup
from orix.crystal_map import Phase, PhaseList

__all__ = [
    "SpaceGroupClasses",
    "hermann_mauguin_symbol",
    "laue_group",
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

# Chosen by eye to be told apart where they meet in one map
_COMMON_COLORS = {
    194: "mediumpurple",
    221: "gold",
    223: "orchid",
    225: "royalblue",
    227: "seagreen",
    229: "orangered",
    230: "skyblue",
}


@dataclass(frozen=True)
class SpaceGroupClasses:
    """Space groups that a model tells apart, in the order of its
    outputs.

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
    >>> classes = SpaceGroupClasses((225, 229))
    >>> classes.hermann_mauguin
    ('Fm-3m', 'Im-3m')
    >>> classes.index(229)
    1
    """

    numbers: tuple[int, ...]

    def __post_init__(self) -> None:
        numbers = tuple(_checked_number(i) for i in self.numbers)
        for i in numbers:
            if numbers.count(i) > 1:
                raise ValueError(f"Space group {i} is repeated in {numbers}; give it once")
        if len(numbers) < 2:
            raise ValueError(f"There must be at least two space groups, but there are {numbers}")
        object.__setattr__(self, "numbers", numbers)

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[int]:
        return iter(self.numbers)

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

    def index(self, number: int) -> int:
        """Return the position of a space group among the classes.

        Parameters
        ----------
        number
            Space-group number.

        Raises
        ------
        ValueError
            If the space group is not a class.
        """
        if number not in self.numbers:
            raise ValueError(f"Space group {number} is not among the classes {self.numbers}")
        return self.numbers.index(number)

    def phase_list(self) -> PhaseList:
        """Return one phase per class, identified by its space-group
        number and named by its Hermann-Mauguin symbol.

        A phase's color depends on its space group only. Its structure
        is without atoms, in orix's default lattice of unit lengths, as
        the space group says nothing of either.
        """
        return PhaseList(
            {
                number: Phase(
                    name=hermann_mauguin_symbol(number),
                    space_group=number,
                    color=space_group_color(number),
                )
                for number in self
            }
        )

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
                f"(n, {len(self)}), with one column for each of the space groups {self.numbers}"
            )

    def _sum_by(self, labels: tuple[str, ...], probabilities: np.ndarray) -> dict[str, np.ndarray]:
        probabilities = np.asarray(probabilities)
        self.check_probabilities(probabilities)
        return {
            label: probabilities[:, [i == label for i in labels]].sum(axis=1)
            for label in dict.fromkeys(labels)
        }


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
    return _symbols()[_checked_number(number) - 1]


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
    number = _checked_number(number)
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
    number = _checked_number(number)
    return _COMMON_COLORS.get(number) or _colors()[number - 1]


def _checked_number(number: int) -> int:
    if isinstance(number, (bool, np.bool_)) or not hasattr(number, "__index__"):
        raise TypeError(f"Space group {number!r} must be an integer in 1-230")
    number = operator.index(number)
    if not 1 <= number <= 230:
        raise ValueError(f"Space group {number} must be in 1-230")
    return number


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
    return tuple(names[i * stride % len(names)] for i in range(230))
