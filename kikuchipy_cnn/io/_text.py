# SPDX-License-Identifier: GPL-3.0-or-later

"""Lines of numbers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

__all__ = ["check_complete", "write_lines"]


def write_lines(file: TextIO, line: str, columns: Sequence[np.ndarray]) -> None:
    """Write lines of numbers, faster than NumPy does.

    Parameters
    ----------
    file
        Open text file.
    line
        Format of a line, with its break.
    columns
        Values of each column.
    """
    values = np.column_stack(columns)
    file.write(line * len(values) % tuple(values.ravel().tolist()))


def check_complete(
    path: Path, header: Sequence[str], n_expected: int, *, ends_with_break: bool = False
) -> None:
    """Raise an error if a file was cut short.

    Parameters
    ----------
    path
        File, whose last columns all lines must have.
    header
        Lines before the first line of numbers.
    n_expected
        Number of lines of numbers that the header promises.
    ends_with_break
        Whether the last line must be ended, as the last number may not
        be complete otherwise.

    Raises
    ------
    ValueError
        If there are fewer lines, or the last one is not complete.
    """
    n_points, first, last = 0, "", ""
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in itertools.islice(file, len(header), None):
            if line.strip():
                first = first or line
                last = line
                n_points += 1
    is_whole = len(last.split()) >= len(first.split()) and (
        last.endswith("\n") or not ends_with_break
    )
    if n_points < n_expected or not is_whole:
        raise ValueError(
            f"{str(path)!r} is cut short: its header promises {n_expected} points, and it has "
            f"{n_points if is_whole else n_points - 1} whole ones. Copy or write it again"
        )
