import numpy as np
import pytest

from kikuchipy_cnn.simulation import NON_PATTERNS, Disturbances, PatternSampler, sample_non_patterns


@pytest.fixture(scope="module")
def sampler():
    rng = np.random.default_rng(0)
    masters = rng.integers(0, 255, (2, 61, 61)).astype(np.uint8)
    return PatternSampler(masters, np.ones(2), (40, 48), Disturbances.of_level("low"))


@pytest.mark.parametrize("kind", NON_PATTERNS)
def test_any_kind(sampler, kind):
    images = sample_non_patterns(kind, sampler, 6, seed=1)
    assert images.shape == (6, 40, 48)
    assert np.isfinite(images).all()
    assert images.std(axis=(1, 2)).min() > 0
    # Each is new.
    assert len({image.tobytes() for image in images}) == 6


@pytest.mark.parametrize("kind", ["noise", "featureless", "texture", "blocked", "overlap"])
def test_seed(sampler, kind):
    first = sample_non_patterns(kind, sampler, 2, seed=1)
    assert (sample_non_patterns(kind, sampler, 2, seed=1) == first).all()
    assert (sample_non_patterns(kind, sampler, 2, seed=2) != first).any()


def test_blocked_leaves_little(sampler):
    images = sample_non_patterns("blocked", sampler, 20)
    # What is dark varies little.
    dark = images < np.quantile(images, 0.5, axis=(1, 2), keepdims=True)
    assert dark.mean() == pytest.approx(0.5, abs=0.01)
    low, high = np.quantile(images, (0.02, 0.8), axis=(1, 2))
    assert ((high - low) < 0.5 * np.ptp(images, axis=(1, 2))).all()


def test_overlap_leaves_the_sampler_alone(sampler):
    before = sampler.disturbances
    sample_non_patterns("overlap", sampler, 2)
    assert sampler.disturbances is before


def test_texture_is_coarser_than_noise():
    masters = np.random.default_rng(0).integers(0, 255, (2, 61, 61)).astype(np.uint8)
    clean = PatternSampler(masters, np.ones(2), 64, Disturbances.none())

    def roughness(kind):
        images = sample_non_patterns(kind, clean, 20)
        return np.diff(images, axis=1).std() / images.std()

    assert roughness("featureless") < roughness("texture") < 1.1


def test_unknown_kind(sampler):
    with pytest.raises(ValueError, match="kind='pore' is none of 'noise'"):
        sample_non_patterns("pore", sampler, 1)
