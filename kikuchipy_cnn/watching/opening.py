# SPDX-License-Identifier: GPL-3.0-or-later

"""From a path to what patterns arrive in."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from kikuchipy_cnn.watching.growing_file import GrowingFile
from kikuchipy_cnn.watching.hdf5 import HDF5_SUFFIXES, HDF5Patterns
from kikuchipy_cnn.watching.images import IMAGE_SUFFIXES, ImageFolder
from kikuchipy_cnn.watching.nordif import NORDIF_SETTINGS, NORDIF_SUFFIX, NordifPatterns
from kikuchipy_cnn.watching.source import NotReady, Source

FILE_SUFFIXES = (*HDF5_SUFFIXES, NORDIF_SUFFIX)


def open_source(
    path: Path,
    *,
    name_pattern: str | None = None,
    shape: tuple[int, int] | None = None,
    since: float | None = None,
    report: Callable[[str], object] = print,
) -> Source:
    """Find out what there is to watch.

    Parameters
    ----------
    path
        File of patterns; folder with one such file, or with images; or images by a name with
        wildcards.
    name_pattern, shape, report
        As for :class:`~kikuchipy_cnn.watching.images.ImageFolder`.
    since
        Time, in seconds since the epoch, at which the first patterns were there at the earliest,
        as far as this counts for the latency. If not given, now.

    Returns
    -------
    source
        Source of patterns.

    Raises
    ------
    NotReady
        If there is nothing yet.
    ValueError
        If what is there cannot be watched, or the arguments do not fit it.
    """
    images = {"name_pattern": name_pattern, "shape": shape, "since": since, "report": report}
    if has_wildcards(path) and not path.exists():
        if not path.parent.is_dir():
            raise NotReady(f"There is no folder '{path.parent}'.")
        return ImageFolder(path.parent, path.name, **images)
    if not path.exists():
        if path.suffix:
            _check_suffix(path)
        raise NotReady(f"There is no '{path}'.")
    if path.is_dir():
        file = _file_in(path)
        if file is None:
            return ImageFolder(path, **images)
        path = file
    _check_suffix(path)
    if name_pattern is not None or shape is not None:
        raise ValueError(
            f"'{path}' tells the shape of the map and the places of the patterns; give them for "
            "images only."
        )
    is_nordif = path.suffix.lower() == NORDIF_SUFFIX
    return GrowingFile((NordifPatterns if is_nordif else HDF5Patterns)(path), since)


def has_wildcards(path: Path) -> bool:
    """Tell whether the name of a path stands for several files.

    Parameters
    ----------
    path
        Path.
    """
    return any(character in path.name for character in "*?[")


def check_name_pattern(name_pattern: str) -> None:
    """Raise ValueError unless a regular expression can tell columns and rows.

    Parameters
    ----------
    name_pattern
        Regular expression.
    """
    try:
        compiled = re.compile(name_pattern)
    except re.error as error:
        raise ValueError(f"{name_pattern!r} is no regular expression: {error}.") from error
    if compiled.groups != 2 and not {"x", "y"} <= compiled.groupindex.keys():
        raise ValueError(
            f"The regular expression {name_pattern!r} has {compiled.groups} group(s); two are "
            r"needed, for the column and the row, as in '_x(\d+)y(\d+)'."
        )


def _file_in(folder: Path) -> Path | None:
    """The file of patterns in a folder, or None if it has images."""
    entries = sorted(i for i in folder.iterdir() if i.is_file() and not i.name.startswith("."))
    files = [i for i in entries if i.suffix.lower() in FILE_SUFFIXES]
    if len(files) > 1:
        raise ValueError(
            f"'{folder}' has the files {', '.join(i.name for i in files)}. Give the one to watch."
        )
    if files:
        return files[0]
    if any(i.name == NORDIF_SETTINGS for i in entries):
        # The images beside it are none of the scan.
        raise NotReady(f"'{folder}' has settings of NORDIF, but no patterns (.dat) yet.")
    n_images = sum(i.suffix.lower() in IMAGE_SUFFIXES for i in entries)
    if n_images < 2:
        # A single one may be the background of a scan that is not there yet.
        raise NotReady(f"'{folder}' has {n_images} image(s), and no file of patterns, yet.")
    return None


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() not in FILE_SUFFIXES:
        raise ValueError(
            f"'{path}' cannot be watched: give a file {', '.join(FILE_SUFFIXES)}, or a folder."
        )
