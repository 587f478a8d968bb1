# SPDX-License-Identifier: GPL-3.0-or-later

"""Figures of maps of space groups, or of other classes, and of patterns
with their probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import AutoLocator
from orix.crystal_map import CrystalMap

from kikuchipy_cnn.crystal_map import check_phase_ids, classes_from_crystal_map
from kikuchipy_cnn.plotting._panels import (
    MASKED_COLOR,
    NOT_INDEXED_COLOR,
    add_axes,
    add_legend,
    add_scale_bar,
    as_image,
    draw_pattern,
    extent_of,
    unit_label,
)
from kikuchipy_cnn.plotting.symbols import symbol_label
from kikuchipy_cnn.space_groups import Classes, space_group_number

if TYPE_CHECKING:
    from kikuchipy.signals import EBSD

__all__ = ["plot_patterns", "plot_space_groups"]


# Value in the image of phases that is no phase ID
_MASKED = -2


class _Phase(NamedTuple):
    id: int
    name: str
    color: str

    @property
    def is_space_group(self) -> bool:
        return space_group_number(self.name) == self.id

    @property
    def label(self) -> str:
        return symbol_label(self.id) if self.is_space_group else self.name


def plot_space_groups(xmap: CrystalMap, classes: Classes | None = None) -> Figure:
    """Draw a map of the space groups, or of a model's other classes, beside one of the scores.

    Parameters
    ----------
    xmap
        Crystal map with the property "scores". The smallest rectangle
        with all points in data is drawn. One row, one column or one
        point are drawn as two strips, one above the other.
    classes
        Classes to list in the legend, also those without points. If not
        given, the phases in the map are listed. A phase whose ID and
        name are those of a space group is labelled as such, any other
        by its name.

    Returns
    -------
    fig
        Figure. Fractions in its legend are of the points in data.

    Raises
    ------
    ValueError
        If the map has no property "scores" or no points in data, or a
        point is not of one of the classes.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> import kikuchipy_cnn
    >>> from kikuchipy_cnn.plotting import plot_space_groups
    >>> s = kp.data.nickel_ebsd_small()
    >>> xmap = s.classify_space_group(
    ...     model="fast_fewshot", show_progressbar=False
    ... )
    Space group classification information:
    ...
    >>> figure = plot_space_groups(xmap)
    >>> figure.savefig("space_groups.png")
    """
    if xmap.size == 0:
        raise ValueError("The crystal map has no points in data, so there is nothing to draw")
    if "scores" not in xmap.prop:
        raise ValueError(
            f"The crystal map has the properties {list(xmap.prop)}, but not 'scores': pass a map "
            "from classify_space_group()"
        )
    if classes is None:
        phases = [_Phase(i, j.name, j.color) for i, j in xmap.phases_in_data if i != -1]
    else:
        check_phase_ids(xmap, classes)
        phases = _phases_of(classes)
    noun = "space group" if all(i.is_space_group for i in phases) else "class"
    phase_ids = as_image(xmap, xmap.phase_id, fill_value=_MASKED)
    scores = as_image(xmap, np.where(xmap.is_indexed, xmap.prop["scores"], np.nan), np.nan)

    is_strip = 1 in phase_ids.shape
    along_y = is_strip and phase_ids.shape[0] > 1
    if is_strip:
        phase_ids, scores = phase_ids.reshape(1, -1), scores.reshape(1, -1)
    handles = _legend_handles(xmap, phases)
    if is_strip:
        fig, axes, colorbar_axes = _strip_axes(handles)
    else:
        height_to_width = phase_ids.shape[0] * xmap.dy / (phase_ids.shape[1] * xmap.dx)
        fig, axes, colorbar_axes = _map_axes(handles, height_to_width)

    style = {
        "interpolation": "nearest",
        "extent": extent_of(xmap, phase_ids.shape, is_strip=is_strip, along_y=along_y),
        "aspect": "auto" if is_strip else "equal",
    }
    ascending = sorted(phases)
    values = [_MASKED, -1, *(i.id for i in ascending)]
    colors = [MASKED_COLOR, NOT_INDEXED_COLOR, *(i.color for i in ascending)]
    norm = BoundaryNorm([_MASKED - 0.5, *(i + 0.5 for i in values)], len(colors))
    axes[0].imshow(phase_ids, cmap=ListedColormap(colors), norm=norm, **style)
    axes[0].set_title(noun.capitalize())

    # Scores of masked and of not indexed points are both NaN, so these are told apart beneath them
    beneath = ListedColormap([NOT_INDEXED_COLOR, MASKED_COLOR])
    axes[1].imshow(phase_ids == _MASKED, cmap=beneath, vmin=0, vmax=1, **style)
    image = axes[1].imshow(scores, cmap="viridis", vmin=0, vmax=1, **style)
    axes[1].set_title("Score")
    fig.colorbar(
        image,
        cax=colorbar_axes,
        orientation="vertical" if is_strip else "horizontal",
        ticks=[0, 0.5, 1] if is_strip else None,
    )

    for ax in axes:
        ax.set_yticks([])
        ax.set_xticks([])
    if is_strip:
        axes[1].xaxis.set_major_locator(AutoLocator())
        axes[1].set_xlabel(f"{'y' if along_y else 'x'} ({unit_label(xmap.scan_unit)})")
    else:
        colorbar_axes.set_xlabel(f"Probability of the {noun}")
        add_scale_bar(axes[0], phase_ids.shape[1] * xmap.dx, xmap.scan_unit)
    return fig


def plot_patterns(
    signal: EBSD,
    xmap: CrystalMap,
    n: int = 9,
    *,
    indices: Sequence[int] | None = None,
) -> Figure:
    """Draw patterns and bars of the probabilities of all classes.

    Each pattern is titled with its space group, or other class.

    Parameters
    ----------
    signal
        Patterns. Of a lazy signal only those drawn are computed.
    xmap
        Crystal map from classifying the patterns.
    n
        Number of patterns, spread evenly over the points in data. If
        there are fewer points, all are drawn.
    indices
        Flat indices into the map of the patterns to draw, instead of
        *n* of them.

    Returns
    -------
    fig
        Figure.

    Raises
    ------
    ValueError
        If the signal and the map differ in number of points, an index
        is outside the map, there is nothing to draw, or the map has no
        class probabilities or a point of another class.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> import kikuchipy_cnn
    >>> from kikuchipy_cnn.plotting import plot_patterns
    >>> s = kp.data.nickel_ebsd_small()
    >>> xmap = s.classify_space_group(
    ...     model="fast_fewshot", show_progressbar=False
    ... )
    Space group classification information:
    ...
    >>> figure = plot_patterns(s, xmap, 4)
    >>> figure.savefig("patterns.png")
    """
    classes = classes_from_crystal_map(xmap)
    phases = _phases_of(classes)
    n_points = xmap.is_in_data.size
    signal_shape = signal.axes_manager.signal_shape[::-1]
    navigation_shape = signal.data.shape[: -len(signal_shape)]
    if math.prod(navigation_shape) != n_points:
        raise ValueError(
            f"The signal has patterns of navigation shape {navigation_shape}, but the crystal map "
            f"has {n_points} points: pass the map from classifying these patterns"
        )
    indices = _pattern_indices(xmap, n, indices)

    n_columns = math.ceil(math.sqrt(len(indices)))
    n_rows = math.ceil(len(indices) / n_columns)
    fig = Figure(
        figsize=(2 * n_columns, (2 * signal_shape[0] / signal_shape[1] + 0.42) * n_rows + 0.35),
        layout="constrained",
    )
    fig.get_layout_engine().set(h_pad=0.015, hspace=0)
    pattern_axes = fig.subplots(
        2 * n_rows, n_columns, squeeze=False, gridspec_kw={"height_ratios": [16, 1] * n_rows}
    )
    for ax in pattern_axes.flat:
        ax.set_axis_off()

    # Properties of CrystalMap are those of the points in data
    row_of_point = np.cumsum(xmap.is_in_data) - 1
    for i, index in enumerate(indices):
        row, column = divmod(i, n_columns)
        pattern = signal.data[np.unravel_index(index, navigation_shape) if navigation_shape else ()]
        point = row_of_point[index] if xmap.is_in_data[index] else None
        ax = pattern_axes[2 * row, column]
        draw_pattern(ax, np.asarray(pattern))
        ax.set_anchor("S")
        ax.set_title(_pattern_title(xmap, phases, point), fontsize=10)
        if point is not None:
            probabilities = [xmap.prop[name][point] for name in classes.properties]
            _draw_probabilities(pattern_axes[2 * row + 1, column], phases, probabilities)

    fig.legend(
        handles=[Patch(color=phase.color, label=phase.label) for phase in phases],
        loc="outside lower center",
        ncols=min(len(phases), 2 * n_columns),
        frameon=False,
        handlelength=1,
        handleheight=1,
        columnspacing=1.2,
    )
    return fig


def _phases_of(classes: Classes) -> list[_Phase]:
    return [_Phase(*i) for i in zip(classes.ids, classes.names, classes.colors, strict=True)]


def _map_axes(
    handles: list[Patch], height_to_width: float
) -> tuple[Figure, tuple[Axes, Axes], Axes]:
    # All lengths are in inches. A layout engine would move the color bar down past the legend
    width = 4.2
    height = float(np.clip(width * height_to_width, 1.4, 9))
    below, margin, gap = max(0.75, 0.2 + 0.25 * math.ceil(len(handles) / 2)), 0.15, 0.3
    fig = Figure(figsize=(2 * width + gap + 2 * margin, below + height + 0.4))
    left, right = margin, margin + width + gap
    axes = (
        add_axes(fig, left, below, width, height),
        add_axes(fig, right, below, width, height),
    )
    add_legend(fig, handles, left, below - 0.1, n_columns=2)
    return fig, axes, add_axes(fig, right + 0.1 * width, below - 0.26, 0.8 * width, 0.13)


def _strip_axes(handles: list[Patch]) -> tuple[Figure, tuple[Axes, Axes], Axes]:
    width, height, margin, gap, below = 5.4, 0.8, 0.2, 0.45, 0.6
    above = max(0.4, 0.25 * len(handles) - 2 * height - gap)
    fig = Figure(figsize=(8.4, below + 2 * height + gap + above))
    upper, right = below + height + gap, margin + width
    axes = (
        add_axes(fig, margin, upper, width, height),
        add_axes(fig, margin, below, width, height),
    )
    add_legend(fig, handles, right + 0.65, below + 2 * height + gap, n_columns=1)
    return fig, axes, add_axes(fig, right + 0.1, below, 0.13, height)


def _legend_handles(xmap: CrystalMap, phases: list[_Phase]) -> list[Patch]:
    def patch(color: str, label: str, count: int) -> Patch:
        text = f"{label}, {count / max(xmap.size, 1):.1%}"
        return Patch(facecolor=color, edgecolor="0.4", linewidth=0.6, label=text)

    phase_id = xmap.phase_id
    handles = [
        patch(
            phase.color,
            f"{phase.label} ({phase.id})" if phase.is_space_group else phase.label,
            np.count_nonzero(phase_id == phase.id),
        )
        for phase in phases
    ]
    n_not_indexed = np.count_nonzero(phase_id == -1)
    if n_not_indexed:
        handles.append(patch(NOT_INDEXED_COLOR, "not indexed", n_not_indexed))
    if not xmap.is_in_data.all():
        handles.append(
            Patch(facecolor=MASKED_COLOR, edgecolor="0.4", linewidth=0.6, label="masked")
        )
    return handles


def _pattern_indices(xmap: CrystalMap, n: int, indices: Sequence[int] | None) -> list[int]:
    if indices is None:
        n = min(n, xmap.size)
        chosen = xmap.id[np.linspace(0, xmap.size - 1, max(n, 0)).round().astype(int)].tolist()
    else:
        chosen = [int(i) for i in indices]
    n_points = xmap.is_in_data.size
    outside = [i for i in chosen if not 0 <= i < n_points]
    if outside:
        raise ValueError(f"Indices {outside} must be in 0-{n_points - 1}")
    if not chosen:
        raise ValueError(f"There are no patterns to draw with n={n} and indices={indices}")
    return chosen


def _pattern_title(xmap: CrystalMap, phases: list[_Phase], point: int | None) -> str:
    if point is None:
        return "masked"
    phase_id = xmap.phase_id[point]
    if phase_id == -1:
        return "not indexed"
    label = next(phase.label for phase in phases if phase.id == phase_id)
    return f"{label}  {xmap.prop['scores'][point]:.2f}"


def _draw_probabilities(ax: Axes, phases: list[_Phase], probabilities: list[float]) -> None:
    start = 0.0
    for phase, probability in zip(phases, probabilities, strict=True):
        ax.barh(0, probability, left=start, color=phase.color)
        start += float(probability)
    ax.set_xlim(0, 1)
