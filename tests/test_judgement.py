"""What becomes of the outputs of a model: pooled, weighted, refused."""

from dataclasses import replace

import kikuchipy as kp
import numpy as np
import pytest

from kikuchipy_cnn import classify_space_group
from kikuchipy_cnn.hierarchy import resolved_map
from kikuchipy_cnn.inference import Prediction
from kikuchipy_cnn.judgement import answer_limits, judge
from kikuchipy_cnn.models import Ensemble
from kikuchipy_cnn.models.bundle import Outputs
from kikuchipy_cnn.uncertainty import Detector, Rejection, RejectReason, RiskCoverage
from kikuchipy_cnn.uncertainty.rejection import Limits


@pytest.fixture(scope="module")
def nickel():
    return kp.data.nickel_ebsd_small()


def rejection(threshold):
    """Risk of a tenth below a confidence of 0.5, and none above."""
    confidence = np.linspace(0.0, 1, 2001)
    wrong = (confidence < 0.5) & (np.arange(2001) % 5 == 0)
    limits = Limits(threshold, 0.5)
    return Rejection(RiskCoverage.from_scores(confidence, wrong), limits, "made up")


def prediction(probabilities, kinds=None, valid=None):
    probabilities = np.array(probabilities, np.float32)
    valid = np.ones(len(probabilities), bool) if valid is None else np.array(valid)
    probabilities[~valid] = np.nan
    kinds = None if kinds is None else np.array(kinds, np.float32)
    return Prediction(Outputs(probabilities, kinds), valid)


class TestJudge:
    probabilities = [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]
    kinds = [[1.0, 0.0, 0.0], [0.7, 0.2, 0.1], [0.3, 0.6, 0.1]]
    used = np.ones(3, bool)

    def test_confidence_is_that_both_hold(self):
        judgement = judge(
            prediction(self.probabilities, self.kinds), self.used, limits=Limits(0.45, 0.5)
        )
        assert judgement.properties["confidence"] == pytest.approx([0.9, 0.42, 0.24])
        assert judgement.properties["known_phase"] == pytest.approx([1, 0.7, 0.3])
        assert judgement.properties["no_pattern"] == pytest.approx([0, 0.1, 0.1])
        assert judgement.reasons.tolist() == [
            RejectReason.INDEXED,
            RejectReason.DOUBTFUL,
            RejectReason.OUTSIDE_CLASSES,
        ]
        assert judgement.indexed.tolist() == [True, False, False]

    def test_without_a_threshold_all_valid_ones_are_indexed(self):
        judgement = judge(
            prediction(self.probabilities, self.kinds, [True, False, True]),
            self.used,
            limits=None,
        )
        assert judgement.reasons.tolist() == [0, RejectReason.INVALID, 0]
        assert judgement.properties["confidence"][1] == 0

    def test_prior_is_weighed_in(self):
        prior = np.array([[0.1, 0.9]])
        judgement = judge(
            prediction(self.probabilities, valid=[True, True, False]),
            self.used,
            limits=None,
            prior=prior,
        )
        assert judgement.probabilities[0] == pytest.approx([0.5, 0.5])
        assert judgement.properties["evidence_ratio"] == pytest.approx([0.36, 0.84, 0])
        assert judgement.properties["confidence"][1] == pytest.approx(0.36 / 0.42)

    def test_ensemble_properties(self):
        outputs = Outputs(
            np.array(self.probabilities, np.float32),
            None,
            np.array([0.1, 0.2, np.nan], np.float32),
            np.array([0.0, 0.3, np.nan], np.float32),
        )
        judgement = judge(Prediction(outputs, self.used), self.used, limits=None)
        assert judgement.properties["mutual_information"] == pytest.approx([0.1, 0.2, 0])
        assert judgement.properties["spread"] == pytest.approx([0, 0.3, 0])


class TestLimits:
    def test_default_and_risk(self, tiny_bundle):
        model = replace(tiny_bundle, rejection=rejection(0.2))
        assert answer_limits(model, None) == (0.2, 0.5)
        some, less = (answer_limits(model, risk).confidence for risk in (0.05, 0.01))
        assert 0.2 < some < less <= 0.5

    def test_none(self, tiny_bundle):
        assert answer_limits(tiny_bundle, None) is None
        with pytest.raises(ValueError, match="'tiny' does not know its risk.*fit_rejection"):
            answer_limits(tiny_bundle, 0.01)

    def test_of_members(self, tiny_bundle):
        first, second = (replace(tiny_bundle, rejection=rejection(x)) for x in (0.2, 0.6))
        limits = answer_limits(Ensemble("two", (first, second)), None)
        assert limits == pytest.approx((0.4, 0.5))
        assert answer_limits(Ensemble("two", (first, tiny_bundle)), None) is None


@pytest.fixture(scope="module")
def model(tiny_bundle):
    """Calls every second image, by one of its features, unknown."""
    images, _ = tiny_bundle.transform(kp.data.nickel_ebsd_small().data.reshape(-1, 60, 60))
    features, _ = tiny_bundle.features_and_logits(images)
    middle = np.median(features[:, 0])
    n = features.shape[1] + 4
    kernel = np.zeros((n, 3))
    kernel[0, 0] = 1e6
    detector = Detector(
        np.r_[middle - 1e-7, np.zeros(n - 1)], np.ones(n), kernel, np.array([0.0, 1, 0])
    )
    return replace(tiny_bundle, detector=detector, rejection=rejection(0.2))


class TestClassify:
    def test_unknown_patterns_are_not_indexed(self, nickel, model):
        xmap = classify_space_group(nickel, model, show_progressbar=False)
        unknown = xmap.known_phase < 0.5
        assert 2 < unknown.sum() < 7
        assert (xmap.reject_reason[unknown] == RejectReason.OUTSIDE_CLASSES).all()
        assert (xmap.phase_id[unknown] == -1).all()
        assert (xmap.phase_id[~unknown] != -1).all()
        assert (xmap.scores[unknown] == 0).all()
        # What the network says is kept.
        assert (xmap.p_225[unknown] > 0).all()

    def test_no_rejection(self, nickel, model):
        xmap = classify_space_group(nickel, model, reject=False, show_progressbar=False)
        assert xmap.is_indexed.all()
        assert not xmap.reject_reason.any()

    def test_printed(self, nickel, model, capsys):
        classify_space_group(nickel, model, show_progressbar=False)
        printed = capsys.readouterr().out
        assert "Rejection: known phase below 0.500, confidence below 0.200" in printed
        assert "outside the classes" in printed
        assert "Prior" not in printed

    def test_risk(self, nickel, model, capsys):
        classify_space_group(nickel, model, max_risk=0.01, show_progressbar=False)
        limit = model.rejection.limits_for(0.01).confidence
        assert f"confidence below {limit:.3f}" in capsys.readouterr().out

    def test_risk_without_a_curve(self, nickel, tiny_bundle):
        with pytest.raises(ValueError, match=r"max_risk=0\.01"):
            classify_space_group(nickel, tiny_bundle, max_risk=0.01)

    def test_prior(self, nickel, tiny_bundle, capsys):
        xmap = classify_space_group(nickel, tiny_bundle, prior=[229], show_progressbar=False)
        assert (xmap.phase_id == 229).all()
        plain = classify_space_group(nickel, tiny_bundle, show_progressbar=False)
        assert xmap.evidence_ratio == pytest.approx(3 * plain.p_229, rel=1e-4)
        assert "Prior: given" in capsys.readouterr().out

    def test_prior_of_each_point(self, nickel, tiny_bundle):
        mask = np.zeros((3, 3), bool)
        mask[0, 1] = True
        prior = np.zeros((3, 3, 3))
        prior[:, :2, 0] = prior[:, 2, 2] = 1
        xmap = classify_space_group(
            nickel, tiny_bundle, prior=prior, navigation_mask=mask, show_progressbar=False
        )
        assert xmap.phase_id.tolist() == [221, 229, 221, 221, 229, 221, 221, 229]

    def test_contradicted_prior(self, nickel, tiny_bundle):
        model = replace(tiny_bundle, temperature=1e-3)
        plain = classify_space_group(nickel, model, show_progressbar=False)
        never = ({221, 225, 229} - set(plain.phase_id.tolist())).pop()
        with pytest.warns(UserWarning, match="9 of 9 patterns contradict the prior"):
            classify_space_group(nickel, model, prior=[never], show_progressbar=False)

    def test_unknown_label(self, nickel, tiny_bundle):
        with pytest.raises(ValueError, match="227"):
            classify_space_group(nickel, tiny_bundle, prior=[227])

    def test_pooling(self, nickel, tiny_bundle, capsys):
        row = np.repeat(nickel.data[:1, :1], 3, axis=1)
        patterns = np.concatenate([row, np.rot90(row, 1, (2, 3))])
        noise = np.random.default_rng(0).normal(0, 8, patterns.shape)
        signal = kp.signals.EBSD((patterns + noise).clip(0, 255).astype(np.uint8))
        xmap = classify_space_group(signal, tiny_bundle, pooling_radius=1, show_progressbar=False)
        plain = classify_space_group(signal, tiny_bundle, show_progressbar=False)
        assert xmap.n_pooled.tolist() == [2, 3, 2, 2, 3, 2]
        assert xmap.p_225[1] == pytest.approx(plain.p_225[:3].mean(), rel=1e-4)
        assert "Pooling: neighbours of the same grain" in capsys.readouterr().out
        assert "n_pooled" not in plain.prop

    def test_negative_radius(self, nickel, tiny_bundle):
        with pytest.raises(ValueError, match="pooling_radius"):
            classify_space_group(nickel, tiny_bundle, pooling_radius=-1)

    def test_list_of_models(self, nickel, tiny_bundle):
        other = replace(tiny_bundle, temperature=0.1)
        xmap = classify_space_group(nickel, [tiny_bundle, other], show_progressbar=False)
        assert (xmap.spread > 0).all()
        each = [
            classify_space_group(nickel, model, show_progressbar=False).p_225
            for model in (tiny_bundle, other)
        ]
        assert xmap.p_225 == pytest.approx(np.mean(each, axis=0), rel=1e-4)

    def test_single_pattern(self, nickel, tiny_bundle):
        signal = kp.signals.EBSD(nickel.data[0, 0])
        xmap = classify_space_group(
            signal,
            [tiny_bundle, tiny_bundle],
            prior=[221, 225],
            pooling_radius=1,
            show_progressbar=False,
        )
        assert xmap.size == 1
        assert xmap.n_pooled.tolist() == [1]
        assert xmap.spread == pytest.approx([0], abs=1e-6)

    def test_file_keeps_reasons(self, nickel, model, tmp_path):
        from kikuchipy_cnn import io

        xmap = classify_space_group(nickel, model, show_progressbar=False)
        io.save(tmp_path / "map.h5", xmap)
        again = io.load(tmp_path / "map.h5")
        assert again.reject_reason.tolist() == xmap.reject_reason.tolist()
        assert again.confidence == pytest.approx(xmap.confidence)


class TestResolved:
    def test_doubtful_points_get_a_coarser_answer(self, tiny_bundle):
        """What is too doubtful for a space group may still be sure of its lattice."""
        from kikuchipy_cnn import SpaceGroupClasses
        from kikuchipy_cnn.crystal_map import probabilities_to_crystal_map

        classes = SpaceGroupClasses((221, 225, 227))
        reasons = np.array([RejectReason.DOUBTFUL, RejectReason.OUTSIDE_CLASSES])
        xmap = probabilities_to_crystal_map(
            np.array([[0.02, 0.5, 0.48]] * 2),
            classes,
            navigation_shape=(2,),
            indexed=np.zeros(2, bool),
            properties={"reject_reason": reasons},
        )
        resolved = resolved_map(xmap, confidence=0.9)
        assert resolved.phases[int(resolved.phase_id[0])].name == "F lattice"
        assert resolved.phase_id[1] == -1
        assert resolved.reject_reason.tolist() == [0, RejectReason.OUTSIDE_CLASSES]
