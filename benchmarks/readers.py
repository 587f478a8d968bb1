"""What other programs get back from a map in each format, and how fast it is written and read.

    python benchmarks/readers.py

The readers are those of the package index: orix, DefDAP (``pip install defdap``), DAMASK
(``pip install --no-deps damask``) and our own. MTEX and DREAM.3D do not run here; tests/test_io
reads the files by the rules of their sources. The map has nickel (225), a phase with Greek letters
and subscripts in its name (221) and hexagonal titanium (194), points that are not indexed and
points that are not in data.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io as standard_io
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import orix.io
from orix.crystal_map import CrystalMap, PhaseList, create_coordinate_arrays
from orix.quaternion import Rotation

from kikuchipy_cnn import __version__, io
from kikuchipy_cnn._tables import aligned
from kikuchipy_cnn.simulation import load_phases

FORMATS = ("ang", "ctf", "h5")
# Oxford's sample frame and EDAX's, in degrees about the normal
TURN = {"ctf": 90.0}


def example(shape: tuple[int, int], *, one_phase: bool = False) -> CrystalMap:
    """Map of three phases, or of nickel alone."""
    rng = np.random.default_rng(0)
    n = shape[0] * shape[1]
    catalogue = load_phases()
    phases = {i: catalogue[name] for i, name in ((225, "Ni"), (221, "Ni3Al"), (194, "Ti-alpha"))}
    phases[221].name = "γ′-Ni₃Al"
    if one_phase:
        phases = {225: phases[225]}
    phase_id = rng.choice(list(phases), n)
    is_in_data = np.ones(n, dtype=bool)
    if not one_phase:
        phase_id[::17] = -1
        is_in_data[5::23] = False
    coordinates, _ = create_coordinate_arrays(shape, (0.25, 0.25))
    return CrystalMap(
        rotations=Rotation.random(n),
        phase_id=phase_id,
        phase_list=PhaseList(phases),
        prop={"scores": rng.random(n), "iq": rng.random(n)},
        scan_unit="um",
        is_in_data=is_in_data,
        **coordinates,
    )


def found_by_orix(path: Path) -> dict:
    """What orix's own readers return."""
    with contextlib.redirect_stdout(standard_io.StringIO()):
        return _found(orix.io.load(path))


def found_by_us(path: Path) -> dict:
    """What our reader returns."""
    return _found(io.load(path)) | {"is_turned_back": True}


def found_by_defdap(path: Path) -> dict:
    """What DefDAP's reader returns."""
    from defdap import ebsd

    with contextlib.redirect_stdout(standard_io.StringIO()):
        read = ebsd.Map(path)
    eulers = read.data.euler_angle.reshape(3, -1).T.astype(float)
    if path.suffix == ".ang":
        # DefDAP turns EDAX's angles by -90 degrees, to Oxford's frame
        eulers[:, 0] += np.pi / 2
    return {
        "phases": [phase.name for phase in read.phases],
        "groups": [phase.spaceGroup for phase in read.phases],
        "edges": [phase.lattice_params[0] for phase in read.phases],
        "number": read.data.phase.ravel(),
        "rotations": Rotation.from_euler(eulers),
        "scores": read.data.confidence_index.ravel() if path.suffix == ".ang" else None,
    }


def found_by_damask(path: Path) -> dict:
    """What DAMASK's reader returns."""
    import damask

    read = damask.Table.load_ang(path)
    return {
        "phases": [],
        "groups": [],
        "edges": [],
        "number": read.get("ID").ravel().astype(int),
        "rotations": Rotation.from_euler(read.get("eu")),
        "scores": read.get("CI").ravel(),
    }


READERS: dict[str, tuple[str | None, tuple[str, ...], Callable[[Path], dict]]] = {
    "orix": ("orix", FORMATS, found_by_orix),
    "DefDAP": ("defdap", ("ang", "ctf"), found_by_defdap),
    "DAMASK": ("damask", ("ang",), found_by_damask),
    "kikuchipy_cnn": (None, FORMATS, found_by_us),
}


def compare(xmap: CrystalMap, found: dict, format_: str) -> tuple[str, ...]:
    """What was found beside what was written."""
    indexed = np.zeros(xmap.is_in_data.size, dtype=bool)
    indexed[xmap.is_in_data] = xmap.is_indexed
    own = {i: phase for i, phase in xmap.phases if i != -1}
    # Phases are numbered from 1 in the files, in ascending order of the IDs in the map
    number_of_id = {i: number for number, i in enumerate(own, start=1)}
    written = np.array([number_of_id.get(i, 0) for i in xmap._phase_id]) * indexed
    number = np.asarray(found["number"])
    ids = sorted(set(number[indexed].tolist()))
    as_numbers = np.array([ids.index(i) + 1 if i in ids else 0 for i in number.tolist()])
    same = np.mean(as_numbers[indexed] == written[indexed])
    not_indexed = np.count_nonzero(~np.isin(number[~indexed], ids))
    eulers = xmap._rotations[indexed].to_euler()
    if not found.get("is_turned_back"):
        eulers[:, 0] += np.deg2rad(TURN.get(format_, 0))
    expected = Rotation.from_euler(eulers)
    errors = np.rad2deg((found["rotations"][indexed] * ~expected).angle)
    scores = "-"
    if found["scores"] is not None:
        difference = np.abs(found["scores"] - dict.__getitem__(xmap.prop, "scores"))
        scores = f"{difference[indexed].max():.0e}"
    return (
        ", ".join(found["phases"]) or "-",
        ", ".join(str(i or "-") for i in found["groups"]) or "-",
        ", ".join(f"{i:.3f}" for i in found["edges"]) or "-",
        f"{same:.0%}",
        f"{not_indexed} of {np.count_nonzero(~indexed)}",
        f"{min(errors.max(), 999):.0e}",
        scores,
    )


def main() -> None:
    """Print the tables."""
    heading = (
        "reader", "format", "phases", "space groups", "a (A)", "same phase", "not indexed",
        "rotation off by (deg)", "score off by",
    )  # fmt: skip
    rows = [heading]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for one_phase in (False, True):
            xmap = example((30, 40), one_phase=one_phase)
            for format_ in FORMATS:
                path = Path(folder) / f"a.{format_}"
                io.save(path, xmap, overwrite=True)
                for name, (package, formats, read) in READERS.items():
                    if format_ in formats:
                        version = importlib.metadata.version(package) if package else __version__
                        what = f".{format_}{', one phase' if one_phase else ''}"
                        try:
                            cells = compare(xmap, read(path), format_)
                        except ValueError as error:
                            cells = (f"refused: {error}", *("-",) * 6)
                        rows.append((f"{name} {version}", what, *cells))
        print(aligned(rows, n_left=5))
        print()
        print(aligned(speed(Path(folder))))


def speed(folder: Path) -> list[tuple[str, ...]]:
    """Seconds and memory of a map of 10^6 points."""
    xmap = example((1000, 1000))
    rows = [("10^6 points", "written (s)", "memory beside the map (MiB)", "file (MiB)", "read (s)")]
    for format_ in FORMATS:
        path = folder / f"large.{format_}"
        start = time.perf_counter()
        io.save(path, xmap, overwrite=True)
        written = time.perf_counter() - start
        tracemalloc.start()
        io.save(path, xmap, overwrite=True)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        start = time.perf_counter()
        io.load(path)
        read = time.perf_counter() - start
        size = path.stat().st_size
        rows.append(
            (f".{format_}", f"{written:.1f}", f"{peak / 2**20:.0f}", f"{size / 2**20:.0f}",
             f"{read:.1f}")
        )  # fmt: skip
    return rows


def _found(xmap: CrystalMap) -> dict:
    phases = {i: phase for i, phase in xmap.phases if i != -1}
    properties = xmap.prop
    name = next((i for i in ("scores", "ci") if i in properties), None)
    return {
        "phases": [phase.name for phase in phases.values()],
        "groups": [phase.space_group and phase.space_group.number for phase in phases.values()],
        "edges": [phase.structure.lattice.a for phase in phases.values()],
        "number": np.where(xmap.is_in_data, xmap._phase_id, -1),
        "rotations": xmap._rotations,
        "scores": None if name is None else dict.__getitem__(properties, name),
    }


if __name__ == "__main__":
    main()
