"""From patterns as a camera gives them to the input of a network.

Training and inference share this one definition; it is stored with a model's weights.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np
from scipy.ndimage import gaussian_filter

# Patterns are turned into 32-bit numbers this many bytes at a time.
_BYTES_AT_ONCE = 2**25
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
        """Return the parameters, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, parameters: dict) -> PatternTransform:
        """Make a transform from what :meth:`to_dict` returned."""
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
        rows, columns = _resize_operators(shape, self.size)
        coverage = self.coverage(shape, weight == 0)

        images = np.empty((len(patterns), self.size, self.size), np.float32)
        valid = np.empty(len(patterns), bool)
        n_at_once = max(1, _BYTES_AT_ONCE // (4 * weight.size))
        for start in range(0, len(patterns), n_at_once):
            part = slice(start, start + n_at_once)
            values = np.where(weight > 0, patterns[part], 0).astype(np.float32)
            used = values[:, weight > 0]
            valid[part] = np.isfinite(used).all(axis=1) & (np.ptp(used, axis=1) > 0)
            values[~valid[part]] = 0
            images[part] = rows @ (values * factor) @ columns
        images /= np.maximum(coverage, 1e-6)
        images = self.standardise(images, (coverage > 0.5).astype(np.float32)[None])
        images[~valid] = 0
        return images[..., None], valid

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
        used = np.ones(shape, np.float32) if signal_mask is None else ~np.asarray(signal_mask)
        rows, columns = _resize_operators(tuple(shape), self.size)
        return rows @ used.astype(np.float32) @ columns

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
        blur = _gaussian_operator(self.size, self.background_sigma * self.size)
        norm = np.maximum(blur @ weights @ blur.T, 1e-6)
        images = images - _weighted_mean(images, weights)
        images = images / np.sqrt(_weighted_mean(images**2, weights) + np.float32(1e-37))
        images = (images - blur @ (images * weights) @ blur.T / norm) * weights
        blur = _gaussian_operator(self.size, self.contrast_sigma * self.size)
        norm = np.maximum(blur @ weights @ blur.T, 1e-6)
        variance = blur @ images**2 @ blur.T / norm
        # The global variance keeps regions without any bands from being blown up to noise.
        variance = variance + 0.05 * _weighted_mean(images**2, weights)
        images = images / np.sqrt(np.maximum(variance, 1e-12)) * weights
        return np.clip(images, -self.clip, self.clip, dtype=np.float32)


def _weighted_mean(images: np.ndarray, weights: np.ndarray) -> np.ndarray:
    total = np.maximum(weights.sum(axis=(1, 2), keepdims=True), 1)
    return (images * weights).sum(axis=(1, 2), keepdims=True) / total


@lru_cache(maxsize=8)
def _gaussian_operator(size: int, sigma: float) -> np.ndarray:
    """Matrix of a one-dimensional Gaussian filter; its rows need not sum to one."""
    x = np.arange(size)
    return np.exp(-0.5 * ((x[:, None] - x) / sigma) ** 2).astype(np.float32)


@lru_cache(maxsize=32)
def _resize_operators(shape: tuple[int, int], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Matrices that resize the rows and columns of a pattern into the middle of a square."""
    scale = max(shape) / size
    rows, columns = (_resize_operator(n, size, scale) for n in shape)
    return rows, columns.T


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
