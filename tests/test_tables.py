import pytest

from kikuchipy_cnn._tables import aligned

ROWS = [("Class", "Name", "Points"), ("1", "nickel", "7"), ("all", "", "1234567")]


def test_first_column_is_left_and_others_right():
    assert aligned(ROWS).split("\n") == [
        "Class    Name   Points",
        "1      nickel        7",
        "all            1234567",
    ]


def test_more_left_columns():
    assert aligned(ROWS, n_left=2).split("\n") == [
        "Class  Name     Points",
        "1      nickel        7",
        "all            1234567",
    ]


def test_rows_of_different_length():
    with pytest.raises(ValueError, match="shorter"):
        aligned([("a", "b"), ("c",)])
