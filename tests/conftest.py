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


@pytest.fixture(scope="session")
def label():
    """Function that labels patterns, which are black if none are given."""
    from kikuchipy_cnn.training.labelled import LabelledPatterns, PatternSource

    def label(space_groups, materials, data=None, rotation=None, file=""):
        n = len(space_groups)
        data = np.zeros((n, 40, 40), np.uint8) if data is None else data
        return LabelledPatterns(
            (PatternSource(data, file),),
            np.zeros(n, int),
            np.arange(n),
            np.array(space_groups),
            np.array(materials, object),
            np.full(n, "map", object),
            rotation=rotation,
        )

    return label


class _MakeEvaluation:
    """Makes evaluations, of ten patterns with three mistakes if nothing is given."""

    classes = SpaceGroupClasses((221, 225, 229))
    true = [221, 221, 221, 221, 225, 225, 225, 225, 229, 229]
    materials = ["Ni3Al", "Ni3Al", "FeAl", "FeAl", "Ni", "Ni", "Ni", "Ni", "Fe-bcc", "Fe-bcc"]
    predicted = [221, 225, 221, 229, 225, 225, 225, 221, 229, 229]

    def __init__(self, label):
        self._label = label

    def __call__(
        self, predicted=predicted, true=true, materials=materials, *, rotation=None, **options
    ):
        from kikuchipy_cnn.evaluation import Evaluation

        patterns = self._label(true, materials, rotation=rotation)
        probabilities = self._probabilities(predicted)
        return Evaluation(patterns, self.classes, "space group", probabilities, **options)

    def _probabilities(self, predicted):
        """0.75 for the predicted class, half of the rest for each other; none without one."""
        rows = np.full((len(predicted), len(self.classes)), 0.125, np.float32)
        for row, number in zip(rows, predicted, strict=True):
            if number is None:
                row[:] = np.nan
            else:
                row[self.classes.index(number)] = 0.75
        return rows


@pytest.fixture(scope="session")
def make(label):
    return _MakeEvaluation(label)


@pytest.fixture(scope="session")
def gallium_nitride():
    """CIF of a polar hexagonal crystal, with a place for its symmetry."""
    return """data_GaN
_cell_length_a 3.19
_cell_length_b 3.19
_cell_length_c 5.189
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 120
{symmetry}
loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_B_iso_or_equiv
Ga 0.33333 0.66667 0.0 0.3
N 0.33333 0.66667 0.377 0.4
"""


class _Drift:
    """Gratings of three space groups, told apart by their directions, and networks that know them.

    Under new conditions there is more noise.
    """

    numbers = (221, 225, 230)
    noise = 45

    def __init__(self):
        from kikuchipy.signals import EBSD

        from kikuchipy_cnn.training import FewShotProtocol, FewShotTrainer, LabelledPatterns

        rng = np.random.default_rng(0)
        self.clean = LabelledPatterns.from_signals(
            {
                number: {f"phase {number}": EBSD(self.patterns([i] * 40, rng, noise=20))}
                for i, number in enumerate(self.numbers)
            }
        )
        protocol = FewShotProtocol(learning_rate=5e-3, max_epochs=8, batch_size=16)
        self.members = [
            FewShotTrainer(
                "scratch", protocol, architecture="tiny", size=32, seed=seed, name=f"net{seed}"
            )
            .fit(
                self.clean.take(self.clean.index < 30),
                self.clean.take(self.clean.index >= 30),
                show_progressbar=False,
            )
            .bundle
            for seed in (0, 1)
        ]
        # Grains of nine pixels.
        classes = np.kron(rng.integers(0, 3, (6, 6)), np.ones((3, 3), int))
        self.map = EBSD(self.patterns(classes.ravel(), rng).reshape(18, 18, 40, 40))
        self.test_classes = rng.integers(0, 3, 300)
        self.test = self.patterns(self.test_classes, rng)

    def patterns(self, classes, rng, noise=noise):
        y, x = np.mgrid[:40, :40] / 40
        patterns = []
        for i in classes:
            angle = np.pi * (i / 3 + rng.uniform(-0.03, 0.03))
            wave = 5 * (x * np.cos(angle) + y * np.sin(angle)) + rng.uniform()
            patterns.append(100 + 20 * np.sin(2 * np.pi * wave) + rng.normal(0, noise, x.shape))
        return np.clip(patterns, 0, 255).astype(np.uint8)

    def accuracy(self, model):
        """Accuracy on patterns of the new conditions that are in no map."""
        images, _ = model.transform(self.test)
        return np.mean(model.predict_probabilities(images).argmax(axis=1) == self.test_classes)


@pytest.fixture(scope="session")
def drift():
    return _Drift()


class _FakeTraining:
    """Stands for a training: changes the last layer at once.

    *change* takes the kernel, the bias and the number of the call, and returns what they become. If
    not given, nothing changes.
    """

    def __init__(self, change):
        self._change = change
        self.calls = []
        self.stopped = "converged"

    def __call__(self, start, protocol, **options):
        self._start, self._options = start, options
        return self

    def fit(self, training, validation, **options):
        from dataclasses import replace

        from kikuchipy_cnn.models import build_network
        from kikuchipy_cnn.training import TrainingResult

        self.calls.append((training, validation, self._options))
        network = self._start.network
        if self._change is not None:
            *body, kernel, bias = network.get_weights()
            network = build_network("tiny", network.input_shape[1:], len(bias))
            network.set_weights([*body, *self._change(kernel, bias, len(self.calls))])
        bundle = replace(self._start, network=network, temperature=1.0, detector=None, training={})
        return TrainingResult(bundle, [], self.stopped)


@pytest.fixture
def fake_training(monkeypatch):
    """Function that puts a fake training in the place of the real one."""

    def fake_training(change=None):
        fake = _FakeTraining(change)
        monkeypatch.setattr("kikuchipy_cnn.training.iterative_rounds.FewShotTrainer", fake)
        return fake

    return fake_training
