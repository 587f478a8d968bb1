import kikuchipy as kp
import numpy as np
import pytest
from diffpy.structure import Lattice, Structure
from orix.crystal_map import Phase, PhaseList

from kikuchipy_cnn.comparison import PhaseOrderEffect, hough_phase_map, hough_phase_order
from kikuchipy_cnn.simulation import simulate_map

FCC = [[1, 1, 1], [2, 0, 0], [2, 2, 0], [3, 1, 1]]


@pytest.fixture(scope="module")
def nickel_and_iron(phases):
    return [phases["Ni"], phases["Fe-bcc"]]


@pytest.fixture(scope="module")
def tied(signal, phases):
    return hough_phase_map(signal, [phases["Ni"], phases["Ni3Al"]], show_progressbar=False)


@pytest.fixture(scope="module")
def told(signal, nickel_and_iron):
    return hough_phase_map(signal, nickel_and_iron, show_progressbar=False)


def without_atoms(phase, name=None):
    copy = Phase(name or phase.name, space_group=phase.space_group)
    copy.structure = Structure(lattice=Lattice(*phase.structure.lattice.abcABG()))
    return copy


def assert_same(first, second):
    np.testing.assert_array_equal(first.phase_id, second.phase_id)
    np.testing.assert_allclose(first.rotations.data, second.rotations.data, atol=1e-5)
    assert list(first.prop) == list(second.prop)
    for name in first.prop:
        np.testing.assert_allclose(first.prop[name], second.prop[name], rtol=1e-4, atol=1e-5)


class TestPhaseMap:
    def test_phases_with_the_same_bands_tie(self, tied):
        """Nickel and Ni3Al, whose cells differ by a hundredth."""
        assert (tied.n_tied == 2).all()
        np.testing.assert_array_equal(tied.fit_Ni, tied.fit_Ni3Al)
        np.testing.assert_array_equal(tied.nmatch_Ni, tied.nmatch_Ni3Al)
        assert (tied.phase_id == 225).all()

    def test_first_of_them_wins(self, signal, phases, tied):
        xmap = hough_phase_map(signal, [phases["Ni3Al"], phases["Ni"]], show_progressbar=False)
        assert (xmap.phase_id == 221).all() and (xmap.n_tied == 2).all()
        np.testing.assert_array_equal(xmap.fit, tied.fit)

    def test_other_phases_do_not(self, truth, told):
        known = truth.phase_id != 227
        assert (told.n_tied == 1).mean() > 0.9
        assert (told.phase_id == truth.phase_id)[known].mean() > 0.9

    def test_map(self, told):
        assert told.shape == (4, 5)
        assert (told.dy, told.dx, told.scan_unit) == (1, 2, "um")
        assert told.phases.names == ["Ni", "Fe-bcc"]
        assert told.phases.colors == ["royalblue", "orangered"]
        assert told.phases["Ni"].structure.lattice.a == pytest.approx(3.524, abs=0.01)

    def test_properties(self, told):
        assert set(told.prop) == {
            *("nmatch", "fit", "cm", "pq", "n_tied", "scores"),
            *("nmatch_Ni", "fit_Ni", "cm_Ni"),
            *("nmatch_Fe-bcc", "fit_Fe-bcc", "cm_Fe-bcc"),
        }
        for name in ("nmatch", "fit", "cm"):
            of_winner = np.where(
                told.phase_id == 225, told.prop[f"{name}_Ni"], told.prop[f"{name}_Fe-bcc"]
            )
            np.testing.assert_array_equal(told.prop[name], of_winner)
        np.testing.assert_array_equal(told.scores, told.cm)
        assert told.nmatch.max() == 9 and (told.fit < 2).all() and (told.pq > 0).all()
        assert ((told.cm > 0) & (told.cm <= 1)).all()
        nickel, iron = (
            (3 - told.prop[f"fit_{name}"]) * told.prop[f"nmatch_{name}"]
            for name in ("Ni", "Fe-bcc")
        )
        np.testing.assert_array_equal(told.phase_id, np.where(nickel >= iron, 225, 229))

    def test_orientations(self, truth, told, misorientation):
        """Within the accuracy of bands in 60 x 60 pixels."""
        right = told.phase_id == truth.phase_id
        angles = misorientation(
            truth.rotations[right], told.rotations[right], truth.phases[225].point_group
        )
        assert np.median(angles) < 0.3 and (angles < 2).mean() > 0.9

    def test_as_kikuchipy(self, signal, phases, detector):
        xmap = hough_phase_map(signal, phases["Ni"], show_progressbar=False)
        indexer = detector.get_indexer(PhaseList(phases["Ni"]), [FCC], nBands=9)
        expected = signal.hough_indexing(PhaseList(phases["Ni"]), indexer, verbose=0)
        np.testing.assert_array_equal(xmap.phase_id, np.full(20, 225))
        np.testing.assert_allclose(xmap.rotations.data, expected.rotations.data, atol=1e-6)
        for name in ("fit", "cm", "nmatch", "pq"):
            np.testing.assert_allclose(xmap.prop[name], expected.prop[name], rtol=1e-5)

    def test_settings_of_the_indexer(self, signal, nickel_and_iron):
        xmap = hough_phase_map(signal, nickel_and_iron, nBands=6, show_progressbar=False)
        assert xmap.nmatch.max() == 6

    def test_ids_of_phases_of_one_space_group(self, signal, phases):
        listed = [phases["Fe-bcc"], phases["Al"], phases["Ni"]]
        xmap = hough_phase_map(signal, listed, show_progressbar=False)
        assert set(xmap.phase_id) == {0, 1}
        assert xmap.phases.names == ["Fe-bcc", "Al"]
        given = hough_phase_map(signal, {7: phases["Ni"], 3: phases["Al"]}, show_progressbar=False)
        assert (given.phase_id == 7).all()

    def test_colors_of_phases_of_one_space_group(self, signal, phases):
        listed = [phases["Fe-bcc"], phases["Al"], phases["Ni"]]
        xmap = hough_phase_map(signal, listed, show_progressbar=False)
        assert len(set(xmap.phases.colors)) == 2

    def test_phase_list(self, signal, nickel_and_iron, told):
        listed = PhaseList(dict(zip((-1, 4, 5), (Phase("out"), *nickel_and_iron), strict=True)))
        assert_same(hough_phase_map(signal, listed, show_progressbar=False), told)

    def test_lazy(self, signal, nickel_and_iron, told, monkeypatch):
        """And a few patterns after the other."""
        from kikuchipy_cnn.comparison import hough

        monkeypatch.setattr(hough, "_AT_ONCE", 7)
        lazy = signal.as_lazy()
        assert_same(
            hough_phase_map(lazy, nickel_and_iron, signal.detector, show_progressbar=False), told
        )

    @pytest.mark.parametrize("lazy", [False, True])
    def test_navigation_mask(self, signal, nickel_and_iron, told, lazy):
        mask = np.zeros((4, 5), bool)
        mask[1, 1:3] = mask[3, 4] = True
        xmap = hough_phase_map(
            signal.as_lazy() if lazy else signal,
            nickel_and_iron,
            signal.detector,
            navigation_mask=mask,
            show_progressbar=False,
        )
        np.testing.assert_array_equal(xmap.is_in_data, ~mask.ravel())
        assert xmap.size == 17
        assert_same(xmap, told[~mask.ravel()])

    def test_not_indexed(self, signal, phases):
        data = signal.data[:1].copy()
        data[0, 3] = 0
        listed = [phases["Ni"], phases["Ni3Al"]]
        xmap = hough_phase_map(
            kp.signals.EBSD(data), listed, signal.detector, show_progressbar=False
        )
        assert xmap.phase_id.tolist() == [225, 225, 225, -1, 225]
        assert xmap.rotations.data[3].tolist() == [1, 0, 0, 0]
        assert xmap.n_tied.tolist() == [2, 2, 2, 0, 2]
        for name, nothing in (("nmatch", 0), ("fit", 180), ("cm", 0)):
            for suffix in ("", "_Ni", "_Ni3Al"):
                assert xmap.prop[name + suffix][3] == nothing
        assert xmap.scores[3] == 0

    def test_noise(self, signal, phases):
        """Three bands are at angles of nickel's by chance, often but not always."""
        noise = np.random.default_rng(0).integers(0, 255, (60, 60, 60), dtype=np.uint8)
        xmap = hough_phase_map(
            kp.signals.EBSD(noise), phases["Ni"], signal.detector, show_progressbar=False
        )
        not_indexed = xmap.phase_id == -1
        assert 0.05 < not_indexed.mean() < 0.5
        assert (xmap.rotations.data[not_indexed] == [1, 0, 0, 0]).all()
        assert (xmap.n_tied == np.where(not_indexed, 0, 1)).all()
        assert (xmap.nmatch[~not_indexed] >= 3).all() and xmap.nmatch.max() < 6

    def test_nothing_indexed(self, signal, nickel_and_iron):
        black = kp.signals.EBSD(np.zeros((2, 3, 60, 60), np.uint8))
        xmap = hough_phase_map(black, nickel_and_iron, signal.detector, show_progressbar=False)
        assert xmap.shape == (2, 3) and (xmap.phase_id == -1).all()
        assert (xmap.rotations.data == [1, 0, 0, 0]).all()

    @pytest.mark.parametrize("value", [7, 255])
    def test_constant(self, signal, nickel_and_iron, value):
        constant = kp.signals.EBSD(np.full((1, 2, 60, 60), value, np.uint8))
        xmap = hough_phase_map(constant, nickel_and_iron, signal.detector, show_progressbar=False)
        assert (xmap.phase_id == -1).all()

    def test_projection_center_of_each_pattern(self, truth, detector, phases, misorientation):
        own = detector.deepcopy()
        own.pc = np.array([0.5, 0.25, 0.55]) + np.linspace(-0.08, 0.08, 20).reshape(4, 5, 1)
        signal = simulate_map(truth, own)
        nickel = truth.phase_id == 225
        mask = ~nickel.reshape(4, 5)

        def angles(detector):
            xmap = hough_phase_map(
                signal, phases["Ni"], detector, navigation_mask=mask, show_progressbar=False
            )
            return misorientation(truth.rotations[nickel], xmap.rotations, phases["Ni"].point_group)

        assert np.median(angles(own)) < 0.3
        assert np.median(angles(detector)) > 1

    @pytest.mark.parametrize(("index", "shape"), [((0, 0), (1,)), ((slice(None), 1), (5,))])
    def test_point_and_row(self, signal, phases, told, index, shape):
        part = kp.signals.EBSD(signal.data[index[1], index[0]])
        xmap = hough_phase_map(part, phases["Ni"], signal.detector, show_progressbar=False)
        assert xmap.phase_id.shape == shape
        np.testing.assert_allclose(
            xmap.fit, told.fit_Ni.reshape(4, 5)[index[1], index[0]], rtol=1e-4
        )

    def test_phases_without_atoms(self, signal, phases, told):
        """PyEBSDIndex's reflectors are those of face-centred cubic crystals."""
        xmap = hough_phase_map(
            signal,
            [without_atoms(phases["Ni"]), without_atoms(phases["Fe-bcc"])],
            show_progressbar=False,
        )
        np.testing.assert_allclose(xmap.fit_Ni, told.fit_Ni, rtol=1e-4)
        # So that iron is looked for as nickel is
        np.testing.assert_array_equal(xmap.prop["fit_Fe-bcc"], xmap.fit_Ni)
        assert (xmap.n_tied == 2).all()

    def test_reflectors(self, signal, nickel_and_iron, told):
        xmap = hough_phase_map(
            signal, nickel_and_iron, reflectors=[FCC, FCC], show_progressbar=False
        )
        assert (xmap.n_tied == 2).all()
        np.testing.assert_allclose(xmap.fit_Ni, told.fit_Ni, rtol=1e-4)
        assert not np.allclose(xmap.prop["fit_Fe-bcc"], told.prop["fit_Fe-bcc"])

    def test_slash_in_a_name(self, signal, phases):
        xmap = hough_phase_map(
            signal, without_atoms(phases["Ni"], "Ni/NiO"), show_progressbar=False
        )
        assert {"nmatch_Ni:NiO", "fit_Ni:NiO", "cm_Ni:NiO"} <= set(xmap.prop)

    def test_is_silent(self, signal, nickel_and_iron, capfd):
        capfd.readouterr()
        hough_phase_map(signal, nickel_and_iron, show_progressbar=False)
        assert capfd.readouterr() == ("", "")
        hough_phase_map(signal, nickel_and_iron, show_progressbar=True)
        out, err = capfd.readouterr()
        assert out == "" and "Hough indexing: 100%" in err

    def test_arguments_are_untouched(self, signal, nickel_and_iron):
        before = signal.data.copy(), signal.detector.pc.copy()
        hough_phase_map(signal, nickel_and_iron, show_progressbar=False)
        np.testing.assert_array_equal(signal.data, before[0])
        np.testing.assert_array_equal(signal.detector.pc, before[1])
        assert nickel_and_iron[0].color == "tab:blue"


class TestWrongArguments:
    @pytest.mark.parametrize(
        ("wrong", "match"),
        [
            ([], "There is no candidate phase"),
            ([Phase("a", space_group=225)] * 2, r"names \['a', 'a'\].*a name of its own"),
            ([Phase(space_group=225)], "a name of its own"),
            ([Phase("a", point_group="m-3m")], "'a' has no space group"),
        ],
    )
    def test_phases(self, signal, wrong, match):
        with pytest.raises(ValueError, match=match):
            hough_phase_map(signal, wrong)

    def test_no_phase(self, signal):
        with pytest.raises(TypeError, match="'Ni' must be of type .*Phase"):
            hough_phase_map(signal, ["Ni"])

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"shape": (60, 61)}, r"the shape \(60, 61\), but the patterns have \(60, 60\)"),
            ({"shape": (60, 60), "pc": [(0.5, 0.5, 0.5)] * 3}, "3 projection centers for 20 pat"),
        ],
    )
    def test_detector(self, signal, nickel_and_iron, options, match):
        with pytest.raises(ValueError, match=match):
            hough_phase_map(signal, nickel_and_iron, kp.detectors.EBSDDetector(**options))

    @pytest.mark.parametrize(
        ("mask", "match"),
        [
            (np.zeros((5, 4), bool), r"navigation_mask has shape \(5, 4\), but \(4, 5\)"),
            (np.zeros((4, 5), int), "navigation_mask must be boolean"),
            (np.ones((4, 5), bool), "navigation_mask is all True"),
        ],
    )
    def test_navigation_mask(self, signal, nickel_and_iron, mask, match):
        with pytest.raises(ValueError, match=match):
            hough_phase_map(signal, nickel_and_iron, navigation_mask=mask)

    def test_data_type(self, signal, nickel_and_iron):
        with pytest.raises(ValueError, match="data type complex64"):
            hough_phase_map(
                kp.signals.EBSD(np.zeros((2, 60, 60), np.complex64)),
                nickel_and_iron,
                signal.detector,
            )


class TestPhaseOrder:
    def test_order_decides_where_phases_tie(self, signal, phases):
        effect = hough_phase_order(signal, [phases["Ni"], phases["Ni3Al"]], show_progressbar=False)
        assert isinstance(effect, PhaseOrderEffect)
        assert effect.orders == (("Ni", "Ni3Al"), ("Ni3Al", "Ni"))
        assert [set(xmap.phase_id) for xmap in effect.xmaps] == [{225}, {221}]
        assert (effect.n_changed, effect.n_points) == (20, 20)
        assert effect.table().splitlines() == [
            "First to last  Ni  Ni3Al  Not indexed",
            "Ni, Ni3Al      20      0            0",
            "Ni3Al, Ni       0     20            0",
            "20 of 20 points change their phase with the order.",
        ]

    def test_order_does_not_matter_otherwise(self, signal, nickel_and_iron):
        data = signal.data[:2].copy()
        data[1, 2] = 0
        mask = np.zeros((2, 5), bool)
        mask[0, 1] = True
        effect = hough_phase_order(
            kp.signals.EBSD(data),
            nickel_and_iron,
            signal.detector,
            navigation_mask=mask,
            show_progressbar=False,
        )
        assert (effect.n_changed, effect.n_points) == (0, 9)
        np.testing.assert_array_equal(*(xmap.phase_id for xmap in effect.xmaps))
        assert [line.split()[-1] for line in effect.table().splitlines()[1:3]] == ["1", "1"]

    def test_all_orders_of_three_phases(self, signal, phases):
        row = kp.signals.EBSD(signal.data[0, :2])
        listed = [phases[i] for i in ("Ni", "Ni3Al", "Fe-bcc")]
        effect = hough_phase_order(row, listed, signal.detector, show_progressbar=False)
        assert len(effect.orders) == len(set(effect.orders)) == len(effect.xmaps) == 6

    def test_each_of_four_phases_first(self, signal, phases):
        row = kp.signals.EBSD(signal.data[0, :2])
        listed = [phases[i] for i in ("Ni", "Ni3Al", "Fe-bcc", "Si")]
        effect = hough_phase_order(row, listed, signal.detector, show_progressbar=False)
        assert effect.orders == (
            ("Ni", "Ni3Al", "Fe-bcc", "Si"),
            ("Ni3Al", "Fe-bcc", "Si", "Ni"),
            ("Fe-bcc", "Si", "Ni", "Ni3Al"),
            ("Si", "Ni", "Ni3Al", "Fe-bcc"),
        )

    def test_given_orders(self, signal, phases):
        row = kp.signals.EBSD(signal.data[0, :2])
        listed = [phases[i] for i in ("Ni", "Ni3Al", "Al")]
        effect = hough_phase_order(
            row, listed, signal.detector, orders=[(2, 1, 0)], show_progressbar=False
        )
        assert effect.orders == (("Al", "Ni3Al", "Ni"),)
        assert effect.n_changed == 0
        assert effect.xmaps[0].phases.names == ["Al"]

    @pytest.mark.parametrize("order", [(0, 0), (0,), (1, 2), (0, 1, 2)])
    def test_wrong_orders(self, signal, nickel_and_iron, order):
        with pytest.raises(ValueError, match=r"must have each of the places 0-1 once"):
            hough_phase_order(signal, nickel_and_iron, orders=[(1, 0), order])
