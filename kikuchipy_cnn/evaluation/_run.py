# SPDX-License-Identifier: GPL-3.0-or-later

"""Classification of patterns of known phase."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from kikuchipy.pattern import fft_frequency_vectors, get_image_quality
from tqdm import tqdm

from kikuchipy_cnn._progress import is_progress_shown
from kikuchipy_cnn.evaluation._reports import doubt
from kikuchipy_cnn.evaluation.results import Evaluation
from kikuchipy_cnn.inference import predict
from kikuchipy_cnn.models import as_model
from kikuchipy_cnn.models.registry import ModelLike
from kikuchipy_cnn.space_groups import label_text
from kikuchipy_cnn.training.class_level import level_of
from kikuchipy_cnn.training.labelled import LabelledPatterns
from kikuchipy_cnn.training.splits import CLAIMS

__all__ = ["evaluate"]

_QUALITY = "quality"


def evaluate(
    model: ModelLike | Sequence[ModelLike],
    patterns: LabelledPatterns,
    *,
    level: str | None = None,
    new_materials: bool = False,
    with_quality: bool = True,
    engine: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    show_progressbar: bool | None = None,
) -> Evaluation:
    """Classify patterns of known phase and compare.

    Parameters
    ----------
    model
        Name of a packaged model, path of a bundle, or a model. A list of these is an ensemble.
    patterns
        Patterns that the model was not trained on. Lazy ones are read chunk by chunk.
    level
        What to judge: ``"space group"``, ``"phase"``, ``"centring"`` or ``"Laue group"``. If not
        given, what the model's classes are. Probabilities of space groups are summed for the latter
        two.
    new_materials
        Whether the result is to be called that of new materials. If so, it is checked that neither
        the model nor the one that it began with was trained on any of them, by space group and
        name.
    with_quality
        Whether to compute the quality of the patterns: the image quality of Krieger Lassen
        (thesis, Technical University of Denmark, 1994) as kikuchipy computes it, of the
        preprocessed patterns. Those are all of one size and without their backgrounds, on which it
        would depend more than on the bands.
    engine, precision, batch_size
        As for :func:`~kikuchipy_cnn.classify_space_group`.
    show_progressbar
        Whether to show a progress bar. If not given, the value of
        :obj:`hyperspy.api.preferences.General.show_progressbar` is used.

    Returns
    -------
    evaluation
        Probabilities, and all that follows from them.

    Raises
    ------
    ValueError
        If there is no such model, there are no patterns, or the classes of the model are of another
        level than the given one.

    Warns
    -----
    UserWarning
        If the model has no class for some patterns, or they are constant or not finite, all of
        which count as wrong; or if materials are to be new and are not, or it is not known.

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
    >>> evaluation.probabilities.shape
    (9, 6)
    >>> evaluation.accuracy > 0.5
    True
    """
    if len(patterns) == 0:
        raise ValueError("There are no patterns to evaluate the model on; give at least one.")
    bundle = as_model(model)
    own_level = level_of(bundle.classes, patterns, level)
    probabilities = np.empty((len(patterns), len(bundle.classes)), np.float32)
    quality = np.full(len(patterns), np.nan, np.float32)
    # A pattern may be taken more than once, but is read once.
    n_read = len(set(zip(patterns.source.tolist(), patterns.index.tolist(), strict=True)))
    with tqdm(
        total=n_read,
        unit="pattern",
        desc="Evaluating",
        disable=not is_progress_shown(show_progressbar),
    ) as progressbar:
        for number in np.unique(patterns.source):
            source = patterns.sources[number]
            places = np.flatnonzero(patterns.source == number)
            index = patterns.index[places]
            used = np.zeros(len(source.data), bool)
            used[index] = True
            prediction = predict(
                source.data,
                bundle,
                navigation_mask=~used,
                signal_mask=source.signal_mask,
                static_background=source.static_background,
                engine=engine,
                precision=precision,
                batch_size=batch_size,
                of_images={_QUALITY: _image_quality} if with_quality else {},
                on_progress=progressbar.update,
                show_progressbar=False,
            )
            probabilities[places] = prediction.probabilities[index]
            if with_quality:
                quality[places] = prediction.of_images[_QUALITY][index]
    evaluation = Evaluation(
        patterns,
        bundle.classes,
        own_level,
        probabilities,
        quality if with_quality else None,
        bundle.name,
        bundle.trained_materials,
        CLAIMS["material"] if new_materials else "",
    )
    if level not in (None, own_level):
        evaluation = evaluation.coarser(level)
    for message in _warnings(evaluation):
        warnings.warn(message, stacklevel=2)
    return evaluation


def _image_quality(images: np.ndarray) -> np.ndarray:
    """Image quality of preprocessed patterns, not a number where one is constant."""
    shape = images.shape[1:3]
    frequencies = fft_frequency_vectors(shape)
    largest_inertia = frequencies.sum() / np.prod(shape)
    quality = np.full(len(images), np.nan, np.float32)
    for i in np.flatnonzero(np.ptp(images, axis=(1, 2, 3)) > 0):
        quality[i] = get_image_quality(images[i, ..., 0], True, frequencies, largest_inertia)
    return quality


def _warnings(evaluation: Evaluation) -> list[str]:
    messages = []
    others = evaluation.other_labels
    if others:
        n = sum(label in others for label in evaluation.true.tolist())
        messages.append(
            f"The model has no class for {n} of {len(evaluation)} patterns "
            f"({', '.join(map(label_text, others))}). They count as wrong."
        )
    n_invalid = int((~evaluation.valid).sum())
    if n_invalid:
        messages.append(
            f"{n_invalid} of {len(evaluation)} patterns are constant or have values that are not "
            "finite. They count as wrong."
        )
    if doubt(evaluation):
        messages.append(doubt(evaluation))
    return messages
