"""Batch statistics of normalisations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras


def retake_statistics(network: keras.Model, batches: Iterable[np.ndarray]) -> None:
    """Set the means and variances of all batch normalisations to those of some patterns.

    Moving averages lag behind the weights while these change, and what a network makes of new
    patterns is then worse than what it has learned (Wu and Johnson, arXiv:2105.07576, section 3).
    Normalisations that are not trainable stay as they are.

    Parameters
    ----------
    network
        Keras model. It is changed in place, but for its weights.
    batches
        Patterns as in training, each of shape (n, size, size, channels), at least one batch.
    """
    import keras

    layers = [
        layer
        for layer in network.layers
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    sums, n = [[0.0, 0.0] for _ in layers], 0
    try:
        for layer in layers:
            # The moving averages become those of the last batch.
            layer.momentum = 0.0
        for batch in batches:
            network(batch, training=True)
            n += len(batch)
            for layer, total in zip(layers, sums, strict=True):
                mean, variance = _numpy(layer.moving_mean), _numpy(layer.moving_variance)
                total[0] += len(batch) * mean
                total[1] += len(batch) * (variance + mean**2)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    for layer, total in zip(layers, sums, strict=True):
        mean = total[0] / n
        layer.moving_mean.assign(mean)
        # Of batches whose means are almost the same, rounding may leave less than nothing.
        layer.moving_variance.assign(np.maximum(total[1] / n - mean**2, 0))


def _numpy(variable: keras.Variable) -> np.ndarray:
    from keras import ops

    return ops.convert_to_numpy(variable).astype(np.float64)
