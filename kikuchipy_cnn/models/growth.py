# SPDX-License-Identifier: GPL-3.0-or-later

"""Grow narrow networks into the full Xception without changing what they compute.

Function-preserving growth after Chen et al., Net2Net, ICLR 2016: on a CPU a narrow network sees
seven times more patterns in the same time; the full one then goes on learning from there. There is
room in it for two, whose logits are averaged: an ensemble at the cost of one network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kikuchipy_cnn.models.architectures import NARROW_MIDDLE_BLOCKS, build_network

if TYPE_CHECKING:
    import keras

_MOST_MEMBERS = 2


def mirrored(network: keras.Model) -> keras.Model:
    """Copy a network so that it sees patterns as if they were mirrored, left for right.

    The mirror image of a pattern of a centrosymmetric crystal is one of the same space group. To
    average over both is test-time augmentation.

    Parameters
    ----------
    network
        Network of the architecture ``"xception_narrow"``.

    Returns
    -------
    network
        Model of the same architecture.

    Raises
    ------
    ValueError
        If the network is of another architecture, or for patterns of a width at which its strides
        do not fall on the same pixels from left and right; they do at 71, 103, 135 and so on.
    """
    import keras

    _check_narrow(network)
    if (network.input_shape[2] - 71) % 32:
        raise ValueError(
            f"Patterns of {network.input_shape[2]} columns are not seen alike from left and right. "
            "Give a network for 71 columns, or a multiple of 32 more."
        )

    copy = keras.models.clone_model(network)
    # Kernels, of rows, columns and two more axes, are the only weights with a left and a right.
    copy.set_weights([w[:, ::-1] if w.ndim == 4 else w for w in network.get_weights()])
    return copy


def grow_into_xception(*members: keras.Model) -> keras.Model:
    """Build an Xception that gives the mean of the logits of narrow networks.

    The first filters of each layer are those of the narrow networks, one after the other, and
    nothing leads from one to another, nor from the new, random filters to them. The new blocks in
    the middle add nothing to them at first.

    Parameters
    ----------
    *members
        One or two networks of the architecture ``"xception_narrow"``, of the same shape.

    Returns
    -------
    xception
        Network of the architecture ``"xception"``.

    Raises
    ------
    ValueError
        If there are more than two, or they are of another architecture or of different shapes.
    """
    if not 1 <= len(members) <= _MOST_MEMBERS:
        raise ValueError(f"{len(members)} networks; Xception has room for 1 or {_MOST_MEMBERS}.")
    shapes = {(*m.input_shape[1:], m.output_shape[-1]) for m in members}
    for member in members:
        _check_narrow(member)
    if len(shapes) > 1:
        raise ValueError(f"Networks of different shapes cannot grow together: {sorted(shapes)}.")
    full = build_network("xception", members[0].input_shape[1:], members[0].output_shape[-1])
    sources = [{layer.name: layer for layer in m.layers if layer.weights} for m in members]
    names = _narrow_names(full)
    for layer in full.layers:
        if not layer.weights:
            continue
        weights, name = layer.get_weights(), names[layer.name]
        if name == "predictions":
            weights = _mean_prediction(weights, [of[name].get_weights() for of in sources])
        elif name:
            parts = zip(*(of[name].get_weights() for of in sources), strict=True)
            weights = [_insert(new, old) for new, old in zip(weights, parts, strict=True)]
        elif layer.name.endswith("sepconv3_bn"):
            n_old = sum(of["block5_sepconv3_bn"].get_weights()[0].size for of in sources)
            weights[0][:n_old] = 0
        layer.set_weights(weights)
    return full


def _check_narrow(network: keras.Model) -> None:
    if network.name != "xception_narrow":
        raise ValueError(f"Only 'xception_narrow' can grow into Xception, not {network.name!r}.")


def _narrow_names(full: keras.Model) -> dict[str, str]:
    """Name in the narrow network of each layer of Xception, "" where there is none.

    Keras numbers the layers of the shortcuts anew for each network.
    """
    kinds = {"Conv2D": "_shortcut", "BatchNormalization": "_shortcut_bn"}
    unnamed = {kind: iter(("block2", "block3", "block4", "block13")) for kind in kinds}
    names = {}
    for layer in full.layers:
        kind = type(layer).__name__
        block = layer.name.split("_")[0]
        if not layer.name.startswith(("block", "predictions")) and kind in kinds:
            names[layer.name] = next(unnamed[kind]) + kinds[kind]
        elif block in {f"block{i}" for i in range(5 + NARROW_MIDDLE_BLOCKS, 13)}:
            names[layer.name] = ""
        else:
            names[layer.name] = layer.name
    return names


def _insert(new: np.ndarray, members: tuple[np.ndarray, ...]) -> np.ndarray:
    """Put weights of narrow networks into the first filters of the full one."""
    n_out = members[0].shape[-1]
    if new.ndim == 1:
        new[: n_out * len(members)] = np.concatenate(members)
        return new
    if new.shape[-1] == 1:  # depthwise: one filter for each channel
        n_in = members[0].shape[2]
        new[:, :, : n_in * len(members)] = np.concatenate(members, axis=2)
        return new
    # Nothing leads from a new filter, or from another network's, to an old one.
    new[..., : n_out * len(members)] = 0
    n_in = members[0].shape[-2]
    # All look at the same pattern.
    own_input = new.shape[-2] > n_in
    for i, old in enumerate(members):
        first = i * n_in if own_input else 0
        new[..., first : first + n_in, i * n_out : (i + 1) * n_out] = old
    return new


def _mean_prediction(new: list[np.ndarray], members: list[list[np.ndarray]]) -> list[np.ndarray]:
    """Weights of the last layer that average the logits of narrow networks."""
    kernel = np.zeros_like(new[0])
    together = np.concatenate([kernel / len(members) for kernel, _ in members])
    kernel[: len(together)] = together
    return [kernel, np.mean([bias for _, bias in members], axis=0)]
