# SPDX-License-Identifier: GPL-3.0-or-later

"""Oxford Instruments' .ctf text format (Channel Text File), which orix
reads but does not write.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orix.io
from diffpy.structure import Lattice, Structure
from orix.crystal_map import CrystalMap, Phase
from orix.quaternion import Rotation

from kikuchipy_cnn.crystal_map import IMAGE_QUALITY, first_property
from kikuchipy_cnn.io._content import (
    Content,
    PhaseEntry,
    phase_comment,
    restored,
    with_space_groups,
)
from kikuchipy_cnn.io._names import split_name
from kikuchipy_cnn.io._text import check_complete, write_lines

__all__ = ["load_ctf", "write_ctf"]

_LAUE_GROUPS = (
    "-1", "2/m", "mmm", "4/m", "4/mmm", "-3", "-3m", "6/m", "6/mmm", "m-3", "m-3m",
)  # fmt: skip
_COLUMN_NAMES = "Phase\tX\tY\tBands\tError\tEuler1\tEuler2\tEuler3\tMAD\tBC\tBS"
# DREAM.3D refuses columns of other names, so band contrast and band slope hold what we have
_LINE = "%d\t%.6f\t%.6f\t0\t%d\t%.4f\t%.4f\t%.4f\t%.4f\t%d\t%d\n"
_DECIMALS = 4
_AUTHOR = "kikuchipy_cnn"
_INDEXED, _NO_SOLUTION, _NOT_ANALYSED = 0, 3, 5
_TOP = 255
# Oxford's sample frame is EDAX's, and kikuchipy's, turned about the normal. With this angle MTEX
# makes the same of a .ctf file as of an .ang file in EDAX's setting 2, which kikuchipy's is
_TURN = 90.0


def write_ctf(path: Path, content: Content) -> None:
    """Write a crystal map to a .ctf file, replacing what is there.

    Parameters
    ----------
    path
        File to write.
    content
        Map on a square or rectangular grid.

    Raises
    ------
    ValueError
        If the map is a single point, or its grid is hexagonal.
    """
    grid = content.grid
    if grid.size == 1:
        raise ValueError("A map of one point cannot be read from .ctf: save it to .h5 instead")
    if grid.is_hexagonal:
        raise ValueError(
            "The map is on a hexagonal grid, which .ctf does not have: save it to .ang or .h5"
        )
    quality_scale = _quality_scale(content)
    with open(path, "w", encoding="ascii", newline="\n") as file:
        file.write("\n".join(_header(content, quality_scale > 0)) + "\n")
        for rows in content.rows():
            indexed = rows.phase > 0
            error = np.where(rows.in_data, np.where(indexed, _INDEXED, _NO_SOLUTION), _NOT_ANALYSED)
            columns = [
                rows.phase,
                rows.x,
                rows.y,
                error,
                _turned(np.rad2deg(rows.eulers), _TURN),
                rows.fit,
                np.clip(np.rint(quality_scale * rows.image_quality), 0, _TOP),
                np.clip(np.rint(_TOP * rows.confidence), 0, _TOP),
            ]
            write_lines(file, _LINE, columns)


def load_ctf(path: Path) -> CrystalMap:
    """Read a crystal map from a .ctf file.

    Parameters
    ----------
    path
        File to read.

    Returns
    -------
    xmap
        Crystal map, see :func:`kikuchipy_cnn.io.load`.

    Raises
    ------
    ValueError
        If the file was cut short, or is no Channel Text File.
    """
    header = []
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            header.append(line.rstrip("\n"))
            if line.startswith("Phase\tX\tY"):
                break
        else:
            raise ValueError(
                f"{str(path)!r} is cut short or no Channel Text File: there is no line of column "
                "names. Copy or write it again"
            )
    pairs = (line.split("\t")[:2] for line in header if "\t" in line)
    cells = {key: int(value) for key, value in pairs if value.isdecimal()}
    is_ours = any(line.startswith(f"Author\t{_AUTHOR}") for line in header)
    n_points = cells.get("XCells", 1) * cells.get("YCells", 1)
    check_complete(path, header, n_points, ends_with_break=is_ours)
    return _read_own(path, header) if is_ours else with_space_groups(orix.io.load(path))


def _read_own(path: Path, header: list[str]) -> CrystalMap:
    # orix's reader refuses cubic phases of lower symmetry, and warns of space groups that it drops
    first = next(i for i, line in enumerate(header) if line.startswith("Phases\t")) + 1
    number, x, y, _, error, phi1, phi, phi2, fit, _, slope = np.loadtxt(
        path, skiprows=len(header), ndmin=2
    ).T
    comments = dict(enumerate(header[first:-1], start=1))
    eulers = _turned(np.column_stack([phi1, phi, phi2]), -_TURN)
    return restored(
        number,
        {i: _phase_of_line(line) for i, line in comments.items()},
        comments,
        Rotation.from_euler(eulers, degrees=True),
        slope / _TOP,
        {"fit": fit} if fit.any() else {},
        x=x,
        y=y,
        scan_unit="um",
        is_in_data=error != _NOT_ANALYSED,
    )


def _phase_of_line(line: str) -> Phase:
    edges, angles, text, laue, space_group, *_ = line.split("\t")
    name, _ = split_name(text)
    lattice = Lattice(*(float(i) for i in (*edges.split(";"), *angles.split(";"))))
    phase = Phase(name, structure=Structure(title=name, lattice=lattice))
    if int(space_group):
        phase.space_group = int(space_group)
    elif int(laue) > 1:
        phase.point_group = _LAUE_GROUPS[int(laue) - 1]
    return phase


def _turned(eulers: np.ndarray, angle: float) -> np.ndarray:
    """Euler angles in degrees in a frame turned about the normal. Those of 0 are no orientation."""
    has_orientation = eulers.any(axis=1)
    turned = eulers.copy()
    turned[has_orientation, 0] = (eulers[has_orientation, 0] + angle) % 360
    # Angles that have become 0 are an orientation still
    turned[has_orientation & ~np.round(turned, _DECIMALS).any(axis=1), 0] = 360
    return turned


def _quality_scale(content: Content) -> float:
    """Factor that makes image quality a number of one byte, or 0 if it is not known."""
    values = first_property(content.xmap, IMAGE_QUALITY)
    if values is None:
        return 0
    indexed = content.xmap.is_in_data & (content.xmap._phase_id != -1)
    best = float(np.nan_to_num(values[indexed]).max(initial=0))
    if best <= 0:
        return 0
    return _TOP if best <= 1 else _TOP / best


def _header(content: Content, has_quality: bool) -> list[str]:
    grid = content.grid
    author = f"{_AUTHOR}; BS=255 x score" + ("; BC=image quality" if has_quality else "")
    notes = (f"NOTE: {i}".replace("Phases", "phases") for i in content.notes)
    return [
        "Channel Text File",
        "Prj\tkikuchipy_cnn",
        "; ".join([f"Author\t{author}", *notes]),
        "JobMode\tGrid",
        f"XCells\t{grid.n_columns}",
        f"YCells\t{grid.n_rows}",
        f"XStep\t{grid.dx * content.scale:.6f}",
        f"YStep\t{grid.dy * content.scale:.6f}",
        "AcqE1\t0",
        "AcqE2\t0",
        "AcqE3\t0",
        "Euler angles refer to Sample Coordinate system (CS0)!\tMag\t0\tCoverage\t100\tDevice\t0\t"
        "KV\t0\tTiltAngle\t0\tTiltAxis\t0",
        f"Phases\t{len(content.entries)}",
        *map(_phase_line, content.entries),
        _COLUMN_NAMES,
    ]


def _phase_line(entry: PhaseEntry) -> str:
    edges, angles = entry.lattice[:3], entry.lattice[3:]
    fields = [
        ";".join(f"{i:.3f}" for i in edges),
        ";".join(f"{i:.3f}" for i in angles),
        entry.name,
        str(_LAUE_GROUPS.index(entry.laue_group) + 1 if entry.laue_group else 1),
        str(entry.space_group or 0),
        "",
        "",
        phase_comment(entry),
    ]
    # Readers look for the number of phases in any line with this word
    return "\t".join(fields).replace("Phases", "phases")
