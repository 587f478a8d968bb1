import json

import numpy as np
import pytest
from orix.crystal_map import Phase

from kikuchipy_cnn.label_classes import LabelClasses, classes_from_dict
from kikuchipy_cnn.space_groups import (
    SpaceGroupClasses,
    hermann_mauguin_symbol,
    laue_group,
    probability_property,
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


class TestLabelClasses:
    def test_interface_is_that_of_space_groups(self):
        labels = LabelClasses(("4/mmm", "Ni", "Ni3Al"), (None, 225, 221))
        assert labels.ids == tuple(labels) == (1, 2, 3)
        assert labels.names == ("4/mmm", "Ni", "Ni3Al")
        assert labels.labels == labels.names
        assert labels.space_groups == (None, 225, 221)
        assert labels.properties == ("p_4:mmm", "p_Ni", "p_Ni3Al")
        assert [labels.index(i) for i in labels] == [0, 1, 2]
        groups = SpaceGroupClasses((229, 225))
        assert groups.ids == groups.space_groups == tuple(groups) == (229, 225)
        assert groups.names == ("Im-3m", "Fm-3m")
        assert groups.labels == (229, 225)
        assert groups.properties == ("p_229", "p_225") == tuple(map(probability_property, groups))

    def test_phases(self):
        phases = LabelClasses(("Cu", "F", "Ni", "m-3"), (225, None, 225, None)).phase_list()
        assert phases.ids == [1, 2, 3, 4]
        assert phases.names == ["Cu", "F", "Ni", "m-3"]
        assert [i and i.number for i in phases.space_groups] == [225, None, 225, None]
        assert [i and i.name for i in phases.point_groups] == ["m-3m", None, "m-3m", "m-3"]

    def test_all_laue_groups_are_point_groups_of_orix(self):
        names = sorted({laue_group(i) for i in range(1, 231)})
        assert len(names) == 11
        phases = LabelClasses(names).phase_list()
        assert [i.laue.name for i in phases.point_groups] == names

    def test_colors_are_distinct_and_known_to_orix(self):
        names = [f"phase {i:03d}" for i in range(557)]
        phases = LabelClasses(names, [225] * 557).phase_list()
        assert len(set(phases.colors_rgb)) == 557
        # A map read from a file has lost the space groups of classes without points
        assert LabelClasses(names).colors == LabelClasses(names, [225] * 557).colors

    def test_equality_and_hash(self):
        classes = LabelClasses(["F", "I"])
        assert classes == LabelClasses(np.array(["F", "I"]), (None, None))
        assert hash(classes) == hash(LabelClasses(("F", "I")))
        assert LabelClasses(("Cu", "Ni"), np.array([225, 225])).space_groups == (225, 225)

    @pytest.mark.parametrize(
        "classes",
        [
            SpaceGroupClasses((229, 225)),
            LabelClasses(("4/mmm", "m-3m")),
            LabelClasses(np.array(["F", "Ni"]), (None, np.int64(225))),
        ],
    )
    def test_json(self, classes):
        assert classes_from_dict(json.loads(json.dumps(classes.to_dict()))) == classes

    def test_dictionaries(self):
        # Those of space groups must stay as they are, or sums of packaged models change
        assert SpaceGroupClasses((229, 225)).to_dict() == {"space_groups": [229, 225]}
        labels = LabelClasses(("F", "Ni"), (None, 225))
        assert labels.to_dict() == {"labels": ["F", "Ni"], "space_groups": [None, 225]}
        with pytest.raises(KeyError, match="space_groups"):
            classes_from_dict({"name": "none"})

    @pytest.mark.parametrize(
        ("names", "error", "message"),
        [
            ("Ni", TypeError, "'Ni' must be a sequence"),
            (("F", 225), TypeError, "Name 225 of a class must be text"),
            (("F",), ValueError, r"at least two classes, but there are \('F',\)"),
            (("F", "F"), ValueError, "'F' is repeated in .*: give it once"),
            (("Ni3Al", "Ni"), ValueError, r"must be in the order \('Ni', 'Ni3Al'\): sort them"),
            (("225", "F"), ValueError, "'225' of a class would be read as a space-group number"),
            (("", "F"), ValueError, "Name '' of a class must be of letters .*: rename"),
            (("4:mmm", "F"), ValueError, "Name '4:mmm' of a class must be of letters"),
            (("F", " I"), ValueError, "Name ' I'"),
            (("F", "I  P"), ValueError, "Name 'I  P'"),
            (("F", "I\n"), ValueError, r"Name 'I\\n'"),
            (("F", "_I"), ValueError, "Name '_I' .* not start with _"),
            (("$F$", "I"), ValueError, r"Name '\$F\$'"),
            (("F", "γ-Fe"), ValueError, "Name 'γ-Fe'"),
            (("F", "not_indexed"), ValueError, "none of indexed, not_indexed"),
        ],
    )
    def test_invalid_names(self, names, error, message):
        with pytest.raises(error, match=message):
            LabelClasses(names)

    @pytest.mark.parametrize(
        ("groups", "error", "message"),
        [
            ((225,), ValueError, r"\(225,\) must be one for each of the 2 names .*: give None"),
            ((225, 0), ValueError, "Space group 0 must be in 1-230"),
            ((225, True), TypeError, "Space group True must be an integer"),
            (("Fm-3m", None), TypeError, "Space group 'Fm-3m' must be an integer"),
        ],
    )
    def test_invalid_space_groups(self, groups, error, message):
        with pytest.raises(error, match=message):
            LabelClasses(("F", "I"), groups)

    def test_index_and_probabilities_of_no_class(self):
        classes = LabelClasses(("F", "I"))
        with pytest.raises(ValueError, match=r"Class 3 is not among the classes \(1, 2\)"):
            classes.index(3)
        with pytest.raises(ValueError, match=r"\(n, 2\), .* each of the classes F, I"):
            classes.check_probabilities(np.zeros((4, 3)))
