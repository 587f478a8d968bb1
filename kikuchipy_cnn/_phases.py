# SPDX-License-Identifier: GPL-3.0-or-later

"""Phases in any of the ways in which they are given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from orix.crystal_map import Phase, PhaseList


def listed(phases: PhaseList | Mapping[int, Any] | Iterable[Any] | Any) -> dict[int, Any]:
    """Return phases in their order, by ID.

    Parameters
    ----------
    phases
        Phases, or what stands for them (names, master patterns): a list of orix, a mapping, any
        other collection, or a single one.

    Returns
    -------
    by_id
        Phases by the IDs that they have, or from 0. "Not indexed" is none.
    """
    if isinstance(phases, PhaseList):
        return {i: phase for i, phase in phases if i != -1}
    if isinstance(phases, Mapping):
        return dict(phases)
    # A signal can be iterated over, too
    is_one = isinstance(phases, (str, Phase)) or hasattr(phases, "axes_manager")
    return dict(enumerate([phases] if is_one else phases))
