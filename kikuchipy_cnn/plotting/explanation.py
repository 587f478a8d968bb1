# SPDX-License-Identifier: GPL-3.0-or-later

"""Figures of what parts of patterns speak for and against classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure

from kikuchipy_cnn.plotting._panels import add_axes, draw_pattern
from kikuchipy_cnn.plotting._style import class_label

if TYPE_CHECKING:
    from kikuchipy.simulations import GeometricalKikuchiPatternSimulation

    from kikuchipy_cnn.explanation.attributions import Attributions

__all__ = ["plot_attribution_comparison", "plot_attributions"]

# Percentage of the magnitudes within the color scale: single pixels would take all of the contrast.
_WITHIN_SCALE = 99.5
# Lines are in no color of the values. Over these they must be weak.
_OVER_PATTERN = {"color": "gold", "linewidth": 0.5, "alpha": 0.7}
_OVER_VALUES = {"color": "black", "linewidth": 0.4, "alpha": 0.35}

# Lengths in inches. _ABOVE and _BELOW are room for one and for two lines of text.
_MARGIN, _GAP, _ABOVE, _BELOW = 0.1, 0.08, 0.27, 0.5
_BAR_WIDTH, _BESIDE_BAR = 0.12, 0.75


def _red_and_blue() -> ListedColormap:
    """Blue, through nothing at zero, to red."""
    strength = np.linspace(-1, 1, 257)
    colors = np.empty((strength.size, 4))
    colors[:, :3] = np.where(strength[:, None] > 0, (0.84, 0.0, 0.12), (0.0, 0.2, 0.8))
    colors[:, 3] = np.abs(strength)
    return ListedColormap(colors, "red and blue")


def _see_through(name: str, alpha: float) -> ListedColormap:
    colors = matplotlib.colormaps[name](np.linspace(0, 1, 256))
    colors[:, 3] = alpha
    return ListedColormap(colors, name)


_SIGNED_COLORS, _IMPORTANCE_COLORS = _red_and_blue(), _see_through("jet", 0.4)


class _Scale(NamedTuple):
    """How values are drawn."""

    colors: Colormap
    norm: Normalize
    label: str
    # Strength of the pattern beneath.
    beneath: float
    extend: str = "neither"


def plot_attributions(
    attributions: Attributions,
    *,
    simulations: Sequence[GeometricalKikuchiPatternSimulation | None] | None = None,
) -> Figure:
    """Draw what parts of patterns speak for and against classes.

    Parameters
    ----------
    attributions
        Contributions or importance.
    simulations
        Simulation of each pattern, or None in its place: of one point, on a detector of the
        pattern's shape. Its Kikuchi lines and zone axes are drawn. If not given, there are none.

    Returns
    -------
    fig
        Figure with one column for each pattern. Below the pattern, titled with its place in the
        map, there is one row for each class explained, titled with its probability, and then one
        for each class with details, if there are any. All contributions have one scale, and 0.5 %
        of them are beyond it.

    Raises
    ------
    ValueError
        If there is not one simulation for each pattern, or one is of several points or on a
        detector of another shape.

    Examples
    --------
    Grad-CAM of two patterns, below their bands and zone axes:

    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn import explanation, plotting, simulation
    >>> s = kp.data.nickel_ebsd_small()
    >>> regions = explanation.explain(
    ...     s,
    ...     [(0, 2), (1, 0)],
    ...     model="fast_fewshot",
    ...     method="gradcam",
    ...     show_progressbar=False,
    ... )
    >>> nickel = simulation.load_phases([225])["Ni"]
    >>> rotations, detector = explanation.orientations_at(
    ...     s, regions.places
    ... )
    >>> figure = plotting.plot_attributions(
    ...     regions,
    ...     simulations=explanation.geometrical_simulations(
    ...         nickel, rotations, detector
    ...     ),
    ... )
    >>> figure.savefig("why.png")
    """
    n, k = attributions.explained.shape
    shape = attributions.patterns.shape[1:]
    simulations = _checked_simulations(simulations, n, shape)
    layers = [_masked(attributions, attributions.on_patterns())]
    scales = [_scale_of(attributions, layers)]
    if attributions.details is not None:
        layers.append(_masked(attributions, attributions.details_on_patterns()))
        scales.append(_Scale(_SIGNED_COLORS, Normalize(-1, 1), "Guided Grad-CAM", 0.4))

    fig, panels = _grid(1 + k * len(layers), n, shape, side=1.6, between=_ABOVE, bottom=_MARGIN)
    for column, simulation in enumerate(simulations):
        top, *others = panels[:, column]
        _draw_pattern(top, attributions, column)
        _draw_simulation(top, simulation, _OVER_PATTERN)
        top.set_title(_place(attributions, column), fontsize=10)
        for i, ax in enumerate(others):
            layer, j = divmod(i, k)
            _draw_values(ax, attributions, column, layers[layer][column, j], scales[layer])
            _draw_simulation(ax, simulation, _OVER_VALUES)
            position = attributions.explained[column, j]
            ax.set_title(_class_text(attributions, column, position), fontsize=10)
    if len(layers) == 1:
        # The label is longer than a panel is high.
        _add_bar(fig, panels[:, -1], scales[0])
    else:
        for i, scale in enumerate(scales):
            _add_bar(fig, panels[1 + i * k : 1 + (i + 1) * k, -1], scale)
    return fig


def plot_attribution_comparison(
    first: Attributions, second: Attributions, *, titles: Sequence[str]
) -> Figure:
    """Draw what speaks for and against classes of patterns by two models, or by two methods.

    Parameters
    ----------
    first, second
        Both contributions, or both importance. Of each pattern, the first class explained is drawn.
        Details are not drawn.
    titles
        What to write above the values of the first and of the second.

    Returns
    -------
    fig
        Figure with one row for each pattern, all with one scale. Below the values is the class
        explained, and the class that the model says, with the probabilities that it gives them.

    Raises
    ------
    ValueError
        If there are not two titles, or the patterns, the classes explained, or what the values mean
        differ.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn.explanation import grad_cam
    >>> from kikuchipy_cnn.plotting import plot_attribution_comparison
    >>> s = kp.data.nickel_ebsd_small()
    >>> names = ["fast_fewshot", "fast_fewshot_ten"]
    >>> first, second = (
    ...     grad_cam(
    ...         name,
    ...         s.data[0],
    ...         225,
    ...         guided=False,
    ...         static_background=s.static_background,
    ...         show_progressbar=False,
    ...     )
    ...     for name in names
    ... )
    >>> figure = plot_attribution_comparison(first, second, titles=names)
    >>> figure.savefig("two_models.png")
    """
    if isinstance(titles, str) or len(titles) != 2:
        raise ValueError(f"titles={titles!r} must be two texts, for the first and the second.")
    both = (first, second)
    _check_comparable(first, second)
    layers = [_masked(one, one.on_patterns()[:, :1])[:, 0] for one in both]
    scale = _scale_of(first, layers)

    shape = first.patterns.shape[1:]
    fig, panels = _grid(len(first), 3, shape, side=2.1, between=_BELOW, bottom=_BELOW)
    for row, (left, *others) in enumerate(panels):
        _draw_pattern(left, first, row)
        left.set_xlabel(_place(first, row), fontsize=10)
        for ax, one, values in zip(others, both, layers, strict=True):
            _draw_values(ax, one, row, values[row], scale)
            explained = _class_text(one, row, one.explained[row, 0])
            said = _class_text(one, row, one.predicted[row])
            ax.set_xlabel(f"{explained}\nsays {said}", fontsize=10)
    for ax, title in zip(panels[0, 1:], titles, strict=True):
        ax.set_title(title, fontsize=10)
    _add_bar(fig, panels[:, -1], scale)
    return fig


def _checked_simulations(
    simulations: Sequence[GeometricalKikuchiPatternSimulation | None] | None,
    n: int,
    shape: tuple[int, ...],
) -> Sequence[GeometricalKikuchiPatternSimulation | None]:
    """One simulation, or nothing, of each pattern."""
    if simulations is None:
        return [None] * n
    if len(simulations) != n:
        raise ValueError(
            f"There are {len(simulations)} simulations of {n} patterns. Give one for each, or None "
            "in its place."
        )
    for i, simulation in enumerate(simulations):
        if simulation is None:
            continue
        if simulation.rotations.size != 1:
            raise ValueError(
                f"Simulation {i} is of {simulation.rotations.size} points. Simulate with the one "
                "rotation of the pattern."
            )
        if tuple(simulation.detector.shape) != shape:
            raise ValueError(
                f"Simulation {i} is on a detector of shape {simulation.detector.shape}, but the "
                f"patterns have shape {shape}. Simulate on the detector of the patterns."
            )
    return simulations


def _check_comparable(first: Attributions, second: Attributions) -> None:
    if not np.array_equal(first.patterns, second.patterns, equal_nan=True):
        raise ValueError(
            f"The patterns of shape {first.patterns.shape} and {second.patterns.shape} are not the "
            "same. Explain the same patterns by both."
        )
    for i, (one, other) in enumerate(zip(_first_labels(first), _first_labels(second), strict=True)):
        if one != other:
            raise ValueError(
                f"Of pattern {i} the first class explained is {one!r} and {other!r}. Explain the "
                "same class by both."
            )
    if (first.expected_logits is None) != (second.expected_logits is None):
        raise ValueError(
            f"Values of {first.method} and of {second.method} have no scale in common. Compare "
            "contributions with contributions, and importance with importance."
        )


def _first_labels(attributions: Attributions) -> list[int | str]:
    return [attributions.classes.labels[i] for i in attributions.explained[:, 0]]


def _masked(attributions: Attributions, values: np.ndarray) -> np.ma.MaskedArray:
    mask = attributions.signal_mask
    return np.ma.array(values, mask=np.broadcast_to(False if mask is None else mask, values.shape))


def _scale_of(attributions: Attributions, layers: list[np.ma.MaskedArray]) -> _Scale:
    """Scale of values, all of which mean the same."""
    if attributions.expected_logits is None:
        return _Scale(_IMPORTANCE_COLORS, Normalize(0, 1), "Importance", 0.9)
    magnitudes = np.abs(np.concatenate([values.compressed() for values in layers]))
    # If all but a few are zero, so is the percentile.
    limit = np.percentile(magnitudes, _WITHIN_SCALE) or magnitudes.max() or 1.0
    label = "Contribution to the logit, per pixel"
    return _Scale(_SIGNED_COLORS, Normalize(-limit, limit), label, 0.4, "both")


def _grid(
    n_rows: int,
    n_columns: int,
    shape: tuple[int, ...],
    *,
    side: float,
    between: float,
    bottom: float,
) -> tuple[Figure, np.ndarray]:
    """Panels of the shape of patterns, whose shorter side is given, all lengths in inches."""
    height, width = (side * length / min(shape) for length in shape)
    fig_height = _ABOVE + n_rows * (height + between) - between + bottom
    right = _MARGIN + n_columns * (width + _GAP) - _GAP
    fig = Figure(figsize=(right + _GAP + _BAR_WIDTH + _BESIDE_BAR, fig_height))
    panels = np.empty((n_rows, n_columns), object)
    for row, column in np.ndindex(panels.shape):
        left = _MARGIN + column * (width + _GAP)
        lower = fig_height - _ABOVE - height - row * (height + between)
        ax = panels[row, column] = add_axes(fig, left, lower, width, height)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
    return fig, panels


def _draw_pattern(
    ax: Axes, attributions: Attributions, index: int, alpha: float | None = None
) -> None:
    draw_pattern(ax, attributions.patterns[index], attributions.signal_mask, alpha=alpha)


def _draw_values(
    ax: Axes, attributions: Attributions, index: int, values: np.ma.MaskedArray, scale: _Scale
) -> None:
    _draw_pattern(ax, attributions, index, scale.beneath)
    ax.imshow(values, cmap=scale.colors, norm=scale.norm)


def _draw_simulation(
    ax: Axes, simulation: GeometricalKikuchiPatternSimulation | None, style: dict
) -> None:
    if simulation is None:
        return
    for collection in simulation.as_collections(
        zone_axes=True, lines_kwargs=style, zone_axes_kwargs=style
    ):
        # Lines reach beyond the pattern.
        ax.add_collection(collection, autolim=False)


def _add_bar(fig: Figure, panels: np.ndarray, scale: _Scale) -> None:
    """Add a color bar beside a column of panels."""
    upper, lower = panels[0].get_position(), panels[-1].get_position()
    width, height = fig.get_size_inches()
    bottom = lower.y0 * height
    bar = add_axes(fig, lower.x1 * width + _GAP, bottom, _BAR_WIDTH, upper.y1 * height - bottom)
    mappable = ScalarMappable(scale.norm, scale.colors)
    drawn = fig.colorbar(mappable, cax=bar, label=scale.label, extend=scale.extend)
    drawn.formatter.set_powerlimits((-1, 3))
    drawn.formatter.set_useMathText(True)


def _place(attributions: Attributions, index: int) -> str:
    if attributions.places is None:
        return str(index)
    place = ", ".join(map(str, attributions.places[index]))
    return f"({place})" if len(attributions.places[index]) > 1 else place


def _class_text(attributions: Attributions, index: int, position: int) -> str:
    probability = attributions.probabilities[index, position]
    return f"{class_label(attributions.classes.labels[position])}  {probability:.2f}"
