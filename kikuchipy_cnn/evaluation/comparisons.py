# SPDX-License-Identifier: GPL-3.0-or-later

"""Quality and orientations of the patterns that were classified right and wrong."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import numpy as np
from orix.quaternion import Rotation
from orix.quaternion.symmetry import Symmetry, get_point_group
from orix.vector import Vector3d
from scipy.spatial.distance import cdist
from scipy.stats import mannwhitneyu
from sklearn.metrics import roc_auc_score

from kikuchipy_cnn.space_groups import laue_group
from kikuchipy_cnn.training.labelled import LabelledPatterns

__all__ = [
    "Directions",
    "OrientationComparison",
    "QualityComparison",
    "compare_orientations",
    "compare_quality",
    "crystal_directions",
]

# Right and wrong directions that are compared at most, each: all pairs of them are looked at.
_MOST_DIRECTIONS = 1000
_N_PERMUTATIONS = 999


class QualityComparison(NamedTuple):
    """Quality of the patterns that were classified right and wrong.

    All but the numbers of patterns are not a number where it cannot be told: without right or
    without wrong patterns.

    Parameters
    ----------
    median_right, median_wrong
        Medians of the quality.
    auc
        Probability that a right pattern has a higher quality than a wrong one (area under the
        receiver operating characteristic): 0.5 if quality says nothing, 1 if it decides.
    p_value
        Probability of a difference like this by chance (Mann and Whitney, Ann. Math. Stat. 18
        (1947) 50, two-sided).
    n_right, n_wrong
        Numbers of patterns.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn.evaluation import evaluate
    >>> from kikuchipy_cnn.training import LabelledPatterns
    >>> s = kp.data.nickel_ebsd_small()
    >>> patterns = LabelledPatterns.from_signals({225: {"Ni": s}})
    >>> evaluation = evaluate(
    ...     "fast_fewshot", patterns, show_progressbar=False
    ... )
    >>> comparison = evaluation.compare_quality()
    >>> comparison.n_right + comparison.n_wrong
    9
    >>> 0 <= comparison.auc <= 1
    True
    """

    median_right: float
    median_wrong: float
    auc: float
    p_value: float
    n_right: int
    n_wrong: int


class OrientationComparison(NamedTuple):
    """Orientations of the patterns that were classified right and wrong.

    Numbers other than those of patterns are not a number without right or without wrong patterns.

    Parameters
    ----------
    laue_group
        Laue group of the crystals.
    distance
        Distance of both distributions of directions, from 0, alike, to 1, nothing in common: the
        energy coefficient of inhomogeneity (Székely and Rizzo, J. Stat. Plan. Inference 143 (2013)
        1249).
    by_chance
        Mean of that distance if right and wrong are shuffled among the patterns of each material.
    p_value
        Part of the shufflings with at least this distance.
    n_right, n_wrong
        Numbers of patterns of known orientation.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn.evaluation import evaluate
    >>> from kikuchipy_cnn.training import LabelledPatterns
    >>> s = kp.data.nickel_ebsd_small()
    >>> patterns = LabelledPatterns.from_signals({225: {"Ni": s}})
    >>> evaluation = evaluate(
    ...     "fast_fewshot", patterns, show_progressbar=False
    ... )
    >>> comparison = evaluation.compare_orientations()[0]
    >>> comparison.laue_group
    'm-3m'
    >>> comparison.n_right + comparison.n_wrong
    9
    >>> 0 < comparison.p_value <= 1
    True
    """

    laue_group: str
    distance: float
    by_chance: float
    p_value: float
    n_right: int
    n_wrong: int


class Directions(NamedTuple):
    """Crystal directions along the normal of the sample, for an inverse pole figure.

    Parameters
    ----------
    symmetry
        Laue group.
    places
        Indices of the patterns, of shape (n,).
    vectors
        Unit vectors in the fundamental sector, of shape (n, 3). The twofold axis of monoclinic
        crystals is taken along c, as orix has it.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn.evaluation import evaluate
    >>> from kikuchipy_cnn.training import LabelledPatterns
    >>> s = kp.data.nickel_ebsd_small()
    >>> patterns = LabelledPatterns.from_signals({225: {"Ni": s}})
    >>> evaluation = evaluate(
    ...     "fast_fewshot", patterns, show_progressbar=False
    ... )
    >>> directions = evaluation.crystal_directions()["m-3m"]
    >>> directions.symmetry.name
    'm-3m'
    >>> directions.vectors.shape
    (9, 3)
    """

    symmetry: Symmetry
    places: np.ndarray
    vectors: np.ndarray


def compare_quality(right: np.ndarray, quality: np.ndarray) -> QualityComparison:
    """Compare the quality of right and wrong patterns.

    Parameters
    ----------
    right
        Whether each pattern is right, of shape (n,).
    quality
        Quality of the patterns, of shape (n,). Those without, not a number, are left out.

    Returns
    -------
    comparison
        Medians, and whether the difference is one.
    """
    finite = np.isfinite(quality)
    flags, quality = right[finite], quality[finite]
    of_right, of_wrong = quality[flags], quality[~flags]
    if len(of_right) and len(of_wrong):
        area = float(roc_auc_score(flags, quality))
        p_value = float(mannwhitneyu(of_right, of_wrong).pvalue)
    else:
        area = p_value = float("nan")
    return QualityComparison(
        _median(of_right), _median(of_wrong), area, p_value, len(of_right), len(of_wrong)
    )


def crystal_directions(patterns: LabelledPatterns) -> dict[str, Directions]:
    """Crystal directions along the sample's normal of all patterns of known orientation.

    Parameters
    ----------
    patterns
        Patterns.

    Returns
    -------
    directions
        Directions by Laue group.
    """
    known = np.flatnonzero(np.isfinite(patterns.rotation).all(axis=1))
    groups = patterns.labels("Laue group")[known]
    directions = {}
    for name in sorted(set(groups.tolist())):
        places = known[groups == name]
        symmetry = _laue_symmetry(name)
        vectors = Rotation(patterns.rotation[places]) * Vector3d.zvector()
        reduced = vectors.in_fundamental_sector(symmetry).unit
        directions[name] = Directions(symmetry, places, reduced.data.reshape(-1, 3))
    return directions


def compare_orientations(
    groups: Mapping[str, Directions], right: np.ndarray, materials: np.ndarray, seed: int
) -> list[OrientationComparison]:
    """Compare the directions of right and wrong patterns.

    Parameters
    ----------
    groups
        Directions by Laue group.
    right
        Whether each pattern is right, of shape (n,).
    materials
        Number of each pattern's material, of shape (n,). Right and wrong are shuffled within each.
    seed
        Seed of the draws.

    Returns
    -------
    comparisons
        One for each Laue group.
    """
    comparisons = []
    for name, directions in groups.items():
        rng = np.random.default_rng(seed)
        flags = right[directions.places]
        n_right, n_wrong = int(flags.sum()), int((~flags).sum())
        numbers = (float("nan"),) * 3
        if n_right and n_wrong:
            chosen = np.concatenate(
                [
                    rng.permutation(np.flatnonzero(side))[:_MOST_DIRECTIONS]
                    for side in (flags, ~flags)
                ]
            )
            strata = materials[directions.places[chosen]]
            numbers = _compare(directions.vectors[chosen], flags[chosen], strata, rng)
        comparisons.append(OrientationComparison(name, *numbers, n_right, n_wrong))
    return comparisons


def _compare(
    vectors: np.ndarray, flags: np.ndarray, strata: np.ndarray, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Energy distance between flagged and other vectors, by chance, and its p value."""
    # Column 0 is as it is; in the others the flags are shuffled within each stratum.
    shuffled = np.repeat(flags[:, np.newaxis], 1 + _N_PERMUTATIONS, axis=1).astype(float)
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        shuffled[rows, 1:] = rng.permuted(shuffled[rows, 1:], axis=0)
    n_first, n_second = flags.sum(), (~flags).sum()
    distances = cdist(vectors, vectors)
    to_first = distances @ shuffled
    # Sums of distances over all pairs: both flagged, all to flagged, and all.
    first, all_to_first, total = (
        (shuffled * to_first).sum(axis=0), to_first.sum(axis=0), distances.sum()
    )  # fmt: skip
    between = (all_to_first - first) / (n_first * n_second)
    within = first / n_first**2 + (total - 2 * all_to_first + first) / n_second**2
    # One direction throughout has no distances at all.
    coefficients = np.maximum(1 - within / np.maximum(2 * between, np.finfo(float).tiny), 0)
    observed, by_chance = coefficients[0], coefficients[1:]
    n_as_far = (by_chance >= observed - 1e-9).sum()
    return float(observed), float(by_chance.mean()), float((1 + n_as_far) / (1 + len(by_chance)))


@cache
def _laue_symmetry(name: str) -> Symmetry:
    """Laue group as orix has it."""
    # The last of its space groups has all its symmetry; orix finds no Laue group for some others.
    return get_point_group(max(i for i in range(1, 231) if laue_group(i) == name))


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else float("nan")
