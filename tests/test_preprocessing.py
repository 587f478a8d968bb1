import warnings
from concurrent.futures import ThreadPoolExecutor

import kikuchipy as kp
import numpy as np
import pytest

from kikuchipy_cnn import _resampling, preprocessing
from kikuchipy_cnn.preprocessing import PatternTransform, find_circular_mask


def bands(shape, width=3.0):
    """A pattern of two bright bands through its middle, in units of its shorter side."""
    rows, columns = shape
    side = min(shape)
    y, x = np.mgrid[:rows, :columns].astype(float)
    y, x = (y - (rows - 1) / 2) / side, (x - (columns - 1) / 2) / side
    w = width / 100
    return np.exp(-0.5 * ((x - y) / w) ** 2) + np.exp(-0.5 * ((x + 2 * y) / w) ** 2)


class TestPatternTransform:
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
    @pytest.mark.parametrize("shape", [(40, 40), (60, 60), (240, 240), (1024, 1244)])
    def test_same_picture_from_any_size_and_dtype(self, dtype, shape):
        transform = PatternTransform(size=48)
        scale = 1 if dtype is np.float32 else np.iinfo(dtype).max / 2.5
        pattern = (bands(shape) * scale).astype(dtype)
        images, valid = transform(pattern[None])
        assert valid.tolist() == [True]
        assert images.dtype == np.float32
        assert images.shape == (1, 48, 48, 1)
        rendered = (480, 480) if shape[0] == shape[1] else (256, 311)
        expected, _ = transform(bands(rendered)[None])
        found = np.corrcoef(images.ravel(), expected.ravel())[0, 1]
        assert found > (0.93 if shape[0] < 60 else 0.985)

    def test_aspect_ratio_is_kept(self):
        """A band at 45 degrees stays at 45 degrees, and beside the pattern there is nothing."""
        y, x = np.mgrid[:80, :160]
        pattern = np.exp(-0.5 * ((x - 40 - y) / 3.0) ** 2)
        image = PatternTransform(size=40)(pattern[None])[0][0, ..., 0]
        assert (image[:10] == 0).all()
        assert (image[30:] == 0).all()
        brightest = image[12:28].argmax(axis=1)
        assert np.diff(brightest).mean() == pytest.approx(1, abs=0.05)

    def test_background_and_contrast_do_not_matter(self, rng):
        """Division by the static background and local levelling undo the camera's brightness."""
        transform = PatternTransform(size=60)
        pattern = 1 + 0.2 * bands((120, 120)) + rng.normal(0, 0.01, (120, 120))
        y, x = np.mgrid[:120, :120]
        background = 100 * np.exp(-((y - 50) ** 2 + (x - 70) ** 2) / 150**2)
        clean, _ = transform(pattern[None])
        dirty, _ = transform((pattern * background)[None])
        divided, _ = transform((pattern * background)[None], None, background)
        np.testing.assert_allclose(divided, clean, atol=1e-3)
        assert np.corrcoef(dirty.ravel(), clean.ravel())[0, 1] > 0.8
        brighter, _ = transform(3 * pattern[None] + 50)
        np.testing.assert_allclose(brighter, clean, atol=1e-3)

    def test_masked_pixels_do_not_matter(self, rng):
        transform = PatternTransform(size=60)
        pattern = bands((120, 120)).astype(np.float32)
        y, x = np.ogrid[:120, :120]
        mask = np.hypot(y - 59.5, x - 59.5) > 55
        other = pattern.copy()
        other[mask] = rng.uniform(-1000, 1000, mask.sum())
        first, second = transform(np.stack([pattern, other]), mask)[0]
        np.testing.assert_array_equal(first, second)
        assert first[0, 0, 0] == 0

    def test_anti_aliasing(self):
        """Stripes finer than a pixel of the result vanish instead of turning into coarse ones."""
        pattern = np.zeros((300, 300), np.float32)
        pattern[:, ::2] = 1
        from kikuchipy_cnn.preprocessing import _resize_operators

        rows, columns = _resize_operators((300, 300), 71)
        small = rows @ pattern @ columns
        assert np.ptp(small[5:-5, 5:-5]) < 0.05

    def test_invalid_patterns(self):
        patterns = np.stack([bands((50, 50))] * 4)
        patterns[1] = 7
        patterns[2, 3, 4] = np.nan
        patterns[3, 0, 0] = np.inf
        images, valid = PatternTransform(size=40)(patterns)
        assert valid.tolist() == [True, False, False, False]
        assert (images[1:] == 0).all()
        assert np.isfinite(images).all()

    def test_range(self):
        images, _ = PatternTransform(size=40, clip=2)(100 * bands((50, 50))[None])
        assert images.max() == 2
        assert images.min() >= -2

    def test_to_and_from_dict(self):
        transform = PatternTransform(size=40, background_sigma=0.2, contrast_sigma=0.1, clip=2.5)
        assert PatternTransform.from_dict(transform.to_dict()) == transform

    def test_slow_variations_are_removed(self):
        """What varies over a good part of the pattern hardly counts, narrow bands do."""
        y, x = np.mgrid[:71, :71] / 71
        slow, fast = np.sin(2 * np.pi * 2 * x), np.sin(2 * np.pi * 12 * y)
        image = PatternTransform(size=71)((slow + fast)[None])[0][0, ..., 0]
        powers = [np.abs((image * wave).mean()) for wave in (slow, fast)]
        assert powers[0] < 0.1 * powers[1]

    @pytest.mark.parametrize(
        ("name", "value"),
        [("size", 4), ("clip", 0), ("background_sigma", -1), ("contrast_sigma", 0)],
    )
    def test_raises(self, name, value):
        with pytest.raises(ValueError, match=f"{name}={value}"):
            PatternTransform(**{name: value})


def dense_standardised(transform, images, weights):
    """The definition of the preprocessed pattern, in 64 bits."""

    def mean(values):
        total = np.maximum(weights.sum(axis=(1, 2), keepdims=True), 1)
        return (values * weights).sum(axis=(1, 2), keepdims=True) / total

    def blurred(values, sigma):
        x = np.arange(transform.size)
        blur = np.exp(-0.5 * ((x[:, None] - x) / (sigma * transform.size)) ** 2)
        return blur @ (values * weights) @ blur / np.maximum(blur @ weights @ blur, 1e-6)

    weights = weights.astype(float)
    images = images - mean(images)
    images = images / np.sqrt(mean(images**2) + 1e-37)
    images = (images - blurred(images, transform.background_sigma)) * weights
    variance = blurred(images**2, transform.contrast_sigma) + 0.05 * mean(images**2)
    images = images / np.sqrt(np.maximum(variance, 1e-12)) * weights
    return np.clip(images, -transform.clip, transform.clip)


def dense_transformed(transform, patterns, mask=None, static=None):
    shape = patterns.shape[1:]
    weight = np.ones(shape) if mask is None else 1.0 * ~mask
    factor = weight
    if static is not None:
        weight = weight * (static > max(0, 0.02 * np.nanmedian(static[weight > 0])))
        factor = weight / np.where(weight > 0, static, 1)
    used = weight > 0
    with np.errstate(over="ignore"):
        values = np.where(used, patterns, 0).astype(np.float32).astype(float)
    valid = np.isfinite(values).all(axis=(1, 2))
    values[~valid] = 0
    valid &= np.ptp(values[:, used], axis=1) > 0
    values[~valid] = 0
    rows, columns = preprocessing._resize_operators(shape, transform.size)
    coverage = rows @ weight @ columns
    images = rows @ (values * factor) @ columns / np.maximum(coverage, 1e-6)
    return dense_standardised(transform, images, (coverage > 0.5)[None])[..., None], valid


def noisy_bands(shape, n=3, seed=0):
    """Patterns of values from 0 to 1."""
    rng = np.random.default_rng(seed)
    patterns = 0.3 * bands(shape) + rng.uniform(0.1, 0.4, (n, *shape))
    patterns[0] = patterns[0, ::-1, ::-1]
    return patterns


def circle(shape):
    y, x = np.ogrid[: shape[0], : shape[1]]
    middle = (shape[0] - 1) / 2, (shape[1] - 1) / 2
    return np.hypot(y - middle[0], x - middle[1]) > 0.48 * min(shape)


def assert_same(found, expected, atol=1e-4):
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_allclose(found[0], expected[0], rtol=0, atol=atol)


class TestAgainstDense:
    """Compiled and cut into blocks, the preprocessing is still what its definition says."""

    @pytest.mark.parametrize("size", [64, 71])
    @pytest.mark.parametrize(
        "shape", [(40, 40), (64, 64), (90, 90), (60, 100), (100, 60), (40, 320), (195, 243)]
    )
    @pytest.mark.parametrize("with_mask", [False, True])
    @pytest.mark.parametrize("with_static", [False, True])
    def test_shapes(self, shape, size, with_mask, with_static, rng):
        patterns = (255 * noisy_bands(shape)).astype(np.uint8)
        mask = circle(shape) if with_mask else None
        static = None
        if with_static:
            static = rng.uniform(50, 100, shape)
            dead = rng.random(shape) < 0.03
            static[dead] = rng.choice([0, 0.5, -3, np.nan], dead.sum())
        transform = PatternTransform(size=size)
        found = transform(patterns, mask, static)
        assert found[1].all()
        assert_same(found, dense_transformed(transform, patterns, mask, static))

    @pytest.mark.parametrize(
        ("dtype", "scale"),
        [
            ("uint8", 255),
            ("uint16", 65535),
            ("int32", 2e9),
            ("uint64", 1e15),
            ("float16", 1e3),
            ("float32", 1e-3),
            ("float64", 1e6),
            ("longdouble", 1),
            (">u2", 65535),
            (">f4", 1),
            (">f8", -1),
        ],
    )
    def test_data_types(self, dtype, scale):
        patterns = (scale * noisy_bands((60, 60))).astype(dtype)
        found = PatternTransform(size=48)(patterns)
        assert found[1].all()
        assert_same(found, dense_transformed(PatternTransform(size=48), patterns))

    @pytest.mark.parametrize("n", [0, 1, 40])
    def test_numbers_of_patterns(self, n):
        transform = PatternTransform()
        patterns = noisy_bands((60, 60), max(n, 1))[:n]
        found = transform(patterns)
        assert found[0].shape == (n, 71, 71, 1) and found[1].shape == (n,)
        assert_same(found, dense_transformed(transform, patterns))

    def test_in_pieces(self, monkeypatch):
        transform = PatternTransform(size=40)
        patterns = noisy_bands((50, 60), 7)
        patterns[[0, 4]] = 2
        expected = transform(patterns)
        monkeypatch.setattr(preprocessing, "_BYTES_AT_ONCE", 3 * 8 * 50 * 60)
        monkeypatch.setattr(preprocessing, "_BYTES_IN_CACHE", 2 * 4 * 40 * 40)
        lengths = []

        def noted(piece):
            lengths.append(len(piece))
            return compilable(piece)

        compilable = preprocessing._compilable
        monkeypatch.setattr(preprocessing, "_compilable", noted)
        assert_same(transform(patterns), expected, atol=1e-6)
        assert lengths == [3, 3, 1]

    def test_memory_layouts(self):
        """None of them is compiled anew, and the patterns stay as they are."""
        transform = PatternTransform(size=40)
        patterns = noisy_bands((60, 60)).astype(np.float32)
        unaligned = np.zeros(patterns.nbytes + 1, np.uint8)[1:].view(np.float32)
        unaligned = unaligned.reshape(patterns.shape)
        unaligned[:] = patterns
        locked = patterns.copy()
        locked.flags.writeable = False
        transform(patterns)
        n_compiled = len(_resampling.resize.signatures)
        for other in (
            patterns[::2],
            patterns[:, ::-1, ::-1],
            patterns[..., :50],
            patterns.transpose(0, 2, 1),
            np.asfortranarray(patterns),
            unaligned,
            locked,
        ):
            before = other.copy()
            writeable = other.flags.writeable
            assert_same(transform(other), dense_transformed(transform, other))
            np.testing.assert_array_equal(other, before)
            assert other.flags.writeable == writeable
        assert len(_resampling.resize.signatures) == n_compiled

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
    @pytest.mark.parametrize("dtype", [np.float64, np.longdouble])
    def test_values_that_are_not_finite(self, value, dtype):
        """They count where they are used only, and there wherever they are."""
        transform = PatternTransform(size=48)
        patterns, mask = noisy_bands((60, 60), 6).astype(dtype), circle((60, 60))
        expected = transform(patterns, mask)
        assert expected[1].all()
        patterns[:, mask] = value
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert_same(transform(patterns, mask), expected, atol=0)
            used = np.argwhere(~mask)
            for i, place in zip((0, 2, 5), (0, 700, -1), strict=True):
                patterns[i, *used[place]] = value
            found = transform(patterns, mask)
        assert found[1].tolist() == [False, True, False, True, True, False]
        assert_same(found, (expected[0] * found[1][:, None, None, None], found[1]), atol=0)

    @pytest.mark.parametrize("dtype", [np.uint8, np.float32])
    def test_constant(self, dtype):
        transform, mask = PatternTransform(size=48), circle((60, 60))
        patterns = np.full((5, 60, 60), 7, dtype)
        used = np.argwhere(~mask)
        # Any other value will do, be it the first or the last, but for those that are not used.
        patterns[1, mask] = np.arange(mask.sum()) % 256
        patterns[2, *used[0]] = 8
        patterns[3, *used[-1]] = 6
        patterns[4, *used[1000]] = 8
        found = transform(patterns, mask)
        assert found[1].tolist() == [False, False, True, True, True]
        assert (found[0][:2] == 0).all()
        assert transform(patterns)[1].tolist() == [False, True, True, True, True]
        assert not transform(patterns, np.ones((60, 60), bool))[1].any()

    def test_values_that_are_the_same_in_32_bits(self):
        patterns = np.full((2, 50, 50), 1.0)
        patterns[0, 20, 20] += 1e-10
        patterns[1, 20, 20] += 1e-6
        assert PatternTransform(size=40)(patterns)[1].tolist() == [False, True]

    @pytest.mark.parametrize("shape", [(59, 60), (60, 61), (3, 60, 60), (61,)])
    def test_mask_and_background_of_other_shapes(self, shape):
        """Compiled functions would read beyond them."""
        patterns = noisy_bands((60, 60))
        with pytest.raises((IndexError, ValueError)):
            PatternTransform()(patterns, np.zeros(shape, bool))
        with pytest.raises((IndexError, ValueError)):
            PatternTransform()(patterns, None, np.ones(shape))

    def test_threads(self):
        transform = PatternTransform(size=48)
        patterns = (255 * noisy_bands((60, 60), 64)).astype(np.uint8)
        patterns[5] = 3
        expected = transform(patterns)
        parts = [slice(start, start + 16) for start in (0, 16, 32, 48)] * 5
        with ThreadPoolExecutor(2) as pool:
            for part, found in zip(
                parts, pool.map(lambda part: transform(patterns[part]), parts), strict=True
            ):
                assert_same(found, (expected[0][part], expected[1][part]), atol=1e-6)


class TestStandardise:
    @pytest.mark.parametrize("n_weights", [1, 30])
    @pytest.mark.parametrize("dtype", [np.float32, bool])
    def test_against_dense(self, n_weights, dtype, rng):
        transform = PatternTransform()
        images = rng.normal(100, 10, (30, 71, 71)).astype(np.float32)
        weights = (rng.random((n_weights, 71, 71)) > 0.2).astype(dtype)
        weights[0, :20] = 0
        weights[-1, :, :30] = 0
        before = images.copy(), weights.copy()
        found = transform.standardise(images, weights)
        assert found.dtype == np.float32
        expected = dense_standardised(transform, images.astype(float), weights)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
        np.testing.assert_array_equal(images, before[0])
        np.testing.assert_array_equal(weights, before[1])

    def test_no_signal(self, rng):
        images = rng.normal(size=(3, 40, 40)).astype(np.float32)
        weights = np.ones((3, 40, 40), np.float32)
        weights[1] = 0
        images[2] = 0
        found = PatternTransform(size=40).standardise(images, weights)
        assert np.isfinite(found).all()
        assert [image.any() for image in found] == [True, False, False]

    @pytest.mark.parametrize("sigma", [0.5, 2.13, 8.5, 40])
    def test_no_denormal_weights(self, sigma):
        """With them, products of matrices take ten times as long."""
        blur = preprocessing._gaussian_operator(128, sigma)
        assert blur[blur > 0].min() > 1e-11
        x = np.arange(128)
        expected = np.exp(-0.5 * ((x[:, None] - x) / sigma) ** 2)
        np.testing.assert_allclose(blur, expected, rtol=1e-6, atol=1e-9)


class TestFindCircularMask:
    @pytest.fixture
    def pattern(self, rng):
        return 100 + 40 * bands((200, 200), 2) + rng.normal(0, 2, (200, 200))

    @pytest.mark.parametrize("outside", ["dark", "flat"])
    @pytest.mark.parametrize("radius", [0.92, 0.99])
    def test_circular(self, pattern, outside, radius):
        y, x = np.ogrid[:200, :200]
        beyond = np.hypot(y - 99.5, x - 99.5) > radius * 100
        pattern[beyond] = 0 if outside == "dark" else 110
        mask = find_circular_mask(pattern[None])
        # Nothing outside is used, and little of the inside is lost.
        assert mask[beyond].all()
        assert (~mask).sum() > 0.85 * (~beyond).sum()

    def test_rectangular(self, pattern):
        assert find_circular_mask(pattern[None]) is None
        signal = kp.data.nickel_ebsd_small()
        assert find_circular_mask(signal.data.reshape(-1, 60, 60)) is None

    def test_vignette_is_no_mask(self, pattern):
        y, x = np.ogrid[:200, :200]
        shaded = pattern * np.exp(-(((y - 100) ** 2 + (x - 100) ** 2) / 120**2))
        assert find_circular_mask(shaded[None]) is None

    def test_small_and_rectangular(self, rng):
        """So few pixels lie in the corners that some circles have none."""
        for seed in range(5):
            noise = np.random.default_rng(seed).normal(100, 10, (1, 40, 40))
            assert find_circular_mask(noise) is None

    def test_nothing_finite(self):
        assert find_circular_mask(np.full((2, 50, 50), np.nan)) is None


SHAPES = [(60, 60), (480, 480), (60, 100), (100, 60), (40, 320)]


class TestCoverage:
    @pytest.mark.parametrize("size", [32, 71])
    @pytest.mark.parametrize("shape", SHAPES)
    def test_pixels_beside_a_pattern(self, shape, size):
        """They are those that the preprocessing leaves empty."""
        transform = PatternTransform(size=size)
        coverage = transform.coverage(shape)
        assert coverage.shape == (size, size)
        assert coverage.min() >= 0 and coverage.max() == pytest.approx(1)
        noise = np.random.default_rng(0).normal(size=(1, *shape))
        image = transform(noise)[0][0, ..., 0]
        np.testing.assert_array_equal(image == 0, coverage <= 0.5)
        # Rows and columns are in proportion to those of the pattern.
        expected = [min(1, n / max(shape)) * size for n in shape]
        inside = coverage > 0.5
        found = [inside.any(axis=1).sum(), inside.any(axis=0).sum()]
        np.testing.assert_allclose(found, expected, atol=1)

    @pytest.mark.parametrize("shape", SHAPES)
    def test_mask(self, shape):
        transform = PatternTransform(size=40)
        mask = np.zeros(shape, bool)
        mask[:, shape[1] // 2 :] = True
        coverage = transform.coverage(shape, mask)
        np.testing.assert_allclose(coverage[:, :19], transform.coverage(shape)[:, :19], atol=1e-6)
        assert (coverage[:, 21:] == 0).all()
        # Lists are as good, and both masks together leave nothing.
        np.testing.assert_array_equal(transform.coverage(shape, mask.tolist()), coverage)
        both = coverage + transform.coverage(shape, ~mask)
        np.testing.assert_allclose(both, transform.coverage(shape), atol=1e-6)
        assert (transform.coverage(shape, np.ones(shape, bool)) == 0).all()


class TestToPatterns:
    @pytest.mark.parametrize("size", [32, 71])
    @pytest.mark.parametrize("shape", SHAPES)
    def test_sum_is_kept(self, shape, size, rng):
        transform = PatternTransform(size=size)
        values = rng.normal(size=(2, 3, size, size))
        inside = transform.coverage(shape) > 1 - 1e-5
        values *= inside
        assert inside.sum() > 0.05 * size**2
        found = transform.to_patterns(values, shape, keep_sum=True)
        assert found.shape == (2, 3, *shape)
        for of_found, of_values in zip(found.reshape(6, -1), values.reshape(6, -1), strict=True):
            assert of_found.sum() == pytest.approx(of_values.sum(), rel=1e-4, abs=1e-4)

    def test_what_lies_beside_is_lost(self):
        transform = PatternTransform(size=20)
        values = np.ones((20, 20))
        found = transform.to_patterns(values, (60, 30), keep_sum=True)
        # Each network pixel is 3 x 3 pixels, and half of the square is beside the pattern.
        np.testing.assert_allclose(found, np.full((60, 30), 1 / 9), rtol=1e-5)

    @pytest.mark.parametrize("size", [32, 71])
    @pytest.mark.parametrize("shape", SHAPES)
    def test_constant_stays_constant(self, shape, size):
        found = PatternTransform(size=size).to_patterns(
            np.full((size, size), 2.5), shape, keep_sum=False
        )
        np.testing.assert_allclose(found, np.full(shape, 2.5), rtol=1e-5)

    @pytest.mark.parametrize("size", [32, 71])
    @pytest.mark.parametrize("shape", SHAPES)
    def test_a_network_pixel_goes_back_to_what_it_shows(self, shape, size):
        """The one that shows a bright spot lies on it."""
        transform = PatternTransform(size=size, clip=1e3)
        scale = max(shape) / size
        y, x = np.mgrid[: shape[0], : shape[1]]
        for spot in [(0.3, 0.2), (0.25, 0.8), (0.9, 0.45)]:
            place = np.round(np.multiply(spot, np.subtract(shape, 1))).astype(int)
            distance = np.hypot(y - place[0], x - place[1])
            image = transform(np.exp(-0.5 * (distance / max(scale, 1)) ** 2)[None])[0][0, ..., 0]
            pixel = np.unravel_index(image.argmax(), image.shape)
            values = np.zeros((size, size))
            values[pixel] = 1
            for keep_sum in (True, False):
                found = transform.to_patterns(values, shape, keep_sum=keep_sum)
                centre = [(found * i).sum() / found.sum() for i in (y, x)]
                np.testing.assert_allclose(centre, place, atol=max(scale, 1) / 2 + 1e-3)
                # It covers a square as wide as the network's pixel.
                assert (found > 0).sum() <= (np.ceil(scale) + 1) ** 2
            assert found.max() <= 1 + 1e-6
