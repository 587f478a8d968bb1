import dask.array as da
import kikuchipy as kp
import numpy as np
import pytest
from kikuchipy.signals import EBSD, LazyEBSD

from kikuchipy_cnn.explanation import explain, grad_cam, shapley_values


@pytest.fixture
def nickel():
    return kp.data.nickel_ebsd_small()


@pytest.fixture(scope="module")
def bundle(as_bundle):
    """A network that is fast to explain."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    inputs = keras.Input((32, 32, 1))
    x = layers.Conv2D(8, 5, 2, activation="relu")(inputs)
    return as_bundle(keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x))))


def importance(signal, index, bundle, **options):
    """The faster of the methods."""
    return explain(signal, index, bundle, "gradcam", show_progressbar=False, **options)


def probabilities(signal, bundle, **options):
    """Those of the map, of shape (points, classes)."""
    settings = {"reject": False, "precision": "float32", "show_progressbar": False}
    xmap = signal.classify_space_group(bundle, **settings, **options)
    return np.stack([xmap.prop[name] for name in bundle.classes.properties], axis=-1)


class TestPlaces:
    @pytest.mark.parametrize(
        ("index", "places"),
        [
            ((1, 2), [(1, 2)]),
            ([0, 1], [(0, 1)]),
            ((-1, -3), [(2, 0)]),
            ([(1, 2), (0, 0)], [(1, 2), (0, 0)]),
            ([[2, -1]], [(2, 2)]),
            (np.array([(0, 1), (0, 1)]), [(0, 1), (0, 1)]),
            ((np.int64(1), np.uint8(0)), [(1, 0)]),
        ],
    )
    def test_in_a_map(self, nickel, bundle, index, places):
        found = importance(nickel, index, bundle, static_background=False)
        assert found.places == tuple(places)
        for pattern, place in zip(found.patterns, places, strict=True):
            np.testing.assert_array_equal(pattern, nickel.data[place])
        assert [found.place_text(i) for i in range(len(places))] == [f"{i},{j}" for i, j in places]

    @pytest.mark.parametrize(
        ("index", "places"),
        [(3, [(3,)]), (-2, [(7,)]), ([0, 8, 4], [(0,), (8,), (4,)]), ([[5]], [(5,)])],
    )
    def test_along_a_line(self, nickel, bundle, index, places):
        signal = EBSD(nickel.data.reshape(9, 60, 60))
        found = importance(signal, index, bundle)
        assert found.places == tuple(places)
        np.testing.assert_array_equal(found.patterns, [signal.data[place] for place in places])
        assert found.place_text(0) == str(places[0][0])

    def test_single_pattern(self, nickel, bundle):
        found = importance(nickel.inav[2, 1], None, bundle, static_background=False)
        assert found.places == ((),)
        np.testing.assert_array_equal(found.patterns[0], nickel.data[1, 2])

    def test_place_of_a_single_pattern(self, nickel, bundle):
        single = nickel.inav[2, 1]
        assert importance(single, (), bundle).places == ((),)
        with pytest.raises(ValueError, match=r"index=\(0, 0\), but the signal is a single pattern"):
            importance(single, (0, 0), bundle)

    def test_navigation_mask(self, nickel, bundle):
        mask = np.ones((3, 3), bool)
        mask[0, 2] = mask[2, 0] = False
        found = importance(nickel, None, bundle, navigation_mask=mask)
        assert found.places == ((0, 2), (2, 0))
        expected = importance(nickel, [(0, 2), (2, 0)], bundle)
        np.testing.assert_array_equal(found.values, expected.values)

    @pytest.mark.parametrize(
        ("index", "match"),
        [
            (4, r"index=4 is no place in a map of shape \(3, 3\). Give 2 integer\(s\)"),
            ((1, 1, 1), r"index=\(1, 1, 1\) is no place"),
            ((0.0, 1.0), "is no place"),
            ((True, False), "is no place"),
            ([], "is no place"),
            ([[[0, 1]]], "is no place"),
            ((3, 0), r"no pattern at \[3, 0\] in a map of shape \(3, 3\)"),
            ([(0, 0), (0, -4)], r"no pattern at \[0, -4\]"),
        ],
    )
    def test_wrong_index(self, nickel, bundle, index, match):
        with pytest.raises(ValueError, match=match):
            importance(nickel, index, bundle)

    def test_wrong_index_along_a_line(self, nickel, bundle):
        signal = EBSD(nickel.data.reshape(9, 60, 60))
        with pytest.raises(ValueError, match=r"no pattern at \[9\] in a map of shape \(9,\)"):
            importance(signal, [3, 9], bundle)
        with pytest.raises(ValueError, match=r"index=\[\(0, 1\)\] is no place"):
            importance(signal, [(0, 1)], bundle)

    @pytest.mark.parametrize(
        ("mask", "match"),
        [
            (np.zeros((2, 3), bool), r"navigation_mask has shape \(2, 3\), but \(3, 3\)"),
            (np.zeros((3, 3)), "navigation_mask must be boolean"),
            (np.ones((3, 3), bool), "navigation_mask is all True"),
        ],
    )
    def test_wrong_mask(self, nickel, bundle, mask, match):
        with pytest.raises(ValueError, match=match):
            importance(nickel, None, bundle, navigation_mask=mask)

    def test_index_or_mask(self, nickel, bundle):
        for index, mask in ((None, None), ((0, 0), np.zeros((3, 3), bool))):
            with pytest.raises(ValueError, match="Give either the index of patterns or a navigat"):
                importance(nickel, index, bundle, navigation_mask=mask)


class TestPreprocessing:
    """The model is given what it is given by classify_space_group()."""

    PLACES = [(0, 0), (1, 2), (2, 1)]

    @pytest.mark.parametrize("given", [None, False, "other"])
    def test_static_background(self, nickel, bundle, given):
        background = given
        if given == "other":
            background = np.linspace(1, 3, 3600).reshape(60, 60)
        options = {"static_background": background}
        found = importance(nickel, self.PLACES, bundle, **options)
        expected = probabilities(nickel, bundle, **options).reshape(3, 3, 3)
        expected = [expected[place] for place in self.PLACES]
        np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)
        static = nickel.static_background if given is None else background
        divided = nickel.data[1, 2] / (1.0 if given is False else static)
        np.testing.assert_allclose(found.patterns[1], divided, rtol=1e-5)

    def test_background_that_was_removed(self, nickel, bundle):
        with_it = importance(nickel, (0, 0), bundle).probabilities
        nickel.remove_static_background("divide", show_progressbar=False)
        found = importance(nickel, (0, 0), bundle)
        np.testing.assert_array_equal(found.patterns[0], nickel.data[0, 0])
        expected = probabilities(nickel, bundle)[:1]
        np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)
        assert np.abs(found.probabilities - with_it).max() > 1e-5

    def test_circular_detector(self, nickel, bundle):
        y, x = np.ogrid[:60, :60]
        outside = np.hypot(y - 29.5, x - 29.5) > 28
        nickel.data[..., outside] = 0
        found = importance(nickel, self.PLACES, bundle)
        assert found.signal_mask[outside].all() and not found.signal_mask.all()
        expected = probabilities(nickel, bundle).reshape(3, 3, 3)
        expected = [expected[place] for place in self.PLACES]
        np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)
        beside = bundle.transform.coverage((60, 60), found.signal_mask) <= 0.5
        assert beside.sum() > 20 and (found.values[..., beside] == 0).all()

    def test_signal_mask(self, nickel, bundle):
        mask = np.zeros((60, 60), bool)
        mask[:, 45:] = True
        found = importance(nickel, (1, 1), bundle, signal_mask=mask)
        np.testing.assert_array_equal(found.signal_mask, mask)
        expected = probabilities(nickel, bundle, signal_mask=mask)[4:5]
        np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"signal_mask": np.zeros((3, 3), bool)}, r"signal_mask has shape \(3, 3\)"),
            ({"signal_mask": np.zeros((60, 60))}, "signal_mask must be boolean"),
            ({"static_background": np.ones((3, 3))}, r"static_background has shape \(3, 3\)"),
            ({"static_background": np.zeros((60, 60))}, "finite and positive somewhere"),
            ({"space_group": 230}, "no space group 230"),
        ],
    )
    def test_wrong_arguments(self, nickel, bundle, options, match):
        with pytest.raises(ValueError, match=match):
            importance(nickel, (0, 0), bundle, **options)


class TestLazy:
    @pytest.mark.parametrize("chunks", [(1, 1, 60, 60), (3, 3, 60, 60), (2, 1, 30, 60)])
    def test_is_the_same(self, nickel, bundle, chunks):
        expected = importance(nickel, [(0, 1), (2, 2)], bundle)
        lazy = nickel.as_lazy()
        lazy.data = lazy.data.rechunk(chunks)
        found = importance(lazy, [(0, 1), (2, 2)], bundle)
        assert lazy._lazy
        for name in ("patterns", "values", "details", "probabilities"):
            assert isinstance(getattr(found, name), np.ndarray)
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))

    def test_few_patterns_are_read(self, nickel, bundle):
        read = []

        def reading(block, block_info=None):
            if block_info:
                read.append(tuple(block_info[0]["chunk-location"][:2]))
            return block

        data = da.from_array(np.tile(nickel.data, (10, 10, 1, 1)), chunks=(1, 1, 60, 60))
        signal = LazyEBSD(data.map_blocks(reading, dtype=np.uint8))
        read.clear()
        places = [(7, 11), (20, 3)]
        importance(signal, places, bundle)
        assert set(places) <= set(read)
        # A few more tell the mask and whether there is still a background.
        assert len(read) <= 9 + len(places)


class TestMethods:
    def test_gradcam(self, nickel, tiny_bundle):
        options = {"space_group": [225, 221], "guided": False, "show_progressbar": False}
        found = explain(nickel, (0, 1), tiny_bundle, "gradcam", static_background=False, **options)
        expected = grad_cam(tiny_bundle, nickel.data[0, 1], **options)
        assert found.method == "Grad-CAM" and found.details is None
        np.testing.assert_array_equal(found.values, expected.values)

    def test_shap_is_the_default(self, nickel, tiny_bundle, background):
        options = {"background": background, "n_classes": 1, "show_progressbar": False}
        found = explain(nickel, (0, 1), tiny_bundle, static_background=False, **options)
        expected = shapley_values(tiny_bundle, nickel.data[0, 1], **options)
        assert found.method == "DeepSHAP"
        np.testing.assert_array_equal(found.values, expected.values)
        np.testing.assert_array_equal(found.expected_logits, expected.expected_logits)

    def test_path(self, nickel, tiny_bundle, tmp_path):
        path = tiny_bundle.save(tmp_path / "tiny")
        found = importance(nickel, (0, 0), path)
        # The weights on disk are of 16 bits.
        expected = importance(nickel, (0, 0), tiny_bundle)
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=5e-3)

    def test_unknown(self, nickel, bundle):
        with pytest.raises(ValueError, match="method='lime', but it must be one of shap, gradcam"):
            explain(nickel, (0, 0), bundle, "lime")
        with pytest.raises(ValueError, match="no model 'nothing'"):
            importance(nickel, (0, 0), "nothing")

    @pytest.mark.parametrize(
        ("data", "match"),
        [
            (np.ones((2, 39, 60), np.uint8), "39 x 60 pixels are too small"),
            (np.ones((0, 60, 60), np.uint8), "0 patterns"),
            (np.ones((2, 60, 60), complex), "complex128"),
            (np.ones((2, 60, 60), np.uint8), r"Pattern\(s\) 0 are constant"),
        ],
    )
    def test_patterns(self, bundle, data, match):
        with pytest.raises(ValueError, match=match):
            importance(EBSD(data), 0, bundle)
