# SPDX-License-Identifier: GPL-3.0-or-later

"""Write crystal maps to files that other programs read, and read them
back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import orix.io
from orix.crystal_map import CrystalMap, Phase, PhaseList

from kikuchipy_cnn._files import check_destination, replacing
from kikuchipy_cnn.io._ang import load_ang, write_ang
from kikuchipy_cnn.io._content import Content, with_phases
from kikuchipy_cnn.io._ctf import load_ctf, write_ctf
from kikuchipy_cnn.io._h5ebsd import load_h5ebsd, write_h5ebsd

__all__ = ["check_output", "load", "save"]


def save(
    filename: str | Path,
    xmap: CrystalMap,
    overwrite: bool | None = None,
    *,
    phase_list: PhaseList | Iterable[Phase] | Mapping[int, Phase] | None = None,
) -> None:
    """Write a crystal map to file.

    Parameters
    ----------
    filename
        File to write. The suffix gives the format: *.ang* (EDAX),
        *.ctf* (Oxford Instruments), or *.h5*, *.hdf5*, *.h5ebsd* or
        *.oh5* (orix and h5ebsd in one).
    xmap
        Crystal map, on a square, rectangular or hexagonal grid.
    overwrite
        Whether to overwrite an existing file. If not given, the user is
        asked, and nothing is written if the answer is no.
    phase_list
        Phases with real names and unit cells in the order of the file.
        Each takes the place of the map's phase with the same space
        group, or with the same name if several have this space group.
        Those without points are written too. If not given, the map's
        phases are written as they are.

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
    TypeError
        If *phase_list* holds something else.
    ValueError
        If the suffix is not supported, the points are not on a grid or
        it is not clear which phase of *phase_list* is meant. If the map
        is a single point and the format is a text format, or it is on a
        hexagonal grid and the format is *.ctf*.

    Warns
    -----
    UserWarning
        If rotations of indexed points are identity, as where only the
        phase is known, or the scan unit is not a length.

    Notes
    -----
    The file is complete or absent, and an existing file is either
    replaced or untouched, also when writing fails. Points masked out,
    and places of the grid without a point, are written as not indexed.
    That points have no orientation, or that a unit cell is not known
    (edges of 1), is said in the header too. Cells with an edge below 2
    are taken to be in nanometres, as kikuchipy's are, others in
    angstrom.

    *.ang* has Euler angles, coordinates in micrometres, the property
    "scores" ("ci" or "cm" if there is none) as confidence index, "iq"
    ("image_quality", "imagequality" or "pq" if there is none) as image
    quality, "fit" as fit, and the phases; the space group is in the
    phase's name, such as "Ni (Fm-3m)", and in the line "Info". Points
    that are not indexed have Euler angles of 4 pi and confidence index
    -1.

    *.ctf* has the number of the space group. It knows no confidence
    index: band slope is 255 times the score, and band contrast the
    image quality, if there is one. Euler angles are in Oxford's sample
    frame, 90 degrees about the normal from EDAX's and kikuchipy's;
    :func:`load` turns them back.

    *.h5* and the like hold the whole map for orix, and the group
    "Scan 1/EBSD" in the layout of EDAX's files, for MTEX: all
    properties of one number per point, the space groups by symbol,
    number and EDAX's code. Patterns are not in it; kikuchipy keeps map
    and patterns together: ``s.xmap = xmap; s.save("patterns.h5")``.

    Names of phases are in ASCII in all but orix's part of *.h5*.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> import kikuchipy_cnn
    >>> xmap = kp.data.nickel_ebsd_small().xmap
    >>> xmap.scan_unit = "um"
    >>> kikuchipy_cnn.io.save("nickel.ang", xmap)
    >>> kikuchipy_cnn.io.save("nickel.ctf", xmap)
    >>> kikuchipy_cnn.io.save("nickel.h5", xmap)

    With real cells, and with a phase that has no points

    >>> from kikuchipy_cnn.simulation import load_phases
    >>> phases = load_phases([221, 225])
    >>> kikuchipy_cnn.io.save(
    ...     "nickel.ang",
    ...     xmap,
    ...     overwrite=True,
    ...     phase_list=[phases["Ni"], phases["Ni3Al"]],
    ... )
    """
    path = Path(filename)
    if overwrite is None and path.is_file() and path.suffix.lower() in _WRITERS:
        if not _ask_to_overwrite(path):
            return
        overwrite = True
    check_output(path, overwrite)

    suffix = path.suffix.lower()
    content = Content(xmap, with_phases(xmap, phase_list), suffix)
    with replacing(path) as temporary:
        _WRITERS[suffix](temporary, content)
    content.warn(stacklevel=2)


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

    Examples
    --------
    >>> from kikuchipy_cnn.io import check_output
    >>> check_output("nickel.ang")
    >>> check_output("nickel.txt")
    Traceback (most recent call last):
    ValueError: Suffix '.txt' of 'nickel.txt' must be one of .ang, ...
    """
    path = Path(filename)
    if path.suffix.lower() not in _WRITERS:
        raise ValueError(
            f"Suffix {path.suffix!r} of {str(path)!r} must be one of {', '.join(_WRITERS)}"
        )
    check_destination(path, overwrite)


def load(filename: str | Path) -> CrystalMap:
    """Read a crystal map from any file that orix reads, or the one
    that is stored with patterns in a file of kikuchipy.

    Parameters
    ----------
    filename
        File to read.

    Returns
    -------
    xmap
        Crystal map. If :func:`save` has written the file, it has the
        space groups, phase IDs and scores that the written map had,
        and scores of 0 where not indexed. In other .ang and .ctf files,
        phases whose name is a Hermann-Mauguin symbol, or ends with one
        in parentheses, are given that space group.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    ValueError
        If the file was cut short, or has no map.

    Notes
    -----
    *.ang* and *.ctf* keep one confidence, one image quality and one
    fit. *.ctf* keeps scores in steps of 1/255, and which points are in
    data, which *.ang* does not.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> import kikuchipy_cnn
    >>> xmap = kp.data.nickel_ebsd_small().xmap
    >>> xmap.scan_unit = "um"
    >>> kikuchipy_cnn.io.save("nickel.ctf", xmap)
    >>> loaded = kikuchipy_cnn.io.load("nickel.ctf")
    >>> loaded.shape
    (3, 3)
    >>> [phase.space_group.number for _, phase in loaded.phases]
    [225]
    """
    path = Path(filename)
    if not path.is_file():
        raise FileNotFoundError(f"{str(path)!r} is not a file: check its name and folder")
    return _READERS.get(path.suffix.lower(), orix.io.load)(path)


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


_HDF5 = (".h5", ".hdf5", ".h5ebsd", ".oh5")
_WRITERS: dict[str, Callable[[Path, Content], None]] = {
    ".ang": write_ang,
    ".ctf": write_ctf,
    **dict.fromkeys(_HDF5, write_h5ebsd),
}
_READERS: dict[str, Callable[[Path], CrystalMap]] = {
    ".ang": load_ang,
    ".ctf": load_ctf,
    **dict.fromkeys(_HDF5, load_h5ebsd),
}
