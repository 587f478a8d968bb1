"""From a signal's patterns to probabilities, with bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import dask
import dask.array as da
import numpy as np
from dask.array.core import normalize_chunks, slices_from_chunks
from tqdm import tqdm

from kikuchipy_cnn._background import in_background
from kikuchipy_cnn.models.bundle import ModelBundle, Outputs
from kikuchipy_cnn.models.ensemble import Ensemble
from kikuchipy_cnn.preprocessing import find_circular_mask
from kikuchipy_cnn.spatial_pooling import fingerprints

# Patterns looked at to find the detector's mask and whether the static background is still there.
_N_SAMPLED = 9
# Size of the parts of a signal that are read, or copied, at once.
_CHUNK_BYTES = 2**26


@dataclass(frozen=True)
class Prediction:
    """Result of the classification of a signal.

    Parameters
    ----------
    outputs
        What the model says, see :class:`~kikuchipy_cnn.models.bundle.Outputs`, with the navigation
        shape in place of n, not a number where a pattern was masked out or not valid.
    valid
        Boolean array of the navigation shape, False where a pattern was masked out, constant or not
        finite.
    fingerprints
        Small copies of the patterns, of shape (navigation shape, values) and data type int8, see
        :mod:`~kikuchipy_cnn.spatial_pooling`, if they were asked for.
    """

    outputs: Outputs
    valid: np.ndarray
    fingerprints: np.ndarray | None = None

    @property
    def probabilities(self) -> np.ndarray:
        """Probabilities of shape (navigation shape, classes) and data type float32."""
        return self.outputs.probabilities


class Batch(NamedTuple):
    """Preprocessed patterns.

    Parameters
    ----------
    indices
        Indices of the patterns into the flattened map, of shape (n,).
    images
        Network input of shape (n, size, size, 1).
    valid
        Boolean array of shape (n,), False where a pattern is constant or not finite.
    """

    indices: np.ndarray
    images: np.ndarray
    valid: np.ndarray


def predict(
    data,
    model: ModelBundle | Ensemble,
    *,
    transform: Callable[..., tuple[np.ndarray, np.ndarray]] | None = None,
    navigation_mask: np.ndarray | None = None,
    signal_mask: np.ndarray | None = None,
    static_background: np.ndarray | None = None,
    batch_size: int = 64,
    with_fingerprints: bool = False,
    show_progressbar: bool = True,
) -> Prediction:
    """Classify the patterns of a NumPy or Dask array.

    One thread reads and preprocesses, chunk by chunk; the network takes the batches as they come.

    Parameters
    ----------
    data
        Patterns of shape (navigation shape, rows, columns).
    model
        Network, or several.
    transform
        What preprocesses the patterns. If not given, the model's own.
    navigation_mask
        Boolean mask of the navigation shape, False for the patterns to classify.
    signal_mask
        Boolean mask of shape (rows, columns), False for the pixels to use.
    static_background
        Background of shape (rows, columns) that is divided by.
    batch_size
        Number of patterns that the network takes at once.
    with_fingerprints
        Whether to keep small copies of the patterns.
    show_progressbar
        Whether to show a progress bar.

    Returns
    -------
    prediction
        Outputs and which patterns they are of.
    """
    shape = data.shape[:-2]
    used = np.ones(shape, bool) if navigation_mask is None else ~navigation_mask
    total = int(used.sum())
    batch_size = min(batch_size, total)
    valid = np.zeros(prod(shape), bool)
    outputs: dict[str, np.ndarray] = {}
    copies = None

    batches = preprocessed_batches(
        data,
        transform or model.transform,
        used=used,
        signal_mask=signal_mask,
        static_background=static_background,
        batch_size=batch_size,
    )
    with tqdm(total=total, unit="pattern", disable=not show_progressbar) as progressbar:
        for batch in in_background(batches):
            n = len(batch.indices)
            # One shape for all batches: another one would be compiled anew.
            images = np.pad(batch.images, ((0, batch_size - n), (0, 0), (0, 0), (0, 0)))
            for name, values in model.outputs(images)._asdict().items():
                if values is not None:
                    if name not in outputs:
                        outputs[name] = np.full(
                            (prod(shape), *values.shape[1:]), np.nan, np.float32
                        )
                    outputs[name][batch.indices] = values[:n]
            if with_fingerprints:
                own = fingerprints(batch.images)
                if copies is None:
                    copies = np.zeros((prod(shape), own.shape[1]), own.dtype)
                copies[batch.indices] = own
            valid[batch.indices] = batch.valid
            progressbar.update(n)
    for values in outputs.values():
        values[~valid] = np.nan
    return Prediction(
        Outputs(
            **{
                name: values.reshape((*shape, *values.shape[1:]))
                for name, values in outputs.items()
            }
        ),
        valid.reshape(shape),
        None if copies is None else copies.reshape((*shape, copies.shape[1])),
    )


def preprocessed_batches(
    data,
    transform: Callable[..., tuple[np.ndarray, np.ndarray]],
    *,
    used: np.ndarray,
    signal_mask: np.ndarray | None = None,
    static_background: np.ndarray | None = None,
    batch_size: int = 64,
) -> Iterator[Batch]:
    """Read and preprocess the patterns of a NumPy or Dask array, chunk by chunk.

    Parameters
    ----------
    data
        Patterns of shape (navigation shape, rows, columns).
    transform
        Preprocessing, such as a :class:`~kikuchipy_cnn.PatternTransform`.
    used
        Boolean array of the navigation shape, True for the patterns to take.
    signal_mask, static_background
        As for :func:`predict`.
    batch_size
        Number of patterns of all batches but the last.

    Yields
    ------
    batch
        Some of the patterns, in the order of the flattened map.
    """
    for indices, patterns in _batches(_chunks(data, used), batch_size):
        yield Batch(indices, *transform(patterns, signal_mask, static_background))


def in_batches(
    function: Callable[[np.ndarray], np.ndarray], images: np.ndarray, batch_size: int
) -> np.ndarray:
    """Call a function of images, batch by batch.

    Parameters
    ----------
    function
        Function of images of shape (batch_size, size, size, 1).
    images
        Network input of shape (n, size, size, 1).
    batch_size
        Number of images at once.

    Returns
    -------
    values
        What the function returns, of shape (n, ...).
    """
    parts = []
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        # One shape for all batches: another one would be compiled anew.
        padded = np.pad(batch, ((0, batch_size - len(batch)), (0, 0), (0, 0), (0, 0)))
        parts.append(function(padded)[: len(batch)])
    return np.concatenate(parts)


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
        At most nine patterns of shape (n, rows, columns) and data type float32.
    """
    shape = data.shape[:-2]
    used = np.arange(prod(shape)) if navigation_mask is None else np.flatnonzero(~navigation_mask)
    chosen = used[np.unique(np.linspace(0, len(used) - 1, _N_SAMPLED).astype(int))]
    # Computed together, so that what they have in common is computed once.
    patterns = dask.compute(*(data[np.unravel_index(i, shape)] for i in chosen))
    return np.stack(patterns).astype(np.float32)


def find_signal_mask(patterns: np.ndarray) -> np.ndarray | None:
    """Find the pixels of a detector that carry no signal.

    Parameters
    ----------
    patterns
        Some patterns of shape (n, rows, columns), from :func:`sample_patterns`.

    Returns
    -------
    signal_mask
        Boolean mask of shape (rows, columns), True outside a circular detector and where no pattern
        has a finite value. None if there are no such pixels.
    """
    mask = find_circular_mask(patterns)
    never_finite = ~np.isfinite(patterns).any(axis=0)
    if never_finite.any() and not never_finite.all():
        mask = never_finite if mask is None else mask | never_finite
    return mask


def carries_background(
    patterns: np.ndarray, static_background: np.ndarray, signal_mask: np.ndarray | None = None
) -> bool:
    """Tell whether a static background is still in some patterns.

    A signal keeps its static background after it was removed from the patterns; removing it again
    would bring it back, inverted.

    Parameters
    ----------
    patterns
        Patterns of shape (n, rows, columns).
    static_background
        Background of shape (rows, columns).
    signal_mask
        Boolean mask of shape (rows, columns), False for the pixels to compare.

    Returns
    -------
    carries
        Whether the mean of the patterns correlates with the background by more than one half.
    """
    used = np.isfinite(static_background)
    if signal_mask is not None:
        used &= ~signal_mask
    patterns = patterns[:, used]
    patterns = patterns[np.isfinite(patterns).all(axis=1)]
    if len(patterns) == 0:
        return False
    mean, background = patterns.mean(axis=0), static_background[used]
    if np.ptp(mean) == 0 or np.ptp(background) == 0:
        return False
    return bool(np.corrcoef(mean, background)[0, 1] > 0.5)


def _chunks(data, used: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield indices into the flattened map and patterns, chunk by chunk."""
    shape = data.shape[:-2]
    chunks = normalize_chunks(
        ("auto",) * len(shape) + (-1, -1), data.shape, limit=_CHUNK_BYTES, dtype=data.dtype
    )
    if isinstance(data, da.Array):
        # Files are often stored with chunks of single patterns or of the whole map.
        data = data.rechunk(chunks)
    numbers = np.arange(prod(shape)).reshape(shape)
    for window in slices_from_chunks(chunks[:-2]):
        chosen = used[window]
        if chosen.all():
            patterns = np.asarray(data[window])
            yield numbers[window].ravel(), patterns.reshape(-1, *data.shape[-2:])
        elif chosen.any():
            yield numbers[window][chosen], np.asarray(data[window])[chosen]


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
