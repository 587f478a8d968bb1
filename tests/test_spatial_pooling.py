import kikuchipy as kp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from kikuchipy_cnn import PatternTransform
from kikuchipy_cnn.spatial_pooling import (
    fingerprints,
    grain_threshold,
    pool_probabilities,
    same_grain,
)


def patterns_of_grains(grains, rng, *, noise=1.0, size=36, bases=None):
    """Images of random blobs, one for each grain, with noise that differs in each point."""
    grains = np.asarray(grains)
    if bases is None:
        bases = blobs(rng, grains.max() + 1, size)
    images = bases[grains.ravel()] + noise * rng.normal(size=(grains.size, size, size))
    return images[..., None].astype(np.float32)


def blobs(rng, n, size=36):
    images = np.stack([gaussian_filter(rng.normal(size=(size, size)), 1.5) for _ in range(n)])
    return images / images.std(axis=(1, 2), keepdims=True)


def unlike(n):
    """Fingerprints of which no two are correlated."""
    rows = np.zeros((n, 324), np.int8)
    for i, row in enumerate(rows):
        row[2 * i : 2 * i + 2] = 90, -90
    return rows


class TestFingerprints:
    @pytest.mark.parametrize("size", [18, 19, 31, 71])
    def test_averages_of_blocks(self, size, rng):
        """Against averages of an image with each pixel repeated, so that all blocks are whole."""
        images = rng.normal(size=(5, size, size, 1)).astype(np.float32)
        vectors = fingerprints(images)
        assert vectors.shape == (5, 324) and vectors.dtype == np.int8
        fine = images[..., 0].repeat(18, axis=1).repeat(18, axis=2)
        blocks = fine.reshape(5, 18, size, 18, size).mean(axis=(2, 4)).reshape(5, 324)
        blocks = (blocks - blocks.mean(axis=1, keepdims=True)) / blocks.std(axis=1, keepdims=True)
        np.testing.assert_allclose(vectors / 32, blocks.clip(-127 / 32, 127 / 32), atol=0.02)

    def test_brightness_and_contrast_do_not_count(self, rng):
        images = rng.normal(size=(3, 36, 36, 1)).astype(np.float32)
        others = fingerprints(7 * images + 2)
        # Up to rounding.
        assert np.abs(others.astype(int) - fingerprints(images)).max() <= 1

    def test_outliers_are_clipped(self):
        images = np.zeros((1, 18, 18, 1), np.float32)
        images[0, 3, 4] = 100
        vector = fingerprints(images)[0]
        assert vector[3 * 18 + 4] == 127 and vector.min() > -10

    def test_constant_images(self):
        images = np.stack([np.zeros((71, 71, 1)), np.full((71, 71, 1), 0.3)]).astype(np.float32)
        np.testing.assert_array_equal(fingerprints(images), 0)

    @pytest.mark.parametrize(
        ("shape", "match"),
        [
            ((2, 17, 17, 1), "17 x 17 pixels are too small"),
            ((2, 36, 36), r"\(2, 36, 36\) must be"),
            ((2, 36, 36, 3), r"\(2, 36, 36, 3\) must be"),
            ((2, 36, 30, 1), r"\(2, 36, 30, 1\) must be"),
        ],
    )
    def test_refused(self, shape, match):
        with pytest.raises(ValueError, match=match):
            fingerprints(np.zeros(shape, np.float32))


class TestSameGrain:
    def test_two_grains(self, rng):
        grains = np.zeros((5, 6), int)
        grains[:, 4:] = 1
        vectors = fingerprints(patterns_of_grains(grains, rng))
        same = same_grain(vectors, (5, 6), np.ones((5, 6), bool))
        padded = np.pad(grains, 1, constant_values=-1)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3)).reshape(30, 3, 3)
        np.testing.assert_array_equal(same, windows == grains.reshape(30, 1, 1))

    def test_real_patterns(self):
        """Nickel of two grains, with the boundary after the first column."""
        signal = kp.data.nickel_ebsd_small()
        images, _ = PatternTransform()(
            signal.data.reshape(-1, 60, 60), None, signal.static_background
        )
        same = same_grain(fingerprints(images), (3, 3), np.ones((3, 3), bool))
        assert same[4].tolist() == [[False, True, True]] * 3
        assert same[3].tolist() == [[False, True, False]] * 3

    def test_window(self):
        """Two columns to the right and one row below, and nothing else."""
        vectors = unlike(12)
        vectors[1 * 4 + 3] = vectors[1]
        same = same_grain(vectors, (3, 4), np.ones((3, 4), bool), radius=2, threshold=0.5)
        expected = np.zeros((12, 5, 5), bool)
        expected[:, 2, 2] = True
        expected[1, 3, 4] = True
        expected[7, 1, 0] = True
        np.testing.assert_array_equal(same, expected)

    @pytest.mark.parametrize(("shape", "n_pairs"), [((), 0), ((4,), 3), ((2, 2), 6)])
    def test_dimensions(self, shape, n_pairs):
        """All of one grain. A line goes along the columns of the window."""
        n = int(np.prod(shape))
        vectors = np.tile(unlike(1), (n, 1))
        same = same_grain(vectors, shape, np.ones(shape, bool), threshold=0.5)
        assert same.shape == (n, 3, 3)
        assert same.sum() == n + 2 * n_pairs
        assert same[:, [0, 2]].any() == (len(shape) == 2)

    def test_given_threshold(self, rng):
        images = patterns_of_grains(np.zeros((1, 2), int), rng)
        vectors = fingerprints(images)
        a, b = vectors.astype(float)
        correlation = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        used = np.ones((1, 2), bool)
        below, above = (
            same_grain(vectors, (1, 2), used, threshold=correlation + step).sum()
            for step in (-1e-4, 1e-4)
        )
        assert (below, above) == (4, 2)


class TestGrainThreshold:
    @pytest.mark.parametrize("noise", [0.3, 1.0, 2.0])
    @pytest.mark.parametrize("n_grains", [1, 2, 25])
    def test_between_the_same_and_others(self, noise, n_grains, rng):
        """Whether the map has one grain, a few, or one in each point and its right neighbour."""
        grains = np.repeat(np.arange(n_grains), 100 // n_grains).reshape(10, 10)
        bases = blobs(rng, n_grains + 20)
        vectors = fingerprints(patterns_of_grains(grains, rng, noise=noise, bases=bases))
        threshold = grain_threshold(vectors, (10, 10), np.ones((10, 10), bool))
        others = fingerprints(
            patterns_of_grains(np.arange(n_grains, n_grains + 20), rng, noise=noise, bases=bases)
        )
        unit = [i / np.linalg.norm(i, axis=1, keepdims=True) for i in (vectors * 1.0, others * 1.0)]
        correlations = unit[0] @ unit[0].T
        same = grains.reshape(1, -1) == grains.reshape(-1, 1)
        assert np.mean(correlations[same] > threshold) > 0.99
        assert np.mean(unit[0] @ unit[1].T > threshold) < 0.01

    @pytest.mark.parametrize("axis", [1, 2])
    def test_symmetric_patterns_of_a_single_crystal(self, axis, rng):
        """Which are like their own mirror image."""
        base = blobs(rng, 1)
        base = base + np.flip(base, axis)
        images = patterns_of_grains(np.zeros(100, int), rng, bases=base)
        assert grain_threshold(fingerprints(images), (100,), np.ones(100, bool)) < 0.6

    def test_masked_corners(self, rng):
        """All patterns of a circular detector are alike in the corners, of different grains too."""
        y, x = np.ogrid[-1:1:36j, -1:1:36j]
        images = patterns_of_grains(np.arange(100), rng)
        images[:, np.hypot(x, y) > 1] = -3
        vectors = fingerprints(images)
        correlations = np.corrcoef(vectors)[np.triu_indices(100, 1)]
        assert correlations.min() > 0.2
        threshold = grain_threshold(vectors, (10, 10), np.ones((10, 10), bool))
        assert np.mean(correlations > threshold) < 0.01

    def test_reproducible(self, rng):
        vectors = fingerprints(patterns_of_grains(np.arange(30), rng))
        arguments = vectors, (5, 6), np.ones((5, 6), bool)
        assert grain_threshold(*arguments) == grain_threshold(*arguments)
        assert grain_threshold(*arguments) != grain_threshold(*arguments, seed=1)

    def test_all_the_same(self):
        """Of more symmetry than grains can have; rounding must not lead beyond a correlation."""
        y, x = np.mgrid[-17.5:18, -17.5:18]
        image = np.cos(np.hypot(x, y))[None, ..., None].astype(np.float32)
        same = fingerprints(np.repeat(image, 9, axis=0))
        assert grain_threshold(same, (3, 3), np.ones((3, 3), bool)) <= 1
        pool_probabilities(np.full((9, 3), 1 / 3), same, (3, 3), np.ones((3, 3), bool))

    def test_nothing_to_compare(self):
        assert grain_threshold(unlike(2), (2,), np.ones(2, bool), valid=np.zeros(2, bool)) == 1
        assert grain_threshold(unlike(0), (2,), np.zeros(2, bool)) == 1


class TestPoolProbabilities:
    def test_by_hand(self):
        """Points 0, 1 and 3 of a line of four are of one grain; 2 is of another."""
        vectors = unlike(4)
        vectors[[1, 3]] = vectors[0]
        probabilities = np.array([[1, 0], [0.5, 0.5], [0.2, 0.8], [0, 1]])
        used = np.ones(4, bool)
        pooled, n_pooled = pool_probabilities(probabilities, vectors, (4,), used, threshold=0.5)
        np.testing.assert_allclose(pooled, [[0.75, 0.25], [0.75, 0.25], [0.2, 0.8], [0, 1]])
        assert n_pooled.tolist() == [2, 2, 1, 1]
        pooled, n_pooled = pool_probabilities(
            probabilities, vectors, (4,), used, radius=2, threshold=0.5
        )
        np.testing.assert_allclose(pooled, [[0.75, 0.25], [0.5, 0.5], [0.2, 0.8], [0.25, 0.75]])
        assert n_pooled.tolist() == [2, 3, 1, 2]

    @pytest.mark.parametrize("radius", [1, 2, 7])
    def test_against_windows(self, radius, rng):
        """Point by point, on a map with holes and patterns that are not valid."""
        grains = rng.integers(0, 2, (4, 5))
        used = rng.random((4, 5)) < 0.8
        n = used.sum()
        valid = rng.random(n) < 0.8
        vectors = unlike(2)[grains[used]]
        probabilities = rng.dirichlet(np.ones(3), n)
        pooled, n_pooled = pool_probabilities(
            probabilities, vectors, (4, 5), used, radius=radius, threshold=0.5, valid=valid
        )
        places, labels = np.argwhere(used), grains[used]
        for i in range(n):
            near = (np.abs(places - places[i]) <= radius).all(axis=1)
            taken = near & valid & (labels == labels[i])
            if valid[i]:
                np.testing.assert_allclose(pooled[i], probabilities[taken].mean(axis=0))
                assert n_pooled[i] == taken.sum()
            else:
                np.testing.assert_array_equal(pooled[i], probabilities[i])
                assert n_pooled[i] == 0
        assert not valid.all() and n_pooled.max() > 1

    def test_accuracy_rises_and_a_precipitate_stays(self, rng):
        """Two grains of two phases, and one point of a third within the first."""
        grains = np.zeros((12, 12), int)
        grains[:, 7:] = 1
        grains[5, 3] = 2
        truth = grains.ravel()
        vectors = fingerprints(patterns_of_grains(grains, rng, size=71))
        logits = rng.normal(size=(144, 3)) + 1.2 * np.eye(3)[truth]
        logits[5 * 12 + 3] = 0, 0, 1
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        used = np.ones((12, 12), bool)
        pooled, n_pooled = pool_probabilities(probabilities, vectors, (12, 12), used)
        assert np.mean(probabilities.argmax(axis=1) == truth) < 0.8
        assert np.mean(pooled.argmax(axis=1) == truth) > 0.95
        np.testing.assert_allclose(pooled.sum(axis=1), 1)
        np.testing.assert_allclose(pooled[5 * 12 + 3], probabilities[5 * 12 + 3])
        counts = n_pooled.reshape(12, 12)
        assert counts[5, 3] == 1 and counts[4, 3] == 8
        assert counts[8, 3] == 9 and counts[8, 6] == counts[8, 7] == 6 and counts[0, 0] == 4

    def test_single_crystal(self, rng):
        vectors = fingerprints(patterns_of_grains(np.zeros((6, 7), int), rng))
        _, n_pooled = pool_probabilities(
            np.ones((42, 2)) / 2, vectors, (6, 7), np.ones((6, 7), bool)
        )
        rows, columns = ([2, *[3] * (n - 2), 2] for n in (6, 7))
        np.testing.assert_array_equal(n_pooled.reshape(6, 7), np.outer(rows, columns))

    def test_noise_alone_is_not_pooled(self, rng):
        vectors = fingerprints(patterns_of_grains(np.zeros((10, 10), int), rng, noise=100))
        _, n_pooled = pool_probabilities(
            np.ones((100, 2)) / 2, vectors, (10, 10), np.ones((10, 10), bool)
        )
        assert n_pooled.mean() < 1.1

    def test_not_valid_points(self):
        """They have no probabilities, which must not spread; constant ones are like nothing."""
        vectors = np.concatenate([np.tile(unlike(1), (3, 1)), np.zeros((2, 324), np.int8)])
        probabilities = np.full((5, 2), 0.5, np.float32)
        probabilities[1] = np.nan
        valid = np.array([True, False, True, True, True])
        for threshold in (None, 0.5):
            pooled, n_pooled = pool_probabilities(
                probabilities, vectors, (5,), np.ones(5, bool), valid=valid, threshold=threshold
            )
            assert n_pooled.tolist() == [1, 0, 1, 1, 1]
            np.testing.assert_array_equal(pooled, probabilities)
            assert pooled.dtype == np.float32

    def test_single_pattern(self):
        pooled, n_pooled = pool_probabilities(
            np.array([[0.3, 0.7]]), unlike(1), (), np.ones((), bool)
        )
        assert pooled.tolist() == [[0.3, 0.7]] and n_pooled.tolist() == [1]

    def test_arguments_stay(self, rng):
        vectors = np.tile(unlike(1), (4, 1))
        probabilities = rng.dirichlet(np.ones(3), 4)
        before = probabilities.copy()
        pooled, _ = pool_probabilities(
            probabilities, vectors, (2, 2), np.ones((2, 2), bool), threshold=0.5
        )
        np.testing.assert_array_equal(probabilities, before)
        np.testing.assert_allclose(pooled, np.tile(before.mean(axis=0), (4, 1)))

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"radius": 0}, "radius=0 must be"),
            ({"radius": 1.5}, "radius=1.5 must be"),
            ({"threshold": 1.1}, "threshold=1.1 must be"),
            ({"threshold": np.nan}, "threshold=nan must be"),
            ({"navigation_shape": (1, 2, 2), "used": np.ones((1, 2, 2), bool)}, "two dimensions"),
            ({"used": np.ones(4, bool)}, r"\(4,\) of used must be .* \(2, 2\)"),
            ({"used": np.eye(2, dtype=bool)}, r"\(4, 324\) must be of shape \(2, 324\)"),
            ({"fingerprints": np.ones((4, 9), np.int8)}, r"\(4, 9\) must be of shape \(4, 324\)"),
            ({"probabilities": np.ones((3, 2))}, r"\(3, 2\) must be of shape \(4, n classes\)"),
            ({"probabilities": np.ones(4)}, r"\(4,\) must be of shape \(4, n classes\)"),
            ({"valid": np.ones((2, 2), bool)}, r"\(2, 2\) of valid must be \(4,\)"),
        ],
    )
    def test_refused(self, change, match):
        arguments = {
            "probabilities": np.full((4, 2), 0.5),
            "fingerprints": unlike(4),
            "navigation_shape": (2, 2),
            "used": np.ones((2, 2), bool),
        }
        with pytest.raises(ValueError, match=match):
            pool_probabilities(**(arguments | change))
