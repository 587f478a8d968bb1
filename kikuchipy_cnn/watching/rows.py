# SPDX-License-Identifier: GPL-3.0-or-later

"""Tables that become longer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


class Rows:
    """Arrays by name, which are lengthened together."""

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def append(self, rows: Mapping[str, np.ndarray]) -> None:
        """Add some rows.

        Parameters
        ----------
        rows
            Arrays of shape (n, ...) by name, the same ones at each call.
        """
        n = self._n + len(next(iter(rows.values())))
        for name, values in rows.items():
            array = self._arrays.get(name)
            if array is None or len(array) < n:
                longer = np.empty((max(2 * self._n, n), *values.shape[1:]), values.dtype)
                if array is not None:
                    longer[: self._n] = array[: self._n]
                self._arrays[name] = array = longer
            array[self._n : n] = values
        self._n = n

    def first(self, n: int) -> dict[str, np.ndarray]:
        """Return the first rows, which stay as they are.

        Parameters
        ----------
        n
            Number of rows.
        """
        return {name: array[:n] for name, array in self._arrays.items()}
