# SPDX-License-Identifier: GPL-3.0-or-later

"""How well classes and materials are told, as numbers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest

__all__ = ["ClassScore", "Confusion", "MaterialScore", "MeanScore", "wilson_interval"]

_CONFIDENCE = 0.95


class ClassScore(NamedTuple):
    """How well one class is told.

    Parameters
    ----------
    label
        Space-group number, or name of the class.
    precision
        Part of the patterns called so that are so, from 0 to 1; 0 if there are none.
    recall
        Part of the patterns that are so that are called so, from 0 to 1; 0 if there are none.
    f1
        Harmonic mean of both.
    n
        Number of patterns that are so.
    low, high
        Limits of the recall's interval of 95 % confidence, see :func:`wilson_interval`.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn.evaluation import evaluate
    >>> from kikuchipy_cnn.training import LabelledPatterns
    >>> s = kp.data.nickel_ebsd_small()
    >>> patterns = LabelledPatterns.from_signals({225: {"Ni": s}})
    >>> evaluation = evaluate(
    ...     "fast_fewshot", patterns, show_progressbar=False
    ... )
    >>> score = evaluation.by_class()[2]
    >>> score.label, score.n, score.precision
    (225, 9, 1.0)
    >>> score.low < score.recall < score.high
    True
    """

    label: int | str
    precision: float
    recall: float
    f1: float
    n: int
    low: float
    high: float


class MeanScore(NamedTuple):
    """Means of the classes' precision, recall and F1.

    Parameters
    ----------
    precision
        Mean of the classes' precision, from 0 to 1.
    recall
        Mean of their recall, from 0 to 1.
    f1
        Mean of their F1, from 0 to 1.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn.evaluation import evaluate
    >>> from kikuchipy_cnn.training import LabelledPatterns
    >>> s = kp.data.nickel_ebsd_small()
    >>> patterns = LabelledPatterns.from_signals({225: {"Ni": s}})
    >>> evaluation = evaluate(
    ...     "fast_fewshot", patterns, show_progressbar=False
    ... )
    >>> mean = evaluation.weighted()
    >>> mean.precision
    1.0
    >>> mean.recall == evaluation.accuracy
    True
    """

    precision: float
    recall: float
    f1: float


class MaterialScore(NamedTuple):
    """How well the patterns of one material are classified.

    Parameters
    ----------
    space_group
        Number of its space group.
    material
        Its name.
    accuracy
        Part of its patterns that are given the right class, from 0 to 1.
    n
        Number of its patterns.
    low, high
        Limits of the accuracy's interval of 95 % confidence, see :func:`wilson_interval`.
    atomic_number
        Mean of its atoms' atomic numbers. Not a number if it is not known.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn.evaluation import evaluate
    >>> from kikuchipy_cnn.training import LabelledPatterns
    >>> s = kp.data.nickel_ebsd_small()
    >>> patterns = LabelledPatterns.from_signals({225: {"Ni": s}})
    >>> evaluation = evaluate(
    ...     "fast_fewshot", patterns, show_progressbar=False
    ... )
    >>> score = evaluation.by_material()[0]
    >>> score.space_group, score.material, score.n
    (225, 'Ni', 9)
    >>> score.atomic_number
    28.0
    """

    space_group: int
    material: str
    accuracy: float
    n: int
    low: float
    high: float
    atomic_number: float


class Confusion(NamedTuple):
    """How many patterns of each kind were given each class.

    Parameters
    ----------
    counts
        Integers of shape (rows, columns).
    rows
        What the patterns are: labels, or space groups and materials.
    columns
        What they were called: labels of the classes, and last, if there are such patterns, -1 or ""
        for those that could not be classified.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn.evaluation import evaluate
    >>> from kikuchipy_cnn.training import LabelledPatterns
    >>> s = kp.data.nickel_ebsd_small()
    >>> patterns = LabelledPatterns.from_signals({225: {"Ni": s}})
    >>> evaluation = evaluate(
    ...     "fast_fewshot", patterns, show_progressbar=False
    ... )
    >>> confusion = evaluation.confusion()
    >>> confusion.rows
    (221, 223, 225, 227, 229, 230)
    >>> confusion.counts.sum(axis=1)
    array([0, 0, 9, 0, 0, 0])
    """

    counts: np.ndarray
    rows: tuple
    columns: tuple


def wilson_interval(n_right: int, n: int) -> tuple[float, float]:
    """Interval that holds a proportion with 95 % confidence (Wilson, JASA 22 (1927) 209).

    Parameters
    ----------
    n_right
        Number of successes.
    n
        Number of trials.

    Returns
    -------
    low, high
        Limits, from 0 to 1: both ends if there are no trials.

    Examples
    --------
    >>> from kikuchipy_cnn.evaluation import wilson_interval
    >>> low, high = wilson_interval(8, 9)
    >>> round(low, 3), round(high, 3)
    (0.565, 0.98)
    """
    if n == 0:
        return 0.0, 1.0
    interval = binomtest(n_right, n).proportion_ci(_CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)
