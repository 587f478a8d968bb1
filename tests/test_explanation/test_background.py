from dataclasses import replace

import numpy as np
import pytest

from kikuchipy_cnn import LabelClasses, SpaceGroupClasses
from kikuchipy_cnn.explanation import simulate_background


@pytest.fixture(scope="module", params=[32, 48])
def bundle(request, tiny_bundle, as_bundle):
    """Networks below and above the size that patterns are simulated at, of which none is run."""
    if request.param == 32:
        return tiny_bundle
    from keras import Sequential, layers

    return as_bundle(Sequential([layers.Input((48, 48, 1)), layers.Flatten(), layers.Dense(3)]))


@pytest.mark.parametrize(("n", "expected"), [(1, 3), (5, 24)])
def test_number_and_shape(tiny_bundle, n, expected):
    """Of each class alike, at least n, from up to four phases."""
    background = simulate_background(tiny_bundle, n)
    assert background.shape == (expected, 32, 32, 1)
    assert background.dtype == np.float32
    # They are preprocessed, and no two are alike.
    assert 0.5 < background.std() < 1.5 and np.abs(background).max() <= tiny_bundle.transform.clip
    correlations = np.corrcoef(background.reshape(expected, -1)) - np.eye(expected)
    assert np.abs(correlations).max() < 0.9


def test_square_patterns_are_the_default(bundle):
    np.testing.assert_allclose(
        simulate_background(bundle, 1), simulate_background(bundle, 1, shape=(60, 60)), atol=1e-5
    )


@pytest.mark.parametrize(
    ("shape", "masked"), [((60, 60), True), ((60, 100), False), ((100, 60), True)]
)
def test_empty_where_the_patterns_are(bundle, shape, masked):
    mask = None
    if masked:
        y, x = np.ogrid[: shape[0], : shape[1]]
        mask = np.hypot(y - shape[0] / 2, x - shape[1] / 2) > 25
    background = simulate_background(bundle, 2, shape=shape, signal_mask=mask)
    beside = bundle.transform.coverage(shape, mask) <= 0.5
    assert (background[:, beside] == 0).all()
    # But for a pixel at the edge, where two sizes differ, there is something everywhere else.
    nothing = (background == 0).all(axis=(0, 3)) & ~beside
    assert nothing.sum() <= 0.1 * (~beside).sum()
    assert (background[:, ~beside].std(axis=1) > 0.3).all()
    # What does not count has no influence: patterns are levelled where they are.
    assert np.abs(background[:, ~beside].mean()) < 0.1


def test_shape_is_that_of_the_mask(tiny_bundle):
    mask = np.zeros((40, 80), bool)
    mask[:, :20] = True
    first = simulate_background(tiny_bundle, 1, signal_mask=mask)
    second = simulate_background(tiny_bundle, 1, shape=(40, 80), signal_mask=mask)
    np.testing.assert_array_equal(first, second)


def test_seed(tiny_bundle):
    first, again, other = (simulate_background(tiny_bundle, 1, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1


def test_path(tiny_bundle, tmp_path):
    path = tiny_bundle.save(tmp_path / "tiny")
    np.testing.assert_array_equal(simulate_background(path, 1), simulate_background(tiny_bundle, 1))


@pytest.mark.parametrize(
    "classes",
    [LabelClasses(("Fe-bcc", "Ni", "Ni3Al"), (229, 225, 221)), LabelClasses(("F", "I", "P"))],
)
def test_other_classes(tiny_bundle, classes):
    assert len(simulate_background(replace(tiny_bundle, classes=classes), 1)) == 3


@pytest.mark.parametrize(
    ("classes", "match"),
    [
        (SpaceGroupClasses((3, 225, 4)), "no phase of 3, 4 in the packaged library"),
        (LabelClasses(("Ni", "Ni3Al", "X"), (225, 221, 229)), "no phase of X in the packaged"),
        (LabelClasses(("F", "Fe", "P")), "F, Fe, P are neither centrings nor Laue groups, and not"),
    ],
)
def test_no_phases_of_a_class(tiny_bundle, classes, match):
    with pytest.raises(ValueError, match=match):
        simulate_background(replace(tiny_bundle, classes=classes), 1)


@pytest.mark.parametrize("n", [0, -1, 1.5, None])
def test_wrong_number(tiny_bundle, n):
    with pytest.raises(ValueError, match=f"n={n} must be an integer of at least 1"):
        simulate_background(tiny_bundle, n)


def test_unknown_model():
    with pytest.raises(ValueError, match="There is no model 'nothing'"):
        simulate_background("nothing")
