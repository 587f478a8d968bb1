# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether answers are as often right as their confidence says."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kikuchipy_cnn._checks import check_integer
from kikuchipy_cnn._confidence import checked_confidence
from kikuchipy_cnn._files import write_csv
from kikuchipy_cnn.evaluation.scores import wilson_interval

if TYPE_CHECKING:
    from kikuchipy_cnn.evaluation.results import Evaluation

__all__ = ["Reliability", "expected_calibration_error", "reliability", "reliability_by_class"]


@dataclass(frozen=True, eq=False)
class Reliability:
    """How often patterns are right, by their confidence.

    Make one with :func:`reliability`.

    Parameters
    ----------
    confidence
        Mean confidence of the patterns in each bin, from 0 to 1, of shape (bins,). The bins share
        the confidences from 0 to 1 equally. Not a number in bins without patterns.
    accuracy
        Part of the patterns in each bin that are right, alike.
    low, high
        Limits of the accuracy's interval of 95 % confidence, see
        :func:`~kikuchipy_cnn.evaluation.wilson_interval`, of shape (bins,).
    count
        Number of patterns in each bin, of shape (bins,).

    Examples
    --------
    >>> from kikuchipy_cnn.evaluation import reliability
    >>> confidence = [0.55, 0.6, 0.65, 0.7, 0.9, 0.95]
    >>> right = [True, False, True, False, True, True]
    >>> curve = reliability(confidence, right, n_bins=4)
    >>> curve.edges
    array([0.  , 0.25, 0.5 , 0.75, 1.  ])
    >>> curve.count
    array([0, 0, 4, 2])
    >>> curve.accuracy
    array([nan, nan, 0.5, 1. ])
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    low: np.ndarray
    high: np.ndarray
    count: np.ndarray

    def __len__(self) -> int:
        return len(self.count)

    def __repr__(self) -> str:
        return f"Reliability({self.count.sum()} patterns, calibration error {self.error:.4f})"

    @property
    def edges(self) -> np.ndarray:
        """Limits of the bins, ascending from 0 to 1, of shape (bins + 1,)."""
        return np.linspace(0, 1, len(self) + 1)

    @property
    def error(self) -> float:
        """Expected calibration error, from 0 to 1, see :func:`expected_calibration_error`."""
        filled = self.count > 0
        gaps = np.abs(self.accuracy - self.confidence)[filled]
        return float(np.average(gaps, weights=self.count[filled]))

    def save(self, path: str | os.PathLike, overwrite: bool = False) -> None:
        """Write the bins as CSV.

        Parameters
        ----------
        path
            File to write. What is not known of bins without patterns is left empty.
        overwrite
            Whether to replace an existing file.

        Raises
        ------
        FileExistsError
            If the file exists and is not to be replaced.
        """
        header = ("from", "to", "confidence", "accuracy", "accuracy low", "accuracy high")
        columns = (self.edges[:-1], self.edges[1:], self.confidence, self.accuracy)
        columns += (self.low, self.high)
        write_csv(
            path,
            (*header, "patterns"),
            (
                (*(f"{value:.6g}" if np.isfinite(value) else "" for value in row), int(n))
                for *row, n in zip(*columns, self.count, strict=True)
            ),
            overwrite,
        )


def expected_calibration_error(
    confidence: np.ndarray, right: np.ndarray, n_bins: int = 15
) -> float:
    """Mean difference of confidence and accuracy (Guo et al., ICML 2017, equation 3).

    Parameters
    ----------
    confidence
        Confidence of each pattern, from 0 to 1, of shape (n,).
    right
        Whether each pattern is right, of shape (n,).
    n_bins
        Number of bins of equal width, within which differences cancel.

    Returns
    -------
    error
        Mean over the bins, each weighted by its number of patterns, from 0 to 1. Of few patterns it
        is too high: chance differs from the confidence too.

    Raises
    ------
    ValueError
        As :func:`reliability`.

    Examples
    --------
    >>> from kikuchipy_cnn.evaluation import expected_calibration_error
    >>> confidence = [0.55, 0.6, 0.65, 0.7, 0.9, 0.95]
    >>> right = [True, False, True, False, True, True]
    >>> error = expected_calibration_error(confidence, right, n_bins=4)
    >>> round(error, 3)
    0.108
    """
    return reliability(confidence, right, n_bins).error


def reliability(confidence: np.ndarray, right: np.ndarray, n_bins: int = 15) -> Reliability:
    """Compare how often patterns are right with their confidence (Guo et al., ICML 2017, section
    2).

    Parameters
    ----------
    confidence
        Confidence of each pattern, from 0 to 1, of shape (n,).
    right
        Whether each pattern is right, of shape (n,).
    n_bins
        Number of bins of equal width. A confidence between two bins is in the lower one.

    Returns
    -------
    reliability
        Confidence and accuracy by bin.

    Raises
    ------
    ValueError
        If there are no patterns, the shapes do not fit, a confidence is not from 0 to 1, or
        *n_bins* is below 1.

    Examples
    --------
    Answers that are right as often as their confidence says.

    >>> import numpy as np
    >>> from kikuchipy_cnn.evaluation import reliability
    >>> rng = np.random.default_rng(0)
    >>> confidence = rng.uniform(0.2, 1, 5000)
    >>> right = rng.uniform(size=5000) < confidence
    >>> curve = reliability(confidence, right)
    >>> curve.error < 0.03
    True
    """
    confidence, right = checked_confidence(confidence, right, "right")
    check_integer("n_bins", n_bins, 1)
    index = np.digitize(confidence, np.linspace(0, 1, n_bins + 1)[1:-1], right=True)
    count = np.bincount(index, minlength=n_bins)
    n_right = np.bincount(index[right], minlength=n_bins)
    divisor = np.where(count > 0, count, np.nan)
    low, high = np.array(
        [wilson_interval(k, n) for k, n in zip(n_right.tolist(), count.tolist(), strict=True)]
    ).T
    return Reliability(
        np.bincount(index, confidence, n_bins) / divisor, n_right / divisor, low, high, count
    )


def reliability_by_class(
    evaluation: Evaluation, n_bins: int = 15
) -> dict[int, Reliability] | dict[str, Reliability]:
    """Compare how often the patterns of each predicted class are right with their probability.

    Parameters
    ----------
    evaluation
        Evaluation of a model.
    n_bins
        Number of bins of equal width.

    Returns
    -------
    reliability
        Confidence and accuracy by label of the predicted class, in the order of the model's
        classes. Classes that were never predicted are left out.

    Raises
    ------
    ValueError
        If *n_bins* is below 1.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn.evaluation import (
    ...     evaluate, reliability_by_class
    ... )
    >>> from kikuchipy_cnn.training import LabelledPatterns
    >>> s = kp.data.nickel_ebsd_small()
    >>> patterns = LabelledPatterns.from_signals({225: {"Ni": s}})
    >>> evaluation = evaluate(
    ...     "fast_fewshot", patterns, show_progressbar=False
    ... )
    >>> curves = reliability_by_class(evaluation, n_bins=5)
    >>> 225 in curves
    True
    >>> int(sum(curve.count.sum() for curve in curves.values()))
    9
    """
    scores, right, predicted = evaluation.scores, evaluation.right, evaluation.predicted
    return {
        label: reliability(scores[chosen], right[chosen], n_bins)
        for label in evaluation.labels
        if (chosen := predicted == label).any()
    }
