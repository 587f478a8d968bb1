"""Probabilities that are as often right as they say."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

# Natural logarithms of the temperatures tried.
_BOUNDS = (-2.0, 2.0)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Fit the temperature that logits are divided by (Guo et al., ICML 2017, section 4.2).

    Parameters
    ----------
    logits
        Logits of patterns that were not trained on, of shape (n, classes).
    labels
        Index of each one's class, of shape (n,).

    Returns
    -------
    temperature
        The one of the highest likelihood, from 0.14 to 7.4.

    Raises
    ------
    ValueError
        If there are no patterns.
    """
    if len(labels) == 0:
        raise ValueError("A temperature cannot be fitted without patterns. Give at least one.")
    logits = np.asarray(logits, np.float64)
    fit = minimize_scalar(
        lambda x: cross_entropy(logits / np.exp(x), labels), bounds=_BOUNDS, method="bounded"
    )
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
