import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from kikuchipy_cnn.models.differentiation import gradient_function, with_probe


@pytest.fixture(scope="module")
def smooth():
    """Network without rectifiers, of two inputs and two outputs."""
    keras.utils.set_random_seed(0)
    first, second = keras.Input((6, 6, 2)), keras.Input((6, 6, 3))
    x = layers.Conv2D(3, 3, padding="same", activation="tanh")(first)
    x = layers.Add()([x, layers.BatchNormalization()(second)])
    y = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="softplus")(x))
    return keras.Model([first, second], [layers.Dense(3)(y), x])


def along(run, inputs, weights, directions, step):
    """Slope of the weighted sum of the first output, by finite differences."""
    totals = []
    for sign in (1, -1):
        moved = [i + sign * step * d for i, d in zip(inputs, directions, strict=True)]
        totals.append((run(moved, weights)[0][0].astype(float) * weights).sum(axis=1))
    return (totals[0] - totals[1]) / (2 * step)


def product(gradients, directions):
    pairs = zip(gradients, directions, strict=True)
    return sum((g * d).sum(axis=tuple(range(1, g.ndim))) for g, d in pairs)


class TestGradientFunction:
    def test_finite_differences(self, smooth, rng):
        run = gradient_function(smooth)
        inputs = [rng.normal(size=(4, 6, 6, n)) for n in (2, 3)]
        weights = rng.normal(size=(4, 3))
        outputs, gradients = run(inputs, weights)
        assert [g.shape for g in gradients] == [(4, 6, 6, 2), (4, 6, 6, 3)]
        for output, expected in zip(outputs, smooth.predict_on_batch(inputs), strict=True):
            np.testing.assert_allclose(output, expected, atol=1e-5)
        for _ in range(5):
            directions = [rng.normal(size=i.shape) for i in inputs]
            slopes = along(run, inputs, weights, directions, 1e-2)
            np.testing.assert_allclose(product(gradients, directions), slopes, atol=2e-3)
            assert np.abs(slopes).max() > 0.1

    def test_each_image_has_its_own_weights(self, tiny_bundle, rng):
        run = gradient_function(tiny_bundle.network)
        image = rng.normal(size=(1, 32, 32, 1))
        _, (each,) = run([np.repeat(image, 4, axis=0)], [*np.eye(3), [2, 0, -1]])
        alone = [run([image], weights[None])[1][0][0] for weights in np.eye(3)]
        np.testing.assert_allclose(each[:3], alone, atol=1e-6)
        np.testing.assert_allclose(each[3], 2 * alone[0] - alone[2], atol=1e-6)
        assert np.abs(each[0] - each[1]).max() > 1e-4

    def test_weights_change_later(self, rng):
        network = keras.Sequential([layers.Input((3, 3, 1)), layers.Flatten(), layers.Dense(2)])
        run = gradient_function(network)
        for _ in range(2):
            kernel = rng.normal(size=(9, 2)).astype(np.float32)
            network.set_weights([kernel, np.zeros(2)])
            _, (gradient,) = run([np.ones((1, 3, 3, 1))], [[0, 1]])
            np.testing.assert_allclose(gradient.ravel(), kernel[:, 1], rtol=1e-6)

    def test_normalisations_are_those_of_inference(self, tiny_bundle, rng):
        run = gradient_function(tiny_bundle.network)
        before = tiny_bundle.network.get_weights()
        images = rng.normal(size=(3, 32, 32, 1))
        (logits,), (gradients,) = run([images], np.eye(3))
        np.testing.assert_allclose(logits, tiny_bundle.logits(images), atol=1e-5)
        # No image depends on the others.
        np.testing.assert_allclose(
            run([images[:1]], np.eye(3)[:1])[1][0][0], gradients[0], atol=1e-6
        )
        for old, new in zip(before, tiny_bundle.network.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)

    def test_backend_without_gradients(self, smooth, monkeypatch):
        monkeypatch.setattr(keras.backend, "backend", lambda: "openvino")
        match = "backend is 'openvino', which gives no gradients. .*one of tensorflow, torch, jax"
        with pytest.raises(ValueError, match=match):
            gradient_function(smooth)


@pytest.fixture(scope="module")
def residual():
    """Smooth network with a residual branch, whose values are not those of a new network."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, name="stem")(inputs)
    y = layers.Activation("tanh", name="in_branch_first")(x)
    y = layers.DepthwiseConv2D(3, padding="same", name="in_branch_depthwise")(y)
    y = layers.BatchNormalization(name="in_branch_normalisation")(y)
    y = layers.Conv2D(4, 1, activation="softplus", name="in_branch_last")(y)
    x = layers.Add(name="sum")([y, layers.Conv2D(4, 1, name="shortcut")(x)])
    x = layers.Activation("tanh", name="after_sum")(x)
    network = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    rng = np.random.default_rng(0)
    network.set_weights(
        # Variances are positive.
        [rng.uniform(-1 if w.ndim > 1 else 0.2, 1, w.shape) for w in network.get_weights()]
    )
    return network


NAMES = [
    "stem",
    "in_branch_first",
    "in_branch_depthwise",
    "in_branch_normalisation",
    "in_branch_last",
    "shortcut",
    "sum",
    "after_sum",
]


class TestProbe:
    @pytest.mark.parametrize("name", NAMES)
    def test_gradient_at_a_layer(self, residual, name, rng):
        """Against finite differences, by what is added to the layer's output."""
        copy, shape = with_probe(residual, name, guided=False)
        assert shape == residual.get_layer(name).output.shape[1:]
        run = gradient_function(copy)
        images, weights = rng.normal(size=(2, 8, 8, 1)), rng.normal(size=(2, 3))
        inputs = [images, np.zeros((2, *shape))]
        (logits, maps), gradients = run(inputs, weights)
        np.testing.assert_allclose(logits, residual.predict_on_batch(images), atol=1e-5)
        own = keras.Model(residual.inputs, residual.get_layer(name).output)
        np.testing.assert_allclose(maps, own.predict_on_batch(images), atol=1e-5)
        largest = 0
        for _ in range(3):
            for directions in (
                [np.zeros_like(images), rng.normal(size=(2, *shape))],
                [rng.normal(size=images.shape), np.zeros((2, *shape))],
            ):
                slopes = along(run, inputs, weights, directions, 1e-2)
                np.testing.assert_allclose(product(gradients, directions), slopes, atol=1e-3)
                largest = max(largest, np.abs(slopes).max())
        assert largest > 0.1

    def test_layer_is_told_without_what_is_added(self, residual, rng):
        copy, shape = with_probe(residual, "sum", guided=False)
        run = gradient_function(copy)
        image, more = rng.normal(size=(1, 8, 8, 1)), rng.normal(size=(1, *shape))
        (logits, maps), _ = run([image, more], np.ones((1, 3)))
        (other, same), _ = run([image, 0 * more], np.ones((1, 3)))
        np.testing.assert_array_equal(maps, same)
        assert np.abs(logits - other).max() > 1e-3

    @pytest.mark.parametrize("guided", [False, True])
    def test_tiny_network(self, tiny_bundle, guided, rng):
        network = tiny_bundle.network
        before = network.get_weights()
        images = rng.normal(size=(2, 32, 32, 1)).astype(np.float32)
        copy, shape = with_probe(network, network.layers[-3].name, guided=guided)
        zeros = np.zeros((2, *shape), np.float32)
        expected = network.predict_on_batch(images)
        np.testing.assert_allclose(copy.predict_on_batch([images, zeros])[0], expected, atol=1e-5)
        # The copy is another network.
        copy.set_weights([0 * weight for weight in copy.get_weights()])
        for old, new in zip(before, network.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)

    @pytest.mark.parametrize("rectifier", [layers.ReLU, lambda: layers.Activation("relu")])
    def test_guided(self, rectifier):
        """A gradient passes where both it and the value before the rectifier are positive."""
        inputs = keras.Input((1, 4, 1))
        x = layers.Conv2D(1, 1, use_bias=False, name="before")(inputs)
        x = layers.Flatten()(rectifier()(x))
        network = keras.Model(inputs, layers.Dense(2, use_bias=False)(x))
        network.set_weights([np.full((1, 1, 1, 1), 2.0), np.array([[1.0, -1, 1, -1], [3] * 4]).T])
        image = np.array([1.0, 1, -1, -1]).reshape(1, 1, 4, 1)
        for guided, expected in ((False, [2, -2, 0, 0]), (True, [2, 0, 0, 0])):
            copy, shape = with_probe(network, "before", guided=guided)
            run = gradient_function(copy)
            _, gradients = run([image, np.zeros((1, *shape))], [[1, 0]])
            assert gradients[0].ravel().tolist() == expected
            assert gradients[1].ravel().tolist() == [i / 2 for i in expected]

    def test_other_activations_are_not_guided(self, residual, rng):
        image = rng.normal(size=(1, 8, 8, 1))
        of_both = []
        for guided in (False, True):
            copy, shape = with_probe(residual, "stem", guided=guided)
            _, gradients = gradient_function(copy)([image, np.zeros((1, *shape))], [[1, -1, 0]])
            of_both.append(gradients)
        for first, second in zip(*of_both, strict=True):
            np.testing.assert_allclose(first, second, atol=1e-7)

    def test_precision_of_other_networks_does_not_matter(self, residual, rng):
        image = rng.normal(size=(1, 8, 8, 1))
        of_both = []
        before = keras.config.dtype_policy()
        try:
            for policy in ("float32", "mixed_bfloat16"):
                keras.config.set_dtype_policy(policy)
                copy, shape = with_probe(residual, "sum", guided=False)
                run = gradient_function(copy)
                of_both.append(run([image, np.zeros((1, *shape))], [[1, 0, 0]])[1][0])
        finally:
            keras.config.set_dtype_policy(before)
        np.testing.assert_array_equal(*of_both)

    def test_names_do_not_clash(self, rng):
        """Keras gives out names once more after a session was cleared."""
        number = int(layers.Add().name.rpartition("_")[2] or 0)
        inputs = keras.Input((4, 4, 1))
        x = layers.Conv2D(1, 1)(inputs)
        x = layers.Add(name=f"add_{number + 1}")([x, layers.Conv2D(1, 1)(x)])
        network = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
        copy, shape = with_probe(network, network.layers[1].name, guided=False)
        image = rng.normal(size=(1, 4, 4, 1))
        logits, _ = copy.predict_on_batch([image, np.zeros((1, *shape))])
        np.testing.assert_allclose(logits, network.predict_on_batch(image), atol=1e-6)


def explanations(folder):
    """What is computed under each backend, of the same model and patterns."""
    from kikuchipy_cnn.explanation import grad_cam, shapley_values
    from kikuchipy_cnn.models import load_model

    model = load_model(folder / "model")
    data = np.load(folder / "data.npz")
    quiet = {"show_progressbar": False}
    cam = grad_cam(model, data["patterns"], 225, **quiet)
    # Its number stands for a layer inside a residual branch.
    layer = model.network.layers[7].name
    inside = grad_cam(model, data["patterns"], 225, layer, False, **quiet)
    shap = shapley_values(
        model,
        data["patterns"],
        data["background"],
        estimator="integrated_gradients",
        n_steps=4,
        space_group=[221, 229],
        **quiet,
    )
    return {
        "cam": cam.values,
        "details": cam.details,
        "inside": inside.values,
        "shap": shap.values,
        "logits": shap.logits,
        "expected": shap.expected_logits,
    }


SCRIPT = """
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
import keras
import numpy as np
from test_differentiation import explanations

assert keras.backend.backend() == sys.argv[3]
folder = Path(sys.argv[2])
np.savez(folder / "found.npz", **explanations(folder))
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The values of integrated gradients miss")
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_other_backends(backend, tiny_bundle, tmp_path, rng):
    """They explain as TensorFlow does."""
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    tiny_bundle.save(tmp_path / "model")
    np.savez(
        tmp_path / "data.npz",
        patterns=rng.integers(0, 256, (2, 40, 60)).astype(np.uint8),
        background=rng.normal(size=(5, 32, 32, 1)).astype(np.float32),
    )
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(Path(__file__).parent), str(tmp_path), backend],
        capture_output=True,
        text=True,
        env=os.environ | {"KERAS_BACKEND": backend},
    )
    assert result.returncode == 0, result.stderr
    found = np.load(tmp_path / "found.npz")
    for name, values in explanations(tmp_path).items():
        # Where a rectifier is about to open, rounding decides.
        difference = np.linalg.norm(found[name] - values)
        assert np.linalg.norm(values) > 0 and difference < 2e-3 * np.linalg.norm(values), name
