# SPDX-License-Identifier: GPL-3.0-or-later

"""Crystal structures to simulate patterns from.

The structures are listed in this folder, one table per phase: *phases.toml* has those of point
group m-3m, which the networks are trained on, and *out_of_class.toml* has others, to test that
these are rejected.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from diffpy.structure import Atom, Lattice, Structure
from diffpy.structure.spacegroups import GetSpaceGroup, SpaceGroup, SymOp
from diffsims.structure_factor.atomic_scattering_parameters import ELEMENTS
from orix.crystal_map import Phase

__all__ = [
    "ATOMIC_NUMBERS",
    "PhaseRecord",
    "load_phase_table",
    "load_phases",
    "phase_from_record",
    "standard_space_group",
]

_FILES = ("phases.toml", "out_of_class.toml")

ATOMIC_NUMBERS = {symbol.capitalize(): number for number, symbol in enumerate(ELEMENTS, start=1)}

_LENGTHS = ("a", "b", "c")
_ANGLES = ("alpha", "beta", "gamma")

# Lattice parameters that follow from the crystal system, either a value or the parameter they equal
_RIGHT_ANGLES = {"alpha": 90.0, "beta": 90.0, "gamma": 90.0}
_HEXAGONAL = {"b": "a", "alpha": 90.0, "beta": 90.0, "gamma": 120.0}
_IMPLIED = {
    "TRICLINIC": {},
    "MONOCLINIC": {"alpha": 90.0, "gamma": 90.0},
    "ORTHORHOMBIC": _RIGHT_ANGLES,
    "TETRAGONAL": {"b": "a"} | _RIGHT_ANGLES,
    "TRIGONAL": _HEXAGONAL,
    "HEXAGONAL": _HEXAGONAL,
    "CUBIC": {"b": "a", "c": "a"} | _RIGHT_ANGLES,
}

# Origin choice 2 of the International Tables as seen from choice 1, in eighths of the lattice
# vectors. In some of the groups, other inversion centres than these would give other coordinates.
_ORIGIN_CHOICE_2 = {
    48: (2, 2, 2),
    50: (2, 2, 0),
    59: (2, 2, 0),
    68: (0, 2, 2),
    70: (1, 1, 1),
    85: (-2, 2, 0),
    86: (2, 2, 2),
    88: (0, 2, 1),
    125: (2, 2, 0),
    126: (2, 2, 2),
    129: (-2, 2, 0),
    130: (-2, 2, 0),
    133: (-2, 2, -2),
    134: (-2, 2, -2),
    137: (-2, 2, -2),
    138: (-2, 2, -2),
    141: (0, -2, 1),
    142: (0, -2, 1),
    201: (2, 2, 2),
    203: (1, 1, 1),
    222: (2, 2, 2),
    224: (2, 2, 2),
    227: (1, 1, 1),
    228: (3, 3, 3),
}
_RHOMBOHEDRAL = (146, 148, 155, 160, 161, 166, 167)
_CELL_CHOICES = (5, 7, 8, 9, 12, 13, 14, 15)


@dataclass(frozen=True)
class PhaseRecord:
    """One phase of the catalogue.

    Parameters
    ----------
    name
        Unique name, which is the formula with a suffix where one formula has many structures.
    formula
        Chemical formula.
    space_group
        Number in the International Tables.
    prototype
        Structure type.
    a
        Lattice parameter in angstrom.
    atoms
        Asymmetric unit: symbol, x, y and z in fractions of the lattice vectors, occupancy, and
        B_iso in square angstrom for each site.
    source
        Reference of the structure.
    b, c
        Lattice parameters in angstrom. Only needed where the crystal system leaves them free.
    alpha, beta, gamma
        Angles between the lattice vectors in degrees. Only needed where the crystal system leaves
        them free.
    setting
        Which of the standard settings of the International Tables the structure is given in, empty
        where the space group has only one. All phases of a space group have the same: "origin
        choice 2", with an inversion centre at the origin, "hexagonal axes", "unique axis b" or
        "unique axis b, cell choice 1".
    model
        Whether the structure is made up, to have patterns of a space group that hardly any known
        compound has.

    Raises
    ------
    ValueError
        If a value is invalid or contradicts the space group.

    Examples
    --------
    >>> from kikuchipy_cnn.simulation.phases import PhaseRecord
    >>> record = PhaseRecord(
    ...     name="Ni",
    ...     formula="Ni",
    ...     space_group=225,
    ...     prototype="Cu (A1)",
    ...     a=3.5238,
    ...     atoms=(("Ni", 0.0, 0.0, 0.0, 1.0, 0.35),),
    ...     source="Villars & Calvert, Pearson's Handbook (1991)",
    ... )
    >>> record.lattice_parameters
    (3.5238, 3.5238, 3.5238, 90.0, 90.0, 90.0)
    >>> record.mean_atomic_number, record.out_of_class
    (28.0, False)
    """

    name: str
    formula: str
    space_group: int
    prototype: str
    a: float
    atoms: tuple[tuple[str, float, float, float, float, float], ...]
    source: str
    b: float | None = None
    c: float | None = None
    alpha: float | None = None
    beta: float | None = None
    gamma: float | None = None
    setting: str = ""
    model: bool = False

    def __post_init__(self) -> None:
        if self.space_group not in range(1, 231):
            self._fail("space_group", self.space_group, "must be a number from 1 to 230")
        self._check_lattice()
        setting = _setting(self.space_group)
        if self.setting != setting:
            self._fail("setting", self.setting, f"must be {setting!r}")
        if not isinstance(self.model, bool):
            self._fail("model", self.model, "must be true or false")
        self._check_atoms()

    def _check_lattice(self) -> None:
        implied = self._implied
        for field in (*_LENGTHS, *_ANGLES):
            value = getattr(self, field)
            unit = "angstrom" if field in _LENGTHS else "degrees"
            if field in implied:
                if value is not None and not math.isclose(value, implied[field], abs_tol=1e-6):
                    self._fail(field, value, f"must be {implied[field]} {unit} or left out")
            elif value is None or not 0 < value < (math.inf if field in _LENGTHS else 180):
                kind = "length" if field in _LENGTHS else "angle"
                self._fail(field, value, f"must be a positive {kind} in {unit}")
        try:
            _aligned_base(self.lattice_parameters)
        except np.linalg.LinAlgError:
            angles = self.lattice_parameters[3:]
            self._fail("alpha, beta, gamma", angles, "must be angles that a unit cell can have")

    def _check_atoms(self) -> None:
        if not self.atoms:
            self._fail("atoms", self.atoms, "must have at least one site")
        for site in self.atoms:
            if len(site) != 6:
                self._fail("atoms", site, "must be [symbol, x, y, z, occupancy, B_iso]")
            symbol, *xyz, occupancy, b_iso = site
            if symbol not in ATOMIC_NUMBERS:
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
    def _implied(self) -> dict[str, float]:
        """Lattice parameters that follow from the others."""
        implied = _IMPLIED[GetSpaceGroup(self.space_group).crystal_system]
        return {field: self.a if value == "a" else value for field, value in implied.items()}

    @property
    def lattice_parameters(self) -> tuple[float, float, float, float, float, float]:
        """a, b and c in angstrom, alpha, beta and gamma in degrees."""
        given = {field: getattr(self, field) for field in (*_LENGTHS, *_ANGLES)}
        return tuple((given | self._implied).values())

    @property
    def out_of_class(self) -> bool:
        """Whether the point group is another one than m-3m."""
        return self.space_group < 221

    @property
    def mean_atomic_number(self) -> float:
        """Mean atomic number of the atoms in the unit cell."""
        weights, numbers = [], []
        for symbol, *xyz, occupancy, _ in self.atoms:
            weights.append(occupancy * len(_equivalent_positions(self.space_group, xyz)))
            numbers.append(ATOMIC_NUMBERS[symbol])
        return float(np.average(numbers, weights=weights))


def load_phase_table(space_groups: Iterable[int] | None = None) -> dict[str, PhaseRecord]:
    """Return the catalogue of phases.

    Parameters
    ----------
    space_groups
        Space groups to return the phases of. If not given, all phases are returned, also those that
        are no class of the networks.

    Returns
    -------
    table
        Records by phase name, in the order of the files.

    Raises
    ------
    ValueError
        If a phase misses a field, has an unknown one or has an invalid value, or if two have the
        same name.

    Examples
    --------
    >>> from kikuchipy_cnn.simulation.phases import load_phase_table
    >>> table = load_phase_table([225, 229])
    >>> len(table)
    150
    >>> table["W"].space_group, table["W"].a
    (229, 3.1652)
    """
    table = {}
    for file in _FILES:
        text = files(__name__).joinpath(file).read_text(encoding="utf-8")
        records = {name: _record(name, entry) for name, entry in tomllib.loads(text).items()}
        if twice := sorted(table.keys() & records.keys()):
            raise ValueError(f"Phases {twice} of {file} are in another file already")
        table |= records
    wanted = range(1, 231) if space_groups is None else set(space_groups)
    return {name: record for name, record in table.items() if record.space_group in wanted}


def load_phases(space_groups: Iterable[int] | None = None) -> dict[str, Phase]:
    """Return phases of the catalogue.

    Parameters
    ----------
    space_groups
        Space groups to return the phases of. If not given, all phases are returned, also those that
        are no class of the networks.

    Returns
    -------
    phases
        Phases by name, each as returned from
        :func:`~kikuchipy_cnn.simulation.phases.phase_from_record`.

    Examples
    --------
    >>> from kikuchipy_cnn.simulation import load_phases
    >>> phases = load_phases([229])
    >>> len(phases)
    30
    >>> tungsten = phases["W"]
    >>> round(tungsten.structure.lattice.a, 4), len(tungsten.structure)
    (3.1652, 2)
    """
    table = load_phase_table(space_groups)
    return {name: phase_from_record(record) for name, record in table.items()}


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
        lattice in angstrom. Atom positions and the symmetry operations of the space group are in
        the setting of the record.

    Examples
    --------
    >>> from kikuchipy_cnn.simulation import phases
    >>> record = phases.load_phase_table([227])["Si"]
    >>> silicon = phases.phase_from_record(record)
    >>> silicon.name, silicon.space_group.number, len(silicon.structure)
    ('Si', 227, 8)
    """
    atoms = [
        Atom(symbol, position, occupancy=occupancy, Uisoequiv=b_iso / (8 * np.pi**2))
        for symbol, *xyz, occupancy, b_iso in record.atoms
        for position in _equivalent_positions(record.space_group, xyz)
    ]
    # In another alignment orix would rotate the lattice and keep the atoms where they are in space,
    # which gives fractional coordinates that the symmetry operations no longer fit.
    lattice = Lattice(base=_aligned_base(record.lattice_parameters))
    return Phase(
        name=record.name,
        space_group=standard_space_group(record.space_group),
        structure=Structure(atoms, lattice),
    )


def _record(name: str, entry: dict) -> PhaseRecord:
    try:
        atoms = tuple(tuple(site) for site in entry["atoms"])
        return PhaseRecord(**(entry | {"name": name, "atoms": atoms}))
    except (KeyError, TypeError) as error:
        raise ValueError(f"Phase {name!r}: missing, unknown or mistyped field: {error}") from error


def _setting(number: int) -> str:
    """Return which of its settings in the International Tables a space group is taken in."""
    if number in _ORIGIN_CHOICE_2:
        return "origin choice 2"
    if number in _RHOMBOHEDRAL:
        return "hexagonal axes"
    if GetSpaceGroup(number).crystal_system == "MONOCLINIC":
        return "unique axis b" + (", cell choice 1" if number in _CELL_CHOICES else "")
    return ""


def _aligned_base(parameters: tuple[float, ...]) -> np.ndarray:
    """Return lattice vectors (rows) with a along x and c* along z, as orix has them.

    A structure with another orientation of its lattice must not be given to orix: it turns the
    lattice and leaves the atoms where they are.

    Parameters
    ----------
    parameters
        Lengths in any unit and angles in degrees.

    Returns
    -------
    base
        Array of shape (3, 3).

    Raises
    ------
    LinAlgError
        If no unit cell has the angles.
    """
    lengths = parameters[:3]
    alpha, beta, gamma = np.cos(np.deg2rad(parameters[3:]))
    cosines = [[1, gamma, beta], [gamma, 1, alpha], [beta, alpha, 1]]
    # The lower triangle has a along x and b in the xy plane; orix rounds to as many digits
    return np.linalg.cholesky(np.outer(lengths, lengths) * cosines).round(12)


@cache
def standard_space_group(number: int) -> SpaceGroup:
    """Return a space group in the setting that all phases here have.

    diffpy.structure only has origin choice 1 of the groups that have two. Carrying the shifted
    operations in the phase keeps later symmetry expansions (orix, diffsims) from doubling the
    atoms.

    Parameters
    ----------
    number
        Number in the International Tables.

    Returns
    -------
    space_group
        Space group in origin choice 2, with hexagonal axes, or with unique axis b and cell choice
        1, where there are several settings.

    Examples
    --------
    >>> from kikuchipy_cnn.simulation.phases import standard_space_group
    >>> group = standard_space_group(227)
    >>> group.short_name, group.num_sym_equiv
    ('Fd-3m', 192)
    """
    group = GetSpaceGroup(number)
    origin = np.array(_ORIGIN_CHOICE_2.get(number, (0, 0, 0))) / 8
    return SpaceGroup(
        number=group.number,
        num_sym_equiv=group.num_sym_equiv,
        num_primitive_sym_equiv=group.num_primitive_sym_equiv,
        short_name=group.short_name,
        point_group_name=group.point_group_name,
        crystal_system=group.crystal_system,
        pdb_name=group.pdb_name,
        symop_list=[
            SymOp(op.R, np.mod(op.t + op.R @ origin - origin, 1)) for op in group.symop_list
        ],
    )


def _equivalent_positions(number: int, xyz: list[float]) -> np.ndarray:
    """Return the distinct positions equivalent to *xyz*, within [0, 1)."""
    operations = standard_space_group(number).symop_list
    positions = np.array([op.R @ xyz + op.t for op in operations])
    # Rounding before the modulo brings 1 - epsilon to 0
    positions = np.mod(positions.round(10), 1)
    difference = positions[:, np.newaxis] - positions
    difference -= difference.round()
    same = (np.abs(difference) < 1e-4).all(axis=-1)
    return positions[~np.triu(same, 1).any(axis=0)]
