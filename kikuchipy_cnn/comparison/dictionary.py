# SPDX-License-Identifier: GPL-3.0-or-later

"""Dictionary indexing with the scores of all phases, or within the phases that a network names."""

from __future__ import annotations

import contextlib
import io as standard_io
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from orix.crystal_map import CrystalMap, Phase, PhaseList
from orix.quaternion import Rotation
from orix.sampling import get_sample_fundamental

from kikuchipy_cnn._patterns import check_data_type, checked_mask
from kikuchipy_cnn._phases import listed
from kikuchipy_cnn._progress import is_progress_shown
from kikuchipy_cnn.comparison._candidates import (
    candidates_of,
    checked_detector,
    crystal_map_of,
    property_of_phase,
    used_points,
)
from kikuchipy_cnn.crystal_map import all_properties, map_like
from kikuchipy_cnn.simulation.library import MasterPatternLibrary, load_library

if TYPE_CHECKING:
    from kikuchipy.detectors import EBSDDetector
    from kikuchipy.signals import EBSD, EBSDMasterPattern

__all__ = ["dictionary_phase_map", "index_with"]

# Bytes of the part of a dictionary that is simulated at once
_DICTIONARY_BYTES = 2**28
# kikuchipy does not refine a map of a single point
_FEWEST_TO_REFINE = 2


def dictionary_phase_map(
    signal: EBSD,
    phases: Iterable[EBSDMasterPattern | Phase | str] | PhaseList,
    detector: EBSDDetector | None = None,
    *,
    resolution: float = 2.0,
    energy: float | None = None,
    refine: bool = False,
    navigation_mask: np.ndarray | None = None,
    signal_mask: np.ndarray | None = None,
    show_progressbar: bool | None = None,
) -> CrystalMap:
    """Index patterns by dictionary indexing, and keep the scores of all phases.

    The indexing is kikuchipy's, with normalised cross-correlation (Chen et al., Microsc Microanal
    21:739, 2015).

    Parameters
    ----------
    signal
        Patterns, lazy or not. Their background should be removed.
    phases
        Candidates: master patterns in the square Lambert projection, or phases or names of the
        packaged library, see :func:`kikuchipy_cnn.simulation.load_phases`.
    detector
        Detector. The dictionary is simulated with its mean projection center, refinement uses each
        pattern's own if it has these. If not given, that of the signal.
    resolution
        Mean angle in degrees between neighbours in the dictionary.
    energy
        Energy in keV of the master patterns. If not given, the highest they have.
    refine
        Whether to refine the orientations, in each phase, before phases are compared. That of a
        single point is not refined.
    navigation_mask
        Boolean mask of the map's shape, True for the patterns to leave out.
    signal_mask
        Boolean mask of the patterns' shape, True for the pixels to leave out.
    show_progressbar
        Whether kikuchipy shows how far it is, phase by phase. If not given, HyperSpy's preference.

    Returns
    -------
    xmap
        Crystal map of the phases of the highest correlation. The IDs are the space groups' numbers
        if these differ. Properties:

        - scores: correlation of the winner, up to 1
        - ncc_margin: how much higher it is than that of the next phase, 0 if there is one
        - ncc_Ni and so on: highest correlation of each phase

    Raises
    ------
    KeyError, TypeError, ValueError
        If there is no master pattern of a phase, phases have no different names, or detector or
        masks do not fit the patterns.

    Examples
    --------
    A resolution of 10 degrees keeps the example short and is too coarse
    for other use.

    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn.comparison import dictionary_phase_map
    >>> s = kp.data.nickel_ebsd_small()
    >>> s.remove_static_background(show_progressbar=False)
    >>> s.remove_dynamic_background(show_progressbar=False)
    >>> xmap = dictionary_phase_map(
    ...     s, ["Ni", "Fe-bcc"], resolution=10, show_progressbar=False
    ... )
    >>> xmap.shape
    (3, 3)
    >>> sorted(xmap.prop)
    ['ncc_Fe-bcc', 'ncc_Ni', 'ncc_margin', 'scores']
    """
    master_patterns = _master_patterns_of(phases)
    candidates = candidates_of([i.phase for i in master_patterns])
    detector = checked_detector(signal, detector)
    used = used_points(signal, navigation_mask)
    signal_mask = checked_mask(signal_mask, "signal_mask", signal.data.shape[-2:])
    scores, rotations = [], []
    with _as_shown(show_progressbar):
        for master_pattern in master_patterns:
            score, rotation = _indexed(
                signal, master_pattern, detector, used, signal_mask, resolution, energy, refine
            )
            scores.append(score)
            rotations.append(rotation)
    scores, rotations = np.array(scores), np.array(rotations)
    # Nothing correlates with a pattern of one value
    is_pattern = np.isfinite(scores).all(axis=0)
    scores = np.where(is_pattern, scores, 0)
    best = scores.argmax(axis=0)
    points = np.arange(best.size)
    ascending = np.sort(scores, axis=0)
    properties = {
        "scores": scores[best, points],
        "ncc_margin": ascending[-1] - ascending[-2] if len(scores) > 1 else np.zeros(best.size),
    }
    for phase, score in zip(candidates.values(), scores, strict=True):
        properties[property_of_phase("ncc", phase)] = score
    found = np.where(is_pattern, best, -1)
    return crystal_map_of(signal, candidates, found, rotations[best, points], properties, used)


def index_with(
    signal: EBSD,
    xmap: CrystalMap,
    phases: Iterable[EBSDMasterPattern | Phase | str] | PhaseList,
    detector: EBSDDetector | None = None,
    *,
    resolution: float = 2.0,
    energy: float | None = None,
    refine: bool = True,
    signal_mask: np.ndarray | None = None,
    show_progressbar: bool | None = None,
) -> CrystalMap:
    """Find the orientations of patterns whose phases a network has named.

    Each pattern is compared with the dictionary of its own phase only.

    Parameters
    ----------
    signal
        Patterns, lazy or not. Their background should be removed.
    xmap
        Crystal map of these patterns from
        :func:`~kikuchipy_cnn.classify_space_group`.
    phases
        One for each space group, or for each class by name if classes are not space groups: master
        patterns, phases or names as for :func:`dictionary_phase_map`. Those of space groups that
        the map has not got are not used.
    detector, resolution, energy
        As for :func:`dictionary_phase_map`.
    refine
        Whether to refine the orientations, but that of the only point of a phase.
    signal_mask
        As for :func:`dictionary_phase_map`.
    show_progressbar
        Whether kikuchipy shows how far it is, phase by phase. If not given, HyperSpy's preference.

    Returns
    -------
    indexed
        Copy of *xmap* with orientations, the phases' real names and unit cells, and the property
        "ncc", the correlation with the best orientation. Points of phases without a master pattern
        keep identity rotation and "ncc" 0.

    Raises
    ------
    KeyError, TypeError
        As for :func:`dictionary_phase_map`.
    ValueError
        As for :func:`dictionary_phase_map`, and if the map is not of these patterns, has no phase
        of the master patterns, or two of these are for one phase.

    Examples
    --------
    A resolution of 10 degrees without refinement keeps the example
    short and is too coarse for other use.

    >>> import kikuchipy as kp
    >>> import kikuchipy_cnn
    >>> s = kp.data.nickel_ebsd_small()
    >>> xmap = s.classify_space_group(
    ...     "fast_fewshot", show_progressbar=False
    ... )
    Space group classification information:
    ...
    >>> s.remove_static_background(show_progressbar=False)
    >>> s.remove_dynamic_background(show_progressbar=False)
    >>> indexed = kikuchipy_cnn.comparison.index_with(
    ...     s,
    ...     xmap,
    ...     ["Ni"],
    ...     resolution=10,
    ...     refine=False,
    ...     show_progressbar=False,
    ... )
    >>> "Ni" in indexed.phases.names
    True
    >>> bool((indexed["Ni"].ncc > 0).all())
    True
    """
    chosen = _by_phase(xmap, _master_patterns_of(phases))
    check_data_type(signal.data.dtype)
    detector = checked_detector(signal, detector)
    n_points = int(np.prod(signal.data.shape[:-2]))
    if xmap.is_in_data.size != n_points:
        raise ValueError(
            f"The crystal map has {xmap.is_in_data.size} points, but there are {n_points} "
            "patterns: pass the map from classifying these patterns"
        )
    signal_mask = checked_mask(signal_mask, "signal_mask", signal.data.shape[-2:])
    quaternions = np.tile([1.0, 0.0, 0.0, 0.0], (n_points, 1))
    correlation = np.zeros(n_points)
    phases = {i: phase.deepcopy() for i, phase in xmap.phases if i != -1}
    for i, master_pattern in chosen.items():
        used = xmap.is_in_data & (xmap._phase_id == i)
        with _as_shown(show_progressbar):
            scores, rotations = _indexed(
                signal, master_pattern, detector, used, signal_mask, resolution, energy, refine
            )
        is_pattern = np.isfinite(scores)
        correlation[used] = np.where(is_pattern, scores, 0)
        quaternions[used] = np.where(is_pattern[:, None], rotations, quaternions[used])
        name, color = phases[i].name, phases[i].color
        phases[i] = master_pattern.phase.deepcopy()
        phases[i].color = color
        if phases[i].space_group.number != i:
            # Classes that are not space groups are told by their names
            phases[i].name = name
    return map_like(
        xmap,
        PhaseList(phases),
        rotations=Rotation(quaternions),
        properties=all_properties(xmap) | {"ncc": correlation},
    )


def _master_patterns_of(
    phases: Iterable[EBSDMasterPattern | Phase | str] | PhaseList,
) -> list[EBSDMasterPattern]:
    given = list(listed(phases).values())
    # Master patterns alone need no library
    library = load_library() if any(isinstance(i, (Phase, str)) for i in given) else None
    return [_master_pattern_of(i, library) for i in given]


def _master_pattern_of(
    phase: EBSDMasterPattern | Phase | str, library: MasterPatternLibrary | None
) -> EBSDMasterPattern:
    from kikuchipy.signals import EBSDMasterPattern

    if isinstance(phase, EBSDMasterPattern):
        if phase.projection != "lambert":
            raise ValueError(
                f"The master pattern of {phase.phase.name!r} is in the {phase.projection} "
                'projection: load it with kikuchipy.load(..., projection="lambert")'
            )
        if phase.phase.space_group is None:
            raise ValueError(
                f"The phase of the master pattern of {phase.phase.name!r} has no space group: set "
                "master_pattern.phase.space_group"
            )
        return phase
    if not isinstance(phase, (Phase, str)):
        raise TypeError(f"{phase!r} must be a master pattern, a phase, or a name")
    name = phase if isinstance(phase, str) else phase.name
    if name in library and (
        isinstance(phase, str)
        or phase.space_group is None
        or phase.space_group.number == library.space_groups[name]
    ):
        return library.signal(name)
    if isinstance(phase, str):
        raise KeyError(
            f"{name!r} is not in the packaged library of master patterns: give a master pattern, "
            "from kikuchipy_cnn.simulation.simulate_master_pattern() or kikuchipy.load()"
        )
    remedy = (
        "give the master pattern that kikuchipy_cnn.simulation.simulate_master_pattern() makes"
        if len(phase.structure)
        else "it has no atoms to simulate one from: read it from a CIF with "
        "kikuchipy_cnn.simulation.phase_from_cif(), or give a master pattern"
    )
    raise ValueError(
        f"There is no master pattern of phase {name!r}, which dictionary indexing needs; {remedy}"
    )


def _by_phase(
    xmap: CrystalMap, master_patterns: Sequence[EBSDMasterPattern]
) -> dict[int, EBSDMasterPattern]:
    """Master patterns by the IDs of the map's phases that they are for."""
    chosen: dict[int, EBSDMasterPattern] = {}
    own = {i: phase for i, phase in xmap.phases_in_data if i != -1}
    is_of_groups = all(
        phase.space_group is not None and phase.space_group.number == i for i, phase in own.items()
    )
    for master_pattern in master_patterns:
        phase = master_pattern.phase
        for i, other in own.items():
            if other.name == phase.name or (is_of_groups and phase.space_group.number == i):
                if i in chosen:
                    raise ValueError(
                        f"The master patterns of {chosen[i].phase.name!r} and {phase.name!r} are "
                        f"both for the map's phase {other.name!r}: give one of them"
                    )
                chosen[i] = master_pattern
    if not chosen:
        names = [i.phase.name for i in master_patterns]
        raise ValueError(
            f"None of the master patterns of {names} is for a phase of the crystal map, "
            f"{[phase.name for phase in own.values()]}: give master patterns of these space groups"
        )
    return chosen


def _indexed(
    signal: EBSD,
    master_pattern: EBSDMasterPattern,
    detector: EBSDDetector,
    used: np.ndarray,
    signal_mask: np.ndarray | None,
    resolution: float,
    energy: float | None,
    refine: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Scores and quaternions of the patterns that are used, in one phase."""
    if not resolution > 0:
        raise ValueError(f"resolution={resolution} must be more than 0 degrees")
    chosen = _subset(signal, used)
    dictionary = _dictionary(master_pattern, detector, resolution, energy)
    found = chosen.dictionary_indexing(dictionary, keep_n=1, signal_mask=signal_mask)
    # Refinement does not take maps of which each point has a list of one rotation
    found = CrystalMap(
        Rotation(found.rotations.data.reshape(-1, 4)),
        phase_id=found.phase_id,
        x=found.x,
        phase_list=found.phases,
        prop={"scores": np.asarray(found.prop["scores"]).ravel()},
    )
    if refine and found.size >= _FEWEST_TO_REFINE:
        own = detector.deepcopy()
        if own.navigation_size > 1:
            own.pc = own.pc_flattened[used]
        found = chosen.refine_orientation(
            found,
            own,
            master_pattern,
            energy=_highest_energy(master_pattern) if energy is None else energy,
            signal_mask=signal_mask,
        )
    return found.prop["scores"], found.rotations.data


def _subset(signal: EBSD, used: np.ndarray) -> EBSD:
    """Signal of one navigation dimension of the patterns that are used, still lazy if it was."""
    flat = signal.data.reshape((-1, *signal.data.shape[-2:]))
    data = flat if used.all() else flat[np.flatnonzero(used)]
    subset = type(signal)(data)
    # Refinement warns of axes without the names of directions
    subset.axes_manager.navigation_axes[0].name = "x"
    return subset


def _dictionary(
    master_pattern: EBSDMasterPattern,
    detector: EBSDDetector,
    resolution: float,
    energy: float | None,
) -> EBSD:
    rotations = get_sample_fundamental(
        resolution, space_group=master_pattern.phase.space_group.number
    )
    mean = detector.deepcopy()
    mean.pc = detector.pc_average
    n_at_once = max(1, _DICTIONARY_BYTES // (4 * int(np.prod(detector.shape))))
    return master_pattern.get_patterns(
        rotations,
        mean,
        energy=energy,
        dtype_out="float32",
        compute=False,
        chunk_shape=n_at_once,
    )


def _highest_energy(master_pattern: EBSDMasterPattern) -> float:
    for axis in master_pattern.axes_manager.navigation_axes:
        if axis.name == "energy":
            return float(axis.high_value)
    # Not used where there is but one
    return 0.0


@contextlib.contextmanager
def _as_shown(show_progressbar: bool | None) -> Iterator[None]:
    """Keep kikuchipy from printing what it does and how far it is, unless that is wanted."""
    if is_progress_shown(show_progressbar):
        yield
        return
    with (
        warnings.catch_warnings(record=True) as caught,
        contextlib.redirect_stdout(standard_io.StringIO()),
        contextlib.redirect_stderr(standard_io.StringIO()),
    ):
        yield
    # They would have gone where the progress bars went.
    for warning in caught:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
