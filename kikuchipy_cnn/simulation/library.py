# SPDX-License-Identifier: GPL-3.0-or-later

"""Libraries of dynamical master patterns of many phases, one of them packaged."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from importlib.resources import as_file, files
from pathlib import Path

import kikuchipy as kp
import numpy as np
from diffpy.structure import Lattice
from orix.crystal_map import Phase
from tqdm import tqdm

from kikuchipy_cnn._checks import check_integer
from kikuchipy_cnn._files import replacing
from kikuchipy_cnn._progress import is_progress_shown
from kikuchipy_cnn.simulation.bloch import (
    ENERGIES,
    BlochParameters,
    check_energy,
    import_ebsdsim,
)
from kikuchipy_cnn.simulation.lambert import (
    grid_of_operations,
    operations_of_phase,
    symmetric_grid,
)
from kikuchipy_cnn.simulation.master_pattern import (
    as_signal,
    check_phase,
    map_in_processes,
    simulate_independent,
    simulate_master_pattern,
)
from kikuchipy_cnn.simulation.phases import load_phase_table, load_phases, phase_from_record

_PACKAGED = files("kikuchipy_cnn.simulation") / "data" / "master_patterns_20kV.npz"
_KEYS = {"names", "space_groups", "energies", "half_width"} | {
    key + suffix for key in ("values", "operations") for suffix in ("", "_lengths")
}
# Raise it when the same input gives other intensities, so that kept results are not mixed.
_SOLVER_VERSION = 3


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
    escape_depth
        Relative change of the depth from which electrons escape, which is not well known.

    Raises
    ------
    ValueError
        If one is negative, or above 0.1 (lattice), 1 (debye_waller, escape_depth) or 5 (energy).

    Examples
    --------
    >>> import numpy as np
    >>> from kikuchipy_cnn import simulation
    >>> jitter = simulation.PhaseJitter(lattice=0.02, debye_waller=0)
    >>> variant = simulation.vary_phase(
    ...     simulation.load_phases([225])["Ni"],
    ...     jitter,
    ...     np.random.default_rng(1),
    ... )
    >>> round(variant.structure.lattice.a, 2)
    3.55
    """

    lattice: float = 0.01
    debye_waller: float = 0.3
    energy: float = 0.5
    escape_depth: float = 0.3

    def __post_init__(self) -> None:
        most_of_each = {"lattice": 0.1, "debye_waller": 1.0, "energy": 5.0, "escape_depth": 1.0}
        for name, most in most_of_each.items():
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name}={getattr(self, name)} must be from 0 to {most:g}.")


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

    Examples
    --------
    >>> from kikuchipy_cnn.simulation import load_library
    >>> library = load_library()
    >>> library
    MasterPatternLibrary(557 phases, 301 x 301 pixels)
    >>> "Ni" in library, library.space_groups["Ni"], library.energies["Ni"]
    (True, 225, 20.0)
    >>> library["Ni"].shape  # two hemispheres
    (2, 301, 301)
    >>> library.subset(["Ni", "W"]).save("two.npz")
    >>> load_library("two.npz").names
    ['Ni', 'W']
    """

    def __init__(
        self,
        names: Iterable[str],
        space_groups: Iterable[int],
        energies: Iterable[float],
        values: Sequence[np.ndarray],
        operations: Sequence[np.ndarray],
        half_width: int,
    ) -> None:
        self.names = [str(name) for name in names]
        _check_names(self.names)
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

    def simulate(
        self, phase: Phase, *, workers: int | None = None, show_progressbar: bool | None = None
    ) -> kp.signals.EBSDMasterPattern:
        """Simulate a master pattern of the energy and the size of those of the library.

        Parameters
        ----------
        phase, workers, show_progressbar
            As for :func:`~kikuchipy_cnn.simulation.simulate_master_pattern`.

        Returns
        -------
        master_pattern
            Signal as from that.

        Raises
        ------
        ValueError
            If the library's energies differ, or the phase cannot be simulated.
        """
        energies = set(self.energies.values())
        if len(energies) > 1:
            raise ValueError(
                f"The library has master patterns of {len(energies)} energies, so that it is open "
                f"which one {phase.name!r} is to be simulated for. Add it to a library first."
            )
        return simulate_master_pattern(
            phase,
            *energies,
            half_width=self.half_width,
            workers=workers,
            show_progressbar=show_progressbar,
        )

    def signal(self, name: str) -> kp.signals.EBSDMasterPattern:
        """Return the master pattern of one phase as a signal.

        Parameters
        ----------
        name
            Name of the phase.

        Returns
        -------
        master_pattern
            Both hemispheres in the square Lambert projection, of shape (2, side, side) and data
            type float32 in [0, 1]. Its phase is that of the catalogue where name and space group
            agree, otherwise one without atoms.

        Raises
        ------
        KeyError
            If there is no such phase.
        """
        self._check(name)
        number = self.space_groups[name]
        base = re.sub(r"#\d+$", "", name)
        record = load_phase_table().get(base)
        if record is not None and record.space_group == number:
            phase = phase_from_record(record)
        else:
            phase = Phase(name=base, space_group=number)
        return as_signal(self[name], phase, self.energies[name], "dynamical")

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
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **content)


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

    Examples
    --------
    >>> from kikuchipy_cnn.simulation import load_library
    >>> library = load_library()
    >>> len(library)
    557
    >>> numbers = library.space_groups
    >>> [name for name in library.names if numbers[name] == 228]
    ['TeO6H6', 'WNi6-model', 'Al2Ni3-model', 'AlCo3-model']
    """
    with (
        as_file(_PACKAGED if path is None else Path(path)) as file,
        _open_library(file) as data,
    ):
        missing = _KEYS - set(data.files)
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


def _open_library(file: Path) -> np.lib.npyio.NpzFile:
    try:
        data = np.load(file)
    # NumPy takes text for pickles.
    except (EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"'{file}' is no library of master patterns: {error}") from error
    if not isinstance(data, np.lib.npyio.NpzFile):
        raise ValueError(f"'{file}' is no library of master patterns, but a single array.")
    return data


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

    Examples
    --------
    >>> from kikuchipy_cnn.simulation import load_master_pattern
    >>> master_pattern = load_master_pattern("Ni")
    >>> master_pattern.data.shape
    (2, 301, 301)
    >>> master_pattern.phase.name, master_pattern.phase.space_group.number
    ('Ni', 225)
    """
    return load_library(path).signal(name)


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

    Examples
    --------
    >>> import numpy as np
    >>> from kikuchipy_cnn import simulation
    >>> nickel = simulation.load_phases([225])["Ni"]
    >>> variant = simulation.vary_phase(
    ...     nickel, simulation.PhaseJitter(), np.random.default_rng(1)
    ... )
    >>> [round(i.structure.lattice.a, 2) for i in (nickel, variant)]
    [3.52, 3.54]
    >>> variant.space_group.number
    225
    """
    variant = phase.deepcopy()
    structure = variant.structure
    scale = np.exp(jitter.lattice * rng.standard_normal())
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
    show_progressbar: bool | None = None,
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
        Further master patterns of each phase, with lattice parameters, displacement factors,
        energy and escape depth changed at random. In training, they keep a network from learning
        these.
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
        Whether to show a progress bar. If not given, the value of
        :obj:`hyperspy.api.preferences.General.show_progressbar` is used.

    Returns
    -------
    library
        What was written.

    Raises
    ------
    ValueError
        If a phase cannot be simulated, the energy is out of range, or a number is too small.
    ImportError
        If ebsdsim is not installed.

    Examples
    --------
    A small one of one phase, with coarse cut-offs:

    >>> from kikuchipy_cnn import simulation
    >>> library = simulation.build_library(
    ...     "mine.npz",
    ...     {"Ni": simulation.load_phases([225])["Ni"]},
    ...     half_width=10,
    ...     parameters=simulation.BlochParameters(0.06, 20, 40),
    ...     workers=1,
    ...     show_progressbar=False,
    ... )
    >>> simulation.load_library("mine.npz")
    MasterPatternLibrary(1 phases, 21 x 21 pixels)
    """
    path = Path(path)
    parameters, jitter = parameters or BlochParameters(), jitter or PhaseJitter()
    phases = load_phases() if phases is None else phases
    if len(phases) == 0:
        raise ValueError("No phase is given; give at least one.")
    check_energy(energy)
    check_integer("half_width", half_width, 1)
    check_integer("variants", variants, 0)
    if workers is not None:
        check_integer("workers", workers, 1)
    import_ebsdsim()
    folder = path.with_name(path.name + ".parts") if cache is None else Path(cache)
    tasks = []
    for name, phase in phases.items():
        # What can be wrong is found before the work begins.
        try:
            check_phase(phase)
        except ValueError as error:
            raise ValueError(f"The phase named {name!r} cannot be simulated. {error}") from error
        tasks.append((name, phase, energy, half_width, parameters, folder))
        # Each phase's variants are the same whatever the other phases are.
        rng = np.random.default_rng([seed, *str(name).encode()])
        for i in range(1, variants + 1):
            variant = vary_phase(phase, jitter, rng)
            changed = np.clip(energy + jitter.energy * rng.standard_normal(), *ENERGIES)
            depth = parameters.escape_depth * np.exp(jitter.escape_depth * rng.standard_normal())
            deeper = replace(parameters, escape_depth=depth)
            tasks.append((f"{name}#{i}", variant, changed, half_width, deeper, folder))
    _check_names([task[0] for task in tasks])
    folder.mkdir(parents=True, exist_ok=True)
    progress = tqdm(
        _simulate_all(tasks, workers),
        total=len(tasks),
        unit="phase",
        disable=not is_progress_shown(show_progressbar),
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
        for task in tasks:
            _kept_file(*task).unlink(missing_ok=True)
        # Another run may still need its own files there.
        with contextlib.suppress(OSError):
            folder.rmdir()
    return library


def _check_names(names: list[str]) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(f"{', '.join(repeated)}: named twice. Give each phase a name of its own.")


def _simulate_all(tasks: list[tuple], workers: int | None) -> Iterator[np.ndarray]:
    if workers == 1:
        yield from map(_simulate, tasks)
        return
    yield from map_in_processes(_simulate, tasks, workers)


def _scale(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    return np.round((values - low) / (high - low) * 255).astype(np.uint8)


def _simulate(task: tuple[str, Phase, float, int, BlochParameters, Path]) -> np.ndarray:
    name, phase, energy, half_width, parameters, folder = task
    kept = _kept_file(*task)
    values = _read_kept(kept, len(symmetric_grid(phase, half_width)))
    if values is not None:
        return values
    try:
        values = simulate_independent(phase, energy, half_width, parameters)
    except (ValueError, np.linalg.LinAlgError) as error:
        raise ValueError(f"The master pattern of {name} failed: {error}") from error
    # Two runs may share the folder: each has a temporary file of its own, and the other may have
    # removed the folder.
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(kept) as temporary:
        np.save(temporary, values)
    return values


def _kept_file(
    name: str,
    phase: Phase,
    energy: float,
    half_width: int,
    parameters: BlochParameters,
    folder: Path,
) -> Path:
    """File of a finished phase, which another structure or setting does not have."""
    digest = _digest(phase, energy, half_width, parameters)
    # Not all characters may stand in the name of a file.
    return folder / f"{re.sub(r'[^A-Za-z0-9.+#-]', '_', name)[:60]}-{digest}.npy"


def _read_kept(file: Path, n: int) -> np.ndarray | None:
    """Intensities of an earlier run, or None if there are none that can be used."""
    try:
        values = np.load(file)
    except (OSError, ValueError, EOFError):
        return None
    return values if values.shape == (n,) and np.isfinite(values).all() else None


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
        # Scattering factors and escape depths are its.
        version("ebsdsim"),
    )
    return hashlib.sha256(repr(content).encode()).hexdigest()[:16]
