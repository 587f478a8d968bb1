import sys
from dataclasses import replace

import numpy as np
import pytest

from kikuchipy_cnn.simulation import bloch
from kikuchipy_cnn.simulation.bloch import (
    BlochParameters,
    backscattered_intensity,
    build_tables,
)
from kikuchipy_cnn.simulation.phases import load_phases

COARSE = BlochParameters(dmin=0.06, strong=60, weak=60, tolerance=1e-6)


@pytest.fixture(scope="module")
def phases():
    return load_phases()


@pytest.fixture(scope="module")
def directions():
    v = np.random.default_rng(3).standard_normal((12, 3))
    return v / np.linalg.norm(v, axis=1, keepdims=True)


def intensities(phase, directions, parameters=COARSE, energy=20):
    tables = build_tables(phase, energy, parameters)
    return np.array([backscattered_intensity(d, tables, parameters) for d in directions])


def brute_force(direction, tables, parameters):
    """The same physics by the eigenvalues of the full, non-Hermitian matrix."""
    k = -tables.wavenumber * direction
    excitation = -(2 * tables.beams @ k + (tables.beams**2).sum(axis=1))
    strong = np.abs(excitation) < parameters.strong * tables.u
    addresses = np.concatenate([[0], tables.addresses[strong]])
    at = addresses[:, None] - addresses + tables.origin
    matrix = tables.elastic[at] + 1j * tables.absorptive[at]
    diagonal = np.concatenate([[0], excitation[strong]])
    np.fill_diagonal(matrix, diagonal + 1j * tables.absorptive[tables.origin])
    eigenvalues, waves = np.linalg.eig(matrix.astype(complex))
    phases = np.pi / tables.wavenumber / tables.inverse_depth * eigenvalues
    amplitudes = np.linalg.solve(waves, np.eye(len(addresses))[0])
    overlap = waves.conj().T @ tables.sites[at] @ waves
    depth = 1 / (1 - 1j * (phases - phases.conj()[:, None]))
    return (amplitudes.conj() @ (overlap * depth) @ amplitudes).real


class TestIntensity:
    # Tungsten absorbs strongly; gallium arsenide has no inversion centre.
    @pytest.mark.parametrize("name", ["Ni", "W", "NaCl", "GaAs", "Mg"])
    def test_like_brute_force(self, phases, directions, name):
        tables = build_tables(phases[name], 20, COARSE)
        expected = [brute_force(d, tables, COARSE) for d in directions]
        np.testing.assert_allclose(intensities(phases[name], directions), expected, rtol=1e-3)

    def test_without_diffraction(self, phases):
        """With no beam near the Bragg condition only absorption is left."""
        nothing = BlochParameters(strong=1e-9, weak=1e-9)
        tables = build_tables(phases["Ni"], 20, nothing)
        direction = np.array([0.3, 0.5, 0.81])
        loss = 2 * np.pi * tables.absorptive[tables.origin] / tables.wavenumber
        expected = 1 / (1 + loss / tables.inverse_depth)
        result = backscattered_intensity(direction / np.linalg.norm(direction), tables, nothing)
        assert np.isclose(result, expected, rtol=1e-4)

    def test_real_and_complex_arithmetic(self, phases, directions):
        tables = build_tables(phases["NaCl"], 20, COARSE)
        assert tables.elastic.dtype == np.float32
        parts = ("elastic", "absorptive", "sites")
        as_complex = replace(tables, **{n: getattr(tables, n).astype(np.complex64) for n in parts})
        for direction in directions[:4]:
            real, other = (
                backscattered_intensity(direction, t, COARSE) for t in (tables, as_complex)
            )
            assert np.isclose(real, other, rtol=1e-3)

    def test_origin_does_not_matter(self, phases, directions):
        """Off its inversion centre a crystal takes complex arithmetic, and gives the same."""
        shifted = phases["Si"].deepcopy()
        for atom in shifted.structure:
            atom.xyz = atom.xyz + [0.1, 0.05, 0.2]
        assert build_tables(shifted, 20, COARSE).elastic.dtype == np.complex64
        result = intensities(shifted, directions)
        np.testing.assert_allclose(result, intensities(phases["Si"], directions), rtol=2e-3)

    def test_inversion(self, phases, directions):
        """Opposite directions are alike with an inversion centre, and not alike without."""
        for name, difference in (("NaCl", 0), ("SiC-3C", 0.01)):
            there, back = (intensities(phases[name], s * directions) for s in (1, -1))
            largest = np.abs(there - back).max()
            assert largest < 1e-3 if difference == 0 else largest > difference

    def test_polarity(self, phases):
        """Ga has its nearest P towards [111], which focuses what Ga scatters into this direction.

        The heavier atom is the stronger source. A sum over spherical waves in real space, which
        shares no convention with the solver, has the same sign.
        """
        rng = np.random.default_rng(0)
        around = np.ones(3) / 3**0.5 + np.tan(np.deg2rad(3)) * rng.uniform(-1, 1, (60, 3))
        around /= np.linalg.norm(around, axis=1, keepdims=True)
        there, back = (intensities(phases["GaP"], s * around).mean() for s in (1, -1))
        assert 0.02 < there - back < 0.1

    @pytest.mark.parametrize("name, depth", [("Ni", 4.7), ("Si", 20.8), ("W", 1.8)])
    def test_escape_depth(self, phases, name, depth):
        """In nm, as ebsdsim's fit to Monte Carlo simulations gave them when this was written."""
        assert 1 / build_tables(phases[name], 20, COARSE).inverse_depth == pytest.approx(
            depth, 0.02
        )

    def test_factor_on_the_escape_depth(self, phases):
        once, twice = (
            build_tables(phases["Ni"], 20, replace(COARSE, escape_depth=factor))
            for factor in (1.0, 2.0)
        )
        assert once.inverse_depth == pytest.approx(2 * twice.inverse_depth)

    def test_atoms_move(self, phases):
        """Displacement blurs the places of the backscattering atoms."""
        tables = build_tables(phases["Ni"], 20, COARSE)
        square = (tables.beams**2).sum(axis=1) / 100
        desired = np.exp(-phases["Ni"].structure[0].Bisoequiv * square / 4)
        np.testing.assert_allclose(tables.sites[tables.addresses + tables.origin], desired, 1e-3)

    def test_positive(self, phases, directions):
        """However many weak beams follow the strong ones, as in heavy and large cells."""
        parameters = BlochParameters(dmin=0.04)
        values = intensities(phases["Ir3Sn7"], directions, parameters)
        assert values.min() > 0.1

    def test_direct_integration(self, phases, directions, monkeypatch):
        """What is used where iteration does not converge gives the same."""
        iterated = intensities(phases["W"], directions)
        monkeypatch.setattr(bloch, "_MAX_ITERATIONS", 0)
        np.testing.assert_allclose(intensities(phases["W"], directions), iterated, rtol=1e-4)

    def test_symmetry(self, phases):
        """A three-fold axis of the crystal, which no table knows of."""
        d = np.array([0.2, 0.5, 0.7])
        d /= np.linalg.norm(d)
        values = intensities(phases["FeS2-pyrite"], [d, d[[1, 2, 0]], d[[1, 0, 2]]])
        assert np.isclose(values[0], values[1], rtol=2e-3)
        # There is no mirror along the diagonal in m-3.
        assert not np.isclose(values[0], values[2], rtol=2e-2)

    def test_weak_beams(self, phases, directions):
        """As a perturbation they bring the result near that with all beams as strong ones."""

        def error(strong, weak):
            values = intensities(
                phases["Al"], directions, replace(COARSE, strong=strong, weak=weak)
            )
            return np.abs(values - full).max()

        full = intensities(phases["Al"], directions, replace(COARSE, strong=500, weak=500))
        assert error(50, 500) < 0.5 * error(50, 50)

    @pytest.mark.parametrize("energy", [10, 30])
    def test_energies(self, phases, directions, energy):
        """Bands are narrower and electrons come from deeper at higher energy."""
        tables = build_tables(phases["Ni"], energy, COARSE)
        at_20 = build_tables(phases["Ni"], 20, COARSE)
        assert (tables.wavenumber > at_20.wavenumber) == (energy > 20)
        assert (tables.inverse_depth < at_20.inverse_depth) == (energy > 20)
        values = intensities(phases["Ni"], directions, energy=energy)
        assert np.isfinite(values).all() and (values > 0).all()

    def test_relativistic_wavelength(self, phases):
        """0.00859 nm at 20 keV in vacuum; the mean inner potential shortens it a little."""
        wavelength = 1 / build_tables(phases["Al"], 20, COARSE).wavenumber
        assert 0.00857 < wavelength < 0.00859

    def test_occupancy(self, phases):
        """Half the atoms on each site scatter half as much."""
        half = phases["Al"].deepcopy()
        for atom in half.structure:
            atom.occupancy = 0.5
        whole, diluted = (build_tables(p, 20, COARSE) for p in (phases["Al"], half))
        np.testing.assert_allclose(diluted.elastic, whole.elastic / 2, atol=1e-6)

    def test_displacement(self, phases):
        """A larger displacement factor weakens high orders more than low ones."""
        hot = phases["Al"].deepcopy()
        for atom in hot.structure:
            atom.Uisoequiv = 3 * atom.Uisoequiv
        cold, warm = (build_tables(p, 20, replace(COARSE, min_relative_u=1e-6))
                      for p in (phases["Al"], hot))  # fmt: skip
        ratio = warm.u / cold.u
        length = np.linalg.norm(cold.beams, axis=1)
        assert ratio[length < 6].min() > ratio[length > 14].max()


class TestInvalid:
    @pytest.mark.parametrize("energy", [4.9, 41, np.nan])
    def test_energy(self, phases, energy):
        with pytest.raises(ValueError, match=f"energy={energy} keV is not supported"):
            build_tables(phases["Ni"], energy, COARSE)

    @pytest.mark.parametrize(
        "name", ["dmin", "strong", "min_relative_u", "tolerance", "escape_depth"]
    )
    def test_parameters(self, name):
        with pytest.raises(ValueError, match=f"{name}=0 must be positive"):
            BlochParameters(**{name: 0})

    def test_weak_below_strong(self):
        with pytest.raises(ValueError, match=r"weak=10 must not be below strong=40"):
            BlochParameters(weak=10)

    def test_without_ebsdsim(self, phases, monkeypatch):
        monkeypatch.setitem(sys.modules, "ebsdsim.physics", None)
        with pytest.raises(ImportError, match="kikuchipy-cnn.simulation"):
            build_tables(phases["Ni"], 20, COARSE)
