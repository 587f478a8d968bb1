# SPDX-License-Identifier: GPL-3.0-or-later

"""Panels of maps, and what stands around them."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar
from orix.crystal_map import CrystalMap

from kikuchipy_cnn.crystal_map import map_shape

NOT_INDEXED_COLOR = "white"
MASKED_COLOR = "0.7"


def as_image(xmap: CrystalMap, values: np.ndarray, fill_value: float) -> np.ndarray:
    """Values of the points in data, as rows and columns of the part of the map that is shown."""
    image = np.full(xmap.is_in_data.size, fill_value, dtype=np.result_type(values, fill_value))
    image[xmap.is_in_data] = values
    shape = map_shape(xmap)
    # orix slices a map by masking the rest of it
    rows, columns = np.nonzero(xmap.is_in_data.reshape(shape))
    return image.reshape(shape)[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def draw_pattern(ax: Axes, pattern: np.ndarray, mask: np.ndarray | None = None, **style) -> None:
    """Draw a pattern in grey, with the contrast of all but a few of its pixels."""
    # Dead and hot pixels would take all of it
    darkest, brightest = np.percentile(pattern if mask is None else pattern[~mask], (0.5, 99.5))
    ax.imshow(pattern, cmap="gray", vmin=darkest, vmax=brightest, **style)


def add_axes(fig: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Add axes at a place in inches."""
    fig_width, fig_height = fig.get_size_inches()
    return fig.add_axes(
        (left / fig_width, bottom / fig_height, width / fig_width, height / fig_height)
    )


def add_legend(
    fig: Figure, handles: list[Patch], left: float, top: float, *, n_columns: int
) -> None:
    """Add a legend at a place in inches."""
    fig_width, fig_height = fig.get_size_inches()
    fig.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(left / fig_width, top / fig_height),
        ncols=n_columns,
        frameon=False,
        borderaxespad=0,
        borderpad=0,
        handlelength=1.2,
        handleheight=1.2,
    )


def steps_of(xmap: CrystalMap) -> tuple[float, float]:
    """Steps of columns and rows, of which orix gives 0 across a row or column, and in one point."""
    return float(xmap.dx or xmap.dy or 1), float(xmap.dy or xmap.dx or 1)


def extent_of(
    xmap: CrystalMap, shape: tuple[int, int], *, is_strip: bool, along_y: bool
) -> tuple[float, float, float, float]:
    """Edges of the image of a map, in its length unit."""
    rows, columns = shape
    dx, dy = steps_of(xmap)
    if is_strip:
        dx, dy = (dy if along_y else dx), 1
    first = xmap.y if along_y else xmap.x
    left = (0 if first is None else first.min()) - 0.5 * dx
    # Coordinates are of the points' centres
    return left, left + columns * dx, (rows - 0.5) * dy, -0.5 * dy


def add_scale_bar(ax: Axes, width: float, unit: str) -> None:
    """Add a bar of a round length to a map of a width."""
    longest = width / 4
    power = 10 ** math.floor(math.log10(longest))
    length = max(i * power for i in (1, 2, 5) if i * power <= longest * 1.001)
    bar = AnchoredSizeBar(
        ax.transData, length, f"{length:g} {unit_label(unit)}", loc="lower left",
        pad=0.3, borderpad=0.4, sep=3, size_vertical=width / 150,
    )  # fmt: skip
    bar.patch.set(facecolor="white", edgecolor="none", alpha=0.75)
    ax.add_artist(bar)


def unit_label(unit: str) -> str:
    """Length unit as it is printed."""
    return "µm" if unit == "um" else unit
