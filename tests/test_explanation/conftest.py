import kikuchipy as kp
import numpy as np
import pytest

from kikuchipy_cnn import PatternTransform, SpaceGroupClasses
from kikuchipy_cnn.explanation import Attributions, simulate_background
from kikuchipy_cnn.models import ModelBundle


@pytest.fixture(scope="session")
def nickel_patterns():
    return kp.data.nickel_ebsd_small().data.reshape(-1, 60, 60)


@pytest.fixture(scope="session")
def background(tiny_bundle):
    """Twelve patterns as the tiny network takes them."""
    return simulate_background(tiny_bundle, 4)


@pytest.fixture(scope="session")
def as_bundle():
    """Function that makes a model of a network built by hand."""

    def as_bundle(network, numbers=(221, 225, 229), name="hand-made"):
        transform = PatternTransform(size=network.input_shape[1])
        return ModelBundle(name, "hand-made", network, SpaceGroupClasses(numbers), transform)

    return as_bundle


@pytest.fixture(scope="session")
def as_attributions():
    """Function that makes attributions of values of shape (n, k, size, size)."""

    def as_attributions(values, shape=(60, 60), **fields):
        values = np.asarray(values, np.float32)
        n, k, size = values.shape[:3]
        rng = np.random.default_rng(0)
        defaults = {
            "method": "DeepSHAP" if "expected_logits" in fields else "Grad-CAM",
            "patterns": rng.integers(0, 256, (n, *shape)).astype(np.uint8),
            "images": rng.normal(size=(n, size, size)).astype(np.float32),
            "values": values,
            "explained": np.tile(np.arange(k) % 3, (n, 1)),
            "classes": SpaceGroupClasses((221, 225, 229)),
            "transform": PatternTransform(size=size),
            "logits": np.tile([3.0, 1.0, -1.0], (n, 1)),
            "probabilities": np.tile([0.7, 0.2, 0.1], (n, 1)),
        }
        return Attributions(**defaults | fields)

    return as_attributions
