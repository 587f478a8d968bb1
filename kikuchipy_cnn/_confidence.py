# SPDX-License-Identifier: GPL-3.0-or-later

"""Confidences that come with what became of the patterns."""

from __future__ import annotations

import numpy as np

# Sums of probabilities in single precision may be this much above 1.
_TOLERANCE = 1e-5


def checked_confidence(
    confidence: np.ndarray, flags: np.ndarray, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return confidences and what became of the patterns as arrays that fit each other.

    Parameters
    ----------
    confidence
        Confidence of each pattern, from 0 to 1, of shape (n,).
    flags
        Whether each pattern is right, or wrong, of shape (n,).
    name
        Name of the second argument.

    Returns
    -------
    confidence
        Numbers in double precision, from 0 to 1, of shape (n,).
    flags
        Booleans of shape (n,).

    Raises
    ------
    ValueError
        If there are no patterns, the shapes do not fit, a confidence is not from 0 to 1, or the
        flags are no booleans.
    """
    confidence, flags = np.asarray(confidence, np.float64), np.asarray(flags)
    if confidence.ndim != 1 or flags.shape != confidence.shape:
        raise ValueError(
            f"confidence of shape {confidence.shape} and {name} of shape {flags.shape} must have "
            "one value for each pattern."
        )
    if len(confidence) == 0:
        raise ValueError(f"confidence and {name} are of no patterns; give at least one.")
    if flags.dtype != bool:
        raise ValueError(f"{name} is of type {flags.dtype}, but must be True or False.")
    # Written so that what is not a number is found too.
    outside = ~((confidence >= -_TOLERANCE) & (confidence <= 1 + _TOLERANCE))
    if outside.any():
        first = int(outside.argmax())
        raise ValueError(
            f"confidence is {confidence[first]} of pattern {first}, but must be from 0 to 1. Leave "
            "out patterns that could not be classified, or give them 0."
        )
    return confidence.clip(0, 1), flags
