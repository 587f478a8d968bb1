import numpy as np
import pytest

from kikuchipy_cnn.training.calibration import cross_entropy, fit_temperature


def test_cross_entropy():
    probabilities = np.array([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]])
    expected = -(np.log(0.5) + np.log(0.7)) / 2
    assert cross_entropy(np.log(probabilities) + 5, np.array([0, 2])) == pytest.approx(expected)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_finds_the_temperature(temperature, rng):
    """Labels drawn from the probabilities of cooler or hotter logits."""
    true = rng.normal(0, 2, (20_000, 4))
    probabilities = np.exp(true) / np.exp(true).sum(axis=1, keepdims=True)
    drawn = rng.random((len(true), 1)) < probabilities.cumsum(axis=1)
    labels = drawn.argmax(axis=1)
    assert fit_temperature(true * temperature, labels) == pytest.approx(temperature, rel=0.05)


def test_few_patterns_do_not_make_sure():
    """All right: the likelihood alone would make the network infinitely sure."""
    logits = 3 * np.eye(3)
    few = fit_temperature(logits, np.arange(3))
    more = fit_temperature(np.tile(logits, (30, 1)), np.tile(np.arange(3), 30))
    many = fit_temperature(np.tile(logits, (1000, 1)), np.tile(np.arange(3), 1000))
    assert 0.8 < few < 1
    assert 0.4 < more < few
    assert np.exp(-2) <= many < more


def test_nothing():
    with pytest.raises(ValueError, match="cannot be fitted without patterns"):
        fit_temperature(np.empty((0, 3)), np.empty(0, int))
