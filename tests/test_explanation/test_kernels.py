import numpy as np
import pytest
from scipy.signal import correlate2d

from kikuchipy_cnn import PatternTransform, SpaceGroupClasses
from kikuchipy_cnn.explanation.kernels import feature_maps, similar_kernels
from kikuchipy_cnn.models import Ensemble, ModelBundle

ORDER = (2, 0, 3, 1)


def make_bundle(kernels, channels=1, second=4, name="hand-made"):
    """Convolution by *kernels*, of shape (3, 3, channels, n), with a stride and no padding."""
    from keras import Input, Model, layers

    inputs = Input((16, 16, channels))
    x = layers.Conv2D(kernels.shape[-1], 3, 2, use_bias=False, name="first")(inputs)
    x = layers.ReLU(name="activation")(x)
    x = layers.Conv2D(second, 3, name="second")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    network = Model(inputs, layers.Dense(2)(x))
    network.set_weights([kernels, *network.get_weights()[1:]])
    classes = SpaceGroupClasses((225, 229))
    return ModelBundle(name, "hand-made", network, classes, PatternTransform(size=16))


@pytest.fixture(scope="module")
def kernels():
    return np.random.default_rng(0).normal(size=(3, 3, 1, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def bundle(kernels):
    return make_bundle(kernels)


@pytest.fixture
def patterns(rng):
    return rng.integers(0, 256, (3, 20, 20)).astype(np.uint8)


def partners(pairs):
    """Number of the second kernel by that of the first one."""
    return {pair.index_a: pair.index_b for pair in pairs}


class TestSimilarKernels:
    order = {i: ORDER.index(i) for i in range(4)}

    def test_same_kernels_in_another_order(self, bundle, kernels):
        pairs = similar_kernels(bundle, make_bundle(kernels[..., ORDER]))
        assert partners(pairs) == self.order
        for pair in pairs:
            assert pair.distance == 0 and pair.sign == 1
            assert pair.kernel_a.shape == (3, 3, 1)
            np.testing.assert_array_equal(pair.kernel_a, kernels[..., pair.index_a])
            np.testing.assert_array_equal(pair.kernel_b, pair.kernel_a)
        assert "kernel_a" not in repr(pairs[0])

    def test_nearest_first(self, bundle, kernels):
        steps = np.array([0.3, 0.1, 0.4, 0.2], np.float32)
        pairs = similar_kernels(bundle, make_bundle(kernels + steps), n=3)
        assert [pair.index_a for pair in pairs] == [1, 3, 0]
        np.testing.assert_allclose([pair.distance for pair in pairs], [0.3, 0.6, 0.9], rtol=1e-5)
        for pair in pairs:
            assert pair.distance == pytest.approx(np.linalg.norm(pair.kernel_a - pair.kernel_b))

    @pytest.mark.parametrize(
        ("factors", "options"),
        [
            ((-1, -1, 1, -1), {"up_to_sign": True}),
            ((3, 0.1, 2, 5), {"up_to_scale": True}),
            ((-3, 0.1, 2, -5), {"up_to_sign": True, "up_to_scale": True}),
        ],
    )
    def test_sign_and_scale(self, bundle, kernels, factors, options):
        other = make_bundle(kernels[..., ORDER] * np.float32(factors))
        assert similar_kernels(bundle, other)[-1].distance > 1
        pairs = similar_kernels(bundle, other, **options)
        assert partners(pairs) == self.order
        for pair in pairs:
            assert pair.distance < 1e-6
            assert pair.sign == np.sign(factors[pair.index_b])
            np.testing.assert_allclose(pair.kernel_b, pair.kernel_a, atol=1e-6)
            if "up_to_scale" in options:
                assert np.linalg.norm(pair.kernel_b) == pytest.approx(1)

    def test_each_kernel_is_in_one_pair(self):
        def of_levels(*levels):
            return make_bundle(np.ones((3, 3, 1, 1), np.float32) * np.float32(levels))

        # 1.0 is nearest to both of the first ones; only one of them gets it.
        pairs = similar_kernels(of_levels(1.125, 0.75), of_levels(1.0, 4.0), n=2)
        assert [(pair.index_a, pair.index_b) for pair in pairs] == [(0, 0), (1, 1)]
        assert [pair.distance for pair in pairs] == pytest.approx([3 * 0.125, 3 * 3.25])

    @pytest.mark.filterwarnings("error::RuntimeWarning")
    def test_kernel_of_zeros_has_no_direction(self, bundle, kernels):
        dead = kernels * np.float32([1, 0, 1, 1])
        pairs = similar_kernels(bundle, make_bundle(dead), up_to_scale=True, up_to_sign=True)
        assert pairs[-1].distance == np.inf
        assert pairs[-1].index_a == pairs[-1].index_b == 1
        np.testing.assert_array_equal(pairs[-1].kernel_b, 0)
        assert similar_kernels(make_bundle(dead), make_bundle(dead))[-1].distance == 0

    def test_three_equal_channels_are_like_one(self, bundle, kernels, patterns, rng):
        parts = rng.normal(size=(3, 3, 3, 4)).astype(np.float32)
        parts[:, :, 2] = kernels[:, :, 0] - parts[:, :, 0] - parts[:, :, 1]
        colour = make_bundle(parts, channels=3)
        for pairs in (similar_kernels(bundle, colour), similar_kernels(colour, bundle)):
            assert partners(pairs) == {i: i for i in range(4)}
            assert all(pair.distance < 1e-6 for pair in pairs)
            assert all(pair.kernel_b.shape == (3, 3, 1) for pair in pairs)
        # Of two networks with colours, what they do with a pattern is compared, too.
        mixed = make_bundle(parts[:, :, [1, 2, 0]], channels=3)
        assert all(pair.distance < 1e-6 for pair in similar_kernels(colour, mixed))
        np.testing.assert_allclose(
            feature_maps(colour, patterns), feature_maps(bundle, patterns), atol=1e-4
        )

    def test_later_layer(self, bundle):
        pairs = similar_kernels(bundle, bundle, "second", 2)
        assert [pair.distance for pair in pairs] == [0, 0]
        assert pairs[0].kernel_a.shape == (3, 3, 4)

    def test_default_is_the_first_layer_of_each(self, tiny_bundle, bundle):
        pairs = similar_kernels(tiny_bundle, bundle)
        assert len(pairs) == 4
        assert max(pair.index_a for pair in pairs) > 3

    def test_layers_of_different_kernels(self, bundle, kernels):
        other = make_bundle(kernels[..., :3], name="other")
        match = (
            r"'second' of 'hand-made' has kernels of shape \(3, 3, 4\), but 'second' of 'other' "
            r"has kernels of shape \(3, 3, 3\)\. Give"
        )
        with pytest.raises(ValueError, match=match):
            similar_kernels(bundle, other, "second")

    @pytest.mark.parametrize(
        ("layer", "match"),
        [
            ("third", r"'hand-made' has no layer 'third'\. Its Conv2D layers: first, second\."),
            ("activation", "has a layer 'activation', but that is a ReLU. Its Conv2D layers: fir"),
        ],
    )
    def test_no_such_layer(self, bundle, layer, match):
        with pytest.raises(ValueError, match=match):
            similar_kernels(bundle, bundle, layer)

    @pytest.mark.parametrize(
        ("n", "match"),
        [
            (0, "n=0 must be an integer of at least 1"),
            (1.5, "n=1.5 must be an integer"),
            (5, "n=5, but the layers have only 4 kernels to pair"),
        ],
    )
    def test_number_of_pairs(self, bundle, n, match):
        with pytest.raises(ValueError, match=match):
            similar_kernels(bundle, bundle, n=n)

    def test_ensemble(self, bundle):
        ensemble = Ensemble("both", (bundle, bundle))
        match = "'both' is an ensemble.*Give one of its 2 `members`"
        with pytest.raises(ValueError, match=match):
            similar_kernels(bundle, ensemble)
        with pytest.raises(ValueError, match=match):
            feature_maps(ensemble, np.zeros((20, 20)))

    def test_network_without_convolutions(self, bundle):
        from keras import Sequential, layers

        network = Sequential([layers.Input((16, 16, 1)), layers.Flatten(), layers.Dense(2)])
        dense = ModelBundle("dense", "dense", network, bundle.classes, bundle.transform)
        with pytest.raises(ValueError, match="The network of 'dense' has no Conv2D layer"):
            similar_kernels(bundle, dense)

    def test_path(self, tiny_bundle, tmp_path):
        path = tiny_bundle.save(tmp_path / "tiny")
        pairs = similar_kernels(tiny_bundle, path, n=16)
        assert partners(pairs) == {i: i for i in range(16)}
        # Files hold numbers of 16 bits.
        assert 0 < pairs[-1].distance < 1e-3


class TestFeatureMaps:
    def test_is_a_correlation(self, bundle, kernels, patterns):
        images, _ = bundle.transform(patterns)
        maps = feature_maps(bundle, patterns)
        assert maps.shape == (3, 4, 7, 7) and maps.dtype == np.float32
        for image, of_image in zip(images[..., 0], maps, strict=True):
            for i, found in enumerate(of_image):
                whole = correlate2d(image, kernels[:, :, 0, i], mode="valid")
                np.testing.assert_allclose(found, whole[::2, ::2], atol=1e-4)
        assert maps.min() < 0

    def test_padded_convolution(self, tiny_bundle, patterns):
        images, _ = tiny_bundle.transform(patterns[:1])
        kernel = tiny_bundle.network.get_weights()[0][:, :, 0, 5]
        # An even number of pixels and a stride of 2 need a row and a column more at the end.
        padded = np.pad(images[0, ..., 0], (0, 1))
        expected = correlate2d(padded, kernel, mode="valid")[::2, ::2]
        (found,) = feature_maps(tiny_bundle, patterns[0], kernels=[5])
        np.testing.assert_allclose(found[0], expected, atol=1e-4)

    def test_chosen_kernels(self, bundle, patterns):
        maps = feature_maps(bundle, patterns)
        chosen = feature_maps(bundle, patterns, "first", np.array([3, 0]))
        np.testing.assert_array_equal(chosen, maps[:, [3, 0]])

    def test_other_layers(self, bundle, patterns):
        activated = feature_maps(bundle, patterns, "activation")
        np.testing.assert_array_equal(activated, np.maximum(feature_maps(bundle, patterns), 0))
        assert feature_maps(bundle, patterns, "second").shape == (3, 4, 5, 5)

    def test_batches(self, bundle, patterns, monkeypatch):
        at_once = feature_maps(bundle, patterns)
        monkeypatch.setattr("kikuchipy_cnn.explanation.kernels._PATTERNS_AT_ONCE", 2)
        np.testing.assert_allclose(feature_maps(bundle, patterns), at_once, atol=1e-5)

    def test_mask_and_background(self, bundle, kernels, patterns, rng):
        mask = np.zeros((20, 20), bool)
        mask[:4] = True
        background = rng.uniform(50, 100, (20, 20))
        arguments = {"signal_mask": mask, "static_background": background}
        images, _ = bundle.transform(patterns, **arguments)
        found = feature_maps(bundle, patterns, kernels=[1], **arguments)
        for image, (of_image,) in zip(images[..., 0], found, strict=True):
            whole = correlate2d(image, kernels[:, :, 0, 1], mode="valid")
            np.testing.assert_allclose(of_image, whole[::2, ::2], atol=1e-4)

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            ({"layer": "third"}, r"no layer 'third' with feature maps.*: .*first, activation, sec"),
            ({"layer": "mean"}, "no layer 'mean' with feature maps"),
            ({"kernels": [1, 4]}, r"kernels=\[1, 4\] must be numbers from 0 to 3"),
            ({"kernels": [-1]}, r"kernels=\[-1\] must be numbers from 0 to 3"),
            ({"kernels": [0.5]}, r"kernels=\[0.5\] must be numbers from 0 to 3"),
            ({"kernels": []}, r"kernels=\[\] must be .* one at least: layer 'first' has 4"),
            ({"signal_mask": np.zeros((3, 3), bool)}, r"signal_mask has shape \(3, 3\)"),
            ({"signal_mask": np.zeros((20, 20))}, "signal_mask must be boolean, not .* float64"),
            ({"static_background": np.ones(20)}, r"static_background has shape \(20,\)"),
        ],
    )
    def test_wrong_arguments(self, bundle, patterns, arguments, match):
        with pytest.raises(ValueError, match=match):
            feature_maps(bundle, patterns, **arguments)

    @pytest.mark.parametrize("shape", [(20,), (2, 2, 20, 20), (0, 20, 20)])
    def test_wrong_shape(self, bundle, shape):
        with pytest.raises(ValueError, match="Patterns of shape .* given"):
            feature_maps(bundle, np.ones(shape))

    def test_patterns_without_content(self, bundle, patterns):
        patterns = patterns.astype(float)
        patterns[0] = 7
        patterns[2, 3, 3] = np.nan
        with pytest.raises(ValueError, match=r"Pattern\(s\) 0, 2 are constant or have values"):
            feature_maps(bundle, patterns)
