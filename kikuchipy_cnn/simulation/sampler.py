"""Patterns as a camera gives them, from master patterns.

With orientations spread evenly over all rotations, the tilts of sample and detector change nothing:
the projection center alone sets the geometry.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numba as nb
import numpy as np
from orix.quaternion import Rotation


@dataclass(frozen=True)
class Disturbances:
    """Ranges from which the geometry and the imperfections of each pattern are drawn.

    All ranges are (lowest, highest); lengths are in units of the pattern's width.

    Parameters
    ----------
    pcx, pcy
        Projection center from the left and from the top, in Bruker's convention.
    pcz
        Distance of the detector; its logarithm is drawn evenly.
    stretch
        Relative difference of the scales along rows and columns.
    blur
        Standard deviation of the point spread function.
    band_loss
        Fraction of the broad contrast of bands that is lost. In patterns of cameras the inside of a
        band is less bright, against its fine lines, than in simulations, or even dark. A loss of
        0.8 fits the nickel patterns of kikuchipy best.
    band_width
        Standard deviation of what is broad.
    asymmetry
        Strength of the difference between the two edges of a band (excess and deficiency).
    noise
        Standard deviation of the noise relative to that of the pattern; its square root is drawn
        evenly.
    noise_blur
        Standard deviation of the correlation of the noise.
    gradient
        Amplitude of slowly varying brightness, relative to the pattern's standard deviation.
    contrast
        Amplitude of slowly varying contrast.
    saturation
        Standard deviations at which bright zone axes level off.
    gamma
        Curvature of a non-linear response; 0 is linear.
    circular
        Fraction of patterns from a circular detector.
    wide
        Fraction of patterns from a detector wider than high.
    """

    pcx: tuple[float, float] = (0.4, 0.6)
    pcy: tuple[float, float] = (0.08, 0.6)
    pcz: tuple[float, float] = (0.42, 1.1)
    stretch: tuple[float, float] = (-0.03, 0.03)
    blur: tuple[float, float] = (0.0, 0.02)
    band_loss: tuple[float, float] = (-0.3, 1.6)
    band_width: tuple[float, float] = (0.015, 0.05)
    asymmetry: tuple[float, float] = (-0.6, 0.6)
    noise: tuple[float, float] = (0.0, 1.6)
    noise_blur: tuple[float, float] = (0.0, 0.008)
    gradient: tuple[float, float] = (0.0, 1.0)
    contrast: tuple[float, float] = (0.0, 0.6)
    saturation: tuple[float, float] = (1.5, 5.0)
    gamma: tuple[float, float] = (-0.25, 0.25)
    circular: float = 0.3
    wide: float = 0.15

    def scaled(self, severity: float) -> Disturbances:
        """Shrink imperfections to a fraction of their ranges, and geometry towards its middle."""
        imperfections = (
            "blur",
            "band_loss",
            "asymmetry",
            "noise",
            "gradient",
            "contrast",
            "gamma",
        )
        limits = {name: tuple(severity * x for x in getattr(self, name)) for name in imperfections}
        for name in ("pcx", "pcy", "pcz"):
            low, high = getattr(self, name)
            middle, half = (low + high) / 2, (high - low) / 2
            limits[name] = (middle - severity * half, middle + severity * half)
        return replace(self, **limits)


class SimulatedPatterns(NamedTuple):
    """Patterns and all that is known of them.

    Parameters
    ----------
    patterns
        Patterns of shape (n, size, size) and data type float32.
    weights
        1 where there is signal and 0 elsewhere, of the same shape.
    phases
        Index of each one's master pattern, of shape (n,).
    rotations
        Matrices from the detector's frame (x right, y up, z to the detector from the sample) to the
        crystal's, of shape (n, 3, 3).
    geometry
        PCx, PCy, PCz and stretch, of shape (n, 4).
    """

    patterns: np.ndarray
    weights: np.ndarray
    phases: np.ndarray
    rotations: np.ndarray
    geometry: np.ndarray


class PatternSampler:
    """Source of simulated patterns, each one new.

    Parameters
    ----------
    master_patterns
        Square Lambert projections of the upper hemisphere of centrosymmetric crystals, of shape
        (phases, side, side) and data type float32.
    probabilities
        How often to draw each phase, of shape (phases,).
    size
        Side of the patterns in pixels.
    disturbances
        Ranges of geometry and imperfections. If not given, the default ones.
    seed
        Seed of the random numbers.
    """

    def __init__(
        self,
        master_patterns: np.ndarray,
        probabilities: np.ndarray,
        size: int,
        disturbances: Disturbances | None = None,
        seed: int | None = None,
    ) -> None:
        probabilities = np.asarray(probabilities, dtype=float)
        if len(probabilities) != len(master_patterns):
            raise ValueError(
                f"{len(master_patterns)} master patterns, but {len(probabilities)} probabilities."
            )
        self.master_patterns = np.ascontiguousarray(master_patterns, dtype=np.float32)
        self.probabilities = probabilities / probabilities.sum()
        self.size = int(size)
        self.disturbances = disturbances or Disturbances()
        self._rng = np.random.default_rng(seed)

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
        rng, d = self._rng, self.disturbances
        phases = rng.choice(len(self.probabilities), size=n, p=self.probabilities)
        rotations = _random_rotations(n, rng).to_matrix().astype(np.float32)
        pcx, pcy = (rng.uniform(*limits, n) for limits in (d.pcx, d.pcy))
        pcz = np.exp(rng.uniform(*np.log(d.pcz), n))
        stretch = rng.uniform(*d.stretch, n)
        geometry = np.stack([pcx, pcy, pcz, stretch], axis=1).astype(np.float32)
        patterns = np.empty((n, self.size, self.size), np.float32)
        project(self.master_patterns, phases, rotations, geometry, patterns)
        patterns = self._disturb(_unit(patterns))
        return SimulatedPatterns(patterns, self._weights(n), phases, rotations, geometry)

    def _disturb(self, patterns: np.ndarray) -> np.ndarray:
        n, size, rng, d = len(patterns), self.size, self._rng, self.disturbances

        def draw(limits):
            return rng.uniform(*limits, n).astype(np.float32)[:, None, None]

        # Bands are brighter on the side turned to the beam: add a derivative along its direction.
        angle = rng.normal(0, 0.4, n).astype(np.float32)[:, None, None]
        dy, dx = np.gradient(patterns, axis=(1, 2))
        patterns = patterns + draw(d.asymmetry) * (np.cos(angle) * dy + np.sin(angle) * dx)
        patterns = _blur(patterns, draw(d.blur) * size)
        broad = _blur(patterns, draw(d.band_width) * size)
        patterns = _unit(patterns - draw(d.band_loss) * broad)
        saturation = draw(d.saturation)
        patterns = _unit(saturation * np.tanh(_unit(patterns) / saturation))
        patterns = patterns * np.exp(draw(d.contrast) * self._slow(n))
        gamma = draw(d.gamma)
        gamma = np.where(np.abs(gamma) < 1e-3, np.float32(1e-3), gamma)
        bent = np.expm1(gamma * patterns) / gamma
        noise = rng.standard_normal(patterns.shape, dtype=np.float32)
        noise = _unit(_blur(noise, draw(d.noise_blur) * size))
        level = draw(tuple(np.sqrt(d.noise))) ** 2
        return _unit(bent) + level * noise + draw(d.gradient) * self._slow(n)

    def _slow(self, n: int) -> np.ndarray:
        """Random fields that vary over a third of the pattern or more."""
        coarse = self._rng.standard_normal((n, 4, 4)).astype(np.float32)
        x = np.linspace(-0.5, 3.5, self.size)[:, None]
        basis = np.exp(-0.5 * ((x - np.arange(4)) / 0.8) ** 2).astype(np.float32)
        return _unit(basis @ coarse @ basis.T)

    def _weights(self, n: int) -> np.ndarray:
        rng, d, size = self._rng, self.disturbances, self.size
        y, x = np.mgrid[:size, :size] - (size - 1) / 2
        weights = np.ones((n, size, size), np.float32)
        circular = np.flatnonzero(rng.random(n) < d.circular)
        radius = rng.uniform(0.46, 0.5, len(circular)) * size
        weights[circular] = np.hypot(x, y) < radius[:, None, None]
        wide = np.flatnonzero(rng.random(n) < d.wide)
        height = rng.uniform(0.375, 0.48, len(wide)) * size
        weights[wide] *= np.abs(y) < height[:, None, None]
        return weights


def _random_rotations(n: int, rng: np.random.Generator) -> Rotation:
    return Rotation(rng.standard_normal((n, 4)))


def _unit(images: np.ndarray) -> np.ndarray:
    images = images - images.mean(axis=(1, 2), keepdims=True)
    return images / np.maximum(images.std(axis=(1, 2), keepdims=True), 1e-6)


def _blur(images: np.ndarray, sigma: np.ndarray | float) -> np.ndarray:
    """Gaussian filters, one width per image."""
    size = images.shape[1]
    x = np.arange(size, dtype=np.float32)
    sigma = np.maximum(np.asarray(sigma, np.float32), 0.05).reshape(-1, 1, 1)
    operator = np.exp(-0.5 * ((x[:, None] - x) / sigma) ** 2)
    operator /= operator.sum(axis=2, keepdims=True)
    # Products with denormal numbers are a hundred times slower.
    operator[operator < 1e-6] = 0
    return operator @ images @ np.ascontiguousarray(operator.transpose(0, 2, 1))


@nb.njit(cache=True, nogil=True, fastmath=True)
def project(master_patterns, phases, rotations, geometry, out):
    """Project master patterns onto flat detectors, in place, with bilinear interpolation.

    Parameters
    ----------
    master_patterns
        Lambert projections of shape (phases, side, side).
    phases
        Index of the master pattern of each pattern, of shape (n,).
    rotations
        Matrices from the detector's frame (x right, y up, z to the detector from the sample) to the
        crystal's, of
        shape (n, 3, 3).
    geometry
        PCx, PCy, PCz and the stretch of each pattern, of shape (n, 4).
    out
        Patterns of shape (n, size, size) to fill.
    """
    half = (master_patterns.shape[1] - 1) / 2
    size = out.shape[1]
    for n in range(out.shape[0]):
        master = master_patterns[phases[n]]
        r = rotations[n]
        pcx, pcy, pcz, stretch = geometry[n, 0], geometry[n, 1], geometry[n, 2], geometry[n, 3]
        for i in range(size):
            y = (pcy - (i + 0.5) / size) * (1 - stretch / 2) / pcz
            for j in range(size):
                x = ((j + 0.5) / size - pcx) * (1 + stretch / 2) / pcz
                a = r[0, 0] * x + r[0, 1] * y + r[0, 2]
                b = r[1, 0] * x + r[1, 1] * y + r[1, 2]
                c = r[2, 0] * x + r[2, 1] * y + r[2, 2]
                u, v = _lambert(a, b, c)
                u, v = u * half + half, v * half + half
                k, m = min(int(u), 2 * int(half) - 1), min(int(v), 2 * int(half) - 1)
                fu, fv = u - k, v - m
                out[n, i, j] = (1 - fu) * ((1 - fv) * master[k, m] + fv * master[k, m + 1]) + fu * (
                    (1 - fv) * master[k + 1, m] + fv * master[k + 1, m + 1]
                )


@nb.njit(nogil=True, fastmath=True)
def _lambert(a, b, c):
    """Square Lambert coordinates of a direction, in [-1, 1], by inversion in the upper half."""
    norm = np.sqrt(a * a + b * b + c * c)
    scale = np.sqrt(max(1 - abs(c) / norm, 0.0))
    if abs(a) >= abs(b):
        if a == 0:
            return 0.0, 0.0
        u = np.copysign(scale, a)
        return u, u * 4 / np.pi * np.arctan(b / a)
    v = np.copysign(scale, b)
    return v * 4 / np.pi * np.arctan(a / b), v
