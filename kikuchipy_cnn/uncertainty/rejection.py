# SPDX-License-Identifier: GPL-3.0-or-later

"""Patterns that are given no answer, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from scipy.special import softmax

from kikuchipy_cnn.uncertainty.measures import logit_summaries
from kikuchipy_cnn.uncertainty.risk_coverage import RiskCoverage

__all__ = ["KINDS", "Detector", "Limits", "RejectReason", "Rejection", "reject_reasons"]

# What an image can be of, and how often it is expected to be: most maps are mostly of phases that
# were thought of.
KINDS = ("known phase", "other phase", "no pattern")
SHARES = (0.9, 0.05, 0.05)
_ARRAYS = ("mean", "scale", "kernel", "bias")
# Weight of the mean loss against half the sum of the squared weights. Chosen on phases outside the
# classes that the weights were not fitted to.
_LOSS_WEIGHT = 30.0
_ITERATIONS = 500


class RejectReason(IntEnum):
    """Why a pattern is given no answer.

    Examples
    --------
    >>> from kikuchipy_cnn.uncertainty import RejectReason
    >>> RejectReason(2)
    <RejectReason.NO_DIFFRACTION: 2>
    >>> RejectReason(2).meaning
    'no diffraction'
    """

    INDEXED = 0
    INVALID = 1
    NO_DIFFRACTION = 2
    OUTSIDE_CLASSES = 3
    DOUBTFUL = 4

    @property
    def meaning(self) -> str:
        """The reason in words."""
        return _MEANINGS[self]


_MEANINGS = {
    RejectReason.INDEXED: "indexed",
    RejectReason.INVALID: "not a valid pattern",
    RejectReason.NO_DIFFRACTION: "no diffraction",
    RejectReason.OUTSIDE_CLASSES: "outside the classes",
    RejectReason.DOUBTFUL: "too doubtful",
}


@dataclass(frozen=True, eq=False)
class Detector:
    """Tells patterns of known phases from those of others and from images without a pattern.

    A multinomial logistic regression on what the last layer of a network sees and on summaries of
    its logits. Showing it examples of what is to be refused is outlier exposure (Hendrycks et al.,
    ICLR 2019). Make one with :meth:`fit`.

    Parameters
    ----------
    mean, scale
        Mean and standard deviation of each input, of shape (inputs,).
    kernel
        Weights of shape (inputs, 3).
    bias
        Constants of shape (3,).

    Raises
    ------
    ValueError
        If the arrays do not fit together or are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from kikuchipy_cnn.uncertainty import Detector
    >>> rng = np.random.default_rng(0)
    >>> kinds = np.repeat([0, 1, 2], 50)
    >>> features = rng.normal(3 * np.eye(3)[kinds], 1)
    >>> logits = rng.normal(0, 1, (150, 4))
    >>> detector = Detector.fit(features, logits, kinds)
    >>> detector(features, logits).shape
    (150, 3)
    """

    mean: np.ndarray
    scale: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray

    def __post_init__(self) -> None:
        n = len(self.mean)
        expected = {"mean": (n,), "scale": (n,), "kernel": (n, len(KINDS)), "bias": (len(KINDS),)}
        for name, shape in expected.items():
            array = getattr(self, name)
            if np.shape(array) != shape or not np.isfinite(array).all():
                raise ValueError(f"{name} of a detector must be finite and of shape {shape}.")

    def __call__(self, features: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """Probability that images are of each kind.

        Parameters
        ----------
        features
            Input of the last layer, of shape (n, features).
        logits
            Its output, of shape (n, classes).

        Returns
        -------
        kinds
            Probabilities of a known phase, another phase and no pattern, of shape (n, 3), where
            these are expected to be 90, 5 and 5 % of all.
        """
        inputs = (_inputs(features, logits) - self.mean) / self.scale
        return softmax(inputs @ self.kernel + self.bias + np.log(SHARES), axis=1)

    @classmethod
    def fit(cls, features: np.ndarray, logits: np.ndarray, kinds: np.ndarray) -> Detector:
        """Fit a detector to examples.

        Parameters
        ----------
        features, logits
            As for a call.
        kinds
            Index of each one's kind, of shape (n,): 0 for a known phase, 1 for another one, 2 for
            no pattern. Each kind counts the same, however many examples it has.

        Returns
        -------
        detector
            Detector with weights of 32 bits.

        Raises
        ------
        ValueError
            If a kind has no example.
        """
        from sklearn.linear_model import LogisticRegression

        missing = [kind for i, kind in enumerate(KINDS) if not (np.asarray(kinds) == i).any()]
        if missing:
            raise ValueError(f"There is no example of {', '.join(missing)}. Give some of each.")
        inputs = _inputs(features, logits)
        mean, scale = inputs.mean(axis=0), np.maximum(inputs.std(axis=0), 1e-6)
        regression = LogisticRegression(
            C=_LOSS_WEIGHT / len(kinds), max_iter=_ITERATIONS, class_weight="balanced"
        ).fit((inputs - mean) / scale, kinds)
        values = (mean, scale, regression.coef_.T, regression.intercept_)
        return cls(*(np.asarray(value, np.float32) for value in values))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays by name.

        Returns
        -------
        arrays
            Those of the parameters.
        """
        return {name: getattr(self, name) for name in _ARRAYS}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Detector:
        """Make a detector from what :meth:`to_arrays` returned.

        Parameters
        ----------
        arrays
            Arrays by name.

        Returns
        -------
        detector
            Detector with weights of 32 bits.
        """
        return cls(*(np.asarray(arrays[name], np.float32) for name in _ARRAYS))


class Limits(NamedTuple):
    """What a pattern must reach to get an answer.

    Parameters
    ----------
    confidence
        Least probability of the winner, times that of a known phase.
    known_phase
        Least probability of a known phase.

    Examples
    --------
    >>> import kikuchipy_cnn
    >>> model = kikuchipy_cnn.load_model("fast_fewshot")
    >>> limits = model.rejection.limits
    >>> round(limits.confidence, 3), round(limits.known_phase, 3)
    (0.207, 0.847)
    """

    confidence: float = 0.0
    known_phase: float = 0.0


@dataclass(frozen=True, eq=False)
class Rejection:
    """When a model gives no answer.

    Parameters
    ----------
    curve
        Risk against coverage of the model by its confidence, on patterns described by *patterns*.
        Those that are not probable enough to be of a known phase have a confidence of 0.
    limits
        Limits unless the user sets a risk.
    patterns
        What the curve was measured on.

    Raises
    ------
    ValueError
        If a limit is not in [0, 1].

    Examples
    --------
    >>> import kikuchipy_cnn
    >>> rejection = kikuchipy_cnn.load_model("fast_fewshot").rejection
    >>> default = rejection.limits_for(None)
    >>> strict = rejection.limits_for(0.05)
    >>> strict.confidence > default.confidence
    True
    """

    curve: RiskCoverage
    limits: Limits
    patterns: str

    def __post_init__(self) -> None:
        for name, value in self.limits._asdict().items():
            if not 0 <= value <= 1:
                raise ValueError(f"The limit {name}={value} must be from 0 to 1.")

    def limits_for(self, max_risk: float | None) -> Limits:
        """Return the limits for a risk.

        Parameters
        ----------
        max_risk
            Part of the answers that may be wrong, or None for the default limits.

        Returns
        -------
        limits
            What a pattern must reach to get an answer.

        Raises
        ------
        ValueError
            If the risk cannot be had.
        """
        if max_risk is None:
            return self.limits
        return self.limits._replace(confidence=self.curve.threshold_for_risk(max_risk))

    def to_dict(self) -> dict:
        """Return all of it, ready for JSON.

        Returns
        -------
        values
            Curve and limits as dictionaries, and what they were measured on, by name.
        """
        return {
            "curve": self.curve.to_dict(),
            "limits": self.limits._asdict(),
            "patterns": self.patterns,
        }

    @classmethod
    def from_dict(cls, values: Mapping) -> Rejection:
        """Make one from what :meth:`to_dict` returned.

        Parameters
        ----------
        values
            Curve, limits and patterns by name.

        Returns
        -------
        rejection
            The same one.
        """
        limits = Limits(**{name: float(x) for name, x in values["limits"].items()})
        return cls(RiskCoverage.from_dict(values["curve"]), limits, str(values["patterns"]))


def reject_reasons(
    winner: np.ndarray, kinds: np.ndarray | None, valid: np.ndarray, limits: Limits
) -> tuple[np.ndarray, np.ndarray]:
    """Tell how confident answers are, which patterns get none, and why.

    Parameters
    ----------
    winner
        Probability of the most probable class, of shape (n,).
    kinds
        Probabilities of the three kinds, of shape (n, 3), or None if the model has no detector.
    valid
        False where a pattern is constant or not finite, of shape (n,).
    limits
        What a pattern must reach.

    Returns
    -------
    confidence
        Probability of the winner, times that of a known phase, of shape (n,).
    reasons
        Values of :class:`RejectReason`, of shape (n,) and data type uint8. A pattern that is not
        probable enough to be of a known phase is called what is more probable, of another phase
        or no pattern.
    """
    known = np.ones(len(winner)) if kinds is None else kinds[:, 0]
    confidence = winner * known
    low = confidence < limits.confidence
    reasons = np.where(low, RejectReason.DOUBTFUL, RejectReason.INDEXED).astype(np.uint8)
    if kinds is not None:
        strange, is_pattern = known < limits.known_phase, kinds[:, 1] >= kinds[:, 2]
        reasons[strange & is_pattern] = RejectReason.OUTSIDE_CLASSES
        reasons[strange & ~is_pattern] = RejectReason.NO_DIFFRACTION
    reasons[~valid] = RejectReason.INVALID
    return confidence, reasons


def _inputs(features: np.ndarray, logits: np.ndarray) -> np.ndarray:
    return np.concatenate([np.asarray(features, np.float64), logit_summaries(logits)], axis=1)
