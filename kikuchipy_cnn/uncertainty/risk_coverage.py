# SPDX-License-Identifier: GPL-3.0-or-later

"""How many patterns must be left without an answer for the others to be right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from kikuchipy_cnn._checks import check_integer
from kikuchipy_cnn._confidence import checked_confidence

__all__ = ["RiskCoverage"]

_CONFIDENCE = 0.95
# Of confidences and of what is stored.
_DECIMALS = 6
_KEYS = ("thresholds", "coverage", "risk", "n_accepted")


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """Risk of the patterns that are answered against their part of all.

    A pattern is answered if its confidence is at least a threshold (El-Yaniv and Wiener, JMLR 11
    (2010) 1605; Geifman and El-Yaniv, NeurIPS 2017). Make one with :meth:`from_scores`.

    Parameters
    ----------
    thresholds
        Confidences, from 0 to 1 and descending, of shape (m,).
    coverage
        Part of the patterns that are answered at each threshold, from 0 to 1 and not descending, of
        shape (m,).
    risk
        Part of the answered patterns that are wrong, from 0 to 1, of shape (m,).
    n_accepted
        Number of answered patterns, of shape (m,). Of weighted patterns, how many of equal weights
        would tell as much (Kish, Survey Sampling, Wiley, 1965).
    n
        Number of patterns.

    Raises
    ------
    ValueError
        If the arrays are not like this.

    Examples
    --------
    >>> import numpy as np
    >>> from kikuchipy_cnn.uncertainty import RiskCoverage
    >>> rng = np.random.default_rng(0)
    >>> confidence = rng.uniform(size=2000)
    >>> wrong = rng.uniform(size=2000) > confidence
    >>> curve = RiskCoverage.from_scores(confidence, wrong)
    >>> threshold = curve.threshold_for_risk(0.2)
    >>> coverage, risk = curve.at(threshold)
    >>> risk < 0.2
    True
    >>> 0.2 < coverage < 0.5
    True
    """

    thresholds: np.ndarray
    coverage: np.ndarray
    risk: np.ndarray
    n_accepted: np.ndarray
    n: int

    def __post_init__(self) -> None:
        check_integer("n", self.n, 1)
        shapes = {name: np.shape(getattr(self, name)) for name in _KEYS}
        m = len(self.thresholds) if np.ndim(self.thresholds) else 0
        if m == 0 or set(shapes.values()) != {(m,)}:
            raise ValueError(
                f"The curve has arrays of shapes {shapes}, but must have one value of each for "
                "every threshold, and at least one threshold."
            )
        largest = {name: 1 for name in _KEYS} | {"n_accepted": self.n}
        for name, most in largest.items():
            values = getattr(self, name)
            # Written so that what is not a number is found too.
            outside = ~((values >= 0) & (values <= most))
            if outside.any():
                raise ValueError(f"{name} has {values[outside][0]}, but must be from 0 to {most}.")
        if (np.diff(self.thresholds) >= 0).any():
            raise ValueError("thresholds must be descending, without any of them twice.")
        if (np.diff(self.coverage) < 0).any():
            raise ValueError("coverage must not descend from one threshold to the next.")

    def __repr__(self) -> str:
        return f"RiskCoverage({self.n} patterns, risk {self.risk[-1]:.4f} at full coverage)"

    @classmethod
    def from_scores(
        cls,
        confidence: np.ndarray,
        wrong: np.ndarray,
        weights: np.ndarray | None = None,
        n_points: int = 200,
    ) -> RiskCoverage:
        """Make the curve of patterns of known phase.

        Parameters
        ----------
        confidence
            Confidence of each pattern, from 0 to 1, of shape (n,). It is rounded down to 6
            decimals, which any threshold of as many tells alike.
        wrong
            Whether each pattern's answer is wrong, of shape (n,). That of a phase outside the
            classes always is.
        weights
            Positive weight of each pattern, of shape (n,), for groups of different size to count
            alike. If not given, all patterns do.
        n_points
            Number of thresholds to keep at most. Of more, those are kept that are evenly spaced in
            coverage, with both ends.

        Returns
        -------
        curve
            Patterns of the same confidence are answered together.

        Raises
        ------
        ValueError
            If there are no patterns, the shapes do not fit, a confidence is not from 0 to 1, a
            weight is not positive, or *n_points* is below 2.
        """
        confidence, wrong = checked_confidence(confidence, wrong, "wrong")
        check_integer("n_points", n_points, 2)
        weights = _checked_weights(weights, len(confidence))
        confidence = _floor(confidence)
        order = np.argsort(-confidence, kind="stable")
        confidence, wrong, weights = confidence[order], wrong[order], weights[order]
        last = np.append(np.flatnonzero(np.diff(confidence)), len(confidence) - 1)
        total, squares = np.cumsum(weights)[last], np.cumsum(weights**2)[last]
        coverage = total / total[-1]
        kept = np.arange(len(last))
        if len(last) > n_points:
            even = np.linspace(coverage[0], coverage[-1], n_points)
            kept = np.unique(np.searchsorted(coverage, even))
        # Rounding must not take these beyond what there is.
        risk = np.minimum(np.cumsum(weights * wrong)[last] / total, 1)
        n_accepted = np.minimum(total**2 / squares, last + 1)
        return cls(
            confidence[last][kept],
            coverage[kept],
            risk[kept],
            n_accepted[kept],
            len(confidence),
        )

    @property
    def upper_risk(self) -> np.ndarray:
        """Limit that the risk is below with 95 % confidence, of shape (m,).

        It is one-sided and exact (Clopper and Pearson, Biometrika 26 (1934) 404), of each threshold
        alone. That the lowest of several is looked for is not allowed for.
        """
        n_wrong = self.risk * self.n_accepted
        n_right = self.n_accepted - n_wrong
        # Without right patterns there is no distribution, and no limit.
        limits = beta.ppf(_CONFIDENCE, n_wrong + 1, np.where(n_right > 0, n_right, 1))
        return np.where(n_right > 0, limits, 1.0)

    def threshold_for_risk(self, risk: float, bounded: bool = True) -> float:
        """Return the threshold that answers most patterns at a risk.

        Thresholds of a higher confidence may have a higher risk: of few patterns the risk is mostly
        chance.

        Parameters
        ----------
        risk
            Part of the answered patterns that may be wrong, from 0 to 1.
        bounded
            Whether :attr:`upper_risk` must be within it instead of the risk of the patterns at
            hand.

        Returns
        -------
        threshold
            Lowest confidence to answer.

        Raises
        ------
        ValueError
            If the risk is not from 0 to 1, or cannot be had.
        """
        _check_part("risk", risk)
        reached = self.upper_risk if bounded else self.risk
        within = np.flatnonzero(reached <= risk)
        if len(within) == 0:
            lowest = int(np.argmin(reached))
            what = "its limit of 95 % confidence" if bounded else "the lowest"
            raise ValueError(
                f"risk={risk} cannot be had: {what} is {reached[lowest]:.4g} at best, at a "
                f"coverage of {self.coverage[lowest]:.3f}. Allow as much, or give more patterns."
            )
        return float(self.thresholds[within[-1]])

    def threshold_for_coverage(self, coverage: float) -> float:
        """Return the highest threshold that answers a part of the patterns.

        Parameters
        ----------
        coverage
            Part of the patterns to answer at least, from 0 to 1.

        Returns
        -------
        threshold
            Lowest confidence to answer.

        Raises
        ------
        ValueError
            If the coverage is not from 0 to 1.
        """
        _check_part("coverage", coverage)
        # Stored parts are rounded.
        enough = self.coverage >= coverage - 10.0**-_DECIMALS
        return float(self.thresholds[enough.argmax()])

    def at(self, threshold: float) -> tuple[float, float]:
        """Return what comes of a threshold.

        Parameters
        ----------
        threshold
            Lowest confidence to answer.

        Returns
        -------
        coverage, risk
            Those of the next threshold of the curve that is not lower, from 0 to 1. Where there is
            none, no pattern is answered: 0, and not a number.
        """
        n_higher = int((self.thresholds >= threshold).sum())
        if n_higher == 0:
            return 0.0, float("nan")
        return float(self.coverage[n_higher - 1]), float(self.risk[n_higher - 1])

    def area(self) -> float:
        """Return the area under the curve: the mean of the risk over all coverages.

        The risk is linear between the thresholds, and up to the first one as it is there. The lower
        the area, the better does the confidence tell right from wrong, and the more is right.

        Returns
        -------
        area
            From 0 to 1.
        """
        coverage = np.concatenate([[0], self.coverage])
        risk = np.concatenate([self.risk[:1], self.risk])
        return float(np.trapezoid(risk, coverage))

    def to_dict(self) -> dict:
        """Return the curve as numbers of 6 decimals, ready for JSON.

        Returns
        -------
        values
            Lists, and the number of patterns, by name.
        """
        lists = {name: np.round(getattr(self, name), _DECIMALS).tolist() for name in _KEYS}
        return lists | {"n": int(self.n)}

    @classmethod
    def from_dict(cls, values: Mapping) -> RiskCoverage:
        """Make a curve from what :meth:`to_dict` returned.

        Parameters
        ----------
        values
            Lists by name.

        Returns
        -------
        curve
            The same one.

        Raises
        ------
        ValueError
            If a list is missing or no list of numbers, or they are no curve.
        """
        missing = [name for name in (*_KEYS, "n") if name not in values]
        if missing:
            raise ValueError(
                f"A risk-coverage curve must have {', '.join(missing)}, but has only "
                f"{', '.join(map(str, values))}."
            )
        try:
            arrays = [np.asarray(values[name], np.float64) for name in _KEYS]
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"A risk-coverage curve must be made of lists of numbers: {error}"
            ) from error
        return cls(*arrays, values["n"])


def _checked_weights(weights: np.ndarray | None, n: int) -> np.ndarray:
    if weights is None:
        return np.ones(n)
    weights = np.asarray(weights, np.float64)
    if weights.shape != (n,):
        raise ValueError(f"weights of shape {weights.shape} must be one for each of {n} patterns.")
    if not (np.isfinite(weights) & (weights > 0)).all():
        raise ValueError(
            f"weights from {weights.min()} to {weights.max()} must be positive and finite. Leave "
            "out patterns that are not to count."
        )
    return weights


def _floor(confidence: np.ndarray) -> np.ndarray:
    """Round down to so many decimals."""
    rounded = confidence.round(_DECIMALS)
    lower = (rounded - 10.0**-_DECIMALS).round(_DECIMALS)
    return np.where(rounded > confidence, lower, rounded)


def _check_part(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name}={value} must be from 0 to 1.")
