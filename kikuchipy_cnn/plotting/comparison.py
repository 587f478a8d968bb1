# SPDX-License-Identifier: GPL-3.0-or-later

"""Figures of several maps of the same points."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from orix.crystal_map import CrystalMap, Phase
from orix.plot import IPFColorKeyTSL
from orix.quaternion import Orientation
from orix.vector import Vector3d

from kikuchipy_cnn._checks import check_integer
from kikuchipy_cnn.comparison.agreement import PhaseComparison
from kikuchipy_cnn.crystal_map import first_property, map_shape
from kikuchipy_cnn.plotting._panels import (
    MASKED_COLOR,
    NOT_INDEXED_COLOR,
    add_scale_bar,
    extent_of,
    steps_of,
)
from kikuchipy_cnn.plotting.symbols import symbol_label
from kikuchipy_cnn.space_groups import hermann_mauguin_symbol, space_group_color

__all__ = ["ipf_image", "plot_agreement", "plot_phase_maps"]

_DIRECTIONS = {"x": Vector3d.xvector, "y": Vector3d.yvector, "z": Vector3d.zvector}
# A colour that no space group has
_TIE_COLOR = "crimson"
_TIE_LABEL = "several phases fit equally"
_WIDTH, _LEGEND = 3.4, 0.45
_DIFFERS, _AGREES = "tab:red", "0.9"
_N_BINS = 20


def plot_phase_maps(
    panels: Mapping[str, CrystalMap | np.ndarray], *, n_columns: int = 3, show_ties: bool = True
) -> Figure:
    """Draw phase maps and images of the same points side by side.

    With an electron image, the map of Hough indexing, an inverse pole figure map
    (:func:`ipf_image`), the map of one network, a map of an element and the map of another network,
    in this order, this is the layout of Fig. 5 of the 2021 paper (Sci Rep 11:8172).

    A space group has one colour in all maps; where a map has several phases of one, these have
    their own.

    Parameters
    ----------
    panels
        Crystal maps, or images of as many rows and columns, by title. Images of two dimensions are
        drawn in grey, those of three as colours.
    n_columns
        Number of panels in a row.
    show_ties
        Whether to draw points in which several phases fit equally well in a colour of their own,
        in maps with the property "n_tied".

    Returns
    -------
    fig
        Figure.

    Raises
    ------
    ValueError
        If there is no crystal map, or panels differ in shape.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> import kikuchipy_cnn
    >>> from kikuchipy_cnn.plotting import plot_phase_maps
    >>> s = kp.data.nickel_ebsd_small()
    >>> xmap = s.classify_space_group(
    ...     model="fast_fewshot", show_progressbar=False
    ... )
    Space group classification information:
    ...
    >>> quality = s.get_image_quality(show_progressbar=False)
    >>> figure = plot_phase_maps(
    ...     {"image quality": quality, "network": xmap, "indexed": s.xmap}
    ... )
    >>> figure.savefig("phases.png")
    """
    maps = {title: i for title, i in panels.items() if isinstance(i, CrystalMap)}
    if not maps:
        raise ValueError("There is no crystal map among the panels: give at least one")
    first = next(iter(maps.values()))
    shape = map_shape(first)
    for title, panel in panels.items():
        own = map_shape(panel) if isinstance(panel, CrystalMap) else np.shape(panel)[:2]
        if own != shape:
            raise ValueError(f"Panel {title!r} has {own} points, but {shape} are needed")

    colors: dict[str, str] = {}
    shared = _shared_space_groups(maps.values())
    check_integer("n_columns", n_columns, 1)
    fig, axes = _axes(len(panels), n_columns, shape, first)
    extent = extent_of(first, shape, is_strip=False, along_y=False)
    style = {"interpolation": "nearest", "extent": extent}
    for ax, (title, panel) in zip(axes, panels.items(), strict=True):
        if isinstance(panel, CrystalMap):
            ax.imshow(_phase_image(panel, colors, shared, show_ties), **style)
        else:
            ax.imshow(panel, cmap="gray", **style)
        ax.set_title(title, fontsize=10)
    add_scale_bar(axes[0], shape[1] * steps_of(first)[0], first.scan_unit)
    _legend(fig, colors)
    return fig


def ipf_image(xmap: CrystalMap, direction: str = "y") -> np.ndarray:
    """Return the colours of an inverse pole figure map.

    Parameters
    ----------
    xmap
        Crystal map with orientations and phases with point groups.
    direction
        Direction of the sample, "x", "y" or "z": RD, TD or ND of kikuchipy's frame.

    Returns
    -------
    image
        Colours of shape (rows, columns, 3) from 0 to 1 by the key of EDAX TSL. Points that are not
        indexed, or have identity rotation, are white.

    Raises
    ------
    ValueError
        If the direction is another, or a phase has no point group.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn.plotting import ipf_image, plot_phase_maps
    >>> s = kp.data.nickel_ebsd_small()
    >>> image = ipf_image(s.xmap, "z")
    >>> image.shape
    (3, 3, 3)
    >>> figure = plot_phase_maps({"IPF-Z": image, "phases": s.xmap})
    >>> figure.savefig("ipf.png")
    """
    if direction not in _DIRECTIONS:
        raise ValueError(f"direction={direction!r} must be one of {', '.join(_DIRECTIONS)}")
    image = np.tile(to_rgb(NOT_INDEXED_COLOR), (xmap.is_in_data.size, 1))
    quaternions = xmap._rotations.data.reshape(xmap.is_in_data.size, -1, 4)[:, 0]
    has_orientation = np.abs(quaternions[:, 1:]).max(axis=1) > 0
    for i, phase in xmap.phases:
        if i == -1:
            continue
        if phase.point_group is None:
            raise ValueError(f"Phase {phase.name!r} has no point group: set phase.space_group")
        chosen = xmap.is_in_data & (xmap._phase_id == i) & has_orientation
        if chosen.any():
            key = IPFColorKeyTSL(phase.point_group.laue, _DIRECTIONS[direction]())
            image[chosen] = key.orientation2color(Orientation(quaternions[chosen]))
    return image.reshape(*map_shape(xmap), 3)


def plot_agreement(comparison: PhaseComparison) -> Figure:
    """Draw where maps agree with the first, and how often, by its confidence.

    Parameters
    ----------
    comparison
        Comparison of at least two maps.

    Returns
    -------
    fig
        Map of the points in which another map calls something else, beside the part of points of
        each confidence that do.

    Raises
    ------
    ValueError
        If there is but one map.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> import kikuchipy_cnn
    >>> from kikuchipy_cnn.plotting import plot_agreement
    >>> s = kp.data.nickel_ebsd_small()
    >>> xmap = s.classify_space_group(
    ...     model="fast_fewshot", show_progressbar=False
    ... )
    Space group classification information:
    ...
    >>> comparison = kikuchipy_cnn.comparison.compare_phase_maps(
    ...     xmap, s.xmap, names=["network", "indexed"]
    ... )
    >>> figure = plot_agreement(comparison)
    >>> figure.savefig("agreement.png")
    """
    n_others = len(comparison.names) - 1
    if n_others == 0:
        raise ValueError("There is one map only, and the truth: compare it with another one")
    agreement = comparison.agreement_map()
    rows, columns = comparison.shape
    height = float(np.clip(4 * rows / columns, 1.5, 6))
    fig = Figure(figsize=(9, height + 0.9), layout="constrained")
    left, right = fig.subplots(1, 2, width_ratios=(4, 3.6))
    image = np.full((rows, columns, 3), to_rgb(MASKED_COLOR))
    for value, color in ((agreement == 1, _AGREES), (agreement < 1, _DIFFERS)):
        image[value] = to_rgb(color)
    left.imshow(image, interpolation="nearest")
    left.set(xticks=[], yticks=[])
    part = float(np.mean(comparison.n_agreeing < n_others))
    left.set_title(f"{comparison.names[0]}: contradicted in {part:.1%} of the points", fontsize=10)

    differs = comparison.n_agreeing < n_others
    known = np.isfinite(comparison.confidence)
    if known.any():
        top = max(1, comparison.confidence[known].max())
        counts, edges = np.histogram(comparison.confidence[known], _N_BINS, (0, top))
        differing, _ = np.histogram(comparison.confidence[known & differs], edges)
        right.bar(
            edges[:-1], differing / np.maximum(counts, 1), np.diff(edges), align="edge",
            color=_DIFFERS, edgecolor="0.4", linewidth=0.5,
        )  # fmt: skip
        counted = right.twinx()
        counted.stairs(counts, edges, color="0.5")
        counted.set_ylabel("Points", color="0.5")
        counted.tick_params(axis="y", colors="0.5")
        right.set(
            xlabel=f"Confidence of {comparison.names[0]}", ylabel="Contradicted part", ylim=(0, 1)
        )
    else:
        right.text(0.5, 0.5, "no confidence in the map", ha="center", transform=right.transAxes)
        right.set_axis_off()
    fig.legend(
        handles=[
            Patch(facecolor=_AGREES, edgecolor="0.4", label="all agree"),
            Patch(facecolor=_DIFFERS, edgecolor="0.4", label="another map differs"),
        ],
        loc="outside lower center", ncols=2, frameon=False,
    )  # fmt: skip
    return fig


def _axes(
    n_panels: int, n_columns: int, shape: tuple[int, int], xmap: CrystalMap
) -> tuple[Figure, list[Axes]]:
    n_columns = min(n_columns, n_panels)
    n_rows = math.ceil(n_panels / n_columns)
    dx, dy = steps_of(xmap)
    height_to_width = shape[0] * dy / (shape[1] * dx)
    height = float(np.clip(_WIDTH * height_to_width, 0.6, 6))
    fig = Figure(
        figsize=(_WIDTH * n_columns, (height + 0.3) * n_rows + _LEGEND), layout="constrained"
    )
    axes = fig.subplots(n_rows, n_columns, squeeze=False).ravel().tolist()
    for ax in axes:
        ax.set(xticks=[], yticks=[])
    for ax in axes[n_panels:]:
        ax.set_axis_off()
    return fig, axes[:n_panels]


def _shared_space_groups(maps: Iterable[CrystalMap]) -> set[int]:
    """Space groups of more than one phase in one map, whose phases are told by their names."""
    shared = set()
    for xmap in maps:
        numbers = [i.number for i in xmap.phases.space_groups if i is not None]
        shared |= {i for i in numbers if numbers.count(i) > 1}
    return shared


def _phase_image(
    xmap: CrystalMap, colors: dict[str, str], shared: set[int], show_ties: bool
) -> np.ndarray:
    image = np.tile(to_rgb(MASKED_COLOR), (xmap.is_in_data.size, 1))
    in_data = xmap.is_in_data
    not_indexed = in_data & (xmap._phase_id == -1)
    image[not_indexed] = to_rgb(NOT_INDEXED_COLOR)
    if not_indexed.any():
        colors.setdefault("not indexed", NOT_INDEXED_COLOR)
    if not in_data.all():
        colors.setdefault("masked", MASKED_COLOR)
    for i, phase in xmap.phases:
        chosen = in_data & (xmap._phase_id == i)
        if i != -1 and chosen.any():
            label, color = _label_and_color(phase, shared)
            image[chosen] = to_rgb(colors.setdefault(label, color))
    if show_ties and "n_tied" in xmap.prop:
        tied = in_data & (first_property(xmap, ["n_tied"]) > 1)
        if tied.any():
            image[tied] = to_rgb(colors.setdefault(_TIE_LABEL, _TIE_COLOR))
    return image.reshape(*map_shape(xmap), 3)


def _label_and_color(phase: Phase, shared: set[int]) -> tuple[str, str]:
    if phase.space_group is None:
        return phase.name, phase.color
    number = phase.space_group.number
    if number in shared and phase.name != hermann_mauguin_symbol(number):
        return f"{phase.name}, {symbol_label(number)}", phase.color
    return symbol_label(number), space_group_color(number)


def _legend(fig: Figure, colors: dict[str, str]) -> None:
    last = ("masked", "not indexed", _TIE_LABEL)
    order = sorted(colors, key=lambda label: (label in last, label))
    fig.legend(
        handles=[
            Patch(facecolor=colors[label], edgecolor="0.4", linewidth=0.6, label=label)
            for label in order
        ],
        loc="outside lower center",
        ncols=min(len(order), 6),
        frameon=False,
        handlelength=1.2,
        handleheight=1.2,
    )
