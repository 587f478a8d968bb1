"""Records of benchmarks, which outlive a kill and may be read by the run that goes on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from kikuchipy_cnn._files import replacing


def write_record(path: Path, content: dict | list) -> None:
    """Write values as JSON, complete or not at all.

    Parameters
    ----------
    path
        File to make or to replace.
    content
        Values of Python and NumPy.
    """
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, default=_plain) + "\n")


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{value!r} cannot be written as JSON.")
