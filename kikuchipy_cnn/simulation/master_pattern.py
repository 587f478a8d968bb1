"""Master patterns of any crystal."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator

import kikuchipy as kp
import numpy as np
from diffsims.crystallography import ReciprocalLatticeVector
from orix.crystal_map import Phase
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from kikuchipy_cnn.simulation.bloch import (
    BlochParameters,
    BlochTables,
    backscattered_intensity,
    build_tables,
)
from kikuchipy_cnn.simulation.lambert import symmetric_grid

METHODS = ("dynamical", "kinematical")
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
    show_progressbar: bool = True,
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
        Whether to show a progress bar.

    Returns
    -------
    master_pattern
        Both hemispheres in the square Lambert projection, of shape (2, side, side) and data type
        float32. The method and the energy stand in its title.

    Raises
    ------
    ValueError
        If the phase has no space group or no atoms, its lattice has not the symmetry of its space
        group, the energy is out of range, or the method is unknown.
    ImportError
        If ebsdsim, from which a dynamical simulation takes scattering factors, is not installed.
    """
    if method not in METHODS:
        raise ValueError(f"method={method!r} must be one of {METHODS}.")
    if half_width < 1:
        raise ValueError(f"half_width={half_width} must be at least 1 pixel.")
    if workers is not None and workers < 1:
        raise ValueError(f"workers={workers} must be at least 1 process.")
    check_phase(phase)
    if method == "kinematical":
        data = _kinematical(phase, energy, half_width)
    else:
        values = simulate_independent(
            phase, energy, half_width, parameters, workers, show_progressbar
        )
        data = symmetric_grid(phase, half_width).unfold(values)
    return as_signal(data, phase, f"{phase.name}, {energy:g} keV, {method}")


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
    directions = symmetric_grid(phase, half_width).directions
    chunks = [directions[i : i + _CHUNK] for i in range(0, len(directions), _CHUNK)]
    values: list[np.ndarray] = []
    with tqdm(
        total=len(directions), desc=phase.name, unit="direction", disable=not show_progressbar
    ) as progressbar:
        for part in _solve_all(chunks, phase, energy, parameters, workers):
            values.append(part)
            progressbar.update(len(part))
    return np.concatenate(values)


def check_phase(phase: Phase) -> None:
    """Raise a ValueError if a phase lacks what a simulation needs.

    Parameters
    ----------
    phase
        Phase to check.
    """
    if phase.space_group is None:
        raise ValueError(f"{phase.name}: a space group is needed. Give Phase(space_group=...).")
    if len(phase.structure) == 0:
        raise ValueError(f"{phase.name}: there are no atoms in the unit cell. Give a structure.")


def as_signal(data: np.ndarray, phase: Phase, title: str) -> kp.signals.EBSDMasterPattern:
    """Wrap a master pattern for kikuchipy.

    Parameters
    ----------
    data
        Both hemispheres in the square Lambert projection, of shape (2, side, side).
    phase
        Its phase.
    title
        Title of the signal.

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
        metadata={"General": {"title": title}},
    )


def _solve_all(
    chunks: list[np.ndarray],
    phase: Phase,
    energy: float,
    parameters: BlochParameters,
    workers: int | None,
) -> Iterator[np.ndarray]:
    if workers is None or workers == 1:
        tables = build_tables(phase, energy, parameters)
        yield from (_solve(chunk, tables, parameters) for chunk in chunks)
        return
    # Fresh processes: forked ones hang where TensorFlow runs already.
    with multiprocessing.get_context("spawn").Pool(
        workers, _set_up_worker, (phase, energy, parameters)
    ) as pool:
        yield from pool.imap(_solve_in_worker, chunks)


def _solve(chunk: np.ndarray, tables: BlochTables, parameters: BlochParameters) -> np.ndarray:
    # The matrices are too small to share among threads.
    with threadpool_limits(1):
        return np.array(
            [backscattered_intensity(d, tables, parameters) for d in chunk], dtype=np.float32
        )


def _set_up_worker(phase: Phase, energy: float, parameters: BlochParameters) -> None:
    global _of_worker
    _of_worker = build_tables(phase, energy, parameters), parameters


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
