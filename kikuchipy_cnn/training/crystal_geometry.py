# SPDX-License-Identifier: GPL-3.0-or-later

"""A second task that simulation gives for free: name the bands and zone axes.

The space group of a cubic crystal shows in which bands are strong and where they cross. A network
learns this sooner when it is asked, cell by cell, which planes and zone axes lie there. The planes
are those of point group m-3m: for other phases the targets mean nothing.
"""

from __future__ import annotations

from itertools import permutations, product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras

FAMILIES = ((1, 0, 0), (1, 1, 0), (1, 1, 1), (2, 1, 1))
# Parts per side into which a cell of the network's feature map is divided.
_PARTS = {"xception": 3, "xception_narrow": 3, "tiny": 1}


def _family_members(family: tuple[int, int, int]) -> np.ndarray:
    """Normals of a form of m-3m, one of each opposite pair, of unit length."""
    members = {
        tuple(sign * index for sign, index in zip(signs, order, strict=True))
        for order in permutations(family)
        for signs in product((-1, 1), repeat=3)
    }
    half = [m for m in members if m > tuple(-i for i in m)]
    return np.array(sorted(half)) / np.linalg.norm(family)


def band_and_zone_targets(rotations: np.ndarray, geometry: np.ndarray, n_cells: int) -> np.ndarray:
    """Tell which planes and zone axes lie in each cell of a pattern.

    Parameters
    ----------
    rotations
        Matrices from the detector's to the crystal's frame, of shape (n, 3, 3).
    geometry
        PCx, PCy, PCz (Bruker's convention) and stretch of square patterns, of shape (n, 4).
    n_cells
        Cells along each side of a pattern.

    Returns
    -------
    targets
        1 where the trace of a plane of a family, then where a zone axis of a family, passes the
        middle of a cell by less than half its width, of shape (n, n_cells, n_cells, 8).
    """
    centre = (np.arange(n_cells) + 0.5) / n_cells
    pcx, pcy, pcz, stretch = (column[:, None, None] for column in geometry.T)
    x = (centre[None, None, :] - pcx) * (1 + stretch / 2) / pcz
    y = (pcy - centre[None, :, None]) * (1 - stretch / 2) / pcz
    x, y = np.broadcast_arrays(x, y)
    rays = np.stack([x, y, np.ones_like(x)], axis=-1)
    length = np.linalg.norm(rays, axis=-1, keepdims=True)
    rays = rays / length @ rotations[:, None].transpose(0, 1, 3, 2)
    # Half the angle under which a cell is seen.
    half = (0.5 / n_cells / pcz / length[..., 0])[..., None]
    targets = np.empty((*rays.shape[:3], 2 * len(FAMILIES)), np.float32)
    for i, family in enumerate(FAMILIES):
        cosine = np.abs(rays @ _family_members(family).T.astype(rays.dtype))
        targets[..., i] = (cosine < half).any(axis=-1)
        targets[..., len(FAMILIES) + i] = (cosine > np.cos(1.4 * half)).any(axis=-1)
    return targets


def with_training_heads(network: keras.Model, n_profile: int = 0) -> tuple[keras.Model, int]:
    """Give a network further outputs, for the bands and zone axes and for the phase's profile.

    Parameters
    ----------
    network
        Network from :func:`~kikuchipy_cnn.models.build_network`.
    n_profile
        Numbers that describe a phase, from
        :func:`~kikuchipy_cnn.training.band_profiles.profile_targets`. Without any there are only
        the first two outputs.

    Returns
    -------
    many_headed
        Model that shares the layers of *network*, with the logits of space groups, those of
        :func:`band_and_zone_targets` of shape (n, n_cells, n_cells, 8), and the profile of shape
        (n, n_profile).
    n_cells
        Cells along each side of a pattern.
    """
    from keras import Model, layers, ops

    features = _feature_map(network)
    parts = _PARTS[network.name]
    n_labels = 2 * len(FAMILIES)
    rows = features.shape[1]
    logits = layers.Conv2D(parts**2 * n_labels, 1, dtype="float32", name="geometry")(features)
    logits = ops.reshape(logits, (-1, rows, rows, parts, parts, n_labels))
    logits = ops.transpose(logits, (0, 1, 3, 2, 4, 5))
    logits = ops.reshape(logits, (-1, rows * parts, rows * parts, n_labels))
    outputs = [network.output, logits]
    if n_profile > 0:
        # What the space group is told from.
        pooled = network.layers[-1].input
        outputs.append(layers.Dense(n_profile, dtype="float32", name="profile")(pooled))
    return Model(network.input, outputs), rows * parts


def _feature_map(network: keras.Model):
    """Last layer that still tells places in the pattern apart finely enough."""
    if network.name.startswith("xception"):
        # The middle flow's end, with an output stride of 16.
        return network.get_layer("block13_sepconv1_act").input
    additions = [layer for layer in network.layers if type(layer).__name__ == "Add"]
    return additions[-2].output
