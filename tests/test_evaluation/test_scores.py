import numpy as np
import pytest

from kikuchipy_cnn.evaluation import wilson_interval


def test_interval():
    # By the formula of Wilson, with the quantile 1.95996 of the normal distribution.
    z = 1.959964
    for k, n in ((7, 10), (0, 5), (5, 5)):
        p = k / n
        centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
        assert wilson_interval(k, n) == pytest.approx((centre - half, centre + half), abs=1e-6)
    assert wilson_interval(0, 0) == (0, 1)
