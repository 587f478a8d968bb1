import h5py
import kikuchipy as kp
import numpy as np
import pytest
from diffpy.structure import Atom, Lattice, Structure
from orix.crystal_map import Phase
from orix.quaternion import Rotation

from kikuchipy_cnn.simulation import (
    BlochParameters,
    load_phases,
    save_master_pattern,
    simulate_master_pattern,
)
from kikuchipy_cnn.simulation.lambert import lambert_to_direction
from kikuchipy_cnn.simulation.master_pattern import as_signal

QUICK = {"show_progressbar": False, "half_width": 40}


@pytest.fixture(scope="module")
def phases():
    return load_phases()


@pytest.fixture(scope="module")
def nickel(phases):
    return simulate_master_pattern(phases["Ni"], half_width=100, show_progressbar=False)


@pytest.fixture(scope="module")
def emsoft():
    """EMsoft's master pattern of nickel on the grid of ours."""
    signal = kp.data.nickel_ebsd_master_pattern_small(projection="lambert", hemisphere="upper")
    return signal.data[::2, ::2].astype(float)


def correlation(a, b):
    return np.corrcoef(np.ravel(a), np.ravel(b))[0, 1]


class TestSimulation:
    def test_signal(self, nickel, phases):
        assert nickel.data.shape == (2, 201, 201) and nickel.data.dtype == np.float32
        assert nickel.projection == "lambert" and nickel.hemisphere == "both"
        assert nickel.phase.name == "Ni" and nickel.phase.space_group.number == 225
        assert nickel.metadata.General.title == "Ni, 20 keV, dynamical"

    def test_like_emsoft(self, phases, emsoft, nickel):
        """At EMsoft's smallest spacing; it is not converged, so the converged one is less alike."""
        same = simulate_master_pattern(
            phases["Ni"],
            half_width=100,
            parameters=BlochParameters(dmin=0.05),
            show_progressbar=False,
        )
        assert correlation(same.data[0], emsoft) > 0.945
        assert correlation(nickel.data[0], emsoft) > 0.91

    def test_hemispheres(self, nickel, phases):
        np.testing.assert_array_equal(nickel.data[1], nickel.data[0, ::-1, ::-1])
        polar = simulate_master_pattern(phases["SiC-3C"], **QUICK).data
        assert 0.9 < correlation(polar[1], polar[0, ::-1, ::-1]) < 0.9999

    def test_superlattice_shows(self, phases):
        """The order of Ni3Al sets it apart from an fcc crystal, that of FeNi3 hardly."""
        names = ("Ni", "Ni3Al", "FeNi3")
        nickel, ni3al, feni3 = (simulate_master_pattern(phases[n], **QUICK).data for n in names)
        assert correlation(feni3, nickel) > correlation(ni3al, nickel)
        assert correlation(feni3, nickel) > 0.95

    def test_atoms_have_to_fit(self, phases):
        """What orix users have at hand: the asymmetric unit, other elements, nanometre."""
        unit = Structure([Atom("Na", [0, 0, 0], Uisoequiv=0.01), Atom("Cl", [0.5] * 3)])
        unit.lattice = Lattice(5.64, 5.64, 5.64, 90, 90, 90)
        for change, match in (
            ({}, "Cl has occupancy 1 and B_iso 0 square angstrom"),
            ({"Uisoequiv": 0.01}, r"Na at \[0. 0. 0.\] has no counterpart .* 225 asks for"),
            ({"Uisoequiv": 0.01, "element": "Va"}, "'Va' is no element"),
            ({"Uisoequiv": 0.01, "occupancy": 0}, "Cl has occupancy 0"),
        ):
            for name, value in change.items():
                setattr(unit[1], name, value)
            with pytest.raises(ValueError, match=match):
                simulate_master_pattern(Phase("salt", 225, structure=unit), **QUICK)
            unit[1].element, unit[1].occupancy = "Cl", 1
        # orix turns such a lattice without its atoms.
        turned = Structure(
            [
                Atom("Mg", xyz, Uisoequiv=0.01)
                for xyz in ([1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75])
            ],
            Lattice(3.2, 3.2, 5.2, 90, 90, 120),
        )
        with pytest.raises(ValueError, match="phase_from_structure"):
            simulate_master_pattern(Phase("Mg", 194, structure=turned), **QUICK)
        small = phases["Ni"].deepcopy()
        small.structure.lattice = Lattice(0.35, 0.35, 0.35, 90, 90, 90)
        with pytest.raises(ValueError, match="parameter of 0.35 is too short for angstrom"):
            simulate_master_pattern(small, **QUICK)

    def test_processes(self, phases):
        one, two = (simulate_master_pattern(phases["Al"], workers=n, **QUICK) for n in (None, 2))
        np.testing.assert_array_equal(one.data, two.data)

    def test_kinematical(self, phases, emsoft, nickel):
        kinematical = simulate_master_pattern(
            phases["Ni"], half_width=100, method="kinematical", show_progressbar=False
        )
        assert kinematical.metadata.General.title == "Ni, 20 keV, kinematical"
        assert kinematical.data.shape == (2, 201, 201)
        assert 0.5 < correlation(kinematical.data[0], emsoft) < correlation(nickel.data[0], emsoft)

    def test_kinematical_needs_no_ebsdsim(self, phases, monkeypatch):
        import sys

        monkeypatch.setitem(sys.modules, "ebsdsim.physics", None)
        simulate_master_pattern(phases["Mg"], method="kinematical", **QUICK)
        with pytest.raises(ImportError, match="method='kinematical'"):
            simulate_master_pattern(phases["Mg"], **QUICK)

    @pytest.mark.parametrize(
        "phase, arguments, match",
        [
            (Phase("x"), {}, "x: a space group is needed"),
            (Phase("x", space_group=225), {}, "x: there are no atoms"),
            (None, {"method": "magical"}, "method='magical' must be one of"),
            (None, {"energy": 100}, "energy=100 keV is not supported"),
            (None, {"energy": -5, "method": "kinematical"}, "energy=-5 keV is not supported"),
            (None, {"half_width": 0}, "half_width=0 must be"),
            (None, {"workers": 0}, "workers=0 must be"),
            (None, {"energy": 100, "workers": 2}, "energy=100 keV is not supported"),
        ],
    )
    def test_invalid(self, phases, phase, arguments, match):
        with pytest.raises(ValueError, match=match):
            simulate_master_pattern(phase or phases["Ni"], **(QUICK | arguments))


@pytest.fixture(scope="module")
def smooth(phases):
    """A master pattern without any symmetry, and the function that it is of."""

    def intensity(directions):
        first, second = np.array([0.3, 0.5, -0.6]), np.array([-0.7, 0.2, 0.4])
        return np.exp(3 * directions @ first) + np.exp(4 * directions @ second)

    axis = np.arange(-80, 81) / 80
    y, x = np.meshgrid(axis, axis, indexing="ij")
    upper = lambert_to_direction(x, y)
    data = np.stack([intensity(upper), intensity(upper * [1, 1, -1])]).astype(np.float32)
    return as_signal(data, phases["Si"], 15, "smooth"), intensity


class TestConventions:
    def test_kikuchipy_projects_it_rightly(self, smooth):
        """Both hemispheres, rows and columns are where kikuchipy looks for them."""
        from kikuchipy.signals.util._master_pattern import _get_direction_cosines_from_detector
        from orix.vector import Vector3d

        signal, intensity = smooth
        detector = kp.detectors.EBSDDetector((30, 40), pc=(0.45, 0.6, 0.5), tilt=5)
        rotations = Rotation.from_euler([[0.3, 0.8, 1.2], [2, 0.4, 3], [1, 2.5, 0.3]])
        patterns = signal.get_patterns(rotations, detector, compute=True, show_progressbar=False)
        rays = Vector3d(_get_direction_cosines_from_detector(detector))
        for rotation, pattern in zip(rotations, patterns.data, strict=True):
            assert correlation(intensity((rotation * rays).data), pattern) > 0.9999


class TestSave:
    def test_emsoft_layout(self, smooth, tmp_path):
        signal, intensity = smooth
        save_master_pattern(tmp_path / "si.h5", signal)
        lambert = kp.load(tmp_path / "si.h5", projection="lambert", hemisphere="both")
        np.testing.assert_array_equal(lambert.data, signal.data)
        assert lambert.phase.space_group.number == 227
        assert lambert.phase.structure.lattice.a == pytest.approx(0.5431, abs=1e-3)  # nm
        assert len(lambert.phase.structure) == 1
        with h5py.File(tmp_path / "si.h5") as file:
            assert file["EMData/EBSDmaster/EkeVs"][()] == [15]

        stereographic = kp.load(tmp_path / "si.h5", hemisphere="both")
        y, x = np.mgrid[-80:81, -80:81] / 80
        square = x**2 + y**2
        upper = np.stack([2 * x, 2 * y, 1 - square], axis=-1) / (1 + square)[..., None]
        inside = square < 0.98
        for sign, hemisphere in zip((1, -1), stereographic.data, strict=True):
            expected = intensity(upper * [1, 1, sign])
            assert correlation(expected[inside], hemisphere[inside]) > 0.999
        # kikuchipy's own way from one projection to the other.
        back = stereographic.as_lambert(show_progressbar=False)
        assert correlation(back.data[:, 5:-5, 5:-5], signal.data[:, 5:-5, 5:-5]) > 0.998
        assert [path.name for path in tmp_path.iterdir()] == ["si.h5"]

    def test_settings(self, smooth, phases, tmp_path):
        signal, _ = smooth
        for name, setting in (("Si", 2), ("Ni", 1)):
            signal.phase = phases[name]
            save_master_pattern(tmp_path / f"{name}.h5", signal)
            with h5py.File(tmp_path / f"{name}.h5") as file:
                assert file["CrystalData/SpaceGroupSetting"][()] == [setting]
                assert file["CrystalData/Atomtypes"][()] == [{"Si": 14, "Ni": 28}[name]]
        signal.phase = phases["Si"]

    def test_existing(self, smooth, tmp_path):
        (tmp_path / "a.h5").touch()
        with pytest.raises(FileExistsError, match="overwrite=True"):
            save_master_pattern(tmp_path / "a.h5", smooth[0])
        save_master_pattern(tmp_path / "a.h5", smooth[0], overwrite=True)
        assert kp.load(tmp_path / "a.h5").data.shape == (161, 161)

    def test_wrong_kind(self, smooth, tmp_path):
        with pytest.raises(ValueError, match=r"shape \(161, 161\) in the lambert projection"):
            save_master_pattern(tmp_path / "a.h5", smooth[0].inav[0])
        nameless = smooth[0].deepcopy()
        nameless.metadata.Acquisition_instrument.SEM.beam_energy = None
        with pytest.raises(ValueError, match="does not say its energy"):
            save_master_pattern(tmp_path / "a.h5", nameless)
        nameless.phase = Phase("x")
        with pytest.raises(ValueError, match="has no space group"):
            save_master_pattern(tmp_path / "a.h5", nameless, 20)
        stereographic = kp.data.nickel_ebsd_master_pattern_small()
        with pytest.raises(ValueError, match="in the stereographic projection"):
            save_master_pattern(tmp_path / "a.h5", stereographic)
        assert not list(tmp_path.iterdir())
