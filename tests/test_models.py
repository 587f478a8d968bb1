import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kikuchipy_cnn import LabelClasses, describe_model, list_models, load_model
from kikuchipy_cnn.models import BundleError, build_network, load_bundle
from kikuchipy_cnn.models._folder import _sha256_of_description
from kikuchipy_cnn.models.acceleration import with_fused_normalisation, with_input_size
from kikuchipy_cnn.models.growth import grow_into_xception, mirrored


class TestBuildNetwork:
    def test_tiny_gives_logits(self):
        network = build_network("tiny", (32, 32, 3), 5)
        logits = np.asarray(network(np.ones((2, 32, 32, 3), np.float32)))
        assert logits.shape == (2, 5)
        np.testing.assert_allclose(logits[0], logits[1], atol=1e-6)
        assert logits.min() < 0

    def test_xception_is_unmodified(self):
        # 20,861,480 weights of the published network, less 1000 - 6 outputs of 2048 + 1 weights
        # and two channels of the first kernel.
        network = build_network("xception", (71, 71, 3), 1000)
        assert network.count_params() == 22_910_480
        grey = build_network("xception", (71, 71, 1), 6)
        assert grey.count_params() == 22_910_480 - 994 * 2049 - 2 * 32 * 9

    def test_summed_kernel_equals_stacked_pattern(self, rng):
        """One grey channel is exactly the same as three equal ones, with the kernel summed."""
        colour = build_network("tiny", (32, 32, 3), 4)
        grey = build_network("tiny", (32, 32, 1), 4)
        weights = colour.get_weights()
        weights[0] = weights[0].sum(axis=2, keepdims=True)
        grey.set_weights(weights)
        x = rng.normal(size=(3, 32, 32, 1)).astype(np.float32)
        expected = np.asarray(colour(np.repeat(x, 3, axis=-1)))
        np.testing.assert_allclose(np.asarray(grey(x)), expected, atol=1e-5)

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            (("vgg", (71, 71, 1), 6), "Unknown architecture 'vgg'. Known: xception"),
            (("xception", (70, 71, 1), 6), "at least 71 pixels, not 70 x 71"),
            (("tiny", (32, 32, 1), 1), "n_classes=1"),
            (("tiny", (32, 32, 2), 3), "1 or 3 channels"),
        ],
    )
    def test_raises(self, arguments, match):
        with pytest.raises(ValueError, match=match):
            build_network(*arguments)

    def test_fused_normalisation_gives_the_same(self, rng):
        network = build_network("tiny", (32, 32, 1), 3)
        weights = [np.abs(rng.normal(size=w.shape)) + 0.1 for w in network.get_weights()]
        network.set_weights(weights)
        fused = with_fused_normalisation(network)
        x = rng.normal(size=(8, 32, 32, 1)).astype(np.float32)
        np.testing.assert_allclose(
            np.asarray(fused(x, training=True)), np.asarray(network(x, training=True)), rtol=1e-3
        )
        # The moving statistics must have moved alike, too.
        for a, b in zip(fused.get_weights(), network.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-2)
        np.testing.assert_allclose(
            np.asarray(fused(x, training=False)), np.asarray(network(x, training=False)), rtol=3e-2
        )

    def test_other_input_size_has_the_same_weights(self):
        network = build_network("tiny", (32, 32, 1), 3)
        other = with_input_size(network, 48)
        assert other.input_shape == (None, 48, 48, 1)
        for a, b in zip(other.get_weights(), network.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


class TestBundle:
    @pytest.fixture
    def saved(self, tiny_bundle, tmp_path):
        return tiny_bundle.save(tmp_path / "model")

    def test_round_trip(self, tiny_bundle, saved, rng):
        loaded = load_bundle(saved)
        assert loaded.classes.numbers == (221, 225, 229)
        assert loaded.transform == tiny_bundle.transform
        assert loaded.card == "# tiny\n"
        assert repr(loaded) == repr(tiny_bundle)
        images = rng.normal(size=(4, 32, 32, 1)).astype(np.float32)
        expected = tiny_bundle.predict_probabilities(images)
        np.testing.assert_allclose(loaded.predict_probabilities(images), expected, atol=2e-3)

    def test_round_trip_of_labels(self, tiny_bundle, tmp_path):
        classes = LabelClasses(("4/mmm", "Ni", "Ni3Al"), (None, 225, 221))
        bundle = replace(tiny_bundle, classes=classes)
        loaded = load_bundle(bundle.save(tmp_path / "labels"))
        assert loaded.classes == classes
        assert repr(loaded).endswith("3 classes: 4/mmm, Ni, Ni3Al)")
        description = json.loads((tmp_path / "labels" / "bundle.json").read_text())
        assert description["labels"] == ["4/mmm", "Ni", "Ni3Al"]
        assert description["space_groups"] == [None, 225, 221]

    def test_json_of_space_groups(self, saved):
        """The packaged models' sums depend on it, down to the order of the keys."""
        description = json.loads((saved / "bundle.json").read_text())
        assert description["space_groups"] == [221, 225, 229]
        assert list(description) == list(describe_model("xception_fewshot"))

    @pytest.mark.parametrize("labels", ["F", ["I", "F", "P"], ["F", "I", 3], ["F", "I"], 3])
    def test_labels_that_cannot_be_used(self, saved, labels):
        description = json.loads((saved / "bundle.json").read_text()) | {"labels": labels}
        description["sha256"]["bundle.json"] = _sha256_of_description(description)
        (saved / "bundle.json").write_text(json.dumps(description))
        with pytest.raises(BundleError, match="no usable model bundle"):
            load_bundle(saved)

    def test_probabilities(self, tiny_bundle, rng):
        """A softmax of the logits divided by the temperature."""
        images = rng.normal(size=(4, 32, 32, 1)).astype(np.float32)
        logits = np.asarray(tiny_bundle.network(images)) / 1.5
        expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        found = tiny_bundle.predict_probabilities(images)
        np.testing.assert_allclose(found, expected, atol=1e-5)

    def test_nothing_is_pickled(self, saved):
        assert sorted(file.name for file in saved.iterdir()) == [
            "bundle.json",
            "card.md",
            "weights.npz",
        ]
        with np.load(saved / "weights.npz", allow_pickle=False) as data:
            assert all(data[key].dtype == np.float16 for key in data.files)

    def test_existing_folder_is_kept(self, tiny_bundle, saved, tmp_path):
        before = (saved / "bundle.json").read_bytes()
        with pytest.raises(FileExistsError, match="overwrite=True"):
            tiny_bundle.save(saved)
        assert (saved / "bundle.json").read_bytes() == before
        tiny_bundle.save(saved, overwrite=True)
        other = tmp_path / "photos"
        other.mkdir()
        (other / "cat.png").write_text("meow")
        with pytest.raises(FileExistsError):
            tiny_bundle.save(other, overwrite=True)
        assert (other / "cat.png").exists()
        assert sorted(p.name for p in tmp_path.iterdir()) == ["model", "photos"]

    def test_failed_replacement(self, tiny_bundle, tmp_path, monkeypatch):
        """The old bundle stays, and so do those whose names begin alike."""
        for name in ("v1.0", "v1.1"):
            tiny_bundle.save(tmp_path / name)
        rename = Path.rename

        def fail(path, target):
            if Path(target).name == "v1.0" and not path.name.endswith(".old"):
                raise OSError("disk gone")
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", fail)
        with pytest.raises(OSError, match="disk gone"):
            tiny_bundle.save(tmp_path / "v1.0", overwrite=True)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["v1.0", "v1.1"]
        assert load_bundle(tmp_path / "v1.0").name == "tiny"

    @pytest.mark.parametrize("file", ["weights.npz", "card.md"])
    def test_tampered(self, saved, file):
        content = bytearray((saved / file).read_bytes())
        content[len(content) // 2] ^= 1
        (saved / file).write_bytes(content)
        with pytest.raises(BundleError, match=f"{file} is not the file that was saved"):
            load_bundle(saved)

    def test_tampered_description(self, saved):
        with pytest.raises(BundleError, match="was altered"):
            load_bundle(saved, sha256="0" * 64)

    @pytest.mark.parametrize(
        "change", [{"space_groups": [229, 225, 221]}, {"temperature": 0.1}, {"name": "better"}]
    )
    def test_description_was_changed(self, saved, change):
        description = json.loads((saved / "bundle.json").read_text())
        (saved / "bundle.json").write_text(json.dumps(description | change))
        with pytest.raises(BundleError, match="bundle.json is not the file that was saved"):
            load_bundle(saved)

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"format": 99}, "format 99"),
            ({"architecture": "os.system"}, "Unknown architecture"),
            ({"space_groups": [221, 225]}, "no usable model bundle"),
            ({"space_groups": [0, 1, 2]}, "no usable model bundle"),
            ({"input_shape": "large"}, "no usable model bundle"),
            ({"input_shape": [48, 48, 1]}, "takes .48, 48. pixels, but the preprocessing"),
            ({"temperature": 0}, "temperature=0.0, but it must be positive"),
        ],
    )
    def test_wrong_description(self, saved, change, match):
        """Also where the sum was made to fit."""
        description = json.loads((saved / "bundle.json").read_text()) | change
        description["sha256"]["bundle.json"] = _sha256_of_description(description)
        (saved / "bundle.json").write_text(json.dumps(description))
        with pytest.raises(BundleError, match=match):
            load_bundle(saved)

    def test_no_bundle(self, tmp_path):
        with pytest.raises(BundleError, match="is no model bundle: bundle.json cannot be read"):
            load_bundle(tmp_path)
        (tmp_path / "bundle.json").write_text("[1, 2]")
        with pytest.raises(BundleError, match="does not describe a model bundle"):
            load_bundle(tmp_path)
        (tmp_path / "bundle.json").write_text("{")
        with pytest.raises(BundleError, match="does not describe a model bundle"):
            load_bundle(tmp_path)


class TestRegistry:
    def test_list_models(self):
        assert "xception_fewshot" in list_models()

    def test_describe_model(self):
        description = describe_model("xception_fewshot")
        assert description["architecture"] == "xception"
        assert description["space_groups"] == [221, 223, 225, 227, 229, 230]

    def test_unknown_model_lists_those_there_are(self):
        with pytest.raises(ValueError, match="no model 'xception_fewshit'.*xception_fewshot"):
            load_model("xception_fewshit")

    def test_path(self, tiny_bundle, tmp_path):
        folder = tiny_bundle.save(tmp_path / "mine")
        assert load_model(folder).name == "tiny"
        assert load_model(str(folder)).name == "tiny"

    def test_file_is_no_bundle(self, tmp_path):
        (tmp_path / "model.keras").write_bytes(b"PK\x03\x04")
        with pytest.raises(BundleError, match="is no model bundle"):
            load_model(tmp_path / "model.keras")


@pytest.fixture(scope="module")
def narrow():
    rng = np.random.default_rng(0)
    network = build_network("xception_narrow", (71, 71, 1), 4)
    # Not the initial weights: those of batch normalisation are all alike.
    network.set_weights(
        [w + rng.uniform(0, 0.1, w.shape).astype(w.dtype) for w in network.get_weights()]
    )
    return network


class TestGrowth:
    def test_same_function(self, narrow, rng):
        full = grow_into_xception(narrow)
        assert full.count_params() == build_network("xception", (71, 71, 1), 4).count_params()
        x = rng.normal(size=(3, 71, 71, 1)).astype(np.float32)
        expected = np.asarray(narrow(x))
        assert expected.std() > 1e-3
        np.testing.assert_allclose(np.asarray(full(x)), expected, rtol=1e-3, atol=1e-3)

    def test_two_networks_give_their_mean(self, narrow, rng):
        """Side by side, without an influence on each other."""
        other = mirrored(narrow)
        full = grow_into_xception(narrow, other)
        x = rng.normal(size=(3, 71, 71, 1)).astype(np.float32)
        one, two = np.asarray(narrow(x)), np.asarray(other(x))
        assert np.abs(one - two).max() > 1e-2
        np.testing.assert_allclose(np.asarray(full(x)), (one + two) / 2, rtol=1e-3, atol=1e-3)

    def test_mirrored(self, narrow, rng):
        x = rng.normal(size=(3, 71, 71, 1)).astype(np.float32)
        expected = np.asarray(narrow(x[:, :, ::-1]))
        np.testing.assert_allclose(np.asarray(mirrored(narrow)(x)), expected, rtol=1e-3, atol=1e-3)

    @pytest.mark.parametrize("size", [72, 73, 79, 87])
    def test_width_that_cannot_be_mirrored(self, size):
        with pytest.raises(ValueError, match=f"{size} columns"):
            mirrored(build_network("xception_narrow", (size, size, 1), 2))

    def test_wrong_number_or_shapes(self, narrow):
        for members in ((), (narrow,) * 3):
            with pytest.raises(ValueError, match=f"{len(members)} networks"):
                grow_into_xception(*members)
        other = build_network("xception_narrow", (71, 71, 1), 5)
        with pytest.raises(ValueError, match="different shapes"):
            grow_into_xception(narrow, other)

    def test_other_architecture(self, tiny_bundle):
        with pytest.raises(ValueError, match="not 'tiny'"):
            grow_into_xception(tiny_bundle.network)
