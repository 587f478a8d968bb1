# SPDX-License-Identifier: GPL-3.0-or-later

"""Patterns in pieces that fit into memory and suit a network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import prod
from typing import NamedTuple

import dask.array as da
import numpy as np
from dask.array.core import normalize_chunks, slices_from_chunks

from kikuchipy_cnn.inference.reading import is_plain, read

# Size of the parts of a signal that are read, or copied, at once, and of the largest chunk of a
# lazy signal that is computed as a whole.
CHUNK_BYTES = 2**25
LARGEST_CHUNK_BYTES = 2**28


class RawBatch(NamedTuple):
    """Patterns as they were read.

    Parameters
    ----------
    indices
        Indices of the patterns into the flattened map, of shape (n,).
    patterns
        Patterns of shape (n, rows, columns).
    """

    indices: np.ndarray
    patterns: np.ndarray


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


def raw_batches(data, used: np.ndarray, batch_size: int) -> Iterator[RawBatch]:
    """Read the patterns of a NumPy or Dask array, chunk by chunk.

    Parameters
    ----------
    data
        Patterns of shape (navigation shape, rows, columns).
    used
        Boolean array of the navigation shape, True for the patterns to take.
    batch_size
        Number of patterns of all batches but the last.

    Yields
    ------
    batch
        Some of the patterns, chunk by chunk.
    """
    yield from _batches(_chunks(data, used), batch_size)


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
        As for :func:`~kikuchipy_cnn.inference.predict`.
    batch_size
        Number of patterns of all batches but the last.

    Yields
    ------
    batch
        Some of the patterns, chunk by chunk.
    """
    for batch in raw_batches(data, used, batch_size):
        yield Batch(batch.indices, *transform(batch.patterns, signal_mask, static_background))


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
        parts.append(function(filled_up(batch, batch_size))[: len(batch)])
    return np.concatenate(parts)


def filled_up(batch: np.ndarray, size: int) -> np.ndarray:
    """Fill up a batch with black images.

    All batches are to have one shape, as a network would be compiled anew for another one.

    Parameters
    ----------
    batch
        Images of shape (n, size, size, channels), at most *size* of them.
    size
        Number of images.
    """
    n = len(batch)
    return batch if n == size else np.pad(batch, ((0, size - n), (0, 0), (0, 0), (0, 0)))


def windows_of(
    data, used: np.ndarray, limit: int
) -> Iterator[tuple[tuple[slice, ...], np.ndarray, np.ndarray]]:
    """Divide a map into windows, and leave out those of which nothing is used.

    Parameters
    ----------
    data, limit
        As for :func:`chunks_of`.
    used
        Boolean array of the navigation shape, True for the patterns to take.

    Yields
    ------
    window
        Part of the map.
    chosen
        Which of its patterns are used, of its shape.
    indices
        Indices of these into the flattened map.
    """
    numbers = np.arange(used.size).reshape(used.shape)
    for window in slices_from_chunks(chunks_of(data, limit)):
        chosen = used[window]
        if chosen.any():
            yield window, chosen, numbers[window][chosen]


def chunks_of(data, limit: int) -> tuple[tuple[int, ...], ...]:
    """Divide the map of a NumPy or Dask array into parts to read at once.

    Parameters
    ----------
    data
        Patterns of shape (navigation shape, rows, columns).
    limit
        Size of a part in bytes.

    Returns
    -------
    chunks
        Sizes along each navigation dimension. The chunks of a Dask array are taken whole, several
        at once if they are small: what two parts have in common would be computed twice. Only those
        that are too large for memory are cut.
    """
    n = data.ndim - 2
    pattern = prod(data.shape[n:]) * data.dtype.itemsize
    if (
        isinstance(data, da.Array)
        and prod(map(max, data.chunks[:n])) * pattern <= LARGEST_CHUNK_BYTES
    ):
        return _joined_chunks(data.chunks[:n], limit // pattern)
    return normalize_chunks(("auto",) * n + (-1, -1), data.shape, limit, data.dtype)[:n]


def _joined_chunks(chunks: tuple[tuple[int, ...], ...], limit: int) -> tuple[tuple[int, ...], ...]:
    """Join neighbouring chunks, along the last dimension first, to at most so many patterns."""
    joined = [list(sizes) for sizes in chunks]
    for axis in reversed(range(len(joined))):
        others = prod(max(sizes) for i, sizes in enumerate(joined) if i != axis)
        sizes = joined[axis]
        joined[axis] = sizes[:1]
        for size in sizes[1:]:
            if (joined[axis][-1] + size) * others <= limit:
                joined[axis][-1] += size
            else:
                joined[axis].append(size)
    return tuple(map(tuple, joined))


def _chunks(data, used: np.ndarray) -> Iterator[RawBatch]:
    plain = is_plain(data)
    for window, chosen, indices in windows_of(data, used, CHUNK_BYTES):
        (block,) = read(data[window], in_one_thread=plain)
        yield RawBatch(indices, chosen_patterns(block, chosen))


def chosen_patterns(block: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return the patterns of a part of a map that are used, without a copy if these are all.

    Parameters
    ----------
    block
        Patterns of shape (..., rows, columns).
    chosen
        Boolean array of shape (...).

    Returns
    -------
    patterns
        Patterns of shape (n, rows, columns).
    """
    patterns = block.reshape(-1, *block.shape[-2:])
    return patterns if chosen.all() else patterns[chosen.ravel()]


def _batches(chunks: Iterable[RawBatch], size: int) -> Iterator[RawBatch]:
    """Cut and join chunks so that all batches but the last have the same size."""
    waiting: list[RawBatch] = []
    n_waiting = 0
    for indices, patterns in chunks:
        start = 0
        while start < len(indices):
            part = slice(start, start + size - n_waiting)
            waiting.append(RawBatch(indices[part], patterns[part]))
            n_waiting += len(indices[part])
            start = part.stop
            if n_waiting == size:
                yield _join(waiting)
                waiting, n_waiting = [], 0
    if waiting:
        yield _join(waiting)


def _join(parts: list[RawBatch]) -> RawBatch:
    if len(parts) == 1:
        # Most batches lie within a chunk and need no copy.
        return parts[0]
    return RawBatch(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
