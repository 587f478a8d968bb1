# SPDX-License-Identifier: GPL-3.0-or-later

"""Figures of kernels that two networks have in common, and of their feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kikuchipy_cnn.plotting._panels import draw_pattern
from kikuchipy_cnn.plotting._style import class_label

if TYPE_CHECKING:
    from kikuchipy_cnn.explanation.kernels import KernelPair

__all__ = ["plot_feature_maps", "plot_kernels"]


def plot_kernels(
    pairs: Sequence[KernelPair], *, titles: tuple[str, str] = ("first model", "second model")
) -> Figure:
    """Draw pairs of similar kernels, one above the other.

    Parameters
    ----------
    pairs
        What :func:`~kikuchipy_cnn.explanation.similar_kernels` returned.
    titles
        Names of the two models.

    Returns
    -------
    fig
        Figure with a column for each pair, below its distance. Kernels are drawn as they were
        compared, summed over their channels, and all with the same grey values; 0 is in the middle
        of these. Below each is its number, with "−1 ×" if it is the negative that is drawn.

    Raises
    ------
    ValueError
        If there are no pairs, or not two titles.

    Examples
    --------
    >>> from kikuchipy_cnn.explanation import similar_kernels
    >>> from kikuchipy_cnn.plotting import plot_kernels
    >>> names = "fast_fewshot", "fast_fewshot_ten"
    >>> figure = plot_kernels(similar_kernels(*names), titles=names)
    >>> figure.savefig("kernels.png")
    """
    if not len(pairs):
        raise ValueError("There are no pairs of kernels to draw; give at least one.")
    if len(titles) != 2:
        raise ValueError(f"titles={titles!r}, but there must be one for each of the 2 models.")
    images = np.array(
        [[kernel.sum(axis=-1) for kernel in (pair.kernel_a, pair.kernel_b)] for pair in pairs]
    )
    limit = np.abs(images).max() or 1.0
    fig = Figure(figsize=(1.25 * len(pairs) + 1.3, 3.3), layout="constrained")
    axes = fig.subplots(2, len(pairs), squeeze=False)
    for pair, of_pair, column in zip(pairs, images, axes.T, strict=True):
        column[0].set_title(f"distance {pair.distance:.3f}", fontsize=9)
        numbers = (f"kernel {pair.index_a}", f"kernel {pair.index_b}")
        signs = ("", "−1 × " if pair.sign < 0 else "")
        for ax, image, number, sign in zip(column, of_pair, numbers, signs, strict=True):
            drawn = ax.imshow(image, cmap="gray", vmin=-limit, vmax=limit)
            ax.set_xlabel(f"{sign}{number}", fontsize=9)
            ax.set(xticks=[], yticks=[])
    for ax, title in zip(axes[:, 0], titles, strict=True):
        ax.set_ylabel(title, fontsize=9)
    fig.colorbar(drawn, ax=axes, label="Weight", shrink=0.8)
    return fig


def plot_feature_maps(
    patterns: np.ndarray,
    maps: np.ndarray,
    *,
    kernels: Sequence[int] | None = None,
    row_labels: Sequence[int | str] | None = None,
) -> Figure:
    """Draw patterns, and beside each what kernels make of it.

    Parameters
    ----------
    patterns
        Patterns of shape (rows, columns) or (n, rows, columns).
    maps
        What :func:`~kikuchipy_cnn.explanation.feature_maps` returned for them, of shape
        (n, kernels, rows, columns).
    kernels
        Numbers of the kernels, for the heads of the columns. If not given, they are counted from 0.
    row_labels
        What each pattern is of: a text, or the number of a space group, whose symbol is drawn.

    Returns
    -------
    fig
        Figure with a row for each pattern and a column for each kernel. Each image has a contrast
        of its own.

    Raises
    ------
    ValueError
        If patterns, maps, kernels and labels do not fit together.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn.explanation import feature_maps
    >>> from kikuchipy_cnn.plotting import plot_feature_maps
    >>> s = kp.data.nickel_ebsd_small()
    >>> patterns, kernels = s.data[0], [0, 1, 2]
    >>> maps = feature_maps(
    ...     "fast_fewshot",
    ...     patterns,
    ...     kernels=kernels,
    ...     static_background=s.static_background,
    ... )
    >>> figure = plot_feature_maps(
    ...     patterns, maps, kernels=kernels, row_labels=[225] * 3
    ... )
    >>> figure.savefig("feature_maps.png")
    """
    patterns, maps = np.asarray(patterns), np.asarray(maps)
    if patterns.ndim == 2:
        patterns = patterns[None]
    if patterns.ndim != 3 or maps.ndim != 4 or len(patterns) != len(maps) or 0 in maps.shape:
        raise ValueError(
            f"patterns of shape {patterns.shape} and maps of shape {maps.shape} do not fit "
            "together: (n, rows, columns) and (n, kernels, rows, columns) are needed."
        )
    n_patterns, n_kernels = maps.shape[:2]
    kernels = range(n_kernels) if kernels is None else kernels
    if len(kernels) != n_kernels:
        raise ValueError(f"kernels={kernels!r}, but there are maps of {n_kernels} kernel(s).")
    if row_labels is not None and len(row_labels) != n_patterns:
        raise ValueError(f"row_labels={row_labels!r}, but there are {n_patterns} pattern(s).")

    # Images of all widths are drawn equally high.
    aspects = [image.shape[-1] / image.shape[-2] for image in (patterns, *[maps] * n_kernels)]
    side = 1.3
    fig = Figure(
        figsize=(side * sum(aspects) + 0.1 * n_kernels + 0.4, (side + 0.06) * n_patterns + 0.35),
        layout="compressed",
    )
    fig.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0, hspace=0)
    axes = fig.subplots(n_patterns, n_kernels + 1, squeeze=False, width_ratios=aspects)
    for row, pattern, of_pattern in zip(axes, patterns, maps, strict=True):
        for ax, image in zip(row, (pattern, *of_pattern), strict=True):
            _draw(ax, image)
    heads = ("pattern", *(f"kernel {number}" for number in kernels))
    for ax, head in zip(axes[0], heads, strict=True):
        ax.set_title(head, fontsize=10)
    if row_labels is not None:
        for ax, label in zip(axes[:, 0], row_labels, strict=True):
            ax.set_ylabel(class_label(label))
    return fig


def _draw(ax: Axes, image: np.ndarray) -> None:
    draw_pattern(ax, image)
    ax.set(xticks=[], yticks=[])
