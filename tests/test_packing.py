"""Models that went through pickle are the same."""

import os
import pickle
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import keras
import numpy as np
import pytest

import kikuchipy_cnn
from kikuchipy_cnn import Ensemble
from kikuchipy_cnn.models import build_network
from kikuchipy_cnn.models.packing import PackedModel
from kikuchipy_cnn.uncertainty import Detector


@pytest.fixture(scope="module")
def model(tiny_bundle):
    """Bundle with all there can be, and weights that need 32 bits."""
    rng = np.random.default_rng(0)
    network = build_network("tiny", (32, 32, 1), 3)
    network.set_weights([w + rng.uniform(0, 0.1, w.shape) for w in network.get_weights()])
    n = 32 + 4
    detector = Detector(rng.normal(size=n), np.ones(n), rng.normal(size=(n, 3)), np.zeros(3))
    return replace(tiny_bundle, network=network, detector=detector, training={"seed": 1})


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).normal(size=(5, 32, 32, 1)).astype(np.float32)


def assert_same(found, expected, images):
    for a, b in zip(found.outputs(images), expected.outputs(images), strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_array_equal(a, b)


def test_bundle(model, images):
    unpacked = pickle.loads(pickle.dumps(PackedModel(model))).model
    assert unpacked.network is not model.network
    assert_same(unpacked, model, images)
    for field in fields(model):
        if field.name not in ("network", "detector"):
            assert getattr(unpacked, field.name) == getattr(model, field.name)


def test_ensemble(model, tiny_bundle, images):
    ensemble = Ensemble("both", (model, tiny_bundle), temperature=0.7, card="# both\n")
    unpacked = pickle.loads(pickle.dumps(PackedModel(ensemble))).model
    assert_same(unpacked, ensemble, images)
    assert (unpacked.name, unpacked.temperature, unpacked.card) == ("both", 0.7, "# both\n")


def test_same_in_this_process(model):
    assert PackedModel(model).model is model


def test_unpacked_once(model):
    packed = pickle.loads(pickle.dumps(PackedModel(model)))
    assert packed.model is packed.model


def test_packed_once_for_its_digest(model, monkeypatch):
    """Which each part of a map asks for."""
    packed = PackedModel(model)
    digest = packed.digest
    monkeypatch.setattr("kikuchipy_cnn.models.packing._pack", lambda _: pytest.fail("packed anew"))
    assert packed.digest == digest


def test_digest(model):
    same = PackedModel(replace(model, name=model.name))
    assert pickle.loads(pickle.dumps(same)).digest == PackedModel(model).digest
    assert PackedModel(replace(model, temperature=2.0)).digest != PackedModel(model).digest


def test_the_users_own_precision(model, images):
    packed = pickle.dumps(PackedModel(model))
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        unpacked = pickle.loads(packed).model
    finally:
        keras.config.set_dtype_policy("float32")
    assert_same(unpacked, model, images)


# A bug when written: to be pickled again, the model is built.
def test_no_keras_on_the_way(model, tmp_path):
    """Schedulers of clusters have none, and workers send models on before they use them."""
    (tmp_path / "packed").write_bytes(pickle.dumps(PackedModel(Ensemble("two", (model, model)))))
    code = (
        "import pickle, sys; from pathlib import Path\n"
        "packed = pickle.loads(Path(sys.argv[1]).read_bytes())\n"
        "print('keras' in sys.modules)\n"
        "sent_on = pickle.dumps(packed)\n"
        "print('keras' in sys.modules)\n"
    )
    paths = [str(Path(kikuchipy_cnn.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "packed")],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["False", "False"]
