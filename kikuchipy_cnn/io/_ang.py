"""EDAX's .ang text format.

orix's reader is used, but not its writer, which crops a map to its
points in data, places all points of a map of one column at x = 0, and
refuses maps without an indexed point.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import orix.io
from orix.crystal_map import CrystalMap, Phase, PhaseList
from orix.quaternion import Rotation

from kikuchipy_cnn.space_groups import laue_group, space_group_color, space_group_number

__all__ = ["load_ang", "write_ang"]

# EDAX names a symmetry by the rotations of its Laue group
_EDAX_SYMMETRY = {
    "-1": "1",
    "2/m": "20",
    "mmm": "22",
    "4/m": "4",
    "4/mmm": "42",
    "-3": "3",
    "-3m": "32",
    "6/m": "6",
    "6/mmm": "62",
    "m-3": "23",
    "m-3m": "43",
}

_MICROMETRES = {
    "pm": 1e-6,
    "angstrom": 1e-4,
    "Å": 1e-4,
    "nm": 1e-3,
    "um": 1.0,
    "µm": 1.0,
    "μm": 1.0,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
}

# By this line orix knows that confidence index -1 means not indexed
_COLUMN_NAMES = (
    "Column names: phi1, Phi, phi2, x, y, image_quality, confidence_index, phase_id, "
    "detector_signal, pattern_fit"
)
_NOT_INDEXED_EULER = 4 * np.pi
_NOT_INDEXED_CONFIDENCE = -1
_NOT_INDEXED_FIT = 180


def write_ang(path: Path, xmap: CrystalMap) -> None:
    """Write a crystal map to an .ang file, replacing what is there.

    Parameters
    ----------
    path
        File to write.
    xmap
        Crystal map of more than one point.

    Raises
    ------
    ValueError
        If the map is a single point.

    Warns
    -----
    UserWarning
        If all rotations are identity, or the scan unit is not a length.
    """
    # The properties of CrystalMap are limited to points in data, and this format has no such limit
    in_data = xmap.is_in_data
    if in_data.size == 1:
        raise ValueError("A map of one point cannot be read from .ang: save it to .h5 instead")
    indexed = in_data.copy()
    indexed[in_data] = xmap.is_indexed

    eulers = np.full((in_data.size, 3), _NOT_INDEXED_EULER)
    rotations = xmap.rotations[xmap.is_indexed]
    rotations = rotations if rotations.ndim == 1 else rotations[:, 0]
    if rotations.size and np.allclose(rotations.angle, 0):
        warnings.warn(
            "All rotations are identity, which other programs will take for a perfect texture: "
            "the phase is all that is known of these points",
            stacklevel=3,
        )
    eulers[indexed] = rotations.to_euler()

    phases = [
        (i, phase) for i, phase in xmap.phases if i != -1 and i in xmap.phase_id[xmap.is_indexed]
    ]
    phase_id = np.zeros(in_data.size)
    for new_id, (old_id, _) in enumerate(phases, start=1):
        phase_id[in_data] = np.where(xmap.phase_id == old_id, new_id, phase_id[in_data])

    image_quality = np.zeros(in_data.size)
    if "iq" in xmap.prop:
        image_quality[indexed] = xmap.prop["iq"][xmap.is_indexed]
    confidence = np.full(in_data.size, _NOT_INDEXED_CONFIDENCE, dtype=float)
    confidence[indexed] = xmap.prop["scores"][xmap.is_indexed] if "scores" in xmap.prop else 0

    scale = _scale_to_micrometres(xmap)
    x, y = (
        np.zeros(in_data.size) if i is None else scale * np.asarray(i) for i in (xmap._x, xmap._y)
    )

    np.savetxt(
        path,
        np.column_stack(
            [
                eulers,
                x,
                y,
                image_quality,
                confidence,
                phase_id,
                np.zeros(in_data.size),
                np.where(indexed, 0, _NOT_INDEXED_FIT),
            ]
        ),
        fmt="%9.5f %9.5f %9.5f %13.6f %13.6f %9.3f %8.5f %3d %7.3f %7.3f",
        header=_header([phase for _, phase in phases], x, y),
        encoding="utf-8",
    )


def load_ang(path: Path) -> CrystalMap:
    """Read a crystal map from an .ang file.

    Parameters
    ----------
    path
        File to read.

    Returns
    -------
    xmap
        Crystal map with space groups where the phases' names are
        Hermann-Mauguin symbols. See :func:`kikuchipy_cnn.io.load`.
    """
    xmap = orix.io.load(path, autogen_names=False)
    numbers = {}
    for i, phase in xmap.phases:
        number = space_group_number(phase.name)
        if number is not None:
            phase.space_group = number
            numbers[i] = number
    is_ours = (
        "ci" in xmap.prop
        and set(numbers) == set(xmap.phases.ids) - {-1}
        and len(set(numbers.values())) == len(numbers)
    )
    return _as_written(xmap, numbers) if is_ours else xmap


def _as_written(xmap: CrystalMap, numbers: dict[int, int]) -> CrystalMap:
    indexed = xmap.is_indexed
    phase_id = np.full(xmap.size, -1)
    phases = {}
    for i, number in numbers.items():
        phase_id[xmap.phase_id == i] = number
        phases[number] = xmap.phases[i]
        phases[number].color = space_group_color(number)

    quaternions = xmap.rotations.data.copy()
    quaternions[~indexed] = (1, 0, 0, 0)
    properties = {name: xmap.prop[name] for name in xmap.prop}
    properties["scores"] = np.where(indexed, properties.pop("ci"), 0)
    return CrystalMap(
        rotations=Rotation(quaternions),
        phase_id=phase_id,
        x=xmap.x,
        y=xmap.y,
        phase_list=PhaseList(phases),
        prop=properties,
        scan_unit=xmap.scan_unit,
    )


def _header(phases: list[Phase], x: np.ndarray, y: np.ndarray) -> str:
    lines = [
        "TEM_PIXperUM           1.000000",
        "x-star                 0.000000",
        "y-star                 0.000000",
        "z-star                 0.000000",
        "WorkingDistance        0.000000",
        "",
    ]
    # orix does not open a file without a phase
    entries = [(i.name, _symmetry(i), i.structure.lattice.abcABG()) for i in phases] or [
        ("none", "1", (1, 1, 1, 90, 90, 90))
    ]
    # EDAX OIM Analysis 7 takes the phases to be in reversed order
    for phase_id, (name, symmetry, lattice) in reversed(list(enumerate(entries, start=1))):
        name = name or f"phase{phase_id}"
        lines += [
            f"Phase {phase_id}",
            f"MaterialName    {name}",
            f"Formula    {name}",
            "Info",
            f"Symmetry    {symmetry}",
            f"LatticeConstants    {' '.join(f'{i:.3f}' for i in lattice)}",
            "NumberFamilies    0",
        ]
    columns, rows = np.unique(x).size, np.unique(y).size
    lines += [
        "GRID: SqrGrid",
        f"XSTEP: {_step(x):.6f}",
        f"YSTEP: {_step(y):.6f}",
        f"NCOLS_ODD: {columns}",
        f"NCOLS_EVEN: {columns}",
        f"NROWS: {rows}",
        "",
        "OPERATOR: kikuchipy_cnn",
        "",
        "SAMPLEID:",
        "",
        "SCANID:",
        "",
        _COLUMN_NAMES,
        "",
    ]
    return "\n".join(lines)


def _symmetry(phase: Phase) -> str:
    if phase.space_group is not None:
        return _EDAX_SYMMETRY[laue_group(phase.space_group.number)]
    if phase.point_group is not None:
        return _EDAX_SYMMETRY.get(phase.point_group.laue.name, "1")
    return "1"


def _step(coordinates: np.ndarray) -> float:
    unique = np.unique(coordinates)
    return unique[1] - unique[0] if unique.size > 1 else 0


def _scale_to_micrometres(xmap: CrystalMap) -> float:
    if xmap.scan_unit not in _MICROMETRES:
        warnings.warn(
            f"The scan unit {xmap.scan_unit!r} is not a length: .ang is in micrometres, so one "
            f"{xmap.scan_unit} will be read as 1 um. Set the map's scan_unit and step sizes first",
            stacklevel=4,
        )
    return _MICROMETRES.get(xmap.scan_unit, 1.0)
