from dataclasses import replace

import numpy as np
import pytest

from kikuchipy_cnn import PatternTransform, SpaceGroupClasses
from kikuchipy_cnn.models import ModelBundle, build_network, load_model
from kikuchipy_cnn.simulation.library import load_library
from kikuchipy_cnn.simulation.sampler import Disturbances, PatternSampler
from kikuchipy_cnn.training.simulated import (
    SimulatedTraining,
    _batches,
    train_on_simulations,
)

NAMES = ("LaB6", "Al", "Y3Al5O12")
MILD = replace(
    Disturbances().scaled(0.4), pcz=(0.6, 0.7), pcx=(0.45, 0.55), pcy=(0.25, 0.35), noise=(0, 0.3)
)


def make_sampler(seed, size=40):
    library = load_library()
    master_patterns = np.stack([library[name] for name in NAMES])
    return PatternSampler(master_patterns, np.ones(len(NAMES)), size, MILD, seed)


@pytest.fixture(scope="module")
def trained():
    import keras

    keras.utils.set_random_seed(3)
    network = build_network("tiny", (40, 40, 1), len(NAMES))
    protocol = SimulatedTraining(n_steps=450, batch_size=64, learning_rate=5e-3, geometry_weight=1)
    losses = train_on_simulations(
        network,
        make_sampler(seed=0),
        range(len(NAMES)),
        PatternTransform(size=40),
        protocol,
        show_progressbar=False,
    )
    return network, losses


def test_learns(trained):
    """On orientations and noise that it never saw; chance is one third."""
    network, losses = trained
    assert losses[-20:].mean() < 0.7 * losses[:20].mean()
    sample = make_sampler(seed=100).sample(300)
    images = PatternTransform(size=40).standardise(sample.patterns, sample.weights)[..., None]
    predicted = network.predict_on_batch(images).argmax(axis=1)
    for i in range(len(NAMES)):
        assert (predicted[sample.phases == i] == i).mean() > 0.6
    assert (predicted == sample.phases).mean() > 0.8


def test_bundle_classifies_camera_patterns(trained, tmp_path):
    """Trained, saved, loaded and called on a signal of 8-bit patterns with another pixel size."""
    from kikuchipy.signals import EBSD

    network, _ = trained
    classes = SpaceGroupClasses((221, 225, 230))
    bundle = ModelBundle("mine", "tiny", network, classes, PatternTransform(size=40))
    model = load_model(bundle.save(tmp_path / "mine"))
    sample = make_sampler(seed=200, size=80).sample(60)
    low, high = sample.patterns.min(), sample.patterns.max()
    patterns = ((sample.patterns - low) / (high - low) * 255).astype(np.uint8)
    full = (sample.weights == 1).all(axis=(1, 2))
    signal = EBSD(patterns[full])
    xmap = signal.classify_space_group(model, show_progressbar=False)
    truth = np.array(classes.numbers)[sample.phases[full]]
    assert (xmap.phase_id == truth).mean() > 0.75


def test_repeatable():
    import keras

    def run():
        keras.utils.set_random_seed(5)
        network = build_network("tiny", (24, 24, 1), len(NAMES))
        return train_on_simulations(
            network,
            make_sampler(seed=1, size=24),
            range(len(NAMES)),
            PatternTransform(size=24),
            SimulatedTraining(n_steps=4, batch_size=8, geometry_weight=0),
            show_progressbar=False,
        )

    np.testing.assert_allclose(run(), run(), rtol=1e-4)


def test_severity():
    protocol = SimulatedTraining(n_steps=100, easy=0.1, ramp=0.5)
    severity = [protocol.severity(step) for step in (0, 10, 35, 60, 99)]
    np.testing.assert_allclose(severity, [0.02, 0.02, 0.51, 1, 1])


def test_does_not_fit_together():
    network = build_network("tiny", (24, 24, 1), 3)
    protocol = SimulatedTraining(n_steps=1)
    with pytest.raises(ValueError, match="sampler gives 40 x 40, the transform 24"):
        train_on_simulations(network, make_sampler(0), [0, 1, 2], PatternTransform(24), protocol)
    with pytest.raises(ValueError, match="labels from 0 to 3 do not fit"):
        sampler = make_sampler(0, size=24)
        train_on_simulations(network, sampler, [0, 1, 3], PatternTransform(24), protocol)
    with pytest.raises(ValueError, match="labels from -1 to 1 do not fit"):
        train_on_simulations(network, sampler, [0, 1, -1], PatternTransform(24), protocol)


@pytest.mark.parametrize(
    "change, match",
    [
        ({"n_steps": 0}, "0 steps of 128"),
        ({"severities": (0, 2)}, r"severities=\(0, 2\) must be in"),
        ({"ramp": 0.0}, "ramp=0.0 must be above 0"),
    ],
)
def test_impossible_protocol(change, match):
    with pytest.raises(ValueError, match=match):
        SimulatedTraining(**({"n_steps": 10} | change))


def test_goes_on_after_a_break(tmp_path, monkeypatch):
    """Broken off and started again, a training ends as one without a break."""
    import keras

    monkeypatch.setattr("kikuchipy_cnn.training.simulated._SAVE_EVERY", 2)
    protocol = SimulatedTraining(n_steps=6, batch_size=8)

    class Break(Exception):
        pass

    def run(folder, stop_at=None):
        keras.utils.set_random_seed(5)
        network = build_network("tiny", (24, 24, 1), len(NAMES))

        def after_step(step, loss):
            if step == stop_at:
                raise Break

        losses = train_on_simulations(
            network,
            make_sampler(seed=None, size=24),
            range(len(NAMES)),
            PatternTransform(size=24),
            protocol,
            state_folder=folder,
            after_step=after_step,
            show_progressbar=False,
        )
        return losses, network.get_weights()

    expected_losses, expected = run(None)
    with pytest.raises(Break):
        run(tmp_path / "state", stop_at=5)
    losses, weights = run(tmp_path / "state")
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-4)
    for one, other in zip(weights, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    # All is done: nothing is trained again.
    again, _ = run(tmp_path / "state", stop_at=1)
    np.testing.assert_array_equal(again, losses)

    protocol = SimulatedTraining(n_steps=7, batch_size=8)
    with pytest.raises(ValueError, match="another training"):
        run(tmp_path / "state")


def test_parts_have_cameras_of_their_own():
    protocol = SimulatedTraining(
        n_steps=2, batch_size=64, parts=4, thinning=0.5, severities=(0, 1), easy=0, ramp=1e-9
    )
    sampler = make_sampler(seed=0, size=24)
    drawn = []
    sample = sampler.sample

    def watched(n):
        drawn.append((n, sampler.disturbances))
        return sample(n)

    sampler.sample = watched
    before = sampler.disturbances
    images, phases, cells = next(_batches(sampler, PatternTransform(size=24), protocol, 6, 1))
    assert [n for n, _ in drawn] == [16] * 4
    assert len(images) == len(phases) == len(cells) == 64
    assert len({d.noise for _, d in drawn} | {d.mottle for _, d in drawn}) > 3
    assert {d.pcz for _, d in drawn} == {before.pcz}


def test_sampler_after_an_error():
    """It has its own disturbances again, while the error is still held."""
    sampler = make_sampler(0, size=24)
    before = sampler.disturbances

    def stop(step, loss):
        raise KeyboardInterrupt

    network = build_network("tiny", (24, 24, 1), len(NAMES))
    with pytest.raises(KeyboardInterrupt):
        train_on_simulations(
            network,
            sampler,
            range(len(NAMES)),
            PatternTransform(size=24),
            SimulatedTraining(n_steps=9, batch_size=8, geometry_weight=0),
            after_step=stop,
            show_progressbar=False,
        )
    assert sampler.disturbances is before
