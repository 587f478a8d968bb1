"""Crystal structures to simulate training patterns from.

The structures are listed in *phases.toml* in this folder, one table per phase.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from diffpy.structure import Atom, Lattice, Structure
from diffpy.structure.spacegroups import GetSpaceGroup, SpaceGroup, SymOp
from diffsims.structure_factor.atomic_scattering_parameters import ELEMENTS
from orix.crystal_map import Phase

__all__ = ["PhaseRecord", "load_phase_table", "load_phases", "phase_from_record"]

SPACE_GROUPS = (221, 223, 225, 227, 229, 230)

_ATOMIC_NUMBERS = {symbol.capitalize(): number for number, symbol in enumerate(ELEMENTS, start=1)}


@dataclass(frozen=True)
class PhaseRecord:
    """One cubic phase of the table.

    Parameters
    ----------
    name
        Unique name, which is the formula with a suffix where one formula has many structures.
    formula
        Chemical formula.
    space_group
        Number in the International Tables, one of 221, 223, 225, 227, 229 or 230.
    prototype
        Structure type.
    a
        Lattice parameter in angstrom.
    atoms
        Asymmetric unit: symbol, x, y and z in fractions of *a* with the inversion centre at the
        origin, occupancy, and B_iso in square angstrom for each site.
    source
        Reference of the structure.
    """

    name: str
    formula: str
    space_group: int
    prototype: str
    a: float
    atoms: tuple[tuple[str, float, float, float, float, float], ...]
    source: str

    def __post_init__(self) -> None:
        if self.space_group not in SPACE_GROUPS:
            self._fail("space_group", self.space_group, f"must be one of {SPACE_GROUPS}")
        if not (math.isfinite(self.a) and self.a > 0):
            self._fail("a", self.a, "must be a positive length in angstrom")
        if not self.atoms:
            self._fail("atoms", self.atoms, "must have at least one site")
        for site in self.atoms:
            if len(site) != 6:
                self._fail("atoms", site, "must be [symbol, x, y, z, occupancy, B_iso]")
            symbol, *xyz, occupancy, b_iso = site
            if symbol not in _ATOMIC_NUMBERS:
                self._fail("atoms", symbol, "is not an element symbol")
            if not all(math.isfinite(i) for i in xyz):
                self._fail("atoms", site, "must have finite coordinates")
            if not 0 < occupancy <= 1:
                self._fail("atoms", occupancy, "must be an occupancy in (0, 1]")
            if not 0 <= b_iso < math.inf:
                self._fail("atoms", b_iso, "must be a B_iso >= 0 in square angstrom")

    def _fail(self, field: str, value: object, why: str) -> None:
        raise ValueError(f"Phase {self.name!r}: {field} {value!r} {why}")

    @property
    def mean_atomic_number(self) -> float:
        """Mean atomic number of the atoms in the unit cell."""
        weights, numbers = [], []
        for symbol, *xyz, occupancy, _ in self.atoms:
            weights.append(occupancy * len(_equivalent_positions(self.space_group, xyz)))
            numbers.append(_ATOMIC_NUMBERS[symbol])
        return float(np.average(numbers, weights=weights))


def load_phase_table() -> dict[str, PhaseRecord]:
    """Return the table of phases.

    Returns
    -------
    table
        Records by phase name, in the order of the file.

    Raises
    ------
    ValueError
        If a phase misses a field, has an unknown one or has an invalid value.
    """
    text = files(__name__).joinpath("phases.toml").read_text(encoding="utf-8")
    return {name: _record(name, entry) for name, entry in tomllib.loads(text).items()}


def load_phases() -> dict[str, Phase]:
    """Return all phases of the table.

    Returns
    -------
    phases
        Phases by name, each as returned from :func:`phase_from_record`.
    """
    return {name: phase_from_record(record) for name, record in load_phase_table().items()}


def phase_from_record(record: PhaseRecord) -> Phase:
    """Return a phase with all atoms of the unit cell.

    Parameters
    ----------
    record
        Phase to create.

    Returns
    -------
    phase
        Phase named as the record (orix keeps the name in the title of the structure), with the
        lattice in angstrom. Atom positions and the symmetry operations of the space group have the
        inversion centre at the origin.
    """
    atoms = [
        Atom(symbol, position, occupancy=occupancy, Uisoequiv=b_iso / (8 * np.pi**2))
        for symbol, *xyz, occupancy, b_iso in record.atoms
        for position in _equivalent_positions(record.space_group, xyz)
    ]
    lattice = Lattice(record.a, record.a, record.a, 90, 90, 90)
    return Phase(
        name=record.name,
        space_group=_centred_space_group(record.space_group),
        structure=Structure(atoms, lattice),
    )


def _record(name: str, entry: dict) -> PhaseRecord:
    try:
        atoms = tuple(tuple(site) for site in entry["atoms"])
        return PhaseRecord(**(entry | {"name": name, "atoms": atoms}))
    except (KeyError, TypeError) as error:
        raise ValueError(f"Phase {name!r}: missing, unknown or mistyped field: {error}") from error


@cache
def _centred_space_group(number: int) -> SpaceGroup:
    """Return a centrosymmetric space group with an inversion centre at the origin.

    diffpy.structure only has origin choice 1 of group 227, with the centre at 1/8, 1/8, 1/8.
    Carrying the shifted operations in the phase keeps later symmetry expansions (orix, diffsims)
    from doubling the atoms.
    """
    group = GetSpaceGroup(number)
    inversions = [op.t for op in group.symop_list if np.array_equal(op.R, -np.eye(3))]
    centre = min(inversions, key=np.linalg.norm) / 2
    return SpaceGroup(
        number=group.number,
        num_sym_equiv=group.num_sym_equiv,
        num_primitive_sym_equiv=group.num_primitive_sym_equiv,
        short_name=group.short_name,
        point_group_name=group.point_group_name,
        crystal_system=group.crystal_system,
        pdb_name=group.pdb_name,
        symop_list=[
            SymOp(op.R, np.mod(op.t + op.R @ centre - centre, 1)) for op in group.symop_list
        ],
    )


def _equivalent_positions(number: int, xyz: list[float]) -> np.ndarray:
    """Return the distinct positions equivalent to *xyz*, within [0, 1)."""
    operations = _centred_space_group(number).symop_list
    positions = np.array([op.R @ xyz + op.t for op in operations])
    # Rounding before the modulo brings 1 - epsilon to 0
    positions = np.mod(positions.round(10), 1)
    difference = positions[:, np.newaxis] - positions
    difference -= difference.round()
    same = (np.abs(difference) < 1e-4).all(axis=-1)
    return positions[~np.triu(same, 1).any(axis=0)]
