import numpy as np
import orix.io
import pytest
from orix.crystal_map import CrystalMap
from orix.quaternion import Rotation

from kikuchipy_cnn.io import load, save
from kikuchipy_cnn.io._grid import grid_of

ALL = slice(0, 10**6)


def points(x, y, **kwargs):
    return CrystalMap(Rotation.identity((len(x),)), x=x, y=y, **kwargs)


def rectangle(n_rows, n_columns, dy=1.0, dx=1.0):
    y, x = np.indices((n_rows, n_columns))
    return dx * x.ravel(), dy * y.ravel()


def shape_of(grid):
    return grid.n_rows, grid.n_columns, grid.n_columns_even


@pytest.mark.parametrize(("dy", "dx"), [(1, 1), (0.25, 0.1), (0.001, 3000)])
def test_rectangular_grid(dy, dx):
    x, y = rectangle(3, 4, dy, dx)
    grid = grid_of(points(x, y))
    assert shape_of(grid) == (3, 4, 4)
    assert (grid.dx, grid.dy) == pytest.approx((dx, dy))
    assert grid.shifts == (0, 0)
    assert not grid.is_hexagonal
    assert grid.size == 12
    assert grid.point_of_cell.tolist() == list(range(12))
    assert np.allclose(grid.coordinates(ALL), (x, y))


def test_coordinates_of_some_cells():
    x, y = rectangle(3, 4, 0.5)
    grid = grid_of(points(x, y))
    assert np.allclose(grid.coordinates(slice(5, 9)), (x[5:9], y[5:9]))


def test_origin_is_left_out():
    x, y = rectangle(3, 4)
    grid = grid_of(points(x + 17.5, y - 300))
    assert shape_of(grid) == (3, 4, 4)
    assert np.allclose(grid.coordinates(ALL), (x, y))


@pytest.mark.parametrize(
    ("n_odd", "n_even", "first_is_shifted"),
    [(4, 3, False), (4, 4, False), (4, 5, True), (4, 4, True), (4, 3, True), (3, 4, False)],
)
@pytest.mark.parametrize("n_rows", [2, 3, 6])
def test_hexagonal_grid(honeycomb, n_odd, n_even, first_is_shifted, n_rows):
    x, y = honeycomb(n_odd, n_even, n_rows, first_is_shifted, step=0.2)
    grid = grid_of(points(x, y))
    assert shape_of(grid) == (n_rows, n_odd, n_even)
    assert (grid.dx, grid.dy) == pytest.approx((0.2, 0.2 * np.sqrt(3) / 2))
    assert grid.shifts == pytest.approx((0.1, 0) if first_is_shifted else (0, 0.1))
    assert grid.is_hexagonal
    assert grid.size == len(x)
    assert grid.point_of_cell.tolist() == list(range(len(x)))
    assert np.allclose(grid.coordinates(ALL), (x, y))


@pytest.mark.parametrize("decimals", [5, 6])
@pytest.mark.parametrize("step", [0.01, 0.05, 1.5])
def test_rounded_coordinates(honeycomb, decimals, step):
    x, y = np.round(honeycomb(201, 200, 101, step=step), decimals)
    grid = grid_of(points(x, y))
    assert shape_of(grid) == (101, 201, 200)
    assert grid.dx == pytest.approx(step, rel=1e-3)
    assert grid.dy == pytest.approx(step * np.sqrt(3) / 2, rel=1e-3)
    assert np.allclose(grid.coordinates(ALL), (x, y), atol=2 * 10.0**-decimals)


def test_rounded_coordinates_of_a_rectangle():
    x, y = rectangle(200, 300, 1 / 70, 1 / 30)
    grid = grid_of(points(np.round(x, 5), np.round(y, 5)))
    assert shape_of(grid) == (200, 300, 300)
    assert grid.point_of_cell.tolist() == list(range(60_000))


def test_coordinates_in_single_precision():
    x, y = rectangle(500, 700, 0.03, 0.07)
    grid = grid_of(points(x.astype(np.float32), y.astype(np.float32)))
    assert shape_of(grid) == (500, 700, 700)
    assert grid.point_of_cell.tolist() == list(range(350_000))


def test_polygon():
    x, y = rectangle(4, 5)
    inside = np.array(
        [
            [0, 0, 1, 0, 0],
            [0, 1, 1, 1, 0],
            [1, 1, 1, 1, 1],
            [0, 0, 0, 1, 0],
        ],
        dtype=bool,
    ).ravel()  # fmt: skip
    grid = grid_of(points(x[inside], y[inside]))
    assert shape_of(grid) == (4, 5, 5)
    assert np.array_equal(grid.point_of_cell >= 0, inside)
    assert grid.point_of_cell[inside].tolist() == list(range(10))


def test_hexagonal_polygon(honeycomb):
    x, y = honeycomb(4, 3, 5)
    inside = np.arange(len(x)) % 5 != 1
    inside[:2] = False
    grid = grid_of(points(x[inside], y[inside]))
    assert shape_of(grid) == (5, 4, 3)
    assert np.array_equal(grid.point_of_cell >= 0, inside)


def test_empty_rows_and_columns():
    x, y = rectangle(5, 6, 0.5, 0.25)
    inside = (np.isin(x, (0, 0.25, 1.25))) & (y != 1)
    grid = grid_of(points(x[inside], y[inside]))
    assert shape_of(grid) == (5, 6, 6)
    assert (grid.dx, grid.dy) == (0.25, 0.5)
    assert np.array_equal(grid.point_of_cell >= 0, inside)


def test_points_not_in_data_have_a_cell():
    x, y = rectangle(3, 4)
    grid = grid_of(points(x, y, is_in_data=x > 0))
    assert shape_of(grid) == (3, 4, 4)
    assert grid.point_of_cell.tolist() == list(range(12))


def test_shuffled_points(honeycomb, rng):
    for x, y in (rectangle(6, 7, 0.3), honeycomb(7, 6, 6)):
        order = rng.permutation(len(x))
        grid = grid_of(points(x[order], y[order]))
        assert np.array_equal(order[grid.point_of_cell], np.arange(len(x)))


def test_column_after_column():
    x, y = rectangle(3, 4)
    by_columns = np.lexsort((y, x))
    grid = grid_of(points(x[by_columns], y[by_columns]))
    assert grid.point_of_cell.tolist() == [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]


def test_row_and_column_have_the_step_of_the_other_direction():
    along = 0.3 * np.arange(5)
    row = grid_of(points(along, None))
    assert shape_of(row) == (1, 5, 5)
    assert (row.dx, row.dy) == pytest.approx((0.3, 0.3))
    column = grid_of(CrystalMap(Rotation.identity((5,)), y=along))
    assert shape_of(column) == (5, 1, 1)
    assert (column.dx, column.dy) == pytest.approx((0.3, 0.3))


def test_one_point():
    grid = grid_of(CrystalMap(Rotation.identity((1,)), x=np.array([7.0]), y=np.array([2.0])))
    assert shape_of(grid) == (1, 1, 1)
    assert (grid.dx, grid.dy) == (1, 1)
    assert np.array_equal(grid.coordinates(ALL), ([0], [0]))


def test_points_on_no_grid(rng):
    with pytest.raises(ValueError, match="not on a square, rectangular or hexagonal grid"):
        grid_of(points(rng.uniform(0, 10, 50), rng.uniform(0, 10, 50)))


def test_rows_shifted_by_a_third_are_no_grid():
    x, y = rectangle(4, 5)
    with pytest.raises(ValueError, match="as their x coordinates tell"):
        grid_of(points(x + y % 2 / 3, y))


def test_unequal_rows_are_no_grid():
    x, y = rectangle(4, 5)
    with pytest.raises(ValueError, match="as their y coordinates tell"):
        grid_of(points(x, np.where(y == 3, 3.4, y)))


def test_two_points_in_one_place():
    x, y = rectangle(3, 4)
    x[1] = 0
    with pytest.raises(ValueError, match="1 of the map's 12 points are in places where others are"):
        grid_of(points(x, y))


@pytest.mark.parametrize("suffix", [".ang", ".ctf", ".h5"])
def test_nothing_is_written_of_points_on_no_grid(tmp_path, make_map, suffix, rng):
    x, y = rng.uniform(0, 10, (2, 12))
    with pytest.raises(ValueError, match="not on a square"):
        save(tmp_path / f"a{suffix}", make_map(x=x, y=y))
    assert list(tmp_path.iterdir()) == []


def hexagonal(make_map, honeycomb, n_odd=4, n_even=3, first_is_shifted=False):
    x, y = honeycomb(n_odd, n_even, 3, first_is_shifted, step=0.5)
    phase_id = np.resize([3, 7, 11, -1, 7], len(x))
    return make_map(None, phase_id, x=x, y=y)


@pytest.mark.parametrize(
    ("n_odd", "n_even", "first_is_shifted"), [(4, 3, False), (4, 4, False), (3, 4, True)]
)
def test_hexagonal_map_in_ang(tmp_path, make_map, honeycomb, n_odd, n_even, first_is_shifted):
    xmap = hexagonal(make_map, honeycomb, n_odd, n_even, first_is_shifted)
    save(tmp_path / "a.ang", xmap)
    header = (tmp_path / "a.ang").read_text(encoding="ascii")
    assert (
        "# GRID: HexGrid\n# XSTEP: 0.500000\n# YSTEP: 0.433013\n"
        f"# NCOLS_ODD: {n_odd}\n# NCOLS_EVEN: {n_even}\n# NROWS: 3\n"
    ) in header
    columns = np.loadtxt(tmp_path / "a.ang")
    assert np.allclose(columns[:, 3:5], np.column_stack((xmap.x, xmap.y)), atol=1e-6)
    assert columns[:5, 7].tolist() == [1, 2, 3, 0, 2]
    for function in (load, orix.io.load):
        loaded = function(tmp_path / "a.ang")
        assert np.allclose(loaded.x, xmap.x, atol=1e-6)
        assert np.allclose(loaded.y, xmap.y, atol=1e-6)
        assert np.array_equal(loaded.is_indexed, xmap.is_indexed)
    loaded = load(tmp_path / "a.ang")
    assert np.array_equal(loaded.phase_id, xmap.phase_id)


def test_hexagonal_map_in_hdf5(tmp_path, make_map, honeycomb):
    xmap = hexagonal(make_map, honeycomb)
    save(tmp_path / "a.h5", xmap)
    loaded = load(tmp_path / "a.h5")
    assert np.array_equal(loaded.x, xmap.x)
    assert np.array_equal(loaded.y, xmap.y)
    assert np.array_equal(loaded.phase_id, xmap.phase_id)


def test_hexagonal_map_is_not_written_to_ctf(tmp_path, make_map, honeycomb):
    with pytest.raises(ValueError, match="hexagonal grid, which .ctf does not have: save it to"):
        save(tmp_path / "a.ctf", hexagonal(make_map, honeycomb))
    assert list(tmp_path.iterdir()) == []
