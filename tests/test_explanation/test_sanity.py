from dataclasses import fields, replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from kikuchipy_cnn.explanation import (
    randomisation_test,
    rank_correlations,
    sanity,
    with_shuffled_weights,
)
from kikuchipy_cnn.models import Ensemble

QUIET = {"show_progressbar": False}


@pytest.fixture(scope="module")
def trained(drift):
    return drift.members[0]


@pytest.fixture(scope="module")
def images(drift, trained):
    return trained.transform(np.concatenate([i.data[4:18] for i in drift.clean.sources]))[0]


@pytest.fixture(scope="module")
def shuffled(trained, images):
    return with_shuffled_weights(trained, images)


def kernels(model):
    return [weight for weight in model.network.get_weights() if weight.ndim > 1]


class TestShuffledWeights:
    def test_kernels_keep_their_values(self, trained, shuffled):
        for kernel, other in zip(kernels(trained), kernels(shuffled), strict=True):
            np.testing.assert_array_equal(np.sort(other.ravel()), np.sort(kernel.ravel()))
            assert (other != kernel).mean() > 0.5
            # Each is shuffled as a whole: within and across channels.
            assert np.abs(np.sort(other, axis=0) - np.sort(kernel, axis=0)).max() > 0
            assert np.abs(other.sum(axis=-1) - kernel.sum(axis=-1)).max() > 0

    def test_scales_and_biases_stay(self, trained, shuffled):
        seen = set()
        for variable, weight, other in zip(
            trained.network.weights,
            trained.network.get_weights(),
            shuffled.network.get_weights(),
            strict=True,
        ):
            if variable.name in ("gamma", "beta", "bias"):
                np.testing.assert_array_equal(weight, other)
                seen.add(variable.name)
        assert seen == {"gamma", "beta", "bias"}

    def test_original_is_untouched(self, trained, images):
        before = trained.network.get_weights()
        of_fields = {field.name: getattr(trained, field.name) for field in fields(trained)}
        with_shuffled_weights(trained, images, seed=3)
        for old, new in zip(before, trained.network.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)
        assert all(getattr(trained, name) is value for name, value in of_fields.items())

    def test_output_depends_on_the_input(self, trained, shuffled, images):
        logits = shuffled.logits(images)
        assert np.isfinite(logits).all()
        assert logits.std(axis=0).min() > 0.03 * trained.logits(images).std(axis=0).max()

    def test_means_and_variances_are_those_of_the_images(self, shuffled, images):
        import keras

        first = shuffled.network.layers[1].output
        values = keras.Model(shuffled.network.inputs, first).predict_on_batch(images)
        *_, mean, variance = shuffled.network.layers[2].get_weights()
        np.testing.assert_allclose(mean, values.mean(axis=(0, 1, 2)), atol=1e-3)
        np.testing.assert_allclose(variance, values.var(axis=(0, 1, 2)), rtol=1e-2, atol=1e-4)

    def test_seed(self, trained, images, shuffled):
        again = with_shuffled_weights(trained, images)
        other = with_shuffled_weights(trained, images, seed=1)
        for first, second, third in zip(
            shuffled.network.get_weights(),
            again.network.get_weights(),
            other.network.get_weights(),
            strict=True,
        ):
            np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-6)
            assert first.ndim == 1 or np.abs(first - third).max() > 0

    def test_what_belonged_to_the_weights_is_left_out(self, trained, images):
        model = replace(trained, detector=object(), rejection=object())
        found = with_shuffled_weights(model, images)
        assert found.detector is None and found.rejection is None
        for name in ("name", "architecture", "classes", "transform", "temperature"):
            assert getattr(found, name) == getattr(trained, name)

    def test_simulated_images_are_the_default(self, trained, images, shuffled, monkeypatch):
        def simulate(model, n, *, seed):
            assert model is trained and n >= 10
            return images[::-1] if seed == 0 else images[:1]

        monkeypatch.setattr(sanity, "simulate_background", simulate)
        # The order has no influence.
        found = with_shuffled_weights(trained)
        for first, second in zip(
            found.network.get_weights(), shuffled.network.get_weights(), strict=True
        ):
            np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-5)

    def test_each_member_of_an_ensemble(self, trained, images, shuffled):
        both = Ensemble("both", (trained, trained), rejection=object())
        found = with_shuffled_weights(both, images)
        assert isinstance(found, Ensemble) and found.rejection is None
        first, second = (kernels(member) for member in found.members)
        for kernel, expected in zip(first, kernels(shuffled), strict=True):
            np.testing.assert_array_equal(kernel, expected)
        assert any(np.abs(one - other).max() > 0 for one, other in zip(first, second, strict=True))

    def test_three_channels(self, trained, images):
        from kikuchipy_cnn.models import build_network

        colour = replace(trained, network=build_network("tiny", (32, 32, 3), 3))
        assert with_shuffled_weights(colour, images).network.input_shape == (None, 32, 32, 3)


@pytest.fixture(scope="module")
def patterns(drift):
    """Two of each class."""
    return np.concatenate([source.data[:2] for source in drift.clean.sources])


@pytest.fixture
def known_shuffled(monkeypatch, shuffled):
    """Spares the simulation of images."""
    monkeypatch.setattr(sanity, "with_shuffled_weights", lambda model, seed: shuffled)


class TestRandomisationTest:
    @pytest.mark.filterwarnings("ignore:The values of integrated gradients miss")
    @pytest.mark.usefixtures("known_shuffled")
    @pytest.mark.parametrize(
        ("method", "options"),
        [
            ("shap", {}),
            ("shap", {"estimator": "integrated_gradients"}),
            ("gradcam", {}),
            ("gradcam", {"details": True}),
        ],
    )
    def test_of_a_trained_network(self, trained, patterns, images, method, options):
        if method == "shap":
            options = {"background": images[::4], **options}
        found = randomisation_test(trained, patterns, method, **options, **QUIET)
        assert found.shape == (6,)
        assert -0.5 < np.nanmean(found) < 0.9

    @pytest.mark.parametrize("method", ["shap", "gradcam"])
    def test_of_the_same_network(self, trained, patterns, images, method, monkeypatch):
        monkeypatch.setattr(sanity, "with_shuffled_weights", lambda model, seed: model)
        options = {"background": images[:3]} if method == "shap" else {}
        found = randomisation_test(trained, patterns[:2], method, **options, **QUIET)
        np.testing.assert_allclose(found, np.ones(2))

    def test_what_is_compared(self, trained, patterns, shuffled, as_attributions, monkeypatch):
        """Both networks explain what the model finds most probable, pattern by pattern."""
        mask = np.zeros((40, 40), bool)
        mask[:4] = True
        images, _ = trained.transform(patterns, mask)
        labels = np.take(
            trained.classes.labels, trained.predict_probabilities(images).argmax(axis=1)
        )
        assert len(set(labels.tolist())) > 1
        asked = []

        def shuffle(model, seed):
            assert model is trained and seed == 7
            return shuffled

        def method(model, some, *, space_group, signal_mask, layer):
            assert signal_mask is mask and layer == "any"
            values = np.zeros((len(some), 1, 32, 32))
            for i, pattern in enumerate(some):
                (place,) = np.flatnonzero((patterns == pattern).all(axis=(1, 2)))
                assert space_group == labels[place]
                asked.append((model is trained, place))
                # Of two patterns, the shuffled network's explanation is another.
                kind = (0, place) if model is trained or place < 4 else (1, place)
                values[i, 0] = np.random.default_rng(kind).normal(size=(32, 32))
            return as_attributions(values, (40, 40), signal_mask=signal_mask)

        monkeypatch.setattr(sanity, "with_shuffled_weights", shuffle)
        monkeypatch.setitem(sanity.METHODS, "gradcam", method)
        found = randomisation_test(
            trained, patterns, "gradcam", seed=7, signal_mask=mask, layer="any"
        )
        assert sorted(asked) == [(of_trained, i) for of_trained in (0, 1) for i in range(6)]
        np.testing.assert_allclose(found, [1] * 4 + [0] * 2, atol=0.15)

    def test_unknown_method(self, trained, patterns):
        with pytest.raises(ValueError, match="method='lime', but it must be one of shap, gradcam"):
            randomisation_test(trained, patterns, "lime")


class TestRankCorrelations:
    @pytest.mark.parametrize(
        ("other", "expected"),
        [
            ([[1, 20], [300, 4000]], 1),  # in the same order
            ([[-1, 2], [-3, 4]], 1),  # of other signs
            ([[4, 3], [2, 1]], -1),
            ([[2, 1], [3, 4]], 1 - 6 * 2 / (4 * 15)),
            ([[1, 1], [1, 1]], np.nan),
            ([[0, 0], [0, 0]], np.nan),
            ([[-1, 1], [1, -1]], np.nan),
        ],
    )
    def test_by_hand(self, as_attributions, other, expected):
        def padded(values):
            values = np.asarray(values, float)
            return np.kron(values, np.ones((4, 4)))[None, None]

        first, second = (as_attributions(padded(i)) for i in ([[1, 2], [3, 4]], other))
        for one, two in ((first, second), (second, first)):
            found = rank_correlations(one, two)
            assert found.shape == (1, 1)
            assert found[0, 0] == pytest.approx(expected, nan_ok=True)

    def test_each_pattern_and_class(self, as_attributions, rng):
        values, others = rng.normal(size=(2, 3, 2, 8, 8))
        first, second = as_attributions(values), as_attributions(others)
        found = rank_correlations(first, second)
        assert found.shape == (3, 2)
        for place in np.ndindex(3, 2):
            ranks = [np.abs(v[place]).ravel().argsort().argsort() for v in (values, others)]
            assert found[place] == pytest.approx(np.corrcoef(*ranks)[0, 1])

    def test_details(self, as_attributions, rng):
        details = rng.normal(size=(1, 1, 8, 8))
        first = as_attributions(np.ones((1, 1, 8, 8)), details=details)
        assert np.isnan(rank_correlations(first, first)[0, 0])
        assert rank_correlations(first, first, details=True)[0, 0] == pytest.approx(1)
        with pytest.raises(ValueError, match=r"There are no details.*grad_cam\(..., guided=True\)"):
            rank_correlations(first, replace(first, details=None), details=True)

    def test_what_is_left_out_does_not_count(self, as_attributions, rng):
        mask = np.zeros((60, 60), bool)
        mask[:, :30] = True
        values, others = rng.normal(size=(2, 1, 1, 8, 8))
        part = np.s_[..., 4:]
        expected = spearmanr(np.abs(values[part]).ravel(), np.abs(others[part]).ravel()).statistic
        for filling in (0, 5 * rng.normal(size=(1, 1, 8, 4))):
            values[..., :4] = others[..., :4] = filling
            pair = [as_attributions(i, signal_mask=mask) for i in (values, others)]
            assert rank_correlations(*pair)[0, 0] == pytest.approx(expected)

    def test_shapes(self, as_attributions):
        first, second = (as_attributions(np.ones((n, 1, 8, 8))) for n in (1, 2))
        match = r"shapes \(1, 1, 8, 8\) and \(2, 1, 8, 8\) cannot be compared"
        with pytest.raises(ValueError, match=match):
            rank_correlations(first, second)


def test_details_of_shapley_values(tiny_bundle, nickel_patterns):
    with pytest.raises(ValueError, match="only method='gradcam' has details"):
        randomisation_test(tiny_bundle, nickel_patterns[0], "shap", details=True)
