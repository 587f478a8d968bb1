import numpy as np
import pytest
from orix.quaternion import Rotation

from kikuchipy_cnn.crystal_map import (
    classes_from_crystal_map,
    probabilities_to_crystal_map,
    summary_table,
)
from kikuchipy_cnn.label_classes import LabelClasses
from kikuchipy_cnn.space_groups import SpaceGroupClasses

CLASSES = SpaceGroupClasses((229, 225, 194))
LABELS = LabelClasses(("Ni", "Ni3Al", "m-3m"), (225, 221, None))
PROBABILITIES = np.array(
    [
        [0.7, 0.2, 0.1],
        [0.1, 0.8, 0.1],
        [0.2, 0.5, 0.3],
        [0.4, 0.5, 0.1],
        [1.0, 0.0, 0.0],
        [0.05, 0.9, 0.05],
    ]
)


def make(probabilities=PROBABILITIES, navigation_shape=(2, 3), classes=CLASSES, **kwargs):
    return probabilities_to_crystal_map(
        probabilities, classes, navigation_shape=navigation_shape, **kwargs
    )


def test_winners_and_phases():
    xmap = make()
    assert xmap.shape == (2, 3)
    assert xmap.phase_id.tolist() == [229, 225, 225, 225, 229, 225]
    # orix drops the phase without points
    assert xmap.phases.ids == [225, 229]
    assert xmap.phases.names == ["Fm-3m", "Im-3m"]
    assert [i.number for i in xmap.phases.space_groups] == [225, 229]
    assert xmap.phases.colors == [CLASSES.phase_list()[i].color for i in (225, 229)]
    assert xmap.all_indexed
    assert np.array_equal(xmap.rotations.data, np.tile([1, 0, 0, 0], (6, 1)))


def test_properties():
    xmap = make()
    assert np.allclose(xmap.scores, [0.7, 0.8, 0.5, 0.5, 1, 0.9])
    assert np.allclose(xmap.margin, [0.5, 0.7, 0.2, 0.1, 1, 0.85])
    assert np.allclose(xmap.p_229, PROBABILITIES[:, 0])
    assert np.allclose(xmap.p_225, PROBABILITIES[:, 1])
    assert np.allclose(xmap.p_194, PROBABILITIES[:, 2])
    assert all(xmap.prop[i].ndim == 1 for i in xmap.prop)


def test_entropy_is_from_none_to_all():
    third = 1 / 3
    xmap = make([[1, 0, 0], [third, third, third], [0.5, 0.5, 0]], (3,))
    assert np.allclose(xmap.entropy, [0, 1, np.log(2) / np.log(3)])


def test_coordinates_and_unit():
    xmap = make(step_sizes=(0.5, 2), scan_unit="um")
    assert xmap.x.tolist() == [0, 2, 4, 0, 2, 4]
    assert xmap.y.tolist() == [0, 0, 0, 0.5, 0.5, 0.5]
    assert (xmap.dy, xmap.dx) == (0.5, 2)
    assert xmap.scan_unit == "um"
    # orix cannot write a map without a unit to HDF5
    assert make(scan_unit=None).scan_unit == "px"


def test_row():
    xmap = make(navigation_shape=(6,), step_sizes=(1.5,))
    assert xmap.shape == (6,)
    assert xmap.dx == 1.5
    assert xmap.y is None


@pytest.mark.parametrize("step_sizes", [None, ()])
def test_single_pattern(step_sizes):
    xmap = make(PROBABILITIES[:1], (), step_sizes=step_sizes)
    assert xmap.size == 1
    assert xmap.shape == ()
    assert xmap.phase_id.tolist() == [229]
    assert make(PROBABILITIES[:1], (), is_in_data=np.array(True)).size == 1


@pytest.mark.parametrize("flat", [True, False])
def test_points_not_in_data(flat):
    is_in_data = np.array([[True, False, True], [True, True, False]])
    xmap = make(PROBABILITIES[:4], is_in_data=is_in_data.ravel() if flat else is_in_data)
    assert xmap.is_in_data.tolist() == is_in_data.ravel().tolist()
    assert xmap.is_in_data is not is_in_data
    assert xmap.phase_id.tolist() == [229, 225, 225, 225]
    assert xmap.all_indexed
    assert np.allclose(xmap.scores, [0.7, 0.8, 0.5, 0.5])
    scores = xmap.get_map_data("scores")
    assert np.allclose(scores, [[0.7, np.nan, 0.8], [0.5, 0.5, np.nan]], equal_nan=True)
    # Nothing is invented for points left out
    xmap.is_in_data = np.ones(6, dtype=bool)
    assert xmap.phase_id.tolist() == [229, -1, 225, 225, 225, -1]
    assert xmap.scores[[1, 5]].tolist() == [0, 0]


def test_points_not_indexed():
    rotations = Rotation.from_euler(np.linspace(0.1, 1, 18).reshape(6, 3))
    indexed = np.array([True, False, True, True, True, False])
    xmap = make(indexed=indexed, rotations=rotations)
    assert xmap.phase_id.tolist() == [229, -1, 225, 225, 229, -1]
    assert xmap.phases.names == ["not_indexed", "Fm-3m", "Im-3m"]
    assert np.allclose(xmap.scores, [0.7, 0, 0.5, 0.5, 1, 0])
    assert np.allclose(xmap.margin[1], 0.7)
    assert np.allclose(xmap.p_225, PROBABILITIES[:, 1])
    assert np.array_equal(xmap.rotations[~indexed].data, [[1, 0, 0, 0]] * 2)
    assert np.allclose(xmap.rotations[indexed].data, rotations[indexed].data)


def test_no_point_indexed():
    xmap = make(indexed=np.zeros(6, dtype=bool))
    assert xmap.phases.names == ["not_indexed"]
    assert xmap.scores.tolist() == [0] * 6


def test_rows_that_are_not_finite_where_not_indexed():
    probabilities = PROBABILITIES.copy()
    probabilities[1] = np.nan
    xmap = make(probabilities, indexed=np.arange(6) != 1)
    assert np.isclose(xmap.entropy[1], 1)
    assert xmap.margin[1] == 0
    assert np.isclose(xmap.p_194[1], 1 / 3)
    assert np.isnan(probabilities[1]).all()


def test_rotations_of_all_points_or_of_those_in_data():
    is_in_data = np.array([True, False, True, True, True, False])
    rotations = Rotation.from_euler(np.linspace(0.1, 1, 18).reshape(6, 3))
    for given in (rotations, rotations[is_in_data]):
        xmap = make(PROBABILITIES[:4], is_in_data=is_in_data, rotations=given)
        assert np.allclose(xmap.rotations.data, rotations[is_in_data].data)


def test_best_of_many_rotations():
    rotations = Rotation.from_euler(np.linspace(0.1, 1, 36).reshape(6, 2, 3))
    xmap = make(rotations=rotations)
    assert xmap.rotations_per_point == 1
    assert np.allclose(xmap.rotations.data, rotations[:, 0].data)


def test_half_precision():
    xmap = make(PROBABILITIES.astype(np.float16))
    assert xmap.scores.dtype == np.float32
    assert np.allclose(xmap.scores, [0.7, 0.8, 0.5, 0.5, 1, 0.9], atol=1e-3)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"probabilities": PROBABILITIES[:5]}, "5 rows of probabilities, but 6 points in data"),
        ({"probabilities": PROBABILITIES[:, :2]}, r"\(6, 2\) must be of shape \(n, 3\)"),
        ({"probabilities": 5 * PROBABILITIES}, r"in row 0 must be at least 0 and sum to 1"),
        ({"probabilities": np.full((6, 3), np.nan)}, r"in row 0 must be"),
        ({"probabilities": [[1.2, -0.2, 0]] * 6}, r"\[1.2, -0.2, 0.0\] in row 0"),
        ({"navigation_shape": (1, 2, 3)}, r"\(1, 2, 3\) must have at most two dimensions"),
        ({"navigation_shape": (0, 6)}, r"\(0, 6\) must have at most two dimensions, none"),
        ({"step_sizes": (1,)}, r"Step sizes \(1,\) must be one for each"),
        ({"step_sizes": (1, 0)}, r"Step sizes \(1, 0\) must be positive"),
        ({"step_sizes": (1, np.nan)}, r"must be positive"),
        ({"is_in_data": np.ones((3, 2), dtype=bool)}, r"Shape \(3, 2\) of is_in_data"),
        ({"is_in_data": np.zeros((2, 3), dtype=bool)}, r"must be True in at least one point"),
        ({"indexed": np.ones((2, 3), dtype=bool)}, r"Shape \(2, 3\) of indexed must be \(6,\)"),
        ({"rotations": Rotation.identity((5,))}, r"Rotations of shape \(5,\)"),
        ({"rotations": Rotation.identity((6, 1, 1))}, r"Rotations of shape \(6, 1, 1\)"),
    ],
)
def test_invalid(kwargs, message):
    with pytest.raises(ValueError, match=message):
        make(**kwargs)


def test_rotations_that_are_an_array():
    with pytest.raises(TypeError, match="must be of type"):
        make(rotations=np.zeros((6, 4)))


def test_classes_from_crystal_map():
    xmap = make()
    assert classes_from_crystal_map(xmap).numbers == (194, 225, 229)
    del xmap.prop["p_194"], xmap.prop["p_225"]
    with pytest.raises(ValueError, match="but no two like 'p_225'"):
        classes_from_crystal_map(xmap)


def test_summary_table():
    indexed = np.array([True, True, True, True, True, False])
    is_in_data = np.array([True] * 6 + [False] * 2)
    xmap = make(navigation_shape=(2, 4), indexed=indexed, is_in_data=is_in_data)
    assert summary_table(xmap, CLASSES).split("\n") == [
        "Space group  No.  Points  Fraction  Mean score",
        "Im-3m        229       2     33.3%       0.850",
        "Fm-3m        225       3     50.0%       0.600",
        "P63/mmc      194       0      0.0%           -",
        "not indexed    -       1     16.7%           -",
    ]


def test_summary_table_of_other_classes():
    with pytest.raises(ValueError, match=r"phase IDs \[229\], which are not among"):
        summary_table(make(), SpaceGroupClasses((225, 194)))


class TestLabels:
    def test_winners_and_phases(self):
        xmap = make(classes=LABELS)
        assert xmap.phase_id.tolist() == [1, 2, 2, 2, 1, 2]
        assert xmap.phases.names == ["Ni", "Ni3Al"]
        assert [i.number for i in xmap.phases.space_groups] == [225, 221]
        assert xmap.phases.colors == list(LABELS.phase_list().colors[:2])
        assert np.allclose(xmap.prop["p_Ni3Al"], PROBABILITIES[:, 1])
        assert np.allclose(xmap.prop["p_m-3m"], PROBABILITIES[:, 2])

    def test_classes_from_crystal_map(self):
        probabilities = PROBABILITIES[:, [0, 2, 1]]
        xmap = make(probabilities, classes=LABELS)
        assert set(xmap.phase_id) == {1, 3}
        # Orders of properties get lost in files
        xmap.prop["p_Ni"] = xmap.prop.pop("p_Ni")
        # That of Ni3Al, which has no points, is not in the map
        assert classes_from_crystal_map(xmap) == LabelClasses(LABELS.names, (225, None, None))
        xmap.phases["m-3m"].space_group = 227
        assert classes_from_crystal_map(xmap).space_groups == (225, None, 227)

    def test_laue_groups_and_centrings(self):
        for classes in (LabelClasses(("4/mmm", "m-3", "mmm")), LabelClasses(("F", "I", "P"))):
            assert classes_from_crystal_map(make(classes=classes)) == classes

    def test_order_is_that_of_the_names(self):
        # "/" sorts before digits, but the ":" in its place after them
        classes = LabelClasses(("2/m", "20a", "2a"))
        xmap = make(classes=classes)
        assert classes_from_crystal_map(xmap) == classes

    def test_property_that_is_no_class(self):
        xmap = make(classes=LABELS)
        xmap.prop["p_value"] = np.zeros(6)
        xmap.prop["p_A"] = np.zeros(6)
        with pytest.raises(ValueError, match="Phase 1 .* is 'Ni', but 'A' in .* no property"):
            classes_from_crystal_map(xmap)
        # Space groups are told from such properties
        xmap = make()
        xmap.prop["p_value"] = np.zeros(6)
        assert classes_from_crystal_map(xmap).numbers == (194, 225, 229)

    def test_summary_table(self):
        xmap = make(classes=LABELS, indexed=np.arange(6) != 5)
        assert summary_table(xmap, LABELS).split("\n") == [
            "Class        Space group  Points  Fraction  Mean score",
            "Ni                   225       2     33.3%       0.850",
            "Ni3Al                221       3     50.0%       0.600",
            "m-3m                   -       0      0.0%           -",
            "not indexed            -       1     16.7%           -",
        ]

    def test_classes_of_another_model(self):
        xmap = make(classes=LABELS)
        # The IDs are the same
        with pytest.raises(ValueError, match="Phase 1 of the crystal map is 'Ni', but 'Cu'"):
            summary_table(xmap, LabelClasses(("Cu", "Ni3Al", "m-3m")))
        with pytest.raises(ValueError, match=r"phase IDs \[1, 2\], which are not among the space"):
            summary_table(xmap, CLASSES)
        with pytest.raises(ValueError, match=r"IDs \[225, 229\], .* among the classes \(1, 2, 3\)"):
            summary_table(make(), LABELS)
