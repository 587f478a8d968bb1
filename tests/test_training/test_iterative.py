import csv
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from kikuchipy.signals import EBSD

from kikuchipy_cnn import LabelClasses
from kikuchipy_cnn.models import Ensemble
from kikuchipy_cnn.training import (
    FewShotProtocol,
    IterativeSettings,
    LabelledPatterns,
    iterative_data,
    iterative_training,
)
from kikuchipy_cnn.training.round_decision import best_round, compared, decide, reason_to_stop
from kikuchipy_cnn.uncertainty.rejection import Detector

QUICK = FewShotProtocol(learning_rate=2e-3, max_epochs=6, batch_size=16)
# For three classes, of few patterns.
SMALL = IterativeSettings(per_class=40, least=3, confidence=0.8, max_rounds=1)
# Rounds that change nothing are kept.
LENIENT = replace(SMALL, min_gain=0)
TWO_ROUNDS = replace(LENIENT, max_rounds=2)


@pytest.fixture
def adapt(drift, tmp_path):
    """Function that adapts the members to the drifted map."""

    def adapt(model=drift.members, signal=drift.map, **options):
        given = {"work": tmp_path / "run", "replay": drift.clean, "settings": LENIENT}
        return iterative_training(model, signal, **(given | options), show_progressbar=False)

    return adapt


def detector(bias, n_features=32, n_classes=3):
    """Takes all images for the same."""
    n = n_features + 4
    return Detector(np.zeros(n), np.ones(n), np.zeros((n, 3)), np.array(bias))


def weights_of(model):
    return [array for member in model.members for array in member.network.get_weights()]


def assert_same(first, second):
    assert first.rounds == second.rounds
    assert (first.best_round, first.stopped) == (second.best_round, second.stopped)
    for a, b in zip(weights_of(first.model), weights_of(second.model), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def start(drift):
    first, second = drift.members
    # It takes all for known phases, and cannot know that after a training.
    return Ensemble("two", (replace(first, detector=detector([9.0, 0, 0])), second))


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("real") / "run"


@pytest.fixture(scope="module")
def adapted(drift, start, work):
    return iterative_training(
        start,
        drift.map,
        work=work,
        protocol=QUICK,
        settings=SMALL,
        replay=drift.clean,
        show_progressbar=False,
    )


class TestRealTraining:
    def test_more_patterns_of_the_new_conditions_are_right(self, drift, start, adapted):
        """On patterns of no map that was seen; no true label was used."""
        assert adapted.best_round == 1
        assert drift.accuracy(adapted.model) > drift.accuracy(start)
        for before, after in zip(start.members, adapted.model.members, strict=True):
            assert drift.accuracy(after) > drift.accuracy(before)
        weakest = [min(map(drift.accuracy, model.members)) for model in (start, adapted.model)]
        assert weakest[1] > weakest[0] + 0.1

    def test_what_was_known_is_kept(self, adapted):
        first, last = adapted.rounds
        assert first["replay_accuracy"] > 0.9
        assert last["replay_accuracy"] >= first["replay_accuracy"] - SMALL.max_forgetting

    def test_record(self, adapted):
        first, last = adapted.rounds
        assert list(first) == list(last)
        assert (first["decision"], last["decision"], adapted.stopped) == (
            *("start", "kept"),
            "max_rounds",
        )
        assert last["members"] == "0: net0; 1: net1"
        by_class = [last[f"self_labels_{number}"] for number in (221, 225, 230)]
        assert sum(by_class) == last["self_labels"] > 20
        assert last["gain"] == pytest.approx(last["agreement"] - first["agreement"])
        assert last["gain"] > 0.1
        assert sum(last[f"predicted_{number}"] for number in (221, 225, 230)) == pytest.approx(1)

    def test_files(self, adapted, work, tmp_path):
        assert {path.name for path in work.iterdir()} == {"rounds.csv", "rounds.json", "round_1"}
        assert json.loads((work / "rounds.json").read_text())["rounds"] == adapted.rounds
        adapted.save_history(tmp_path / "history.csv")
        assert (tmp_path / "history.csv").read_text() == (work / "rounds.csv").read_text()
        with open(work / "rounds.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert float(rows[1]["gain"]) == adapted.rounds[1]["gain"]
        assert rows[0]["gain"] == rows[1]["known_accuracy"] == ""

    def test_any_round_can_be_gone_back_to(self, adapted, start):
        assert adapted.model_of(0) is start
        for a, b in zip(weights_of(adapted.model_of(1)), weights_of(adapted.model), strict=True):
            np.testing.assert_array_equal(a, b)
        with pytest.raises(ValueError, match="no round 2, only 0 to 1"):
            adapted.model_of(2)

    def test_model(self, adapted, start):
        model = adapted.model
        # Self-labels would make them too sure.
        assert [m.temperature for m in model.members] == [m.temperature for m in start.members]
        assert [m.detector for m in model.members] == [None, None]
        record = model.training["self_training"]
        assert record["members"] == [0, 1]
        assert record["rounds"] == adapted.rounds
        assert record["settings"]["confidence"] == 0.8
        assert "Self-labelled" in model.card
        assert "Nobody has checked these labels" in model.card
        for member in model.members:
            assert (225, "self-labelled") in member.trained_materials
            assert (225, "phase 225") in member.trained_materials
            assert "Member of a self-labelled ensemble" in member.card

    def test_table(self, adapted):
        lines = adapted.table().splitlines()
        assert lines[0].split()[:3] == ["round", "members", "decision"]
        assert lines[2].startswith("1      0: net0; 1: net1  kept")

    def test_classifies_at_once(self, drift, adapted):
        xmap = drift.map.classify_space_group(model=adapted.model, show_progressbar=False)
        assert set(xmap.phase_id) <= {-1, 221, 225, 230}

    @pytest.mark.slow
    def test_repeatable(self, drift, start, adapted, tmp_path):
        again = iterative_training(
            start,
            drift.map,
            work=tmp_path,
            protocol=QUICK,
            settings=SMALL,
            replay=drift.clean,
            show_progressbar=False,
        )
        assert_same(adapted, again)


class TestSelfLabels:
    @pytest.fixture
    def data(self, monkeypatch):
        """List that gets the data of the training."""
        read, found = iterative_data.IterativeData.read, []

        def kept(*arguments):
            found.append(read(*arguments))
            return found[-1]

        monkeypatch.setattr(iterative_data.IterativeData, "read", kept)
        return found

    def self_labelled(self, patterns):
        return patterns.take(patterns.map_name == "new conditions")

    def test_who_learns_from_what(self, adapt, drift, fake_training, data):
        fake = fake_training()
        result = adapt()
        (data,) = data
        parts = [[self.self_labelled(part) for part in call[:2]] for call in fake.calls]
        assert len(parts) == 2
        for (training, validation), (whole, whole_validation, _) in zip(
            parts, fake.calls, strict=True
        ):
            used = np.concatenate([training.index, validation.index])
            assert not data.held_out[used].any()
            assert len(set(used.tolist())) == result.rounds[1]["self_labels"] == len(used)
            # Half and a quarter of the replay.
            assert len(whole) - len(training) == 60
            assert len(whole_validation) - len(validation) == 30
        # Two members learn from nothing in common.
        assert not set(parts[0][0].index.tolist()) & set(parts[1][0].index.tolist())
        assert set(parts[0][0].index.tolist()) == set(parts[1][1].index.tolist())
        seeds = [options["seed"] for *_, options in fake.calls]
        assert len(set(seeds)) == 2

    def test_labels_are_those_of_all_members(self, adapt, drift, fake_training, data):
        fake = fake_training()
        adapt()
        for training, *_ in fake.calls:
            training = self.self_labelled(training)
            images, _ = training.images(drift.members[0].transform)
            each = np.stack([m.predict_probabilities(images) for m in drift.members])
            assert (each.mean(axis=0).max(axis=1) >= 0.8).all()
            for one in each:
                winners = np.array(drift.numbers)[one.argmax(axis=1)]
                np.testing.assert_array_equal(winners, training.space_group)

    def test_new_labels_each_round(self, adapt, fake_training):
        """They are not gathered."""
        fake = fake_training()
        result = adapt(settings=TWO_ROUNDS)
        counts = [len(self.self_labelled(training)) for training, *_ in fake.calls]
        labels = [row["self_labels"] for row in result.rounds[1:]]
        assert [sum(counts[:2]), sum(counts[2:])] == labels
        assert labels[0] == labels[1]

    def test_member_that_does_not_suit(self, adapt, drift, tiny_bundle, fake_training):
        """A network that knows nothing gets no vote, and its number is left out."""
        stranger = replace(
            tiny_bundle, classes=drift.members[0].classes, name="stranger", temperature=1.0
        )
        fake = fake_training()
        result = adapt([stranger, *drift.members], settings=TWO_ROUNDS)
        assert result.rounds[0]["members"] == "0: stranger; 1: net0; 2: net1"
        assert result.rounds[1]["members"] == result.rounds[2]["members"] == "1: net0; 2: net1"
        assert [member.name for member in result.model.members] == ["net0", "net1"]
        assert len(fake.calls) == 4

    def test_phases_that_no_one_knows(self, adapt, drift, fake_training):
        fake_training()
        stranger = replace(drift.members[0], detector=detector([0, 9.0, 0]))
        with pytest.raises(ValueError, match=r"agree on 0 of .* are too far from what the models"):
            adapt([stranger, drift.members[1]])

    def test_several_maps(self, adapt, drift, fake_training, data):
        fake_training()
        rows, mask = [drift.map.inav[:, :9], drift.map.inav[:, 9:]], np.zeros((9, 18), bool)
        mask[:, :6] = True
        result = (
            adapt(rows, navigation_mask=[None, mask], model=drift.members)
            if False
            else adapt(drift.members, rows, navigation_mask=[None, mask])
        )
        assert result.best_round > 0

    def test_simulated_replay(self, adapt, drift, fake_training, monkeypatch):
        asked = []

        def simulate(classes, level, n, size, **options):
            asked.append((classes.labels, level, n, size, options["seed"]))
            return drift.clean

        monkeypatch.setattr(iterative_data, "simulate_replay", simulate)
        fake_training()
        adapt(replay=None, seed=3)
        assert asked == [((221, 225, 230), "space group", 80, 32, 3)]

    def test_classes_that_are_no_space_groups(self, adapt, drift, fake_training):
        """Known patterns and self-labels are compared at the level of the classes."""
        members = [
            replace(member, classes=LabelClasses(("F", "I", "P"))) for member in drift.members
        ]
        fake = fake_training()
        result = adapt(members, known=drift.clean.take(drift.clean.index < 5), replay=drift.clean)
        assert result.rounds[1]["self_labels_F"] > 0
        assert {options["level"] for *_, options in fake.calls} == {"centring"}


class TestKnownPatterns:
    @pytest.fixture
    def known(self, drift):
        chosen = drift.test_classes[:60]
        return LabelledPatterns.from_signals(
            {
                number: {"true": EBSD(drift.test[:60][chosen == i])}
                for i, number in enumerate(drift.numbers)
            }
        )

    def test_gain_is_that_of_the_accuracy(self, adapt, drift, known, fake_training):
        def spoil(kernel, bias, call):
            return (kernel, bias) if call <= 2 else (np.roll(kernel, 1, axis=1), bias)

        fake = fake_training(spoil)
        settings = replace(TWO_ROUNDS, max_shift=1, max_forgetting=1, protected=1)
        result = adapt(known=known, settings=settings)
        first, second, third = result.rounds
        assert first["known_accuracy"] == pytest.approx(drift.accuracy(result.start), abs=0.2)
        assert (second["gain"], second["decision"]) == (0, "kept")
        # As sure of each other, and wrong.
        assert third["agreement"] > 0.1
        assert third["gain"] < -0.5
        assert (third["decision"], result.stopped, result.best_round) == ("no_gain", "no_gain", 1)
        assert "accuracy on known patterns gained -0." in third["reason"]
        # Half of the known ones are learned from.
        training = fake.calls[0][0]
        assert 25 <= (training.material == "true").sum() <= 33

    def test_calibrated_on_known_patterns(self, adapt, drift, known, fake_training):
        fake_training()
        too_sure = [replace(member, temperature=0.2) for member in drift.members]
        result = adapt(too_sure, known=known)
        assert result.best_round == 1
        assert min(member.temperature for member in result.model.members) > 0.4
        assert "temperatures were fitted to 30 known patterns" in result.model.card
        # The rounds themselves are judged without.
        assert [member.temperature for member in result.model_of(1).members] == [0.2, 0.2]

    def test_one_class_needs_known_patterns(
        self, adapt, drift, known, rng, fake_training, tmp_path
    ):
        fake_training()
        signal = EBSD(drift.patterns([1] * 100, rng, noise=20).reshape(10, 10, 40, 40))
        with pytest.raises(ValueError, match=r"self-labels are of 225.*Label some.* by hand"):
            adapt(signal=signal)
        result = adapt(signal=signal, known=known, work=tmp_path / "known")
        assert result.rounds[1]["self_labels_225"] > 0


class TestCollapse:
    def collapse(self, kernel, bias, call):
        """In the second round all becomes one class."""
        return (kernel, bias) if call <= 2 else (kernel, bias + np.array([50.0, 0, 0], "f"))

    def test_one_class_takes_all(self, adapt, drift, fake_training):
        fake_training(self.collapse)
        result = adapt(settings=TWO_ROUNDS)
        first, second, third = result.rounds
        assert (result.stopped, result.best_round) == ("shifted", 1)
        assert third["decision"] == "shifted"
        assert re.search(r"moved by 0\.\d+ from the round before, more than", third["reason"])
        # Confidence is no guard.
        assert third["confidence"] > second["confidence"]
        # What is returned is that of the round before, and what went wrong can be looked at.
        assert drift.accuracy(result.model) == pytest.approx(drift.accuracy(result.start), abs=0.02)
        images, _ = result.model.transform(drift.test)
        collapsed = result.model_of(2).predict_probabilities(images).argmax(axis=1)
        assert (collapsed == 0).all()

        # Each guard alone would do.
        guards = {
            "vanished": {"max_shift": 1},
            "forgot": {"max_shift": 1, "protected": 1},
            "no_gain": {"max_shift": 1, "protected": 1, "max_forgetting": 1},
        }
        for decision, off in guards.items():
            settings = replace(TWO_ROUNDS, **off)
            assert decide(third, [first, second], drift.numbers, settings)[0] == decision


class TestDecision:
    labels = (1, 2)
    settings = IterativeSettings()

    def row(self, **changes):
        measured = {
            **{"known_accuracy": None, "replay_accuracy": 0.9, "agreement_before": 0.5},
            **{"agreement": 0.6, "predicted_1": 0.5, "predicted_2": 0.5},
        }
        return measured | changes

    def decision(self, **changes):
        rows, row = [self.row()], self.row(**changes)
        row |= compared(row, rows, self.labels)
        return row, decide(row, rows, self.labels, self.settings)[0]

    def test_gain(self):
        row, decision = self.decision()
        assert decision == "kept"
        assert row["gain"] == pytest.approx(0.1)
        assert row["shift_before"] == row["shift_first"] == 0
        assert self.decision(agreement=0.5019)[1] == "no_gain"
        assert self.decision(agreement=0.5021)[1] == "kept"

    def test_collapse_comes_before_gain(self):
        assert self.decision(predicted_1=0.79, predicted_2=0.21)[1] == "kept"
        assert self.decision(predicted_1=0.81, predicted_2=0.19)[1] == "shifted"
        assert self.decision(replay_accuracy=0.851)[1] == "kept"
        assert self.decision(replay_accuracy=0.849)[1] == "forgot"

    def test_slow_drift_is_seen_from_the_first_round(self):
        shares = [{"predicted_1": 0.5 + i, "predicted_2": 0.5 - i} for i in (0, 0.2, 0.4)]
        rows, row = [self.row(**shares[0]), self.row(**shares[1])], self.row(**shares[2])
        row |= compared(row, rows, self.labels)
        assert row["shift_before"] == pytest.approx(0.2)
        assert row["shift_first"] == pytest.approx(0.4)
        assert decide(row, rows, self.labels, self.settings)[0] == "shifted"

    def test_rare_classes_may_go(self):
        for share, expected in ((0.051, "vanished"), (0.049, "kept")):
            rows = [self.row(predicted_1=1 - share, predicted_2=share)]
            row = self.row(predicted_1=1 - 0.004, predicted_2=0.004)
            row |= compared(row, rows, self.labels)
            assert decide(row, rows, self.labels, self.settings)[0] == expected

    def test_course(self):
        rows = [{"round": i, "decision": d} for i, d in enumerate(("start", "kept", "kept"))]
        assert reason_to_stop(rows[:1], self.settings) is None
        assert reason_to_stop(rows, self.settings) is None
        assert reason_to_stop(rows, replace(self.settings, max_rounds=2)) == "max_rounds"
        rows.append({"round": 3, "decision": "forgot"})
        assert reason_to_stop(rows, self.settings) == "forgot"
        assert best_round(rows) == 2


class TestBrokenOff:
    def grow(self, kernel, bias, call):
        """No member keeps its weights, and all their answers."""
        return (1.25 * kernel, 1.25 * bias)

    def test_same_as_unbroken(self, adapt, fake_training, tmp_path):
        fake_training(self.grow)
        unbroken = adapt(work=tmp_path / "unbroken", settings=TWO_ROUNDS)
        assert unbroken.best_round == 2
        for member, start in zip(unbroken.model.members, unbroken.start.members, strict=True):
            # Each round goes on from the one before.
            kernels = [one.network.get_weights()[-2] for one in (member, start)]
            np.testing.assert_allclose(kernels[0], 1.25**2 * kernels[1], rtol=2e-3, atol=1e-6)

        fake = fake_training(self.grow)
        fit, calls = fake.fit, []

        def interrupted(*arguments, **options):
            calls.append(1)
            if len(calls) == 4:
                raise KeyboardInterrupt
            return fit(*arguments, **options)

        fake.fit = interrupted
        with pytest.raises(KeyboardInterrupt):
            adapt(settings=TWO_ROUNDS)
        record = json.loads((tmp_path / "run" / "rounds.json").read_text())
        assert [row["round"] for row in record["rounds"]] == [0, 1]
        resumed = adapt(settings=TWO_ROUNDS)
        # The first member of the second round was trained again.
        assert len(calls) == 4 + 2
        assert_same(resumed, unbroken)

    def test_interrupted_training(self, adapt, fake_training, tmp_path):
        """It returns its best epoch so far, which is not kept."""
        fake = fake_training(self.grow)
        fake.stopped = "interrupted"
        with pytest.raises(KeyboardInterrupt):
            adapt()
        assert not (tmp_path / "run" / "round_1").exists()

    def test_killed_before_the_row_was_written(self, adapt, fake_training, tmp_path):
        fake_training(self.grow)
        unbroken = adapt(settings=TWO_ROUNDS)
        path = tmp_path / "run" / "rounds.json"
        record = json.loads(path.read_text())
        path.write_text(json.dumps(record | {"rounds": record["rounds"][:-1]}))
        assert_same(adapt(settings=TWO_ROUNDS), unbroken)

    def test_finished_and_more_rounds(self, adapt, fake_training):
        fake = fake_training()
        first = adapt()
        assert_same(adapt(), first)
        assert len(fake.calls) == 2
        longer = adapt(settings=TWO_ROUNDS)
        assert len(fake.calls) == 4
        assert longer.rounds[:2] == first.rounds

    def test_other_training_in_the_folder(self, adapt, drift, fake_training):
        fake_training()
        adapt()
        for other in (
            {"settings": replace(LENIENT, confidence=0.7)},
            {"seed": 1},
            {"protocol": QUICK},
            {"signal": drift.map.inav[:17]},
            {"replay": drift.clean.take(drift.clean.index < 39)},
            {"model": [drift.members[0], replace(drift.members[1], temperature=2.0)]},
            {"model": drift.members[::-1]},
        ):
            with pytest.raises(ValueError, match="rounds of another training"):
                adapt(**other)

    def test_damaged_record(self, adapt, fake_training, tmp_path):
        fake_training()
        adapt()
        path = tmp_path / "run" / "rounds.json"
        path.write_text("{")
        with pytest.raises(ValueError, match="rounds.json' is no record of rounds"):
            adapt()
        path.unlink()
        with pytest.raises(ValueError, match="holds rounds, but not their record"):
            adapt()
        shutil.rmtree(path.parent / "round_1")
        adapt()


class TestTooFar:
    def test_members_that_know_nothing_of_it(self, adapt, drift, tiny_bundle, tmp_path):
        strangers = [
            replace(tiny_bundle, classes=drift.members[0].classes, name=name) for name in "ab"
        ]
        with pytest.raises(
            ValueError,
            match=r"agree on 0 of \d+ patterns \(0.0%\).*too far.*FewShotTrainer",
        ):
            adapt(strangers)
        assert not (tmp_path / "run" / "round_1").exists()

    def test_least_share(self, adapt, fake_training):
        fake_training()
        with pytest.raises(ValueError, match=r"least_share=0.9, and least=3 patterns"):
            adapt(settings=replace(LENIENT, least_share=0.9))

    def test_least_of_a_class(self, adapt, fake_training):
        fake_training()
        with pytest.raises(ValueError, match="which gives 0 self-labels"):
            adapt(settings=replace(LENIENT, per_class=200, least=200))

    def test_in_a_later_round(self, adapt, fake_training):
        """Members that are not sure of anything any more."""
        fake_training(lambda kernel, bias, call: (0.01 * kernel, 0.01 * bias))
        result = adapt(settings=TWO_ROUNDS)
        assert [row["decision"] for row in result.rounds] == ["start", "kept", "too_few"]
        assert (result.stopped, result.best_round) == ("too_few", 1)
        assert list(result.rounds[2]) == list(result.rounds[0])
        with pytest.raises(ValueError, match="Round 2 has made no model: All members agree on 0"):
            result.model_of(2)


class TestBadInput:
    @pytest.fixture(autouse=True)
    def no_training(self, fake_training):
        fake_training(lambda *_: pytest.fail("trained"))

    @pytest.mark.parametrize(
        "change, match",
        [
            ({"n_patterns": 10}, "n_patterns=10 must be an integer of at least 20"),
            ({"per_class": 0}, "per_class=0"),
            ({"least": 0}, "least=0"),
            ({"least": 11, "per_class": 10}, "least=11 is more than per_class=10"),
            ({"max_rounds": 0}, "max_rounds=0"),
            ({"replay_per_class": 3}, "replay_per_class=3 must be an integer of at least 4"),
            ({"held_out": 0}, "held_out=0 must be between 0 and 1"),
            ({"held_out": 1.0}, "held_out=1.0"),
            ({"confidence": 1.1}, r"confidence=1.1 must be in \[0, 1\]"),
            ({"min_gain": -0.1}, "min_gain=-0.1"),
            ({"max_shift": float("nan")}, "max_shift=nan"),
        ],
    )
    def test_settings(self, change, match):
        with pytest.raises(ValueError, match=match):
            IterativeSettings(**change)

    def test_one_network(self, adapt, drift):
        with pytest.raises(ValueError, match="'net0' is one network.*at least two"):
            adapt(drift.members[0])

    def test_networks_of_other_classes(self, adapt, drift, tiny_bundle):
        with pytest.raises(ValueError, match="tells apart"):
            adapt([drift.members[0], tiny_bundle])

    def test_kinds(self, adapt, drift):
        with pytest.raises(TypeError, match="signal is of type ndarray"):
            adapt(signal=drift.test)
        with pytest.raises(TypeError, match="signal is of type list"):
            adapt(signal=[drift.map, drift.clean])
        with pytest.raises(ValueError, match="There is no signal"):
            adapt(signal=[])
        with pytest.raises(TypeError, match="known is EBSD, not LabelledPatterns"):
            adapt(known=drift.map)
        with pytest.raises(TypeError, match="replay is dict"):
            adapt(replay={})
        with pytest.raises(ValueError, match="1 navigation masks for 2 signals"):
            adapt(signal=[drift.map, drift.map], navigation_mask=[None])
        with pytest.raises(ValueError, match="seed=-1"):
            adapt(seed=-1)

    def test_too_few_patterns(self, adapt, drift):
        with pytest.raises(ValueError, match="19 usable patterns; at least 20 are needed"):
            adapt(signal=EBSD(drift.test[:19]))

    def test_replay_of_all_classes(self, adapt, drift):
        few = drift.clean.take((drift.clean.space_group != 230) | (drift.clean.index < 3))
        with pytest.raises(ValueError, match=r"replay patterns of 230 \(3\); at least 4"):
            adapt(replay=few)

    def test_labels_that_nobody_knows(self, adapt, drift):
        other = replace(drift.clean, space_group=np.full(len(drift.clean), 227))
        for name in ("known", "replay"):
            with pytest.raises(ValueError, match=f"The {name} patterns are of 227, but the memb"):
                adapt(**{name: other})

    def test_known_that_tell_no_gain(self, adapt, drift):
        single = drift.clean.take(drift.clean.index < 1)
        with pytest.raises(ValueError, match="3 known patterns, none of which can tell the gain"):
            adapt(known=single)

    def test_folder_is_a_file(self, adapt, tmp_path, monkeypatch):
        (tmp_path / "run").touch()
        monkeypatch.setattr(iterative_data.IterativeData, "read", lambda *_: pytest.fail("read"))
        with pytest.raises(NotADirectoryError, match="run' is a file"):
            adapt()
