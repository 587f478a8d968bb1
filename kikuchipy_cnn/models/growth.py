"""Grow the narrow network into the full Xception without changing what it computes.

Function-preserving growth after Chen et al., Net2Net, ICLR 2016: on a CPU the narrow network sees
seven times more patterns in the same time; the full one then goes on learning from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kikuchipy_cnn.models.architectures import NARROW_MIDDLE_BLOCKS, build_network

if TYPE_CHECKING:
    import keras


def grow_into_xception(narrow: keras.Model) -> keras.Model:
    """Build an Xception that gives the same logits as a narrow one.

    The first filters of each layer are those of the narrow network, and nothing leads from the new,
    random filters back to them. The new blocks in the middle add nothing to them at first.

    Parameters
    ----------
    narrow
        Network of the architecture ``"xception_narrow"``.

    Returns
    -------
    xception
        Network of the architecture ``"xception"``.

    Raises
    ------
    ValueError
        If *narrow* is of another architecture.
    """
    if narrow.name != "xception_narrow":
        raise ValueError(f"Only 'xception_narrow' can grow into Xception, not {narrow.name!r}.")
    full = build_network("xception", narrow.input_shape[1:], narrow.output_shape[-1])
    sources = {layer.name: layer for layer in narrow.layers if layer.weights}
    names = _narrow_names(full)
    for layer in full.layers:
        if not layer.weights:
            continue
        weights = layer.get_weights()
        source = sources.get(names[layer.name])
        if source is not None:
            weights = [
                _insert(new, old) for new, old in zip(weights, source.get_weights(), strict=True)
            ]
        elif layer.name.endswith("sepconv3_bn"):
            n_old = sources["block5_sepconv3_bn"].get_weights()[0].size
            weights[0][:n_old] = 0
        layer.set_weights(weights)
    return full


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


def _insert(new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Put the weights of the narrow network into the first filters of the full one."""
    first = tuple(slice(n) for n in old.shape)
    depthwise = new.ndim == 4 and new.shape[-1] == 1
    if new.ndim > 1 and not depthwise:
        # Nothing leads from a new filter to an old one.
        new[..., : old.shape[-1]] = 0
    new[first] = old
    return new
