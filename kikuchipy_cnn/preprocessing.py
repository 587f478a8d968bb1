# SPDX-License-Identifier: GPL-3.0-or-later

"""From patterns as a camera gives them to the input of a network.

Training and inference share this one definition; it is stored with a model's weights.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter

from kikuchipy_cnn import _resampling

# Patterns that have to be copied are copied this many bytes at a time.
_BYTES_AT_ONCE = 2**25
# Images are standardised this many bytes at a time. With two spare copies they stay in the cache.
_BYTES_IN_CACHE = 2**18
# Smaller patterns do not resolve the bands of most phases.
MINIMUM_PATTERN_SIZE = 40


@dataclass(frozen=True)
class PatternTransform:
    """Preprocessing of EBSD patterns for a network.

    Static background, anti-aliased resize into a square with the aspect ratio kept, dynamic
    background, local contrast, clipping. Pixels without signal (outside a circular detector, or
    beside a pattern that is not square) count nowhere and become 0.

    Parameters
    ----------
    size
        Side of the square input of the network in pixels.
    background_sigma
        Standard deviation, in units of *size*, of the Gaussian whose local mean is subtracted. The
        default is where real patterns correlate best with simulated ones of the same phase,
        orientation and geometry: what varies more slowly differs between the two.
    contrast_sigma
        Standard deviation, in units of *size*, of the Gaussian by whose local standard deviation is
        divided.
    clip
        Largest absolute value kept, in standard deviations.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> import kikuchipy_cnn
    >>> s = kp.data.nickel_ebsd_small()
    >>> transform = kikuchipy_cnn.PatternTransform(size=71)
    >>> images, valid = transform(
    ...     s.data.reshape(-1, 60, 60),
    ...     static_background=s.static_background,
    ... )
    >>> images.shape
    (9, 71, 71, 1)
    >>> bool(valid.all())
    True
    """

    size: int = 71
    background_sigma: float = 0.03
    contrast_sigma: float = 0.12
    clip: float = 3.0

    def __post_init__(self) -> None:
        if self.size < 8:
            raise ValueError(f"size={self.size}; give at least 8 pixels.")
        for name in ("background_sigma", "contrast_sigma", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)} must be positive.")

    def to_dict(self) -> dict:
        """Return the parameters, ready for JSON.

        Returns
        -------
        parameters
            Numbers by the names of the parameters.
        """
        return asdict(self)

    @classmethod
    def from_dict(cls, parameters: dict) -> PatternTransform:
        """Make a transform from what :meth:`to_dict` returned.

        Parameters
        ----------
        parameters
            Numbers by the names of the parameters.

        Returns
        -------
        transform
            The same transform.
        """
        return cls(
            size=int(parameters["size"]),
            background_sigma=float(parameters["background_sigma"]),
            contrast_sigma=float(parameters["contrast_sigma"]),
            clip=float(parameters["clip"]),
        )

    def __call__(
        self,
        patterns: np.ndarray,
        signal_mask: np.ndarray | None = None,
        static_background: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Preprocess patterns.

        Parameters
        ----------
        patterns
            Patterns of shape (n, rows, columns) and any real data type.
        signal_mask
            Boolean mask of shape (rows, columns), False for the pixels to use. If not given, all
            pixels are used.
        static_background
            Static background of shape (rows, columns). If not given, none is removed.

        Returns
        -------
        images
            Network input of shape (n, size, size, 1) and data type float32.
        valid
            Boolean array of shape (n,), False where a pattern has values that are not finite or
            does not vary. The image of such a pattern is 0.
        """
        patterns = np.asarray(patterns)
        shape = patterns.shape[1:]
        weight = np.ones(shape, np.float32)
        if signal_mask is not None:
            weight[signal_mask] = 0
        factor = weight
        if static_background is not None:
            static = np.asarray(static_background, dtype=np.float32)
            # Dead pixels of the background carry no information about the pattern.
            weight = weight * (static > max(0, 0.02 * np.nanmedian(static[weight > 0])))
            factor = weight / np.where(weight > 0, static, 1)
        coverage = self.coverage(shape, weight == 0)
        images, valid = self._resize(patterns, np.where(weight > 0, factor, -1))
        images /= np.maximum(coverage, 1e-6)
        self._standardise_into(images, images, (coverage > 0.5)[None])
        return images[..., None], valid

    def _resize(self, patterns: np.ndarray, factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scale and resize patterns; the factor is negative where they are not used."""
        images = np.empty((len(patterns), self.size, self.size), np.float32)
        valid = np.empty(len(patterns), bool)
        rows, columns = _resize_bands(factor.shape, self.size)
        # Copies have at most 64 bits per pixel.
        n_at_once = max(1, _BYTES_AT_ONCE // (8 * factor.size))
        for start in range(0, len(patterns), n_at_once):
            part = slice(start, start + n_at_once)
            _resampling.resize(
                _compilable(patterns[part]), factor, rows, columns, images[part], valid[part]
            )
        return images, valid

    def coverage(self, shape: tuple[int, int], signal_mask: np.ndarray | None = None) -> np.ndarray:
        """Tell how much of each of the network's pixels patterns of a shape cover.

        Parameters
        ----------
        shape
            Rows and columns of the patterns.
        signal_mask
            Boolean mask of this shape, False for the pixels that are used. If not given, all are.

        Returns
        -------
        coverage
            From 0 to 1, of shape (size, size). Pixels of 0.5 or less count nowhere.
        """
        used = np.ones(shape, np.float32)
        if signal_mask is not None:
            used[np.asarray(signal_mask)] = 0
        coverage = np.empty((self.size, self.size), np.float32)
        _resampling.resize_one(used, *_resize_bands(tuple(shape), self.size), coverage)
        return coverage

    def inside(self, shape: tuple[int, int], signal_mask: np.ndarray | None = None) -> np.ndarray:
        """Tell which of the network's pixels count for patterns of a shape.

        Parameters
        ----------
        shape, signal_mask
            As for :meth:`coverage`.

        Returns
        -------
        inside
            Boolean array of shape (size, size).
        """
        return self.coverage(shape, signal_mask) > 0.5

    def to_patterns(
        self, values: np.ndarray, shape: tuple[int, int], *, keep_sum: bool
    ) -> np.ndarray:
        """Bring values at the network's pixels to the pixels of the patterns.

        Parameters
        ----------
        values
            Values of shape (..., size, size).
        shape
            Rows and columns of the patterns.
        keep_sum
            Whether to spread values so that their sum stays the same, but for what lies beside the
            pattern, instead of averaging them.

        Returns
        -------
        values
            Of shape (..., rows, columns).
        """
        scale = max(shape) / self.size
        rows, columns = (_overlaps(n, self.size, scale) for n in shape)
        return rows.T @ values @ columns / (scale**2 if keep_sum else 1)

    def standardise(self, images: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Remove the dynamic background and level the local contrast.

        Parameters
        ----------
        images
            Patterns at the size of the network, of shape (n, size, size) and data type float32.
        weights
            1 where there is signal and 0 elsewhere, of shape (n, size, size) or (1, size, size).

        Returns
        -------
        images
            Patterns of local mean 0 and local standard deviation about 1, clipped, 0 where there is
            no signal.
        """
        standardised = np.empty(np.shape(images), np.float32)
        self._standardise_into(standardised, images, weights)
        return standardised

    def _standardise_into(self, out: np.ndarray, images: np.ndarray, weights: np.ndarray) -> None:
        """Write what :meth:`standardise` returns into an array, which may be that of the images."""
        n_at_once = max(1, _BYTES_IN_CACHE // (4 * self.size**2))
        spare = np.empty((2, min(n_at_once, len(images)), self.size, self.size), np.float32)
        shared = self._signal(weights) if len(weights) == 1 else None
        for start in range(0, len(images), n_at_once):
            part = slice(start, start + n_at_once)
            signal = self._signal(weights[part]) if shared is None else shared
            np.multiply(images[part], signal.weights, out=out[part])
            self._standardise_in_place(out[part], signal, *spare[:, : len(out[part])])

    def _standardise_in_place(
        self, images: np.ndarray, signal: _Signal, spare: np.ndarray, other: np.ndarray
    ) -> None:
        """Standardise images that are 0 where there is no signal, with two arrays to write to."""
        background, contrast = self._blurs()
        images -= signal.mean(images)
        images *= signal.weights
        images /= np.sqrt(signal.mean(np.square(images, out=spare)) + np.float32(1e-37))
        local = _blurred(images, background, spare, out=other)
        local *= signal.per_background
        images -= local
        squares = np.square(images, out=spare)
        # The global variance keeps regions without any bands from being blown up to noise.
        least = 0.05 * signal.mean(squares)
        variance = _blurred(squares, contrast, other, out=spare)
        variance *= signal.per_contrast
        variance += least
        np.maximum(variance, 1e-12, out=variance)
        images /= np.sqrt(variance, out=variance)
        np.clip(images, -self.clip, self.clip, out=images)

    def _signal(self, weights: np.ndarray) -> _Signal:
        weights = np.asarray(weights, dtype=np.float32)
        total = np.maximum(weights.sum(axis=(1, 2), keepdims=True), 1)
        norms = (np.maximum(blur @ weights @ blur, 1e-6) for blur in self._blurs())
        return _Signal(weights, total, *(weights / norm for norm in norms))

    def _blurs(self) -> tuple[np.ndarray, np.ndarray]:
        """Operators whose results are divided by the sum of the weights, for both sigmas."""
        return (
            _gaussian_operator(self.size, self.background_sigma * self.size),
            _gaussian_operator(self.size, self.contrast_sigma * self.size),
        )


class _Signal(NamedTuple):
    """Where images have signal, and what follows from it for their standardisation."""

    weights: np.ndarray
    # Number of pixels with signal.
    total: np.ndarray
    # What blurred images are multiplied with.
    per_background: np.ndarray
    per_contrast: np.ndarray

    def mean(self, images: np.ndarray) -> np.ndarray:
        """Mean of images that are 0 where there is no signal."""
        return images.sum(axis=(1, 2), keepdims=True) / self.total


def _blurred(
    images: np.ndarray, blur: np.ndarray, spare: np.ndarray, out: np.ndarray
) -> np.ndarray:
    # One product per image, not one of all their rows: up to a size of 80, OpenBLAS starts no
    # threads for it, which would wait for those of other callers.
    np.matmul(blur, images, out=spare)
    return np.matmul(spare, blur, out=out)


def _compilable(patterns: np.ndarray) -> np.ndarray:
    """Patterns of one memory layout and of data types that are compiled, copied if need be."""
    dtype = patterns.dtype
    if not (dtype.kind in "iu" and dtype.isnative or dtype in (np.float32, np.float64)):
        dtype = np.dtype(np.float32)
    # What is too large for 32 bits becomes infinite and is found to be so.
    with np.errstate(over="ignore"):
        patterns = np.require(patterns, dtype, ["C", "A"]).view()
    # Functions are compiled anew for arrays that can be written to.
    patterns.flags.writeable = False
    return patterns


@lru_cache(maxsize=8)
def _gaussian_operator(size: int, sigma: float) -> np.ndarray:
    """Matrix of a one-dimensional Gaussian filter; its rows need not sum to one."""
    x = np.arange(size)
    operator = np.exp(-0.5 * ((x[:, None] - x) / sigma) ** 2)
    # Such weights are lost in 32 bits, but the denormal ones make products ten times slower.
    operator[operator < 1e-10] = 0
    return operator.astype(np.float32)


@lru_cache(maxsize=32)
def _resize_operators(shape: tuple[int, int], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Matrices that resize the rows and columns of a pattern into the middle of a square."""
    scale = max(shape) / size
    rows, columns = (_resize_operator(n, size, scale) for n in shape)
    return rows, columns.T


@lru_cache(maxsize=32)
def _resize_bands(
    shape: tuple[int, int], size: int
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The same in the form for the compiled functions."""
    rows, columns = _resize_operators(shape, size)
    return _resampling.bands(rows), _resampling.bands(columns.T)


def _resize_operator(n: int, size: int, scale: float) -> np.ndarray:
    """Linear interpolation, widened to the new pixel where the pattern is reduced.

    The sum of a row is below one where the new pixel reaches beyond the pattern.
    """
    centres = (np.arange(size) + 0.5 - size / 2) * scale + n / 2 - 0.5
    width = max(scale, 1.0)
    # Beyond the pattern, too: the weights that would fall there are missing in a row's sum.
    beyond = int(np.ceil(width - centres[0]))
    source = np.arange(-beyond, n + beyond)
    weights = np.clip(1 - np.abs(centres[:, None] - source) / width, 0, None)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights[:, beyond : beyond + n].astype(np.float32)


def _overlaps(n: int, size: int, scale: float) -> np.ndarray:
    """Length that pixels of a square, as wide as *scale*, and of a pattern have in common."""
    edges = (np.arange(size + 1) - size / 2) * scale + n / 2
    first, last = edges[:-1, None], edges[1:, None]
    pixels = np.arange(n)
    common = np.minimum(last, pixels + 1) - np.maximum(first, pixels)
    return np.clip(common, 0, None).astype(np.float32)


def find_circular_mask(patterns: np.ndarray) -> np.ndarray | None:
    """Find the mask of a circular detector.

    The corners of the patterns of a circular detector are dark, or they hold nothing: along a
    circle around the middle the intensity hardly varies there.

    Parameters
    ----------
    patterns
        Some patterns of shape (n, rows, columns); a few dozen from all over a map are best.

    Returns
    -------
    signal_mask
        Boolean mask of shape (rows, columns), True outside the detector. None if the corners are
        not darker or emptier than the rest, that is, if the detector is not circular.
    """
    patterns = np.asarray(patterns, dtype=np.float32)
    # Pixels without a value lie outside the detector.
    patterns = np.nan_to_num(patterns[np.isfinite(patterns).any(axis=(1, 2))], posinf=0, neginf=0)
    if len(patterns) == 0:
        return None
    rows, columns = patterns.shape[1:]
    radius = min(rows, columns) / 2
    y, x = np.ogrid[:rows, :columns]
    distance = np.hypot(y - (rows - 1) / 2, x - (columns - 1) / 2) / radius
    rings = (distance * 100).astype(int)
    edge = _edge(_ring_means(patterns.mean(axis=0), rings), fraction=0.5)
    if edge is None:
        variance = np.zeros(rings.max() + 1)
        for pattern in patterns:
            smooth = gaussian_filter(pattern - pattern.mean(), radius / 60)
            variance += _ring_means(smooth**2, rings) - _ring_means(smooth, rings) ** 2
        edge = _edge(variance, fraction=0.25)
    return None if edge is None else distance > edge - 0.03


def _ring_means(image: np.ndarray, rings: np.ndarray) -> np.ndarray:
    """Mean along circles; not a number where a small pattern has no pixel on one."""
    numbers = np.bincount(rings.ravel()).astype(float)
    numbers[numbers == 0] = np.nan
    return np.bincount(rings.ravel(), image.ravel()) / numbers


def _edge(profile: np.ndarray, fraction: float) -> float | None:
    """Radius at which a profile drops below a fraction of its level inside, if corners are empty.

    The profile has a value for each hundredth of the radius of the inscribed circle.
    """
    inside = np.nanmedian(profile[75:86])
    if not np.nanmedian(profile[115:]) < 0.1 * inside:
        return None
    # The corners are far outside and may hold anything (shadows): come from them inwards.
    for ring in range(114, 80, -1):
        if profile[ring] > fraction * inside:
            return (ring + 1) / 100
    return None
