"""Copies of networks for prediction say what the networks say."""

import keras
import numpy as np
import pytest
from keras import layers

from kikuchipy_cnn.models import build_network
from kikuchipy_cnn.models.folding import (
    in_half_precision,
    with_features,
    with_folded_normalisation,
)


def shaken(network, seed=0):
    """Give all normalisations statistics, and all layers weights, that matter."""
    rng = np.random.default_rng(seed)
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            shape = layer.moving_mean.shape
            layer.moving_mean.assign(rng.normal(0, 0.3, shape))
            layer.moving_variance.assign(rng.uniform(0.5, 2, shape))
            if layer.scale:
                layer.gamma.assign(rng.uniform(0.5, 1.5, shape))
            if layer.center:
                layer.beta.assign(rng.normal(0, 0.3, shape))
        elif getattr(layer, "use_bias", False):
            layer.bias.assign(rng.normal(0, 0.3, layer.bias.shape))
    return network


def images_for(network, n=4):
    rng = np.random.default_rng(1)
    return rng.normal(size=(n, *network.input_shape[1:])).astype(np.float32)


def normalisations(network):
    return [i.name for i in network.layers if isinstance(i, layers.BatchNormalization)]


def assert_same(copy, network, rtol=1e-4):
    images = images_for(network)
    expected = np.asarray(network.predict_on_batch(images))
    found = np.asarray(copy.predict_on_batch(images))
    assert np.ptp(expected, axis=0).min() > 0
    np.testing.assert_allclose(found, expected, atol=rtol * np.abs(expected).max())


class TestFolding:
    @pytest.mark.parametrize(
        ("architecture", "shape"),
        [("tiny", (32, 32, 1)), ("tiny", (40, 32, 3)), ("xception_narrow", (71, 71, 1))],
    )
    def test_networks(self, architecture, shape):
        network = shaken(build_network(architecture, shape, 3))
        before = network.get_weights()
        copy = with_folded_normalisation(network)
        assert normalisations(network) and not normalisations(copy)
        assert_same(copy, network)
        for weight, was in zip(network.get_weights(), before, strict=True):
            np.testing.assert_array_equal(weight, was)
        assert not {id(i) for i in copy.variables} & {id(i) for i in network.variables}

    @pytest.mark.slow
    def test_xception(self):
        network = shaken(build_network("xception", (71, 71, 1), 3))
        copy = with_folded_normalisation(network)
        assert not normalisations(copy)
        assert_same(copy, network, rtol=1e-3)

    @pytest.mark.parametrize("use_bias", [False, True])
    @pytest.mark.parametrize("settings", [{"scale": False}, {"center": False}, {"epsilon": 0.3}])
    @pytest.mark.parametrize("kind", ["convolution", "separable", "dense"])
    def test_layers(self, kind, settings, use_bias):
        linear = {
            "convolution": lambda: layers.Conv2D(4, 3, use_bias=use_bias),
            "separable": lambda: layers.SeparableConv2D(
                4, 3, depth_multiplier=2, use_bias=use_bias
            ),
            "dense": lambda: layers.Dense(4, use_bias=use_bias),
        }[kind]()
        x = inputs = keras.Input((8, 8, 2))
        x = layers.BatchNormalization(**settings)(linear(x))
        network = shaken(keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x))))
        copy = with_folded_normalisation(network)
        assert not normalisations(copy)
        assert_same(copy, network)

    def test_last_layer(self):
        """A normalisation may end the network."""
        inputs = keras.Input((8, 8, 1))
        x = layers.Dense(3)(layers.Flatten()(inputs))
        network = shaken(keras.Model(inputs, layers.BatchNormalization()(x)))
        copy = with_folded_normalisation(network)
        assert not normalisations(copy)
        assert_same(copy, network)

    @pytest.mark.parametrize("case", ["first", "activation", "fused", "two users", "output"])
    def test_kept(self, case):
        """What follows no linear layer of its own cannot be folded."""
        inputs = keras.Input((8, 8, 1))
        x = inputs
        if case != "first":
            x = layers.Conv2D(2, 3, activation="relu" if case == "fused" else None)(x)
        if case == "activation":
            x = layers.ReLU()(x)
        y = layers.BatchNormalization(name="kept")(x)
        if case == "two users":
            y = layers.Add()([x, y])
        # The last one shows that others are still folded.
        y = layers.BatchNormalization()(layers.Conv2D(2, 3)(y))
        y = layers.Dense(3)(layers.Flatten()(y))
        if case == "output":
            network = shaken(keras.Model(inputs, [y, x]))
            copy = with_folded_normalisation(network)
            for found, expected in zip(
                copy.predict_on_batch(images_for(network)),
                network.predict_on_batch(images_for(network)),
                strict=True,
            ):
                np.testing.assert_allclose(found, expected, atol=1e-4)
        else:
            network = shaken(keras.Model(inputs, y))
            copy = with_folded_normalisation(network)
            assert_same(copy, network)
        assert normalisations(copy) == ["kept"]

    # A bug when written: it is folded as if its axis were that of the channels.
    def test_other_axis(self):
        """A normalisation of something else than the channels is left as it is."""
        inputs = keras.Input((8, 8, 1))
        x = layers.BatchNormalization(axis=1)(layers.Conv2D(6, 3)(inputs))
        network = shaken(keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x))))
        assert_same(with_folded_normalisation(network), network)

    def test_network_in_a_network(self):
        inner_inputs = keras.Input((8, 8, 1))
        x = layers.BatchNormalization()(layers.Conv2D(2, 3)(inner_inputs))
        inner = shaken(keras.Model(inner_inputs, x))
        inputs = keras.Input((8, 8, 1))
        network = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(inner(inputs))))
        assert_same(with_folded_normalisation(network), network)


class TestHalfPrecision:
    @pytest.mark.parametrize("precision", ["bfloat16", "float16"])
    def test_near(self, precision):
        network = shaken(build_network("tiny", (32, 32, 1), 3))
        before = keras.config.dtype_policy()
        copy = in_half_precision(with_folded_normalisation(network), precision)
        assert keras.config.dtype_policy() is before
        computed = {layer.compute_dtype for layer in copy.layers if layer.weights}
        assert computed == {precision, "float32"}
        last = copy.layers[-1]
        assert last.compute_dtype == copy.layers[-2].compute_dtype == "float32"
        images = images_for(network)
        found = copy.predict_on_batch(images)
        assert np.asarray(found).dtype == np.float32
        assert_same(copy, network, rtol=0.05)
        # It is not the network of single precision either.
        assert np.abs(found - network.predict_on_batch(images)).max() > 0

    def test_of_the_users_own_precision(self):
        """What the user's own networks are made with is neither taken over nor lost."""
        network = shaken(build_network("tiny", (32, 32, 1), 3))
        expected = network.predict_on_batch(images_for(network))
        keras.config.set_dtype_policy("mixed_float16")
        try:
            folded = with_folded_normalisation(network)
            half = in_half_precision(network, "bfloat16")
            assert keras.config.dtype_policy().name == "mixed_float16"
        finally:
            keras.config.set_dtype_policy("float32")
        assert {layer.compute_dtype for layer in folded.layers if layer.weights} == {"float32"}
        np.testing.assert_allclose(
            folded.predict_on_batch(images_for(network)), expected, atol=1e-4
        )
        assert "bfloat16" in {layer.compute_dtype for layer in half.layers}
        assert "float16" not in {layer.compute_dtype for layer in half.layers}

    def test_policy_after_an_error(self):
        before = keras.config.dtype_policy()
        with pytest.raises(ValueError):
            in_half_precision(build_network("tiny", (32, 32, 1), 3), "int3")
        assert keras.config.dtype_policy() is before


def test_features():
    network = shaken(build_network("tiny", (32, 32, 1), 3))
    images = images_for(network)
    features, logits = with_features(network).predict_on_batch(images)
    kernel, bias = network.layers[-1].get_weights()
    np.testing.assert_allclose(features @ kernel + bias, logits, atol=1e-4)
    np.testing.assert_allclose(logits, network.predict_on_batch(images), atol=1e-5)
