import numpy as np
import pytest
from diffpy.structure import Atom, Lattice, Structure
from orix.crystal_map import Phase, PhaseList

from kikuchipy_cnn import LabelClasses, SpaceGroupClasses
from kikuchipy_cnn.prior import (
    CONTRADICTION,
    apply_prior,
    as_prior,
    composition_prior,
    contradiction_warning,
)
from kikuchipy_cnn.simulation.phases import load_phase_table, phase_from_record

GROUPS = SpaceGroupClasses((221, 225, 229))
NAMES = LabelClasses(("Al", "Ni", "Ni3Al"), (225, 225, 221))


def phase(name, space_group, atoms, lattice=(4, 4, 4, 90, 90, 90)):
    atoms = [
        Atom(*atom) if len(atom) == 2 else Atom(*atom[:2], occupancy=atom[2]) for atom in atoms
    ]
    return Phase(name, space_group, structure=Structure(atoms, Lattice(*lattice)))


def phase_of_catalogue(name):
    return phase_from_record(load_phase_table()[name])


class TestAsPrior:
    @pytest.mark.parametrize(
        ("prior", "classes", "expected"),
        [
            ([225], GROUPS, [0, 1, 0]),
            ((229, 221), GROUPS, [0.5, 0, 0.5]),
            ({221, 225, 229}, GROUPS, [1 / 3, 1 / 3, 1 / 3]),
            (np.array([221, 225]), GROUPS, [0.5, 0.5, 0]),
            ([225, 225, 229], GROUPS, [0, 0.5, 0.5]),
            ({225: 3, 229: 1}, GROUPS, [0, 0.75, 0.25]),
            ({"Ni": 0.2, "Al": 0.2}, NAMES, [0.5, 0.5, 0]),
            (["Ni3Al"], NAMES, [0, 0, 1]),
            (np.array([1.0, 1.0, 2.0]), GROUPS, [0.25, 0.25, 0.5]),
        ],
    )
    def test_same_in_all_points(self, prior, classes, expected):
        weights = as_prior(prior, classes, n_points=5)
        assert weights.shape == (1, 3) and weights.dtype == np.float64
        np.testing.assert_allclose(weights[0], expected)

    def test_other_in_each_point(self):
        weights = np.arange(1, 19).reshape(2, 3, 3)
        expected = weights.reshape(6, 3) / weights.reshape(6, 3).sum(axis=1, keepdims=True)
        for given in (weights, weights.reshape(6, 3), weights.tolist(), weights.astype("float32")):
            np.testing.assert_allclose(as_prior(given, GROUPS, 6), expected, rtol=1e-6)

    def test_again(self):
        """What was returned is a prior too."""
        weights = as_prior({225: 3, 229: 1}, GROUPS, 6)
        np.testing.assert_array_equal(as_prior(weights, GROUPS, 6), weights)

    def test_callers_array_stays(self):
        given = np.array([[2.0, 2.0, 4.0]])
        as_prior(given, GROUPS, 1)
        assert given.tolist() == [[2, 2, 4]]

    @pytest.mark.parametrize(
        ("prior", "classes", "match"),
        [
            ([225, 227], GROUPS, "has 227, but .* 221, 225, 229"),
            ({"Ni": 1, "NiAl": 1}, NAMES, "has 'NiAl', but .* 'Al', 'Ni', 'Ni3Al'"),
            # Names are for classes that have no number.
            (["Fm-3m"], GROUPS, "'Fm-3m'"),
            ([0.2, 0.5, 0.3], GROUPS, "array of floats"),
            ("Ni", NAMES, r"give a list .*\['Ni'\]"),
            (225, GROUPS, r"give a list .*\[225\]"),
            ({225: -1.5, 229: 1}, GROUPS, "weight -1.5 of Fm-3m"),
            ({225: np.nan}, GROUPS, "weight nan of Fm-3m"),
            (np.array([[1, 1, 1], [1, 1, np.inf]]), GROUPS, "weight inf of Im-3m in row 1"),
            (np.array([[1, 1, 1], [0, 0, 0]]), GROUPS, "impossible in row 1 of 2"),
            ([], GROUPS, "impossible in row 0"),
            ({225: 0}, GROUPS, "impossible in row 0"),
            (np.ones((2, 4)), GROUPS, r"shape \(2, 4\) must have 3 columns"),
            (np.ones((3, 3)), GROUPS, r"shape \(3, 3\) .* one row or 2"),
            # As many values, in the wrong order.
            (np.ones((3, 2)), GROUPS, r"shape \(3, 2\) must have 3 columns"),
        ],
    )
    def test_refused(self, prior, classes, match):
        with pytest.raises(ValueError, match=match):
            as_prior(prior, classes, n_points=2)


class TestApplyPrior:
    def test_by_hand(self):
        probabilities = np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1]])
        posterior, ratio = apply_prior(probabilities, np.array([[0.25, 0.75, 0]]))
        np.testing.assert_allclose(posterior, [[5 / 14, 9 / 14, 0], [1 / 25, 24 / 25, 0]])
        np.testing.assert_allclose(ratio, [3 * 0.35, 3 * 0.625])

    def test_prior_of_each_point(self):
        probabilities = np.full((2, 3), 1 / 3)
        prior = np.array([[0.2, 0.3, 0.5], [1, 0, 0]])
        posterior, ratio = apply_prior(probabilities, prior)
        np.testing.assert_allclose(posterior, prior)
        np.testing.assert_allclose(ratio, 1)

    def test_equally_likely_changes_nothing(self, rng):
        probabilities = rng.dirichlet(np.ones(4), 20)
        posterior, ratio = apply_prior(probabilities, np.full((1, 4), 0.25))
        np.testing.assert_allclose(posterior, probabilities)
        np.testing.assert_allclose(ratio, 1)

    def test_from_simulated_patterns(self, rng):
        """Posterior and ratio are those of the likelihoods that the probabilities were made of."""
        prior = np.array([[0.7, 0.3]])
        x = rng.normal(size=50)
        likelihoods = np.stack([np.exp(-((x - mean) ** 2) / 2) for mean in (0, 2)], axis=1)
        network = likelihoods / likelihoods.sum(axis=1, keepdims=True)
        posterior, ratio = apply_prior(network, prior)
        joint = likelihoods * prior
        np.testing.assert_allclose(posterior, joint / joint.sum(axis=1, keepdims=True))
        np.testing.assert_allclose(ratio, joint.sum(axis=1) / likelihoods.mean(axis=1))

    def test_nothing_is_left(self):
        """Of the second row, only less than can be told from 0."""
        probabilities = np.array([[0.0, 0.0, 1.0], [1e-200, 0.0, 1.0]])
        prior = as_prior(np.array([[0.3, 0.7, 0.0], [1e-150, 1, 0]]), GROUPS, 2)
        posterior, ratio = apply_prior(probabilities, prior)
        np.testing.assert_array_equal(posterior, prior)
        np.testing.assert_array_equal(ratio, 0)

    def test_single_precision(self):
        """Computed in double: the product cannot be told from 0 in single precision."""
        probabilities = np.array([[1e-30, 3e-30, 1]], dtype=np.float32)
        prior = np.array([[1e-20, 1e-20, 0]])
        posterior, ratio = apply_prior(probabilities, prior)
        np.testing.assert_allclose(posterior, [[0.25, 0.75, 0]], rtol=1e-5)
        assert posterior.dtype == ratio.dtype == np.float32

    def test_rows_need_not_sum_to_one_exactly(self):
        posterior, ratio = apply_prior(np.array([[0.4, 0.4]]), np.array([[0.5, 0.5]]))
        np.testing.assert_allclose(posterior, 0.5)
        np.testing.assert_allclose(ratio, 1)

    def test_unknown_stays_unknown(self):
        probabilities = np.array([[np.nan, np.nan], [0.6, 0.4]])
        posterior, ratio = apply_prior(probabilities, np.array([[0, 1]]))
        assert np.isnan(posterior[0]).all() and np.isnan(ratio[0])
        assert posterior[1].tolist() == [0, 1]

    @pytest.mark.parametrize("shape", [(3,), (2, 3), (1, 4)])
    def test_other_shapes_are_refused(self, shape):
        with pytest.raises(ValueError, match=r"must be of shape \(1, 3\) or \(4, 3\)"):
            apply_prior(np.full((4, 3), 1 / 3), np.ones(shape))


class TestContradictionWarning:
    def test_more_than_one_in_twenty(self):
        ratios = np.ones(100)
        ratios[:5] = 0.01
        ratios[5] = CONTRADICTION
        assert contradiction_warning(ratios) is None
        ratios[5] = 0.99 * CONTRADICTION
        text = contradiction_warning(ratios.reshape(10, 10))
        assert "6 of 100" in text and "without a prior" in text

    def test_only_finite_ones_count(self):
        ratios = np.full(100, np.nan)
        assert contradiction_warning(ratios) is None
        ratios[:10] = 1
        ratios[0] = 0
        assert "1 of 10 " in contradiction_warning(ratios)

    def test_wrong_prior_is_told(self, rng):
        """And a right one is not blamed."""
        rows = np.where(np.eye(3)[rng.integers(0, 2, 200)] == 1, 0.98, 0.01)
        for prior, is_right in (([221, 225], True), ([229], False)):
            _, ratios = apply_prior(rows, as_prior(prior, GROUPS, 200))
            assert (contradiction_warning(ratios) is None) == is_right


class TestCompositionPrior:
    PHASES = (
        phase("Ni", 225, [("Ni", (0, 0, 0))]),
        phase("Ni3Al", 221, [("Al", (0, 0, 0)), ("Ni", (0.5, 0.5, 0))]),
    )

    def test_by_hand(self):
        """The first composition is 0.1 from that of Ni and 0.15 from that of Ni3Al."""
        composition = {"Ni": [[0.9, 1.0]], "Al": [[0.1, 0.0]]}
        weights = composition_prior(composition, self.PHASES, GROUPS, deviation=0.1, unknown=0)
        # Both elements count, which makes two squares of each distance.
        near = np.exp(-1.0), np.exp(-2.25)
        far = 1.0, np.exp(-6.25)
        for row, (nickel, compound) in zip(weights[0], (near, far), strict=True):
            total = nickel + compound
            np.testing.assert_allclose(row, [compound / total, nickel / total, 0])
        assert weights.shape == (1, 2, 3)

    def test_unknown(self):
        composition = {"Ni": 1.0, "Al": 0.0}
        weights = composition_prior(composition, self.PHASES, GROUPS, deviation=0.01, unknown=0.3)
        np.testing.assert_allclose(weights, [0.1, 0.8, 0.1])
        default = composition_prior(composition, self.PHASES, GROUPS)
        assert default[2] == pytest.approx(0.01 / 3)

    def test_classes_by_name(self):
        """The same space group, told apart by its composition."""
        phases = [*self.PHASES, phase("Al", 225, [("Al", (0, 0, 0))])]
        composition = {"Al": np.array([0, 25, 100]), "Ni": np.array([100, 75, 0])}
        weights = composition_prior(composition, phases, NAMES, unknown=0)
        np.testing.assert_allclose(weights, [[0, 1, 0], [0, 0, 1], [1, 0, 0]], atol=1e-4)

    def test_phases_of_a_class_are_summed(self):
        phases = [*self.PHASES, phase("Ni again", 225, [("Ni", (0, 0, 0))])]
        # Midway between the phases.
        composition = {"Ni": 0.875, "Al": 0.125}
        weights = composition_prior(composition, phases, GROUPS, unknown=0)
        np.testing.assert_allclose(weights, [1 / 3, 2 / 3, 0])

    def test_unknown_composition(self):
        composition = {"Ni": [0.0, np.nan, np.inf, 1.0], "Al": [0.0, 0.5, 0.5, 0.0]}
        weights = composition_prior(composition, self.PHASES, GROUPS)
        np.testing.assert_allclose(weights[:3], 1 / 3)
        assert weights[3, 1] > 0.9

    def test_far_from_all_phases(self):
        """Densities would all underflow; the nearest phase is named."""
        composition = {"Ni": 0.0, "Al": 1.0}
        weights = composition_prior(composition, self.PHASES, GROUPS, deviation=0.001, unknown=0.0)
        np.testing.assert_allclose(weights, [1, 0, 0])

    def test_is_a_prior(self, rng):
        aluminium = rng.random((4, 5))
        weights = composition_prior(
            {"Al": aluminium, "Ni": 1 - aluminium}, self.PHASES, GROUPS, unknown=0.05
        )
        np.testing.assert_allclose(as_prior(weights, GROUPS, 20), weights.reshape(20, 3))

    @pytest.mark.parametrize("to_list", [list, lambda i: PhaseList(list(i)), lambda i: iter(i)])
    def test_collections_of_phases(self, to_list):
        composition = {"Ni": 1.0, "Al": 0.0}
        expected = composition_prior(composition, self.PHASES, GROUPS)
        found = composition_prior(composition, to_list(self.PHASES), GROUPS)
        np.testing.assert_array_equal(found, expected)

    def test_phases_of_the_catalogue_and_of_a_map(self):
        phases = {name: phase_of_catalogue(name) for name in ("Ni", "Ni3Al")}
        composition = {"Ni": [0.9, 0.8], "Al": [0.1, 0.2]}
        expected = composition_prior(composition, self.PHASES, GROUPS)
        np.testing.assert_allclose(composition_prior(composition, phases, GROUPS), expected)
        of_map = PhaseList({-1: Phase("not_indexed"), **dict(enumerate(phases.values()))})
        np.testing.assert_allclose(composition_prior(composition, of_map, GROUPS), expected)

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"composition": {}}, "no elements"),
            ({"composition": {"Ni": 1.0}}, r"\['Ni'\], but phase 'Ni3Al' has Al too"),
            ({"composition": {"Ni": [1, 1], "Al": [0]}}, r"\(2,\), 'Al': \(1,\)"),
            ({"composition": {"Ni": [1, np.nan], "Al": [0, -0.2]}}, "-0.2 of Al"),
            ({"phases": []}, "none of the space groups"),
            ({"phases": [phase("Fe3C", 62, [("Fe", (0, 0, 0))])]}, r"\[62\] are none"),
            ({"phases": [Phase("Ni", 225)]}, "Phase 'Ni' has no atoms"),
            (
                {"phases": [Phase("Ni", structure=Structure([Atom("Ni")]))]},
                "Phase 'Ni' has no space group",
            ),
            ({"phases": [phase("?", 225, [("", (0, 0, 0))])]}, "'?' has an atom of element ''"),
            ({"deviation": 0}, "deviation=0 "),
            ({"deviation": np.nan}, "deviation=nan "),
            ({"unknown": 1}, "unknown=1 "),
            ({"unknown": -0.1}, "unknown=-0.1 "),
        ],
    )
    def test_refused(self, change, match):
        arguments = {
            "composition": {"Ni": [1.0], "Al": [0.0]},
            "phases": self.PHASES,
            "classes": GROUPS,
        }
        with pytest.raises(ValueError, match=match):
            composition_prior(**(arguments | change))

    def test_refused_names(self):
        with pytest.raises(ValueError, match=r"\['nickel'\] are none of the classes Al, Ni"):
            composition_prior({"Ni": 1.0}, [phase("nickel", 225, [("Ni", (0, 0, 0))])], NAMES)


class TestExpectedComposition:
    @staticmethod
    def check(candidate, expected):
        """Compare with nickel: the ratio of two Gaussians tells where the other one is."""
        elements = sorted({"Ni", *expected})
        fractions = np.array([expected.get(i, 0) for i in elements])
        nickel = np.array([float(i == "Ni") for i in elements])
        reference = phase("Ni", 229, [("Ni", (0, 0, 0))])
        classes = SpaceGroupClasses((229, candidate.space_group.number))
        points = np.concatenate([[fractions], np.eye(len(elements))])
        composition = dict(zip(elements, points.T, strict=True))
        weights = composition_prior(
            composition, [candidate, reference], classes, deviation=0.5, unknown=0
        )
        squares = [((points - i) ** 2).sum(axis=1) for i in (nickel, fractions)]
        np.testing.assert_allclose(
            np.log(weights[:, 1] / weights[:, 0]),
            (squares[0] - squares[1]) / (2 * 0.5**2),
            atol=1e-9,
        )

    def test_ions_and_occupancies(self):
        """Wuestite with vacancies, and iron of two valences on one site."""
        atoms = [
            ("Fe2+", (0, 0, 0), 0.7),
            ("Fe3+", (0, 0, 0), 0.2),
            ("O2-", (0.5, 0.5, 0.5), 1.0),
        ]
        self.check(phase("FeO", 225, atoms), {"Fe": 0.9 / 1.9, "O": 1 / 1.9})

    def test_rounded_coordinates(self):
        """Ni3Sn: 2 Sn at 1/3, 2/3, 1/4 and 6 Ni at x, 2x, 1/4."""
        atoms = [("Sn", (0.333, 0.667, 0.25)), ("Ni", (0.8333, 0.6667, 0.25))]
        self.check(
            phase("Ni3Sn", 194, atoms, (5.3, 5.3, 4.25, 90, 90, 120)), {"Ni": 0.75, "Sn": 0.25}
        )

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            # Two origin choices.
            ("Fe3O4", {"Fe": 3 / 7, "O": 4 / 7}),
            ("zircon", {"Zr": 1 / 6, "Si": 1 / 6, "O": 4 / 6}),
            # orix turns the lattices of these.
            ("Al2O3", {"Al": 0.4, "O": 0.6}),
            ("WC", {"W": 0.5, "C": 0.5}),
        ],
    )
    def test_full_cells(self, name, expected):
        full = phase_of_catalogue(name)
        number = full.space_group.number
        lattice = full.structure.lattice
        parameters = [getattr(lattice, i) for i in ("a", "b", "c", "alpha", "beta", "gamma")]
        atoms = [(atom.element, atom.xyz) for atom in full.structure]
        unaligned = phase(name, number, atoms, parameters)
        for candidate in (
            full,
            Phase(name, number, structure=full.structure),
            unaligned,
            Phase(unaligned),
        ):
            self.check(candidate, expected)

    def test_asymmetric_unit_in_the_setting_of_orix(self):
        """Spinel in origin choice 1, which would be Mg2AlO4 in the other."""
        atoms = [("Mg", (0, 0, 0)), ("Al", (5 / 8,) * 3), ("O", (0.387,) * 3)]
        self.check(phase("spinel", 227, atoms), {"Mg": 1 / 7, "Al": 2 / 7, "O": 4 / 7})
