# SPDX-License-Identifier: GPL-3.0-or-later

"""Patterns from all over maps, and parts of maps that lie apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from kikuchipy.signals import EBSD

from kikuchipy_cnn.preprocessing import PatternTransform
from kikuchipy_cnn.training.labelled import LabelledPatterns, PatternSource
from kikuchipy_cnn.training.splits import even_shares

# Points of a map, for each that is wanted, among which those that lie well apart are looked for.
_POINTS_PER_PATTERN = 64
# Relative precision of a cell's side.
_PRECISION = 1.02
# Patterns that nothing is known of are said to be of this space group.
_UNKNOWN = 1


@dataclass(frozen=True, eq=False)
class MapSample:
    """Some patterns of one map or of several.

    Parameters
    ----------
    images
        Network input of shape (n, size, size, 1) and data type float32.
    positions
        Row and column in pixels of the maps, of shape (n, 2). Several maps lie one below the other,
        far apart.
    """

    images: np.ndarray
    positions: np.ndarray

    @classmethod
    def read(
        cls,
        signals: Sequence[EBSD],
        navigation_masks: Sequence[np.ndarray | None],
        transform: PatternTransform,
        n: int,
        rng: np.random.Generator,
        *,
        show_progressbar: bool | None = None,
    ) -> MapSample:
        """Draw patterns from all over maps, and preprocess them.

        Patterns come as evenly from the maps as there are, and from each one lie on a jittered
        grid: one at random from each of its cells.

        Parameters
        ----------
        signals
            Maps of no, one or two dimensions, lazy or not. All of a lazy one is read, in parts.
        navigation_masks
            Boolean mask of each one's navigation shape, False for the patterns that may be drawn,
            or None.
        transform
            Preprocessing.
        n
            How many patterns, at most; one of each map at least.
        rng
            Source of random numbers.
        show_progressbar
            Whether to show a progress bar. If not given, the value of
            :obj:`hyperspy.api.preferences.General.show_progressbar` is used.

        Returns
        -------
        sample
            Patterns. Those that are constant or not finite are left out, with a warning.

        Raises
        ------
        ValueError
            If there are more maps than patterns are wanted, a signal has more than two navigation
            dimensions, or a mask is not boolean, has another shape or leaves nothing.
        """
        if len(signals) > n:
            raise ValueError(f"{n} pattern(s) of {len(signals)} maps; draw one of each at least.")
        usable = [_usable_points(*pair) for pair in zip(signals, navigation_masks, strict=True)]
        positions = _one_below_the_other(usable)
        shares = even_shares(np.array([len(points) for points, _ in usable]), n)
        parts, places = [], []
        for signal, (points, _), where, share in zip(
            signals, usable, positions, shares, strict=True
        ):
            chosen = _sample(where, share, rng)
            parts.append(_unlabelled(signal, points[chosen]))
            places.append(where[chosen])
        patterns = LabelledPatterns.concatenate(parts)
        images, valid = patterns.images(transform, show_progressbar=show_progressbar)
        positions = np.concatenate(places)
        if not valid.all():
            images, positions = images[valid], positions[valid]
        return cls(images, positions)

    def __len__(self) -> int:
        return len(self.images)


def cells_of(positions: np.ndarray, most: int) -> np.ndarray:
    """Lay the finest square grid over positions that has no more cells with any of them.

    Parameters
    ----------
    positions
        Integers of shape (n, 2).
    most
        How many cells may have positions.

    Returns
    -------
    cells
        Number of each one's cell, from 0 without a gap, of shape (n,).
    """
    positions = positions - positions.min(axis=0)

    def cells(side: float) -> np.ndarray:
        row, column = (positions // side).astype(np.int64).T
        return np.unique(row * (column.max() + 1) + column, return_inverse=True)[1]

    # The first side is too small, the second one is not.
    low, high = 1.0, float(positions.max()) + 1
    found = cells(low)
    if found.max() < most:
        return found
    found = cells(high)
    while high > low * _PRECISION:
        side = np.sqrt(low * high)
        tried = cells(side)
        if tried.max() < most:
            high, found = side, tried
        else:
            low = side
    return found


def spread_out(positions: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Choose positions that lie well apart.

    One is drawn from each cell of the grid of :func:`cells_of`, which takes as many sorts as
    the sides of cells that are tried, some twenty. What is left is drawn from all.

    Parameters
    ----------
    positions
        Integers of shape (n, 2).
    n
        How many to choose.
    rng
        Source of random numbers.

    Returns
    -------
    chosen
        Indices in ascending order, of all if there are no more than *n*.
    """
    if n >= len(positions):
        return np.arange(len(positions))
    order = rng.permutation(len(positions))
    first = np.unique(cells_of(positions[order], n), return_index=True)[1]
    rest = np.delete(order, first)
    return np.sort(np.concatenate([order[first], rest[: n - len(first)]]))


def hold_out(blocks: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Choose whole blocks at random.

    Parameters
    ----------
    blocks
        Number of each pattern's block, from 0 without a gap, of shape (n,).
    share
        Part of the patterns to choose, between 0 and 1.
    rng
        Source of random numbers.

    Returns
    -------
    chosen
        Boolean array of shape (n,). At least one block is chosen, and at least one is not.

    Raises
    ------
    ValueError
        If there is one block only.
    """
    sizes = np.bincount(blocks)
    if len(sizes) < 2:
        raise ValueError(
            f"The {len(blocks)} pattern(s) lie in one block, of which no part can be held out. "
            "Give a larger map."
        )
    order = rng.permutation(len(sizes))
    before = np.cumsum(sizes[order]) - sizes[order]
    chosen = order[before < share * len(blocks)]
    return np.isin(blocks, chosen[: len(sizes) - 1])


def _usable_points(signal: EBSD, mask: np.ndarray | None) -> tuple[np.ndarray, tuple[int, int]]:
    """Indices into the flattened map of the points that may be drawn, and its shape."""
    shape = signal.data.shape[:-2]
    if len(shape) > 2:
        raise ValueError(
            f"{signal} has {len(shape)} navigation dimensions; a map has at most 2. Give several "
            "maps as a list: [signal.inav[..., i] for i in ...]."
        )
    if mask is not None:
        mask = np.asarray(mask)
        if mask.dtype != bool or mask.shape != shape:
            raise ValueError(
                f"A navigation mask of shape {mask.shape} and data type {mask.dtype} is given; "
                f"{shape} and bool are needed."
            )
        if mask.all():
            raise ValueError("A navigation mask is all True, which leaves nothing. False is used.")
    used = np.ones(shape, bool) if mask is None else ~mask
    return np.flatnonzero(used), (1,) * (2 - len(shape)) + shape


def _one_below_the_other(usable: Sequence[tuple[np.ndarray, tuple[int, int]]]) -> list[np.ndarray]:
    """Rows and columns of the points of each map."""
    gap = max(max(shape) for _, shape in usable)
    positions, first_row = [], 0
    for points, shape in usable:
        rows, columns = np.unravel_index(points, shape)
        positions.append(np.stack([rows + first_row, columns], axis=1))
        first_row += shape[0] + gap
    return positions


def _sample(positions: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """As :func:`spread_out`, of any number of points in no more than seconds."""
    most = _POINTS_PER_PATTERN * n
    if len(positions) <= most:
        return spread_out(positions, n, rng)
    some = np.sort(rng.choice(len(positions), most, replace=False, shuffle=False))
    return some[spread_out(positions[some], n, rng)]


def _unlabelled(signal: EBSD, index: np.ndarray) -> LabelledPatterns:
    n = len(index)
    return LabelledPatterns(
        (PatternSource.from_signal(signal),),
        np.zeros(n, int),
        index,
        np.full(n, _UNKNOWN),
        np.full(n, "", object),
        np.full(n, "", object),
    )
