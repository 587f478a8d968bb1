"""Labelled patterns for the tests of training."""

import numpy as np
import pytest
from kikuchipy.signals import EBSD

from kikuchipy_cnn.training.labelled import LabelledPatterns

MATERIALS = {221: {"LaB6": 0.0}, 225: {"Al": 0.25, "Ni": 0.5}, 230: {"Y3Al5O12": 0.75}}


@pytest.fixture(scope="session")
def labelled():
    """Forty noisy patterns of each of four materials, told apart by how a grating lies."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:40, :40] / 40

    def grating(turn):
        angle = np.pi * (turn + rng.uniform(-0.03, 0.03))
        wave = 5 * (x * np.cos(angle) + y * np.sin(angle)) + rng.uniform()
        return 100 + 20 * np.sin(2 * np.pi * wave) + rng.normal(0, 20, x.shape)

    return LabelledPatterns.from_signals(
        {
            number: {
                name: EBSD(np.stack([grating(turn) for _ in range(40)]).astype(np.uint8))
                for name, turn in of_group.items()
            }
            for number, of_group in MATERIALS.items()
        }
    )


@pytest.fixture(scope="session")
def training_set(labelled):
    return labelled.take(labelled.index < 30)


@pytest.fixture(scope="session")
def validation_set(labelled):
    return labelled.take(labelled.index >= 30)
