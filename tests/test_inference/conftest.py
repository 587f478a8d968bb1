"""Engines that do almost nothing, and patterns that are told apart by their pixels."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import kikuchipy_cnn
from kikuchipy_cnn.inference.engines import Engine


def _three_pixels(images):
    """Logits that tell which image they are of."""
    logits = np.stack([images[:, 3, 5, 0], images[:, 16, 9, 0], images[:, 28, 30, 0]], axis=1)
    return np.zeros((len(images), 32), np.float32), logits


@pytest.fixture
def fake_engine(monkeypatch):
    """Function that puts an engine in the place of compiled networks."""

    def fake_engine(forward=_three_pixels, **settings):
        engine = Engine(forward, "fake", "float32", **settings)
        monkeypatch.setattr("kikuchipy_cnn.inference.runner.compiled", lambda *_: engine)
        return engine

    fake_engine.three_pixels = _three_pixels
    return fake_engine


@pytest.fixture(scope="session")
def patterns():
    """A map of 6 x 7 patterns."""
    return np.random.default_rng(3).integers(1, 255, (6, 7, 48, 48)).astype(np.uint8)


@pytest.fixture(scope="session")
def environment():
    """Environment in which other processes find the package, as this one does."""
    folder = str(Path(kikuchipy_cnn.__file__).parents[1])
    paths = [folder, *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "TF_CPP_MIN_LOG_LEVEL": "3"}


@pytest.fixture(scope="session")
def run_python(environment):
    """Function that runs code in another process and returns what it prints."""

    def run_python(code, *arguments, timeout=120):
        result = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout,
            env=environment,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    return run_python
