import warnings
from contextlib import nullcontext
from dataclasses import replace

import kikuchipy as kp
import numpy as np
import pytest

from kikuchipy_cnn import LabelClasses, PatternTransform, SpaceGroupClasses
from kikuchipy_cnn.explanation import (
    _deep_shap,
    explain,
    shapley,
    shapley_values,
    simulate_background,
)
from kikuchipy_cnn.explanation._deep_shap import DEPTHWISE, knowing_depthwise_convolution
from kikuchipy_cnn.models import Ensemble, ModelBundle, build_network
from kikuchipy_cnn.models.differentiation import gradient_function

ESTIMATORS = ["deep_shap", "integrated_gradients"]


def explained(model, patterns, background, **options):
    return shapley_values(model, patterns, background, show_progressbar=False, **options)


@pytest.fixture(scope="module")
def other_bundle(tiny_bundle):
    """A network like the tiny one with other weights."""
    network = build_network("tiny", (32, 32, 1), 3)
    rng = np.random.default_rng(3)
    network.set_weights([rng.permuted(weight) for weight in tiny_bundle.network.get_weights()])
    return replace(tiny_bundle, name="other", network=network)


@pytest.fixture(scope="module")
def linear(as_bundle):
    """A network without anything that is not linear, of an odd and an even layer of each kind."""
    from keras import Input, Model, layers

    x = inputs = Input((24, 24, 1))
    x = layers.Conv2D(4, 3, 2, use_bias=True)(x)
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.BatchNormalization()(x)
    x = layers.Add()([layers.SeparableConv2D(4, 3, padding="same")(x), x])
    network = Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    rng = np.random.default_rng(0)
    network.set_weights([rng.uniform(0.2, 1, w.shape) for w in network.get_weights()])
    return as_bundle(network)


@pytest.fixture(scope="module")
def dense(as_bundle):
    """A single layer, which is fast to explain."""
    from keras import Sequential, layers

    rng = np.random.default_rng(0)
    network = Sequential([layers.Input((32, 32, 1)), layers.Flatten(), layers.Dense(3)])
    network.set_weights([rng.normal(size=(1024, 3)), np.arange(3)])
    return as_bundle(network)


@pytest.fixture(scope="module")
def shap_values(tiny_bundle, nickel_patterns, background):
    """Of three patterns and two classes of each, by DeepSHAP."""
    return explained(tiny_bundle, nickel_patterns[:3], background)


@pytest.fixture(scope="module")
def of_dense(dense, nickel_patterns, background):
    """The same of the single layer."""
    return explained(dense, nickel_patterns[:3], background)


class TestSums:
    def test_deep_shap(self, shap_values, tiny_bundle, nickel_patterns, background):
        assert shap_values.method == "DeepSHAP"
        assert shap_values.values.shape == (3, 2, 32, 32)
        assert shap_values.values.dtype == np.float32
        assert shap_values.additivity_errors.max() < 1e-5
        # What they add up to is of the network itself.
        images, _ = tiny_bundle.transform(nickel_patterns[:3])
        logits, expected = tiny_bundle.logits(images), tiny_bundle.logits(background).mean(axis=0)
        np.testing.assert_allclose(shap_values.logits, logits, atol=1e-5)
        np.testing.assert_allclose(shap_values.expected_logits, expected, atol=1e-5)
        np.testing.assert_allclose(shap_values.images, images[..., 0])
        assert np.abs(shap_values.values.sum(axis=(2, 3))).max() > 0.01

    def test_depthwise_convolution_and_maximum_pooling(self, nickel_patterns):
        bundle = ModelBundle(
            "narrow",
            "xception_narrow",
            build_network("xception_narrow", (71, 71, 1), 3),
            SpaceGroupClasses((221, 225, 229)),
            PatternTransform(size=71),
        )
        kinds = {type(layer).__name__ for layer in bundle.network.layers}
        assert {"SeparableConv2D", "MaxPooling2D"} <= kinds
        images = np.random.default_rng(0).normal(size=(3, 71, 71, 1))
        found = explained(bundle, nickel_patterns[:1], images, n_classes=1)
        assert found.additivity_errors.max() < 1e-3
        assert np.abs(found.values).max() > 0

    def test_more_steps_of_integrated_gradients(self, tiny_bundle, nickel_patterns, background):
        errors = []
        for n_steps in (1, 64):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                found = explained(
                    tiny_bundle,
                    nickel_patterns[0],
                    background,
                    estimator="integrated_gradients",
                    n_steps=n_steps,
                )
            assert found.method == "integrated gradients"
            errors.append(found.additivity_errors.max())
        assert errors[1] < 4e-3 and errors[1] < 0.2 * errors[0]

    def test_default_steps_are_enough(self, tiny_bundle, nickel_patterns, background):
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            found = explained(
                tiny_bundle, nickel_patterns[:3], background, estimator="integrated_gradients"
            )
        assert found.additivity_errors.max() < shapley.LARGEST_ERROR

    @pytest.mark.parametrize(
        ("estimator", "name", "remedy"),
        [
            ("deep_shap", "DeepShap", "of DeepSHAP miss.*try estimator='integrated_gradients'"),
            (
                "integrated_gradients",
                "_IntegratedGradients",
                r"of integrated gradients miss.*More steps \(n_steps\) or background",
            ),
        ],
    )
    def test_wrong_sums_warn(
        self, tiny_bundle, nickel_patterns, background, monkeypatch, estimator, name, remedy
    ):
        class Wrong(getattr(shapley, name)):
            def __call__(self, image, batches):
                return (1.5 * values for values in super().__call__(image, batches))

        monkeypatch.setattr(shapley, name, Wrong)
        with pytest.warns(UserWarning, match=rf"{remedy}") as caught:
            found = explained(tiny_bundle, nickel_patterns[:1], background, estimator=estimator)
        largest = found.additivity_errors.max()
        assert largest > 0.01
        # Importing shap may warn, too.
        (warning,) = (one for one in caught if one.category is UserWarning)
        assert f"by up to {largest:.1e} of the logit span" in str(warning.message)
        assert warning.filename == __file__

    def test_right_sums_do_not_warn(self, tiny_bundle, nickel_patterns, background):
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            explained(tiny_bundle, nickel_patterns[0], background, n_classes=1)


class TestValues:
    @pytest.mark.parametrize("estimator", ESTIMATORS)
    def test_of_a_single_layer(self, dense, nickel_patterns, background, estimator):
        """The kernel times the difference from the mean background."""
        found = explained(
            dense,
            nickel_patterns[:2],
            background,
            estimator=estimator,
            space_group=[229, 221],
            n_steps=1,
        )
        images, _ = dense.transform(nickel_patterns[:2])
        kernel, _ = dense.network.get_weights()
        difference = (images - background.mean(axis=0)).reshape(2, 1, 1024)
        expected = (difference * kernel.T[[2, 0]]).reshape(2, 2, 32, 32)
        np.testing.assert_allclose(found.values, expected, atol=1e-5)
        assert found.additivity_errors.max() < 1e-5

    @pytest.mark.parametrize("estimator", ESTIMATORS)
    def test_of_linear_layers(self, linear, nickel_patterns, rng, estimator):
        """The gradient, which is the same everywhere, times the difference."""
        background = rng.normal(size=(5, 24, 24, 1)).astype(np.float32)
        images, _ = linear.transform(nickel_patterns[:1])
        _, (gradient,) = gradient_function(linear.network)([images], np.eye(3)[[1]])
        expected = (gradient * (images - background.mean(axis=0)))[0, ..., 0]
        found = explained(
            linear, nickel_patterns[0], background, estimator=estimator, space_group=225, n_steps=1
        )
        np.testing.assert_allclose(found.values[0, 0], expected, atol=1e-5 * np.ptp(expected))

    @pytest.mark.parametrize("estimator", ESTIMATORS)
    def test_nothing_differs_from_the_sole_background(
        self, tiny_bundle, nickel_patterns, estimator
    ):
        one = nickel_patterns[:1]
        found = explained(tiny_bundle, one, one, estimator=estimator)
        assert (found.values == 0).all()

    def test_mean_over_the_background(self, tiny_bundle, nickel_patterns, background):
        both = explained(tiny_bundle, nickel_patterns[0], background[:2], space_group=225)
        each = [
            explained(tiny_bundle, nickel_patterns[0], background[[i]], space_group=225).values
            for i in (0, 1)
        ]
        np.testing.assert_allclose(both.values, np.mean(each, axis=0), atol=1e-6)
        assert np.abs(each[0] - each[1]).max() > 1e-3

    @pytest.mark.parametrize("estimator", ESTIMATORS)
    def test_batch_size_does_not_matter(self, tiny_bundle, nickel_patterns, background, estimator):
        options = {"estimator": estimator, "space_group": 225}
        found = [
            explained(
                tiny_bundle, nickel_patterns[:1], background[:11], batch_size=n, **options
            ).values
            for n in (5, 100)
        ]
        np.testing.assert_allclose(*found, atol=1e-6)

    def test_three_channels(self, other_bundle, nickel_patterns, background):
        """As one of a kernel that is the sum of three."""
        network = build_network("tiny", (32, 32, 3), 3)
        first, *others = other_bundle.network.get_weights()
        parts = np.random.default_rng(0).normal(0, 0.1, (3, 3, 3, 16))
        parts[:, :, 2] = first[:, :, 0] - parts[:, :, 0] - parts[:, :, 1]
        network.set_weights([parts, *others])
        colour = replace(other_bundle, network=network)
        for estimator in ESTIMATORS:
            found = [
                explained(
                    bundle, nickel_patterns[0], background, estimator=estimator, space_group=225
                )
                for bundle in (other_bundle, colour)
            ]
            assert found[1].additivity_errors.max() < 1e-2
            np.testing.assert_allclose(found[0].values, found[1].values, atol=1e-4)

    def test_ensemble(self, tiny_bundle, other_bundle, nickel_patterns, background):
        members = (tiny_bundle, other_bundle)
        ensemble = Ensemble("both", members)
        both = explained(ensemble, nickel_patterns[:2], background, space_group=229)
        each = [
            explained(member, nickel_patterns[:2], background, space_group=229)
            for member in members
        ]
        for name in ("values", "logits", "expected_logits"):
            expected = np.mean([getattr(one, name) for one in each], axis=0)
            np.testing.assert_allclose(getattr(both, name), expected, atol=1e-6)
        assert both.additivity_errors.max() < 1e-5
        assert np.abs(each[0].values - each[1].values).max() > 1e-3

    def test_mask_and_static_background(self, dense, nickel_patterns, rng):
        mask = np.zeros((60, 60), bool)
        mask[:, 40:] = True
        static = rng.uniform(0.5, 1, (60, 60))
        patterns, others = nickel_patterns[:2].astype(float), nickel_patterns[2:5].astype(float)
        expected = explained(dense, patterns, others, signal_mask=mask)
        noise = np.where(mask, rng.normal(size=(60, 60)), 0)
        found = explained(
            dense,
            patterns * static + noise,
            others * static + noise,
            signal_mask=mask,
            static_background=static,
        )
        assert (found.values[..., dense.transform.coverage((60, 60), mask) <= 0.5] == 0).all()
        np.testing.assert_allclose(found.values, expected.values, atol=1e-4)
        np.testing.assert_allclose(found.patterns[:, ~mask], patterns[:, ~mask], rtol=1e-5)
        np.testing.assert_array_equal(found.signal_mask, mask)


class TestBackground:
    def test_simulated(self, dense, nickel_patterns):
        shape = (40, 60)
        mask = np.zeros(shape, bool)
        mask[:, :10] = True
        options = {"n_background": 1, "signal_mask": mask, "seed": 5}
        patterns = nickel_patterns[:1, : shape[0]]
        found = explained(dense, patterns, None, **options)
        images = simulate_background(dense, 1, shape=shape, signal_mask=mask, seed=5)
        np.testing.assert_array_equal(
            found.values, explained(dense, patterns, images, signal_mask=mask).values
        )
        assert (found.values[..., dense.transform.coverage(shape, mask) <= 0.5] == 0).all()

    def test_as_the_camera_gives_them(self, dense, nickel_patterns):
        images, _ = dense.transform(nickel_patterns[4:])
        first, second = (
            explained(dense, nickel_patterns[0], background, n_classes=1)
            for background in (nickel_patterns[4:], images)
        )
        np.testing.assert_array_equal(first.values, second.values)

    @pytest.mark.parametrize("shape", [(60, 60), (40, 60)])
    def test_shows_nothing_where_the_patterns_do_not(self, dense, nickel_patterns, rng, shape):
        mask = np.zeros(shape, bool)
        mask[:10] = True
        inside = dense.transform.coverage(shape, mask) > 0.5
        background = rng.normal(size=(3, 32, 32, 1))
        first, second = (
            explained(dense, nickel_patterns[0, : shape[0]], images, signal_mask=mask)
            for images in (background, background * inside[..., None])
        )
        np.testing.assert_allclose(first.values, second.values, atol=1e-7)
        assert (first.values[..., ~inside] == 0).all()
        np.testing.assert_allclose(first.expected_logits, second.expected_logits, atol=1e-6)


class TestInterruption:
    @pytest.fixture
    def interrupt(self, monkeypatch):
        """Function that takes in which explanation of a class Ctrl-C is pressed."""
        make = shapley._explainer

        def interrupt(at):
            calls = []

            def made(*arguments):
                explainer = make(*arguments)

                def explain(image, batches):
                    calls.append(image)
                    if len(calls) == at:
                        raise KeyboardInterrupt
                    return explainer(image, batches)

                return explain

            monkeypatch.setattr(shapley, "_explainer", made)

        return interrupt

    # Of two classes of each pattern.
    @pytest.mark.parametrize(("at", "n_done"), [(3, 1), (4, 1), (5, 2)])
    def test_what_is_done_is_kept(self, of_dense, dense, background, interrupt, at, n_done):
        interrupt(at)
        with pytest.warns(UserWarning, match=f"values are of the first {n_done} of 3 patterns"):
            found = explained(dense, of_dense.patterns, background)
        assert len(found) == n_done
        for name in ("patterns", "images", "values", "explained", "logits", "probabilities"):
            np.testing.assert_allclose(
                getattr(found, name), getattr(of_dense, name)[:n_done], atol=1e-6
            )
        assert found.additivity_errors.shape == (n_done, 2)

    @pytest.mark.parametrize("at", [1, 2])
    def test_nothing_is_done(self, of_dense, dense, background, interrupt, at):
        interrupt(at)
        with pytest.raises(KeyboardInterrupt):
            explained(dense, of_dense.patterns, background)

    def test_places_of_what_is_done(self, dense, background, interrupt):
        interrupt(5)
        signal = kp.data.nickel_ebsd_small()
        index = [(2, 1), (0, 0), (1, 1)]
        options = {"background": background, "show_progressbar": False}
        with pytest.warns(UserWarning, match="first 2 of 3"):
            found = explain(signal, index, dense, **options)
        assert found.places == ((2, 1), (0, 0)) and len(found) == 2


class TestClasses:
    def test_winner_and_next(self, of_dense, dense):
        images, _ = dense.transform(of_dense.patterns)
        probabilities = dense.predict_probabilities(images)
        np.testing.assert_allclose(of_dense.probabilities, probabilities, atol=1e-6)
        np.testing.assert_array_equal(of_dense.explained, np.argsort(-probabilities)[:, :2])

    @pytest.mark.parametrize("n_classes", [1, 3])
    def test_number(self, of_dense, dense, background, n_classes):
        found = explained(
            dense, of_dense.patterns[:2], background, n_classes=n_classes, batch_size=12
        )
        assert found.explained.shape == (2, n_classes)
        both = min(2, n_classes)
        np.testing.assert_array_equal(found.explained[:, :both], of_dense.explained[:2, :both])
        np.testing.assert_allclose(found.values[:, :both], of_dense.values[:2, :both], atol=1e-6)

    @pytest.mark.parametrize(
        ("labels", "positions"), [(229, [2]), ([229, 221], [2, 0]), (np.array([225]), [1])]
    )
    def test_given(self, of_dense, dense, background, labels, positions):
        found = explained(dense, of_dense.patterns[:2], background, space_group=labels)
        assert found.explained.tolist() == [positions] * 2
        for i, k in np.argwhere(np.isin(of_dense.explained[:2], positions)):
            place = positions.index(of_dense.explained[i, k])
            np.testing.assert_allclose(found.values[i, place], of_dense.values[i, k], atol=1e-6)

    def test_names(self, of_dense, dense, background):
        classes = LabelClasses(("Fe", "Ni", "Ni3Al"))
        labelled = replace(dense, classes=classes)
        found = explained(labelled, of_dense.patterns[0], background, space_group="Ni3Al")
        assert found.classes is classes
        expected = explained(dense, of_dense.patterns[0], background, space_group=229)
        np.testing.assert_array_equal(found.values, expected.values)
        with pytest.raises(ValueError, match="no class 225. Its classes: 'Fe', 'Ni', 'Ni3Al'"):
            explained(labelled, of_dense.patterns[0], background, space_group=225)


class TestWrongArguments:
    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"n_classes": 0}, "n_classes=0 must be an integer of at least 1"),
            ({"n_background": 0.5}, "n_background=0.5 must be an integer of at least 1"),
            ({"n_steps": 0}, "n_steps=0 must be an integer of at least 1"),
            ({"batch_size": 0}, "batch_size=0 must be an integer of at least 1"),
            (
                {"estimator": "lime"},
                "estimator='lime', but it must be one of deep_shap, integrated_gradients",
            ),
            ({"space_group": 230}, "no space group 230. Its space groups: 221, 225, 229"),
            ({"space_group": [221, 1, "a"]}, "no space group 1, 'a'"),
            ({"space_group": []}, "no space group of no name"),
            ({"signal_mask": np.zeros((60, 61), bool)}, r"signal_mask has shape \(60, 61\)"),
            ({"signal_mask": np.zeros((60, 60), int)}, "signal_mask must be boolean, not .* int64"),
            ({"signal_mask": np.ones((60, 60), bool)}, "signal_mask is all True"),
            ({"static_background": np.ones((3, 3))}, r"static_background has shape \(3, 3\)"),
            ({"static_background": np.zeros((60, 60))}, "finite and positive somewhere"),
            ({"background": np.zeros((0, 32, 32, 1))}, r"Background of shape \(0, 32, 32, 1\)"),
            ({"background": np.zeros((0, 60, 60))}, r"Background of shape \(0, 60, 60\) given"),
            ({"background": np.zeros((2, 32, 32))}, r"Give patterns of shape \(m, 60, 60\), as"),
            ({"background": np.zeros((2, 60, 60, 1))}, r"network input of shape \(m, 32, 32, 1\)"),
            ({"background": np.ones((2, 60, 60))}, r"Pattern\(s\) 0, 1 are constant"),
        ],
    )
    def test_arguments(self, tiny_bundle, nickel_patterns, background, options, match):
        options = {"background": background, **options}
        with pytest.raises(ValueError, match=match):
            shapley_values(tiny_bundle, nickel_patterns[:1], **options)

    @pytest.mark.parametrize("shape", [(60,), (1, 1, 60, 60), (0, 60, 60), (2, 0, 60)])
    def test_shapes_of_patterns(self, tiny_bundle, background, shape):
        with pytest.raises(ValueError, match=r"Give \(rows, columns\) or \(n, rows, columns\)"):
            explained(tiny_bundle, np.ones(shape), background)

    def test_patterns_without_content(self, tiny_bundle, nickel_patterns, background):
        patterns = nickel_patterns[:4].astype(float)
        patterns[1] = 3
        patterns[3, 5, 5] = np.nan
        with pytest.raises(ValueError, match=r"Pattern\(s\) 1, 3 are constant or have values that"):
            explained(tiny_bundle, patterns, background)

    def test_other_backends(self, tiny_bundle, nickel_patterns, background, monkeypatch):
        monkeypatch.setattr("keras.backend.backend", lambda: "torch")
        with pytest.raises(ValueError, match="DeepSHAP needs the TensorFlow backend, not 'torch'"):
            explained(tiny_bundle, nickel_patterns[0], background, estimator="deep_shap")
        assert shapley._checked_estimator(None) == "integrated_gradients"


class TestMend:
    """What shap lacks, and what it is told for a while."""

    @pytest.fixture
    def handlers(self):
        from shap.explainers._deep import deep_tf

        return deep_tf.op_handlers

    def test_shap_does_not_know_depthwise_convolution(self, handlers):
        assert DEPTHWISE not in handlers, (
            "This shap knows depthwise convolution: _deep_shap.knowing_depthwise_convolution can "
            "go when older versions are not supported any more."
        )

    def test_is_undone(self, handlers, shap_values):
        # Values were computed before.
        before = dict(handlers)
        with knowing_depthwise_convolution():
            assert DEPTHWISE in handlers
        assert handlers == before
        with pytest.raises(RuntimeError), knowing_depthwise_convolution():
            raise RuntimeError
        assert handlers == before

    def test_leaves_what_shap_knows(self, handlers, monkeypatch):
        theirs = object()
        monkeypatch.setitem(handlers, DEPTHWISE, theirs)
        with knowing_depthwise_convolution():
            assert handlers[DEPTHWISE] is theirs
        assert handlers[DEPTHWISE] is theirs

    def test_is_needed(self, linear, nickel_patterns, rng, monkeypatch):

        # shap does not put this back when it fails.
        monkeypatch.setattr(_deep_shap, "knowing_depthwise_convolution", nullcontext)
        background = rng.normal(size=(2, 24, 24, 1))
        with pytest.raises(Exception, match=f"LookupError.*no entry for: shap_{DEPTHWISE}"):
            explained(linear, nickel_patterns[0], background, n_classes=1)

    def test_gradients_work_after_a_failure(self, linear, nickel_patterns, rng, monkeypatch):
        """Or after Ctrl-C, or where there was not enough memory."""

        monkeypatch.setattr(_deep_shap, "knowing_depthwise_convolution", nullcontext)
        with pytest.raises(Exception, match=DEPTHWISE):
            explained(linear, nickel_patterns[0], rng.normal(size=(2, 24, 24, 1)), n_classes=1)
        _, (gradients,) = gradient_function(linear.network)([np.ones((1, 24, 24, 1))], [[1, 0, 0]])
        assert np.abs(gradients).max() > 0


class TestInputs:
    def test_list_as_mask(self, dense, nickel_patterns):
        mask = np.zeros((60, 60), bool)
        mask[:10] = True
        first, second = (
            explained(dense, nickel_patterns[0], None, n_background=1, signal_mask=one)
            for one in (mask, mask.tolist())
        )
        np.testing.assert_array_equal(first.values, second.values)

    def test_last_layer_without_bias(self, as_bundle, nickel_patterns, background, rng):
        from keras import Sequential, layers

        network = Sequential(
            [layers.Input((32, 32, 1)), layers.Flatten(), layers.Dense(3, use_bias=False)]
        )
        values = explained(as_bundle(network), nickel_patterns[0], background)
        assert values.additivity_errors.max() < 1e-5

    def test_complex_patterns(self, dense, nickel_patterns, background):
        with pytest.raises(ValueError, match="data type complex128"):
            explained(dense, nickel_patterns[0] + 1j, background)

    def test_background_that_is_not_finite(self, dense, nickel_patterns, background):
        background = background.copy()
        background[3, 1, 1] = np.nan
        with pytest.raises(ValueError, match="background has values that are not finite"):
            explained(dense, nickel_patterns[0], background)
