from dataclasses import replace

import numpy as np
import pytest

from kikuchipy_cnn import LabelClasses


@pytest.fixture
def contributions(as_attributions, rng):
    """Two patterns, two classes of each; sums 4.04 and 2.7, and 1.2 and -3.4."""
    values = rng.normal(size=(2, 2, 8, 8))
    values += (np.array([[4.04, 2.7], [1.2, -3.4]]) - values.sum(axis=(2, 3)))[..., None, None] / 64
    return as_attributions(
        values,
        explained=np.array([[0, 2], [1, 0]]),
        logits=np.array([[5.0, 1, 2], [0, 2, -2]]),
        probabilities=np.array([[0.9, 0.02, 0.08], [0.1, 0.85, 0.05]]),
        expected_logits=np.array([1.0, 0, 0.5]),
        places=((1, 2), (0, 11)),
    )


@pytest.fixture
def importance(as_attributions):
    """Two patterns of a single class."""
    return as_attributions(np.ones((2, 1, 8, 8)))


class TestSums:
    def test_errors_are_parts_of_the_logit_span(self, contributions):
        # Wanted are 5 - 1, 2 - 0.5, 2 - 0 and 0 - 1, and both spans are 4.
        expected = [[0.01, 0.3], [0.2, 0.6]]
        np.testing.assert_allclose(contributions.additivity_errors, expected, atol=1e-6)

    def test_many_values_add_up(self, as_attributions):
        """The sum of so many numbers of 32 bits would be off."""
        values = np.full((1, 1, 512, 512), np.float32(0.1))
        logits = np.array([[262144 * float(np.float32(0.1)), 0, 0]])
        attributions = as_attributions(values, logits=logits, expected_logits=np.zeros(3))
        assert attributions.additivity_errors[0, 0] < 1e-12

    def test_importance_does_not_add_up(self, importance):
        with pytest.raises(ValueError, match="Values of Grad-CAM are no contributions that add up"):
            _ = importance.additivity_errors


class TestOnPatterns:
    @pytest.mark.parametrize("shape", [(60, 60), (7, 7), (60, 100), (100, 60), (9, 7)])
    def test_sum_of_contributions_stays(self, as_attributions, rng, shape):
        attributions = as_attributions(np.zeros((2, 3, 16, 16)), shape)
        # Nothing contributes where no part of the pattern is.
        steps = (np.arange(16) + 0.5 - 8) * max(shape) / 16
        beside = [np.abs(steps) + max(shape) / 32 > n / 2 + 1e-6 for n in shape]
        values = rng.normal(size=(2, 3, 16, 16))
        values[:, :, beside[0]] = 0
        values[:, :, :, beside[1]] = 0
        assert np.abs(values.sum(axis=(2, 3))).min() > 0.1
        attributions = replace(attributions, values=values, expected_logits=np.zeros(3))
        found = attributions.on_patterns()
        assert found.shape == (2, 3, *shape)
        np.testing.assert_allclose(found.sum(axis=(2, 3)), values.sum(axis=(2, 3)), rtol=1e-5)

    @pytest.mark.parametrize("shape", [(60, 60), (7, 7), (60, 100), (100, 60)])
    def test_importance_is_averaged(self, as_attributions, shape):
        attributions = as_attributions(np.ones((2, 1, 16, 16)), shape)
        np.testing.assert_allclose(attributions.on_patterns(), np.ones((2, 1, *shape)), rtol=1e-5)
        columns = np.tile(np.arange(16.0), (2, 1, 16, 1))
        found = replace(attributions, values=columns).on_patterns()
        assert found.min() >= 0 and found.max() <= 15 and np.diff(found, axis=3).min() >= -1e-5

    def test_details(self, importance):
        with pytest.raises(ValueError, match=r"There are no details.*grad_cam\(..., guided=True\)"):
            importance.details_on_patterns()
        details = replace(importance, details=np.full((2, 1, 8, 8), -0.5)).details_on_patterns()
        np.testing.assert_allclose(details, np.full((2, 1, 60, 60), -0.5), rtol=1e-5)


class TestText:
    def test_table_of_contributions(self, contributions):
        header, *rows = contributions.table().splitlines()
        assert header.split("  ")[0] == "pattern" and header.endswith("sum of values  error / span")
        assert [" ".join(row.split()) for row in rows] == [
            "1,2 221 Pm-3m 0.900 5.00 1.00 4.04 1e-02",
            "229 Im-3m 0.080 2.00 0.50 2.70 3e-01",
            "0,11 225 Fm-3m 0.850 2.00 0.00 1.20 2e-01",
            "221 Pm-3m 0.100 0.00 1.00 -3.40 6e-01",
        ]

    def test_table_of_importance(self, importance):
        classes = LabelClasses(("Cu", "Fe", "Ni"))
        assert replace(importance, classes=classes).table() == "\n".join(
            [
                "pattern  class  probability  logit",
                "0        Cu           0.700   3.00",
                "1        Cu           0.700   3.00",
            ]
        )

    @pytest.mark.parametrize(
        ("places", "texts"),
        [(None, ["0", "1"]), (((3, 4), (0, 0)), ["3,4", "0,0"]), (((7,), (2,)), ["7", "2"])],
    )
    def test_place(self, importance, places, texts):
        attributions = replace(importance, places=places)
        assert [attributions.place_text(i) for i in range(2)] == texts

    def test_place_of_a_single_pattern(self, as_attributions):
        assert as_attributions(np.ones((1, 1, 8, 8)), places=((),)).place_text(0) == ""

    def test_length_and_representation(self, contributions):
        assert len(contributions) == 2
        assert repr(contributions) == "Attributions(DeepSHAP, 2 pattern(s), 2 class(es) of each)"
        assert contributions.predicted.tolist() == [0, 1]
