import kikuchipy as kp
import numpy as np
import pytest
from kikuchipy.signals.util._master_pattern import _lambert2vector
from orix.crystal_map import Phase
from orix.quaternion import Rotation

from kikuchipy_cnn.simulation.projection import (
    as_master_patterns,
    detector_geometry,
    detector_to_crystal,
    project,
    random_rotations,
    strained,
)

HALF_WIDTH = 200
# Largest error of bilinear interpolation, along the diagonals, where the map has creases.
INTERPOLATION = 0.01


def hemispheres(intensity):
    """Master patterns of both hemispheres of a function of unit vectors."""
    axis = np.linspace(-1, 1, 2 * HALF_WIDTH + 1)
    y, x = (c.ravel() for c in np.meshgrid(axis, axis, indexing="ij"))
    v = _lambert2vector(x, y)
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    side = len(axis)
    return np.stack([intensity(v * [1, 1, sign]).reshape(side, side) for sign in (1, -1)])


def without_symmetry(v):
    return np.sin(4 * v[..., 0]) + 0.7 * np.cos(3 * v[..., 1] + 1) + v[..., 2] + 0.3 * v[..., 0]


def with_inversion_only(v):
    """As of the point group -1: no mirror plane and no axis."""
    x, y, z = np.moveaxis(v, -1, 0)
    return np.cos(5 * x * y) + 2 * x * z - 1.4 * y * z + 0.5 * np.sin(4 * x * x + y * z)


def directions(matrices, geometry, shape):
    """Directions in the crystal's frame of the pixels of one pattern each."""
    rows, cols = shape
    i, j = np.mgrid[:rows, :cols] + 0.5
    patterns = []
    for matrix, (pcx, pcy, pcz, stretch) in zip(matrices, geometry, strict=True):
        x = (j - pcx * cols) * (1 + stretch / 2)
        y = (pcy * rows - i) * (1 - stretch / 2)
        v = np.stack([x, y, np.full_like(x, pcz * rows)], axis=-1) @ np.asarray(matrix, float).T
        patterns.append(v / np.linalg.norm(v, axis=-1, keepdims=True))
    return np.array(patterns)


@pytest.fixture(scope="module")
def views():
    """Orientations all around and various geometries."""
    rng = np.random.default_rng(0)
    geometry = rng.uniform((0.3, 0.1, 0.4, -0.1), (0.7, 0.6, 1.0, 0.1), (30, 4))
    return random_rotations(30, rng), geometry


@pytest.mark.parametrize("shape", [(40, 40), (30, 50), (50, 30)])
def test_without_symmetry(views, shape):
    rotations, geometry = views
    master = hemispheres(without_symmetry)
    patterns = project(master[None], np.zeros(30), rotations, geometry, shape)
    expected = without_symmetry(directions(rotations, geometry, shape))
    np.testing.assert_allclose(patterns, expected, atol=INTERPOLATION)


def test_inversion_takes_the_place_of_the_lower_hemisphere(views):
    rotations, geometry = views
    master = hemispheres(with_inversion_only)
    assert np.ptp(master[0] - master[1]) > 1  # that is, z is no mirror
    patterns = project(master[:1], np.zeros(30), rotations, geometry, (40, 40))
    expected = with_inversion_only(directions(rotations, geometry, (40, 40)))
    np.testing.assert_allclose(patterns, expected, atol=INTERPOLATION)


def test_eight_bits(views):
    rotations, geometry = views
    master = hemispheres(without_symmetry)[None]
    low, high = master.min(), master.max()
    coarse = np.round((master - low) / (high - low) * 255).astype(np.uint8)
    assert as_master_patterns(coarse).dtype == np.uint8
    patterns = project(coarse, np.zeros(30), rotations, geometry, (40, 40))
    expected = without_symmetry(directions(rotations, geometry, (40, 40)))
    np.testing.assert_allclose(patterns / 255 * (high - low) + low, expected, atol=0.02)


def test_each_pattern_has_its_phase(views):
    rotations, geometry = views
    masters = np.arange(3, dtype=np.float32)[:, None, None] * np.ones((3, 5, 5))
    phases = np.arange(30) % 3
    patterns = project(masters, phases, rotations, geometry, (8, 9), workers=2)
    np.testing.assert_array_equal(patterns, np.broadcast_to(phases[:, None, None], (30, 8, 9)))


@pytest.mark.parametrize("shape", [(60, 60), (48, 80), (80, 48)])
def test_projection_is_kikuchipys(shape):
    """Tilted detectors of all shapes, with hemispheres that are not alike."""
    detector = kp.detectors.EBSDDetector(
        shape=shape,
        pc=(0.42, 0.31, 0.62),
        sample_tilt=65,
        tilt=8,
        azimuthal=5,
        px_size=70,
        binning=4,
    )
    # The smallest lattice without symmetry.
    phase = Phase("x", space_group=1)
    master = hemispheres(without_symmetry)
    signal = kp.signals.EBSDMasterPattern(
        master, projection="lambert", hemisphere="both", phase=phase
    )
    rotations = Rotation.random(6)
    expected = signal.get_patterns(
        rotations, detector, dtype_out="float32", compute=True, show_progressbar=False
    ).data
    matrices = detector_to_crystal(rotations, detector)
    geometry = np.repeat(detector_geometry(detector), 6, axis=0)
    patterns = project(master[None], np.zeros(6), matrices, geometry, shape)
    # kikuchipy stretches each pattern's intensities to [-1, 1].
    low, high = (f(patterns, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
    patterns = (patterns - low) / (high - low) * np.ptp(expected) + expected.min()
    np.testing.assert_allclose(patterns, expected.reshape(patterns.shape), atol=2e-3)


def test_projection_centers_of_a_map():
    pcs = np.random.default_rng(0).uniform(0.3, 0.7, (2, 5, 3))
    geometry = detector_geometry(kp.detectors.EBSDDetector(shape=(6, 8), pc=pcs))
    np.testing.assert_allclose(geometry[:, :3], pcs.reshape(10, 3))
    assert (geometry[:, 3] == 0).all()


@pytest.mark.parametrize("component", [(0, 0), (0, 2), (1, 2), (1, 1)])
def test_strain_moves_bands(component):
    """The trace of a plane lies where its normal, deformed by the inverse transpose, has it."""
    strain = np.zeros((3, 3))
    strain[component] = strain[component[::-1]] = 0.02
    normal = np.array([0.6, 0.5, 0.62]) / np.linalg.norm([0.6, 0.5, 0.62])
    master = hemispheres(lambda v: np.exp(-(((v @ normal) / 0.05) ** 2)))
    # The detector faces the trace: its x axis is the normal.
    along = np.cross(normal, [0, 0, 1])
    along /= np.linalg.norm(along)
    rotation = np.stack([normal, along, np.cross(normal, along)], axis=1)
    matrices = strained(rotation[None], strain[None])
    geometry = np.array([[0.5, 0.5, 0.6, 0]])
    pattern = project(master[None], np.zeros(1), matrices, geometry, (200, 200))[0]
    deformed = np.linalg.inv(np.eye(3) + strain).T @ normal
    found = (pattern * np.arange(200)).sum(axis=1) / pattern.sum(axis=1)
    y = (0.5 - (np.arange(200) + 0.5) / 200) / 0.6
    a, b, c = deformed @ rotation
    expected = (-(b * y + c) / a * 0.6 + 0.5) * 200 - 0.5
    np.testing.assert_allclose(found[20:-20], expected[20:-20], atol=0.15)


def test_orientations_are_uniform():
    """The mean of a uniform distribution of rotation matrices is zero, each square one third."""
    rotations = random_rotations(4000, np.random.default_rng(0))
    np.testing.assert_allclose(rotations.mean(axis=0), 0, atol=0.04)
    np.testing.assert_allclose((rotations**2).mean(axis=0), 1 / 3, atol=0.03)
    np.testing.assert_allclose(np.linalg.det(rotations), 1, atol=1e-5)


@pytest.mark.parametrize("shape", [(5, 5), (2, 5, 6), (2, 3, 5, 5), (0, 5, 5), (1, 2, 2)])
def test_wrong_master_patterns(shape):
    with pytest.raises(ValueError, match="Master patterns of shape"):
        as_master_patterns(np.zeros(shape))


def test_wrong_arguments():
    master, geometry = np.zeros((2, 5, 5)), np.array([[0.5, 0.5, 0.5, 0]])
    with pytest.raises(ValueError, match="Phases from 2 to 2 given, but there are 2 master"):
        project(master, [2], np.eye(3)[None], geometry, (8, 8))
    with pytest.raises(ValueError, match=r"1 phases, matrices of shape \(3, 3\)"):
        project(master, [0], np.eye(3), geometry, (8, 8))
    with pytest.raises(ValueError, match="workers=0; at least one"):
        project(master, [0], np.eye(3)[None], geometry, (8, 8), workers=0)


@pytest.mark.parametrize("value, match", [(np.nan, "not finite"), (0, "PCz=0"), (-1, "PCz=-1")])
def test_impossible_geometry(value, match):
    """An even side once turned such numbers into addresses far outside the master pattern."""
    master_patterns = np.ones((1, 2, 300, 300), np.float32)
    with pytest.raises(ValueError, match=match):
        project(master_patterns, [0], np.eye(3)[None], [[0.5, 0.5, value, 0]], (40, 40))
    with pytest.raises(ValueError, match="not finite"):
        project(master_patterns, [0], np.full((1, 3, 3), np.nan), [[0.5, 0.5, 1, 0]], (40, 40))
