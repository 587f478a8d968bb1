import numpy as np
import pytest

from kikuchipy_cnn import LabelClasses, PatternTransform, SpaceGroupClasses
from kikuchipy_cnn.models import build_network
from kikuchipy_cnn.training.starts import prepare_start

CLASSES = SpaceGroupClasses((225, 227, 229))


def head_of(network):
    kernel, bias = network.get_weights()[-2:]
    return np.vstack([kernel, bias])


@pytest.fixture(scope="module")
def imagenet():
    """Xception as Keras ships it for ImageNet, with random weights."""
    import keras

    keras.utils.set_random_seed(7)
    return keras.applications.Xception(weights=None, include_top=False, input_shape=(71, 71, 3))


@pytest.fixture(scope="module")
def imagenet_file(imagenet, tmp_path_factory):
    """In the layout of the file that Keras downloads."""
    import h5py
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    path = tmp_path_factory.mktemp("imagenet") / "xception_notop.h5"
    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file, imagenet)
    return path


class TestScratch:
    def test_seed(self):
        first, same, other = (
            prepare_start("scratch", CLASSES, architecture="tiny", size=24, seed=seed).network
            for seed in (1, 1, 2)
        )
        for a, b in zip(first.get_weights(), same.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        assert not np.array_equal(first.get_weights()[0], other.get_weights()[0])

    def test_is_the_papers_network_by_default(self):
        start = prepare_start("scratch", CLASSES)
        assert start.architecture == start.network.name == "xception"
        assert start.network.input_shape == (None, 71, 71, 1)
        assert start.transform == PatternTransform()
        assert not start.knows_patterns

    def test_three_channels(self):
        start = prepare_start("scratch", CLASSES, architecture="tiny", size=24, channels=3)
        assert start.network.input_shape == (None, 24, 24, 3)


class TestBundle:
    def test_same_classes_same_network(self, tiny_bundle):
        start = prepare_start(tiny_bundle, tiny_bundle.classes)
        images = np.random.default_rng(0).normal(size=(3, 32, 32, 1)).astype(np.float32)
        np.testing.assert_allclose(
            start.network.predict_on_batch(images),
            tiny_bundle.network.predict_on_batch(images),
            rtol=1e-6,
        )
        assert start.knows_patterns
        # The fixture does not say what it was trained on.
        assert start.materials is None
        assert start.description == {
            "weights": "tiny",
            "classes_kept": ["Pm-3m", "Fm-3m", "Im-3m"],
        }

    def test_known_classes_are_kept_in_their_new_places(self, tiny_bundle):
        start = prepare_start(tiny_bundle, SpaceGroupClasses((229, 194, 221)))
        old, new = head_of(tiny_bundle.network), head_of(start.network)
        # The model has 221, 225 and 229.
        np.testing.assert_array_equal(new[:, 0], old[:, 2])
        np.testing.assert_array_equal(new[:, 2], old[:, 0])
        for column in old.T:
            assert not np.allclose(new[:, 1], column)
        assert start.description["classes_kept"] == ["Im-3m", "Pm-3m"]

    def test_phases_begin_with_their_space_group(self, tiny_bundle):
        start = prepare_start(tiny_bundle, LabelClasses(("Al", "Ni", "Si"), (225, 225, 227)))
        old, new = head_of(tiny_bundle.network), head_of(start.network)
        np.testing.assert_array_equal(new[:, 0], old[:, 1])
        np.testing.assert_array_equal(new[:, 1], old[:, 1])
        assert not np.allclose(new[:, 2], old[:, 1])

    def test_new_head(self, tiny_bundle):
        start = prepare_start(tiny_bundle, tiny_bundle.classes, new_head=True)
        assert not np.allclose(head_of(start.network)[:-1], head_of(tiny_bundle.network)[:-1])
        np.testing.assert_array_equal(
            start.network.get_weights()[0], tiny_bundle.network.get_weights()[0]
        )

    def test_other_size(self, tiny_bundle):
        start = prepare_start(tiny_bundle, CLASSES, size=48)
        assert start.network.input_shape == (None, 48, 48, 1)
        assert start.transform.size == 48
        assert start.transform.background_sigma == tiny_bundle.transform.background_sigma

    def test_by_name_and_path(self, tiny_bundle, tmp_path):
        folder = tiny_bundle.save(tmp_path / "mine")
        # Weights of 16 bits.
        for start in (folder, str(folder)):
            network = prepare_start(start, CLASSES).network
            np.testing.assert_allclose(
                network.get_weights()[0], tiny_bundle.network.get_weights()[0], atol=1e-3
            )
        packaged = prepare_start("fast_fewshot", CLASSES)
        assert packaged.architecture == "xception_narrow"
        assert {(225, "Ni"), (227, "Si")} <= packaged.materials
        # Left out of its training, since their space group hardly shows or for the test, and no
        # phase of m-3m.
        assert not {(221, "FeNi3"), (225, "Rh"), (194, "Mg")} & packaged.materials

    @pytest.mark.parametrize(
        "options, match",
        [
            ({"architecture": "xception"}, "is of the architecture 'tiny', not 'xception'"),
            ({"channels": 3}, r"has 1 channel\(s\), not 3"),
        ],
    )
    def test_contradictions(self, tiny_bundle, options, match):
        with pytest.raises(ValueError, match=match):
            prepare_start(tiny_bundle, CLASSES, **options)

    def test_unknown(self):
        with pytest.raises(ValueError, match="no model 'xception_many'. Packaged models: "):
            prepare_start("xception_many", CLASSES)


class TestImageNet:
    def test_grey_equals_three_equal_channels(self, imagenet_file):
        """Also with the head, which starts from the same seed."""
        images = np.random.default_rng(0).normal(size=(2, 71, 71, 1)).astype(np.float32)
        grey, colour = (
            prepare_start(imagenet_file, CLASSES, channels=channels) for channels in (None, 3)
        )
        assert grey.network.input_shape[-1] == 1
        np.testing.assert_allclose(
            grey.network.predict_on_batch(images),
            colour.network.predict_on_batch(np.repeat(images, 3, axis=-1)),
            rtol=1e-3,
            atol=1e-5,
        )

    def test_weights_are_those_of_the_file(self, imagenet, imagenet_file):
        start = prepare_start(str(imagenet_file), CLASSES, channels=3, size=80)
        for ours, theirs in zip(
            start.network.get_weights()[:-2], imagenet.get_weights(), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
        assert start.transform.size == 80
        assert start.description["weights"] == "imagenet"

    @pytest.mark.slow
    def test_file_with_the_last_layer(self, tmp_path):
        import keras

        whole = keras.applications.Xception(weights=None)
        whole.save_weights(tmp_path / "whole.weights.h5")
        start = prepare_start(tmp_path / "whole.weights.h5", CLASSES, channels=3)
        np.testing.assert_array_equal(start.network.get_weights()[0], whole.get_weights()[0])

    def test_download(self, imagenet, monkeypatch):
        import keras

        def xception(*, include_top, weights, input_shape):
            assert (include_top, weights, input_shape) == (False, "imagenet", (71, 71, 3))
            return imagenet

        build = keras.applications.Xception
        monkeypatch.setattr(
            keras.applications,
            "Xception",
            lambda **options: (xception if "include_top" in options else build)(**options),
        )
        start = prepare_start("imagenet", CLASSES)
        np.testing.assert_allclose(
            start.network.get_weights()[0], imagenet.get_weights()[0].sum(axis=2, keepdims=True)
        )

    def test_no_network(self, monkeypatch):
        import keras

        def fail(**options):
            if options.get("weights") == "imagenet":
                raise OSError("URL fetch failure")
            return build_network("xception", (71, 71, 1), 3)

        monkeypatch.setattr(keras.applications, "Xception", fail)
        monkeypatch.setattr(
            "kikuchipy_cnn.training.starts.build_seeded",
            lambda *arguments: build_network("tiny", (24, 24, 1), 3),
        )
        with pytest.raises(ValueError, match="cannot be downloaded: URL fetch.*_notop.h5 from"):
            prepare_start("imagenet", CLASSES)

    def test_bad_files(self, tmp_path):
        with pytest.raises(ValueError, match="no file .*missing.h5' of ImageNet weights"):
            prepare_start(tmp_path / "missing.h5", CLASSES)
        build_network("tiny", (24, 24, 1), 3).save_weights(tmp_path / "tiny.weights.h5")
        with pytest.raises(ValueError, match="does not hold the weights of Keras' Xception"):
            prepare_start(tmp_path / "tiny.weights.h5", CLASSES)
        with pytest.raises(
            ValueError, match="ImageNet weights are Xception's, not those of 'tiny'"
        ):
            prepare_start(tmp_path / "tiny.weights.h5", CLASSES, architecture="tiny")


def test_ensemble(tiny_bundle):
    from kikuchipy_cnn.models import Ensemble

    pair = Ensemble("pair", (tiny_bundle, tiny_bundle))
    with pytest.raises(ValueError, match="'pair' is an ensemble.*members"):
        prepare_start(pair, tiny_bundle.classes)
