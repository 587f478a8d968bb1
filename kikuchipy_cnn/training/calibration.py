"""Probabilities that are as often right as they say."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

# Natural logarithms of the temperatures tried.
_BOUNDS = (-2.0, 2.0)
# Standard deviation of the logarithm before anything is known. Few patterns that all come out right
# say that the network is often right, but not that it always is.
_PRIOR_DEVIATION = 0.5


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Fit the temperature that logits are divided by (Guo et al., ICML 2017, section 4.2).

    Their likelihood, which is highest for an infinitely sure network if all patterns are right, has
    a prior here: the logarithm of the temperature is normal around 0 with a standard deviation of
    0.5. Of some hundred patterns and more it is not felt.

    Parameters
    ----------
    logits
        Logits of patterns that were not trained on, of shape (n, classes).
    labels
        Index of each one's class, of shape (n,).

    Returns
    -------
    temperature
        The most probable one, from 0.14 to 7.4.

    Raises
    ------
    ValueError
        If there are no patterns.
    """
    if len(labels) == 0:
        raise ValueError("A temperature cannot be fitted without patterns. Give at least one.")
    logits = np.asarray(logits, np.float64)

    def loss(x: float) -> float:
        likelihood = len(labels) * cross_entropy(logits / np.exp(x), labels)
        return likelihood + 0.5 * (x / _PRIOR_DEVIATION) ** 2

    fit = minimize_scalar(loss, bounds=_BOUNDS, method="bounded")
    return float(np.exp(fit.x))


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean of the negative logarithm of the right class's probability.

    Parameters
    ----------
    logits
        Logits of shape (n, classes).
    labels
        Index of each one's class, of shape (n,).
    """
    log_probabilities = log_softmax(np.asarray(logits, np.float64), axis=1)
    return float(-log_probabilities[np.arange(len(labels)), labels].mean())
