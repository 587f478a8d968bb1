"""Dynamical master patterns of centrosymmetric cubic crystals.

Reciprocity lets the backscattered intensity in a direction be computed as the intensity that a
plane wave from this direction puts on the atoms (Winkelmann et al., Ultramicroscopy 107 (2007)
414). Each direction is one eigenvalue problem. In the point group m-3m with an inversion centre at
the origin the elastic structure matrix is real and symmetric, and only 1/48 of the directions are
independent; absorption enters to first order in the eigenvalues. Scattering factors (Weickenmeier
and Kohl, Acta Cryst. A47 (1991) 590) and the escape depth of backscattered electrons come from
:mod:`ebsdsim`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from types import SimpleNamespace

import numpy as np
from orix.crystal_map import Phase
from scipy.linalg import lapack
from scipy.ndimage import map_coordinates

# Fourier coefficients of the potential are in volts when the scattering factors are in angstrom and
# the cell volume in nm^3; multiplied with U_PER_VOLT they are in 1/nm^2.
_VOLT_NM3 = 0.04787801
_U_PER_VOLT = 0.664840340614319


@dataclass(frozen=True)
class BlochParameters:
    """Cut-offs of the Bloch wave calculation.

    Parameters
    ----------
    dmin
        Smallest interplanar spacing in nm of the beams considered.
    strength
        A beam takes part where abs(2 K s) < strength * abs(U), with s its excitation error and U
        its Fourier coefficient of the potential.
    min_relative_u
        Beams with an abs(U) below this fraction of the strongest one's are left out.
    """

    dmin: float = 0.05
    strength: float = 100.0
    min_relative_u: float = 0.004


@dataclass(frozen=True)
class _Tables:
    """What the eigenvalue problems of one crystal at one energy have in common."""

    wavenumber: float  # 1/nm, refracted
    g: np.ndarray  # (n, 3) candidate beams, 1/nm
    hkl: np.ndarray  # (n, 3)
    u: np.ndarray  # (n,) elastic coefficients of the candidates, 1/nm^2
    u_table: np.ndarray  # elastic coefficients of all differences, by index h, k, l
    absorption_table: np.ndarray
    site_table: np.ndarray  # Z^2 weighted sum over atoms of exp(2 pi i (g - h) r)
    centre: int  # index of 000 in each axis of the tables
    inverse_depth: float  # 1/nm


@lru_cache
def _lambert_sector(half_width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grid points of the square Lambert projection in the fundamental sector and around it.

    The projection has the symmetry 4mm, which leaves x >= y >= 0. The diagonal mirrors z >= x are
    no lines of the grid; two pixels beyond them are kept, for interpolation.
    """
    j, i = np.mgrid[: half_width + 1, : half_width + 1]
    i, j = i[i >= j], j[i >= j]
    directions = _lambert_to_direction(i / half_width, j / half_width)
    margin = 2.5 * np.pi / 2 / half_width
    inside = directions[:, 2] >= directions[:, 0] - margin
    return i[inside], j[inside], directions[inside]


def _lambert_to_direction(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Unit vectors of points x >= y >= 0 on the square Lambert projection (half width 1).

    After Callahan and De Graef, Microsc. Microanal. 19 (2013) 1255.
    """
    x = np.asarray(x, float) * np.sqrt(np.pi / 2)
    y = np.asarray(y, float) * np.sqrt(np.pi / 2)
    safe = np.where(x == 0, 1, x)
    radius = 2 * x / np.pi * np.sqrt(np.pi - x**2)
    angle = np.pi * y / (4 * safe)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), 1 - 2 * x**2 / np.pi], axis=-1)


def _direction_to_lambert(v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverse of :func:`_lambert_to_direction`, for x >= y >= 0."""
    x = np.sqrt(np.clip(1 - v[..., 2], 0, None)) * np.sqrt(np.pi / 2)
    y = x * 4 / np.pi * np.arctan2(v[..., 1], v[..., 0])
    return x / np.sqrt(np.pi / 2), y / np.sqrt(np.pi / 2)


def _build_tables(phase: Phase, energy: float, parameters: BlochParameters) -> _Tables:
    scattering = _import_ebsdsim()
    structure = phase.structure
    a = structure.lattice.a / 10  # nm
    volume = a**3
    atoms = [(_atomic_number(atom.element), atom.occupancy, atom.Bisoequiv) for atom in structure]
    positions = np.array([atom.xyz for atom in structure])

    # Differences of two beams reach twice as far as the beams themselves.
    limit = int(np.floor(a / parameters.dmin))
    axis = np.arange(-2 * limit, 2 * limit + 1)
    h, k, l = np.meshgrid(axis, axis, axis, indexing="ij")
    squares, inverse = np.unique(h**2 + k**2 + l**2, return_inverse=True)
    inverse = inverse.reshape(h.shape)
    momentum = 2 * np.pi * np.sqrt(squares) / (10 * a)  # 1/angstrom

    elastic = np.zeros(h.shape)
    absorptive = np.zeros(h.shape)
    sites = np.zeros(h.shape)
    for species in sorted(set(atoms)):
        z, occupancy, b_iso = species
        at = positions[[i for i, atom in enumerate(atoms) if atom == species]]
        phases = _structure_sum(axis, at)
        if np.abs(phases.imag).max() > 1e-6 * len(at):
            raise ValueError(
                f"{phase.name}: the structure has no inversion centre at the origin, which this "
                "solver needs. Shift the origin (origin choice 2 of space group 227)."
            )
        real, imaginary = scattering.scatter_factor_wk_array(
            momentum, z, np.sqrt(b_iso / (8 * np.pi**2)), energy
        )
        elastic += occupancy * phases.real * real[inverse]
        absorptive += occupancy * phases.real * imaginary[inverse]
        debye_waller = np.exp(-b_iso * squares / (10 * a) ** 2 / 4)
        sites += occupancy * z**2 * phases.real * debye_waller[inverse]
    to_u = _VOLT_NM3 / volume * _U_PER_VOLT
    elastic *= to_u
    absorptive *= to_u
    sites /= sites.max()

    centre = 2 * limit
    mean_potential = elastic[centre, centre, centre] / _U_PER_VOLT  # V
    volts = 1e3 * energy
    wavelength = 1.22642584554 / np.sqrt(volts * (1 + 0.97847561649e-6 * volts) + mean_potential)

    inner = slice(limit, 3 * limit + 1)
    u = elastic[inner, inner, inner].ravel()
    hkl = np.stack([x[inner, inner, inner].ravel() for x in (h, k, l)], axis=-1)
    square = (hkl**2).sum(axis=1)
    strongest = np.abs(u[square > 0]).max()
    keep = (square > 0) & (square <= (a / parameters.dmin) ** 2)
    keep &= np.abs(u) > parameters.min_relative_u * strongest
    return _Tables(
        wavenumber=1 / wavelength,
        g=hkl[keep] / a,
        hkl=hkl[keep],
        u=u[keep],
        u_table=elastic.astype(np.float32),
        absorption_table=absorptive.astype(np.float32),
        site_table=sites.astype(np.float32),
        centre=centre,
        inverse_depth=_inverse_escape_depth(structure, energy),
    )


def _structure_sum(axis: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Sum over positions of exp(-2 pi i h r) for all h, k, l of a cubic range."""
    waves = np.exp(-2j * np.pi * axis[:, None, None] * positions)  # (index, atom, x/y/z)
    return np.einsum("ap,bp,cp->abc", waves[..., 0], waves[..., 1], waves[..., 2], optimize=True)


def _import_ebsdsim():
    try:
        from ebsdsim.physics import scattering
    except ImportError as error:
        raise ImportError(
            "Simulating master patterns takes scattering factors from ebsdsim. Install it with "
            "pip install 'kikuchipy-cnn[simulation]'."
        ) from error
    return scattering


def _atomic_number(element: str) -> int:
    from ebsdsim.crystal.elements import ATOMIC_NUMBERS, clean_element_symbol

    return ATOMIC_NUMBERS[clean_element_symbol(element)]


def _inverse_escape_depth(structure, energy: float) -> float:
    """Decay rate in 1/nm of the depth distribution of electrons that leave with little loss."""
    from ebsdsim.crystal.elements import atomic_weight
    from ebsdsim.energy.surrogate import infer_direct_exp_from_cell_rebinned

    numbers = np.array([_atomic_number(atom.element) for atom in structure])
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


def _intensity(direction: np.ndarray, tables: _Tables, parameters: BlochParameters) -> float:
    """Backscattered intensity in one direction, relative to that without diffraction."""
    k = tables.wavenumber * direction
    excitation = -(2 * tables.g @ k + (tables.g**2).sum(axis=1))  # 2 K s, 1/nm^2
    strong = np.abs(excitation) < parameters.strength * np.abs(tables.u)
    hkl = np.vstack([np.zeros((1, 3), int), tables.hkl[strong]])
    difference = hkl[:, None] - hkl[None] + tables.centre
    index = np.ravel_multi_index(np.moveaxis(difference, -1, 0), tables.u_table.shape)

    matrix = tables.u_table.ravel()[index]
    np.fill_diagonal(matrix, np.concatenate([[0.0], excitation[strong]]))
    eigenvalues, waves, info = lapack.ssyevd(matrix)
    if info != 0:
        raise np.linalg.LinAlgError(f"No eigenvalues for the direction {direction}.")
    gamma = eigenvalues / (2 * tables.wavenumber)
    absorption = tables.absorption_table.ravel()[index]
    q = np.einsum("gj,gj->j", waves, absorption @ waves) / (2 * tables.wavenumber)

    overlap = waves.T @ (tables.site_table.ravel()[index] @ waves)
    a = 1 + 2 * np.pi * (q[:, None] + q[None]) / tables.inverse_depth
    b = 2 * np.pi * (gamma[:, None] - gamma[None]) / tables.inverse_depth
    excited = waves[0]
    return float(excited @ (overlap * a / (a**2 + b**2)) @ excited)


def simulate_sector(
    phase: Phase,
    energy: float = 20.0,
    half_width: int = 150,
    parameters: BlochParameters | None = None,
) -> np.ndarray:
    """Simulate the independent part of the dynamical master pattern of a cubic crystal.

    Parameters
    ----------
    phase
        Crystal of point group m-3m with its full unit cell in angstrom and the inversion centre at
        the origin.
    energy
        Energy of the electrons in keV.
    half_width
        Pixels from the centre of the square Lambert projection to its edge.
    parameters
        Cut-offs. If not given, those of the packaged library are used.

    Returns
    -------
    values
        Backscattered intensity at the grid points of the fundamental sector, of shape (n,) and
        data type float32, for :func:`unfold_sector`.

    Raises
    ------
    ValueError
        If *phase* is not of point group m-3m, or its origin is not an inversion centre.
    ImportError
        If ebsdsim is not installed.
    """
    if phase.point_group is None or phase.point_group.name != "m-3m":
        name = None if phase.point_group is None else phase.point_group.name
        raise ValueError(
            f"{phase.name}: point group {name}; only crystals of point group m-3m can be simulated."
        )
    parameters = parameters or BlochParameters()
    tables = _build_tables(phase, energy, parameters)
    _, _, directions = _lambert_sector(half_width)
    return np.array([_intensity(d, tables, parameters) for d in directions], dtype=np.float32)


def unfold_sector(values: np.ndarray, half_width: int) -> np.ndarray:
    """Fill the Lambert projection from the fundamental sector by the 48 operations of m-3m.

    Parameters
    ----------
    values
        Intensities from :func:`simulate_sector`, of shape (n,).
    half_width
        Pixels from the centre of the projection to its edge, as in the simulation.

    Returns
    -------
    master_pattern
        Square Lambert projection of the upper hemisphere, of shape (2 * half_width + 1,) * 2 and
        data type float32. Both hemispheres are alike in m-3m.

    Raises
    ------
    ValueError
        If the number of values does not belong to this half width.
    """
    i, j, _ = _lambert_sector(half_width)
    if len(values) != len(i):
        raise ValueError(f"{len(values)} values given, half_width={half_width} needs {len(i)}.")
    known = np.full((half_width + 3, half_width + 3), np.nan)
    known[i, j] = values
    known[j, i] = values
    # The spline needs values everywhere; those far from the sector are never looked up.
    known = np.where(np.isnan(known), values.mean(), known)
    mirrored = np.pad(known, ((8, 0), (8, 0)), mode="reflect")  # mirrors x = 0 and y = 0

    x, y = np.meshgrid(*[np.arange(half_width + 1) / half_width] * 2, indexing="ij")
    swap = y > x
    x, y = np.where(swap, y, x), np.where(swap, x, y)
    v = np.sort(np.abs(_lambert_to_direction(x, y)), axis=-1)  # ascending: y, x, z
    lambert = _direction_to_lambert(v[..., [1, 0, 2]])
    quadrant = map_coordinates(mirrored, [c * half_width + 8 for c in lambert], order=3)
    half = np.concatenate([quadrant[:0:-1], quadrant])
    return np.concatenate([half[:, :0:-1], half], axis=1).astype(np.float32)
