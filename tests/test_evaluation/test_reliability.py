import csv

import numpy as np
import pytest

from kikuchipy_cnn.evaluation import (
    Reliability,
    expected_calibration_error,
    reliability,
    reliability_by_class,
    wilson_interval,
)

CONFIDENCE = np.array([0.1, 0.3, 0.5, 0.9, 0.8, 1])
RIGHT = np.array([False, True, False, True, True, False])


class TestBins:
    def test_known_values(self):
        # The limits 0.25, 0.5 and 0.75 are in the lower bin.
        bins = reliability(CONFIDENCE, RIGHT, n_bins=4)
        assert bins.count.tolist() == [1, 2, 0, 3]
        np.testing.assert_allclose(bins.confidence, [0.1, 0.4, np.nan, 0.9])
        np.testing.assert_allclose(bins.accuracy, [0, 0.5, np.nan, 2 / 3])
        limits = [wilson_interval(k, n) for k, n in ((0, 1), (1, 2), (0, 0), (2, 3))]
        np.testing.assert_allclose(np.transpose([bins.low, bins.high]), limits)
        assert bins.edges.tolist() == [0, 0.25, 0.5, 0.75, 1]
        assert bins.error == pytest.approx((0.1 * 1 + 0.1 * 2 + (0.9 - 2 / 3) * 3) / 6)
        assert repr(bins) == "Reliability(6 patterns, calibration error 0.1667)"

    def test_ends_are_in_bins(self):
        assert reliability([0, 1], [True, True], n_bins=3).count.tolist() == [1, 0, 1]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (([0.5, 0.5], [True]), r"shape \(2,\) and right of shape \(1,\)"),
            (([[0.5]], [[True]]), "must have one value for each pattern"),
            (([], np.array([], bool)), "are of no patterns"),
            (([0.5, np.nan], [True, True]), "nan of pattern 1, .* Leave out"),
            (([-0.1], [True]), "-0.1 of pattern 0"),
            (([0.5], [0.7]), "right is of type float64"),
            (([0.5], [True], 0), "n_bins=0 must be an integer of at least 1"),
        ],
    )
    def test_what_cannot_be_judged(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            reliability(*arguments)


class TestError:
    def test_known_values(self):
        right = np.repeat([True, False], [60, 40])
        assert expected_calibration_error(np.full(100, 0.6), right) == pytest.approx(0)
        assert expected_calibration_error(np.full(100, 0.9), right) == pytest.approx(0.3)
        # In one bin, too sure and too doubtful patterns cancel.
        confidence = np.repeat([0.4, 0.9], [60, 40])
        assert expected_calibration_error(confidence, right) == pytest.approx(0.36 + 0.36)
        assert expected_calibration_error(confidence, right, 1) == pytest.approx(0)

    def test_calibrated(self):
        rng = np.random.default_rng(1)
        confidence = rng.random(100_000)
        right = rng.random(100_000) < confidence
        assert expected_calibration_error(confidence, right) < 0.01
        assert expected_calibration_error(confidence**2, right) == pytest.approx(1 / 6, abs=0.01)

    def test_sums_of_single_precision(self):
        slightly_more = np.array([1 + 2e-7], np.float32)
        assert slightly_more[0] > 1
        assert expected_calibration_error(slightly_more, [True]) == 0


class TestByClass:
    def test_of_what_was_predicted(self, make):
        predicted = [221, 221, 225, 225, 225, None]
        evaluation = make(predicted, [221, 225, 225, 221, 225, 225], ["x"] * 6)
        by_class = reliability_by_class(evaluation, n_bins=4)
        # Nothing is predicted to be 229, and the pattern without a prediction is nowhere.
        assert list(by_class) == [221, 225]
        assert by_class[221].count.tolist() == [0, 0, 2, 0]
        assert by_class[225].count.tolist() == [0, 0, 3, 0]
        assert by_class[221].accuracy[2] == 0.5
        assert by_class[225].accuracy[2] == pytest.approx(2 / 3)
        assert by_class[225].error == pytest.approx(0.75 - 2 / 3)

    def test_of_other_levels(self, make):
        assert list(reliability_by_class(make().coarser("centring"))) == ["F", "I", "P"]


def test_saved(tmp_path):
    path = tmp_path / "bins.csv"
    bins = reliability(CONFIDENCE, RIGHT, n_bins=4)
    bins.save(path)
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["patterns"] for row in rows] == ["1", "2", "0", "3"]
    assert [row["accuracy"] for row in rows] == ["0", "0.5", "", "0.666667"]
    assert (rows[1]["from"], rows[1]["to"], rows[1]["confidence"]) == ("0.25", "0.5", "0.4")
    assert float(rows[1]["accuracy low"]) == pytest.approx(wilson_interval(1, 2)[0], abs=1e-6)
    other = Reliability(*(np.ones(1) for _ in range(5)))
    with pytest.raises(FileExistsError):
        other.save(path)
    other.save(path, overwrite=True)
    assert len(path.read_text().splitlines()) == 2
