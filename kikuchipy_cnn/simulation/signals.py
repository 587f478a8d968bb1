# SPDX-License-Identifier: GPL-3.0-or-later

"""EBSD signals of simulated patterns, with the truth kept in their crystal maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import dask.array as da
import kikuchipy as kp
import numpy as np
from orix.crystal_map import CrystalMap, PhaseList
from tqdm import tqdm

from kikuchipy_cnn._progress import is_progress_shown
from kikuchipy_cnn.simulation.camera import Cameras
from kikuchipy_cnn.simulation.disturbances import Disturbances
from kikuchipy_cnn.simulation.library import load_library
from kikuchipy_cnn.simulation.projection import sample_to_crystal
from kikuchipy_cnn.simulation.sampler import PatternSampler

# Pixels simulated at once. The noise is drawn for so many, so changing it changes the noise.
_CHUNK = 2**24
_POINTS_FOR_EXPOSURE = 500
_LAZY_FROM = 256 * 2**20  # bytes
# Fraction of the pixels that may be over- or underexposed.
_CLIPPED = 1e-3
_NOT_IN_DATA = -2

MasterPattern = kp.signals.EBSDMasterPattern


def simulate_map(
    xmap: CrystalMap,
    detector: kp.detectors.EBSDDetector,
    master_patterns: Mapping[str, MasterPattern] | None = None,
    *,
    disturbances: Disturbances | Cameras | None = None,
    neighbours: CrystalMap | None = None,
    overlap: np.ndarray | None = None,
    seed: int = 0,
    dtype: str | np.dtype = "uint8",
    lazy: bool | None = None,
) -> kp.signals.EBSD:
    """Simulate the patterns of a map of known phases and orientations.

    The whole map is recorded by one camera, drawn from *disturbances*: only the noise differs from
    pattern to pattern. All patterns share one exposure, which clips about one pixel in a thousand.

    Parameters
    ----------
    xmap
        Phases and orientations, of one or two dimensions. Of several rotations of a point, the
        first is used. Points that are not indexed get patterns without diffraction, those not in
        the data stay 0.
    detector
        Shape of the patterns and projection center, one for all or one for each point.
    master_patterns
        Master patterns in the square Lambert projection by the names of the map's phases. Those of
        phases not given are taken from the packaged library.
    disturbances
        Imperfections to draw the camera from, of which the ranges that concern the projection are
        not used, or one camera that was drawn before, to record several maps with. If not given,
        there are no imperfections: see :meth:`Disturbances.none`.
    neighbours
        What the beam reaches beside each point, as at boundaries of grains: a map of the same
        shape with phases and orientations.
    overlap
        Share of the neighbour in the pattern of each point, from 0 to 1, of the map's shape. To be
        given if *neighbours* are.
    seed
        Seed of camera and noise.
    dtype
        Data type of the patterns: unsigned integers, whose range the exposure fills, or floats, in
        units of the standard deviation of what diffraction makes.
    lazy
        Whether to return a lazy signal. If not given, where it would take more than 256 MB.

    Returns
    -------
    signal
        Patterns of the map's shape, with *xmap* and *detector*.

    Raises
    ------
    ValueError
        If a phase has no master pattern, the detector's projection centers do not fit the map, the
        neighbours or their shares do not, there are several cameras, or the data type cannot be
        used.

    Examples
    --------
    Simulated twins of nine real patterns, as indexed:

    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn import simulation
    >>> s = kp.data.nickel_ebsd_small()
    >>> nickel = simulation.load_master_pattern("Ni")
    >>> twin = simulation.simulate_map(s.xmap, s.detector, {"ni": nickel})
    >>> twin
    <EBSD, title: , dimensions: (3, 3|60, 60)>
    """
    dtype = _checked_dtype(dtype)
    # A single point has no dimension in orix.
    shape = xmap.shape or (1,)
    if len(shape) > 2:
        raise ValueError(f"The map has the shape {shape}; give one of one or two dimensions.")
    if tuple(n for n in detector.navigation_shape if n > 1) not in (
        (),
        tuple(n for n in shape if n > 1),
    ):
        raise ValueError(
            f"The detector has projection centers of shape {detector.navigation_shape}, the map "
            f"has the shape {shape}. Give one projection center or one for each point."
        )
    points = _Points(xmap, detector, _master_patterns_of(xmap, master_patterns))
    if (neighbours is None) != (overlap is None):
        raise ValueError("Give both neighbours and overlap, or neither.")
    beside = None
    if neighbours is not None:
        if (neighbours.shape or (1,)) != shape:
            raise ValueError(f"The neighbours have the shape {neighbours.shape}, the map {shape}.")
        overlap = np.asarray(overlap, dtype=np.float32)
        if overlap.shape != shape or not ((overlap >= 0) & (overlap <= 1)).all():
            raise ValueError(
                f"overlap of shape {overlap.shape} must be of shape {shape} and from 0 to 1."
            )
        beside = _Points(neighbours, detector, _master_patterns_of(neighbours, master_patterns))
    rng = np.random.default_rng(seed)
    if isinstance(disturbances, Cameras):
        if len(disturbances) != 1:
            raise ValueError(f"{len(disturbances)} cameras are given; one records all of a map.")
        cameras = disturbances
    else:
        cameras = Cameras.draw(disturbances or Disturbances.none(), 1, rng)
    lit = cameras.weights(1, detector.shape) > 0
    noise_seed = int(rng.integers(2**63))

    def record(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Patterns of consecutive rows of the map, and where there is signal in them."""
        patterns, in_data = points.project(rows)
        if beside is not None:
            _mix(patterns, beside.project(rows)[0], overlap[rows].ravel())
        # The noise follows from the seed and the place.
        recorded = cameras.record(patterns, np.random.default_rng([noise_seed, int(rows[0])]))
        return recorded, (lit & in_data[:, None, None])

    sample = cameras.record(points.project_indexed(_POINTS_FOR_EXPOSURE), noise_seed)
    low, high = _exposure(sample[:, lit[0]], dtype)
    rows_at_once = max(1, _CHUNK // int(np.prod((*shape[1:], *detector.shape))))

    def expose(rows: np.ndarray) -> np.ndarray:
        recorded, has_signal = record(rows.ravel())
        exposed = _quantise(recorded, low, high, dtype) * has_signal
        return exposed.reshape(rows.size, *shape[1:], *detector.shape)

    rows = da.arange(shape[0], chunks=rows_at_once)
    new_axes = list(range(1, len(shape) + 2))
    data = rows.map_blocks(
        expose,
        dtype=dtype,
        new_axis=new_axes,
        chunks=(rows.chunks[0], *((n,) for n in (*shape[1:], *detector.shape))),
        meta=np.empty((0,) * (len(shape) + 2), dtype),
    )
    if lazy is None:
        lazy = data.nbytes > _LAZY_FROM
    if not lazy:
        # Patterns are made by several threads already.
        data = data.compute(scheduler="synchronous")
    signal_class = kp.signals.LazyEBSD if lazy else kp.signals.EBSD
    signal = signal_class(data, detector=detector.deepcopy(), xmap=xmap.deepcopy())
    _scale_axes(signal, xmap)
    return signal


def simulate_patterns(
    master_patterns: Sequence[MasterPattern],
    n: int,
    *,
    shape: tuple[int, int] | None = None,
    detector: kp.detectors.EBSDDetector | None = None,
    disturbances: Disturbances | None = None,
    probabilities: Sequence[float] | None = None,
    seed: int = 0,
    dtype: str | np.dtype = "uint8",
    show_progressbar: bool | None = None,
) -> kp.signals.EBSD:
    """Simulate labelled patterns of random orientations, each of a camera of its own.

    Parameters
    ----------
    master_patterns
        Master patterns in the square Lambert projection with named phases.
    n
        Number of patterns.
    shape
        Rows and columns of the patterns. If not given, those of *detector*, or 60 x 60.
    detector
        Detector whose projection centers are drawn from. If not given, they are drawn from the
        ranges of *disturbances*.
    disturbances
        Ranges of geometry and imperfections. If not given, the default ones.
    probabilities
        How often to draw each master pattern. If not given, all alike.
    seed
        Seed of the random numbers.
    dtype
        Data type: unsigned integers, whose range each pattern fills, or floats.
    show_progressbar
        Whether to show a progress bar. If not given, the value of
        :obj:`hyperspy.api.preferences.General.show_progressbar` is used.

    Returns
    -------
    signal
        Patterns of shape (n, rows, columns). Phases and rotations are in ``signal.xmap``, with the
        number of the space group as the property "space_group", the share of a second grain as
        "overlap" and the relative difference of the scales of rows and columns as "stretch".
        Projection centers are in ``signal.detector``.

    Raises
    ------
    ValueError
        If there is no master pattern, *n* is not positive, or the data type cannot be used.

    Examples
    --------
    >>> from kikuchipy_cnn import simulation
    >>> s = simulation.simulate_patterns(
    ...     [simulation.load_master_pattern(i) for i in ("Ni", "W")],
    ...     6,
    ...     shape=(80, 100),
    ...     show_progressbar=False,
    ... )
    >>> s
    <EBSD, title: , dimensions: (6|100, 80)>
    >>> s.xmap.prop["space_group"].shape
    (6,)
    """
    dtype = _checked_dtype(dtype)
    if n < 1:
        raise ValueError(f"n={n} patterns; give at least 1.")
    if len(master_patterns) == 0:
        raise ValueError("No master pattern is given; give at least one.")
    if shape is None:
        shape = (60, 60) if detector is None else detector.shape
    if probabilities is None:
        probabilities = np.ones(len(master_patterns))
    sampler = PatternSampler(
        _stacked(master_patterns),
        probabilities,
        shape,
        disturbances,
        seed,
        detector=detector,
    )
    data = np.empty((n, *shape), dtype)
    parts = []
    with tqdm(
        total=n, unit="pattern", disable=not is_progress_shown(show_progressbar)
    ) as progressbar:
        at_once = max(1, _CHUNK // int(np.prod(shape)))
        for start in range(0, n, at_once):
            sample = sampler.sample(min(at_once, n - start))
            for pattern, weight, out in zip(
                sample.patterns, sample.weights, data[start:], strict=False
            ):
                low, high = _exposure(pattern[weight > 0], dtype)
                out[:] = _quantise(pattern, low, high, dtype) * (weight > 0)
            parts.append(sample[2:])
            progressbar.update(len(sample.patterns))
    phases, matrices, geometry, overlaps = (np.concatenate(x) for x in zip(*parts, strict=True))

    placed = kp.detectors.EBSDDetector(shape=shape) if detector is None else detector.deepcopy()
    placed.shape = shape
    placed.pc = geometry[:, :3].astype(float)
    known = [m.phase for m in master_patterns]
    xmap = CrystalMap(
        rotations=sample_to_crystal(matrices, placed),
        phase_id=phases,
        x=np.arange(n),
        phase_list=PhaseList({i: phase.deepcopy() for i, phase in enumerate(known)}),
        # orix does not read the space groups of all trigonal phases back from files.
        prop={
            "space_group": np.array([phase.space_group.number for phase in known])[phases],
            "overlap": overlaps,
            "stretch": geometry[:, 3],
        },
    )
    signal = kp.signals.EBSD(data, detector=placed, xmap=xmap)
    _scale_axes(signal, xmap)
    return signal


def _mix(patterns: np.ndarray, others: np.ndarray, shares: np.ndarray) -> None:
    """Mix others into patterns, where they have a share, as if both diffracted equally."""
    for i in np.flatnonzero(shares):
        own, other = ((p - p.mean()) / (p.std() or 1) for p in (patterns[i], others[i]))
        patterns[i] = (1 - shares[i]) * own + shares[i] * other


def hemispheres(master_pattern: MasterPattern) -> np.ndarray:
    """Upper and lower hemisphere of a master pattern at its highest energy.

    Parameters
    ----------
    master_pattern
        Master pattern in the square Lambert projection. If it has one hemisphere, the crystal is
        taken to have an inversion centre.

    Returns
    -------
    hemispheres
        Array of shape (2, side, side).

    Raises
    ------
    ValueError
        If it is in another projection.
    """
    if master_pattern.projection != "lambert":
        raise ValueError(
            f"The master pattern of {master_pattern.phase.name} is in the "
            f"{master_pattern.projection} projection. Give one in the square Lambert projection, "
            'with kikuchipy.load(..., projection="lambert").'
        )
    data = np.asarray(master_pattern.data)
    names = [axis.name for axis in master_pattern.axes_manager.navigation_axes][::-1]
    if "energy" in names:
        data = np.take(data, -1, axis=names.index("energy"))
    if data.ndim == 2:
        data = np.stack([data, data[::-1, ::-1]])
        if master_pattern.hemisphere == "lower":
            data = data[::-1]
    return data


def _stacked(master_patterns: Sequence[MasterPattern]) -> np.ndarray:
    """Both hemispheres of all, of shape (phases, 2, side, side)."""
    data = [hemispheres(master_pattern) for master_pattern in master_patterns]
    sides = {m.phase.name: d.shape[-1] for m, d in zip(master_patterns, data, strict=True)}
    if len(set(sides.values())) > 1:
        raise ValueError(
            f"Master patterns differ in size: {sides}. Simulate all of one half width."
        )
    return np.stack(data)


class _Points:
    """Points of a map, ready to be projected."""

    def __init__(
        self,
        xmap: CrystalMap,
        detector: kp.detectors.EBSDDetector,
        master_patterns: dict[int, MasterPattern],
    ) -> None:
        shape = xmap.shape or (1,)
        self._phase_ids, self._points = (np.full(shape, _NOT_IN_DATA) for _ in range(2))
        if len(shape) == 2:
            place = xmap.row, xmap.col
        else:
            place = (xmap.row + xmap.col,) if xmap.shape else (np.array([0]),)
        self._phase_ids[place] = xmap.phase_id
        self._points[place] = np.arange(xmap.size)
        rotations = xmap.rotations
        self._rotations = rotations[:, 0] if rotations.ndim == 2 else rotations
        self._detector = detector
        self._centers = None
        if detector.navigation_size > 1:
            self._centers = detector.pc.reshape(*shape, 3)
        self._master_patterns = master_patterns

    def project(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Patterns of rows of the map, and which of their points are in the data."""
        centers = None if self._centers is None else self._centers[rows].reshape(-1, 3)
        ids = self._phase_ids[rows].ravel()
        return self._project(ids, self._points[rows].ravel(), centers), ids != _NOT_IN_DATA

    def project_indexed(self, n: int) -> np.ndarray:
        """At most so many patterns of points that are indexed, from all over the map."""
        places = np.flatnonzero(self._phase_ids.ravel() >= 0)
        if len(places) == 0:
            places = np.arange(self._phase_ids.size)
        places = places[:: -(-len(places) // n)]
        centers = None if self._centers is None else self._centers.reshape(-1, 3)[places]
        return self._project(self._phase_ids.ravel()[places], self._points.ravel()[places], centers)

    def _project(
        self, ids: np.ndarray, points: np.ndarray, centers: np.ndarray | None
    ) -> np.ndarray:
        patterns = np.zeros((len(ids), *self._detector.shape), np.float32)
        detector = self._detector.deepcopy()
        for phase_id, master_pattern in self._master_patterns.items():
            chosen = ids == phase_id
            if not chosen.any():
                continue
            if centers is not None:
                detector.pc = centers[chosen]
            projected = master_pattern.get_patterns(
                self._rotations[points[chosen]],
                detector,
                dtype_out="float32",
                compute=True,
                show_progressbar=False,
            )
            patterns[chosen] = projected.data.reshape(-1, *detector.shape)
        return patterns


def _master_patterns_of(
    xmap: CrystalMap, given: Mapping[str, MasterPattern] | None
) -> dict[int, MasterPattern]:
    """Master patterns in both hemispheres, by the ids of a map's phases."""
    found, library = {}, None
    for phase_id, phase in xmap.phases_in_data:
        if phase_id == -1:
            continue
        if given is not None and phase.name in given:
            found[phase_id] = _with_both_hemispheres(given[phase.name])
            continue
        library = library or load_library()
        try:
            found[phase_id] = library.signal(phase.name)
        except KeyError as error:
            raise ValueError(
                f"There is no master pattern of the map's phase {phase.name!r}. Give "
                f"master_patterns={{{phase.name!r}: ...}}, from simulate_master_pattern(), or name "
                "the phase as in load_phases()."
            ) from error
    for phase_id, master_pattern in found.items():
        wanted, there = xmap.phases[phase_id].space_group, master_pattern.phase.space_group
        if wanted is not None and there is not None and wanted.number != there.number:
            raise ValueError(
                f"Phase {xmap.phases[phase_id].name!r} of the map has space group {wanted.number}, "
                f"its master pattern {there.number}. Give master_patterns=..., or another name."
            )
    return found


def _with_both_hemispheres(master_pattern: MasterPattern) -> MasterPattern:
    """Complete a master pattern by inversion, where kikuchipy would mirror it."""
    return kp.signals.EBSDMasterPattern(
        hemispheres(master_pattern),
        projection="lambert",
        hemisphere="both",
        phase=master_pattern.phase,
    )


def _checked_dtype(dtype: str | np.dtype) -> np.dtype:
    dtype = np.dtype(dtype)
    if dtype.kind not in "uf" or dtype == np.uint64:
        raise ValueError(
            f"dtype={dtype} cannot be used. Give an unsigned integer of up to 32 bits or a float."
        )
    return dtype


def _exposure(values: np.ndarray, dtype: np.dtype) -> tuple[float, float]:
    """Intensities that become the darkest and the brightest value."""
    if dtype.kind == "f":
        return 0.0, 1.0
    low, high = np.quantile(values, (_CLIPPED / 2, 1 - _CLIPPED / 2))
    return (low, high) if high > low else (low - 1, low + 1)


def _quantise(values: np.ndarray, low: float, high: float, dtype: np.dtype) -> np.ndarray:
    if dtype.kind == "f":
        return values.astype(dtype)
    top = np.iinfo(dtype).max
    scaled = (values - np.float32(low)) * np.float32(top / (high - low))
    # The largest numbers of 32 bits are not in single precision.
    return np.clip(
        np.round(scaled), 0, np.nextafter(np.float32(top), 0) if top > 2**24 else top
    ).astype(dtype)


def _scale_axes(signal: kp.signals.EBSD, xmap: CrystalMap) -> None:
    axes = signal.axes_manager.navigation_axes
    # A column of points has the direction y only.
    names = "y" if len(axes) == 1 and xmap.dx == 0 and xmap.dy > 0 else "xy"
    for axis, name in zip(axes, names, strict=False):
        axis.name, axis.scale = name, getattr(xmap, f"d{name}") or 1
        axis.units = xmap.scan_unit
