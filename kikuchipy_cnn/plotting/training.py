# SPDX-License-Identifier: GPL-3.0-or-later

"""Figures of how a model was trained, and of what more training patterns are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, NullLocator, PercentFormatter

from kikuchipy_cnn.plotting._style import CHANCE_STYLE, named_curves

if TYPE_CHECKING:
    from kikuchipy_cnn.evaluation import ShotsCurve

__all__ = ["plot_shots_curve", "plot_training_curves"]


def plot_shots_curve(curves: ShotsCurve | Mapping[str, ShotsCurve]) -> Figure:
    """Draw the accuracy against the number of training patterns of each class.

    Parameters
    ----------
    curves
        One curve, or several by the name of the approach.

    Returns
    -------
    fig
        Figure. Bars are standard deviations over the trials, small points the trials; the dashed
        line is the accuracy of guessing.

    Examples
    --------
    A curve of simulated patterns and one trial, from the documentation
    on training:

    >>> import numpy as np
    >>> from kikuchipy_cnn.evaluation import ShotsCurve
    >>> from kikuchipy_cnn.plotting import plot_shots_curve
    >>> shots = (0, 1, 5, 10, 50, 100, 400)
    >>> right = [0.789, 0.556, 0.818, 0.825, 0.923, 0.929, 0.942]
    >>> curve = ShotsCurve(
    ...     shots, np.array([right]).T, "space group", chance=1 / 6
    ... )
    >>> figure = plot_shots_curve({"packaged start": curve})
    >>> figure.savefig("shots.png")
    """
    named = named_curves(curves)
    fig = Figure(figsize=(5.8, 3.8), layout="constrained")
    ax = fig.subplots()
    for i, (name, curve) in enumerate(named.items()):
        color = f"C{i}"
        ax.errorbar(
            curve.shots,
            curve.mean,
            curve.deviation,
            marker="o",
            capsize=3,
            color=color,
            label=name or "mean",
        )
        trials = np.repeat(curve.shots, curve.accuracies.shape[1])
        ax.scatter(trials, curve.accuracies.ravel(), s=8, color=color, alpha=0.5, linewidths=0)
    first = next(iter(named.values()))
    ax.axhline(first.chance, **CHANCE_STYLE, label="chance")
    ticks = sorted({n for curve in named.values() for n in curve.shots})
    # 0 is half as far from 1 as 1 from 10.
    ax.set_xscale("symlog", linthresh=1, linscale=0.5)
    ax.set_xlim(ticks[0] - 0.2, 1.3 * ticks[-1])
    ax.set_xticks(ticks, map(str, ticks))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_ylim(0, 1.02)
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    ax.set_xlabel(f"Training patterns of each {first.level}")
    ax.set_ylabel("Accuracy")
    ax.legend(frameon=False)
    return fig


def plot_training_curves(
    histories: Sequence[Sequence[Mapping]] | Mapping[str, Sequence[Sequence[Mapping]]],
) -> Figure:
    """Draw loss and accuracy of each epoch.

    Parameters
    ----------
    histories
        Histories of the trials of an approach, or those of several approaches by name. A history
        has for each epoch "epoch", "loss", "accuracy", "val_loss" and "val_accuracy".

    Returns
    -------
    fig
        Figure. Lines are means and bands sample standard deviations over the trials that were
        still running.

    Raises
    ------
    ValueError
        If there are no histories, or one has no epochs.

    Examples
    --------
    A small network and two epochs keep the example short; it learns
    next to nothing:

    >>> from kikuchipy_cnn.plotting import plot_training_curves
    >>> from kikuchipy_cnn.training import FewShotProtocol, FewShotTrainer
    >>> from kikuchipy_cnn.training import LabelledPatterns, split_patterns
    >>> patterns = LabelledPatterns.from_simulation(
    ...     ["Ni", "W"], 20, show_progressbar=False
    ... )
    >>> split = split_patterns(patterns, n_training=12, n_validation=4)
    >>> trainer = FewShotTrainer(
    ...     "scratch",
    ...     FewShotProtocol(max_epochs=2),
    ...     architecture="tiny",
    ...     size=40,
    ... )
    >>> result = trainer.fit(
    ...     split.training, split.validation, show_progressbar=False
    ... )
    >>> figure = plot_training_curves([result.history])
    >>> figure.savefig("training.png")
    """
    named = histories if isinstance(histories, Mapping) else {"": histories}
    if not named or not all(named.values()) or not all(map(all, map(list, named.values()))):
        raise ValueError("There must be at least one history, and each with at least one epoch.")
    fig = Figure(figsize=(9, 3.8), layout="constrained")
    panels = fig.subplots(1, 2)
    for ax, quantity in zip(panels, ("loss", "accuracy"), strict=True):
        for i, trials in enumerate(named.values()):
            for key, style in ((quantity, "--"), (f"val_{quantity}", "-")):
                _draw_trials(ax, trials, key, f"C{i}", style)
        ax.set_xlabel("Epoch")
        ax.set_ylabel(quantity.capitalize())
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].set_ylim(bottom=0)
    panels[1].set_ylim(0, 1.02)
    panels[1].yaxis.set_major_formatter(PercentFormatter(1))
    handles = [
        Line2D([], [], color="0.3", linestyle="--", label="training"),
        Line2D([], [], color="0.3", label="validation"),
    ]
    handles += [Patch(color=f"C{i}", label=name) for i, name in enumerate(named) if name]
    fig.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False)
    return fig


def _draw_trials(ax: Axes, trials: Sequence[Sequence[Mapping]], key: str, color: str, style: str):
    values = np.full((len(trials), max(map(len, trials))), np.nan)
    for row, history in zip(values, trials, strict=True):
        row[: len(history)] = [epoch[key] for epoch in history]
    epochs = np.arange(1, values.shape[1] + 1)
    # In each epoch there is at least one trial.
    mean = np.nanmean(values, axis=0)
    n_others = (~np.isnan(values)).sum(axis=0) - 1
    # Of the sample, which one trial alone has none of.
    deviation = np.sqrt(np.nansum((values - mean) ** 2, axis=0) / np.maximum(n_others, 1))
    ax.plot(epochs, mean, color=color, linestyle=style, marker="." if len(epochs) == 1 else "")
    if len(trials) > 1:
        band = mean - deviation, mean + deviation
        ax.fill_between(epochs, *band, color=color, alpha=0.18, linewidth=0)
