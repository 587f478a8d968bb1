# SPDX-License-Identifier: GPL-3.0-or-later

"""Master patterns in EMsoft's file layout, which kikuchipy and many others read."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import kikuchipy as kp
import numpy as np
from diffpy.structure import Atom
from diffpy.structure.spacegroups import GetSpaceGroup, SymOp
from orix.crystal_map import Phase
from scipy.ndimage import map_coordinates

from kikuchipy_cnn._files import check_destination, replacing
from kikuchipy_cnn.simulation.lambert import direction_to_lambert
from kikuchipy_cnn.simulation.phases import ATOMIC_NUMBERS


def save_master_pattern(
    path: str | os.PathLike,
    master_pattern: kp.signals.EBSDMasterPattern,
    energy: float | None = None,
    *,
    overwrite: bool = False,
) -> None:
    """Write a master pattern to an HDF5 file in EMsoft's layout.

    ``kikuchipy.load`` reads it in the stereographic or the square Lambert projection.

    Parameters
    ----------
    path
        File to write (.h5).
    master_pattern
        Both hemispheres in the square Lambert projection at one energy, with a phase, as from
        :func:`~kikuchipy_cnn.simulation.simulate_master_pattern`.
    energy
        Energy of the electrons in keV. If not given, that in the metadata of the signal.
    overwrite
        Whether to replace an existing file.

    Raises
    ------
    FileExistsError, FileNotFoundError, NotADirectoryError, \
    IsADirectoryError, PermissionError
        As :func:`~kikuchipy_cnn.io.check_output`.
    ValueError
        If the master pattern is of another kind, has no space group, or no energy is known.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn import simulation
    >>> nickel = simulation.load_master_pattern("Ni")
    >>> simulation.save_master_pattern("Ni.h5", nickel)
    >>> again = kp.load("Ni.h5", projection="lambert", hemisphere="both")
    >>> again.data.shape, again.phase.space_group.number
    ((2, 301, 301), 225)
    """
    check_destination(path, overwrite)
    data = np.asarray(master_pattern.data, dtype=np.float32)
    if master_pattern.projection != "lambert" or data.ndim != 3 or len(data) != 2:
        raise ValueError(
            f"A master pattern of shape {data.shape} in the {master_pattern.projection} projection "
            "cannot be written. Give both hemispheres in the square Lambert projection."
        )
    if master_pattern.phase.space_group is None:
        raise ValueError("The phase of the master pattern has no space group. Give it one.")
    if energy is None:
        energy = master_pattern.metadata.get_item("Acquisition_instrument.SEM.beam_energy")
    if energy is None:
        raise ValueError("The master pattern does not say its energy. Give energy=... in keV.")
    with replacing(path) as temporary:
        _write(temporary, data, master_pattern, energy)


def _write(
    path: Path, data: np.ndarray, master_pattern: kp.signals.EBSDMasterPattern, energy: float
) -> None:
    with h5py.File(path, "w") as file:
        _write_crystal(file.create_group("CrystalData"), master_pattern.phase)
        _write_parameters(file.create_group("NMLparameters"), data.shape[-1] // 2, energy)
        # Readers tell the kind of file by the program's name.
        header = file.create_group("EMheader/EBSDmaster")
        _write_text(header, "ProgramName", "EMEBSDmaster.f90")
        _write_text(header, "Version", f"kikuchipy_cnn: {master_pattern.metadata.General.title}")
        group = file.create_group("EMData/EBSDmaster")
        group["EkeVs"] = np.array([energy], dtype=np.float32)
        group["numEbins"] = np.array([1], dtype=np.int32)
        # The sites' contributions are summed already.
        group["numset"] = np.array([1], dtype=np.int32)
        for name, hemisphere in (("NH", data[0]), ("SH", data[1])):
            options = {"compression": "gzip", "compression_opts": 4}
            group.create_dataset(f"mLP{name}", data=hemisphere[None, None], **options)
            group.create_dataset(f"masterSP{name}", data=_to_stereographic(hemisphere), **options)


def _write_crystal(group: h5py.Group, phase: Phase) -> None:
    a, b, c, *angles = phase.structure.lattice.abcABG()
    atoms = _asymmetric_unit(phase)
    # Lengths are in nm.
    columns = [[*atom.xyz, atom.occupancy, atom.Bisoequiv / 100] for atom in atoms]
    numbers = [ATOMIC_NUMBERS[atom.element.capitalize()] for atom in atoms]
    group["AtomData"] = np.array(columns, dtype=np.float32).T
    group["Atomtypes"] = np.array(numbers, dtype=np.int32)
    group["Natomtypes"] = np.array([len(atoms)], dtype=np.int32)
    group["LatticeParameters"] = np.array([a / 10, b / 10, c / 10, *angles])
    group["SpaceGroupNumber"] = np.array([phase.space_group.number], dtype=np.int32)
    # diffpy.structure knows the first origin only; another one here is the second.
    first = {_key(op) for op in GetSpaceGroup(phase.space_group.number).symop_list}
    setting = 1 if first == {_key(op) for op in phase.space_group.symop_list} else 2
    group["SpaceGroupSetting"] = np.array([setting], dtype=np.int32)
    _write_text(group, "Source", phase.name)


def _key(operation: SymOp) -> tuple:
    translation = np.mod(operation.t.round(6), 1)
    return tuple(operation.R.round().astype(int).ravel()), tuple(translation.round(4))


def _asymmetric_unit(phase: Phase) -> list[Atom]:
    """One atom of each set of equivalent ones."""
    kept: list[Atom] = []
    images: list[np.ndarray] = []
    for atom in phase.structure:
        same = [
            other.element == atom.element
            and np.abs((d := at - atom.xyz) - d.round()).max(axis=1).min() < 1e-4
            for other, at in zip(kept, images, strict=True)
        ]
        if not any(same):
            kept.append(atom)
            images.append(np.array([op.R @ atom.xyz + op.t for op in phase.space_group.symop_list]))
    return kept


def _write_parameters(group: h5py.Group, half_width: int, energy: float) -> None:
    """What readers need of the programs' settings."""
    master = group.create_group("EBSDMasterNameList")
    master["npx"] = np.array([half_width], dtype=np.int32)
    master["combinesites"] = np.array([1], dtype=np.int32)
    _write_text(master, "latgridtype", "Lambert")
    monte_carlo = group.create_group("MCCLNameList")
    monte_carlo["EkeV"] = np.array([energy])
    monte_carlo["Ehistmin"] = np.array([energy])
    monte_carlo["Ebinsize"] = np.array([1.0])
    monte_carlo["sig"] = np.array([70.0])
    _write_text(monte_carlo, "xtalname", "")


def _write_text(group: h5py.Group, name: str, text: str) -> None:
    group[name] = np.array([text.encode()])


def _to_stereographic(hemisphere: np.ndarray) -> np.ndarray:
    """Stereographic projection of a hemisphere; the corners beyond the equator are 0."""
    half = len(hemisphere) // 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1] / half
    square = x**2 + y**2
    directions = np.stack([2 * x, 2 * y, 1 - square], axis=-1) / (1 + square)[..., None]
    column, row = (half * (1 + c) for c in direction_to_lambert(directions))
    projected = map_coordinates(hemisphere, [row, column], order=1, mode="nearest")
    # EMsoft's rows count from the bottom.
    return np.where(square <= 1, projected, 0)[None, ::-1].astype(np.float32)
