# SPDX-License-Identifier: GPL-3.0-or-later

"""Mean atomic numbers of materials, by their names."""

from __future__ import annotations

import re
from functools import cache

import numpy as np

from kikuchipy_cnn.simulation.phases import ATOMIC_NUMBERS, load_phase_table
from kikuchipy_cnn.space_groups import space_group_number

__all__ = ["mean_atomic_number"]

# Names of structure types that read like formulas.
_NO_FORMULAS = ("BCC", "FCC", "HCP")


def mean_atomic_number(name: str) -> float:
    """Mean atomic number of a material.

    Parameters
    ----------
    name
        Name of a phase of the catalogue, or one that begins with a formula.

    Returns
    -------
    atomic_number
        Mean over all atoms. Not a number if the name tells nothing.
    """
    catalogue = _catalogue()
    if name in catalogue:
        return catalogue[name].mean_atomic_number
    # "Fm-3m" is no fermium.
    if space_group_number(name) is not None:
        return float("nan")
    formula = re.match(r"[A-Za-z0-9.]*", name)[0]
    atoms = re.findall(r"([A-Z][a-z]?)(\d+(?:\.\d+)?)?", formula)
    is_formula = atoms and "".join(map("".join, atoms)) == formula
    if not is_formula or formula in _NO_FORMULAS or any(i not in ATOMIC_NUMBERS for i, _ in atoms):
        return float("nan")
    numbers = [ATOMIC_NUMBERS[symbol] for symbol, _ in atoms]
    return float(np.average(numbers, weights=[float(n or 1) for _, n in atoms]))


@cache
def _catalogue() -> dict:
    return load_phase_table()
