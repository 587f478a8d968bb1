# SPDX-License-Identifier: GPL-3.0-or-later

"""Signals in files that a user names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kikuchipy.signals import EBSD


def load_signal(file: str) -> EBSD:
    """Open a file of patterns without reading them.

    Parameters
    ----------
    file
        Path of a file in any format that kikuchipy reads.

    Returns
    -------
    signal
        Lazy signal.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If kikuchipy cannot read it, or it holds something else.
    """
    import kikuchipy as kp

    if not Path(file).exists():
        raise FileNotFoundError(f"There is no file {file!r}.")
    try:
        signal = kp.load(file, lazy=True)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"kikuchipy cannot read {file!r}: {error}") from error
    if not isinstance(signal, kp.signals.EBSD):
        raise ValueError(f"{file!r} holds {signal}, not EBSD patterns.")
    return signal
