# SPDX-License-Identifier: GPL-3.0-or-later

"""Probabilities pooled over neighbouring patterns of the same grain.

Neighbours in a map are often of one grain and differ in their noise only. Which are, is told from
the patterns themselves: no orientations are needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from kikuchipy_cnn._checks import check_integer

__all__ = ["fingerprints", "grain_threshold", "pool_probabilities", "same_grain"]

# Side of the image that a fingerprint is in pixels. Smaller ones tell grains apart less well.
_SIDE = 18
# Steps of a fingerprint per standard deviation: 8 bits reach to four standard deviations.
_STEPS = 32
# Pairs of patterns that are compared at once.
_BLOCK = 2**13
# Pairs from which the threshold is found, and the quantile of those of different grains.
_N_PAIRS = 10_000
_QUANTILE = 0.999


def fingerprints(images: np.ndarray) -> np.ndarray:
    """Reduce patterns to small vectors by which they can be compared.

    Parameters
    ----------
    images
        Network input of shape (n, size, size, 1) from a
        :class:`~kikuchipy_cnn.PatternTransform`, with a size of at least 18.

    Returns
    -------
    vectors
        Images of 18 x 18 pixels, flattened, less their mean and divided by their standard
        deviation, in steps of 1/32 and clipped to four. They are of shape (n, 324) and data type
        int8, which takes 324 bytes for each pattern. Those of constant images are 0.

    Raises
    ------
    ValueError
        If the images are of another shape or too small.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[3] != 1 or images.shape[1] != images.shape[2]:
        raise ValueError(
            f"Images of shape {images.shape} must be of shape (n, size, size, 1): pass what a "
            "PatternTransform returns."
        )
    size = images.shape[1]
    if size < _SIDE:
        raise ValueError(
            f"Images of {size} x {size} pixels are too small to compare: use a model whose input "
            f"has at least {_SIDE} x {_SIDE}."
        )
    average = _averaging_operator(size)
    small = average @ images[..., 0].astype(np.float32, copy=False) @ average.T
    small = small.reshape(len(images), -1)
    small -= small.mean(axis=1, keepdims=True)
    deviation = small.std(axis=1, keepdims=True)
    # Constant images differ from their mean by rounding errors only.
    varies = deviation > 1e-5
    small *= np.where(varies, _STEPS / np.where(varies, deviation, 1), 0)
    return small.round().clip(-127, 127).astype(np.int8)


def grain_threshold(
    fingerprints: np.ndarray,
    navigation_shape: tuple[int, ...],
    used: np.ndarray,
    *,
    valid: np.ndarray | None = None,
    seed: int = 0,
) -> float:
    """Find how similar patterns must be to be of the same grain.

    Parameters
    ----------
    fingerprints, navigation_shape, used, valid
        As for :func:`pool_probabilities`.
    seed
        Seed of the choice of the pairs that are compared.

    Returns
    -------
    threshold
        Normalised cross-correlation above which patterns are taken to be of one grain. It is 1
        where there is nothing to compare.

    Notes
    -----
    The threshold is the larger one of two:

    1. The similarity that one in a thousand pairs of different grains exceeds. Such pairs cannot be
       picked from the map, which may have one grain only. They are made: a pattern is compared with
       the mirror image of another, left to right or top to bottom, or with the other turned by 180
       degrees. These are patterns of other orientations with the same noise, contrast and mask. A
       grain whose patterns have a mirror line would be like its own image. Hence the median of the
       three quantiles is taken: two of the three cannot coincide with the pattern unless all do,
       with the pattern center in the middle, and then nothing is pooled.
    2. Half of the median similarity of direct neighbours. Most neighbours are of one grain in most
       maps, and this is midway between them and unrelated patterns. In a map of one grain the first
       threshold follows from little more than one pair of patterns, and may be low by chance.
    """
    vectors, numbers = _checked(fingerprints, navigation_shape, used, valid)
    candidates = numbers[numbers >= 0]
    if candidates.size == 0:
        return 1.0
    rng = np.random.default_rng(seed)
    norms = _norms(vectors)
    quantiles = []
    for rows, columns in ((1, -1), (-1, 1), (-1, -1)):
        # Mirroring changes the order of the values only.
        order = np.arange(_SIDE**2).reshape(_SIDE, _SIDE)[::rows, ::columns].ravel()
        a, b = rng.choice(candidates, (2, _N_PAIRS))
        quantiles.append(np.quantile(_similarity(vectors, norms, a, b, order), _QUANTILE))
    threshold = float(np.median(quantiles))

    pairs = np.concatenate([_pairs(numbers, 0, 1), _pairs(numbers, 1, 0)], axis=1)
    if pairs.shape[1]:
        a, b = rng.choice(pairs, min(_N_PAIRS, pairs.shape[1]), axis=1, replace=False)
        threshold = max(threshold, float(np.median(_similarity(vectors, norms, a, b))) / 2)
    return threshold


def same_grain(
    fingerprints: np.ndarray,
    navigation_shape: tuple[int, ...],
    used: np.ndarray,
    *,
    radius: int = 1,
    threshold: float | None = None,
    valid: np.ndarray | None = None,
) -> np.ndarray:
    """Tell which neighbours have patterns of the same grain.

    Parameters
    ----------
    fingerprints, navigation_shape, used, radius, threshold, valid
        As for :func:`pool_probabilities`.

    Returns
    -------
    same
        Boolean array of shape (n, 2 *radius* + 1, 2 *radius* + 1) with a window of rows and columns
        around each of the n used points. The point itself, in the middle, is of its own grain
        unless it is not valid.

    Raises
    ------
    ValueError
        As :func:`pool_probabilities` does.
    """
    vectors, numbers = _checked(fingerprints, navigation_shape, used, valid)
    check_integer("radius", radius, 1)
    if threshold is None:
        threshold = grain_threshold(vectors, navigation_shape, used, valid=valid)
    same = np.zeros((len(vectors), 2 * radius + 1, 2 * radius + 1), dtype=bool)
    same[numbers[numbers >= 0], radius, radius] = True
    for (rows, columns), a, b in _matches(vectors, numbers, radius, threshold):
        same[a, radius + rows, radius + columns] = True
        same[b, radius - rows, radius - columns] = True
    return same


def pool_probabilities(
    probabilities: np.ndarray,
    fingerprints: np.ndarray,
    navigation_shape: tuple[int, ...],
    used: np.ndarray,
    *,
    radius: int = 1,
    threshold: float | None = None,
    valid: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Average the probabilities of each point over its neighbours of the same grain.

    Parameters
    ----------
    probabilities
        Probabilities of shape (n, n classes) of the n used points.
    fingerprints
        Vectors of shape (n, 324) from :func:`fingerprints`.
    navigation_shape
        Map shape (rows, columns), (columns,), or () for one pattern.
    used
        Boolean array of the map's shape, True for the n points.
    radius
        Largest distance of a neighbour in rows and in columns. Default is 1, which is the eight
        nearest. Windows are cut off at the edges of the map.
    threshold
        Normalised cross-correlation, from -1 to 1, above which two patterns are taken to be of the
        same grain. If not given, it is found from the patterns: see :func:`grain_threshold`.
    valid
        Boolean array of shape (n,), False for patterns that neither give nor take, such as constant
        ones. If not given, all patterns are valid.

    Returns
    -------
    pooled
        Mean probabilities of shape (n, n classes). Those of points that are not valid stay as they
        are.
    n_pooled
        Number of patterns averaged, of shape (n,): 1 where it is only the point's own, and 0 where
        it is not valid.

    Raises
    ------
    ValueError
        If shapes do not fit, the map has more than two dimensions, or *radius* or *threshold* is
        out of range.

    Notes
    -----
    What this costs:

    - Points are no longer independent: neighbours share evidence, so that many neighbours that
      agree are not many observations, and the map looks smoother than the patterns are.
    - What is smaller than the window survives only as far as its patterns differ from those around
      it. Precipitates of another orientation do. Precipitates whose lattice continues that of the
      matrix do not: patterns of Ni3Al (221) in Ni (225) differ in weak bands that get lost in the
      fingerprint, so such precipitates are averaged away. Do not pool where these are looked for.
    - It takes 324 bytes of memory for each pattern.

    The mean is taken rather than the product, because the network errs alike on patterns of one
    grain: systematic errors do not average out, and a product would make them certain.
    """
    vectors, numbers = _checked(fingerprints, navigation_shape, used, valid)
    probabilities = np.asarray(probabilities)
    if probabilities.ndim != 2 or len(probabilities) != len(vectors):
        raise ValueError(
            f"Probabilities of shape {probabilities.shape} must be of shape ({len(vectors)}, "
            "n classes), one row for each used point."
        )
    check_integer("radius", radius, 1)
    if threshold is None:
        threshold = grain_threshold(vectors, navigation_shape, used, valid=valid)
    total = probabilities.astype(np.float64)
    n_pooled = np.zeros(len(vectors), dtype=int)
    n_pooled[numbers[numbers >= 0]] = 1
    for _, a, b in _matches(vectors, numbers, radius, threshold):
        # No point is twice in one of the two, so that adding in place misses nothing.
        for here, there in ((a, b), (b, a)):
            total[here] += probabilities[there]
            n_pooled[here] += 1
    pooled = total / np.maximum(n_pooled, 1)[:, None]
    return pooled.astype(np.result_type(probabilities.dtype, np.float32)), n_pooled


@lru_cache(maxsize=8)
def _averaging_operator(size: int) -> np.ndarray:
    """Matrix that averages pixels over larger ones, of which they may be in two."""
    edges = np.linspace(0, size, _SIDE + 1)[:, None]
    pixels = np.arange(size)
    overlap = np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels)
    return (overlap.clip(0) * _SIDE / size).astype(np.float32)


def _checked(
    fingerprints: np.ndarray,
    navigation_shape: tuple[int, ...],
    used: np.ndarray,
    valid: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Fingerprints, and their numbers in a map of two dimensions, -1 where there is none."""
    shape = tuple(navigation_shape)
    used = np.asarray(used, dtype=bool)
    if len(shape) > 2:
        raise ValueError(f"Navigation shape {shape} must have at most two dimensions.")
    if used.shape != shape:
        raise ValueError(f"Shape {used.shape} of used must be the navigation shape {shape}.")
    vectors = np.asarray(fingerprints)
    n = np.count_nonzero(used)
    if vectors.shape != (n, _SIDE**2):
        raise ValueError(
            f"Fingerprints of shape {vectors.shape} must be of shape ({n}, {_SIDE**2}), one row "
            "for each used point."
        )
    valid = np.ones(n, dtype=bool) if valid is None else np.asarray(valid, dtype=bool)
    if valid.shape != (n,):
        raise ValueError(f"Shape {valid.shape} of valid must be ({n},), one for each used point.")
    numbers = np.full(shape, -1)
    numbers[used] = np.where(valid, np.arange(n), -1)
    return vectors, np.atleast_2d(numbers)


def _matches(
    vectors: np.ndarray, numbers: np.ndarray, radius: int, threshold: float
) -> Iterator[tuple[tuple[int, int], np.ndarray, np.ndarray]]:
    """Yield offsets, and the numbers of pairs of points of one grain that far apart.

    Each pair comes once only: the opposite offsets are left out.
    """
    if not -1 <= threshold <= 1:
        raise ValueError(f"threshold={threshold} must be a correlation, from -1 to 1.")
    norms = _norms(vectors)
    for rows in range(radius + 1):
        for columns in range(-radius if rows else 1, radius + 1):
            a, b = _pairs(numbers, rows, columns)
            same = _similarity(vectors, norms, a, b) > threshold
            yield (rows, columns), a[same], b[same]


def _pairs(numbers: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Numbers of all points and of those so many rows below and columns to the right of them.

    They are of shape (2, n).
    """
    n_rows, n_columns = numbers.shape
    if rows >= n_rows or abs(columns) >= n_columns:
        return np.empty((2, 0), dtype=numbers.dtype)
    left, right = max(0, -columns), max(0, columns)
    here = numbers[: n_rows - rows, left : n_columns - right]
    there = numbers[rows:, right : n_columns - left]
    both = (here >= 0) & (there >= 0)
    return np.stack([here[both], there[both]])


def _norms(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt(_products(vectors, *[np.arange(len(vectors))] * 2))


def _similarity(
    vectors: np.ndarray,
    norms: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    order: np.ndarray | None = None,
) -> np.ndarray:
    """Normalised cross-correlation of pairs, with the values of the second in another order."""
    product = _products(vectors, a, b, order)
    # Nothing is like a constant pattern, not even another one. Rounding may lead beyond 1.
    return np.clip(product / np.maximum(norms[a] * norms[b], 1), -1, 1)


def _products(
    vectors: np.ndarray, a: np.ndarray, b: np.ndarray, order: np.ndarray | None = None
) -> np.ndarray:
    products = np.empty(len(a), dtype=np.float32)
    for start in range(0, len(a), _BLOCK):
        part = slice(start, start + _BLOCK)
        second = vectors[b[part]] if order is None else vectors[b[part]][:, order]
        products[part] = np.einsum(
            "ij,ij->i", vectors[a[part]].astype(np.float32), second.astype(np.float32)
        )
    return products
