import re
import tomllib
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from diffsims.crystallography import ReciprocalLatticeVector

from kikuchipy_cnn.simulation import phases as module
from kikuchipy_cnn.simulation.phases import load_phase_table, load_phases, phase_from_record

PAPER_MATERIALS = {
    221: ("FeAl", "NiAl", "Ni3Al", "FeNi3"),
    223: ("Cr3Si", "Mo3Si"),
    225: ("Ni", "Al", "NbC", "TaC", "TiC"),
    227: ("Si", "Ge"),
    229: ("W", "Ta", "Fe-bcc"),
    230: ("Al4CoNi2", "Al4Ni3"),
}
# g / mol
MASS = {
    "Al": 26.982, "C": 12.011, "Cl": 35.45, "Fe": 55.845, "Mg": 24.305, "Na": 22.990, "Nb": 92.906,
    "Ni": 58.693, "O": 15.999, "Si": 28.085, "Sn": 118.71, "Ti": 47.867, "W": 183.84, "Y": 88.906,
}  # fmt: skip


@pytest.fixture(scope="module")
def table():
    return load_phase_table()


@pytest.fixture(scope="module")
def phases():
    return load_phases()


def periodic_difference(first, second):
    difference = first[:, np.newaxis] - second
    return difference - difference.round()


def distances(structure):
    """Shortest distances between all pairs of atoms in angstrom, inf for an atom and itself."""
    difference = periodic_difference(structure.xyz, structure.xyz)
    lengths = np.linalg.norm(difference, axis=-1) * structure.lattice.a
    lengths[lengths < 1e-3] = np.inf
    return lengths


def contents(structure):
    """Number of atoms of each element in the unit cell."""
    counter = Counter()
    for atom in structure:
        counter[atom.element] += atom.occupancy
    return counter


def formula_contents(formula):
    parts = re.findall(r"([A-Z][a-z]?)(\d*)", formula)
    return {symbol: int(number or 1) for symbol, number in parts}


class TestTable:
    @pytest.mark.parametrize("space_group", PAPER_MATERIALS)
    def test_materials_of_the_papers(self, table, space_group):
        for name in PAPER_MATERIALS[space_group]:
            assert table[name].space_group == space_group

    def test_number_of_phases(self, table):
        counts = Counter(record.space_group for record in table.values())
        assert set(counts) == set(PAPER_MATERIALS)
        assert min(counts.values()) >= 15

    def test_no_structure_twice(self, table):
        structures = Counter(
            (record.space_group, round(record.a, 2), frozenset(site[:4] for site in record.atoms))
            for record in table.values()
        )
        assert max(structures.values()) == 1

    def test_every_phase_has_a_source(self, table):
        assert all(record.source and record.prototype for record in table.values())

    @pytest.mark.parametrize(
        "name, desired", [("NiAl", 20.5), ("Ni3Al", 24.25), ("Y3Al5O12", 13.9), ("W", 74)]
    )
    def test_mean_atomic_number(self, table, name, desired):
        assert np.isclose(table[name].mean_atomic_number, desired)

    def test_mean_atomic_number_of_mixed_site(self, table):
        desired = (4 * 13 + 27 + 2 * 28) / 7
        assert np.isclose(table["Al4CoNi2"].mean_atomic_number, desired, atol=1e-5)


class TestPhases:
    def test_names(self, table, phases):
        assert list(phases) == list(table)
        assert all(phase.name == name for name, phase in phases.items())

    @pytest.mark.parametrize(
        "name, desired",
        [("Ni", 4), ("Si", 8), ("W", 2), ("NiAl", 2), ("Cr3Si", 8), ("MgAl2O4", 56), ("MgCu2", 24),
         ("Y2Ti2O7", 88), ("Cr23C6", 116), ("Ir3Ge7", 40), ("Y3Al5O12", 160), ("Al4Ni3", 112)],
    )  # fmt: skip
    def test_number_of_atoms(self, phases, name, desired):
        assert len(phases[name].structure) == desired

    @pytest.mark.parametrize(
        "name, desired",
        [("Si", 2.352), ("C-diamond", 1.545), ("Ni", 2.492), ("W", 2.741), ("NaCl", 2.820),
         ("MgCu2", 2.487), ("Mg3Al2Si3O12", 1.634), ("Y3Al5O12", 1.761), ("Y2Ti2O7", 1.953)],
    )  # fmt: skip
    def test_shortest_bond(self, phases, name, desired):
        assert np.isclose(distances(phases[name].structure).min(), desired, atol=2e-3)

    @pytest.mark.parametrize(
        "name, desired",
        [("Ni", 8.91), ("Al", 2.70), ("W", 19.25), ("Fe-bcc", 7.87), ("Si", 2.33), ("NiAl", 5.91),
         ("Nb3Sn", 8.92), ("TiC", 4.92), ("NaCl", 2.165), ("MgO", 3.58), ("Fe3O4", 5.20),
         ("Y3Al5O12", 4.55)],
    )  # fmt: skip
    def test_density(self, phases, name, desired):
        structure = phases[name].structure
        mass = sum(number * MASS[symbol] for symbol, number in contents(structure).items())
        # Avogadro's number times cubic angstrom in cubic centimetre
        assert np.isclose(mass / (0.602214 * structure.lattice.volume), desired, rtol=5e-3)

    def test_contents_match_formulas(self, table, phases):
        for name, record in table.items():
            atoms = contents(phases[name].structure)
            formula = formula_contents(record.formula)
            assert atoms.keys() == formula.keys(), name
            units = [atoms[symbol] / formula[symbol] for symbol in formula]
            assert np.allclose(units, max(1, round(units[0])), rtol=1e-5), name

    def test_atoms_do_not_overlap(self, phases):
        for name, phase in phases.items():
            structure = phase.structure
            difference = periodic_difference(structure.xyz, structure.xyz)
            same = np.linalg.norm(difference, axis=-1) < 1e-3
            assert (same @ structure.occupancy <= 1 + 1e-6).all(), name
            if len(structure) > 1:
                assert distances(structure).min() > 1.5, name

    def test_no_smaller_cell(self, phases):
        # Point group m-3m is maximal, so a structure of higher symmetry has more translations
        for name, phase in phases.items():
            structure = phase.structure
            rarest = min(contents(structure).items(), key=lambda item: item[1])[0]
            xyz, element = structure.xyz, np.array(structure.element)
            candidates = xyz[element == rarest] - xyz[element == rarest][0]
            translations = 0
            for shift in candidates:
                same = (np.abs(periodic_difference(xyz + shift, xyz)) < 1e-4).all(axis=-1)
                translations += (same & (element[:, np.newaxis] == element)).any(axis=1).all()
            group = phase.space_group
            desired = group.num_sym_equiv // group.num_primitive_sym_equiv
            assert translations == desired, name

    @pytest.mark.parametrize("name", ["Si", "MgAl2O4", "Al4Ni3"])
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

    def test_lattice(self, table, phases):
        for name, phase in phases.items():
            assert np.allclose(phase.structure.lattice.base, table[name].a * np.eye(3)), name
            assert phase.space_group.number == table[name].space_group
            assert phase.point_group.name == "m-3m"

    @pytest.mark.parametrize("name", ["Si", "MgCu2", "Ni", "Cr3Si", "Ir3Ge7"])
    def test_further_expansion_adds_no_atoms(self, phases, name):
        phase = phases[name]
        expanded = phase.expand_asymmetric_unit().structure
        assert contents(expanded) == contents(phase.structure)

        vectors = ReciprocalLatticeVector(phase.deepcopy(), hkl=(1, 1, 1))
        vectors.sanitise_phase()
        assert contents(vectors.phase.structure) == contents(phase.structure)


class TestInvalid:
    @pytest.mark.parametrize(
        "change, match",
        [
            ({"space_group": 224}, "space_group 224 must be one of"),
            ({"a": -3.5}, "a -3.5 must be a positive length"),
            ({"a": np.nan}, "a nan must be a positive length"),
            ({"atoms": ()}, "must have at least one site"),
            ({"atoms": (("Ni", 0.0, 0.0, 0.0),)}, "must be .symbol, x, y, z"),
            ({"atoms": (("Xx", 0.0, 0.0, 0.0, 1.0, 0.3),)}, "'Xx' is not an element symbol"),
            ({"atoms": (("Ni", np.inf, 0.0, 0.0, 1.0, 0.3),)}, "must have finite coordinates"),
            ({"atoms": (("Ni", 0.0, 0.0, 0.0, 1.1, 0.3),)}, "1.1 must be an occupancy"),
            ({"atoms": (("Ni", 0.0, 0.0, 0.0, 1.0, -0.3),)}, "-0.3 must be a B_iso"),
        ],
    )
    def test_invalid_value(self, table, change, match):
        with pytest.raises(ValueError, match=f"Phase 'Ni': .*{match}"):
            replace(table["Ni"], **change)

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

    def test_changed_record(self, table):
        phase = phase_from_record(replace(table["Ni"], name="big", a=4.0))
        assert phase.name == "big"
        assert np.isclose(phase.structure.lattice.a, 4)

    def test_public_names(self):
        assert all(hasattr(module, name) for name in module.__all__)
