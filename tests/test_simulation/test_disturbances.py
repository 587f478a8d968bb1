from dataclasses import fields, replace

import numpy as np
import pytest

from kikuchipy_cnn.simulation.disturbances import NOISE_LEVELS, Disturbances

GEOMETRY = ("pcx", "pcy", "pcz")


def test_none_has_no_imperfection():
    none = Disturbances.none()
    assert none.noise == none.blur == none.strain == none.background == (0, 0)
    assert none.quality == (100, 100)
    for name in ("overlap", "dusty", "binned", "compressed", "circular", "wide"):
        assert getattr(none, name) == 0
    for name in GEOMETRY:
        assert getattr(none, name) == getattr(Disturbances(), name)


def test_scaled():
    half = Disturbances(noise=(0, 1), pcz=(0.5, 1), quality=(60, 90), overlap=0.3).scaled(0.5)
    assert half.noise == (0, 0.5)
    assert half.pcz == (0.625, 0.875)
    assert half.quality == (80, 95)
    assert half.overlap == 0.15
    # What is no imperfection stays, among it the detector's shape.
    assert half.circular == Disturbances().circular
    # Levelling off at 1.5 is half as strong at nearly 3.
    assert half.saturation == pytest.approx((2.956, 9.524), abs=1e-3)


def test_scaled_to_nothing_and_back():
    full = Disturbances()
    assert full.scaled(1) == full
    nothing = full.scaled(0)
    assert nothing.blur == nothing.vignetting == nothing.stuck == nothing.dust == (0, 0)
    assert nothing.binned == nothing.compressed == nothing.overlap == nothing.dusty == 0
    for name in GEOMETRY:
        low, high = getattr(nothing, name)
        assert low == high == pytest.approx(np.mean(getattr(full, name)))


@pytest.mark.parametrize("severity", [-0.1, 1.1])
def test_impossible_severity(severity):
    with pytest.raises(ValueError, match=f"severity={severity} is not in"):
        Disturbances().scaled(severity)


def test_every_parameter_is_described_once():
    table, names = Disturbances.table(), [entry.name for entry in fields(Disturbances)]
    assert len(table.splitlines()) == len(names) + 2
    for name in names:
        assert f"| `{name}` |" in table
        assert f"\n    {name}\n        " in Disturbances.__doc__
    assert "| `pcx` | 0.4 to 0.6 | Projection center from the left" in table
    assert Disturbances.__doc__.index("Parameters\n") < Disturbances.__doc__.index("Raises\n")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("blur", (0.2, 0.1), r"blur=\(0.2, 0.1\) is upside down. Give \(lowest, highest\)"),
        ("blur", (-0.1, 0.1), r"blur=\(-0.1, 0.1\) reaches beyond \[0, inf\]"),
        ("pcz", (0, 1), r"pcz=\(0, 1\) reaches beyond \[0.001, inf\]"),
        ("quality", (50, 101), r"quality=\(50, 101\) reaches beyond \[1, 100\]"),
        ("shot", 0.5, "shot=0.5 is no range"),
        ("noise", (0, float("nan")), "is no range"),
        ("noise", (0, 1, 2), "is no range"),
        ("overlap", 1.5, r"overlap=1.5 is no fraction. Give a number in \[0, 1\]"),
        ("binned", (0, 1), "is no fraction"),
    ],
)
def test_impossible(name, value, message):
    with pytest.raises(ValueError, match=message):
        replace(Disturbances(), **{name: value})


def test_scaled_without_geometry():
    full = Disturbances()
    part = full.scaled(0.5, geometry=False)
    assert (part.pcz, part.pcy, part.stretch) == (full.pcz, full.pcy, full.stretch)
    assert part.noise == (0, full.noise[1] / 2)


def test_levels():
    low, medium, high = (Disturbances.of_level(level) for level in NOISE_LEVELS)
    assert high == Disturbances()
    assert low.noise[1] < medium.noise[1] < high.noise[1]
    assert low.pcz == high.pcz
    with pytest.raises(ValueError, match="'none' is none of 'low', 'medium', 'high'"):
        Disturbances.of_level("none")


def test_thinned():
    full, nothing = Disturbances(), Disturbances.none()
    assert full.thinned(0, np.random.default_rng(0)) == full
    assert full.thinned(1, np.random.default_rng(0)).noise == nothing.noise
    assert full.thinned(1, np.random.default_rng(0)).pcz == full.pcz
    rng = np.random.default_rng(1)
    thinned = [full.thinned(0.3, rng) for _ in range(300)]
    for name in ("noise", "mottle", "overlap", "saturation"):
        without = [getattr(x, name) == getattr(nothing, name) for x in thinned]
        assert 0.2 < np.mean(without) < 0.4
    both = [x.noise == nothing.noise and x.mottle == nothing.mottle for x in thinned]
    assert np.mean(both) < 0.2
