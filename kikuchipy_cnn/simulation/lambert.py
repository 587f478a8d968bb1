# SPDX-License-Identifier: GPL-3.0-or-later

"""The square Lambert projection of the sphere, and its pixels that a symmetry leaves independent.

A master pattern has two maps, of the upper (z >= 0) and of the lower hemisphere. A direction (x, y,
-z) of the lower one lies on the same pixel as (x, y, z) of the upper one, as in EMsoft and
kikuchipy. The projection is that of Callahan and De Graef, Microsc. Microanal. 19 (2013) 1255.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from orix.crystal_map import Phase
from scipy.sparse import csr_array

# Any direction off all symmetry elements will do. The pixels near it are the ones computed.
_GENERIC = np.array([0.31, 0.17, 0.93]) / np.linalg.norm([0.31, 0.17, 0.93])


def lambert_to_direction(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Directions of the upper hemisphere at points of the square Lambert projection.

    Parameters
    ----------
    x, y
        Coordinates in [-1, 1], of any common shape.

    Returns
    -------
    directions
        Unit vectors, of shape (..., 3).
    """
    x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
    steep = np.abs(y) > np.abs(x)
    long, short = np.where(steep, y, x), np.where(steep, x, y)
    radius = long * np.sqrt(2 - long**2)
    angle = np.pi / 4 * np.divide(short, long, out=np.zeros_like(long), where=long != 0)
    along, across = radius * np.cos(angle), radius * np.sin(angle)
    return np.stack(
        [np.where(steep, across, along), np.where(steep, along, across), 1 - long**2], axis=-1
    )


def direction_to_lambert(directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points of the square Lambert projection where directions lie, whatever their hemisphere.

    Parameters
    ----------
    directions
        Unit vectors, of shape (..., 3).

    Returns
    -------
    x, y
        Coordinates in [-1, 1], of shape (...).
    """
    a, b = directions[..., 0], directions[..., 1]
    steep = np.abs(b) > np.abs(a)
    long, short = np.where(steep, b, a), np.where(steep, a, b)
    first = np.copysign(np.sqrt(np.clip(1 - np.abs(directions[..., 2]), 0, None)), long)
    ratio = np.divide(short, long, out=np.zeros_like(first), where=long != 0)
    second = first * 4 / np.pi * np.arctan(ratio)
    return np.where(steep, second, first), np.where(steep, first, second)


class SymmetricGrid:
    """Pixels of a master pattern from which a point group makes all others.

    Parameters
    ----------
    operations
        Orthogonal matrices of the point group, of shape (n, 3, 3).
    half_width
        Pixels from the centre of a map to its edge.

    Attributes
    ----------
    directions
        Unit vectors of the independent pixels, and of a few around them that are needed for
        interpolation, of shape (pixels, 3).
    """

    def __init__(self, operations: np.ndarray, half_width: int) -> None:
        if half_width < 1:
            raise ValueError(f"half_width={half_width} must be at least 1 pixel.")
        self.half_width = int(half_width)
        self._centrosymmetric = any(np.allclose(op, -np.eye(3), atol=1e-6) for op in operations)
        axis = np.arange(-self.half_width, self.half_width + 1)
        i, j = np.meshgrid(axis, axis, indexing="ij")
        # Rows of a map are y and columns are x.
        upper = lambert_to_direction(j / self.half_width, i / self.half_width)
        sphere = np.stack([upper, upper * [1, 1, -1]]).reshape(-1, 3)

        wanted = sphere[: len(sphere) // 2] if self._centrosymmetric else sphere
        nodes, weights = self._stencils(_representatives(wanted, operations))
        used = weights != 0
        independent, columns = np.unique(nodes[used], return_inverse=True)
        self.directions = sphere[independent]
        rows = np.broadcast_to(np.arange(len(wanted))[:, None], nodes.shape)[used]
        self._interpolation = csr_array(
            (weights[used].astype(np.float32), (rows, columns)),
            shape=(len(wanted), len(independent)),
        )

    def __len__(self) -> int:
        return len(self.directions)

    def unfold(self, values: np.ndarray) -> np.ndarray:
        """Fill both hemispheres from the independent pixels.

        Parameters
        ----------
        values
            Intensities in the grid's directions, of shape (pixels,).

        Returns
        -------
        master_pattern
            Maps of the upper and the lower hemisphere, of shape (2, side, side) and data type
            float32, rows along y.

        Raises
        ------
        ValueError
            If there is not one value for each direction.
        """
        if np.shape(values) != (len(self),):
            raise ValueError(
                f"Values of shape {np.shape(values)} given; a half width of {self.half_width} "
                f"pixels and this point group need {len(self)}."
            )
        side = 2 * self.half_width + 1
        filled = (self._interpolation @ np.asarray(values, np.float32)).reshape(-1, side, side)
        if self._centrosymmetric:
            return np.concatenate([filled, filled[:, ::-1, ::-1]])
        return filled

    def _stencils(self, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels from which to interpolate in each direction, and their weights."""
        h, side = self.half_width, 2 * self.half_width + 1
        x, y = (np.clip(c * h, -h, h) for c in direction_to_lambert(directions))
        # A rounding error off a pixel would cost an interpolation.
        x, y = (np.where(np.abs(c - c.round()) < 1e-6, c.round(), c) for c in (x, y))
        lower = directions[:, 2] < -1e-9
        first_row, row_weights = _cubic_weights(y)
        first_column, column_weights = _cubic_weights(x)
        nodes, weights = [], []
        for a, b in np.ndindex(4, 4):
            pixel = _fold(lower, first_row + a, first_column + b, h)
            nodes.append(np.ravel_multi_index(pixel, (2, side, side), mode="clip"))
            weights.append(row_weights[a] * column_weights[b])
        weights = np.stack(weights, axis=1)
        weights[np.abs(weights) < 1e-12] = 0
        return np.stack(nodes, axis=1), weights


def _representatives(directions: np.ndarray, operations: np.ndarray) -> np.ndarray:
    """Of equivalent directions the one nearest to a generic direction."""
    nearness = directions @ (operations.transpose(0, 2, 1) @ _GENERIC).T  # (R d) . w
    # On a mirror plane two are equally near: any will do, but rounding must not choose.
    best = (nearness > nearness.max(axis=1, keepdims=True) - 1e-9).argmax(axis=1)
    return np.einsum("nij,nj->ni", operations[best], directions)


def _cubic_weights(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First of four neighbouring pixels, and their weights in a cubic Lagrange interpolation."""
    start = np.floor(x).astype(int) - 1
    f = x - start - 1
    weights = [
        -f * (f - 1) * (f - 2) / 6,
        (f + 1) * (f - 1) * (f - 2) / 2,
        -(f + 1) * f * (f - 2) / 2,
        (f + 1) * f * (f - 1) / 6,
    ]
    return start, np.stack(weights)


def _fold(lower, i, j, half_width):
    """Hemisphere, row and column of pixels that may lie beyond the equator."""
    beyond_i, beyond_j = np.abs(i) > half_width, np.abs(j) > half_width
    i = np.where(beyond_i, np.sign(i) * 2 * half_width - i, i)
    j = np.where(beyond_j, np.sign(j) * 2 * half_width - j, j)
    return (lower ^ beyond_i ^ beyond_j).astype(int), i + half_width, j + half_width


def operations_of_phase(phase: Phase) -> np.ndarray:
    """Operations of a phase's point group in the Cartesian frame of its lattice.

    Parameters
    ----------
    phase
        Phase with a space group.

    Returns
    -------
    operations
        Orthogonal matrices, proper and improper, of shape (n, 3, 3).

    Raises
    ------
    ValueError
        If an operation is no isometry of the lattice.
    """
    fractional = np.unique([op.R for op in phase.space_group.symop_list], axis=0)
    base = phase.structure.lattice.base  # rows are the lattice vectors
    operations = base.T @ fractional @ np.linalg.inv(base.T)
    if not np.allclose(operations @ operations.transpose(0, 2, 1), np.eye(3), atol=1e-3):
        raise ValueError(
            f"{phase.name}: the lattice {phase.structure.lattice.abcABG()} has not the symmetry of "
            f"space group {phase.space_group.number}. Give the lattice in the group's setting."
        )
    # Rounding makes phases of one point group share a grid, whatever their lattice parameters.
    return operations.round(9) + 0.0


def symmetric_grid(phase: Phase, half_width: int) -> SymmetricGrid:
    """Grid of the independent pixels of a phase's master pattern.

    Parameters
    ----------
    phase
        Phase with a space group.
    half_width
        Pixels from the centre of a map to its edge.

    Returns
    -------
    grid
        Grid, kept for the next phase with the same operations.
    """
    return grid_of_operations(operations_of_phase(phase), half_width)


def grid_of_operations(operations: np.ndarray, half_width: int) -> SymmetricGrid:
    """Grid of the independent pixels under the operations of a point group.

    Parameters
    ----------
    operations
        From :func:`operations_of_phase`.
    half_width
        Pixels from the centre of a map to its edge.

    Returns
    -------
    grid
        Grid, kept for the next call with the same operations.
    """
    return _cached_grid(np.ascontiguousarray(operations, float).tobytes(), int(half_width))


@lru_cache(maxsize=4)
def _cached_grid(operations: bytes, half_width: int) -> SymmetricGrid:
    return SymmetricGrid(np.frombuffer(operations).reshape(-1, 3, 3), half_width)
