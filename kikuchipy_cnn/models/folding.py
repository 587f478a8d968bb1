# SPDX-License-Identifier: GPL-3.0-or-later

"""Copies of networks for prediction: with features, without normalisations, in half precision."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from kikuchipy_cnn.models.acceleration import in_precision

if TYPE_CHECKING:
    import keras


def with_folded_normalisation(network: keras.Model) -> keras.Model:
    """Copy a network with its batch normalisations in the weights of the convolutions before them.

    In prediction, a batch normalisation multiplies each channel by a number and adds another one,
    which the linear layer before it can do itself. The outputs are the same up to rounding.

    Parameters
    ----------
    network
        Functional Keras model.

    Returns
    -------
    network
        Model for prediction. Normalisations that follow something else are kept.
    """
    import keras

    folded = _foldable(network)
    normalised = {linear.name: normalisation for normalisation, linear in folded.values()}

    def clone(layer):
        config = layer.get_config()
        if layer.name in normalised:
            config["use_bias"] = True
        return type(layer).from_config(config)

    def call(layer, *arguments, **settings):
        # The layer before it does the work.
        return arguments[0] if layer.name in folded else layer(*arguments, **settings)

    copy = keras.models.clone_model(network, clone_function=clone, call_function=call)
    for layer in network.layers:
        if layer.name in normalised:
            weights = _folded_weights(layer, normalised[layer.name])
        else:
            weights = layer.get_weights()
        if weights and layer.name not in folded:
            copy.get_layer(layer.name).set_weights(weights)
    return copy


def in_half_precision(network: keras.Model, precision: str) -> keras.Model:
    """Copy a network so that it computes in half precision, but for its end.

    Parameters
    ----------
    network
        Keras model with single precision.
    precision
        ``"bfloat16"`` or ``"float16"``.

    Returns
    -------
    network
        Model that takes and returns values of single precision. What follows the last
        convolution is computed in single precision: rounding there goes
        straight into the logits, and costs nothing to avoid.
    """
    import keras

    convolutions = (
        keras.layers.Conv2D,
        keras.layers.DepthwiseConv2D,
        keras.layers.SeparableConv2D,
    )
    are = [isinstance(layer, convolutions) for layer in network.layers]
    n_end = are[::-1].index(True) if any(are) else len(are)
    end = {layer.name for layer in network.layers[len(are) - n_end :]}

    def clone(layer):
        config = layer.get_config()
        if layer.name in end:
            config["dtype"] = "float32"
        elif not isinstance(layer, keras.layers.InputLayer):
            # Layers carry the precision that they were made with.
            config.pop("dtype", None)
        return type(layer).from_config(config)

    with in_precision(f"mixed_{precision}"):
        copy = keras.models.clone_model(network, clone_function=clone)
    copy.set_weights(network.get_weights())
    return copy


def with_features(network: keras.Model) -> keras.Model:
    """Network that returns what its last layer sees as well.

    Parameters
    ----------
    network
        Keras model from images to logits.

    Returns
    -------
    network
        Model of two outputs that shares the weights.
    """
    import keras

    last = network.layers[-1]
    return keras.Model(network.inputs, [last.input, last.output])


def _foldable(network: keras.Model) -> dict[str, tuple]:
    """Normalisations by name, each with itself and the linear layer that alone it follows."""
    import keras

    linear_layers = (keras.layers.Conv2D, keras.layers.SeparableConv2D, keras.layers.Dense)
    if any(isinstance(layer, keras.Model) for layer in network.layers):
        # What a network inside the network takes cannot be seen from here.
        return {}
    makers = {id(layer.output): layer for layer in network.layers}
    uses = Counter(
        id(tensor)
        for layer in network.layers
        if not isinstance(layer, keras.layers.InputLayer)
        for tensor in keras.tree.flatten(layer.input)
    )
    uses.update(id(tensor) for tensor in network.outputs)
    found = {}
    for layer in network.layers:
        if not isinstance(layer, keras.layers.BatchNormalization):
            continue
        before = makers.get(id(layer.input))
        if (
            isinstance(before, linear_layers)
            and layer.axis in (-1, len(layer.output.shape) - 1)
            and uses[id(layer.input)] == 1
            and before.activation is keras.activations.linear
        ):
            found[layer.name] = (layer, before)
    return found


def _folded_weights(linear, normalisation) -> list[np.ndarray]:
    """Weights of a linear layer with a bias that does what the normalisation after it does."""
    weights = [np.asarray(weight, np.float64) for weight in linear.get_weights()]
    bias = weights.pop() if linear.use_bias else 0.0
    # Separable convolutions have two kernels, the last of which makes the channels.
    *first, kernel = weights
    mean = np.asarray(normalisation.moving_mean, np.float64)
    variance = np.asarray(normalisation.moving_variance, np.float64)
    scale = 1 / np.sqrt(variance + normalisation.epsilon)
    if normalisation.scale:
        scale = scale * np.asarray(normalisation.gamma, np.float64)
    offset = np.asarray(normalisation.beta, np.float64) if normalisation.center else 0.0
    folded = [*first, kernel * scale, (bias - mean) * scale + offset]
    return [weight.astype(np.float32) for weight in folded]
