# SPDX-License-Identifier: GPL-3.0-or-later

"""What is written of a map, whatever the format."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from orix.crystal_map import CrystalMap, Phase, PhaseList
from orix.quaternion import Rotation

from kikuchipy_cnn._phases import listed
from kikuchipy_cnn.crystal_map import IMAGE_QUALITY, first_property
from kikuchipy_cnn.io._grid import Grid, grid_of
from kikuchipy_cnn.io._names import ascii_text, name_with_space_group, split_name
from kikuchipy_cnn.space_groups import hermann_mauguin_symbol, laue_group, space_group_color

__all__ = [
    "Content",
    "PhaseEntry",
    "Rows",
    "phase_comment",
    "restored",
    "with_phases",
    "with_space_groups",
]

_OURS = "kikuchipy_cnn"

# Cells at once, which bounds the memory
_AT_ONCE = 2**16
# Of the axis of a unit quaternion. A point that nobody gave an orientation has exactly identity
_NO_ROTATION = 1e-6
_CONFIDENCE = ("scores", "ci", "cm")
# Shortest edge, in angstrom, that a unit cell may have
_SHORTEST_EDGE = 2.0
_NO_LATTICE = (1.0, 1.0, 1.0)

_MICROMETRES = {
    "pm": 1e-6,
    "angstrom": 1e-4,
    "Å": 1e-4,
    "nm": 1e-3,
    "um": 1.0,
    "µm": 1.0,
    "μm": 1.0,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
}


class PhaseEntry(NamedTuple):
    """A phase in a file.

    Parameters
    ----------
    name
        Name in ASCII, with the symbol of the space group if it is known.
    formula
        Chemical formula, or the name where no atoms are known.
    space_group
        Number of the space group, or None if it is not known.
    laue_group
        Symbol of the Laue group, or None if it is not known.
    lattice
        Edges in angstrom and angles in degrees of the unit cell.
    id
        ID in the map, or None of a phase that is not in it.
    """

    name: str
    formula: str
    space_group: int | None
    laue_group: str | None
    lattice: tuple[float, ...]
    id: int | None


class Rows(NamedTuple):
    """Some cells of the grid, one value each.

    Parameters
    ----------
    cells
        Range of the cells.
    eulers
        Bunge's Euler angles in radians, of shape (n, 3), 0 where there
        is none.
    x, y
        Coordinates in micrometres.
    phase
        Number of the phase in the file, from 1, or 0 where there is
        none.
    in_data
        Whether there is a point in data.
    confidence, image_quality, fit
        Values of indexed points, 0 where not known.
    """

    cells: slice
    eulers: np.ndarray
    x: np.ndarray
    y: np.ndarray
    phase: np.ndarray
    in_data: np.ndarray
    confidence: np.ndarray
    image_quality: np.ndarray
    fit: np.ndarray


@dataclass(frozen=True)
class Content:
    """A map as it is written to files of other programs.

    Parameters
    ----------
    xmap
        Crystal map.
    phases
        Phases in the order of the file, with their IDs in the map or
        None.
    suffix
        Suffix of the file, for warnings.
    """

    xmap: CrystalMap
    phases: tuple[tuple[int | None, Phase], ...]
    suffix: str

    @cached_property
    def grid(self) -> Grid:
        """Grid of the map, in the map's unit."""
        return grid_of(self.xmap)

    @cached_property
    def entries(self) -> tuple[PhaseEntry, ...]:
        """Phases in the order of the file."""
        entries = [_entry(number, i, phase) for number, (i, phase) in enumerate(self.phases, 1)]
        given = [entry.name for entry in entries]
        names: list[str] = []
        for entry in entries:
            name, n = entry.name, 1
            while name in names or (n > 1 and name in given):
                n += 1
                stem, number = split_name(entry.name)
                name = f"{stem} {n}"
                if number is not None:
                    name += f" ({hermann_mauguin_symbol(number)})"
            names.append(name)
        return tuple(entry._replace(name=name) for entry, name in zip(entries, names, strict=True))

    @cached_property
    def scale(self) -> float:
        """Micrometres in the map's unit."""
        return _MICROMETRES.get(self.xmap.scan_unit, 1.0)

    @cached_property
    def n_indexed(self) -> int:
        """Number of points in data that have a phase."""
        return int(np.count_nonzero(self.xmap.is_indexed))

    @cached_property
    def n_without_orientation(self) -> int:
        """Number of indexed points with an identity rotation."""
        xmap, n = self.xmap, 0
        for start in range(0, xmap.is_in_data.size, _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            indexed = xmap.is_in_data[some] & (xmap._phase_id[some] != -1)
            if not indexed.any():
                continue
            axes = xmap._rotations.data[some][indexed].reshape(np.count_nonzero(indexed), -1, 4)[
                :, 0, 1:
            ]
            n += int(np.count_nonzero(np.abs(axes).max(axis=1, initial=0) < _NO_ROTATION))
        return n

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the file must know."""
        notes = []
        if self.n_without_orientation:
            notes.append(
                f"{self.n_without_orientation} of {self.n_indexed} indexed points have NO "
                "ORIENTATION: their Euler angles of 0 are no texture, only their phase is known"
            )
        unknown = [i.name for i in self.entries if i.lattice[:3] == _NO_LATTICE]
        if unknown:
            notes.append(f"The unit cell is not known of: {', '.join(unknown)}")
        if self.xmap.scan_unit not in _MICROMETRES:
            unit = ascii_text(str(self.xmap.scan_unit))
            notes.append(f"Coordinates are in {unit}, which is no length")
        return tuple(notes)

    def warn(self, stacklevel: int) -> None:
        """Warn of what other programs will get wrong.

        Parameters
        ----------
        stacklevel
            As of :func:`warnings.warn`, counted from the caller.
        """
        if self.n_without_orientation:
            what = (
                "All rotations are identity"
                if self.n_without_orientation == self.n_indexed
                else f"{self.n_without_orientation} of {self.n_indexed} rotations are identity"
            )
            warnings.warn(
                f"{what}, which other programs will take for a perfect texture: the phase is all "
                "that is known of these points. The header of the file says so. "
                "comparison.index_with() finds orientations",
                stacklevel=stacklevel + 1,
            )
        if self.xmap.scan_unit not in _MICROMETRES:
            warnings.warn(
                f"The scan unit {self.xmap.scan_unit!r} is not a length: {self.suffix} is in "
                f"micrometres, so one {self.xmap.scan_unit} will be read as 1 um. Set the map's "
                "scan_unit and step sizes first",
                stacklevel=stacklevel + 1,
            )

    def rows(self) -> Iterator[Rows]:
        """Yield all cells of the grid, some thousands at once."""
        xmap, grid = self.xmap, self.grid
        # The properties of CrystalMap are limited to points in data, and files have no such limit
        number_of_id = {i: number for number, (i, _) in enumerate(self.phases, 1) if i is not None}
        columns = [first_property(xmap, i) for i in (_CONFIDENCE, IMAGE_QUALITY, ("fit",))]
        for start in range(0, grid.size, _AT_ONCE):
            cells = slice(start, min(start + _AT_ONCE, grid.size))
            point = grid.point_of_cell[cells]
            in_data = (point >= 0) & xmap.is_in_data[point]
            phase = np.zeros(point.size, dtype=int)
            for i, number in number_of_id.items():
                phase[in_data & (xmap._phase_id[point] == i)] = number
            indexed = phase > 0
            rotations = Rotation(xmap._rotations.data[point[indexed]])
            eulers = np.zeros((point.size, 3))
            eulers[indexed] = (rotations if rotations.ndim == 1 else rotations[:, 0]).to_euler()
            x, y = grid.coordinates(cells)
            values = (
                # Readers of text do not take what is not a number
                np.zeros(point.size) if i is None else np.where(indexed, np.nan_to_num(i[point]), 0)
                for i in columns
            )
            yield Rows(cells, eulers, x * self.scale, y * self.scale, phase, in_data, *values)


def with_phases(
    xmap: CrystalMap, phase_list: PhaseList | Iterable[Phase] | Mapping[int, Phase] | None
) -> tuple[tuple[int | None, Phase], ...]:
    """Return the phases of a file, with their IDs in the map.

    Parameters
    ----------
    xmap
        Crystal map.
    phase_list
        Phases in the order of the file, each of which takes the place
        of the one of the map with the same space group, or the same
        name where several have that space group or none is known. Phases
        of the map that are not in it come after them.

    Returns
    -------
    phases
        IDs and phases. The ID of a phase that is not in the map is
        None.

    Raises
    ------
    TypeError
        If the list holds something else.
    ValueError
        If it is not clear which phase of the list is meant.
    """
    own = {i: phase for i, phase in xmap.phases if i != -1}
    if phase_list is None:
        return tuple(own.items())
    given = list(listed(phase_list).values())
    others = [i for i in given if not isinstance(i, Phase)]
    if others:
        raise TypeError(f"{others[0]!r} of phase_list must be of type {Phase}")
    taken = {}
    for i, phase in own.items():
        chosen = _chosen(phase, given)
        if chosen is not None and chosen in taken:
            raise ValueError(
                f"{given[chosen].name!r} of phase_list is for both {own[taken[chosen]].name!r} and "
                f"{phase.name!r} of the map: give one phase for each, with the same name"
            )
        if chosen is not None:
            taken[chosen] = i
    rest = [(i, phase) for i, phase in own.items() if i not in taken.values()]
    return (*((taken.get(i), phase) for i, phase in enumerate(given)), *rest)


def phase_comment(entry: PhaseEntry) -> str:
    """Return what a file says of a phase so that :func:`restored`
    finds it again.

    Parameters
    ----------
    entry
        Phase.
    """
    return f"{_OURS} id={'none' if entry.id is None else entry.id}"


def with_space_groups(xmap: CrystalMap) -> CrystalMap:
    """Give phases the space groups that are in their names.

    Parameters
    ----------
    xmap
        Crystal map from a file, which is changed.

    Returns
    -------
    xmap
        The same map.
    """
    for i, phase in xmap.phases:
        name, number = split_name(phase.name)
        if i != -1 and number is not None:
            phase.name, phase.space_group = name, number
    return xmap


def restored(
    number: np.ndarray,
    phases: Mapping[int, Phase],
    comments: Mapping[int, str],
    rotations: Rotation,
    confidence: np.ndarray,
    properties: Mapping[str, np.ndarray],
    **places,
) -> CrystalMap:
    """Return the map that a text file of this package was made of.

    Parameters
    ----------
    number
        Number of the phase of each point in the file, 0 where there is
        none.
    phases
        Phases by their numbers in the file.
    comments
        Comments on the phases, see :func:`phase_comment`, by number.
    rotations, confidence, properties
        Rotations, confidence and further properties of the points.
    **places
        Coordinates, unit and points in data, as of orix's CrystalMap.

    Returns
    -------
    xmap
        Crystal map with the IDs of the phases, the scores, and identity
        rotation of points that are not indexed.
    """
    phase_id = np.full(number.size, -1)
    own = {}
    for i, phase in phases.items():
        new = _written_id(comments[i])
        if new is not None:
            phase_id[number == i] = new
            own[new] = phase
            if phase.space_group is not None and phase.space_group.number == new:
                phase.color = space_group_color(new)
    indexed = phase_id != -1
    quaternions = np.where(indexed[:, None], rotations.data, (1.0, 0.0, 0.0, 0.0))
    return CrystalMap(
        rotations=Rotation(quaternions),
        phase_id=phase_id,
        phase_list=PhaseList(own),
        prop={**properties, "scores": np.where(indexed, confidence, 0)},
        **places,
    )


def _written_id(comment: str) -> int | None:
    """ID of a phase in the map that was written, or None if it was not in it."""
    match = re.search(rf"{_OURS} id=(-?\d+)", comment)
    return None if match is None else int(match[1])


def _chosen(phase: Phase, given: list[Phase]) -> int | None:
    number = None if phase.space_group is None else phase.space_group.number
    same_name = [i for i, other in enumerate(given) if other.name == phase.name]
    if number is None:
        return same_name[0] if len(same_name) == 1 else None
    same = [
        i
        for i, j in enumerate(given)
        if j.space_group is not None and j.space_group.number == number
    ]
    if len(same) <= 1:
        return same[0] if same else None
    same_both = [i for i in same if i in same_name]
    if len(same_both) == 1:
        return same_both[0]
    raise ValueError(
        f"The phases {[given[i].name for i in same]} of phase_list have the space group {number} "
        f"of the map's phase {phase.name!r}: give one of them"
    )


def _entry(number: int, phase_id: int | None, phase: Phase) -> PhaseEntry:
    space_group = None if phase.space_group is None else phase.space_group.number
    if space_group is not None:
        laue = laue_group(space_group)
    else:
        laue = None if phase.point_group is None else phase.point_group.laue.name
    name = name_with_space_group(phase) or f"phase{number}"
    composition = phase.structure.composition
    formula = "".join(
        f"{element}{'' if count == 1 else f'{count:g}'}"
        for element, count in _smallest_numbers(composition).items()
    )
    return PhaseEntry(name, formula or name, space_group, laue, _lattice(phase), phase_id)


def _smallest_numbers(composition: Mapping[str, float]) -> dict[str, float]:
    counts = [round(i) for i in composition.values()]
    if counts and np.allclose(counts, list(composition.values())) and min(counts) > 0:
        divisor = int(np.gcd.reduce(counts))
        return {element: i // divisor for element, i in zip(composition, counts, strict=True)}
    return dict(composition)


def _lattice(phase: Phase) -> tuple[float, ...]:
    """Unit cell in angstrom. kikuchipy's own phases are in nanometres."""
    edges_and_angles = tuple(map(float, phase.structure.lattice.abcABG()))
    edges = edges_and_angles[:3]
    if np.allclose(edges, _NO_LATTICE):
        return (*_NO_LATTICE, *edges_and_angles[3:])
    scale = 10 if min(edges) < _SHORTEST_EDGE else 1
    return (*(scale * i for i in edges), *edges_and_angles[3:])
