# SPDX-License-Identifier: GPL-3.0-or-later

"""Figures of how well a model does."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

# Registers the projection "ipf".
import orix.plot  # noqa: F401
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import PercentFormatter
from matplotlib.transforms import Bbox
from orix.vector import Vector3d

from kikuchipy_cnn.plotting._style import CHANCE_STYLE, class_label, label_ticks
from kikuchipy_cnn.plotting.symbols import symbol_label
from kikuchipy_cnn.space_groups import space_group_color

if TYPE_CHECKING:
    from kikuchipy_cnn.evaluation import Evaluation, MaterialScore

__all__ = [
    "plot_accuracy_by_atomic_number",
    "plot_confusion",
    "plot_orientations",
    "plot_quality",
    "plot_scores",
]

_RIGHT_COLOR, _WRONG_COLOR = "tab:blue", "tab:orange"
_SCORE_COLORS = {"Precision": "0.75", "Recall": "0.5", "F1": "0.25"}
# Points of an inverse pole figure, more of which would be a blot.
_MOST_POINTS = 1000
# More columns of a table leave no room for numbers, and no room but for small ones.
_MOST_COLUMNS_WITH_NUMBERS, _MOST_COLUMNS_WITH_LARGE_NUMBERS = 30, 10


def plot_scores(evaluation: Evaluation) -> Figure:
    """Draw precision, recall and F1 of each class above the accuracy of each material.

    Parameters
    ----------
    evaluation
        Evaluation of a model.

    Returns
    -------
    fig
        Figure. Bars of error are intervals of 95 % confidence; the dashed line is the accuracy of
        guessing.

    Examples
    --------
    >>> from kikuchipy_cnn.evaluation import evaluate
    >>> from kikuchipy_cnn.plotting import plot_scores
    >>> from kikuchipy_cnn.training import LabelledPatterns
    >>> patterns = LabelledPatterns.from_simulation(
    ...     ["Ni", "Al", "W"], 8, show_progressbar=False
    ... )
    >>> evaluation = evaluate(
    ...     "fast_fewshot", patterns, show_progressbar=False
    ... )
    >>> figure = plot_scores(evaluation)
    >>> figure.savefig("scores.png")
    """
    classes, materials = evaluation.by_class(), evaluation.by_material()
    width = float(np.clip(1.5 + 0.42 * max(1.6 * len(classes), len(materials)), 6, 24))
    fig = Figure(figsize=(width, 6.4), layout="constrained")
    upper, lower = fig.subplots(2)

    places = np.arange(len(classes))
    for i, (name, color) in enumerate(_SCORE_COLORS.items()):
        heights = np.array([getattr(score, name.lower()) for score in classes])
        errors = _errors(heights, classes) if name == "Recall" else None
        upper.bar(
            places + (i - 1) * 0.27, heights, 0.25, color=color, label=name, yerr=errors, capsize=2
        )
    label_ticks(upper, [class_label(score.label) for score in classes])
    upper.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)

    heights = np.array([score.accuracy for score in materials])
    lower.bar(
        np.arange(len(materials)),
        heights,
        0.7,
        color=[space_group_color(score.space_group) for score in materials],
        yerr=_errors(heights, materials),
        capsize=3,
    )
    label_ticks(lower, [score.material for score in materials])
    numbers = sorted({score.space_group for score in materials})
    handles = [Patch(color=space_group_color(i), label=symbol_label(i)) for i in numbers]
    handles.append(Line2D([], [], **CHANCE_STYLE, label="chance"))
    lower.legend(
        handles=handles,
        loc="lower center",
        bbox_to_anchor=(0.5, 1),
        ncols=min(len(handles), round(width)),
        frameon=False,
        handlelength=1.2,
        columnspacing=1.2,
    )
    lower.axhline(1 / len(evaluation.classes), **CHANCE_STYLE)
    lower.set_ylabel("Accuracy")
    for ax in (upper, lower):
        ax.set_ylim(0, 1.02)
        ax.yaxis.set_major_formatter(PercentFormatter(1))
    return fig


def plot_confusion(evaluation: Evaluation, by: str = "class") -> Figure:
    """Draw how many patterns of each class, or of each material, were given each class.

    Parameters
    ----------
    evaluation
        Evaluation of a model.
    by
        ``"class"`` or ``"material"``.

    Returns
    -------
    fig
        Figure with numbers of patterns. Colors are parts of a row, frames are around what is right.

    Raises
    ------
    ValueError
        If *by* is something else.

    Examples
    --------
    >>> from kikuchipy_cnn.evaluation import evaluate
    >>> from kikuchipy_cnn.plotting import plot_confusion
    >>> from kikuchipy_cnn.training import LabelledPatterns
    >>> patterns = LabelledPatterns.from_simulation(
    ...     ["Ni", "Al", "W"], 8, show_progressbar=False
    ... )
    >>> evaluation = evaluate(
    ...     "fast_fewshot", patterns, show_progressbar=False
    ... )
    >>> figure = plot_confusion(evaluation, by="material")
    >>> figure.savefig("confusion.png")
    """
    if by not in ("class", "material"):
        raise ValueError(f"by={by!r} must be 'class' or 'material'.")
    if by == "class":
        counts, rows, columns = evaluation.confusion()
        names, right = [class_label(label) for label in rows], rows
    else:
        counts, rows, columns = evaluation.confusion_by_material()
        names = [f"{material}, {symbol_label(number)}" for number, material in rows]
        right = [_label_of(evaluation, row) for row in rows]
    totals = counts.sum(axis=1, keepdims=True)
    parts = counts / np.maximum(totals, 1)

    has_room = len(columns) <= _MOST_COLUMNS_WITH_LARGE_NUMBERS
    size = 3 + (0.6 if has_room else 0.34) * len(columns), 1.2 + 0.3 * len(rows)
    fig = Figure(figsize=size, layout="constrained")
    ax = fig.subplots()
    image = ax.imshow(parts, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    if len(columns) <= _MOST_COLUMNS_WITH_NUMBERS:
        for (i, j), count in np.ndenumerate(counts):
            color = "white" if parts[i, j] > 0.6 else "black" if count else "0.75"
            style = {"ha": "center", "va": "center", "fontsize": 9 if has_room else 6}
            ax.text(j, i, str(count), color=color, **style)
    for i, label in enumerate(right):
        if label in columns:
            corner = columns.index(label) - 0.5, i - 0.5
            ax.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor="black", zorder=3))
    ax.set_yticks(range(len(rows)), names)
    label_ticks(ax, [class_label(label) for label in columns])
    ax.set_xlabel("Predicted")
    ax.set_ylabel("True")
    fig.colorbar(image, label="Part of the row", format=PercentFormatter(1))
    return fig


def plot_accuracy_by_atomic_number(
    evaluation: Evaluation,
    trained_on: Iterable[str | tuple[int, str]] | None = None,
    *,
    atomic_numbers: Mapping[str, float] | None = None,
) -> Figure:
    """Draw the accuracy of each material against its mean atomic number.

    Parameters
    ----------
    evaluation
        Evaluation of a model.
    trained_on
        Materials that the model was trained on, by name, or by space group and name. If not given,
        those that it names itself.
    atomic_numbers
        Mean atomic numbers by material that are not as in
        :meth:`~kikuchipy_cnn.evaluation.Evaluation.atomic_numbers`.

    Returns
    -------
    fig
        Figure with one panel for each space group. Bars of error are intervals of 95 % confidence;
        the dashed line is the accuracy of guessing.

    Raises
    ------
    ValueError
        If no mean atomic number is known.

    Examples
    --------
    >>> from kikuchipy_cnn.evaluation import evaluate
    >>> from kikuchipy_cnn.plotting import plot_accuracy_by_atomic_number
    >>> from kikuchipy_cnn.training import LabelledPatterns
    >>> patterns = LabelledPatterns.from_simulation(
    ...     ["Ni", "Al", "W"], 8, show_progressbar=False
    ... )
    >>> evaluation = evaluate(
    ...     "fast_fewshot", patterns, show_progressbar=False
    ... )
    >>> figure = plot_accuracy_by_atomic_number(evaluation)
    >>> figure.savefig("atomic_numbers.png")
    """
    scores = evaluation.accuracy_by_atomic_number(atomic_numbers)
    if not scores:
        names = ", ".join(evaluation.atomic_numbers())
        raise ValueError(f"No mean atomic number of {names} is known. Give atomic_numbers.")
    if trained_on is None:
        trained_on = evaluation.trained_materials or ()
    trained_on = set(trained_on)

    numbers = sorted({score.space_group for score in scores})
    n_columns = min(3, len(numbers))
    n_rows = math.ceil(len(numbers) / n_columns)
    fig = Figure(figsize=(1 + 2.9 * n_columns, 0.9 + 2.4 * n_rows), layout="constrained")
    panels = fig.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
    for ax in panels.flat[len(numbers) :]:
        ax.set_axis_off()
    for ax in panels.flat[: len(numbers)][-n_columns:]:
        ax.tick_params(labelbottom=True)
    for number, ax in zip(numbers, panels.flat, strict=False):
        of_group = [score for score in scores if score.space_group == number]
        is_known = [bool({s.material, (number, s.material)} & trained_on) for s in of_group]
        _draw_materials(ax, of_group, is_known, space_group_color(number))
        ax.axhline(1 / len(evaluation.classes), **CHANCE_STYLE)
        ax.set_title(f"{symbol_label(number)} ({number})", fontsize=10)
    highest = max(score.atomic_number for score in scores)
    # Room for names beside the points.
    panels[0, 0].set(xlim=(0, 1.15 * highest), ylim=(-0.05, 1.14), yticks=np.linspace(0, 1, 5))
    panels[0, 0].yaxis.set_major_formatter(PercentFormatter(1))
    fig.supxlabel("Mean atomic number", fontsize=10)
    fig.supylabel("Accuracy", fontsize=10)
    style = {"color": "0.3", "marker": "o", "linestyle": ""}
    handles = [Line2D([], [], **CHANCE_STYLE, label="chance")]
    if trained_on:
        handles.append(Line2D([], [], **style, label="trained on"))
        handles.append(Line2D([], [], **style, markerfacecolor="white", label="new"))
    fig.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False)
    _name_points(fig, panels.flat, [[s for s in scores if s.space_group == i] for i in numbers])
    return fig


def plot_orientations(evaluation: Evaluation) -> Figure:
    """Draw inverse pole figures of the patterns that were classified right and wrong.

    Parameters
    ----------
    evaluation
        Evaluation of a model.

    Returns
    -------
    fig
        Figure with one row for each Laue group: crystal directions along the normal of the sample.
        Titles have the numbers of patterns; of more than 1000, so many are drawn at random.

    Raises
    ------
    ValueError
        If no orientation is known.

    Examples
    --------
    >>> from kikuchipy_cnn.evaluation import evaluate
    >>> from kikuchipy_cnn.plotting import plot_orientations
    >>> from kikuchipy_cnn.training import LabelledPatterns
    >>> patterns = LabelledPatterns.from_simulation(
    ...     ["Ni", "Al", "W"], 8, show_progressbar=False
    ... )
    >>> evaluation = evaluate(
    ...     "fast_fewshot", patterns, show_progressbar=False
    ... )
    >>> figure = plot_orientations(evaluation)
    >>> figure.savefig("orientations.png")
    """
    groups = evaluation.crystal_directions()
    if not groups:
        raise ValueError(
            "No orientation of the patterns is known. Take them from a signal with an indexed "
            "crystal map."
        )
    fig = Figure(figsize=(7.4, 0.4 + 3 * len(groups)), layout="constrained")
    # The layout knows nothing of the labels at the corners.
    fig.get_layout_engine().set(w_pad=0.2, h_pad=0.2)
    for row, (name, directions) in enumerate(groups.items()):
        right = evaluation.right[directions.places]
        for column, (side, title, color) in enumerate(
            ((right, "right", _RIGHT_COLOR), (~right, "wrong", _WRONG_COLOR))
        ):
            ax = fig.add_subplot(
                *(len(groups), 2, 2 * row + column + 1),
                projection="ipf",
                symmetry=directions.symmetry,
            )
            drawn = np.random.default_rng(0).permutation(directions.vectors[side])[:_MOST_POINTS]
            if len(drawn):
                ax.scatter(Vector3d(drawn), s=10, color=color, alpha=0.6, linewidths=0)
            ax.set_title(f"{name}, {title} ({side.sum()})", fontsize=10, pad=18)
            for text in ax.texts:
                text.set_fontsize(10)
    return fig


def plot_quality(evaluation: Evaluation) -> Figure:
    """Draw histograms of the quality of the patterns that were classified right and wrong.

    Parameters
    ----------
    evaluation
        Evaluation of a model.

    Returns
    -------
    fig
        Figure. Both histograms have the same area; dashed lines are medians.

    Raises
    ------
    ValueError
        If the quality was not computed.

    Examples
    --------
    >>> from kikuchipy_cnn.evaluation import evaluate
    >>> from kikuchipy_cnn.plotting import plot_quality
    >>> from kikuchipy_cnn.training import LabelledPatterns
    >>> patterns = LabelledPatterns.from_simulation(
    ...     ["Ni", "Al", "W"], 8, show_progressbar=False
    ... )
    >>> evaluation = evaluate(
    ...     "fast_fewshot", patterns, show_progressbar=False
    ... )
    >>> figure = plot_quality(evaluation)
    >>> figure.savefig("quality.png")
    """
    comparison = evaluation.compare_quality()
    fig = Figure(figsize=(5.4, 3.6), layout="constrained")
    ax = fig.subplots()
    finite = np.isfinite(evaluation.quality)
    quality, right = evaluation.quality[finite], evaluation.right[finite]
    bins = np.histogram_bin_edges(quality, int(np.clip(math.sqrt(len(quality)), 8, 40)))
    for side, name, color, median in (
        (right, "right", _RIGHT_COLOR, comparison.median_right),
        (~right, "wrong", _WRONG_COLOR, comparison.median_wrong),
    ):
        if side.any():
            style = {"bins": bins, "density": True, "color": color}
            ax.hist(quality[side], **style, alpha=0.25)
            ax.hist(quality[side], **style, histtype="step", label=f"{name} ({side.sum()})")
            ax.axvline(median, color=color, linestyle="--")
    ax.set_xlabel("Image quality")
    ax.set_ylabel("Density")
    if np.isfinite(comparison.auc):
        ax.set_title(
            f"A right pattern has the higher quality in {comparison.auc:.0%} of pairs", fontsize=10
        )
    ax.legend(frameon=False)
    return fig


def _draw_materials(
    ax: Axes, scores: list[MaterialScore], is_known: list[bool], color: str
) -> None:
    for score, known in zip(scores, is_known, strict=True):
        ax.errorbar(
            score.atomic_number,
            score.accuracy,
            _errors(np.array([score.accuracy]), [score]),
            color=color,
            ecolor="0.75",
            marker="o",
            markerfacecolor=color if known else "white",
            capsize=2,
        )


def _name_points(fig: Figure, panels: Iterable[Axes], of_panels: list[list[MaterialScore]]) -> None:
    """Write names beside points, where they cover neither points nor each other."""
    canvas = FigureCanvasAgg(fig)
    # Only a drawn figure knows where its panels are.
    canvas.draw()
    renderer = canvas.get_renderer()
    for ax, scores in zip(panels, of_panels, strict=False):
        points = ax.transData.transform([(s.atomic_number, s.accuracy) for s in scores])
        half = 4 * fig.dpi / 72
        taken = [Bbox([point - half, point + half]) for point in points]
        for score in scores:
            choices = []
            for x, y, ha, va in _OFFSETS:
                text = ax.annotate(
                    score.material,
                    (score.atomic_number, score.accuracy),
                    (x, y),
                    textcoords="offset points",
                    ha=ha,
                    va=va,
                    fontsize=8,
                )
                box = text.get_window_extent(renderer)
                inside = ax.bbox.containsx(box.x0) and ax.bbox.containsx(box.x1)
                inside &= ax.bbox.containsy(box.y0) and ax.bbox.containsy(box.y1)
                covered = sum(box.overlaps(other) for other in taken) + 10 * (not inside)
                choices.append((covered, len(choices), text, box))
            _, best, _, box = min(choices, key=lambda choice: choice[:2])
            for _, i, text, _ in choices:
                if i != best:
                    text.remove()
            taken.append(box)


def _offsets() -> list[tuple[float, float, str, str]]:
    """Places of a name around its point, in points of type, the best ones first."""
    beside = [(6, 0, "left", "center"), (-6, 0, "right", "center")]
    for distance in (5, 14, 23):
        for sign, va in ((1, "bottom"), (-1, "top")):
            beside += [(x, sign * distance, ha, va) for x, ha in ((3, "left"), (-3, "right"))]
    return beside


_OFFSETS = _offsets()


def _errors(values: np.ndarray, scores: Sequence) -> np.ndarray:
    """Lengths of bars of error down and up, of shape (2, n)."""
    limits = np.array([[score.low, score.high] for score in scores]).T
    # Rounding must not make them negative.
    return np.maximum([values - limits[0], limits[1] - values], 0)


def _label_of(evaluation: Evaluation, material: tuple[int, str]) -> int | str:
    """Class that all patterns of a material are of."""
    number, name = material
    patterns = evaluation.patterns
    chosen = (patterns.space_group == number) & (patterns.material == name)
    return evaluation.true[chosen].tolist()[0]
