import numpy as np
import pytest

from kikuchipy_cnn import PatternTransform
from kikuchipy_cnn.training import Augmentation

TRANSFORM = PatternTransform(size=40)


@pytest.fixture
def images(labelled):
    return labelled.take(labelled.index < 10).images(TRANSFORM, show_progressbar=False)[0]


def test_nothing_by_default(images, rng):
    np.testing.assert_array_equal(Augmentation()(images, TRANSFORM, rng), images)


def test_mirror(images, rng):
    """About half of the patterns, each as a whole, and left for right."""
    before = images.copy()
    mirrored = Augmentation(mirror=True)(images, TRANSFORM, rng)
    same = (mirrored == images).all(axis=(1, 2, 3))
    turned = (mirrored == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same ^ turned).all()
    assert 8 < turned.sum() < 32
    np.testing.assert_array_equal(images, before)


def test_severity(images, rng):
    """The stronger, the less is left of a pattern, and it stays preprocessed."""

    def likeness(severity):
        changed = Augmentation(severity=severity)(images, TRANSFORM, rng)
        assert changed.dtype == np.float32
        assert np.abs(changed).max() <= TRANSFORM.clip
        return np.mean(
            [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(images, changed, strict=True)]
        )

    little, much = likeness(0.05), likeness(1.0)
    assert 0.9 < little < 1
    assert much < little - 0.1


def test_nothing_appears_outside_the_detector(images, rng):
    images[:, :5] = 0
    changed = Augmentation(severity=0.5)(images, TRANSFORM, rng)
    assert not changed[:, :5].any()
    assert changed[:, 5:].any()


def test_repeatable(images):
    augmentation = Augmentation(mirror=True, severity=0.5)
    first, again, other = (
        augmentation(images, TRANSFORM, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("severity", [-0.1, 1.1, float("nan")])
def test_impossible(severity):
    with pytest.raises(ValueError, match=r"severity=.* must be in \[0, 1\]"):
        Augmentation(severity=severity)
