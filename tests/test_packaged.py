"""The packaged models on real patterns of known phase."""

from pathlib import Path

import kikuchipy as kp
import numpy as np
import pytest
from kikuchipy.signals import EBSD

import kikuchipy_cnn
from kikuchipy_cnn.simulation import Disturbances, load_master_pattern, simulate_patterns
from kikuchipy_cnn.uncertainty import RejectReason

# Patterns that are not ours to ship; the project's own machines have them.
REAL_PATTERNS = Path(__file__).parents[2] / "shared" / "patterns"

pytestmark = pytest.mark.filterwarnings("ignore:.*autogenerat")


@pytest.fixture(scope="module", params=kikuchipy_cnn.list_models())
def model(request):
    return kikuchipy_cnn.load_model(request.param)


# Least number of right answers if none is refused. The ensemble is the best on simulated patterns,
# and not on those of cameras, see its card.
LEAST_RIGHT = {"nickel": 5, "silicon": 2, "ferrite": 37}
LEAST_RIGHT_OF_ENSEMBLE = {"nickel": 5, "silicon": 1, "ferrite": 25}


def least_right(model, name):
    is_ensemble = isinstance(model, kikuchipy_cnn.Ensemble)
    return (LEAST_RIGHT_OF_ENSEMBLE if is_ensemble else LEAST_RIGHT)[name]


def n_right(signals, model, number):
    # The figures of the cards are of this precision.
    settings = {"reject": False, "precision": "float32", "show_progressbar": False}
    maps = [signal.classify_space_group(model, **settings) for signal in signals]
    return sum(np.count_nonzero(xmap.phase_id == number) for xmap in maps)


def test_nickel(model):
    signal = kp.data.nickel_ebsd_small()
    assert n_right([signal], model, 225) >= least_right(model, "nickel")
    eager = signal.classify_space_group(model, show_progressbar=False)
    lazy = signal.as_lazy().classify_space_group(model, show_progressbar=False)
    np.testing.assert_array_equal(lazy.phase_id, eager.phase_id)
    np.testing.assert_allclose(lazy.confidence, eager.confidence, atol=1e-5)
    # Some are refused, but not most.
    assert eager.is_indexed.sum() >= 6


@pytest.mark.skipif(not REAL_PATTERNS.exists(), reason="patterns are not at hand")
def test_silicon(model):
    signals = [kp.load(i) for i in sorted((REAL_PATTERNS / "si_wafer").glob("*.h5"))]
    assert n_right(signals, model, 227) >= least_right(model, "silicon")


@pytest.mark.skipif(not REAL_PATTERNS.exists(), reason="patterns are not at hand")
def test_ferrite(model):
    with np.load(REAL_PATTERNS / "steel_ferrite" / "patterns.npz") as data:
        signal = EBSD(data["patterns"][data["ci"] > 0.5])
    assert n_right([signal], model, 229) >= least_right(model, "ferrite")
    xmap = signal.classify_space_group(model, precision="float32", show_progressbar=False)
    assert xmap.is_indexed.mean() > 0.8


class TestRefused:
    """What is no pattern of a known phase."""

    def reasons(self, images, model):
        images = np.asarray(images)
        low, high = (f(images, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
        signal = EBSD(np.round((images - low) / (high - low) * 255).astype(np.uint8))
        return signal.classify_space_group(model, show_progressbar=False).reject_reason

    @pytest.mark.parametrize("size", [60, 200])
    def test_noise(self, model, rng, size):
        reasons = self.reasons(rng.normal(size=(100, size, size)), model)
        assert (reasons == RejectReason.NO_DIFFRACTION).mean() >= 0.97

    def test_dark_with_a_gradient(self, model, rng):
        """As from a pore: electrons from elsewhere, and noise."""
        y, x = np.mgrid[:100, :100] / 100
        slopes = rng.normal(size=(2, 40, 1, 1))
        images = slopes[0] * x + slopes[1] * y + rng.normal(0, 0.1, (40, 100, 100))
        assert (self.reasons(images, model) == RejectReason.NO_DIFFRACTION).mean() >= 0.95

    def test_zinc(self, model):
        """A hexagonal metal."""
        signal = simulate_patterns(
            [load_master_pattern("Zn")],
            100,
            shape=(100, 100),
            disturbances=Disturbances.of_level("low"),
            seed=3,
            show_progressbar=False,
        )
        xmap = signal.classify_space_group(model, show_progressbar=False)
        assert (xmap.reject_reason == RejectReason.OUTSIDE_CLASSES).mean() > 0.5

    def test_less_risk_answers_less(self, model):
        signal = kp.data.nickel_ebsd_small()
        few = signal.classify_space_group(model, max_risk=0.03, show_progressbar=False)
        many = signal.classify_space_group(model, max_risk=0.1, show_progressbar=False)
        assert few.is_indexed.sum() < many.is_indexed.sum()


def test_card(model):
    for heading in ("## Doubt", "## Real patterns", "## Limits", "## Reproduce"):
        assert heading in model.card
