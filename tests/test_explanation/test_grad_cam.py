from dataclasses import replace

import numpy as np
import pytest

from kikuchipy_cnn import LabelClasses
from kikuchipy_cnn.explanation import grad_cam
from kikuchipy_cnn.models import Ensemble
from kikuchipy_cnn.models.differentiation import gradient_function


def importance(model, patterns, *arguments, **options):
    return grad_cam(model, patterns, *arguments, show_progressbar=False, **options)


def resized(maps):
    from keras import ops

    return np.array(ops.image.resize(maps[..., None], (32, 32), interpolation="bilinear"))[..., 0]


def spots(places, shape=(60, 60), signs=None):
    """A pattern of bright spots, or dark ones where the sign is -1."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    pattern = np.full(shape, 100.0)
    for (row, column), sign in zip(places, signs or [1] * len(places), strict=True):
        pattern += 100 * sign * np.exp(-0.5 * ((y - row) ** 2 + (x - column) ** 2) / 2**2)
    return pattern


def spotting(as_bundle, kernel, bias=0.0, name="hand-made"):
    """Network whose maps are the positive parts of the image times each of the numbers given.

    The maps' means, times *kernel*, are the logits.
    """
    from keras import Input, Model, layers

    kernel = np.asarray(kernel, float)
    inputs = Input((30, 30, 1))
    x = layers.Conv2D(2, 1, name="convolution")(inputs)
    x = layers.ReLU(name="rectifier")(x)
    network = Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    factors = np.array([1.0, -1]).reshape(1, 1, 1, 2)
    network.set_weights([factors, np.full(2, bias), kernel, np.zeros(3)])
    return as_bundle(network, name=name)


# The first class is of bright spots and the second of dark ones.
OF_SPOTS = [[2, -1, -1], [-1, 1, -1]]


@pytest.fixture(scope="module")
def bright_and_dark(as_bundle):
    return spotting(as_bundle, OF_SPOTS)


@pytest.fixture(scope="module")
def found(tiny_bundle, nickel_patterns):
    """Of five patterns and all classes."""
    return importance(tiny_bundle, nickel_patterns[:5], [221, 225, 229])


class TestMaps:
    def test_range(self, found):
        assert found.method == "Grad-CAM" and found.expected_logits is None
        assert found.values.shape == found.details.shape == (5, 3, 32, 32)
        assert found.values.dtype == found.details.dtype == np.float32
        assert found.values.min() >= 0
        largest = found.values.max(axis=(2, 3))
        # Where nothing speaks for a class, it is 0 everywhere.
        assert np.isin(largest, [0, 1]).all() and (largest == 1).sum() >= 5
        of_details = np.abs(found.details).max(axis=(2, 3))
        np.testing.assert_array_equal(of_details, largest)
        assert found.details.min() < -0.1

    @pytest.mark.parametrize("guided", [False, True])
    def test_last_layer_is_class_activation_mapping(self, tiny_bundle, found, guided):
        """Feature maps times the last kernel, as global average pooling is between."""
        import keras

        network = tiny_bundle.network
        pooling, dense = network.layers[-2:]
        assert type(pooling).__name__ == "GlobalAveragePooling2D"
        images, _ = tiny_bundle.transform(found.patterns)
        maps = keras.Model(network.inputs, pooling.input).predict_on_batch(images)
        activations = np.einsum("nrck, kl -> nlrc", maps, dense.get_weights()[0])
        activations = np.maximum(activations, 0)
        expected = resized(activations.reshape(15, 4, 4)).reshape(5, 3, 32, 32)
        expected /= np.maximum(expected.max(axis=(2, 3), keepdims=True), 1e-30)
        values = importance(tiny_bundle, found.patterns, [221, 225, 229], guided=guided).values
        np.testing.assert_allclose(values, expected, atol=1e-4)

    @pytest.mark.parametrize("shape", [(60, 60), (60, 100), (100, 60), (240, 240)])
    @pytest.mark.parametrize("place", [(0.15, 0.1), (0.1, 0.85), (0.8, 0.3)])
    def test_bright_spot(self, bright_and_dark, shape, place):
        """What alone makes a class is what is important, at its place in the pattern."""
        place = np.round(np.multiply(place, shape)).astype(int)
        one = importance(bright_and_dark, spots([place], shape), 221)
        on_pattern = one.on_patterns()[0, 0]
        assert on_pattern.shape == shape
        peak = np.unravel_index(on_pattern.argmax(), shape)
        np.testing.assert_allclose(peak, place, atol=max(shape) / 30)
        y, x = np.ogrid[: shape[0], : shape[1]]
        far = np.hypot(y - place[0], x - place[1]) > 12 + max(shape) / 30
        assert on_pattern[far].max() < 0.1
        details = one.details_on_patterns()[0, 0]
        assert np.unravel_index(details.argmax(), shape) == peak

    def test_each_class_has_its_own(self, bright_and_dark):
        pattern = spots([(12, 15), (45, 40)], signs=[1, -1])
        both = importance(bright_and_dark, pattern, [225, 221])
        for of_class, place in zip(both.on_patterns()[0], [(45, 40), (12, 15)], strict=True):
            peak = np.unravel_index(of_class.argmax(), (60, 60))
            np.testing.assert_allclose(peak, place, atol=2)

    def test_nothing_speaks_for_a_class(self, bright_and_dark):
        nothing = importance(bright_and_dark, spots([(30, 30)]), 229)
        assert (nothing.values == 0).all() and (nothing.details == 0).all()

    @pytest.mark.parametrize("shape", [(60, 60), (60, 100)])
    def test_nothing_beside_the_pattern(self, tiny_bundle, nickel_patterns, rng, shape):
        y, x = np.ogrid[: shape[0], : shape[1]]
        mask = np.hypot(y - shape[0] / 2, x - shape[1] / 2) > 26
        pattern = rng.normal(size=shape)
        inside = tiny_bundle.transform.coverage(shape, mask) > 0.5
        one = importance(tiny_bundle, pattern, signal_mask=mask)
        assert (one.values[..., ~inside] == 0).all() and (one.details[..., ~inside] == 0).all()
        assert one.values[..., inside].max() == 1
        # Importance of coarse maps would reach further.
        everywhere = importance(tiny_bundle, np.where(mask, 0, pattern)).values
        assert (everywhere[..., ~inside] > 0).any()

    def test_static_background(self, tiny_bundle, nickel_patterns, rng):
        static = rng.uniform(0.5, 1, (60, 60))
        patterns = nickel_patterns[:2].astype(float)
        expected = importance(tiny_bundle, patterns)
        divided = importance(tiny_bundle, patterns * static, static_background=static)
        np.testing.assert_allclose(divided.values, expected.values, atol=1e-4)
        np.testing.assert_allclose(divided.patterns, patterns, rtol=1e-5)

    def test_batch_size_does_not_matter(self, tiny_bundle, found):
        for batch_size in (1, 2, 100):
            again = importance(tiny_bundle, found.patterns, [221, 225, 229], batch_size=batch_size)
            np.testing.assert_allclose(again.values, found.values, atol=1e-4)
            np.testing.assert_allclose(again.details, found.details, atol=1e-4)


class TestDetails:
    @pytest.fixture
    def network(self, as_bundle):
        """Rectified convolution of a pixel to two maps, of which one speaks against the class.

        Where the image is almost 0, both are positive.
        """
        return spotting(as_bundle, [[2, -1, 0.5], [-1, 3, 0.5]], bias=0.3)

    @pytest.mark.parametrize("position", [0, 1, 2])
    def test_of_two_layers(self, network, rng, position):
        image = rng.normal(size=(1, 30, 30))
        one = importance(network, image, network.classes.labels[position])
        image = one.images[0]
        kernel = network.network.get_weights()[2][:, position]
        open_bright, open_dark = image > -0.3, image < 0.3
        maps = np.stack([(image + 0.3) * open_bright, (0.3 - image) * open_dark], axis=-1)
        region = np.maximum(maps @ kernel, 0)
        # Only positive gradients pass.
        first, second = np.maximum(kernel, 0)
        gradient = first * open_bright - second * open_dark
        assert region.max() > 0
        np.testing.assert_allclose(one.values[0, 0], region / region.max(), atol=1e-5)
        expected = region * gradient
        np.testing.assert_allclose(one.details[0, 0], expected / np.abs(expected).max(), atol=1e-5)
        # Less intensity may be more of a class.
        assert (one.details.min() < -0.1) == (position > 0)

    def test_not_guided(self, tiny_bundle, found):
        plain = importance(tiny_bundle, found.patterns, [221, 225, 229], guided=False)
        assert plain.details is None
        with pytest.raises(ValueError, match="There are no details"):
            plain.details_on_patterns()
        np.testing.assert_allclose(plain.values, found.values, atol=1e-5)

    def test_guided_gradients_differ_in_earlier_layers(self, tiny_bundle, nickel_patterns):
        layer = tiny_bundle.network.layers[3].name
        guided, plain = (
            importance(tiny_bundle, nickel_patterns[:1], 225, layer, guided)
            for guided in (True, False)
        )
        assert np.abs(guided.values - plain.values).max() > 0.05


class TestLayers:
    def test_inside_a_residual_branch(self, tiny_bundle, nickel_patterns):
        """Against the definition, with the gradient from the rest of the network."""
        import keras
        from keras import layers

        network = tiny_bundle.network
        *_, last_sum = (layer for layer in network.layers if isinstance(layer, layers.Add))
        branch, shortcut = last_sum.input
        name = branch._keras_history.operation.name
        # The rest of the network, in new layers.
        rest = [keras.Input(tensor.shape[1:]) for tensor in (branch, shortcut)]
        x = layers.GlobalAveragePooling2D()(layers.ReLU()(layers.Add()(rest)))
        tail = keras.Model(rest, layers.Dense(3)(x))
        tail.set_weights(network.layers[-1].get_weights())
        maps = keras.Model(network.inputs, [branch, shortcut])
        one = importance(tiny_bundle, nickel_patterns[:3], 221, name, False)
        of_layers = maps.predict_on_batch(one.images[..., None])
        _, (gradients, _) = gradient_function(tail)(of_layers, np.eye(3)[[0, 0, 0]])
        weights = gradients.mean(axis=(1, 2), keepdims=True)
        expected = resized(np.maximum((of_layers[0] * weights).sum(axis=-1), 0))
        expected /= expected.max(axis=(1, 2), keepdims=True)
        np.testing.assert_allclose(one.values[:, 0], expected, atol=1e-4)

    def test_any_with_feature_maps(self, tiny_bundle, nickel_patterns):
        names = [
            layer.name for layer in tiny_bundle.network.layers[1:] if len(layer.output.shape) == 4
        ]
        last = importance(tiny_bundle, nickel_patterns[:1], 225)
        by_name = importance(tiny_bundle, nickel_patterns[:1], 225, layer=names[-1])
        np.testing.assert_array_equal(last.values, by_name.values)
        match = f"'tiny' has no layer 'last' with feature maps. Its layers: {', '.join(names)}."
        with pytest.raises(ValueError, match=match):
            importance(tiny_bundle, nickel_patterns[0], layer="last")
        with pytest.raises(ValueError, match="no layer 'global_average_pooling2d.* with feature"):
            importance(tiny_bundle, nickel_patterns[0], layer=tiny_bundle.network.layers[-2].name)


class TestModels:
    def test_ensemble_is_the_mean(self, as_bundle):
        """One network looks at what is bright and another, half as much, at what is dark."""
        bright = spotting(as_bundle, [[2, 0, 0], [0, 0, 0]], name="bright")
        dark = spotting(as_bundle, [[0, 0, 0], [1, 0, 0]], name="dark")
        pattern = spots([(12, 15), (45, 40)], signs=[1, -1])
        both = importance(Ensemble("both", (bright, dark)), pattern, 221)
        image = both.images[0]
        expected = 2 * np.maximum(image, 0) + np.maximum(-image, 0)
        np.testing.assert_allclose(both.values[0, 0], expected / expected.max(), atol=1e-5)
        details = 4 * np.maximum(image, 0) - np.maximum(-image, 0)
        np.testing.assert_allclose(both.details[0, 0], details / details.max(), atol=1e-5)

    def test_three_channels(self, tiny_bundle, nickel_patterns, as_bundle):
        from kikuchipy_cnn.models import build_network

        network = build_network("tiny", (32, 32, 3), 3)
        first, *others = tiny_bundle.network.get_weights()
        parts = np.random.default_rng(0).normal(0, 0.1, (3, 3, 3, 16))
        parts[:, :, 2] = first[:, :, 0] - parts[:, :, 0] - parts[:, :, 1]
        network.set_weights([parts, *others])
        grey, colour = (
            importance(bundle, nickel_patterns[:2], 225)
            for bundle in (tiny_bundle, replace(tiny_bundle, network=network))
        )
        np.testing.assert_allclose(colour.values, grey.values, atol=1e-3)
        np.testing.assert_allclose(colour.details, grey.details, atol=1e-3)

    def test_winner_is_the_default(self, tiny_bundle, found):
        one = importance(tiny_bundle, found.patterns)
        winners = found.probabilities.argmax(axis=1)
        np.testing.assert_array_equal(one.explained[:, 0], winners)
        expected = found.values[np.arange(5), winners]
        np.testing.assert_allclose(one.values[:, 0], expected, atol=1e-5)

    @pytest.mark.parametrize(("labels", "positions"), [(229, [2]), ([225, 221], [1, 0])])
    def test_classes(self, tiny_bundle, found, labels, positions):
        one = importance(tiny_bundle, found.patterns, labels)
        assert one.explained.tolist() == [positions] * 5
        np.testing.assert_allclose(one.values, found.values[:, positions], atol=1e-5)

    def test_names_and_path(self, tiny_bundle, nickel_patterns, tmp_path):
        classes = LabelClasses(("Cu", "Fe", "Ni"))
        path = replace(tiny_bundle, classes=classes).save(tmp_path / "model")
        one = importance(path, nickel_patterns[0], "Fe")
        assert one.classes == classes and one.explained.tolist() == [[1]]
        expected = importance(tiny_bundle, nickel_patterns[0], 225)
        np.testing.assert_allclose(one.values, expected.values, atol=0.05)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"batch_size": 0}, "batch_size=0 must be an integer of at least 1"),
        ({"space_group": 230}, "no space group 230. Its space groups: 221, 225, 229"),
        ({"signal_mask": np.zeros((3, 3), bool)}, r"signal_mask has shape \(3, 3\)"),
        ({"static_background": np.ones(60)}, r"static_background has shape \(60,\)"),
    ],
)
def test_wrong_arguments(tiny_bundle, nickel_patterns, options, match):
    with pytest.raises(ValueError, match=match):
        grad_cam(tiny_bundle, nickel_patterns[:1], **options)


def test_patterns_without_content(tiny_bundle):
    with pytest.raises(ValueError, match=r"Pattern\(s\) 0, 1 are constant"):
        grad_cam(tiny_bundle, np.ones((2, 60, 60)))


def test_no_feature_maps(as_bundle, nickel_patterns):
    from keras import Sequential, layers

    network = Sequential([layers.Input((32, 32, 1)), layers.Flatten(), layers.Dense(3)])
    with pytest.raises(ValueError, match="has no layer '' with feature maps. Its layers: none"):
        grad_cam(as_bundle(network), nickel_patterns[0], show_progressbar=False)
