"""Reading of patterns in this process."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import dask
import numpy as np

if TYPE_CHECKING:
    from distributed import Client


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


def read(*parts) -> tuple[np.ndarray, ...]:
    """Compute NumPy or Dask arrays here, whatever cluster is active.

    Parameters
    ----------
    *parts
        Arrays. What they have in common is computed once.

    Returns
    -------
    arrays
        NumPy arrays.
    """
    # Workers would send the patterns back.
    scheduler = None if active_client() is None else "threads"
    return tuple(map(np.asarray, dask.compute(*parts, scheduler=scheduler)))
