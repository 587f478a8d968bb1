# SPDX-License-Identifier: GPL-3.0-or-later

"""Where patterns come from, one after the other."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np


class NotReady(Exception):
    """There is nothing to read yet, for a reason that passes."""


class Arrivals(NamedTuple):
    """Patterns that are new.

    Parameters
    ----------
    patterns
        Patterns of shape (n, rows, columns).
    since
        Times of shape (n,), in seconds since the epoch, at which each was there at the earliest.
    more
        Whether there are others that were left for the next look, as memory is bounded.
    """

    patterns: np.ndarray
    since: np.ndarray
    more: bool = False


class Layout(NamedTuple):
    """Where in a map patterns belong.

    Parameters
    ----------
    scan
        Shape, step sizes and unit of the map, arguments of
        :func:`~kikuchipy_cnn.crystal_map.probabilities_to_crystal_map`.
    positions
        Indices of the patterns into the flattened map, of shape (n,).
    """

    scan: dict
    positions: np.ndarray


class Source(Protocol):
    """Something that patterns arrive in.

    Attributes
    ----------
    n_expected
        Number of patterns of the whole map, or None if nobody knows.
    static_background
        Background of shape (rows, columns) that the source has, or None.
    """

    n_expected: int | None
    static_background: np.ndarray | None

    def look(self, last: bool = False) -> Arrivals:
        """Read the patterns that have come since the last look.

        Parameters
        ----------
        last
            Whether there is no look after this one: what was held back, as it might not be
            complete, is taken as it is.

        Raises
        ------
        NotReady
            If the source cannot be read now.
        ValueError
            If what is there is not what was there, or cannot be classified.
        """

    def layout(self, n: int) -> Layout:
        """Tell where the first patterns belong.

        Parameters
        ----------
        n
            Number of patterns, in the order in which :meth:`look` gave them.
        """
