"""The compiled operations on images, against NumPy, SciPy and Pillow."""

import io

import numpy as np
import pytest
from scipy import stats
from scipy.ndimage import gaussian_filter, zoom

from kikuchipy_cnn.simulation import _images


def rough_image(rows, cols, seed=0):
    return np.random.default_rng(seed).random((rows, cols), np.float32)


def key(*numbers):
    return np.array(numbers, np.uint32)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("exp", -10, 3), ("log", 1e-7, 1), ("tanh", -6, 6), ("arctan", 0, 1)],
)
def test_functions(name, low, high):
    x = np.linspace(low, high, 2001).astype(np.float32)
    found = [getattr(_images, name)(value) for value in x]
    np.testing.assert_allclose(found, getattr(np, name)(x.astype(float)), rtol=1e-5, atol=2e-6)


def test_white_noise_is_normal():
    noise = _images.white_noise(1000, 1001, key(1, 2)).ravel().astype(float)
    error = noise.size**-0.5
    assert abs(noise.mean()) < 4 * error
    assert abs(noise.var() - 1) < 4 * 2**0.5 * error
    assert abs((noise**3).mean()) < 4 * 15**0.5 * error
    assert abs((noise**4).mean() - 3) < 4 * 96**0.5 * error
    assert stats.kstest(noise, "norm").pvalue > 1e-3


@pytest.mark.parametrize("lag", [1, 2, 500 * 1000, 128])
def test_white_noise_does_not_repeat_itself(lag):
    noise = _images.white_noise(1000, 1000, key(1, 2)).ravel().astype(float)
    correlation = (noise[lag:] * noise[:-lag]).mean()
    assert abs(correlation) < 4 * noise.size**-0.5


@pytest.mark.parametrize("other", [(1, 3), (2, 2), (3, 1), (2, 1), (0, 2)])
def test_noise_of_neighbouring_keys_is_independent(other):
    first, second = (_images.white_noise(400, 400, k).ravel() for k in (key(1, 2), key(*other)))
    assert abs((first * second).mean()) < 4 * first.size**-0.5
    # Not the same numbers in another order either.
    assert np.isin(first, second).mean() < 0.02


@pytest.mark.parametrize("shape", [(30, 40), (9, 8)])
@pytest.mark.parametrize("sigma", [0.7, 2.5, 6.0])
def test_blurred(shape, sigma):
    image = rough_image(*shape)
    inside = np.ones(shape)
    expected = gaussian_filter(image.astype(float), sigma, mode="constant", truncate=8)
    expected /= gaussian_filter(inside, sigma, mode="constant", truncate=8)
    found = _images.blurred(image, np.float32(sigma), np.float32(1))
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_blurred_hardly_at_all():
    image = rough_image(8, 8)
    np.testing.assert_array_equal(_images.blurred(image, np.float32(0.1), np.float32(1)), image)


def test_blurred_noise_keeps_its_variance():
    noise = np.stack([_images.white_noise(40, 50, key(7, i)) for i in range(400)])
    blurred = np.stack([_images.blurred(x, np.float32(2), np.float32(2)) for x in noise])
    variance = blurred.var(axis=0)
    for part in (variance, variance[:3], variance[:, -3:]):
        assert part.mean() == pytest.approx(1, abs=0.05)


def test_standardised():
    found = _images.standardised(rough_image(20, 30) * 7 + 1e4)
    assert abs(found.mean()) < 1e-4
    assert found.std() == pytest.approx(1, abs=1e-4)
    assert (_images.standardised(np.full((8, 8), 3, np.float32)) == 0).all()


def test_with_derivative():
    image = rough_image(12, 9)
    dy, dx = np.gradient(image)
    found = _images.with_derivative(image, np.float32(0.3), np.float32(-0.7))
    np.testing.assert_allclose(found, image + 0.3 * dx - 0.7 * dy, atol=1e-6)


def test_slow_field():
    coarse = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
    field = _images.slow_field(coarse, 60, 90)
    assert abs(field.mean()) < 1e-5 and field.std() == pytest.approx(1, abs=1e-5)
    # A wave of a third of the width has a gradient of 2 pi 3 / 90.
    assert np.abs(np.diff(field, axis=1)).max() < 0.3
    small = zoom(field, 0.5, order=1)
    assert np.corrcoef(small.ravel(), _images.slow_field(coarse, 30, 45).ravel())[0, 1] > 0.99


def test_binned_and_enlarged():
    image = rough_image(32, 60)
    blocks = image.reshape(16, 2, 20, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(_images.binned(image, 16, 20), blocks, rtol=1e-5)
    # Blocks that are no whole pixels keep the mean, too.
    assert _images.binned(image, 13, 27).mean() == pytest.approx(image.mean(), rel=1e-5)
    ramp = np.add.outer(np.arange(10), 2 * np.arange(20)).astype(np.float32)
    found = _images.enlarged(ramp, 30, 40)
    expected = np.add.outer((np.arange(30) - 1) / 3, 2 * (np.arange(40) - 0.5) / 2)
    np.testing.assert_allclose(found[1:-1, 1:-1], expected[1:-1, 1:-1], atol=1e-4)


@pytest.mark.parametrize("quality", [20, 60, 90])
def test_compress_is_jpeg(quality):
    """As the Independent JPEG Group's library, whose cosines are rounded to integers."""
    image_module = pytest.importorskip("PIL.Image")
    smooth = gaussian_filter(np.random.default_rng(0).standard_normal((61, 70)), 2)
    grey = np.interp(smooth, (smooth.min(), smooth.max()), (0, 255)).round().astype(np.uint8)
    file = io.BytesIO()
    image_module.fromarray(grey).save(file, "JPEG", quality=quality)
    expected = np.asarray(image_module.open(file)).astype(float)
    found = grey.astype(np.float32)
    _images.compress(found, np.float32(quality))
    difference = np.abs(found - expected)
    assert difference.mean() < 0.2 and difference.max() < np.abs(expected - grey).max()
