# SPDX-License-Identifier: GPL-3.0-or-later

"""Figures of how far answers are to be trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import AutoLocator, PercentFormatter
from orix.crystal_map import CrystalMap

from kikuchipy_cnn.plotting._panels import (
    MASKED_COLOR,
    NOT_INDEXED_COLOR,
    add_axes,
    add_legend,
    add_scale_bar,
    as_image,
    extent_of,
    unit_label,
)
from kikuchipy_cnn.plotting._style import CHANCE_STYLE, class_label, label_ticks, named_curves
from kikuchipy_cnn.space_groups import space_group_color
from kikuchipy_cnn.uncertainty.rejection import RejectReason

if TYPE_CHECKING:
    from kikuchipy_cnn.evaluation import Reliability
    from kikuchipy_cnn.uncertainty import RiskCoverage

__all__ = ["plot_confidence", "plot_drift", "plot_reliability", "plot_risk_coverage"]

_REASON_COLORS = {
    RejectReason.INDEXED: "0.93",
    RejectReason.INVALID: "black",
    RejectReason.NO_DIFFRACTION: "tab:blue",
    RejectReason.OUTSIDE_CLASSES: "tab:red",
    RejectReason.DOUBTFUL: "tab:orange",
}
# More curves with their intervals would be a blot. Without one, the accuracy of fewer patterns
# says nothing.
_MOST_WITH_INTERVALS, _FEWEST_WITHOUT_INTERVAL = 4, 10
# Value in the images of states and reasons that is none of them.
_MASKED = -1

# Part of the patterns below which their risk is mostly chance.
_LEAST_COVERAGE = 0.1


def plot_confidence(xmap: CrystalMap) -> Figure:
    """Draw a map of the confidence beside one of the entropy, and of why points were rejected.

    Parameters
    ----------
    xmap
        Crystal map with the property "entropy", and "confidence" or otherwise "scores". If it has
        "reject_reason" and any point is rejected, there is a third map. The smallest rectangle with
        all points in data is drawn. One row, one column or one point are drawn as strips, one above
        the other.

    Returns
    -------
    fig
        Figure. Points that are not indexed are white. Fractions in the legend are of the points in
        data.

    Raises
    ------
    ValueError
        If the map has no points in data, lacks a property, or has a reason that is none of
        :class:`~kikuchipy_cnn.uncertainty.rejection.RejectReason`.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> import kikuchipy_cnn
    >>> from kikuchipy_cnn.plotting import plot_confidence
    >>> s = kp.data.nickel_ebsd_small()
    >>> xmap = s.classify_space_group(
    ...     model="fast_fewshot", show_progressbar=False
    ... )
    Space group classification information:
    ...
    >>> figure = plot_confidence(xmap)
    >>> figure.savefig("confidence.png")
    """
    if xmap.size == 0:
        raise ValueError("The crystal map has no points in data, so there is nothing to draw.")
    first = "confidence" if "confidence" in xmap.prop else "scores"
    for name in (first, "entropy"):
        if name not in xmap.prop:
            raise ValueError(
                f"The crystal map has the properties {list(xmap.prop)}, but not '{name}'. Pass a "
                "map from classify_space_group()."
            )
    reasons = _reject_reasons(xmap)
    has_reasons = bool(np.any(reasons))
    states = as_image(xmap, xmap.is_indexed.astype(int), _MASKED)
    handles = _state_handles(xmap)
    reason_handles = _reason_handles(reasons) if has_reasons else []

    is_strip = 1 in states.shape
    along_y = is_strip and states.shape[0] > 1
    if is_strip:
        states = states.reshape(1, -1)
        fig, panels, bars = _strip_axes(handles, reason_handles)
    else:
        height_to_width = states.shape[0] * xmap.dy / (states.shape[1] * xmap.dx)
        fig, panels, bars = _map_axes(handles, reason_handles, height_to_width)
    style = {
        "interpolation": "nearest",
        "extent": extent_of(xmap, states.shape, is_strip=is_strip, along_y=along_y),
        "aspect": "auto" if is_strip else "equal",
    }
    for ax, bar, name, colors in zip(
        panels[:2], bars, (first, "entropy"), ("viridis", "magma"), strict=True
    ):
        # Both those not indexed and those not in data are no numbers in the map above.
        _draw_codes(ax, states, [MASKED_COLOR, NOT_INDEXED_COLOR, NOT_INDEXED_COLOR], style)
        values = np.where(xmap.is_indexed, xmap.prop[name], np.nan)
        image = as_image(xmap, values, np.nan).reshape(states.shape)
        drawn = ax.imshow(image, cmap=colors, vmin=0, vmax=1, **style)
        ax.set_title("Score" if name == "scores" else name.capitalize())
        fig.colorbar(
            drawn,
            cax=bar,
            orientation="vertical" if is_strip else "horizontal",
            ticks=[0, 0.5, 1],
        )
    if has_reasons:
        image = as_image(xmap, reasons, _MASKED).reshape(states.shape)
        _draw_codes(panels[2], image, [MASKED_COLOR, *_REASON_COLORS.values()], style)
        panels[2].set_title("Rejected")
    for ax in panels:
        ax.set(xticks=[], yticks=[])
    if is_strip:
        panels[-1].xaxis.set_major_locator(AutoLocator())
        panels[-1].set_xlabel(f"{'y' if along_y else 'x'} ({unit_label(xmap.scan_unit)})")
    else:
        add_scale_bar(panels[0], states.shape[1] * xmap.dx, xmap.scan_unit)
    return fig


def plot_reliability(
    reliability: Reliability | Mapping[str, Reliability] | Mapping[int, Reliability],
) -> Figure:
    """Draw how often patterns are right against their confidence, above how many there are.

    Parameters
    ----------
    reliability
        Confidence and accuracy by bin, or several by name or by space group.

    Returns
    -------
    fig
        Figure. Bars of error are intervals of 95 % confidence; on the dashed line patterns are as
        often right as they say. Of more than 4 curves there are no bars, and only bins of 10
        patterns or more. The legend has the expected calibration errors.

    Raises
    ------
    ValueError
        If there is nothing to draw.

    Examples
    --------
    >>> from kikuchipy_cnn.evaluation import evaluate, reliability
    >>> from kikuchipy_cnn.plotting import plot_reliability
    >>> from kikuchipy_cnn.training import LabelledPatterns
    >>> patterns = LabelledPatterns.from_simulation(
    ...     ["Ni", "Al", "W"], 8, show_progressbar=False
    ... )
    >>> evaluation = evaluate(
    ...     "fast_fewshot", patterns, show_progressbar=False
    ... )
    >>> figure = plot_reliability(
    ...     reliability(evaluation.scores, evaluation.right, n_bins=5)
    ... )
    >>> figure.savefig("reliability.png")
    """
    named = named_curves(reliability)
    with_intervals = len(named) <= _MOST_WITH_INTERVALS
    fewest = 1 if with_intervals else _FEWEST_WITHOUT_INTERVAL
    fig = Figure(figsize=(5.2, 6.2), layout="constrained")
    upper, lower = fig.subplots(2, sharex=True, height_ratios=[3, 1])
    upper.plot([0, 1], [0, 1], **CHANCE_STYLE)
    for i, (name, curve) in enumerate(named.items()):
        color = space_group_color(name) if isinstance(name, int) else f"C{i}"
        filled = curve.count >= fewest
        limits = np.array([curve.accuracy - curve.low, curve.high - curve.accuracy])[:, filled]
        error = f"calibration error {curve.error:.3f}"
        upper.errorbar(
            curve.confidence[filled],
            curve.accuracy[filled],
            # Rounding must not make them negative.
            np.maximum(limits, 0) if with_intervals else None,
            color=color,
            marker="o",
            markersize=5,
            linewidth=1,
            capsize=2,
            label=error if name == "" else f"{class_label(name)}, {error}",
        )
        if len(named) == 1:
            lower.stairs(curve.count, curve.edges, color=color, fill=True, alpha=0.4)
        lower.stairs(curve.count, curve.edges, color=color)
    upper.set(xlim=(0, 1), ylim=(-0.02, 1.02), ylabel="Accuracy")
    lower.set(xlabel="Confidence", ylabel="Patterns")
    upper.xaxis.set_major_formatter(PercentFormatter(1))
    upper.yaxis.set_major_formatter(PercentFormatter(1))
    _add_legend_above(upper, n_columns=1 if with_intervals else 2)
    return fig


def plot_risk_coverage(
    curve: RiskCoverage | Mapping[str, RiskCoverage], risk: float | None = None
) -> Figure:
    """Draw the part of the answered patterns that is wrong against how many are answered.

    Parameters
    ----------
    curve
        One curve, or several by name.
    risk
        Risk that was chosen, from 0 to 1. Where a curve can keep it, by
        :meth:`~kikuchipy_cnn.uncertainty.RiskCoverage.threshold_for_risk`, there is a point.

    Returns
    -------
    fig
        Figure. Bands reach up to the limit that the risk is below with 95 % confidence. The legend
        has the areas under the curves, and the coverages at the chosen risk.

    Raises
    ------
    ValueError
        If there is nothing to draw, or the risk is not from 0 to 1.

    Examples
    --------
    >>> from kikuchipy_cnn.evaluation import evaluate
    >>> from kikuchipy_cnn.plotting import plot_risk_coverage
    >>> from kikuchipy_cnn.training import LabelledPatterns
    >>> from kikuchipy_cnn.uncertainty import RiskCoverage
    >>> patterns = LabelledPatterns.from_simulation(
    ...     ["Ni", "Al", "W"], 8, show_progressbar=False
    ... )
    >>> evaluation = evaluate(
    ...     "fast_fewshot", patterns, show_progressbar=False
    ... )
    >>> curve = RiskCoverage.from_scores(
    ...     evaluation.scores, ~evaluation.right
    ... )
    >>> figure = plot_risk_coverage(curve, risk=0.1)
    >>> figure.savefig("risk_coverage.png")
    """
    named = named_curves(curve)
    if risk is not None and not 0 <= risk <= 1:
        raise ValueError(f"risk={risk} must be from 0 to 1.")
    fig = Figure(figsize=(5.8, 4.2), layout="constrained")
    ax = fig.subplots()
    highest = 0.0
    for i, (name, one) in enumerate(named.items()):
        parts = [name] if name else []
        parts.append(f"area {one.area():.4f}")
        if risk is not None and (one.upper_risk <= risk).any():
            coverage, found = one.at(one.threshold_for_risk(risk))
            ax.plot(coverage, found, color=f"C{i}", marker="o", clip_on=False, zorder=3)
            parts.append(f"{coverage:.1%} answered")
        ax.plot(one.coverage, one.risk, color=f"C{i}", label=", ".join(parts))
        band = {"color": f"C{i}", "alpha": 0.15, "linewidth": 0}
        ax.fill_between(one.coverage, one.risk, one.upper_risk, **band)
        # Risks and limits of few patterns are far above all that is to be seen.
        of_many = one.coverage >= _LEAST_COVERAGE
        highest = max(highest, one.risk[of_many].max(), one.upper_risk[-1])
    if risk is not None:
        ax.axhline(risk, **CHANCE_STYLE, label=f"chosen risk {risk:.1%}")
    ax.set(xlim=(0, 1), ylim=(0, min(1, 1.1 * max(highest, risk or 0, 0.01))))
    ax.set(xlabel="Coverage: part answered", ylabel="Risk: part of these that is wrong")
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    _add_legend_above(ax, n_columns=1)
    return fig


def plot_drift(
    rows: Sequence[Mapping[str, str | float | tuple[float, float, float]]],
) -> Figure:
    """Draw how accurate methods are where the patterns differ from those trained on.

    Parameters
    ----------
    rows
        Of each difference its name, "drift", and by the name of each method its accuracy from 0 to
        1, or the accuracy and the lower and upper limit of its interval.

    Returns
    -------
    fig
        Figure with one group of bars for each difference, and one bar in it for each method.

    Raises
    ------
    ValueError
        If there are no rows or methods, or rows have other methods than the first.

    Examples
    --------
    Two drifts of the documentation on uncertainty, with intervals:

    >>> from kikuchipy_cnn.plotting import plot_drift
    >>> blur = {
    ...     "drift": "blur",
    ...     "before": (0.838, 0.807, 0.866),
    ...     "iterative": (0.868, 0.839, 0.893),
    ... }
    >>> voltage = {
    ...     "drift": "10 kV",
    ...     "before": (0.640, 0.601, 0.677),
    ...     "iterative": (0.668, 0.630, 0.705),
    ... }
    >>> figure = plot_drift([blur, voltage])
    >>> figure.savefig("drift.png")
    """
    methods = [key for key in rows[0] if key != "drift"] if rows else []
    if not methods:
        raise ValueError(f"There must be a row with 'drift' and one method at least, not {rows}.")
    for row in rows:
        if set(row) != {"drift", *methods}:
            raise ValueError(
                f"A row has {', '.join(row)}, but all must have drift, {', '.join(methods)}."
            )
    fig = Figure(
        figsize=(float(np.clip(1.6 + 0.45 * len(rows) * (len(methods) + 1), 4.5, 24)), 3.8),
        layout="constrained",
    )
    ax = fig.subplots()
    places, width = np.arange(len(rows)), 0.8 / len(methods)
    for i, method in enumerate(methods):
        heights, low, high = np.array([_with_limits(row[method]) for row in rows]).T
        ax.bar(
            places + (i - (len(methods) - 1) / 2) * width,
            heights,
            0.92 * width,
            color=f"C{i}",
            label=method,
            # Rounding must not make them negative.
            yerr=np.maximum([heights - low, high - heights], 0),
            capsize=3,
        )
    label_ticks(ax, [str(row["drift"]) for row in rows])
    ax.set(ylim=(0, 1.02), ylabel="Accuracy")
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    _add_legend_above(ax, n_columns=min(len(methods), 4))
    return fig


def _with_limits(value: float | Sequence[float]) -> tuple[float, float, float]:
    """A value with the limits of its interval, no numbers without one: then no bar is drawn."""
    return tuple(map(float, value)) if np.ndim(value) else (float(value), math.nan, math.nan)


def _add_legend_above(ax: Axes, n_columns: int) -> None:
    ax.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 1),
        ncols=n_columns,
        frameon=False,
        fontsize=9,
        handlelength=1.4,
        columnspacing=1.2,
    )


def _reject_reasons(xmap: CrystalMap) -> np.ndarray:
    """Why each point in data was rejected, 0 if it was not or that is not known."""
    if "reject_reason" not in xmap.prop:
        return np.zeros(xmap.size, int)
    values = np.asarray(xmap.prop["reject_reason"])
    others = np.setdiff1d(values, list(RejectReason)).tolist()
    if others:
        known = ", ".join(f"{reason.value} ({reason.meaning})" for reason in RejectReason)
        raise ValueError(f"The property 'reject_reason' has {others}, but must be of {known}.")
    return values.astype(int)


def _state_handles(xmap: CrystalMap) -> list[Patch]:
    handles = []
    n_not_indexed = np.count_nonzero(~xmap.is_indexed)
    if n_not_indexed:
        handles.append(_patch(NOT_INDEXED_COLOR, f"not indexed, {n_not_indexed / xmap.size:.1%}"))
    if not xmap.is_in_data.all():
        handles.append(_patch(MASKED_COLOR, "masked"))
    return handles


def _reason_handles(reasons: np.ndarray) -> list[Patch]:
    parts = {reason: np.mean(reasons == reason) for reason in RejectReason}
    return [
        _patch(_REASON_COLORS[reason], f"{reason.meaning}, {part:.1%}")
        for reason, part in parts.items()
        if part
    ]


def _patch(color: str, label: str) -> Patch:
    return Patch(facecolor=color, edgecolor="0.4", linewidth=0.6, label=label)


def _draw_codes(ax: Axes, codes: np.ndarray, colors: list[str], style: dict) -> None:
    """Draw integers from that of masked points on in colors."""
    norm = BoundaryNorm(np.arange(len(colors) + 1) + _MASKED - 0.5, len(colors))
    ax.imshow(codes, cmap=ListedColormap(colors), norm=norm, **style)


def _map_axes(
    handles: list[Patch], reason_handles: list[Patch], height_to_width: float
) -> tuple[Figure, list[Axes], list[Axes]]:
    """Panels side by side, and below the first two their color bars."""
    # All lengths are in inches. A layout engine would move the color bars down past the legends.
    n_panels = 3 if reason_handles else 2
    width, margin, gap = 3.7, 0.15, 0.3
    height = float(np.clip(width * height_to_width, 0.7, 9))
    below = max(0.6 + 0.3 * bool(handles), 0.2 + 0.25 * len(reason_handles))
    fig = Figure(
        figsize=(n_panels * width + (n_panels - 1) * gap + 2 * margin, below + height + 0.4)
    )
    lefts = [margin + i * (width + gap) for i in range(n_panels)]
    panels = [add_axes(fig, left, below, width, height) for left in lefts]
    bars = [
        add_axes(fig, left + 0.1 * width, below - 0.26, 0.8 * width, 0.13) for left in lefts[:2]
    ]
    if handles:
        add_legend(fig, handles, margin, below - 0.6, n_columns=2)
    if reason_handles:
        add_legend(fig, reason_handles, lefts[2], below - 0.1, n_columns=1)
    return fig, panels, bars


def _strip_axes(
    handles: list[Patch], reason_handles: list[Patch]
) -> tuple[Figure, list[Axes], list[Axes]]:
    """Panels one above the other, and beside the first two their color bars."""
    n_panels = 3 if reason_handles else 2
    width, height, margin, gap, below = 5.4, 0.8, 0.2, 0.45, 0.6
    top = below + n_panels * height + (n_panels - 1) * gap
    fig = Figure(figsize=(8.4, top + 0.4))
    bottoms = [top - height - i * (height + gap) for i in range(n_panels)]
    right = margin + width
    panels = [add_axes(fig, margin, bottom, width, height) for bottom in bottoms]
    bars = [add_axes(fig, right + 0.1, bottom, 0.13, height) for bottom in bottoms[:2]]
    if handles:
        add_legend(fig, handles, right + 0.65, top, n_columns=1)
    if reason_handles:
        add_legend(fig, reason_handles, right + 0.65, below + height, n_columns=1)
    return fig, panels, bars
