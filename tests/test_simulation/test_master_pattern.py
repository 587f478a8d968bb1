import kikuchipy as kp
import numpy as np
import pytest
from orix.crystal_map import Phase
from scipy.ndimage import map_coordinates

from kikuchipy_cnn.simulation.library import build_library, load_library
from kikuchipy_cnn.simulation.master_pattern import (
    BlochParameters,
    _direction_to_lambert,
    _lambert_sector,
    _lambert_to_direction,
    simulate_sector,
    unfold_sector,
)
from kikuchipy_cnn.simulation.phases import load_phases

HALF_WIDTH = 50


@pytest.fixture(scope="module")
def phases():
    return load_phases()


@pytest.fixture(scope="module")
def nickel(phases):
    return unfold_sector(simulate_sector(phases["Ni"], half_width=HALF_WIDTH), HALF_WIDTH)


def correlation(a, b):
    return np.corrcoef(np.ravel(a), np.ravel(b))[0, 1]


class TestProjection:
    def test_inverse(self, rng):
        x = rng.uniform(0, 1, 50)
        y = x * rng.uniform(0, 1, 50)
        v = _lambert_to_direction(x, y)
        np.testing.assert_allclose(np.linalg.norm(v, axis=1), 1)
        np.testing.assert_allclose(_direction_to_lambert(v), (x, y), atol=1e-12)

    def test_known_directions(self):
        v = _lambert_to_direction(np.array([0.0, 1, 1]), np.array([0.0, 0, 1]))
        expected = [[0, 0, 1], [1, 0, 0], [0.5**0.5, 0.5**0.5, 0]]
        np.testing.assert_allclose(v, expected, atol=1e-12)


class TestSimulation:
    def test_symmetry(self, nickel):
        """The three-fold axis is no symmetry of the grid: it must come out of the unfolding."""
        np.testing.assert_allclose(nickel, nickel[::-1])
        np.testing.assert_allclose(nickel, nickel.T, rtol=1e-5)
        x, y = np.meshgrid(*[np.arange(HALF_WIDTH + 1) / HALF_WIDTH] * 2, indexing="ij")
        below = y <= 0.999 * x
        v = _lambert_to_direction(x[below], y[below])
        turned = np.sort(v, axis=1)[:, [0, 2, 1]]  # another order of the components
        turned = turned[:, [1, 0, 2]]
        lambert = np.array(_direction_to_lambert(turned)) * HALF_WIDTH + HALF_WIDTH
        other = map_coordinates(nickel, lambert, order=3)
        value = nickel[HALF_WIDTH:, HALF_WIDTH:][below]
        assert correlation(value, other) > 0.97

    def test_superlattice_shows(self, phases):
        """The order of Ni3Al sets it apart from an fcc crystal, that of FeNi3 hardly."""

        def pattern(name):
            return unfold_sector(simulate_sector(phases[name], half_width=30), 30)

        ni3al, feni3, ni = (pattern(name) for name in ("Ni3Al", "FeNi3", "Ni"))
        assert correlation(feni3, ni) > correlation(ni3al, ni)
        assert correlation(feni3, ni) > 0.98

    def test_converged(self, phases):
        """Twice the beams change the picture little."""

        def pattern(parameters):
            return simulate_sector(phases["Al"], half_width=30, parameters=parameters)

        assert correlation(pattern(None), pattern(BlochParameters(strength=200.0))) > 0.99

    def test_other_point_groups(self):
        with pytest.raises(ValueError, match="point group 6/mmm; only crystals"):
            simulate_sector(Phase("Mg", space_group=194))

    def test_origin(self, phases):
        phase = phases["Si"].deepcopy()
        for atom in phase.structure:
            atom.xyz = atom.xyz + 0.1
        with pytest.raises(ValueError, match="no inversion centre at the origin"):
            simulate_sector(phase, half_width=10)

    def test_unfold_wrong_number(self):
        with pytest.raises(ValueError, match="7 values given, half_width=30 needs"):
            unfold_sector(np.zeros(7), 30)


class TestLibrary:
    def test_packaged(self, nickel, phases):
        library = load_library()
        assert len(library) == len(phases)
        assert library.energy == 20
        assert library["Ni"].shape == (301, 301)
        # Directions computed now against the same ones of the library, none of them interpolated.
        i, j, directions = _lambert_sector(HALF_WIDTH)
        computed = directions[:, 2] >= directions[:, 0]
        found = library["Ni"][150 + 3 * i, 150 + 3 * j][computed]
        expected = nickel[HALF_WIDTH + i, HALF_WIDTH + j][computed]
        assert correlation(found, expected) > 0.999
        assert all(library.space_groups[n] == p.space_group.number for n, p in phases.items())

    def test_like_emsoft(self):
        """Against the dynamical master pattern of nickel that kikuchipy ships."""
        emsoft = kp.data.nickel_ebsd_master_pattern_small(projection="lambert", hemisphere="upper")
        rows = np.arange(301) * 400 / 300
        same_grid = map_coordinates(
            emsoft.data.astype(float), np.meshgrid(rows, rows, indexing="ij"), order=1
        )
        assert correlation(load_library()["Ni"], same_grid) > 0.94

    def test_unknown(self):
        with pytest.raises(KeyError, match="No master pattern of 'Unobtainium'"):
            load_library()["Unobtainium"]

    def test_build_resumes(self, tmp_path, phases):
        cache = tmp_path / "cache"
        arguments = {"half_width": 12, "cache": cache, "workers": 1, "show_progressbar": False}
        built = build_library(tmp_path / "a.npz", ["Ni", "Si"], **arguments)
        # A phase that was finished before is not computed again.
        np.save(cache / "Si.npy", np.load(cache / "Ni.npy"))
        build_library(tmp_path / "b.npz", ["Ni", "Si"], **arguments)
        loaded = load_library(tmp_path / "b.npz")
        np.testing.assert_array_equal(loaded["Si"], loaded["Ni"])
        np.testing.assert_array_equal(loaded["Ni"], built["Ni"])
        assert not np.array_equal(built["Si"], built["Ni"])
        assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npz", "b.npz", "cache"]
