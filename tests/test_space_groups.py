import json

import numpy as np
import pytest
from orix.crystal_map import Phase

from kikuchipy_cnn.space_groups import (
    SpaceGroupClasses,
    hermann_mauguin_symbol,
    laue_group,
    space_group_color,
    space_group_number,
)

CUBIC = (221, 223, 225, 227, 229, 230)


def test_names_and_groupings():
    classes = SpaceGroupClasses(CUBIC)
    assert classes.hermann_mauguin == ("Pm-3m", "Pm-3n", "Fm-3m", "Fd-3m", "Im-3m", "Ia-3d")
    assert classes.lattice_centrings == ("P", "P", "F", "F", "I", "I")
    assert classes.laue_groups == ("m-3m",) * 6
    assert len(classes) == 6
    assert tuple(classes) == CUBIC


def test_order_is_kept():
    classes = SpaceGroupClasses((229, 194, 225))
    assert classes.numbers == (229, 194, 225)
    assert [classes.index(i) for i in (229, 194, 225)] == [0, 1, 2]


def test_index_of_a_space_group_that_is_no_class():
    with pytest.raises(ValueError, match=r"Space group 62 is not among the classes \(225, 229\)"):
        SpaceGroupClasses((225, 229)).index(62)


def test_numbers_survive_json_and_numpy():
    classes = SpaceGroupClasses(np.array([225, 229]))
    assert json.dumps(classes.numbers) == "[225, 229]"
    assert SpaceGroupClasses(json.loads("[225, 229]")) == classes
    assert hash(SpaceGroupClasses([225, 229])) == hash(classes)


@pytest.mark.parametrize(
    ("numbers", "error", "message"),
    [
        ((225, 0), ValueError, r"Space group 0 must be in 1-230"),
        ((231, 225), ValueError, r"Space group 231 must be in 1-230"),
        ((225, 229, 225), ValueError, r"Space group 225 is repeated"),
        ((225,), ValueError, r"at least two space groups, but there are \(225,\)"),
        ((225, 229.0), TypeError, r"Space group 229.0 must be an integer"),
        ((True, 225), TypeError, r"Space group True must be an integer"),
        (("Fm-3m", 225), TypeError, r"Space group 'Fm-3m' must be an integer"),
    ],
)
def test_invalid_numbers(numbers, error, message):
    with pytest.raises(error, match=message):
        SpaceGroupClasses(numbers)


def test_laue_group_agrees_with_orix():
    # orix has no name for the Laue group of point group m, space groups 6 to 9
    for number in set(range(1, 231)) - {6, 7, 8, 9}:
        assert laue_group(number) == Phase(space_group=number).point_group.laue.name, number
    assert {laue_group(i) for i in (6, 7, 8, 9)} == {"2/m"}


def test_rhombohedral_symbols_are_those_of_the_international_tables():
    assert hermann_mauguin_symbol(166) == "R-3m"
    assert space_group_number("R-3m") == space_group_number("H-3m") == 166


def test_symbols_lead_back_to_all_space_groups():
    numbers = list(range(1, 231))
    assert [space_group_number(hermann_mauguin_symbol(i)) for i in numbers] == numbers
    assert space_group_number("austenite") is None
    assert space_group_number("") is None


def test_phase_list():
    phases = SpaceGroupClasses((229, 166, 225)).phase_list()
    assert phases.ids == [166, 225, 229]
    assert phases.names == ["R-3m", "Fm-3m", "Im-3m"]
    assert [i.number for i in phases.space_groups] == [166, 225, 229]
    assert all(len(i) == 0 for i in phases.structures)


def test_colors_are_distinct_and_do_not_depend_on_the_other_classes():
    phases = SpaceGroupClasses(range(1, 231)).phase_list()
    assert len(set(phases.colors_rgb)) == 230
    few = SpaceGroupClasses((230, 62)).phase_list()
    assert few[230].color == phases[230].color == space_group_color(230)
    assert few[62].color == phases[62].color == space_group_color(62)


def test_sums():
    classes = SpaceGroupClasses((225, 194, 229, 227))
    probabilities = np.array([[0.5, 0.25, 0.125, 0.125], [0, 1, 0, 0]])
    by_centring = classes.sum_by_centring(probabilities)
    assert list(by_centring) == ["F", "P", "I"]
    assert np.array_equal(by_centring["F"], [0.625, 0])
    assert np.array_equal(by_centring["P"], [0.25, 1])
    assert np.array_equal(by_centring["I"], [0.125, 0])
    by_laue_group = classes.sum_by_laue_group(probabilities)
    assert list(by_laue_group) == ["m-3m", "6/mmm"]
    assert np.array_equal(by_laue_group["m-3m"], [0.75, 0])
    assert np.array_equal(by_laue_group["6/mmm"], [0.25, 1])


@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 4, 1)])
def test_sums_of_the_wrong_shape(shape):
    classes = SpaceGroupClasses((225, 194, 229, 227))
    with pytest.raises(ValueError, match=r"must be of shape \(n, 4\)"):
        classes.sum_by_centring(np.zeros(shape))
