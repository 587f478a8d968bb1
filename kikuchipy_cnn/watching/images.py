# SPDX-License-Identifier: GPL-3.0-or-later

"""Folders that images of single patterns arrive in."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable
from contextlib import contextmanager
from fnmatch import fnmatchcase
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kikuchipy_cnn.inference.batches import CHUNK_BYTES
from kikuchipy_cnn.watching.source import Arrivals, Layout, NotReady

IMAGE_SUFFIXES = (".tif", ".tiff", ".png", ".bmp")
# kikuchipy's, with the columns first: "_x5y10.tif" and "-5-10.bmp".
_NAMES = (r"_x(\d+)y(\d+)\.\w+$", r"-(\d+)-(\d+)\.\w+$")


class _Stamp(NamedTuple):
    """What changes when an image is written on."""

    time: int
    size: int


class ImageFolder:
    """Images of single patterns, one file each.

    An image is read when a newer one is there or it is the same at two looks, since it may be
    written in parts. One that cannot be read is tried again when it has changed.

    Parameters
    ----------
    folder
        The folder.
    names
        Names of the images, with wildcards.
    name_pattern
        Regular expression with two groups of digits for the column and the row, or with groups of
        the names x and y. If not given, those of kikuchipy are tried; if neither is found, the
        images are a line in the order of their names.
    shape
        Rows and columns of the whole map, if they are known.
    since
        Time, in seconds since the epoch, from which on images wait that are older. If not given,
        now.
    report
        Function that is called with what the user is to know.
    """

    static_background = None

    def __init__(
        self,
        folder: Path,
        names: str = "*",
        *,
        name_pattern: str | None = None,
        shape: tuple[int, int] | None = None,
        since: float | None = None,
        report: Callable[[str], object] = print,
    ) -> None:
        self._folder, self._names = folder, names
        self._name_pattern = name_pattern
        self._are_placed = name_pattern is not None
        self._shape, self._report = shape, report
        self.n_expected = None if shape is None else prod(shape)
        self._done: dict[str, None] = {}
        self._places: dict[tuple[int, int], str] = {}
        self._left_out: set[str] = set()
        self._failed: dict[str, _Stamp] = {}
        self._before: dict[str, _Stamp] = {}
        self._first: tuple[str, tuple[int, ...], np.dtype] | None = None
        self._start = time.time() if since is None else since

    def look(self, last: bool = False) -> Arrivals:
        """Read the images that have come since the last look, see
        :meth:`Source.look() <kikuchipy_cnn.watching.source.Source.look>`.
        """
        stamps = self._new_stamps()
        ready = self._ready(stamps, last)
        self._before = stamps
        patterns, since, size = [], [], 0
        for i, name in enumerate(ready):
            pattern = self._read(name, stamps[name])
            if pattern is None:
                continue
            self._check(name, pattern)
            if not self._are_placed and len(self._done) == self.n_expected:
                raise ValueError(
                    f"shape={tuple(self._shape)} has places for {self.n_expected} images, but "
                    f"'{self._folder}' has more: '{name}'."
                )
            self._done[name] = None
            patterns.append(pattern)
            since.append(max(stamps[name].time / 1e9, self._start))
            size += pattern.nbytes
            if size >= CHUNK_BYTES and i + 1 < len(ready):
                return Arrivals(np.stack(patterns), np.array(since), more=True)
        return Arrivals(np.stack(patterns) if patterns else np.empty((0, 1, 1)), np.array(since))

    def layout(self, n: int) -> Layout:
        """Tell where the first patterns belong."""
        names = list(self._done)[:n]
        if not self._are_placed:
            order = sorted(range(n), key=lambda i: _natural(names[i]))
            positions = np.empty(n, int)
            positions[order] = np.arange(n)
            shape = (n,) if self._shape is None else self._shape
            return Layout(_scan(shape), positions)
        places = np.array([self._place(name) for name in names])
        # As kikuchipy does: coordinates may be in any unit.
        columns, x = np.unique(places[:, 0], return_inverse=True)
        rows, y = np.unique(places[:, 1], return_inverse=True)
        shape = self._shape or (len(rows), len(columns))
        if len(rows) > shape[0] or len(columns) > shape[1]:
            raise ValueError(
                f"The names of the images in '{self._folder}' have {len(rows)} rows and "
                f"{len(columns)} columns, but shape={tuple(shape)} was given."
            )
        return Layout(_scan(shape), np.ravel_multi_index((y, x), shape))

    def _new_stamps(self) -> dict[str, _Stamp]:
        """Images that are not done, and how they are now."""
        stamps = {}
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    if self._is_image(entry.name) and entry.name not in self._done:
                        try:
                            status = entry.stat()
                        except FileNotFoundError:
                            # A temporary name, which is gone by now.
                            continue
                        stamps[entry.name] = _Stamp(status.st_mtime_ns, status.st_size)
        except OSError as error:
            raise NotReady(f"'{self._folder}' cannot be read now: {error}") from error
        return stamps

    def _is_image(self, name: str) -> bool:
        return (
            Path(name).suffix.lower() in IMAGE_SUFFIXES
            and not name.startswith(".")
            and fnmatchcase(name, self._names)
        )

    def _ready(self, stamps: dict[str, _Stamp], last: bool) -> list[str]:
        """Names of the images to read now, oldest first."""
        self._find_name_pattern(stamps)
        names = sorted(stamps, key=lambda name: (stamps[name], _natural(name)))
        if self._are_placed:
            self._leave_out([name for name in names if self._place(name) is None])
            names = [name for name in names if name not in self._left_out]
        if names and not last and self._before.get(names[-1]) != stamps[names[-1]]:
            names = names[:-1]
        return [name for name in names if self._failed.get(name) != stamps[name]]

    def _find_name_pattern(self, names) -> None:
        if self._are_placed or self._done:
            return
        for pattern in _NAMES:
            if any(re.search(pattern, name) for name in names):
                self._name_pattern, self._are_placed = pattern, True
                return

    def _leave_out(self, names: list[str]) -> None:
        new = [name for name in names if name not in self._left_out]
        if new and not self._left_out:
            self._report(f"Images whose names tell no position, such as {new[0]!r}, are left out.")
        self._left_out.update(new)

    def _place(self, name: str) -> tuple[int, int] | None:
        """Column and row in the name of an image."""
        match = re.search(self._name_pattern, name)
        if match is None:
            return None
        groups = match.groupdict()
        x, y = (groups["x"], groups["y"]) if {"x", "y"} <= groups.keys() else match.groups()
        return int(x), int(y)

    def _read(self, name: str, stamp: _Stamp) -> np.ndarray | None:
        import imageio.v3 as iio

        path = self._folder / name
        try:
            with _quiet("tifffile"):
                pattern = iio.imread(path)
            status = path.stat()
        # Each of imageio's decoders has errors of its own for images that are cut short.
        except Exception:
            self._failed[name] = stamp
            return None
        if _Stamp(status.st_mtime_ns, status.st_size) != stamp:
            return None
        self._failed.pop(name, None)
        return pattern

    def _check(self, name: str, pattern: np.ndarray) -> None:
        """Raise ValueError unless a pattern is like the first and has a place of its own."""
        if pattern.ndim != 2:
            raise ValueError(
                f"Image '{self._folder / name}' has the shape {pattern.shape}; patterns have rows "
                "and columns only."
            )
        if self._first is None:
            self._first = name, pattern.shape, pattern.dtype
        first, shape, dtype = self._first
        if pattern.shape != shape or pattern.dtype != dtype:
            raise ValueError(
                f"Image '{self._folder / name}' has {pattern.shape[0]} x {pattern.shape[1]} pixels "
                f"of {pattern.dtype}, but {first!r} has {shape[0]} x {shape[1]} of {dtype}."
            )
        if self._are_placed:
            other = self._places.setdefault(self._place(name), name)
            if other != name:
                raise ValueError(
                    f"The images {other!r} and {name!r} in '{self._folder}' have the same position."
                )


def _scan(shape: tuple[int, ...]) -> dict:
    # kikuchipy's for images
    return {"navigation_shape": shape, "step_sizes": (1.0,) * len(shape), "scan_unit": "um"}


def _natural(name: str) -> list:
    """What puts a2 before a10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


@contextmanager
def _quiet(name: str):
    """Silence a library that logs an error of its own for each image that is cut short."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
