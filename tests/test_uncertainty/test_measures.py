import numpy as np
import pytest

from kikuchipy_cnn.uncertainty.measures import (
    FeatureDistance,
    energy,
    logit_summaries,
    mutual_information,
    spread,
)


def test_energy():
    assert energy(np.array([[0.0, 0.0], [3.0, -50.0]])) == pytest.approx([np.log(2), 3])


def test_energy_of_large_logits_is_finite():
    assert energy(np.array([[1000.0, 0.0]])) == pytest.approx([1000])


def test_logit_summaries():
    summaries = logit_summaries(np.array([[1.0, 4.0, 2.0]]))
    total = np.exp([1, 4, 2]).sum()
    assert summaries[0] == pytest.approx([np.log(total), 4, 2, np.exp(4) / total])


class TestEnsembleMeasures:
    agree = np.array([[[0.7, 0.3]], [[0.7, 0.3]]])
    oppose = np.array([[[1.0, 0.0]], [[0.0, 1.0]]])

    def test_mutual_information_is_that_of_disagreement(self):
        assert mutual_information(self.agree) == pytest.approx([0])
        assert mutual_information(self.oppose) == pytest.approx([1])

    def test_doubt_of_all_is_not_disagreement(self):
        assert mutual_information(np.full((3, 1, 4), 0.25)) == pytest.approx([0])

    def test_mutual_information_by_hand(self):
        members = np.array([[[0.9, 0.1]], [[0.5, 0.5]]])

        def entropy(p):
            return -(p * np.log2(p) + (1 - p) * np.log2(1 - p))

        expected = entropy(0.7) - (entropy(0.9) + entropy(0.5)) / 2
        assert mutual_information(members) == pytest.approx([expected])

    def test_spread_is_of_the_winner_of_the_mean(self):
        members = np.array([[[0.6, 0.4, 0.0]], [[0.2, 0.5, 0.3]]])
        # 0.4 against 0.45: the second wins.
        assert spread(members) == pytest.approx([0.05])
        assert spread(self.agree) == pytest.approx([0])


class TestFeatureDistance:
    @pytest.fixture
    def distance(self, rng):
        labels = np.repeat([0, 1], 500)
        features = rng.normal(size=(1000, 3)) * (1, 1, 0.1)
        features[labels == 1, 0] += 10
        return FeatureDistance.fit(features, labels)

    def test_classes_are_close_and_others_far(self, distance):
        at_classes = distance(np.array([[0, 0, 0], [10, 0, 0]]), relative=False)
        between, beside = distance(np.array([[5, 0, 0], [0, 0, 1]]), relative=False)
        assert at_classes == pytest.approx([0, 0], abs=0.2)
        # Five and ten standard deviations away.
        assert between == pytest.approx(-25, rel=0.2)
        assert beside == pytest.approx(-100, rel=0.2)

    def test_relative_distance_leaves_out_what_is_far_from_all(self, distance):
        _, beside = distance(np.array([[0, 0, 0], [0, 0, 1]]), relative=True)
        assert abs(beside) < 10
