import warnings

import kikuchipy as kp
import numpy as np
import pytest
from diffpy.structure import Atom, Lattice, Structure
from orix.crystal_map import Phase, PhaseList

from kikuchipy_cnn import LabelClasses, SpaceGroupClasses
from kikuchipy_cnn.comparison import dictionary_phase_map, index_with
from kikuchipy_cnn.crystal_map import probabilities_to_crystal_map
from kikuchipy_cnn.io import load, save
from kikuchipy_cnn.simulation import load_master_pattern, simulate_map

RESOLUTION = 6
OPTIONS = {"resolution": RESOLUTION, "show_progressbar": False}
NAMES = ["Ni", "Si", "Fe-bcc"]
CLASSES = SpaceGroupClasses((225, 227, 229))


@pytest.fixture(scope="module")
def detector():
    return kp.detectors.EBSDDetector((30, 30), pc=(0.5, 0.25, 0.55), sample_tilt=70)


@pytest.fixture(scope="module")
def signal(truth, detector):
    return simulate_map(truth, detector)


@pytest.fixture(scope="module")
def indexed(signal):
    return dictionary_phase_map(signal, NAMES, **OPTIONS)


@pytest.fixture(scope="module")
def refined(signal):
    return dictionary_phase_map(signal, NAMES, refine=True, **OPTIONS)


@pytest.fixture(scope="module")
def small(signal):
    """Two rows of three patterns, and the dictionary's answer for nickel."""
    part = kp.signals.EBSD(signal.data[:2, :3], detector=signal.detector)
    return part, dictionary_phase_map(part, "Ni", **OPTIONS)


class TestPhaseMap:
    def test_phases_are_found(self, truth, indexed):
        np.testing.assert_array_equal(indexed.phase_id, truth.phase_id)
        assert indexed.shape == (4, 5)
        assert (indexed.dy, indexed.dx, indexed.scan_unit) == (1, 2, "um")
        assert indexed.phases.names == NAMES
        assert indexed.phases.ids == [225, 227, 229]
        assert indexed.phases.colors == ["royalblue", "seagreen", "orangered"]

    def test_properties(self, indexed):
        assert set(indexed.prop) == {"scores", "ncc_margin", "ncc_Ni", "ncc_Si", "ncc_Fe-bcc"}
        of_phases = np.sort([indexed.prop[f"ncc_{name}"] for name in NAMES], axis=0)
        np.testing.assert_array_equal(indexed.scores, of_phases[2])
        np.testing.assert_allclose(indexed.ncc_margin, of_phases[2] - of_phases[1], atol=1e-7)
        assert (indexed.scores > 0.4).all() and (indexed.scores < 1).all()
        assert (indexed.ncc_margin > 0).all()

    def test_orientations(self, truth, indexed, misorientation):
        point_group = truth.phases[225].point_group
        angles = misorientation(truth.rotations, indexed.rotations, point_group)
        assert angles.max() < RESOLUTION / 2

    def test_refined(self, truth, indexed, refined, misorientation):
        np.testing.assert_array_equal(refined.phase_id, truth.phase_id)
        point_group = truth.phases[225].point_group
        assert misorientation(truth.rotations, refined.rotations, point_group).max() < 0.2
        assert (refined.scores > indexed.scores).all() and refined.scores.min() > 0.99
        assert (refined.ncc_margin > 0.2).all()

    def test_refined_with_projection_centers(self, truth, detector, misorientation):
        """Although the dictionary is of their mean."""
        own = detector.deepcopy()
        own.pc = np.array([0.5, 0.25, 0.55]) + np.linspace(-0.01, 0.01, 20).reshape(4, 5, 1)
        signal = simulate_map(truth, own)
        nickel = truth.phase_id == 225

        def angles(detector):
            xmap = dictionary_phase_map(
                signal,
                "Ni",
                detector,
                refine=True,
                navigation_mask=~nickel.reshape(4, 5),
                **OPTIONS,
            )
            return misorientation(
                truth.rotations[nickel], xmap.rotations, truth.phases[225].point_group
            )

        assert angles(own).max() < 0.2
        assert angles(detector).max() > 0.3

    @pytest.mark.parametrize("refine", [False, True])
    def test_lazy(self, small, refine):
        signal, _ = small
        eager, lazy = (
            dictionary_phase_map(i, "Ni", signal.detector, refine=refine, **OPTIONS)
            for i in (signal, signal.as_lazy())
        )
        np.testing.assert_array_equal(lazy.phase_id, eager.phase_id)
        np.testing.assert_allclose(lazy.scores, eager.scores, atol=1e-5)
        np.testing.assert_allclose(lazy.rotations.data, eager.rotations.data, atol=1e-4)

    def test_part_of_a_dictionary_at_once(self, small, monkeypatch):
        from kikuchipy_cnn.comparison import dictionary

        signal, expected = small
        monkeypatch.setattr(dictionary, "_DICTIONARY_BYTES", 4 * 30 * 30 * 1000)
        xmap = dictionary_phase_map(signal, "Ni", **OPTIONS)
        np.testing.assert_allclose(xmap.scores, expected.scores, atol=1e-5)
        np.testing.assert_array_equal(xmap.rotations.data, expected.rotations.data)

    @pytest.mark.parametrize("lazy", [False, True])
    def test_navigation_mask(self, small, lazy):
        signal, expected = small
        mask = np.array([[False, True, False], [True, False, False]])
        xmap = dictionary_phase_map(
            signal.as_lazy() if lazy else signal,
            "Ni",
            signal.detector,
            navigation_mask=mask,
            **OPTIONS,
        )
        used = ~mask.ravel()
        np.testing.assert_array_equal(xmap.is_in_data, used)
        np.testing.assert_allclose(xmap.scores, expected.scores[used], atol=1e-5)
        np.testing.assert_allclose(xmap.rotations.data, expected.rotations.data[used])

    def test_signal_mask(self, small):
        signal, expected = small
        mask = np.zeros((30, 30), bool)
        mask[:12, 15:] = True
        broken = signal.deepcopy()
        broken.data[..., mask] = 255
        masked, whole = (
            dictionary_phase_map(broken, "Ni", signal_mask=i, **OPTIONS) for i in (mask, None)
        )
        np.testing.assert_array_equal(masked.rotations.data[0], expected.rotations.data[0])
        assert masked.scores[0] > 0.3 > whole.scores[0]

    @pytest.mark.parametrize("kind", ["phase", "phases", "list", "mapping", "master pattern"])
    def test_candidates(self, small, phases, kind):
        signal, expected = small
        nickel = {
            "phase": phases["Ni"],
            "phases": [phases["Ni"]],
            "list": PhaseList(phases["Ni"]),
            "mapping": {7: phases["Ni"]},
            "master pattern": load_master_pattern("Ni"),
        }[kind]
        xmap = dictionary_phase_map(signal, nickel, **OPTIONS)
        assert xmap.phases.names == ["Ni"] and xmap.phases.ids == [225]
        np.testing.assert_array_equal(xmap.scores, expected.scores)
        assert (xmap.ncc_margin == 0).all()

    def test_phases_of_one_space_group(self, small):
        signal, _ = small
        xmap = dictionary_phase_map(signal, ["Al", "Ni"], **OPTIONS)
        assert set(xmap.phase_id) <= {0, 1}
        assert xmap.phase_id[0] == 1

    def test_energies(self, small):
        """The highest is taken unless another one is given."""
        signal, expected = small
        master_pattern = load_master_pattern("Ni")
        noise = np.random.default_rng(0).random(master_pattern.data.shape, np.float32)
        several = kp.signals.EBSDMasterPattern(
            np.stack([noise, master_pattern.data], axis=1),
            axes=[
                {"name": "hemisphere", "size": 2},
                {"name": "energy", "size": 2, "offset": 10, "scale": 10},
                {"name": "height", "size": noise.shape[-2]},
                {"name": "width", "size": noise.shape[-1]},
            ],
            projection="lambert",
            hemisphere="both",
            phase=master_pattern.phase,
        )
        highest, lowest = (
            dictionary_phase_map(signal, several, energy=energy, **OPTIONS) for energy in (None, 10)
        )
        np.testing.assert_allclose(highest.scores, expected.scores, atol=1e-5)
        assert lowest.scores.max() < 0.2
        one = kp.signals.EBSD(signal.data[:1], detector=signal.detector)
        assert dictionary_phase_map(one, several, refine=True, **OPTIONS).scores[0] > 0.99

    def test_point(self, small):
        signal, expected = small
        point = kp.signals.EBSD(signal.data[0, 0])
        xmap = dictionary_phase_map(point, "Ni", signal.detector, refine=True, **OPTIONS)
        assert xmap.size == 1
        np.testing.assert_allclose(xmap.scores, expected.scores[:1], atol=1e-5)

    def test_constant(self, small):
        """The second pattern is left without a phase."""
        signal, _ = small
        constant = signal.deepcopy()
        constant.data[0, 1] = 7
        xmap = dictionary_phase_map(constant, ["Ni", "Si"], **OPTIONS)
        assert (xmap.phase_id == -1).tolist() == [False, True, False, False, False, False]
        assert np.isfinite(xmap.scores).all()

    @pytest.mark.parametrize("refine", [False, True])
    def test_is_silent(self, small, capfd, refine):
        signal, _ = small
        capfd.readouterr()
        dictionary_phase_map(signal, "Ni", refine=refine, **OPTIONS)
        assert capfd.readouterr() == ("", "")

    def test_warns_of_nothing(self, small):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            dictionary_phase_map(small[0], "Ni", refine=True, **OPTIONS)

    def test_progress(self, small, capfd):
        signal, _ = small
        dictionary_phase_map(signal, "Ni", resolution=10, show_progressbar=True)
        assert "patterns/s" in capfd.readouterr().out


class TestWrongArguments:
    def index(self, small, phases="Ni", **options):
        return dictionary_phase_map(small[0], phases, **(OPTIONS | options))

    def test_unknown_name(self, small):
        with pytest.raises(KeyError, match="'Unobtainium' is not in the packaged library"):
            self.index(small, ["Ni", "Unobtainium"])

    def test_phase_without_atoms(self, small):
        with pytest.raises(ValueError, match="'X'.* no atoms.*phase_from_cif"):
            self.index(small, Phase("X", space_group=225))

    def test_phase_of_another_space_group(self, small):
        with pytest.raises(ValueError, match="no master pattern of phase 'Ni'.* no atoms"):
            self.index(small, Phase("Ni", space_group=194))

    def test_phase_that_is_not_in_the_library(self, small):
        structure = Structure([Atom("Po", (0, 0, 0))], Lattice(3.3, 3.3, 3.3, 90, 90, 90))
        with pytest.raises(ValueError, match="'Polonium'.*simulate_master_pattern"):
            self.index(small, Phase("Polonium", space_group=221, structure=structure))

    def test_no_candidate(self, small):
        with pytest.raises(ValueError, match="There is no candidate phase"):
            self.index(small, [])

    def test_same_names(self, small):
        with pytest.raises(ValueError, match=r"\['Ni', 'Ni'\].*a name of its own"):
            self.index(small, ["Ni", "Ni"])

    @pytest.mark.parametrize("wrong", [225, None, np.zeros((2, 5, 5))])
    def test_type(self, small, wrong):
        with pytest.raises(TypeError, match="must be a master pattern, a phase, or a name"):
            self.index(small, ["Ni", wrong])

    def test_stereographic_master_pattern(self, small):
        stereographic = kp.data.nickel_ebsd_master_pattern_small()
        with pytest.raises(ValueError, match='in the stereographic projection.*"lambert"'):
            self.index(small, stereographic)

    def test_master_pattern_without_a_space_group(self, small):
        master_pattern = load_master_pattern("Ni")
        master_pattern.phase = Phase("Ni")
        with pytest.raises(ValueError, match="'Ni' has no space group.*master_pattern.phase"):
            self.index(small, master_pattern)

    @pytest.mark.parametrize("resolution", [0, -1, np.nan])
    def test_resolution(self, small, resolution):
        with pytest.raises(ValueError, match="must be more than 0 degrees"):
            self.index(small, resolution=resolution)

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"navigation_mask": np.zeros((3, 2), bool)}, r"shape \(3, 2\), but \(2, 3\)"),
            ({"navigation_mask": np.ones((2, 3), bool)}, "all True"),
            ({"signal_mask": np.zeros((30, 31), bool)}, r"signal_mask has shape \(30, 31\)"),
            ({"signal_mask": np.zeros((30, 30))}, "signal_mask must be boolean"),
            ({"detector": kp.detectors.EBSDDetector((30, 31))}, "the patterns have"),
            ({"detector": kp.detectors.EBSDDetector((30, 30), pc=[(0.5,) * 3] * 4)}, "4 proj"),
        ],
    )
    def test_detector_and_masks(self, small, options, match):
        with pytest.raises(ValueError, match=match):
            self.index(small, **options)


def classified(truth, classes=CLASSES, **options):
    """Map of what a sure network says of the map."""
    numbers = truth.phase_id[options.get("is_in_data", np.ones(20, bool))]
    probabilities = np.full((numbers.size, 3), 0.1)
    columns = [classes.space_groups.index(number) for number in numbers]
    probabilities[np.arange(numbers.size), columns] = 0.8
    return probabilities_to_crystal_map(
        probabilities,
        classes,
        navigation_shape=(4, 5),
        step_sizes=(1, 2),
        scan_unit="um",
        **options,
    )


@pytest.fixture(scope="module")
def merged(signal, truth):
    """Without a master pattern of silicon; a point is not indexed, and one is not in the data."""
    is_in_data = np.arange(20) != 6
    xmap = classified(truth, is_in_data=is_in_data, indexed=np.arange(19) != 3)
    return xmap, index_with(signal, xmap, ["Ni", load_master_pattern("Fe-bcc"), "NiAl"], **OPTIONS)


class TestIndexWith:
    def test_orientations_of_the_phases(self, truth, merged, misorientation):
        xmap, indexed = merged
        found = indexed.is_in_data & np.isin(indexed._phase_id, (225, 229))
        assert found.sum() == 11
        angles = misorientation(
            truth.rotations[found],
            indexed._rotations[found],
            truth.phases[225].point_group,
        )
        assert angles.max() < 0.2
        assert (indexed.prop["ncc"][np.isin(indexed.phase_id, (225, 229))] > 0.99).all()

    def test_points_without_an_orientation(self, merged):
        """Of silicon, not indexed, and not in the data."""
        _, indexed = merged
        others = ~np.isin(indexed._phase_id, (225, 229))
        assert others.sum() == 9
        assert (indexed._rotations.data[others] == [1, 0, 0, 0]).all()
        assert (dict.__getitem__(indexed.prop, "ncc")[others] == 0).all()

    def test_the_rest_is_kept(self, merged):
        xmap, indexed = merged
        np.testing.assert_array_equal(indexed._phase_id, xmap._phase_id)
        np.testing.assert_array_equal(indexed.is_in_data, xmap.is_in_data)
        assert list(indexed.prop) == [*xmap.prop, "ncc"]
        for name in xmap.prop:
            np.testing.assert_array_equal(indexed.prop[name], xmap.prop[name])
        assert (indexed.shape, indexed.dy, indexed.dx) == ((4, 5), 1, 2)
        assert indexed.scan_unit == "um"
        assert indexed.phases.colors == xmap.phases.colors
        assert "ncc" not in xmap.prop and (xmap.rotations.data == [1, 0, 0, 0]).all()

    def test_phases(self, merged):
        """Real names and unit cells of those with master patterns."""
        _, indexed = merged
        assert indexed.phases.ids == [-1, 225, 227, 229]
        assert indexed.phases.names == ["not_indexed", "Ni", "Fd-3m", "Fe-bcc"]
        assert indexed.phases["Ni"].structure.lattice.a == pytest.approx(3.524, abs=0.01)
        assert len(indexed.phases["Fe-bcc"].structure) > 0
        assert indexed.phases["Fd-3m"].structure.lattice.a == 1

    def test_changing_the_result_leaves_the_map(self, signal, truth):
        xmap = classified(truth)
        indexed = index_with(signal, xmap, "Ni", refine=False, **OPTIONS)
        indexed.is_in_data[0] = False
        indexed.phases[229].name = "other"
        assert xmap.is_in_data.all() and xmap.phases[229].name == "Im-3m"

    def test_is_the_dictionary_of_each_phase(self, signal, truth, indexed):
        merged = index_with(signal, classified(truth), NAMES, refine=False, **OPTIONS)
        np.testing.assert_allclose(merged.rotations.data, indexed.rotations.data, atol=1e-6)
        np.testing.assert_allclose(merged.ncc, indexed.scores, atol=1e-6)

    def test_lazy(self, signal, truth, indexed):
        merged = index_with(
            signal.as_lazy(),
            classified(truth),
            "Ni",
            signal.detector,
            refine=False,
            **OPTIONS,
        )
        nickel = truth.phase_id == 225
        np.testing.assert_allclose(merged.ncc[nickel], indexed.scores[nickel], atol=1e-5)

    def test_classes_by_name(self, signal, truth):
        """They keep their IDs, and master patterns are for classes of their names."""
        classes = LabelClasses(("Fe-bcc", "Ni", "something"), (229, 225, 227))
        xmap = classified(truth, classes)
        indexed = index_with(signal, xmap, ["Ni", "Fe-bcc", "Si"], refine=False, **OPTIONS)
        assert dict(zip(indexed.phases.ids, indexed.phases.names, strict=True)) == {
            1: "Fe-bcc",
            2: "Ni",
            3: "something",
        }
        assert indexed.phases.colors == xmap.phases.colors
        assert indexed.phases["Ni"].structure.lattice.a == pytest.approx(3.524, abs=0.01)
        assert ((indexed.ncc > 0) == (truth.phase_id != 227)).all()

    def test_phase_of_one_point(self, signal, truth, misorientation):
        """kikuchipy does not refine a single pattern."""
        is_in_data = (truth.phase_id == 229) | (np.arange(20) == 0)
        indexed = index_with(
            signal, classified(truth, is_in_data=is_in_data), ["Ni", "Fe-bcc"], **OPTIONS
        )
        angles = misorientation(
            truth.rotations[is_in_data], indexed.rotations, truth.phases[225].point_group
        )
        assert angles[0] < RESOLUTION / 2 and angles[1:].max() < 0.2

    def test_saved(self, signal, truth, merged, tmp_path):
        """There is no warning of identity rotations unless there are some."""
        complete = index_with(signal, classified(truth), NAMES, refine=False, **OPTIONS)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            save(tmp_path / "complete.ang", complete)
        loaded = load(tmp_path / "complete.ang")
        np.testing.assert_array_equal(loaded.phase_id, truth.phase_id)
        np.testing.assert_allclose(
            np.abs((loaded.rotations * ~complete.rotations).data[:, 0]), 1, atol=1e-6
        )
        assert loaded.phases.names == NAMES
        with pytest.warns(UserWarning, match="7 of 18 rotations are identity"):
            save(tmp_path / "part.ang", merged[1])

    def test_is_silent(self, signal, truth, capfd):
        xmap = classified(truth)
        capfd.readouterr()
        index_with(signal, xmap, "Ni", **OPTIONS)
        assert capfd.readouterr() == ("", "")

    def test_no_phase_in_common(self, signal, truth):
        with pytest.raises(ValueError, match=r"None of .*\['NiAl'\].*'Fm-3m', 'Fd-3m', 'Im-3m'"):
            index_with(signal, classified(truth), "NiAl", **OPTIONS)

    def test_two_for_one_phase(self, signal, truth):
        with pytest.raises(ValueError, match="'Ni' and 'Al' are both for the map's phase 'Fm-3m'"):
            index_with(signal, classified(truth), ["Ni", "Al"], **OPTIONS)

    def test_map_of_other_patterns(self, small, truth):
        with pytest.raises(ValueError, match="map has 20 points, but there are 6 patterns"):
            index_with(small[0], classified(truth), "Ni", **OPTIONS)

    def test_other_errors(self, signal, truth):
        xmap = classified(truth)
        with pytest.raises(KeyError, match="'Unobtainium'"):
            index_with(signal, xmap, ["Ni", "Unobtainium"], **OPTIONS)
        with pytest.raises(TypeError, match="must be a master pattern"):
            index_with(signal, xmap, [225], **OPTIONS)
        with pytest.raises(ValueError, match="signal_mask has shape"):
            index_with(signal, xmap, "Ni", signal_mask=np.zeros((2, 2), bool), **OPTIONS)
        with pytest.raises(ValueError, match=r"resolution=0 must be"):
            index_with(signal, xmap, "Ni", resolution=0, show_progressbar=False)
