import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from kikuchipy_cnn.evaluation import detect


class TestArea:
    def test_known_values(self):
        # Of 6 pairs, 4 are in order and one is a tie.
        assert detect([0.9, 0.5], [0.5, 0.1, 0.6]).area == pytest.approx(4.5 / 6)
        found = detect([0.9, 0.8], [0.1, 0.2, 0.3])
        assert found.area == 1
        assert found.interval == (1, 1)
        assert (found.n_inside, found.n_outside, found.false_alarm_at_95) == (2, 3, 0)
        assert detect([0.1], [0.9]).area == 0

    def test_false_alarms(self):
        # 19 of 20 inside are at 2 or above, and so is one of 4 outside; the last is at 0.
        inside = [*range(2, 21), 0]
        assert detect(inside, [2, 1.9, 0, -1]).false_alarm_at_95 == 0.25
        # Of 19, one left out would be more than 5 %.
        assert detect(inside[1:], [2, 1.9, 0, -1]).false_alarm_at_95 == 0.75


class TestInterval:
    def test_of_patterns(self):
        rng = np.random.default_rng(2)
        # The standard error of an area of 1/2 (Mann and Whitney).
        inside, outside = rng.normal(size=(2, 150))
        found = detect(inside, outside)
        assert found.interval[0] < found.area < found.interval[1]
        expected = 2 * 1.96 * np.sqrt((150 + 150 + 1) / (12 * 150 * 150))
        assert np.diff(found.interval)[0] == pytest.approx(expected, rel=0.1)
        assert detect(inside, outside, seed=1).interval == pytest.approx(found.interval, abs=0.01)
        assert detect(inside, outside) == found

    def test_like_drawing_the_scores(self):
        rng = np.random.default_rng(4)
        # With ties.
        inside, outside = rng.normal(0.5, size=40).round(1), rng.normal(size=30).round(1)
        areas = [
            roc_auc_score(
                np.repeat([True, False], [40, 30]),
                np.concatenate([rng.choice(inside, 40), rng.choice(outside, 30)]),
            )
            for _ in range(600)
        ]
        found = detect(inside, outside).interval
        assert found == pytest.approx(np.quantile(areas, [0.025, 0.975]), abs=0.02)

    def test_of_phases(self):
        rng = np.random.default_rng(3)
        inside = rng.normal(size=3000)
        # Phases differ much more than patterns of one phase do.
        middles = np.linspace(-2, 1, 12)
        outside = rng.normal(middles.repeat(40), 0.1)
        phases = np.array([f"phase {i}" for i in range(12)]).repeat(40)
        by_phase, by_pattern = detect(inside, outside, phases), detect(inside, outside)
        assert by_phase.area == by_pattern.area
        # The area is the mean over phases of the part of the inside above them.
        above = 1 - norm.cdf(middles)
        assert by_phase.area == pytest.approx(above.mean(), abs=0.02)
        expected = 2 * 1.96 * above.std() / np.sqrt(12)
        assert np.diff(by_phase.interval)[0] == pytest.approx(expected, rel=0.1)
        assert np.diff(by_pattern.interval)[0] < expected / 3

    def test_too_few_phases(self):
        scores, phases = np.arange(16.0), np.arange(8).repeat(2)
        assert detect([20.0], scores, phases).interval == (1, 1)
        assert detect([20.0], scores[:-2], phases[:-2]).interval is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], [0.5]), r"inside_scores of shape \(0,\)"),
        (([0.5], [[0.5]]), r"outside_scores of shape \(1, 1\)"),
        (([0.5], [np.nan, 0.5]), "outside_scores has 1 values that are not finite. Leave out"),
        (([0.5], [0.5, 0.5], ["Mg"]), "outside_groups has 1 values for 2 patterns"),
    ],
)
def test_what_cannot_be_judged(arguments, message):
    with pytest.raises(ValueError, match=message):
        detect(*arguments)
