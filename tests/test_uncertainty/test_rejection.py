import numpy as np
import pytest

from kikuchipy_cnn.uncertainty import Detector, Rejection, RejectReason, RiskCoverage
from kikuchipy_cnn.uncertainty.rejection import Limits, reject_reasons


@pytest.fixture(scope="module")
def examples():
    """Features of three kinds that overlap little, and logits that say nothing."""
    rng = np.random.default_rng(3)
    kinds = np.repeat([0, 1, 2], (600, 300, 60))
    features = rng.normal(size=(len(kinds), 5))
    features[np.arange(len(kinds)), kinds] += 4
    return features, np.zeros((len(kinds), 3)), kinds


class TestDetector:
    def test_expected_shares(self):
        """What says nothing of an image leaves what is expected."""
        nothing = Detector(np.zeros(5), np.ones(5), np.zeros((5, 3)), np.zeros(3))
        assert nothing(np.zeros((1, 1)), np.zeros((1, 2)))[0] == pytest.approx([0.9, 0.05, 0.05])

    def test_tells_kinds_apart(self, examples):
        features, logits, kinds = examples
        found = Detector.fit(features[::2], logits[::2], kinds[::2])(features[1::2], logits[1::2])
        assert found.sum(axis=1) == pytest.approx(np.ones(len(found)))
        for kind in range(3):
            own = kinds[1::2] == kind
            # Known phases are expected, so that others must be clear to be believed.
            assert (found.argmax(axis=1) == kind)[own].mean() > 0.65
            assert found[own, kind].mean() > 2 * found[~own, kind].mean()

    def test_looks_at_logits_too(self, examples):
        _, _, kinds = examples
        rng = np.random.default_rng(0)
        nothing = rng.normal(size=(len(kinds), 2))
        # Known phases have one large logit, others none, and images without a pattern two.
        logits = rng.normal(size=(len(kinds), 3))
        logits[kinds == 0, 0] += 20
        logits[kinds == 2, :2] += 20
        found = Detector.fit(nothing, logits, kinds)(nothing, logits)
        assert (found.argmax(axis=1) == kinds).mean() > 0.9

    def test_round_trip(self, examples):
        features, logits, kinds = examples
        detector = Detector.fit(features, logits, kinds)
        again = Detector.from_arrays(detector.to_arrays())
        assert (again(features, logits) == detector(features, logits)).all()

    def test_missing_kind(self, examples):
        features, logits, kinds = examples
        with pytest.raises(ValueError, match="no example of no pattern"):
            Detector.fit(features, logits, np.minimum(kinds, 1))

    def test_arrays_that_do_not_fit(self):
        with pytest.raises(ValueError, match="kernel of a detector"):
            Detector(np.zeros(4), np.ones(4), np.zeros((4, 2)), np.zeros(3))
        with pytest.raises(ValueError, match="bias of a detector"):
            Detector(np.zeros(4), np.ones(4), np.zeros((4, 3)), np.array([0, np.nan, 0]))


class TestReasons:
    kinds = np.array([[0.8, 0.1, 0.1], [0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7]])
    winner = np.array([0.9, 0.5, 0.9, 0.9])
    valid = np.ones(4, bool)

    def test_each(self):
        confidence, reasons = reject_reasons(self.winner, self.kinds, self.valid, Limits(0.5, 0.3))
        assert confidence == pytest.approx([0.72, 0.4, 0.18, 0.09])
        assert reasons.tolist() == [
            RejectReason.INDEXED,
            RejectReason.DOUBTFUL,
            RejectReason.OUTSIDE_CLASSES,
            RejectReason.NO_DIFFRACTION,
        ]

    def test_each_limit_by_itself(self):
        _, reasons = reject_reasons(self.winner, self.kinds, self.valid, Limits(0.5, 0.0))
        assert reasons.tolist() == [0, *[RejectReason.DOUBTFUL] * 3]
        _, reasons = reject_reasons(self.winner, self.kinds, self.valid, Limits(0.0, 0.15))
        assert reasons.tolist() == [0, 0, 0, RejectReason.NO_DIFFRACTION]

    def test_what_reaches_a_limit_is_answered(self):
        limits = Limits(0.09, 0.1)
        assert not reject_reasons(self.winner, self.kinds, self.valid, limits)[1].any()

    def test_invalid(self):
        _, reasons = reject_reasons(np.ones(4), None, np.array([True, False, True, True]), Limits())
        assert reasons.tolist() == [0, RejectReason.INVALID, 0, 0]

    def test_without_a_detector_all_is_doubt(self):
        confidence, reasons = reject_reasons(
            np.array([0.1, 0.9]), None, np.ones(2, bool), Limits(0.5, 0.9)
        )
        assert confidence.tolist() == [0.1, 0.9]
        assert reasons.tolist() == [RejectReason.DOUBTFUL, RejectReason.INDEXED]

    def test_meanings_differ(self):
        assert len({reason.meaning for reason in RejectReason}) == 5


class TestRejection:
    @pytest.fixture
    def rejection(self):
        confidence = np.linspace(0.001, 1, 1000)
        curve = RiskCoverage.from_scores(confidence, confidence < 0.2)
        return Rejection(curve, Limits(0.1, 0.4), "made up")

    def test_limits(self, rejection):
        assert rejection.limits_for(None) == (0.1, 0.4)
        # All above 0.2 are right, and 5 % of all may be wrong.
        limits = rejection.limits_for(0.05)
        assert 0.15 < limits.confidence < 0.2
        assert limits.known_phase == 0.4
        assert rejection.limits_for(0.01).confidence > limits.confidence

    def test_risk_that_cannot_be_had(self, rejection):
        with pytest.raises(ValueError, match="cannot be had"):
            rejection.limits_for(0)

    def test_round_trip(self, rejection):
        again = Rejection.from_dict(rejection.to_dict())
        assert again.to_dict() == rejection.to_dict()

    def test_limit_out_of_range(self, rejection):
        with pytest.raises(ValueError, match="known_phase=1.5"):
            Rejection(rejection.curve, Limits(0.1, 1.5), "")
