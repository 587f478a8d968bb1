# SPDX-License-Identifier: GPL-3.0-or-later

"""Images that hold no pattern of one crystal, to judge whether they are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter, zoom

from kikuchipy_cnn.simulation.camera import disturb
from kikuchipy_cnn.simulation.disturbances import Disturbances
from kikuchipy_cnn.simulation.sampler import PatternSampler

# Largest blur of noise, in units of the pattern's width.
_NOISE_BLUR = 0.04
# Values across a pattern of what varies slowly.
_KNOTS = (3, 7)
# Exponents of the power spectra of textures; real images of rough surfaces have about 2.
_EXPONENTS = (1.0, 3.0)
# Share of a blocked detector that still sees the screen.
_VISIBLE = (0.0, 0.15)
_EQUAL_SHARES = (0.4, 0.5)


def sample_non_patterns(kind: str, sampler: PatternSampler, n: int, seed: int = 0) -> np.ndarray:
    """Simulate images in which no single crystal shows, as a camera records them.

    Parameters
    ----------
    kind
        ``"noise"``, white or correlated; ``"featureless"``, brightness that varies slowly, with
        noise, as from a pore, resin or an amorphous layer; ``"texture"``, fractal images, as of
        scratches or of a surface; ``"blocked"``, a pattern of which a shadow leaves at most 15 %;
        ``"overlap"``, patterns of two phases in about equal shares.
    sampler
        Source of patterns, whose shape, disturbances and phases are used.
    n
        How many.
    seed
        Seed of the random numbers.

    Returns
    -------
    images
        Images of shape (n, rows, columns) and data type float32.

    Raises
    ------
    ValueError
        If there is no such kind.

    Examples
    --------
    >>> import numpy as np
    >>> from kikuchipy_cnn import simulation
    >>> library = simulation.load_library()
    >>> master_patterns = np.stack([library["Ni"], library["W"]])
    >>> sampler = simulation.PatternSampler(
    ...     master_patterns, [0.5, 0.5], size=64, seed=1
    ... )
    >>> list(simulation.NON_PATTERNS)
    ['noise', 'featureless', 'texture', 'blocked', 'overlap']
    >>> images = simulation.sample_non_patterns("texture", sampler, 3)
    >>> images.shape
    (3, 64, 64)
    """
    if kind not in _SOURCES:
        raise ValueError(f"kind={kind!r} is none of {', '.join(map(repr, NON_PATTERNS))}.")
    rng = np.random.default_rng([seed, NON_PATTERNS.index(kind)])
    return _SOURCES[kind](sampler, n, rng)


def _noise(sampler: PatternSampler, n: int, rng: np.random.Generator) -> np.ndarray:
    rows, columns = sampler.shape
    images = rng.standard_normal((n, rows, columns), np.float32)
    # Most detectors' noise is hardly correlated.
    for image, sigma in zip(images, _NOISE_BLUR * rng.random(n) ** 2, strict=True):
        gaussian_filter(image, sigma * columns, output=image)
    return disturb(images, sampler.disturbances, rng)


def _featureless(sampler: PatternSampler, n: int, rng: np.random.Generator) -> np.ndarray:
    rows, columns = sampler.shape
    images = np.empty((n, rows, columns), np.float32)
    for image in images:
        knots = rng.standard_normal([rng.integers(*_KNOTS, endpoint=True)] * 2)
        image[:] = zoom(
            knots, np.array(sampler.shape) / knots.shape, grid_mode=True, mode="reflect"
        )
    return disturb(images, _with_some_noise(sampler.disturbances), rng)


def _texture(sampler: PatternSampler, n: int, rng: np.random.Generator) -> np.ndarray:
    rows, columns = sampler.shape
    frequency = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns))
    frequency[0, 0] = np.inf
    exponents = rng.uniform(*_EXPONENTS, (n, 1, 1))
    spectra = np.fft.rfft2(rng.standard_normal((n, rows, columns)))
    images = np.fft.irfft2(spectra * frequency ** (-exponents / 2), s=(rows, columns))
    return disturb(images, sampler.disturbances, rng)


def _blocked(sampler: PatternSampler, n: int, rng: np.random.Generator) -> np.ndarray:
    rows, columns = sampler.shape
    # The sampler's own numbers and settings are left as they are.
    images = sampler.copy(int(rng.integers(2**31))).sample(n).patterns
    y, x = np.mgrid[:rows, :columns] - (np.array(sampler.shape) - 1)[:, None, None] / 2
    angles = rng.uniform(0, 2 * np.pi, n)
    for image, angle, visible in zip(images, angles, rng.uniform(*_VISIBLE, n), strict=True):
        distance = x * np.cos(angle) + y * np.sin(angle)
        dark = distance <= np.quantile(distance, 1 - visible)
        # What does not see the screen has the camera's noise and little else.
        image[dark] = image.min() + rng.normal(0, 0.1 * image.std(), np.count_nonzero(dark))
    return images


def _overlap(sampler: PatternSampler, n: int, rng: np.random.Generator) -> np.ndarray:
    disturbances = sampler.disturbances
    mixed = replace(disturbances, overlap=1.0, overlap_other=1.0, overlap_weight=_EQUAL_SHARES)
    other = sampler.copy(int(rng.integers(2**31)), mixed)
    return other.sample(n).patterns


def _with_some_noise(disturbances: Disturbances) -> Disturbances:
    """No camera is without noise, which is all that there is here."""
    low, high = disturbances.noise
    return replace(disturbances, noise=(max(low, 0.1), max(high, 0.2)))


_SOURCES: dict[str, Callable[[PatternSampler, int, np.random.Generator], np.ndarray]] = {
    "noise": _noise,
    "featureless": _featureless,
    "texture": _texture,
    "blocked": _blocked,
    "overlap": _overlap,
}
NON_PATTERNS = tuple(_SOURCES)
