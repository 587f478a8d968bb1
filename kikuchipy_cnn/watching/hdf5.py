# SPDX-License-Identifier: GPL-3.0-or-later

"""HDF5 files of patterns that another program has open for writing."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import h5py
import numpy as np

from kikuchipy_cnn._patterns import has_background, scan_geometry
from kikuchipy_cnn.watching.source import NotReady

HDF5_SUFFIXES = (".h5", ".hdf5", ".h5ebsd", ".h5oina")
# By manufacturer: kikuchipy's reader, and the data set that it takes the patterns from.
_FORMATS = {
    "kikuchipy": ("kikuchipy_h5ebsd", "patterns"),
    "bruker nano": ("bruker_h5ebsd", "RawPatterns"),
    "edax": ("edax_h5ebsd", "Pattern"),
    "oxford instruments": ("oxford_h5ebsd", "Processed Patterns"),
}
# What reading a file raises that is being changed.
_PASSING = (KeyError, OSError, RuntimeError)


class HDF5Patterns:
    """Patterns in one of kikuchipy's HDF5 formats, see
    :class:`~kikuchipy_cnn.watching.growing_file.PatternFile`.

    The file is not locked, so that whoever writes it is not disturbed.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    NotReady
        If it cannot be read now.
    ValueError
        If it has no patterns that can be watched.
    """

    # A data set may be lengthened before it is written.
    length_tells = False

    def __init__(self, path: Path) -> None:
        self.path = path
        with _readable(path) as file:
            reader, self._name = _place_of_patterns(file, path)
            self.shape = file[self._name].shape[1:]
            self.dtype = file[self._name].dtype
            self.positions = _positions(file, self._name)
            settings = {"swmr": file.swmr_mode, "locking": False}
        self.scan, self.static_background = _header(path, reader, settings)

    @contextmanager
    def open(self) -> Iterator[h5py.Dataset]:
        """Open the patterns, or raise NotReady."""
        with _readable(self.path) as file:
            yield file[self._name]


@contextmanager
def _readable(path: Path) -> Iterator[h5py.File]:
    """Open a file, and raise NotReady if it or something in it cannot be read."""
    try:
        with _open(path) as file:
            yield file
    except _PASSING as error:
        raise NotReady(f"'{path}' cannot be read now: {error}{_advice(error)}") from error


def _open(path: Path) -> h5py.File:
    # A file that is written by one program for readers is to be opened so, and no other is.
    try:
        return h5py.File(path, "r", locking=False, swmr=True)
    except OSError:
        return h5py.File(path, "r", locking=False)


def _advice(error: Exception) -> str:
    text = str(error)
    if "unable to lock" in text:
        return ". Unset HDF5_USE_FILE_LOCKING, or set it to FALSE, and start again."
    if "already open for write" in text:
        return (
            ". The program that writes it lets nobody read it: it would have to write for readers "
            "(SWMR), or in the format of HDF5 1.8."
        )
    if "locking flag" in text:
        return ". It is open in this process, too: close it there."
    return ""


def _place_of_patterns(file: h5py.File, path: Path) -> tuple[str, str]:
    """Name of kikuchipy's reader, and of the data set of the patterns."""
    manufacturer = _manufacturer(file)
    if manufacturer is None:
        raise NotReady(f"'{path}' names no manufacturer yet.")
    if manufacturer not in _FORMATS:
        raise ValueError(
            f"'{path}' is of the manufacturer {manufacturer!r}, but only files of "
            f"{', '.join(_FORMATS)} can be watched."
        )
    reader, name = _FORMATS[manufacturer]
    # kikuchipy takes the first scan.
    scan = next((group for group in file.values() if isinstance(group, h5py.Group)), None)
    if scan is None:
        raise NotReady(f"'{path}' has no scan yet.")
    patterns = scan[f"EBSD/Data/{name}"]
    if not patterns.size:
        # kikuchipy cannot read such a file.
        raise NotReady(f"'{path}' has no patterns yet.")
    if patterns.ndim != 3:
        raise ValueError(
            f"The patterns of '{path}' have {patterns.ndim} dimensions, but 3 are needed to watch "
            "them: pattern, row and column."
        )
    return reader, patterns.name


def _manufacturer(file: h5py.File) -> str | None:
    for name, item in file.items():
        if name.strip().lower() == "manufacturer":
            value = np.ravel(item[()])[0]
            return (value.decode("latin-1") if isinstance(value, bytes) else str(value)).lower()
    return None


def _positions(file: h5py.File, name: str) -> np.ndarray | None:
    """Indices into the flattened map of patterns whose rows and columns are given, as by Bruker."""
    scan = file[name.rpartition("/EBSD/")[0]]
    if "EBSD/SEM/IY" not in scan or "EBSD/SEM/IX" not in scan:
        return None
    places = np.array([scan[f"EBSD/SEM/{axis}"][()].ravel() for axis in ("IY", "IX")], int)
    places -= places.min(axis=1, keepdims=True)
    return np.ravel_multi_index(places, places.max(axis=1) + 1)


def _header(path: Path, reader: str, settings: dict) -> tuple[dict, np.ndarray | None]:
    """Shape, steps and unit of the map, and the static background, as kikuchipy reads them."""
    import kikuchipy as kp

    file_reader = import_module(f"kikuchipy.io.plugins.{reader}").file_reader
    try:
        with warnings.catch_warnings():
            # That the file is not complete.
            warnings.simplefilter("ignore", UserWarning)
            signal = kp.signals.LazyEBSD(**file_reader(path, lazy=True, **settings)[0])
    except (*_PASSING, ValueError, TypeError) as error:
        raise NotReady(f"kikuchipy cannot read '{path}' now: {error}") from error
    scan = scan_geometry(signal)
    background = np.asarray(signal.static_background) if has_background(signal) else None
    # HDF5 does not open anew a file that is open, but goes by what was known of it then.
    signal.close_file()
    return scan, background
