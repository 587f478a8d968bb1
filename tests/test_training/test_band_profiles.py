import numpy as np
import pytest

from kikuchipy_cnn.simulation.lambert import lambert_to_direction
from kikuchipy_cnn.simulation.library import load_library
from kikuchipy_cnn.training.band_profiles import FAMILIES, band_profiles, profile_targets


def make_master_pattern(normals, width, side=201):
    """Bright bands of a half width in degrees around planes."""
    axis = np.linspace(-1, 1, side)
    directions = lambert_to_direction(*np.meshgrid(axis, axis))
    normals = np.array(normals) / np.linalg.norm(normals, axis=1, keepdims=True)
    angle = np.rad2deg(np.arcsin(np.abs(directions @ normals.T)))
    return (angle < width).any(axis=-1).astype(np.float32)


@pytest.mark.parametrize("width", [2.0, 5.0])
def test_width_of_a_band(width):
    """The profile of (100) falls where its band ends, and other families know nothing of it."""
    normals = np.eye(3)
    profile = band_profiles(make_master_pattern(normals, width)[None])[0]
    angles = np.linspace(0, 10, profile.shape[1])
    of_100 = profile[FAMILIES.index((1, 0, 0))]
    middle = (of_100.max() + of_100.min()) / 2
    assert angles[np.argmax(of_100 < middle)] == pytest.approx(width, abs=0.6)
    of_111 = profile[FAMILIES.index((1, 1, 1))]
    assert np.ptp(of_111) < 0.4 * np.ptp(of_100)


def test_brightness_and_contrast_do_not_count():
    pattern = make_master_pattern([(1, 1, 0), (1, -1, 0)], 3)
    one, other = band_profiles(np.stack([pattern, 40 * pattern + 7]))
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_tells_lattices_apart():
    """The strongest band of fcc is {111}, that of bcc {110}, whatever the element."""
    library = load_library()
    profiles = dict(
        zip(
            ("Ni", "Al", "W", "Fe-bcc"),
            band_profiles(np.stack([library[n][0] for n in ("Ni", "Al", "W", "Fe-bcc")])),
            strict=True,
        )
    )
    i_110, i_111 = FAMILIES.index((1, 1, 0)), FAMILIES.index((1, 1, 1))
    for name, profile in profiles.items():
        fcc = profile[i_111, :4].mean() > profile[i_110, :4].mean()
        assert fcc == (name in ("Ni", "Al"))


def test_targets_are_independent():
    rng = np.random.default_rng(0)
    profiles = rng.standard_normal((40, 7, 24)) * np.linspace(0.1, 3, 24)
    weights = rng.random(40)
    targets = profile_targets(profiles, weights, 6)
    weights /= weights.sum()
    np.testing.assert_allclose(weights @ targets, 0, atol=1e-5)
    np.testing.assert_allclose((targets.T * weights) @ targets, np.eye(6), atol=1e-4)


def test_phases_that_are_never_seen_set_no_axes():
    rng = np.random.default_rng(0)
    profiles = rng.standard_normal((10, 7, 24))
    weights = np.append(np.ones(9), 0)
    alone = profile_targets(profiles[:9], np.ones(9), 4)
    np.testing.assert_allclose(profile_targets(profiles, weights, 4)[:9], alone, atol=1e-4)


def test_fewer_phases_than_components():
    profiles = np.random.default_rng(0).standard_normal((3, 7, 24))
    assert profile_targets(profiles, np.ones(3), 12).shape == (3, 2)
