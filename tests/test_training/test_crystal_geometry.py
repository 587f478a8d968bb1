import numpy as np
import pytest

from kikuchipy_cnn.models import build_network
from kikuchipy_cnn.simulation.library import load_library
from kikuchipy_cnn.simulation.sampler import Disturbances, PatternSampler
from kikuchipy_cnn.training.crystal_geometry import (
    FAMILIES,
    _family_members,
    band_and_zone_targets,
    with_training_heads,
)


def test_family_members():
    assert [len(_family_members(family)) for family in FAMILIES] == [3, 6, 4, 12]
    for family in FAMILIES:
        np.testing.assert_allclose(np.linalg.norm(_family_members(family), axis=1), 1)


def test_looking_down_a_zone_axis():
    """[001] in the middle: (100) and (010) cross there as a plus, (110) as a cross."""
    geometry = np.array([[0.5, 0.5, 0.5, 0]])
    targets = band_and_zone_targets(np.eye(3)[None], geometry, 15)[0]
    zone_100 = targets[..., len(FAMILIES)]
    assert zone_100[7, 7] == 1
    # [101] and its like lie at 45 degrees, the edge of the screen at this distance; [100] beyond.
    assert zone_100.sum() == 1
    assert targets[7, :, 0].all() and targets[:, 7, 0].all()
    assert targets[2, 5, 0] == 0
    assert np.diag(targets[..., 1]).all()
    assert np.diag(targets[::-1, :, 1]).all()


@pytest.mark.parametrize(
    ("name", "bright", "dark"), [("Ni", 2, 1), ("Fe-bcc", 1, 2)], ids=["fcc 111", "bcc 110"]
)
def test_named_bands_are_bright(name, bright, dark):
    """The strongest planes of each lattice are bright in the patterns where the targets say."""
    library = load_library()
    disturbances = Disturbances(saturation=(3, 3), circular=0, wide=0).scaled(0)
    sample = PatternSampler(library[name][:1], [1], 64, disturbances, seed=0).sample(50)
    targets = band_and_zone_targets(sample.rotations, sample.geometry, 64)
    patterns = sample.patterns

    def mean_on(i):
        return (patterns * targets[..., i]).sum() / targets[..., i].sum()

    assert mean_on(bright) > mean_on(dark) + 0.3


@pytest.mark.parametrize(
    ("architecture", "size", "n_cells"),
    [("xception", 71, 15), ("xception_narrow", 64, 12), ("tiny", 32, 8)],
)
def test_with_training_heads(architecture, size, n_cells):
    network = build_network(architecture, (size, size, 1), 6)
    assert len(with_training_heads(network)[0].outputs) == 2
    headed, found = with_training_heads(network, 5)
    assert found == n_cells
    x = np.zeros((2, size, size, 1), np.float32)
    logits, geometry, profile = headed(x)
    assert geometry.shape == (2, n_cells, n_cells, 8)
    assert profile.shape == (2, 5)
    np.testing.assert_allclose(np.asarray(logits), np.asarray(network(x)), atol=1e-6)
