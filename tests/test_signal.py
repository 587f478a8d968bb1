import subprocess
import sys
import warnings
from dataclasses import fields, replace

import dask.array as da
import kikuchipy as kp
import numpy as np
import pytest
from kikuchipy.signals import EBSD, LazyEBSD
from orix.quaternion import Rotation

import kikuchipy_cnn
from kikuchipy_cnn._attachment import attach
from kikuchipy_cnn.crystal_map import classes_from_crystal_map, summary_table
from kikuchipy_cnn.plotting import plot_patterns, plot_space_groups


@pytest.fixture
def nickel():
    return kp.data.nickel_ebsd_small()


def classify(signal, bundle, **kwargs):
    return signal.classify_space_group(bundle, show_progressbar=False, **kwargs)


class TestAttachment:
    def test_method_and_function_are_the_same(self):
        assert EBSD.classify_space_group is kikuchipy_cnn.classify_space_group
        assert LazyEBSD.classify_space_group is kikuchipy_cnn.classify_space_group

    def test_never_overwrites(self, monkeypatch):
        theirs = object()
        monkeypatch.setattr(EBSD, "classify_space_group", theirs)
        attach(EBSD)
        assert EBSD.classify_space_group is theirs

    def test_sliced_signal(self, nickel, tiny_bundle):
        full = classify(nickel, tiny_bundle)
        for xmap, expected in (
            (classify(nickel.inav[1:, :2], tiny_bundle), full[:2, 1:]),
            (classify(nickel.inav[2, 1], tiny_bundle), full[1, 2]),
        ):
            np.testing.assert_allclose(xmap.p_225, expected.p_225, atol=1e-5)
            assert np.allclose(xmap.rotations.angle_with(expected.rotations), 0, atol=1e-6)

    def test_import_is_light(self):
        code = (
            "import sys, kikuchipy_cnn, kikuchipy_cnn.cli; "
            "kikuchipy_cnn.plotting, kikuchipy_cnn.explanation; "
            "print(*{'tensorflow', 'keras', 'shap', 'sklearn.svm'} & set(sys.modules))"
        )
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        assert result.stdout.strip() == ""


class TestResult:
    def test_probabilities_are_those_of_the_network(self, nickel, tiny_bundle):
        """Against preprocessing and network called by hand, pattern by pattern."""
        xmap = classify(nickel, tiny_bundle, precision="float32")
        for i, pattern in enumerate(nickel.data.reshape(-1, 60, 60)):
            image, _ = tiny_bundle.transform(pattern[None], None, nickel.static_background)
            expected = tiny_bundle.predict_probabilities(image)[0]
            found = [xmap.prop[name][i] for name in ("p_221", "p_225", "p_229")]
            np.testing.assert_allclose(found, expected, atol=1e-5)
            assert xmap.scores[i] == pytest.approx(expected.max(), abs=1e-5)
            assert xmap.phase_id[i] == (221, 225, 229)[expected.argmax()]

    def test_lazy_is_the_same(self, nickel, tiny_bundle):
        eager = classify(nickel, tiny_bundle)
        lazy = nickel.as_lazy()
        lazy.data = lazy.data.rechunk((2, 1, 60, 60))
        xmap = classify(lazy, tiny_bundle, batch_size=2)
        assert lazy._lazy
        np.testing.assert_array_equal(xmap.phase_id, eager.phase_id)
        for name in eager.prop:
            np.testing.assert_allclose(xmap.prop[name], eager.prop[name], atol=1e-5)

    @pytest.mark.parametrize("batch_size", [1, 4, 100])
    def test_batch_size_does_not_matter(self, nickel, tiny_bundle, batch_size):
        expected = classify(nickel, tiny_bundle)
        xmap = classify(nickel, tiny_bundle, batch_size=batch_size)
        np.testing.assert_allclose(xmap.scores, expected.scores, atol=1e-5)

    def test_coordinates_and_rotations(self, nickel, tiny_bundle):
        xmap = classify(nickel, tiny_bundle)
        assert xmap.shape == (3, 3)
        assert (xmap.dy, xmap.dx) == (1.5, 1.5)
        assert xmap.scan_unit == "um"
        expected = nickel.xmap.rotations
        expected = expected if expected.ndim == 1 else expected[:, 0]
        assert np.allclose(xmap.rotations.angle_with(expected), 0, atol=1e-6)
        assert expected.angle.min() > 0.1

    def test_no_orientations_give_identity(self, nickel, tiny_bundle):
        xmap = classify(EBSD(nickel.data), tiny_bundle)
        assert np.allclose(xmap.rotations.angle_with(Rotation.identity()), 0)

    def test_phases(self, nickel, tiny_bundle):
        xmap = classify(nickel, tiny_bundle)
        for phase_id, phase in xmap.phases_in_data:
            assert phase.space_group.number == phase_id
            assert phase.name == {221: "Pm-3m", 225: "Fm-3m", 229: "Im-3m"}[phase_id]

    @pytest.mark.parametrize("lazy", [False, True])
    @pytest.mark.parametrize("shape", [(), (1,), (4,), (4, 1), (1, 4), (2, 2)])
    def test_navigation_shapes(self, nickel, tiny_bundle, shape, lazy):
        n = int(np.prod(shape))
        signal = EBSD(nickel.data.reshape(-1, 60, 60)[:n].reshape(*shape, 60, 60))
        signal = signal.as_lazy() if lazy else signal
        xmap = classify(signal, tiny_bundle, static_background=nickel.static_background)
        expected = classify(nickel, tiny_bundle)
        np.testing.assert_allclose(xmap.p_225, expected.p_225[:n], atol=1e-5)

    def test_column(self, nickel, tiny_bundle):
        """A line scan along y stays one."""
        signal = EBSD(nickel.data[:, 0])
        signal.axes_manager[0].name = "y"
        signal.axes_manager[0].scale = 2.5
        xmap = classify(signal, tiny_bundle)
        assert xmap.y.tolist() == [0, 2.5, 5]
        assert xmap.x is None or np.ptp(xmap.x) == 0

    @pytest.mark.parametrize("chunks", [(1, 1, 60, 60), (3, 3, 60, 60), (2, 3, 30, 60)])
    def test_mask_and_chunks(self, nickel, tiny_bundle, chunks):
        mask = np.zeros((3, 3), bool)
        mask[1, 1] = mask[2, 0] = True
        expected = classify(nickel, tiny_bundle)
        lazy = nickel.as_lazy()
        lazy.data = lazy.data.rechunk(chunks)
        xmap = classify(lazy, tiny_bundle, navigation_mask=mask, batch_size=4)
        np.testing.assert_allclose(xmap.p_225, expected.p_225[~mask.ravel()], atol=1e-5)

    def test_navigation_mask(self, nickel, tiny_bundle):
        full = classify(nickel, tiny_bundle)
        mask = np.zeros((3, 3), bool)
        mask[0, 1:] = True
        xmap = classify(nickel, tiny_bundle, navigation_mask=mask)
        assert xmap.size == 7
        np.testing.assert_array_equal(xmap.is_in_data, ~mask.ravel())
        np.testing.assert_allclose(xmap.scores, full.scores[~mask.ravel()], atol=1e-5)

    def test_signal_mask_is_used(self, nickel, tiny_bundle, rng):
        mask = np.zeros((60, 60), bool)
        mask[:, 45:] = True
        expected = classify(nickel, tiny_bundle, signal_mask=mask, static_background=False)
        nickel.data[..., 45:] = rng.integers(0, 255, (3, 3, 60, 15))
        xmap = classify(nickel, tiny_bundle, signal_mask=mask, static_background=False)
        np.testing.assert_allclose(xmap.p_225, expected.p_225, atol=1e-5)

    def test_static_background_is_removed_once(self, nickel, tiny_bundle, capsys):
        """A signal keeps its static background after it was removed."""
        raw = classify(nickel, tiny_bundle)
        assert "Static background: divided by" in capsys.readouterr().out
        nickel.remove_static_background(operation="divide", show_progressbar=False)
        removed = classify(nickel, tiny_bundle)
        assert "Static background: none" in capsys.readouterr().out
        assert np.corrcoef(raw.p_225, removed.p_225)[0, 1] > 0.9

    def test_information(self, nickel, tiny_bundle, capsys):
        classify(nickel, tiny_bundle)
        out = capsys.readouterr().out
        assert "Model: tiny (tiny, 32 x 32 pixels)" in out
        assert "Space groups: Pm-3m, Fm-3m, Im-3m" in out
        assert "Classifying 9 pattern(s) of 60 x 60 pixels" in out
        assert "patterns/s" in out

    def test_model_of_labels(self, nickel, tiny_bundle, tmp_path, capsys):
        """From a bundle on disk to figures and files."""
        classes = kikuchipy_cnn.LabelClasses(("4/mmm", "Ni", "Ni3Al"), (None, 225, 221))
        replace(tiny_bundle, classes=classes).save(tmp_path / "model")
        xmap = classify(nickel, tmp_path / "model")
        assert "Classes: 4/mmm, Ni, Ni3Al" in capsys.readouterr().out

        expected = classify(nickel, tiny_bundle)
        for name, same in zip(classes.properties, ("p_221", "p_225", "p_229"), strict=True):
            # The weights on disk are of 16 bits
            np.testing.assert_allclose(xmap.prop[name], expected.prop[same], atol=5e-3)
        found = np.argmax([xmap.prop[name] for name in classes.properties], axis=0)
        assert xmap.phase_id.tolist() == (found + 1).tolist()
        names = [classes.names[i] for i in np.unique(found)]
        assert xmap.phases.names == names

        figure = plot_space_groups(xmap, classes)
        assert [i.get_text().split(",")[0] for i in figure.legends[0].get_texts()] == [
            "4/mmm",
            "Ni",
            "Ni3Al",
        ]
        figure = plot_patterns(nickel, xmap)
        titles = [i.get_title().split("  ")[0] for i in figure.axes if i.get_title()]
        assert titles == [classes.names[i] for i in found]

        for suffix in (".h5", ".ang"):
            kikuchipy_cnn.io.save(tmp_path / f"map{suffix}", xmap)
            loaded = kikuchipy_cnn.io.load(tmp_path / f"map{suffix}")
            assert loaded.phases.names == names
        loaded = kikuchipy_cnn.io.load(tmp_path / "map.h5")
        assert classes_from_crystal_map(loaded).names == classes.names
        assert summary_table(loaded, classes) == summary_table(xmap, classes)

    def test_memory_stays_bounded(self, tiny_bundle, monkeypatch):
        """Chunks are read one after the other, not all before the network starts."""
        monkeypatch.setattr("kikuchipy_cnn.inference.batches.CHUNK_BYTES", 10 * 48 * 48)
        computed = []

        def read(block, block_info=None):
            computed.append(block_info[0]["chunk-location"])
            return block

        base = da.random.default_rng(0).integers(0, 255, (40, 10, 48, 48), chunks=(1, 10, 48, 48))
        data = base.astype(np.uint8).map_blocks(read, dtype=np.uint8)
        computed.clear()
        seen_at_first_batch = []
        outputs_of = tiny_bundle.outputs_of

        class Watching(type(tiny_bundle)):
            def outputs_of(self, *values):
                if not seen_at_first_batch:
                    seen_at_first_batch.append(len(computed))
                return outputs_of(*values)

        watching = Watching(**{i.name: getattr(tiny_bundle, i.name) for i in fields(tiny_bundle)})
        classify(LazyEBSD(data), watching, batch_size=10)
        assert len(computed) >= 40
        # Some patterns are sampled from all over the map before.
        assert seen_at_first_batch[0] < 25


class TestBadInput:
    def test_invalid_patterns_are_not_indexed(self, nickel, tiny_bundle):
        nickel.change_dtype(np.float32)
        nickel.data[0, 0] = 3
        nickel.data[1, 1, 5, 5] = np.nan
        with pytest.warns(UserWarning, match="2 of 9 patterns are constant or have values"):
            xmap = classify(nickel, tiny_bundle)
        not_indexed = np.flatnonzero(xmap.phase_id == -1)
        assert not_indexed.tolist() == [0, 4]
        assert (xmap.scores[not_indexed] == 0).all()

    def test_good_patterns_do_not_warn(self, nickel, tiny_bundle):
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            classify(nickel, tiny_bundle)

    @pytest.mark.parametrize(
        ("kwargs", "match"),
        [
            ({"navigation_mask": np.zeros((2, 3), bool)}, r"shape \(2, 3\), but \(3, 3\)"),
            ({"navigation_mask": np.ones((3, 3), bool)}, "navigation_mask is all True"),
            ({"navigation_mask": np.zeros((3, 3))}, "must be boolean, not of data type float64"),
            ({"signal_mask": np.zeros((60, 61), bool)}, r"shape \(60, 61\), but \(60, 60\)"),
            ({"signal_mask": np.ones((60, 60), bool)}, "signal_mask is all True"),
            ({"static_background": np.ones((3, 3))}, r"shape \(3, 3\), but the patterns"),
            ({"static_background": np.zeros((60, 60))}, "finite and positive"),
            ({"static_background": True}, "static_background=True is none"),
            ({"batch_size": 0}, "batch_size=0"),
        ],
    )
    def test_arguments(self, nickel, tiny_bundle, kwargs, match):
        with pytest.raises(ValueError, match=match):
            classify(nickel, tiny_bundle, **kwargs)

    @pytest.mark.parametrize(
        ("data", "match"),
        [
            (np.zeros((0, 60, 60), np.uint8), "0 patterns"),
            (np.ones((2, 39, 60), np.uint8), "39 x 60 pixels are too small.*40 x 40"),
            (np.ones((2, 60, 60), complex), "complex128"),
        ],
    )
    def test_patterns(self, data, match, tiny_bundle):
        with pytest.raises(ValueError, match=match):
            classify(EBSD(data), tiny_bundle)

    def test_unknown_model(self, nickel):
        with pytest.raises(ValueError, match="no model 'resnet'. Packaged models: .*xception"):
            nickel.classify_space_group("resnet")

    def test_error_while_reading_is_raised(self, tiny_bundle, monkeypatch):
        """In the thread that reads; the patterns sampled before are others."""
        monkeypatch.setattr("kikuchipy_cnn.inference.batches.CHUNK_BYTES", 1)

        def fail(block, block_info=None):
            if block_info and block_info[0]["chunk-location"][0] == 1:
                raise OSError("disk gone")
            return block

        data = da.zeros((40, 50, 50), chunks=(1, 50, 50)) + da.arange(50)
        data = data.map_blocks(fail, dtype=float)
        with pytest.raises(OSError, match="disk gone"):
            classify(LazyEBSD(data), tiny_bundle, batch_size=1)

    def test_three_navigation_dimensions(self, tiny_bundle):
        signal = EBSD(np.zeros((2, 2, 2, 50, 50), np.uint8))
        with pytest.raises(ValueError, match="3 navigation dimensions; a map has at most 2"):
            classify(signal, tiny_bundle)

    def test_step_size_of_zero(self, nickel, tiny_bundle):
        nickel.axes_manager[0].scale = 0
        with pytest.warns(UserWarning, match="The map gets steps of 1 px"):
            xmap = classify(nickel, tiny_bundle)
        assert (xmap.dx, xmap.dy, xmap.scan_unit) == (1, 1, "px")

    def test_no_values_outside_the_detector(self, tiny_bundle, rng):
        """Such pixels are masked; they do not make the patterns invalid."""
        patterns = rng.normal(100, 10, (6, 60, 60)).astype(np.float32)
        y, x = np.ogrid[:60, :60]
        outside = np.hypot(y - 29.5, x - 29.5) > 29
        zero = patterns.copy()
        patterns[:, outside] = np.nan
        zero[:, outside] = 0
        xmap = classify(EBSD(patterns), tiny_bundle)
        assert xmap.is_indexed.all()
        expected = classify(EBSD(zero), tiny_bundle, signal_mask=outside)
        given = classify(EBSD(patterns), tiny_bundle, signal_mask=outside)
        np.testing.assert_allclose(given.p_225, expected.p_225, atol=1e-5)
