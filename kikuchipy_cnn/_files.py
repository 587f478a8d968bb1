# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that are there complete or not at all."""

from __future__ import annotations

import csv
import os
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary file to write, and put it in the place of another when it is written.

    Parameters
    ----------
    path
        File to make or to replace.

    Yields
    ------
    temporary
        File with the same suffix, in lower case, in the same folder. After an error it is removed.
    """
    # Replacing a link would leave the file that it points to as it was.
    path = Path(path).resolve()
    temporary = path.with_name(f".{uuid.uuid4().hex}{path.suffix.lower()}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_destination(filename: str | Path, overwrite: bool | None = None) -> None:
    """Raise an error if a file of any format cannot be written.

    Parameters
    ----------
    filename
        File to write.
    overwrite
        Whether to overwrite an existing file. None is the same as
        False.

    Raises
    ------
    FileExistsError, FileNotFoundError, NotADirectoryError, \
    IsADirectoryError, PermissionError
        As :func:`~kikuchipy_cnn.io.check_output`.
    ValueError
        If *overwrite* is not None or a boolean.

    Examples
    --------
    >>> from kikuchipy_cnn.io import check_destination
    >>> check_destination("scores.csv")
    >>> check_destination("no_such_folder/scores.csv")
    Traceback (most recent call last):
    FileNotFoundError: Folder ... of 'scores.csv' does not exist: ...
    """
    path = Path(filename)
    if overwrite not in (None, True, False):
        raise ValueError(f"overwrite {overwrite!r} must be None, True or False")
    if path.is_dir():
        raise IsADirectoryError(f"{str(path)!r} is a folder: give the name of a file")
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"{str(path)!r} exists: pass overwrite=True to replace it, or give another name"
        )

    folder = path.resolve().parent
    if not folder.exists():
        raise FileNotFoundError(f"Folder {str(folder)!r} of {path.name!r} does not exist: make it")
    if not folder.is_dir():
        raise NotADirectoryError(f"{str(folder)!r} is not a folder: write {path.name!r} elsewhere")
    try:
        # os.access() tells root that everything can be written to
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise PermissionError(
            f"Folder {str(folder)!r} of {path.name!r} cannot be written to ({error.strerror}): "
            "give another one"
        ) from error


def write_csv(
    path: str | os.PathLike,
    header: Iterable[str],
    rows: Iterable[Iterable[object]],
    overwrite: bool = True,
) -> None:
    """Write a table of comma-separated values.

    Parameters
    ----------
    path
        File to make or to replace.
    header
        Names of the columns.
    rows
        Values, as many in each row.
    overwrite
        Whether to replace an existing file.

    Raises
    ------
    FileExistsError, FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError
        As :func:`check_destination`.
    """
    check_destination(path, overwrite)
    with (
        replacing(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def check_figure(path: Path, overwrite: bool) -> None:
    """Raise an error if a figure cannot be written.

    Parameters
    ----------
    path
        File to write.
    overwrite
        Whether to replace an existing file.

    Raises
    ------
    FileExistsError, FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError
        As :func:`check_destination`.
    ValueError
        If Matplotlib does not write files of this suffix.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    formats = sorted(FigureCanvasAgg.get_supported_filetypes())
    if path.suffix.lower().lstrip(".") not in formats:
        raise ValueError(f"Suffix {path.suffix!r} of '{path}' must be one of {', '.join(formats)}.")
    check_destination(path, overwrite)


def check_all_different(paths: Sequence[Path]) -> None:
    """Raise ValueError if two paths lead to the same file.

    Parameters
    ----------
    paths
        Files to read or to write.
    """
    resolved = [path.resolve() for path in paths]
    for path, place in zip(paths, resolved, strict=True):
        if resolved.count(place) > 1:
            raise ValueError(f"'{path}' is given for more than one file. Give another name.")


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure and say where it is.

    Parameters
    ----------
    figure
        Figure.
    path
        File to make or to replace, in any format of Matplotlib.
    """
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)
    print(f"Figure: {path}")
