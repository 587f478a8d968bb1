# SPDX-License-Identifier: GPL-3.0-or-later

"""The state of a training on disk, so that a kill costs one epoch at most."""

from __future__ import annotations

import hashlib
import json
import os
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kikuchipy_cnn._files import replacing

if TYPE_CHECKING:
    import keras

_STATE, _BEST = "state.npz", "best.npz"
_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.npz")


class Checkpoint:
    """State of one training in a folder.

    Parameters
    ----------
    folder
        Folder, which exists.
    fingerprint
        What identifies the training, from :func:`fingerprint_of`.

    Raises
    ------
    ValueError
        If the folder holds the state of another training.
    """

    def __init__(self, folder: str | os.PathLike, fingerprint: str) -> None:
        self.folder = Path(folder)
        self._fingerprint = fingerprint
        if self._exists() and self._read_description()["fingerprint"] != fingerprint:
            raise ValueError(
                f"'{self.folder}' holds the state of another training: of other patterns, "
                "settings or weights. Give another folder, or delete this one."
            )

    def save(self, description: dict, arrays: list[np.ndarray]) -> None:
        """Replace the state.

        Parameters
        ----------
        description
            Anything that JSON can hold.
        arrays
            Weights of the network and variables of the optimiser.
        """
        text = json.dumps({"fingerprint": self._fingerprint, **description})
        with replacing(self.folder / _STATE) as temporary:
            _write(temporary, {"description": np.array(text)}, arrays)

    def load(self) -> tuple[dict, list[np.ndarray]] | None:
        """Read the state, or return None if there is none yet."""
        if not self._exists():
            return None
        return self._read_description(), _read_arrays(self.folder / _STATE)

    def save_best(self, weights: list[np.ndarray]) -> None:
        """Replace the weights that were the best so far.

        To be called before :meth:`save` in the same epoch: after a kill in between the epoch is
        repeated, and so are these weights.
        """
        with replacing(self.folder / _BEST) as temporary:
            _write(temporary, {}, weights)

    def load_best(self) -> list[np.ndarray]:
        """Read the weights that were the best so far."""
        return _read_arrays(self.folder / _BEST)

    def _exists(self) -> bool:
        return (self.folder / _STATE).exists()

    def _read_description(self) -> dict:
        path = self.folder / _STATE
        try:
            with np.load(path, allow_pickle=False) as data:
                return json.loads(str(data["description"]))
        except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
            raise ValueError(f"'{path}' is no state of a training: {error}. Delete it.") from error


def arrays_of(network: keras.Model) -> list[np.ndarray]:
    """Weights of a compiled network, and the variables of its optimiser."""
    import keras

    variables = [keras.ops.convert_to_numpy(variable) for variable in network.optimizer.variables]
    return [*network.get_weights(), *variables]


def restore(network: keras.Model, arrays: list[np.ndarray]) -> None:
    """Set what :func:`arrays_of` gave.

    Parameters
    ----------
    network
        Compiled network, whose optimiser is built.
    arrays
        Weights and variables.
    """
    n_weights = len(network.get_weights())
    network.set_weights(arrays[:n_weights])
    for variable, value in zip(network.optimizer.variables, arrays[n_weights:], strict=True):
        variable.assign(value)


def remove_state(folder: str | os.PathLike) -> None:
    """Delete the state in a folder, and the folder if nothing else is in it.

    Parameters
    ----------
    folder
        Folder of a training that is done with.
    """
    folder = Path(folder)
    # A kill while a file is written leaves its temporary one.
    unfinished = [path for path in folder.iterdir() if _TEMPORARY.fullmatch(path.name)]
    for path in (folder / _STATE, folder / _BEST, *unfinished):
        path.unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def fingerprint_of(parts: Iterable[np.ndarray | dict]) -> str:
    """Sum up what decides the course of a training.

    Parameters
    ----------
    parts
        Arrays, and dictionaries that JSON can hold.

    Returns
    -------
    fingerprint
        SHA-256, in hexadecimal digits.
    """
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, dict):
            total.update(json.dumps(part, sort_keys=True).encode())
        else:
            total.update(str((part.shape, part.dtype.str)).encode())
            total.update(np.ascontiguousarray(part))
    return total.hexdigest()


def _write(path: Path, named: dict[str, np.ndarray], arrays: list[np.ndarray]) -> None:
    numbered = {f"{i:05d}": np.asarray(array) for i, array in enumerate(arrays)}
    np.savez(path, **named, **numbered)


def _read_arrays(path: Path) -> list[np.ndarray]:
    with np.load(path, allow_pickle=False) as data:
        return [data[name] for name in sorted(data.files) if name.isdigit()]
