import numpy as np
import pytest
from kikuchipy.signals import EBSD, LazyEBSD

from kikuchipy_cnn import PatternTransform
from kikuchipy_cnn.training.map_sample import MapSample, cells_of, hold_out, spread_out

TRANSFORM = PatternTransform(size=32)


def grid(rows, columns):
    return np.stack(np.divmod(np.arange(rows * columns), columns), axis=1)


def numbered(rng, *shape):
    """Patterns of noise."""
    return rng.integers(0, 255, (*shape, 40, 40)).astype(np.uint8)


def read(signals, n, rng, masks=None, **options):
    masks = [None] * len(signals) if masks is None else masks
    return MapSample.read(signals, masks, TRANSFORM, n, rng, show_progressbar=False, **options)


class TestCells:
    def test_square_blocks(self):
        cells = cells_of(grid(20, 20), 4).reshape(20, 20)
        assert cells.max() == 3
        for quarter in (cells[:10, :10], cells[:10, 10:], cells[10:, :10], cells[10:, 10:]):
            assert len(np.unique(quarter)) == 1

    def test_no_more_than_asked_for(self, rng):
        positions = rng.integers(0, 1000, (500, 2))
        for most in (1, 7, 64, 499):
            n = cells_of(positions, most).max() + 1
            assert most / 2 <= n <= most

    def test_few_positions_have_a_cell_each(self):
        assert sorted(cells_of(grid(3, 4) + 100, 64).tolist()) == list(range(12))

    def test_line(self):
        cells = cells_of(grid(1, 64), 8)
        assert cells.max() == 7
        assert np.bincount(cells).tolist() == [8] * 8


class TestSpread:
    def test_one_of_each_part(self, rng):
        positions = grid(40, 40)
        chosen = spread_out(positions, 16, rng)
        assert len(chosen) == 16
        # By chance ten parts would have one.
        assert len(np.unique(positions[chosen] // 10, axis=0)) >= 12
        assert (np.diff(chosen) > 0).all()

    def test_where_points_crowd(self, rng):
        """The few far away are not drowned by the many."""
        positions = np.concatenate([grid(30, 30), [[500, 500], [500, 0], [0, 500]]])
        chosen = spread_out(positions, 12, rng)
        assert set(chosen.tolist()) >= {900, 901, 902}
        assert len(chosen) == 12

    def test_all(self, rng):
        assert spread_out(grid(2, 3), 6, rng).tolist() == list(range(6))


class TestHoldOut:
    def test_blocks_are_not_divided(self, rng):
        blocks = cells_of(grid(24, 24), 64)
        chosen = hold_out(blocks, 0.25, rng)
        assert not set(blocks[chosen].tolist()) & set(blocks[~chosen].tolist())
        assert 0.25 <= chosen.mean() < 0.27

    def test_something_is_left(self, rng):
        blocks = np.array([0, 0, 0, 1])
        for share in (0.01, 0.99):
            assert len(set(blocks[hold_out(blocks, share, rng)].tolist())) == 1

    def test_one_block(self, rng):
        with pytest.raises(ValueError, match=r"5 pattern\(s\) lie in one block.*larger map"):
            hold_out(np.zeros(5, int), 0.5, rng)


class TestRead:
    def test_patterns_and_places_belong_together(self, rng):
        data = numbered(rng, 6, 5)
        expected, _ = TRANSFORM(data.reshape(-1, 40, 40))
        for signal in (EBSD(data), LazyEBSD(data)):
            sample = read([signal], 10, np.random.default_rng(3))
            assert len(sample) == 10
            index = sample.positions @ (5, 1)
            np.testing.assert_array_equal(sample.images, expected[index])
            assert len(set(index.tolist())) == 10

    def test_mask(self, rng):
        mask = np.ones((6, 5), bool)
        mask[2:4] = False
        sample = read([EBSD(numbered(rng, 6, 5))], 100, rng, [mask])
        assert len(sample) == 10
        assert set(sample.positions[:, 0].tolist()) == {2, 3}

    def test_constant_patterns_are_left_out(self, rng):
        data = numbered(rng, 6, 5)
        data[1, 2] = 7
        with pytest.warns(UserWarning, match="1 of 30 patterns are constant"):
            sample = read([EBSD(data)], 100, rng)
        assert [1, 2] not in sample.positions.tolist()
        assert len(sample) == len(sample.images) == 29

    def test_several_maps_alike(self, rng):
        signals = [EBSD(numbered(rng, *shape)) for shape in ((6, 6), (30,), (2, 2))]
        sample = read(signals, 24, rng)
        assert len(sample) == 24
        # The smallest has four, and the others give the rest.
        starts = np.digitize(sample.positions[:, 0], [36, 67])
        assert np.bincount(starts).tolist() == [10, 10, 4]
        assert len(np.unique(sample.positions, axis=0)) == 24

    def test_many_points(self, rng, monkeypatch):
        """Not all of a large map need be sorted."""
        from kikuchipy_cnn.training import map_sample

        sizes = []
        spread = map_sample.spread_out
        monkeypatch.setattr(
            map_sample, "spread_out", lambda p, *rest: sizes.append(len(p)) or spread(p, *rest)
        )
        positions = grid(100, 100)
        chosen = map_sample._sample(positions, 4, rng)
        assert sizes == [256]
        assert len(set(chosen.tolist())) == 4

    @pytest.mark.parametrize(
        "shape, mask, n, match",
        [
            ((2, 2, 2), None, 10, "3 navigation dimensions; a map has at most 2"),
            ((2, 3), np.zeros((3, 2), bool), 10, r"shape \(3, 2\).*\(2, 3\) and bool are needed"),
            ((2, 3), np.zeros((2, 3)), 10, "data type float64"),
            ((2, 3), np.ones((2, 3), bool), 10, "all True"),
            ((2, 3), None, 0, r"0 pattern\(s\) of 1 maps"),
        ],
    )
    def test_impossible(self, rng, shape, mask, n, match):
        with pytest.raises(ValueError, match=match):
            read([EBSD(numbered(rng, *shape))], n, rng, [mask])
