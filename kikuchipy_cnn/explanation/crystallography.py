# SPDX-License-Identifier: GPL-3.0-or-later

"""How much of an explanation lies where the crystal has zone axes and bands."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kikuchipy_cnn._checks import check_integer
from kikuchipy_cnn._tables import aligned
from kikuchipy_cnn.explanation.attributions import Attributions
from kikuchipy_cnn.simulation.phases.reflectors import strongest_reflectors
from kikuchipy_cnn.space_groups import label_text

if TYPE_CHECKING:
    from kikuchipy.detectors import EBSDDetector
    from kikuchipy.signals import EBSD
    from kikuchipy.simulations import GeometricalKikuchiPatternSimulation
    from orix.crystal_map import Phase
    from orix.quaternion import Rotation

SIGNS = {"both": np.abs, "positive": lambda x: x.clip(min=0), "negative": lambda x: -x.clip(max=0)}
_INDEX_FIRST = "Index it first, for example with signal.hough_indexing(), and set signal.xmap."


@dataclass(frozen=True, eq=False)
class Share:
    """Part of an attribution that lies in a region, and what is to be expected.

    What is of values is not a number where all of them are 0; what is by chance, where no random
    orientation has the region in sight.

    Parameters
    ----------
    observed
        Part of the magnitude of the values that is in the region, of shape (n, k).
    chance
        What it would be by chance, of shape (n, k): the area, times the mean of observed part by
        area over crystals in random orientations, whose regions lie elsewhere.
    spread
        Standard deviation of this, of shape (n, k).
    p_value
        Part of random orientations with at least as large a part for their area, of shape (n, k).
    area
        Part of the pattern's area that is in the region, of shape (n,).
    contrast
        Part of the magnitude of the preprocessed pattern that is in the region, of shape (n,).
        Values that follow nothing but contrast would be there to the same part.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn import explanation, simulation
    >>> s = kp.data.nickel_ebsd_small()
    >>> regions = explanation.explain(
    ...     s,
    ...     [(0, 2), (1, 0)],
    ...     model="fast_fewshot",
    ...     method="gradcam",
    ...     show_progressbar=False,
    ... )
    >>> nickel = simulation.load_phases([225])["Ni"]
    >>> rotations, detector = explanation.orientations_at(
    ...     s, regions.places
    ... )
    >>> shares = explanation.crystallographic_shares(
    ...     regions, nickel, rotations, detector, n_random=20
    ... )
    >>> shares.zone_axes.observed.shape  # patterns and classes
    (2, 1)
    >>> shares.zone_axes.area.round(2)
    array([0.08, 0.07])
    """

    observed: np.ndarray
    chance: np.ndarray
    spread: np.ndarray
    p_value: np.ndarray
    area: np.ndarray
    contrast: np.ndarray


@dataclass(frozen=True, eq=False)
class CrystallographicShares:
    """Parts of attributions that lie near zone axes and in bands.

    Parameters
    ----------
    zone_axes, bands
        Parts in these regions.
    attributions
        What they are parts of.
    within
        Largest angle from a zone axis in degrees.
    families
        Miller indices of one of each family of planes whose bands count, of shape (families, 3).

    Examples
    --------
    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn import explanation, simulation
    >>> s = kp.data.nickel_ebsd_small()
    >>> regions = explanation.explain(
    ...     s,
    ...     [(0, 2), (1, 0)],
    ...     model="fast_fewshot",
    ...     method="gradcam",
    ...     show_progressbar=False,
    ... )
    >>> nickel = simulation.load_phases([225])["Ni"]
    >>> rotations, detector = explanation.orientations_at(
    ...     s, regions.places
    ... )
    >>> shares = explanation.crystallographic_shares(
    ...     regions, nickel, rotations, detector, n_random=20
    ... )
    >>> shares.within, shares.families.tolist()
    (3.0, [[1, 1, 1], [2, 0, 0], [2, 2, 0]])
    >>> print(shares.table())
    pattern  class  region  values  chance ...
    """

    zone_axes: Share
    bands: Share
    attributions: Attributions
    within: float
    families: np.ndarray

    def table(self) -> str:
        """Return a table of the parts for each pattern and class.

        Returns
        -------
        table
            Lines of aligned text, one for zone axes and one for bands, below their headings.
        """
        # Indices of more than one digit, or with a sign, would run into each other.
        between = "" if np.isin(self.families, range(10)).all() else " "
        families = " ".join(f"{{{between.join(map(str, hkl))}}}" for hkl in self.families.tolist())
        regions = {f"within {self.within:g} deg of zone axes": self.zone_axes, families: self.bands}
        rows = [
            ("pattern", "class", "region", "values", "chance", "p", "area", "contrast"),
        ]
        for i, explained in enumerate(self.attributions.explained):
            for k, position in enumerate(explained):
                for name, share in regions.items():
                    rows.append(
                        (
                            self.attributions.place_text(i),
                            label_text(self.attributions.classes.labels[position]),
                            name,
                            f"{share.observed[i, k]:.3f}",
                            f"{share.chance[i, k]:.3f} +- {share.spread[i, k]:.3f}",
                            f"{share.p_value[i, k]:.3f}",
                            f"{share.area[i]:.3f}",
                            f"{share.contrast[i]:.3f}",
                        )
                    )
        return aligned(rows, n_left=3)


def crystallographic_shares(
    attributions: Attributions,
    phase: Phase,
    rotations: Rotation,
    detector: EBSDDetector,
    *,
    within: float = 3.0,
    max_index: int = 2,
    energy: float = 20.0,
    sign: str = "both",
    details: bool = False,
    n_random: int = 200,
    seed: int = 0,
) -> CrystallographicShares:
    """Measure how much of an attribution lies near zone axes and in Kikuchi bands.

    Whether that is more than chance is told by crystals in random orientations, whose regions lie
    elsewhere. That a network looks at the middle of patterns more than at their edges does not
    count as looking at zone axes.

    Parameters
    ----------
    attributions
        What explains n patterns.
    phase
        Phase with atoms and a lattice in angstrom.
    rotations
        Orientation of each pattern's crystal, from the sample's to the crystal's frame, n in all.
    detector
        Detector with one projection center, or one for each of the n patterns.
    within
        Largest angle from a zone axis in degrees.
    max_index
        Largest of the indices u, v and w of zone axes [uvw].
    energy
        Of the electrons, in keV, which sets the width of bands.
    sign
        Which values count, by their magnitude: ``"both"``, ``"positive"`` ones, for a class, or
        ``"negative"`` ones, against it.
    details
        Whether to take the details of guided Grad-CAM instead of the values.
    n_random
        Number of random orientations.
    seed
        Seed of these.

    Returns
    -------
    shares
        Parts near zone axes, and within the Bragg angle of the planes of the strongest families of
        reflectors, as many as cover at most half of all directions.

    Raises
    ------
    ValueError
        If numbers of rotations or projection centers, or shapes, do not fit the patterns, the phase
        has no atoms or a lattice in nanometres, or another argument is unusable.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn import explanation, simulation
    >>> s = kp.data.nickel_ebsd_small()
    >>> regions = explanation.explain(
    ...     s,
    ...     (0, 2),
    ...     model="fast_fewshot",
    ...     method="gradcam",
    ...     show_progressbar=False,
    ... )
    >>> nickel = simulation.load_phases([225])["Ni"]
    >>> rotations, detector = explanation.orientations_at(
    ...     s, regions.places
    ... )
    >>> shares = explanation.crystallographic_shares(
    ...     regions, nickel, rotations, detector, n_random=20
    ... )
    >>> shares.zone_axes.observed.shape, shares.bands.observed.shape
    ((1, 1), (1, 1))
    """
    from kikuchipy_cnn.simulation.projection import (
        detector_geometry,
        detector_to_crystal,
        random_rotations,
    )

    check_integer("n_random", n_random, 1)
    check_integer("max_index", max_index, 1)
    if sign not in SIGNS:
        raise ValueError(f"sign={sign!r}, but it must be one of {', '.join(SIGNS)}.")
    if not 0 < within < 90:
        raise ValueError(f"within={within}, but it must be an angle between 0 and 90 degrees.")
    all_values = attributions.chosen(details)
    _check_geometry(attributions, rotations, detector)
    reflectors, families = strongest_reflectors(phase, energy)
    regions = _Regions(
        _zone_axes(phase, max_index),
        np.cos(np.deg2rad(within)),
        reflectors.unit.data,
        np.sin(reflectors.theta),
    )
    transform = attributions.transform
    inside = attributions.inside
    centers = np.broadcast_to(detector_geometry(detector)[:, :3], (len(attributions), 3))
    given = detector_to_crystal(rotations, detector)
    random = random_rotations(n_random, np.random.default_rng(seed))

    parts = []
    for i, center in enumerate(centers):
        directions = _directions(attributions.patterns.shape[1:], transform.size, center)[inside]
        weights = [np.ones(inside.sum()), np.abs(attributions.images[i][inside])]
        weights += [SIGNS[sign](values[inside]) for values in all_values[i]]
        # Where there are no values of a sign, there is no telling where they are.
        weights = np.array([w / w.sum() if w.any() else np.full(w.size, np.nan) for w in weights])
        of_crystal = np.array(regions(directions @ given[i].T)) @ weights.T
        of_random = [np.array(regions(directions @ matrix.T)) @ weights.T for matrix in random]
        parts.append((of_crystal, np.array(of_random)))
    return CrystallographicShares(
        *(_as_share(parts, region) for region in range(2)),
        attributions,
        within,
        families,
    )


def geometrical_simulations(
    phase: Phase,
    rotations: Rotation,
    detector: EBSDDetector,
    *,
    energy: float = 20.0,
) -> list[GeometricalKikuchiPatternSimulation]:
    """Simulate where Kikuchi lines and zone axes lie, by kikuchipy.

    Parameters
    ----------
    phase
        Phase with atoms and a lattice in angstrom.
    rotations
        Orientations, n in all.
    detector
        Detector with one projection center, or one for each of the n patterns.
    energy
        Of the electrons, in keV.

    Returns
    -------
    simulations
        One of each pattern, of the reflectors that :func:`crystallographic_shares` takes.

    Raises
    ------
    ValueError
        If the phase has no atoms or a lattice in nanometres, or numbers do not fit.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn import explanation, simulation
    >>> s = kp.data.nickel_ebsd_small()
    >>> nickel = simulation.load_phases([225])["Ni"]
    >>> rotations, detector = explanation.orientations_at(s, ((0, 2),))
    >>> simulations = explanation.geometrical_simulations(
    ...     nickel, rotations, detector
    ... )
    >>> len(simulations)
    1
    """
    from kikuchipy.simulations import KikuchiPatternSimulator

    reflectors, _ = strongest_reflectors(phase, energy)
    simulator = KikuchiPatternSimulator(reflectors)
    rotations = rotations.flatten()
    _check_number_of_centers(detector, rotations.size)
    centers = np.broadcast_to(detector.pc_flattened, (rotations.size, 3))
    simulations = []
    for rotation, center in zip(rotations, centers, strict=True):
        of_pattern = detector.deepcopy()
        of_pattern.pc = center
        # kikuchipy shows three progress bars for each.
        with contextlib.redirect_stdout(io.StringIO()):
            simulations.append(simulator.on_detector(of_pattern, rotation))
    return simulations


def orientations_at(
    signal: EBSD, places: tuple[tuple[int, ...], ...]
) -> tuple[Rotation, EBSDDetector]:
    """Take orientations and projection centers of some patterns from their signal.

    Parameters
    ----------
    signal
        Signal with an indexed crystal map and a detector.
    places
        Of the patterns, see :class:`Attributions`.

    Returns
    -------
    rotations
        Best orientation of each, from the signal's crystal map.
    detector
        Detector with a projection center for each.

    Raises
    ------
    ValueError
        If the signal has no crystal map, or one with identity for all orientations, or a pattern is
        not indexed in it.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn.explanation import orientations_at
    >>> s = kp.data.nickel_ebsd_small()
    >>> rotations, detector = orientations_at(s, ((0, 2), (1, 0)))
    >>> rotations.shape, detector.pc.shape
    ((2,), (2, 3))
    """
    from orix.quaternion import Rotation

    shape = signal.data.shape[:-2]
    xmap, detector = signal.xmap, signal.detector.deepcopy()
    n_points = int(np.prod(shape))
    if xmap is None or n_points not in (xmap.size, xmap.is_in_data.size):
        raise ValueError(
            f"The signal has no crystal map with an orientation for each pattern. {_INDEX_FIRST}"
        )
    numbers = [int(np.ravel_multi_index(place, shape)) if shape else 0 for place in places]
    # The map of a sliced signal knows of the whole one, but what is in data is of the slice.
    is_in_data = np.ones(n_points, bool) if xmap.size == n_points else xmap.is_in_data
    rows = np.cumsum(is_in_data) - 1
    missing = [
        place
        for place, number in zip(places, numbers, strict=True)
        if not is_in_data[number] or xmap.phase_id[rows[number]] == -1
    ]
    if missing:
        raise ValueError(f"The pattern at {missing[0]} is not indexed in the signal's crystal map.")
    best = xmap.rotations.data.reshape(xmap.size, -1, 4)[:, 0]
    # kikuchipy gives signals from files a crystal map, indexed or not.
    if np.allclose(np.abs(best), (1, 0, 0, 0)):
        raise ValueError(
            "All orientations in the signal's crystal map are identity, as in one that was never "
            f"indexed. {_INDEX_FIRST}"
        )
    if detector.navigation_size > 1:
        detector.pc = detector.pc_flattened[numbers]
    return Rotation(best[rows[numbers]]), detector


class _Regions:
    """Tells which directions are near zone axes, and which in bands."""

    def __init__(
        self, axes: np.ndarray, cosine: float, normals: np.ndarray, sines: np.ndarray
    ) -> None:
        self._axes, self._cosine = axes, cosine
        self._normals, self._sines = normals, sines

    def __call__(self, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        near = (np.abs(directions @ self._axes.T) >= self._cosine).any(axis=1)
        within = (np.abs(directions @ self._normals.T) <= self._sines).any(axis=1)
        return near, within


def _zone_axes(phase: Phase, max_index: int) -> np.ndarray:
    """Unit vectors of all directions of low indices, but for their opposites, of shape (n, 3)."""
    from orix.vector import Miller

    indices = np.stack(
        np.meshgrid(*[np.arange(-max_index, max_index + 1)] * 3, indexing="ij"), axis=-1
    ).reshape(-1, 3)
    # Of [uvw], multiples and the opposite one is enough: the first index that is not 0 is positive.
    lowest = np.gcd.reduce(indices, axis=1) == 1
    first = np.take_along_axis(indices, (indices != 0).argmax(axis=1)[:, None], axis=1)[:, 0]
    return Miller(uvw=indices[lowest & (first > 0)], phase=phase).unit.data


def _directions(shape: tuple[int, int], size: int, center: np.ndarray) -> np.ndarray:
    """Unit vectors to the network's pixels, in the detector's frame, of shape (size, size, 3)."""
    rows, columns = shape
    pcx, pcy, pcz = center
    # Pixels of the network in those of the pattern, from its middle.
    steps = (np.arange(size) + 0.5 - size / 2) * max(shape) / size
    x = ((steps / columns + 0.5) - pcx) * columns / rows / pcz
    y = (pcy - (steps / rows + 0.5)) / pcz
    directions = np.stack([*np.meshgrid(x, y), np.ones((size, size))], axis=-1)
    return directions / np.linalg.norm(directions, axis=-1, keepdims=True)


def _as_share(parts: list[tuple[np.ndarray, np.ndarray]], region: int) -> Share:
    observed, chance, spread, p_value, area, contrast = [], [], [], [], [], []
    for of_crystal, of_random in parts:
        own_area, own_contrast, *own = of_crystal[region]
        areas, random = of_random[:, region, 0], of_random[:, region, 2:]
        # In some orientations no zone axis is in sight.
        densities = random[areas > 0] / areas[areas > 0, None]
        if not len(densities):
            densities = np.full((1, len(own)), np.nan)
        expected = own_area * densities
        as_large = (expected >= own).sum(axis=0)
        observed.append(own)
        chance.append(expected.mean(axis=0))
        spread.append(expected.std(axis=0))
        # The crystal's own orientation is one of those that are possible.
        has_values = ~np.isnan(expected).any(axis=0)
        p_value.append(np.where(has_values, (1 + as_large) / (1 + len(expected)), np.nan))
        area.append(own_area)
        contrast.append(own_contrast)
    return Share(*map(np.array, (observed, chance, spread, p_value, area, contrast)))


def _check_geometry(
    attributions: Attributions, rotations: Rotation, detector: EBSDDetector
) -> None:
    n = len(attributions)
    if rotations.size != n:
        raise ValueError(f"{rotations.size} rotations given for {n} patterns. Give one of each.")
    if detector.shape != attributions.patterns.shape[1:]:
        raise ValueError(
            f"The detector has shape {detector.shape}, but the patterns have "
            f"{attributions.patterns.shape[1:]}."
        )
    _check_number_of_centers(detector, n)


def _check_number_of_centers(detector: EBSDDetector, n: int) -> None:
    if detector.navigation_size not in (1, n):
        raise ValueError(
            f"The detector has {detector.navigation_size} projection centers for {n} patterns. "
            "Give one, or one of each."
        )
