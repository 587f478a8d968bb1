# SPDX-License-Identifier: GPL-3.0-or-later

"""A first look at some patterns of a signal."""

from __future__ import annotations

from math import prod

import numpy as np

from kikuchipy_cnn.inference.reading import read
from kikuchipy_cnn.preprocessing import find_circular_mask

# Patterns looked at to find the detector's mask and whether the static background is still there.
_N_SAMPLED = 9


def sample_patterns(data, navigation_mask: np.ndarray | None = None) -> np.ndarray:
    """Take some patterns from all over a map.

    Parameters
    ----------
    data
        Patterns of shape (navigation shape, rows, columns), a NumPy or Dask array.
    navigation_mask
        Boolean mask of the navigation shape, False for the patterns that may be taken.

    Returns
    -------
    patterns
        At most nine patterns of shape (n, rows, columns) and data type float32.
    """
    shape = data.shape[:-2]
    used = np.arange(prod(shape)) if navigation_mask is None else np.flatnonzero(~navigation_mask)
    chosen = used[np.unique(np.linspace(0, len(used) - 1, _N_SAMPLED).astype(int))]
    # Computed together, so that what they have in common is computed once.
    patterns = read(*(data[np.unravel_index(i, shape)] for i in chosen))
    return np.stack(patterns).astype(np.float32)


def find_signal_mask(patterns: np.ndarray) -> np.ndarray | None:
    """Find the pixels of a detector that carry no signal.

    Parameters
    ----------
    patterns
        Some patterns of shape (n, rows, columns), from :func:`sample_patterns`.

    Returns
    -------
    signal_mask
        Boolean mask of shape (rows, columns), True outside a circular detector and where no pattern
        has a finite value. None if there are no such pixels.
    """
    mask = find_circular_mask(patterns)
    never_finite = ~np.isfinite(patterns).any(axis=0)
    if never_finite.any() and not never_finite.all():
        mask = never_finite if mask is None else mask | never_finite
    return mask


def carries_background(
    patterns: np.ndarray, static_background: np.ndarray, signal_mask: np.ndarray | None = None
) -> bool:
    """Tell whether a static background is still in some patterns.

    A signal keeps its static background after it was removed from the patterns; removing it again
    would bring it back, inverted.

    Parameters
    ----------
    patterns
        Patterns of shape (n, rows, columns).
    static_background
        Background of shape (rows, columns).
    signal_mask
        Boolean mask of shape (rows, columns), False for the pixels to compare.

    Returns
    -------
    carries
        Whether the mean of the patterns correlates with the background by more than one half.
    """
    used = np.isfinite(static_background)
    if signal_mask is not None:
        used &= ~signal_mask
    patterns = patterns[:, used]
    patterns = patterns[np.isfinite(patterns).all(axis=1)]
    if len(patterns) == 0:
        return False
    mean, background = patterns.mean(axis=0), static_background[used]
    if np.ptp(mean) == 0 or np.ptp(background) == 0:
        return False
    return bool(np.corrcoef(mean, background)[0, 1] > 0.5)
