# SPDX-License-Identifier: GPL-3.0-or-later

"""Patterns as a camera gives them, from master patterns.

With orientations spread evenly over all rotations, the tilts of sample and detector change nothing:
the projection center alone sets the geometry.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kikuchipy_cnn.simulation.camera import Cameras
from kikuchipy_cnn.simulation.disturbances import Disturbances
from kikuchipy_cnn.simulation.projection import (
    as_master_patterns,
    detector_geometry,
    project,
    random_rotations,
    strained,
)

if TYPE_CHECKING:
    from kikuchipy.detectors import EBSDDetector

_MINIMUM_SIDE = 8


class SimulatedPatterns(NamedTuple):
    """Patterns and all that is known of them.

    Parameters
    ----------
    patterns
        Patterns of shape (n, rows, columns) and data type float32.
    weights
        1 where there is signal and 0 elsewhere, of the same shape.
    phases
        Index of each one's master pattern, of shape (n,).
    rotations
        Matrices from the detector's frame (x right, y up, z to the detector from the sample) to the
        crystal's, of shape (n, 3, 3).
    geometry
        PCx, PCy and PCz in Bruker's convention and stretch, of shape (n, 4).
    overlaps
        Share of a second grain in the intensity, 0 where there is none, of shape (n,).
    """

    patterns: np.ndarray
    weights: np.ndarray
    phases: np.ndarray
    rotations: np.ndarray
    geometry: np.ndarray
    overlaps: np.ndarray


class PatternSampler:
    """Source of simulated patterns, each one new.

    Parameters
    ----------
    master_patterns
        Square Lambert projections, rows along y: of shape (phases, side, side), the upper
        hemispheres of centrosymmetric crystals, or (phases, 2, side, side), the upper and lower
        ones of any crystals, in which (x, y, z) and (x, y, -z) lie on the same pixel. Data type
        uint8, which takes least memory, or float32.
    probabilities
        How often to draw each master pattern, of shape (phases,).
    size
        Side of square patterns, or rows and columns, in pixels. If not given, the shape of the
        detector.
    disturbances
        Ranges of geometry and imperfections. If not given, the default ones.
    seed
        Seed of the random numbers.
    detector
        Detector whose projection centers are drawn from, instead of from the ranges, and
        disturbed by *pc_spread*. Where its shape is not that of the patterns, it lies in their
        middle, as large as it fits, as in :class:`~kikuchipy_cnn.PatternTransform`. Binning and
        pixel size have no influence, since projection centers are relative to the shape, nor have
        tilts.
    workers
        Number of threads, on which the patterns do not depend. If not given, one for each
        processor.

    Raises
    ------
    ValueError
        If master patterns, probabilities, size or detector are unusable.

    Examples
    --------
    >>> import numpy as np
    >>> from kikuchipy_cnn import simulation
    >>> library = simulation.load_library()
    >>> master_patterns = np.stack([library["Ni"], library["W"]])
    >>> sampler = simulation.PatternSampler(
    ...     master_patterns, [0.5, 0.5], size=64, seed=1
    ... )
    >>> sample = sampler.sample(4)
    >>> sample.patterns.shape, sample.weights.shape
    ((4, 64, 64), (4, 64, 64))
    >>> sample.rotations.shape, sample.geometry.shape
    ((4, 3, 3), (4, 4))
    """

    def __init__(
        self,
        master_patterns: np.ndarray,
        probabilities: np.ndarray,
        size: int | tuple[int, int] | None = None,
        disturbances: Disturbances | None = None,
        seed: int | None = None,
        *,
        detector: EBSDDetector | None = None,
        workers: int | None = None,
    ) -> None:
        self.master_patterns = as_master_patterns(master_patterns)
        self.probabilities = _as_probabilities(probabilities, len(self.master_patterns))
        self.shape = _as_shape(size, detector)
        self.disturbances = disturbances or Disturbances()
        self.workers = workers
        self._detector = None if detector is None else _Placed(detector, self.shape)
        self._rng = np.random.default_rng(seed)

    def reseed(self, seed: int | Sequence[int]) -> None:
        """Start the random numbers anew, so that what follows depends on this seed alone.

        Parameters
        ----------
        seed
            One or more integers.
        """
        self._rng = np.random.default_rng(seed)

    def copy(self, seed: int, disturbances: Disturbances | None = None) -> PatternSampler:
        """Return a sampler of the same patterns with random numbers of its own.

        Parameters
        ----------
        seed
            Seed of its random numbers.
        disturbances
            Its disturbances. If not given, those of this one.

        Returns
        -------
        sampler
            Sampler that shares the master patterns with this one.
        """
        other = copy.copy(self)
        other.disturbances = self.disturbances if disturbances is None else disturbances
        other.reseed(seed)
        return other

    def sample(self, n: int) -> SimulatedPatterns:
        """Draw patterns.

        Parameters
        ----------
        n
            How many.

        Returns
        -------
        sample
            Patterns, where they carry signal, their phases and geometry.
        """
        phases = self._draw_phases(n)
        rotations = random_rotations(n, self._rng)
        geometry = self._draw_geometry(n)
        patterns = self._project(phases, rotations, geometry)
        overlaps = self._overlap(patterns, phases, geometry)
        cameras = Cameras.draw(self.disturbances, n, self._rng)
        patterns = cameras.record(patterns, self._rng, workers=self.workers)
        weights = cameras.weights(n, self.shape, workers=self.workers)
        if self._detector is not None:
            self._detector.blank_surroundings(weights)
        return SimulatedPatterns(patterns, weights, phases, rotations, geometry, overlaps)

    def _draw_phases(self, n: int) -> np.ndarray:
        return self._rng.choice(len(self.probabilities), size=n, p=self.probabilities)

    def _draw_geometry(self, n: int) -> np.ndarray:
        rng, d = self._rng, self.disturbances
        if self._detector is None:
            pcx, pcy = (rng.uniform(*limits, n) for limits in (d.pcx, d.pcy))
            pcz = np.exp(rng.uniform(*np.log(d.pcz), n))
        else:
            spread = rng.uniform(*d.pc_spread, n)
            pcx, pcy, pcz = self._detector.draw_centers(spread, rng).T
        stretch = rng.uniform(*d.stretch, n)
        return np.stack([pcx, pcy, pcz, stretch], axis=1).astype(np.float32)

    def _project(
        self, phases: np.ndarray, rotations: np.ndarray, geometry: np.ndarray
    ) -> np.ndarray:
        """Project strained crystals."""
        matrices = strained(rotations, self._draw_strains(len(phases)))
        return project(
            self.master_patterns, phases, matrices, geometry, self.shape, workers=self.workers
        )

    def _draw_strains(self, n: int) -> np.ndarray:
        """Symmetric matrices without a trace; a change of volume would show nowhere."""
        strains = self._rng.standard_normal((n, 3, 3))
        strains += strains.transpose(0, 2, 1)
        strains -= np.trace(strains, axis1=1, axis2=2)[:, None, None] / 3 * np.eye(3)
        norm = self._rng.uniform(*self.disturbances.strain, n)
        return strains * (norm / np.linalg.norm(strains, axis=(1, 2)))[:, None, None]

    def _overlap(
        self, patterns: np.ndarray, phases: np.ndarray, geometry: np.ndarray
    ) -> np.ndarray:
        """Mix some patterns, in place, with those of second grains, and return the shares."""
        rng, d = self._rng, self.disturbances
        n = len(patterns)
        mixed = np.flatnonzero(rng.random(n) < d.overlap)
        other = rng.random(len(mixed)) < d.overlap_other
        second_phases = np.where(other, self._draw_phases(len(mixed)), phases[mixed])
        rotations = random_rotations(len(mixed), rng)
        second = self._project(second_phases, rotations, geometry[mixed])
        overlaps = np.zeros(n, np.float32)
        overlaps[mixed] = rng.uniform(*d.overlap_weight, len(mixed))
        share = overlaps[mixed, None, None]
        # Master patterns of two phases need not have the same scale.
        patterns[mixed] = (1 - share) * _standardised(patterns[mixed]) + share * _standardised(
            second
        )
        return overlaps


class _Placed:
    """A detector in the middle of patterns of another shape."""

    def __init__(self, detector: EBSDDetector, shape: tuple[int, int]) -> None:
        rows, cols = detector.shape
        # Pixels of the detector in one of the patterns.
        self._scale = max(rows / shape[0], cols / shape[1])
        self._shape, self._detector_shape = shape, (rows, cols)
        self._centers = detector_geometry(detector)[:, :3]

    def draw_centers(self, spread: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Projection centers in terms of the patterns, of shape (n, 3)."""
        n = len(spread)
        chosen = self._centers[rng.integers(len(self._centers), size=n)]
        x, y, z = (chosen + spread[:, None] * rng.standard_normal((n, 3))).T
        (rows, cols), (to_rows, to_cols) = self._detector_shape, self._shape
        height, width = self._scale * to_rows, self._scale * to_cols
        # However wide the spread, no detector is in the sample or behind it.
        z = np.maximum(z, 0.1 * chosen[:, 2])
        return np.stack(
            [0.5 + (x - 0.5) * cols / width, 0.5 + (y - 0.5) * rows / height, z * rows / height],
            axis=1,
        )

    def blank_surroundings(self, weights: np.ndarray) -> None:
        """Set weights beside the detector to 0, in place."""
        for axis in (1, 2):
            n = self._shape[axis - 1]
            from_middle = np.abs(np.arange(n) + 0.5 - n / 2)
            outside = from_middle * self._scale > self._detector_shape[axis - 1] / 2
            if axis == 1:
                weights[:, outside] = 0
            else:
                weights[:, :, outside] = 0


def _standardised(images: np.ndarray) -> np.ndarray:
    images = images - images.mean(axis=(1, 2), keepdims=True)
    return images / np.maximum(images.std(axis=(1, 2), keepdims=True), 1e-6)


def _as_probabilities(probabilities: np.ndarray, n: int) -> np.ndarray:
    probabilities = np.asarray(probabilities, dtype=float)
    if probabilities.shape != (n,):
        raise ValueError(
            f"{n} master patterns, but {probabilities.size} probabilities"
            f"{'' if probabilities.ndim == 1 else f' of shape {probabilities.shape}'}."
        )
    if not (np.isfinite(probabilities).all() and probabilities.min() >= 0 < probabilities.sum()):
        raise ValueError("Probabilities are finite, not negative, and one of them is not 0.")
    return probabilities / probabilities.sum()


def _as_shape(size: int | tuple[int, int] | None, detector: EBSDDetector | None) -> tuple[int, int]:
    from kikuchipy.detectors import EBSDDetector

    if detector is not None and not isinstance(detector, EBSDDetector):
        raise ValueError(
            f"detector={detector!r}, but a kikuchipy.detectors.EBSDDetector is needed."
        )
    if size is None:
        if detector is None:
            raise ValueError("Give the size of the patterns or a detector.")
        size = detector.shape
    shape = (size, size) if np.ndim(size) == 0 else tuple(size)
    if len(shape) != 2 or any(x != int(x) or x < _MINIMUM_SIDE for x in shape):
        raise ValueError(
            f"size={size!r}; give one or two integers, of at least {_MINIMUM_SIDE} pixels."
        )
    return int(shape[0]), int(shape[1])
