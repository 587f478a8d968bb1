"""Write crystal maps to files that other programs read, and read them
back."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import orix.io
from orix.crystal_map import CrystalMap

from kikuchipy_cnn._files import replacing
from kikuchipy_cnn.io._ang import load_ang, write_ang

__all__ = ["check_destination", "check_output", "load", "save"]


def save(filename: str | Path, xmap: CrystalMap, overwrite: bool | None = None) -> None:
    """Write a crystal map to file.

    Parameters
    ----------
    filename
        File to write. The suffix gives the format: *.ang* (EDAX, MTEX),
        or *.h5* or *.hdf5* (orix).
    xmap
        Crystal map.
    overwrite
        Whether to overwrite an existing file. If not given, the user is
        asked, and nothing is written if the answer is no.

    Raises
    ------
    FileExistsError
        If the file exists and *overwrite* is False, or *overwrite* is
        not given and there is nobody to ask.
    FileNotFoundError, NotADirectoryError
        If the folder does not exist.
    IsADirectoryError
        If the file is a folder.
    PermissionError
        If the folder cannot be written to.
    ValueError
        If the suffix is not supported, or the map is a single point and
        the format is *.ang*.

    Warns
    -----
    UserWarning
        On writing to *.ang* if all rotations are identity, or the scan
        unit is not a length.

    Notes
    -----
    The file is complete or absent, and an existing file is either
    replaced or untouched, also when writing fails.

    *.ang* holds the Euler angles, coordinates in micrometres, "scores"
    as confidence index, "iq" as image quality if there is such a
    property, and the phases; the space group is in the phase name only.
    Points masked out or not indexed are both written as not indexed.
    *.h5* holds the whole map.
    """
    path = Path(filename)
    if overwrite is None and path.is_file() and path.suffix.lower() in _WRITERS:
        if not _ask_to_overwrite(path):
            return
        overwrite = True
    check_output(path, overwrite)

    with replacing(path) as temporary:
        _WRITERS[path.suffix.lower()](temporary, xmap)


def check_output(filename: str | Path, overwrite: bool | None = None) -> None:
    """Raise an error if a crystal map cannot be saved to a file.

    This is what can be told before the map exists, so that long work is
    not lost for a misspelt folder.

    Parameters
    ----------
    filename
        File to write.
    overwrite
        Whether to overwrite an existing file. None is the same as
        False, as nobody is asked here.

    Raises
    ------
    FileExistsError
        If the file exists and *overwrite* is not True.
    FileNotFoundError, NotADirectoryError
        If the folder does not exist.
    IsADirectoryError
        If the file is a folder.
    PermissionError
        If the folder cannot be written to.
    ValueError
        If the suffix is not supported, or *overwrite* is not None or a
        boolean.
    """
    path = Path(filename)
    if path.suffix.lower() not in _WRITERS:
        raise ValueError(
            f"Suffix {path.suffix!r} of {str(path)!r} must be one of {', '.join(_WRITERS)}"
        )
    check_destination(path, overwrite)


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
        As :func:`check_output`.
    ValueError
        If *overwrite* is not None or a boolean.
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


def load(filename: str | Path) -> CrystalMap:
    """Read a crystal map from any file that orix reads.

    Parameters
    ----------
    filename
        File to read.

    Returns
    -------
    xmap
        Crystal map. If it is read from an *.ang* file and a phase's
        name is a Hermann-Mauguin symbol, the phase is given that space
        group. If all phases' names are, the phase IDs are the
        space-group numbers and the confidence index is called "scores"
        (0 where not indexed), as they were when the map was written by
        :func:`save`.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    """
    path = Path(filename)
    if not path.is_file():
        raise FileNotFoundError(f"{str(path)!r} is not a file: check its name and folder")
    return load_ang(path) if path.suffix.lower() == ".ang" else orix.io.load(path)


def _ask_to_overwrite(path: Path) -> bool:
    question = f"Overwrite {str(path)!r} (y/n)?\n"
    try:
        while (answer := input(question).strip().lower()) not in ("y", "n"):
            pass
    except (EOFError, OSError, NotImplementedError) as error:
        raise FileExistsError(
            f"{str(path)!r} exists, and there is nobody to ask whether to replace it: pass "
            "overwrite=True to replace it, or give another name"
        ) from error
    return answer == "y"


def _write_h5(path: Path, xmap: CrystalMap) -> None:
    orix.io.save(path, xmap, overwrite=True)


_WRITERS: dict[str, Callable[[Path, CrystalMap], None]] = {
    ".ang": write_ang,
    ".h5": _write_h5,
    ".hdf5": _write_h5,
}
