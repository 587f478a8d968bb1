# SPDX-License-Identifier: GPL-3.0-or-later

"""Classification on a Dask cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dask.array as da
import numpy as np

from kikuchipy_cnn.inference.parts import Task, as_dask, lazy_parts
from kikuchipy_cnn.inference.reading import active_client
from kikuchipy_cnn.inference.run import Found
from kikuchipy_cnn.models.packing import PackedModel

if TYPE_CHECKING:
    from distributed import Client, Future


def client_to_use(scheduler: str | Client | None, data) -> Client | None:
    """Find the client whose cluster is to classify.

    Parameters
    ----------
    scheduler
        A client, ``"threads"`` for none, or None for the one that is active, if data are lazy.
    data
        Patterns, a NumPy or Dask array.

    Raises
    ------
    ValueError
        If the scheduler is none of these, or the cluster has no workers.
    """
    if scheduler is None:
        client = active_client() if isinstance(data, da.Array) else None
    elif scheduler == "threads":
        client = None
    elif callable(getattr(scheduler, "scatter", None)):
        client = scheduler
    else:
        raise ValueError(
            f"scheduler={scheduler!r} is neither 'threads' nor a dask.distributed.Client."
        )
    if client is not None:
        n_threads_of(client)
    return client


def describe_client(client: Client) -> str:
    """Tell people where a cluster is and how large.

    Parameters
    ----------
    client
        Client.
    """
    threads = client.nthreads().values()
    address = client.scheduler.address
    return f"{len(threads)} worker(s) with {sum(threads)} thread(s) of {address}"


def n_threads_of(client: Client) -> int:
    """Number of threads of all workers of a cluster.

    Parameters
    ----------
    client
        Client.

    Raises
    ------
    ValueError
        If it has no workers.
    """
    n_threads = sum(client.nthreads().values())
    if not n_threads:
        raise ValueError(
            f"The cluster of {client} has no workers. Start some, or wait for them with "
            "client.wait_for_workers(1)."
        )
    return n_threads


def classified_on(client: Client, data, left: np.ndarray, packed: PackedModel, task: Task) -> Found:
    """Classify the patterns of a map on the workers of a cluster.

    The model is sent to each worker once, and stays there for the next map. What was being read or
    classified when a worker died is done again on another one; what was finished is here by then.

    Parameters
    ----------
    client
        Client of the cluster.
    data
        Patterns of shape (navigation shape, rows, columns).
    left
        Boolean array of the navigation shape, True for the patterns to classify.
    packed
        Model.
    task
        How to classify them.

    Yields
    ------
    found
        Indices, values and validity of parts, in the order in which they are finished.
    """
    from distributed import as_completed

    lazy = as_dask(data)
    model = _sent_model(client, packed)
    sent = client.scatter(task, broadcast=True, hash=False)
    parts = lazy_parts(lazy, left, model, sent, n_threads_of(client))
    futures = client.compute([part.outputs for part in parts])
    indices = {future.key: part.indices for future, part in zip(futures, parts, strict=True)}
    try:
        for future, (values, valid) in as_completed(futures, with_results=True):
            yield indices.pop(future.key), values, valid
            future.release()
    finally:
        client.cancel(futures)


# The model that workers hold, and what tells it from others.
_last: tuple[str, Future] | None = None


def _sent_model(client: Client, packed: PackedModel) -> Future:
    global _last
    if _last is not None:
        digest, future = _last
        # It is gone if the cluster was restarted or the client closed.
        if digest == packed.digest and future.client is client and future.status == "finished":
            return future
    future = client.scatter(packed, broadcast=True, hash=False)
    _last = (packed.digest, future)
    return future
