# SPDX-License-Identifier: GPL-3.0-or-later

"""Phases of any space group from a CIF or a structure.

Positions and symmetry operations have to share one setting and one origin, or a later symmetry
expansion makes another crystal of them. Here the operations are always those that spglib finds in
the atoms themselves, and every phase is brought to one setting of the International Tables.
"""

from __future__ import annotations

import re
import warnings
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from diffpy.structure import Atom, Lattice, Structure
from diffpy.structure.parsers.p_cif import P_cif
from diffpy.structure.spacegroups import SpaceGroup
from diffpy.structure.structureerrors import LatticeError, StructureFormatError
from orix.crystal_map import Phase
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from kikuchipy_cnn.simulation.phases import ATOMIC_NUMBERS, standard_space_group
from kikuchipy_cnn.space_groups import hermann_mauguin_symbol

__all__ = [
    "DEFAULT_B_ISO",
    "MAX_ATOMS",
    "SYMMETRY_TOLERANCE",
    "phase_from_cif",
    "phase_from_structure",
]

# Most atoms in a unit cell for which the dynamical simulation is affordable.
MAX_ATOMS = 500
# In square angstrom, as in many solids at room temperature.
DEFAULT_B_ISO = 0.5
# Distance in angstrom within which an operation has to bring an atom onto another.
SYMMETRY_TOLERANCE = 0.01

# Atoms closer than this are one mixed site: diffraction cannot tell them apart. In angstrom.
_SAME_SITE = 0.1
# Shorter than any bond; two atoms this close can only be there in turns. In angstrom.
_OVERLAP = 0.5
# Occupancies are refined, or rounded from fractions such as 1/3.
_OCCUPANCY_TOLERANCE = 0.01
# Sites with occupancies this close are of one kind.
_SAME_OCCUPANCY = 0.001
# No lattice has a shorter translation in angstrom, but nearly all in nanometre do.
SHORTEST_AXIS = 1.5
# Cubic angstrom; diamond has 5.7, caesium 117.
_VOLUME_PER_ATOM = (2.0, 150.0)

# Images of an atom further apart than rounding explains are a split site. In angstrom.
_SPLIT = 0.03

_ISOTOPES = {"D": "H", "T": "H"}
# Such as "13-C", "Fe", "Fe3+", "O2-", "Na+" and "Cu+1".
_TYPE_SYMBOL = re.compile(r"(?:\d+-)?([A-Za-z]{1,2})\d*(?:[+-]\d*)?")

_CELL_TAGS = (
    "_cell_length_a",
    "_cell_length_b",
    "_cell_length_c",
    "_cell_angle_alpha",
    "_cell_angle_beta",
    "_cell_angle_gamma",
)
_FRACT_TAGS = tuple(f"_atom_site_fract_{axis}" for axis in "xyz")
_OCCUPANCY_TAG = "_atom_site_occupancy"
_ISO_TAGS = ("_atom_site_U_iso_or_equiv", "_atom_site_B_iso_or_equiv")
_TENSOR = ("11", "22", "33", "12", "13", "23")
_ANISO_TAGS = {i: (f"_atom_site_aniso_U_{i}", f"_atom_site_aniso_B_{i}") for i in _TENSOR}
# With the standard uncertainty in brackets.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?(\(\d*\))?")
_UNKNOWN = ("", "?", ".")
# Glide in the symbol before 1992 by spglib's number of the setting. In the other groups with an e
# both glides name the same setting.
_GLIDES_67 = {316: "a", 317: "b", 318: "b", 319: "c", 320: "c", 321: "a"}
_SYMMETRY_TAGS = {
    "operations": ("_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz"),
    "number": ("_space_group_IT_number", "_symmetry_Int_Tables_number"),
    "hall": ("_space_group_name_Hall", "_symmetry_space_group_name_Hall"),
    "symbol": (
        "_space_group_name_H-M_alt",
        "_symmetry_space_group_name_H-M",
        "_space_group_name_H-M_ref",
        "_space_group_name_H-M_full",
    ),
}


def phase_from_cif(
    path: str | Path,
    *,
    name: str | None = None,
    space_group: int | Literal["find"] | None = None,
    default_b_iso: float = DEFAULT_B_ISO,
    tolerance: float = SYMMETRY_TOLERANCE,
) -> Phase:
    """Return the crystal of a CIF in the standard setting, with its full unit cell.

    Parameters
    ----------
    path
        Path to the CIF. The first data block with atoms is read.
    name
        Name of the phase. If not given, it is the name of the file.
    space_group
        Number of the space group that the crystal must have, instead of
        the one stated in the file, or "find" to take the one that the
        atoms show. Without any symmetry in the file, a number is also
        used to expand the atoms.
    default_b_iso
        B_iso in square angstrom of atoms without a positive
        displacement parameter.
    tolerance
        Distance in angstrom within which an operation has to bring an
        atom onto another.

    Returns
    -------
    phase
        Phase as from :func:`phase_from_structure`.

    Raises
    ------
    FileNotFoundError
        If there is no file.
    ValueError
        If the file is no CIF, has no cell, atoms, coordinates or
        symmetry, has values that are no numbers, or only names a space
        group with two origin choices or a setting that is not known, or
        the crystal is one that :func:`phase_from_structure` refuses.
    ImportError
        If ebsdsim or spglib is not installed.

    Warns
    -----
    UserWarning
        If atoms have no positive displacement parameter, or images of
        an atom lie too close for their occupancies.

    Notes
    -----
    The cell and the atoms are read with diffpy.structure, which turns
    anisotropic displacement parameters into equivalent isotropic ones,
    and the operations with ebsdsim.

    Examples
    --------
    >>> from kikuchipy_cnn.simulation import load_phases, phase_from_cif
    >>> nickel = load_phases([225])["Ni"]
    >>> nickel.structure.write("nickel.cif", "cif")  # without symmetry
    >>> phase = phase_from_cif("nickel.cif", space_group="find")
    >>> phase.name, phase.space_group.number, len(phase.structure)
    ('nickel', 225, 4)
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no CIF {str(path)!r}")
    name = path.stem if name is None else name
    block, atoms = _read_asymmetric_unit(path)
    _check_lattice(name, atoms.lattice)
    stated, operations = _stated_symmetry(name, block, atoms.lattice)
    if operations is None:
        if space_group is None:
            raise ValueError(
                f"{name}: {path.name} says nothing of the symmetry. Pass space_group=<number> to "
                "expand its atoms by this space group, or space_group='find' if all atoms of the "
                "cell are listed."
            )
        operations = (
            (np.eye(3)[np.newaxis], np.zeros((1, 3)))
            if space_group == "find"
            else _operations_of_symbol(name, space_group, None, atoms.lattice)
        )
    structure = _expand(name, atoms, *operations)
    space_group = stated if space_group is None else space_group
    return _standard_phase(name, structure, space_group, default_b_iso, tolerance)


def phase_from_structure(
    structure: Structure,
    space_group: int | Literal["find"] = "find",
    *,
    name: str | None = None,
    default_b_iso: float = DEFAULT_B_ISO,
    tolerance: float = SYMMETRY_TOLERANCE,
) -> Phase:
    """Return the crystal of a structure in the standard setting, with its full unit cell.

    Parameters
    ----------
    structure
        Lattice in angstrom and all atoms of a unit cell, which may be a
        primitive one or a supercell. Atoms of different elements within
        0.1 angstrom share a mixed site.
    space_group
        Number of the space group that the crystal must have, or "find"
        (the default) to take the one that the atoms show.
    name
        Name of the phase. If not given, it is the structure's title.
    default_b_iso
        B_iso in square angstrom of atoms without a positive
        displacement parameter.
    tolerance
        Distance in angstrom within which an operation has to bring an
        atom onto another.

    Returns
    -------
    phase
        Phase with all atoms of the conventional cell, isotropic
        displacement parameters, and a space group whose operations map
        the structure onto itself. The setting is the standard one of
        the International Tables: unique axis b in monoclinic groups,
        hexagonal axes in rhombohedral ones, and the inversion centre at
        the origin (origin choice 2) where there is a choice. Structures
        already in this setting keep their axes and origin; others keep
        their handedness. Positions and lattice obey the symmetry
        exactly.

    Raises
    ------
    ValueError
        If the atoms show another space group than the one given, there
        are no atoms or more than 500, an element is
        unknown, an occupancy is not in (0, 1], atoms overlap, or the
        lattice cannot be one in angstrom.
    TypeError
        If the space group is neither an integer nor "find".
    ImportError
        If spglib is not installed.

    Warns
    -----
    UserWarning
        If atoms have no positive displacement parameter.

    Notes
    -----
    The structure of an :class:`~orix.crystal_map.Phase` that was made
    with diffpy's default orientation of a lattice that is not
    orthogonal has other positions than it was made with, since orix
    turns the lattice but not the atoms. Pass the structure that the
    phase was made from.

    The symmetry is found as described by Togo et al., Sci. Technol.
    Adv. Mater.: Methods 4 (2024) 2384822.

    Examples
    --------
    >>> from diffpy.structure import Atom, Lattice, Structure
    >>> from kikuchipy_cnn.simulation import phase_from_structure
    >>> atoms = [
    ...     Atom("W", position, Uisoequiv=0.002)
    ...     for position in ([0, 0, 0], [0.5, 0.5, 0.5])
    ... ]
    >>> lattice = Lattice(3.165, 3.165, 3.165, 90, 90, 90)
    >>> phase = phase_from_structure(Structure(atoms, lattice), name="W")
    >>> phase.space_group.number, phase.space_group.short_name
    (229, 'Im-3m')
    """
    name = structure.title if name is None else name
    return _standard_phase(name, structure, space_group, default_b_iso, tolerance)


class _AsymmetricUnitParser(P_cif):
    """diffpy's CIF reader, stopped before it expands the asymmetric
    unit.

    The expansion evaluates the text of the operations as Python code,
    takes origin choice 1 where no operations are listed, and doubles
    atoms on special positions that are given with few digits.
    """

    block = None

    def _parse_lattice(self, block) -> None:
        self.block = block
        _check_numbers(block)
        try:
            super()._parse_lattice(block)
        except (LatticeError, ZeroDivisionError, ValueError) as error:
            values = [_entries(block, tag)[0] for tag in _CELL_TAGS]
            # This type is turned into a StructureFormatError
            raise ValueError(
                f"the cell {', '.join(values)} must have positive lengths in angstrom and angles "
                "in degrees that close a cell"
            ) from error

    def _parse_atom_site_label(self, block) -> None:
        super()._parse_atom_site_label(block)
        # Rows that are left out here have no atom either
        labels = _entries(block, "_atom_site_label")
        rows = [i for i, label in enumerate(labels) if label != "?"]
        _keep_stated(block, _ISO_TAGS, "Uisoequiv", dict(zip(rows, self.stru, strict=True)))

    def _parse_atom_site_aniso_label(self, block) -> None:
        rows = {}
        for row, label in enumerate(_entries(block, "_atom_site_aniso_label")):
            # The reader stops here
            if label == "?":
                break
            if label not in self.labelindex:
                raise ValueError(
                    f"the anisotropic displacement of {label!r} belongs to no atom, since this "
                    "label is not in the list of atoms; correct or remove it"
                )
            rows[row] = self.stru[self.labelindex[label]]
        super()._parse_atom_site_aniso_label(block)
        for component, tags in _ANISO_TAGS.items():
            _keep_stated(block, tags, f"U{component}", rows)

    def _parse_space_group_symop_operation_xyz(self, block) -> None:
        pass


def _check_numbers(block) -> None:
    """Raise an error for values that the reader would cut at the first
    character that is not of a number."""
    tags = (*_CELL_TAGS, *_FRACT_TAGS, _OCCUPANCY_TAG, *_ISO_TAGS, *sum(_ANISO_TAGS.values(), ()))
    for tag in tags:
        for value in _entries(block, tag):
            if value.strip() not in _UNKNOWN and not _NUMBER.fullmatch(value.strip()):
                raise ValueError(
                    f"{tag} {value!r} is not a number; write it with a decimal point, such as "
                    "0.25 or 0.25(1), and neither as a fraction nor with a comma"
                )


def _keep_stated(block, tags: tuple[str, str], attribute: str, atoms: dict[int, Atom]) -> None:
    """Set the displacement parameter of the atoms, by row, for which
    only one of U and B is known.

    The reader takes what comes last, even if it is unknown.
    """
    columns = [_entries(block, tag) for tag in tags]
    if not all(columns):
        return
    for row, atom in atoms.items():
        known = [column[row].strip() not in _UNKNOWN for column in columns]
        if known in ([True, False], [False, True]):
            value = float(columns[known.index(True)][row].partition("(")[0])
            setattr(atom, attribute, value if known[0] else value * P_cif.BtoU)


def _read_asymmetric_unit(path: Path) -> tuple[object, Structure]:
    """Return the data block and the atoms as listed."""
    parser = _AsymmetricUnitParser()
    try:
        # Names of authors, in any encoding, are all that is lost. Some editors write a mark
        # first, which is not of CIF.
        atoms = parser.parse(path.read_text(encoding="utf-8-sig", errors="replace"))
    except (StructureFormatError, KeyError) as error:
        raise ValueError(f"{str(path)!r} is not a CIF that can be read: {error}") from error
    block = parser.block
    if not atoms:
        raise ValueError(
            f"{str(path)!r} has no atoms, which should be listed by _atom_site_label; export the "
            "structure as CIF again"
        )
    if not _entries(block, _CELL_TAGS[0]):
        raise ValueError(f"{str(path)!r} has no unit cell; add _cell_length_a and the others")
    for tag in _FRACT_TAGS:
        if any(value.strip() in _UNKNOWN for value in _entries(block, tag) or ["?"]):
            raise ValueError(
                f"{str(path)!r} misses fractional coordinates; give {tag} of every atom"
            )
    return block, atoms


def _entries(block, tag: str) -> list[str]:
    """Return the values of a tag, none if it is not in the block."""
    if tag not in block:
        return []
    return [block[tag]] if isinstance(block[tag], str) else list(block[tag])


def _stated_symmetry(
    name: str, block, lattice: Lattice
) -> tuple[int | None, tuple[np.ndarray, np.ndarray] | None]:
    """Return the space group that a CIF states and the operations for
    expanding its atoms, both None without any symmetry."""
    try:
        from ebsdsim.crystal.reader import SymmetryError, close_group, hall_ops, op_from_xyz
    except ImportError as error:
        raise _missing("ebsdsim") from error

    given = {
        key: [i for tag in tags for i in _entries(block, tag) if i.strip() not in _UNKNOWN]
        for key, tags in _SYMMETRY_TAGS.items()
    }
    number, symbol = None, None
    if given["number"]:
        number = int(given["number"][0]) if given["number"][0].strip().isdecimal() else 0
        if not 1 <= number <= 230:
            raise ValueError(
                f"{name}: space group number {given['number'][0]!r} in the CIF is not in 1-230"
            )
    if given["symbol"]:
        symbol = given["symbol"][0]
    try:
        if given["operations"]:
            # Some list no more than generators or leave the centring out
            listed = close_group([op_from_xyz(text) for text in given["operations"]])
        elif given["hall"]:
            listed = hall_ops(given["hall"][0])
        elif number or symbol:
            listed = None
        else:
            return None, None
    except SymmetryError as error:
        raise ValueError(
            f"{name}: the symmetry in the CIF is not valid ({error}); correct it, or remove it "
            "and pass space_group"
        ) from error
    if listed is None:
        operations = _operations_of_symbol(name, number, symbol, lattice)
    else:
        operations = np.array([op.W for op in listed]), np.array([op.w for op in listed]) / 24
    if number is None:
        number = _import_spglib().get_spacegroup_type_from_symmetry(*operations).number
    return number, operations


def _operations_of_symbol(
    name: str, number: int | None, symbol: str | None, lattice: Lattice
) -> tuple[np.ndarray, np.ndarray]:
    """Return the operations of a space group that is given by its
    number, its Hermann-Mauguin symbol or both."""
    plain, choice = _split_symbol(symbol or "")
    settings = [
        setting
        for setting in _settings()
        if number in (None, setting["number"]) and (number or plain in setting["symbols"])
    ]
    of_symbol = [i for i in settings if plain in i["symbols"]]
    # Other spellings do no harm in groups with one cell: the lattice tells hexagonal from
    # rhombohedral axes
    one_setting = len(settings) == 1 or {i["choice"] for i in settings} == {"h", "r"}
    one_setting &= plain[:1] in {j[0] for i in settings for j in i["symbols"]}
    if not settings or (plain and not of_symbol and not one_setting):
        raise ValueError(
            f"{name}: {symbol!r} is not a Hermann-Mauguin symbol of one setting of "
            f"{f'space group {number}' if number else 'a space group'}; list the symmetry "
            "operations in the CIF, or remove the symbol and pass space_group=<number> if the "
            "setting is the standard one"
        )
    settings = of_symbol or settings
    settings = [i for i in settings if i["choice"].startswith(choice)] or settings
    choices = {i["choice"][:1] for i in settings}
    if {"1", "2"} <= choices:
        raise ValueError(
            f"{name}: space group {settings[0]['number']} has two origin choices, and nothing says "
            "which one the positions are given in. List the symmetry operations in the CIF, or end "
            "the Hermann-Mauguin symbol in ':1' or ':2'; if all atoms of the cell are listed, "
            "remove the space group from the CIF and pass space_group='find'."
        )
    if {"h", "r"} <= choices:
        axes = "h" if abs(lattice.gamma - 120) < 0.1 else "r"
        settings = [i for i in settings if i["choice"] == axes]
    # The first of many is the one of the International Tables
    return _hall_operations(settings[0]["hall_number"])


@cache
def _settings() -> tuple[dict, ...]:
    """Return number, choice of origin or axes, and symbols of all
    tabulated settings."""
    spglib = _import_spglib()
    settings = []
    for hall_number in range(1, 531):
        kind = spglib.get_spacegroup_type(hall_number)
        names = [*kind.international.split("="), kind.international_short, kind.international_full]
        # P 2_1/n is short for P 1 2_1/n 1, but 1 is all there is in P 1
        names += [i.replace(" 1", "") for i in names if 3 <= kind.number <= 15]
        # As written before 1983
        names += [i.replace("-3", "3") for i in names if kind.number >= 195]
        if kind.number in (39, 41, 64, 67, 68):
            names = _names_with_double_glide(hall_number, names)
        settings.append(
            {
                "hall_number": hall_number,
                "number": kind.number,
                "choice": kind.choice.lower(),
                "symbols": {_plain_symbol(i) for i in names},
            }
        )
    return tuple(settings)


def _names_with_double_glide(hall_number: int, names: list[str]) -> list[str]:
    """Return the symbols of a setting with the letter e, and those with
    one of the two glides that it has stood for since 1992."""
    if hall_number in _GLIDES_67:
        own = [i.replace("e", _GLIDES_67[hall_number]) for i in names]
        # With an e it is the name of two settings, of which only this one is the standard
        return own + names if hall_number == min(_GLIDES_67) else own
    # A slip of spglib
    names = [i.replace("B b c b", "B b e b").replace("Bbcb", "Bbeb") for i in names]
    glides = {"A": "bc", "B": "ac", "C": "ab"}[names[0][0]]
    return names + [i.replace("e", glide) for i in names for glide in glides]


def _split_symbol(symbol: str) -> tuple[str, str]:
    """Return a plain Hermann-Mauguin symbol and the choice of origin or
    axes, empty if there is none."""
    # ICSD has a letter at the end, which no symbol has there
    pattern = re.compile(r"(.*?)(?::(.*)|(?<=.)([HRSZ]))?", re.IGNORECASE | re.DOTALL)
    plain, choice, letter = pattern.fullmatch(symbol.strip()).groups()
    choice = (choice or letter or "").strip().lower()
    return _plain_symbol(plain), {"s": "1", "z": "2"}.get(choice, choice)


def _plain_symbol(symbol: str) -> str:
    return re.sub(r"[\s_()]", "", symbol).lower()


def _expand(
    name: str, asymmetric: Structure, rotations: np.ndarray, translations: np.ndarray
) -> Structure:
    """Return all atoms of the cell.

    An atom that is an image of one before it is left out: some files
    list the full cell and the operations. Images of an atom within 0.1
    angstrom become one atom, with their total occupancy if they are a
    split site.
    """
    lattice = asymmetric.lattice
    atoms, listed = [], []
    split_images = defaultdict(list)
    for atom in asymmetric:
        # On a special position all images that should be one differ by rounding only
        shift = rotations @ atom.xyz + translations - atom.xyz
        shift -= shift.round()
        close = np.linalg.norm(shift @ lattice.base, axis=1) < _SAME_SITE
        xyz = atom.xyz + shift[close].mean(axis=0)
        apart = _distances(lattice, shift[close], shift[close])
        n_split = connected_components(apart < _SPLIT)[0]
        if n_split > 1:
            others = split_images[atom.element]
            if others and _distances(lattice, [atom.xyz], others).min() < _SPLIT:
                continue
            images = rotations @ atom.xyz + translations
            others.extend(images[_distances(lattice, images, [atom.xyz])[:, 0] > _SPLIT])
            atom = _joined(name, atom, n_split, apart.max())
        if _is_repeated(atom, xyz, atoms, listed, lattice):
            continue
        listed.append(xyz)
        # The atom as listed comes first
        images = _wrap(np.vstack([xyz, rotations @ xyz + translations]))
        same = _distances(lattice, images, images) < _SAME_SITE
        for image in images[~np.triu(same, 1).any(axis=0)]:
            atoms.append(
                Atom(
                    atom.element,
                    image,
                    label=atom.label,
                    occupancy=atom.occupancy,
                    Uisoequiv=atom.Uisoequiv,
                )
            )
        _check_size(name, len(atoms))
    return Structure(atoms, lattice)


def _joined(name: str, atom: Atom, n_images: int, apart: float) -> Atom:
    """Return an atom with the occupancy of its images, which take one
    site in turns."""
    occupancy = n_images * atom.occupancy
    if occupancy <= 1 + _OCCUPANCY_TOLERANCE:
        return Atom(atom, occupancy=min(occupancy, 1.0))
    warnings.warn(
        f"{name}: {n_images} images of {_describe(atom)} up to {apart:.3f} angstrom apart are "
        f"taken as one atom of occupancy {atom.occupancy:.4g}, since their occupancies sum to "
        f"{occupancy:.4g}; give the position with more digits if they should be one",
        stacklevel=4,
    )
    return atom


def _is_repeated(
    atom: Atom, xyz: np.ndarray, atoms: list[Atom], listed: list[np.ndarray], lattice: Lattice
) -> bool:
    """Return whether an atom to be placed at *xyz* is already among the
    *atoms*, but not among those *listed*.

    Two atoms listed at one place are a mistake, which is reported
    later, or a mixed site.
    """
    twins = [i.xyz for i in atoms if (i.element, i.occupancy) == (atom.element, atom.occupancy)]
    if not twins or 2 * atom.occupancy < 1 + _OCCUPANCY_TOLERANCE:
        return False
    from_twin = _distances(lattice, [xyz], twins).min()
    from_listed = _distances(lattice, [xyz], listed).min()
    return from_twin < _SAME_SITE < from_listed


def _check_lattice(name: str, lattice: Lattice) -> None:
    lengths = lattice.abcABG()[:3]
    if not np.isfinite(lattice.abcABG()).all() or min(lengths) < SHORTEST_AXIS:
        raise ValueError(
            f"{name}: lattice parameters {_numbers(lengths)} must be lengths in angstrom, each at "
            f"least {SHORTEST_AXIS}; multiply them by 10 if they are in nanometre"
        )


def _check_size(name: str, n_atoms: int) -> None:
    if n_atoms > MAX_ATOMS:
        raise ValueError(
            f"{name}: there are at least {n_atoms} atoms in the unit cell, but the dynamical "
            f"simulation is affordable up to {MAX_ATOMS}; choose a structure with a smaller cell"
        )


def _checked_atoms(name: str, structure: Structure, default_b_iso: float) -> list[tuple]:
    """Return element, occupancy and B_iso of the atoms."""
    checked, without_b_iso = [], {}
    for atom in structure:
        if not np.isfinite(atom.xyz).all():
            raise ValueError(f"{name}: {_describe(atom)} must have finite coordinates")
        if not 0 < atom.occupancy <= 1 + _OCCUPANCY_TOLERANCE:
            raise ValueError(
                f"{name}: occupancy {atom.occupancy} of {_describe(atom)} must be in (0, 1]; "
                "correct it or remove the atom"
            )
        b_iso = atom.Bisoequiv
        if not b_iso > 0:
            without_b_iso[atom.label or atom.element] = None
            b_iso = default_b_iso
        checked.append((_element(name, atom), min(atom.occupancy, 1.0), b_iso))
    if without_b_iso:
        warnings.warn(
            f"{name}: {', '.join(without_b_iso)} without a positive displacement parameter got "
            f"B_iso = {default_b_iso} square angstrom",
            stacklevel=4,
        )
    return checked


def _element(name: str, atom: Atom) -> str:
    match = _TYPE_SYMBOL.fullmatch(atom.element.strip())
    element = match[1].capitalize() if match else ""
    element = _ISOTOPES.get(element, element)
    if element not in ATOMIC_NUMBERS:
        raise ValueError(
            f"{name}: {atom.element!r} of {_describe(atom)} is not an element symbol; write the "
            "element as _atom_site_type_symbol in a CIF or as element of a diffpy Atom"
        )
    return element


def _sites(name: str, structure: Structure, atoms: list[tuple]) -> tuple[np.ndarray, list[dict]]:
    """Join atoms at the same place.

    Returns
    -------
    positions
        Positions of the sites, of shape (n, 3).
    contents
        Occupancy and B_iso by element for each site.
    """
    lattice = structure.lattice
    xyz = structure.xyz
    distances = _distances(lattice, xyz, xyz)
    n_sites, site_of_atom = connected_components(distances < _SAME_SITE)
    members = [np.flatnonzero(site_of_atom == i) for i in range(n_sites)]
    occupancy = np.array([atom[1] for atom in atoms])

    total = np.array([occupancy[i].sum() for i in members])
    for i in np.flatnonzero(total > 1 + _OCCUPANCY_TOLERANCE):
        described = " and ".join(_describe(structure[j]) for j in members[i])
        apart = distances[np.ix_(members[i], members[i])].max()
        raise ValueError(
            f"{name}: {described} share a site ({apart:.3f} angstrom apart), but their occupancies "
            f"sum to {total[i]:.4g}, which must not be above 1; correct the occupancies, or the "
            "positions or operations if only one of them is there"
        )
    summed = total[site_of_atom] + total[site_of_atom][:, np.newaxis]
    overlapping = (distances < _OVERLAP) & (summed > 1 + _OCCUPANCY_TOLERANCE)
    overlapping &= site_of_atom != site_of_atom[:, np.newaxis]
    for i, j in np.argwhere(overlapping):
        raise ValueError(
            f"{name}: {_describe(structure[i])} and {_describe(structure[j])} are only "
            f"{distances[i, j]:.3f} angstrom apart, but their occupancies sum to "
            f"{summed[i, j]:.4g}, which must not be above 1; correct the positions, the origin of "
            "the operations or the occupancies"
        )

    positions, contents = [], []
    for indices in members:
        shift = xyz[indices] - xyz[indices[0]]
        positions.append(xyz[indices[0]] + (shift - shift.round()).mean(axis=0))
        content = defaultdict(lambda: np.zeros(2))
        for i in indices:
            element, occ, b_iso = atoms[i]
            content[element] += occ, occ * b_iso
        contents.append({i: (occ, product / occ) for i, (occ, product) in sorted(content.items())})
    return np.array(positions), contents


def _site_types(contents: list[dict]) -> np.ndarray:
    """Return a number for each site, the same where the same is on it.

    Only what sits on a site tells sites apart, not how far it vibrates.
    """
    elements = sorted({element for site in contents for element in site})
    # An element that is missing differs from one of any occupancy
    occupancy = np.array([[site.get(i, (-1.0,))[0] for i in elements] for site in contents])
    apart = np.abs(occupancy[:, np.newaxis] - occupancy).max(axis=-1)
    return connected_components(apart < _SAME_OCCUPANCY)[1]


def _describe(atom: Atom) -> str:
    return f"{atom.label or atom.element} at ({_numbers(atom.xyz)})"


def _numbers(values) -> str:
    return ", ".join(f"{i:.5g}" for i in values)


def _distances(lattice: Lattice, first, second) -> np.ndarray:
    """Return the distances in angstrom, right where they are short, of
    shape (n first, n second)."""
    difference = np.asarray(first)[:, np.newaxis] - np.asarray(second)
    return np.linalg.norm((difference - difference.round()) @ lattice.base, axis=-1)


def _wrap(xyz: np.ndarray) -> np.ndarray:
    """Return positions within [0, 1), with 1 - epsilon brought to 0."""
    xyz = np.mod(xyz, 1)
    return np.where(xyz > 1 - 1e-9, 0.0, xyz)


def _standard_phase(
    name: str,
    structure: Structure,
    space_group: int | Literal["find"],
    default_b_iso: float,
    tolerance: float,
) -> Phase:
    """Return the phase of a full unit cell, or raise the error of the
    public functions."""
    # A wrong number should not wait for the search
    symbol = None if space_group == "find" else hermann_mauguin_symbol(space_group)
    spglib = _import_spglib()
    if not len(structure):
        raise ValueError(f"{name}: the structure has no atoms; give all atoms of a unit cell")
    _check_size(name, len(structure))
    _check_lattice(name, structure.lattice)
    atoms = _checked_atoms(name, structure, default_b_iso)
    volume = structure.lattice.volume / sum(occupancy for _, occupancy, _ in atoms)
    if not _VOLUME_PER_ATOM[0] < volume < _VOLUME_PER_ATOM[1]:
        raise ValueError(
            f"{name}: lattice parameters {_numbers(structure.lattice.abcABG())} leave each atom "
            f"{volume:.4g} cubic angstrom, which must be in {_VOLUME_PER_ATOM}; give lengths in "
            "angstrom and all atoms of the cell"
        )
    positions, contents = _sites(name, structure, atoms)

    cell = (structure.lattice.base, positions, _site_types(contents))
    dataset = _symmetry(spglib, name, cell, tolerance)
    number = dataset.number
    if symbol is not None and space_group != number:
        raise ValueError(
            f"{name}: space group {space_group} ({symbol}) is stated, but the atoms show {number} "
            f"({hermann_mauguin_symbol(number)}) within {tolerance} angstrom. Pass "
            f"space_group={number} or space_group='find' if the atoms are right. Otherwise correct "
            "the atoms, of which all of the cell are needed, or change the tolerance."
        )

    group = standard_space_group(number)
    if _has_operations(dataset, group, structure.lattice, tolerance):
        to_standard, shift = np.eye(3), np.zeros(3)
    else:
        hall_number = _standard_hall_number(number)
        dataset = _symmetry(spglib, name, cell, tolerance, hall_number)
        # Coordinates change by whole numbers, or halves and thirds from a primitive cell
        to_standard = np.rint(6 * dataset.transformation_matrix) / 6
        shift = dataset.origin_shift
    _check_size(name, round(len(atoms) / np.linalg.det(to_standard)))
    lattice = _symmetric_lattice(np.linalg.inv(to_standard).T @ structure.lattice.base, group)
    positions, origin = _in_new_cell(lattice, positions, to_standard, shift)
    values = [np.array(list(contents[i].values())) for i in origin]
    positions, values = _symmetrised(name, lattice, positions, values, group, tolerance)
    standard = [
        Atom(element, position, occupancy=occupancy, Uisoequiv=b_iso / (8 * np.pi**2))
        for position, i, properties in zip(positions, origin, values, strict=True)
        for element, (occupancy, b_iso) in zip(contents[i], properties, strict=True)
    ]
    return Phase(name=name, space_group=group, structure=Structure(standard, lattice))


def _import_spglib():
    try:
        import spglib
    except ImportError as error:
        raise _missing("spglib") from error
    return spglib


def _missing(package: str) -> ImportError:
    return ImportError(
        f"Reading a crystal structure needs {package}. Install it with "
        "pip install 'kikuchipy-cnn[simulation]'."
    )


def _symmetry(spglib, name: str, cell: tuple, tolerance: float, hall_number: int = 0):
    try:
        dataset = spglib.get_symmetry_dataset(cell, symprec=tolerance, hall_number=hall_number)
    except spglib.SpglibError:
        dataset = None
    # Versions of spglib differ in how they fail
    if dataset is None:
        raise ValueError(
            f"{name}: spglib finds no symmetry within {tolerance} angstrom; pass another tolerance"
        )
    return dataset


@cache
def _standard_hall_number(number: int) -> int:
    """Return spglib's number of the standard setting."""
    choices = {i["choice"]: i["hall_number"] for i in _settings() if i["number"] == number}
    return choices["2"] if "2" in choices else min(choices.values())


def _hall_operations(hall_number: int) -> tuple[np.ndarray, np.ndarray]:
    operations = _import_spglib().get_symmetry_from_database(hall_number)
    return operations["rotations"].astype(float), operations["translations"]


def _has_operations(dataset, group: SpaceGroup, lattice: Lattice, tolerance: float) -> bool:
    """Return whether the operations found are those of the group."""
    if len(dataset.rotations) != len(group.symop_list):
        return False
    for operation in group.symop_list:
        same = (dataset.rotations == operation.R).all(axis=(1, 2))
        shift = _distances(lattice, dataset.translations[same], [operation.t])
        if not (shift < 2 * tolerance).any():
            return False
    return True


def _symmetric_lattice(base: np.ndarray, group: SpaceGroup) -> Lattice:
    """Return the lattice with exactly the metric that the group asks
    for.

    It is oriented as orix needs it, with a along x and c* along z:
    orix would turn another lattice without its atoms.
    """
    metric = np.mean([op.R.T @ base @ base.T @ op.R for op in group.symop_list], axis=0)
    # The lower triangle of Cholesky has a along x and b in the xy plane, hence c* along z
    return Lattice(base=np.linalg.cholesky(metric))


def _in_new_cell(
    lattice: Lattice, positions: np.ndarray, to_new: np.ndarray, shift: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct positions in another cell, and which of the
    old positions each comes from."""
    # Translations of the old lattice are centrings of the new one, of order 3 at most
    steps = np.stack(np.meshgrid(*[range(3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    centrings = _wrap((steps @ to_new.T).round(6))
    centrings = steps[np.unique(centrings, axis=0, return_index=True)[1]]
    new = _wrap((positions[:, np.newaxis] + centrings).reshape(-1, 3) @ to_new.T + shift)
    same = _distances(lattice, new, new) < _SAME_SITE
    distinct = np.flatnonzero(~np.triu(same, 1).any(axis=0))
    return new[distinct], distinct // len(centrings)


def _symmetrised(
    name: str,
    lattice: Lattice,
    positions: np.ndarray,
    values: list[np.ndarray],
    group: SpaceGroup,
    tolerance: float,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the average over all operations of the positions and of
    the properties of equivalent sites."""
    tree = cKDTree(positions, boxsize=1)
    shift = np.zeros_like(positions)
    total = [np.zeros_like(i) for i in values]
    for operation in group.symop_list:
        images = _wrap(positions @ operation.R.T + operation.t)
        _, onto = tree.query(images)
        difference = images - positions[onto]
        difference -= difference.round()
        if (
            len(set(onto)) < len(positions)
            or np.linalg.norm(difference @ lattice.base, axis=1).max() > 10 * tolerance
        ):
            raise ValueError(
                f"{name}: the atoms obey space group {group.number} only loosely; pass a smaller "
                "tolerance, or give the positions with more digits"
            )
        shift[onto] += difference
        for i, j in enumerate(onto):
            total[j] += values[i]
    # Divided once: the sum of 192 parts of a full occupancy would be more than one.
    n_operations = len(group.symop_list)
    return _wrap(positions + shift / n_operations), [i / n_operations for i in total]
