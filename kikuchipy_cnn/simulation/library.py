"""The packaged library of dynamical master patterns."""

from __future__ import annotations

import multiprocessing
import os
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from tqdm import tqdm

from kikuchipy_cnn.simulation.master_pattern import BlochParameters, simulate_sector, unfold_sector
from kikuchipy_cnn.simulation.phases import load_phases

_PACKAGED = files("kikuchipy_cnn.simulation") / "data" / "master_patterns_20kV.npz"


class MasterPatternLibrary:
    """Master patterns of many phases, unfolded when asked for.

    Parameters
    ----------
    names
        Names of the phases.
    space_groups
        Their space group numbers.
    sectors
        Intensities in the fundamental sector, of shape (phases, n) and data type uint8.
    half_width
        Pixels from the centre of a master pattern to its edge.
    energy
        Energy of the electrons in keV.
    """

    def __init__(self, names, space_groups, sectors, half_width: int, energy: float) -> None:
        self.names = [str(name) for name in names]
        self.space_groups = dict(zip(self.names, (int(n) for n in space_groups), strict=True))
        self.half_width = int(half_width)
        self.energy = float(energy)
        self._sectors = dict(zip(self.names, sectors, strict=True))

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self._sectors

    def __getitem__(self, name: str) -> np.ndarray:
        """Square Lambert projection of one phase, of data type float32 in [0, 1]."""
        if name not in self._sectors:
            raise KeyError(f"No master pattern of {name!r}. There are: {', '.join(self.names)}.")
        return unfold_sector(self._sectors[name] / np.float32(255), self.half_width)

    def __repr__(self) -> str:
        side = 2 * self.half_width + 1
        return (
            f"{type(self).__name__}({len(self)} phases, {side} x {side} pixels, {self.energy} keV)"
        )


def load_library(path: str | os.PathLike | None = None) -> MasterPatternLibrary:
    """Load a library of master patterns.

    Parameters
    ----------
    path
        File written by :func:`build_library`. If not given, the packaged library is loaded.

    Returns
    -------
    library
        Master patterns by name of phase.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    with as_file(_PACKAGED if path is None else Path(path)) as file, np.load(file) as data:
        return MasterPatternLibrary(
            data["names"], data["space_groups"], data["sectors"], data["half_width"], data["energy"]
        )


def build_library(
    path: str | os.PathLike,
    names: list[str] | None = None,
    *,
    energy: float = 20.0,
    half_width: int = 150,
    parameters: BlochParameters | None = None,
    cache: str | os.PathLike | None = None,
    workers: int | None = None,
    show_progressbar: bool = True,
) -> MasterPatternLibrary:
    """Simulate the master patterns of phases of the catalogue and write them to a file.

    Parameters
    ----------
    path
        File to write (.npz).
    names
        Phases of the catalogue. If not given, all.
    energy
        Energy of the electrons in keV.
    half_width
        Pixels from the centre of a master pattern to its edge.
    parameters
        Cut-offs of the simulation.
    cache
        Folder for finished phases, so that a broken-off run goes on where it stopped. It belongs to
        one set of energy, half width and parameters. If not given, nothing is kept.
    workers
        Number of processes. If not given, one per processor.
    show_progressbar
        Whether to show a progress bar.

    Returns
    -------
    library
        What was written.
    """
    path = Path(path)
    phases = load_phases()
    names = list(phases) if names is None else names
    tasks = [(phases[name], energy, half_width, parameters, cache) for name in names]
    # Fresh processes: forked ones hang where TensorFlow runs already.
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        sectors = list(
            tqdm(pool.imap(_simulate, tasks), total=len(tasks), disable=not show_progressbar)
        )
    low, high = (np.array([f(s) for s in sectors])[:, None] for f in (np.min, np.max))
    scaled = np.round((np.array(sectors) - low) / (high - low) * 255).astype(np.uint8)
    content = {
        "names": np.array(names),
        "space_groups": np.array([phases[name].space_group.number for name in names]),
        "sectors": scaled,
        "half_width": half_width,
        "energy": energy,
    }
    temporary = path.with_name(path.name + ".part")
    with open(temporary, "wb") as file:
        np.savez_compressed(file, **content)
    temporary.replace(path)
    return MasterPatternLibrary(**content)


def _simulate(task) -> np.ndarray:
    phase, energy, half_width, parameters, cache = task
    kept = None if cache is None else Path(cache) / f"{phase.name}.npy"
    if kept is not None and kept.exists():
        return np.load(kept)
    sector = simulate_sector(phase, energy, half_width, parameters)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with open(kept.with_suffix(".part"), "wb") as file:
            np.save(file, sector)
        kept.with_suffix(".part").replace(kept)
    return sector
