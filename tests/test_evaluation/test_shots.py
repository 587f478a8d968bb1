import json
from dataclasses import replace
from types import SimpleNamespace

import hyperspy.api as hs
import numpy as np
import pytest

from kikuchipy_cnn import SpaceGroupClasses
from kikuchipy_cnn.evaluation import ShotsCurve, shots, shots_curve
from kikuchipy_cnn.models import build_network
from kikuchipy_cnn.training import FewShotProtocol, FewShotTrainer, few_shot

SCRATCH = FewShotTrainer("scratch")


@pytest.fixture
def fake(monkeypatch):
    """Trainings whose accuracy is the number of their patterns in percent."""
    calls = []

    def fake_fit(trainer, training, validation, *, work, show_progressbar):
        if work is not None:
            work.mkdir(parents=True, exist_ok=True)
            (work / "state.npz").write_text("half-way")
        if len(calls) == fake.limit:
            raise KeyboardInterrupt
        calls.append((training, validation, trainer))
        return SimpleNamespace(bundle=len(training), stopped="max_epochs")

    def fake_evaluate(bundle, *_, **__):
        accuracy = bundle / 100 if isinstance(bundle, int) else 0.125
        return SimpleNamespace(accuracy=accuracy)

    fake = SimpleNamespace(calls=calls, limit=np.inf)
    monkeypatch.setattr(FewShotTrainer, "fit", fake_fit)
    monkeypatch.setattr(shots, "evaluate", fake_evaluate)
    return fake


@pytest.fixture
def pool(label):
    return label([221] * 40 + [225] * 20 + [225] * 20, ["FeAl"] * 40 + ["Ni"] * 20 + ["Al"] * 20)


@pytest.fixture
def test_set(label):
    return label([221, 225], ["FeAl", "Ni"])


@pytest.fixture(scope="module")
def stripes(label):
    """Noisy stripes along x and y, to train with and to test with."""
    rng = np.random.default_rng(0)
    wave = np.sin(np.linspace(0, 20, 40))
    along_x, along_y = np.tile(wave, (40, 1)), np.tile(wave[:, None], 40)
    data = np.stack([along_x] * 24 + [along_y] * 24) + rng.normal(0, 0.3, (48, 40, 40))
    patterns = label([221] * 24 + [225] * 24, ["FeAl"] * 24 + ["Ni"] * 24, data)
    is_test = patterns.index % 3 == 0
    return patterns.take(~is_test), patterns.take(is_test)


class TestShotsCurve:
    def test_mean_and_deviation(self):
        accuracies = np.array([[0.4, 0.4, 0.4], [0.5, 0.6, 0.7]])
        curve = ShotsCurve((0, 10), accuracies, "phase", 0.25)
        assert curve.mean == pytest.approx([0.4, 0.6])
        assert curve.deviation == pytest.approx([0, 0.1])
        assert ShotsCurve((1,), np.array([[0.5]]), "phase", 0.25).deviation == [0]

    def test_draws(self, fake, pool, test_set):
        protocol = FewShotProtocol(patience=3)
        trainer = FewShotTrainer("scratch", protocol, architecture="tiny", size=64, seed=9)
        curve = shots_curve(
            trainer, pool, test_set, shots=(8, 1), n_trials=2, seed=3, show_progressbar=False
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
        seeds = [used.seed for *_, used in fake.calls]
        assert seeds[:2] == seeds[2:] and seeds[0] != seeds[1]
        # All but the seed is the trainer's.
        assert all(replace(used, seed=9) == trainer for *_, used in fake.calls)
        for training, validation, _ in fake.calls:
            assert not set(training.index.tolist()) & set(validation.index.tolist())

    def test_shot_zero(self, fake, pool, test_set, tiny_bundle, tmp_path):
        def shots_of(start, pool=pool, **options):
            curve = shots_curve(
                FewShotTrainer(start, **options),
                *(pool, test_set),
                **{"shots": (2,), "n_trials": 2, "show_progressbar": False},
            )
            assert curve.shots == (2,) or curve.accuracies[0].tolist() == [0.125, 0.125]
            return curve.shots

        assert shots_of(tiny_bundle) == (0, 2)
        tiny_bundle.save(tmp_path / "model")
        assert shots_of(tmp_path / "model") == (0, 2)
        # Read once.
        assert fake.calls[-1][2].start is fake.calls[-2][2].start
        assert shots_of("fast_fewshot") == (0, 2)
        # What the model knows is thrown away, or it knows too little.
        assert shots_of(tiny_bundle, new_head=True) == (2,)
        assert shots_of(tiny_bundle, level="phase") == (2,)
        other = replace(tiny_bundle, classes=SpaceGroupClasses((221, 227, 229)))
        assert shots_of(other) == (2,)
        more = replace(pool, space_group=np.where(pool.material == "Al", 227, pool.space_group))
        assert shots_of(tiny_bundle, more) == (2,)

    def test_weights_of_imagenet_are_no_model(self, fake, pool, test_set):
        options = {"shots": (2,), "n_trials": 1, "show_progressbar": False}
        for start in ("imagenet", "folder/xception.h5"):
            assert shots_curve(FewShotTrainer(start), pool, test_set, **options).shots == (2,)

    def test_progress(self, fake, pool, test_set, monkeypatch, capfd):
        for is_shown in (True, False):
            monkeypatch.setattr(hs.preferences.General, "show_progressbar", is_shown)
            shots_curve(SCRATCH, pool, test_set, shots=(1,), n_trials=2)
            assert ("2/2" in capfd.readouterr().err) == is_shown


class TestWork:
    def test_goes_on(self, fake, pool, test_set, tiny_bundle, tmp_path):
        work = tmp_path / "deep" / "work"
        options = {"n_trials": 2, "work": work, "show_progressbar": False}
        trainer = FewShotTrainer(tiny_bundle)
        fake.limit = 3
        with pytest.raises(KeyboardInterrupt):
            shots_curve(trainer, pool, test_set, shots=(1, 3), **options)
        # For the trainer to go on from.
        state = work / "unfinished" / "3_shots_trial_2" / "state.npz"
        assert state.exists()
        # Killed in another trial, which has a state of its own.
        with pytest.raises(KeyboardInterrupt):
            shots_curve(trainer, pool, test_set, shots=(5,), **options)
        fake.limit = 4
        with pytest.raises(KeyboardInterrupt):
            shots_curve(trainer, pool, test_set, shots=(5,), **options)
        assert sorted(i.name for i in (work / "unfinished").iterdir()) == [
            "3_shots_trial_2",
            "5_shots_trial_2",
        ]
        fake.limit = np.inf
        options["n_trials"] = 3
        curve = shots_curve(trainer, pool, test_set, shots=(1, 3, 5), **options)
        assert len(fake.calls) == 9
        assert curve.accuracies.tolist() == [[0.125] * 3, [0.02] * 3, [0.06] * 3, [0.1] * 3]
        assert not (work / "unfinished").exists()
        whole = {**options, "work": None}
        again = shots_curve(trainer, pool, test_set, shots=(1, 3, 5), **whole)
        assert again.accuracies.tolist() == curve.accuracies.tolist()
        trial = json.loads((work / "3_shots_trial_2.json").read_text())
        assert (trial["accuracy"], trial["stopped"]) == (0.06, "max_epochs")

    def test_state_beside_the_result(self, fake, pool, test_set, tmp_path):
        """After a kill between the two."""
        options = {"shots": (1,), "n_trials": 1, "work": tmp_path, "show_progressbar": False}
        shots_curve(SCRATCH, pool, test_set, **options)
        state = tmp_path / "unfinished" / "1_shots_trial_1" / "state.npz"
        state.parent.mkdir(parents=True)
        state.write_text("done")
        shots_curve(SCRATCH, pool, test_set, **options)
        assert len(fake.calls) == 1
        assert [i.name for i in tmp_path.iterdir()] == ["1_shots_trial_1.json"]

    def test_folder_of_another_curve(self, fake, pool, test_set, tmp_path):
        options = {"shots": (1,), "n_trials": 1, "work": tmp_path, "show_progressbar": False}
        shots_curve(SCRATCH, pool, test_set, **options)
        changed = replace(SCRATCH, protocol=FewShotProtocol(patience=3), size=64)
        with pytest.raises(
            ValueError, match="1_shots_trial_1.json' .* another size and protocol and seed"
        ):
            shots_curve(changed, pool, test_set, seed=1, **options)
        with pytest.raises(ValueError, match="another start"):
            shots_curve(FewShotTrainer("imagenet"), pool, test_set, **options)
        assert len(fake.calls) == 1
        # Neither the name nor the seed of the trainer decides anything.
        shots_curve(replace(SCRATCH, name="other", seed=5), pool, test_set, **options)
        assert len(fake.calls) == 1

    def test_other_patterns_of_the_same_number(self, fake, pool, test_set, label, tmp_path):
        options = {"shots": (1,), "n_trials": 1, "work": tmp_path, "show_progressbar": False}
        shots_curve(SCRATCH, pool, test_set, **options)
        n = len(pool)
        others = [
            replace(pool, map_name=np.full(n, "another", object)),
            replace(pool, index=np.roll(pool.index, 1)),
            replace(pool, material=np.where(pool.material == "Al", "Cu", pool.material)),
            label(pool.space_group, pool.material, np.ones((n, 40, 40), np.uint8)),
        ]
        for other in others:
            with pytest.raises(ValueError, match="with another patterns. Give"):
                shots_curve(SCRATCH, other, test_set, **options)
        for other in (test_set + test_set, replace(test_set, grain=["a", "b"])):
            with pytest.raises(ValueError, match="with another test. Give"):
                shots_curve(SCRATCH, pool, other, **options)
        # Made anew in the next session.
        again = label(pool.space_group.tolist(), pool.material.tolist())
        shots_curve(SCRATCH, again, test_set, **options)
        assert len(fake.calls) == 1

    def test_another_model_of_the_same_name(self, fake, pool, test_set, tiny_bundle, tmp_path):
        options = {"shots": (1,), "n_trials": 1, "work": tmp_path, "show_progressbar": False}
        shots_curve(FewShotTrainer(tiny_bundle), pool, test_set, **options)
        other = replace(tiny_bundle, network=build_network("tiny", (32, 32, 1), 3))
        with pytest.raises(ValueError, match="before.json' .* another start"):
            shots_curve(FewShotTrainer(other), pool, test_set, **options)
        assert len(fake.calls) == 1


class TestErrors:
    def test_too_few_patterns(self, fake, pool, test_set):
        with pytest.raises(ValueError, match="40 patterns"):
            shots_curve(SCRATCH, pool, test_set, shots=(1, 50))
        assert fake.calls == []

    def test_same_patterns_in_the_test(self, fake, pool):
        with pytest.warns(UserWarning, match="new patterns"):
            shots_curve(SCRATCH, pool, pool, shots=(1,), n_trials=1, show_progressbar=False)

    @pytest.mark.parametrize(
        "options", [{"shots": ()}, {"shots": (0, 1)}, {"shots": (1.5, 2)}, {"n_trials": 0}]
    )
    def test_no_trainings(self, pool, test_set, options):
        with pytest.raises(ValueError, match="must be integers of at least 1"):
            shots_curve(SCRATCH, pool, test_set, **options)

    def test_no_trainer(self, pool, test_set):
        with pytest.raises(TypeError, match="trainer='scratch' must be a FewShotTrainer"):
            shots_curve("scratch", pool, test_set)

    def test_no_such_model(self, pool, test_set):
        with pytest.raises(ValueError, match="no model 'nothing'"):
            shots_curve(FewShotTrainer("nothing"), pool, test_set)


class TestRealTraining:
    trainer = FewShotTrainer(
        "scratch", FewShotProtocol(max_epochs=2, batch_size=8), architecture="tiny", size=32
    )

    def test_from_a_model(self, stripes, tiny_bundle, tmp_path):
        protocol = FewShotProtocol(learning_rate=5e-3, max_epochs=8, batch_size=8)
        curve = shots_curve(
            FewShotTrainer(tiny_bundle, protocol),
            *stripes,
            shots=(8,),
            n_trials=1,
            work=tmp_path,
            show_progressbar=False,
        )
        assert curve.shots == (0, 8)
        before, after = curve.mean
        assert before < 0.7 < 0.9 < after
        assert sorted(i.name for i in tmp_path.iterdir()) == [
            "8_shots_trial_1.json",
            "before.json",
        ]

    @pytest.mark.filterwarnings("ignore:Interrupted")
    def test_interrupted(self, stripes, tmp_path, monkeypatch):
        """Ctrl-C in the second epoch. Another trial is finished before this one."""
        train = few_shot._Run._train_epoch
        epochs = []

        def train_epoch(run):
            if interrupted and run.history:
                raise KeyboardInterrupt
            epochs.append(len(run.history))
            return train(run)

        monkeypatch.setattr(few_shot._Run, "_train_epoch", train_epoch)
        options = {"n_trials": 1, "show_progressbar": False}
        interrupted = True
        with pytest.raises(KeyboardInterrupt):
            shots_curve(self.trainer, *stripes, shots=(2,), work=tmp_path, **options)
        interrupted = False
        shots_curve(self.trainer, *stripes, shots=(4,), work=tmp_path, **options)
        assert sorted(str(i.relative_to(tmp_path)) for i in tmp_path.rglob("*.*")) == [
            "4_shots_trial_1.json",
            "unfinished/2_shots_trial_1/best.npz",
            "unfinished/2_shots_trial_1/state.npz",
        ]
        curve = shots_curve(self.trainer, *stripes, shots=(2, 4), work=tmp_path, **options)
        # Of the first trial only the second epoch was missing.
        assert epochs == [0, 0, 1, 1]
        assert not (tmp_path / "unfinished").exists()
        whole = shots_curve(self.trainer, *stripes, shots=(2,), **options)
        assert whole.accuracies[0] == curve.accuracies[0]

    def test_diverged(self, stripes, tmp_path, monkeypatch):
        """The model of the epoch before counts, and it is told each time."""
        monkeypatch.setattr(FewShotProtocol, "rate", lambda _, epoch: 1e30 if epoch else 1e-3)
        options = {"shots": (2,), "n_trials": 1, "work": tmp_path, "show_progressbar": False}
        match = "1 of 1 trainings became no number: 2_shots_trial_1. .* lower learning rate than"
        with (
            pytest.warns(UserWarning, match=match),
            pytest.warns(UserWarning, match="The model is that of epoch 1"),
        ):
            curve = shots_curve(self.trainer, *stripes, **options)
        trial = json.loads((tmp_path / "2_shots_trial_1.json").read_text())
        assert (trial["accuracy"], trial["stopped"]) == (curve.accuracies[0, 0], "diverged")
        monkeypatch.setattr(FewShotTrainer, "fit", None)
        with pytest.warns(UserWarning, match=match):
            assert shots_curve(self.trainer, *stripes, **options).accuracies == curve.accuracies
