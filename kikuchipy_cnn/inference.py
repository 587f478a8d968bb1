"""From a signal's patterns to probabilities, with bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from kikuchipy_cnn._background import in_background
from kikuchipy_cnn.models.bundle import ModelBundle
from kikuchipy_cnn.preprocessing import find_circular_mask

# Patterns looked at to find the detector's mask and whether the static background is still there.
_N_SAMPLED = 9


@dataclass(frozen=True)
class Prediction:
    """Result of the classification of a signal.

    Parameters
    ----------
    probabilities
        Probabilities of shape (navigation shape, classes) and data type float32, not a number where
        a pattern was masked out or not valid.
    valid
        Boolean array of the navigation shape, False where a pattern was masked out, constant or not
        finite.
    """

    probabilities: np.ndarray
    valid: np.ndarray


class _Batch(NamedTuple):
    indices: np.ndarray  # into the flattened map
    images: np.ndarray
    valid: np.ndarray


def predict(
    data,
    bundle: ModelBundle,
    *,
    navigation_mask: np.ndarray | None = None,
    signal_mask: np.ndarray | None = None,
    static_background: np.ndarray | None = None,
    batch_size: int = 64,
    show_progressbar: bool = True,
) -> Prediction:
    """Classify the patterns of a NumPy or Dask array.

    One thread reads and preprocesses, chunk by chunk; the network takes the batches as they come.

    Parameters
    ----------
    data
        Patterns of shape (navigation shape, rows, columns).
    bundle
        Model.
    navigation_mask
        Boolean mask of the navigation shape, False for the patterns to classify.
    signal_mask
        Boolean mask of shape (rows, columns), False for the pixels to use.
    static_background
        Background of shape (rows, columns) that is divided by.
    batch_size
        Number of patterns that the network takes at once.
    show_progressbar
        Whether to show a progress bar.

    Returns
    -------
    prediction
        Probabilities and which patterns they are of.
    """
    shape = data.shape[:-2]
    used = np.ones(shape, bool) if navigation_mask is None else ~navigation_mask
    total = int(used.sum())
    batch_size = min(batch_size, total)
    probabilities = np.zeros((prod(shape), len(bundle.classes)), np.float32)
    valid = np.zeros(prod(shape), bool)

    def preprocess() -> Iterator[_Batch]:
        for indices, patterns in _batches(_chunks(data, used), batch_size):
            yield _Batch(indices, *bundle.transform(patterns, signal_mask, static_background))

    with tqdm(total=total, unit="pattern", disable=not show_progressbar) as progressbar:
        for batch in in_background(preprocess()):
            n = len(batch.indices)
            # One shape for all batches: another one would be compiled anew.
            images = np.pad(batch.images, ((0, batch_size - n), (0, 0), (0, 0), (0, 0)))
            probabilities[batch.indices] = bundle.predict_probabilities(images)[:n]
            valid[batch.indices] = batch.valid
            progressbar.update(n)
    probabilities[~valid] = np.nan
    return Prediction(probabilities.reshape(*shape, -1), valid.reshape(shape))


def sample_patterns(data, navigation_mask: np.ndarray | None = None) -> np.ndarray:
    """Take some patterns from all over a map.

    Parameters
    ----------
    data
        Patterns of shape (navigation shape, rows, columns), a NumPy or Dask array.
    navigation_mask
        Boolean mask of the navigation shape, False for the patterns that may be taken.

    Returns
    -------
    patterns
        At most nine patterns of shape (n, rows, columns) and data type float32, those with values
        that are not finite left out.
    """
    shape = data.shape[:-2]
    used = np.arange(prod(shape)) if navigation_mask is None else np.flatnonzero(~navigation_mask)
    chosen = used[np.unique(np.linspace(0, len(used) - 1, _N_SAMPLED).astype(int))]
    where = [np.unravel_index(i, shape) for i in chosen]
    patterns = np.stack([np.asarray(data[index], dtype=np.float32) for index in where])
    return patterns[np.isfinite(patterns).all(axis=(1, 2))]


def detector_mask(patterns: np.ndarray) -> np.ndarray | None:
    """Mask of a circular detector, None for a rectangular one or where there are no patterns."""
    return find_circular_mask(patterns) if len(patterns) else None


def carries_background(patterns: np.ndarray, static_background: np.ndarray) -> bool:
    """Tell whether a static background is still in some patterns.

    A signal keeps its static background after it was removed from the patterns; removing it again
    would bring it back, inverted.

    Parameters
    ----------
    patterns
        Patterns of shape (n, rows, columns).
    static_background
        Background of shape (rows, columns).

    Returns
    -------
    carries
        Whether the mean of the patterns correlates with the background by more than one half.
    """
    if len(patterns) == 0 or np.ptp(static_background) == 0:
        return False
    mean = patterns.mean(axis=0)
    if np.ptp(mean) == 0:
        return False
    return bool(np.corrcoef(mean.ravel(), np.ravel(static_background))[0, 1] > 0.5)


def _chunks(data, used: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield indices into the flattened map and patterns, chunk by chunk."""
    shape = data.shape[:-2]
    numbers = np.arange(prod(shape)).reshape(shape)
    for window in _windows(data):
        chosen = used[window]
        if chosen.any():
            # Signals in memory are NumPy arrays; Dask arrays are computed here.
            patterns = np.asarray(data[window])
            yield numbers[window][chosen], patterns[chosen]


def _windows(data) -> Iterator[tuple[slice, ...]]:
    """Parts of the navigation space that are read at once."""
    n_axes = data.ndim - 2
    if hasattr(data, "chunks"):
        chunks = data.chunks[:n_axes]
    else:
        # In memory nothing is read; parts only bound the copies made on the way.
        chunks = [(1,) * n for n in data.shape[: max(n_axes - 1, 0)]]
        chunks += [data.shape[n_axes - 1 : n_axes]] if n_axes else []
    stops = [np.cumsum(sizes) for sizes in chunks]
    slices = [
        [slice(int(stop - size), int(stop)) for stop, size in zip(ends, sizes, strict=True)]
        for ends, sizes in zip(stops, chunks, strict=True)
    ]
    return product(*slices)


def _batches(
    chunks: Iterable[tuple[np.ndarray, np.ndarray]], size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cut and join chunks so that all batches but the last have the same size."""
    waiting: list[tuple[np.ndarray, np.ndarray]] = []
    n_waiting = 0
    for indices, patterns in chunks:
        start = 0
        while start < len(indices):
            part = slice(start, start + size - n_waiting)
            waiting.append((indices[part], patterns[part]))
            n_waiting += len(indices[part])
            start = part.stop
            if n_waiting == size:
                yield _join(waiting)
                waiting, n_waiting = [], 0
    if waiting:
        yield _join(waiting)


def _join(parts: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))
