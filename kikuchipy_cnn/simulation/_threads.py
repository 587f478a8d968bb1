# SPDX-License-Identifier: GPL-3.0-or-later

"""Compiled loops over a batch, in several threads."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numba as nb

# Division by zero must not raise: the test for it keeps loops from being vectorised. Numba's cache
# does not notice changes of functions of another module: after one in _images.py, delete the files
# *.nbi in __pycache__.
compiled = partial(nb.njit, cache=True, nogil=True, fastmath=True, error_model="numpy")


def in_slices(work: Callable[[slice], None], n: int, workers: int | None) -> None:
    """Work on parts of a batch in several threads.

    Numba's own threads are not used. Its layer "workqueue", the one that is always there, aborts
    the process when two Python threads enter parallel regions at once, and patterns are often
    simulated in a thread of their own.

    Parameters
    ----------
    work
        Called with slices that together cover the batch. It has to release the interpreter's lock.
    n
        Length of the batch.
    workers
        Number of threads. If not given, one for each processor that the process may use.

    Raises
    ------
    ValueError
        If the number of threads is not positive.
    """
    workers = available_processors() if workers is None else workers
    if workers < 1:
        raise ValueError(f"workers={workers}; at least one thread is needed.")
    # Several slices for each thread even out patterns that take longer than others.
    step = max(1, -(-n // (4 * workers)))
    slices = [slice(start, min(start + step, n)) for start in range(0, n, step)]
    if workers == 1:
        for part in slices:
            work(part)
        return
    with ThreadPoolExecutor(workers) as pool:
        # Consumed, so that an error is raised here.
        list(pool.map(work, slices))


def available_processors() -> int:
    """Number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
