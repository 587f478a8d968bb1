# SPDX-License-Identifier: GPL-3.0-or-later

"""Hough indexing with the scores of all phases."""

from __future__ import annotations

import contextlib
import io as standard_io
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from orix.crystal_map import CrystalMap, Phase, PhaseList
from tqdm import tqdm

from kikuchipy_cnn._progress import is_progress_shown
from kikuchipy_cnn._tables import aligned
from kikuchipy_cnn.comparison._candidates import (
    candidates_of,
    checked_detector,
    crystal_map_of,
    property_of_phase,
    used_points,
)
from kikuchipy_cnn.simulation.phases.reflectors import strongest_directions

if TYPE_CHECKING:
    from kikuchipy.detectors import EBSDDetector
    from kikuchipy.signals import EBSD

__all__ = ["PhaseOrderEffect", "hough_phase_map", "hough_phase_order"]

_N_BANDS = 9
_AT_ONCE = 4096
# What is known of a phase that is not found
_NOTHING = {"nmatch": 0, "fit": 180.0, "cm": 0.0}
# PyEBSDIndex's fit, in degrees, that it counts from
_WORST_FIT = 3.0
_FEWEST_BANDS = 3
_N_FAMILIES = 4


class PhaseOrderEffect(NamedTuple):
    """What the order of the phases does to a map from Hough indexing.

    Parameters
    ----------
    orders
        Names of the phases in each order that was tried.
    xmaps
        Crystal map of each order.
    n_changed
        Number of points in data whose phase is not the same in all of
        the maps.
    n_points
        Number of points in data.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn.comparison import hough_phase_order
    >>> from kikuchipy_cnn.simulation import load_phases
    >>> s = kp.data.nickel_ebsd_small()
    >>> s.remove_static_background(show_progressbar=False)
    >>> s.remove_dynamic_background(show_progressbar=False)
    >>> phases = load_phases([221, 225])
    >>> effect = hough_phase_order(
    ...     s, [phases["Ni"], phases["Ni3Al"]], show_progressbar=False
    ... )
    >>> print(effect.table())
    First to last    Ni    Ni3Al    Not indexed
    Ni, Ni3Al         9        0              0
    Ni3Al, Ni         0        9              0
    9 of 9 points change their phase with the order.
    """

    orders: tuple[tuple[str, ...], ...]
    xmaps: tuple[CrystalMap, ...]
    n_changed: int
    n_points: int

    def table(self) -> str:
        """Return how many points each phase gets in each order.

        Returns
        -------
        table
            Lines of aligned text without a line break at the end.
        """
        names = sorted(self.orders[0])
        rows = [("First to last", *names, "Not indexed")]
        for order, xmap in zip(self.orders, self.xmaps, strict=True):
            called = _names_of_points(xmap)
            counts = [np.count_nonzero(called == name) for name in (*names, "not_indexed")]
            rows.append((", ".join(order), *map(str, counts)))
        changed = f"{self.n_changed} of {self.n_points} points change their phase with the order."
        return f"{aligned(rows)}\n{changed}"


def hough_phase_map(
    signal: EBSD,
    phases: PhaseList | Mapping[int, Phase] | Iterable[Phase],
    detector: EBSDDetector | None = None,
    *,
    reflectors: Sequence | None = None,
    navigation_mask: np.ndarray | None = None,
    show_progressbar: bool | None = None,
    **indexer_settings: Any,
) -> CrystalMap:
    """Index patterns by Hough indexing, and keep the scores of all phases.

    The indexing is PyEBSDIndex's, by way of kikuchipy, whose work is to be cited with it
    (Rowenhorst et al., J Appl Cryst 57:3, 2024).

    Parameters
    ----------
    signal
        Patterns, lazy or not. Their background should be removed.
    phases
        Candidates, with space groups and unit cells. They are tried in this order.
    detector
        Detector with one projection center, or one for each pattern. If not given, that of the
        signal.
    reflectors
        Families of planes of each phase to look for, see
        :meth:`kikuchipy.detectors.EBSDDetector.get_indexer`. If not given, the strongest four by
        kinematical structure factors, and PyEBSDIndex's of phases without atoms: those of
        face-centred cubic crystals, whatever the phase.
    navigation_mask
        Boolean mask of the map's shape, True for the patterns to leave out.
    show_progressbar
        Whether to show a progress bar. If not given, HyperSpy's preference.
    **indexer_settings
        Settings of :class:`pyebsdindex.ebsd_index.EBSDIndexer`, such as ``nBands=9``, the number of
        bands to look for.

    Returns
    -------
    xmap
        Crystal map of the phases with the best product of bands and fit, the first of those that
        are equal. The IDs are the space groups' numbers if these differ. Properties:

        - nmatch: bands that match, of ``nBands``
        - fit: mean angle in degrees between these bands and the phase's
        - cm: PyEBSDIndex's confidence, from 0 to 1; also as "scores"
        - pq: quality of the pattern
        - n_tied: how many phases fit equally well, 1 if there is one best, 0 if there is none
        - nmatch_Ni, fit_Ni, cm_Ni and so on: of each phase

    Raises
    ------
    ValueError
        If a phase has no space group, or detector or mask do not fit the patterns.

    Notes
    -----
    Hough indexing compares angles between bands. Cubic phases of any size of cell with the same
    strongest bands, such as nickel and Ni3Al, tie, and the first one wins. That is the tie of the
    2021 paper (Sci Rep 11:8172, Fig. 5).

    Here no phase is skipped for another that matches many bands, as PyEBSDIndex does by default.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn.comparison import hough_phase_map
    >>> from kikuchipy_cnn.simulation import load_phases
    >>> s = kp.data.nickel_ebsd_small()
    >>> s.remove_static_background(show_progressbar=False)
    >>> s.remove_dynamic_background(show_progressbar=False)
    >>> phases = load_phases([225, 229])
    >>> xmap = hough_phase_map(
    ...     s, [phases["Ni"], phases["Fe-bcc"]], show_progressbar=False
    ... )
    >>> xmap.phases_in_data.names
    ['Ni']
    >>> bool((xmap.nmatch_Ni > xmap.prop["nmatch_Fe-bcc"]).all())
    True
    """
    candidates = candidates_of(phases)
    detector = checked_detector(signal, detector)
    used = used_points(signal, navigation_mask)
    settings = {"nBands": _N_BANDS} | indexer_settings
    if reflectors is None:
        reflectors = [_strongest(phase) for phase in candidates.values()]
    indexer = detector.get_indexer(
        PhaseList(dict(enumerate(candidates.values()))), reflectors, **settings
    )
    indexer.nband_earlyexit = settings["nBands"] + 1

    places = np.flatnonzero(used)
    centers = detector.pc_flattened
    parts = []
    with tqdm(
        total=places.size,
        unit="pattern",
        desc="Hough indexing",
        disable=not is_progress_shown(show_progressbar),
    ) as progressbar:
        for start in range(0, places.size, _AT_ONCE):
            some = places[start : start + _AT_ONCE]
            patterns = _patterns_at(signal, some)
            valid = _are_patterns(patterns)
            pc = centers[some] if len(centers) > 1 else centers[0]
            # PyEBSDIndex prints on its own
            with contextlib.redirect_stdout(standard_io.StringIO()):
                data, *_ = indexer.index_pats(patsin=patterns, PC=pc, verbose=0)
            # PyEBSDIndex finds bands in patterns of one value, too
            data["nmatch"][:, ~valid] = 0
            parts.append(data[:-1])
            progressbar.update(some.size)
    return _crystal_map(signal, candidates, np.concatenate(parts, axis=1), used)


def hough_phase_order(
    signal: EBSD,
    phases: PhaseList | Mapping[int, Phase] | Iterable[Phase],
    detector: EBSDDetector | None = None,
    *,
    orders: Sequence[Sequence[int]] | None = None,
    **settings: Any,
) -> PhaseOrderEffect:
    """Index patterns by Hough indexing with the phases in several orders.

    Parameters
    ----------
    signal, phases, detector
        As of :func:`hough_phase_map`.
    orders
        Orders to try, as places among *phases* from 0. If not given, all of up to three phases,
        else each phase first once.
    **settings
        Further settings of :func:`hough_phase_map`.

    Returns
    -------
    effect
        Maps of all orders, and how many points change.

    Raises
    ------
    ValueError
        As :func:`hough_phase_map`, and if an order is not one of all phases.

    Examples
    --------
    Nickel and Ni3Al have the same strong bands, so that the first one
    wins.

    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn.comparison import hough_phase_order
    >>> from kikuchipy_cnn.simulation import load_phases
    >>> s = kp.data.nickel_ebsd_small()
    >>> s.remove_static_background(show_progressbar=False)
    >>> s.remove_dynamic_background(show_progressbar=False)
    >>> phases = load_phases([221, 225])
    >>> effect = hough_phase_order(
    ...     s, [phases["Ni"], phases["Ni3Al"]], show_progressbar=False
    ... )
    >>> effect.orders
    (('Ni', 'Ni3Al'), ('Ni3Al', 'Ni'))
    >>> effect.n_changed, effect.n_points
    (9, 9)
    """
    candidates = list(candidates_of(phases).values())
    n = len(candidates)
    if orders is None:
        orders = (
            list(itertools.permutations(range(n)))
            if n <= 3
            else [tuple(np.roll(range(n), -i).tolist()) for i in range(n)]
        )
    for order in orders:
        if sorted(order) != list(range(n)):
            raise ValueError(f"Order {tuple(order)} must have each of the places 0-{n - 1} once")
    names = tuple(tuple(candidates[i].name for i in order) for order in orders)
    xmaps = tuple(
        hough_phase_map(signal, [candidates[i] for i in order], detector, **settings)
        for order in orders
    )
    called = np.array([_names_of_points(xmap) for xmap in xmaps])
    n_changed = int(np.count_nonzero((called != called[0]).any(axis=0)))
    return PhaseOrderEffect(names, xmaps, n_changed, called.shape[1])


def _strongest(phase: Phase) -> np.ndarray | None:
    """Families of the strongest reflectors, or None if there are no atoms to tell."""
    if len(phase.structure) == 0:
        return None
    return strongest_directions(phase, _N_FAMILIES)


def _names_of_points(xmap: CrystalMap) -> np.ndarray:
    names = np.full(xmap.size, "", dtype=object)
    for i, phase in xmap.phases_in_data:
        names[xmap.phase_id == i] = phase.name
    return names


def _patterns_at(signal: EBSD, places: np.ndarray) -> np.ndarray:
    """Patterns at flat places of the map, as the indexer takes them."""
    flat = signal.data.reshape((-1, *signal.data.shape[-2:]))
    # Consecutive patterns are a view
    if places[-1] - places[0] + 1 == places.size:
        patterns = flat[places[0] : places[-1] + 1]
    else:
        patterns = flat[places]
    return np.asarray(patterns)


def _are_patterns(images: np.ndarray) -> np.ndarray:
    """Whether images have more than one value, and all of them are finite."""
    flat = images.reshape(len(images), -1)
    return np.isfinite(flat).all(axis=1) & (flat.min(axis=1) < flat.max(axis=1))


def _crystal_map(
    signal: EBSD, candidates: dict[int, Phase], data: np.ndarray, used: np.ndarray
) -> CrystalMap:
    """Map of data of shape (phases, points)."""
    matched = data["nmatch"] >= _FEWEST_BANDS
    # What PyEBSDIndex decides by
    quality = np.where(matched, (_WORST_FIT - data["fit"]) * data["nmatch"], -np.inf)
    best = quality.argmax(axis=0)
    points = np.arange(best.size)
    indexed = matched[best, points]
    n_tied = np.count_nonzero(np.isclose(quality, quality[best, points]) & matched, axis=0)
    properties = {
        name: np.where(indexed, data[name][best, points], nothing)
        for name, nothing in _NOTHING.items()
    }
    properties |= {"pq": data["pq"][best, points], "n_tied": n_tied}
    properties["scores"] = properties["cm"]
    for i, phase in enumerate(candidates.values()):
        for name, nothing in _NOTHING.items():
            properties[property_of_phase(name, phase)] = np.where(
                matched[i], data[name][i], nothing
            )
    return crystal_map_of(
        signal,
        candidates,
        np.where(indexed, best, -1),
        data["quat"][best, points],
        properties,
        used,
    )
