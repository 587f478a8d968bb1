# SPDX-License-Identifier: GPL-3.0-or-later

"""Patterns of known phase, from signals, files, folders of images and simulation."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING

import dask.array as da
import numpy as np
from kikuchipy.signals import EBSD
from tqdm import tqdm

from kikuchipy_cnn._patterns import check_patterns, mask_and_background
from kikuchipy_cnn._progress import is_progress_shown
from kikuchipy_cnn.inference import preprocessed_batches
from kikuchipy_cnn.label_classes import LabelClasses
from kikuchipy_cnn.space_groups import SpaceGroupClasses, hermann_mauguin_symbol, laue_group

if TYPE_CHECKING:
    from kikuchipy.detectors import EBSDDetector
    from orix.crystal_map import Phase

    from kikuchipy_cnn.preprocessing import PatternTransform
    from kikuchipy_cnn.simulation import Disturbances, MasterPatternLibrary

# What a network can be taught to tell apart, from fine to coarse.
LEVELS = ("phase", "space group", "centring", "Laue group")

_BATCH_SIZE = 256
# What is known of each pattern but for where it is.
_COLUMNS = ("space_group", "material", "map_name", "grain", "rotation")


@dataclass(frozen=True, eq=False)
class PatternSource:
    """Patterns that were recorded in one go, with one detector.

    Parameters
    ----------
    data
        Patterns of shape (n, rows, columns), a NumPy or Dask array.
    file
        Where they come from, for tables; "" if not from a file.
    signal_mask
        Boolean mask of shape (rows, columns), False for the pixels to use. None uses all.
    static_background
        Background of shape (rows, columns) to divide by. None leaves it.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn.training import PatternSource
    >>> s = kp.data.nickel_ebsd_small()
    >>> source = PatternSource.from_signal(s, "nickel.h5")
    >>> source.data.shape
    (9, 60, 60)
    >>> source.static_background.shape, source.signal_mask is None
    ((60, 60), True)
    """

    data: np.ndarray | da.Array
    file: str = ""
    signal_mask: np.ndarray | None = None
    static_background: np.ndarray | None = None

    @classmethod
    def from_signal(cls, signal: EBSD, file: str = "") -> PatternSource:
        """Take the patterns of a signal, as :func:`~kikuchipy_cnn.classify_space_group` would.

        Parameters
        ----------
        signal
            EBSD signal, lazy or not.
        file
            Where it comes from.

        Returns
        -------
        source
            Patterns in the order of the flattened map, with the mask of a circular detector, and
            the signal's static background where it is still in the patterns.
        """
        check_patterns(signal)
        mask, background = mask_and_background(signal)
        data = signal.data.reshape((-1, *signal.data.shape[-2:]))
        return cls(data, file, mask, background)


@dataclass(frozen=True, eq=False)
class LabelledPatterns:
    """Patterns of known phase, of any number of sources.

    All arrays have one value per pattern and the same length. See :meth:`from_signals`,
    :meth:`from_crystal_map`, :meth:`from_simulation` and
    :func:`~kikuchipy_cnn.training.read_manifest` for how to make one; ``+`` joins two.

    Parameters
    ----------
    sources
        Where the patterns are.
    source
        Index into *sources*.
    index
        Index into the source.
    space_group
        Number of the space group.
    material
        Name of the phase.
    map_name
        Name of the map that the pattern is of. Patterns of one map share camera and conditions.
    grain
        Name of the grain within the map, "" where it is not known. Patterns of one grain hardly
        differ but for noise.
    rotation
        Orientation of the crystal as a unit quaternion, in orix's convention, of shape (n, 4). Not
        a number where it is not known.

    Raises
    ------
    ValueError
        If the arrays do not fit together, or a number is no space group.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn.training import LabelledPatterns
    >>> s = kp.data.nickel_ebsd_small()
    >>> real = LabelledPatterns.from_signals({225: {"Ni": s}})
    >>> simulated = LabelledPatterns.from_simulation(
    ...     ["W"], 5, show_progressbar=False
    ... )
    >>> patterns = real + simulated
    >>> patterns
    LabelledPatterns(14 patterns; 225 Ni: 9, 229 W: 5)
    >>> patterns.take(patterns.material == "W").counts()
    {(229, 'W'): 5}
    >>> patterns.classes("centring").names
    ('F', 'I')
    """

    sources: tuple[PatternSource, ...]
    source: np.ndarray
    index: np.ndarray
    space_group: np.ndarray
    material: np.ndarray
    map_name: np.ndarray
    grain: np.ndarray = field(default=None)
    rotation: np.ndarray = field(default=None)

    def __post_init__(self) -> None:
        n = len(self.index)
        columns = {
            "source": np.asarray(self.source, int),
            "index": np.asarray(self.index, int),
            "space_group": np.asarray(self.space_group),
            "material": np.asarray(self.material, object),
            "map_name": np.asarray(self.map_name, object),
            "grain": np.full(n, "", object)
            if self.grain is None
            else np.asarray(self.grain, object),
            "rotation": np.full((n, 4), np.nan)
            if self.rotation is None
            else np.asarray(self.rotation, float),
        }
        for name, column in columns.items():
            if column.shape != ((n, 4) if name == "rotation" else (n,)):
                raise ValueError(f"{name} has shape {column.shape} for {n} patterns.")
            object.__setattr__(self, name, column)
        lengths = np.array([len(source.data) for source in self.sources], int)
        if not _within(self.source, len(lengths)) or not _within(self.index, lengths[self.source]):
            raise ValueError(
                f"source and index point beyond the {len(lengths)} source(s) with "
                f"{lengths.tolist()} patterns. Both count from 0."
            )
        for number in np.unique(self.space_group).tolist():
            # Raises with the number in the message.
            hermann_mauguin_symbol(number)

    def __len__(self) -> int:
        return len(self.index)

    def __add__(self, other: LabelledPatterns) -> LabelledPatterns:
        if not isinstance(other, LabelledPatterns):
            return NotImplemented
        return LabelledPatterns.concatenate((self, other))

    def __repr__(self) -> str:
        counts = ", ".join(
            f"{number} {material}: {n}" for (number, material), n in self.counts().items()
        )
        return f"LabelledPatterns({len(self)} patterns; {counts})"

    @classmethod
    def concatenate(cls, parts: Sequence[LabelledPatterns]) -> LabelledPatterns:
        """Join several sets of patterns.

        Parameters
        ----------
        parts
            At least one.

        Returns
        -------
        patterns
            All patterns, in this order.
        """
        if len(parts) == 0:
            raise ValueError("No patterns are given; give at least one set of them.")
        # Parts of one set share their sources.
        sources: dict[int, PatternSource] = {}
        for part in parts:
            sources.update((id(source), source) for source in part.sources)
        places = {key: place for place, key in enumerate(sources)}
        numbers = [
            np.array([places[id(source)] for source in part.sources], int)[part.source]
            for part in parts
        ]
        columns = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("index", *_COLUMNS)
        }
        return cls(tuple(sources.values()), np.concatenate(numbers), **columns)

    @classmethod
    def from_signals(
        cls, signals: Mapping[int, EBSD | Sequence[EBSD] | Mapping[str, EBSD | Sequence[EBSD]]]
    ) -> LabelledPatterns:
        """Label whole signals.

        Parameters
        ----------
        signals
            By space group: a signal, several signals, or, by the name of the phase, one or several.
            Lazy signals stay so. A phase without a name is named by its Hermann-Mauguin symbol.
            Each signal is a map of its own, and given once.

        Returns
        -------
        patterns
            Patterns of all signals. Orientations are those of the signals' crystal maps.

        Raises
        ------
        TypeError
            If a key is no integer, or something is no EBSD signal.
        ValueError
            If a key is no space group or has no signal, a signal is given twice, has no patterns,
            or they are too small.
        """
        parts = []
        # All at once: what is wrong with the last signal shows before any pattern is read.
        for number, material, signal in list(_listed(signals)):
            name = f"{material} {1 + sum(p.material[0] == material for p in parts)}"
            parts.append(cls.from_signal(signal, number, material, map_name=name))
        return cls.concatenate(parts)

    @classmethod
    def from_signal(
        cls,
        signal: EBSD,
        space_group: int,
        material: str,
        *,
        map_name: str = "",
        grain: Sequence[str] | None = None,
        file: str = "",
    ) -> LabelledPatterns:
        """Label the patterns of a signal, all of one phase.

        Parameters
        ----------
        signal
            EBSD signal, lazy or not.
        space_group
            Number of the space group.
        material
            Name of the phase.
        map_name
            Name of the map. If not given, that of the material.
        grain
            Name of the grain of each pattern, in the order of the flattened map.
        file
            Where the patterns come from.

        Returns
        -------
        patterns
            All patterns of the signal.
        """
        source = PatternSource.from_signal(signal, file)
        n = len(source.data)
        return cls(
            (source,),
            np.zeros(n, int),
            np.arange(n),
            np.full(n, space_group),
            np.full(n, material, object),
            np.full(n, map_name or material, object),
            grain,
            _rotations(signal),
        )

    @classmethod
    def from_crystal_map(
        cls, signal: EBSD, *, map_name: str = "", file: str = ""
    ) -> LabelledPatterns:
        """Label patterns by the phases in the signal's crystal map.

        This is what indexed maps and :func:`~kikuchipy_cnn.simulation.simulate_patterns` give.
        Patterns that are not indexed or not in the data are left out.

        Parameters
        ----------
        signal
            EBSD signal, lazy or not, with a crystal map.
        map_name
            Name of the map.
        file
            Where the patterns come from.

        Returns
        -------
        patterns
            The patterns of known phase.

        Raises
        ------
        ValueError
            If there is no crystal map of these patterns, no pattern is indexed, or a phase has no
            space group.
        """
        index, numbers, materials = crystal_map_labels(signal)
        return cls(
            (PatternSource.from_signal(signal, file),),
            np.zeros(len(index), int),
            index,
            numbers,
            materials,
            np.full(len(index), map_name or "map", object),
            rotation=_rotations(signal)[index],
        )

    @classmethod
    def from_simulation(
        cls,
        phases: Sequence[str | Phase],
        n: int,
        *,
        shape: tuple[int, int] | None = None,
        detector: EBSDDetector | None = None,
        disturbances: Disturbances | None = None,
        library: MasterPatternLibrary | None = None,
        seed: int = 0,
        show_progressbar: bool | None = None,
    ) -> LabelledPatterns:
        """Simulate patterns of random orientation.

        Parameters
        ----------
        phases
            Names of phases of *library*, or phases, whose master patterns are simulated first. Each
            once.
        n
            Number of patterns of each phase.
        shape, detector
            As for :func:`~kikuchipy_cnn.simulation.simulate_patterns`.
        disturbances
            Imperfections. If not given, the default ones. Detectors fill the patterns, see
            :meth:`Disturbances.of_whole_detector()
            <kikuchipy_cnn.simulation.Disturbances.of_whole_detector>`.
        library
            Master patterns. If not given, the packaged ones. Those of phases are simulated for the
            same energy and size.
        seed
            Seed of the random numbers.
        show_progressbar
            Whether to show a progress bar. If not given, the value of
            :obj:`hyperspy.api.preferences.General.show_progressbar` is used.

        Returns
        -------
        patterns
            Patterns, phase by phase, each phase as a map of its own and each pattern as a grain of
            its own. Those of a phase are the same whatever the other phases are.

        Raises
        ------
        ValueError
            If a phase is not in the library or given twice, or a master pattern is to be simulated
            for a library of several energies.
        """
        from kikuchipy_cnn.simulation import Disturbances, load_library
        from kikuchipy_cnn.simulation.signals import simulate_patterns

        library = load_library() if library is None else library
        disturbances = (disturbances or Disturbances()).of_whole_detector()
        names = [phase if isinstance(phase, str) else phase.name for phase in phases]
        for name, phase in zip(names, phases, strict=True):
            if names.count(name) > 1:
                raise ValueError(f"Phase {name!r} is given twice; give it once and a larger n.")
            if isinstance(phase, str) and phase not in library:
                raise ValueError(
                    f"{phase!r} is not in the library of master patterns. Give a phase from "
                    "kikuchipy_cnn.simulation.phase_from_cif() instead."
                )
        parts = []
        for name, phase in zip(
            names,
            tqdm(
                phases,
                unit="phase",
                disable=not is_progress_shown(show_progressbar),
                desc="Simulating",
            ),
            strict=True,
        ):
            if isinstance(phase, str):
                master_pattern = library.signal(phase)
            else:
                master_pattern = library.simulate(phase, show_progressbar=False)
            signal = simulate_patterns(
                [master_pattern],
                n,
                shape=shape,
                detector=detector,
                disturbances=disturbances,
                # Otherwise all phases would come in the same orientations.
                seed=int(np.random.SeedSequence([seed, *name.encode()]).generate_state(1)[0]),
                show_progressbar=False,
            )
            patterns = cls.from_crystal_map(signal, map_name=f"{name} (simulated, seed {seed})")
            parts.append(replace(patterns, grain=np.arange(1, n + 1).astype(str)))
        return cls.concatenate(parts)

    def take(self, chosen: np.ndarray) -> LabelledPatterns:
        """Take some of the patterns.

        Parameters
        ----------
        chosen
            Indices, or a boolean array.

        Returns
        -------
        patterns
            These patterns, in this order.
        """
        columns = {name: getattr(self, name)[chosen] for name in ("source", "index", *_COLUMNS)}
        return replace(self, **columns)

    def counts(self) -> dict[tuple[int, str], int]:
        """Count the patterns by space group and material.

        Returns
        -------
        counts
            Numbers of patterns, by number of the space group and name, in ascending order.
        """
        pairs = zip(self.space_group.tolist(), self.material.tolist(), strict=True)
        return dict(sorted(Counter(pairs).items()))

    def labels(self, level: str = "space group") -> np.ndarray:
        """What each pattern is, at a level of detail.

        Parameters
        ----------
        level
            ``"phase"``, ``"space group"``, ``"centring"`` or ``"Laue group"``.

        Returns
        -------
        labels
            Space-group numbers, or strings.

        Raises
        ------
        ValueError
            If there is no such level.
        """
        if level not in LEVELS:
            raise ValueError(f"level={level!r} must be one of {', '.join(map(repr, LEVELS))}.")
        if level == "space group":
            return self.space_group
        if level == "phase":
            return self.material
        numbers, inverse = np.unique(self.space_group, return_inverse=True)
        name = laue_group if level == "Laue group" else lambda i: hermann_mauguin_symbol(i)[0]
        return np.array([name(int(i)) for i in numbers], object)[inverse]

    def classes(self, level: str = "space group") -> SpaceGroupClasses | LabelClasses:
        """All classes that the patterns are of.

        Parameters
        ----------
        level
            As for :meth:`labels`.

        Returns
        -------
        classes
            Classes in ascending order.

        Raises
        ------
        ValueError
            If there is one class only, or one name stands for phases of two space groups.
        """
        labels = self.labels(level)
        found = sorted(set(labels.tolist()))
        if len(found) < 2:
            raise ValueError(
                f"All {len(self)} patterns are of one {level}, {found}. Add patterns of another: "
                "a classifier needs at least two classes. Simulated ones will do, see "
                "LabelledPatterns.from_simulation()."
            )
        if level == "space group":
            return SpaceGroupClasses(tuple(int(i) for i in found))
        numbers = {i: set(self.space_group[labels == i].tolist()) for i in found}
        if level == "phase":
            for name, of_name in numbers.items():
                if len(of_name) > 1:
                    raise ValueError(
                        f"Material {name!r} is given for space groups {sorted(of_name)}. Give each "
                        "phase a name of its own."
                    )
        groups = tuple(int(*numbers[i]) if len(numbers[i]) == 1 else None for i in found)
        return LabelClasses(tuple(found), groups if level == "phase" else None)

    def images(
        self, transform: PatternTransform, *, show_progressbar: bool | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Read and preprocess all patterns.

        Parameters
        ----------
        transform
            Preprocessing.
        show_progressbar
            Whether to show a progress bar. If not given, the value of
            :obj:`hyperspy.api.preferences.General.show_progressbar` is used.

        Returns
        -------
        images
            Network input of shape (n, size, size, 1) and data type float32.
        valid
            Boolean array of shape (n,), False where a pattern is constant or not finite.
        """
        images = np.empty((len(self), transform.size, transform.size, 1), np.float32)
        valid = np.empty(len(self), bool)
        with tqdm(
            total=len(self),
            unit="pattern",
            desc="Reading",
            disable=not is_progress_shown(show_progressbar),
        ) as progressbar:
            for number in np.unique(self.source):
                source = self.sources[number]
                places = np.flatnonzero(self.source == number)
                places = places[np.argsort(self.index[places], kind="stable")]
                index = self.index[places]
                used = np.zeros(len(source.data), bool)
                used[index] = True
                for batch in preprocessed_batches(
                    source.data,
                    transform,
                    used=used,
                    signal_mask=source.signal_mask,
                    static_background=source.static_background,
                    batch_size=_BATCH_SIZE,
                ):
                    first, last = batch.indices[[0, -1]]
                    here = slice(*np.searchsorted(index, (first, last + 1)))
                    # A pattern may be taken more than once.
                    read = np.searchsorted(batch.indices, index[here])
                    images[places[here]] = batch.images[read]
                    valid[places[here]] = batch.valid[read]
                    progressbar.update(len(read))
        if not valid.all():
            warnings.warn(
                f"{(~valid).sum()} of {len(self)} patterns are constant or have values that are "
                "not finite. They are left out.",
                stacklevel=2,
            )
        return images, valid


def _listed(signals: Mapping) -> Iterator[tuple[int, str, EBSD]]:
    """Signals as :meth:`LabelledPatterns.from_signals` takes them, one by one, and checked."""
    if not isinstance(signals, Mapping):
        raise TypeError(
            f"signals is of type {type(signals).__name__}. Give signals by their space groups, as "
            "in {225: signal}."
        )
    seen: dict[int, str] = {}
    for number, of_group in signals.items():
        symbol = hermann_mauguin_symbol(number)
        where = f"space group {number}"
        by_name = isinstance(of_group, Mapping)
        if by_name and not of_group:
            raise ValueError(_no_signal(where))
        for material, given in (of_group if by_name else {symbol: of_group}).items():
            what = f"{material!r} of {where}" if by_name else where
            # Arrays are also collections, of arrays that are no signals.
            is_list = isinstance(given, Collection) and not isinstance(given, str | np.ndarray)
            if is_list and len(given) == 0:
                raise ValueError(_no_signal(what))
            for signal in given if is_list else [given]:
                if not isinstance(signal, EBSD):
                    raise TypeError(
                        f"What is given for {what} is of type {type(signal).__name__}, not an EBSD "
                        "signal. kikuchipy.signals.EBSD(array) makes one from an array of "
                        "patterns, and kikuchipy.load(path) from a file."
                    )
                if id(signal) in seen:
                    raise ValueError(
                        f"A signal for {what} is the one given for {seen[id(signal)]}. Give it "
                        "once: its patterns could land in the training and in the test."
                    )
                seen[id(signal)] = what
                yield number, material, signal


def _no_signal(what: str) -> str:
    return f"There is no signal for {what}. Give at least one, or leave it away."


def crystal_map_labels(signal: EBSD) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Take the phases of patterns from the signal's crystal map, without reading a pattern.

    Parameters
    ----------
    signal
        EBSD signal, lazy or not.

    Returns
    -------
    index
        Indices into the flattened map of the patterns that are in the data and indexed.
    space_group
        Numbers of their space groups.
    material
        Names of their phases, or Hermann-Mauguin symbols where a phase has no name.

    Raises
    ------
    ValueError
        As :meth:`LabelledPatterns.from_crystal_map`.
    """
    xmap, places = signal.xmap, _places_of_points(signal)
    if places is None:
        raise ValueError(
            f"{signal} has no crystal map of its patterns to take phases from. Give the space "
            "group."
        )
    indexed = xmap.is_indexed
    if not indexed.any():
        raise ValueError(
            f"No pattern of {signal} is indexed, so there are no labels. Give the space group."
        )
    numbers = np.zeros(xmap.size, int)
    materials = np.full(xmap.size, "", object)
    for phase_id, phase in xmap.phases_in_data:
        if phase_id == -1:
            continue
        chosen = xmap.phase_id == phase_id
        if "space_group" in xmap.prop:
            # orix does not read all space groups back from files.
            numbers[chosen] = xmap.prop["space_group"][chosen]
        elif phase.space_group is not None:
            numbers[chosen] = phase.space_group.number
        else:
            raise ValueError(
                f"Phase {phase.name!r} of the crystal map has no space group. Give the space group "
                f"of all patterns, or set it: signal.xmap.phases[{phase_id}].space_group = 225, "
                "for example."
            )
        materials[chosen] = phase.name
        if not phase.name:
            materials[chosen] = [hermann_mauguin_symbol(int(i)) for i in numbers[chosen]]
    return places[indexed], numbers[indexed], materials[indexed]


def _places_of_points(signal: EBSD) -> np.ndarray | None:
    """Indices into the flattened signal of the points of its crystal map, None if they do not fit.

    Only points in the data count.
    """
    xmap, n = signal.xmap, prod(signal.data.shape[:-2])
    if xmap is None:
        return None
    if xmap.size == n:
        # A sliced signal has the part of the map in data that it shows.
        return np.arange(n)
    return np.flatnonzero(xmap.is_in_data) if xmap.is_in_data.size == n else None


def _rotations(signal: EBSD) -> np.ndarray:
    """Quaternions of the best rotation of each pattern, not a number where it is not known."""
    rotations = np.full((prod(signal.data.shape[:-2]), 4), np.nan)
    places = _places_of_points(signal)
    if places is not None:
        xmap = signal.xmap
        best = xmap.rotations.data.reshape(xmap.size, -1, 4)[:, 0]
        # Maps of files without orientations, and points that are not indexed, have the identity.
        if (best != (1, 0, 0, 0)).any():
            rotations[places] = np.where(xmap.is_indexed[:, None], best, np.nan)
    return rotations


def _within(numbers: np.ndarray, ends: int | np.ndarray) -> bool:
    return bool(((numbers >= 0) & (numbers < ends)).all())
