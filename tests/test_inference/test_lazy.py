"""The method of signals: what it says of its engine, and maps that are computed later."""

from dataclasses import replace

import dask
import dask.array as da
import numpy as np
import pytest
from kikuchipy.signals import EBSD, LazyEBSD

from kikuchipy_cnn.inference import engines, lazy_prediction, parts, predict

# Not that of all maps, but enough that there are several parts of it.
CHUNKS = (2, 7, 48, 48)


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(parts, "CHUNK_BYTES", 14 * 48 * 48)


def classify(signal, model, **settings):
    settings = {"show_progressbar": False, "precision": "float32"} | settings
    return signal.classify_space_group(model, **settings)


def assert_same(found, expected):
    assert found.shape == expected.shape
    assert found.prop.keys() == expected.prop.keys()
    np.testing.assert_array_equal(found.is_in_data, expected.is_in_data)
    np.testing.assert_array_equal(found.phase_id, expected.phase_id)
    assert found.phases.names == expected.phases.names
    for name in expected.prop:
        np.testing.assert_allclose(found.prop[name], expected.prop[name], atol=1e-5)


class TestInformation:
    @pytest.mark.parametrize(
        ("engine", "precision", "expected"),
        [
            ("keras", "float32", "  Engine: Keras with tensorflow on the CPU, float32"),
            ("keras", "bfloat16", "  Engine: Keras with tensorflow on the CPU, bfloat16"),
            ("openvino", "float32", "  Engine: OpenVINO "),
        ],
    )
    def test_engine(self, patterns, tiny_bundle, capsys, engine, precision, expected):
        classify(EBSD(patterns), tiny_bundle, engine=engine, precision=precision)
        (line,) = [i for i in capsys.readouterr().out.splitlines() if "Engine" in i]
        assert line.startswith(expected)
        assert line.endswith(f", {precision}")

    def test_engines_agree(self, patterns, tiny_bundle):
        expected = classify(EBSD(patterns), tiny_bundle, engine="keras")
        assert_same(classify(EBSD(patterns), tiny_bundle, engine="openvino"), expected)

    @pytest.mark.parametrize(
        ("settings", "match"),
        [
            ({"engine": "tensorrt"}, "engine='tensorrt' is none of"),
            ({"precision": "half"}, "precision='half' is none of"),
            ({"engine": "openvino", "precision": "float16"}, "for graphics processors"),
            ({"batch_size": 0}, "batch_size=0"),
            ({"batch_size": 2.5}, "batch_size=2.5"),
            ({"scheduler": "processes"}, "scheduler='processes' is neither 'threads' nor"),
            ({"scheduler": 4}, "scheduler=4 is neither"),
        ],
    )
    @pytest.mark.parametrize("compute", [True, False])
    def test_arguments(self, patterns, tiny_bundle, settings, match, compute, monkeypatch):
        def not_asked(*arguments):
            raise AssertionError("The patterns are looked at later.")

        monkeypatch.setattr("kikuchipy_cnn._patterns.sample_patterns", not_asked)
        with pytest.raises(ValueError, match=match):
            classify(EBSD(patterns), tiny_bundle, compute=compute, **settings)

    def test_missing_engine(self, patterns, tiny_bundle, monkeypatch):
        monkeypatch.setattr(engines, "find_spec", lambda name: None)
        with pytest.raises(ImportError, match="pip install"):
            classify(EBSD(patterns), tiny_bundle, engine="openvino")
        assert classify(EBSD(patterns), tiny_bundle).size == 42

    # A bug when written: the store is left away without a word.
    def test_store_of_what_is_computed_later(self, patterns, tiny_bundle, tmp_path):
        """Nothing would be written: that is to be said."""
        with pytest.raises(ValueError, match="store"):
            classify(EBSD(patterns), tiny_bundle, store=tmp_path / "results.h5", compute=False)


@pytest.mark.usefixtures("small_parts")
class TestLater:
    @pytest.mark.parametrize("scheduler", [None, "synchronous", "threads"])
    @pytest.mark.parametrize("lazy", [False, True])
    def test_same(self, patterns, tiny_bundle, lazy, scheduler):
        data = patterns.copy()
        data[4, 4] = 1
        mask = np.zeros((6, 7), bool)
        # Some parts have nothing to classify.
        mask[:2] = mask[3, 1:] = True
        settings = {
            "navigation_mask": mask,
            "prior": {225: 0.7, 221: 0.3},
            "pooling_radius": 1,
            "batch_size": 4,
        }
        signal = LazyEBSD(da.from_array(data, chunks=CHUNKS)) if lazy else EBSD(data)
        with pytest.warns(UserWarning, match="1 of 22 patterns are constant"):
            expected = classify(signal, tiny_bundle, **settings)
        later = classify(signal, tiny_bundle, **settings, compute=False)
        with pytest.warns(UserWarning, match="1 of 22 patterns are constant"):
            found = later.compute(**({} if scheduler is None else {"scheduler": scheduler}))
        assert_same(found, expected)

    @pytest.mark.parametrize("shape", [(), (1,), (9,), (1, 4)])
    def test_shapes(self, patterns, tiny_bundle, shape):
        data = patterns.reshape(-1, 48, 48)[: int(np.prod(shape))].reshape(*shape, 48, 48)
        for signal in (EBSD(data), LazyEBSD(da.from_array(data))):
            found = classify(signal, tiny_bundle, compute=False).compute()
            assert_same(found, classify(signal, tiny_bundle))

    def test_nothing_before(self, patterns, tiny_bundle, fake_engine):
        """But a few patterns, to find the detector's mask."""
        seen, read = [], set()

        def forward(images):
            seen.append(len(images))
            return fake_engine.three_pixels(images)

        def watch(block, block_info=None):
            if block_info:
                read.add(block_info[0]["chunk-location"][:2])
            return block

        fake_engine(forward)
        # A model of its own: this process may have compiled the other one.
        tiny_bundle = replace(tiny_bundle, name="watched")
        data = da.from_array(patterns, chunks=(1, 1, 48, 48)).map_blocks(watch, dtype=np.uint8)
        read.clear()
        later = classify(LazyEBSD(data), tiny_bundle, compute=False)
        assert not seen
        assert len(read) <= 9
        read.clear()
        later.compute()
        assert sum(seen) >= 42
        assert len(read) == 42

    def test_several_at_once(self, patterns, tiny_bundle):
        """As the documentation says."""
        signals = [EBSD(patterns), EBSD(patterns[::-1])]
        laters = [classify(signal, tiny_bundle, compute=False) for signal in signals]
        predictions = dask.compute(*(later.prediction for later in laters))
        for later, prediction, signal in zip(laters, predictions, signals, strict=True):
            assert_same(later.crystal_map(prediction), classify(signal, tiny_bundle))

    def test_model_is_compiled_once(self, patterns, tiny_bundle, monkeypatch):
        """By all parts and threads together."""
        made = []

        class Counting(parts.Runner):
            def __init__(self, *arguments, **settings):
                made.append(settings)
                super().__init__(*arguments, **settings)

        monkeypatch.setattr(parts, "Runner", Counting)
        lazy_prediction(patterns, tiny_bundle, batch_size=5).compute(scheduler="threads")
        assert [i["batch_size"] for i in made] == [5]

    def test_further_values(self, patterns, tiny_bundle):
        functions = {"mean": lambda images: images.mean(axis=(1, 2, 3))}
        settings = {"of_images": functions, "precision": "float32"}
        found = lazy_prediction(patterns, tiny_bundle, **settings).compute()
        expected = predict(patterns, tiny_bundle, **settings, show_progressbar=False)
        np.testing.assert_allclose(found.of_images["mean"], expected.of_images["mean"], atol=1e-6)

    # A bug when written: parts that are smaller than the chunks compute these anew.
    def test_chunks_are_computed_once(self, patterns, tiny_bundle, monkeypatch):
        monkeypatch.setattr(parts, "CHUNK_BYTES", 7 * 48 * 48)
        computed = []

        def watch(block, block_info=None):
            if block_info:
                computed.append(block_info[0]["chunk-location"][0])
            return block

        data = da.from_array(patterns, chunks=(3, 7, 48, 48)).map_blocks(watch, dtype=np.uint8)
        computed.clear()
        lazy_prediction(data, tiny_bundle).compute()
        assert sorted(computed) == [0, 1]
