import dask
import dask.array as da
import hyperspy.api as hs
import numpy as np
import pytest
from kikuchipy.signals import EBSD, EBSDMasterPattern, LazyEBSD
from orix.crystal_map import CrystalMap, Phase, PhaseList
from orix.quaternion import Rotation

from kikuchipy_cnn import PatternTransform
from kikuchipy_cnn.simulation import load_library, load_phases
from kikuchipy_cnn.training.labelled import LabelledPatterns, PatternSource

TRANSFORM = PatternTransform(size=32)


@pytest.fixture
def make_patterns(rng):
    """Patterns that all differ, so that an image tells which one it is of."""

    def make(*shape):
        return rng.integers(0, 255, (*shape, 42, 40), dtype=np.uint8)

    return make


def make_map(shape, phase_ids, phases, **kwargs):
    n = int(np.prod(shape))
    places = dict(zip("yx"[-len(shape) :], map(np.ravel, np.indices(shape)), strict=True))
    return CrystalMap(
        rotations=Rotation.from_axes_angles([0, 0, 1], np.linspace(0.1, 1, n)),
        phase_id=np.ravel(phase_ids),
        phase_list=PhaseList(phases),
        **places,
        **kwargs,
    )


def expected_images(patterns):
    return TRANSFORM(patterns.reshape(-1, *patterns.shape[-2:]))[0]


def read(patterns, **kwargs):
    return patterns.images(TRANSFORM, show_progressbar=False, **kwargs)


class TestFromSignals:
    def test_labels_and_images(self, make_patterns):
        """Signals of one and two dimensions, lazy or not, alone, listed and by name."""
        a, b, c, d = make_patterns(5), make_patterns(2, 3), make_patterns(4), make_patterns(3)
        lazy = LazyEBSD(da.from_array(b, chunks=(1, 1, 42, 40)))
        patterns = LabelledPatterns.from_signals(
            {225: [EBSD(a), lazy], 229: {"Fe": EBSD(c), "W": [EBSD(d)]}}
        )
        assert isinstance(patterns.sources[1].data, da.Array)
        assert patterns.counts() == {(225, "Fm-3m"): 11, (229, "Fe"): 4, (229, "W"): 3}
        names = ["Fm-3m 1"] * 5 + ["Fm-3m 2"] * 6 + ["Fe 1"] * 4 + ["W 1"] * 3
        assert patterns.map_name.tolist() == names
        assert (patterns.grain == "").all() and np.isnan(patterns.rotation).all()
        images, valid = read(patterns)
        assert images.dtype == np.float32 and valid.all()
        np.testing.assert_array_equal(
            images, np.concatenate([expected_images(i) for i in (a, b, c, d)])
        )

    def test_rotations_of_the_crystal_map(self, make_patterns):
        xmap = make_map((2, 3), [0, 0, -1, 0, 0, 0], {0: Phase("x", 225)})
        signal = EBSD(make_patterns(2, 3), xmap=xmap)
        rotation = LabelledPatterns.from_signal(signal, 225, "Ni").rotation
        assert np.isnan(rotation[2]).all()
        known = [0, 1, 3, 4, 5]
        np.testing.assert_allclose(rotation[known], xmap.rotations.data[known])

        # As kikuchipy's readers make it for files without orientations.
        unknown = EBSD(make_patterns(2, 3), xmap=CrystalMap.empty((2, 3)))
        assert np.isnan(LabelledPatterns.from_signal(unknown, 225, "Ni").rotation).all()

    @pytest.mark.parametrize(
        ("signals", "error", "match"),
        [
            ({}, ValueError, "at least one set"),
            ({231: EBSD(np.zeros((2, 40, 40)))}, ValueError, "231 must be in 1-230"),
            ({"Fm-3m": EBSD(np.zeros((2, 40, 40)))}, TypeError, "'Fm-3m' must be an integer"),
            ({225: EBSD(np.zeros((2, 40, 39)))}, ValueError, "40 x 39 pixels are too small"),
            ({225: []}, ValueError, "no signal for space group 225. Give at least one, or leave"),
            ({225: {}}, ValueError, "no signal for space group 225"),
            ({225: {"Ni": []}}, ValueError, "no signal for 'Ni' of space group 225"),
            ([EBSD(np.zeros((2, 40, 40)))], TypeError, "type list.* as in {225: signal}"),
            ({225: np.zeros((2, 40, 40))}, TypeError, r"225 is of type ndarray.*EBSD\(array\)"),
            ({225: [np.zeros((2, 40, 40))]}, TypeError, "225 is of type ndarray, not an EBSD"),
            ({225: da.zeros((2, 40, 40))}, TypeError, "225 is of type Array, not an EBSD"),
            ({225: {"Ni": "ni.h5"}}, TypeError, r"'Ni' of .* type str.*kikuchipy.load\(path\)"),
            (
                {225: EBSDMasterPattern(np.zeros((5, 5)))},
                TypeError,
                "225 is of type EBSDMasterPattern",
            ),
        ],
    )
    def test_errors(self, signals, error, match):
        with pytest.raises(error, match=match):
            LabelledPatterns.from_signals(signals)

    def test_same_signal_twice(self, make_patterns):
        """Its patterns could land in the training and in the test."""
        signal = EBSD(make_patterns(2))
        for signals, place in (
            ({225: [signal, signal]}, "space group 225"),
            ({225: {"Ni": signal, "Al": signal}}, "'Ni' of space group 225"),
            ({225: signal, 229: (EBSD(make_patterns(2)), signal)}, "space group 225"),
        ):
            with pytest.raises(ValueError, match=f"is the one given for {place}. Give it once"):
                LabelledPatterns.from_signals(signals)

    def test_any_collection(self, make_patterns):
        signals = {"a": EBSD(make_patterns(2)), "b": EBSD(make_patterns(3))}
        assert len(LabelledPatterns.from_signals({225: signals.values()})) == 5


class TestFromCrystalMap:
    PHASES = {0: Phase("Ni", 225), 1: Phase(space_group=221), -1: Phase("not_indexed")}
    IDS = [0, 1, -1, 1, 0, 0]

    def test_patterns_not_indexed_or_not_in_data(self, make_patterns):
        data = make_patterns(2, 3)
        in_data = np.array([True, True, True, True, False, True])
        xmap = make_map((2, 3), self.IDS, self.PHASES, is_in_data=in_data)
        patterns = LabelledPatterns.from_crystal_map(EBSD(data, xmap=xmap), map_name="a", file="f")
        assert patterns.index.tolist() == [0, 1, 3, 5]
        assert patterns.space_group.tolist() == [225, 221, 221, 225]
        # A phase without a name is named by its space group.
        assert patterns.material.tolist() == ["Ni", "Pm-3m", "Pm-3m", "Ni"]
        assert set(patterns.map_name) == {"a"} and patterns.sources[0].file == "f"
        np.testing.assert_allclose(patterns.rotation, xmap.rotations.data[[0, 1, 3, 4]])
        np.testing.assert_array_equal(read(patterns)[0], expected_images(data)[[0, 1, 3, 5]])

    def test_sliced_signal(self, make_patterns):
        data = make_patterns(2, 3)
        signal = EBSD(data, xmap=make_map((2, 3), self.IDS, self.PHASES)).inav[1:, :]
        patterns = LabelledPatterns.from_crystal_map(signal)
        assert patterns.space_group.tolist() == [221, 225, 225]
        np.testing.assert_array_equal(read(patterns)[0], expected_images(data)[[1, 4, 5]])
        assert len(LabelledPatterns.from_signal(signal, 225, "Ni")) == 4

    def test_space_groups_as_a_property(self, make_patterns):
        """Before those of the phases, which files of orix do not keep."""
        xmap = make_map((3,), [0, 0, 1], {0: Phase("a"), 1: Phase("b")})
        xmap.prop["space_group"] = [166, 166, 229]
        patterns = LabelledPatterns.from_crystal_map(EBSD(make_patterns(3), xmap=xmap))
        assert patterns.counts() == {(166, "a"): 2, (229, "b"): 1}

    def test_errors(self, make_patterns):
        data = make_patterns(3)

        def fails(xmap, match):
            with pytest.raises(ValueError, match=match):
                LabelledPatterns.from_crystal_map(EBSD(data, xmap=xmap))

        fails(None, "has no crystal map of its patterns")
        fails(make_map((3,), -np.ones(3), {-1: Phase("not_indexed")}), "No pattern .* is indexed")
        fails(make_map((3,), [0, 0, 5], {0: Phase("a", 225), 5: Phase("b")}), "'b' .* no space")
        signal = EBSD(data, xmap=make_map((3,), [0, 0, 0], {0: Phase("a", 225)}))
        signal.data = make_patterns(4)
        with pytest.raises(ValueError, match="no crystal map of its patterns"):
            LabelledPatterns.from_crystal_map(signal)


class TestFromSimulation:
    def test_each_phase_on_its_own(self):
        both = LabelledPatterns.from_simulation(
            ["Ni", "Ge"], 3, shape=(40, 44), seed=4, show_progressbar=False
        )
        assert both.counts() == {(225, "Ni"): 3, (227, "Ge"): 3}
        assert both.grain.tolist() == ["1", "2", "3"] * 2
        assert sorted(set(both.map_name)) == [
            "Ge (simulated, seed 4)",
            "Ni (simulated, seed 4)",
        ]
        assert not np.allclose(both.rotation[:3], both.rotation[3:])
        alone = LabelledPatterns.from_simulation(
            ["Ge"], 3, shape=(40, 44), seed=4, show_progressbar=False
        )
        np.testing.assert_array_equal(alone.sources[0].data, both.sources[1].data)
        other = LabelledPatterns.from_simulation(
            ["Ge"], 3, shape=(40, 44), seed=5, show_progressbar=False
        )
        assert (other.sources[0].data != alone.sources[0].data).any()

    def test_phase_not_in_the_library(self, monkeypatch):
        """Its master pattern is simulated, here without the work."""
        asked = []

        def simulate_master_pattern(phase, energy, *, half_width, **kwargs):
            asked.append((phase, energy, half_width))
            return EBSDMasterPattern(
                load_library()["Al"], projection="lambert", hemisphere="both", phase=phase
            )

        monkeypatch.setattr(
            "kikuchipy_cnn.simulation.library.simulate_master_pattern", simulate_master_pattern
        )
        phase = load_phases((229,))["W"]
        patterns = LabelledPatterns.from_simulation([phase], 2, show_progressbar=False)
        assert asked == [(phase, 20, load_library().half_width)]
        assert patterns.counts() == {(229, "W"): 2}

    def test_detector_fills_the_patterns(self):
        """A border without signal that no mask tells would be taken for signal."""
        patterns = LabelledPatterns.from_simulation(
            ["Ni"], 40, shape=(71, 71), show_progressbar=False
        )
        corners = patterns.sources[0].data[:, [0, 0, -1, -1], [0, -1, 0, -1]]
        assert (corners == 0).all(axis=1).mean() < 0.1

    def test_errors(self):
        with pytest.raises(ValueError, match="'Unobtainium' is not in the library"):
            LabelledPatterns.from_simulation(["Ni", "Unobtainium"], 1)
        with pytest.raises(ValueError, match="'Ni' is given twice"):
            LabelledPatterns.from_simulation(["Ni", "Ge", "Ni"], 1)


@pytest.fixture
def mixed(make_patterns):
    """Three materials, of which two have one space group, and their patterns in a row."""
    data = [make_patterns(n) for n in (3, 4, 2)]
    signals = {225: {"Ni": EBSD(data[0]), "Al": EBSD(data[1])}, 194: {"Ti": EBSD(data[2])}}
    return LabelledPatterns.from_signals(signals), np.concatenate(data)


class TestSelection:
    def test_take_more_than_once_and_in_any_order(self, mixed):
        patterns, data = mixed
        chosen = np.array([8, 0, 5, 0, 2, 8, 8])
        taken = patterns.take(chosen)
        assert taken.material.tolist() == ["Ti", "Ni", "Al", "Ni", "Ni", "Ti", "Ti"]
        np.testing.assert_array_equal(read(taken)[0], expected_images(data[chosen]))
        again = taken.take(np.array([False, False, True, False, True, False, False]))
        np.testing.assert_array_equal(read(again)[0], expected_images(data[[5, 2]]))

    def test_concatenate_shares_sources(self, mixed):
        patterns, data = mixed
        joined = patterns.take([7, 8]) + patterns.take([1]) + patterns
        assert len(joined.sources) == 3
        assert joined.map_name.tolist() == [
            *("Ti 1", "Ti 1", "Ni 1"),
            *patterns.map_name,
        ]
        order = [7, 8, 1, *range(9)]
        np.testing.assert_array_equal(read(joined)[0], expected_images(data[order]))
        with pytest.raises(TypeError):
            patterns + 1

    def test_counts(self, mixed):
        patterns, _ = mixed
        # In the order of the space groups.
        assert list(patterns.counts().items()) == [
            ((194, "Ti"), 2),
            ((225, "Al"), 4),
            ((225, "Ni"), 3),
        ]
        assert "9 patterns; 194 Ti: 2, 225 Al: 4, 225 Ni: 3" in repr(patterns)


class TestClasses:
    @pytest.mark.parametrize(
        ("level", "labels", "names"),
        [
            ("phase", ["Ni", "Al", "Ti"], ("Al", "Ni", "Ti")),
            ("space group", [225, 225, 194], ("P63/mmc", "Fm-3m")),
            ("centring", ["F", "F", "P"], ("F", "P")),
            ("Laue group", ["m-3m", "m-3m", "6/mmm"], ("6/mmm", "m-3m")),
        ],
    )
    def test_levels(self, mixed, level, labels, names):
        patterns, _ = mixed
        assert patterns.labels(level).tolist() == np.repeat(labels, (3, 4, 2)).tolist()
        assert patterns.classes(level).names == names

    def test_space_groups_of_phases(self, mixed):
        assert mixed[0].classes("phase").space_groups == (225, 225, 194)
        assert mixed[0].classes("centring").space_groups == (None, None)

    def test_errors(self, mixed, make_patterns):
        patterns, _ = mixed
        with pytest.raises(ValueError, match="level='color' must be one of 'phase', "):
            patterns.labels("color")
        with pytest.raises(ValueError, match="All 7 patterns are of one space group, .225."):
            patterns.take(np.arange(7)).classes()
        with pytest.raises(ValueError, match="'Ti' is given for space groups .194, 229."):
            other = LabelledPatterns.from_signals({229: {"Ti": EBSD(make_patterns(1))}})
            (patterns + other).classes("phase")


class TestProgress:
    @pytest.mark.parametrize("is_shown", [True, False])
    def test_preference(self, make_patterns, monkeypatch, capfd, is_shown):
        monkeypatch.setattr(hs.preferences.General, "show_progressbar", is_shown)
        LabelledPatterns.from_signals({225: EBSD(make_patterns(3))}).images(TRANSFORM)
        assert ("3/3" in capfd.readouterr().err) == is_shown
        LabelledPatterns.from_simulation(["Ni"], 1, shape=(40, 40))
        assert ("1/1" in capfd.readouterr().err) == is_shown


class TestImages:
    @pytest.mark.filterwarnings("ignore:.*of .* patterns are constant")
    def test_invalid_patterns(self, make_patterns):
        data = make_patterns(5).astype(np.float32)
        data[1], data[3, 4, 5] = 7, np.nan
        patterns = LabelledPatterns.from_signals({225: EBSD(data)})
        with pytest.warns(UserWarning, match="2 of 5 patterns are constant"):
            images, valid = read(patterns)
        assert valid.tolist() == [True, False, True, False, True]
        assert (images[[1, 3]] == 0).all() and (images[[0, 2, 4]].std(axis=(1, 2)) > 0.5).all()

    def test_circular_detector(self, rng):
        y, x = np.ogrid[:60, :60]
        outside = np.hypot(y - 29.5, x - 29.5) > 29.5
        data = rng.integers(100, 200, (12, 60, 60), dtype=np.uint8)
        data[:, outside] = 0
        patterns = LabelledPatterns.from_signals({225: EBSD(data)})
        mask = patterns.sources[0].signal_mask
        assert mask[outside].all() and mask[~outside].mean() < 0.1
        expected, _ = TRANSFORM(data, mask)
        images, _ = read(patterns)
        np.testing.assert_array_equal(images, expected)
        assert (images[:, 0, 0] == 0).all()

    def test_static_background(self, rng):
        """Divided by where it is still in the patterns, and not again where it was removed."""
        background = np.tile(np.linspace(50, 200, 50), (50, 1))
        signal = rng.normal(1, 0.1, (12, 50, 50))
        with_it = EBSD(signal * background, static_background=background)
        without = EBSD(signal, static_background=background)
        assert PatternSource.from_signal(without).static_background is None
        patterns = LabelledPatterns.from_signals({225: with_it})
        expected, _ = TRANSFORM(signal * background, None, background)
        np.testing.assert_array_equal(read(patterns)[0], expected)

    def test_labelling_reads_little(self, make_patterns):
        data, read_from = make_patterns(1000), []

        def block(start):
            read_from.append(start)
            return data[start : start + 10]

        blocks = [
            da.from_delayed(dask.delayed(block)(start), (10, 42, 40), np.uint8)
            for start in range(0, 1000, 10)
        ]
        lazy = LazyEBSD(da.concatenate(blocks))
        patterns = LabelledPatterns.from_signal(lazy, 225, "Ni")
        assert 0 < len(read_from) < 15
        chosen = [3, 990]
        np.testing.assert_array_equal(read(patterns.take(chosen))[0], expected_images(data[chosen]))


def test_arrays_must_fit(make_patterns):
    source = PatternSource(make_patterns(3))

    def make(source_number=(0, 0), index=(0, 2), space_group=(225, 225), **kwargs):
        return LabelledPatterns(
            (source,), source_number, index, space_group, ["a", "b"], ["m", "m"], **kwargs
        )

    assert make().grain.tolist() == ["", ""]
    with pytest.raises(ValueError, match=r"grain has shape \(3,\) for 2 patterns"):
        make(grain=["1", "2", "3"])
    with pytest.raises(ValueError, match=r"rotation has shape \(4,\) for 2 patterns"):
        make(rotation=[1, 0, 0, 0])
    for wrong in ({"index": (0, 3)}, {"index": (0, -1)}, {"source_number": (0, 1)}):
        with pytest.raises(ValueError, match=r"point beyond the 1 source\(s\) with .3. patterns"):
            make(**wrong)
    with pytest.raises(ValueError, match="Space group 300 must be in 1-230"):
        make(space_group=(225, 300))
