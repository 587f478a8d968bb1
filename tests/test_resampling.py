"""The compiled resize, against products with dense operators."""

import numpy as np
import pytest

from kikuchipy_cnn import _resampling


def operator(new, old):
    """Random weights in a band, as those of a resize are."""
    centres = (np.arange(old) + 0.5) * new / old - 0.5
    near = np.abs(np.arange(new)[:, None] - centres) < max(1, new / old)
    return (near * np.random.default_rng(0).uniform(0.2, 1, near.shape)).astype(np.float32)


class TestBands:
    @pytest.mark.parametrize(("new", "old"), [(20, 50), (20, 20), (20, 13), (9, 1), (1, 9)])
    def test_dense_again(self, new, old):
        dense = operator(new, old)
        first, weights = _resampling.bands(dense)
        assert weights.shape == (old, (dense > 0).sum(axis=0).max())
        found = np.zeros_like(dense)
        for pixel in range(old):
            found[first[pixel] : first[pixel] + weights.shape[1], pixel] = weights[pixel]
        np.testing.assert_array_equal(found, dense)

    def test_rounding_does_not_widen(self):
        dense = operator(20, 50)
        width = _resampling.bands(dense)[1].shape[1]
        dense[dense == 0] = 1e-12
        assert _resampling.bands(dense)[1].shape[1] == width


# Fewer columns than are turned at a time, as many, and more.
@pytest.mark.parametrize("old", [(31, 7), (33, 16), (30, 50)])
@pytest.mark.parametrize("new", [(12, 12), (9, 40)])
class TestResize:
    def test_one(self, new, old, rng):
        image = rng.normal(size=old).astype(np.float32)
        rows, columns = operator(new[0], old[0]), operator(new[1], old[1])
        found = np.full(new, np.nan, np.float32)
        _resampling.resize_one(image, _resampling.bands(rows), _resampling.bands(columns), found)
        np.testing.assert_allclose(found, rows @ image.astype(float) @ columns.T, atol=1e-4)

    def test_patterns(self, new, old, rng):
        patterns = rng.normal(size=(3, *old)).astype(np.float32)
        factor = rng.uniform(0.5, 2, old).astype(np.float32)
        unused = rng.random(old) < 0.3
        patterns[0, unused] = np.nan
        patterns[1] = 5
        rows, columns = operator(new[0], old[0]), operator(new[1], old[1])
        found, valid = np.full((3, *new), np.nan, np.float32), np.empty(3, bool)
        _resampling.resize(
            patterns,
            np.where(unused, np.float32(-1), factor),
            _resampling.bands(rows),
            _resampling.bands(columns),
            found,
            valid,
        )
        assert valid.tolist() == [True, False, True]
        expected = rows @ np.where(unused, 0, patterns * factor.astype(float)) @ columns.T
        expected[1] = 0
        np.testing.assert_allclose(found, expected, atol=1e-4)
