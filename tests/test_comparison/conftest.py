"""A map of three cubic phases whose orientations are known, recorded once."""

import numpy as np
import pytest
from kikuchipy.detectors import EBSDDetector
from orix.crystal_map import CrystalMap, PhaseList, create_coordinate_arrays
from orix.quaternion import Orientation, Rotation
from orix.sampling import get_sample_fundamental

from kikuchipy_cnn.simulation import load_phases, simulate_map

RESOLUTION = 6


@pytest.fixture(scope="session")
def phases():
    return load_phases()


@pytest.fixture(scope="session")
def detector():
    return EBSDDetector((60, 60), pc=(0.5, 0.25, 0.55), sample_tilt=70)


@pytest.fixture(scope="session")
def truth(phases):
    """Map of 4 rows and 5 columns, near nodes of dictionaries of 6 degrees.

    What lies between nodes of so few is not told apart without refinement.
    """
    rng = np.random.default_rng(0)
    coordinates, n = create_coordinate_arrays((4, 5), (1, 2))
    nodes = get_sample_fundamental(RESOLUTION, space_group=225)
    away = Rotation.from_axes_angles(
        rng.standard_normal((n, 3)), rng.uniform(0.5, 1.5, n), degrees=True
    )
    return CrystalMap(
        rotations=away * nodes[rng.choice(nodes.size, n, replace=False)],
        phase_id=np.array([225, 227, 229])[np.arange(n) % 3],
        phase_list=PhaseList({225: phases["Ni"], 227: phases["Si"], 229: phases["Fe-bcc"]}),
        scan_unit="um",
        **coordinates,
    )


@pytest.fixture(scope="session")
def signal(truth, detector):
    return simulate_map(truth, detector)


@pytest.fixture(scope="session")
def misorientation():
    """Function that returns angles in degrees between orientations of cubic crystals."""

    def misorientation(first, second, point_group):
        first, second = (
            Orientation(i.data.reshape(-1, 4), symmetry=point_group) for i in (first, second)
        )
        return np.rad2deg(first.angle_with(second))

    return misorientation
