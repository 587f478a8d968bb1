import kikuchipy as kp
import numpy as np
import pytest
from diffpy.structure import Structure
from orix.crystal_map import Phase

from kikuchipy_cnn.simulation import load_phases
from kikuchipy_cnn.simulation.phases.reflectors import strongest_directions, strongest_reflectors


@pytest.fixture(scope="module")
def phases():
    return load_phases()


@pytest.fixture(scope="module")
def nickel(phases):
    return phases["Ni"]


def area_of_bands(reflectors):
    """Part of all directions within Bragg angles."""
    directions = np.random.default_rng(0).normal(size=(20000, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    within = np.abs(directions @ reflectors.unit.data.T) <= np.sin(reflectors.theta)
    return within.any(axis=1).mean()


class TestStrongestReflectors:
    @pytest.mark.parametrize(
        ("name", "expected", "n"),
        [
            ("Ni", [[1, 1, 1], [2, 0, 0], [2, 2, 0]], 26),
            ("Fe-bcc", [[1, 1, 0], [2, 0, 0]], 18),
            ("FeAl", [[1, 1, 0], [2, 0, 0]], 18),
            ("Si", [[1, 1, 1], [2, 2, 0], [4, 0, 0]], 26),
            # Without inversion, too, opposite planes are one.
            ("GaAs", [[1, 1, 1], [2, 2, 0], [4, 0, 0]], 26),
        ],
    )
    def test_cubic(self, phases, name, expected, n):
        reflectors, families = strongest_reflectors(phases[name], 20)
        assert families.tolist() == expected
        assert reflectors.size == n
        assert 0.1 < area_of_bands(reflectors) <= 0.5

    def test_slow_electrons_have_wide_bands(self, nickel):
        numbers = [len(strongest_reflectors(nickel, energy)[1]) for energy in (0.5, 5, 20, 200)]
        assert numbers == sorted(numbers) and numbers[0] == 1 and numbers[-1] > 5

    @pytest.mark.parametrize("name", ["Mg", "Ti-alpha", "WC", "GaN", "PbTiO3", "YBe13"])
    def test_other_crystals(self, phases, name):
        reflectors, families = strongest_reflectors(phases[name], 20)
        if name == "Mg":
            # {001} is forbidden, and {100} and {010} are one family.
            assert families[:3].tolist() == [[0, 0, 2], [1, 0, 1], [1, 0, 0]]
        assert 0.1 < area_of_bands(reflectors) <= 0.5
        hkl = np.rint(reflectors.hkl).astype(int).tolist()
        assert len(set(map(tuple, hkl))) == len(hkl)
        assert all([-h, -k, -l] in hkl for h, k, l in hkl)

    def test_monoclinic(self, phases):
        """The unique axis is b, so that the opposite of k, but not of h, is equivalent."""
        reflectors, families = strongest_reflectors(phases["NiTi-B19prime"], 20)
        assert [1, 1, 1] in families.tolist() and [1, 1, -1] in families.tolist()
        np.testing.assert_allclose(reflectors.hkl, np.rint(reflectors.hkl), atol=1e-6)
        hkl = np.rint(reflectors.hkl).astype(int).tolist()
        assert [1, -1, 1] in hkl

    def test_asymmetric_unit(self, phases):
        """As orix's phases may be given."""
        whole = phases["Si"]
        part = whole.deepcopy()
        part.structure = Structure([whole.structure[0]], whole.structure.lattice)
        np.testing.assert_array_equal(
            strongest_reflectors(part, 20)[1], strongest_reflectors(whole, 20)[1]
        )

    def test_phases_without_what_is_needed(self):
        with pytest.raises(ValueError, match="'empty' has no atoms or no space group"):
            strongest_reflectors(Phase("empty", space_group=225), 20)
        kikuchipys = kp.data.nickel_ebsd_small().xmap.phases[0]
        assert kikuchipys.structure.lattice.a == pytest.approx(0.35236)
        with pytest.raises(ValueError, match="'ni' has lattice parameters 0.35236, .*nanometres"):
            strongest_reflectors(kikuchipys, 20)

    def test_without_a_space_group(self, nickel):
        phase = Phase("X", point_group="m-3m", structure=nickel.structure)
        with pytest.raises(ValueError, match="'X' has no atoms or no space group.*load_phases"):
            strongest_reflectors(phase, 20)

    def test_phase_is_untouched(self, nickel):
        before = nickel.structure.lattice.base.copy(), len(nickel.structure)
        strongest_reflectors(nickel, 20)
        np.testing.assert_array_equal(nickel.structure.lattice.base, before[0])
        assert len(nickel.structure) == before[1]


class TestStrongestDirections:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("Ni", [[1, 1, 1], [2, 0, 0], [2, 2, 0], [3, 1, 1]]),
            # Superlattice reflectors are weaker than those of nickel.
            ("Ni3Al", [[1, 1, 1], [2, 0, 0], [2, 2, 0], [3, 1, 1]]),
            ("Fe-bcc", [[1, 1, 0], [2, 0, 0], [2, 1, 1], [3, 1, 0]]),
            ("Si", [[1, 1, 1], [2, 2, 0], [4, 0, 0], [3, 1, 1]]),
            ("Mg", [[0, 0, 2], [1, 0, 1], [1, 0, 0], [1, 1, 0]]),
        ],
    )
    def test_families(self, phases, name, expected):
        assert strongest_directions(phases[name], 4).tolist() == expected

    def test_begins_with_those_of_fewer(self, nickel):
        three, eight = (strongest_directions(nickel, n) for n in (3, 8))
        assert three.shape == (3, 3) and eight.shape == (8, 3)
        assert three.tolist() == eight[:3].tolist()

    @pytest.mark.parametrize("name", ["Ni", "Al2O3", "NiTi-B19prime"])
    def test_none_are_parallel(self, phases, name):
        families = strongest_directions(phases[name], 10)
        assert len(families) == 10
        primitive = {tuple(hkl // np.gcd.reduce(hkl)) for hkl in families}
        assert len(primitive) == 10

    def test_no_more_than_there_are(self, nickel):
        families = strongest_directions(nickel, 10**6)
        assert 10 < len(families) < 100
        assert [2, 2, 2] not in families.tolist()

    def test_without_atoms(self):
        with pytest.raises(ValueError, match="'empty' has no atoms or no space group"):
            strongest_directions(Phase("empty", space_group=225), 4)

    def test_nanometres(self):
        phase = kp.data.nickel_ebsd_small().xmap.phases[0]
        with pytest.raises(ValueError, match="'ni' has lattice parameters 0.35236, .*nanometres"):
            strongest_directions(phase, 4)
