# SPDX-License-Identifier: GPL-3.0-or-later

"""What several figures draw alike."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator

from kikuchipy_cnn.plotting.symbols import symbol_label

# Line at the accuracy of guessing.
CHANCE_STYLE = {"color": "black", "linestyle": "--", "linewidth": 1}


def label_ticks(ax: Axes, labels: list[str]) -> None:
    """Name the places along x, at an angle if they are many."""
    ax.xaxis.set_major_locator(FixedLocator(range(len(labels))))
    is_wide = len(labels) > 8
    ax.set_xticklabels(
        labels,
        rotation=45 if is_wide else 0,
        ha="right" if is_wide else "center",
        rotation_mode="anchor",
    )


def class_label(label: int | str) -> str:
    """Class as it is printed."""
    if label in (-1, ""):
        return "none"
    return label if isinstance(label, str) else symbol_label(label)


def named_curves(curves: object) -> Mapping:
    """Curves by name, "" for only one without."""
    named = curves if isinstance(curves, Mapping) else {"": curves}
    if not named:
        raise ValueError("There are no curves to draw; give at least one.")
    return named
