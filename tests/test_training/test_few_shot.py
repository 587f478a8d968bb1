import csv
import resource
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from kikuchipy.signals import EBSD

from kikuchipy_cnn import LabelClasses, load_model
from kikuchipy_cnn.training import FewShotProtocol, FewShotTrainer, few_shot
from kikuchipy_cnn.training.augmentation import Augmentation

QUICK = FewShotProtocol(learning_rate=5e-3, max_epochs=5, batch_size=16)


def trainer(protocol=QUICK, **options):
    return FewShotTrainer(
        **({"start": "scratch", "architecture": "tiny", "size": 32} | options), protocol=protocol
    )


@pytest.fixture(scope="module")
def unbroken(training_set, validation_set):
    return trainer().fit(training_set, validation_set, show_progressbar=False)


def assert_same(first, second):
    """Equal but for the time that epochs took."""
    assert len(first.history) == len(second.history)
    for a, b in zip(first.history, second.history, strict=True):
        assert {**a, "seconds": 0} == {**b, "seconds": 0}
    for a, b in zip(
        first.bundle.network.get_weights(), second.bundle.network.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert first.bundle.temperature == second.bundle.temperature


class TestProtocol:
    def test_defaults_are_the_papers(self):
        protocol = FewShotProtocol()
        assert (protocol.learning_rate, protocol.schedule) == (1e-3, "constant")
        assert (protocol.weight_decay, protocol.min_delta, protocol.patience) == (1e-5, 1e-3, 15)
        assert protocol.augmentation == Augmentation(mirror=False, severity=0)
        assert FewShotTrainer("scratch").architecture is None

    def test_cosine(self):
        protocol = FewShotProtocol(schedule="cosine", max_epochs=10, learning_rate=0.1)
        rates = [protocol.rate(epoch) for epoch in range(11)]
        assert rates[0] == pytest.approx(0.1)
        assert rates[5] == pytest.approx(0.0505)
        assert rates[10] == pytest.approx(0.001)
        assert np.all(np.diff(rates) < 0)

    @pytest.mark.parametrize(
        "change, match",
        [
            ({"schedule": "step"}, "schedule='step' must be one of 'constant', 'cosine'"),
            ({"precision": "int8"}, "precision='int8'"),
            ({"trainable": "half"}, "trainable='half'"),
            ({"statistics": "none"}, "statistics='none' must be one of None, 'moving'"),
            ({"batch_size": 0}, "batch_size=0 must be an integer of at least 1"),
            ({"batch_size": 2.5}, "batch_size=2.5 must be an integer"),
            ({"patience": float("nan")}, "patience=nan must be an integer"),
            ({"max_epochs": 0}, "max_epochs=0"),
            ({"patience": 0}, "patience=0"),
            ({"learning_rate": 0.0}, "learning_rate=0.0 must be positive"),
            ({"learning_rate": float("nan")}, "learning_rate=nan"),
            ({"weight_decay": -1.0}, "weight_decay=-1.0 must not be negative"),
        ],
    )
    def test_impossible(self, change, match):
        with pytest.raises(ValueError, match=match):
            FewShotProtocol(**change)


class TestLearning:
    def test_learns(self, training_set, validation_set):
        """On patterns that it never saw; chance is one third."""
        protocol = replace(QUICK, max_epochs=12)
        result = trainer(protocol).fit(training_set, validation_set, show_progressbar=False)
        best = result.history[result.best_epoch - 1]
        lowest = min(row["val_loss"] for row in result.history)
        assert lowest <= best["val_loss"] <= lowest + protocol.min_delta
        assert best["val_accuracy"] > 0.9

        # The bundle has the weights of the best epoch, not of the last.
        images, _ = validation_set.images(result.bundle.transform, show_progressbar=False)
        predicted = result.bundle.predict_probabilities(images).argmax(axis=1)
        right = np.array(result.bundle.classes.numbers)[predicted] == validation_set.space_group
        assert right.mean() == pytest.approx(best["val_accuracy"])

    def test_stops_early(self, training_set, validation_set):
        protocol = replace(QUICK, max_epochs=30, patience=2, min_delta=10.0)
        result = trainer(protocol).fit(training_set, validation_set, show_progressbar=False)
        # After the first epoch nothing is better by ten.
        assert result.stopped == "converged"
        assert (len(result.history), result.best_epoch) == (3, 1)

    def test_record_and_card(self, unbroken, training_set):
        record = unbroken.bundle.training
        assert record["materials"] == [[221, "LaB6"], [225, "Al"], [225, "Ni"], [230, "Y3Al5O12"]]
        assert record["training_patterns"] == [30] * 4
        assert record["validation_patterns"] == 40
        assert record["protocol"] == QUICK.to_dict() | {"statistics": "retaken"}
        assert unbroken.stopped == record["stopped"] == "max_epochs"
        for text in ("| 225 | Ni | 30 |", "| learning_rate | 0.005 |", "scratch", "Seed 0"):
            assert text in unbroken.bundle.card

    def test_materials_of_the_start_are_remembered(self, unbroken, training_set, validation_set):
        """A test on new materials must know all that a network has ever seen."""
        assert unbroken.bundle.trained_materials == {
            *((221, "LaB6"), (225, "Al"), (225, "Ni"), (230, "Y3Al5O12"))
        }
        renamed = training_set.material.copy()
        renamed[renamed == "Ni"] = "Cu"
        second = trainer(
            replace(QUICK, max_epochs=1), start=unbroken.bundle, architecture=None, size=None
        ).fit(replace(training_set, material=renamed), validation_set, show_progressbar=False)
        assert (225, "Cu") in second.bundle.trained_materials
        assert (225, "Ni") in second.bundle.trained_materials
        third = trainer(
            replace(QUICK, max_epochs=1),
            start=replace(unbroken.bundle, training={}),
            architecture=None,
            size=None,
        ).fit(training_set, validation_set, show_progressbar=False)
        assert third.bundle.trained_materials is None

    def test_history_as_csv(self, unbroken, tmp_path):
        unbroken.save_history(tmp_path / "history.csv")
        with open(tmp_path / "history.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4, 5]
        assert float(rows[2]["val_loss"]) == unbroken.history[2]["val_loss"]

    def test_bundle_classifies_at_once(self, unbroken, labelled, tmp_path):
        folder = unbroken.bundle.save(tmp_path / "mine")
        xmap = EBSD(labelled.sources[0].data[:3]).classify_space_group(
            model=folder, show_progressbar=False
        )
        assert set(xmap.phase_id) <= {221, 225, 230}
        assert load_model(folder).training["seed"] == 0

    @pytest.mark.parametrize(
        "level, names, numbers",
        [
            ("phase", ("Al", "LaB6", "Ni", "Y3Al5O12"), (225, 221, 225, 230)),
            ("centring", ("F", "I", "P"), (None,) * 3),
        ],
    )
    def test_other_levels(self, training_set, validation_set, level, names, numbers):
        protocol = replace(QUICK, max_epochs=1)
        result = trainer(protocol, level=level).fit(
            training_set, validation_set, show_progressbar=False
        )
        classes = result.bundle.classes
        assert isinstance(classes, LabelClasses)
        assert classes.names == names
        assert classes.space_groups == numbers
        assert result.bundle.network.output_shape == (None, len(names))

    def test_order_of_classes_can_be_given(self, training_set, validation_set):
        classes = replace(training_set.classes(), numbers=(230, 221, 225))
        protocol = replace(QUICK, max_epochs=25)
        result = trainer(protocol).fit(
            training_set, validation_set, classes=classes, show_progressbar=False
        )
        assert result.bundle.classes.numbers == (230, 221, 225)
        assert max(row["val_accuracy"] for row in result.history) > 0.6

    def test_unbalanced_classes_count_the_same(self, training_set, validation_set):
        """Without balance, the loss of few patterns drowns."""
        few = training_set.take((training_set.material != "LaB6") | (training_set.index < 2))
        protocol = replace(QUICK, max_epochs=1)
        run_of = {}
        for balanced in (True, False):
            start = few_shot.prepare_start("scratch", few.classes(), architecture="tiny", size=32)
            sets = [
                few_shot._Set.read(part, few.classes(), "space group", start, False)
                for part in (few, validation_set)
            ]
            run_of[balanced] = few_shot._Run(
                replace(protocol, balanced=balanced), start, *sets, 3, 0, None
            )
        weights, counts = run_of[True].class_weights, np.array([2, 60, 30])
        np.testing.assert_allclose(weights * counts, 92 / 3, rtol=1e-6)
        np.testing.assert_array_equal(run_of[False].class_weights, 1)

    def test_only_head(self, training_set, validation_set, tiny_bundle):
        protocol = replace(QUICK, trainable="head", max_epochs=2)
        result = trainer(protocol, start=tiny_bundle, architecture=None, size=None).fit(
            training_set, validation_set, show_progressbar=False
        )
        before, after = tiny_bundle.network.get_weights(), result.bundle.network.get_weights()
        for a, b in zip(before[:-2], after[:-2], strict=True):
            np.testing.assert_array_equal(a, b)
        assert not np.allclose(before[-2], after[-2])

    def test_statistics_of_pretrained_network_stay(self, training_set, validation_set, tiny_bundle):
        """120 patterns say less of them than those that the network was pretrained on."""
        moved = {}
        for statistics in (None, "moving", "retaken"):
            protocol = replace(QUICK, statistics=statistics, max_epochs=1)
            result = trainer(protocol, start=tiny_bundle, architecture=None, size=None).fit(
                training_set, validation_set, show_progressbar=False
            )
            layers = zip(tiny_bundle.network.layers, result.bundle.network.layers, strict=True)
            moved[statistics] = [
                not np.array_equal(a.moving_mean, b.moving_mean)
                for a, b in layers
                if hasattr(a, "moving_mean")
            ]
        assert not any(moved[None])
        assert all(moved["moving"])
        assert all(moved["retaken"])

    def test_statistics_of_what_was_learned(self, training_set, validation_set):
        """Moving averages are still near their start after eight batches."""
        losses = {
            statistics: trainer(replace(QUICK, statistics=statistics, max_epochs=2))
            .fit(training_set, validation_set, show_progressbar=False)
            .history
            for statistics in ("moving", "retaken")
        }
        for before, after in zip(*losses.values(), strict=True):
            # They matter to the validation only.
            assert before["loss"] == after["loss"]
        assert losses["retaken"][0]["val_loss"] < 0.8 * losses["moving"][0]["val_loss"]

    def test_random_network_has_no_statistics_to_keep(self, training_set, validation_set):
        with pytest.raises(
            ValueError, match="statistics='frozen' needs a network that has learned"
        ):
            trainer(replace(QUICK, statistics="frozen")).fit(
                training_set, validation_set, show_progressbar=False
            )

    def test_augmentation_changes_what_is_learned(self, unbroken, training_set, validation_set):
        protocol = replace(QUICK, augmentation=Augmentation(mirror=True, severity=0.3))
        result = trainer(protocol).fit(training_set, validation_set, show_progressbar=False)
        assert result.history[0]["loss"] != unbroken.history[0]["loss"]
        again = trainer(protocol).fit(training_set, validation_set, show_progressbar=False)
        assert_same(result, again)

    def test_schedule(self, training_set, validation_set):
        protocol = replace(QUICK, schedule="cosine")
        result = trainer(protocol).fit(training_set, validation_set, show_progressbar=False)
        rates = [row["learning_rate"] for row in result.history]
        assert rates == [protocol.rate(epoch) for epoch in range(5)]

    def test_mixed_precision_leaves_the_users_own(self, training_set, validation_set):
        import keras

        protocol = replace(QUICK, precision="mixed_bfloat16", max_epochs=1)
        result = trainer(protocol).fit(training_set, validation_set, show_progressbar=False)
        assert keras.config.dtype_policy().name == "float32"
        assert {w.dtype for w in result.bundle.network.get_weights()} == {np.dtype("float32")}
        assert result.bundle.network.compute_dtype == "float32"

    def test_tensorboard(self, training_set, validation_set, tmp_path):
        protocol = replace(QUICK, max_epochs=2)
        trainer(protocol).fit(
            training_set, validation_set, tensorboard=tmp_path, show_progressbar=False
        )
        assert list(tmp_path.rglob("events.out.tfevents.*"))

    def test_tensorboard_is_missing(self, training_set, validation_set, tmp_path, monkeypatch):
        monkeypatch.setattr(few_shot, "find_spec", lambda name: None)
        with pytest.raises(ImportError, match="pip install tensorboard"):
            trainer().fit(
                training_set, validation_set, tensorboard=tmp_path, show_progressbar=False
            )

    def test_constant_patterns_are_left_out(self, training_set, validation_set):
        data = np.array(training_set.sources[0].data)
        data[3] = 7
        source = replace(training_set.sources[0], data=data)
        broken = replace(training_set, sources=(source, *training_set.sources[1:]))
        protocol = replace(QUICK, max_epochs=1)
        with pytest.warns(UserWarning, match="1 of 120 patterns are constant"):
            result = trainer(protocol).fit(broken, validation_set, show_progressbar=False)
        assert np.isfinite(result.history[0]["loss"])


class TestRepeatAndResume:
    def test_seed_repeats(self, unbroken, training_set, validation_set):
        np.random.seed(1)  # noqa: NPY002
        drawn = np.random.random()  # noqa: NPY002
        np.random.seed(1)  # noqa: NPY002
        again = trainer().fit(training_set, validation_set, show_progressbar=False)
        assert_same(again, unbroken)
        # The user's own random numbers go on as if nothing had happened.
        assert np.random.random() == drawn  # noqa: NPY002

    def test_other_seed(self, unbroken, training_set, validation_set):
        other = trainer(seed=1).fit(training_set, validation_set, show_progressbar=False)
        assert other.history[0]["loss"] != unbroken.history[0]["loss"]

    def test_broken_off_anywhere(
        self, unbroken, training_set, validation_set, tmp_path, monkeypatch
    ):
        """Also between the two files of a state."""
        calls = []
        save = few_shot.Checkpoint.save

        def break_off(self, *arguments):
            calls.append(1)
            if len(calls) in (2, 4):
                raise RuntimeError("killed")
            save(self, *arguments)

        monkeypatch.setattr(few_shot.Checkpoint, "save", break_off)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="killed"):
                trainer().fit(
                    training_set, validation_set, work=tmp_path / "run", show_progressbar=False
                )
        resumed = trainer().fit(
            training_set, validation_set, work=tmp_path / "run", show_progressbar=False
        )
        # Two epochs were done again.
        assert len(calls) == 5 + 2
        assert_same(resumed, unbroken)

    def test_finished_run_is_not_repeated(
        self, unbroken, training_set, validation_set, tmp_path, monkeypatch
    ):
        options = {"work": tmp_path / "run", "show_progressbar": False}
        trainer().fit(training_set, validation_set, **options)
        monkeypatch.setattr(few_shot._Run, "_train_epoch", None)
        assert_same(trainer().fit(training_set, validation_set, **options), unbroken)

    def test_other_training_in_the_folder(self, training_set, validation_set, tmp_path):
        protocol = replace(QUICK, max_epochs=1)
        options = {"work": tmp_path / "run", "show_progressbar": False}
        trainer(protocol).fit(training_set, validation_set, **options)
        for other in (
            lambda: trainer(protocol, seed=1).fit(training_set, validation_set, **options),
            lambda: trainer(replace(protocol, batch_size=8)).fit(
                training_set, validation_set, **options
            ),
            lambda: trainer(protocol).fit(
                training_set.take(training_set.index < 29), validation_set, **options
            ),
        ):
            with pytest.raises(ValueError, match="state of another training"):
                other()

    def test_damaged_state(self, training_set, validation_set, tmp_path):
        (tmp_path / "state.npz").write_bytes(b"no archive")
        with pytest.raises(ValueError, match="is no state of a training.*Delete it"):
            trainer().fit(training_set, validation_set, work=tmp_path, show_progressbar=False)

    @pytest.mark.slow
    def test_killed_process(self, unbroken, training_set, validation_set, tmp_path):
        """By the signal that no program can catch."""
        script = tmp_path / "train.py"
        script.write_text(
            textwrap.dedent(f"""
            import sys, time
            sys.path.insert(0, {str(Path(__file__).parent)!r})
            from conftest import labelled
            from kikuchipy_cnn.training import few_shot

            patterns = labelled.__wrapped__()
            save = few_shot.Checkpoint.save
            def slowly(self, *arguments):
                save(self, *arguments)
                time.sleep(3)
            few_shot.Checkpoint.save = slowly
            protocol = few_shot.FewShotProtocol(learning_rate=5e-3, max_epochs=5, batch_size=16)
            few_shot.FewShotTrainer("scratch", protocol, architecture="tiny", size=32).fit(
                patterns.take(patterns.index < 30), patterns.take(patterns.index >= 30),
                work={str(tmp_path / "run")!r}, show_progressbar=False,
            )
            """)
        )
        process = subprocess.Popen([sys.executable, script])
        state = tmp_path / "run" / "state.npz"
        deadline = time.time() + 120
        while not state.exists() and time.time() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
        process.wait()
        with np.load(state) as data:
            assert '"epoch": 5' not in str(data["description"])
        resumed = trainer().fit(
            training_set, validation_set, work=tmp_path / "run", show_progressbar=False
        )
        assert_same(resumed, unbroken)


class TestTrouble:
    def interrupt(self, monkeypatch, in_epoch):
        train = few_shot._Run._train_epoch

        def interrupted(self):
            if len(self.history) + 1 == in_epoch:
                raise KeyboardInterrupt
            return train(self)

        monkeypatch.setattr(few_shot._Run, "_train_epoch", interrupted)

    def test_interrupted(self, unbroken, training_set, validation_set, monkeypatch):
        self.interrupt(monkeypatch, in_epoch=4)
        with pytest.warns(UserWarning, match="Interrupted after epoch 3. The model is that of"):
            result = trainer().fit(training_set, validation_set, show_progressbar=False)
        assert result.stopped == "interrupted"
        assert len(result.history) == 3
        best = min(unbroken.history[:3], key=lambda row: row["val_loss"])
        assert result.best_epoch == best["epoch"]

    def test_interrupted_at_once(self, training_set, validation_set, monkeypatch):
        self.interrupt(monkeypatch, in_epoch=1)
        with pytest.raises(KeyboardInterrupt):
            trainer().fit(training_set, validation_set, show_progressbar=False)

    def test_not_a_number_at_once(self, training_set, validation_set):
        protocol = replace(QUICK, learning_rate=1e30)
        with pytest.raises(ValueError, match=r"loss is .*in epoch 1. Try a lower.*1e\+30"):
            trainer(protocol).fit(training_set, validation_set, show_progressbar=False)

    def test_not_a_number_later(self, training_set, validation_set, monkeypatch):
        monkeypatch.setattr(
            FewShotProtocol, "rate", lambda self, epoch: 5e-3 if epoch < 2 else 1e30
        )
        with pytest.warns(UserWarning, match="in epoch 3.*The model is that of epoch"):
            result = trainer().fit(training_set, validation_set, show_progressbar=False)
        assert result.stopped == "diverged"
        assert len(result.history) == 2
        assert all(np.isfinite(w).all() for w in result.bundle.network.get_weights())

    def test_full_disk(self, unbroken, training_set, validation_set, tmp_path, monkeypatch):
        """From the third epoch on nothing can be written."""
        train = few_shot._Run._train_epoch
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)

        def fill_up(self):
            if len(self.history) == 2:
                resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
            return train(self)

        monkeypatch.setattr(few_shot._Run, "_train_epoch", fill_up)
        try:
            with pytest.warns(UserWarning, match="epoch 3 cannot be written.*Make room"):
                result = trainer().fit(
                    training_set, validation_set, work=tmp_path / "run", show_progressbar=False
                )
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert_same(result, unbroken)
        monkeypatch.undo()
        assert {path.name for path in (tmp_path / "run").iterdir()} == {"state.npz", "best.npz"}
        with np.load(tmp_path / "run" / "state.npz") as data:
            assert '"epoch": 2' in str(data["description"])
        resumed = trainer().fit(
            training_set, validation_set, work=tmp_path / "run", show_progressbar=False
        )
        assert_same(resumed, unbroken)

    def test_disk_is_full_for_a_while(self, training_set, validation_set, tmp_path, monkeypatch):
        """Weights that were best while nothing could be written are written later."""
        options = {"work": tmp_path / "run", "show_progressbar": False}
        whole = trainer().fit(training_set, validation_set, show_progressbar=False)
        save = few_shot.Checkpoint.save_best

        def fail_at_first(self, weights):
            calls.append(1)
            if len(calls) == 1:
                raise OSError(28, "No space left on device")
            save(self, weights)

        calls: list[int] = []
        monkeypatch.setattr(few_shot.Checkpoint, "save_best", fail_at_first)
        with pytest.warns(UserWarning, match="epoch 1 cannot be written"):
            trainer(replace(QUICK, min_delta=10.0)).fit(training_set, validation_set, **options)
        # Nothing was better than the first epoch by ten, so there was one more chance only.
        assert len(calls) == 2
        resumed = trainer(replace(QUICK, min_delta=10.0)).fit(
            training_set, validation_set, **options
        )
        assert resumed.best_epoch == 1
        assert resumed.history[0]["val_loss"] == whole.history[0]["val_loss"]


class TestBadInput:
    def test_one_class(self, training_set, validation_set):
        only = training_set.take(training_set.space_group == 225)
        with pytest.raises(ValueError, match=r"of one space group, \[225\]. Add patterns of anoth"):
            trainer().fit(only, validation_set, show_progressbar=False)

    def test_no_validation(self, training_set, validation_set):
        nothing = validation_set.take(validation_set.index < 0)
        with pytest.raises(ValueError, match="validation set is empty.*Keep some"):
            trainer().fit(training_set, nothing, show_progressbar=False)

    def test_class_without_training_pattern(self, training_set, validation_set):
        some = training_set.take(training_set.space_group != 230)
        with pytest.raises(ValueError, match=r"validation patterns are of .*\[230\]"):
            trainer().fit(some, validation_set, show_progressbar=False)
        with pytest.raises(ValueError, match=r"no training pattern of \[230\]. Add some"):
            trainer().fit(
                some,
                validation_set.take(validation_set.space_group != 230),
                classes=training_set.classes(),
                show_progressbar=False,
            )

    def test_all_constant(self, training_set, validation_set):
        sources = tuple(replace(s, data=np.zeros_like(s.data)) for s in training_set.sources)
        with (
            pytest.warns(UserWarning, match="120 of 120 patterns are constant"),
            pytest.raises(ValueError, match=r"No training pattern of \[221, 225, 230\] is left"),
        ):
            trainer().fit(
                replace(training_set, sources=sources), validation_set, show_progressbar=False
            )

    def test_class_of_constant_patterns(self, training_set, validation_set):
        """It must not become a class that nothing was learned of."""
        sources = list(training_set.sources)
        sources[-1] = replace(sources[-1], data=np.zeros_like(sources[-1].data))
        with (
            pytest.warns(UserWarning, match="30 of 120 patterns are constant"),
            pytest.raises(ValueError, match=r"No training pattern of \[230\] is left"),
        ):
            trainer().fit(
                replace(training_set, sources=tuple(sources)),
                validation_set,
                show_progressbar=False,
            )

    def test_class_without_validation_pattern(self, training_set, validation_set):
        some = validation_set.take(validation_set.space_group != 230)
        with pytest.warns(UserWarning, match=r"no validation pattern of \[230\]"):
            trainer(replace(QUICK, max_epochs=1)).fit(training_set, some, show_progressbar=False)

    def test_wrong_kinds(self, training_set, validation_set):
        with pytest.raises(TypeError, match="training patterns are dict, not LabelledPatterns"):
            trainer().fit({225: training_set}, validation_set)
        with pytest.raises(TypeError, match=r"classes=\(225, 221\) must be SpaceGroupClasses"):
            trainer().fit(training_set, validation_set, classes=(225, 221))

    def test_folder_is_a_file(self, training_set, validation_set, tmp_path, monkeypatch):
        (tmp_path / "run").touch()
        monkeypatch.setattr(few_shot._Set, "read", lambda *_: pytest.fail("read patterns"))
        with pytest.raises(NotADirectoryError, match="run' is a file"):
            trainer().fit(training_set, validation_set, work=tmp_path / "run")

    def test_unknown_level(self):
        with pytest.raises(ValueError, match="level='crystal' must be one of 'phase', 'space"):
            FewShotTrainer(level="crystal")
