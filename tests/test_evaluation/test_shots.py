import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from kikuchipy_cnn import SpaceGroupClasses
from kikuchipy_cnn.evaluation import ShotsCurve, shots, shots_curve
from kikuchipy_cnn.training.few_shot import FewShotProtocol


@pytest.fixture
def fake(monkeypatch):
    """Trainings whose accuracy is the number of their patterns in percent."""
    calls = []

    class FakeTrainer:
        def __init__(self, start, protocol, *, level, seed):
            self.seed = seed

        def fit(self, training, validation, *, work, show_progressbar):
            if work is not None:
                (work / "state").write_text("half-way")
            if len(calls) == fake.limit:
                raise KeyboardInterrupt
            calls.append((training, validation, self.seed))
            return SimpleNamespace(bundle=len(training))

    def fake_evaluate(bundle, *_, **__):
        accuracy = bundle / 100 if isinstance(bundle, int) else 0.125
        return SimpleNamespace(accuracy=accuracy)

    fake = SimpleNamespace(calls=calls, limit=np.inf)
    monkeypatch.setattr(shots, "FewShotTrainer", FakeTrainer)
    monkeypatch.setattr(shots, "evaluate", fake_evaluate)
    return fake


@pytest.fixture
def pool(label):
    return label([221] * 40 + [225] * 20 + [225] * 20, ["FeAl"] * 40 + ["Ni"] * 20 + ["Al"] * 20)


@pytest.fixture
def test_set(label):
    return label([221, 225], ["FeAl", "Ni"])


class TestShotsCurve:
    def test_mean_and_deviation(self):
        accuracies = np.array([[0.4, 0.4, 0.4], [0.5, 0.6, 0.7]])
        curve = ShotsCurve((0, 10), accuracies, "phase", 0.25)
        assert curve.mean == pytest.approx([0.4, 0.6])
        assert curve.deviation == pytest.approx([0, 0.1])
        assert ShotsCurve((1,), np.array([[0.5]]), "phase", 0.25).deviation == [0]

    def test_draws(self, fake, pool, test_set):
        curve = shots_curve(
            "scratch", pool, test_set, shots=(8, 1), n_trials=2, seed=3, show_progressbar=False
        )
        assert curve.shots == (1, 8)
        assert curve.accuracies.tolist() == [[0.02, 0.02], [0.16, 0.16]]
        assert (curve.level, curve.chance) == ("space group", 0.5)
        assert curve.deviation.tolist() == [0, 0]
        sizes = [(len(training), len(validation)) for training, validation, _ in fake.calls]
        assert sizes == [(2, 2), (2, 2), (16, 4), (16, 4)]
        chosen = [set(training.index.tolist()) for training, *_ in fake.calls]
        assert chosen[2] != chosen[3]
        assert chosen[0] < chosen[2] and chosen[1] < chosen[3]
        seeds = [seed for *_, seed in fake.calls]
        assert seeds[:2] == seeds[2:] and seeds[0] != seeds[1]
        for training, validation, _ in fake.calls:
            assert not set(training.index.tolist()) & set(validation.index.tolist())

    def test_shot_zero(self, fake, pool, test_set, tiny_bundle, tmp_path):
        options = {"shots": (2,), "n_trials": 2, "show_progressbar": False}
        curve = shots_curve(tiny_bundle, pool, test_set, **options)
        assert curve.shots == (0, 2)
        assert curve.accuracies[0].tolist() == [0.125, 0.125]
        tiny_bundle.save(tmp_path / "model")
        assert shots_curve(tmp_path / "model", pool, test_set, **options).shots == (0, 2)
        assert shots_curve("xception_narrow", pool, test_set, **options).shots == (0, 2)
        other = replace(tiny_bundle, classes=SpaceGroupClasses((221, 227, 229)))
        assert shots_curve(other, pool, test_set, **options).shots == (2,)
        phases = shots_curve(tiny_bundle, pool, test_set, level="phase", **options)
        assert phases.shots == (2,)

    def test_goes_on(self, fake, pool, test_set, tiny_bundle, tmp_path):
        work = tmp_path / "deep" / "work"
        options = {"n_trials": 2, "work": work, "show_progressbar": False}
        fake.limit = 3
        with pytest.raises(KeyboardInterrupt):
            shots_curve(tiny_bundle, pool, test_set, shots=(1, 3), **options)
        # The state of the broken trial is there for the trainer to go on from.
        assert (work / "unfinished" / "state").exists()
        fake.limit = np.inf
        curve = shots_curve(tiny_bundle, pool, test_set, shots=(1, 3, 5), **options)
        assert len(fake.calls) == 6
        assert curve.accuracies.tolist() == [[0.125] * 2, [0.02] * 2, [0.06] * 2, [0.1] * 2]
        assert not (work / "unfinished").exists()
        whole = {**options, "work": None}
        again = shots_curve(tiny_bundle, pool, test_set, shots=(1, 3, 5), **whole)
        assert again.accuracies.tolist() == curve.accuracies.tolist()
        trial = json.loads((work / "3_shots_trial_2.json").read_text())
        assert trial["accuracy"] == 0.06

    def test_folder_of_another_curve(self, fake, pool, test_set, tmp_path):
        options = {"shots": (1,), "n_trials": 1, "work": tmp_path, "show_progressbar": False}
        shots_curve("scratch", pool, test_set, **options)
        changed = {"seed": 1, "protocol": FewShotProtocol(patience=3)}
        with pytest.raises(ValueError, match="1_shots_trial_1.json' .* another protocol and seed"):
            shots_curve("scratch", pool, test_set, **changed, **options)
        with pytest.raises(ValueError, match="another test"):
            shots_curve("scratch", pool, test_set + test_set, **options)
        assert len(fake.calls) == 1

    def test_too_few_patterns(self, fake, pool, test_set):
        with pytest.raises(ValueError, match="40 patterns"):
            shots_curve("scratch", pool, test_set, shots=(1, 50))
        assert fake.calls == []

    def test_same_patterns_in_the_test(self, fake, pool):
        with pytest.warns(UserWarning, match="new patterns"):
            shots_curve("scratch", pool, pool, shots=(1,), n_trials=1, show_progressbar=False)

    @pytest.mark.parametrize("options", [{"shots": ()}, {"shots": (0, 1)}, {"n_trials": 0}])
    def test_no_trainings(self, pool, test_set, options):
        with pytest.raises(ValueError, match="at least"):
            shots_curve("scratch", pool, test_set, **options)

    def test_real_training(self, label, tiny_bundle, tmp_path):
        rng = np.random.default_rng(0)
        stripes = np.sin(np.linspace(0, 20, 40))
        along_x, along_y = np.tile(stripes, (40, 1)), np.tile(stripes[:, None], 40)
        data = np.stack([along_x] * 24 + [along_y] * 24) + rng.normal(0, 0.3, (48, 40, 40))
        patterns = label([221] * 24 + [225] * 24, ["FeAl"] * 24 + ["Ni"] * 24, data)
        is_test = patterns.index % 3 == 0
        protocol = FewShotProtocol(learning_rate=5e-3, max_epochs=8, batch_size=8)
        curve = shots_curve(
            tiny_bundle,
            patterns.take(~is_test),
            patterns.take(is_test),
            shots=(8,),
            n_trials=1,
            protocol=protocol,
            work=tmp_path,
            show_progressbar=False,
        )
        assert curve.shots == (0, 8)
        before, after = curve.mean
        assert before < 0.7 < 0.9 < after
