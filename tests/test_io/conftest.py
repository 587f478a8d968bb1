"""Shared fixtures: phases and maps of all kinds, whose rotations are not identity."""

import warnings

import numpy as np
import pytest
from diffpy.structure import Lattice, Structure
from orix.crystal_map import CrystalMap, Phase, PhaseList
from orix.quaternion import Rotation

from kikuchipy_cnn.io import load, save


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def _make_phase(name, space_group=None, cell=(4, 4, 4, 90, 90, 90), **kwargs):
    structure = Structure(title=name, lattice=Lattice(*cell))
    return Phase(name, space_group=space_group, structure=structure, **kwargs)


def _alloy():
    return {
        3: _make_phase("γ′-Ni₃Al", 221, (3.572, 3.572, 3.572, 90, 90, 90)),
        7: _make_phase("α-Fe", 229, (2.866, 2.866, 2.866, 90, 90, 90)),
        11: _make_phase("Al₂O₃", 167, (4.759, 4.759, 12.993, 90, 90, 120)),
    }


_ALLOY_ID = (3, 3, 7, 7, 3, -1, 7, 11, 11, 11, 3, 7)


def _make_map(
    phases=None, phase_id=_ALLOY_ID, shape=(3, 4), *, dx=0.5, dy=0.25, x=None, y=None,
    identity=(), **kwargs,
):  # fmt: skip
    n = len(phase_id)
    if x is None:
        y, x = (i.ravel() for i in np.indices(shape) * np.reshape((dy, dx), (2, 1, 1)))
    kwargs.setdefault("rotations", Rotation.from_euler(np.linspace(0.1, 1.5, 3 * n).reshape(n, 3)))
    rotations = kwargs.pop("rotations")
    for i in identity:
        rotations[i] = Rotation.identity()
    return CrystalMap(
        rotations=rotations,
        phase_id=np.array(phase_id),
        phase_list=PhaseList(_alloy() if phases is None else phases),
        x=np.asarray(x, dtype=float),
        y=np.asarray(y, dtype=float),
        scan_unit=kwargs.pop("scan_unit", "um"),
        **kwargs,
    )


@pytest.fixture(scope="session")
def make_phase():
    """Function that makes a phase with a cubic cell of 4 Å if none is given."""
    return _make_phase


@pytest.fixture(scope="session")
def make_map():
    """Function that makes a map, of 3 x 4 points in three phases with names in Unicode if nothing
    is given."""
    return _make_map


@pytest.fixture
def alloy():
    """The phases that maps have if none are given, by their IDs."""
    return _alloy()


@pytest.fixture(scope="session")
def honeycomb():
    """Function that gives the coordinates of a hexagonal grid from the numbers of points in its
    odd and even rows, and which of these are shifted."""

    def honeycomb(n_odd, n_even, n_rows, first_is_shifted=False, step=1.0):
        x, y = [], []
        for row in range(n_rows):
            n = n_even if row % 2 else n_odd
            shift = 0.5 if (row % 2 == 1) is not first_is_shifted else 0
            x += [step * (i + shift) for i in range(n)]
            y += n * [step * row * np.sqrt(3) / 2]
        return np.array(x), np.array(y)

    return honeycomb


@pytest.fixture
def round_trip(tmp_path):
    """Function that saves a map and loads it again."""

    def round_trip(xmap, suffix, **kwargs):
        path = tmp_path / f"map{suffix}"
        save(path, xmap, **kwargs)
        return load(path)

    return round_trip
