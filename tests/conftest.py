"""Shared fixtures: a small library of phases and a tiny model, made once."""

import numpy as np
import pytest

from kikuchipy_cnn import PatternTransform, SpaceGroupClasses


@pytest.fixture(scope="session")
def tiny_bundle():
    """Untrained network of the same interface as the packaged one."""
    import keras

    from kikuchipy_cnn.models import ModelBundle, build_network

    keras.utils.set_random_seed(1)
    classes = SpaceGroupClasses((221, 225, 229))
    return ModelBundle(
        name="tiny",
        architecture="tiny",
        network=build_network("tiny", (32, 32, 1), len(classes)),
        classes=classes,
        transform=PatternTransform(size=32),
        temperature=1.5,
        card="# tiny\n",
    )


@pytest.fixture
def rng():
    return np.random.default_rng(42)
