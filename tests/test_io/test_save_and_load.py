import os
import tempfile

import numpy as np
import orix.io
import pytest
from orix.crystal_map import CrystalMap, Phase, PhaseList
from orix.quaternion import Rotation

import kikuchipy_cnn.io
from kikuchipy_cnn.crystal_map import classes_from_crystal_map, probabilities_to_crystal_map
from kikuchipy_cnn.io import check_output, load, save
from kikuchipy_cnn.label_classes import LabelClasses
from kikuchipy_cnn.space_groups import SpaceGroupClasses

CLASSES = SpaceGroupClasses((229, 225, 166))
LABELS = LabelClasses(("-1", "4/mmm", "Ni3Al (L1_2)"), (None, None, 221))
SHAPE = (3, 4)
NUMBERS = np.array([229, 225, 225, 229, 225, 166, 166, 225, 225, 166, 166, 229])
INDEXED = np.arange(12) != 5


def make(
    shape=SHAPE, indexed=INDEXED, step_sizes=(0.25, 0.123456), scan_unit="um", *,
    identity=False, classes=CLASSES, **kwargs,
):  # fmt: skip
    n = len(indexed)
    probabilities = np.full((n, 3), 0.1)
    probabilities[np.arange(n), [CLASSES.index(i) for i in NUMBERS[:n]]] = 0.8
    rotations = Rotation.from_euler(np.linspace(0.1, 1.5, 3 * n).reshape(n, 3))
    return probabilities_to_crystal_map(
        probabilities, classes, navigation_shape=shape, step_sizes=step_sizes, scan_unit=scan_unit,
        indexed=indexed, rotations=None if identity else rotations, **kwargs,
    )  # fmt: skip


def counts(xmap):
    return {
        "not indexed" if i == -1 else xmap.phases[int(i)].name: int(np.sum(xmap.phase_id == i))
        for i in np.unique(xmap.phase_id)
    }


def test_ang_round_trip(tmp_path):
    xmap = make()
    save(tmp_path / "a.ang", xmap)
    loaded = load(tmp_path / "a.ang")
    assert os.listdir(tmp_path) == ["a.ang"]
    assert loaded.shape == SHAPE
    assert np.array_equal(loaded.phase_id, xmap.phase_id)
    assert counts(loaded) == {"Fm-3m": 5, "Im-3m": 3, "R-3m": 3, "not indexed": 1}
    assert loaded.phases.ids == [-1, 166, 225, 229]
    assert [i.number for i in loaded.phases.space_groups[1:]] == [166, 225, 229]
    assert loaded.phases.colors == xmap.phases.colors
    assert np.allclose(loaded.x, xmap.x, atol=1e-6)
    assert np.allclose(loaded.y, xmap.y, atol=1e-6)
    assert np.allclose([loaded.dy, loaded.dx], [0.25, 0.123456], atol=1e-6)
    assert loaded.scan_unit == "um"
    assert np.allclose(loaded.scores, xmap.scores, atol=1e-6)
    assert np.allclose(loaded.rotations[INDEXED].angle_with(xmap.rotations[INDEXED]), 0, atol=1e-4)
    assert np.array_equal(loaded.rotations[5].data, [[1, 0, 0, 0]])


def test_ang_of_orix_itself(tmp_path, capsys):
    save(tmp_path / "a.ang", make())
    xmap = orix.io.load(tmp_path / "a.ang")
    assert counts(xmap) == {"Fm-3m": 5, "Im-3m": 3, "R-3m": 3, "not indexed": 1}
    assert xmap.phases["Fm-3m"].point_group.name == "432"
    assert xmap.phases["R-3m"].point_group.name == "321"
    assert np.allclose(xmap.phases["R-3m"].structure.lattice.abcABG(), (1, 1, 1, 90, 90, 120))
    assert np.allclose(xmap.prop["ci"], np.where(INDEXED, 0.8, -1))


def test_ang_columns_of_a_point_not_indexed(tmp_path):
    xmap = make()
    xmap.prop["iq"] = np.arange(12)
    save(tmp_path / "a.ang", xmap)
    columns = np.loadtxt(tmp_path / "a.ang")
    assert np.allclose(columns[5, :3], 4 * np.pi, atol=1e-5)
    assert columns[5, 5:].tolist() == [0, -1, 0, 0, 180]
    assert columns[6, 5:].tolist() == [6, 0.8, 1, 0, 0]


def test_ang_keeps_the_grid_of_a_map_with_points_not_in_data(tmp_path):
    is_in_data = np.ones(SHAPE, dtype=bool)
    is_in_data[:, 0] = False
    xmap = make(indexed=np.arange(9) != 4, is_in_data=is_in_data)
    save(tmp_path / "a.ang", xmap)
    loaded = load(tmp_path / "a.ang")
    assert loaded.shape == SHAPE
    expected = np.full(SHAPE, -1)
    expected[is_in_data] = xmap.phase_id
    assert np.array_equal(loaded.phase_id, expected.ravel())


@pytest.mark.parametrize("shape", [(12,), (1, 12), (12, 1)])
def test_ang_of_a_row_or_column(tmp_path, shape):
    xmap = make(shape, step_sizes=(0.5,) * len(shape))
    save(tmp_path / "a.ang", xmap)
    loaded = load(tmp_path / "a.ang")
    assert loaded.shape == (12,)
    assert np.array_equal(loaded.phase_id, xmap.phase_id)
    along, across = ("y", "x") if shape == (12, 1) else ("x", "y")
    assert np.allclose(getattr(loaded, along), 0.5 * np.arange(12))
    assert getattr(loaded, across) is None


def test_ang_without_indexed_points(tmp_path):
    save(tmp_path / "a.ang", make(indexed=np.zeros(12, dtype=bool)))
    for function in (load, orix.io.load):
        xmap = function(tmp_path / "a.ang")
        assert xmap.shape == SHAPE
        assert not xmap.is_indexed.any()


def test_ang_of_one_space_group(tmp_path):
    save(tmp_path / "a.ang", make()["Fm-3m"])
    loaded = load(tmp_path / "a.ang")
    assert counts(loaded) == {"Fm-3m": 5, "not indexed": 7}


def test_ang_of_a_single_point(tmp_path):
    xmap = make((), indexed=[True], step_sizes=())
    with pytest.raises(ValueError, match=r"one point cannot be read from .ang: save it to .h5"):
        save(tmp_path / "a.ang", xmap)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("unit", "scale"), [("nm", 1e-3), ("µm", 1), ("mm", 1e3)])
def test_ang_is_in_micrometres(tmp_path, unit, scale):
    save(tmp_path / "a.ang", make(step_sizes=(50, 20), scan_unit=unit))
    xmap = load(tmp_path / "a.ang")
    assert np.allclose([xmap.dy, xmap.dx], [50 * scale, 20 * scale])
    assert xmap.scan_unit == "um"
    assert f"# XSTEP: {20 * scale:.6f}\n# YSTEP: {50 * scale:.6f}\n" in (
        tmp_path / "a.ang"
    ).read_text(encoding="utf-8")


def test_ang_of_pixels_warns(tmp_path):
    with pytest.warns(UserWarning, match="'px' is not a length: .* read as 1 um") as record:
        save(tmp_path / "a.ang", make(scan_unit="px"))
    assert record[0].filename == __file__


@pytest.mark.parametrize("suffix", [".ang", ".ctf", ".h5"])
def test_identity_rotations_warn(tmp_path, suffix):
    with pytest.warns(UserWarning, match="All rotations are identity") as record:
        save(tmp_path / f"a{suffix}", make(identity=True))
    assert record[0].filename == __file__


def test_ang_of_other_phases(tmp_path):
    n = 4
    xmap = CrystalMap(
        Rotation.from_euler(np.full((n, 3), 0.5)),
        phase_id=np.array([0, 1, 1, 2]),
        phase_list=PhaseList(
            [Phase("Fm-3m", space_group=225), Phase("steel", point_group="m-3m"), Phase("glass")]
        ),
        scan_unit="um",
    )
    save(tmp_path / "a.ang", xmap)
    loaded = load(tmp_path / "a.ang")
    # A name that is no symbol is no space group
    assert loaded.phase_id.tolist() == [0, 1, 1, 2]
    assert loaded.phases["Fm-3m"].space_group.number == 225
    assert loaded.phases["steel"].space_group is None
    assert loaded.phases["steel"].point_group.name == "432"
    assert loaded.phases["glass"].point_group.name == "1"
    assert loaded.scores.tolist() == [0] * n


@pytest.mark.parametrize(
    ("classes", "point_groups"),
    [
        (LABELS, ["1", "422", "m-3m"]),
        (LabelClasses(("F", "I", "P")), ["1", "1", "1"]),
    ],
)
def test_ang_of_labels(tmp_path, classes, point_groups):
    xmap = make(classes=classes)
    save(tmp_path / "a.ang", xmap)
    loaded = load(tmp_path / "a.ang")
    assert np.array_equal(loaded.phase_id, xmap.phase_id)
    assert loaded.phases.names[1:] == list(classes.names)
    assert [i.name for i in loaded.phases.point_groups[1:]] == point_groups
    assert np.allclose(loaded.scores, np.where(INDEXED, 0.8, 0))


@pytest.mark.parametrize("classes", [LABELS, LabelClasses(("F", "I", "P"))])
def test_hdf5_of_labels(tmp_path, classes):
    xmap = make(classes=classes)
    save(tmp_path / "a.h5", xmap)
    loaded = load(tmp_path / "a.h5")
    assert np.array_equal(loaded.phase_id, xmap.phase_id)
    assert classes_from_crystal_map(loaded) == classes
    assert set(loaded.prop) == set(xmap.prop)
    assert all(np.array_equal(loaded.prop[i], xmap.prop[i]) for i in xmap.prop)
    assert loaded.phases.names == ["not_indexed", *classes.names]
    assert loaded.phases.colors == xmap.phases.colors
    expected = [i and i.name for i in classes.phase_list().point_groups]
    assert [i and i.name for i in loaded.phases.point_groups[1:]] == expected


@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".h5ebsd", ".oh5", ".H5"])
def test_hdf5_round_trip(tmp_path, suffix):
    is_in_data = np.ones(SHAPE, dtype=bool)
    is_in_data[1:, 0] = False
    xmap = make(indexed=np.arange(10) != 5, is_in_data=is_in_data)
    save(tmp_path / f"a{suffix}", xmap)
    loaded = load(tmp_path / f"a{suffix}")
    assert loaded.shape == SHAPE
    assert np.array_equal(loaded.phase_id, xmap.phase_id)
    assert np.array_equal(loaded.is_in_data, xmap.is_in_data)
    assert [i.number for i in loaded.phases.space_groups[1:]] == [166, 225, 229]
    assert loaded.phases.colors == xmap.phases.colors
    assert set(loaded.prop) == set(xmap.prop)
    assert all(np.array_equal(loaded.prop[i], xmap.prop[i]) for i in xmap.prop)
    assert loaded.scan_unit == "um"


def test_hdf5_of_a_single_point(tmp_path):
    save(tmp_path / "a.h5", make((), indexed=[True], step_sizes=()))
    assert load(tmp_path / "a.h5").phase_id.tolist() == [229]


@pytest.mark.parametrize("suffix", [".ang", ".ctf", ".h5"])
@pytest.mark.parametrize("overwrite", [None, False])
def test_existing_file_is_kept(tmp_path, suffix, overwrite):
    # pytest has no terminal to ask on
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError, match="pass overwrite=True"):
        save(path, make(), overwrite=overwrite)
    assert path.read_bytes() == b"precious"
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", [".ang", ".ctf", ".h5"])
def test_existing_file_is_overwritten(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"old")
    save(path, make(), overwrite=True)
    assert load(path).shape == SHAPE
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize(("answers", "is_kept"), [(["n"], True), (["what", "Y"], False)])
def test_user_is_asked(tmp_path, monkeypatch, answers, is_kept):
    path = tmp_path / "a.ang"
    path.write_bytes(b"old")
    remaining = iter(answers)
    monkeypatch.setattr("builtins.input", lambda question: next(remaining))
    save(path, make())
    assert (path.read_bytes() == b"old") is is_kept
    assert list(remaining) == []


@pytest.mark.parametrize("existing", [True, False])
def test_failing_ang_write_leaves_things_as_they_were(tmp_path, monkeypatch, existing):
    path = tmp_path / "a.ang"
    if existing:
        path.write_bytes(b"old")

    def write_some(file, *args, **kwargs):
        file.write("half a li")
        raise OSError("disk full")

    monkeypatch.setattr("kikuchipy_cnn.io._ang.write_lines", write_some)
    with pytest.raises(OSError, match="disk full"):
        save(path, make(), overwrite=True)
    assert os.listdir(tmp_path) == (["a.ang"] if existing else [])
    assert not existing or path.read_bytes() == b"old"


def test_failing_hdf5_write_leaves_things_as_they_were(tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(b"old")
    xmap = make()
    xmap.prop["unwritable"] = np.array(["text"] * 12)
    with pytest.raises(TypeError):
        save(path, xmap, overwrite=True)
    assert os.listdir(tmp_path) == ["a.h5"]
    assert path.read_bytes() == b"old"


def test_link_is_followed(tmp_path):
    target, link = tmp_path / "target.ang", tmp_path / "link.ang"
    target.write_bytes(b"old")
    link.symlink_to(target)
    save(link, make(), overwrite=True)
    assert link.is_symlink()
    assert load(target).shape == SHAPE


def test_relative_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save("a.ang", make())
    assert load("a.ang").shape == SHAPE


def test_check_output_passes(tmp_path):
    check_output(tmp_path / "a.ang")
    check_output(str(tmp_path / "a.H5"), overwrite=False)
    assert os.listdir(tmp_path) == []
    (tmp_path / "a.ang").write_bytes(b"old")
    check_output(tmp_path / "a.ang", overwrite=True)
    assert (tmp_path / "a.ang").read_bytes() == b"old"


@pytest.mark.parametrize("function", [check_output, lambda path: save(path, make())])
@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        (
            "a.csv",
            ValueError,
            r"Suffix '.csv' of .* must be one of .ang, .ctf, .h5, .hdf5, .h5ebsd, .oh5",
        ),
        ("a", ValueError, r"Suffix '' of"),
        ("missing/a.ang", FileNotFoundError, r"Folder '.*missing' of 'a.ang' does not exist"),
        ("file.txt/a.ang", NotADirectoryError, r"file.txt' is not a folder"),
        ("folder.ang", IsADirectoryError, r"folder.ang' is a folder"),
    ],
)
def test_unusable_output(tmp_path, function, name, error, message):
    (tmp_path / "folder.ang").mkdir()
    (tmp_path / "file.txt").write_bytes(b"")
    with pytest.raises(error, match=message):
        function(tmp_path / name)


def test_check_output_of_an_existing_file(tmp_path):
    (tmp_path / "a.ang").write_bytes(b"old")
    with pytest.raises(FileExistsError, match="a.ang' exists: pass overwrite=True"):
        check_output(tmp_path / "a.ang")


def test_overwrite_that_is_no_boolean(tmp_path):
    with pytest.raises(ValueError, match="overwrite 'yes' must be None, True or False"):
        check_output(tmp_path / "a.ang", overwrite="yes")


def test_folder_that_cannot_be_written_to(tmp_path, monkeypatch):
    # Nothing is read-only to root, whom tests may run as
    def refuse(**kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(PermissionError, match=r"cannot be written to \(Permission denied\)"):
        check_output(tmp_path / "a.ang")


def test_load_of_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="a.ang' is not a file"):
        load(tmp_path / "a.ang")


def test_public_names():
    assert sorted(kikuchipy_cnn.io.__all__) == [
        "check_output",
        "load",
        "save",
    ]
