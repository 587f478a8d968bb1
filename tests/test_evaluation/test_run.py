from dataclasses import replace

import dask.array as da
import hyperspy.api as hs
import numpy as np
import pytest
from kikuchipy.pattern import get_image_quality

from kikuchipy_cnn import LabelClasses
from kikuchipy_cnn.evaluation import evaluate


@pytest.fixture(scope="module")
def noise(label):
    """Patterns of noise from two sources, one of them lazy, in an order of their own."""
    rng = np.random.default_rng(0)
    first = rng.integers(0, 255, (9, 40, 40), np.uint8)
    second = da.from_array(rng.integers(0, 255, (7, 48, 40), np.uint8), chunks=(2, -1, -1))
    both = label([221, 225, 229] * 3, ["Ni3Al", "Ni", "Fe"] * 3, first)
    both += label([225] * 7, ["Ni"] * 7, second)
    # Pattern 3 twice.
    return both.take(np.array([15, 3, 0, 12, 8, 3, 9, 5, 1]))


class TestEvaluate:
    def test_probabilities_and_quality(self, make, tiny_bundle, noise):
        found = evaluate(
            tiny_bundle, noise, precision="float32", batch_size=4, show_progressbar=False
        )
        assert (found.level, found.model) == ("space group", "tiny")
        for i in range(len(noise)):
            pattern = np.asarray(noise.sources[noise.source[i]].data[noise.index[i]])
            images, _ = tiny_bundle.transform(pattern[np.newaxis])
            expected = tiny_bundle.predict_probabilities(images)[0]
            np.testing.assert_allclose(found.probabilities[i], expected, atol=1e-5)
            assert found.quality[i] == pytest.approx(get_image_quality(images[0, ..., 0]), abs=1e-5)
        winners = np.array(make.classes.numbers)[found.probabilities.argmax(axis=1)]
        assert (found.predicted == winners).all()

    def test_quality_falls_with_noise(self, label, tiny_bundle):
        rng = np.random.default_rng(0)
        bands = np.sin(np.linspace(0, 25, 40))[:, None] * np.ones(40)
        patterns = np.stack([bands + level * rng.normal(size=(40, 40)) for level in (0.1, 1, 5)])
        found = evaluate(tiny_bundle, label([221] * 3, ["x"] * 3, patterns), show_progressbar=False)
        assert found.quality[0] > found.quality[1] > found.quality[2]

    def test_lazy_patterns_are_read_once_and_only_the_chunks_needed(self, label, tiny_bundle):
        read = []

        def note(block, block_info=None):
            read.append(block_info[0]["chunk-location"][0])
            return np.random.default_rng(0).integers(0, 255, block.shape, np.uint8)

        data = da.zeros((600, 512, 512), dtype=np.uint8, chunks=(256, -1, -1))
        data = data.map_blocks(note, dtype=np.uint8, meta=np.array((), np.uint8))
        patterns = label([225] * 600, ["Ni"] * 600, data).take(np.array([3, 8, 5]))
        found = evaluate(tiny_bundle, patterns, show_progressbar=False)
        assert found.valid.all()
        assert read == [0]

    def test_without_quality(self, tiny_bundle, noise):
        found = evaluate(tiny_bundle, noise, with_quality=False, show_progressbar=False)
        assert found.quality is None

    def test_by_path(self, tiny_bundle, noise, tmp_path):
        tiny_bundle.save(tmp_path / "model")
        found = evaluate(tmp_path / "model", noise, show_progressbar=False)
        expected = evaluate(tiny_bundle, noise, show_progressbar=False)
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=0.01)

    def test_unknown_class(self, tiny_bundle, noise):
        other = replace(noise, space_group=np.where(noise.material == "Fe", 194, noise.space_group))
        n = int((noise.material == "Fe").sum())
        with pytest.warns(UserWarning, match=rf"no class for {n} of 9 patterns \(194 P63/mmc\)"):
            found = evaluate(tiny_bundle, other, show_progressbar=False)
        assert not found.right[noise.material == "Fe"].any()

    def test_invalid_patterns(self, label, tiny_bundle):
        rng = np.random.default_rng(0)
        data = rng.random((4, 40, 40))
        data[1], data[2, 0, 0] = 7, np.nan
        patterns = label([221, 221, 225, 229], ["a", "a", "b", "c"], data)
        with pytest.warns(UserWarning, match="2 of 4 patterns are constant"):
            found = evaluate(tiny_bundle, patterns, show_progressbar=False)
        assert found.valid.tolist() == [True, False, False, True]
        assert np.isnan(found.quality).tolist() == [False, True, True, False]
        assert found.predicted[1:3].tolist() == [-1, -1]

    def test_no_patterns(self, tiny_bundle, noise):
        with pytest.raises(ValueError, match="no patterns"):
            evaluate(tiny_bundle, noise.take(np.empty(0, int)))

    def test_no_such_model(self, noise):
        with pytest.raises(ValueError, match="no model 'nothing'"):
            evaluate("nothing", noise)

    def test_progress(self, tiny_bundle, noise, monkeypatch, capfd):
        evaluate(tiny_bundle, noise, show_progressbar=True)
        # The pattern that is there twice is read once.
        assert "8/8" in capfd.readouterr().err
        for is_shown in (True, False):
            monkeypatch.setattr(hs.preferences.General, "show_progressbar", is_shown)
            evaluate(tiny_bundle, noise)
            assert ("8/8" in capfd.readouterr().err) == is_shown


class TestLevel:
    def with_classes(self, bundle, *names):
        return replace(bundle, classes=LabelClasses(names))

    @pytest.mark.parametrize(
        ("names", "level"),
        [
            (("Fe", "Ni", "Ni3Al"), "phase"),
            (("F", "I", "P"), "centring"),
            (("6/mmm", "m-3", "m-3m"), "Laue group"),
        ],
    )
    def test_is_found(self, tiny_bundle, noise, names, level):
        bundle = self.with_classes(tiny_bundle, *names)
        found = evaluate(bundle, noise, show_progressbar=False)
        assert found.level == level
        assert found.other_labels == ()
        assert found.labels == names
        winners = np.array(names)[found.probabilities.argmax(axis=1)]
        assert found.accuracy == np.mean(winners == noise.labels(level).astype(str))

    def test_phases_of_the_model_that_are_not_tested(self, tiny_bundle, noise):
        bundle = self.with_classes(tiny_bundle, "Cu", "Ni", "Zn")
        with pytest.warns(UserWarning, match=r"patterns \(Fe, Ni3Al\)"):
            found = evaluate(bundle, noise, show_progressbar=False)
        assert found.level == "phase"
        assert found.report().count("\nNi ") == 2

    def test_no_label_is_a_class(self, tiny_bundle, noise):
        bundle = self.with_classes(tiny_bundle, "Cu", "Mg", "Zn")
        with pytest.raises(ValueError, match=r"phase: 'Fe', 'Ni', 'Ni3Al'.* 'Cu', 'Mg', 'Zn'"):
            evaluate(bundle, noise)
        with pytest.raises(ValueError, match=r"space group: '221', '225', '229'"):
            evaluate(bundle, noise, level="space group")
        with pytest.raises(ValueError, match="must be one of 'phase'"):
            evaluate(bundle, noise, level="colour")

    def test_space_groups_are_summed(self, tiny_bundle, noise):
        found = evaluate(tiny_bundle, noise, level="centring", show_progressbar=False)
        fine = evaluate(tiny_bundle, noise, show_progressbar=False)
        assert found.labels == ("F", "I", "P")
        np.testing.assert_array_equal(found.probabilities[:, 2], fine.probabilities[:, 0])

    def test_space_groups_are_no_phases(self, tiny_bundle, noise):
        for level in ("phase", "Laue group"):
            with pytest.raises(ValueError, match=level):
                evaluate(tiny_bundle, noise, level=level)


def trained_on(bundle, materials, earlier):
    return replace(bundle, training={"materials": materials, "start_materials": earlier})


class TestNewMaterials:
    @pytest.mark.parametrize("is_earlier", [False, True])
    def test_trained_on(self, tiny_bundle, noise, is_earlier):
        """By the model, or by the one that it began with."""
        sets = [[225, "Ni"], [225, "Fe"]], [[221, "CsCl"]]
        bundle = trained_on(tiny_bundle, *(sets[::-1] if is_earlier else sets))
        found = evaluate(bundle, noise, show_progressbar=False)
        assert found.trained_materials == {(225, "Ni"), (225, "Fe"), (221, "CsCl")}
        assert found.claims == ""
        match = (
            r"The model, or the one that it began with, was trained on Ni \(225\)\. Patterns of one"
        )
        with pytest.warns(UserWarning, match=match):
            found = evaluate(bundle, noise, new_materials=True, show_progressbar=False)
        assert found.claims == "new materials"
        assert "was trained on Ni (225)." in found.report().splitlines()[1]

    def test_new(self, tiny_bundle, noise):
        bundle = trained_on(tiny_bundle, [[225, "Fe"]], [])
        found = evaluate(bundle, noise, new_materials=True, show_progressbar=False)
        lines = found.report().splitlines()
        assert "9 patterns, claimed to be of new materials, are right" in lines[0]
        assert lines[1] == ""

    def test_of_the_catalogue(self, tiny_bundle, noise):
        """As the packaged models, which were trained on phases of it, maybe in several stages."""
        of_both = noise.take(np.isin(noise.material, ["Ni", "Ni3Al"]))
        bundle = replace(
            tiny_bundle, training={"stages": [{"phases": ["Ni3Al"]}, {"phases": ["Cu"]}]}
        )
        with pytest.warns(UserWarning, match=r"trained on Ni3Al \(221\)\. Patterns"):
            evaluate(bundle, of_both, new_materials=True, show_progressbar=False)
        bundle = replace(tiny_bundle, training={"stages": [{"phases": ["Cu"]}]})
        found = evaluate(bundle, of_both, new_materials=True, show_progressbar=False)
        assert (225, "Cu") in found.trained_materials
        assert "was trained on" not in found.report()

    @pytest.mark.parametrize("training", [{}, {"materials": [], "start_materials": None}])
    def test_not_known(self, tiny_bundle, noise, training):
        bundle = replace(tiny_bundle, training=training)
        with pytest.warns(UserWarning, match="not known which materials .* began with"):
            found = evaluate(bundle, noise, new_materials=True, show_progressbar=False)
        assert found.trained_materials is None
        assert "not known which materials" in found.report().splitlines()[1]
