import re
from copy import copy
from itertools import product
from time import process_time

import numpy as np
import pytest
from diffpy.structure import Atom, Lattice, Structure
from diffpy.structure.spacegroups import GetSpaceGroup, SymOp
from diffsims.crystallography import ReciprocalLatticeVector
from orix.crystal_map import Phase

from kikuchipy_cnn.simulation.phases import load_phases
from kikuchipy_cnn.simulation.phases.crystallography import (
    SuperlatticeStrength,
    extinction_conditions,
    is_forbidden,
    structure_factors,
    superlattice_strength,
)

HKL = np.array(list(product(range(-6, 7), repeat=3)))
F = "hkl: h+k, h+l, k+l = 2n"
I = "hkl: h+k+l = 2n"  # noqa: E741
R = "hkl: -h+k+l = 3n"

IN_ZONE = {
    "hkl": lambda h, k, l: h == h,
    "0kl": lambda h, k, l: h == 0,
    "h0l": lambda h, k, l: k == 0,
    "hk0": lambda h, k, l: l == 0,
    "hhl": lambda h, k, l: h == k,
    "h-hl": lambda h, k, l: h == -k,
    "h00": lambda h, k, l: (k == 0) & (l == 0),
    "0k0": lambda h, k, l: (h == 0) & (l == 0),
    "00l": lambda h, k, l: (h == 0) & (k == 0),
}
SUMS = {
    "h": lambda h, k, l: h,
    "k": lambda h, k, l: k,
    "l": lambda h, k, l: l,
    "h+k": lambda h, k, l: h + k,
    "h+l": lambda h, k, l: h + l,
    "k+l": lambda h, k, l: k + l,
    "h+k+l": lambda h, k, l: h + k + l,
    "-h+k+l": lambda h, k, l: -h + k + l,
    "2h+l": lambda h, k, l: 2 * h + l,
}


@pytest.fixture(scope="module")
def phases():
    return load_phases()


def simple_phase(number, atoms, lattice):
    structure = Structure([Atom(i, xyz, Uisoequiv=0.005) for i, xyz in atoms], lattice)
    return Phase("test", space_group=number, structure=structure)


class TestIsForbidden:
    @pytest.mark.parametrize(
        ("number", "forbidden", "allowed"),
        [
            (14, [(1, 0, 1), (0, 1, 0)], [(1, 0, 2), (0, 2, 0), (1, 1, 1)]),
            (62, [(0, 1, 2), (1, 1, 0), (1, 0, 0)], [(0, 1, 1), (2, 1, 0), (1, 0, 1)]),
            (152, [(0, 0, 1), (0, 0, 2)], [(0, 0, 3), (1, 0, 0)]),
            (161, [(1, 0, 0), (1, -1, 5)], [(1, -1, 2), (1, 1, 0), (2, 1, 4)]),
            (169, [(0, 0, 3), (0, 0, 4)], [(0, 0, 6), (0, 0, -6)]),
            (194, [(0, 0, 1), (1, 1, 1)], [(1, 0, 1), (0, 0, 2)]),
            (221, [], [(1, 0, 0), (1, 1, 0)]),
            (223, [(1, 1, 1), (3, 0, 0)], [(2, 1, 0), (1, 1, 0)]),
            (225, [(1, 0, 0), (1, 1, 2)], [(1, 1, 1), (2, 0, 0), (0, 0, 0)]),
            (227, [(2, 0, 0), (4, 2, 0)], [(1, 1, 1), (2, 2, 0), (4, 0, 0), (2, 2, 2)]),
            (229, [(1, 1, 1)], [(2, 1, 1)]),
            (230, [(1, 1, 0), (2, 0, 0), (2, 2, 2)], [(2, 1, 1), (2, 2, 0), (4, 0, 0)]),
        ],
    )
    def test_known(self, number, forbidden, allowed):
        phase = Phase(space_group=number)
        hkl = np.array(forbidden + allowed)
        expected = [True] * len(forbidden) + [False] * len(allowed)
        assert is_forbidden(phase, hkl).tolist() == expected

    @pytest.mark.parametrize(
        "name", ["Cr3Si", "Ni", "NaCl", "Si", "MgAl2O4", "W", "Al4Ni3", "Mg3Al2Si3O12", "Fe3W3C"]
    )
    def test_structure_factor_vanishes(self, phases, name):
        hkl = HKL[HKL.any(axis=1)]
        amplitude = np.abs(structure_factors(phases[name], hkl))
        forbidden = is_forbidden(phases[name], hkl)
        assert 0 < forbidden.sum() < len(hkl)
        assert amplitude[forbidden].max() < 1e-9 * amplitude.max()

    def test_general_positions_show_all_others(self):
        # Atoms without any symmetry of their own leave no other absences
        rng = np.random.default_rng(1)
        for number in (14, 62, 136, 167, 205, 230):
            group = GetSpaceGroup(number)
            xyz = rng.random((2, 3))
            atoms = [
                Atom("C", op.R @ i + op.t, Uisoequiv=0.005) for i in xyz for op in group.symop_list
            ]
            # A cubic lattice will do, as |hkl| only weighs the atoms
            structure = Structure(atoms, Lattice(9, 9, 9, 90, 90, 90))
            phase = Phase(space_group=number, structure=structure)
            absent = np.abs(structure_factors(phase, HKL)) < 1e-9
            assert np.array_equal(absent, is_forbidden(phase, HKL))

    @pytest.mark.parametrize("hkl", [[1, 0, 0], [[1, 0]], np.zeros((2, 2, 3)), 1])
    def test_shape(self, hkl):
        with pytest.raises(ValueError, match=r"must be of shape \(n, 3\)"):
            is_forbidden(Phase(space_group=225), hkl)

    @pytest.mark.parametrize("hkl", [[[0.5, 0, 0]], [[np.nan, 0, 0]]])
    def test_not_integer(self, hkl):
        with pytest.raises(ValueError, match="must be integers"):
            is_forbidden(Phase(space_group=225), hkl)

    def test_integers_as_floats_and_none(self):
        phase = Phase(space_group=225)
        assert is_forbidden(phase, [[1.0, 0.0, 0.0]]).tolist() == [True]
        assert is_forbidden(phase, np.zeros((0, 3))).shape == (0,)

    def test_no_space_group(self):
        with pytest.raises(ValueError, match="iron: .* no space group"):
            is_forbidden(Phase("iron", point_group="m-3m"), [[1, 0, 0]])


class TestExtinctionConditions:
    # International Tables A, without conditions that follow from others
    @pytest.mark.parametrize(
        ("number", "expected"),
        [
            (1, []),
            (14, ["h0l: l = 2n", "0k0: k = 2n"]),
            (15, ["hkl: h+k = 2n", "h0l: h, l = 2n"]),
            (19, ["h00: h = 2n", "0k0: k = 2n", "00l: l = 2n"]),
            (43, [F, "0kl: k+l = 4n", "h0l: h+l = 4n"]),
            (62, ["0kl: k+l = 2n", "hk0: h = 2n"]),
            (63, ["hkl: h+k = 2n", "h0l: h, l = 2n"]),
            (88, [I, "hk0: h, k = 2n", "00l: l = 4n"]),
            (92, ["00l: l = 4n", "h00: h = 2n"]),
            (136, ["0kl: k+l = 2n"]),
            (141, [I, "hk0: h, k = 2n", "hhl: 2h+l = 4n"]),
            (148, [R]),
            (152, ["00l: l = 3n"]),
            (161, [R, "h-hl: l = 2n"]),
            (166, [R]),
            (167, [R, "h-hl: l = 2n"]),
            (178, ["00l: l = 6n"]),
            (192, ["h-hl: l = 2n", "hhl: l = 2n"]),
            (194, ["hhl: l = 2n"]),
            (198, ["h00: h = 2n"]),
            (205, ["0kl: k = 2n"]),
            (206, [I, "0kl: k, l = 2n"]),
            (212, ["h00: h = 4n"]),
            (216, [F]),
            (219, [F, "hhl: h, l = 2n"]),
            (221, []),
            (222, ["0kl: k+l = 2n", "hhl: l = 2n"]),
            (223, ["hhl: l = 2n"]),
            (224, ["0kl: k+l = 2n"]),
            (225, [F]),
            (226, [F, "hhl: h, l = 2n"]),
            (227, [F, "0kl: k+l = 4n"]),
            (228, [F, "0kl: k+l = 4n", "hhl: h, l = 2n"]),
            (229, [I]),
            (230, [I, "0kl: k, l = 2n", "hhl: 2h+l = 4n"]),
        ],
    )
    def test_known(self, number, expected):
        assert extinction_conditions(Phase(space_group=number)) == expected

    def test_do_not_depend_on_the_origin(self, phases):
        assert extinction_conditions(phases["Si"]) == [F, "0kl: k+l = 4n"]

    @pytest.mark.parametrize("first", range(1, 231, 46))
    def test_complete(self, first):
        """Absences that follow from the conditions, in all equivalent reflections."""
        for number in range(first, first + 46):
            phase = Phase(space_group=number)
            allowed = np.ones(len(HKL), dtype=bool)
            conditions = extinction_conditions(phase)
            rotations = {tuple(map(tuple, op.R)) for op in phase.space_group.symop_list}
            for rotation, condition in product(rotations, conditions):
                h, k, l = (HKL @ rotation).T
                zone, sums, modulus = re.fullmatch("(.*): (.*) = (.)n", condition).groups()
                allowed &= ~IN_ZONE[zone](h, k, l) | np.logical_and.reduce(
                    [SUMS[i](h, k, l) % int(modulus) == 0 for i in sums.split(", ")]
                )
            assert np.array_equal(~allowed, is_forbidden(phase, HKL)), (number, conditions)

    def test_reverse_setting(self):
        group = copy(GetSpaceGroup(146))
        group.symop_list = [SymOp(op.R, op.t * [1, 1, -1]) for op in group.symop_list]
        assert extinction_conditions(Phase(space_group=group)) == ["hkl: h-k+l = 3n"]

    def test_unusual_setting(self):
        group = copy(GetSpaceGroup(5))
        # Centred by fifths
        group.symop_list = [SymOp(np.eye(3), np.array([1, 2, 0]) * i / 5) for i in range(5)]
        with pytest.raises(ValueError, match="no simple rule.* hkl"):
            extinction_conditions(Phase(space_group=group))


class TestStructureFactors:
    def test_against_diffsims(self, phases):
        phase = phases["NaCl"].deepcopy()
        for atom in phase.structure:
            atom.Uisoequiv = 0
            atom.occupancy = 0.5 if atom.element == "Na" else 1
        hkl = np.array([[1, 1, 1], [2, 0, 0], [4, 2, 0], [1, 0, 0]])
        vectors = ReciprocalLatticeVector(phase, hkl=hkl)
        vectors.calculate_structure_factor("lobato")
        assert np.allclose(structure_factors(phase, hkl), vectors.structure_factor, atol=1e-9)

    def test_displacement(self, phases):
        phase = phases["Ni"]
        still = phase.deepcopy()
        for atom in still.structure:
            atom.Uisoequiv = 0
        ratio = structure_factors(phase, [[2, 0, 0]]) / structure_factors(still, [[2, 0, 0]])
        b_iso, a = phase.structure[0].Bisoequiv, phase.structure.lattice.a
        assert np.isclose(ratio[0], np.exp(-b_iso / a**2))

    def test_unknown_element(self):
        phase = simple_phase(221, [("Xx", [0, 0, 0])], Lattice(3, 3, 3, 90, 90, 90))
        with pytest.raises(ValueError, match="no scattering factors of 'Xx'"):
            structure_factors(phase, [[1, 0, 0]])


class TestSuperlatticeStrength:
    def test_ordered_phases(self, phases):
        ratio = {
            name: superlattice_strength(phases[name]).ratio
            for name in ("FeNi3", "Ni3Al", "Cu3Au", "NiAl", "KCl", "NaCl", "TiC", "Cr3Si")
        }
        assert 0 < ratio["FeNi3"] < 0.001
        assert ratio["FeNi3"] < ratio["KCl"] < 0.005
        assert 0.02 < ratio["Ni3Al"] < 0.08 < ratio["NiAl"] < ratio["Cu3Au"]
        assert ratio["KCl"] < ratio["NaCl"] < ratio["TiC"] < ratio["Cr3Si"]

    @pytest.mark.parametrize("name", ["Ni", "Al", "Si", "Ge", "W", "Fe-bcc"])
    def test_elements_have_nothing_near(self, phases, name):
        assert superlattice_strength(phases[name]).ratio > 1

    @pytest.mark.parametrize(
        ("name", "translation", "lattice", "reflection"),
        [
            ("FeNi3", (0.5, 0.5, 0), "F", (1, 0, 0)),
            ("NiAl", (0.5, 0.5, 0.5), "I", (1, 0, 0)),
            ("KCl", (0.5, 0, 0), "translation (1/2 0 0)", (1, 1, 1)),
            ("Fe3Al", (0.5, 0, 0), "translation (1/2 0 0)", (1, 1, 1)),
        ],
    )
    def test_translation(self, phases, name, translation, lattice, reflection):
        strength = superlattice_strength(phases[name])
        assert isinstance(strength, SuperlatticeStrength)
        assert strength.translation == translation
        assert strength.lattice == lattice
        assert strength.reflections[0] == reflection
        assert len(set(strength.reflections)) == 3
        assert 0 < strength.strongest_ratio < 1

    def test_against_sum_over_the_sphere(self, phases):
        phase = phases["Ni3Al"]
        hkl = HKL[HKL.any(axis=1)]
        hkl = hkl[np.linalg.norm(hkl, axis=1) <= phase.structure.lattice.a / 0.7]
        intensity = np.abs(structure_factors(phase, hkl)) ** 2
        main = np.ptp(hkl % 2, axis=1) == 0
        strength = superlattice_strength(phase)
        assert np.isclose(strength.ratio, intensity[~main].sum() / intensity[main].sum())
        assert np.isclose(strength.strongest_ratio, intensity[~main].max() / intensity[main].max())

    def test_made_up_superlattices(self):
        # Each is nearly a lattice with the translation named
        lattice = Lattice(9, 4, 5, 90, 90, 90)
        tripled = simple_phase(
            47, [("Fe", [0, 0, 0]), ("Co", [1 / 3, 0, 0]), ("Co", [2 / 3, 0, 0])], lattice
        )
        strength = superlattice_strength(tripled)
        assert strength.lattice == "translation (1/3 0 0)"
        assert strength.ratio < 0.01
        centred = simple_phase(47, [("Fe", [0, 0, 0]), ("Co", [0, 0.5, 0.5])], lattice)
        assert superlattice_strength(centred).lattice == "A"
        hexagonal = Lattice(base=[[4, 0, 0], [-2, 12**0.5, 0], [0, 0, 9]])
        atoms = [("Fe", [0, 0, 0]), ("Co", [2 / 3, 1 / 3, 1 / 3]), ("Co", [1 / 3, 2 / 3, 2 / 3])]
        rhombohedral = simple_phase(147, atoms, hexagonal)
        assert superlattice_strength(rhombohedral).lattice == "R"

    def test_identical_atoms(self):
        # The lattice has the translation in truth
        atoms = [("Fe", [0, 0, 0]), ("Fe", [0.5, 0.5, 0.5])]
        phase = simple_phase(221, atoms, Lattice(2.87, 2.87, 2.87, 90, 90, 90))
        strength = superlattice_strength(phase)
        assert (strength.ratio, strength.strongest_ratio) == (0, 0)
        assert (strength.lattice, strength.reflections) == ("I", ())

    def test_no_reflections(self, phases):
        strength = superlattice_strength(phases["W"], dmin=5)
        assert strength.ratio == np.inf
        assert strength.reflections == ()

    def test_no_superlattice_reflections(self):
        """All within the limit are also those of a denser lattice, (020) here."""
        lattice = Lattice(4, 9, 5, 90, 90, 90)
        atoms = [Atom("Ni", [0, 0, 0]), Atom("Al", [0, 0.5, 0])]
        phase = Phase("layers", space_group=47, structure=Structure(atoms, lattice))
        assert superlattice_strength(phase, dmin=4.6).ratio > 0
        assert superlattice_strength(phase, dmin=4.2).ratio < np.inf

    def test_quick_for_large_cells(self, phases):
        start = process_time()
        superlattice_strength(phases["Mg3Al2Si3O12"])
        assert process_time() - start < 10

    def test_invalid(self, phases):
        with pytest.raises(ValueError, match="dmin 0 must be a positive length"):
            superlattice_strength(phases["Ni"], dmin=0)
        with pytest.raises(ValueError, match="no atoms"):
            superlattice_strength(Phase("empty", space_group=225))
        without = Phase("a", structure=phases["Ni"].structure)
        with pytest.raises(ValueError, match="no space group"):
            superlattice_strength(without)
