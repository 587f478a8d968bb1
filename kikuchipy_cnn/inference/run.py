# SPDX-License-Identifier: GPL-3.0-or-later

"""Classification of a signal: on this machine, or on a cluster."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial

import numpy as np
from dask.system import CPU_COUNT
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from kikuchipy_cnn._prefetching import in_background
from kikuchipy_cnn.inference.batches import raw_batches
from kikuchipy_cnn.inference.results import Prediction, Results, StoredResults
from kikuchipy_cnn.inference.runner import Runner
from kikuchipy_cnn.inference.sampling import sample_patterns
from kikuchipy_cnn.models.bundle import ModelBundle
from kikuchipy_cnn.models.ensemble import Ensemble, members_of
from kikuchipy_cnn.models.packing import PackedModel

OfImages = Mapping[str, Callable[[np.ndarray], np.ndarray]]
# Batches beyond those in work that wait for a thread.
_WAITING = 2
# One thread preprocesses while another one waits for the network, and as many as an accelerator may
# need to be kept at work.
_LEAST_THREADS, _MOST_THREADS = 2, 16


def predict(
    data,
    model: ModelBundle | Ensemble | Runner,
    *,
    navigation_mask: np.ndarray | None = None,
    signal_mask: np.ndarray | None = None,
    static_background: np.ndarray | None = None,
    engine: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    of_images: OfImages | None = None,
    store: str | os.PathLike | None = None,
    client=None,
    on_progress: Callable[[int], object] | None = None,
    show_progressbar: bool = True,
) -> Prediction:
    """Classify the patterns of a NumPy or Dask array.

    One thread reads ahead, chunk by chunk. Others preprocess and classify the batches: as many at
    once as the engine gains from, and while it is at work on one, the next one is preprocessed.

    Parameters
    ----------
    data
        Patterns of shape (navigation shape, rows, columns).
    model
        Network, or several, or how to run them.
    navigation_mask
        Boolean mask of the navigation shape, False for the patterns to classify.
    signal_mask
        Boolean mask of shape (rows, columns), False for the pixels to use.
    static_background
        Background of shape (rows, columns) that is divided by.
    engine, precision, batch_size
        As for :class:`~kikuchipy_cnn.inference.Runner`. If the model is one, it has its own; the
        precision that it was asked for is to be given for a *store*.
    of_images
        Functions by name from preprocessed patterns of shape (n, size, size, 1) to further values
        of shape (n, ...) to keep.
    store
        HDF5 file that keeps the results as they come. If there is one of this classification, only
        the patterns that it has not are classified.
    client
        Client of a Dask cluster to classify on. If not given, patterns are classified here.
    on_progress
        Function that is called with the number of patterns that were just classified.
    show_progressbar
        Whether to show a progress bar.

    Returns
    -------
    prediction
        Outputs and which patterns they are of.

    Raises
    ------
    ValueError
        If the mask leaves nothing, or the file of results is of another classification.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> import kikuchipy_cnn
    >>> from kikuchipy_cnn.inference import predict
    >>> s = kp.data.nickel_ebsd_small()
    >>> model = kikuchipy_cnn.load_model("fast_fewshot")
    >>> prediction = predict(s.data, model, show_progressbar=False)
    >>> prediction.probabilities.shape
    (3, 3, 6)
    """
    shape = data.shape[:-2]
    used = np.ones(shape, bool) if navigation_mask is None else ~navigation_mask
    of_images = {} if of_images is None else of_images
    if not used.any():
        raise ValueError("navigation_mask is all True, which leaves nothing. False means used.")
    results = _results(
        data, model, used, signal_mask, static_background, of_images, precision, store
    )
    left = used & ~results.done.reshape(shape)
    n_left = int(left.sum())
    settings = {
        "signal_mask": signal_mask,
        "static_background": static_background,
        "of_images": of_images,
    }
    if not n_left:
        return results.prediction(used)
    how = {"engine": engine, "precision": precision, "batch_size": batch_size}
    if client is None:
        if not isinstance(model, Runner):
            model = Runner(model, n_patterns=n_left, **how)
        found = _classified_here(data, left, model, settings)
    else:
        from kikuchipy_cnn.inference.cluster import classified_on
        from kikuchipy_cnn.inference.parts import Task

        packed = PackedModel(model.model if isinstance(model, Runner) else model)
        found = classified_on(client, data, left, packed, Task(settings, **how))
    n_used = int(used.sum())
    with tqdm(
        total=n_used, initial=n_used - n_left, unit="pattern", disable=not show_progressbar
    ) as progressbar:
        try:
            for indices, values, valid in found:
                results.add(indices, values, valid)
                progressbar.update(len(indices))
                if on_progress is not None:
                    on_progress(len(indices))
        except KeyboardInterrupt:
            progressbar.close()
            if store is not None:
                print(
                    f"Interrupted: {results.done[used.ravel()].sum()} of {n_used} patterns are in "
                    f"'{os.fspath(store)}'. The same call goes on from there."
                )
            raise
        finally:
            # Work that has begun ends before what it gave is put away.
            found.close()
            results.close()
    return results.prediction(used)


def classify_batch(
    runner: Runner,
    patterns: np.ndarray,
    *,
    signal_mask: np.ndarray | None,
    static_background: np.ndarray | None,
    of_images: OfImages,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Preprocess and classify some patterns.

    Parameters
    ----------
    runner
        Model and how to run it.
    patterns
        Patterns of shape (n, rows, columns).
    signal_mask, static_background, of_images
        As for :func:`predict`.

    Returns
    -------
    values
        Outputs and further values of shape (n, ...) by name.
    valid
        Boolean array of shape (n,).
    """
    images, valid = runner.model.transform(patterns, signal_mask, static_background)
    values = {
        name: np.asarray(output, np.float32)
        for name, output in runner.outputs(images)._asdict().items()
        if output is not None
    }
    return values | {name: function(images) for name, function in of_images.items()}, valid


Found = Iterator[tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]]


def _classified_here(data, left: np.ndarray, runner: Runner, settings: Mapping) -> Found:
    """Yield indices, values and validity of batches, in the order in which they are finished."""
    classify = partial(classify_batch, runner, **settings)
    n_threads = max(_LEAST_THREADS, runner.concurrency)
    if runner.on_accelerator:
        n_threads = max(n_threads, min(CPU_COUNT, _MOST_THREADS))
    running: dict[Future, np.ndarray] = {}
    batches = in_background(raw_batches(data, left, runner.batch_size), ahead=1)
    with _one_thread_of_blas, ThreadPoolExecutor(n_threads) as pool:
        try:
            for batch in batches:
                running[pool.submit(classify, batch.patterns)] = batch.indices
                if len(running) >= n_threads + _WAITING:
                    yield from _finished(running)
            while running:
                yield from _finished(running)
        finally:
            batches.close()
            pool.shutdown(wait=True, cancel_futures=True)


class _OneThreadOfBlas:
    """Keeps small products of matrices from taking threads of their own, in each other's way.

    The limit is one of the process: the first classification sets it and the last one lifts it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_users = 0
        self._limits: threadpool_limits | None = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._n_users:
                self._limits = threadpool_limits(1, "blas")
            self._n_users += 1

    def __exit__(self, *_) -> None:
        with self._lock:
            self._n_users -= 1
            if not self._n_users:
                self._limits.restore_original_limits()


_one_thread_of_blas = _OneThreadOfBlas()


def _finished(running: dict[Future, np.ndarray]) -> Found:
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        indices = running.pop(future)
        yield indices, *future.result()


def _results(
    data, model, used, signal_mask, static_background, of_images: OfImages, precision: str, store
) -> Results:
    if store is None:
        return Results(used.shape)
    if isinstance(model, Runner):
        model = model.model
    return StoredResults(
        store,
        used.shape,
        {
            "model": model.name,
            "weights": _digest(*_weights(model)),
            "transform": model.transform.to_dict(),
            # As it was asked for: the same call goes on from there, on another machine, too.
            "precision": precision,
            "temperature": [one.temperature for one in (model, *members_of(model))],
            "shape": list(data.shape),
            "data type": str(data.dtype),
            "patterns": _digest(sample_patterns(data)),
            "signal mask": _digest(signal_mask),
            "static background": _digest(static_background),
            "further values": sorted(of_images),
        },
    )


def _weights(model: ModelBundle | Ensemble) -> Iterator[np.ndarray]:
    for member in members_of(model):
        yield from member.network.get_weights()
        if member.detector is not None:
            yield from member.detector.to_arrays().values()


def _digest(*arrays: np.ndarray | None) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        if array is not None:
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]
