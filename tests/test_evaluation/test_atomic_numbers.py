import numpy as np
import pytest


class TestAtomicNumbers:
    def test_known_values(self, make):
        names = ["Ni3Al", "Al4CoNi2", "Fe-bcc", "C-diamond", "Fe (austenite)", "Ni0.9Al0.1"]
        found = make([221] * 6, [221] * 6, names).atomic_numbers()
        assert [found[name] for name in names] == pytest.approx(
            [24.25, (4 * 13 + 27 + 2 * 28) / 7, 26, 6, 26, 0.9 * 28 + 0.1 * 13]
        )

    def test_structure_from_the_catalogue(self, make):
        # Silicon and two oxygen atoms, which the name does not say.
        assert make([221], [221], ["quartz"]).atomic_numbers() == {"quartz": pytest.approx(10)}

    @pytest.mark.parametrize(
        "name", ["Fm-3m", "P1", "Im-3m", "FCC", "Steel", "Xy2", "", "austenite"]
    )
    def test_names_that_tell_nothing(self, make, name):
        assert np.isnan(make([221], [221], [name]).atomic_numbers()[name])

    def test_given_numbers_go_first(self, make):
        evaluation = make(materials=["steel" if i == "Fe-bcc" else i for i in make.materials])
        assert np.isnan(evaluation.by_material()[-1].atomic_number)
        known = {"steel": 25.9, "Ni": 1.0}
        scores = evaluation.accuracy_by_atomic_number(known)
        assert [(s.material, s.atomic_number) for s in scores] == [
            ("Ni", 1),
            ("FeAl", 19.5),
            ("Ni3Al", 24.25),
            ("steel", 25.9),
        ]
        assert len(evaluation.accuracy_by_atomic_number()) == 3
