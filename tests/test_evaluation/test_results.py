import numpy as np
import pytest
from sklearn.metrics import classification_report, confusion_matrix

from kikuchipy_cnn import SpaceGroupClasses
from kikuchipy_cnn.evaluation import Evaluation, wilson_interval


class TestScores:
    def test_known_values(self, make):
        scores = {score.label: score for score in make().by_class()}
        assert list(scores) == [221, 225, 229]
        assert scores[221][1:5] == pytest.approx((2 / 3, 1 / 2, 4 / 7, 4))
        assert scores[225][1:5] == pytest.approx((3 / 4, 3 / 4, 3 / 4, 4))
        assert scores[229][1:5] == pytest.approx((2 / 3, 1, 4 / 5, 2))
        assert scores[229][5:] == pytest.approx(wilson_interval(2, 2))
        assert make().accuracy == pytest.approx(0.7)
        assert make().right.tolist() == [
            *(True, False, True, False),
            *(True, True, True, False, True, True),
        ]

    def test_means(self, make):
        weighted, macro = make().weighted(), make().macro()
        assert weighted == pytest.approx((0.7, 0.7, 0.4 * 4 / 7 + 0.4 * 0.75 + 0.2 * 0.8))
        assert macro == pytest.approx((25 / 36, 3 / 4, (4 / 7 + 3 / 4 + 4 / 5) / 3))

    def test_classes_without_patterns_are_not_in_the_means(self, make):
        evaluation = make([221, 229, 225], [221, 221, 225], ["FeAl", "FeAl", "Ni"])
        assert [score.n for score in evaluation.by_class()] == [2, 1, 0]
        assert evaluation.by_class()[2][1:4] == (0, 0, 0)
        assert evaluation.macro().recall == pytest.approx(0.75)

    def test_like_scikit_learn(self, make):
        rng = np.random.default_rng(3)
        true, predicted = rng.choice(make.classes.numbers, (2, 60))
        found = make(predicted.tolist(), true, ["x"] * 60)
        expected = classification_report(true, predicted, output_dict=True)
        for mean, name in ((found.weighted(), "weighted avg"), (found.macro(), "macro avg")):
            reference = expected[name]
            assert mean == pytest.approx(
                (reference["precision"], reference["recall"], reference["f1-score"])
            )
        counts = found.confusion().counts
        assert counts.tolist() == confusion_matrix(true, predicted).tolist()

    def test_materials(self, make):
        scores = make().by_material()
        assert [(s.space_group, s.material, s.accuracy, s.n) for s in scores] == [
            (221, "FeAl", 0.5, 2),
            (221, "Ni3Al", 0.5, 2),
            (225, "Ni", 0.75, 4),
            (229, "Fe-bcc", 1.0, 2),
        ]
        assert scores[2].low, scores[2].high == wilson_interval(3, 4)

    def test_one_name_for_two_space_groups(self, make):
        evaluation = make([225, 225], [225, 229], ["Fe", "Fe"])
        assert [s[:3] for s in evaluation.by_material()] == [(225, "Fe", 1), (229, "Fe", 0)]

    def test_unknown_class_and_invalid_patterns_count_as_wrong(self, make):
        predicted = [221, 229, None, 225]
        evaluation = make(predicted, [221, 194, 225, 225], ["FeAl", "Mg", "Ni", "Ni"])
        assert evaluation.predicted.tolist() == [221, 229, -1, 225]
        assert evaluation.valid.tolist() == [True, True, False, True]
        assert evaluation.accuracy == 0.5 == evaluation.weighted().recall
        assert evaluation.other_labels == (194,)
        assert [score[0:5] for score in evaluation.by_class()] == [
            (221, 1, 1, 1, 1),
            (225, 1, 0.5, pytest.approx(2 / 3), 2),
            (229, 0, 0, 0, 0),
            (194, 0, 0, 0, 1),
        ]
        counts, rows, columns = evaluation.confusion()
        assert (rows, columns) == ((221, 225, 229, 194), (221, 225, 229, -1))
        assert counts.tolist() == [[1, 0, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0]]
        text = evaluation.report()
        assert "2 of 4 patterns are right: 0.500" in text
        assert "1 patterns could not be classified" in text
        assert "no class for: 194 P63/mmc" in text

    def test_confusion_by_material(self, make):
        counts, rows, columns = make().confusion_by_material()
        assert rows == ((221, "FeAl"), (221, "Ni3Al"), (225, "Ni"), (229, "Fe-bcc"))
        assert columns == make.classes.numbers
        assert counts.tolist() == [[1, 0, 1], [1, 1, 0], [1, 3, 0], [0, 0, 2]]

    def test_take(self, make):
        quality = np.arange(10.0)
        part = make(quality=quality).take(np.array(make.materials) == "Ni")
        assert part.accuracy == 0.75
        assert part.quality.tolist() == [4, 5, 6, 7]

    def test_arrays_that_do_not_fit(self, make):
        with pytest.raises(ValueError, match="probabilities has 9 values for 10 patterns"):
            make(make.predicted[:9])
        with pytest.raises(ValueError, match="quality has 3 values for 10 patterns"):
            make(quality=np.zeros(3))


class TestCoarser:
    def test_sums(self, label):
        # 221 and 195 share the centring P, 221 and 225 the Laue group.
        classes = SpaceGroupClasses((221, 195, 225))
        probabilities = np.array([[0.3, 0.3, 0.4], [0.2, 0.1, 0.7], [np.nan] * 3], np.float32)
        patterns = label([221, 200, 225], ["FeAl", "x", "Ni"])
        fine = Evaluation(patterns, classes, "space group", probabilities)
        assert fine.right.tolist() == [False, False, False]
        centring = fine.coarser("centring")
        assert centring.labels == ("F", "P")
        assert centring.predicted.tolist() == ["P", "F", ""]
        assert centring.right.tolist() == [True, False, False]
        laue = fine.coarser("Laue group")
        assert laue.labels == ("m-3", "m-3m")
        np.testing.assert_allclose(laue.probabilities[0], [0.3, 0.7])
        assert laue.confusion().columns == ("m-3", "m-3m", "")

    def test_nothing_to_tell_apart(self, make):
        with pytest.raises(ValueError, match="221, 225, 229, have the Laue group 'm-3m'"):
            make().coarser("Laue group")
        with pytest.raises(ValueError, match="level='phase'"):
            make().coarser("phase")
        with pytest.raises(ValueError, match="F, I, P are no space groups"):
            make().coarser("centring").coarser("centring")
