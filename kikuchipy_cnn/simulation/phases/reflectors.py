# SPDX-License-Identifier: GPL-3.0-or-later

"""Which lattice planes have the strongest bands."""

from __future__ import annotations

import numpy as np
from diffsims.crystallography import ReciprocalLatticeVector
from orix.crystal_map import Phase

from kikuchipy_cnn.simulation.phases.crystallography import (
    families_of_planes,
    structure_factors,
    with_whole_cell,
)
from kikuchipy_cnn.simulation.phases.structures import SHORTEST_AXIS

# Reflectors of smaller spacings, in angstrom, are too weak to be among the strongest.
_SMALLEST_SPACING = 0.7
# Bands that covered more would be everywhere.
_LARGEST_AREA_OF_BANDS = 0.5


def strongest_reflectors(phase: Phase, energy: float) -> tuple[ReciprocalLatticeVector, np.ndarray]:
    """Find the strongest families of reflectors, by kinematical structure factors.

    Parameters
    ----------
    phase
        Phase with atoms and a lattice in angstrom.
    energy
        Of the electrons, in keV.

    Returns
    -------
    reflectors
        All planes of the families, with their opposites and Bragg angles.
    families
        Miller indices of one of each family, the strongest first, of shape (families, 3): as many
        as have bands that cover at most half of all directions, but at least one.

    Raises
    ------
    ValueError
        If the phase has no atoms or a lattice in nanometres.

    Notes
    -----
    Families are those of the space group's own operations, in the axes of the phase. diffsims'
    take the point group's, whose two-fold axis is another one in monoclinic phases, and cannot tell
    which reflectors of hexagonal ones are allowed.
    """
    whole, hkl, family, one_of_each, strongest = _ranked_families(phase)
    vectors = ReciprocalLatticeVector(phase=whole, hkl=one_of_each)
    vectors.calculate_theta(energy * 1e3)
    # The directions within an angle of a plane are its sine's part of all.
    area = np.bincount(family) * np.sin(vectors.theta)
    n_chosen = int((np.cumsum(area[strongest]) <= _LARGEST_AREA_OF_BANDS).sum())
    chosen = strongest[: max(1, n_chosen)]
    hkl_of_chosen = hkl[np.isin(family, chosen)]
    reflectors = ReciprocalLatticeVector(
        phase=whole, hkl=np.concatenate([hkl_of_chosen, -hkl_of_chosen])
    )
    reflectors.calculate_theta(energy * 1e3)
    return reflectors, one_of_each[chosen]


def strongest_directions(phase: Phase, n: int) -> np.ndarray:
    """Find the families of planes with the strongest bands, no two of which are parallel.

    Parameters
    ----------
    phase
        As for :func:`strongest_reflectors`.
    n
        Number of families.

    Returns
    -------
    families
        Miller indices of one plane of each family, the strongest first, of shape (at most n, 3). Of
        parallel families, such as {111} and {222}, there is the stronger one.

    Raises
    ------
    ValueError
        If the phase has no atoms or a lattice in nanometres.
    """
    *_, one_of_each, strongest = _ranked_families(phase)
    chosen: list[np.ndarray] = []
    for i in strongest:
        if len(chosen) == n:
            break
        if not any(np.any(np.cross(one_of_each[i], other)) == 0 for other in chosen):
            chosen.append(one_of_each[i])
    return np.array(chosen)


def _ranked_families(
    phase: Phase,
) -> tuple[Phase, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Phase with its whole cell, its planes, their families, one plane of each, and their order."""
    if len(phase.structure) == 0 or phase.space_group is None:
        raise ValueError(
            f"Phase {phase.name!r} has no atoms or no space group, so that nothing is known of its "
            "bands. Give one with a structure, such as "
            "kikuchipy_cnn.simulation.load_phases()['Ni']."
        )
    lattice = phase.structure.lattice
    if min(lattice.a, lattice.b, lattice.c) < SHORTEST_AXIS:
        raise ValueError(
            f"Phase {phase.name!r} has lattice parameters {lattice.a:g}, {lattice.b:g} and "
            f"{lattice.c:g}, which seem to be in nanometres. Give them in angstrom."
        )
    whole = with_whole_cell(phase)
    hkl, family = families_of_planes(whole, _SMALLEST_SPACING)
    # Of each family the plane that it is named after: without negative indices, the largest first.
    order = np.lexsort((*hkl.T[::-1], hkl.min(axis=1)))[::-1]
    one_of_each = hkl[order[np.unique(family[order], return_index=True)[1]]]
    strongest = np.argsort(-np.abs(structure_factors(whole, one_of_each)), kind="stable")
    return whole, hkl, family, one_of_each, strongest
