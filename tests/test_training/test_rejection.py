"""Calibration and rejection of a small trained network."""

from dataclasses import replace

import numpy as np
import pytest
from kikuchipy.signals import EBSD

from kikuchipy_cnn.evaluation import evaluate, expected_calibration_error
from kikuchipy_cnn.models import Ensemble
from kikuchipy_cnn.training import FewShotTrainer, LabelledPatterns, calibrate, fit_rejection
from kikuchipy_cnn.training.protocol import FewShotProtocol
from kikuchipy_cnn.training.rejection import simulate_non_patterns, simulate_other_phases
from kikuchipy_cnn.uncertainty import RejectReason


@pytest.fixture(scope="module")
def trained(training_set, validation_set):
    protocol = FewShotProtocol(max_epochs=8, batch_size=16, learning_rate=3e-3)
    trainer = FewShotTrainer("scratch", protocol, architecture="tiny", size=40, seed=1)
    return trainer.fit(training_set, validation_set, show_progressbar=False).bundle


@pytest.fixture(scope="module")
def others():
    """Two phases that look like checkers of two sizes."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:40, :40]

    def checkers(size):
        shift = rng.integers(0, 2 * size, 2)
        board = ((x + shift[0]) // size + (y + shift[1]) // size) % 2
        return 100 + 30 * board + rng.normal(0, 20, x.shape)

    return LabelledPatterns.from_signals(
        {
            194: {
                name: EBSD(np.stack([checkers(size) for _ in range(30)]).astype(np.uint8))
                for name, size in (("Mg", 5), ("Ti", 7))
            }
        }
    )


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(6).normal(100, 20, (60, 40, 40)).astype(np.float32)


@pytest.fixture(scope="module")
def fitted(trained, labelled, others, noise):
    return fit_rejection(
        trained, labelled, others, noise, description="gratings", show_progressbar=False
    )


class TestCalibrate:
    def test_spoilt_temperature_is_mended(self, trained, labelled):
        spoilt = replace(trained, temperature=5.0)
        found = calibrate(spoilt, labelled, show_progressbar=False)
        before, after = (
            evaluate(model, labelled, with_quality=False, show_progressbar=False)
            for model in (spoilt, found)
        )
        error = [expected_calibration_error(x.scores, x.right) for x in (before, after)]
        assert error[1] < 0.5 * error[0]
        assert found.temperature < 3

    def test_weights(self, trained, labelled):
        """Wrongly labelled patterns make it doubt as far as they count."""
        wrong = replace(labelled, space_group=np.roll(labelled.space_group, 1))
        wrong = LabelledPatterns.concatenate([labelled, wrong.take(wrong.index == 0)])
        weights = np.ones(len(wrong))
        weights[len(labelled) :] = 1e-6
        ignored = calibrate(trained, wrong, weights, show_progressbar=False)
        heeded = calibrate(trained, wrong, 1 / weights, show_progressbar=False)
        alone = calibrate(trained, labelled, show_progressbar=False)
        # The prior counts a little more where there are more patterns.
        assert ignored.temperature == pytest.approx(alone.temperature, rel=0.05)
        assert heeded.temperature > 2 * ignored.temperature

    def test_ensemble(self, trained, labelled):
        pair = Ensemble("two", (trained, replace(trained, temperature=8.0)), temperature=3.0)
        found = calibrate(pair, labelled, show_progressbar=False)
        first, second = (member.temperature for member in found.members)
        assert first == pytest.approx(second)
        # The mean of two that are alike needs hardly another temperature.
        assert 0.6 < found.temperature < 1.4

    def test_other_classes(self, trained, others):
        with pytest.raises(ValueError, match="patterns of 194, but the model tells apart 221"):
            calibrate(trained, others, show_progressbar=False)


class TestFitRejection:
    def test_known_patterns_are_answered(self, fitted, labelled):
        xmap = EBSD(labelled.sources[0].data).classify_space_group(fitted, show_progressbar=False)
        assert xmap.is_indexed.mean() > 0.85

    def test_others_are_not(self, fitted, others, noise):
        for data, reason in (
            (others.sources[0].data, RejectReason.OUTSIDE_CLASSES),
            (noise, RejectReason.NO_DIFFRACTION),
        ):
            xmap = EBSD(data).classify_space_group(fitted, show_progressbar=False)
            # The threshold expects phases to be new, which are harder to refuse.
            assert xmap.is_indexed.mean() < 0.5
            assert (xmap.reject_reason == reason).mean() > 0.5
            assert xmap.known_phase.mean() < 0.6

    def test_default_answers_most_known_patterns(self, fitted):
        curve = fitted.rejection.curve
        coverage, risk = curve.at(fitted.rejection.limits.confidence)
        # Of all, known patterns are 90 %.
        assert 0.9 * 0.95 - 0.01 < coverage < 0.95
        assert risk < curve.risk[-1]

    def test_description(self, fitted):
        assert "90% known phases (gratings)" in fitted.rejection.patterns
        assert "2 phases outside the classes" in fitted.rejection.patterns

    def test_saved(self, fitted, tmp_path):
        from kikuchipy_cnn import load_model

        again = load_model(fitted.save(tmp_path / "model"))
        assert again.rejection.limits == fitted.rejection.limits
        assert (again.detector.kernel == fitted.detector.kernel).all()

    def test_ensemble(self, trained, labelled, others, noise):
        pair = Ensemble("two", (trained, trained))
        found = fit_rejection(pair, labelled, others, noise, show_progressbar=False)
        assert all(member.detector is not None for member in found.members)
        alone = fit_rejection(trained, labelled, others, noise, show_progressbar=False)
        assert found.rejection.limits == pytest.approx(alone.rejection.limits, rel=0.02)

    def test_weights(self, trained, labelled, others, noise):
        """A curve of patterns that come out right has less risk."""
        evaluation = evaluate(trained, labelled, with_quality=False, show_progressbar=False)
        noisy = replace(
            labelled, space_group=np.where(labelled.index % 4, labelled.space_group, 225)
        )
        weights = np.where(labelled.index % 4, 1.0, 1e-9)
        counted, ignored = (
            fit_rejection(trained, noisy, others, noise, weights=w, show_progressbar=False)
            for w in (None, weights)
        )
        assert evaluation.right.mean() > 0.9
        assert ignored.rejection.curve.risk[-1] < counted.rejection.curve.risk[-1] - 0.05

    def test_one_other_phase(self, trained, labelled, others, noise):
        only = others.take(others.material == "Mg")
        with pytest.raises(ValueError, match="other patterns of Mg only"):
            fit_rejection(trained, labelled, only, noise, show_progressbar=False)


class TestSimulated:
    def test_other_phases(self, tiny_bundle):
        patterns = simulate_other_phases(tiny_bundle, ["Mg", "GaAs"], 2, show_progressbar=False)
        assert patterns.counts() == {(194, "Mg"): 6, (216, "GaAs"): 6}

    def test_all_other_phases_by_default(self, tiny_bundle, monkeypatch):
        from kikuchipy_cnn.simulation import load_library

        small = load_library().subset(["Ni", "Mg", "Ge", "Fe-bcc"])
        patterns = simulate_other_phases(tiny_bundle, n=1, library=small, show_progressbar=False)
        # The tiny model knows 221, 225 and 229.
        assert sorted(set(patterns.material)) == ["Ge", "Mg"]

    def test_names_are_needed_without_space_groups(self, tiny_bundle):
        from kikuchipy_cnn import LabelClasses

        named = replace(tiny_bundle, classes=LabelClasses(("a", "b", "c")))
        with pytest.raises(ValueError, match="these are no space groups"):
            simulate_other_phases(named)

    def test_non_patterns(self, tiny_bundle):
        from kikuchipy_cnn.simulation import load_library

        small = load_library().subset(["Ni", "Fe-bcc"])
        images = simulate_non_patterns(tiny_bundle, ("noise", "blocked"), 2, library=small)
        assert len(images) == 3 * 2 * 2
        assert np.isfinite(images).all()
