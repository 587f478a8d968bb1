# SPDX-License-Identifier: GPL-3.0-or-later

"""How far phase maps of the same points agree."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from orix.crystal_map import CrystalMap

from kikuchipy_cnn._files import write_csv
from kikuchipy_cnn._tables import aligned
from kikuchipy_cnn.crystal_map import IMAGE_QUALITY, first_property, map_shape
from kikuchipy_cnn.space_groups import checked_space_group, label_text

if TYPE_CHECKING:
    from kikuchipy_cnn.evaluation import Confusion

__all__ = ["Disagreement", "PhaseComparison", "compare_phase_maps"]

NOT_INDEXED = "not indexed"
_CONFIDENCE = ("confidence", "scores", "cm", "ci")
_LEVELS = ("space group", "phase")
# Part of a step by which the places of a point in two maps may differ
_SAME_PLACE = 0.1
_TRUTH = "truth"


class Disagreement(NamedTuple):
    """A point that maps call differently.

    Parameters
    ----------
    index
        Place of the point in the map, row by row.
    row, column
        Row and column.
    labels
        What each map calls it: the number of a space group, the name of
        a phase without one, or "not indexed".
    confidence
        Confidence of the first map, or not a number.
    quality
        Quality of the pattern, or not a number.
    truth
        What it is, or None if that is not known.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn.comparison import compare_phase_maps
    >>> xmap = kp.data.nickel_ebsd_small().xmap
    >>> truth = [225, 225, 225, 225, 225, 225, 225, 225, 221]
    >>> first = compare_phase_maps(xmap, truth=truth).disagreements()[0]
    >>> first.row, first.column, first.labels, first.truth
    (2, 2, (225,), 221)
    """

    index: int
    row: int
    column: int
    labels: tuple[int | str, ...]
    confidence: float
    quality: float
    truth: int | str | None


@dataclass(frozen=True)
class PhaseComparison:
    """Phase maps of the same points, from :func:`compare_phase_maps`.

    Parameters
    ----------
    names
        Names of the maps.
    labels
        What the maps call points: numbers of space groups in ascending
        order, then names of phases, then "not indexed".
    codes
        Places among *labels*, of shape (maps, points), of the points
        that are in data in all maps.
    index
        Places of these points in the maps, row by row.
    shape
        Shape of the maps.
    confidence
        Confidence of the first map in these points, or not a number.
    quality
        Quality of the patterns of these points, or not a number.
    true_codes
        Places of the truth among *labels*, or None if it is not known.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn.comparison import compare_phase_maps
    >>> xmap = kp.data.nickel_ebsd_small().xmap
    >>> truth = [225, 225, 225, 225, 225, 225, 225, 225, 221]
    >>> comparison = compare_phase_maps(
    ...     xmap, names=["file"], truth=truth
    ... )
    >>> comparison.labels
    (221, 225, 'not indexed')
    >>> round(comparison.accuracy("file"), 3)
    0.889
    >>> [(i.row, i.column, i.truth) for i in comparison.disagreements()]
    [(2, 2, 221)]
    """

    names: tuple[str, ...]
    labels: tuple[int | str, ...]
    codes: np.ndarray
    index: np.ndarray
    shape: tuple[int, int]
    confidence: np.ndarray
    quality: np.ndarray
    true_codes: np.ndarray | None = None

    def __repr__(self) -> str:
        parts = [f"{len(self.index)} points of {', '.join(self.names)}"]
        parts += [f"{a} = {b}: {self.agreement(a, b):.1%}" for a, b in self._pairs()]
        return f"PhaseComparison({'; '.join(parts)})"

    @cached_property
    def indexed(self) -> np.ndarray:
        """Whether each map has a phase in each point, of shape (maps,
        points)."""
        return self.codes != self._not_indexed

    @cached_property
    def n_agreeing(self) -> np.ndarray:
        """How many other maps call each point what the first one does,
        of shape (points,)."""
        return np.count_nonzero(self.codes[1:] == self.codes[0], axis=0)

    def agreement_map(self) -> np.ndarray:
        """Return the part of the other maps that agree with the first.

        Returns
        -------
        image
            Values from 0 to 1 of the maps' shape, not a number where a
            map has no data.
        """
        image = np.full(self.shape, np.nan)
        image.ravel()[self.index] = self.n_agreeing / (len(self.names) - 1)
        return image

    def agreement(self, first: int | str, second: int | str) -> float:
        """Return the part of the points, of those both maps have
        indexed, that two maps call the same.

        Parameters
        ----------
        first, second
            Names of the maps, or their places. "truth" is the truth.

        Returns
        -------
        agreement
            From 0 to 1, or not a number if there is no such point.
        """
        a, b = self._codes_of(first), self._codes_of(second)
        not_indexed = self._not_indexed
        both = (a != not_indexed) & (b != not_indexed)
        return float((a == b)[both].mean()) if both.any() else np.nan

    def kappa(self, first: int | str, second: int | str) -> float:
        """Return Cohen's kappa of two maps.

        Parameters
        ----------
        first, second
            As of :meth:`agreement`.

        Returns
        -------
        kappa
            1 if the maps agree everywhere, 0 if no more than by chance,
            over all points; "not indexed" is a phase like others. Not a
            number if both maps have one and the same phase only.
        """
        from sklearn.metrics import cohen_kappa_score

        a, b = self._codes_of(first), self._codes_of(second)
        if np.unique([a, b]).size < 2:
            return np.nan
        return float(cohen_kappa_score(a, b))

    def confusion(self, first: int | str, second: int | str) -> Confusion:
        """Return how often one map calls points one thing and another
        calls them another.

        Parameters
        ----------
        first
            Map of the rows, as of :meth:`agreement`.
        second
            Map of the columns.

        Returns
        -------
        confusion
            Counts of points.
        """
        from sklearn.metrics import confusion_matrix

        from kikuchipy_cnn.evaluation import Confusion

        numbers = np.arange(len(self.labels))
        counts = confusion_matrix(self._codes_of(first), self._codes_of(second), labels=numbers)
        return Confusion(counts, self.labels, self.labels)

    def area_fractions(self) -> dict[str, dict[int | str, float]]:
        """Return the part of the points that each map gives each phase.

        Returns
        -------
        fractions
            From 0 to 1, by map and label. The truth is among the maps if
            it is known.
        """
        return {
            name: {
                label: float(np.mean(self._codes_of(name) == i))
                for i, label in enumerate(self.labels)
            }
            for name in self._rows()
        }

    def accuracy(self, name: int | str) -> float:
        """Return the part of the points that a map calls what they are.

        Parameters
        ----------
        name
            Name or place of the map.

        Returns
        -------
        accuracy
            From 0 to 1. Points that are not indexed count as wrong,
            unless they are not indexed in the truth either.

        Raises
        ------
        ValueError
            If the truth is not known.
        """
        return float(np.mean(self._codes_of(name) == self._codes_of(_TRUTH)))

    def n_impossible(self, name: int | str) -> int:
        """Return how many points a map gives a phase that the sample has
        not got.

        Parameters
        ----------
        name
            Name or place of the map.

        Returns
        -------
        n
            Number of points.

        Raises
        ------
        ValueError
            If the truth is not known.
        """
        possible = [*np.unique(self._codes_of(_TRUTH)), self._not_indexed]
        return int(np.count_nonzero(~np.isin(self._codes_of(name), possible)))

    def disagreements(self) -> list[Disagreement]:
        """List the points that not all maps call the same, or that are
        something else if that is known.

        Returns
        -------
        disagreements
            Points by descending confidence of the first map, then by
            descending quality of the pattern: a sure answer of a good
            pattern that others contradict is worth a look first.
        """
        all_codes = np.vstack([self._codes_of(name) for name in self._rows()])
        differ = np.flatnonzero((all_codes != all_codes[0]).any(axis=0))
        confidence, quality = (
            np.nan_to_num(values[differ], nan=-np.inf) for values in (self.confidence, self.quality)
        )
        listed = []
        for i in differ[np.lexsort((self.index[differ], -quality, -confidence))]:
            row, column = np.unravel_index(self.index[i], self.shape)
            truth = None if self.true_codes is None else self.labels[self.true_codes[i]]
            listed.append(
                Disagreement(
                    int(self.index[i]),
                    int(row),
                    int(column),
                    tuple(self.labels[code] for code in self.codes[:, i]),
                    float(self.confidence[i]),
                    float(self.quality[i]),
                    truth,
                )
            )
        return listed

    def table(self) -> str:
        """Return area fractions, agreement, kappa and, if the truth is
        known, accuracy as text.

        Returns
        -------
        table
            Lines of aligned text without a line break at the end.
        """
        fractions = self.area_fractions()
        labels = [i for i in self.labels if any(of[i] for of in fractions.values())]
        rows = [("Part of the points", *map(label_text, labels))]
        rows += [(name, *(f"{of[i]:.1%}" for i in labels)) for name, of in fractions.items()]
        parts = [aligned(rows)]
        pairs = [("Agreement", "Same, of both indexed", "Cohen's kappa")]
        pairs += [
            (f"{a} and {b}", f"{self.agreement(a, b):.1%}", f"{self.kappa(a, b):.3f}")
            for a, b in self._pairs()
        ]
        if len(pairs) > 1:
            parts.append(aligned(pairs))
        if self.true_codes is not None:
            rows = [("Against the truth", "Right", "Right, of indexed", "Impossible phases")]
            rows += [
                (
                    name,
                    f"{self.accuracy(name):.1%}",
                    f"{self.agreement(name, _TRUTH):.1%}",
                    str(self.n_impossible(name)),
                )
                for name in self.names
            ]
            parts.append(aligned(rows))
        return "\n\n".join(parts)

    def confusion_table(self, first: int | str, second: int | str) -> str:
        """Return :meth:`confusion` as text.

        Parameters
        ----------
        first
            Map of the rows.
        second
            Map of the columns.

        Returns
        -------
        table
            Lines of aligned text without a line break at the end. Labels
            that neither map has are left out.
        """
        counts, labels, _ = self.confusion(first, second)
        used_rows, used_columns = counts.any(axis=1), counts.any(axis=0)
        columns = [label for label, used in zip(labels, used_columns, strict=True) if used]
        heading = f"{self._name_of(first)} \\ {self._name_of(second)}"
        rows = [(heading, *map(label_text, columns))]
        for label, of, used in zip(labels, counts, used_rows, strict=True):
            if used:
                rows.append((label_text(label), *map(str, of[used_columns])))
        return aligned(rows)

    def save_disagreements(self, path: str | os.PathLike, overwrite: bool = False) -> None:
        """Write :meth:`disagreements` to a CSV file.

        Parameters
        ----------
        path
            File to write.
        overwrite
            Whether to replace an existing file.

        Raises
        ------
        FileExistsError, FileNotFoundError, NotADirectoryError, \
        IsADirectoryError, PermissionError
            As :func:`~kikuchipy_cnn.io.check_output`.
        """
        header = ["index", "row", "column", *self.names, "confidence", "quality"]
        with_truth = self.true_codes is not None
        rows = (
            [i.index, i.row, i.column, *i.labels, i.confidence, i.quality]
            + ([i.truth] if with_truth else [])
            for i in self.disagreements()
        )
        write_csv(path, header + ([_TRUTH] if with_truth else []), rows, overwrite)

    @property
    def _not_indexed(self) -> int:
        return self.labels.index(NOT_INDEXED)

    def _rows(self) -> tuple[str, ...]:
        return self.names if self.true_codes is None else (*self.names, _TRUTH)

    def _pairs(self) -> list[tuple[str, str]]:
        return [(a, b) for i, a in enumerate(self.names) for b in self.names[i + 1 :]]

    def _name_of(self, name: int | str) -> str:
        return name if isinstance(name, str) else self.names[name]

    def _codes_of(self, name: int | str) -> np.ndarray:
        if name == _TRUTH:
            if self.true_codes is None:
                raise ValueError("The truth is not known: pass truth= to compare_phase_maps()")
            return self.true_codes
        if isinstance(name, str):
            if name not in self.names:
                raise ValueError(
                    f"Map {name!r} must be one of {', '.join(map(repr, self._rows()))}"
                )
            return self.codes[self.names.index(name)]
        return self.codes[name]


def compare_phase_maps(
    xmap: CrystalMap,
    *others: CrystalMap,
    names: Sequence[str] | None = None,
    truth: CrystalMap | np.ndarray | None = None,
    level: str = "space group",
    quality: str | np.ndarray | None = None,
) -> PhaseComparison:
    """Compare the phases in maps of the same points.

    Parameters
    ----------
    xmap
        Crystal map, such as from
        :func:`~kikuchipy_cnn.classify_space_group`.
    *others
        Crystal maps of the same points, such as from
        :func:`~kikuchipy_cnn.comparison.hough_phase_map`. At least one,
        unless there is a truth.
    names
        Names of the maps. If not given, "map 1" and so on.
    truth
        Map of what the points are, or numbers of space groups of the
        maps' shape or flattened, -1 where there is none.
    level
        What to compare: "space group", so that nickel and aluminium are
        the same, or "phase", the names. Phases without a space group are
        told by their names.
    quality
        Quality of the patterns, of the maps' shape or flattened, or the
        name of a property of one of the maps. If not given, "iq" or "pq"
        of the first map that has it.

    Returns
    -------
    comparison
        Agreement, confusion, kappa, area fractions and disagreements.

    Raises
    ------
    TypeError
        If a map is no crystal map.
    ValueError
        If there is nothing to compare with, maps have other points or
        steps, two maps have no phase in common, no point is in data in
        all maps, or an argument does not fit.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn.comparison import (
    ...     compare_phase_maps, hough_phase_map
    ... )
    >>> from kikuchipy_cnn.simulation import load_phases
    >>> s = kp.data.nickel_ebsd_small()
    >>> s.remove_static_background(show_progressbar=False)
    >>> s.remove_dynamic_background(show_progressbar=False)
    >>> phases = load_phases([225, 229])
    >>> hough = hough_phase_map(
    ...     s, [phases["Ni"], phases["Fe-bcc"]], show_progressbar=False
    ... )
    >>> comparison = compare_phase_maps(
    ...     s.xmap, hough, names=["file", "Hough"]
    ... )
    >>> comparison.agreement("file", "Hough")
    1.0
    """
    maps = (xmap, *others)
    for i in maps:
        if not isinstance(i, CrystalMap):
            raise TypeError(f"{i!r} must be of type {CrystalMap}")
    if not others and truth is None:
        raise ValueError("There is nothing to compare the map with: pass another one, or truth=")
    if level not in _LEVELS:
        raise ValueError(f"level={level!r} must be one of {', '.join(map(repr, _LEVELS))}")
    names = tuple(f"map {i}" for i in range(1, len(maps) + 1)) if names is None else tuple(names)
    if len(names) != len(maps) or len(set(names)) != len(names) or _TRUTH in names:
        raise ValueError(
            f"The names {names} must be {len(maps)} different ones, none of which is {_TRUTH!r}"
        )
    is_map = isinstance(truth, CrystalMap)
    for name, other in zip((*names[1:], _TRUTH), (*others, truth if is_map else xmap), strict=True):
        _check_same_points(names[0], xmap, name, other)

    in_data = np.all([i.is_in_data for i in (*maps, *([truth] if is_map else []))], axis=0)
    index = np.flatnonzero(in_data)
    if index.size == 0:
        raise ValueError("No point is in data in all of the maps, so there is nothing to compare")
    called = [_labels_of_points(i, level) for i in maps]
    if truth is not None:
        called.append(
            _labels_of_points(truth, level)
            if is_map
            else _labels_of_values(_per_point("truth", truth, xmap))
        )
    labels, codes = _with_common_labels([(own, of_map[in_data]) for own, of_map in called])
    _check_shared((*names, _TRUTH)[: len(codes)], codes, labels)
    return PhaseComparison(
        names,
        labels,
        codes[: len(maps)],
        index,
        map_shape(xmap),
        _first_property(maps[:1], _CONFIDENCE, xmap)[in_data],
        _quality(maps, quality, xmap)[in_data],
        codes[-1] if truth is not None else None,
    )


def _check_same_points(name: str, xmap: CrystalMap, other_name: str, other: CrystalMap) -> None:
    if map_shape(other) != map_shape(xmap):
        raise ValueError(
            f"The maps differ in shape: {name!r} has {map_shape(xmap)} points, {other_name!r} "
            f"{map_shape(other)}. Give maps of the same patterns"
        )
    steps = (xmap.dy, xmap.dx), (other.dy, other.dx)
    if not np.allclose(*steps, rtol=_SAME_PLACE / max(map_shape(xmap))):
        raise ValueError(
            f"The maps differ in their steps (dy, dx): {name!r} has {xmap.dy:g}, {xmap.dx:g} "
            f"{xmap.scan_unit}, {other_name!r} {other.dy:g}, {other.dx:g} {other.scan_unit}. Give "
            "maps of the same patterns, or set the signal's scales first"
        )


def _labels_of_points(xmap: CrystalMap, level: str) -> tuple[list[int | str], np.ndarray]:
    """Labels of a map's phases, and which of them each point has."""
    labels: list[int | str] = [NOT_INDEXED]
    codes = np.zeros(xmap.is_in_data.size, dtype=int)
    for i, phase in xmap.phases:
        if i != -1:
            by_name = level == "phase" or phase.space_group is None
            codes[xmap._phase_id == i] = len(labels)
            labels.append(phase.name if by_name else phase.space_group.number)
    return labels, codes


def _labels_of_values(values: np.ndarray) -> tuple[list[int | str], np.ndarray]:
    """Labels that are given one by one, and which of them each point has."""
    if values.dtype.kind != "U":
        known = values != -1
        for number in np.unique(values[known]):
            checked_space_group(number)
        values = np.where(known, values.astype(object), NOT_INDEXED)
    place: dict[int | str, int] = {}
    codes = [place.setdefault(label, len(place)) for label in values.tolist()]
    return list(place), np.array(codes)


def _with_common_labels(
    called: Sequence[tuple[list[int | str], np.ndarray]],
) -> tuple[tuple[int | str, ...], np.ndarray]:
    """Labels that any of the maps has, and which of them each point has in each map."""
    found = {own[code] for own, codes in called for code in np.unique(codes)} - {NOT_INDEXED}
    numbers = sorted(i for i in found if not isinstance(i, str))
    names = sorted(i for i in found if isinstance(i, str))
    labels = (*map(int, numbers), *names, NOT_INDEXED)
    place = {label: i for i, label in enumerate(labels)}
    # Labels that no point has are of no map
    common = [np.array([place.get(label, -1) for label in own])[codes] for own, codes in called]
    return labels, np.array(common)


def _check_shared(names: Sequence[str], codes: np.ndarray, labels: Sequence[int | str]) -> None:
    own = [{labels[i] for i in np.unique(of_map)} - {NOT_INDEXED} for of_map in codes]
    for name, phases in zip(names[1:], own[1:], strict=True):
        if own[0] and phases and not own[0] & phases:
            raise ValueError(
                f"{names[0]!r} and {name!r} share no phase: {_text(own[0])} against "
                f"{_text(phases)}. Give their phases space groups, or compare by level='phase'"
            )


def _text(labels: set[int | str]) -> str:
    return ", ".join(sorted(map(label_text, labels)))


def _per_point(name: str, values: np.ndarray, xmap: CrystalMap) -> np.ndarray:
    values = np.asarray(values)
    if values.size != xmap.is_in_data.size:
        raise ValueError(
            f"{name} of shape {values.shape} must have a value for each of the map's "
            f"{map_shape(xmap)} points"
        )
    return values.ravel()


def _quality(
    maps: Sequence[CrystalMap], quality: str | np.ndarray | None, xmap: CrystalMap
) -> np.ndarray:
    if quality is None:
        return _first_property(maps, IMAGE_QUALITY, xmap)
    if not isinstance(quality, str):
        return _per_point("quality", quality, xmap).astype(float)
    if not any(quality in i.prop for i in maps):
        raise ValueError(f"quality={quality!r} is a property of none of the maps")
    return _first_property(maps, (quality,), xmap)


def _first_property(
    maps: Sequence[CrystalMap], names: Sequence[str], xmap: CrystalMap
) -> np.ndarray:
    """First of the properties that any of the maps has, of all points, or not numbers."""
    found = (first_property(i, names) for i in maps)
    values = next((i for i in found if i is not None), None)
    return np.full(xmap.is_in_data.size, np.nan) if values is None else values.astype(float)
