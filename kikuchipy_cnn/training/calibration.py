# SPDX-License-Identifier: GPL-3.0-or-later

"""Probabilities that are as often right as they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from kikuchipy_cnn.models import Ensemble, ModelBundle
from kikuchipy_cnn.models.ensemble import members_of
from kikuchipy_cnn.training.labelled import LabelledPatterns
from kikuchipy_cnn.training.network_outputs import NetworkOutputs

# Natural logarithms of the temperatures tried.
_BOUNDS = (-2.0, 2.0)
# Standard deviation of the logarithm before anything is known. Few patterns that all come out right
# say that the network is often right, but not that it always is.
_PRIOR_DEVIATION = 0.5


def fit_temperature(
    logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None
) -> float:
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
    weights
        How much each counts, of shape (n,) and of any scale. If not given, all count the same.

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
        likelihood = len(labels) * cross_entropy(logits / np.exp(x), labels, weights)
        return likelihood + 0.5 * (x / _PRIOR_DEVIATION) ** 2

    fit = minimize_scalar(loss, bounds=_BOUNDS, method="bounded")
    return float(np.exp(fit.x))


def cross_entropy(
    logits: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None
) -> float:
    """Mean of the negative logarithm of the right class's probability.

    Parameters
    ----------
    logits
        Logits of shape (n, classes).
    labels
        Index of each one's class, of shape (n,).
    weights
        How much each counts, of shape (n,) and of any scale. If not given, all count the same.

    Returns
    -------
    mean
        Mean over the patterns, not negative.
    """
    log_probabilities = log_softmax(np.asarray(logits, np.float64), axis=1)
    of_right = log_probabilities[np.arange(len(labels)), labels]
    return float(-np.average(of_right, weights=weights))


def calibrate(
    model: ModelBundle | Ensemble,
    patterns: LabelledPatterns,
    weights: np.ndarray | None = None,
    *,
    show_progressbar: bool | None = None,
) -> ModelBundle | Ensemble:
    """Fit the temperature of a model, and of all members of an ensemble, to patterns.

    Parameters
    ----------
    model
        Model.
    patterns
        Patterns of the model's classes that it has not learned from. Those of phases that it has
        not learned from either make it as sure as it should be of new phases, and less sure than it
        could be of those it knows.
    weights
        How much each pattern counts, of shape (n,). If not given, all count the same.
    show_progressbar
        Whether to show a progress bar. If not given, the value of
        :obj:`hyperspy.api.preferences.General.show_progressbar` is used.

    Returns
    -------
    model
        The same with other temperatures, and without a rejection: thresholds of confidence go with
        the temperatures.

    Raises
    ------
    ValueError
        If there are no patterns, or some are of other classes.

    Examples
    --------
    >>> import kikuchipy_cnn
    >>> from kikuchipy_cnn.training import LabelledPatterns, calibrate
    >>> model = kikuchipy_cnn.load_model("fast_fewshot")
    >>> patterns = LabelledPatterns.from_simulation(
    ...     ["Ni", "W"], 8, show_progressbar=False
    ... )
    >>> calibrated = calibrate(model, patterns, show_progressbar=False)
    >>> calibrated.temperature != model.temperature
    True
    >>> calibrated.rejection is None  # see fit_rejection()
    True
    """
    outputs = NetworkOutputs.of_patterns(model, patterns, show_progressbar)
    weights = None if weights is None else np.asarray(weights)[outputs.valid]
    return fit_temperatures(model, outputs, weights)


def fit_temperatures(
    model: ModelBundle | Ensemble, outputs: NetworkOutputs, weights: np.ndarray | None = None
) -> ModelBundle | Ensemble:
    """Fit the temperatures of a model to what its networks make of patterns.

    Parameters
    ----------
    model
        Model.
    outputs
        Outputs of its networks.
    weights
        How much each of the n patterns counts, of shape (n,). If not given, all count the same.

    Returns
    -------
    model
        As for :func:`calibrate`.
    """
    labels = outputs.labels(model.classes)
    members = tuple(
        replace(member, temperature=fit_temperature(logits, labels, weights), rejection=None)
        for member, logits in zip(members_of(model), outputs.logits, strict=True)
    )
    if isinstance(model, ModelBundle):
        return members[0]
    changed = replace(model, members=members, temperature=1.0, rejection=None)
    mean = np.log(np.maximum(outputs.probabilities(changed), 1e-30))
    return replace(changed, temperature=fit_temperature(mean, labels, weights))
