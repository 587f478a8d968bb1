from dataclasses import replace

import numpy as np
import pytest

from kikuchipy_cnn import LabelClasses, PatternTransform, SpaceGroupClasses
from kikuchipy_cnn.training.class_level import (
    label_of_phase,
    level_of_classes,
    phases_of_classes,
)
from kikuchipy_cnn.training.preprocessed import PreprocessedPatterns
from kikuchipy_cnn.training.replay import divide, simulate_replay

CENTRINGS = LabelClasses(("F", "I", "P"))
PHASES = LabelClasses(("Al", "Fe-bcc"), (225, 229))


class TestLevel:
    @pytest.mark.parametrize(
        "classes, level, phases",
        [
            (
                SpaceGroupClasses((229, 225)),
                "space group",
                [(229, "self-labelled"), (225, "self-labelled")],
            ),
            (PHASES, "phase", [(225, "Al"), (229, "Fe-bcc")]),
            # The first of each: F222, I222 and P1.
            (CENTRINGS, "centring", [(22, "x"), (23, "x"), (1, "x")]),
            (LabelClasses(("m-3", "m-3m")), "Laue group", [(195, "x"), (207, "x")]),
            # Phosphorus and carbon.
            (LabelClasses(("C", "P"), (227, 64)), "phase", [(227, "C"), (64, "P")]),
        ],
    )
    def test_labels_lead_back_to_the_classes(self, label, classes, level, phases):
        assert level_of_classes(classes) == level
        name = "self-labelled" if level == "space group" else "x"
        found = phases_of_classes(classes, level, name)
        assert found == phases
        patterns = label(*zip(*found, strict=True))
        assert tuple(patterns.labels(level).tolist()) == classes.labels
        assert [label_of_phase(*phase, level) for phase in phases] == list(classes.labels)

    def test_unknown_names(self):
        with pytest.raises(ValueError, match="ferrite, steel are neither centrings nor Laue"):
            level_of_classes(LabelClasses(("ferrite", "steel")))


class TestDivide:
    def test_shares_of_each_class(self, rng):
        labels = np.repeat(["a", "b", "c"], [8, 5, 4])
        parts = divide(labels, (0.25, 0.25), rng)
        assert sorted(np.concatenate(parts).tolist()) == list(range(17))
        counts = [[int((labels[part] == i).sum()) for i in "abc"] for part in parts]
        assert counts == [[4, 3, 2], [2, 1, 1], [2, 1, 1]]

    def test_single_pattern_is_learned_from(self, rng):
        first, second = divide(np.array([1, 2, 2]), (0.5,), rng)
        assert 0 in first
        assert len(second) == 1


class TestSimulation:
    def test_of_each_class(self):
        classes = SpaceGroupClasses((225, 221))
        patterns = simulate_replay(classes, "space group", 6, 32, show_progressbar=False)
        # Four phases of each class, with two patterns.
        assert (patterns.space_group == 225).sum() == 8
        assert (patterns.space_group == 221).sum() == 8
        assert set(patterns.counts().values()) == {2}
        assert patterns.sources[0].data.shape[1:] == (40, 40)
        again = simulate_replay(classes, "space group", 6, 32, show_progressbar=False)
        np.testing.assert_array_equal(patterns.sources[3].data, again.sources[3].data)
        other = simulate_replay(classes, "space group", 6, 32, seed=1, show_progressbar=False)
        assert other.counts() != patterns.counts()

    def test_phases(self):
        patterns = simulate_replay(PHASES, "phase", 3, 40, show_progressbar=False)
        assert patterns.counts() == {(225, "Al"): 3, (229, "Fe-bcc"): 3}

    def test_not_in_the_library(self):
        classes = LabelClasses(("Al", "unobtainium"), (225, 1))
        with pytest.raises(ValueError, match="no phase of unobtainium .*Give some of your own"):
            simulate_replay(classes, "phase", 3, 40, show_progressbar=False)


class TestPreprocessed:
    transform = PatternTransform(size=32)

    def test_same_images_without_reading(self, label, rng):
        data = rng.integers(0, 255, (6, 40, 40)).astype(np.uint8)
        data[2] = 9
        patterns = label([225] * 3 + [229] * 3, list("abcdef"), data)
        with pytest.warns(UserWarning, match="1 of 6 patterns are constant"):
            read = PreprocessedPatterns.read(patterns, self.transform, show_progressbar=False)
        assert read.material.tolist() == list("abdef")
        expected, _ = self.transform(data[[0, 1, 3, 4, 5]])
        images, valid = read.images(self.transform)
        np.testing.assert_array_equal(images, expected)
        assert valid.all()

        joined = PreprocessedPatterns.concatenate([read.take(np.array([3, 0])), read.take([1])])
        assert joined.material.tolist() == list("eab")
        np.testing.assert_array_equal(joined.images(self.transform)[0], expected[[3, 0, 1]])

    def test_other_preprocessing(self, label, rng):
        data = rng.integers(0, 255, (2, 40, 40)).astype(np.uint8)
        read = PreprocessedPatterns.read(
            label([225, 229], ["a", "b"], data), self.transform, show_progressbar=False
        )
        with pytest.raises(ValueError, match="preprocessed with .*size=32.*Read the patterns ag"):
            read.images(replace(self.transform, size=40))
