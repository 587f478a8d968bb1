# SPDX-License-Identifier: GPL-3.0-or-later

"""Tables of labelled patterns: which files hold patterns of which phase."""

from __future__ import annotations

import csv
import glob
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import dask
import dask.array as da
import imageio.v3 as iio
import kikuchipy as kp
import numpy as np
from tqdm import tqdm

from kikuchipy_cnn._patterns import check_patterns
from kikuchipy_cnn._phase_options import is_cif
from kikuchipy_cnn._progress import is_progress_shown
from kikuchipy_cnn.space_groups import hermann_mauguin_symbol, space_group_number
from kikuchipy_cnn.training.labelled import LabelledPatterns, PatternSource, crystal_map_labels

if TYPE_CHECKING:
    from orix.crystal_map import Phase

    from kikuchipy_cnn.simulation import MasterPatternLibrary

COLUMNS = ("file", "phase", "space_group", "material", "map", "grain", "number", "seed")

_IMAGES = (".png", ".tif", ".tiff", ".bmp", ".jpg", ".jpeg")
# Few enough that looking at some patterns of a map does not read most of it.
_IMAGES_AT_ONCE = 16
_NUMBER = 500


def read_manifest(
    path: str | os.PathLike, *, show_progressbar: bool | None = None
) -> LabelledPatterns:
    """Read a table that says which files hold patterns of which phase.

    The table is a CSV file in UTF-8, with commas between the columns and their names in the first
    line. Each row is a *file*, or a *phase* to simulate patterns of. All columns but one of these
    two may be empty or missing:

    - ``file``: A file with EBSD patterns that kikuchipy reads, an image of one pattern (.png, .tif,
      .bmp or .jpg), a folder of such images, or a name with the wildcards ``*``, ``?`` and ``**``,
      relative to the folder of the table. Folders are separated by slashes, or by backslashes as on
      Windows. Patterns are not read before they are needed.
    - ``phase``: A phase of the packaged catalogue, or a .cif file.
    - ``space_group``: Its number or its Hermann-Mauguin symbol. If empty, the phases of the crystal
      map in the file are taken, without the patterns that are not indexed.
    - ``material``: Name of the phase. If empty, the Hermann-Mauguin symbol, or the name of the
      phase to simulate.
    - ``map``: Name of the map that the patterns are of. If empty, each EBSD file is one, and images
      of one material in one folder are one. All images of a map have the same size and data type.
    - ``grain``: Name of the grain within the map, see
      :class:`~kikuchipy_cnn.training.LabelledPatterns`.
    - ``number``: How many patterns of a phase are simulated. If empty, 500.
    - ``seed``: Seed of their random numbers. If empty, 0.

    Parameters
    ----------
    path
        File to read.
    show_progressbar
        Whether to show a progress bar. If not given, the value of
        :obj:`hyperspy.api.preferences.General.show_progressbar` is used.

    Returns
    -------
    patterns
        Patterns of all rows, in this order, those of one map of images together.

    Raises
    ------
    FileNotFoundError
        If the table or a file in it does not exist.
    ValueError
        If the table or anything in it cannot be used. Everything that can be told without the
        patterns is told before any are read or simulated.
    ImportError
        If there is a .cif file, and ebsdsim or spglib is not installed.

    Examples
    --------
    >>> from kikuchipy_cnn.training import read_manifest
    >>> with open("patterns.csv", "w") as file:
    ...     print("phase,number", file=file)
    ...     print("Ni,3", file=file)
    ...     print("W,5", file=file)
    >>> read_manifest("patterns.csv", show_progressbar=False)
    LabelledPatterns(8 patterns; 225 Ni: 3, 229 W: 5)
    """
    path = Path(path)
    parts = _parts(_rows(path), path.parent)
    return LabelledPatterns.concatenate(
        [
            part.patterns()
            for part in tqdm(
                parts, unit="map", desc="Reading", disable=not is_progress_shown(show_progressbar)
            )
        ]
    )


@dataclass(frozen=True)
class _Row:
    """One row of the table, checked as far as it goes without looking at files."""

    where: str  # for messages
    file: str
    phase: str
    space_group: int | None
    material: str
    map: str
    grain: str
    number: int
    seed: int


@dataclass(frozen=True)
class _Simulation:
    row: _Row
    phase: str | Phase
    library: MasterPatternLibrary | None

    def patterns(self) -> LabelledPatterns:
        row = self.row
        with _naming(row.where):
            patterns = LabelledPatterns.from_simulation(
                [self.phase],
                row.number,
                library=self.library,
                seed=row.seed,
                show_progressbar=False,
            )
        return _renamed(patterns, material=row.material, map_name=row.map)


@dataclass(frozen=True)
class _Signal:
    row: _Row
    name: str
    signal: kp.signals.EBSD

    def patterns(self) -> LabelledPatterns:
        row, origin = self.row, {"map_name": self.row.map or self.name, "file": self.name}
        with _naming(f"{row.where}: {self.name!r}"):
            if row.space_group is None:
                patterns = LabelledPatterns.from_crystal_map(self.signal, **origin)
            else:
                patterns = LabelledPatterns.from_signal(
                    self.signal, row.space_group, row.material, **origin
                )
        return _renamed(patterns, grain=row.grain)


@dataclass(frozen=True)
class _Image:
    row: _Row
    name: str
    path: Path
    shape: tuple[int, int]
    dtype: np.dtype

    @classmethod
    def open(cls, row: _Row, name: str, path: Path) -> _Image:
        """Look at the header only."""
        with _reading(f"{row.where}: the image {name!r} cannot be read"):
            properties = iio.improps(path)
        image = cls(row, name, path, properties.shape[:2], properties.dtype)
        image.check_shape(properties.shape)
        return image

    def read(self) -> np.ndarray:
        with _reading(f"{self.row.where}: the image {self.name!r} cannot be read"):
            image = iio.imread(self.path)
        self.check_shape(image.shape)
        if image.ndim == 2:
            return image
        # An even number of channels has the opacity as its last.
        colors = image[..., : image.shape[2] - 1 + image.shape[2] % 2]
        if (colors != colors[..., :1]).any():
            raise ValueError(
                f"{self.row.where}: the image {self.name!r} is coloured. Give images of the "
                "camera's intensities, in grey."
            )
        return colors[..., 0]

    def check_shape(self, shape: tuple[int, ...]) -> None:
        if shape[:2] != self.shape or len(shape) > 3 or (len(shape) == 3 and shape[2] > 4):
            raise ValueError(
                f"{self.row.where}: the image {self.name!r} is of shape {shape}. Give each pattern "
                "as an image of its own."
            )

    def check_fits(self, first: _Image) -> None:
        """Raise ValueError if this is no image of the same map as another one."""
        if (self.shape, self.dtype) != (first.shape, first.dtype):
            raise ValueError(
                f"{self.row.where}: the image {self.name!r} has {_size(self)}, but {first.name!r} "
                f"of the same map has {_size(first)}. Give maps of their own to images that differ."
            )


@dataclass(frozen=True)
class _ImageMap:
    name: str
    images: list[_Image] = field(default_factory=list)

    def check(self) -> None:
        with _naming(f"{self.images[0].row.where}: {self.images[0].name!r}"):
            check_patterns(self._signal())

    def patterns(self) -> LabelledPatterns:
        rows, n = [image.row for image in self.images], len(self.images)
        return LabelledPatterns(
            (
                PatternSource.from_signal(
                    self._signal(), os.path.dirname(self.images[0].name) or "."
                ),
            ),
            np.zeros(n, int),
            np.arange(n),
            np.array([row.space_group for row in rows]),
            *(
                np.array([getattr(row, name) or default for row in rows], object)
                for name, default in (("material", ""), ("map", self.name), ("grain", ""))
            ),
        )

    def _signal(self) -> kp.signals.LazyEBSD:
        blocks = []
        for start in range(0, len(self.images), _IMAGES_AT_ONCE):
            part = self.images[start : start + _IMAGES_AT_ONCE]
            # As an argument, dask would look into each image.
            read = dask.delayed(partial(_read_images, part), traverse=False)
            blocks.append(da.from_delayed(read(), (len(part), *part[0].shape), part[0].dtype))
        return kp.signals.LazyEBSD(da.concatenate(blocks))


def _read_images(images: list[_Image]) -> np.ndarray:
    return np.stack([image.read() for image in images])


def _size(image: _Image) -> str:
    return f"{image.shape[0]} x {image.shape[1]} pixels of data type {image.dtype}"


def _renamed(patterns: LabelledPatterns, **names: str) -> LabelledPatterns:
    """Patterns with other names in some columns, but for empty ones."""
    columns = {
        column: np.full(len(patterns), name, object) for column, name in names.items() if name
    }
    return replace(patterns, **columns)


def _rows(path: Path) -> list[_Row]:
    """Read the table and check all that can be checked without looking at the files in it."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no manifest '{path}'.")
    rows = []
    try:
        # Spreadsheet programs put a mark in front.
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True, strict=True)
            _check_header(path, reader.fieldnames)
            for row in reader:
                where = f"'{path}', line {reader.line_num}"
                if None in row:
                    raise ValueError(
                        f"{where}: there are more values than the {len(reader.fieldnames)} columns "
                        f"of the header: {', '.join(row[None])} is left over. Put values with "
                        "commas in quotes."
                    )
                values = {name.strip(): (value or "").strip() for name, value in row.items()}
                # Spreadsheet programs also write empty rows.
                if any(values.values()):
                    rows.append(_row(where, values))
    except UnicodeDecodeError as error:
        raise ValueError(f"'{path}' is not in UTF-8: {error}. Save it as CSV in UTF-8.") from error
    except csv.Error as error:
        where = f"'{path}', line {reader.reader.line_num}"
        raise ValueError(f"{where}: {error}. Save it as CSV.") from error
    if not rows:
        raise ValueError(
            f"'{path}' has no rows. Add one with the name of a file or of a phase to simulate."
        )
    return rows


def _check_header(path: Path, names: list[str] | None) -> None:
    names = [name.strip() for name in names or ()]
    known = f"The columns are {', '.join(COLUMNS)}, with commas between them."
    if len(names) == 1 and (";" in names[0] or "\t" in names[0]):
        raise ValueError(
            f"'{path}' has one column, {names[0]!r}. Save it with commas between the columns, not "
            f"semicolons or tabs. {known}"
        )
    unknown = [repr(name) for name in names if name not in COLUMNS]
    if unknown:
        raise ValueError(f"'{path}' has unknown columns: {', '.join(unknown)}. {known}")
    twice = [name for name in COLUMNS if names.count(name) > 1]
    if twice:
        raise ValueError(f"'{path}' has columns twice: {', '.join(twice)}. Keep one of each.")
    if not {"file", "phase"} & set(names):
        raise ValueError(f"'{path}' has neither a column file nor a column phase. {known}")


def _row(where: str, values: dict[str, str]) -> _Row:
    values = dict.fromkeys(COLUMNS, "") | values
    file, phase, material = values["file"], values["phase"], values["material"]
    if bool(file) == bool(phase):
        raise ValueError(
            f"{where}: file is {file!r} and phase is {phase!r}. Give either a file or a phase to "
            "simulate."
        )
    # What would be ignored is not what the user thinks.
    if file:
        unused, why = ("number", "seed"), "a file; it is for phases to simulate"
    else:
        unused, why = ("grain",), "simulated patterns; each is a grain of its own"
    for column in unused:
        if values[column]:
            raise ValueError(
                f"{where}: {column} {values[column]!r} says nothing about {why}. Leave it empty."
            )
    space_group = _space_group(where, values["space_group"])
    if file and material and space_group is None:
        raise ValueError(
            f"{where}: material {material!r} is given without its space_group. Give both, or "
            "neither to take phases from the crystal map in an EBSD file."
        )
    if file and not material and space_group is not None:
        material = hermann_mauguin_symbol(space_group)
    return _Row(
        where,
        file,
        phase,
        space_group,
        material,
        values["map"],
        values["grain"],
        _whole_number(where, "number", values["number"], default=_NUMBER, least=1),
        _whole_number(where, "seed", values["seed"], default=0, least=0),
    )


def _space_group(where: str, text: str) -> int | None:
    if not text:
        return None
    number = int(text) if text.isdecimal() else space_group_number(text.replace(" ", ""))
    if number not in range(1, 231):
        raise ValueError(
            f"{where}: space_group {text!r} is no space group. Give a number from 1 to 230, or a "
            "Hermann-Mauguin symbol such as Fm-3m."
        )
    return number


def _whole_number(where: str, column: str, text: str, *, default: int, least: int) -> int:
    if not text:
        return default
    if not text.isdecimal() or int(text) < least:
        raise ValueError(
            f"{where}: {column} {text!r} is no whole number of at least {least}. Give one, or "
            f"leave it empty for {default}."
        )
    return int(text)


def _parts(rows: list[_Row], folder: Path) -> list[_Simulation | _Signal | _ImageMap]:
    """Find and open everything in the table, and check what can be checked without patterns."""
    parts: list[_Simulation | _Signal | _ImageMap] = []
    image_maps: dict[tuple, _ImageMap] = {}
    # Patterns that are there twice would be in the training and in the test.
    seen: dict[tuple, str] = {}
    library = None
    for row in rows:
        if row.phase:
            if not is_cif(row.phase):
                library = library or _load_library()
            phase = _phase(row, folder, library)
            _check_once(seen, (row.phase, row.seed), row, f"phase {row.phase!r}", "another seed")
            parts.append(_Simulation(row, phase, library))
            continue
        for path in _files(row, folder):
            name = _relative(path, folder)
            _check_once(seen, (path.resolve(),), row, f"file {name!r}", "it once")
            if path.suffix.lower() not in _IMAGES:
                parts.append(_open_signal(row, name, path))
                continue
            if row.space_group is None:
                raise ValueError(
                    f"{row.where}: the image {name!r} has no crystal map to take its phase from. "
                    "Give its space_group."
                )
            image = _Image.open(row, name, path)
            default = _relative(path.parent, folder)
            key = (row.map,) if row.map else (default, row.space_group, row.material)
            if key not in image_maps:
                image_maps[key] = _ImageMap(row.map or default)
                parts.append(image_maps[key])
            image_maps[key].images.append(image)
            image.check_fits(image_maps[key].images[0])
    for part in image_maps.values():
        part.check()
    return parts


def _check_once(seen: dict[tuple, str], key: tuple, row: _Row, name: str, remedy: str) -> None:
    if key in seen:
        raise ValueError(f"{row.where}: {name} is given already by {seen[key]}. Give {remedy}.")
    seen[key] = row.where


def _files(row: _Row, folder: Path) -> list[Path]:
    name = _with_slashes(row.file, folder)
    path = folder / name
    if path.is_file():
        return [path]
    if path.is_dir():
        found = sorted(i for i in path.iterdir() if i.suffix.lower() in _IMAGES and i.is_file())
        if not found:
            raise FileNotFoundError(
                f"{row.where}: there are no images ({', '.join(_IMAGES)}) in the folder "
                f"{row.file!r}. Give files of another kind by name, or as {row.file}/*.h5."
            )
        return found
    pattern = os.path.join(glob.escape(str(folder)), name)
    found = sorted(i for i in map(Path, glob.glob(pattern, recursive=True)) if i.is_file())
    if not found:
        raise FileNotFoundError(
            f"{row.where}: there is no file {row.file!r}. Give it relative to '{folder.resolve()}'."
        )
    return found


def _with_slashes(name: str, folder: Path) -> str:
    """Name of a file as this system takes it, where the table may have been written on Windows."""
    return name if (folder / name).exists() else name.replace("\\", "/")


def _relative(path: Path, folder: Path) -> str:
    """Name of a file or folder for messages and maps."""
    path, folder = (Path(os.path.normpath(i)) for i in (path, folder))
    if path == folder:
        return folder.resolve().name
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()


def _open_signal(row: _Row, name: str, path: Path) -> _Signal:
    with _reading(f"{row.where}: kikuchipy cannot read {name!r}"):
        signal = kp.load(path, lazy=True)
    if not isinstance(signal, kp.signals.EBSD):
        raise ValueError(f"{row.where}: {name!r} holds {signal}. Give a file of EBSD patterns.")
    with _naming(f"{row.where}: {name!r}"):
        check_patterns(signal)
        if row.space_group is None:
            crystal_map_labels(signal)
    return _Signal(row, name, signal)


def _load_library() -> MasterPatternLibrary:
    from kikuchipy_cnn.simulation import load_library

    return load_library()


def _phase(row: _Row, folder: Path, library: MasterPatternLibrary | None) -> str | Phase:
    """Phase to simulate, read if it is in a file, and its space group compared."""
    if is_cif(row.phase):
        from kikuchipy_cnn.simulation import phase_from_cif

        path = folder / _with_slashes(row.phase, folder)
        if not path.is_file():
            raise FileNotFoundError(
                f"{row.where}: there is no file {row.phase!r}. Give it relative to "
                f"'{folder.resolve()}'."
            )
        with _naming(f"{row.where}: {row.phase!r}"):
            phase = phase_from_cif(path)
        number = phase.space_group.number
    elif row.phase in library:
        phase, number = row.phase, library.space_groups[row.phase]
    else:
        raise ValueError(
            f"{row.where}: {row.phase!r} is neither a phase of the catalogue nor a .cif file. "
            "'kikuchipy-cnn simulate phases' lists the catalogue."
        )
    if row.space_group not in (None, number):
        raise ValueError(
            f"{row.where}: space_group is {row.space_group}, but {row.phase!r} has {number}. "
            "Correct it or leave it empty."
        )
    return phase


@contextmanager
def _naming(where: str) -> Iterator[None]:
    """Say where in the table something is that went wrong."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """Say what cannot be read."""
    try:
        yield
    # Readers raise anything when a file is broken.
    except Exception as error:
        raise ValueError(
            f"{what}: {error}. Replace the file if it is broken, or remove it from the table."
        ) from error
