# SPDX-License-Identifier: GPL-3.0-or-later

"""Figures of maps and patterns, of how well a model does, how far its answers are to be trusted,
why it says what it says, and how it was trained.

The figures are made without pyplot, so that they need no backend, and are not kept alive after use.
Save one with :meth:`~matplotlib.figure.Figure.savefig`.
"""

from kikuchipy_cnn.plotting.comparison import ipf_image, plot_agreement, plot_phase_maps
from kikuchipy_cnn.plotting.evaluation import (
    plot_accuracy_by_atomic_number,
    plot_confusion,
    plot_orientations,
    plot_quality,
    plot_scores,
)
from kikuchipy_cnn.plotting.explanation import plot_attribution_comparison, plot_attributions
from kikuchipy_cnn.plotting.kernels import plot_feature_maps, plot_kernels
from kikuchipy_cnn.plotting.maps import plot_patterns, plot_space_groups
from kikuchipy_cnn.plotting.symbols import symbol_label
from kikuchipy_cnn.plotting.training import plot_shots_curve, plot_training_curves
from kikuchipy_cnn.plotting.uncertainty import (
    plot_confidence,
    plot_drift,
    plot_reliability,
    plot_risk_coverage,
)

__all__ = [
    "ipf_image",
    "plot_accuracy_by_atomic_number",
    "plot_agreement",
    "plot_attribution_comparison",
    "plot_attributions",
    "plot_confidence",
    "plot_confusion",
    "plot_drift",
    "plot_feature_maps",
    "plot_kernels",
    "plot_orientations",
    "plot_patterns",
    "plot_phase_maps",
    "plot_quality",
    "plot_reliability",
    "plot_risk_coverage",
    "plot_scores",
    "plot_shots_curve",
    "plot_space_groups",
    "plot_training_curves",
    "symbol_label",
]
