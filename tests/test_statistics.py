import numpy as np
import pytest

from kikuchipy_cnn.models import build_network
from kikuchipy_cnn.models.acceleration import with_fused_normalisation
from kikuchipy_cnn.models.statistics import BatchStatistics


@pytest.fixture
def network():
    """Two normalisations one after another, with a scale between them."""
    import keras
    from keras import layers

    inputs = keras.Input((4, 4, 2))
    x = layers.BatchNormalization(gamma_initializer="ones")(inputs)
    x = layers.Rescaling(3.0, offset=5.0)(x)
    return keras.Model(inputs, layers.BatchNormalization()(x))


@pytest.fixture
def batches(rng):
    """Of different sizes and means."""
    return [
        rng.normal(mean, 2, (n, 4, 4, 2)).astype(np.float32) for n, mean in ((40, 0.0), (200, 1.0))
    ]


def test_mean_and_variance_of_all_patterns(network, batches):
    BatchStatistics(network).retake(batches)
    everything = np.concatenate(batches)
    first, second = (layer for layer in network.layers if hasattr(layer, "moving_mean"))
    np.testing.assert_allclose(first.moving_mean, everything.mean(axis=(0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(first.moving_variance, everything.var(axis=(0, 1, 2)), rtol=1e-3)
    # Each batch was normalised by its own statistics before.
    np.testing.assert_allclose(second.moving_mean, 5, rtol=1e-4)
    np.testing.assert_allclose(second.moving_variance, 9, rtol=1e-2)


def test_momentum_and_weights_are_as_before(network, batches):
    layer = network.layers[1]
    before = [np.asarray(weight) for weight in network.trainable_weights]
    BatchStatistics(network).retake(batches)
    assert layer.momentum == 0.99
    for weight, value in zip(network.trainable_weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_again_after_the_weights_changed(network, batches):
    """The compiled pass must not remember the first weights."""
    statistics = BatchStatistics(network)
    statistics.retake(batches)
    network.layers[1].gamma.assign([2.0, 2.0])
    statistics.retake(batches)
    np.testing.assert_allclose(network.layers[-1].moving_variance, 36, rtol=1e-2)


def test_frozen_layers_stay(network, batches):
    network.layers[1].trainable = False
    BatchStatistics(network).retake(batches)
    np.testing.assert_array_equal(network.layers[1].moving_mean, 0)
    assert np.abs(np.asarray(network.layers[-1].moving_mean)).min() > 1


def test_fused_normalisation(rng):
    """Which keeps the unbiased variance."""
    plain = build_network("tiny", (24, 24, 1), 3)
    fused = with_fused_normalisation(plain)
    images = [rng.normal(size=(50, 24, 24, 1)).astype(np.float32)]
    BatchStatistics(plain).retake(images)
    BatchStatistics(fused).retake(images)
    for a, b in zip(plain.get_weights(), fused.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=5e-3, atol=1e-4)
