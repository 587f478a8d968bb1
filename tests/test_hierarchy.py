import numpy as np
import pytest

import kikuchipy_cnn
from kikuchipy_cnn import SpaceGroupClasses, io
from kikuchipy_cnn.crystal_map import probabilities_to_crystal_map
from kikuchipy_cnn.hierarchy import coarser_map, resolved_map, sum_up
from kikuchipy_cnn.label_classes import LabelClasses

CLASSES = SpaceGroupClasses((221, 223, 225, 227, 229, 230))
ROWS = np.array(
    [
        [0.95, 0, 0.05, 0, 0, 0],
        [0.5, 0.45, 0.05, 0, 0, 0],
        [0.03, 0, 0.5, 0.45, 0.02, 0],
        [0.3, 0, 0.3, 0, 0.4, 0],
        [0.98, 0, 0.02, 0, 0, 0],
    ]
)


@pytest.fixture
def xmap():
    return probabilities_to_crystal_map(
        ROWS,
        CLASSES,
        navigation_shape=(2, 3),
        step_sizes=(0.5, 0.5),
        scan_unit="um",
        is_in_data=np.array([1, 1, 1, 1, 0, 1], bool),
        indexed=np.array([1, 1, 1, 1, 0], bool),
    )


def test_coarser_map(xmap):
    coarse = kikuchipy_cnn.coarser_map(xmap)
    # P, P, F, P (221 alone is not the most probable group), and one not indexed.
    names = [coarse.phases[i].name for i in coarse.phase_id]
    assert names == ["P", "P", "F", "I", "not_indexed"]
    np.testing.assert_allclose(coarse.prop["p_P"], [0.95, 0.95, 0.03, 0.3, 0.98])
    np.testing.assert_allclose(coarse.prop["p_F"], [0.05, 0.05, 0.95, 0.3, 0.02])
    np.testing.assert_allclose(coarse.prop["scores"], [0.95, 0.95, 0.95, 0.4, 0])
    assert set(coarse.prop) == {"scores", "entropy", "margin", "p_F", "p_I", "p_P"}
    np.testing.assert_array_equal(coarse.is_in_data, xmap.is_in_data)
    np.testing.assert_allclose(coarse.x, xmap.x)
    assert (coarse.scan_unit, coarse.shape) == (xmap.scan_unit, xmap.shape)


def test_coarser_map_leaves_the_map_as_it_is(xmap):
    before = xmap.phase_id.copy(), sorted(xmap.prop), xmap.phases.names
    coarser_map(xmap)
    resolved_map(xmap)
    np.testing.assert_array_equal(xmap.phase_id, before[0])
    assert (sorted(xmap.prop), xmap.phases.names) == before[1:]


def test_centring_may_differ_from_that_of_the_most_probable_group():
    rows = np.array([[0.3, 0.25, 0.0, 0.0, 0.45, 0.0]])
    xmap = probabilities_to_crystal_map(rows, CLASSES, navigation_shape=())
    assert xmap.phase_id.tolist() == [229]
    coarse = coarser_map(xmap)
    assert coarse.phases[int(coarse.phase_id[0])].name == "P"


def test_resolved_map(xmap):
    resolved = kikuchipy_cnn.resolved_map(xmap, confidence=0.9)
    names = [resolved.phases[i].name for i in resolved.phase_id]
    # That a crystal is of m-3m is no answer of a model that knows nothing else.
    assert names == ["Pm-3m", "P lattice", "F lattice", "not_indexed", "not_indexed"]
    np.testing.assert_allclose(resolved.prop["scores"], [0.95, 0.95, 0.95, 0, 0])
    np.testing.assert_allclose(resolved.prop["p_221"], xmap.prop["p_221"])


def test_resolved_map_is_silent_where_nothing_is_probable():
    classes = SpaceGroupClasses((194, 225, 229))
    xmap = probabilities_to_crystal_map(
        np.array([[0.4, 0.3, 0.3], [0.2, 0.5, 0.3]]), classes, navigation_shape=(2,)
    )
    resolved = resolved_map(xmap, confidence=0.75)
    assert [resolved.phases[i].name for i in resolved.phase_id] == [
        "not_indexed",
        "Laue group m-3m",
    ]


def test_colors_of_answers_differ():
    numbers = (194, 221, 223, 225, 227, 229, 230)
    rows = np.eye(7).tolist()
    rows += [[0, 0.5, 0.5, 0, 0, 0, 0], [0, 0, 0, 0.5, 0.5, 0, 0], [0, 0.3, 0, 0.4, 0, 0.3, 0]]
    xmap = probabilities_to_crystal_map(
        np.array(rows), SpaceGroupClasses(numbers), navigation_shape=(10,)
    )
    resolved = resolved_map(xmap)
    assert {"P lattice", "F lattice", "Laue group m-3m"} <= set(resolved.phases_in_data.names)
    colors = [phase.color for _, phase in resolved.phases_in_data]
    assert len(set(colors)) == len(colors) == 10


def test_round_trip(xmap, tmp_path):
    """Coarser answers are maps like others, and go to files."""
    resolved = resolved_map(xmap)
    io.save(tmp_path / "map.h5", resolved)
    loaded = io.load(tmp_path / "map.h5")
    np.testing.assert_array_equal(loaded.phase_id, resolved.phase_id)
    assert "F lattice" in loaded.phases.names


@pytest.mark.parametrize("confidence", [0.5, 1.1, np.nan])
def test_confidence_out_of_range(xmap, confidence):
    with pytest.raises(ValueError, match="confidence"):
        resolved_map(xmap, confidence)


def test_other_maps_are_refused(xmap):
    with pytest.raises(ValueError, match="nothing to tell apart"):
        coarser_map(xmap, "Laue group")
    with pytest.raises(ValueError, match="level='phase'"):
        coarser_map(xmap, "phase")
    phases = probabilities_to_crystal_map(
        np.array([[0.7, 0.3]]), LabelClasses(("Ni", "Ni3Al")), navigation_shape=()
    )
    for function in (coarser_map, resolved_map):
        with pytest.raises(ValueError, match="no space groups"):
            function(phases)


def test_sum_up():
    coarse, sums = sum_up(CLASSES, ROWS, "centring")
    assert coarse.names == ("F", "I", "P")
    np.testing.assert_allclose(sums.sum(axis=1), 1)
    np.testing.assert_allclose(sums[1], [0.05, 0, 0.95])
