# SPDX-License-Identifier: GPL-3.0-or-later

"""HDF5 files that orix and MTEX read.

A file holds the whole map as orix writes it, and beside it the group
"Scan 1/EBSD" in the layout of EDAX's h5ebsd, which MTEX's loaders walk.
HDF5 tells "manufacturer", which orix looks for, from "Manufacturer",
which MTEX does.
"""

from __future__ import annotations

import re
from pathlib import Path

import h5py
import kikuchipy as kp
import numpy as np
import orix.io
from orix.crystal_map import CrystalMap, PhaseList
from orix.io.plugins import orix_hdf5

from kikuchipy_cnn.crystal_map import all_properties, map_like
from kikuchipy_cnn.io._content import Content, PhaseEntry, Rows
from kikuchipy_cnn.io._edax import EDAX_SYMMETRY, as_edax_has_it
from kikuchipy_cnn.io._names import ascii_text
from kikuchipy_cnn.space_groups import hermann_mauguin_symbol

__all__ = ["load_h5ebsd", "write_h5ebsd"]

_SCAN = "Scan 1/EBSD"
# MTEX takes a file to be EDAX's if the word is in it
_MANUFACTURER = "EDAX layout, written by kikuchipy_cnn"
_VERSION = "1"
# MTEX puts orientations and map into one frame by this. That kikuchipy's sample frame is EDAX's of
# this setting follows from how its detectors' projection centers move in a map
_EDAX_SETTING = 2
_ALIGNMENT = "a || x, c* || z"
_POINT_GROUPS = {
    "-1": "Triclinic (Ci) [-1]",
    "2/m": "Monoclinic (C2h) [2/m]",
    "mmm": "Orthorhombic (D2h) [mmm]",
    "4/m": "Tetragonal (C4h) [4/m]",
    "4/mmm": "Tetragonal (D4h) [4/mmm]",
    "-3": "Trigonal (S6) [-3]",
    "-3m": "Trigonal (D3d) [-3m]",
    "6/m": "Hexagonal (C6h) [6/m]",
    "6/mmm": "Hexagonal (D6h) [6/mmm]",
    "m-3": "Cubic (Th) [m3]",
    "m-3m": "Cubic (Oh) [m3m]",
}
_EDGES_AND_ANGLES = ("a", "b", "c", "alpha", "beta", "gamma")


def write_h5ebsd(path: Path, content: Content) -> None:
    """Write a crystal map to an HDF5 file, replacing what is there.

    Parameters
    ----------
    path
        File to write.
    content
        Map.
    """
    # orix writes no files of other suffixes, so it is not asked to look at it
    orix_hdf5.file_writer(str(path), _with_written_phases(content))
    with h5py.File(path, "a") as file:
        for phase in file["crystal_map/header/phases"].values():
            # By the point group that it writes, orix would lose some space groups on reading
            if phase["space_group"][0] != b"None":
                del phase["point_group"]
                _write_texts(phase, {"point_group": "None"})
        _write_texts(file, {"Manufacturer": _MANUFACTURER, "Version": _VERSION})
        group = file.create_group(_SCAN)
        _write_data(group.create_group("Data"), content)
        _write_header(group.create_group("Header"), content)


def load_h5ebsd(path: Path) -> CrystalMap:
    """Read a crystal map from an HDF5 file.

    Parameters
    ----------
    path
        File to read.

    Returns
    -------
    xmap
        Crystal map. Names and space groups of the phases are those in
        the group "Scan 1/EBSD", if there is one, as orix loses some.

    Raises
    ------
    ValueError
        If the file was cut short, is no HDF5 file, or has no map that
        orix or kikuchipy read.
    """
    try:
        with h5py.File(path) as file:
            written = _written_phases(file)
            contents = None
            if "crystal_map" in file:
                # orix would read the other group too
                contents = orix_hdf5.hdf5group2dict(file["crystal_map"], recursive=True)
    except OSError as error:
        raise ValueError(
            f"{str(path)!r} is cut short or no HDF5 file ({error}). Copy or write it again"
        ) from error
    if contents is None:
        return _load_of_others(path)
    xmap = orix_hdf5.dict2crystalmap(contents)
    for i, phase in xmap.phases:
        if i in written:
            phase.name, number = written[i]
            if number:
                phase.space_group = number
    return xmap


def _load_of_others(path: Path) -> CrystalMap:
    try:
        return orix.io.load(path)
    except AttributeError:
        # This is how orix says that it does not know the manufacturer
        pass
    try:
        # Patterns have the map that was stored with them
        return kp.load(path, lazy=True).xmap
    except (OSError, AttributeError) as error:
        raise ValueError(
            f"{str(path)!r} has no crystal map that orix or kikuchipy read: give another file"
        ) from error


def _with_written_phases(content: Content) -> CrystalMap:
    xmap = content.xmap
    phases = {}
    for i, phase in content.phases:
        if i is not None:
            phases[i] = phase.deepcopy()
            # orix cuts names that have other letters
            phases[i].name = ascii_text(phase.name)
            phases[i].color = xmap.phases[i].color
    return map_like(xmap, PhaseList(phases))


def _write_data(group: h5py.Group, content: Content) -> None:
    size = content.grid.size
    # Places of a large map of small steps have more digits than single precision has
    types = {
        "Phi1": "f4", "Phi": "f4", "Phi2": "f4", "X Position": "f8", "Y Position": "f8",
        "IQ": "f4", "CI": "f4", "Fit": "f4", "Phase": "i4",
    }  # fmt: skip
    sets = {name: group.create_dataset(name, size, dtype) for name, dtype in types.items()}
    extra = _extra_properties(content.xmap)
    for name in extra:
        sets[name] = group.create_dataset(name, size, "f4")
    for rows in map(as_edax_has_it, content.rows()):
        for name, values in _columns(rows).items():
            sets[name][rows.cells] = values
        point = content.grid.point_of_cell[rows.cells]
        for name, values in extra.items():
            sets[name][rows.cells] = np.where(rows.in_data, values[point], 0)


def _columns(rows: Rows) -> dict[str, np.ndarray]:
    phi1, phi, phi2 = rows.eulers.T
    return {
        "Phi1": phi1,
        "Phi": phi,
        "Phi2": phi2,
        "X Position": rows.x,
        "Y Position": rows.y,
        "IQ": rows.image_quality,
        "CI": rows.confidence,
        "Fit": rows.fit,
        "Phase": rows.phase,
    }


def _extra_properties(xmap: CrystalMap) -> dict[str, np.ndarray]:
    """Properties of one number per point, by names that MATLAB takes and MTEX does not mistake."""
    properties = {}
    for name, values in all_properties(xmap).items():
        if values.ndim == 1 and values.dtype.kind in "buif":
            word = re.sub(r"\W", "_", name, flags=re.ASCII)
            if not word[:1].isalpha() or _is_taken(word):
                word = f"prop_{word}"
            while word in properties:
                word += "_"
            properties[word] = values
    return properties


def _is_taken(word: str) -> bool:
    # MTEX tells sets by parts of their names, in any case, and takes the first in the alphabet
    parts = ("phi", "phase", "x_pos", "y_pos", "x_sample", "y_sample")
    return word.lower() in ("ci", "iq", "fit", "x", "y") or any(i in word.lower() for i in parts)


def _write_header(group: h5py.Group, content: Content) -> None:
    grid = content.grid
    _write_texts(
        group,
        {
            "Grid Type": "HexGrid" if grid.is_hexagonal else "SqrGrid",
            "Cartesian Alignment": _ALIGNMENT,
            "Operator": "kikuchipy_cnn",
            "Notes": "; ".join(content.notes) or "none",
        },
    )
    numbers = {
        "nColumns": grid.n_columns,
        "nRows": grid.n_rows,
        "Step X": grid.dx * content.scale,
        "Step Y": grid.dy * content.scale,
    }
    for name, value in numbers.items():
        group[name] = np.array([value])
    group["Coordinate System/ID"] = np.array([_EDAX_SETTING], dtype="i4")
    phases = group.create_group("Phase")
    for number, (entry, (_, phase)) in enumerate(
        zip(content.entries, content.phases, strict=True), start=1
    ):
        # MTEX takes them in the order of their names
        group_name = f"{number:0{len(str(len(content.entries)))}d}"
        _write_phase(phases.create_group(group_name), entry, phase.name)


def _write_phase(group: h5py.Group, entry: PhaseEntry, name: str) -> None:
    laue = entry.laue_group or "-1"
    number = entry.space_group
    symbol = "" if number is None else hermann_mauguin_symbol(number)
    _write_texts(
        group,
        {
            "MaterialName": entry.name,
            "Formula": entry.formula,
            "Point Group": _POINT_GROUPS[laue],
            "SpaceGroup": symbol or laue,
        },
    )
    group["Symmetry"] = np.array([EDAX_SYMMETRY[laue]], dtype="i4")
    group["SpaceGroupNumber"] = np.array([number or 0], dtype="i4")
    if entry.id is not None:
        group["Id"] = np.array([entry.id], dtype="i4")
    group["Name"] = name
    for edge_or_angle, value in zip(_EDGES_AND_ANGLES, entry.lattice, strict=True):
        group[f"Lattice Constant {edge_or_angle}"] = np.array([value], dtype="f4")
    group["LatticeConstants"] = np.array(entry.lattice, dtype="f4")


def _write_texts(group: h5py.Group, texts: dict[str, str]) -> None:
    """Write texts of fixed length, as the vendors do, in sets of one element."""
    for name, text in texts.items():
        group[name] = np.array([text.encode("ascii", errors="replace")])


def _written_phases(file: h5py.File) -> dict[int, tuple[str, int]]:
    """Names and numbers of the space groups, 0 if not known, by the IDs of the phases."""
    phases = file.get(f"{_SCAN}/Header/Phase", {})
    return {
        int(phase["Id"][0]): (phase["Name"].asstr()[()], int(phase["SpaceGroupNumber"][0]))
        for phase in phases.values()
        if "Id" in phase
    }
