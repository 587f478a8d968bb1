# SPDX-License-Identifier: GPL-3.0-or-later

"""Patterns against which others are explained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kikuchipy_cnn._checks import check_integer
from kikuchipy_cnn.models import as_model
from kikuchipy_cnn.models.registry import ModelLike


def simulate_background(
    model: ModelLike,
    n: int = 100,
    *,
    shape: tuple[int, int] | None = None,
    signal_mask: np.ndarray | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Simulate background patterns for :func:`shapley_values`.

    They are of each class alike, from up to four phases of the packaged library, in random
    orientations, with the default disturbances of a camera.

    Parameters
    ----------
    model
        Model, or its name or path.
    n
        Least number of patterns of each class. Default is 100, as in :cite:`kaufmann2021efficient`.
    shape
        Rows and columns of the patterns to be explained. If not given, they are square.
    signal_mask
        Boolean mask of this shape, False for the pixels that are used. If not given, all are.
        Where the patterns to be explained show nothing, background patterns must not either.
    seed
        Seed of the random numbers.

    Returns
    -------
    background
        Patterns as the model's networks take them, of shape (patterns, size, size, 1).

    Raises
    ------
    ValueError
        If *n* is below 1, or the library has no phase of a class.

    Examples
    --------
    >>> from kikuchipy_cnn.explanation import simulate_background
    >>> background = simulate_background("fast_fewshot", 2)
    >>> background.shape  # two of each of the six space groups
    (12, 71, 71, 1)
    """
    from kikuchipy_cnn.training.class_level import level_of_classes
    from kikuchipy_cnn.training.replay import simulate_replay

    check_integer("n", n, 1)
    model = as_model(model)
    size = model.transform.size
    patterns = simulate_replay(
        model.classes,
        level_of_classes(model.classes),
        n,
        size,
        seed=seed,
        show_progressbar=False,
    )
    if signal_mask is not None:
        signal_mask = np.asarray(signal_mask)
        shape = signal_mask.shape
    if shape is None:
        images, valid = patterns.images(model.transform, show_progressbar=False)
        return images[valid]
    sides = patterns.sources[0].data.shape[1:]
    outside = ~replace(model.transform, size=sides[0]).inside(shape, signal_mask)
    sources = tuple(
        replace(
            source,
            signal_mask=outside | (outside if source.signal_mask is None else source.signal_mask),
        )
        for source in patterns.sources
    )
    images, valid = replace(patterns, sources=sources).images(
        model.transform, show_progressbar=False
    )
    # Where the two sizes differ, a pixel at the edge may still be beside the patterns.
    inside = model.transform.inside(shape, signal_mask)
    return images[valid] * inside[..., None]
