# SPDX-License-Identifier: GPL-3.0-or-later

"""Master patterns of any crystal."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

import kikuchipy as kp
import numpy as np
from diffsims.crystallography import ReciprocalLatticeVector
from orix.crystal_map import Phase
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from kikuchipy_cnn._checks import check_integer
from kikuchipy_cnn._progress import is_progress_shown
from kikuchipy_cnn.simulation._threads import available_processors
from kikuchipy_cnn.simulation.bloch import (
    BlochParameters,
    BlochTables,
    backscattered_intensity,
    build_tables,
    check_energy,
)
from kikuchipy_cnn.simulation.lambert import operations_of_phase, symmetric_grid
from kikuchipy_cnn.simulation.phases import ATOMIC_NUMBERS
from kikuchipy_cnn.simulation.phases.structures import SHORTEST_AXIS

METHODS = ("dynamical", "kinematical")
# Farthest, in angstrom, that an operation of the space group may bring an atom from another.
_SYMMETRY_TOLERANCE = 0.05
_Task, _Result = TypeVar("_Task"), TypeVar("_Result")
# Directions solved between two moves of the progress bar.
_CHUNK = 256
_KINEMATICAL_DMIN = 0.7  # angstrom


def simulate_master_pattern(
    phase: Phase,
    energy: float = 20.0,
    *,
    half_width: int = 150,
    method: str = "dynamical",
    parameters: BlochParameters | None = None,
    workers: int | None = None,
    show_progressbar: bool | None = None,
) -> kp.signals.EBSDMasterPattern:
    """Simulate the master pattern of a crystal.

    Parameters
    ----------
    phase
        Crystal of any space group with its full unit cell in angstrom, such as
        :func:`~kikuchipy_cnn.simulation.load_phases` or
        :func:`~kikuchipy_cnn.simulation.phase_from_cif` return.
    energy
        Energy of the electrons in keV, from 5 to 40.
    half_width
        Pixels from the centre of the square Lambert projection to its edge. Its side is
        2 * half_width + 1.
    method
        "dynamical", the Bloch waves of :mod:`~kikuchipy_cnn.simulation.bloch`, or "kinematical", a
        sum of bands of the intensity of their structure factors. The latter takes seconds and needs
        no further package, but is too far from measured patterns to train on.
    parameters
        Cut-offs of the dynamical simulation. If not given, those of the packaged library are used.
    workers
        Number of processes of the dynamical simulation. If not given, all is done in this one. With
        more, call it under ``if __name__ == "__main__":`` in a script.
    show_progressbar
        Whether to show a progress bar. If not given, the value of
        :obj:`hyperspy.api.preferences.General.show_progressbar` is used.

    Returns
    -------
    master_pattern
        Both hemispheres in the square Lambert projection, of shape (2, side, side) and data type
        float32. The method and the energy stand in its title.

    Raises
    ------
    ValueError
        If the phase has no space group or no atoms, its lattice has not the symmetry of its space
        group, its atoms are not those of a full unit cell in angstrom, the energy is out of range,
        or the method is unknown.
    ImportError
        If ebsdsim, from which a dynamical simulation takes scattering factors, is not installed.

    Examples
    --------
    >>> from kikuchipy_cnn import simulation
    >>> nickel = simulation.load_phases([225])["Ni"]
    >>> master_pattern = simulation.simulate_master_pattern(
    ...     nickel, half_width=10, show_progressbar=False
    ... )
    >>> master_pattern.data.shape
    (2, 21, 21)
    >>> master_pattern.metadata.General.title
    'Ni, 20 keV, dynamical'
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r} must be one of {METHODS}.")
    if workers is not None:
        check_integer("workers", workers, 1)
    check_integer("half_width", half_width, 1)
    check_energy(energy)
    check_phase(phase)
    if method == "kinematical":
        data = _kinematical(phase, energy, half_width)
    else:
        values = simulate_independent(
            phase, energy, half_width, parameters, workers, is_progress_shown(show_progressbar)
        )
        data = symmetric_grid(phase, half_width).unfold(values)
    return as_signal(data, phase, energy, method)


def simulate_independent(
    phase: Phase,
    energy: float = 20.0,
    half_width: int = 150,
    parameters: BlochParameters | None = None,
    workers: int | None = None,
    show_progressbar: bool = False,
) -> np.ndarray:
    """Simulate the pixels of a dynamical master pattern that symmetry leaves independent.

    Parameters
    ----------
    phase, energy, half_width, parameters, workers, show_progressbar
        As in :func:`simulate_master_pattern`.

    Returns
    -------
    values
        Intensities in the directions of :func:`~kikuchipy_cnn.simulation.lambert.symmetric_grid`,
        of shape (n,) and data type float32.
    """
    parameters = parameters or BlochParameters()
    tables = build_tables(phase, energy, parameters)
    directions = symmetric_grid(phase, half_width).directions
    chunks = [directions[i : i + _CHUNK] for i in range(0, len(directions), _CHUNK)]
    values: list[np.ndarray] = []
    with tqdm(
        total=len(directions), desc=phase.name, unit="direction", disable=not show_progressbar
    ) as progressbar:
        for part in _solve_all(chunks, tables, parameters, workers):
            values.append(part)
            progressbar.update(len(part))
    return np.concatenate(values)


def check_phase(phase: Phase) -> None:
    """Raise an error if a phase is not what a simulation needs.

    Parameters
    ----------
    phase
        Phase to check.

    Raises
    ------
    ValueError
        If there is no space group, or there are no atoms, or lattice and atoms have not its
        symmetry, as where only the asymmetric unit is given, or an element is unknown.
    """
    if phase.space_group is None:
        raise ValueError(f"{phase.name}: a space group is needed. Give Phase(space_group=...).")
    structure = phase.structure
    if len(structure) == 0:
        raise ValueError(f"{phase.name}: there are no atoms in the unit cell. Give a structure.")
    shortest = min(structure.lattice.abcABG()[:3])
    if shortest < SHORTEST_AXIS:
        raise ValueError(
            f"{phase.name}: a lattice parameter of {shortest:g} is too short for angstrom. Give "
            "lengths in angstrom."
        )
    for atom in structure:
        if str(atom.element).capitalize() not in ATOMIC_NUMBERS:
            raise ValueError(f"{phase.name}: {atom.element!r} is no element. Give its symbol.")
        if not 0 < atom.occupancy <= 1 or not atom.Bisoequiv > 0:
            raise ValueError(
                f"{phase.name}: {atom.element} has occupancy {atom.occupancy:g} and B_iso "
                f"{atom.Bisoequiv:g} square angstrom. Give an occupancy in (0, 1] and a Uisoequiv "
                "above 0."
            )
    operations_of_phase(phase)
    _check_atoms(phase)


def _check_atoms(phase: Phase) -> None:
    """Every operation has to bring every atom onto one of its kind."""
    structure = phase.structure
    positions, base = structure.xyz, structure.lattice.base
    kinds = np.array([hash((str(a.element), round(a.occupancy, 3))) for a in structure])
    for operation in phase.space_group.symop_list:
        moved = positions @ operation.R.T + operation.t
        difference = moved[:, None] - positions
        distance = np.linalg.norm((difference - difference.round()) @ base, axis=-1)
        distance[kinds[:, None] != kinds] = np.inf
        alone = distance.min(axis=1) > _SYMMETRY_TOLERANCE
        if alone.any():
            atom = structure[int(alone.argmax())]
            raise ValueError(
                f"{phase.name}: {atom.element} at {atom.xyz.round(3)} has no counterpart that "
                f"space group {phase.space_group.number} asks for. All atoms of the unit cell are "
                "needed, in the group's setting: make the phase with phase_from_structure()."
            )


def as_signal(
    data: np.ndarray, phase: Phase, energy: float, method: str
) -> kp.signals.EBSDMasterPattern:
    """Wrap a master pattern for kikuchipy.

    Parameters
    ----------
    data
        Both hemispheres in the square Lambert projection, of shape (2, side, side).
    phase
        Its phase.
    energy
        Energy of the electrons in keV.
    method
        How it was made, for the title.

    Returns
    -------
    master_pattern
        Signal with one navigation axis, the hemisphere.
    """
    half = data.shape[-1] // 2
    axes = [{"name": "hemisphere", "size": 2}] + [
        {"name": name, "size": data.shape[-1], "offset": -half, "units": "px"}
        for name in ("height", "width")
    ]
    return kp.signals.EBSDMasterPattern(
        data,
        axes=axes,
        projection="lambert",
        hemisphere="both",
        phase=phase.deepcopy(),
        metadata={
            "General": {"title": f"{phase.name}, {energy:g} keV, {method}"},
            "Acquisition_instrument": {"SEM": {"beam_energy": float(energy)}},
        },
    )


def map_in_processes(
    function: Callable[[_Task], _Result],
    tasks: Iterable[_Task],
    workers: int | None,
    initializer: Callable | None = None,
    arguments: tuple = (),
) -> Iterator[_Result]:
    """Apply a function to tasks in fresh processes and yield the results in order.

    Parameters
    ----------
    function, tasks
        What to do, both to be sent to the processes.
    workers
        Number of processes. If not given, one for each processor that may be used.
    initializer, arguments
        Called once in each process.

    Yields
    ------
    result
        Of each task.
    """
    # Forked processes hang where TensorFlow runs already.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        workers or available_processors(), context, initializer, arguments
    ) as pool:
        try:
            yield from pool.map(function, tasks)
        finally:
            # After an error nothing that waits is begun.
            pool.shutdown(wait=True, cancel_futures=True)


def _solve_all(
    chunks: list[np.ndarray],
    tables: BlochTables,
    parameters: BlochParameters,
    workers: int | None,
) -> Iterator[np.ndarray]:
    if workers is None or workers == 1:
        return (_solve(chunk, tables, parameters) for chunk in chunks)
    return map_in_processes(_solve_in_worker, chunks, workers, _set_up_worker, (tables, parameters))


def _solve(chunk: np.ndarray, tables: BlochTables, parameters: BlochParameters) -> np.ndarray:
    # The matrices are too small to share among threads.
    with threadpool_limits(1):
        return np.array(
            [backscattered_intensity(d, tables, parameters) for d in chunk], dtype=np.float32
        )


def _set_up_worker(tables: BlochTables, parameters: BlochParameters) -> None:
    global _of_worker
    _of_worker = tables, parameters


def _solve_in_worker(chunk: np.ndarray) -> np.ndarray:
    return _solve(chunk, *_of_worker)


def _kinematical(phase: Phase, energy: float, half_width: int) -> np.ndarray:
    reflectors = ReciprocalLatticeVector.from_min_dspacing(phase.deepcopy(), _KINEMATICAL_DMIN)
    reflectors.calculate_structure_factor()
    strength = np.abs(reflectors.structure_factor)
    # The drawing of bands is slow, and the weakest are not seen.
    reflectors = reflectors[strength > 0.02 * strength.max()]
    reflectors.calculate_theta(1e3 * energy)
    simulator = kp.simulations.KikuchiPatternSimulator(reflectors)
    stereographic = simulator.calculate_master_pattern(
        half_size=half_width, hemisphere="both", scaling="square"
    )
    return stereographic.as_lambert(show_progressbar=False).data.astype(np.float32)
