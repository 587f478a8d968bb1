# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that a scan fills or lengthens, pattern after pattern."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from math import prod
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from kikuchipy_cnn.inference.batches import CHUNK_BYTES
from kikuchipy_cnn.watching.source import Arrivals, Layout

# Patterns are read in blocks of this size, one of which is read in vain at most.
_BLOCK_BYTES = 2**22


class Reader(Protocol):
    """Patterns of an open file, in the order of the scan."""

    def __len__(self) -> int:
        """Number of patterns that there is space for, or that are there whole."""

    def __getitem__(self, part: slice) -> np.ndarray:
        """Patterns of shape (n, rows, columns)."""


class PatternFile(Protocol):
    """A file that is opened anew for every look, since another program changes it.

    Attributes
    ----------
    path
        The file.
    shape, dtype
        Shape (rows, columns) and data type of a pattern.
    scan
        Shape, step sizes and unit of the map.
    static_background
        Background of the same shape, or None.
    positions
        Indices of the patterns of the file into the flattened map, or None if they are in its
        order.
    length_tells
        Whether a file that is shorter than the map holds written patterns only.
    """

    path: Path
    shape: tuple[int, int]
    dtype: np.dtype
    scan: Mapping
    static_background: np.ndarray | None
    positions: np.ndarray | None
    length_tells: bool

    def open(self) -> AbstractContextManager[Reader]:
        """Open the file, or raise NotReady."""


class GrowingFile:
    """The patterns of a file that a scan fills, in the order of the scan, or lengthens.

    Space that is not filled yet is constant. A constant pattern is one of the scan if another one
    that is not constant comes after it. A pattern is taken when one that follows has begun, since
    it may be written in parts; the last one of the map, when it is the same at two looks.

    Parameters
    ----------
    file
        The file.
    since
        Time, in seconds since the epoch, at which its first patterns were there at the earliest.
        If not given, now.
    """

    def __init__(self, file: PatternFile, since: float | None = None) -> None:
        self._file = file
        self.n_expected: int | None = prod(file.scan["navigation_shape"])
        self.static_background = file.static_background
        pattern_bytes = prod(file.shape) * file.dtype.itemsize
        self._block = max(1, _BLOCK_BYTES // pattern_bytes)
        # One of them may be held back, and there is to be some progress.
        self._most = max(2, CHUNK_BYTES // pattern_bytes)
        self._n_read = 0
        self._looked = time.time() if since is None else since
        self._held: _Held | None = None
        self._is_lengthened = False

    def look(self, last: bool = False) -> Arrivals:
        """Read the patterns that have come since the last look, see
        :meth:`Source.look() <kikuchipy_cnn.watching.source.Source.look>`.
        """
        now = time.time()
        with self._file.open() as reader:
            n_there = min(len(reader), self.n_expected)
            if n_there < self._n_read:
                raise ValueError(
                    f"'{self._file.path}' holds {n_there} patterns, but {self._n_read} were "
                    "classified: it was replaced by a shorter file. Watch it anew."
                )
            # Once it was too short for the map, its length tells what is written.
            self._is_lengthened |= self._file.length_tells and n_there < self.n_expected
            patterns, more = self._written(reader, n_there, last)
        held = self._held
        if not (last or self._is_lengthened):
            patterns = self._without_unfinished(patterns)
        since = np.full(len(patterns), self._looked)
        if held is not None and len(patterns):
            # It is the first that was not taken.
            since[0] = min(since[0], held.since)
        self._n_read += len(patterns)
        if not more:
            self._looked = now
        return Arrivals(patterns, since, more)

    def layout(self, n: int) -> Layout:
        """Tell where the first patterns belong."""
        positions = self._file.positions
        return Layout(dict(self._file.scan), np.arange(n) if positions is None else positions[:n])

    def _written(self, reader: Reader, n_there: int, last: bool) -> tuple[np.ndarray, bool]:
        """Read what is written, and tell whether there is more than is read at once."""
        first = start = self._n_read
        end = min(n_there, first + self._most)
        if self._is_lengthened:
            return reader[first:end], end < n_there
        blocks, n_written = [np.empty((0, *self._file.shape), self._file.dtype)], 0
        while start < end:
            blocks.append(reader[start : min(start + self._block, end)])
            varied = np.flatnonzero(~is_constant(blocks[-1]))
            if len(varied):
                n_written = start - first + int(varied[-1]) + 1
            start += len(blocks[-1])
            if not len(varied) and not self._is_written_from(reader, start, n_there, last):
                return np.concatenate(blocks)[:n_written], False
        patterns = np.concatenate(blocks)
        if end < n_there and (
            n_written == end - first or self._is_written_from(reader, end, n_there, last)
        ):
            return patterns, True
        return patterns[:n_written], False

    def _is_written_from(self, reader: Reader, start: int, end: int, last: bool) -> bool:
        """Tell whether any pattern of a part of the file is not constant.

        To read space that is not written yet takes long. Unless this is the last look, only
        patterns that are further and further apart are read, which sooner or later are enough.
        """
        if last:
            starts = range(start, end, self._block)
            return any(not is_constant(reader[i : min(i + self._block, end)]).all() for i in starts)
        distance = 1
        while start + distance <= end:
            index = start + distance - 1
            if not is_constant(reader[index : index + 1])[0]:
                return True
            distance *= 2
        return False

    def _without_unfinished(self, patterns: np.ndarray) -> np.ndarray:
        """Hold the last pattern back, unless it is known to be complete."""
        held, self._held = self._held, None
        if not len(patterns):
            return patterns
        newest, index = patterns[-1], self._n_read + len(patterns) - 1
        was_held = held is not None and held.index == index
        if (
            was_held
            and index == self.n_expected - 1
            and np.array_equal(held.pattern, newest, equal_nan=newest.dtype.kind == "f")
        ):
            return patterns
        self._held = _Held(index, newest.copy(), held.since if was_held else self._looked)
        return patterns[:-1]


class _Held(NamedTuple):
    """A pattern that may not be complete, and when it was there at the earliest."""

    index: int
    pattern: np.ndarray
    since: float


def is_constant(patterns: np.ndarray) -> np.ndarray:
    """Tell which patterns are of one value.

    Parameters
    ----------
    patterns
        Patterns of shape (n, rows, columns).

    Returns
    -------
    constant
        Boolean array of shape (n,).
    """
    flat = patterns.reshape(len(patterns), -1)
    return flat.min(axis=1) == flat.max(axis=1)
