# SPDX-License-Identifier: GPL-3.0-or-later

"""Gradients of networks under any backend of Keras."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from kikuchipy_cnn.models.acceleration import in_precision

if TYPE_CHECKING:
    import keras

Arrays = list[np.ndarray]


def gradient_function(
    network: keras.Model,
) -> Callable[[Sequence[np.ndarray], np.ndarray], tuple[Arrays, Arrays]]:
    """Make a function that returns outputs of a network and gradients of the first.

    Parameters
    ----------
    network
        Keras model of one or more inputs and outputs, the first of which is of shape (n, classes).

    Returns
    -------
    run
        Function of the inputs and of weights of shape (n, classes). It returns the outputs and, for
        each input, the gradient of the sum of weights times first output.
    """
    import keras

    make = {"tensorflow": _of_tensorflow, "torch": _of_torch, "jax": _of_jax}
    backend = keras.backend.backend()
    if backend not in make:
        raise ValueError(
            f"The Keras backend is {backend!r}, which gives no gradients. Set KERAS_BACKEND to one "
            f"of {', '.join(make)}."
        )
    run = make[backend](network)

    def in_numpy(inputs: Sequence[np.ndarray], weights: np.ndarray) -> tuple[Arrays, Arrays]:
        outputs, gradients = run(
            [np.asarray(values, np.float32) for values in inputs], np.asarray(weights, np.float32)
        )
        return (
            [keras.ops.convert_to_numpy(values) for values in outputs],
            [keras.ops.convert_to_numpy(values) for values in gradients],
        )

    return in_numpy


def with_probe(
    network: keras.Model, layer: str, *, guided: bool
) -> tuple[keras.Model, tuple[int, ...]]:
    """Copy a network with an additional input that is added to the output of a layer.

    The gradient at this input is the gradient at the layer's output, wherever in the network the
    layer is.

    Parameters
    ----------
    network
        Keras model of one input and one output.
    layer
        Name of the layer.
    guided
        Whether rectifiers let only positive gradients pass (guided backpropagation, Springenberg et
        al., ICLR workshop 2015).

    Returns
    -------
    copy
        Model from patterns and the additional input to the network's and the layer's output.
    shape
        Shape of the additional input without the number of patterns.
    """
    import keras

    shape = network.get_layer(layer).output.shape[1:]
    found = {}

    def copied(original: keras.Layer) -> keras.Layer:
        if guided and _is_rectifier(original):
            return _guided_rectifier(original.name)
        return type(original).from_config(original.get_config())

    def called(copy: keras.Layer, *arguments, **options):
        output = copy(*arguments, **options)
        if copy.name != layer:
            return output
        found["output"] = output
        # An automatic name may be that of another layer.
        return keras.layers.Add(name=f"{layer}_probed")([output, probe])

    with in_precision("float32"):
        inputs, probe, unused = (keras.Input(s) for s in (network.input_shape[1:], shape, shape))
        # Keras clones what lies between inputs and outputs, so the probe must be among both.
        with_both = keras.Model([network.inputs[0], unused], [network.outputs[0], unused])
        clone = keras.models.clone_model(
            with_both,
            clone_function=copied,
            call_function=called,
            input_tensors=[inputs, probe],
        )
        copy = keras.Model([inputs, probe], [clone.outputs[0], found["output"]])
    for original in network.layers:
        # The copy's layers may come in another order.
        if original.weights:
            copy.get_layer(original.name).set_weights(original.get_weights())
    return copy, shape


def _is_rectifier(layer: keras.Layer) -> bool:
    import keras

    if isinstance(layer, keras.layers.Activation):
        return layer.activation is keras.activations.relu
    return isinstance(layer, keras.layers.ReLU)


def _guided_rectifier(name: str) -> keras.Layer:
    import keras
    from keras import ops

    @ops.custom_gradient
    def rectify(values):
        def gradient(*arguments, upstream=None):
            # The backends hand it over in two ways.
            upstream = arguments[0] if upstream is None else upstream
            return ops.where(values > 0, ops.maximum(upstream, 0), 0)

        return ops.relu(values), gradient

    class GuidedRectifier(keras.layers.Layer):
        def call(self, inputs):
            return rectify(inputs)

    return GuidedRectifier(name=name)


def _of_tensorflow(network: keras.Model) -> Callable:
    import tensorflow as tf

    # Traced at once and for batches of any size; TensorFlow warns of functions that are traced when
    # they are called, if there are many of them.
    signature = (
        [tf.TensorSpec(tensor.shape, tf.float32) for tensor in network.inputs],
        tf.TensorSpec((None, network.outputs[0].shape[-1]), tf.float32),
    )

    @tf.function(input_signature=signature)
    def run(inputs, weights):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(inputs)
            outputs = _outputs(network, inputs)
            total = tf.reduce_sum(outputs[0] * weights)
        return outputs, tape.gradient(total, inputs)

    traced = run.get_concrete_function()
    return lambda inputs, weights: traced(
        [tf.constant(values) for values in inputs], tf.constant(weights)
    )


def _of_torch(network: keras.Model) -> Callable:
    import torch
    from keras import ops

    def run(inputs, weights):
        inputs = [ops.convert_to_tensor(values).requires_grad_() for values in inputs]
        outputs = _outputs(network, inputs)
        total = (outputs[0] * ops.convert_to_tensor(weights)).sum()
        return outputs, torch.autograd.grad(total, inputs)

    return run


def _of_jax(network: keras.Model) -> Callable:
    import jax

    @jax.jit
    def run(inputs, weights, trained, others):
        def total(inputs):
            outputs, _ = network.stateless_call(trained, others, _one_or_more(inputs))
            outputs = _as_list(outputs)
            return (outputs[0] * weights).sum(), outputs

        (_, outputs), gradients = jax.value_and_grad(total, has_aux=True)(inputs)
        return outputs, gradients

    def with_values(inputs, weights):
        # Weights that were part of the compiled function would be kept twice.
        trained, others = (
            [variable.value for variable in variables]
            for variables in (network.trainable_variables, network.non_trainable_variables)
        )
        return run(inputs, weights, trained, others)

    return with_values


def _outputs(network: keras.Model, inputs: list) -> list:
    return _as_list(network(_one_or_more(inputs), training=False))


def _as_list(outputs) -> list:
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


def _one_or_more(inputs: list):
    return inputs[0] if len(inputs) == 1 else inputs
