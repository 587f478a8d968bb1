# SPDX-License-Identifier: GPL-3.0-or-later

"""Shapley values of the pixels of patterns."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np
from tqdm import tqdm

from kikuchipy_cnn._checks import check_integer
from kikuchipy_cnn._progress import is_progress_shown
from kikuchipy_cnn.explanation._common import Question, logits_of_members, valid_images
from kikuchipy_cnn.explanation._deep_shap import DeepShap
from kikuchipy_cnn.explanation.attributions import Attributions
from kikuchipy_cnn.explanation.background import simulate_background
from kikuchipy_cnn.models import Ensemble, ModelBundle
from kikuchipy_cnn.models.differentiation import gradient_function
from kikuchipy_cnn.models.ensemble import members_of
from kikuchipy_cnn.models.registry import ModelLike

ESTIMATORS = {"deep_shap": "DeepSHAP", "integrated_gradients": "integrated gradients"}
# Sums that are off by more than this part of the logit span are worth a warning.
LARGEST_ERROR = 1e-2
# Background patterns of 71 x 71 pixels at once take Xception about 1 GB.
_AT_ONCE, _OF_SIZE = 32, 71
# Its multiples are spread evenly over the fractions, however many there are.
_GOLDEN_RATIO = (1 + 5**0.5) / 2

# Explains a logit of an image against batches of background images.
Explainer = Callable[[np.ndarray, Sequence[np.ndarray]], Iterator[np.ndarray]]


def shapley_values(
    model: ModelLike,
    patterns: np.ndarray,
    background: np.ndarray | None = None,
    *,
    space_group: int | str | Sequence[int | str] | None = None,
    n_classes: int = 2,
    n_background: int = 100,
    estimator: str | None = None,
    n_steps: int = 32,
    signal_mask: np.ndarray | None = None,
    static_background: np.ndarray | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    show_progressbar: bool | None = None,
) -> Attributions:
    """Share out the logits of patterns among their pixels.

    The sum of a pattern's values is the difference of its logit from the mean logit of background
    patterns, as in :cite:`kaufmann2021efficient`.

    Parameters
    ----------
    model
        Model, or its name or path. Of an ensemble, the mean of its members' logits is explained.
    patterns
        Patterns as a camera gives them, of shape (rows, columns) or (n, rows, columns).
    background
        Patterns to compare with: of the same camera, of shape (m, rows, columns), or as the
        networks take them, of shape (m, size, size, 1), from :func:`simulate_background`. The more
        there are, the less the values depend on which ones. If not given, some are simulated.
    space_group
        Space-group numbers, or names of other classes, to explain. If not given, the most probable
        ones.
    n_classes
        Number of most probable classes to explain, if they are not given. Default is 2, the winner
        and the next.
    n_background
        Number of background patterns that are simulated of each class. Default is 100.
    estimator
        ``"deep_shap"``, DeepSHAP (Lundberg and Lee, NeurIPS 2017) by shap, which needs the
        TensorFlow backend, or ``"integrated_gradients"`` (Sundararajan et al., ICML 2017) along
        straight paths from the background patterns (expected gradients, Erion et al., Nat. Mach.
        Intell. 2021) under any backend. If not given, the former where it is possible. The result
        tells which it is.
    n_steps
        Number of steps of integrated gradients along each path.
    signal_mask
        Boolean mask of shape (rows, columns), False for the pixels to use. If not given, all are.
    static_background
        Background of shape (rows, columns) to divide the patterns by. If not given, none is
        removed.
    batch_size
        Number of background patterns at once, which sets the memory that is needed: about 30 MB
        each for Xception at 71 x 71 pixels, and in proportion to the number of pixels. If not
        given, so many as take about 1 GB.
    seed
        Seed of the simulation.
    show_progressbar
        Whether to show a progress bar. If not given, the value of
        :obj:`hyperspy.api.preferences.General.show_progressbar` is used.

    Returns
    -------
    attributions
        Values of the pixels, with the errors of their sums.

    Raises
    ------
    ValueError
        If patterns, background or masks do not fit together, a pattern is constant or not finite,
        there is no such class or estimator, or shap is asked for under another backend.

    Warns
    -----
    UserWarning
        If a sum is off by more than a hundredth of the logit span, or after Ctrl-C, when the values
        are of the patterns that were done, if there are any.

    See Also
    --------
    explain, grad_cam

    Examples
    --------
    Of one pattern, against one background pattern of each space group,
    which is quick. The default of 100 makes better values:

    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn.explanation import shapley_values
    >>> s = kp.data.nickel_ebsd_small()
    >>> values = shapley_values(
    ...     "fast_fewshot",
    ...     s.data[0, 2],
    ...     n_classes=1,
    ...     n_background=1,
    ...     static_background=s.static_background,
    ...     show_progressbar=False,
    ... )
    >>> values.values.shape  # patterns, classes, rows and columns
    (1, 1, 71, 71)
    >>> bool(values.additivity_errors.max() < 0.01)
    True
    """
    for name, value in (
        ("n_classes", n_classes),
        ("n_background", n_background),
        ("n_steps", n_steps),
    ):
        check_integer(name, value, 1)
    if batch_size is not None:
        check_integer("batch_size", batch_size, 1)
    estimator = _checked_estimator(estimator)
    question = Question.of(model, patterns, space_group, n_classes, signal_mask, static_background)
    model, images, signal_mask = question.model, question.images, question.signal_mask
    if background is None:
        references = simulate_background(
            model,
            n_background,
            shape=question.patterns.shape[1:],
            signal_mask=signal_mask,
            seed=seed,
        )
    else:
        references = _as_references(
            model, background, question.patterns, signal_mask, static_background
        )
    if batch_size is None:
        batch_size = max(1, int(_AT_ONCE * (_OF_SIZE / model.transform.size) ** 2))
    # Batches of about one size: each size of its own is compiled.
    batches = np.array_split(references, -(-len(references) // batch_size))
    values = _values(
        question, batches, estimator, n_steps, is_shown=is_progress_shown(show_progressbar)
    )
    if len(values) < len(images):
        question = question.first(len(values))
        warnings.warn(
            f"Interrupted. The values are of the first {len(values)} of {len(images)} patterns.",
            UserWarning,
            stacklevel=2,
        )
    attributions = Attributions(
        ESTIMATORS[estimator],
        values=values.astype(np.float32),
        expected_logits=np.mean(logits_of_members(model, references), axis=(0, 1)),
        **question.known(),
    )
    _warn_of_errors(attributions)
    return attributions


def _values(
    question: Question,
    batches: Sequence[np.ndarray],
    estimator: str,
    n_steps: int,
    *,
    is_shown: bool,
) -> np.ndarray:
    """Values of all patterns, of shape (n, k, size, size); of those done after Ctrl-C."""
    members = members_of(question.model)
    n_references = sum(map(len, batches))
    values = np.zeros((*question.explained.shape, *question.images.shape[1:3]))
    # Compiling takes a while, so explainers are kept from pattern to pattern.
    explainers: dict[tuple[int, int], Explainer] = {}
    with tqdm(
        total=len(members) * question.explained.size * n_references,
        unit="comparison",
        desc=ESTIMATORS[estimator],
        disable=not is_shown,
    ) as progressbar:
        for i, (image, positions) in enumerate(
            zip(question.images, question.explained, strict=True)
        ):
            try:
                for (k, position), (j, member) in product(enumerate(positions), enumerate(members)):
                    if (j, position) not in explainers:
                        explainers[j, position] = _explainer(estimator, member, position, n_steps)
                    for batch, of_batch in zip(
                        batches, explainers[j, position](image, batches), strict=True
                    ):
                        share = len(batch) / n_references / len(members)
                        values[i, k] += share * of_batch
                        progressbar.update(len(batch))
            except KeyboardInterrupt:
                if i == 0:
                    raise
                return values[:i]
    return values


def _checked_estimator(estimator: str | None) -> str:
    import keras

    is_tensorflow = keras.backend.backend() == "tensorflow"
    if estimator is None:
        return "deep_shap" if is_tensorflow else "integrated_gradients"
    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator={estimator!r}, but it must be one of {', '.join(ESTIMATORS)}.")
    if estimator == "deep_shap" and not is_tensorflow:
        raise ValueError(
            f"DeepSHAP needs the TensorFlow backend, not {keras.backend.backend()!r}. Set "
            "KERAS_BACKEND=tensorflow, or give estimator='integrated_gradients'."
        )
    return estimator


def _as_references(
    model: ModelBundle | Ensemble,
    background: np.ndarray,
    patterns: np.ndarray,
    signal_mask: np.ndarray | None,
    static_background: np.ndarray | None,
) -> np.ndarray:
    background = np.asarray(background)
    if background.dtype.kind == "f" and not np.isfinite(background).all():
        raise ValueError("The background has values that are not finite. Leave such patterns out.")
    size = model.transform.size
    if background.ndim == 4 and background.shape[1:] == (size, size, 1) and len(background):
        # Where the patterns show nothing, a background that does would be held against them.
        inside = model.transform.inside(patterns.shape[1:], signal_mask)
        return background.astype(np.float32) * inside[..., None]
    if background.ndim == 3 and background.shape[1:] == patterns.shape[1:] and len(background):
        return valid_images(model, background, signal_mask, static_background)
    raise ValueError(
        f"Background of shape {background.shape} given. Give patterns of shape (m, "
        f"{patterns.shape[1]}, {patterns.shape[2]}), as those to explain, or network input of "
        f"shape (m, {size}, {size}, 1) from simulate_background()."
    )


def _explainer(estimator: str, member: ModelBundle, position: int, n_steps: int) -> Explainer:
    if estimator == "deep_shap":
        return DeepShap(member, position)
    return _IntegratedGradients(member, position, n_steps)


class _IntegratedGradients:
    """Contributions to a logit by the mean gradient along paths from background images."""

    def __init__(self, member: ModelBundle, position: int, n_steps: int) -> None:
        self._member = member
        self._run = gradient_function(member.network)
        self._weights = np.eye(len(member.classes), dtype=np.float32)[position]
        self._n_steps = n_steps

    def __call__(self, image: np.ndarray, batches: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
        image = self._member.network_input(image)
        n_before = 0
        for batch in map(self._member.network_input, batches):
            # Each path has its steps elsewhere, so that the errors of the steps cancel.
            offsets = np.arange(n_before, n_before + len(batch)) * _GOLDEN_RATIO % 1
            n_before += len(batch)
            weights = np.tile(self._weights, (len(batch), 1))
            gradients = np.zeros(batch.shape)
            for step in range(self._n_steps):
                along = ((step + offsets) / self._n_steps)[:, None, None, None]
                _, (of_step,) = self._run([batch + along * (image - batch)], weights)
                gradients += of_step / self._n_steps
            yield (gradients * (image - batch)).mean(axis=0).sum(axis=-1)


def _warn_of_errors(attributions: Attributions) -> None:
    largest = attributions.additivity_errors.max()
    if largest <= LARGEST_ERROR:
        return
    if attributions.method == ESTIMATORS["deep_shap"]:
        remedy = (
            "shap may not know an operation of the network; try estimator='integrated_gradients'."
        )
    else:
        remedy = "More steps (n_steps) or background patterns make it smaller."
    warnings.warn(
        f"The values of {attributions.method} miss the logits by up to {largest:.1e} of the logit "
        f"span. {remedy}",
        UserWarning,
        stacklevel=3,
    )
