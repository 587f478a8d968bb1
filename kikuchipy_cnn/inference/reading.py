# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading of patterns in this process."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import dask
import dask.array as da
import numpy as np

if TYPE_CHECKING:
    from distributed import Client

# Layers of Dask's graphs that take patterns from a file, as kikuchipy makes them, or cut and join.
_READING = frozenset(
    {
        "original-array",
        "array",
        "slice_memmap",
        "rechunk-merge",
        "rechunk-split",
        "reshape",
        "getitem",
        "concatenate",
        "stack",
    }
)


def active_client() -> Client | None:
    """Client of Dask's cluster that is active in this process, if there is one."""
    # Without the module there is no client.
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        return distributed.default_client()
    except ValueError:
        return None


def is_plain(data) -> bool:
    """Tell whether patterns are only read, and not computed.

    Parameters
    ----------
    data
        Patterns, a NumPy or Dask array.
    """
    if not isinstance(data, da.Array):
        return True
    names = (name.rpartition("-")[0] for name in data.dask.layers)
    return all(name in _READING for name in names)


def read(*parts, in_one_thread: bool = False) -> tuple[np.ndarray, ...]:
    """Compute NumPy or Dask arrays here, whatever cluster is active.

    Parameters
    ----------
    *parts
        Arrays. What they have in common is computed once.
    in_one_thread
        Whether to compute in this thread alone. What is only read takes less of the processor then,
        which networks have a use for.

    Returns
    -------
    arrays
        NumPy arrays.
    """
    # Workers would send the patterns back.
    scheduler = None if active_client() is None else "threads"
    if in_one_thread:
        scheduler = "synchronous"
    return tuple(map(np.asarray, dask.compute(*parts, scheduler=scheduler)))
