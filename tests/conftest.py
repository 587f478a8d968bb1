"""Shared fixtures: a small library of phases and a tiny model, made once."""

import numpy as np
import pytest

from kikuchipy_cnn import PatternTransform, SpaceGroupClasses


@pytest.fixture(scope="session")
def tiny_bundle():
    """Untrained network of the same interface as the packaged one."""
    import keras

    from kikuchipy_cnn.models import ModelBundle, build_network

    keras.utils.set_random_seed(1)
    classes = SpaceGroupClasses((221, 225, 229))
    return ModelBundle(
        name="tiny",
        architecture="tiny",
        network=build_network("tiny", (32, 32, 1), len(classes)),
        classes=classes,
        transform=PatternTransform(size=32),
        temperature=1.5,
        card="# tiny\n",
    )


@pytest.fixture
def rng():
    return np.random.default_rng(42)


@pytest.fixture(scope="session")
def label():
    """Function that labels patterns, which are black if none are given."""
    from kikuchipy_cnn.training.labelled import LabelledPatterns, PatternSource

    def label(space_groups, materials, data=None, rotation=None, file=""):
        n = len(space_groups)
        data = np.zeros((n, 40, 40), np.uint8) if data is None else data
        return LabelledPatterns(
            (PatternSource(data, file),),
            np.zeros(n, int),
            np.arange(n),
            np.array(space_groups),
            np.array(materials, object),
            np.full(n, "map", object),
            rotation=rotation,
        )

    return label


class _MakeEvaluation:
    """Makes evaluations, of ten patterns with three mistakes if nothing is given."""

    classes = SpaceGroupClasses((221, 225, 229))
    true = [221, 221, 221, 221, 225, 225, 225, 225, 229, 229]
    materials = ["Ni3Al", "Ni3Al", "FeAl", "FeAl", "Ni", "Ni", "Ni", "Ni", "Fe-bcc", "Fe-bcc"]
    predicted = [221, 225, 221, 229, 225, 225, 225, 221, 229, 229]

    def __init__(self, label):
        self._label = label

    def __call__(
        self, predicted=predicted, true=true, materials=materials, *, rotation=None, **options
    ):
        from kikuchipy_cnn.evaluation import Evaluation

        patterns = self._label(true, materials, rotation=rotation)
        probabilities = self._probabilities(predicted)
        return Evaluation(patterns, self.classes, "space group", probabilities, **options)

    def _probabilities(self, predicted):
        """0.75 for the predicted class, half of the rest for each other; none without one."""
        rows = np.full((len(predicted), len(self.classes)), 0.125, np.float32)
        for row, number in zip(rows, predicted, strict=True):
            if number is None:
                row[:] = np.nan
            else:
                row[self.classes.index(number)] = 0.75
        return rows


@pytest.fixture(scope="session")
def make(label):
    return _MakeEvaluation(label)


@pytest.fixture(scope="session")
def gallium_nitride():
    """CIF of a polar hexagonal crystal, with a place for its symmetry."""
    return """data_GaN
_cell_length_a 3.19
_cell_length_b 3.19
_cell_length_c 5.189
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 120
{symmetry}
loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_B_iso_or_equiv
Ga 0.33333 0.66667 0.0 0.3
N 0.33333 0.66667 0.377 0.4
"""
