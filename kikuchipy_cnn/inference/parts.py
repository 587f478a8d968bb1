# SPDX-License-Identifier: GPL-3.0-or-later

"""Classification as Dask tasks: of parts of a map, lazily, in any process."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, prod
from typing import NamedTuple

import dask
import dask.array as da
import numpy as np
from dask.delayed import Delayed
from dask.system import CPU_COUNT

from kikuchipy_cnn.inference.batches import CHUNK_BYTES, chosen_patterns, windows_of
from kikuchipy_cnn.inference.results import Prediction, Results
from kikuchipy_cnn.inference.run import OfImages, classify_batch
from kikuchipy_cnn.inference.runner import CPU_BATCH_SIZE, Runner
from kikuchipy_cnn.models.bundle import ModelBundle
from kikuchipy_cnn.models.ensemble import Ensemble
from kikuchipy_cnn.models.packing import PackedModel

# Parts per thread that computes them, so that none waits long for the last one.
_PARTS_PER_THREAD = 8


@dataclass(frozen=True)
class Task:
    """How all parts of a map are classified.

    Parameters
    ----------
    settings
        Arguments of :func:`~kikuchipy_cnn.inference.run.classify_batch`.
    engine, precision
        As for :class:`~kikuchipy_cnn.inference.Runner`.
    batch_size
        Number of patterns that the network takes at once, or None to find it.
    """

    settings: Mapping
    engine: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None


class Part(NamedTuple):
    """Some of the patterns of a map, to be classified in one task.

    Parameters
    ----------
    indices
        Indices of the patterns into the flattened map.
    outputs
        Values by name and validity of the patterns, lazily.
    """

    indices: np.ndarray
    outputs: Delayed


def lazy_parts(data: da.Array, left: np.ndarray, packed, task, n_threads: int) -> list[Part]:
    """Divide a map into parts that are classified later.

    Each chunk is one task, whose patterns are shared out to several: chunks are computed once, and
    all threads have something to do.

    Parameters
    ----------
    data
        Patterns of shape (navigation shape, rows, columns).
    left
        Boolean array of the navigation shape, True for the patterns to classify.
    packed
        A :class:`~kikuchipy_cnn.models.packing.PackedModel`, lazily, or a future of one.
    task
        A :class:`Task`, likewise.
    n_threads
        Number of threads that classify.

    Returns
    -------
    parts
        Parts that together have all patterns that are left.
    """
    # Whole batches, as others are filled up.
    n_batches = ceil(int(left.sum()) / (_PARTS_PER_THREAD * n_threads * CPU_BATCH_SIZE))
    n_fair = n_batches * CPU_BATCH_SIZE
    # Each part is a task of its own name: results are not to be mixed up with those of other maps.
    read, classify = (
        dask.delayed(chosen_patterns, pure=False),
        dask.delayed(_classify_part, pure=False),
    )
    parts = []
    limit = min(CHUNK_BYTES, n_fair * prod(data.shape[-2:]) * data.dtype.itemsize)
    for window, chosen, indices in windows_of(data, left, limit):
        patterns = read(data[window], chosen)
        for start in range(0, len(indices), n_fair):
            here = slice(start, start + n_fair)
            parts.append(Part(indices[here], classify(patterns, here, packed, task)))
    return parts


def lazy_prediction(
    data,
    model: ModelBundle | Ensemble,
    *,
    navigation_mask: np.ndarray | None = None,
    signal_mask: np.ndarray | None = None,
    static_background: np.ndarray | None = None,
    of_images: OfImages | None = None,
    engine: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
) -> Delayed:
    """Classify the patterns of a NumPy or Dask array later, with any of Dask's schedulers.

    Parameters
    ----------
    data, model, navigation_mask, signal_mask, static_background, of_images
        As for :func:`~kikuchipy_cnn.inference.predict`.
    engine, precision, batch_size
        As for :class:`~kikuchipy_cnn.inference.Runner`.

    Returns
    -------
    prediction
        A :class:`~kikuchipy_cnn.inference.Prediction`, lazily.

    Raises
    ------
    ValueError
        If the mask leaves nothing.
    """
    used = np.ones(data.shape[:-2], bool) if navigation_mask is None else ~navigation_mask
    if not used.any():
        raise ValueError("navigation_mask is all True, which leaves nothing. False means used.")
    settings = {
        "signal_mask": signal_mask,
        "static_background": static_background,
        "of_images": {} if of_images is None else of_images,
    }
    packed, task = (
        dask.delayed(shared, traverse=False)
        for shared in (PackedModel(model), Task(settings, engine, precision, batch_size))
    )
    parts = lazy_parts(as_dask(data), used, packed, task, CPU_COUNT)
    return dask.delayed(_joined)(
        [part.outputs for part in parts], [part.indices for part in parts], used
    )


def as_dask(data) -> da.Array:
    """Return patterns as a Dask array.

    Parameters
    ----------
    data
        Patterns of shape (navigation shape, rows, columns).
    """
    if isinstance(data, da.Array):
        return data
    return da.from_array(data, chunks=(*("auto",) * (data.ndim - 2), -1, -1), name=False)


_lock = threading.Lock()
_last: dict[tuple, Runner] = {}


def _runner_of(packed: PackedModel, task: Task, n_patterns: int) -> Runner:
    """The one model of this process, which the tasks of all its threads share.

    It stays for the next map that is classified alike.
    """
    how = (packed.digest, task.engine, task.precision, task.batch_size, n_patterns)
    with _lock:
        if how not in _last:
            _last.clear()
            _last[how] = Runner(
                packed.model,
                engine=task.engine,
                precision=task.precision,
                threads=_threads_of_worker(),
                batch_size=task.batch_size,
                n_patterns=n_patterns,
            )
        return _last[how]


def _threads_of_worker() -> int | None:
    """Number of threads of the worker of a cluster that this runs on, if it does."""
    try:
        from distributed import get_worker

        return get_worker().state.nthreads
    except (ImportError, ValueError):
        return None


def _classify_part(
    patterns: np.ndarray, here: slice, packed: PackedModel, task: Task
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    # All parts but the last of a chunk have as many patterns.
    runner = _runner_of(packed, task, here.stop - here.start)
    parts, valid = [], []
    for batch in _cut(patterns[here], runner.batch_size):
        values, of_batch = classify_batch(runner, batch, **task.settings)
        parts.append(values)
        valid.append(of_batch)
    values = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return values, np.concatenate(valid)


def _cut(patterns: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(patterns), size):
        yield patterns[start : start + size]


def _joined(
    parts: Sequence[tuple[dict[str, np.ndarray], np.ndarray]],
    indices: Sequence[np.ndarray],
    used: np.ndarray,
) -> Prediction:
    results = Results(used.shape)
    for (values, valid), of_part in zip(parts, indices, strict=True):
        results.add(of_part, values, valid)
    return results.prediction(used)
