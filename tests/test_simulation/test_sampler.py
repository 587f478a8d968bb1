import kikuchipy as kp
import numpy as np
import pytest
from orix.crystal_map import Phase
from orix.quaternion import Rotation

from kikuchipy_cnn.simulation.library import load_library
from kikuchipy_cnn.simulation.sampler import Disturbances, PatternSampler, project

CLEAN = Disturbances(
    stretch=(0, 0),
    blur=(0, 0),
    band_loss=(0, 0),
    asymmetry=(0, 0),
    noise=(0, 0),
    noise_blur=(0, 0),
    gradient=(0, 0),
    contrast=(0, 0),
    saturation=(100, 100),
    gamma=(0, 0),
    circular=0,
    wide=0,
)


@pytest.fixture(scope="module")
def master_patterns():
    library = load_library()
    return np.stack([library[name] for name in ("Ni", "Fe-bcc", "Si")])


def test_projection_is_kikuchipys(master_patterns):
    """Same detector, same crystal: same pattern, up to the choice of reference frames."""
    pc = (0.42, 0.31, 0.62)
    detector = kp.detectors.EBSDDetector(shape=(60, 60), pc=pc, sample_tilt=90, tilt=0)
    phase = Phase("x", space_group=225)
    signal = kp.signals.EBSDMasterPattern(
        np.stack([master_patterns[0]] * 2), projection="lambert", hemisphere="both", phase=phase
    )
    rotation = Rotation.from_euler([0.3, 0.5, 0.7])
    expected = signal.get_patterns(
        rotation, detector, dtype_out="float32", compute=True, show_progressbar=False
    ).data.reshape(60, 60)

    # With the sample at 90 degrees its normal lies in the detector's plane. Try the few ways in
    # which the two frames can be turned against each other by right angles.
    best = -1.0
    for sample_to_detector in _right_angles():
        matrix = rotation.to_matrix()[0] @ sample_to_detector
        out = np.empty((1, 60, 60), np.float32)
        geometry = np.array([[*pc, 0]], np.float32)
        project(master_patterns, np.array([0]), matrix[None].astype(np.float32), geometry, out)
        best = max(best, np.corrcoef(out.ravel(), expected.ravel())[0, 1])
    assert best > 0.99


def _right_angles():
    for order in ((0, 1, 2), (1, 2, 0), (2, 0, 1), (0, 2, 1), (2, 1, 0), (1, 0, 2)):
        for signs in np.ndindex(2, 2, 2):
            matrix = np.eye(3)[list(order)] * (1 - 2 * np.array(signs))
            if np.linalg.det(matrix) > 0:
                yield matrix


def test_seed(master_patterns):
    def sample(seed):
        return PatternSampler(master_patterns, [1, 1, 1], 32, seed=seed).sample(8)

    first, again, other = sample(1), sample(1), sample(2)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first.patterns, other.patterns)


def test_frequencies(master_patterns):
    phases = PatternSampler(master_patterns, [3, 0, 1], 16, seed=0).sample(2000).phases
    counts = np.bincount(phases, minlength=3) / 2000
    np.testing.assert_allclose(counts, [0.75, 0, 0.25], atol=0.04)


def test_orientations_are_uniform(master_patterns):
    """The mean of a uniform distribution of rotation matrices is zero, each square one third."""
    rotations = PatternSampler(master_patterns, [1, 1, 1], 8, seed=0).sample(4000).rotations
    np.testing.assert_allclose(rotations.mean(axis=0), 0, atol=0.04)
    np.testing.assert_allclose((rotations**2).mean(axis=0), 1 / 3, atol=0.03)


def test_disturbances_act(master_patterns):
    def roughness(disturbances):
        patterns = (
            PatternSampler(master_patterns, [1, 1, 1], 48, disturbances, 5).sample(16).patterns
        )
        patterns = patterns / patterns.std(axis=(1, 2), keepdims=True)
        return np.abs(np.diff(patterns, axis=2)).mean()

    from dataclasses import replace

    clean = roughness(CLEAN)
    assert roughness(replace(CLEAN, blur=(0.03, 0.03))) < 0.7 * clean
    assert roughness(replace(CLEAN, noise=(1, 1))) > 1.2 * clean
    assert roughness(replace(CLEAN, band_loss=(1, 1))) > 1.1 * clean


def test_weights(master_patterns):
    disturbances = Disturbances(circular=1, wide=0)
    weights = PatternSampler(master_patterns, [1, 1, 1], 50, disturbances, 0).sample(10).weights
    assert (weights[:, 0, 0] == 0).all()
    assert (weights[:, 25, 25] == 1).all()
    area = weights.mean(axis=(1, 2))
    assert (area > np.pi * 0.45**2).all() and (area < np.pi * 0.51**2).all()


def test_scaled():
    half = Disturbances(noise=(0, 1), pcz=(0.5, 1)).scaled(0.5)
    assert half.noise == (0, 0.5)
    assert half.pcz == (0.625, 0.875)


def test_wrong_probabilities(master_patterns):
    with pytest.raises(ValueError, match="3 master patterns, but 2 probabilities"):
        PatternSampler(master_patterns, [1, 1], 32)
