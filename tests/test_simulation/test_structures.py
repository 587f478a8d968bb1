import re
import sys
import warnings
from itertools import product

import numpy as np
import pytest
import spglib
from diffpy.structure import Atom, Lattice, Structure

from kikuchipy_cnn.simulation.master_pattern import check_phase
from kikuchipy_cnn.simulation.phases import load_phases, standard_space_group
from kikuchipy_cnn.simulation.phases.crystallography import structure_factors
from kikuchipy_cnn.simulation.phases.structures import (
    DEFAULT_B_ISO,
    MAX_ATOMS,
    _operations_of_symbol,
    phase_from_cif,
    phase_from_structure,
)

# spglib 2.8 announces that it will raise exceptions
pytestmark = pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")

HKL = np.array([hkl for hkl in product(range(-3, 4), repeat=3) if any(hkl)])


def cif(cell, atoms, number=None, symbol=None, operations=None, columns=()):
    """Text of a CIF. Each row of *atoms* starts with label, type symbol, x, y and z."""
    tags = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    lines = ["data_test", *(f"_cell_{i} {j}" for i, j in zip(tags, cell, strict=True))]
    if number is not None:
        lines.append(f"_space_group_IT_number {number}")
    if symbol is not None:
        lines.append(f"_space_group_name_H-M_alt '{symbol}'")
    if operations is not None:
        lines += ["loop_", "_space_group_symop_operation_xyz", *(f"'{i}'" for i in operations)]
    columns = ("label", "type_symbol", "fract_x", "fract_y", "fract_z", *columns)
    lines += ["loop_", *(f"_atom_site_{i}" for i in columns)]
    lines += [" ".join(map(str, row)) for row in atoms]
    return "\n".join(lines) + "\n"


def operations_of(hall_number):
    """Operations of one of spglib's settings as text."""
    database = spglib.get_symmetry_from_database(hall_number)
    texts = []
    for R, t in zip(database["rotations"], database["translations"], strict=True):
        rows = []
        for row, shift in zip(R, t, strict=True):
            terms = [f"{i:+d}{x}".replace("1", "") for i, x in zip(row, "xyz", strict=True) if i]
            rows.append("".join(terms) + f"+{round(24 * shift)}/24")
        texts.append(", ".join(rows))
    return texts


@pytest.fixture
def read(tmp_path):
    """Read a phase from the text of a CIF, without missing displacement parameters by default."""

    def read_text(text, **parameters):
        path = tmp_path / "crystal.cif"
        path.write_text(text, encoding="utf-8")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*displacement", category=UserWarning)
            return phase_from_cif(path, **parameters)

    return read_text


def spglib_number(phase):
    structure = phase.structure
    types = [f"{atom.element}{atom.occupancy:.3f}" for atom in structure]
    types = np.unique(types, return_inverse=True)[1]
    return spglib.get_symmetry_dataset((structure.lattice.base, structure.xyz, types), 1e-4).number


def assert_symmetric(phase):
    """Assert that the operations map the structure exactly onto itself."""
    xyz = phase.structure.xyz
    kinds = np.array([(hash(i.element), i.occupancy, i.Bisoequiv) for i in phase.structure])
    for operation in phase.space_group.symop_list:
        difference = (xyz @ operation.R.T + operation.t)[:, np.newaxis] - xyz
        difference -= difference.round()
        same = (np.abs(difference).max(axis=-1) < 1e-9) & np.isclose(
            kinds[:, np.newaxis], kinds, rtol=1e-9
        ).all(axis=-1)
        assert (same.sum(axis=1) == 1).all()


def intensities(phase):
    return np.abs(structure_factors(phase, HKL)) ** 2


def bond_lengths(phase, cutoff=4):
    """Sorted distances below the cutoff from each atom, over the atomic number of both ends."""
    structure = phase.structure
    cells = np.array(list(product(range(-3, 4), repeat=3)))
    difference = structure.xyz[:, np.newaxis, np.newaxis] - structure.xyz[:, np.newaxis] - cells
    lengths = np.linalg.norm(difference @ structure.lattice.base, axis=-1)
    return [np.sort(i[(i > 1e-3) & (i < cutoff)]) for i in lengths]


class TestStandardSpaceGroup:
    def test_inversion_centre_at_the_origin(self):
        for number in (48, 70, 88, 141, 203, 224, 227, 228):
            inversions = [
                operation.t
                for operation in standard_space_group(number).symop_list
                if np.array_equal(operation.R, -np.eye(3))
            ]
            assert [0, 0, 0] in np.round(inversions, 6).tolist()

    def test_same_as_of_the_catalogue(self):
        first = {phase.space_group.number: phase for phase in load_phases().values()}
        for number, phase in first.items():
            groups = (phase.space_group, standard_space_group(number))
            operations = [
                {
                    (*operation.R.astype(int).ravel(), *(np.rint(operation.t * 24) % 24))
                    for operation in group.symop_list
                }
                for group in groups
            ]
            assert operations[0] == operations[1]

    def test_leaves_the_one_of_diffpy_alone(self):
        from diffpy.structure.spacegroups import GetSpaceGroup

        group = standard_space_group(227)
        assert (group.number, group.short_name) == (227, "Fd-3m")
        assert group.symop_list is not GetSpaceGroup(227).symop_list


class TestFromCif:
    def test_nacl(self, read):
        rows = [("Na1", "Na1+", 0, 0, 0, 1, 0.01), ("Cl1", "Cl1-", 0.5, 0.5, 0.5, 1, 0.02)]
        text = cif(
            [5.64] * 3 + [90] * 3,
            rows,
            operations=operations_of(523),
            columns=("occupancy", "U_iso_or_equiv"),
        )
        phase = read(text)
        assert phase.name == "crystal"
        assert read(text, name="halite").name == "halite"
        assert phase.space_group.number == 225
        assert np.allclose(phase.structure.lattice.abcABG(), [5.64] * 3 + [90] * 3)
        assert [atom.element for atom in phase.structure] == ["Na"] * 4 + ["Cl"] * 4
        assert phase.structure.xyz[0].tolist() == [0, 0, 0]
        assert np.allclose([i.Uisoequiv for i in phase.structure], [0.01] * 4 + [0.02] * 4)
        assert not any(atom.anisotropy for atom in phase.structure)
        assert_symmetric(phase)

    @pytest.mark.parametrize("given", ["number", "symbol"])
    def test_without_operations(self, read, given):
        symmetry = {"number": {"number": 225}, "symbol": {"symbol": "F m 3 m"}}[given]
        rows = [("Na", "Na", 0, 0, 0), ("Cl", "Cl", 0.5, 0.5, 0.5)]
        phase = read(cif([5.64] * 3 + [90] * 3, rows, **symmetry))
        assert len(phase.structure) == 8

    def test_origin_choices_of_diamond(self, read):
        cell = [5.431] * 3 + [90] * 3
        first = read(cif(cell, [("Si", "Si", 0, 0, 0)], 227, operations=operations_of(525)))
        second = read(cif(cell, [("Si", "Si", *[1 / 8] * 3)], 227, operations=operations_of(526)))
        for phase in (first, second):
            assert (len(phase.structure), spglib_number(phase)) == (8, 227)
            assert_symmetric(phase)
        # Atoms at 1/8 1/8 1/8 and -1/8 -1/8 -1/8, around an inversion centre at the origin
        assert np.allclose(np.mod(first.structure.xyz * 8, 2), 1)
        assert np.allclose(np.mod(second.structure.xyz * 8, 2), 1)
        assert np.allclose(intensities(first), intensities(second), atol=1e-9)

    @pytest.mark.parametrize(("choice", "x"), [("1", 0), ("2", 0.125)])
    def test_origin_choice_in_symbol(self, read, choice, x):
        rows = [("Si", "Si", x, x, x)]
        phase = read(cif([5.431] * 3 + [90] * 3, rows, 227, symbol=f"F d -3 m :{choice}"))
        assert (len(phase.structure), spglib_number(phase)) == (8, 227)

    def test_origin_choice_unknown(self, read):
        rows = [("Si", "Si", 0, 0, 0)]
        with pytest.raises(ValueError, match="227 has two origin choices.*':1' or ':2'"):
            read(cif([5.431] * 3 + [90] * 3, rows, 227, symbol="F d -3 m"))

    @pytest.mark.parametrize("number", [152, 154])
    def test_quartz_keeps_its_hand(self, read, number):
        z = 1 / 3 if number == 152 else 2 / 3
        oxygen = 0.2142 if number == 152 else 0.7858
        rows = [("Si1", "Si", 0.4697, 0, f"{z:.4f}"), ("O1", "O", 0.4135, 0.2669, oxygen)]
        phase = read(cif([4.9137, 4.9137, 5.4047, 90, 90, 120], rows, number))
        assert phase.space_group.number == spglib_number(phase) == number
        assert len(phase.structure) == 9
        assert_symmetric(phase)
        assert np.isclose(bond_lengths(phase)[0][:4].mean(), 1.609, atol=2e-3)

    def test_quartz_in_another_setting_keeps_its_hand(self):
        quartz = quartz_152()
        change = np.array([[1, 1, 0], [0, 1, -1], [1, 0, 0]])
        assert np.linalg.det(change) < 0
        for matrix in (
            -change,
            [[0, 0, 1], [1, 0, 0], [0, 1, 0]],
            [[1, 1, 1], [0, 1, 2], [0, 0, 1]],
        ):
            xyz = (quartz.structure.xyz + [0.1, 0.2, 0.3]) @ np.linalg.inv(matrix)
            atoms = [
                Atom(i, j, Uisoequiv=0.01)
                for i, j in zip(quartz.structure.element, xyz, strict=True)
            ]
            structure = Structure(atoms, Lattice(base=matrix @ quartz.structure.lattice.base))
            phase = phase_from_structure(structure)
            assert phase.space_group.number == 152
            assert np.allclose(phase.structure.lattice.abcABG(), quartz.structure.lattice.abcABG())
            assert_symmetric(phase)

    def test_hexagonal_metal(self, read):
        # Few digits, so that images of the special position only nearly coincide
        rows = [("Ti", "Ti", 0.333, 0.667, 0.25)]
        cell = [2.951, 2.951, 4.684, 90, 90, 120]
        phase = read(cif(cell, rows, 194, operations=operations_of(488)))
        assert len(phase.structure) == 2
        assert np.allclose(phase.structure.xyz[0], [1 / 3, 2 / 3, 0.25], atol=1e-12)
        assert np.allclose(phase.structure.lattice.abcABG(), cell)
        assert np.isclose(bond_lengths(phase)[0][0], 2.897, atol=1e-3)

    @pytest.mark.parametrize("z", [0.375, -0.375])
    def test_wurtzite_keeps_its_polarity(self, read, z):
        rows = [("Zn", "Zn", 0.3333, 0.6667, 0), ("S", "S", 0.3333, 0.6667, z)]
        phase = read(cif([3.811, 3.811, 6.234, 90, 90, 120], rows, 186))
        assert phase.space_group.number == 186
        zinc, sulfur = phase.structure[0], phase.structure[2]
        assert np.allclose(zinc.xyz[:2], sulfur.xyz[:2])
        assert np.isclose((sulfur.z - zinc.z) % 1, z % 1)

    def test_monoclinic_cell_choice(self, read):
        # Cell of baddeleyite as P2_1/n
        cell = [5.1505, 5.2116, 5.3173, 90, 99.23, 90]
        zr, o1, o2 = (0.2754, 0.0395, 0.2083), (0.07, 0.3317, 0.3447), (0.4496, 0.7569, 0.4792)
        standard = read(
            cif(cell, [("Zr", "Zr", *zr), ("O1", "O", *o1), ("O2", "O", *o2)], symbol="P 21/c")
        )
        base = Lattice(*cell).base
        # c' = -a - c turns the glide c into n
        change = np.array([[1, 0, 0], [0, -1, 0], [-1, 0, -1]])
        to_new = np.linalg.inv(change)
        rows = [
            (label, label[:2].strip("12"), *(np.array(xyz) @ to_new))
            for label, xyz in (("Zr", zr), ("O1", o1), ("O2", o2))
        ]
        new_cell = Lattice(base=change @ base).abcABG()
        for symmetry in ({"operations": operations_of(82)}, {"symbol": "P 21/n"}):
            phase = read(cif(new_cell, rows, **symmetry))
            assert phase.space_group.number == spglib_number(phase) == 14
            assert len(phase.structure) == 12
            assert_symmetric(phase)
            assert np.isclose(phase.structure.lattice.volume, Lattice(*cell).volume)
            for first, second in zip(bond_lengths(phase), bond_lengths(standard), strict=True):
                assert np.allclose(first, second, atol=1e-4)

    def test_rhombohedral_axes(self, read):
        # Ilmenite
        a, alpha = 5.5340, 54.73
        rows = [
            ("Ti", "Ti", *[0.1463] * 3),
            ("Fe", "Fe", *[0.3554] * 3),
            ("O", "O", 0.5550, -0.0445, 0.2500),
        ]
        phases = [
            read(cif([a] * 3 + [alpha] * 3, rows, **symmetry))
            for symmetry in ({"operations": operations_of(437)}, {"symbol": "R -3", "number": 148})
        ]
        for phase in phases:
            assert phase.space_group.number == spglib_number(phase) == 148
            assert len(phase.structure) == 30
            lattice = phase.structure.lattice
            assert np.allclose([lattice.alpha, lattice.beta, lattice.gamma], [90, 90, 120])
            assert np.isclose(lattice.a, 2 * a * np.sin(np.deg2rad(alpha / 2)))
            assert np.isclose(lattice.volume, 3 * Lattice(a, a, a, alpha, alpha, alpha).volume)
            assert_symmetric(phase)
        assert np.allclose(intensities(phases[0]), intensities(phases[1]))

    def test_primitive_cell(self, read):
        rows = [("Si1", "Si", 0, 0, 0), ("Si2", "Si", 0.25, 0.25, 0.25)]
        text = cif([5.431 / np.sqrt(2)] * 3 + [60] * 3, rows, symbol="P 1", operations=["x, y, z"])
        phase = read(text, space_group="find")
        assert (phase.space_group.number, len(phase.structure)) == (227, 8)
        assert np.allclose(phase.structure.lattice.abcABG(), [5.431] * 3 + [90] * 3)
        assert np.allclose(np.mod(phase.structure.xyz * 8, 2), 1)
        assert_symmetric(phase)
        assert len(read(text, space_group=227).structure) == 8
        with pytest.raises(ValueError, match=r"1 \(P1\) is stated.*show 227 \(Fd-3m\).*'find'"):
            read(text)

    def test_supercell(self):
        atoms = [
            Atom(element, [(x + i) / 2, x, (x + j) / 3], Uisoequiv=0.01)
            for element, x in (("Cs", 0), ("Cl", 0.5))
            for i in range(2)
            for j in range(3)
        ]
        phase = phase_from_structure(Structure(atoms, Lattice(8.24, 4.12, 12.36, 90, 90, 90)))
        assert (phase.space_group.number, len(phase.structure)) == (221, 2)
        assert np.isclose(phase.structure.lattice.a, 4.12)

    def test_mixed_site(self, read):
        columns = ("occupancy", "U_iso_or_equiv")
        rows = [
            ("Si1", "Si", 0, 0, 0, 0.25, 0.004),
            ("Ge1", "Ge", 0, 0, 0, 0.74, 0.006),
        ]
        text = cif([5.6] * 3 + [90] * 3, rows, operations=operations_of(525), columns=columns)
        phase = read(text)
        assert (phase.space_group.number, len(phase.structure)) == (227, 16)
        by_element = {atom.element: atom for atom in phase.structure}
        assert np.isclose(by_element["Si"].occupancy, 0.25)
        assert np.isclose(by_element["Ge"].occupancy, 0.74)
        assert np.isclose(by_element["Si"].Uisoequiv, 0.004)
        assert np.isclose(by_element["Ge"].Uisoequiv, 0.006)

    def test_occupancies_tell_sites_apart(self):
        def structure(second):
            lattice = Lattice(2.9, 2.9, 2.9, 90, 90, 90)
            sites = (([0, 0, 0], 0.9), ([0.5, 0.5, 0.5], second))
            return Structure(
                [
                    Atom(element, xyz, occupancy=occupancy, Uisoequiv=0.005)
                    for xyz, iron in sites
                    for element, occupancy in (("Fe", iron), ("Al", 1 - iron))
                ],
                lattice,
            )

        assert phase_from_structure(structure(0.9)).space_group.number == 229
        assert phase_from_structure(structure(0.1)).space_group.number == 221

    def test_anisotropic_displacement(self, read):
        rows = [("Ti1", "Ti", 0.3333, 0.6667, 0.25)]
        text = cif([2.951, 2.951, 4.684, 90, 90, 120], rows, 194)
        names = ("label", *(f"U_{i}" for i in ("11", "22", "33", "12", "13", "23")))
        text += "loop_\n" + "\n".join(f"_atom_site_aniso_{i}" for i in names)
        text += "\nTi1 0.006 0.006 0.009 0.003 0 0\n"
        assert np.isclose(read(text).structure[0].Uisoequiv, 0.007)

    def test_displacement_as_u_and_b(self, read):
        rows = [
            ("Na1", "Na", 0, 0, 0, "0.01(2)", "?"),
            ("?", "Na", 0, 0, 0, "?", "?"),
            ("Cl1", "Cl", 0.5, 0.5, 0.5, "?", 0.8),
        ]
        for columns in (("U_iso_or_equiv", "B_iso_or_equiv"), ("B_iso_or_equiv", "U_iso_or_equiv")):
            if columns[0][0] == "B":
                rows = [(*row[:5], row[6], row[5]) for row in rows]
            phase = read(cif([5.64] * 3 + [90] * 3, rows, 225, columns=columns))
            assert np.isclose(phase.structure[0].Uisoequiv, 0.01)
            assert np.isclose(phase.structure[4].Bisoequiv, 0.8)

    def test_anisotropic_displacement_as_u_and_b(self, read):
        text = cif([2.951, 2.951, 4.684, 90, 90, 120], [("Ti1", "Ti", 0.3333, 0.6667, 0.25)], 194)
        columns = [f"{i}_{j}" for i in "UB" for j in ("11", "22", "33", "12", "13", "23")]
        text += "loop_\n" + "\n".join(f"_atom_site_aniso_{i}" for i in ("label", *columns))
        text += "\nTi1 0.006 0.006 0.009(1) 0.003 0 0 ? ? . ? ? ?\n"
        assert np.isclose(read(text).structure[0].Uisoequiv, 0.007)

    def test_missing_displacement(self, tmp_path):
        path = tmp_path / "crystal.cif"
        rows = [("Na1", "Na", 0, 0, 0, "?"), ("Cl1", "Cl", 0.5, 0.5, 0.5, 0.02)]
        path.write_text(cif([5.64] * 3 + [90] * 3, rows, 225, columns=("U_iso_or_equiv",)))
        with pytest.warns(UserWarning, match="crystal: Na1 without .* B_iso = 0.5") as record:
            phase = phase_from_cif(path)
        assert [i.filename for i in record if i.category is UserWarning] == [__file__]
        assert np.isclose(phase.structure[0].Bisoequiv, DEFAULT_B_ISO)
        assert np.isclose(phase.structure[4].Uisoequiv, 0.02)
        with pytest.warns(UserWarning, match="B_iso = 0.8"):
            phase = phase_from_cif(path, default_b_iso=0.8)
        assert np.isclose(phase.structure[0].Bisoequiv, 0.8)

    @pytest.mark.parametrize(
        ("symbol", "element"),
        [("Fe3+", "Fe"), ("fe", "Fe"), ("57-Fe", "Fe"), ("Fe+2", "Fe"), ("D", "H"), ("O2-", "O")],
    )
    def test_type_symbols(self, read, symbol, element):
        phase = read(cif([3] * 3 + [90] * 3, [("A1", symbol, 0, 0, 0)], 221))
        assert phase.structure[0].element == element

    def test_all_atoms_listed_with_operations(self, read):
        face = [(0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)]
        rows = [(f"Cu{i}", "Cu", *xyz) for i, xyz in enumerate(face)]
        phase = read(cif([3.615] * 3 + [90] * 3, rows, 225, operations=operations_of(523)))
        assert len(phase.structure) == 4

    def test_space_group_for_a_file_without(self, read):
        rows = [("Na", "Na", 0, 0, 0), ("Cl", "Cl", 0.5, 0.5, 0.5)]
        text = cif([5.64] * 3 + [90] * 3, rows)
        assert len(read(text, space_group=225).structure) == 8
        assert read(text, space_group="find").space_group.number == 221
        with pytest.raises(ValueError, match="says nothing of the symmetry.*space_group='find'"):
            read(text)

    def test_generators_and_listed_centring(self, read):
        operations = ["x,y,z", "-x,-y,z", "-x,y,-z", "z,x,y", "y,x,-z", "-x,-y,-z"]
        operations += ["x, y+1/2, z+1/2"]
        rows = [("Cu", "Cu", 0, 0, 0)]
        phase = read(cif([3.615] * 3 + [90] * 3, rows, operations=operations))
        assert (phase.space_group.number, len(phase.structure)) == (225, 4)

    @pytest.mark.parametrize(
        ("symbol", "hall_number"),
        [
            ("C m c a", 304),
            ("C m c b", 304),
            ("C m c e", 304),
            ("B m a b", 309),
            ("Bmcb", 309),
            ("A b a m", 307),
            ("C 2/m 2/c 21/a", 304),
            ("A b m 2", 191),
            ("A c m 2", 191),
            ("C 2 c b", 206),
            ("C m m e", 316),
            ("C m m a", 316),
            ("C m m b", 317),
            ("A b m m", 318),
            ("A c m m", 319),
            ("B m c m", 320),
            ("B m a m", 321),
            ("C c c a :1", 322),
            ("B b c b :2", 331),
            ("B b e b S", 330),
            ("R -3 m H", 458),
            ("R -3 m R", 459),
            ("R-3mr", 459),
            ("F d -3 m Z", 526),
            ("F d 3 m S", 525),
            ("F d -3 m :2", 526),
            ("P 21/n", 82),
            ("P 1 1 21/b", 86),
            ("P b n m", 294),
        ],
    )
    @pytest.mark.parametrize("with_number", [True, False])
    def test_symbols_of_settings(self, symbol, hall_number, with_number):
        number = spglib.get_spacegroup_type(hall_number).number if with_number else None
        found = _operations_of_symbol("a", number, symbol, Lattice(5, 5, 5, 90, 90, 90))
        expected = spglib.get_symmetry_from_database(hall_number)
        assert np.array_equal(found[0], expected["rotations"])
        assert np.allclose(found[1], expected["translations"])

    def test_setting_before_1992(self, read):
        # La2CuO4, in the axes of the first reports and in those of the standard
        xyz = [("La", 0, 0.007, 0.362), ("Cu", 0, 0, 0), ("O", 0.25, 0.25, 0.007)]
        xyz.append(("O", 0, -0.04, 0.182))
        bmab = [(f"{e}{i}", e, x, y, z) for i, (e, x, y, z) in enumerate(xyz)]
        cmce = [(f"{e}{i}", e, x, z, -y) for i, (e, x, y, z) in enumerate(xyz)]
        first = read(cif([5.355, 5.401, 13.15, 90, 90, 90], bmab, 64, symbol="B m a b"))
        cell = [5.355, 13.15, 5.401, 90, 90, 90]
        second = read(cif(cell, cmce, 64, operations=operations_of(304)))
        assert len(first.structure) == len(second.structure) == 28
        lengths = [np.sort(np.hstack(bond_lengths(phase))) for phase in (first, second)]
        assert np.allclose(*lengths)
        # The bonds of copper in the plane
        assert np.isclose(lengths[0][0], 1.90, atol=0.01)

    @pytest.mark.parametrize(("occupancy", "expected"), [(0.5, 1), (0.3, 0.6)])
    def test_split_site(self, read, occupancy, expected):
        rows = [("Ti1", "Ti", 0.5, 0.5, 0.49, occupancy), ("O1", "O", 0, 0, 0, 1)]
        text = cif([4.1, 4.1, 4, 90, 90, 90], rows, 123, columns=("occupancy",))
        again = text + f"Ti2 Ti 0.5 0.5 0.51 {occupancy}\n"
        for phase in (read(text), read(again)):
            titanium = [atom for atom in phase.structure if atom.element == "Ti"]
            assert [atom.occupancy for atom in titanium] == pytest.approx([expected])
            assert np.allclose(titanium[0].xyz, 0.5)

    # A bug when written: the sum of as many parts as there are operations is more than one.
    @pytest.mark.parametrize("number", [166, 191, 221, 225, 229])
    def test_full_sites_can_be_simulated(self, read, number):
        cell = (3.6, 3.6, 3.6, 90, 90, 90) if number > 194 else (3.6, 3.6, 9, 90, 90, 120)
        phase = read(cif(cell, [("Si1", "Si", 0, 0, 0)], number))
        assert {atom.occupancy for atom in phase.structure} == {1}
        check_phase(phase)

    def test_split_site_that_is_full(self, read):
        rows = [("Ti1", "Ti", 0.5, 0.5, 0.49, 1), ("O1", "O", 0, 0, 0, 1)]
        text = cif([4.1, 4.1, 4, 90, 90, 90], rows, 123, columns=("occupancy",))
        with pytest.warns(
            UserWarning, match="2 images of Ti1 .*0.080 angstrom.* sum to 2"
        ) as record:
            phase = read(text)
        assert [i.filename for i in record if "images" in str(i.message)] == [__file__]
        assert [atom.occupancy for atom in phase.structure] == [1, 1]

    def test_byte_order_mark(self, read):
        text = "\ufeff" + cif([2.87] * 3 + [90] * 3, [("Fe", "Fe", 0, 0, 0)], 229)
        assert len(read(text).structure) == 2

    def test_equivalent_occupancies_at_a_rounding_edge(self):
        sites = (([0] * 3, 0.33349), ([0.5] * 3, 0.33351))
        atoms = [Atom("Fe", xyz, occupancy=i, Uisoequiv=0.005) for xyz, i in sites]
        phase = phase_from_structure(Structure(atoms, Lattice(2.87, 2.87, 2.87, 90, 90, 90)))
        assert phase.space_group.number == 229
        assert np.allclose([atom.occupancy for atom in phase.structure], 0.3335)


class TestCifErrors:
    @pytest.mark.parametrize(
        ("old", "new", "match"),
        [
            ("_cell_length_a 4.05", "_cell_length_a 4,05", "_cell_length_a '4,05' is not a number"),
            ("0.5 0.25", "1/2 0.25", "_atom_site_fract_x '1/2' is not a number; write it with"),
            ("0.5 0.25", "0.5 0,25", "_atom_site_fract_y '0,25'"),
            ("0.9 0.01", "0.9a 0.01", "_atom_site_occupancy '0.9a'"),
            ("0.9 0.01", "0.9 0.0.1", "_atom_site_U_iso_or_equiv '0.0.1'"),
            ("Al 0.02", "Al 0,02", "_atom_site_aniso_B_11 '0,02'"),
            ("Al 0.02", "Al2 0.02", "displacement of 'Al2' .* not in the list of atoms"),
        ],
    )
    def test_values(self, read, old, new, match):
        columns = ("occupancy", "U_iso_or_equiv")
        rows = [("Al", "Al", 0.5, 0.25, 0, 0.9, 0.01)]
        text = cif([4.05] * 3 + [90] * 3, rows, 225, columns=columns)
        text += "loop_\n_atom_site_aniso_label\n_atom_site_aniso_B_11\nAl 0.02\n"
        assert text.count(old) == 1
        with pytest.raises(ValueError, match=match):
            read(text.replace(old, new))

    def test_numbers(self, read):
        rows = [("Na", "Na", "0.", "+.0(1)", "0e0", "?"), ("Cl", "Cl", ".5", "5E-1", "0.50()", ".")]
        cell = ["5.64(2)"] * 3 + [90] * 3
        assert len(read(cif(cell, rows, 225, columns=("occupancy",))).structure) == 8

    @pytest.mark.parametrize(
        ("number", "symbol"), [(64, "C m c q"), (14, "P 21/q"), (2, "C -1"), (67, "A e m m")]
    )
    def test_unknown_setting(self, read, number, symbol):
        match = f"'{symbol}' is not .* one setting of space group {number}; list the symmetry"
        with pytest.raises(ValueError, match=match):
            read(cif([4] * 3 + [90] * 3, [("Al", "Al", 0, 0, 0)], number, symbol))

    @pytest.mark.parametrize("symbol", ["B b c b", "B b a b", "B b e b"])
    def test_origin_choice_with_double_glide(self, read, symbol):
        with pytest.raises(ValueError, match="68 has two origin choices"):
            read(cif([4] * 3 + [90] * 3, [("Al", "Al", 0, 0, 0)], 68, symbol))

    def test_no_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="no.cif"):
            phase_from_cif(tmp_path / "no.cif")

    @pytest.mark.parametrize(
        "text", ["", "Hello\n", "\0\1\2", "data_test\nloop_\n_atom_site_label\n"]
    )
    def test_no_cif(self, read, text):
        with pytest.raises(ValueError, match="crystal.cif' (is not a CIF|has no atoms)"):
            read(text)

    def test_no_atoms(self, read):
        with pytest.raises(ValueError, match="has no atoms"):
            read("data_test\n_cell_length_a 4\n")

    def test_no_cell(self, read):
        text = cif([4] * 3 + [90] * 3, [("Al", "Al", 0, 0, 0)], 225)
        text = "\n".join(line for line in text.splitlines() if "_cell" not in line)
        with pytest.raises(ValueError, match="has no unit cell"):
            read(text)

    def test_no_coordinates(self, read):
        with pytest.raises(ValueError, match="misses fractional coordinates; give .*fract_z"):
            read(cif([4] * 3 + [90] * 3, [("Al", "Al", 0, 0, "?")], 225))

    @pytest.mark.parametrize(
        ("symmetry", "match"),
        [
            ({"number": 231}, "'231' in the CIF is not in 1-230"),
            ({"symbol": "Q m -3 m"}, "'Q m -3 m' is not a Hermann-Mauguin symbol"),
            ({"operations": ["x,y,z", "x,y"]}, "symmetry in the CIF is not valid"),
            ({"operations": ["x,y,__import__('os')"]}, "symmetry in the CIF is not valid"),
        ],
    )
    def test_symmetry(self, read, symmetry, match):
        with pytest.raises(ValueError, match=match):
            read(cif([4] * 3 + [90] * 3, [("Al", "Al", 0, 0, 0)], **symmetry))

    def test_other_space_group(self, read):
        rows = [("Na", "Na", 0, 0, 0), ("Cl", "Cl", 0.5, 0.5, 0.5)]
        text = cif([4] * 3 + [90] * 3, rows, 225, operations=operations_of(517))
        match = r"225 \(Fm-3m\) is stated, but the atoms show 221 \(Pm-3m\).*space_group=221"
        with pytest.raises(ValueError, match=match):
            read(text)
        assert read(text, space_group=221).space_group.number == 221
        with pytest.raises(ValueError, match=r"229 \(Im-3m\) is stated"):
            read(text, space_group=229)

    @pytest.mark.parametrize("symbol", ["X", "Xx", "Wat", "Ow", "."])
    def test_element(self, read, symbol):
        with pytest.raises(ValueError, match=f"'{symbol}' of A1 .* is not an element"):
            read(cif([4] * 3 + [90] * 3, [("A1", symbol, 0, 0, 0)], 221))

    def test_overlap(self, read):
        rows = [("Fe1", "Fe", 0, 0, 0), ("Al2", "Al", 0.1, 0, 0)]
        with pytest.raises(ValueError, match=r"Fe1 at \(0, 0, 0\) and Al2 .* 0.400 angstrom apart"):
            read(cif([4] * 3 + [90] * 3, rows, 1))
        rows = [("H1", "H", 0.3, 0.1, 0.2, 0.5), ("H2", "H", 0.4, 0.1, 0.2, 0.5)]
        columns = ("occupancy",)
        assert len(read(cif([2.2] * 3 + [90] * 3, rows, 2, columns=columns)).structure) == 4

    @pytest.mark.parametrize("occupancies", [(0.7, 0.4), (1, 1)])
    def test_overfull_site(self, read, occupancies):
        rows = [("Fe1", "Fe", 0, 0, 0, occupancies[0]), ("Al2", "Al", 0, 0, 0, occupancies[1])]
        match = rf"Fe1 .* and Al2 .* share a site .* sum to {sum(occupancies)}"
        with pytest.raises(ValueError, match=match):
            read(cif([3] * 3 + [90] * 3, rows, 221, columns=("occupancy",)))

    def test_rounded_occupancies(self, read):
        rows = [("Fe1", "Fe", 0, 0, 0, 0.667), ("Al2", "Al", 0, 0, 0, 0.334)]
        assert len(read(cif([3] * 3 + [90] * 3, rows, 221, columns=("occupancy",))).structure) == 2

    @pytest.mark.parametrize("occupancy", [0, -0.5, 1.2])
    def test_occupancy(self, read, occupancy):
        rows = [("Fe1", "Fe", 0, 0, 0, occupancy)]
        with pytest.raises(ValueError, match=rf"occupancy {float(occupancy)} of Fe1 .* \(0, 1\]"):
            read(cif([3] * 3 + [90] * 3, rows, 221, columns=("occupancy",)))

    @pytest.mark.parametrize(
        "parameters", [[0] * 3 + [90] * 3, [3] * 3 + [60, 60, 150], ["?", 3, 3, 90, 90, 90]]
    )
    def test_lattice(self, read, parameters):
        with pytest.raises(
            ValueError, match=re.escape(f"cell {', '.join(map(str, parameters))} must")
        ):
            read(cif(parameters, [("Fe1", "Fe", 0, 0, 0)], 229))

    def test_negative_length(self, read):
        with pytest.raises(ValueError, match="-4, -4, -4 must be lengths in angstrom"):
            read(cif([-4] * 3 + [90] * 3, [("Fe1", "Fe", 0, 0, 0)], 229))

    def test_lattice_in_nanometre(self, read):
        rows = [("Na", "Na", 0, 0, 0), ("Cl", "Cl", 0.5, 0.5, 0.5)]
        with pytest.raises(ValueError, match="0.564, 0.564, 0.564.* in angstrom.*by 10"):
            read(cif([0.564] * 3 + [90] * 3, rows, 225))

    @pytest.mark.parametrize("a", [1.55, 10])
    def test_volume_per_atom(self, read, a):
        with pytest.raises(ValueError, match="cubic angstrom, which must be in .* in angstrom"):
            read(cif([a] * 3 + [90] * 3, [("Fe1", "Fe", 0, 0, 0)], 229))

    def test_too_many_atoms(self, read):
        rows = [(f"C{i}", "C", 0.03 + 0.04 * i, 0.11, 0.23) for i in range(4)]
        with pytest.raises(ValueError, match=f"6.. atoms.*affordable up to {MAX_ATOMS}"):
            read(cif([30] * 3 + [90] * 3, rows, 225))

    def test_too_many_in_the_conventional_cell(self):
        n = 130
        rng = np.random.default_rng(1)
        atoms = [Atom("C", xyz, Uisoequiv=0.01) for xyz in _spread(rng, n)]
        # Primitive cell of a face-centred lattice in the group Fmm2 would hold four times as many
        images = [Atom(atom, xyz=[atom.y, atom.x, atom.z]) for atom in atoms]
        structure = Structure(atoms + images, Lattice(14, 14, 14, 90, 90, 100))
        with pytest.raises(ValueError, match=f"520 atoms.*{MAX_ATOMS}"):
            phase_from_structure(structure)

    @pytest.mark.parametrize("package", ["spglib", "ebsdsim.crystal.reader"])
    def test_missing_package(self, read, monkeypatch, package):
        monkeypatch.setitem(sys.modules, package, None)
        name = package.split(".")[0]
        with pytest.raises(ImportError, match=rf"needs {name}.*kikuchipy-cnn\[simulation\]"):
            read(cif([2.87] * 3 + [90] * 3, [("Fe", "Fe", 0, 0, 0)], 229))


def _spread(rng, n):
    """Positions on a grid, displaced at random, on one side of the plane x = y."""
    grid = [(i, j, k) for i, j, k in product(range(10), repeat=3) if i > j + 1]
    return (np.array(grid)[rng.permutation(len(grid))[:n]] + 0.5 * rng.random((n, 3))) / 10


def quartz_152():
    lattice = Lattice(4.9137, 4.9137, 5.4047, 90, 90, 120)
    atoms = []
    for element, xyz in (("Si", [0.4697, 0, 1 / 3]), ("O", [0.4135, 0.2669, 0.2142])):
        images = [np.mod(op.R @ xyz + op.t, 1) for op in standard_space_group(152).symop_list]
        for image in np.unique(np.round(images, 8), axis=0):
            atoms.append(Atom(element, image, Uisoequiv=0.01))
    return phase_from_structure(Structure(atoms, lattice))


class TestFromStructure:
    def test_name(self):
        structure = Structure(
            [Atom("Fe", [0, 0, 0], Uisoequiv=0.005)], Lattice(3, 3, 3, 90, 90, 90)
        )
        assert phase_from_structure(structure).name == ""
        structure.title = "iron"
        assert phase_from_structure(structure).name == "iron"
        assert phase_from_structure(structure, name="other").name == "other"

    def test_leaves_the_structure_alone(self):
        structure = quartz_152().structure
        before = structure.xyz.copy()
        phase = phase_from_structure(structure)
        assert np.array_equal(structure.xyz, before)
        assert phase.structure is not structure

    def test_no_atoms(self):
        with pytest.raises(ValueError, match="has no atoms"):
            phase_from_structure(Structure(lattice=Lattice(3, 3, 3, 90, 90, 90)))

    def test_coordinates(self):
        atom = Atom("Fe", [np.nan, 0, 0], Uisoequiv=0.005)
        with pytest.raises(ValueError, match="Fe at .* finite"):
            phase_from_structure(Structure([atom], Lattice(3, 3, 3, 90, 90, 90)))

    @pytest.mark.parametrize(("number", "error"), [(231, ValueError), ("225", TypeError)])
    def test_space_group(self, number, error):
        with pytest.raises(error, match="must be .*in 1-230"):
            phase_from_structure(quartz_152().structure, number)

    def test_asymmetric_unit_only(self):
        structure = Structure(
            [Atom("Na", [0, 0, 0], Uisoequiv=0.01), Atom("Cl", [0.5] * 3, Uisoequiv=0.01)],
            Lattice(5.64, 5.64, 5.64, 90, 90, 90),
        )
        with pytest.raises(ValueError, match="225 .* is stated.*all of the cell are needed"):
            phase_from_structure(structure, 225)

    def test_tolerance(self):
        lattice = Lattice(4.0, 4.0, 4.004, 90, 90, 90)
        structure = Structure(
            [Atom("Cs", [0, 0, 0], Uisoequiv=0.01), Atom("Cl", [0.5, 0.5, 0.5], Uisoequiv=0.01)],
            lattice,
        )
        phase = phase_from_structure(structure)
        assert phase.space_group.number == 221
        assert np.ptp(phase.structure.lattice.abcABG()[:3]) < 1e-12
        assert phase_from_structure(structure, tolerance=1e-4).space_group.number == 123

    def test_lattice_is_aligned_as_in_orix(self):
        # orix turns a lattice that is not, but leaves the atoms behind
        structure = quartz_152().structure
        assert np.allclose(structure.lattice.base[0], [structure.lattice.a, 0, 0])
        assert np.allclose(structure.lattice.recbase[:2, 2], 0)

    def test_mean_displacement_of_equivalent_atoms(self):
        lattice = Lattice(2.87, 2.87, 2.87, 90, 90, 90)
        atoms = [Atom("Fe", [0] * 3, Uisoequiv=0.004), Atom("Fe", [0.5] * 3, Uisoequiv=0.006)]
        phase = phase_from_structure(Structure(atoms, lattice))
        assert phase.space_group.number == 229
        assert np.allclose([atom.Uisoequiv for atom in phase.structure], 0.005)

    def test_round_trip_of_the_catalogue(self):
        for name, phase in list(load_phases().items())[::4]:
            number = phase.space_group.number
            again = phase_from_structure(phase.structure, number)
            assert again.name == name
            assert again.space_group.number == number
            assert len(again.structure) == len(phase.structure)
            expected = np.sqrt(intensities(phase))
            assert np.allclose(np.sqrt(intensities(again)), expected, atol=1e-3 * expected.max())
