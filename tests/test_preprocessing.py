import kikuchipy as kp
import numpy as np
import pytest

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
