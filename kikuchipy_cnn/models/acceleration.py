# SPDX-License-Identifier: GPL-3.0-or-later

"""Precision and speed of networks in training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras
    import numpy as np


@contextmanager
def in_precision(policy: str) -> Iterator[None]:
    """Build networks in a precision, whatever that of the user's own is.

    Parameters
    ----------
    policy
        Keras' data type policy, such as ``"float32"`` or ``"mixed_bfloat16"``.
    """
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def jit_compile() -> bool | str:
    """Tell whether Keras should compile networks for training.

    XLA takes minutes to compile Xception for a CPU and makes it slower there, but JAX and torch
    are much slower without their compilers.

    Returns
    -------
    jit_compile
        Argument of ``keras.Model.compile``.
    """
    import keras

    return False if keras.backend.backend() == "tensorflow" else "auto"


def compiled_training_pass(network: keras.Model) -> Callable[[np.ndarray], None]:
    """Compile a network's forward pass as in training.

    Settings of layers, such as the momentum of a normalisation, are those of the first call.

    Parameters
    ----------
    network
        Keras model.

    Returns
    -------
    run
        Function of patterns of shape (n, rows, columns, channels), for any n.
    """
    import keras

    if keras.backend.backend() == "torch":
        import torch

        return torch.no_grad()(lambda images: network(images, training=True))
    if keras.backend.backend() != "tensorflow":
        return lambda images: network(images, training=True)
    import tensorflow as tf

    # Operation by operation it would take four times as long.
    return tf.function(
        lambda images: network(images, training=True),
        input_signature=[tf.TensorSpec(network.input_shape, tf.float32)],
    )


def with_fused_normalisation(network: keras.Model) -> keras.Model:
    """Copy a network with batch normalisations that are one operation each.

    Keras composes batch normalisation from many operations in 32 bits, which takes much of the time
    of a training step on a CPU. TensorFlow's fused one gives the same values, but keeps the moving
    average of the unbiased variance.

    Parameters
    ----------
    network
        Keras model.

    Returns
    -------
    network
        Model of the same architecture, order and values of weights. The same network, not a copy,
        where the backend is not TensorFlow.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return network
    fused_class = _fused_class()

    def replace(layer):
        if type(layer) is keras.layers.BatchNormalization:
            return fused_class.from_config(layer.get_config())
        return type(layer).from_config(layer.get_config())

    copy = keras.models.clone_model(network, clone_function=replace)
    copy.set_weights(network.get_weights())
    return copy


def with_input_size(network: keras.Model, size: int) -> keras.Model:
    """Copy a network for patterns of another size.

    The weights of the networks here do not depend on the size of the patterns, which allows to
    learn on small ones first (progressive resizing).

    Parameters
    ----------
    network
        Keras model.
    size
        Side of the patterns in pixels.

    Returns
    -------
    network
        Model with the same weights.
    """
    import keras

    inputs = keras.Input((size, size, network.input_shape[-1]))
    copy = keras.models.clone_model(network, input_tensors=inputs)
    copy.set_weights(network.get_weights())
    return copy


def _fused_class() -> type:
    import keras
    import tensorflow as tf

    # Saved weights bear the name of the class.
    class BatchNormalization(keras.layers.BatchNormalization):
        def call(self, inputs, training=None, mask=None):
            normalise = tf.raw_ops.FusedBatchNormV3
            scale, offset, mean, variance = (
                tf.convert_to_tensor(weight)
                for weight in (self.gamma, self.beta, self.moving_mean, self.moving_variance)
            )
            if not (training and self.trainable):
                return normalise(
                    x=inputs,
                    scale=scale,
                    offset=offset,
                    mean=mean,
                    variance=variance,
                    epsilon=self.epsilon,
                    is_training=False,
                ).y
            result = normalise(
                x=inputs,
                scale=scale,
                offset=offset,
                mean=tf.zeros(0),
                variance=tf.zeros(0),
                epsilon=self.epsilon,
                is_training=True,
            )
            rate = 1 - self.momentum
            self.moving_mean.assign(mean + rate * (result.batch_mean - mean))
            self.moving_variance.assign(variance + rate * (result.batch_variance - variance))
            return result.y

    return BatchNormalization
