# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known of the patterns of a map so far, in memory and on disk."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import h5py
import numpy as np

from kikuchipy_cnn._files import replacing
from kikuchipy_cnn.models.bundle import Outputs

# Results are put on disk this often, in seconds.
_INTERVAL = 2.0
_FORMAT = "kikuchipy_cnn results 1"
_DONE, _VALID = "done", "valid"


@dataclass(frozen=True)
class Prediction:
    """Result of the classification of a signal.

    Parameters
    ----------
    outputs
        What the model says, see :class:`~kikuchipy_cnn.models.bundle.Outputs`, with the navigation
        shape in place of n, not a number where a pattern was masked out or not valid.
    valid
        Boolean array of the navigation shape, False where a pattern was masked out, constant or not
        finite.
    of_images
        Further values of the preprocessed patterns by name, of shape (navigation shape, ...), as
        they were asked for. 0 where a pattern was masked out.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> import kikuchipy_cnn
    >>> from kikuchipy_cnn.inference import predict
    >>> s = kp.data.nickel_ebsd_small()
    >>> model = kikuchipy_cnn.load_model("fast_fewshot")
    >>> prediction = predict(s.data, model, show_progressbar=False)
    >>> prediction.probabilities.shape
    (3, 3, 6)
    >>> bool(prediction.valid.all())
    True
    """

    outputs: Outputs
    valid: np.ndarray
    of_images: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def probabilities(self) -> np.ndarray:
        """Probabilities of shape (navigation shape, classes) and data type float32."""
        return self.outputs.probabilities


class Results:
    """Values of patterns, which come batch by batch and in any order.

    Parameters
    ----------
    shape
        Navigation shape.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.values: dict[str, np.ndarray] = {}
        self.done = np.zeros(prod(shape), bool)
        self.valid = np.zeros(prod(shape), bool)

    def add(self, indices: np.ndarray, values: Mapping[str, np.ndarray], valid: np.ndarray) -> None:
        """Take the values of some patterns.

        Parameters
        ----------
        indices
            Indices into the flattened map, of shape (n,).
        values
            Values of shape (n, ...) by name.
        valid
            Boolean array of shape (n,).
        """
        for name, of_batch in values.items():
            if name not in self.values:
                self.values[name] = np.zeros((self.done.size, *of_batch.shape[1:]), of_batch.dtype)
            self.values[name][indices] = of_batch
        self.valid[indices] = valid
        self.done[indices] = True

    def close(self) -> None:
        """Put what there is where it is kept, which is here."""

    def prediction(self, used: np.ndarray) -> Prediction:
        """Return the values as those of a map.

        Parameters
        ----------
        used
            Boolean array of the navigation shape, False where there is to be none.
        """
        valid = self.valid.reshape(self.shape) & used
        outputs = {}
        for name in Outputs._fields:
            if name in self.values:
                outputs[name] = self._of_map(name)
                outputs[name][~valid] = np.nan
        of_images = {
            name: self._of_map(name) for name in self.values if name not in Outputs._fields
        }
        return Prediction(Outputs(**outputs), valid, of_images)

    def _of_map(self, name: str) -> np.ndarray:
        values = self.values[name]
        return values.reshape((*self.shape, *values.shape[1:]))


class StoredResults(Results):
    """Values of patterns that are kept in a file as they come.

    All arrays of the file are made at once and have their place on disk from the beginning. Later
    on, values are written into these places, and which patterns are done last of all: at whatever
    time the process is ended, the file can be read and has what is said to be done.

    Parameters
    ----------
    path
        HDF5 file to make, or to go on with.
    shape
        Navigation shape.
    job
        What the results depend on, ready for JSON. A file of another job is refused.

    Raises
    ------
    ValueError
        If there is a file that is not of this job, or no folder for it.
    """

    def __init__(self, path: str | os.PathLike, shape: tuple[int, ...], job: Mapping) -> None:
        super().__init__(shape)
        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise ValueError(f"There is no folder '{self.path.parent}' for '{self.path.name}'.")
        self._job = json.loads(json.dumps(job))
        self._file: h5py.File | None = None
        self._first, self._last = self.done.size, 0
        self._written = time.monotonic()
        if self.path.exists():
            self._read()

    def add(self, indices: np.ndarray, values: Mapping[str, np.ndarray], valid: np.ndarray) -> None:
        super().add(indices, values, valid)
        self._first = min(self._first, int(indices.min()))
        self._last = max(self._last, int(indices.max()) + 1)
        if time.monotonic() - self._written > _INTERVAL:
            self.flush()

    def flush(self) -> None:
        """Write what is new."""
        if self._last > self._first:
            file = self._open()
            new = slice(self._first, self._last)
            for name, values in (*self.values.items(), (_VALID, self.valid)):
                file[name][new] = values[new]
            file.flush()
            file[_DONE][new] = self.done[new]
            file.flush()
            self._first, self._last = self.done.size, 0
        self._written = time.monotonic()

    def close(self) -> None:
        """Write what is new and close the file."""
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> h5py.File:
        if self._file is None:
            if not self.path.exists():
                self._create()
            self._file = h5py.File(self.path, "r+")
        return self._file

    def _create(self) -> None:
        arrays = {**self.values, _VALID: self.valid, _DONE: np.zeros_like(self.done)}
        with replacing(self.path) as temporary, h5py.File(temporary, "w") as file:
            file.attrs["format"] = _FORMAT
            file.attrs["job"] = json.dumps(self._job)
            for name, values in arrays.items():
                # Writing them whole gives them their place.
                file.create_dataset(name, data=values)

    def _read(self) -> None:
        try:
            with h5py.File(self.path) as file:
                form, job = file.attrs.get("format"), json.loads(file.attrs.get("job", "{}"))
                if form == _FORMAT:
                    self._check(job)
                    arrays = {name: dataset[...] for name, dataset in file.items()}
        except OSError as error:
            raise ValueError(
                f"'{self.path}' cannot be read as a store of results: {error}"
            ) from error
        if form != _FORMAT:
            raise ValueError(f"'{self.path}' is no store of results of this version.")
        self.done, self.valid = arrays.pop(_DONE), arrays.pop(_VALID)
        self.values = arrays

    def _check(self, job: Mapping) -> None:
        for name in self._job:
            if job.get(name) != self._job[name]:
                raise ValueError(
                    f"'{self.path}' holds results of another classification: its {name} is "
                    f"{job.get(name)!r}, not {self._job[name]!r}. Delete it, or give another file."
                )
