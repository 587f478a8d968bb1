import threading
from dataclasses import replace

import kikuchipy as kp
import numpy as np
import pytest

from kikuchipy_cnn.simulation.disturbances import Disturbances
from kikuchipy_cnn.simulation.projection import project
from kikuchipy_cnn.simulation.sampler import PatternSampler

NONE = Disturbances.none()


@pytest.fixture(scope="module")
def master_patterns():
    """Nickel, and two patterns without symmetry, of both hemispheres."""
    nickel = kp.data.nickel_ebsd_master_pattern_small(projection="lambert", hemisphere="both")
    nickel = nickel.data.astype(np.float32) / 255
    turned = nickel[:, :, ::-1] ** 2
    return np.stack([nickel, turned, turned[::-1] + 0.3 * nickel])


def sampler(master_patterns, disturbances=NONE, size=48, seed=5, **kwargs):
    probabilities = np.ones(len(master_patterns))
    return PatternSampler(master_patterns, probabilities, size, disturbances, seed, **kwargs)


def test_seed(master_patterns):
    def sample(seed):
        return sampler(master_patterns, Disturbances(), 32, seed).sample(8)

    first, again, other = sample(1), sample(1), sample(2)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first.patterns, other.patterns)


def test_threads_do_not_matter(master_patterns):
    disturbances = Disturbances(overlap=0.5, overlap_other=0.5)
    first, *others = (
        sampler(master_patterns, disturbances, workers=workers).sample(50) for workers in (1, 2, 7)
    )
    for other in others:
        for a, b in zip(first, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_two_samplers_at_once(master_patterns):
    """As in training, where the next patterns are simulated while others are looked at."""
    expected = sampler(master_patterns, Disturbances()).sample(40).patterns
    found = {}

    def work(name):
        for _ in range(5):
            found[name] = sampler(master_patterns, Disturbances(), workers=2).sample(40).patterns

    threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for patterns in found.values():
        np.testing.assert_array_equal(patterns, expected)
    assert len(found) == 3


def test_every_pattern_is_new(master_patterns):
    source = sampler(master_patterns, replace(NONE, noise=(1, 1)))
    first, second = source.sample(10).patterns, source.sample(10).patterns
    images = np.concatenate([first, second]).reshape(20, -1)
    assert np.abs(np.corrcoef(images) - np.eye(20)).max() < 0.6


def test_frequencies(master_patterns):
    phases = PatternSampler(master_patterns, [3, 0, 1], 16, seed=0).sample(2000).phases
    counts = np.bincount(phases, minlength=3) / 2000
    np.testing.assert_allclose(counts, [0.75, 0, 0.25], atol=0.04)


def standardised(patterns):
    patterns = patterns - patterns.mean(axis=(1, 2), keepdims=True)
    return patterns / patterns.std(axis=(1, 2), keepdims=True)


@pytest.mark.parametrize("size", [40, (30, 50), (50, 30)])
def test_sample_tells_what_it_shows(master_patterns, size):
    """Without imperfections, the reported phase, orientation and geometry give the pattern."""
    sample = sampler(master_patterns, replace(NONE, stretch=(-0.1, 0.1)), size).sample(12)
    shape = (size, size) if isinstance(size, int) else size
    assert sample.patterns.shape == sample.weights.shape == (12, *shape)
    assert sample.patterns.dtype == sample.weights.dtype == np.float32
    expected = project(master_patterns, sample.phases, sample.rotations, sample.geometry, shape)
    np.testing.assert_allclose(sample.patterns, standardised(expected), atol=5e-3)
    assert (sample.weights == 1).all() and (sample.overlaps == 0).all()


def test_geometry_is_in_its_ranges(master_patterns):
    ranges = replace(NONE, pcx=(0.1, 0.2), pcy=(0.3, 0.4), pcz=(0.5, 2), stretch=(0.01, 0.02))
    geometry = sampler(master_patterns, ranges, (8, 12)).sample(500).geometry
    low, high = geometry.min(axis=0), geometry.max(axis=0)
    np.testing.assert_allclose(low, [0.1, 0.3, 0.5, 0.01], atol=0.01)
    np.testing.assert_allclose(high, [0.2, 0.4, 2, 0.02], atol=0.02)
    assert np.median(geometry[:, 2]) == pytest.approx(1, abs=0.1)


def test_rotations_of_strained_crystals_are_rotations(master_patterns):
    sample = sampler(master_patterns, replace(NONE, strain=(0.03, 0.03))).sample(20)
    products = sample.rotations @ sample.rotations.transpose(0, 2, 1)
    np.testing.assert_allclose(products, np.broadcast_to(np.eye(3), (20, 3, 3)), atol=1e-5)
    unstrained = project(
        master_patterns, sample.phases, sample.rotations, sample.geometry, (48, 48)
    )
    similar = (standardised(unstrained) * sample.patterns).mean(axis=(1, 2))
    assert (similar < 0.99).all() and similar.mean() > 0.3


def test_strains_have_the_norm_and_no_change_of_volume(master_patterns):
    strains = sampler(master_patterns, replace(NONE, strain=(0.01, 0.02)))._draw_strains(300)
    np.testing.assert_allclose(np.trace(strains, axis1=1, axis2=2), 0, atol=1e-12)
    np.testing.assert_array_equal(strains, strains.transpose(0, 2, 1))
    norms = np.linalg.norm(strains, axis=(1, 2))
    assert norms.min() >= 0.01 and norms.max() <= 0.02


def test_overlap_mixes_two_patterns(master_patterns):
    ranges = {"overlap": 0.5, "overlap_weight": (0.1, 0.4)}
    clean = sampler(master_patterns).sample(200)
    mixed = sampler(master_patterns, replace(NONE, **ranges)).sample(200)
    np.testing.assert_array_equal(mixed.rotations, clean.rotations)
    second = mixed.overlaps > 0
    assert 0.4 < second.mean() < 0.6
    assert mixed.overlaps[second].min() >= 0.1 and mixed.overlaps.max() <= 0.4
    np.testing.assert_allclose(mixed.patterns[~second], clean.patterns[~second], atol=1e-5)
    # Two patterns of unrelated orientations hardly correlate: the first one's share is left.
    share = 1 - mixed.overlaps[second]
    expected = share / np.hypot(share, 1 - share)
    found = (mixed.patterns[second] * clean.patterns[second]).mean(axis=(1, 2))
    assert np.abs(found - expected).max() < 0.25
    assert np.abs((found - expected).mean()) < 0.05


@pytest.mark.parametrize("other", [0, 1])
def test_phase_of_second_grains(other):
    """One phase with contrast only: the other one's patterns are flat."""
    contrast = np.random.default_rng(0).random((1, 101, 101))
    master_patterns = np.concatenate([contrast, np.ones((1, 101, 101))])
    ranges = replace(NONE, overlap=1, overlap_weight=(0.5, 0.5), overlap_other=other)
    source = PatternSampler(master_patterns, [1, 1], 16, ranges, 0)
    sample = source.sample(300)
    flat = np.abs(sample.patterns).max(axis=(1, 2)) < 0.01
    assert flat[sample.phases == 0].mean() == 0
    expected = 0.5 if other else 1
    assert flat[sample.phases == 1].mean() == pytest.approx(expected, abs=0.1)


def test_projection_centers_of_a_detector(master_patterns):
    pcs = np.array([[[0.4, 0.3, 0.5], [0.6, 0.2, 0.7]]])
    detector = kp.detectors.EBSDDetector(shape=(30, 40), pc=pcs, binning=2, px_size=50)
    source = sampler(master_patterns, NONE, None, detector=detector)
    sample = source.sample(100)
    assert sample.patterns.shape == (100, 30, 40)
    found = np.unique(sample.geometry[:, :3].round(5), axis=0)
    np.testing.assert_allclose(found, pcs[0], atol=1e-5)


def test_spread_of_projection_centers(master_patterns):
    detector = kp.detectors.EBSDDetector(shape=(8, 8), pc=(0.4, 0.3, 0.5))
    ranges = replace(NONE, pc_spread=(0.02, 0.02))
    geometry = sampler(master_patterns, ranges, detector=detector, size=8).sample(1000).geometry
    np.testing.assert_allclose(geometry[:, :3].mean(axis=0), [0.4, 0.3, 0.5], atol=0.003)
    np.testing.assert_allclose(geometry[:, :3].std(axis=0), 0.02, atol=0.002)


@pytest.mark.parametrize("detector_shape", [(30, 60), (60, 30)])
def test_detector_of_another_shape_lies_in_the_middle(master_patterns, detector_shape):
    detector = kp.detectors.EBSDDetector(shape=detector_shape, pc=(0.45, 0.3, 0.6))
    square = sampler(master_patterns, detector=detector, size=60).sample(5)
    own = sampler(master_patterns, detector=detector, size=None).sample(5)
    rows, cols = ((60 - n) // 2 for n in detector_shape)
    inside = (slice(None), slice(rows, 60 - rows), slice(cols, 60 - cols))
    assert square.weights[inside].all() and square.weights.sum() == own.weights.sum()
    np.testing.assert_allclose(standardised(square.patterns[inside]), own.patterns, atol=0.01)


def test_weights(master_patterns):
    ranges = replace(NONE, circular=1)
    weights = sampler(master_patterns, ranges, 50).sample(10).weights
    assert (weights[:, 0, 0] == 0).all()
    assert (weights[:, 25, 25] == 1).all()


def test_eight_bits_are_kept(master_patterns):
    coarse = np.round(np.clip(master_patterns[:1], 0, 1) * 255).astype(np.uint8)
    source = sampler(coarse)
    assert source.master_patterns.dtype == np.uint8
    expected = sampler(coarse.astype(np.float32)).sample(4).patterns
    np.testing.assert_allclose(source.sample(4).patterns, expected, atol=1e-3)


def test_wrong_input(master_patterns):
    with pytest.raises(ValueError, match="3 master patterns, but 2 probabilities"):
        PatternSampler(master_patterns, [1, 1], 32)
    for probabilities in ([0, 0, 0], [1, -1, 1], [1, np.nan, 1]):
        with pytest.raises(ValueError, match="Probabilities are finite, not negative"):
            PatternSampler(master_patterns, probabilities, 32)
    for size in (7, (64, 2), (8, 8, 8), 20.5):
        with pytest.raises(ValueError, match="give one or two integers, of at least 8"):
            sampler(master_patterns, size=size)
    with pytest.raises(ValueError, match="Give the size of the patterns or a detector"):
        sampler(master_patterns, size=None)
    with pytest.raises(ValueError, match="a kikuchipy.detectors.EBSDDetector is needed"):
        sampler(master_patterns, detector=(60, 60))
