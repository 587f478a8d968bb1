# SPDX-License-Identifier: GPL-3.0-or-later

"""Kernels that two networks have in common, and what kernels make of patterns.

Kernels are compared as Kaufmann et al., Sci. Rep. 11 (2021) 8172, did to see what networks of
different starts learn alike.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.distance import cdist

from kikuchipy_cnn._checks import check_integer
from kikuchipy_cnn.explanation._common import as_patterns, layer_with_maps, valid_images
from kikuchipy_cnn.models import Ensemble, ModelBundle, as_model

if TYPE_CHECKING:
    import keras

_PATTERNS_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class KernelPair:
    """Kernels of two networks that are alike.

    Parameters
    ----------
    index_a, index_b
        Which kernels of their layers these are: numbers of the output channels.
    distance
        Euclidean distance between the two arrays below.
    kernel_a, kernel_b
        Weights as they were compared, of shape (rows, columns, channels): of norm 1 if compared up
        to scale, and the second one multiplied by *sign*. Of a layer that sees the pattern itself,
        weights are summed over the channels, of which one is left.
    sign
        -1 if it is the negative of the second kernel that is like the first one, otherwise 1.

    Examples
    --------
    >>> from kikuchipy_cnn.explanation import similar_kernels
    >>> pairs = similar_kernels("fast_fewshot", "fast_fewshot_ten", n=2)
    >>> pairs[0].distance <= pairs[1].distance
    True
    >>> pairs[0].kernel_a.shape  # rows, columns and channels
    (3, 3, 1)
    """

    index_a: int
    index_b: int
    distance: float
    kernel_a: np.ndarray = field(repr=False)
    kernel_b: np.ndarray = field(repr=False)
    sign: int = 1


def similar_kernels(
    model_a: str | os.PathLike | ModelBundle,
    model_b: str | os.PathLike | ModelBundle,
    layer: str | None = None,
    n: int = 4,
    *,
    up_to_sign: bool = False,
    up_to_scale: bool = False,
) -> list[KernelPair]:
    """Find the kernels of a convolution that two networks have most in common.

    All pairs are ranked by their Euclidean distance. From the nearest on, those are taken whose
    kernels are both in no pair yet, so that each kernel is in one pair at most.

    Networks see each pattern in all of their input channels alike. The first layer does with it
    what the sum of its weights over these channels would do, so that sums are compared there,
    whether the networks have one channel or three.

    Parameters
    ----------
    model_a, model_b
        Models, or their names or paths. They may be related: networks that were trained on from the
        same one have similar kernels without having learned these twice.
    layer
        Name of a Keras ``Conv2D`` layer of both networks. If not given, it is the first one of
        each.
    n
        Number of pairs.
    up_to_sign
        Whether a kernel may as well be like the negative of another. The distance is then the
        smaller of both.
    up_to_scale
        Whether to divide kernels by their norm first: where a normalisation follows the layer, how
        large weights are is of no matter. A kernel of zeros is like no other then, at an infinite
        distance.

    Returns
    -------
    pairs
        Pairs, the nearest first, and of equally near ones that of the lower numbers.

    Raises
    ------
    ValueError
        If a model is unknown or an ensemble, a network has no such layer, the layers have kernels
        of different shapes, or there are fewer than *n* kernels.

    Examples
    --------
    >>> from kikuchipy_cnn import explanation, plotting
    >>> pairs = explanation.similar_kernels(
    ...     "fast_fewshot", "fast_fewshot_ten", n=2, up_to_scale=True
    ... )
    >>> len(pairs)
    2
    >>> figure = plotting.plot_kernels(pairs)
    >>> figure.savefig("kernels.png")
    """
    bundles = [_single(model) for model in (model_a, model_b)]
    layers = [_convolution(bundle, layer) for bundle in bundles]
    kernels = [_kernels(*both) for both in zip(bundles, layers, strict=True)]
    shapes = [each.shape[1:] for each in kernels]
    if shapes[0] != shapes[1]:
        which = [
            f"{one.name!r} of {bundle.name!r} has kernels of shape {shape}"
            for one, bundle, shape in zip(layers, bundles, shapes, strict=True)
        ]
        raise ValueError(
            f"{', but '.join(which)}. Give the name of a layer where they are of one shape."
        )
    check_integer("n", n, 1)
    n_kernels = min(map(len, kernels))
    if n > n_kernels:
        raise ValueError(f"n={n}, but the layers have only {n_kernels} kernels to pair.")

    a, b = (each.reshape(len(each), -1) for each in kernels)
    if up_to_scale:
        a, b = _normalised(a), _normalised(b)
    distances, signs = cdist(a, b), np.ones((len(a), len(b)), int)
    if up_to_sign:
        to_negative = cdist(a, -b)
        signs[to_negative < distances] = -1
        distances = np.minimum(distances, to_negative)
    if up_to_scale:
        distances[~a.any(axis=1)] = np.inf
        distances[:, ~b.any(axis=1)] = np.inf

    return [
        KernelPair(
            index_a=i,
            index_b=j,
            distance=float(distances[i, j]),
            kernel_a=a[i].reshape(shapes[0]),
            kernel_b=signs[i, j] * b[j].reshape(shapes[0]),
            sign=int(signs[i, j]),
        )
        for i, j in _nearest_pairs(distances, n)
    ]


def feature_maps(
    model: str | os.PathLike | ModelBundle,
    patterns: np.ndarray,
    layer: str | None = None,
    kernels: Sequence[int] | None = None,
    *,
    signal_mask: np.ndarray | None = None,
    static_background: np.ndarray | None = None,
) -> np.ndarray:
    """Return what a layer of a network makes of patterns.

    Parameters
    ----------
    model
        Model, or its name or path.
    patterns
        EBSD patterns of shape (rows, columns) or (n, rows, columns), as the camera gave them.
    layer
        Name of a layer whose output has rows and columns. If not given, it is the first Keras
        ``Conv2D`` layer.
    kernels
        Numbers of the layer's output channels, like those of :class:`KernelPair`. If not given, all
        are returned.
    signal_mask
        Boolean mask of shape (rows, columns), False for the pixels to use. If not given, all are
        used.
    static_background
        Static background of shape (rows, columns). If not given, none is removed.

    Returns
    -------
    maps
        Output of the layer, before what follows it, be it a normalisation or an activation, of
        shape (n, kernels, rows, columns) and data type float32. The rows and columns are those of
        the layer.

    Raises
    ------
    ValueError
        If the model is unknown or an ensemble, the network has no such layer, the layer no such
        kernels, an array is of the wrong shape, or a pattern does not vary or has values that are
        not finite.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn.explanation import feature_maps
    >>> s = kp.data.nickel_ebsd_small()
    >>> maps = feature_maps(
    ...     "fast_fewshot",
    ...     s.data[0],
    ...     kernels=[0, 1],
    ...     static_background=s.static_background,
    ... )
    >>> maps.shape  # patterns, kernels, rows and columns
    (3, 2, 35, 35)
    """
    bundle = _single(model)
    of_layer = _layer_with_maps(bundle, layer)
    numbers = _checked_numbers(kernels, of_layer)
    images = valid_images(bundle, as_patterns(patterns), signal_mask, static_background)

    import keras

    network = keras.Model(bundle.network.input, of_layer.output)
    maps = []
    for start in range(0, len(images), _PATTERNS_AT_ONCE):
        inputs = bundle.network_input(images[start : start + _PATTERNS_AT_ONCE])
        # Taken here, what is not asked for is not kept.
        maps.append(np.asarray(network.predict_on_batch(inputs))[..., numbers])
    return np.moveaxis(np.concatenate(maps), -1, 1)


def _single(model: str | os.PathLike | ModelBundle) -> ModelBundle:
    loaded = as_model(model)
    if isinstance(loaded, Ensemble):
        raise ValueError(
            f"{loaded.name!r} is an ensemble, in which each network has kernels of its own. Give "
            f"one of its {len(loaded.members)} `members`."
        )
    return loaded


def _convolution(bundle: ModelBundle, name: str | None) -> keras.layers.Conv2D:
    """Convolution of a name, or the first one."""
    import keras

    layers = {layer.name: layer for layer in bundle.network.layers}
    found = [name for name, layer in layers.items() if isinstance(layer, keras.layers.Conv2D)]
    if not found:
        raise ValueError(f"The network of {bundle.name!r} has no Conv2D layer.")
    name = found[0] if name is None else name
    if name not in found:
        if name in layers:
            what = f"has a layer {name!r}, but that is a {type(layers[name]).__name__}"
        else:
            what = f"has no layer {name!r}"
        raise ValueError(f"{bundle.name!r} {what}. Its Conv2D layers: {', '.join(found)}.")
    return layers[name]


def _layer_with_maps(bundle: ModelBundle, name: str | None) -> keras.layers.Layer:
    """Layer of a name, or the first convolution."""
    if name is None:
        return _convolution(bundle, None)
    return layer_with_maps(bundle, name)


def _kernels(bundle: ModelBundle, layer: keras.layers.Conv2D) -> np.ndarray:
    """Kernels of a convolution, of shape (n, rows, columns, channels)."""
    kernels = np.moveaxis(layer.get_weights()[0].astype(np.float64), -1, 0)
    # Only the network's own input has channels that are all the same.
    if layer.input is bundle.network.inputs[0]:
        kernels = kernels.sum(axis=-1, keepdims=True)
    return kernels


def _normalised(vectors: np.ndarray) -> np.ndarray:
    """Vectors divided by their norms; those of zeros stay."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(norms > 0, norms, 1)


def _nearest_pairs(distances: np.ndarray, n: int) -> list[tuple[int, int]]:
    """Rows and columns of the smallest distances, each row and each column once at most."""
    pairs: list[tuple[int, int]] = []
    rows: set[int] = set()
    columns: set[int] = set()
    for position in np.argsort(distances, axis=None, kind="stable"):
        i, j = map(int, divmod(position, distances.shape[1]))
        if i in rows or j in columns:
            continue
        pairs.append((i, j))
        if len(pairs) == n:
            break
        rows.add(i)
        columns.add(j)
    return pairs


def _checked_numbers(kernels: Sequence[int] | None, layer: keras.layers.Layer) -> list[int]:
    """Numbers of output channels of a layer."""
    n_maps = layer.output.shape[-1]
    if kernels is None:
        return list(range(n_maps))
    numbers = list(kernels)
    wrong = [i for i in numbers if not isinstance(i, int | np.integer) or not 0 <= i < n_maps]
    if wrong or not numbers:
        raise ValueError(
            f"kernels={kernels!r} must be numbers from 0 to {n_maps - 1}, one at least: layer "
            f"{layer.name!r} has {n_maps}."
        )
    return numbers
