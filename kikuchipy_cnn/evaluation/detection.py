# SPDX-License-Identifier: GPL-3.0-or-later

"""How well patterns of phases outside a model's classes are told from those inside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_auc_score, roc_curve

__all__ = ["Detection", "detect"]

# Part of the patterns inside that must be taken for such.
_TRUE_POSITIVE_RATE = 0.95
_QUANTILES = (0.025, 0.975)
_N_BOOTSTRAP = 1000
# The spread of fewer groups says nothing of others.
_LEAST_GROUPS = 8


@dataclass(frozen=True)
class Detection:
    """How well patterns of phases outside a model's classes are told from those inside.

    Make one with :func:`detect`.

    Parameters
    ----------
    area
        Probability that a pattern of a phase inside has a higher score than one of a phase outside
        (area under the receiver operating characteristic): 0.5 if the score says nothing, 1 if it
        decides.
    interval
        Limits of the area's interval of 95 % confidence. None if it cannot be told.
    n_inside, n_outside
        Numbers of patterns.
    false_alarm_at_95
        Part of the patterns outside that are taken for inside, from 0 to 1, where 95 % of those
        inside are (Hendrycks and Gimpel, ICLR 2017; Liang et al., ICLR 2018).

    Examples
    --------
    >>> from kikuchipy_cnn.evaluation import detect
    >>> detection = detect([0.9, 0.8, 0.7, 0.6], [0.65, 0.3, 0.2, 0.1])
    >>> detection.area
    0.9375
    >>> detection.n_inside, detection.n_outside
    (4, 4)
    >>> detection.false_alarm_at_95
    0.25
    """

    area: float
    interval: tuple[float, float] | None
    n_inside: int
    n_outside: int
    false_alarm_at_95: float


def detect(
    inside_scores: np.ndarray,
    outside_scores: np.ndarray,
    outside_groups: np.ndarray | None = None,
    seed: int = 0,
) -> Detection:
    """Judge a score by how well it tells patterns of phases outside a model's classes.

    Parameters
    ----------
    inside_scores
        Scores of patterns of phases that are of one of the classes, of shape (n inside,). A higher
        one is for being inside.
    outside_scores
        Scores of patterns of other phases, of shape (n outside,).
    outside_groups
        Phase of each pattern outside, of shape (n outside,). If given, the interval is that of
        other phases of the same kind, and None for fewer than 8 phases. Otherwise it is that of
        other patterns of the same phases, which is too narrow for other phases.
    seed
        Seed of the draws.

    Returns
    -------
    detection
        Area, interval and false alarms. For the interval (bootstrap, Efron, Ann. Stat. 7 (1979) 1)
        the patterns inside, and the patterns or phases outside, are drawn anew 1000 times.

    Raises
    ------
    ValueError
        If there are no patterns inside or outside, a score is not finite, or the groups do not fit
        the patterns.

    Examples
    --------
    Scores of 200 patterns each, which overlap.

    >>> import numpy as np
    >>> from kikuchipy_cnn.evaluation import detect
    >>> rng = np.random.default_rng(0)
    >>> detection = detect(rng.normal(2, 1, 200), rng.normal(0, 1, 200))
    >>> round(detection.area, 2)
    0.93
    >>> low, high = detection.interval
    >>> low < detection.area < high
    True
    """
    inside = _checked_scores("inside_scores", inside_scores)
    outside = _checked_scores("outside_scores", outside_scores)
    if outside_groups is None:
        groups = np.arange(len(outside))
    elif len(outside_groups) == len(outside):
        groups = np.unique(outside_groups, return_inverse=True)[1]
    else:
        raise ValueError(
            f"outside_groups has {len(outside_groups)} values for {len(outside)} patterns; give "
            "one for each."
        )
    is_inside = np.repeat([True, False], [len(inside), len(outside)])
    scores = np.concatenate([inside, outside])
    false_rate, true_rate, _ = roc_curve(is_inside, scores, drop_intermediate=False)
    interval = None
    if outside_groups is None or groups.max() + 1 >= _LEAST_GROUPS:
        interval = _interval(inside, outside, groups, seed)
    return Detection(
        float(roc_auc_score(is_inside, scores)),
        interval,
        len(inside),
        len(outside),
        float(false_rate[(true_rate >= _TRUE_POSITIVE_RATE).argmax()]),
    )


def _checked_scores(name: str, scores: np.ndarray) -> np.ndarray:
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 1 or len(scores) == 0:
        raise ValueError(f"{name} of shape {scores.shape} must be one for each of some patterns.")
    if not np.isfinite(scores).all():
        raise ValueError(
            f"{name} has {(~np.isfinite(scores)).sum()} values that are not finite. Leave out "
            "patterns that could not be classified."
        )
    return scores


def _interval(
    inside: np.ndarray, outside: np.ndarray, groups: np.ndarray, seed: int
) -> tuple[float, float]:
    """Interval of the area, for patterns inside and groups outside drawn anew."""
    rng = np.random.default_rng(seed)
    inside = np.sort(inside)
    # How many inside are below each pattern outside, and how many not above: all of an area that
    # does not change from draw to draw.
    below, not_above = (np.searchsorted(inside, outside, side) for side in ("left", "right"))
    n_groups = groups.max() + 1
    areas = np.empty(_N_BOOTSTRAP)
    for i in range(_N_BOOTSTRAP):
        drawn = np.bincount(rng.integers(len(inside), size=len(inside)), minlength=len(inside))
        cumulative = np.concatenate([[0], drawn.cumsum()])
        higher = 1 - (cumulative[below] + cumulative[not_above]) / (2 * len(inside))
        times = np.bincount(rng.integers(n_groups, size=n_groups), minlength=n_groups)
        areas[i] = np.average(higher, weights=times[groups])
    low, high = np.quantile(areas, _QUANTILES)
    return float(low), float(high)
