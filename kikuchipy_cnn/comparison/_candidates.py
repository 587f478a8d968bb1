# SPDX-License-Identifier: GPL-3.0-or-later

"""Candidate phases, and what is known of each in the points of a map."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from orix.crystal_map import CrystalMap, Phase, PhaseList

from kikuchipy_cnn._patterns import check_data_type, checked_mask, scan_geometry
from kikuchipy_cnn._phases import listed
from kikuchipy_cnn.crystal_map import map_of_points
from kikuchipy_cnn.space_groups import distinct_colors, space_group_color

if TYPE_CHECKING:
    from kikuchipy.detectors import EBSDDetector
    from kikuchipy.signals import EBSD

__all__ = [
    "candidates_of",
    "checked_detector",
    "crystal_map_of",
    "property_of_phase",
    "used_points",
]


def candidates_of(
    phases: PhaseList | Mapping[int, Phase] | Iterable[Phase],
) -> dict[int, Phase]:
    """Return candidate phases by the IDs that they get in a map.

    Parameters
    ----------
    phases
        Phases in the order in which they are tried.

    Returns
    -------
    candidates
        Phases in their order, by the numbers of their space groups if
        these differ, otherwise by the IDs that they have, or from 0.

    Raises
    ------
    TypeError
        If one is no phase.
    ValueError
        If there is none, two have the same name, or one has no name or
        no space group.
    """
    given = listed(phases)
    others = [i for i in given.values() if not isinstance(i, Phase)]
    if others:
        raise TypeError(f"{others[0]!r} must be of type {Phase}")
    if not given:
        raise ValueError("There is no candidate phase: give at least one")
    names = [phase.name for phase in given.values()]
    for phase in given.values():
        if not phase.name or names.count(phase.name) > 1:
            raise ValueError(
                f"The phases have the names {names}: give each a name of its own, by which its "
                "scores are told from those of others"
            )
        if phase.space_group is None:
            raise ValueError(
                f"Phase {phase.name!r} has no space group, from which its symmetry follows: set "
                "phase.space_group"
            )
    numbers = [phase.space_group.number for phase in given.values()]
    ids = numbers if len(set(numbers)) == len(numbers) else list(given)
    return dict(zip(ids, given.values(), strict=True))


def checked_detector(signal: EBSD, detector: EBSDDetector | None) -> EBSDDetector:
    """Return a detector that fits the patterns of a signal.

    Parameters
    ----------
    signal
        Patterns.
    detector
        Detector. If not given, that of the signal.

    Returns
    -------
    detector
        Detector of one projection center, or one for each pattern.

    Raises
    ------
    ValueError
        If its shape, or the number of its projection centers, is not that of the patterns.
    """
    detector = signal.detector if detector is None else detector
    shape, n = signal.data.shape[-2:], int(np.prod(signal.data.shape[:-2]))
    if detector.shape != shape:
        raise ValueError(
            f"The detector has the shape {detector.shape}, but the patterns have {shape}: give the "
            "detector of these patterns"
        )
    if detector.navigation_size not in (1, n):
        raise ValueError(
            f"The detector has {detector.navigation_size} projection centers for {n} patterns: "
            "give one, or one for each"
        )
    return detector


def property_of_phase(quantity: str, phase: Phase) -> str:
    """Return the name of the map property of a quantity of a phase.

    Parameters
    ----------
    quantity
        Quantity, such as "fit".
    phase
        Phase.

    Notes
    -----
    "/" is written ":", as HDF5 takes it for a group.
    """
    return f"{quantity}_{phase.name}".replace("/", ":")


def used_points(signal: EBSD, navigation_mask: np.ndarray | None) -> np.ndarray:
    """Return which patterns of a signal are to be indexed.

    Parameters
    ----------
    signal
        Patterns.
    navigation_mask
        Boolean mask of the map's shape, True for the patterns to leave out.

    Returns
    -------
    used
        Booleans of shape (n patterns,).

    Raises
    ------
    ValueError
        If the mask is unusable, or the patterns have a data type that cannot be indexed.
    """
    check_data_type(signal.data.dtype)
    shape = signal.data.shape[:-2]
    mask = checked_mask(navigation_mask, "navigation_mask", shape)
    return np.ones(int(np.prod(shape)), dtype=bool) if mask is None else ~mask.ravel()


def crystal_map_of(
    signal: EBSD,
    candidates: Mapping[int, Phase],
    best: np.ndarray,
    rotations: np.ndarray,
    properties: Mapping[str, np.ndarray],
    is_in_data: np.ndarray,
) -> CrystalMap:
    """Return the map of the candidates that fit best.

    Parameters
    ----------
    signal
        Patterns.
    candidates
        Phases by ID, see :func:`candidates_of`.
    best
        Place of the best one among the candidates, -1 if there is none,
        of shape (n points in data,).
    rotations
        Quaternions of shape (n points in data, 4).
    properties
        Properties of shape (n points in data,).
    is_in_data
        Whether each point is in data.

    Returns
    -------
    xmap
        Crystal map.
    """
    ids = np.array([*candidates, -1])
    phases = {i: phase.deepcopy() for i, phase in candidates.items()}
    for phase, color in zip(phases.values(), _colors(phases.values()), strict=True):
        phase.color = color
    return map_of_points(
        ids[best], PhaseList(phases), rotations, properties, is_in_data, **scan_geometry(signal)
    )


def _colors(phases: Iterable[Phase]) -> Sequence[str]:
    """Colors of the space groups, as those of the networks' maps, if these differ."""
    phases = list(phases)
    colors = [space_group_color(phase.space_group.number) for phase in phases]
    return colors if len(set(colors)) == len(colors) else distinct_colors(len(phases))
