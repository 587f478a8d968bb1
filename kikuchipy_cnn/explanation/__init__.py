# SPDX-License-Identifier: GPL-3.0-or-later

"""Why a model says what it says: Shapley values, Grad-CAM, kernels and feature maps."""

from kikuchipy_cnn.explanation.attributions import Attributions
from kikuchipy_cnn.explanation.background import simulate_background
from kikuchipy_cnn.explanation.crystallography import (
    CrystallographicShares,
    Share,
    crystallographic_shares,
    geometrical_simulations,
    orientations_at,
)
from kikuchipy_cnn.explanation.explain import explain
from kikuchipy_cnn.explanation.grad_cam import grad_cam
from kikuchipy_cnn.explanation.kernels import KernelPair, feature_maps, similar_kernels
from kikuchipy_cnn.explanation.sanity import (
    randomisation_test,
    rank_correlations,
    with_shuffled_weights,
)
from kikuchipy_cnn.explanation.shapley import shapley_values

__all__ = [
    "Attributions",
    "CrystallographicShares",
    "KernelPair",
    "Share",
    "crystallographic_shares",
    "explain",
    "feature_maps",
    "geometrical_simulations",
    "grad_cam",
    "orientations_at",
    "randomisation_test",
    "rank_correlations",
    "shapley_values",
    "similar_kernels",
    "simulate_background",
    "with_shuffled_weights",
]
