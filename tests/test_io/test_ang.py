import tracemalloc

import numpy as np
import pytest
from orix.crystal_map import CrystalMap, Phase, PhaseList
from orix.quaternion import Rotation

from kikuchipy_cnn.io import load, save


def test_file(tmp_path, make_map):
    save(tmp_path / "a.ang", make_map(None, [3, -1, 7, 11], (2, 2)))
    assert (tmp_path / "a.ang").read_bytes().decode("ascii").split("\n") == [
        "# TEM_PIXperUM           1.000000",
        "# x-star                 0.000000",
        "# y-star                 0.000000",
        "# z-star                 0.000000",
        "# WorkingDistance        0.000000",
        "#",
        "# Phase 1",
        "# MaterialName    gamma'-Ni3Al (Pm-3m)",
        "# Formula",
        "# Info    space group 221; kikuchipy_cnn id=3",
        "# Symmetry    43",
        "# LatticeConstants    3.572 3.572 3.572 90.000 90.000 90.000",
        "# NumberFamilies    0",
        "#",
        "# Phase 2",
        "# MaterialName    alpha-Fe (Im-3m)",
        "# Formula",
        "# Info    space group 229; kikuchipy_cnn id=7",
        "# Symmetry    43",
        "# LatticeConstants    2.866 2.866 2.866 90.000 90.000 90.000",
        "# NumberFamilies    0",
        "#",
        "# Phase 3",
        "# MaterialName    Al2O3 (R-3c)",
        "# Formula",
        "# Info    space group 167; kikuchipy_cnn id=11",
        "# Symmetry    32",
        "# LatticeConstants    4.759 4.759 12.993 90.000 90.000 120.000",
        "# NumberFamilies    0",
        "#",
        "# GRID: SqrGrid",
        "# XSTEP: 0.500000",
        "# YSTEP: 0.250000",
        "# NCOLS_ODD: 2",
        "# NCOLS_EVEN: 2",
        "# NROWS: 2",
        "#",
        "# OPERATOR: kikuchipy_cnn",
        "#",
        "# SAMPLEID:",
        "#",
        "# SCANID:",
        "#",
        "# Column names: phi1, Phi, phi2, x, y, image_quality, confidence_index, phase_id, "
        "detector_signal, pattern_fit",
        "#",
        "  0.10000   0.22727   0.35455      0.000000      0.000000     0.000  0.00000   1   0.000"
        "   0.000",
        " 12.56637  12.56637  12.56637      0.500000      0.000000     0.000 -1.00000   0   0.000"
        " 180.000",
        "  0.86364   0.99091   1.11818      0.000000      0.250000     0.000  0.00000   2   0.000"
        "   0.000",
        "  1.24545   1.37273   1.50000      0.500000      0.250000     0.000  0.00000   3   0.000"
        "   0.000",
        "",
    ]


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (2, 1), (14, 20), (62, 22), (87, 4), (141, 42), (148, 3), (167, 32), (176, 6), (194, 62),
        (205, 23), (225, 43),
    ],
)  # fmt: skip
def test_symmetry(tmp_path, make_map, make_phase, number, code):
    save(tmp_path / "a.ang", make_map({1: make_phase("a", number)}, [1] * 4, (2, 2)))
    text = (tmp_path / "a.ang").read_text(encoding="ascii")
    assert f"# Info    space group {number}; kikuchipy_cnn id=1\n# Symmetry    {code}\n" in text


def test_symmetry_of_a_phase_without_space_group(tmp_path, make_map):
    phases = {1: Phase("a", point_group="-3m"), 2: Phase("b")}
    save(tmp_path / "a.ang", make_map(phases, [1, 2, 1, 2], (2, 2)))
    text = (tmp_path / "a.ang").read_text(encoding="ascii")
    assert "# Info    space group not known; kikuchipy_cnn id=1\n# Symmetry    32\n" in text
    assert "# Info    space group not known; kikuchipy_cnn id=2\n# Symmetry    1\n" in text


@pytest.mark.parametrize("name", ["iq", "image_quality", "imagequality", "pq"])
def test_image_quality(tmp_path, make_map, name):
    save(tmp_path / "a.ang", make_map(prop={name: np.arange(12) + 0.5}))
    columns = np.loadtxt(tmp_path / "a.ang")
    expected = np.arange(12) + 0.5
    expected[5] = 0
    assert columns[:, 5].tolist() == expected.tolist()


def test_image_quality_comes_before_pattern_quality(tmp_path, make_map):
    save(tmp_path / "a.ang", make_map(prop={"pq": np.zeros(12), "iq": np.ones(12)}))
    assert np.loadtxt(tmp_path / "a.ang")[0, 5] == 1


@pytest.mark.parametrize("name", ["scores", "ci", "cm"])
def test_confidence(tmp_path, make_map, name):
    save(tmp_path / "a.ang", make_map(prop={name: np.full(12, 0.4)}))
    assert np.loadtxt(tmp_path / "a.ang")[:, 6].tolist() == [0.4] * 5 + [-1] + [0.4] * 6
    loaded = load(tmp_path / "a.ang")
    assert loaded.scores.tolist() == [0.4] * 5 + [0] + [0.4] * 6
    assert "ci" not in loaded.prop


def test_fit(tmp_path, make_map):
    save(tmp_path / "a.ang", make_map(prop={"fit": np.full(12, 1.25)}))
    assert np.loadtxt(tmp_path / "a.ang")[:, 9].tolist() == [1.25] * 5 + [180] + [1.25] * 6
    assert load(tmp_path / "a.ang").fit[0] == 1.25


def test_properties_of_points_not_in_data(tmp_path, make_map):
    is_in_data = np.arange(12) != 2
    save(tmp_path / "a.ang", make_map(is_in_data=is_in_data, prop={"iq": np.arange(12)}))
    columns = np.loadtxt(tmp_path / "a.ang")
    assert columns[:, 5].tolist() == [0, 1, 0, 3, 4, 0, 6, 7, 8, 9, 10, 11]
    assert columns[2, 6:].tolist() == [-1, 0, 0, 180]


def test_notes_are_lines_of_their_own(tmp_path, make_map):
    with pytest.warns(UserWarning, match="1 of 11"):
        save(tmp_path / "a.ang", make_map({**alloy_without_cells()}, identity=[0]))
    text = (tmp_path / "a.ang").read_text(encoding="ascii")
    assert (
        "# NOTE: 1 of 11 indexed points have NO ORIENTATION: their Euler angles of 0 are no "
        "texture, only their phase is known\n# NOTE: The unit cell is not known of: Pm-3m, "
    ) in text


def alloy_without_cells():
    return {
        3: Phase("Pm-3m", space_group=221),
        7: Phase("Im-3m", space_group=229),
        11: Phase("R-3c", space_group=167),
    }


def test_single_point(tmp_path, make_map):
    with pytest.raises(ValueError, match="one point cannot be read from .ang: save it to .h5"):
        save(tmp_path / "a.ang", make_map(None, [3], (1, 1)))


def foreign(lines, points):
    return "".join(f"# {line}\n" for line in lines) + "".join(f"{line}\n" for line in points)


HEADER = [
    "Phase 1", "MaterialName  \tNickel (Fm-3m)", "Formula  \tNi", "Info", "Symmetry  \t43",
    "LatticeConstants  \t3.520 3.520 3.520 90.000 90.000 90.000", "NumberFamilies  \t0",
    "GRID: SqrGrid", "XSTEP: 0.5", "YSTEP: 0.5", "NCOLS_ODD: 2", "NCOLS_EVEN: 2", "NROWS: 2",
]  # fmt: skip
POINTS = [
    "0.1 0.2 0.3 0.0 0.0 50.5 0.9 1 100 1.25",
    "0.1 0.2 0.3 0.5 0.0 51.5 0.8 1 100 1.25",
    "0.1 0.2 0.3 0.0 0.5 52.5 0.7 1 100 1.25",
    "0.1 0.2 0.3 0.5 0.5 53.5 -1 1 100 1.25",
]


def test_file_of_another_program(tmp_path):
    (tmp_path / "a.ang").write_text(foreign(HEADER, POINTS))
    xmap = load(tmp_path / "a.ang")
    assert xmap.shape == (2, 2)
    assert xmap.phase_id.tolist() == [1, 1, 1, -1]
    assert xmap.phases[1].name == "Nickel"
    assert xmap.phases[1].space_group.number == 225
    assert xmap.ci.tolist() == [0.9, 0.8, 0.7, -1]
    assert "scores" not in xmap.prop


@pytest.mark.parametrize("end", ["", "\n", "\n\n", " \n"])
def test_end_of_a_file_of_another_program(tmp_path, end):
    (tmp_path / "a.ang").write_text(foreign(HEADER, POINTS).rstrip("\n") + end)
    assert load(tmp_path / "a.ang").shape == (2, 2)


def test_file_of_another_program_without_a_grid(tmp_path):
    lines = [i for i in HEADER if not i.startswith(("NCOLS", "NROWS"))]
    (tmp_path / "a.ang").write_text(foreign(lines, POINTS))
    assert load(tmp_path / "a.ang").shape == (2, 2)


def test_file_of_another_program_that_is_cut_short(tmp_path):
    (tmp_path / "a.ang").write_text(foreign(HEADER, POINTS[:3]))
    with pytest.raises(ValueError, match="promises 4 points, and it has 3 whole"):
        load(tmp_path / "a.ang")


@pytest.mark.parametrize("n_cut", [3, 4, 5])
def test_last_number_that_is_cut_short(tmp_path, make_map, n_cut):
    # The last number is 1.250, of which 1.2, 1. and 1 are left
    save(tmp_path / "a.ang", make_map(prop={"fit": np.full(12, 1.25)}))
    content = (tmp_path / "a.ang").read_bytes()
    (tmp_path / "a.ang").write_bytes(content[:-n_cut])
    with pytest.raises(ValueError, match="cut short"):
        load(tmp_path / "a.ang")


def test_many_points(tmp_path):
    # More than are written at once
    n = 300
    y, x = (i.ravel() for i in np.indices((n, n)))
    rng = np.random.default_rng(0)
    xmap = CrystalMap(
        Rotation.random(n * n),
        phase_id=rng.integers(0, 2, n * n),
        x=x,
        y=y,
        phase_list=PhaseList([Phase("a", space_group=225), Phase("b", space_group=229)]),
        prop={"scores": rng.uniform(size=n * n)},
        scan_unit="um",
    )
    save(tmp_path / "a.ang", xmap)
    loaded = load(tmp_path / "a.ang")
    assert np.array_equal(loaded.phase_id, xmap.phase_id)
    assert np.allclose(loaded.scores, xmap.scores, atol=1e-5)
    assert np.allclose(loaded.rotations.angle_with(xmap.rotations), 0, atol=1e-4)


def test_memory(tmp_path, monkeypatch, make_phase):
    # With few points at once, the file of 10 MB is never in memory
    monkeypatch.setattr("kikuchipy_cnn.io._content._AT_ONCE", 4096)
    n = 300
    y, x = (i.ravel() for i in np.indices((n, n)))
    xmap = CrystalMap(
        Rotation.from_euler(np.full((n * n, 3), 0.5)),
        x=x,
        y=y,
        phase_list=PhaseList(make_phase("a", 225)),
        prop={"scores": np.full(n * n, 0.5)},
        scan_unit="um",
    )
    tracemalloc.start()
    save(tmp_path / "a.ang", xmap)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "a.ang").stat().st_size > 8e6
    assert peak < 8e6
