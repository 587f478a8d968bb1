import json
from dataclasses import replace

import numpy as np
import pytest

from kikuchipy_cnn.uncertainty import RiskCoverage

# Not in order, with a tie of a right and a wrong one.
CONFIDENCE = np.array([0.6, 0.9, 0.75, 0.75, 0.5])
WRONG = np.array([False, False, True, False, True])


@pytest.fixture
def curve():
    return RiskCoverage.from_scores(CONFIDENCE, WRONG)


@pytest.fixture(scope="module")
def many():
    """As many wrong as the confidence says: the risk at full coverage is 1/2."""
    rng = np.random.default_rng(5)
    confidence = rng.random(20_000)
    return confidence, rng.random(20_000) > confidence


class TestCurve:
    def test_known_values(self, curve):
        assert curve.thresholds.tolist() == [0.9, 0.75, 0.6, 0.5]
        assert curve.coverage == pytest.approx([0.2, 0.6, 0.8, 1])
        assert curve.risk == pytest.approx([0, 1 / 3, 1 / 4, 2 / 5])
        assert curve.n_accepted == pytest.approx([1, 3, 4, 5])
        assert curve.n == 5
        assert repr(curve) == "RiskCoverage(5 patterns, risk 0.4000 at full coverage)"

    def test_weights(self):
        curve = RiskCoverage.from_scores(
            np.array([0.9, 0.8, 0.7]), np.array([False, True, False]), np.array([1, 3, 4])
        )
        assert curve.coverage == pytest.approx([1 / 8, 1 / 2, 1])
        assert curve.risk == pytest.approx([0, 3 / 4, 3 / 8])
        # Kish: square of the sum over the sum of squares.
        assert curve.n_accepted == pytest.approx([1, 16 / 10, 64 / 26])

    def test_weights_balance_groups(self, many):
        confidence, wrong = many
        repeated = RiskCoverage.from_scores(
            np.append(confidence, confidence[:500].repeat(2)),
            np.append(wrong, wrong[:500].repeat(2)),
        )
        weights = np.ones(len(wrong))
        weights[:500] = 3
        weighted = RiskCoverage.from_scores(confidence, wrong, weights)
        assert weighted.coverage == pytest.approx(repeated.coverage)
        assert weighted.risk == pytest.approx(repeated.risk)
        assert (weighted.n_accepted < repeated.n_accepted)[1:].all()

    def test_thinned(self, many):
        full = RiskCoverage.from_scores(*many, n_points=20_000)
        thin = RiskCoverage.from_scores(*many, n_points=50)
        assert len(thin.thresholds) == 50
        assert np.diff(thin.coverage) == pytest.approx(1 / 49, abs=1e-3)
        for end in (0, -1):
            assert thin.thresholds[end] == full.thresholds[end]
            assert thin.risk[end] == full.risk[end]
        places = np.searchsorted(-full.thresholds, -thin.thresholds)
        assert full.risk[places].tolist() == thin.risk.tolist()
        assert thin.area() == pytest.approx(full.area(), abs=2e-3)

    def test_confidence_is_rounded_down(self):
        # Rounded up, the threshold would leave out the pattern it is of.
        curve = RiskCoverage.from_scores(np.array([0.29, 0.9999999, 0.9999991]), WRONG[:3])
        assert curve.thresholds.tolist() == [0.999999, 0.29]
        assert curve.n_accepted.tolist() == [2, 3]

    def test_one_confidence(self):
        curve = RiskCoverage.from_scores(np.ones(4), np.array([True, False, False, False]))
        assert (curve.thresholds.tolist(), curve.coverage.tolist()) == ([1], [1])
        assert curve.area() == 0.25

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (([0.5], [True, False]), r"shape \(1,\) and wrong of shape \(2,\)"),
            (([], np.array([], bool)), "no patterns; give at least one"),
            (([0.5, 1.2], [True, False]), "1.2 of pattern 1, but must be from 0 to 1"),
            (([np.nan], [True]), "is nan of pattern 0"),
            (([0.5], [1]), "wrong is of type int64"),
            (([0.5], [True], [1, 2]), r"weights of shape \(2,\)"),
            (([0.5, 0.6], [True, False], [1, 0]), "weights from 0.0 to 1.0 must be positive"),
            (([0.5], [True], None, 1), "n_points=1 must be an integer of at least 2"),
        ],
    )
    def test_what_is_no_curve(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            RiskCoverage.from_scores(*arguments)


class TestUpperRisk:
    def test_known_values(self):
        # None wrong of n: the limit is 1 - 0.05^(1 / n). All wrong: there is none.
        curve = RiskCoverage.from_scores(np.full(59, 0.5), np.zeros(59, bool))
        assert curve.upper_risk == pytest.approx([1 - 0.05 ** (1 / 59)])
        assert RiskCoverage.from_scores([0.5], [True]).upper_risk.tolist() == [1]

    def test_holds_as_often_as_it_says(self):
        rng = np.random.default_rng(0)
        limits = [
            RiskCoverage.from_scores(np.ones(80), rng.random(80) < 0.1).upper_risk[0]
            for _ in range(400)
        ]
        # An exact limit holds at least as often, and of 80 patterns not much more.
        assert 0.93 < np.mean(np.array(limits) > 0.1) < 0.99


class TestThresholds:
    def test_for_risk(self, curve):
        # 0.6 answers more than 0.75, which has the higher risk.
        assert curve.threshold_for_risk(0.3, bounded=False) == 0.6
        assert curve.threshold_for_risk(0.2, bounded=False) == 0.9
        assert curve.threshold_for_risk(0.4, bounded=False) == 0.5

    def test_bounded(self, many):
        curve = RiskCoverage.from_scores(*many)
        loose, strict = (curve.threshold_for_risk(0.2, bounded) for bounded in (False, True))
        # Half of what is missing to 1 is wrong.
        assert loose == pytest.approx(0.6, abs=0.02)
        assert loose < strict < loose + 0.04
        place = curve.thresholds.tolist().index(strict)
        assert curve.upper_risk[place] <= 0.2 < curve.upper_risk[place + 1]

    def test_risk_that_cannot_be_had(self, curve):
        # One pattern, and it is right, says next to nothing: the limit is 0.95. It is 0.7514 for
        # one wrong of four.
        with pytest.raises(ValueError, match=r"risk=0.3 .* confidence is 0.7514 at .* 0.800"):
            curve.threshold_for_risk(0.3)
        wrong = RiskCoverage.from_scores([0.9, 0.8], [True, False])
        with pytest.raises(ValueError, match="the lowest is 0.5 at best"):
            wrong.threshold_for_risk(0.4, bounded=False)

    def test_for_coverage(self, curve):
        for coverage, threshold in ((0, 0.9), (0.2, 0.9), (0.3, 0.75), (0.8, 0.6), (1, 0.5)):
            assert curve.threshold_for_coverage(coverage) == threshold

    @pytest.mark.parametrize("value", [-0.1, 1.1, np.nan])
    def test_what_is_no_part(self, curve, value):
        with pytest.raises(ValueError, match=f"risk={value} must be from 0 to 1"):
            curve.threshold_for_risk(value)
        with pytest.raises(ValueError, match=f"coverage={value} must be from 0 to 1"):
            curve.threshold_for_coverage(value)

    def test_at(self, curve):
        assert curve.at(0.75) == pytest.approx((0.6, 1 / 3))
        # Between two thresholds no further pattern is answered.
        assert curve.at(0.61) == curve.at(0.75)
        assert curve.at(0) == pytest.approx((1, 0.4))
        coverage, risk = curve.at(0.95)
        assert coverage == 0 and np.isnan(risk)


def test_area(curve, many):
    trapezoids = 0.4 * (0 + 1 / 3) / 2 + 0.2 * (1 / 3 + 1 / 4) / 2 + 0.2 * (1 / 4 + 2 / 5) / 2
    assert curve.area() == pytest.approx(trapezoids)
    # The risk is half of the coverage.
    assert RiskCoverage.from_scores(*many).area() == pytest.approx(0.25, abs=0.01)


class TestJSON:
    def test_written_and_read(self, many):
        curve = RiskCoverage.from_scores(*many)
        written = json.loads(json.dumps(curve.to_dict()))
        read = RiskCoverage.from_dict(written)
        assert read.thresholds.tolist() == curve.thresholds.tolist()
        for name in ("coverage", "risk", "n_accepted"):
            assert getattr(read, name) == pytest.approx(getattr(curve, name), abs=1e-6)
        assert read.n == 20_000
        assert read.to_dict() == written
        for coverage in (1 / 3, 0.5, 1):
            threshold = curve.threshold_for_coverage(coverage)
            assert read.threshold_for_coverage(coverage) == threshold
            # What is answered by the stored threshold is what the curve says.
            answered = (many[0] >= threshold).mean()
            assert answered == pytest.approx(read.at(threshold)[0], abs=1e-6)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"risk": [0, 0]}, "one value of each for every threshold"),
            ({"thresholds": [], "coverage": [], "risk": [], "n_accepted": []}, "one threshold"),
            ({"thresholds": 0.5}, "one value of each"),
            ({"thresholds": [0.5, 0.6, 0.7, 0.8]}, "thresholds must be descending"),
            ({"thresholds": [0.9, 0.75, 0.75, 0.5]}, "thresholds must be descending"),
            ({"thresholds": [1.1, 0.75, 0.6, 0.5]}, "thresholds has 1.1, but must be from 0 to 1"),
            ({"coverage": [0.5, 0.4, 0.8, 1]}, "coverage must not descend"),
            ({"risk": [0, 0.1, float("nan"), 0.3]}, "risk has nan"),
            ({"risk": [0, 0.1, "much", 0.3]}, "lists of numbers: could not convert"),
            ({"risk": [0, 0.1, {}, 0.3]}, "lists of numbers"),
            ({"n_accepted": [1, 3, 4, 6]}, "n_accepted has 6.0, but must be from 0 to 5"),
            ({"n": 0}, "n=0 must be an integer of at least 1"),
            ({"n": "5"}, "n='5' must be an integer"),
        ],
    )
    def test_what_is_no_curve(self, curve, change, message):
        with pytest.raises(ValueError, match=message):
            RiskCoverage.from_dict(curve.to_dict() | change)

    def test_missing(self, curve):
        values = curve.to_dict()
        del values["risk"]
        with pytest.raises(ValueError, match="must have risk, but has only thresholds, coverage"):
            RiskCoverage.from_dict(values)

    def test_checked_where_it_is_made_too(self, curve):
        with pytest.raises(ValueError, match="risk has 2.0"):
            replace(curve, risk=np.array([0, 0, 0, 2.0]))
