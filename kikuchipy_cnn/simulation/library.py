"""Libraries of dynamical master patterns of many phases, one of them packaged."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import as_file, files
from pathlib import Path

import kikuchipy as kp
import numpy as np
from diffpy.structure import Lattice
from orix.crystal_map import Phase
from tqdm import tqdm

from kikuchipy_cnn.simulation.bloch import BlochParameters
from kikuchipy_cnn.simulation.lambert import grid_of_operations, operations_of_phase
from kikuchipy_cnn.simulation.master_pattern import as_signal, check_phase, simulate_independent
from kikuchipy_cnn.simulation.phases import load_phases

_PACKAGED = files("kikuchipy_cnn.simulation") / "data" / "master_patterns_20kV.npz"
# Raise it when the same input gives other intensities, so that kept results are not mixed.
_SOLVER_VERSION = 2


@dataclass(frozen=True)
class PhaseJitter:
    """Standard deviations by which variants of a phase differ from it.

    Parameters
    ----------
    lattice
        Relative change of all lattice parameters together: thermal expansion, solid solution.
    debye_waller
        Relative change of all displacement factors together.
    energy
        Change of the energy of the electrons, in keV.
    """

    lattice: float = 0.01
    debye_waller: float = 0.3
    energy: float = 0.5


class MasterPatternLibrary:
    """Master patterns of many phases, unfolded when asked for.

    Parameters
    ----------
    names
        Names of the phases. A variant is named as its phase, with "#" and a number.
    space_groups
        Their space group numbers.
    energies
        Energy of the electrons in keV, for each.
    values
        Intensities of the independent pixels, an array of data type uint8 for each.
    operations
        Orthogonal matrices of the point group, of shape (n, 3, 3) for each.
    half_width
        Pixels from the centre of a master pattern to its edge.

    Attributes
    ----------
    names
        Names of the phases.
    space_groups
        Space group numbers by name.
    energies
        Energies in keV by name.
    half_width
        Pixels from the centre of a master pattern to its edge.
    """

    def __init__(self, names, space_groups, energies, values, operations, half_width: int) -> None:
        self.names = [str(name) for name in names]
        self.space_groups = dict(zip(self.names, (int(n) for n in space_groups), strict=True))
        self.energies = dict(zip(self.names, (float(e) for e in energies), strict=True))
        self.half_width = int(half_width)
        self._values = dict(zip(self.names, values, strict=True))
        self._operations = dict(zip(self.names, operations, strict=True))

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __getitem__(self, name: str) -> np.ndarray:
        """Both hemispheres of one phase, of shape (2, side, side), float32 in [0, 1]."""
        self._check(name)
        grid = grid_of_operations(self._operations[name], self.half_width)
        return np.clip(grid.unfold(self._values[name]) / np.float32(255), 0, 1)

    def _check(self, name: str) -> None:
        if name not in self:
            raise KeyError(f"No master pattern of {name!r}. There are: {', '.join(self.names)}.")

    def __repr__(self) -> str:
        side = 2 * self.half_width + 1
        return f"{type(self).__name__}({len(self)} phases, {side} x {side} pixels)"

    def subset(self, names: Sequence[str]) -> MasterPatternLibrary:
        """Return a library of some of the phases.

        Parameters
        ----------
        names
            Names of phases of this library.

        Returns
        -------
        library
            Library that shares the data.

        Raises
        ------
        KeyError
            If a name is not in this library.
        """
        for name in names:
            self._check(name)
        return MasterPatternLibrary(
            names,
            *([column[name] for name in names] for column in (
                self.space_groups, self.energies, self._values, self._operations
            )),
            half_width=self.half_width,
        )  # fmt: skip

    def save(self, path: str | os.PathLike) -> None:
        """Write the library to a file, through a temporary one.

        Parameters
        ----------
        path
            File to write (.npz). An existing one is replaced.
        """
        path = Path(path)
        content = {
            "names": np.array(self.names),
            "space_groups": np.array(list(self.space_groups.values())),
            "energies": np.array(list(self.energies.values())),
            "half_width": self.half_width,
        }
        for key, parts in (("values", self._values), ("operations", self._operations)):
            content[key] = np.concatenate(list(parts.values()))
            content[f"{key}_lengths"] = np.array([len(part) for part in parts.values()])
        temporary = path.with_name(path.name + ".part")
        with open(temporary, "wb") as file:
            np.savez_compressed(file, **content)
        temporary.replace(path)


def load_library(path: str | os.PathLike | None = None) -> MasterPatternLibrary:
    """Load a library of master patterns.

    Parameters
    ----------
    path
        File written by :func:`build_library`. If not given, the packaged library is loaded: all
        phases of :func:`~kikuchipy_cnn.simulation.load_phases` at 20 keV.

    Returns
    -------
    library
        Master patterns by name of phase.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is no library.
    """
    with as_file(_PACKAGED if path is None else Path(path)) as file, np.load(file) as data:
        missing = {"names", "values_lengths", "operations_lengths"} - set(data.files)
        if missing:
            raise ValueError(
                f"'{file}' is no library of master patterns: {', '.join(sorted(missing))} missing. "
                "Give a file written by build_library()."
            )
        parts = {
            key: np.split(data[key], np.cumsum(data[f"{key}_lengths"])[:-1])
            for key in ("values", "operations")
        }
        return MasterPatternLibrary(
            data["names"], data["space_groups"], data["energies"], **parts,
            half_width=data["half_width"],
        )  # fmt: skip


def load_master_pattern(
    name: str, path: str | os.PathLike | None = None
) -> kp.signals.EBSDMasterPattern:
    """Load the dynamical master pattern of one phase of the catalogue.

    Parameters
    ----------
    name
        Name of the phase, such as "Ni".
    path
        Library to take it from. If not given, the packaged one at 20 keV.

    Returns
    -------
    master_pattern
        Both hemispheres in the square Lambert projection, of shape (2, side, side) and data type
        float32 in [0, 1], with its phase.

    Raises
    ------
    KeyError
        If the library has no such phase.
    """
    library = load_library(path)
    data = library[name]
    known = load_phases()
    base = name.split("#")[0]
    phase = known.get(base, Phase(name=base, space_group=library.space_groups[name]))
    return as_signal(data, phase, f"{name}, {library.energies[name]:g} keV, dynamical")


def vary_phase(phase: Phase, jitter: PhaseJitter, rng: np.random.Generator) -> Phase:
    """Copy a phase with its lattice parameters and displacement factors changed at random.

    Parameters
    ----------
    phase
        Phase to start from.
    jitter
        Standard deviations of the changes.
    rng
        Source of random numbers.

    Returns
    -------
    variant
        Phase of the same space group, name and fractional coordinates.
    """
    variant = phase.deepcopy()
    structure = variant.structure
    scale = 1 + jitter.lattice * rng.standard_normal()
    a, b, c, *angles = structure.lattice.abcABG()
    structure.lattice = Lattice(
        scale * a, scale * b, scale * c, *angles, baserot=structure.lattice.baserot
    )
    factor = np.exp(jitter.debye_waller * rng.standard_normal())
    for atom in structure:
        atom.Uisoequiv = factor * atom.Uisoequiv
    return variant


def build_library(
    path: str | os.PathLike,
    phases: Mapping[str, Phase] | None = None,
    *,
    energy: float = 20.0,
    half_width: int = 150,
    parameters: BlochParameters | None = None,
    variants: int = 0,
    jitter: PhaseJitter | None = None,
    seed: int = 0,
    cache: str | os.PathLike | None = None,
    workers: int | None = None,
    show_progressbar: bool = True,
) -> MasterPatternLibrary:
    """Simulate the dynamical master patterns of phases and write them to a file.

    A run that is broken off goes on where it stopped when it is started again.

    Parameters
    ----------
    path
        File to write (.npz).
    phases
        Phases by name. If not given, the whole catalogue.
    energy
        Energy of the electrons in keV.
    half_width
        Pixels from the centre of a master pattern to its edge.
    parameters
        Cut-offs of the simulation.
    variants
        Further master patterns of each phase, with lattice parameters, displacement factors and
        energy changed at random. In training, they keep a network from learning these.
    jitter
        How much the variants differ. If not given, the default of :class:`PhaseJitter`.
    seed
        Seed of the variants.
    cache
        Folder for finished phases. A phase that was finished with another structure or setting is
        not taken from there. If not given, it is next to *path* and removed at the end.
    workers
        Number of processes. If not given, one per processor. In a script, call this under ``if
        __name__ == "__main__":``.
    show_progressbar
        Whether to show a progress bar.

    Returns
    -------
    library
        What was written.

    Raises
    ------
    ValueError
        If a phase cannot be simulated.
    ImportError
        If ebsdsim is not installed.
    """
    path = Path(path)
    folder = path.with_name(path.name + ".parts") if cache is None else Path(cache)
    folder.mkdir(parents=True, exist_ok=True)
    parameters = parameters or BlochParameters()
    tasks = []
    for name, phase in (load_phases() if phases is None else phases).items():
        check_phase(phase)
        tasks.append((name, phase, energy, half_width, parameters, folder))
        # Each phase's variants are the same whatever the other phases are.
        rng = np.random.default_rng([seed, *name.encode()])
        for i in range(1, variants + 1):
            variant = vary_phase(phase, jitter or PhaseJitter(), rng)
            changed = energy + (jitter or PhaseJitter()).energy * rng.standard_normal()
            tasks.append((f"{name}#{i}", variant, changed, half_width, parameters, folder))
    progress = tqdm(
        _simulate_all(tasks, workers), total=len(tasks), unit="phase", disable=not show_progressbar
    )
    values = [_scale(part) for part in progress]
    names, all_phases, energies = (list(column) for column in list(zip(*tasks, strict=True))[:3])
    library = MasterPatternLibrary(
        names,
        [phase.space_group.number for phase in all_phases],
        energies,
        values,
        [operations_of_phase(phase) for phase in all_phases],
        half_width,
    )
    library.save(path)
    if cache is None:
        shutil.rmtree(folder)
    return library


def _simulate_all(tasks: list[tuple], workers: int | None) -> Iterator[np.ndarray]:
    if workers == 1:
        yield from map(_simulate, tasks)
        return
    # Fresh processes: forked ones hang where TensorFlow runs already.
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap(_simulate, tasks)


def _scale(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    return np.round((values - low) / (high - low) * 255).astype(np.uint8)


def _simulate(task: tuple[str, Phase, float, int, BlochParameters, Path]) -> np.ndarray:
    name, phase, energy, half_width, parameters, folder = task
    digest = _digest(phase, energy, half_width, parameters)
    kept = folder / f"{name.replace('/', '_')}-{digest}.npy"
    if kept.exists():
        return np.load(kept)
    try:
        values = simulate_independent(phase, energy, half_width, parameters)
    except (ValueError, np.linalg.LinAlgError) as error:
        raise ValueError(f"The master pattern of {name} failed: {error}") from error
    # Two runs may share the folder: each has a temporary file of its own.
    temporary = kept.with_name(f"{kept.name}.{os.getpid()}.part")
    with open(temporary, "wb") as file:
        np.save(file, values)
    temporary.replace(kept)
    return values


def _digest(phase: Phase, energy: float, half_width: int, parameters: BlochParameters) -> str:
    """Name of everything that decides on the result."""
    structure = phase.structure
    atoms = [(a.element, *a.xyz.round(8), a.occupancy, round(a.Bisoequiv, 8)) for a in structure]
    content = (
        structure.lattice.base.round(8).tolist(),
        [tuple(str(x) for x in atom) for atom in atoms],
        operations_of_phase(phase).tolist(),
        float(energy),
        int(half_width),
        sorted(asdict(parameters).items()),
        _SOLVER_VERSION,
    )
    return hashlib.sha256(repr(content).encode()).hexdigest()[:16]
