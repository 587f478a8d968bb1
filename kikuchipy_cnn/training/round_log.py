# SPDX-License-Identifier: GPL-3.0-or-later

"""Rounds of an iterative training on disk: a table, and a model for each."""

from __future__ import annotations

import json
import os
from pathlib import Path

from kikuchipy_cnn._files import replacing, write_csv
from kikuchipy_cnn.models import Ensemble, load_bundle

_JSON, _CSV = "rounds.json", "rounds.csv"


class RoundLog:
    """Record of one iterative training.

    A model is written before the row that names it: after a kill in between, its round is repeated.

    Parameters
    ----------
    folder
        Folder to make, or to go on in.
    fingerprint
        What identifies the training, see
        :func:`~kikuchipy_cnn.training.checkpoint.fingerprint_of`.

    Attributes
    ----------
    rows
        What is recorded of each round, from 0.

    Raises
    ------
    NotADirectoryError
        If the folder is a file.
    ValueError
        If the folder holds another training, or rounds without their record.
    """

    def __init__(self, folder: str | os.PathLike, fingerprint: str) -> None:
        self.folder = Path(folder)
        self._fingerprint = fingerprint
        self.rows: list[dict] = []
        check_folder(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / _JSON
        if path.exists():
            self.rows = self._read(path)
        elif any(self.folder.glob("round_*")):
            raise ValueError(
                f"'{self.folder}' holds rounds, but not their record {_JSON}. Give another folder, "
                "or delete this one."
            )

    def add(self, row: dict, model: Ensemble | None = None) -> None:
        """Record a round, and keep its model.

        Parameters
        ----------
        row
            Anything that JSON can hold, by name, of the same names in each round.
        model
            What the round has made. None if nothing.
        """
        if model is not None:
            model.save(_folder_of(self.folder, len(self.rows)), overwrite=True)
        self.rows.append(row)
        with replacing(self.folder / _JSON) as temporary:
            record = {"fingerprint": self._fingerprint, "rounds": self.rows}
            temporary.write_text(json.dumps(record, indent=2) + "\n")
        save_rows(self.rows, self.folder / _CSV)

    def _read(self, path: Path) -> list[dict]:
        try:
            record = json.loads(path.read_text())
            rows, fingerprint = record["rounds"], record["fingerprint"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"'{path}' is no record of rounds: {error!r}. Give another folder, or delete this "
                "one."
            ) from error
        if fingerprint != self._fingerprint:
            raise ValueError(
                f"'{self.folder}' holds the rounds of another training: of other patterns, models "
                "or settings. Give another folder, or delete this one."
            )
        return rows


def load_round(folder: str | os.PathLike, number: int) -> Ensemble:
    """Load what a round has made.

    Parameters
    ----------
    folder
        Folder of a :class:`RoundLog`.
    number
        Number of the round, from 1.
    """
    return load_bundle(_folder_of(Path(folder), number))


def save_rows(rows: list[dict], path: str | os.PathLike) -> None:
    """Write rows as CSV.

    Parameters
    ----------
    rows
        What is recorded of each round.
    path
        File to make or to replace.
    """
    write_csv(path, rows[0], (row.values() for row in rows))


def check_folder(folder: str | os.PathLike) -> None:
    """Raise NotADirectoryError if rounds cannot be kept in a folder, which need not exist."""
    if Path(folder).exists() and not Path(folder).is_dir():
        raise NotADirectoryError(f"'{folder}' is a file. Give a folder.")


def _folder_of(folder: Path, number: int) -> Path:
    return folder / f"round_{number}"
