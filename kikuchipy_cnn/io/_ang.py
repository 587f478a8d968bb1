# SPDX-License-Identifier: GPL-3.0-or-later

"""EDAX's .ang text format.

orix's reader is used, but not its writer, which crops a map to its
points in data, places all points of a map of one column at x = 0, and
refuses maps without an indexed point.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import orix.io
from orix.crystal_map import CrystalMap

from kikuchipy_cnn.io._content import (
    Content,
    PhaseEntry,
    phase_comment,
    restored,
    with_space_groups,
)
from kikuchipy_cnn.io._edax import EDAX_SYMMETRY, as_edax_has_it
from kikuchipy_cnn.io._text import check_complete, write_lines

__all__ = ["load_ang", "write_ang"]

_OPERATOR = "OPERATOR: kikuchipy_cnn"
# By this line orix knows that confidence index -1 means not indexed
_COLUMN_NAMES = (
    "Column names: phi1, Phi, phi2, x, y, image_quality, confidence_index, phase_id, "
    "detector_signal, pattern_fit"
)
# MTEX takes the ninth column for the phases if it has more whole numbers than the eighth
_LINE = "%9.5f %9.5f %9.5f %13.6f %13.6f %9.3f %8.5f %3d %7.3f %7.3f\n"


def write_ang(path: Path, content: Content) -> None:
    """Write a crystal map to an .ang file, replacing what is there.

    Parameters
    ----------
    path
        File to write.
    content
        Map of more than one point.

    Raises
    ------
    ValueError
        If the map is a single point.
    """
    if content.grid.size == 1:
        raise ValueError("A map of one point cannot be read from .ang: save it to .h5 instead")
    with open(path, "w", encoding="ascii", newline="\n") as file:
        file.writelines(f"# {line}".rstrip() + "\n" for line in _header(content))
        for rows in map(as_edax_has_it, content.rows()):
            columns = [
                rows.eulers,
                rows.x,
                rows.y,
                rows.image_quality,
                rows.confidence,
                rows.phase,
                np.zeros(rows.phase.size),
                rows.fit,
            ]
            write_lines(file, _LINE, columns)


def load_ang(path: Path) -> CrystalMap:
    """Read a crystal map from an .ang file.

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
        If the file was cut short.
    """
    header = []
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            if not line.startswith("#"):
                break
            header.append(line)
    is_ours = any(line.startswith(f"# {_OPERATOR}") for line in header)
    check_complete(path, header, _n_points("".join(header)), ends_with_break=is_ours)
    xmap = with_space_groups(orix.io.load(path, autogen_names=False))
    if not is_ours:
        return xmap
    comments = {}
    for block in "".join(header).split("# Phase ")[1:]:
        comments[int(block.split(maxsplit=1)[0])] = block
    properties = {name: xmap.prop[name] for name in xmap.prop}
    return restored(
        np.where(xmap.is_indexed, xmap.phase_id, 0),
        {i: phase for i, phase in xmap.phases if i != -1},
        comments,
        xmap.rotations,
        properties.pop("ci"),
        properties,
        x=xmap.x,
        y=xmap.y,
        scan_unit=xmap.scan_unit,
    )


def _n_points(header: str) -> int:
    """Number of points of the grid, or 1 if the header does not tell."""
    found = {
        key: re.search(rf"# *{key}: *(\d+)", header) for key in ("NCOLS_ODD", "NCOLS_EVEN", "NROWS")
    }
    if None in found.values():
        return 1
    n_odd, n_even, n_rows = (int(i[1]) for i in found.values())
    if "HexGrid" not in header:
        n_even = n_odd
    return (n_rows + 1) // 2 * n_odd + n_rows // 2 * n_even


def _header(content: Content) -> list[str]:
    grid = content.grid
    lines = [
        "TEM_PIXperUM           1.000000",
        "x-star                 0.000000",
        "y-star                 0.000000",
        "z-star                 0.000000",
        "WorkingDistance        0.000000",
        "",
    ]
    # orix does not open a file without a phase
    entries = content.entries or (
        PhaseEntry("none", "none", None, None, (1, 1, 1, 90, 90, 90), None),
    )
    # EDAX's own files have them in ascending order, which DefDAP insists on. orix's writer reverses
    # it for OIM Analysis 7.2
    for number, entry in enumerate(entries, start=1):
        lines += [
            f"Phase {number}",
            f"MaterialName    {entry.name}",
            # Given a formula, orix takes it for the name, and the space group is gone
            "Formula",
            f"Info    {_info(entry)}",
            f"Symmetry    {EDAX_SYMMETRY[entry.laue_group]}",
            f"LatticeConstants    {' '.join(f'{i:.3f}' for i in entry.lattice)}",
            "NumberFamilies    0",
            "",
        ]
    lines += [
        f"GRID: {'HexGrid' if grid.is_hexagonal else 'SqrGrid'}",
        f"XSTEP: {grid.dx * content.scale:.6f}",
        f"YSTEP: {grid.dy * content.scale:.6f}",
        f"NCOLS_ODD: {grid.n_columns}",
        f"NCOLS_EVEN: {grid.n_columns_even}",
        f"NROWS: {grid.n_rows}",
        "",
        _OPERATOR,
        "",
        "SAMPLEID:",
        "",
        "SCANID:",
        "",
        *(f"NOTE: {note}" for note in content.notes),
        _COLUMN_NAMES,
        "",
    ]
    return lines


def _info(entry: PhaseEntry) -> str:
    number = "not known" if entry.space_group is None else entry.space_group
    return f"space group {number}; {phase_comment(entry)}"
