# SPDX-License-Identifier: GPL-3.0-or-later

"""Batch statistics of normalisations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from kikuchipy_cnn.models.acceleration import compiled_training_pass

if TYPE_CHECKING:
    import keras


class BatchStatistics:
    """Means and variances of all batch normalisations of a network.

    Those that are not trainable stay as they are.

    Parameters
    ----------
    network
        Keras model.
    """

    def __init__(self, network: keras.Model) -> None:
        import keras

        self._layers = [
            layer
            for layer in network.layers
            if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
        ]
        self._run = compiled_training_pass(network)

    def retake(self, batches: Iterable[np.ndarray]) -> None:
        """Set them, in place, to those of some patterns.

        Moving averages lag behind the weights while these change, and what a network makes of new
        patterns is then worse than what it has learned (Wu and Johnson, arXiv:2105.07576,
        section 3).

        Parameters
        ----------
        batches
            Patterns as in training, each of shape (n, size, size, channels), at least one batch.
        """
        if not self._layers:
            return
        momenta = [layer.momentum for layer in self._layers]
        sums, n = [[0.0, 0.0] for _ in self._layers], 0
        try:
            for layer in self._layers:
                # The moving averages become those of the last batch.
                layer.momentum = 0.0
            for batch in batches:
                self._run(batch)
                n += len(batch)
                for layer, total in zip(self._layers, sums, strict=True):
                    mean, variance = _numpy(layer.moving_mean), _numpy(layer.moving_variance)
                    total[0] += len(batch) * mean
                    total[1] += len(batch) * (variance + mean**2)
        finally:
            for layer, momentum in zip(self._layers, momenta, strict=True):
                layer.momentum = momentum
        for layer, total in zip(self._layers, sums, strict=True):
            mean = total[0] / n
            layer.moving_mean.assign(mean)
            # Of batches whose means are almost the same, rounding may leave less than nothing.
            layer.moving_variance.assign(np.maximum(total[1] / n - mean**2, 0))


def _numpy(variable: keras.Variable) -> np.ndarray:
    from keras import ops

    return ops.convert_to_numpy(variable).astype(np.float64)
