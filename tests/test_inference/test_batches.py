"""Patterns in batches: each of them once, with few copies and little read twice."""

from collections import Counter
from math import prod

import dask.array as da
import numpy as np
import pytest

from kikuchipy_cnn import PatternTransform
from kikuchipy_cnn.inference import batches, in_batches, preprocessed_batches
from kikuchipy_cnn.inference.batches import chunks_of, raw_batches

PATTERN = (4, 5)
PATTERN_BYTES = 4 * prod(PATTERN)


def numbered(shape):
    """A map whose patterns are their numbers."""
    numbers = np.arange(prod(shape), dtype=np.int32).reshape(*shape, 1, 1)
    return np.broadcast_to(numbers, (*shape, *PATTERN)).copy()


def counted(data, chunks):
    """Lazy patterns, and how often each of their chunks was computed."""
    computed = Counter()

    def count(block, block_info=None):
        if block_info:
            computed[block_info[0]["chunk-location"]] += 1
        return block

    lazy = da.from_array(data, chunks=chunks).map_blocks(count, dtype=data.dtype)
    computed.clear()
    return lazy, computed


@pytest.fixture
def limit(monkeypatch):
    """Function that sets how many patterns are read at once."""
    return lambda n: monkeypatch.setattr(batches, "CHUNK_BYTES", n * PATTERN_BYTES)


class TestRawBatches:
    @pytest.mark.parametrize("n_at_once", [1, 5, 1000])
    @pytest.mark.parametrize("share", [1.0, 0.6, 0.05])
    @pytest.mark.parametrize(
        ("shape", "chunks"),
        [
            ((), None),
            ((), ()),
            ((23,), None),
            ((23,), (1,)),
            ((23,), ((2, 9, 1, 11),)),
            ((6, 7), None),
            ((6, 7), (1, 1)),
            ((6, 7), (6, 7)),
            ((6, 7), (4, 3)),
            ((6, 7), ((1, 4, 1), (5, 2))),
            ((1, 9), (1, 2)),
        ],
    )
    def test_every_pattern_once(self, shape, chunks, share, n_at_once, limit):
        limit(n_at_once)
        data = numbered(shape)
        used = np.random.default_rng(prod(shape)).random(shape) < share
        if chunks is not None:
            # Those of the signal axes are of no matter.
            data = da.from_array(data, chunks=(*chunks, 3, 2))
        for size in (1, 4, 64):
            found = list(raw_batches(data, np.asarray(used), size))
            indices = np.concatenate([batch.indices for batch in found] or [np.zeros(0, int)])
            assert sorted(indices) == np.flatnonzero(used).tolist()
            for batch in found:
                expected = np.broadcast_to(batch.indices[:, None, None], batch.patterns.shape)
                np.testing.assert_array_equal(batch.patterns, expected)
                assert batch.patterns.shape[1:] == PATTERN
            sizes = [len(batch.indices) for batch in found]
            assert sizes[:-1] == [size] * (len(sizes) - 1)
            assert not sizes or 1 <= sizes[-1] <= size

    @pytest.mark.parametrize(("shape", "n_at_once"), [((23,), 5), ((6, 7), 42)])
    def test_order(self, shape, n_at_once, limit):
        limit(n_at_once)
        used = np.random.default_rng(0).random(shape) < 0.8
        found = np.concatenate([i.indices for i in raw_batches(numbered(shape), used, 4)])
        assert (np.diff(found) > 0).all()

    def test_nothing_used_is_not_read(self, limit):
        limit(6)
        lazy, computed = counted(numbered((8, 6)), (1, 6, *PATTERN))
        used = np.zeros((8, 6), bool)
        assert not list(raw_batches(lazy, used, 4))
        used[[2, 5]] = True
        assert len(list(raw_batches(lazy, used, 4))) == 3
        assert computed == {(2, 0, 0, 0): 1, (5, 0, 0, 0): 1}

    def test_no_copies(self, limit):
        """Batches that lie within a chunk are views of it."""
        limit(12)
        data = numbered((48,))
        used = np.ones(48, bool)
        shared = [np.shares_memory(i.patterns, data) for i in raw_batches(data, used, 4)]
        assert shared == [True] * 12
        # Chunks are of 12, so that every second batch of 8 is of two of them.
        shared = [np.shares_memory(i.patterns, data) for i in raw_batches(data, used, 8)]
        assert shared == [True, False, True] * 2

    def test_no_copy_of_a_map(self):
        data = numbered((6, 8))
        found = list(raw_batches(data, np.ones((6, 8), bool), 16))
        assert [np.shares_memory(i.patterns, data) for i in found] == [True] * 3

    def test_one_chunk_after_the_other(self, limit):
        """As many as are asked for, not all at once."""
        limit(5)
        lazy, computed = counted(numbered((20,)), (5, *PATTERN))
        found = raw_batches(lazy, np.ones(20, bool), 5)
        assert not computed
        for n in (1, 2):
            next(found)
            assert computed.total() == n
        found.close()
        assert computed.total() == 2


class TestChunks:
    @pytest.mark.parametrize("chunks", [(2, 5), (1, 1), (2, 10), ((3, 4, 3), (2, 5, 3))])
    def test_computed_once(self, chunks, limit):
        """Chunks that are not too large to be read whole."""
        limit(21)
        lazy, computed = counted(numbered((10, 10)), (*chunks, *PATTERN))
        list(raw_batches(lazy, np.ones((10, 10), bool), 8))
        assert set(computed.values()) == {1}
        assert len(computed) == lazy.npartitions

    # A bug when written: each part that is read computes the whole chunk anew.
    def test_large_chunks_are_computed_once(self, limit):
        limit(10)
        lazy, computed = counted(numbered((8, 10)), (4, 10, *PATTERN))
        list(raw_batches(lazy, np.ones((8, 10), bool), 8))
        assert set(computed.values()) == {1}

    def test_size(self):
        """Parts are as large as they may be, and no larger."""
        data = np.broadcast_to(np.uint8(0), (1000, 1000, 60, 60))
        rows, columns = chunks_of(data, 2**26)
        largest = max(rows) * max(columns) * 3600
        assert 2**25 < largest <= 2**26
        assert (sum(rows), sum(columns)) == (1000, 1000)
        assert chunks_of(data[:5, :6], 2**26) == ((5,), (6,))

    def test_patterns_larger_than_a_part(self):
        assert chunks_of(np.zeros((3, 2, 8, 8)), 1) == ((1, 1, 1), (1, 1))


class TestPreprocessed:
    def test_as_by_hand(self, patterns):
        transform = PatternTransform(size=32)
        mask = np.zeros((48, 48), bool)
        mask[:, 40:] = True
        background = np.linspace(1, 2, 48 * 48, dtype=np.float32).reshape(48, 48)
        used = np.ones((6, 7), bool)
        used[2, 3] = False
        data = patterns.copy()
        data[0, 1] = 7
        expected, valid = transform(data[used], mask, background)
        found = list(
            preprocessed_batches(
                da.from_array(data, chunks=(2, 7, 48, 48)),
                transform,
                used=used,
                signal_mask=mask,
                static_background=background,
                batch_size=4,
            )
        )
        order = np.argsort(np.concatenate([batch.indices for batch in found]))
        images = np.concatenate([batch.images for batch in found])[order]
        np.testing.assert_allclose(images, expected, atol=1e-5)
        found_valid = np.concatenate([batch.valid for batch in found])[order]
        np.testing.assert_array_equal(found_valid, valid)
        assert valid.sum() == 40


def test_in_batches():
    """The function sees one shape only."""
    shapes = []

    def total(images):
        shapes.append(images.shape)
        return images.sum(axis=(1, 2, 3))

    images = np.arange(7 * 4, dtype=np.float32).reshape(7, 2, 2, 1)
    np.testing.assert_array_equal(in_batches(total, images, 3), images.sum(axis=(1, 2, 3)))
    assert shapes == [(3, 2, 2, 1)] * 3
