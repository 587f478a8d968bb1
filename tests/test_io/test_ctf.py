import numpy as np
import pytest
from orix.crystal_map import Phase

from kikuchipy_cnn.io import load, save

HEADER = [
    "Channel Text File",
    "Prj\tkikuchipy_cnn",
    "Author\tkikuchipy_cnn; BS=255 x score",
    "JobMode\tGrid",
    "XCells\t2",
    "YCells\t2",
    "XStep\t0.500000",
    "YStep\t0.250000",
    "AcqE1\t0",
    "AcqE2\t0",
    "AcqE3\t0",
    "Euler angles refer to Sample Coordinate system (CS0)!\tMag\t0\tCoverage\t100\tDevice\t0\t"
    "KV\t0\tTiltAngle\t0\tTiltAxis\t0",
    "Phases\t3",
    "3.572;3.572;3.572\t90.000;90.000;90.000\tgamma'-Ni3Al (Pm-3m)\t11\t221\t\t\t"
    "kikuchipy_cnn id=3",
    "2.866;2.866;2.866\t90.000;90.000;90.000\talpha-Fe (Im-3m)\t11\t229\t\t\tkikuchipy_cnn id=7",
    "4.759;4.759;12.993\t90.000;90.000;120.000\tAl2O3 (R-3c)\t7\t167\t\t\tkikuchipy_cnn id=11",
    "Phase\tX\tY\tBands\tError\tEuler1\tEuler2\tEuler3\tMAD\tBC\tBS",
]


def columns_of(path):
    lines = path.read_text(encoding="ascii").splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("Phase\t"))
    return np.loadtxt(lines[first + 1 :], delimiter="\t")


def test_file(tmp_path, make_map):
    save(tmp_path / "a.ctf", make_map(None, [3, -1, 7, 11], (2, 2)))
    lines = (tmp_path / "a.ctf").read_bytes().decode("ascii").split("\n")
    assert lines[:17] == HEADER
    assert lines[17:] == [
        "1\t0.000000\t0.000000\t0\t0\t95.7296\t13.0218\t20.3140\t0.0000\t0\t0",
        "0\t0.500000\t0.000000\t0\t3\t0.0000\t0.0000\t0.0000\t0.0000\t0\t0",
        "2\t0.000000\t0.250000\t0\t0\t139.4827\t56.7749\t64.0671\t0.0000\t0\t0",
        "3\t0.500000\t0.250000\t0\t0\t161.3593\t78.6515\t85.9437\t0.0000\t0\t0",
        "",
    ]


@pytest.mark.parametrize(
    ("number", "laue"),
    [
        (2, 1), (14, 2), (62, 3), (87, 4), (141, 5), (148, 6), (167, 7), (176, 8), (194, 9),
        (205, 10), (225, 11),
    ],
)  # fmt: skip
def test_laue_group(tmp_path, make_map, make_phase, number, laue):
    save(tmp_path / "a.ctf", make_map({1: make_phase("a", number)}, [1] * 4, (2, 2)))
    line = (tmp_path / "a.ctf").read_text(encoding="ascii").splitlines()[13]
    assert line.split("\t")[3:5] == [str(laue), str(number)]


@pytest.mark.parametrize("number", [2, 14, 62, 87, 141, 148, 167, 176, 194, 205, 225])
def test_one_space_group_of_each_laue_group(round_trip, make_map, make_phase, number):
    loaded = round_trip(make_map({1: make_phase("a", number)}, [1] * 4, (2, 2)), ".ctf")
    assert loaded.phases[1].space_group.number == number


def test_phase_without_space_group(tmp_path, make_map):
    phases = {1: Phase("a", point_group="-3m"), 2: Phase("b")}
    save(tmp_path / "a.ctf", make_map(phases, [1, 2, 1, 2], (2, 2)))
    lines = (tmp_path / "a.ctf").read_text(encoding="ascii").splitlines()
    assert [i.split("\t")[3:5] for i in lines[13:15]] == [["7", "0"], ["1", "0"]]
    loaded = load(tmp_path / "a.ctf")
    assert loaded.phases.space_groups == [None, None]
    assert loaded.phases[1].point_group.laue.name == "-3m"


def test_error_of_each_kind_of_point(tmp_path, make_map):
    inside = np.arange(12) != 11
    y, x = (i.ravel()[inside] for i in np.indices((3, 4)))
    phase_id = [3, -1, 3, 3, 3, 3, 3, 3, 3, 3, 3]
    is_in_data = np.arange(11) != 7
    save(tmp_path / "a.ctf", make_map(None, phase_id, x=x, y=y, is_in_data=is_in_data))
    assert columns_of(tmp_path / "a.ctf")[:, 4].tolist() == [0, 3, 0, 0, 0, 0, 0, 5, 0, 0, 0, 5]
    assert columns_of(tmp_path / "a.ctf")[:, 0].tolist() == [1, 0, 1, 1, 1, 1, 1, 0, 1, 1, 1, 0]


def test_scores_are_band_slope(tmp_path, make_map):
    scores = np.array([0, 1, 0.5, 0.499, 0.001, 0.9, 1.2, -0.1, 0.2, 0.4, 0.6, 0.8])
    save(tmp_path / "a.ctf", make_map(prop={"scores": scores}))
    expected = [0, 255, 128, 127, 0, 0, 255, 0, 51, 102, 153, 204]
    assert columns_of(tmp_path / "a.ctf")[:, 10].tolist() == expected
    assert load(tmp_path / "a.ctf").scores == pytest.approx(np.array(expected) / 255)


@pytest.mark.parametrize(
    ("quality", "expected"),
    [
        ((0.2, 0.4, 1.0, 0.8), (51, 102, 255, 204)),
        ((0.1, 0.2, 0.3, 0.4), (26, 51, 76, 102)),
        ((1000, 2000, 500, 0), (128, 255, 64, 0)),
        ((0, 0, 0, 0), (0, 0, 0, 0)),
        ((-5, -1, -2, -3), (0, 0, 0, 0)),
    ],
)
def test_image_quality_is_band_contrast(tmp_path, make_map, quality, expected):
    xmap = make_map(None, [3] * 4, (2, 2), prop={"iq": np.array(quality)})
    save(tmp_path / "a.ctf", xmap)
    assert columns_of(tmp_path / "a.ctf")[:, 9] == pytest.approx(np.array(expected), abs=1)
    author = (tmp_path / "a.ctf").read_text(encoding="ascii").splitlines()[2]
    assert author.endswith("; BC=image quality") is (max(quality) > 0)


def test_fit_is_mean_angular_deviation(tmp_path, make_map):
    save(tmp_path / "a.ctf", make_map(prop={"fit": np.full(12, 1.25)}))
    assert columns_of(tmp_path / "a.ctf")[[0, 5], 8].tolist() == [1.25, 0]
    loaded = load(tmp_path / "a.ctf")
    assert sorted(loaded.prop) == ["fit", "scores"]
    assert loaded.fit[0] == 1.25


def test_euler_angles_in_the_frame_of_oxford(tmp_path, make_map):
    from orix.quaternion import Rotation

    eulers = np.deg2rad([(10, 20, 30), (280, 20, 30), (300, 40, 50), (359, 90, 1)])
    xmap = make_map(None, [3] * 4, (2, 2), rotations=Rotation.from_euler(eulers))
    save(tmp_path / "a.ctf", xmap)
    assert np.allclose(
        columns_of(tmp_path / "a.ctf")[:, 5:8],
        [(100, 20, 30), (10, 20, 30), (30, 40, 50), (89, 90, 1)],
        atol=1e-4,
    )
    assert np.allclose(load(tmp_path / "a.ctf").rotations.angle_with(xmap.rotations), 0, atol=1e-5)


def test_rotation_that_is_0_in_the_frame_of_oxford(round_trip, make_map):
    from orix.quaternion import Rotation

    eulers = np.deg2rad([(270, 0, 0), (90, 0, 0), (0, 0, 0.01), (0, 0.01, 0)])
    xmap = make_map(None, [3] * 4, (2, 2), rotations=Rotation.from_euler(eulers))
    loaded = round_trip(xmap, ".ctf")
    assert np.allclose(loaded.rotations.angle_with(xmap.rotations), 0, atol=1e-5)


def test_single_point(tmp_path, make_map):
    with pytest.raises(ValueError, match="one point cannot be read from .ctf: save it to .h5"):
        save(tmp_path / "a.ctf", make_map(None, [3], (1, 1)))


def foreign(end="\n"):
    lines = [*HEADER, *(f"1\t{x}\t{y}\t8\t0\t10\t20\t30\t0.5\t100\t90" for y in "01" for x in "01")]
    text = "\n".join(lines) + end
    return text.replace("Author\tkikuchipy_cnn", "Author\tsomebody").replace("kikuchipy_cnn", "")


def test_file_of_another_program(tmp_path):
    (tmp_path / "a.ctf").write_text(foreign())
    xmap = load(tmp_path / "a.ctf")
    assert xmap.shape == (2, 2)
    assert xmap.phase_id.tolist() == [1] * 4
    assert xmap.phases[1].space_group.number == 221
    # These are as they are in the file
    assert np.allclose(np.rad2deg(xmap.rotations.to_euler()), (10, 20, 30))
    assert xmap.prop["BC"].tolist() == [100] * 4
    assert "scores" not in xmap.prop


@pytest.mark.parametrize("end", ["", "\n\n", "\n \n"])
def test_end_of_a_file_of_another_program(tmp_path, end):
    (tmp_path / "a.ctf").write_text(foreign(end))
    assert load(tmp_path / "a.ctf").shape == (2, 2)


def test_file_that_is_no_ctf(tmp_path):
    (tmp_path / "a.ctf").write_text("Name,Score\na,1\n")
    with pytest.raises(ValueError, match="cut short or no Channel Text File: there is no line"):
        load(tmp_path / "a.ctf")
