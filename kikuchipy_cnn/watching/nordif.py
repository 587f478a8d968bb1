# SPDX-License-Identifier: GPL-3.0-or-later

"""NORDIF's files of patterns, which a scan lengthens."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path

import numpy as np

from kikuchipy_cnn._patterns import has_background, scan_geometry
from kikuchipy_cnn._signals import load_signal
from kikuchipy_cnn.watching.source import NotReady

NORDIF_SUFFIX = ".dat"
NORDIF_SETTINGS = "Setting.txt"


class NordifPatterns:
    """Patterns in a file of NORDIF with its settings beside it, see
    :class:`~kikuchipy_cnn.watching.growing_file.PatternFile`.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    NotReady
        If the settings cannot be read now.
    """

    length_tells = True
    positions = None

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with warnings.catch_warnings():
                # That there is no background, or a line is missing in the settings.
                warnings.simplefilter("ignore")
                signal = load_signal(str(path))
        except (OSError, ValueError, IndexError) as error:
            raise NotReady(str(error)) from error
        # kikuchipy opens such a file, whatever its length is, and fails when it is read.
        self.shape = signal.data.shape[-2:]
        self.dtype = signal.data.dtype
        self.scan = scan_geometry(signal)
        self.static_background = (
            np.asarray(signal.static_background) if has_background(signal) else None
        )

    @contextmanager
    def open(self) -> Iterator[_Frames]:
        """Open the patterns, or raise NotReady."""
        try:
            yield _Frames(self.path, self.shape, self.dtype)
        except OSError as error:
            raise NotReady(f"'{self.path}' cannot be read now: {error}") from error


class _Frames:
    """Patterns one after the other, of which the last may be there in part."""

    def __init__(self, path: Path, shape: tuple[int, int], dtype: np.dtype) -> None:
        self._path, self._shape, self._dtype = path, shape, dtype
        self._bytes = prod(shape) * dtype.itemsize
        self._length = path.stat().st_size // self._bytes

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, part: slice) -> np.ndarray:
        start, stop, _ = part.indices(self._length)
        # Not a memory map: that of a file which is cut short ends the process.
        patterns = np.fromfile(
            self._path, self._dtype, (stop - start) * prod(self._shape), offset=start * self._bytes
        )
        return patterns.reshape(-1, *self._shape)
