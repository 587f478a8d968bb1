import numpy as np
import pytest
from diffpy.structure import Lattice
from orix.crystal_map import Phase

from kikuchipy_cnn.simulation.lambert import (
    SymmetricGrid,
    direction_to_lambert,
    lambert_to_direction,
    operations_of_phase,
    symmetric_grid,
)
from kikuchipy_cnn.simulation.phases import load_phases

HALF_WIDTH = 60


@pytest.fixture(scope="module")
def phases():
    return load_phases()


def sphere(half_width):
    axis = np.arange(-half_width, half_width + 1) / half_width
    y, x = np.meshgrid(axis, axis, indexing="ij")
    upper = lambert_to_direction(x, y)
    return np.stack([upper, upper * [1, 1, -1]])


class TestProjection:
    def test_inverse(self, rng):
        x, y = rng.uniform(-1, 1, (2, 100))
        v = lambert_to_direction(x, y)
        np.testing.assert_allclose(np.linalg.norm(v, axis=1), 1)
        assert (v[:, 2] >= 0).all()
        np.testing.assert_allclose(direction_to_lambert(v), (x, y), atol=1e-12)
        np.testing.assert_allclose(direction_to_lambert(v * [1, 1, -1]), (x, y), atol=1e-12)

    def test_known_directions(self):
        x, y = np.array([[0, 0], [1, 0], [0, -1], [1, 1], [-1, 1]]).T
        r = 0.5**0.5
        desired = [[0, 0, 1], [1, 0, 0], [0, -1, 0], [r, r, 0], [-r, r, 0]]
        np.testing.assert_allclose(lambert_to_direction(x, y), desired, atol=1e-12)

    def test_equal_area(self, rng):
        """Points that are uniform in the square are uniform on the hemisphere."""
        v = lambert_to_direction(*rng.uniform(-1, 1, (2, 20000)))
        np.testing.assert_allclose(v.mean(axis=0), [0, 0, 0.5], atol=0.015)
        np.testing.assert_allclose((v**2).mean(axis=0), 1 / 3, atol=0.01)


class TestOperations:
    @pytest.mark.parametrize(
        "name, order", [("Ni", 48), ("GaAs", 24), ("FeS2-pyrite", 24), ("Mg", 24), ("Al2O3", 12),
                        ("quartz", 6), ("TiO2-rutile", 16), ("Fe3C", 8), ("CuO", 4), ("kyanite", 2)]
    )  # fmt: skip
    def test_order(self, phases, name, order):
        operations = operations_of_phase(phases[name])
        assert operations.shape == (order, 3, 3)
        np.testing.assert_allclose(np.abs(np.linalg.det(operations)), 1)

    def test_axes_of_trigonal_groups(self, phases):
        """Quartz (P3_121) has a two-fold axis along a, and none normal to a and c."""
        operations = operations_of_phase(phases["quartz"])
        along_a = np.diag([1.0, -1, -1])
        along_b_star = np.diag([-1.0, 1, -1])
        assert np.isclose(operations, along_a, atol=1e-6).all(axis=(1, 2)).any()
        assert not np.isclose(operations, along_b_star, atol=1e-6).all(axis=(1, 2)).any()

    def test_wrong_lattice(self):
        phase = Phase("bad", space_group=225)
        phase.structure.lattice = Lattice(4, 4, 5, 90, 90, 90)
        with pytest.raises(ValueError, match="bad: the lattice .* has not the symmetry of space"):
            operations_of_phase(phase)


class TestGrid:
    @pytest.mark.parametrize(
        "name, tolerance",
        # Where the operations map the grid on itself there is nothing to interpolate.
        [("Ni", 0.12), ("GaAs", 0.12), ("FeS2-pyrite", 0.12), ("Mg", 0.12), ("quartz", 0.12),
         ("TiO2-rutile", 1e-5), ("Fe3C", 1e-5), ("kyanite", 1e-5)],
    )  # fmt: skip
    def test_unfold(self, phases, name, tolerance):
        """A function with the symmetry, known on the independent pixels, is known everywhere."""
        operations = operations_of_phase(phases[name])
        poles = np.random.default_rng(0).standard_normal((6, 3))
        poles /= np.linalg.norm(poles, axis=1, keepdims=True)

        def symmetric(directions):
            cosines = directions @ np.concatenate(operations.transpose(0, 2, 1) @ poles.T, 1)
            return np.exp(-(((cosines - 0.6) / 0.08) ** 2)).sum(axis=-1)

        grid = symmetric_grid(phases[name], HALF_WIDTH)
        expected = symmetric(sphere(HALF_WIDTH))
        unfolded = grid.unfold(symmetric(grid.directions))
        assert unfolded.shape == expected.shape and unfolded.dtype == np.float32
        assert np.abs(unfolded - expected).max() < tolerance * expected.std()

    @pytest.mark.parametrize("name", ["Ni", "GaAs", "FeS2-pyrite", "Mg", "quartz"])
    def test_unfold_smooth(self, phases, name):
        """A smooth function is right to a few hundredths, at the equator as everywhere."""
        operations = operations_of_phase(phases[name])
        pole = np.array([0.5, 0.2, 0.8]) / np.linalg.norm([0.5, 0.2, 0.8])

        def symmetric(directions):
            return np.exp(4 * directions @ (operations.transpose(0, 2, 1) @ pole).T).sum(axis=-1)

        grid = symmetric_grid(phases[name], HALF_WIDTH)
        expected = symmetric(sphere(HALF_WIDTH))
        error = np.abs(grid.unfold(symmetric(grid.directions)) - expected)
        assert error.max() < 0.04 * expected.std()
        assert np.median(error) < 1e-4 * expected.std()

    def test_number_of_directions(self, phases):
        total = 2 * (2 * HALF_WIDTH + 1) ** 2
        for name, order, excess in (("Ni", 48, 1.5), ("Mg", 24, 1.2), ("kyanite", 2, 1.02)):
            n = len(symmetric_grid(phases[name], HALF_WIDTH))
            assert total / order * 0.9 < n < excess * total / order

    def test_shared(self, phases):
        assert symmetric_grid(phases["Ni"], 20) is symmetric_grid(phases["Si"], 20)
        assert symmetric_grid(phases["Ni"], 20) is not symmetric_grid(phases["Ni"], 21)

    def test_wrong_number_of_values(self):
        grid = SymmetricGrid(np.eye(3)[None], 5)
        with pytest.raises(ValueError, match=r"shape \(7,\) given; a half width of 5"):
            grid.unfold(np.zeros(7))
