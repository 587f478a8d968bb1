# SPDX-License-Identifier: GPL-3.0-or-later

"""Dynamical diffraction of backscattered electrons by the Bloch wave method.

Reciprocity lets the backscattered intensity in a direction be computed as the intensity that a
plane wave from this direction puts on the atoms (Winkelmann et al., Ultramicroscopy 107 (2007)
414). Each direction is one eigenvalue problem: Hermitian, and real where the crystal has an
inversion centre at its origin. Weakly excited beams are folded into the matrix by Bethe's second
order perturbation (see De Graef, Introduction to Conventional Transmission Electron Microscopy,
2003, section 5.8). Absorption couples the Bloch waves; the depth integral with this coupling is the
solution of a Lyapunov equation. Scattering factors (Weickenmeier and Kohl, Acta Cryst. A47 (1991)
590) and the depth from which backscattered electrons escape come from :mod:`ebsdsim`.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
from orix.crystal_map import Phase
from scipy.interpolate import CubicSpline
from scipy.linalg import lapack

from kikuchipy_cnn.simulation.phases import ATOMIC_NUMBERS

# Fourier coefficients of the potential are in volts when the scattering factors are in angstrom and
# the cell volume in nm^3; multiplied with U_PER_VOLT they are in 1/nm^2.
_VOLT_NM3 = 0.04787801
_U_PER_VOLT = 0.664840340614319

ENERGIES = (5.0, 40.0)
# In a few directions of the heaviest crystals iteration does not converge, however long it goes on.
_MAX_ITERATIONS = 30


@dataclass(frozen=True)
class BlochParameters:
    """Cut-offs of the Bloch wave calculation.

    A beam is the stronger, the smaller abs(2 K s / U) is, with s its excitation error, K the
    wavenumber and U its Fourier coefficient of the potential.

    Parameters
    ----------
    dmin
        Smallest interplanar spacing in nm of the beams considered.
    strong
        Beams of a smaller ratio than this are part of the eigenvalue problem.
    weak
        Those of a smaller ratio than this, but not strong, follow the strong ones by perturbation.
    min_relative_u
        Beams with an abs(U) below this fraction of the strongest one's are left out.
    tolerance
        Relative change of the intensity at which the coupling by absorption is taken as converged.
    escape_depth
        Factor on the depth from which backscattered electrons escape, of ebsdsim's fit to Monte
        Carlo simulations.

    Raises
    ------
    ValueError
        If a cut-off or the factor is not positive, or *weak* is below *strong*.

    Examples
    --------
    Coarser cut-offs than the default ones, for a quick look:

    >>> from kikuchipy_cnn import simulation
    >>> coarse = simulation.BlochParameters(dmin=0.06, strong=20, weak=40)
    >>> master_pattern = simulation.simulate_master_pattern(
    ...     simulation.load_phases([225])["Ni"],
    ...     half_width=10,
    ...     parameters=coarse,
    ...     show_progressbar=False,
    ... )
    >>> master_pattern.data.shape
    (2, 21, 21)
    """

    dmin: float = 0.03
    strong: float = 40.0
    weak: float = 160.0
    min_relative_u: float = 0.001
    tolerance: float = 2e-4
    escape_depth: float = 1.0

    def __post_init__(self) -> None:
        for name in ("dmin", "strong", "min_relative_u", "tolerance", "escape_depth"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)} must be positive.")
        if self.weak < self.strong:
            raise ValueError(f"weak={self.weak} must not be below strong={self.strong}.")


@dataclass(frozen=True)
class BlochTables:
    """What the eigenvalue problems of one crystal at one energy have in common.

    Parameters
    ----------
    wavenumber
        Of the refracted electrons, in 1/nm.
    beams
        Candidate beams in the Cartesian frame of the lattice, in 1/nm, of shape (n, 3).
    rough
        The beams and their squares in single precision, of shape (n, 4).
    u
        Their elastic coefficients of the potential, in 1/nm^2, of shape (n,).
    addresses
        Their places in the tables, relative to that of 000, of shape (n,).
    elastic, absorptive, sites
        Coefficients of all differences of two beams: of the elastic potential, of the absorptive
        one, and of the backscattering atoms (weighted with Z^2), of shape (m,).
    origin
        Place of 000 in the tables.
    inverse_depth
        Decay rate of the depth distribution of backscattered electrons, in 1/nm.
    """

    wavenumber: float
    beams: np.ndarray
    rough: np.ndarray
    u: np.ndarray
    addresses: np.ndarray
    elastic: np.ndarray
    absorptive: np.ndarray
    sites: np.ndarray
    origin: int
    inverse_depth: float


def build_tables(phase: Phase, energy: float, parameters: BlochParameters) -> BlochTables:
    """Compute what all directions have in common.

    Parameters
    ----------
    phase
        Crystal with its full unit cell in angstrom. Real arithmetic, four times faster, is used
        where an inversion centre is at the origin.
    energy
        Energy of the electrons in keV.
    parameters
        Cut-offs.

    Returns
    -------
    tables
        Input of :func:`backscattered_intensity`.

    Raises
    ------
    ValueError
        If the energy is outside the range of the approximations.
    ImportError
        If ebsdsim is not installed.
    """
    check_energy(energy)
    scattering = import_ebsdsim()
    structure = phase.structure
    lattice = structure.lattice
    reciprocal = 10 * lattice.recbase.T  # rows are the reciprocal lattice vectors, 1/nm
    # Differences of two beams reach twice as far as the beams themselves.
    limits = np.floor(np.array(lattice.abcABG()[:3]) / 10 / parameters.dmin).astype(int)
    axes = [np.arange(-2 * limit, 2 * limit + 1) for limit in limits]
    shape = tuple(len(axis) for axis in axes)
    hkl = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    lengths = np.linalg.norm(hkl @ reciprocal, axis=-1)
    # The factors are smooth: a spline through a thousand values is exact to six digits.
    knots = np.linspace(0, lengths.max(), 1000)
    nodes = 2 * np.pi * knots / 10  # 1/angstrom

    elastic, absorptive, sites = (np.zeros(shape, complex) for _ in range(3))
    positions = np.array([atom.xyz for atom in structure])
    species = [
        (ATOMIC_NUMBERS[a.element.capitalize()], a.occupancy, a.Bisoequiv) for a in structure
    ]
    for kind in sorted(set(species)):
        z, occupancy, b_iso = kind
        at = positions[[i for i, other in enumerate(species) if other == kind]]
        phases = occupancy * _structure_sum(axes, at)
        factors = scattering.scatter_factor_wk_array(
            nodes, z, np.sqrt(b_iso / (8 * np.pi**2)), energy
        )
        real, imaginary = (CubicSpline(knots, f)(lengths) for f in factors)
        elastic += phases * real
        absorptive += phases * imaginary
        sites += z**2 * phases * np.exp(-b_iso * (lengths / 10) ** 2 / 4)
    to_u = _VOLT_NM3 / (lattice.volume / 1000) * _U_PER_VOLT
    elastic *= to_u
    absorptive *= to_u
    sites /= np.abs(sites).max()

    centre = tuple(2 * limits)
    mean_potential = elastic[centre].real / _U_PER_VOLT  # V
    volts = 1e3 * energy
    wavelength = 1.22642584554 / np.sqrt(volts * (1 + 0.97847561649e-6 * volts) + mean_potential)

    keep = (lengths > 0) & (lengths <= 1 / parameters.dmin)
    strongest = np.abs(elastic[keep]).max()
    keep &= np.abs(elastic) > parameters.min_relative_u * strongest
    origin = int(np.ravel_multi_index(centre, shape))
    beams = hkl[keep] @ reciprocal
    return BlochTables(
        wavenumber=1 / wavelength,
        beams=beams,
        rough=np.column_stack([beams, (beams**2).sum(axis=1)]).astype(np.float32),
        u=np.abs(elastic[keep]).astype(np.float32),
        addresses=np.flatnonzero(keep) - origin,
        elastic=_compact(elastic),
        absorptive=_compact(absorptive),
        sites=_compact(sites),
        origin=origin,
        inverse_depth=_inverse_escape_depth(structure, energy) / parameters.escape_depth,
    )


def backscattered_intensity(
    direction: np.ndarray, tables: BlochTables, parameters: BlochParameters
) -> float:
    """Compute the backscattered intensity in one direction.

    Parameters
    ----------
    direction
        Unit vector from the crystal to the detector in the Cartesian frame of the lattice, of shape
        (3,).
    tables
        From :func:`build_tables`.
    parameters
        Cut-offs, as given to that function.

    Returns
    -------
    intensity
        Mean of the squared wave function at the atoms, 1 without diffraction and absorption.
    """
    # The reciprocal wave comes from the detector.
    k = -tables.wavenumber * direction
    # Most beams are far off the Bragg condition, which single precision is enough to see.
    nearly = np.abs(tables.rough @ np.append(2 * k, 1).astype(np.float32))
    near = np.flatnonzero(nearly < 1.05 * parameters.weak * tables.u)
    beams, near_addresses = tables.beams[near], tables.addresses[near]
    excitation = -(2 * beams @ k + (beams**2).sum(axis=1))  # 2 K s, 1/nm^2
    ratio = np.abs(excitation) / tables.u[near]
    strong, weak = ratio < parameters.strong, ratio >= parameters.strong
    weak &= ratio < parameters.weak
    addresses = np.concatenate([[0], near_addresses[strong], near_addresses[weak]])
    differences = addresses[:, None] - addresses + tables.origin  # g - h in row g, column h
    n_strong = 1 + np.count_nonzero(strong)

    elastic = tables.elastic[differences[:n_strong, :n_strong]]
    np.fill_diagonal(elastic, np.concatenate([[0.0], excitation[strong]]))
    coupling = tables.elastic[differences[n_strong:, :n_strong]]
    # Amplitudes of all beams that follow from those of the strong ones.
    follow = np.eye(len(addresses), n_strong, dtype=elastic.dtype)
    follow[n_strong:] = -coupling / excitation[weak].astype(np.float32)[:, None]
    elastic += coupling.conj().T @ follow[n_strong:]
    # Both stay positive in this way, as losses and intensities are.
    absorptive, sites = (
        follow.conj().T @ (table[differences] @ follow)
        for table in (tables.absorptive, tables.sites)
    )

    solve = lapack.cheevd if np.iscomplexobj(elastic) else lapack.ssyevd
    eigenvalues, waves, info = solve(elastic, overwrite_a=True)
    if info != 0:
        raise np.linalg.LinAlgError(f"No eigenvalues for the direction {direction}.")
    # In the basis of the Bloch waves, with depths in units of the escape depth.
    per_depth = np.float32(np.pi / tables.wavenumber / tables.inverse_depth)
    adjoint = waves.conj().T
    return _integrate_depth(
        eigenvalues * per_depth,
        adjoint @ (absorptive @ waves) * per_depth,
        adjoint @ (sites @ waves),
        waves[0].conj(),
        parameters.tolerance,
    )


def _integrate_depth(
    phases: np.ndarray,
    absorption: np.ndarray,
    sites: np.ndarray,
    excitation: np.ndarray,
    tolerance: float,
) -> float:
    """Intensity on the atoms, averaged over an exponential distribution of depths.

    With Bloch waves that propagate as exp(B z), B = i diag(phases) - absorption, the average of
    exp(B^H z) sites exp(B z) is the Y that solves Y - B^H Y - Y B = sites. The part of it without
    coupling by absorption is diagonal and preconditions a truncated method of generalised
    conjugate residuals (Eisenstat, Elman and Schultz, SIAM J. Numer. Anal. 20 (1983) 345).
    """
    loss = np.diagonal(absorption).real
    uncoupled = 1 / (1 + loss[:, None] + loss + 1j * (phases[:, None] - phases))
    uncoupled = uncoupled.astype(np.complex64)
    coupling = absorption.copy()
    np.fill_diagonal(coupling, 0)

    def couple(y):
        product = coupling @ y
        return product + product.conj().T

    def intensity(y):
        return float((excitation.conj() @ y @ excitation).real)

    y = uncoupled * sites
    residual = -couple(y)
    previous = intensity(y)
    directions: list[tuple] = []
    for _ in range(_MAX_ITERATIONS):
        step = uncoupled * residual
        image = residual + couple(step)
        for other_step, other_image, square in directions:
            overlap = np.vdot(other_image, image).real / square
            step = step - overlap * other_step
            image = image - overlap * other_image
        square = np.vdot(image, image).real
        if square == 0:
            return previous
        length = np.vdot(image, residual).real / square
        y = y + length * step
        residual = residual - length * image
        current = intensity(y)
        if abs(current - previous) <= tolerance * abs(current):
            return current
        previous = current
        directions = [*directions[-2:], (step, image, square)]
    return _integrate_depth_directly(phases, absorption, sites, excitation)


def _integrate_depth_directly(
    phases: np.ndarray, absorption: np.ndarray, sites: np.ndarray, excitation: np.ndarray
) -> float:
    """The same from the eigenvalues of B, slower but whatever the absorption."""
    values, vectors = np.linalg.eig(np.diag(1j * phases) - absorption)
    amplitudes = np.linalg.solve(vectors, excitation)
    overlap = vectors.conj().T @ sites @ vectors
    depth = 1 / (1 - values.conj()[:, None] - values)
    return float((amplitudes.conj() @ (overlap * depth) @ amplitudes).real)


def _compact(table: np.ndarray) -> np.ndarray:
    """Flat table in single precision, real where its imaginary part is only rounding."""
    if np.abs(table.imag).max() < 1e-5 * np.abs(table.real).max():
        return table.real.ravel().astype(np.float32)
    return table.ravel().astype(np.complex64)


def _structure_sum(axes: list[np.ndarray], positions: np.ndarray) -> np.ndarray:
    """Sum over positions of exp(-2 pi i h r) for all h, k, l of three ranges."""
    waves = [
        np.exp(-2j * np.pi * np.outer(axis, x)) for axis, x in zip(axes, positions.T, strict=True)
    ]
    return np.einsum("ap,bp,cp->abc", *waves, optimize=True)


def check_energy(energy: float) -> None:
    """Raise ValueError unless the approximations hold for electrons of an energy in keV."""
    if not ENERGIES[0] <= energy <= ENERGIES[1]:
        raise ValueError(
            f"energy={energy} keV is not supported; give {ENERGIES[0]:g} to {ENERGIES[1]:g} keV."
        )


def import_ebsdsim():
    """Import what scattering factors come from, or raise ImportError with the remedy."""
    try:
        from ebsdsim.physics import scattering
    except ImportError as error:
        raise ImportError(
            "Dynamical simulation takes scattering factors from ebsdsim. Install it with "
            "pip install 'kikuchipy-cnn[simulation]', or simulate with method='kinematical'."
        ) from error
    return scattering


def _inverse_escape_depth(structure, energy: float) -> float:
    """Decay rate in 1/nm of the depth distribution of electrons that leave with little loss."""
    from ebsdsim.crystal.elements import atomic_weight
    from ebsdsim.energy.surrogate import infer_direct_exp_from_cell_rebinned

    numbers = np.array([ATOMIC_NUMBERS[atom.element.capitalize()] for atom in structure])
    occupancies = np.array([atom.occupancy for atom in structure])
    weights = np.array([atomic_weight(int(z)) for z in numbers])
    mass = (weights * occupancies).sum()
    cell = SimpleNamespace(
        density=mass / 0.602214076 / structure.lattice.volume,  # g/cm^3 from u/angstrom^3
        average_atomic_number=(numbers * occupancies).sum() / occupancies.sum(),
        average_atomic_weight=mass / occupancies.sum(),
    )
    histogram = infer_direct_exp_from_cell_rebinned(
        cell=cell, sigma_deg=70.0, beam_kv=energy, energy_binwidth_keV=1.0, n_energy_bins=2
    )
    return float(histogram.betas[0])
