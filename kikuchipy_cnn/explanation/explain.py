# SPDX-License-Identifier: GPL-3.0-or-later

"""Explanations of patterns inside a map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from kikuchipy.signals import EBSD

from kikuchipy_cnn._patterns import check_patterns, checked_mask, mask_and_background
from kikuchipy_cnn.explanation.attributions import Attributions
from kikuchipy_cnn.explanation.grad_cam import grad_cam
from kikuchipy_cnn.explanation.shapley import shapley_values
from kikuchipy_cnn.inference.reading import read
from kikuchipy_cnn.models.registry import ModelLike

METHODS = {"shap": shapley_values, "gradcam": grad_cam}


def explain(
    signal: EBSD,
    index: int | Sequence[int] | Sequence[Sequence[int]] | None = None,
    model: ModelLike = "xception_fewshot",
    method: str = "shap",
    *,
    navigation_mask: np.ndarray | None = None,
    signal_mask: np.ndarray | None = None,
    static_background: np.ndarray | bool | None = None,
    **options: Any,
) -> Attributions:
    """Explain what a model says of patterns of a map.

    Patterns are preprocessed as by :func:`~kikuchipy_cnn.classify_space_group`: mask and static
    background are found in the same way.

    Parameters
    ----------
    signal
        EBSD signal, lazy or not. Only the patterns that are explained, and a few more to find the
        mask, are read.
    index
        Row and column of a pattern in the map, as in ``xmap[row, column]``, or the number of a
        pattern in a map of one dimension; or a sequence of such. Negative numbers count from the
        end. Not needed for a single pattern.
    model
        Model, or its name or path. Default is ``"xception_fewshot"``.
    method
        ``"shap"`` for :func:`shapley_values`, which is the default, or ``"gradcam"`` for
        :func:`grad_cam`.
    navigation_mask
        Boolean mask of the navigation shape, False for the patterns to explain, instead of *index*.
    signal_mask, static_background
        As for :func:`~kikuchipy_cnn.classify_space_group`.
    **options
        Further arguments of the method.

    Returns
    -------
    attributions
        What speaks for and against classes, with the patterns and their places in the map.

    Raises
    ------
    ValueError
        If there is no such method or pattern, both or neither of *index* and *navigation_mask* are
        given, or the method raises it.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn import explanation, plotting
    >>> s = kp.data.nickel_ebsd_small()
    >>> regions = explanation.explain(
    ...     s,
    ...     (0, 2),
    ...     model="fast_fewshot",
    ...     method="gradcam",
    ...     show_progressbar=False,
    ... )
    >>> regions
    Attributions(Grad-CAM, 1 pattern(s), 1 class(es) of each)
    >>> figure = plotting.plot_attributions(regions)
    >>> figure.savefig("why.png")
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r}, but it must be one of {', '.join(METHODS)}.")
    check_patterns(signal)
    navigation_shape = signal.data.shape[:-2]
    places = _places(navigation_shape, index, navigation_mask)
    signal_mask, background = mask_and_background(signal, signal_mask, static_background)
    patterns = np.stack(read(*(signal.data[place] for place in places)))
    attributions = METHODS[method](
        model, patterns, signal_mask=signal_mask, static_background=background, **options
    )
    # After Ctrl-C there may be fewer.
    return replace(attributions, places=tuple(places[: len(attributions)]))


def _places(
    shape: tuple[int, ...], index, navigation_mask: np.ndarray | None
) -> list[tuple[int, ...]]:
    """Where in the map the patterns are that are asked for."""
    if not shape and navigation_mask is None:
        if np.size(() if index is None else index):
            raise ValueError(f"index={index!r}, but the signal is a single pattern. Leave it out.")
        return [()]
    if (index is not None) == (navigation_mask is not None):
        raise ValueError(
            "Give either the index of patterns or a navigation_mask that is False for them."
        )
    if navigation_mask is not None:
        mask = checked_mask(navigation_mask, "navigation_mask", shape)
        return [tuple(map(int, place)) for place in np.argwhere(~mask)]
    indices = np.asarray(index)
    if indices.ndim < 2:
        # Several numbers are one place in a map, and several along a line.
        indices = indices.reshape(-1, 1) if len(shape) == 1 else indices.reshape(1, -1)
    if indices.dtype.kind not in "iu" or indices.ndim != 2 or indices.shape[1] != len(shape):
        raise ValueError(
            f"index={index!r} is no place in a map of shape {shape}. Give {len(shape)} integer(s), "
            "or a sequence of such."
        )
    outside = (indices < -np.array(shape)) | (indices >= shape)
    if outside.any():
        place = indices[outside.any(axis=1)][0].tolist()
        raise ValueError(f"There is no pattern at {place} in a map of shape {shape}.")
    return [tuple(place) for place in np.where(indices < 0, indices + shape, indices).tolist()]
