# SPDX-License-Identifier: GPL-3.0-or-later

"""What the bands of a crystal look like, as a quantity to learn.

A space group shows in how bright and how wide the bands of each family of planes are. Averaged
along a band, the intensity of a master pattern at an angle from the plane is a short description of
this, which tells structures apart in degrees: a network that is asked for it learns from each
pattern how its phase looks, not only of which class it is.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import map_coordinates

from kikuchipy_cnn.simulation.lambert import direction_to_lambert
from kikuchipy_cnn.simulation.projection import as_master_patterns

FAMILIES = ((1, 0, 0), (1, 1, 0), (1, 1, 1), (2, 1, 0), (2, 1, 1), (3, 1, 0), (3, 1, 1))
_REACH = 10.0
_N_ANGLES, _N_ALONG = 24, 240


def band_profiles(master_patterns: np.ndarray) -> np.ndarray:
    """Average master patterns of point group m-3m along their bands.

    Parameters
    ----------
    master_patterns
        As :class:`~kikuchipy_cnn.simulation.PatternSampler` takes them.

    Returns
    -------
    profiles
        Mean intensity at 24 angles from 0 to 10 degrees from a plane of each of seven families, in
        standard deviations of the master pattern from its mean, of shape (n, 7, 24).
    """
    master_patterns = as_master_patterns(master_patterns)
    side = master_patterns.shape[-1]
    x, y = direction_to_lambert(np.stack([_around(family) for family in FAMILIES]))
    at = (np.stack([y, x]) + 1) / 2 * (side - 1)
    profiles = np.empty((len(master_patterns), *x.shape[:2]), np.float32)
    for i, (upper, *_) in enumerate(master_patterns):
        # A Lambert projection keeps areas, so that all directions count equally.
        values = upper.astype(np.float32)
        values = (values - values.mean()) / max(values.std(), 1e-6)
        profiles[i] = map_coordinates(values, at, order=1, mode="nearest").mean(axis=-1)
    return profiles


def profile_targets(profiles: np.ndarray, weights: np.ndarray, n_components: int) -> np.ndarray:
    """Describe profiles by independent numbers of mean 0 and variance 1.

    Parameters
    ----------
    profiles
        From :func:`band_profiles`.
    weights
        How often each is seen, of shape (n,).
    n_components
        Number of principal components to keep; fewer are kept of fewer profiles.

    Returns
    -------
    targets
        Array of shape (n, n_components).
    """
    flat = profiles.reshape(len(profiles), -1).astype(float)
    weights = np.asarray(weights, dtype=float) / np.sum(weights)
    centred = flat - weights @ flat
    # Phases that are never seen have targets, too, only do not set the axes.
    weighted = np.sqrt(weights)[:, None] * centred
    _, size, axes = np.linalg.svd(weighted, full_matrices=False)
    n = min(n_components, int((size > 1e-6 * size[0]).sum()))
    return (centred @ axes[:n].T / size[:n]).astype(np.float32)


def _around(family: tuple[int, int, int]) -> np.ndarray:
    """Directions at angles from a plane, of shape (angles, along the band, 3)."""
    normal = np.array(family) / np.linalg.norm(family)
    first = np.cross(normal, (0.36, 0.48, 0.8))
    first /= np.linalg.norm(first)
    second = np.cross(normal, first)
    turn = np.arange(_N_ALONG) / _N_ALONG * 2 * np.pi
    along = np.cos(turn)[:, None] * first + np.sin(turn)[:, None] * second
    angle = np.deg2rad(np.linspace(0, _REACH, _N_ANGLES))[:, None, None]
    directions = np.sin(angle) * normal + np.cos(angle) * along
    # Opposite directions look alike: all are looked up in the upper hemisphere.
    return np.where(directions[..., 2:] < 0, -directions, directions)
