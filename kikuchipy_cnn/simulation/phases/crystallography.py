# SPDX-License-Identifier: GPL-3.0-or-later

"""What the space group of a crystal leaves in the intensities of its reflections.

All functions take phases whose atoms and symmetry operations share one setting, with all atoms of
the unit cell, such as those from :mod:`kikuchipy_cnn.simulation.phases` and
:mod:`kikuchipy_cnn.simulation.phases.structures`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

import numpy as np
from diffsims.utils.lobato_scattering_params import ATOMIC_SCATTERING_PARAMS_LOBATO
from diffsims.utils.sim_utils import get_atomic_scattering_factors
from orix.crystal_map import Phase

from kikuchipy_cnn.space_groups import laue_group

__all__ = [
    "SuperlatticeStrength",
    "extinction_conditions",
    "is_forbidden",
    "structure_factors",
    "superlattice_strength",
]

# Reflections up to this index show every rule: a screw axis 6_1 leaves 006 and 0 0 12.
_MAX_INDEX = 12

# Rows give h, k, l of a zone's reflections from its free indices.
_ZONES = {
    "hkl": [(1, 0, 0), (0, 1, 0), (0, 0, 1)],
    "0kl": [(0, 1, 0), (0, 0, 1)],
    "h0l": [(1, 0, 0), (0, 0, 1)],
    "hk0": [(1, 0, 0), (0, 1, 0)],
    "hhl": [(1, 1, 0), (0, 0, 1)],
    "h-hl": [(1, -1, 0), (0, 0, 1)],
    "h00": [(1, 0, 0)],
    "0k0": [(0, 1, 0)],
    "00l": [(0, 0, 1)],
}
# One zone of each form, general ones first, in the order of the International Tables.
_ZONES_OF_LAUE_GROUPS = {
    ("-1",): ("hkl",),
    ("2/m", "mmm"): ("hkl", "0kl", "h0l", "hk0", "h00", "0k0", "00l"),
    ("4/m", "4/mmm"): ("hkl", "hk0", "0kl", "hhl", "00l", "h00"),
    ("-3", "-3m", "6/m", "6/mmm"): ("hkl", "h-hl", "hhl", "00l"),
    ("m-3", "m-3m"): ("hkl", "0kl", "hhl", "h00"),
}
_SUMS = {
    "h": (1, 0, 0),
    "k": (0, 1, 0),
    "l": (0, 0, 1),
    "h+k": (1, 1, 0),
    "h+l": (1, 0, 1),
    "k+l": (0, 1, 1),
    "h+k+l": (1, 1, 1),
    "-h+k+l": (-1, 1, 1),
    "h-k+l": (1, -1, 1),  # R in the reverse setting
    "2h+l": (2, 0, 1),
}
_MODULI = (2, 3, 4, 6)

_CENTRINGS = {
    "A": [(0, 1 / 2, 1 / 2)],
    "B": [(1 / 2, 0, 1 / 2)],
    "C": [(1 / 2, 1 / 2, 0)],
    "F": [(0, 1 / 2, 1 / 2), (1 / 2, 0, 1 / 2), (1 / 2, 1 / 2, 0)],
    "I": [(1 / 2, 1 / 2, 1 / 2)],
    "R": [(2 / 3, 1 / 3, 1 / 3), (1 / 3, 2 / 3, 2 / 3)],
}
# Translations are counted in these parts of the cell's edges, so that they can be compared.
_PARTS = 72
# Relative intensity below which a reflection is taken to be absent.
_ABSENT = 1e-12
# Largest distance of equivalent atoms, in each of the cell's edges.
_SAME_PLACE = 1e-3


def is_forbidden(phase: Phase, hkl: np.ndarray) -> np.ndarray:
    """Return which reflections are systematically absent.

    Parameters
    ----------
    phase
        Crystal with a space group.
    hkl
        Miller indices, integers of shape (n, 3).

    Returns
    -------
    forbidden
        True where the general reflection conditions of the space group
        forbid a reflection, of shape (n,). Atoms on special positions
        can extinguish more.

    Raises
    ------
    ValueError
        If the indices are not integers or not of shape (n, 3), or the
        phase has no space group.

    Notes
    -----
    An operation (R, t) maps the structure factor of hR onto that of h,
    times exp(2 pi i h.t). Where hR = h, it has to vanish unless h.t is
    an integer (International Tables for Crystallography B, 1.4.3).

    Examples
    --------
    >>> from kikuchipy_cnn.simulation import is_forbidden, load_phases
    >>> nickel = load_phases([225])["Ni"]
    >>> is_forbidden(nickel, [[1, 0, 0], [1, 1, 1], [2, 0, 0]])
    array([ True, False, False])
    """
    hkl = _checked_hkl(hkl)
    forbidden = np.zeros(len(hkl), dtype=bool)
    for rotation, translation in zip(*_operations(phase), strict=True):
        invariant = (hkl @ rotation == hkl).all(axis=1)
        forbidden[invariant] |= ~_is_integer(hkl[invariant] @ translation)
    return forbidden


def extinction_conditions(phase: Phase) -> list[str]:
    """Return the general reflection conditions of the space group.

    Parameters
    ----------
    phase
        Crystal with a space group in a standard setting.

    Returns
    -------
    conditions
        Conditions for a reflection to be present, such as
        ["hkl: h+k, h+l, k+l = 2n", "0kl: k+l = 4n"]. Those that follow
        from others are left out, also those of equivalent reflections.
        In trigonal and hexagonal crystals "h-hl" are the reflections
        h -h 0 l and "hhl" those h h -2h l.

    Raises
    ------
    ValueError
        If the phase has no space group, or absences of which no simple
        rule is known, which happens in unusual settings only.

    Notes
    -----
    The absences that the operations cause, as in :func:`is_forbidden`,
    are compared with those of sums of indices as they occur in the
    International Tables for Crystallography A.

    Examples
    --------
    >>> from kikuchipy_cnn import simulation
    >>> silicon = simulation.load_phases([227])["Si"]
    >>> simulation.extinction_conditions(silicon)
    ['hkl: h+k, h+l, k+l = 2n', '0kl: k+l = 4n']
    """
    rotations, translations = _operations(phase)
    laue = laue_group(phase.space_group.number)
    zones = next(zones for groups, zones in _ZONES_OF_LAUE_GROUPS.items() if laue in groups)
    conditions, found = [], []
    for zone in zones:
        hkl = _reflections_of_zone(zone)
        # Operations that leave only some of the zone as they are belong to a special zone
        axes = np.array(_ZONES[zone])
        invariant = (axes @ rotations == axes).all(axis=(1, 2))
        allowed = _is_integer(hkl @ translations[invariant].T).all(axis=1)
        implied = np.ones(len(hkl), dtype=bool)
        for rotation in np.unique(rotations, axis=0):
            equivalent = hkl @ rotation
            for general, sums, modulus in found:
                implied &= ~_in_zone(general, equivalent) | _obeys(equivalent, sums, modulus)
        allowed &= implied
        if np.array_equal(implied, allowed):
            continue
        for sums, modulus in _candidate_rules(zone):
            if np.array_equal(implied & _obeys(hkl, sums, modulus), allowed):
                break
        else:
            raise ValueError(
                f"{phase.name}: no simple rule gives the absences of the reflections {zone}; the "
                "space group may be in a setting that is not standard"
            )
        if len(sums) == 1 and sums[0] in zone:
            # In a centred lattice one index often takes another along
            sums = tuple(i for i in "hkl" if i in zone and _obeys(hkl[allowed], i, modulus).all())
        found.append((zone, sums, modulus))
        conditions.append(f"{zone}: {', '.join(sums)} = {modulus}n")
    return conditions


def structure_factors(phase: Phase, hkl: np.ndarray) -> np.ndarray:
    """Return kinematical electron structure factors.

    Parameters
    ----------
    phase
        Crystal with all atoms of the unit cell, in angstrom.
    hkl
        Miller indices, integers of shape (n, 3).

    Returns
    -------
    structure_factors
        Complex structure factors in angstrom, of shape (n,), for
        electrons at rest. Occupancies and isotropic displacements of
        the atoms are accounted for, unlike in diffsims, which leaves
        out the latter.

    Raises
    ------
    ValueError
        If the indices are not integers or not of shape (n, 3), or there
        are no scattering factors of an element.

    Notes
    -----
    The scattering factors are those of Lobato and Van Dyck, Acta Cryst.
    A70 (2014) 636, from :mod:`diffsims`.

    Examples
    --------
    >>> from kikuchipy_cnn.simulation import load_phases
    >>> from kikuchipy_cnn.simulation.phases import crystallography
    >>> nickel = load_phases([225])["Ni"]
    >>> factors = crystallography.structure_factors(
    ...     nickel, [[1, 1, 1], [1, 0, 0]]
    ... )
    >>> abs(factors).round(1)
    array([11.7,  0. ])
    """
    hkl = _checked_hkl(hkl)
    structure = phase.structure
    squared_length = structure.lattice.rnorm(hkl) ** 2  # 1/angstrom^2
    species = [(atom.element, atom.occupancy, atom.Bisoequiv) for atom in structure]
    positions = structure.xyz
    factors = np.zeros(len(hkl), dtype=complex)
    for element, occupancy, b_iso in dict.fromkeys(species):
        if element not in ATOMIC_SCATTERING_PARAMS_LOBATO:
            raise ValueError(f"{phase.name}: there are no scattering factors of {element!r}")
        coefficients = np.array([ATOMIC_SCATTERING_PARAMS_LOBATO[element]])
        scattering = get_atomic_scattering_factors(squared_length, coefficients, "lobato")[:, 0]
        scattering = occupancy * scattering * np.exp(-b_iso * squared_length / 4)
        at = positions[[i == (element, occupancy, b_iso) for i in species]]
        for position in at:
            factors += scattering * np.exp(2j * np.pi * (hkl @ position))
    return factors


@dataclass(frozen=True)
class SuperlatticeStrength:
    """How strongly a crystal differs from one with more lattice translations.

    Parameters
    ----------
    ratio
        Summed intensity of the superlattice reflections, which the
        added translations would forbid, relative to that of all others.
    strongest_ratio
        Intensity of the strongest superlattice reflection relative to
        that of the strongest other one.
    translation
        An added translation in fractions of the cell's edges. All those
        equivalent to it by the point group are added too.
    lattice
        Letter of the centring that would result, or else the
        translation, such as "translation (1/2 0 0)".
    reflections
        Up to three of the strongest superlattice reflections, no two of
        them equivalent.

    Examples
    --------
    >>> from kikuchipy_cnn import simulation
    >>> strength = simulation.superlattice_strength(
    ...     simulation.load_phases([221])["Ni3Al"]
    ... )
    >>> strength.lattice, round(strength.ratio, 3)
    ('F', 0.059)
    >>> strength.reflections
    ((1, 1, 0), (1, 0, 0), (2, 1, 0))
    """

    ratio: float
    strongest_ratio: float
    translation: tuple[float, float, float]
    lattice: str
    reflections: tuple[tuple[int, int, int], ...]


def superlattice_strength(phase: Phase, *, dmin: float = 0.7) -> SuperlatticeStrength:
    """Return how strongly the lattice of a crystal shows.

    A crystal whose atoms nearly repeat after a translation that is none
    of its lattice, such as FeNi3 after those of a face-centred lattice,
    has patterns that are hardly to be told from those of a crystal with
    this lattice. The intensity of the reflections that set the two
    apart tells how hardly. Space groups of one lattice, such as 216 and
    227, are not compared.

    Parameters
    ----------
    phase
        Crystal with a space group and all atoms of the unit cell, in
        angstrom.
    dmin
        Smallest interplanar spacing in angstrom of the reflections.

    Returns
    -------
    strength
        Values for the translations of which the crystal comes closest.
        A crystal without any near translation, as of one atom per
        lattice point, has a ratio around 1 or more.

    Raises
    ------
    ValueError
        If the phase has no space group or no atoms, *dmin* is not
        positive, or there are no scattering factors of an element.

    Notes
    -----
    Intensities are squares of structure factors. Every lattice
    with more translations contains one with a translation of which the
    double or the triple is in the lattice of the crystal, or it has a
    translation of order five or more, and the smaller one has a smaller
    ratio. This leaves seven and 26 translations to try for any crystal.

    Examples
    --------
    The order of FeNi3 hardly shows, as its atoms scatter nearly alike:

    >>> from kikuchipy_cnn import simulation
    >>> phases = simulation.load_phases([221])
    >>> for name in ("Ni3Al", "FeNi3"):
    ...     strength = simulation.superlattice_strength(phases[name])
    ...     print(name, strength.lattice, round(strength.ratio, 4))
    Ni3Al F 0.0592
    FeNi3 F 0.0002
    """
    if not len(phase.structure):
        raise ValueError(f"{phase.name}: the structure has no atoms")
    if not dmin > 0:
        raise ValueError(f"dmin {dmin} must be a positive length in angstrom")
    hkl = _half_sphere(phase, dmin)
    intensity = np.abs(structure_factors(phase, hkl)) ** 2
    intensity[intensity < _ABSENT * intensity.max(initial=0)] = 0
    strengths = [
        _strength(hkl, intensity, translations) for translations in _denser_lattices(phase)
    ]
    return min(strengths, key=lambda strength: strength.ratio)


def _checked_hkl(hkl: np.ndarray) -> np.ndarray:
    indices = np.asarray(hkl)
    if indices.ndim != 2 or indices.shape[1] != 3:
        raise ValueError(f"Miller indices of shape {indices.shape} must be of shape (n, 3)")
    rounded = np.rint(indices)
    if not np.array_equal(indices, rounded):
        raise ValueError("Miller indices must be integers; multiply fractions by their denominator")
    return rounded.astype(int)


def with_whole_cell(phase: Phase) -> Phase:
    """Return a phase with all atoms of the unit cell.

    Parameters
    ----------
    phase
        Crystal with a space group and all atoms of its unit cell, or
        those of its asymmetric unit only.

    Returns
    -------
    phase
        The same phase if it has them all.
    """
    rotations, translations = _operations(phase)
    atoms = phase.structure.xyz
    for rotation, translation in zip(rotations, translations, strict=True):
        images = atoms @ rotation.T + translation
        apart = images[:, None] - atoms
        at_an_atom = (np.abs(apart - np.rint(apart)) < _SAME_PLACE).all(axis=2).any(axis=1)
        if not at_an_atom.all():
            # Asking first, since this takes seconds for large cells
            return phase.expand_asymmetric_unit()
    return phase


def families_of_planes(phase: Phase, dmin: float) -> tuple[np.ndarray, np.ndarray]:
    """Return lattice planes and which of them are equivalent.

    Parameters
    ----------
    phase
        Crystal with a space group and a lattice in angstrom.
    dmin
        Smallest spacing of planes, in angstrom.

    Returns
    -------
    hkl
        Miller indices of all planes, one of hkl and -h-k-l, integers of
        shape (n, 3).
    family
        Number of the family of each plane, from 0, of shape (n,).
        Planes of a family are equivalent by the rotations of the space
        group or by inversion.
    """
    hkl = _half_sphere(phase, dmin)
    limit = np.abs(hkl).max() + 1
    place = (2 * limit) ** np.arange(2, -1, -1)
    # One number for each of hkl, and the largest of all equivalent ones for each family
    largest = np.full(len(hkl), np.iinfo(np.int64).min)
    for rotation in np.unique(_operations(phase)[0], axis=0):
        equivalent = hkl @ rotation @ place
        largest = np.maximum(largest, np.abs(equivalent))
    return hkl, np.unique(largest, return_inverse=True)[1]


def _operations(phase: Phase) -> tuple[np.ndarray, np.ndarray]:
    """Return rotations of shape (n, 3, 3), and translations of shape
    (n, 3)."""
    if phase.space_group is None:
        raise ValueError(f"{phase.name}: the phase has no space group; give it one")
    operations = phase.space_group.symop_list
    rotations = np.array([np.rint(operation.R) for operation in operations]).astype(int)
    return rotations, np.array([operation.t for operation in operations])


def _is_integer(cycles: np.ndarray) -> np.ndarray:
    # Translations of space groups are multiples of 1/24
    return np.abs(cycles - np.rint(cycles)) < 0.01


def _reflections_of_zone(zone: str) -> np.ndarray:
    """Return reflections with free indices up to the limit, of shape
    (n, 3)."""
    axes = np.array(_ZONES[zone])
    values = range(-_MAX_INDEX, _MAX_INDEX + 1)
    return np.array(list(product(values, repeat=len(axes)))) @ axes


def _in_zone(zone: str, hkl: np.ndarray) -> np.ndarray:
    axes = np.array(_ZONES[zone])
    # The free indices are the first non-zero of each axis
    free = hkl[:, [int(np.flatnonzero(axis)[0]) for axis in axes]]
    return (free @ axes == hkl).all(axis=1)


def _obeys(hkl: np.ndarray, sums: tuple[str, ...], modulus: int) -> np.ndarray:
    return np.logical_and.reduce([hkl @ _SUMS[i] % modulus == 0 for i in sums])


def _candidate_rules(zone: str) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield sums of indices and the modulus, the simplest rule first."""
    letters = [letter for letter in "hkl" if letter in zone]
    sums = [i for i in _SUMS if set(i) & set("hkl") <= set(letters)]
    rules = [(i,) for i in sums]
    if zone == "hkl":
        # Two of the three are enough, but this is how the condition of F is known
        rules.append(("h+k", "h+l", "k+l"))
    yield from product(rules, _MODULI)


def _half_sphere(phase: Phase, dmin: float) -> np.ndarray:
    """Return one of each pair hkl and -h-k-l, which are as intense, up
    to a spacing, without 000."""
    lattice = phase.structure.lattice
    limits = np.floor(np.array(lattice.abcABG()[:3]) / dmin).astype(int)
    axes = [np.arange(-limit, limit + 1) for limit in limits]
    axes[0] = axes[0][limits[0] :]
    hkl = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    h, k, l = hkl.T
    half = (h > 0) | ((h == 0) & ((k > 0) | ((k == 0) & (l > 0))))
    hkl = hkl[half]
    return hkl[lattice.rnorm(hkl) <= 1 / dmin]


def _denser_lattices(phase: Phase) -> list[np.ndarray]:
    """Return lattices with more translations that the point group
    keeps.

    Returns
    -------
    lattices
        Translations modulo whole edges of the cell, in parts of the
        edges, each of shape (n, 3). The first of each is no translation
        of the crystal, the last is (0, 0, 0).
    """
    rotations, translations = _operations(phase)
    own = (rotations == np.eye(3)).all(axis=(1, 2))
    centrings = _distinct(np.rint(translations[own] * _PARTS).astype(int))
    rotations = np.unique(rotations, axis=0)
    tried = set(map(tuple, centrings))
    lattices = []
    for order in (2, 3):
        # The multiple of such a translation is in the lattice
        edges = np.array(list(product(range(order), repeat=3))) * _PARTS
        for candidate in _distinct(_sums(centrings, edges) // order):
            if tuple(candidate) in tried:
                continue
            added = _distinct(_sums(rotations @ candidate, centrings))
            # Any of these gives the same lattice
            tried.update(map(tuple, added))
            lattice, size = centrings, 0
            while size < len(lattice):
                size = len(lattice)
                lattice = _distinct(_sums(lattice, np.vstack([added, lattice])))
            lattices.append(np.vstack([added[0], lattice[::-1]]))
    return lattices


def _sums(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (first[:, np.newaxis] + second).reshape(-1, 3)


def _distinct(translations: np.ndarray) -> np.ndarray:
    """Return the translations modulo whole edges, those with small and
    then those with early components first."""
    distinct = np.unique(translations % _PARTS, axis=0)[::-1]
    return distinct[np.argsort(distinct.sum(axis=1), kind="stable")]


def _strength(
    hkl: np.ndarray, intensity: np.ndarray, translations: np.ndarray
) -> SuperlatticeStrength:
    main = (hkl @ translations.T % _PARTS == 0).all(axis=1)
    total, strongest = intensity[main].sum(), intensity[main].max(initial=0)
    superlattice, hkl = intensity[~main], hkl[~main]
    translation = translations[0]
    # Where one of the two kinds has no reflection, nothing is known of their ratio.
    is_known = total > 0 and len(superlattice) > 0
    return SuperlatticeStrength(
        ratio=float(superlattice.sum() / total) if is_known else np.inf,
        strongest_ratio=float(superlattice.max() / strongest) if is_known else np.inf,
        translation=tuple((translation / _PARTS).tolist()),
        lattice=_lattice_name(translations),
        reflections=_strongest_reflections(hkl, superlattice),
    )


def _lattice_name(translations: np.ndarray) -> str:
    added = set(map(tuple, translations)) - {(0, 0, 0)}
    for letter, centrings in _CENTRINGS.items():
        if added == set(map(tuple, np.rint(np.array(centrings) * _PARTS).astype(int))):
            return letter
    fractions = " ".join(str(Fraction(int(i), _PARTS)) for i in translations[0])
    return f"translation ({fractions})"


def _strongest_reflections(
    hkl: np.ndarray, intensity: np.ndarray
) -> tuple[tuple[int, int, int], ...]:
    """Return up to three reflections of different intensity, each the
    one with the highest first indices."""
    chosen = []
    while len(chosen) < 3 and intensity.any():
        equal = np.isclose(intensity, intensity.max(), rtol=1e-6, atol=0)
        chosen.append(max(map(tuple, hkl[equal].tolist())))
        hkl, intensity = hkl[~equal], intensity[~equal]
    return tuple(chosen)
