import re
import tomllib
from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import spglib
from diffsims.crystallography import ReciprocalLatticeVector
from ebsdsim.crystal.elements import ATOMIC_NUMBERS, atomic_weight

from kikuchipy_cnn.simulation import phases as module
from kikuchipy_cnn.simulation.phases import (
    PhaseRecord,
    load_phase_table,
    load_phases,
    phase_from_record,
)
from kikuchipy_cnn.simulation.phases.crystallography import is_forbidden, structure_factors

pytestmark = pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")

CLASSES = range(221, 231)
PAPER_MATERIALS = {
    221: ("FeAl", "NiAl", "Ni3Al", "FeNi3"),
    223: ("Cr3Si", "Mo3Si"),
    225: ("Ni", "Al", "NbC", "TaC", "TiC"),
    227: ("Si", "Ge"),
    229: ("W", "Ta", "Fe-bcc"),
    230: ("Al4CoNi2", "Al4Ni3"),
}
# g / cm^3, of handbooks
DENSITIES = {
    "Ni": 8.91, "Al": 2.70, "W": 19.25, "Fe-bcc": 7.87, "Si": 2.33, "NiAl": 5.91, "Nb3Sn": 8.92,
    "TiC": 4.92, "NaCl": 2.165, "MgO": 3.58, "Fe3O4": 5.20, "Y3Al5O12": 4.55, "Cu2O": 6.10,
    "UBe13": 4.37, "kyanite": 3.67, "ZrO2-baddeleyite": 5.83, "diopside": 3.28,
    "FeS2-marcasite": 4.89, "Fe3C": 7.69, "forsterite": 3.22, "aragonite": 2.93, "CaTiO3": 4.04,
    "U-alpha": 19.05, "TiSi2-C54": 4.07, "CaWO4": 6.11, "PbTiO3": 7.97, "CuFeS2": 4.19,
    "TiO2-rutile": 4.25, "SnO2": 6.99, "MoSi2": 6.26, "In": 7.31, "Sn-beta": 7.29,
    "TiO2-anatase": 3.89, "zircon": 4.67, "dolomite": 2.87, "ilmenite": 4.79, "Te": 6.24,
    "quartz": 2.65, "LiNbO3": 4.64, "Bi": 9.80, "Sb": 6.69, "Al2O3": 3.98, "Fe2O3": 5.26,
    "Cr2O3": 5.22, "calcite": 2.71, "SiC-4H": 3.21, "SiC-6H": 3.21, "GaN": 6.10, "ZnO": 5.67,
    "AlN": 3.26, "CdS": 4.82, "WC": 15.63, "TiB2": 4.52, "Mg": 1.738, "Ti-alpha": 4.506,
    "Zr-alpha": 6.52, "Hf": 13.31, "Co-hcp": 8.86, "Zn": 7.134, "Cd": 8.65, "Be": 1.848,
    "Re": 21.02, "Ru": 12.37, "graphite": 2.26, "MoS2": 5.00, "FeSi": 6.16, "CoSb3": 7.63,
    "FeS2-pyrite": 5.01, "In2O3": 7.12, "Y2O3": 5.03, "Mn-beta": 7.24, "GaAs": 5.318,
    "ZnS": 4.09, "InP": 4.81, "GaP": 4.14, "SiC-3C": 3.21, "Mn-alpha": 7.47,
}  # fmt: skip
# Reflections that only the lattice or the glide planes of the group allow, unlike those of the
# groups that its structures are easily taken for
SUPERLATTICE = {
    "FeAl": (1, 0, 0), "Ce5Mo3O16": (4, 2, 1), "Cr3Si": (2, 1, 0), "Cu2O": (1, 1, 0),
    "ZnC2N2": (1, 1, 1), "NaZn13": (5, 3, 1), "UBe13": (5, 3, 1), "Si": (1, 1, 1),
    "TeO6H6": (7, 3, 1), "WNi6-model": (5, 3, 1), "Al2Ni3-model": (5, 3, 1),
    "AlCo3-model": (5, 3, 1), "Al4Ni3": (2, 1, 1), "Mg": (1, 0, 1), "Al3Ti": (1, 0, 1),
}  # fmt: skip
SETTINGS = {  # by spglib's name
    "2": "origin choice 2",
    "H": "hexagonal axes",
    "b": "unique axis b",
    "b1": "unique axis b, cell choice 1",
    "": "",
}
LIGHT = {"H", "C", "N", "O"}
LARGE = {"K", "Rb", "Cs", "Ba"}
NEIGHBOUR_CELLS = np.array(list(product((-1, 0, 1), repeat=3)))


@pytest.fixture(scope="module")
def table():
    return load_phase_table()


@pytest.fixture(scope="module")
def phases():
    return load_phases()


def periodic_difference(first, second):
    difference = first[:, np.newaxis] - second
    return difference - difference.round()


def distances(record, structure):
    """Shortest distances from the sites of the asymmetric unit (rows) to all atoms in angstrom,
    inf for an atom and itself."""
    sites = np.array([site[1:4] for site in record.atoms])
    difference = periodic_difference(sites, structure.xyz)[:, :, np.newaxis] + NEIGHBOUR_CELLS
    lengths = np.linalg.norm(difference @ structure.lattice.base, axis=-1)
    lengths[lengths < 1e-3] = np.inf
    return lengths.min(axis=-1)


def contents(structure):
    """Number of atoms of each element in the unit cell."""
    counter = Counter()
    for atom in structure:
        counter[atom.element] += atom.occupancy
    return counter


def formula_contents(formula):
    parts = re.findall(r"([A-Z][a-z]?)(\d*)", formula)
    return {symbol: int(number or 1) for symbol, number in parts}


def density(structure):
    """In g/cm^3."""
    mass = sum(n * atomic_weight(ATOMIC_NUMBERS[i]) for i, n in contents(structure).items())
    # Avogadro's number times cubic angstrom in cubic centimetre
    return mass / (0.602214 * structure.lattice.volume)


def spglib_cell(structure):
    """Cell with one species for each content of a site, be it mixed or not full."""
    sites = {}
    for atom in structure:
        position = tuple(np.mod(atom.xyz.round(6), 1))
        sites.setdefault(position, []).append((atom.element, round(atom.occupancy, 4)))
    contents = [tuple(sorted(content)) for content in sites.values()]
    species = [sorted(set(contents)).index(content) for content in contents]
    return structure.lattice.base, list(sites), species


def operations(rotations, translations):
    """Operations that compare equal if they are, up to lattice vectors."""
    # All translations are multiples of 1/24
    translations = np.mod(np.rint(24 * np.asarray(translations)), 24)
    return {
        (*np.rint(r).astype(int).ravel().tolist(), *t.astype(int).tolist())
        for r, t in zip(rotations, translations, strict=True)
    }


def database_operations():
    """Name of the setting and operations of each space group, from spglib."""
    settings = {}
    for hall_number in range(1, 531):
        group = spglib.get_spacegroup_type(hall_number)
        if group.choice in SETTINGS:
            # The first without a name is the standard one
            settings.setdefault(group.number, (SETTINGS[group.choice], hall_number))
    return {
        number: (name, operations(*spglib.get_symmetry_from_database(hall_number).values()))
        for number, (name, hall_number) in settings.items()
    }


def lattice_of_system(number):
    """Lattice parameters that the crystal system of a space group leaves free."""
    last = {"c": 7.0, "beta": 95.0, "b": 6.0, "alpha": 93.0, "gamma": 97.0}
    n_free = sum(number <= limit for limit in (194, 74, 2, 2)) + (number <= 15)
    order = ("c", "b", "beta", "alpha", "gamma")
    return {"a": 5.0} | {field: last[field] for field in order[:n_free]}


class TestTable:
    @pytest.mark.parametrize("space_group", PAPER_MATERIALS)
    def test_materials_of_the_papers(self, table, space_group):
        for name in PAPER_MATERIALS[space_group]:
            assert table[name].space_group == space_group

    def test_number_of_phases(self, table):
        counts = Counter(record.space_group for record in table.values())
        assert min(counts[number] for number in CLASSES if number != 228) >= 8
        assert counts[228] >= 4
        assert sum(counts[number] for number in CLASSES) >= 450

    def test_models_are_few(self, table):
        models = [record for record in table.values() if record.model]
        counts = Counter(record.space_group for record in models)
        assert counts == {224: 1, 228: 3}
        for record in table.values():
            assert record.model == (record.prototype == "model"), record.name
            assert record.model == record.source.startswith("model structure"), record.name

    def test_out_of_class(self, table):
        files = (module.files(module.__name__) / file for file in module._FILES)
        in_class, others = (tomllib.loads(file.read_text(encoding="utf-8")) for file in files)
        assert not any(table[name].out_of_class for name in in_class)
        assert all(table[name].out_of_class for name in others)
        assert list(table) == [*in_class, *others]
        assert len(others) >= 80

    def test_out_of_class_has_all_crystal_systems(self, phases):
        systems = Counter(
            phase.space_group.crystal_system
            for phase in phases.values()
            if phase.space_group.number not in CLASSES
        )
        assert len(systems) == 7
        assert min(number for system, number in systems.items() if system != "TRICLINIC") >= 5

    def test_no_structure_twice(self, table):
        structures = Counter(
            (
                record.space_group,
                np.round(record.lattice_parameters, 2).tobytes(),
                frozenset(site[:4] for site in record.atoms),
            )
            for record in table.values()
        )
        assert max(structures.values()) == 1

    def test_every_phase_has_a_source(self, table):
        assert all(record.source and record.prototype for record in table.values())

    @pytest.mark.parametrize(
        "name, desired",
        [("NiAl", 20.5), ("Ni3Al", 24.25), ("Y3Al5O12", 13.9), ("W", 74), ("Al2O3", 10),
         ("ice-VII", 10 / 3), ("FeCr-sigma", 25)],
    )  # fmt: skip
    def test_mean_atomic_number(self, table, name, desired):
        assert np.isclose(table[name].mean_atomic_number, desired)

    def test_mean_atomic_number_of_mixed_site(self, table):
        desired = (4 * 13 + 27 + 2 * 28) / 7
        assert np.isclose(table["Al4CoNi2"].mean_atomic_number, desired, atol=1e-5)

    def test_restricted(self, table):
        in_class = [name for name, record in table.items() if not record.out_of_class]
        assert list(load_phase_table(CLASSES)) == in_class
        assert load_phase_table(iter([225])).keys() == load_phase_table([225]).keys()
        assert load_phase_table([1]) == {}
        some = [name for name, record in table.items() if record.space_group in (2, 226)]
        assert list(load_phases((2, 226))) == some


class TestSettings:
    def test_operations_of_all_space_groups(self):
        for number, (setting, desired) in database_operations().items():
            record = PhaseRecord(
                name=str(number),
                formula="Po",
                space_group=number,
                prototype="",
                atoms=(("Po", 0.12, 0.23, 0.31, 1.0, 0.5),),
                source="",
                setting=setting,
                **lattice_of_system(number),
            )
            phase = phase_from_record(record)
            group = phase.space_group
            found = operations(*zip(*((op.R, op.t) for op in group.symop_list), strict=True))
            assert found == desired, number
            assert len(phase.structure) == len(group.symop_list), number

    def test_space_groups_found_by_spglib(self, table, phases):
        settings = database_operations()
        for name, phase in phases.items():
            dataset = spglib.get_symmetry_dataset(spglib_cell(phase.structure), symprec=1e-3)
            assert dataset.number == table[name].space_group, name
            setting, desired = settings[dataset.number]
            assert table[name].setting == setting, name
            # More would be a smaller cell or a higher symmetry, others another setting
            assert len(dataset.rotations) == len(desired), name
            assert operations(dataset.rotations, dataset.translations) == desired, name


class TestPhases:
    def test_names(self, table, phases):
        assert list(phases) == list(table)
        assert all(phase.name == name for name, phase in phases.items())

    @pytest.mark.parametrize(
        "name, desired",
        [("Ni", 4), ("Si", 8), ("W", 2), ("NiAl", 2), ("Cr3Si", 8), ("MgAl2O4", 56), ("MgCu2", 24),
         ("Y2Ti2O7", 88), ("Cr23C6", 116), ("Ir3Ge7", 40), ("Y3Al5O12", 160), ("Al4Ni3", 112),
         ("Ce5Mo3O16", 96), ("Cu2O", 6), ("NaZn13", 112), ("TeO6H6", 224), ("Cs3PW12O40", 112),
         ("Mg", 2), ("calcite", 30), ("quartz", 9), ("kyanite", 32), ("Mn-alpha", 58)],
    )  # fmt: skip
    def test_number_of_atoms(self, phases, name, desired):
        assert len(phases[name].structure) == desired

    @pytest.mark.parametrize(
        "name, desired",
        [("Si", 2.352), ("C-diamond", 1.545), ("Ni", 2.492), ("W", 2.741), ("NaCl", 2.820),
         ("MgCu2", 2.487), ("Mg3Al2Si3O12", 1.634), ("Y3Al5O12", 1.761), ("Y2Ti2O7", 1.953),
         ("Cu2O", 1.849), ("NaZn13", 2.572), ("Cs3PW12O40", 1.529), ("Mg", 3.197), ("Zn", 2.665),
         ("calcite", 1.282), ("quartz", 1.605), ("graphite", 1.423), ("kyanite", 1.622),
         ("U-alpha", 2.752), ("Bi", 3.071), ("GaAs", 2.448)],
    )  # fmt: skip
    def test_shortest_bond(self, table, phases, name, desired):
        shortest = distances(table[name], phases[name].structure).min()
        assert np.isclose(shortest, desired, atol=3e-3)

    @pytest.mark.parametrize("name", DENSITIES)
    def test_density(self, phases, name):
        assert np.isclose(density(phases[name].structure), DENSITIES[name], rtol=1e-2)

    def test_densities_are_those_of_solids(self, phases):
        for name, phase in phases.items():
            structure = phase.structure
            assert 0.5 < density(structure) < 25, name
            volume = structure.lattice.volume / sum(contents(structure).values())
            assert 5 < volume < (120 if set(structure.element) <= LARGE else 60), name

    def test_contents_match_formulas(self, table, phases):
        for name, record in table.items():
            atoms = contents(phases[name].structure)
            formula = formula_contents(record.formula)
            assert atoms.keys() == formula.keys(), name
            units = [atoms[symbol] / formula[symbol] for symbol in formula]
            assert np.allclose(units, max(1, round(units[0])), rtol=1e-5), name

    def test_atoms_do_not_overlap(self, table, phases):
        for name, phase in phases.items():
            structure = phase.structure
            difference = periodic_difference(structure.xyz, structure.xyz)
            same = np.linalg.norm(difference, axis=-1) < 1e-3
            assert (same @ structure.occupancy <= 1 + 1e-6).all(), name

            light = np.isin(structure.element, list(LIGHT))
            for (symbol, *_), lengths in zip(
                table[name].atoms, distances(table[name], structure), strict=True
            ):
                shortest = np.where(light | (symbol in LIGHT), 0.9, 1.5)
                assert (lengths > shortest).all(), name

    def test_sites_are_among_the_atoms(self, table, phases):
        # orix would turn a lattice in another alignment, but not the atoms in it
        for name, record in table.items():
            structure = phases[name].structure
            for symbol, *xyz, occupancy, _ in record.atoms:
                same = np.abs(periodic_difference(np.array([xyz]), structure.xyz)[0]) < 1e-6
                atom = structure[int(np.argmax(same.all(axis=1) & (structure.element == symbol)))]
                assert same.all(axis=1).any(), name
                assert (atom.element, atom.occupancy) == (symbol, occupancy), name

    def test_forbidden_reflections_vanish(self, phases):
        hkl = np.array(list(product(range(-3, 4), range(-3, 4), range(4))))
        for name, phase in phases.items():
            amplitudes = np.abs(structure_factors(phase, hkl))
            forbidden = is_forbidden(phase, hkl)
            assert (amplitudes[forbidden] < 1e-5 * amplitudes.max()).all(), name

    @pytest.mark.parametrize("name", SUPERLATTICE)
    def test_superlattice_reflection(self, phases, name):
        hkl = np.array([SUPERLATTICE[name], (0, 0, 0)])
        superlattice, direct = np.abs(structure_factors(phases[name], hkl))
        assert not is_forbidden(phases[name], hkl).any()
        assert superlattice > 0.01 * direct

    @pytest.mark.parametrize("name", ["Si", "MgAl2O4", "Al4Ni3", "Ce5Mo3O16", "zircon", "CaWO4"])
    def test_inversion_centre_at_origin(self, phases, name):
        structure = phases[name].structure
        same = (np.abs(periodic_difference(-structure.xyz, structure.xyz)) < 1e-6).all(axis=-1)
        element = np.array(structure.element)
        assert (same & (element[:, np.newaxis] == element)).any(axis=1).all()

    def test_site_properties(self, phases):
        phase = phases["Al4CoNi2"]
        occupancy = {atom.element: atom.occupancy for atom in phase.structure}
        assert np.isclose(occupancy["Co"], 1 / 3) and np.isclose(occupancy["Ni"], 2 / 3)
        assert np.allclose(phases["W"].structure.Bisoequiv, 0.16)
        assert np.allclose(phases["Pb"].structure.Bisoequiv, 2.2)
        assert np.allclose(phases["Zn"].structure.Bisoequiv, 1.1)

    def test_lattice(self, table, phases):
        for name, phase in phases.items():
            lattice, record = phase.structure.lattice, table[name]
            assert np.allclose(lattice.abcABG(), record.lattice_parameters), name
            # a along x and c* along z
            assert np.allclose(lattice.base[[0, 0, 1], [1, 2, 2]], 0), name
            if not record.out_of_class:
                assert np.allclose(lattice.base, record.a * np.eye(3)), name
            assert phase.space_group.number == record.space_group
            assert (phase.point_group.name == "m-3m") != record.out_of_class

    @pytest.mark.parametrize(
        "name, desired",
        [("Ni", (3.5238, 3.5238, 3.5238, 90, 90, 90)),
         ("calcite", (4.9896, 4.9896, 17.061, 90, 90, 120)),
         ("Sn-beta", (5.8318, 5.8318, 3.1819, 90, 90, 90)),
         ("U-alpha", (2.854, 5.869, 4.955, 90, 90, 90)),
         ("CuO", (4.6837, 3.4226, 5.1288, 90, 99.54, 90)),
         ("kyanite", (7.126, 7.852, 5.572, 89.99, 101.11, 106.03))],
    )  # fmt: skip
    def test_lattice_parameters(self, table, name, desired):
        assert table[name].lattice_parameters == desired

    @pytest.mark.parametrize(
        "name",
        ["Si", "MgCu2", "Ni", "Cr3Si", "Ir3Ge7", "Cu2O", "Mg", "quartz", "Bi", "CuO", "zircon",
         "kyanite"],
    )  # fmt: skip
    def test_further_expansion_adds_no_atoms(self, phases, name):
        phase = phases[name]
        expanded = phase.expand_asymmetric_unit().structure
        assert contents(expanded) == contents(phase.structure)

        vectors = ReciprocalLatticeVector(phase.deepcopy(), hkl=(1, 1, 1))
        vectors.sanitise_phase()
        assert contents(vectors.phase.structure) == contents(phase.structure)


class TestInvalid:
    @pytest.mark.parametrize(
        "name, change, match",
        [
            ("Ni", {"space_group": 0}, "space_group 0 must be a number from 1 to 230"),
            ("Ni", {"space_group": 231}, "space_group 231 must be a number from 1 to 230"),
            ("Ni", {"a": -3.5}, "a -3.5 must be a positive length"),
            ("Ni", {"a": np.nan}, "a nan must be a positive length"),
            ("Ni", {"a": np.inf}, "a inf must be a positive length"),
            ("Ni", {"b": 3.6}, "b 3.6 must be 3.5238 angstrom or left out"),
            ("Ni", {"c": np.nan}, "c nan must be 3.5238 angstrom or left out"),
            ("Ni", {"alpha": 91.0}, "alpha 91.0 must be 90.0 degrees or left out"),
            ("Mg", {"gamma": 90.0}, "gamma 90.0 must be 120.0 degrees or left out"),
            ("Mg", {"c": None}, "c None must be a positive length in angstrom"),
            ("CuO", {"beta": None}, "beta None must be a positive angle in degrees"),
            ("CuO", {"gamma": 99.5}, "gamma 99.5 must be 90.0 degrees or left out"),
            ("kyanite", {"alpha": 180.0}, "alpha 180.0 must be a positive angle"),
            ("kyanite", {"alpha": 4.0}, "alpha, beta, gamma .* must be angles that a unit cell"),
            ("Si", {"setting": ""}, "setting '' must be 'origin choice 2'"),
            ("Ni", {"setting": "origin choice 2"}, "setting 'origin choice 2' must be ''"),
            ("calcite", {"setting": "rhombohedral axes"}, "must be 'hexagonal axes'"),
            ("Ni", {"model": "no"}, "model 'no' must be true or false"),
            ("Ni", {"atoms": ()}, "must have at least one site"),
            ("Ni", {"atoms": (("Ni", 0.0, 0.0, 0.0),)}, "must be .symbol, x, y, z"),
            ("Ni", {"atoms": (("Xx", 0.0, 0.0, 0.0, 1.0, 0.3),)}, "'Xx' is not an element symbol"),
            ("Ni", {"atoms": (("Ni", np.inf, 0.0, 0.0, 1.0, 0.3),)}, "must have finite"),
            ("Ni", {"atoms": (("Ni", 0.0, 0.0, 0.0, 1.1, 0.3),)}, "1.1 must be an occupancy"),
            ("Ni", {"atoms": (("Ni", 0.0, 0.0, 0.0, 1.0, -0.3),)}, "-0.3 must be a B_iso"),
        ],
    )
    def test_invalid_value(self, table, name, change, match):
        with pytest.raises(ValueError, match=f"Phase '{name}': .*{match}"):
            replace(table[name], **change)

    @pytest.mark.parametrize(
        "entry, match",
        [
            ({}, "atoms"),
            ({"atoms": []}, "space_group"),
            ({"atoms": [], "colour": "red"}, "colour"),
            ({"atoms": 1}, "not iterable"),
        ],
    )
    def test_invalid_entry(self, monkeypatch, entry, match):
        monkeypatch.setattr(tomllib, "loads", lambda text: {"Bad": entry})
        with pytest.raises(ValueError, match=f"Phase 'Bad': .*{match}"):
            load_phase_table()

    def test_name_twice(self, monkeypatch):
        entry = {"formula": "Po", "space_group": 221, "prototype": "Po", "a": 3.34, "source": "-"}
        entry["atoms"] = [["Po", 0.0, 0.0, 0.0, 1.0, 1.0]]
        monkeypatch.setattr(tomllib, "loads", lambda text: {"Po": entry})
        with pytest.raises(ValueError, match="'Po'.* of out_of_class.toml are in another file"):
            load_phase_table()

    def test_implied_values_may_be_given(self, table):
        nickel = table["Ni"]
        full = replace(nickel, b=nickel.a, c=nickel.a, alpha=90.0, beta=90.0, gamma=90.0)
        assert full.lattice_parameters == nickel.lattice_parameters

    def test_changed_record(self, table):
        phase = phase_from_record(replace(table["Ni"], name="big", a=4.0))
        assert phase.name == "big"
        assert np.isclose(phase.structure.lattice.a, 4)

    def test_public_names(self):
        assert all(hasattr(module, name) for name in module.__all__)
