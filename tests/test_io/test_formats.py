"""What all formats have in common: every test is of .ang, .ctf and .h5."""

import h5py
import numpy as np
import pytest
from orix.crystal_map import Phase, PhaseList
from orix.quaternion import Rotation

import kikuchipy_cnn.io._ang
import kikuchipy_cnn.io._ctf
import kikuchipy_cnn.io._h5ebsd
from kikuchipy_cnn.io import load, save

SUFFIXES = (".ang", ".ctf", ".h5")
pytestmark = pytest.mark.parametrize("suffix", SUFFIXES)

# Angles are rounded to 1e-5 radians in .ang, to 1e-4 degrees in .ctf
TURN = 3e-5


def notes_in(path):
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            return file["Scan 1/EBSD/Header/Notes"][0].decode()
    lines = path.read_text(encoding="ascii").splitlines()
    prefix = "# NOTE: " if path.suffix == ".ang" else "Author\t"
    return "; ".join(line[len(prefix) :] for line in lines if line.startswith(prefix))


def phases_in(path):
    """Name, edges and angles of each phase in the file itself, in the order of their numbers."""
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            phases = file["Scan 1/EBSD/Header/Phase"]
            return [
                (phases[i]["MaterialName"][0].decode(), phases[i]["LatticeConstants"][()].tolist())
                for i in sorted(phases, key=int)
            ]
    lines = path.read_text(encoding="ascii").splitlines()
    if path.suffix == ".ctf":
        first = next(i for i, line in enumerate(lines) if line.startswith("Phases\t"))
        fields = [line.split("\t") for line in lines[first + 1 :]]
        n = int(lines[first].split("\t")[1])
        return [(i[2], [float(j) for j in (i[0] + ";" + i[1]).split(";")]) for i in fields[:n]]
    found = {}
    for line in lines:
        key, _, value = line[2:].partition(" ")
        if key == "Phase":
            found[int(value)] = block = {}
        elif key in ("MaterialName", "LatticeConstants"):
            block[key] = value.strip()
    return [
        (found[i]["MaterialName"], [float(j) for j in found[i]["LatticeConstants"].split()])
        for i in sorted(found)
    ]


def test_round_trip(round_trip, make_map, suffix):
    xmap = make_map(prop={"scores": np.arange(12) / 15})
    loaded = round_trip(xmap, suffix)
    assert loaded.shape == (3, 4)
    assert loaded.phase_id.tolist() == [3, 3, 7, 7, 3, -1, 7, 11, 11, 11, 3, 7]
    assert loaded.phases.ids == [-1, 3, 7, 11]
    assert [i.number for i in loaded.phases.space_groups[1:]] == [221, 229, 167]
    cells = [phase.structure.lattice.abcABG() for i, phase in loaded.phases if i != -1]
    assert np.allclose(cells[0], (3.572, 3.572, 3.572, 90, 90, 90))
    assert np.allclose(cells[1], (2.866, 2.866, 2.866, 90, 90, 90))
    assert np.allclose(cells[2], (4.759, 4.759, 12.993, 90, 90, 120))
    assert np.allclose(loaded.x, xmap.x)
    assert np.allclose(loaded.y, xmap.y)
    assert (loaded.dx, loaded.dy) == pytest.approx((0.5, 0.25))
    assert loaded.scan_unit == "um"
    indexed = xmap.is_indexed
    turns = loaded.rotations[indexed].angle_with(xmap.rotations[indexed])
    assert np.allclose(turns, 0, atol=TURN)
    # Scores are in steps of 1/255 in .ctf, of which 1/15 is a multiple
    expected = np.arange(12) / 15 if suffix == ".h5" else np.where(indexed, np.arange(12) / 15, 0)
    assert np.allclose(loaded.scores, expected, atol=1e-5)


def test_names(round_trip, make_map, suffix):
    names = round_trip(make_map(), suffix).phases.names[1:]
    unicode = ["γ′-Ni₃Al", "α-Fe", "Al₂O₃"]
    assert names == (unicode if suffix == ".h5" else ["gamma'-Ni3Al", "alpha-Fe", "Al2O3"])


def test_names_with_parentheses(round_trip, make_map, make_phase, suffix):
    phases = {
        0: make_phase("Ni3Al (L1_2)", 221),
        1: make_phase("Ni3Al (L1_2)"),
        2: make_phase("x (Fm-3m)", 229),
    }
    loaded = round_trip(make_map(phases, [0, 1, 1, 2], (2, 2)), suffix)
    assert loaded.phase_id.tolist() == [0, 1, 1, 2]
    assert loaded.phases.names == ["Ni3Al (L1_2)", "Ni3Al (L1_2)", "x (Fm-3m)"]
    assert [i and i.number for i in loaded.phases.space_groups] == [221, None, 229]


def test_rhombohedral_name(round_trip, make_map, make_phase, suffix):
    phases = {166: make_phase("R-3m", 166), 148: make_phase("R-3", 148)}
    loaded = round_trip(make_map(phases, [166, 148, 148, 166], (2, 2)), suffix)
    assert loaded.phases.names == ["R-3", "R-3m"]
    assert [i.number for i in loaded.phases.space_groups] == [148, 166]


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (1, 2),
        (3, 15),
        (16, 74),
        (75, 88),
        (89, 142),
        (143, 148),
        (149, 167),
        (168, 176),
        (177, 194),
        (195, 206),
        (207, 230),
    ],
)
def test_space_groups_of_a_laue_group(round_trip, make_map, make_phase, suffix, first, last):
    numbers = np.arange(first, last + 1)
    phases = {int(i): make_phase(f"phase {i}", int(i)) for i in numbers}
    loaded = round_trip(make_map(phases, numbers, (1, len(numbers))), suffix)
    assert np.array_equal(loaded.phase_id, numbers)
    assert [i.number for i in loaded.phases.space_groups] == numbers.tolist()
    assert loaded.phases.names == [f"phase {i}" for i in numbers]


def test_not_indexed_points(round_trip, make_map, suffix):
    loaded = round_trip(make_map(prop={"scores": np.full(12, 0.8)}), suffix)
    assert loaded.phase_id[5] == -1
    if suffix != ".h5":
        assert loaded.rotations[5].data.tolist() == [[1, 0, 0, 0]]
        assert loaded.scores[5] == 0


def test_map_without_indexed_points(round_trip, make_map, suffix):
    loaded = round_trip(make_map({}, np.full(12, -1)), suffix)
    assert loaded.shape == (3, 4)
    assert not loaded.is_indexed.any()


def test_points_not_in_data(round_trip, make_map, suffix):
    is_in_data = np.array([1, 1, 1, 1, 0, 1, 1, 1, 1, 0, 0, 1], dtype=bool)
    xmap = make_map(is_in_data=is_in_data, prop={"scores": np.full(12, 0.8)})
    loaded = round_trip(xmap, suffix)
    expected = np.array([3, 3, 7, 7, -1, -1, 7, 11, 11, -1, -1, 7])
    if suffix == ".ang":
        # It has no word for these
        assert loaded.is_in_data.all()
        assert np.array_equal(loaded.phase_id, expected)
    else:
        assert np.array_equal(loaded.is_in_data, is_in_data)
        assert np.array_equal(loaded.phase_id, expected[is_in_data])


def test_map_that_is_no_rectangle(round_trip, make_map, suffix):
    inside = np.array([0, 1, 1, 0, 1, 1, 1, 1, 0, 0, 1, 0], dtype=bool)
    y, x = (i.ravel()[inside] for i in np.indices((3, 4)))
    loaded = round_trip(make_map(None, [3, 7, 11, -1, 3, 7, 11], x=x, y=y), suffix)
    # orix's part of .h5 has just the points
    cells = np.full(12, -1)
    cells[inside] = [3, 7, 11, -1, 3, 7, 11]
    if suffix == ".h5":
        assert np.array_equal(loaded.x, x)
        assert loaded.phase_id.tolist() == cells[inside].tolist()
    elif suffix == ".ang":
        assert loaded.phase_id.tolist() == cells.tolist()
    else:
        assert np.array_equal(loaded.is_in_data, inside)
        assert loaded.phase_id.tolist() == cells[inside].tolist()


def test_places_without_a_point_are_not_indexed_in_the_file(tmp_path, make_map, suffix):
    inside = np.arange(12) != 6
    y, x = (i.ravel()[inside] for i in np.indices((3, 4)))
    path = tmp_path / f"a{suffix}"
    save(path, make_map(None, np.full(11, 7), x=x, y=y))
    expected = np.array([1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1])
    if suffix == ".h5":
        with h5py.File(path) as file:
            phase = file["Scan 1/EBSD/Data/Phase"][()]
    else:
        skiprows = 15 if suffix == ".ctf" else 0
        phase = np.loadtxt(path, skiprows=skiprows, usecols=7 if suffix == ".ang" else 0)
    assert np.array_equal(phase > 0, expected > 0)


def test_points_in_another_order(round_trip, make_map, suffix, rng):
    xmap = make_map()
    order = rng.permutation(12)
    shuffled = make_map(
        None, xmap.phase_id[order], x=xmap.x[order], y=xmap.y[order],
        rotations=xmap.rotations[order],
    )  # fmt: skip
    loaded = round_trip(shuffled, suffix)
    back = np.lexsort((loaded.x, loaded.y))
    assert np.array_equal(loaded.phase_id[back], xmap.phase_id)
    indexed = xmap.is_indexed
    turns = loaded.rotations[back][indexed].angle_with(xmap.rotations[indexed])
    assert np.allclose(turns, 0, atol=TURN)


def test_first_of_two_rotations_and_phases(tmp_path, make_map, suffix):
    path = tmp_path / f"a{suffix}"
    eulers = np.linspace(0.1, 1.5, 72).reshape(12, 2, 3)
    scores = np.column_stack((np.full(12, 0.8), np.full(12, 0.2)))
    xmap = make_map(rotations=Rotation.from_euler(eulers), prop={"scores": scores})
    save(path, xmap)
    loaded = load(path)
    first = loaded.rotations if loaded.rotations_per_point == 1 else loaded.rotations[:, 0]
    indexed = xmap.is_indexed
    expected = Rotation.from_euler(eulers[indexed, 0])
    assert np.allclose(first[indexed].angle_with(expected), 0, atol=TURN)
    if suffix == ".h5":
        assert np.allclose(loaded.rotations.data, xmap.rotations.data, atol=1e-6)
        with h5py.File(path) as file:
            assert np.allclose(file["Scan 1/EBSD/Data/Phi1"][:5], eulers[:5, 0, 0])
            assert np.allclose(file["Scan 1/EBSD/Data/CI"][:5], 0.8)
    else:
        assert loaded.rotations_per_point == 1
        assert np.allclose(loaded.scores[indexed], 0.8)


@pytest.mark.parametrize(
    "shape", [(12, 1), (1, 12)], ids=["column", "row"]
)  # fmt: skip
def test_row_and_column(round_trip, make_map, suffix, shape):
    xmap = make_map(shape=shape, dx=0.5, dy=0.5)
    loaded = round_trip(xmap, suffix)
    assert loaded.shape == (12,)
    assert np.array_equal(loaded.phase_id, xmap.phase_id)
    indexed = xmap.is_indexed
    turns = loaded.rotations[indexed].angle_with(xmap.rotations[indexed])
    assert np.allclose(turns, 0, atol=TURN)


@pytest.mark.parametrize(("unit", "scale"), [("nm", 1e-3), ("um", 1), ("mm", 1e3)])
def test_files_are_in_micrometres(tmp_path, make_map, suffix, unit, scale):
    path = tmp_path / f"a{suffix}"
    save(path, make_map(scan_unit=unit, dx=50, dy=20))
    if suffix == ".h5":
        with h5py.File(path) as file:
            x = file["Scan 1/EBSD/Data/X Position"][()]
            y = file["Scan 1/EBSD/Data/Y Position"][()]
    else:
        xmap = load(path)
        assert xmap.scan_unit == "um"
        x, y = xmap.x, xmap.y
    assert np.allclose(x[:4], scale * np.array([0, 50, 100, 150]))
    assert np.allclose(y[::4], scale * np.array([0, 20, 40]))


def test_pixels_warn(tmp_path, make_map, suffix):
    path = tmp_path / f"a{suffix}"
    with pytest.warns(UserWarning, match=f"'px' is not a length: {suffix} is in micro") as record:
        save(path, make_map(scan_unit="px"))
    assert record[0].filename == __file__
    assert "Coordinates are in px, which is no length" in notes_in(path)


def test_identity_rotations_warn(tmp_path, make_map, suffix):
    path = tmp_path / f"a{suffix}"
    with pytest.warns(UserWarning, match="All rotations are identity, which other") as record:
        save(path, make_map(identity=range(12)))
    assert len(record) == 1
    assert record[0].filename == __file__
    assert "11 of 11 indexed points have NO ORIENTATION" in notes_in(path)
    assert load(path).phase_id.tolist() == [3, 3, 7, 7, 3, -1, 7, 11, 11, 11, 3, 7]


def test_some_identity_rotations_warn(tmp_path, make_map, suffix):
    path = tmp_path / f"a{suffix}"
    # The point 5 is not indexed and does not count
    with pytest.warns(UserWarning, match="2 of 11 rotations are identity"):
        save(path, make_map(identity=(0, 5, 9)))
    assert "2 of 11 indexed points have NO ORIENTATION" in notes_in(path)


def test_identity_rotations_come_back(tmp_path, make_map, suffix):
    path = tmp_path / f"a{suffix}"
    with pytest.warns(UserWarning, match="2 of 11"):
        save(path, make_map(identity=(0, 9)))
    assert load(path).rotations[[0, 9]].data.tolist() == [[1, 0, 0, 0]] * 2


def test_second_identity_rotation_is_not_counted(tmp_path, make_map, suffix):
    quaternions = np.tile([1.0, 0, 0, 0], (12, 2, 1))
    quaternions[:, 0] = Rotation.from_euler((0.5, 0.6, 0.7)).data
    save(tmp_path / f"a{suffix}", make_map(rotations=Rotation(quaternions)))


def test_no_note_without_need(tmp_path, make_map, suffix):
    path = tmp_path / f"a{suffix}"
    save(path, make_map())
    assert notes_in(path) == {
        ".ang": "",
        ".ctf": "kikuchipy_cnn; BS=255 x score",
        ".h5": "none",
    }[suffix]  # fmt: skip


def test_unknown_cell_stays_1(tmp_path, make_map, make_phase, suffix):
    path = tmp_path / f"a{suffix}"
    phases = {
        1: Phase("Fm-3m", space_group=225),
        2: Phase("R-3m", space_group=166),
        3: make_phase("iron", 229, (2.866, 2.866, 2.866, 90, 90, 90)),
    }
    save(path, make_map(phases, [1, 2, 2, 3], (2, 2)))
    cells = [cell for _, cell in phases_in(path)]
    assert cells[0] == [1, 1, 1, 90, 90, 90]
    assert cells[1] == pytest.approx([1, 1, 1, 90, 90, 120])
    assert "The unit cell is not known of: Fm-3m, R-3m" in notes_in(path)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ((0.352, 0.352, 0.352, 90, 90, 90), (3.52, 3.52, 3.52, 90, 90, 90)),
        ((0.319, 0.319, 0.5189, 90, 90, 120), (3.19, 3.19, 5.189, 90, 90, 120)),
        ((3.52, 3.52, 3.52, 90, 90, 90), (3.52, 3.52, 3.52, 90, 90, 90)),
        ((2, 2, 2, 90, 90, 90), (2, 2, 2, 90, 90, 90)),
        ((1, 1, 1.5, 90, 90, 90), (10, 10, 15, 90, 90, 90)),
    ],
)
def test_nanometres_become_angstrom(tmp_path, make_map, make_phase, suffix, cell, expected):
    path = tmp_path / f"a{suffix}"
    save(path, make_map({0: make_phase("metal", None, cell)}, [0] * 4, (2, 2)))
    assert phases_in(path)[0][1] == pytest.approx(expected, abs=1e-5)


def test_cell_of_kikuchipy(tmp_path, make_map, suffix):
    import kikuchipy as kp

    path = tmp_path / f"a{suffix}"
    nickel = kp.data.nickel_ebsd_small().xmap.phases[0]
    save(path, make_map({0: nickel}, [0] * 4, (2, 2)))
    name, cell = phases_in(path)[0]
    assert name == "ni (Fm-3m)"
    assert cell == pytest.approx([3.52, 3.52, 3.52, 90, 90, 90], abs=0.01)


@pytest.mark.parametrize("kind", ["PhaseList", "list", "tuple", "dict", "generator"])
def test_phase_list(tmp_path, make_map, make_phase, suffix, kind):
    path = tmp_path / f"a{suffix}"
    phases = {
        4: make_phase("corundum", 167, (4.7, 4.7, 13, 90, 90, 120)),
        6: make_phase("nickel", 225),
        8: make_phase("ferrite", 229, (2.9, 2.9, 2.9, 90, 90, 90)),
    }
    given = {
        "PhaseList": PhaseList(phases),
        "list": list(phases.values()),
        "tuple": tuple(phases.values()),
        "dict": phases,
        "generator": (i for i in phases.values()),
    }[kind]
    save(path, make_map(), phase_list=given)
    # The map's phase that is not in the list is the last one
    assert phases_in(path) == [
        ("corundum (R-3c)", pytest.approx([4.7, 4.7, 13, 90, 90, 120])),
        ("nickel (Fm-3m)", pytest.approx([4, 4, 4, 90, 90, 90])),
        ("ferrite (Im-3m)", pytest.approx([2.9, 2.9, 2.9, 90, 90, 90])),
        ("gamma'-Ni3Al (Pm-3m)", pytest.approx([3.572, 3.572, 3.572, 90, 90, 90])),
    ]
    loaded = load(path)
    assert loaded.phase_id.tolist() == [3, 3, 7, 7, 3, -1, 7, 11, 11, 11, 3, 7]
    assert loaded.phases[7].name == "ferrite"
    assert loaded.phases[11].name == "corundum"
    assert loaded.phases[7].structure.lattice.a == pytest.approx(2.9)


def test_phase_list_of_one_phase(tmp_path, make_map, make_phase, suffix):
    path = tmp_path / f"a{suffix}"
    save(path, make_map(), phase_list=make_phase("ferrite", 229))
    names = [name for name, _ in phases_in(path)]
    assert names == ["ferrite (Im-3m)", "gamma'-Ni3Al (Pm-3m)", "Al2O3 (R-3c)"]
    assert load(path).phases[7].name == "ferrite"


def test_phase_list_with_the_points_not_indexed(tmp_path, make_map, alloy, suffix):
    path = tmp_path / f"a{suffix}"
    xmap = make_map()
    assert -1 in xmap.phases.ids
    save(path, xmap, phase_list=xmap.phases)
    assert len(phases_in(path)) == 3


def test_phase_list_by_name(tmp_path, make_map, make_phase, suffix):
    path = tmp_path / f"a{suffix}"
    phases = {
        1: make_phase("Ni", 225),
        2: make_phase("Al", 225),
        3: make_phase("glass"),
        4: make_phase("slag"),
    }
    given = [
        make_phase("glass", None, (9, 9, 9, 90, 90, 90)),
        make_phase("Al", 225, (4.05, 4.05, 4.05, 90, 90, 90)),
        make_phase("Ni", 225, (3.52, 3.52, 3.52, 90, 90, 90)),
        make_phase("other", None, (8, 8, 8, 90, 90, 90)),
    ]
    save(path, make_map(phases, [1, 2, 3, 4], (2, 2)), phase_list=given)
    assert [(name, round(cell[0], 3)) for name, cell in phases_in(path)] == [
        ("glass", 9),
        ("Al (Fm-3m)", 4.05),
        ("Ni (Fm-3m)", 3.52),
        ("other", 8),
        ("slag", 4),
    ]
    loaded = load(path)
    assert loaded.phase_id.tolist() == [1, 2, 3, 4]
    assert [loaded.phases[i].name for i in (1, 2, 3, 4)] == ["Ni", "Al", "glass", "slag"]


def test_phases_without_points_are_no_phases_of_the_loaded_map(round_trip, make_map, suffix):
    loaded = round_trip(make_map(), suffix, phase_list=[Phase("Cu", space_group=225)])
    assert loaded.phases.ids == [-1, 3, 7, 11]


def test_phase_list_that_is_ambiguous(tmp_path, make_map, make_phase, suffix):
    xmap = make_map({1: make_phase("Fm-3m", 225)}, [1] * 4, (2, 2))
    given = [make_phase("Ni", 225), make_phase("Al", 225)]
    with pytest.raises(ValueError, match=r"\['Ni', 'Al'\] of phase_list .* 225 .*'Fm-3m'"):
        save(tmp_path / f"a{suffix}", xmap, phase_list=given)
    assert list(tmp_path.iterdir()) == []


def test_phase_list_with_one_phase_for_two(tmp_path, make_map, make_phase, suffix):
    xmap = make_map({1: make_phase("Ni", 225), 2: make_phase("Al", 225)}, [1, 1, 2, 2], (2, 2))
    with pytest.raises(ValueError, match="'Cu' of phase_list is for both 'Ni' and 'Al'"):
        save(tmp_path / f"a{suffix}", xmap, phase_list=[make_phase("Cu", 225)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", [["Ni"], {1: 225}, [Phase("Ni"), None]])
def test_phase_list_of_something_else(tmp_path, make_map, suffix, given):
    with pytest.raises(TypeError, match="of phase_list must be of type .*Phase"):
        save(tmp_path / f"a{suffix}", make_map(), phase_list=given)
    assert list(tmp_path.iterdir()) == []


def test_map_is_left_as_it_was(tmp_path, make_map, make_phase, suffix):
    xmap = make_map(prop={"scores": np.full(12, 0.8)})
    before = xmap.rotations.data.copy()
    save(tmp_path / f"a{suffix}", xmap, phase_list=[make_phase("ferrite", 229)])
    assert xmap.phases.names == ["not_indexed", "γ′-Ni₃Al", "α-Fe", "Al₂O₃"]
    assert np.array_equal(xmap.rotations.data, before)
    assert list(xmap.prop) == ["scores"]
    assert xmap.phases[7].structure.lattice.a == 2.866


@pytest.mark.parametrize("part", [0.02, 0.3, 0.5, 0.8, 0.95, 0.98])
def test_file_that_is_cut_short(tmp_path, make_map, suffix, part):
    path = tmp_path / f"a{suffix}"
    save(path, make_map())
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(ValueError, match=f"a{suffix}' is cut short"):
        load(path)


def test_file_of_another_kind(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="cut short"):
        load(path)


def test_failing_export_leaves_the_old_file(tmp_path, make_map, suffix, monkeypatch):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"old")

    def fail(*args, **kwargs):
        raise OSError("disk full")

    module, function = {
        ".ang": (kikuchipy_cnn.io._ang, "write_lines"),
        ".ctf": (kikuchipy_cnn.io._ctf, "write_lines"),
        ".h5": (kikuchipy_cnn.io._h5ebsd, "_write_data"),
    }[suffix]
    monkeypatch.setattr(module, function, fail)
    with pytest.raises(OSError, match="disk full"):
        save(path, make_map(), overwrite=True)
    assert [i.name for i in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"old"


def test_saving_what_was_loaded_changes_nothing(tmp_path, make_map, suffix):
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    save(first, make_map(prop={"scores": np.full(12, 0.8)}))
    save(second, load(first))
    if suffix == ".h5":
        a, b = load(first), load(second)
        assert np.array_equal(a.phase_id, b.phase_id)
        assert a.phases.names == b.phases.names
        assert phases_in(first) == phases_in(second)
    else:
        a, b = (i.read_text(encoding="ascii").splitlines() for i in (first, second))
        assert len(a) == len(b)
        # Angles may differ in the last digit
        assert sum(i != j for i, j in zip(a, b, strict=True)) <= 12


@pytest.mark.parametrize("indexed", [[], [0], [11], [4, 5, 6, 7]])
def test_some_thousand_points_without_a_phase(round_trip, make_map, suffix, indexed, monkeypatch):
    # Points are written by the thousands, here by the four, of which none may be indexed
    monkeypatch.setattr("kikuchipy_cnn.io._content._AT_ONCE", 4)
    phase_id = np.full(12, -1)
    phase_id[indexed] = 7
    loaded = round_trip(make_map(None, phase_id), suffix)
    assert np.array_equal(loaded.phase_id, phase_id)


@pytest.mark.parametrize("at_once", [1, 5, 12, 100])
def test_number_of_points_at_once_does_not_matter(tmp_path, make_map, suffix, at_once, monkeypatch):
    xmap = make_map(prop={"scores": np.full(12, 0.8), "iq": np.arange(12)}, identity=(1, 5, 11))
    with pytest.warns(UserWarning, match="2 of 11"):
        save(tmp_path / f"a{suffix}", xmap)
    monkeypatch.setattr("kikuchipy_cnn.io._content._AT_ONCE", at_once)
    with pytest.warns(UserWarning, match="2 of 11"):
        save(tmp_path / f"b{suffix}", xmap)
    a, b = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    if suffix == ".h5":
        with h5py.File(a) as first, h5py.File(b) as second:
            first, second = first["Scan 1/EBSD/Data"], second["Scan 1/EBSD/Data"]
            assert all(np.array_equal(first[i], second[i]) for i in first)
    else:
        assert a.read_bytes() == b.read_bytes()


def test_scores_that_are_not_a_number(tmp_path, make_map, suffix):
    scores = np.full(12, 0.8)
    scores[[0, 5]] = np.nan
    save(tmp_path / f"a{suffix}", make_map(prop={"scores": scores, "iq": scores}))
    if suffix == ".h5":
        with h5py.File(tmp_path / "a.h5") as file:
            found = file["Scan 1/EBSD/Data/CI"][()]
    else:
        assert "nan" not in (tmp_path / f"a{suffix}").read_text()
        found = load(tmp_path / f"a{suffix}").prop["scores"]
    assert found[0] == 0 and found[1] == pytest.approx(0.8, abs=2e-3)
