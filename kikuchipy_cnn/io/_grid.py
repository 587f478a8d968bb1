# SPDX-License-Identifier: GPL-3.0-or-later

"""Grids that the points of a map lie on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from orix.crystal_map import CrystalMap

# Coordinates in files are rounded, so that points of one row differ by this part of the map
_ROUNDING = 2e-6
# Part of a step that a point may lie off the grid
_OFF_GRID = 0.1


@dataclass(frozen=True)
class Grid:
    """Rows of equidistant cells, every second of which is shifted by
    half a step if the grid is hexagonal.

    Parameters
    ----------
    n_rows
        Number of rows.
    n_columns
        Number of cells in the first, third, ... row.
    n_columns_even
        Number of cells in the second, fourth, ... row.
    dx, dy
        Distance of cells in a row, and of rows.
    shifts
        Shift in x of the first, third, ... and of the second, fourth,
        ... row, 0 or half of *dx*.
    point_of_cell
        Index of the point in each cell, or -1 in cells without one, in
        row-major order.
    """

    n_rows: int
    n_columns: int
    n_columns_even: int
    dx: float
    dy: float
    shifts: tuple[float, float]
    point_of_cell: np.ndarray

    @property
    def size(self) -> int:
        """Number of cells."""
        return self.point_of_cell.size

    @property
    def is_hexagonal(self) -> bool:
        """Whether every second row is shifted."""
        return self.shifts[0] != self.shifts[1]

    def coordinates(self, cells: slice) -> tuple[np.ndarray, np.ndarray]:
        """Return the places of cells, from 0.

        Parameters
        ----------
        cells
            Range of cells in row-major order.

        Returns
        -------
        x, y
            Coordinates of the centres, in the unit of *dx* and *dy*.
        """
        pair, place = np.divmod(
            np.arange(cells.start, min(cells.stop, self.size)),
            self.n_columns + self.n_columns_even,
        )
        is_even = place >= self.n_columns
        column = place - is_even * self.n_columns
        x = column * self.dx + np.where(is_even, self.shifts[1], self.shifts[0])
        return x, (2 * pair + is_even) * self.dy


def grid_of(xmap: CrystalMap) -> Grid:
    """Return the grid of a map, which may have cells without a point.

    Parameters
    ----------
    xmap
        Crystal map. Points that are not in data are points too.

    Returns
    -------
    grid
        Grid. A row or a column gets the step of the other direction, or
        1 if there is but one point, as readers do not take 0.

    Raises
    ------
    ValueError
        If the points are not on a square, rectangular or hexagonal
        grid, or two are in one place.
    """
    x, y = (
        np.zeros(xmap.is_in_data.size) if i is None else np.asarray(i, dtype=float)
        for i in (xmap._x, xmap._y)
    )
    x, y = x - x.min(), y - y.min()
    dy = _spacing(np.unique(y), np.ptp(y))
    rows = _nearest(y / dy, "y") if dy else np.zeros(y.size, dtype=int)
    dx = _spacing_in_rows(x, rows)
    steps = (dx or dy or 1.0, dy or dx or 1.0)
    shifts = _shifts(x, rows, steps[0])
    columns = _nearest((x - np.take(shifts, rows % 2)) / steps[0], "x")
    is_even = rows % 2 == 1
    n_rows, n_columns = int(rows.max()) + 1, int(columns.max()) + 1
    n_odd = n_even = n_columns
    if shifts[0] != shifts[1]:
        n_odd = int(columns[~is_even].max()) + 1
        n_even = int(columns[is_even].max()) + 1

    cell = (rows // 2) * (n_odd + n_even) + is_even * n_odd + columns
    point_of_cell = np.full((n_rows // 2) * (n_odd + n_even) + (n_rows % 2) * n_odd, -1)
    point_of_cell[cell] = np.arange(cell.size)
    taken = np.count_nonzero(point_of_cell >= 0)
    if taken < cell.size:
        raise ValueError(
            f"{cell.size - taken} of the map's {cell.size} points are in places where others are: "
            "give a map with one point in each place"
        )
    return Grid(n_rows, n_odd, n_even, float(steps[0]), float(steps[1]), shifts, point_of_cell)


def _spacing(values: np.ndarray, extent: float) -> float:
    """Distance of neighbours among ascending values, some of which may be missing."""
    differences = np.diff(values)
    differences = differences[differences > _ROUNDING * extent]
    if differences.size == 0:
        return 0.0
    return extent / max(1, round(extent / float(differences.min())))


def _spacing_in_rows(x: np.ndarray, rows: np.ndarray) -> float:
    """Distance of neighbours in rows, as that of a hexagonal grid's columns is half of it."""
    order = np.lexsort((x, rows))
    differences = np.diff(x[order])[np.diff(rows[order]) == 0]
    differences = differences[differences > _ROUNDING * np.ptp(x)]
    if differences.size == 0:
        return 0.0
    step = float(differences.min())
    # Less rounding is left in the longest distance
    longest = max(np.ptp(x[rows == rows[order[0]]]), step)
    return longest / round(longest / step)


def _shifts(x: np.ndarray, rows: np.ndarray, dx: float) -> tuple[float, float]:
    """Shifts of the first, third, ... and the second, fourth, ... row."""
    is_shifted = np.abs((x / dx + 0.25) % 1 - 0.75) < 2 * _OFF_GRID
    for shifts in ((0.0, 0.0), (0.0, 0.5), (0.5, 0.0)):
        if np.array_equal(is_shifted, np.take(shifts, rows % 2) > 0):
            return float(shifts[0] * dx), float(shifts[1] * dx)
    raise ValueError(_NO_GRID.format("x"))


def _nearest(places: np.ndarray, direction: str) -> np.ndarray:
    nearest = np.rint(places)
    if np.any(np.abs(places - nearest) > _OFF_GRID):
        raise ValueError(_NO_GRID.format(direction))
    return nearest.astype(int)


_NO_GRID = (
    "The map's points are not on a square, rectangular or hexagonal grid, as their {} coordinates "
    "tell: give a map of equal steps"
)
