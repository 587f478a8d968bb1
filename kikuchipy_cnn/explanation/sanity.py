# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether an explanation is one of the network or of the pattern alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from kikuchipy_cnn.explanation._common import Question, as_patterns
from kikuchipy_cnn.explanation.attributions import Attributions
from kikuchipy_cnn.explanation.background import simulate_background
from kikuchipy_cnn.explanation.explain import METHODS
from kikuchipy_cnn.models import Ensemble, ModelBundle, as_model
from kikuchipy_cnn.models.registry import ModelLike
from kikuchipy_cnn.models.statistics import BatchStatistics

# Simulated patterns of each class, and patterns at once, for means and variances.
_N_FOR_STATISTICS, _AT_ONCE = 20, 64


def with_shuffled_weights(
    model: ModelLike, images: np.ndarray | None = None, *, seed: int = 0
) -> ModelBundle | Ensemble:
    """Copy a model and shuffle the weights of each kernel.

    They keep their distribution and lose what was learned.

    Parameters
    ----------
    model
        Model, or its name or path.
    images
        Preprocessed patterns, of shape (n, size, size, 1), by which the normalisations of the
        shuffled network take their means and variances; with those of other kernels, its output
        would hardly depend on its input. If not given, some are simulated, see
        :func:`simulate_background`.
    seed
        Seed of the order.

    Returns
    -------
    model
        Model of the same architecture, without a detector or rejection.

    Examples
    --------
    >>> import kikuchipy_cnn
    >>> from kikuchipy_cnn import explanation
    >>> model = kikuchipy_cnn.load_model("fast_fewshot")
    >>> images = explanation.simulate_background(model, 2)
    >>> shuffled = explanation.with_shuffled_weights(model, images)
    >>> shuffled.classes == model.classes, shuffled.detector is None
    (True, True)
    """
    import keras

    model = as_model(model)
    if images is None:
        images = simulate_background(model, _N_FOR_STATISTICS, seed=seed)
    if isinstance(model, Ensemble):
        members = tuple(
            with_shuffled_weights(member, images, seed=seed + i)
            for i, member in enumerate(model.members)
        )
        return replace(model, members=members, rejection=None)
    rng = np.random.default_rng(seed)
    network = keras.models.clone_model(model.network)
    network.set_weights(
        [
            # What is not a kernel belongs to a channel: a scale, a mean, a bias.
            rng.permuted(weight) if weight.ndim > 1 else weight
            for weight in model.network.get_weights()
        ]
    )
    images = model.network_input(rng.permutation(images))
    BatchStatistics(network).retake(np.array_split(images, -(-len(images) // _AT_ONCE)))
    return replace(model, network=network, detector=None, rejection=None)


def randomisation_test(
    model: ModelLike,
    patterns: np.ndarray,
    method: str = "shap",
    *,
    details: bool = False,
    seed: int = 0,
    **options: Any,
) -> np.ndarray:
    """Compare explanations with those of a network that has learned nothing.

    An explanation that looks the same for shuffled weights shows the pattern and not what the
    network makes of it (Adebayo et al., NeurIPS 2018).

    Parameters
    ----------
    model
        Model, or its name or path.
    patterns
        Patterns of shape (rows, columns) or (n, rows, columns).
    method
        ``"shap"`` for :func:`shapley_values`, or ``"gradcam"`` for :func:`grad_cam`.
    details
        Whether to compare the details of guided Grad-CAM instead of the values.
    seed
        Seed of the shuffling.
    **options
        Further arguments of the method, but *space_group* and *n_classes*: the class that the model
        finds most probable is explained.

    Returns
    -------
    correlations
        Rank correlation of the magnitudes of the two explanations, of shape (n,): 1 if they are
        alike, 0 if they have nothing in common.

    Raises
    ------
    ValueError
        If there is no such method or it has no details, or the method raises it.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn.explanation import randomisation_test
    >>> s = kp.data.nickel_ebsd_small()
    >>> correlations = randomisation_test(
    ...     "fast_fewshot",
    ...     s.data[0, 2],
    ...     method="gradcam",
    ...     guided=False,
    ...     static_background=s.static_background,
    ...     show_progressbar=False,
    ... )
    >>> correlations.shape  # patterns
    (1,)
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r}, but it must be one of {', '.join(METHODS)}.")
    if details and method != "gradcam":
        raise ValueError("details=True, but only method='gradcam' has details.")
    model = as_model(model)
    shuffled = with_shuffled_weights(model, seed=seed)
    patterns = as_patterns(patterns)
    question = Question.of(
        model, patterns, None, 1, options.get("signal_mask"), options.get("static_background")
    )
    predicted = question.explained[:, 0]
    labels = np.array(model.classes.labels)[predicted]
    correlations = np.empty(len(patterns))
    for label in np.unique(labels):
        places = labels == label
        first, second = (
            METHODS[method](one, patterns[places], space_group=label.item(), **options)
            for one in (model, shuffled)
        )
        correlations[places] = rank_correlations(first, second, details=details)[:, 0]
    return correlations


def rank_correlations(
    first: Attributions, second: Attributions, *, details: bool = False
) -> np.ndarray:
    """Compare the magnitudes of two explanations of the same patterns.

    Parameters
    ----------
    first, second
        Explanations of n patterns and k classes of each, with the same preprocessing.
    details
        Whether to compare the details of guided Grad-CAM instead of the values.

    Returns
    -------
    correlations
        Spearman's rank correlation over the pixels that are used, of shape (n, k). Not a number
        where all values of an explanation are the same.

    Raises
    ------
    ValueError
        If the explanations are of different shape, or there are no details.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn.explanation import grad_cam, rank_correlations
    >>> s = kp.data.nickel_ebsd_small()
    >>> first, second = (
    ...     grad_cam(
    ...         model,
    ...         s.data[0, 2],
    ...         225,
    ...         guided=False,
    ...         static_background=s.static_background,
    ...         show_progressbar=False,
    ...     )
    ...     for model in ("fast_fewshot", "fast_fewshot_ten")
    ... )
    >>> rank_correlations(first, second).shape  # patterns and classes
    (1, 1)
    >>> rank_correlations(first, first).round(2)
    array([[1.]])
    """
    values = [one.chosen(details) for one in (first, second)]
    if values[0].shape != values[1].shape:
        raise ValueError(
            f"Values of shapes {values[0].shape} and {values[1].shape} cannot be compared."
        )
    # What both leave out would seem to be something that they have in common.
    inside = first.inside
    correlations = np.full(values[0].shape[:2], np.nan)
    for place in np.ndindex(correlations.shape):
        magnitudes = [np.abs(of_one[place][inside]) for of_one in values]
        if all(np.ptp(of_one) > 0 for of_one in magnitudes):
            correlations[place] = spearmanr(*magnitudes).statistic
    return correlations
