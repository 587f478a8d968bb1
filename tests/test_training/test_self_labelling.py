import numpy as np
import pytest

from kikuchipy_cnn.training.self_labelling import (
    agreed_classes,
    agreement_beyond_chance,
    choose_members,
    folds_of,
    member_agreements,
    select_self_labels,
    total_variation,
)


def probabilities(classes, sure=0.8):
    """As sure of the given classes, of which there are three."""
    rows = np.full((len(classes), 3), (1 - sure) / 2)
    rows[np.arange(len(classes)), classes] = sure
    return rows


class TestMembers:
    def test_the_odd_one_out(self):
        each = np.stack([probabilities(i) for i in ([0, 1, 2, 0], [0, 1, 2, 0], [0, 2, 1, 1])])
        agreements = member_agreements(each)
        np.testing.assert_allclose(agreements[:2], 1)
        assert agreements[2] == pytest.approx(0.25)
        assert choose_members(agreements, 0.1).tolist() == [0, 1]
        assert choose_members(agreements, 0.75).tolist() == [0, 1, 2]

    def test_where_the_others_are_sure_counts_more(self):
        others = np.concatenate([probabilities([0], sure=0.9), probabilities([0], sure=0.45)])
        own = probabilities([0, 1])
        assert member_agreements(np.stack([own, others]))[0] == pytest.approx(0.9 / 1.35)

    def test_at_least_two(self):
        assert choose_members(np.array([0.2, 0.9, 0.5, 0.1]), 0.01).tolist() == [1, 2]


class TestAgreement:
    def test_all_must_agree_and_be_sure_in_the_mean(self):
        first = np.concatenate([probabilities([0, 1, 2], 0.95), probabilities([0], 0.8)])
        second = np.concatenate([probabilities([0, 2, 2], 0.95), probabilities([0], 0.95)])
        winners, agreed = agreed_classes(np.stack([first, second]), confidence=0.9)
        assert winners[[0, 2, 3]].tolist() == [0, 2, 0]
        assert agreed.tolist() == [True, False, True, False]

    def test_one_sure_member_is_not_enough(self):
        both = np.array([[[0.95, 0.05, 0.0]], [[0.4, 0.45, 0.15]]])
        assert not agreed_classes(both, confidence=0.6)[1].any()
        assert agreed_classes(both[[0, 0]], confidence=0.6)[1].all()

    def test_cohens_example(self):
        """Counts of two raters; agreement 0.7, by chance 0.5."""
        first = np.repeat([0, 0, 1, 1], [20, 5, 10, 15])
        second = np.repeat([0, 1, 0, 1], [20, 5, 10, 15])
        assert agreement_beyond_chance(np.stack([first, second]), 2) == pytest.approx(0.4)

    def test_collapse_is_no_agreement(self):
        assert agreement_beyond_chance(np.zeros((2, 10), int), 3) == 0
        assert agreement_beyond_chance(np.tile(np.arange(10) % 3, (3, 1)), 3) == pytest.approx(1)

    def test_mean_over_pairs(self):
        half = np.repeat([0, 1], 5)
        predicted = np.stack([half, half, np.tile([0, 1], 5)])
        pair = agreement_beyond_chance(predicted[1:], 2)
        assert agreement_beyond_chance(predicted, 2) == pytest.approx((1 + 2 * pair) / 3)

    def test_total_variation(self):
        assert total_variation([0.5, 0.5, 0], [0.5, 0.2, 0.3]) == pytest.approx(0.3)
        assert total_variation([1, 0], [0, 1]) == 1


class TestSelection:
    def test_balanced(self, rng):
        winners = np.repeat([0, 1, 2], [70, 25, 5])
        agreed = np.ones(100, bool)
        agreed[70:80] = False
        positions = np.stack(np.divmod(np.arange(100), 10), axis=1)
        chosen = select_self_labels(winners, agreed, positions, 20, 6, rng)
        # Of the second class 15 are agreed on, and of the third too few.
        assert np.bincount(winners[chosen], minlength=3).tolist() == [20, 15, 0]
        assert agreed[chosen].all()
        assert len(set(chosen.tolist())) == len(chosen)

    def test_from_all_over_the_map(self, rng):
        positions = np.stack(np.divmod(np.arange(1600), 40), axis=1)
        chosen = select_self_labels(np.zeros(1600, int), np.ones(1600, bool), positions, 16, 1, rng)
        cells = positions[chosen] // 10
        assert len(np.unique(cells, axis=0)) >= 12

    def test_nothing_agreed(self, rng):
        nothing = np.zeros(5, bool)
        positions = np.zeros((5, 2), int)
        assert len(select_self_labels(np.zeros(5, int), nothing, positions, 5, 1, rng)) == 0

    def test_folds_keep_blocks_together(self, rng):
        blocks = np.repeat([3, 7, 8, 20, 21], 4)
        folds = folds_of(blocks, 2, rng)
        by_block = folds.reshape(5, 4)
        assert (by_block == by_block[:, :1]).all()
        assert sorted(np.bincount(by_block[:, 0]).tolist()) == [2, 3]
