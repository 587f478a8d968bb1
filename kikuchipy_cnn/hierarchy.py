# SPDX-License-Identifier: GPL-3.0-or-later

"""Coarser answers: lattice centrings and Laue groups from the probabilities of space groups.

A pattern that does not tell 221 from 225 may still tell one lattice or one Laue group from others.
"""

from __future__ import annotations

import numpy as np
from orix.crystal_map import CrystalMap, Phase, PhaseList
from orix.quaternion import Rotation

from kikuchipy_cnn.crystal_map import (
    classes_from_crystal_map,
    map_like,
    of_all_points,
    point_properties,
)
from kikuchipy_cnn.label_classes import LabelClasses
from kikuchipy_cnn.space_groups import Classes, SpaceGroupClasses, distinct_colors
from kikuchipy_cnn.uncertainty.rejection import RejectReason

__all__ = ["coarse_classes", "coarser_map", "resolved_map", "sum_up"]

# Phase IDs of coarser answers start beyond the numbers of space groups.
_FIRST_ID = {"centring": 301, "Laue group": 401}
_TITLES = {"centring": "{} lattice", "Laue group": "Laue group {}"}


def coarse_classes(classes: Classes, level: str) -> LabelClasses:
    """Classes that space groups fall into.

    Parameters
    ----------
    classes
        Classes, which should be space groups.
    level
        ``"centring"`` or ``"Laue group"``.

    Returns
    -------
    coarse
        Classes in ascending order.

    Raises
    ------
    ValueError
        If there is no such level, the classes are no space groups, or all of them share it.
    """
    names = _names_by_level(classes)
    if level not in names:
        raise ValueError(
            f"level={level!r}, but a model of space groups tells only one of 'space group', "
            f"{', '.join(map(repr, names))}."
        )
    names = sorted(set(names[level]))
    if len(names) == 1:
        raise ValueError(
            f"All space groups of the model, {', '.join(map(str, classes.ids))}, have the {level} "
            f"{names[0]!r}, so there is nothing to tell apart."
        )
    return LabelClasses(tuple(names))


def sum_up(
    classes: Classes, probabilities: np.ndarray, level: str
) -> tuple[LabelClasses, np.ndarray]:
    """Sum the probabilities of space groups that share a centring or a Laue group.

    Parameters
    ----------
    classes
        Classes, which should be space groups.
    probabilities
        Their probabilities, of shape (n, n classes).
    level
        ``"centring"`` or ``"Laue group"``.

    Returns
    -------
    coarse
        Classes in ascending order.
    sums
        Probabilities of shape (n, n coarse classes).

    Raises
    ------
    ValueError
        As :func:`coarse_classes` does.
    """
    coarse = coarse_classes(classes, level)
    by_centring = level == "centring"
    columns = (classes.sum_by_centring if by_centring else classes.sum_by_laue_group)(probabilities)
    return coarse, np.stack([columns[name] for name in coarse.names], axis=1)


def coarser_map(xmap: CrystalMap, level: str = "centring") -> CrystalMap:
    """Return the map of lattice centrings or Laue groups that belongs to a map of space groups.

    Parameters
    ----------
    xmap
        Crystal map from :func:`~kikuchipy_cnn.classify_space_group`.
    level
        ``"centring"`` (P, I, F and so on) or ``"Laue group"``.

    Returns
    -------
    coarse
        Map of the same points, with the most probable centring or Laue group as phase (IDs 1, 2 and
        so on in alphabetical order), and scores, entropy, margin and probabilities (``p_F`` and so
        on) summed from those of the space groups. Points that were not indexed stay so.

    Raises
    ------
    ValueError
        If the map is not one of space groups, there is no such level, or all of the model's space
        groups share it.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> import kikuchipy_cnn
    >>> s = kp.data.nickel_ebsd_small()
    >>> xmap = s.classify_space_group(
    ...     "fast_fewshot", show_progressbar=False
    ... )
    Space group classification information:
    ...
    >>> coarse = kikuchipy_cnn.coarser_map(xmap, "centring")
    >>> coarse[1, 2].phases_in_data.names
    ['F']
    """
    classes = classes_from_crystal_map(xmap)
    coarse, sums = sum_up(classes, _probabilities(xmap, classes), level)
    return _with_phases(
        xmap,
        np.where(xmap.phase_id == -1, -1, np.array(coarse.ids)[sums.argmax(axis=1)]),
        coarse.phase_list(),
        point_properties(sums, coarse, xmap.phase_id != -1),
    )


def resolved_map(xmap: CrystalMap, confidence: float = 0.9) -> CrystalMap:
    """Return the finest answer of each point that is probable enough.

    A point is given its space group where that is probable enough, otherwise its lattice centring,
    otherwise its Laue group, otherwise nothing. A Laue group or centring that all of the model's
    space groups share is not an answer.

    Parameters
    ----------
    xmap
        Crystal map from :func:`~kikuchipy_cnn.classify_space_group`.
    confidence
        Least probability of what is said of a point, above 0.5 and up to 1.

    Returns
    -------
    resolved
        Map of the same points. Phase IDs are the numbers of space groups, from 301 for centrings
        ("F lattice") and from 401 for Laue groups ("Laue group m-3m"), both numbered in
        alphabetical order, and -1 where nothing is probable enough. The scores are probabilities of
        what is said; entropy, margin and the probabilities of the space groups are kept. To see
        other levels, pass the map that this one was made of.

    Raises
    ------
    ValueError
        If the map is not one of space groups, or the confidence is out of range.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> import kikuchipy_cnn
    >>> s = kp.data.nickel_ebsd_small()
    >>> xmap = s.classify_space_group(
    ...     "fast_fewshot", show_progressbar=False
    ... )
    Space group classification information:
    ...
    >>> resolved = kikuchipy_cnn.resolved_map(xmap, confidence=0.7)
    >>> resolved[1, 2].phases_in_data.names
    ['Fm-3m']
    >>> resolved[0, 0].phases_in_data.names
    ['F lattice']
    """
    if not 0.5 < confidence <= 1:
        raise ValueError(f"confidence={confidence} must be above 0.5 and not above 1.")
    classes = classes_from_crystal_map(xmap)
    names = _names_by_level(classes)
    probabilities = _probabilities(xmap, classes)
    phases = dict(classes.phase_list())
    colors = (i for i in distinct_colors(4 * len(classes)) if i not in classes.colors)
    phase_id, scores = np.full(xmap.size, -1), np.zeros(xmap.size, probabilities.dtype)
    # Too doubtful a space group may still be of a sure lattice.
    eligible = xmap.phase_id != -1
    if "reject_reason" in xmap.prop:
        eligible |= xmap.prop["reject_reason"] == RejectReason.DOUBTFUL

    def answer(ids: np.ndarray, columns: np.ndarray) -> None:
        best = columns.max(axis=1)
        # Sums of rounded numbers may miss one by a little.
        chosen = (best >= confidence - 1e-6) & eligible
        phase_id[chosen] = ids[columns.argmax(axis=1)][chosen]
        scores[chosen] = best[chosen]

    # What is finer overwrites what is coarser.
    for level in ("Laue group", "centring"):
        if len(set(names[level])) == 1:
            # That all classes of the model share it says nothing of the pattern.
            continue
        coarse, sums = sum_up(classes, probabilities, level)
        ids = _FIRST_ID[level] + np.arange(len(coarse))
        answer(ids, sums)
        for new_id, name in zip(ids, coarse.names, strict=True):
            phases[int(new_id)] = Phase(_TITLES[level].format(name), color=next(colors))
    answer(np.array(classes.ids), probabilities)
    properties = {name: xmap.prop[name] for name in xmap.prop} | {"scores": scores}
    if "reject_reason" in properties:
        answered = phase_id != -1
        properties["reject_reason"] = np.where(
            answered, RejectReason.INDEXED, properties["reject_reason"]
        )
    return _with_phases(xmap, phase_id, PhaseList(phases), properties)


def _names_by_level(classes: Classes) -> dict[str, tuple[str, ...]]:
    """Centring and Laue group of each class, which must be a space group."""
    if not isinstance(classes, SpaceGroupClasses):
        raise ValueError(
            f"The model's classes {', '.join(classes.names)} are no space groups, which could be "
            "summed up."
        )
    return {"centring": classes.lattice_centrings, "Laue group": classes.laue_groups}


def _probabilities(xmap: CrystalMap, classes: Classes) -> np.ndarray:
    return np.stack([xmap.prop[name] for name in classes.properties], axis=1)


def _with_phases(
    xmap: CrystalMap, phase_id: np.ndarray, phases: PhaseList, properties: dict[str, np.ndarray]
) -> CrystalMap:
    """Map of the same points with other phases and properties."""
    in_data = xmap.is_in_data
    quaternions = of_all_points(xmap.rotations.data, in_data, (1.0, 0.0, 0.0, 0.0))
    return map_like(
        xmap,
        phases,
        phase_id=of_all_points(phase_id, in_data, -1),
        rotations=Rotation(quaternions),
        properties={name: of_all_points(values, in_data) for name, values in properties.items()},
    )
