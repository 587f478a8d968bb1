# SPDX-License-Identifier: GPL-3.0-or-later

"""What EDAX's text and HDF5 files have in common."""

from __future__ import annotations

import math

import numpy as np

from kikuchipy_cnn.io._content import Rows

__all__ = ["EDAX_SYMMETRY", "as_edax_has_it"]

# EDAX names a symmetry by the rotations of its Laue group
EDAX_SYMMETRY = {
    None: 1,
    "-1": 1,
    "2/m": 20,
    "mmm": 22,
    "4/m": 4,
    "4/mmm": 42,
    "-3": 3,
    "-3m": 32,
    "6/m": 6,
    "6/mmm": 62,
    "m-3": 23,
    "m-3m": 43,
}

_NOT_INDEXED_EULER = 4 * math.pi
_NOT_INDEXED_CONFIDENCE = -1
_NOT_INDEXED_FIT = 180


def as_edax_has_it(rows: Rows) -> Rows:
    """Return cells with the values by which EDAX says that a point is
    not indexed.

    Parameters
    ----------
    rows
        Cells.
    """
    indexed = rows.phase > 0
    return rows._replace(
        eulers=np.where(indexed[:, None], rows.eulers, _NOT_INDEXED_EULER),
        confidence=np.where(indexed, rows.confidence, _NOT_INDEXED_CONFIDENCE),
        fit=np.where(indexed, rows.fit, _NOT_INDEXED_FIT),
    )
