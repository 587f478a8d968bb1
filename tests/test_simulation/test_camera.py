"""Each disturbance does what its name says, and nothing else happens."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from kikuchipy_cnn.simulation.camera import Cameras, disturb
from kikuchipy_cnn.simulation.disturbances import Disturbances

NONE = Disturbances.none()
SIZE = 64


def disturbed(patterns, seed=0, **ranges):
    """Disturb by nothing but what is given: by a value, or by a fraction."""
    fractions = ("dusty", "binned", "compressed", "circular", "wide")
    ranges = {
        name: value if name in fractions or isinstance(value, tuple) else (value, value)
        for name, value in ranges.items()
    }
    return disturb(patterns, replace(NONE, **ranges), seed)


def standardised(patterns):
    patterns = patterns - patterns.mean(axis=(1, 2), keepdims=True)
    return patterns / patterns.std(axis=(1, 2), keepdims=True)


@pytest.fixture(scope="module")
def patterns():
    """Smooth random patterns, standardised."""
    rough = np.random.default_rng(0).standard_normal((6, SIZE, SIZE))
    return standardised(gaussian_filter(rough, (0, 2, 2))).astype(np.float32)


@pytest.fixture(scope="module")
def flat():
    """Patterns that hardly vary, to see what is added to them; 0 would be as good."""
    return np.zeros((6, SIZE, SIZE), np.float32)


def test_no_disturbance(patterns):
    np.testing.assert_allclose(disturbed(patterns), patterns, atol=2e-3)


def test_scale_does_not_matter(patterns):
    expected = disturb(patterns, rng=3)
    np.testing.assert_allclose(disturb(patterns * 50 + 700, rng=3), expected, atol=0.02)


def test_input_is_kept(patterns):
    before = patterns.copy()
    disturb(patterns, rng=0)
    np.testing.assert_array_equal(patterns, before)


@pytest.mark.parametrize("shape", [(8, 8), (40, 64), (64, 40), (33, 57)])
def test_shapes(shape):
    patterns = np.random.default_rng(0).random((40, *shape))
    ranges = Disturbances(binned=1, binned_width=(8, 40), compressed=1, dusty=1)
    found = disturb(patterns, ranges, 0)
    assert found.shape == patterns.shape and found.dtype == np.float32
    assert np.isfinite(found).all()


def test_threads_do_not_matter(patterns):
    many = np.repeat(patterns, 5, axis=0)
    first = disturb(many, rng=0, workers=1)
    for workers in (2, 5):
        np.testing.assert_array_equal(disturb(many, rng=0, workers=workers), first)
    assert not np.array_equal(disturb(many, rng=1), first)


def test_one_camera_for_all(patterns):
    same = np.repeat(patterns[:1], 4, axis=0)
    ranges = replace(Disturbances(), noise=(0, 0))
    static = disturb(same, ranges, 0, static=True)
    np.testing.assert_array_equal(static, np.repeat(static[:1], 4, axis=0))
    assert np.abs(disturb(same, ranges, 0)[0] - disturb(same, ranges, 0)[1]).max() > 0.1


def test_one_camera_has_new_noise_in_each_pattern(patterns):
    same = np.repeat(patterns[:1], 4, axis=0)
    first, second = disturb(same, replace(NONE, noise=(1, 1)), 0, static=True)[:2] - same[:2]
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 4 / SIZE


def test_camera_is_used_again(patterns):
    camera = Cameras.draw(Disturbances(), 1, 5)
    together = camera.record(patterns, 1)
    np.testing.assert_array_equal(camera.record(patterns, 1), together)
    assert len(camera) == 1


def test_blur(patterns):
    found = disturbed(patterns, blur=3 / SIZE)
    expected = standardised(gaussian_filter(patterns, (0, 3, 3)))
    inner = (slice(None), slice(12, -12), slice(12, -12))
    correlation = np.corrcoef(found[inner].ravel(), expected[inner].ravel())[0, 1]
    assert correlation > 0.99


def test_band_loss(patterns):
    found = disturbed(patterns, band_loss=0.8, band_width=4 / SIZE)
    expected = patterns - 0.8 * gaussian_filter(patterns, (0, 4, 4))
    inner = (slice(None), slice(12, -12), slice(12, -12))
    assert np.corrcoef(found[inner].ravel(), expected[inner].ravel())[0, 1] > 0.99
    broad = gaussian_filter(patterns, (0, 4, 4))[inner].ravel()
    before, after = (np.corrcoef(x[inner].ravel(), broad)[0, 1] for x in (patterns, found))
    assert after < before - 0.2


def test_asymmetry_is_along_the_vertical(patterns):
    many = np.repeat(patterns[:1], 200, axis=0)
    added = disturbed(many, asymmetry=3) - standardised(many)
    dy, dx = np.gradient(patterns[0])
    vertical, horizontal = ((added * d).mean() / (d * d).mean() for d in (dy, dx))
    assert vertical > 0.5 and abs(horizontal) < 0.2 * vertical


def test_saturation(patterns):
    found = disturbed(patterns, saturation=1)
    assert found.max() < 0.75 * patterns.max()
    np.testing.assert_array_equal(found.argmax(axis=2), patterns.argmax(axis=2))


def test_gamma(patterns):
    skewness = [
        (standardised(disturbed(patterns, gamma=gamma)) ** 3).mean() for gamma in (-0.3, 0, 0.3)
    ]
    assert skewness[0] + 0.5 < skewness[1] < skewness[2] - 0.5


def test_contrast():
    noise = np.random.default_rng(0).standard_normal((40, SIZE, SIZE))
    found = disturbed(noise, contrast=0.5)
    level = np.log(np.sqrt(gaussian_filter(found**2, (0, 6, 6))))
    even = np.log(np.sqrt(gaussian_filter(noise**2, (0, 6, 6))))
    assert even.std(axis=(1, 2)).mean() < 0.15
    assert level.std(axis=(1, 2)).mean() == pytest.approx(0.5, abs=0.12)


def test_gradient(flat):
    found = disturbed(flat, gradient=0.7)
    np.testing.assert_allclose(found.std(axis=(1, 2)), 0.7, rtol=1e-3)
    np.testing.assert_allclose(gaussian_filter(found, (0, 2, 2)), found, atol=0.2)


def test_mottle(flat):
    """Spots of a twelfth of the pattern: there under a narrower filter, gone under a wider one."""
    found = disturbed(flat, mottle=0.7)
    np.testing.assert_allclose(found.std(axis=(1, 2)), 0.7, rtol=1e-3)
    left = [
        gaussian_filter(found, (0, part * SIZE, part * SIZE)).std() / 0.7 for part in (0.03, 0.2)
    ]
    assert left[0] > 0.8 and left[1] < 0.35


def test_vignetting_is_radial():
    noise = np.random.default_rng(0).standard_normal((1500, 32, 32))
    contrast = disturbed(noise, vignetting=0.5).std(axis=0)
    y, x = np.mgrid[:32, :32] - 15.5
    square = (x**2 + y**2) / (2 * 15.5**2)
    slope, start = np.polyfit(square.ravel(), contrast.ravel(), 1)
    assert slope / start == pytest.approx(-0.5, abs=0.02)
    np.testing.assert_allclose(contrast / start, 1 - 0.5 * square, atol=0.1)


def test_background_is_a_hump(flat):
    found = disturbed(flat, background=2, background_width=0.3, background_shift=(0.1, 0.1))
    y, x = (np.mgrid[:SIZE, :SIZE] + 0.5) / SIZE - 0.5
    expected = 2 * np.exp(-((x - 0.1) ** 2 + (y - 0.1) ** 2) / 2 / 0.3**2)
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=1e-3)


@pytest.mark.parametrize("noise_blur", [0, 1.5 / SIZE])
def test_noise(patterns, noise_blur):
    many = np.repeat(patterns, 30, axis=0)
    noise = disturbed(many, noise=0.8, noise_blur=noise_blur) - disturbed(many)
    assert noise.std() == pytest.approx(0.8, rel=0.01)
    assert abs(noise.mean()) < 0.01
    neighbours = (noise[:, :, 1:] * noise[:, :, :-1]).mean() / noise.var()
    expected = 0 if noise_blur == 0 else np.exp(-1 / 4 / 1.5**2)
    assert neighbours == pytest.approx(expected, abs=0.01)


def test_shot_noise_grows_with_intensity(patterns):
    many = np.repeat(patterns[:1], 3000, axis=0)
    ranges = {"noise": 0.5, "modulation": 0.2, "background_fall": 0, "background_width": 0.5}
    clean = disturbed(patterns[:1])[0]
    for shot, slope in ((0, 0), (0.5, 0.1), (1, 0.2)):
        variance = disturbed(many, shot=shot, **ranges).var(axis=0) / 0.25
        found, level = np.polyfit(clean.ravel(), variance.ravel(), 1)
        assert found == pytest.approx(slope, abs=0.01)
        assert level == pytest.approx(1, abs=0.01)


def test_shot_noise_has_the_shape_of_the_background(patterns):
    many = np.repeat(patterns[:1], 3000, axis=0)
    shape = {"background_fall": 0.7, "background_width": 0.2, "modulation": 0}
    variance = disturbed(many, noise=0.5, shot=1, **shape).var(axis=0)
    assert variance.mean() == pytest.approx(0.25, rel=0.01)
    middle, corner = variance[30:34, 30:34].mean(), variance[:4, :4].mean()
    y = x = (2.0 / SIZE) - 0.5
    expected = 1 - 0.7 * (1 - np.exp(-(x * x + y * y) / 2 / 0.2**2))
    assert corner / middle == pytest.approx(expected, abs=0.03)


def test_stuck_pixels_are_counted(patterns):
    found = disturbed(patterns, stuck=0.01)
    stuck = np.abs(found - patterns) > 1
    number = round(0.01 * SIZE**2)
    # Two may fall onto one pixel.
    assert (stuck.sum(axis=(1, 2)) <= number).all()
    assert (stuck.sum(axis=(1, 2)) >= number - 5).all()
    levels = found[stuck]
    np.testing.assert_allclose(np.abs(levels), 5, atol=0.05)
    assert 0.3 < (levels > 0).mean() < 0.7


def test_stuck_pixels_stay(patterns):
    found = disturb(patterns, replace(NONE, stuck=(0.01, 0.01)), 0, static=True)
    stuck = np.abs(found - patterns) > 1
    assert (stuck == stuck[0]).mean() > 0.999


def test_dust(flat):
    many = np.repeat(flat, 30, axis=0)
    found = disturbed(many, dusty=1, dust=2, dust_radius=0.02)
    assert found.max() < 0.05
    # The deepest pixel is at most half a pixel from the middle of a spot.
    assert (found.min(axis=(1, 2)) < -1.2).mean() > 0.95
    area = -found.sum(axis=(1, 2)) / (2 * 2 * np.pi * (0.02 * SIZE) ** 2)
    assert area.min() > 0.2 and area.max() < 5.1
    assert 2.3 < area.mean() < 3.5
    clean = disturbed(many, dusty=0.5, dust=2, dust_radius=0.02)
    assert 0.3 < (clean.min(axis=(1, 2)) == 0).mean() < 0.7


def test_binning(patterns):
    """Means of blocks, straight lines between the blocks' middles, constant beyond the last."""
    n = SIZE // 4
    found = disturbed(patterns, binned=1, binned_width=n)
    blocks = standardised(patterns.reshape(-1, n, 4, n, 4).mean(axis=(2, 4)))
    at = np.clip((np.arange(SIZE) - 1.5) / 4, 0, n - 1)
    lines = np.clip(1 - np.abs(at[:, None] - np.arange(n)), 0, None)
    np.testing.assert_allclose(found, lines @ blocks @ lines.T, atol=2e-3)


def test_noise_of_binned_pixels_is_coarse(flat):
    found = disturbed(flat, noise=1, binned=1, binned_width=SIZE // 4)
    assert (found[:, 1:] * found[:, :-1]).mean() / found.var() > 0.8
    assert found[:, 0, 0].std() > 0.3


def test_more_pixels_than_there_are(patterns):
    found = disturbed(patterns, binned=1, binned_width=SIZE)
    np.testing.assert_allclose(found, patterns, atol=2e-3)


def test_compression_leaves_blocks(patterns):
    errors, steps = [], []
    for quality in (100, 50, 10):
        error = disturbed(patterns, compressed=1, quality=quality) - disturbed(patterns)
        step = np.abs(np.diff(error, axis=2)).mean(axis=(0, 1))
        at_border = np.arange(SIZE - 1) % 8 == 7
        errors.append(error.std())
        steps.append(step[at_border].mean() / step[~at_border].mean())
    assert errors[0] < 0.02 < errors[1] < errors[2] < 0.5
    assert abs(steps[0] - 1) < 0.1
    assert steps[2] > 1.5


@pytest.mark.parametrize("shape", [(50, 50), (40, 60)])
def test_circular_detector(shape):
    cameras = Cameras.draw(Disturbances(circular=1, wide=0), 10, 0)
    weights = cameras.weights(10, shape)
    assert weights.shape == (10, *shape) and set(np.unique(weights)) == {0, 1}
    assert (weights[:, 0, 0] == 0).all()
    assert (weights[:, shape[0] // 2, shape[1] // 2] == 1).all()
    radius = np.sqrt(weights.sum(axis=(1, 2)) / np.pi) / min(shape)
    assert (radius > 0.45).all() and (radius < 0.51).all()


def test_wide_detector():
    weights = Cameras.draw(Disturbances(circular=0, wide=1), 10, 0).weights(10, (64, 64))
    height = weights[:, :, 0].sum(axis=1)
    assert (height >= 46).all() and (height <= 62).all()
    np.testing.assert_array_equal(weights, weights[:, ::-1])
    np.testing.assert_array_equal(weights, np.repeat(weights[:, :, :1], 64, axis=2))


def test_other_detectors_have_signal_everywhere():
    assert (Cameras.draw(NONE, 1, 0).weights(3, (20, 30)) == 1).all()


def test_no_patterns():
    assert disturb(np.empty((0, 20, 20)), rng=0).shape == (0, 20, 20)


def test_wrong_input(patterns):
    with pytest.raises(ValueError, match=r"Patterns of shape \(64, 64\) given. Give \(n, rows"):
        disturb(patterns[0])
    with pytest.raises(ValueError, match="of at least 8 x 8 pixels"):
        disturb(np.zeros((2, 7, 9)))
    with pytest.raises(ValueError, match="3 cameras for 6 patterns. Draw one camera"):
        Cameras.draw(None, 3).record(patterns)


@pytest.mark.parametrize("size", [8, 16, 32])
def test_band_loss_makes_no_negative_of_small_patterns(size):
    """Where a band is narrower than a pixel, all would be broad and a loss of 1.6 invert it."""
    noise = np.random.default_rng(0).standard_normal((50, size, size))
    patterns = gaussian_filter(noise, (0, 0.6, 0.6)).astype(np.float32)
    found = disturbed(patterns, band_loss=1.6, band_width=0.015)
    pairs = zip(found, patterns, strict=True)
    assert np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs]) > 0.1
