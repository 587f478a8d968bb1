# SPDX-License-Identifier: GPL-3.0-or-later

"""Resizing of patterns, compiled.

Each row and column of a pattern counts for two or three of the new ones only. Products with the
dense operators would mostly multiply with zero.
"""

from __future__ import annotations

from functools import partial

import numba as nb
import numpy as np

# Loops with sums are vectorised only if these may be reordered. More of fastmath would assume that
# all numbers are finite.
_compiled = partial(nb.njit, cache=True, nogil=True, fastmath={"contract", "reassoc"})

# Numba computes in 64 bits wherever a constant has 64.
_ZERO = np.float32(0)
# Columns turned into rows at a time; they stay in the fastest cache.
_COLUMNS_AT_ONCE = 16


def bands(operator: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bring the operator of a resize into the form for the compiled functions.

    Parameters
    ----------
    operator
        Weights of the old pixels for the new ones, of shape (new pixels, old pixels).

    Returns
    -------
    first
        First new pixel that an old one counts for, of shape (old pixels,).
    weights
        Weights for this new pixel and those after it, of shape (old pixels, a few).
    """
    # What rounding leaves of a weight of zero would make all bands wider.
    counts = operator > 1e-8 * operator.max()
    width = counts.sum(axis=0).max()
    first = np.minimum(counts.argmax(axis=0), len(operator) - width)
    weights = np.take_along_axis(operator, first + np.arange(width)[:, None], axis=0)
    return first, np.ascontiguousarray(weights.T, dtype=np.float32)


@_compiled
def resize(patterns, factor, rows, columns, out, valid):
    """Scale and resize patterns.

    Parameters
    ----------
    patterns
        Patterns of shape (n, rows, columns).
    factor
        What the pixels of each pattern are multiplied with; negative where they count nowhere.
    rows, columns
        The resize of the rows and columns, as :func:`bands` returns it.
    out
        To be filled with the new patterns; 0 for those that are not valid.
    valid
        To be filled with whether the used pixels of a pattern are finite and vary.
    """
    first, weights = rows
    row = np.empty(patterns.shape[2], np.float32)
    lower = np.empty((out.shape[1], row.size), np.float32)
    for i in range(len(patterns)):
        lower[:] = _ZERO
        not_finite = _ZERO
        for r in range(patterns.shape[1]):
            not_finite += _scale(patterns[i, r], factor[r], row)
            _spread(row, first[r], weights[r], lower)
        valid[i] = not_finite == _ZERO and _varies(patterns[i], factor)
        if valid[i]:
            _resize_columns(lower, columns, out[i])
        else:
            out[i] = _ZERO


@_compiled
def resize_one(image, rows, columns, out):
    """Resize an image of data type float32, valid or not.

    Parameters
    ----------
    image
        Image of shape (rows, columns).
    rows, columns
        As for :func:`resize`.
    out
        To be filled with the new image.
    """
    first, weights = rows
    lower = np.zeros((len(out), image.shape[1]), np.float32)
    for r in range(len(image)):
        _spread(image[r], first[r], weights[r], lower)
    _resize_columns(lower, columns, out)


@_compiled
def _scale(row, factor, out):
    """Write the scaled row; return 0, or not a number if a used pixel is not finite."""
    not_finite = _ZERO
    for c in range(row.size):
        value = np.float32(row[c]) if factor[c] >= _ZERO else _ZERO
        not_finite += value * _ZERO
        out[c] = value * factor[c]
    return not_finite


@_compiled
def _spread(row, first, weights, out):
    """Add a row, weighted, to those that it counts for."""
    for k in range(weights.size):
        weight, to = weights[k], out[first + k]
        for c in range(row.size):
            to[c] += weight * row[c]


@_compiled
def _resize_columns(image, bands, out):
    # Loops along the short bands are slow. Instead, columns are turned into rows.
    rows, columns = image.shape
    first, weights = bands
    some = np.empty((_COLUMNS_AT_ONCE, rows), np.float32)
    turned = np.zeros((out.shape[1], rows), np.float32)
    for start in range(0, columns, _COLUMNS_AT_ONCE):
        n = min(_COLUMNS_AT_ONCE, columns - start)
        for r in range(rows):
            for k in range(n):
                some[k, r] = image[r, start + k]
        for k in range(n):
            _spread(some[k], first[start + k], weights[start + k], turned)
    for r in range(rows):
        for c in range(out.shape[1]):
            out[r, c] = turned[c, r]


@_compiled
def _varies(pattern, factor):
    """Tell whether any two used pixels differ."""
    found, value = False, _ZERO
    for r in range(pattern.shape[0]):
        for c in range(pattern.shape[1]):
            if factor[r, c] >= _ZERO:
                if found and np.float32(pattern[r, c]) != value:
                    return True
                found, value = True, np.float32(pattern[r, c])
    return False
