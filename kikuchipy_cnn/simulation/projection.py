# SPDX-License-Identifier: GPL-3.0-or-later

"""Projection of master patterns onto flat detectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from orix.quaternion import Rotation

from kikuchipy_cnn.simulation._images import arctan
from kikuchipy_cnn.simulation._threads import compiled, in_slices

if TYPE_CHECKING:
    from kikuchipy.detectors import EBSDDetector


def as_master_patterns(master_patterns: np.ndarray) -> np.ndarray:
    """Bring master patterns into the form that :func:`project` takes.

    Parameters
    ----------
    master_patterns
        Square Lambert projections, rows along y and columns along x: of the upper hemispheres, of
        shape (phases, side, side), or of the upper and the lower ones, of shape (phases, 2, side,
        side). A direction (x, y, -z) lies in the lower one where (x, y, z) lies in the upper one,
        as in EMsoft and kikuchipy.

    Returns
    -------
    master_patterns
        Contiguous array of shape (phases, 1 or 2, side, side) and data type uint8 as it was, or
        float32.

    Raises
    ------
    ValueError
        If the shape is another one.
    """
    array = np.asarray(master_patterns)
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4 or array.shape[1] not in (1, 2) or array.shape[2] != array.shape[3]:
        raise ValueError(
            f"Master patterns of shape {np.shape(master_patterns)} given. Give (phases, side, side)"
            ", or (phases, 2, side, side) with both hemispheres."
        )
    if 0 in array.shape or array.shape[2] < 3:
        raise ValueError(
            f"Master patterns of shape {np.shape(master_patterns)} given. Give at least one, of at "
            "least 3 x 3 pixels."
        )
    return np.ascontiguousarray(array, dtype=None if array.dtype == np.uint8 else np.float32)


def random_rotations(n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw rotations evenly from all.

    Parameters
    ----------
    n
        How many.
    rng
        Source of random numbers.

    Returns
    -------
    matrices
        Rotation matrices of shape (n, 3, 3) and data type float32.
    """
    # A normal distribution in four dimensions has no preferred direction.
    return Rotation(rng.standard_normal((n, 4))).to_matrix().astype(np.float32)


def strained(rotations: np.ndarray, strains: np.ndarray) -> np.ndarray:
    """Matrices that look up an unstrained crystal's master pattern for a strained crystal.

    A strain deforms the crystal by I + e and lattice planes' normals g by the inverse transpose of
    this. So a strained plane contains a direction d, g' . d = 0, where the unstrained one contains
    the inverse of I + e times d.

    Parameters
    ----------
    rotations
        Matrices from the detector's to the crystal's frame, of shape (n, 3, 3).
    strains
        Symmetric matrices e in the crystal's frame, of shape (n, 3, 3).

    Returns
    -------
    matrices
        Matrices for :func:`project`, of shape (n, 3, 3) and data type float32.
    """
    return np.linalg.solve(np.eye(3) + strains, rotations).astype(np.float32)


def detector_geometry(detector: EBSDDetector) -> np.ndarray:
    """Geometries of all projection centers of a detector.

    Parameters
    ----------
    detector
        Detector of any navigation shape.

    Returns
    -------
    geometry
        PCx, PCy and PCz in Bruker's convention and a stretch of 0, of shape (n, 4).
    """
    centers = detector.pc_flattened
    return np.column_stack([centers, np.zeros(len(centers))])


def detector_to_crystal(rotations: Rotation, detector: EBSDDetector) -> np.ndarray:
    """Matrices from the detector's frame to the crystal's.

    Parameters
    ----------
    rotations
        Orientations from the sample's to the crystal's frame, as in orix and kikuchipy, n in all.
    detector
        Detector, whose tilts and that of the sample count.

    Returns
    -------
    matrices
        Rotation matrices from the detector's frame (x right, y up, z from the sample to the
        detector) to the crystal's, of shape (n, 3, 3) and data type float32.
    """
    return (rotations.flatten().to_matrix() @ _detector_to_sample(detector)).astype(np.float32)


def sample_to_crystal(matrices: np.ndarray, detector: EBSDDetector) -> Rotation:
    """Orientations from matrices of :func:`detector_to_crystal`.

    Parameters
    ----------
    matrices
        Rotation matrices from the detector's to the crystal's frame, of shape (n, 3, 3).
    detector
        Detector, whose tilts and that of the sample count.

    Returns
    -------
    rotations
        From the sample's to the crystal's frame, as in orix and kikuchipy, n in all.
    """
    return Rotation.from_matrix(matrices @ _detector_to_sample(detector).T)


def _detector_to_sample(detector: EBSDDetector) -> np.ndarray:
    return (~detector.sample_to_detector).to_matrix().reshape(3, 3)


def project(
    master_patterns: np.ndarray,
    phases: np.ndarray,
    matrices: np.ndarray,
    geometry: np.ndarray,
    shape: tuple[int, int],
    *,
    workers: int | None = None,
) -> np.ndarray:
    """Project master patterns onto flat detectors, with bilinear interpolation.

    Parameters
    ----------
    master_patterns
        As :func:`as_master_patterns` takes them. Where there is the upper hemisphere only, opposite
        directions are equivalent.
    phases
        Index of the master pattern of each pattern, of shape (n,).
    matrices
        Matrices from the detector's frame (x right, y up, z from the sample to the detector) to
        the crystal's, of shape (n, 3, 3). Strained crystals' are no rotations.
    geometry
        PCx, PCy and PCz in Bruker's convention (in widths from the left, in heights from the top,
        in heights) and the relative difference of the scales along rows and columns, of shape (n,
        4).
    shape
        Rows and columns of the patterns.
    workers
        Number of threads. If not given, one for each processor.

    Returns
    -------
    patterns
        Patterns of shape (n, rows, columns) and data type float32.

    Raises
    ------
    ValueError
        If shapes do not fit together, there is no master pattern of an index, or the geometry is
        impossible.
    """
    master_patterns = as_master_patterns(master_patterns)
    phases = np.ascontiguousarray(phases, dtype=np.int64)
    matrices = np.ascontiguousarray(matrices, dtype=np.float32)
    geometry = np.ascontiguousarray(geometry, dtype=np.float32)
    n = len(phases)
    if matrices.shape != (n, 3, 3) or geometry.shape != (n, 4):
        raise ValueError(
            f"{n} phases, matrices of shape {matrices.shape} and geometry of shape "
            f"{geometry.shape} given. Give n phases, (n, 3, 3) and (n, 4)."
        )
    if n and not 0 <= phases.min() <= phases.max() < len(master_patterns):
        raise ValueError(
            f"Phases from {phases.min()} to {phases.max()} given, but there are "
            f"{len(master_patterns)} master patterns."
        )
    # What is not finite would be looked up anywhere in memory.
    if not (np.isfinite(matrices).all() and np.isfinite(geometry).all()):
        raise ValueError("Matrices or geometry are not finite. Give finite numbers.")
    if n and geometry[:, 2].min() <= 0:
        raise ValueError(f"PCz={geometry[:, 2].min():g}; the detector needs a distance above 0.")
    patterns = np.empty((n, *shape), np.float32)

    def project_slice(part: slice) -> None:
        _project(master_patterns, phases[part], matrices[part], geometry[part], patterns[part])

    in_slices(project_slice, n, workers)
    return patterns


_F = np.float32
_HALF, _ONE = _F(0.5), _F(1)
_FOUR_OVER_PI = _F(4 / np.pi)
_TINY = _F(1e-20)


@compiled
def _project(master_patterns, phases, matrices, geometry, out):
    n, rows, cols = out.shape
    side = master_patterns.shape[2]
    both = master_patterns.shape[1] == 2
    half, last = _F((side - 1) / 2), np.int32(side - 2)
    # Separate loops let the first be vectorised.
    at_x, at_y = np.empty(cols, np.float32), np.empty(cols, np.float32)
    start = np.empty(cols, np.int32)
    for p in range(n):
        master = master_patterns[phases[p]].reshape(-1)
        m = matrices[p]
        pcx, pcy, pcz, stretch = geometry[p, 0], geometry[p, 1], geometry[p, 2], geometry[p, 3]
        scale_x = _F(cols / rows) * (_ONE + stretch * _HALF) / pcz
        scale_y = (_ONE - stretch * _HALF) / pcz
        for i in range(rows):
            y = (pcy - _F((i + 0.5) / rows)) * scale_y
            a0, b0, c0 = m[0, 1] * y + m[0, 2], m[1, 1] * y + m[1, 2], m[2, 1] * y + m[2, 2]
            for j in range(cols):
                x = ((_F(j) + _HALF) / _F(cols) - pcx) * scale_x
                a, b, c = m[0, 0] * x + a0, m[1, 0] * x + b0, m[2, 0] * x + c0
                u, v = _lambert(a, b, c)
                # Without a lower hemisphere, the opposite direction is looked up.
                sign = half if both or c >= 0 else -half
                at_x[j] = u * sign + half
                at_y[j] = v * sign + half
                start[j] = np.int32(side * side if both and c < 0 else 0)
            row = out[p, i]
            for j in range(cols):
                k = max(min(np.int32(at_y[j]), last), np.int32(0))
                l = max(min(np.int32(at_x[j]), last), np.int32(0))
                fy, fx = at_y[j] - _F(k), at_x[j] - _F(l)
                # Unsigned, since a signed index might count from the end.
                first = np.uint32(start[j] + k * np.int32(side) + l)
                second = np.uint32(first + np.uint32(side))
                one = np.uint32(1)
                left, right = _F(master[first]), _F(master[first + one])
                upper = left + fx * (right - left)
                left, right = _F(master[second]), _F(master[second + one])
                lower = left + fx * (right - left)
                row[j] = upper + fy * (lower - upper)


@compiled
def _lambert(a, b, c):
    """Square Lambert coordinates, in [-1, 1], of a direction or its mirror image with c > 0.

    After Callahan and De Graef, Microsc. Microanal. 19 (2013) 1255.
    """
    square = a * a + b * b
    norm = np.sqrt(square + c * c)
    # The square root of 1 - abs(c) / norm, without its rounding error near the pole.
    radius = np.sqrt(square / (norm * (norm + abs(c))))
    size_a, size_b = abs(a), abs(b)
    longer = max(max(size_a, size_b), _TINY)
    share = radius * _FOUR_OVER_PI * arctan(min(size_a, size_b) / longer)
    u = radius if size_a >= size_b else share
    v = share if size_a >= size_b else radius
    return (-u if a < 0 else u), (-v if b < 0 else v)
