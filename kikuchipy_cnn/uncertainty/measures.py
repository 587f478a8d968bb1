# SPDX-License-Identifier: GPL-3.0-or-later

"""What the outputs of a network say of its doubt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import entr, logsumexp, softmax

__all__ = ["FeatureDistance", "energy", "logit_summaries", "mutual_information", "spread"]

# Of the mean variance, added to all variances so that a covariance of few patterns can be inverted.
_SHRINKAGE = 1e-4


def energy(logits: np.ndarray) -> np.ndarray:
    """Negative free energy of logits (Liu et al., NeurIPS 2020, equation 4).

    Parameters
    ----------
    logits
        Logits of shape (n, classes).

    Returns
    -------
    energy
        Values of shape (n,), higher for patterns like those of the training.

    Examples
    --------
    >>> from kikuchipy_cnn.uncertainty import energy
    >>> energy([[8.0, 1.0, 0.0], [1.0, 1.0, 0.0]]).round(2)
    array([8.  , 1.86])
    """
    return logsumexp(np.asarray(logits, np.float64), axis=1)


def logit_summaries(logits: np.ndarray) -> np.ndarray:
    """What logits say of whether any of the classes fits, whichever it is.

    Parameters
    ----------
    logits
        Logits of shape (n, classes).

    Returns
    -------
    summaries
        Energy, largest logit, its distance to the second, and the winner's probability without
        calibration, of shape (n, 4).
    """
    logits = np.asarray(logits, np.float64)
    second, first = np.partition(logits, -2, axis=1)[:, -2:].T
    winner = softmax(logits, axis=1).max(axis=1)
    return np.stack([energy(logits), first, first - second, winner], axis=1)


def mutual_information(probabilities: np.ndarray) -> np.ndarray:
    """Part of the entropy that comes from the members of an ensemble not agreeing.

    Parameters
    ----------
    probabilities
        Probabilities of each member, of shape (members, n, classes).

    Returns
    -------
    information
        Entropy of the mean minus mean of the entropies, in units of the largest possible entropy:
        from 0 (all say the same) to 1, of shape (n,). See Depeweg et al., ICML 2018, equation 5.

    Examples
    --------
    Two members agree on the first pattern and contradict each other on
    the second.

    >>> from kikuchipy_cnn.uncertainty import mutual_information
    >>> first = [[0.9, 0.1], [1.0, 0.0]]
    >>> second = [[0.9, 0.1], [0.0, 1.0]]
    >>> mutual_information([first, second]).round(3)
    array([0., 1.])
    """
    probabilities = np.asarray(probabilities, np.float64)
    of_mean = entr(probabilities.mean(axis=0)).sum(axis=-1)
    mean_of = entr(probabilities).sum(axis=-1).mean(axis=0)
    return np.clip((of_mean - mean_of) / np.log(probabilities.shape[-1]), 0, 1)


def spread(probabilities: np.ndarray) -> np.ndarray:
    """Standard deviation, over the members of an ensemble, of the winner's probability.

    Parameters
    ----------
    probabilities
        Probabilities of each member, of shape (members, n, classes).

    Returns
    -------
    deviation
        Values from 0 to 0.5, of shape (n,). The winner is that of the mean.

    Examples
    --------
    >>> from kikuchipy_cnn.uncertainty import spread
    >>> first = [[0.9, 0.1], [1.0, 0.0]]
    >>> second = [[0.9, 0.1], [0.2, 0.8]]
    >>> spread([first, second])
    array([0. , 0.4])
    """
    probabilities = np.asarray(probabilities, np.float64)
    winner = probabilities.mean(axis=0).argmax(axis=-1)
    return np.take_along_axis(probabilities, winner[None, :, None], axis=2)[..., 0].std(axis=0)


@dataclass(frozen=True, eq=False)
class FeatureDistance:
    """Distance of features from those of known classes (Lee et al., NeurIPS 2018).

    Make one with :meth:`fit`.

    Parameters
    ----------
    means
        Mean of each class, of shape (classes, features).
    precision
        Inverse of the covariance within the classes, of shape (features, features).
    mean, total_precision
        The same of all patterns together, of shapes (features,) and (features, features).

    Examples
    --------
    >>> import numpy as np
    >>> from kikuchipy_cnn.uncertainty import FeatureDistance
    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat([0, 1], 100)
    >>> features = rng.normal(4 * labels[:, None], 1, (200, 3))
    >>> distance = FeatureDistance.fit(features, labels)
    >>> near, far = distance([[4, 4, 4], [9, -9, 9]], relative=False)
    >>> bool(near > far)
    True
    """

    means: np.ndarray
    precision: np.ndarray
    mean: np.ndarray
    total_precision: np.ndarray

    @classmethod
    def fit(cls, features: np.ndarray, labels: np.ndarray) -> FeatureDistance:
        """Take means and covariances from patterns.

        Parameters
        ----------
        features
            Features of shape (n, features).
        labels
            Index of each one's class, of shape (n,); each class has a pattern.

        Returns
        -------
        distance
            What is called with features.
        """
        features = np.asarray(features, np.float64)
        means = np.stack([features[labels == i].mean(axis=0) for i in range(max(labels) + 1)])
        mean = features.mean(axis=0)
        return cls(means, _precision(features - means[labels]), mean, _precision(features - mean))

    def __call__(self, features: np.ndarray, relative: bool = True) -> np.ndarray:
        """Negative squared distance to the nearest class.

        Parameters
        ----------
        features
            Features of shape (n, features).
        relative
            Whether to subtract the distance to the mean of all (Ren et al., arXiv:2106.09022).

        Returns
        -------
        closeness
            Values of shape (n,), higher for patterns like those of the classes.
        """
        features = np.asarray(features, np.float64)
        squares = [_squares(features - mean, self.precision) for mean in self.means]
        nearest = np.min(squares, axis=0)
        if relative:
            nearest = nearest - _squares(features - self.mean, self.total_precision)
        return -nearest


def _precision(deviations: np.ndarray) -> np.ndarray:
    covariance = deviations.T @ deviations / len(deviations)
    floor = _SHRINKAGE * np.trace(covariance) / len(covariance)
    return np.linalg.inv(covariance + floor * np.eye(len(covariance)))


def _squares(deviations: np.ndarray, precision: np.ndarray) -> np.ndarray:
    return ((deviations @ precision) * deviations).sum(axis=1)
