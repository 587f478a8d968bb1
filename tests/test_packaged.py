"""The packaged models on real patterns of known phase."""

from pathlib import Path

import kikuchipy as kp
import numpy as np
import pytest
from kikuchipy.signals import EBSD

import kikuchipy_cnn

# Patterns that are not ours to ship; the project's own machines have them.
REAL_PATTERNS = Path(__file__).parents[2] / "shared" / "patterns"

pytestmark = pytest.mark.filterwarnings("ignore:.*autogenerat")


@pytest.fixture(scope="module", params=kikuchipy_cnn.list_models())
def model(request):
    return kikuchipy_cnn.load_model(request.param)


def counts(xmap):
    return dict(zip(*np.unique(xmap.phase_id, return_counts=True), strict=True))


def test_nickel(model):
    signal = kp.data.nickel_ebsd_small()
    eager = signal.classify_space_group(model, show_progressbar=False)
    # Noisy patterns of 60 x 60 pixels: most of them.
    assert counts(eager)[225] >= 5
    lazy = signal.as_lazy().classify_space_group(model, show_progressbar=False)
    np.testing.assert_array_equal(lazy.phase_id, eager.phase_id)
    np.testing.assert_allclose(lazy.scores, eager.scores, atol=1e-5)


@pytest.mark.skipif(not REAL_PATTERNS.exists(), reason="patterns are not at hand")
def test_silicon(model):
    files = sorted((REAL_PATTERNS / "si_wafer").glob("*.h5"))
    maps = [kp.load(i).classify_space_group(model, show_progressbar=False) for i in files]
    assert sum(counts(xmap).get(227, 0) for xmap in maps) > len(files) / 2


@pytest.mark.skipif(not REAL_PATTERNS.exists(), reason="patterns are not at hand")
def test_ferrite(model):
    with np.load(REAL_PATTERNS / "steel_ferrite" / "patterns.npz") as data:
        patterns = data["patterns"][data["ci"] > 0.5]
    xmap = EBSD(patterns).classify_space_group(model, show_progressbar=False)
    assert counts(xmap)[229] >= 0.75 * len(patterns)


def test_card(model):
    for heading in ("## Data", "## Protocol", "## Real patterns", "## Limits", "## Reproduce"):
        assert heading in model.card
