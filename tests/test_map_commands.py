import csv

import kikuchipy as kp
import matplotlib.image
import numpy as np
import orix.io
import pytest
from orix.crystal_map import CrystalMap, PhaseList
from orix.quaternion import Rotation

from kikuchipy_cnn import io
from kikuchipy_cnn.cli import main
from kikuchipy_cnn.simulation import load_phases, simulate_map

SHAPE = (4, 6)


@pytest.fixture(scope="module")
def phases():
    found = load_phases()
    return [found["Ni"], found["Ni3Al"]]


def crystal_map(phases, phase_id, **kwargs):
    y, x = (0.5 * i.ravel() for i in np.mgrid[: SHAPE[0], : SHAPE[1]])
    rotations = Rotation(np.random.default_rng(1).standard_normal((24, 4)))
    return CrystalMap(
        rotations, phase_id=phase_id, x=x, y=y, scan_unit="um", phase_list=PhaseList(phases),
        prop={"scores": np.linspace(0.5, 0.9, 24)}, **kwargs,
    )  # fmt: skip


@pytest.fixture(scope="module")
def files(phases, tmp_path_factory):
    """Patterns, the truth, and a map with two mistakes."""
    folder = tmp_path_factory.mktemp("maps")
    truth = crystal_map(phases, np.repeat([0, 1], 12))
    detector = kp.detectors.EBSDDetector((40, 40), pc=(0.5, 0.3, 0.6))
    simulate_map(truth, detector).save(folder / "patterns.h5")
    called = truth.phase_id.copy()
    called[[2, 20]] = 1 - called[[2, 20]]
    io.save(folder / "truth.h5", truth)
    io.save(folder / "network.h5", crystal_map(phases, called))
    return folder


def run(*arguments):
    return main([str(argument) for argument in arguments])


def test_export(files, tmp_path, capsys):
    outputs = [tmp_path / name for name in ("a.ang", "a.ctf", "a.h5")]
    arguments = [i for output in outputs for i in ("--output", output)]
    assert run("export", files / "network.h5", *arguments) == 0
    assert capsys.readouterr().out.splitlines() == [f"Map: {output}" for output in outputs]
    for output in outputs:
        xmap = io.load(output)
        assert xmap.phases.names == ["Ni", "Ni3Al"]
        assert [i.number for i in xmap.phases.space_groups] == [225, 221]
        assert np.array_equal(xmap.phase_id, io.load(files / "network.h5").phase_id)


def test_export_with_phases(tmp_path, capsys):
    from kikuchipy_cnn.crystal_map import probabilities_to_crystal_map
    from kikuchipy_cnn.space_groups import SpaceGroupClasses

    probabilities = np.eye(2)[np.repeat([0, 1], 12)]
    xmap = probabilities_to_crystal_map(
        probabilities, SpaceGroupClasses((221, 225)), navigation_shape=SHAPE, scan_unit="um",
        rotations=Rotation.from_euler(np.full((24, 3), 0.5)),
    )  # fmt: skip
    io.save(tmp_path / "classified.h5", xmap)
    status = run(
        "export", tmp_path / "classified.h5", "--output", tmp_path / "a.ctf", "--phase", "Fe-bcc",
        "--phase", "Ni",
    )  # fmt: skip
    assert status == 0
    phases = orix.io.load(tmp_path / "a.ctf").phases
    # In the order of the file: a phase without points is kept, one that is not named stays
    assert [i.name for _, i in phases] == ["Ni (Fm-3m)", "Pm-3m"]
    lines = (tmp_path / "a.ctf").read_text().splitlines()
    first = lines.index("Phases\t3") + 1
    names = [line.split("\t")[2] for line in lines[first : first + 3]]
    assert names == ["Fe-bcc (Im-3m)", "Ni (Fm-3m)", "Pm-3m"]
    assert lines[first + 1].startswith("3.524;3.524;3.524\t90.000;90.000;90.000\t")


@pytest.mark.parametrize("space_group", ["229", "find"])
def test_export_with_cif_without_symmetry(files, tmp_path, space_group):
    """Its space group is given by a number, or found."""
    (tmp_path / "iron.cif").write_text(
        "data_iron\n_cell_length_a 2.866\n_cell_length_b 2.866\n_cell_length_c 2.866\n"
        "_cell_angle_alpha 90\n_cell_angle_beta 90\n_cell_angle_gamma 90\n"
        "loop_\n_atom_site_label\n_atom_site_type_symbol\n_atom_site_fract_x\n"
        "_atom_site_fract_y\n_atom_site_fract_z\n_atom_site_B_iso_or_equiv\n"
        "Fe1 Fe 0 0 0 0.35\nFe2 Fe 0.5 0.5 0.5 0.35\n"
    )
    arguments = ["--output", tmp_path / "a.ctf", "--phase", tmp_path / "iron.cif"]
    assert run("export", files / "network.h5", *arguments, "--space-group", space_group) == 0
    assert "iron (Im-3m)" in (tmp_path / "a.ctf").read_text()


def test_space_group_that_is_none(files, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run("export", files / "network.h5", "--output", tmp_path / "a.ctf", "--space-group", "bcc")
    assert "bcc is neither a number nor find" in capsys.readouterr().err


def test_export_replaces_only_when_told(files, tmp_path, capsys):
    path = tmp_path / "a.ang"
    path.write_text("precious")
    assert run("export", files / "network.h5", "--output", path) == 1
    printed = capsys.readouterr().err
    assert "exists" in printed and "--overwrite" in printed
    assert path.read_text() == "precious"
    assert run("export", files / "network.h5", "--output", path, "--overwrite") == 0
    assert io.load(path).shape == SHAPE


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "missing.h5", "--output", "a.ang"], "missing.h5' is not a file"),
        (["export", "{network}", "--output", "a.csv"], "Suffix '.csv'"),
        (["export", "{network}", "--output", "{network}", "--overwrite"], "more than one file"),
        (["export", "{network}", "--output", "a.ang", "--output", "./a.ang"], "more than one file"),
        (["export", "{network}", "--output", "a.ang", "--phase", "Xx"], "'Xx' is neither"),
        (["compare", "{network}"], "There is one map only"),
        (["compare", "{network}", "--truth", "{truth}", "--agreement", "a.png"], "one map only"),
        (["compare", "{network}", "--with", "hough"], "--with hough needs --patterns"),
        (["compare", "{network}", "{truth}", "--figure", "a.xyz"], "Suffix '.xyz'"),
        (["compare", "{network}", "missing.ang"], "missing.ang' is not a file"),
        (
            ["compare", "{network}", "{truth}", "--figure", "a.png", "--agreement", "a.png"],
            "more than one file",
        ),
        (
            ["compare", "{network}", "{truth}", "--disagreements", "{truth}", "--overwrite"],
            "truth.h5' is a file to read",
        ),
    ],
)
def test_errors(files, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    names = {"network": files / "network.h5", "truth": files / "truth.h5"}
    assert run(*(i.format(**names) for i in arguments)) == 1
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_compare_with_the_truth(files, tmp_path, capsys):
    outputs = ["--figure", tmp_path / "a.png", "--disagreements", tmp_path / "a.csv"]
    assert run("compare", files / "network.h5", "--truth", files / "truth.h5", *outputs) == 0
    printed = capsys.readouterr().out
    assert ["network", "91.7%", "91.7%", "0"] in [line.split() for line in printed.splitlines()]
    assert "truth \\ network  221 Pm-3m  225 Fm-3m" in printed
    assert "221 Pm-3m               11          1" in printed
    assert matplotlib.image.imread(tmp_path / "a.png").ndim == 3
    with open(tmp_path / "a.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # The surer one first
    assert [(row["index"], row["network"], row["truth"]) for row in rows] == [
        ("20", "225", "221"),
        ("2", "221", "225"),
    ]


def test_compare_maps(files, tmp_path, capsys):
    outputs = ["--agreement", tmp_path / "a.png", "--disagreements", tmp_path / "a.csv"]
    assert run("compare", files / "network.h5", files / "truth.h5", *outputs) == 0
    # What is called truth is not taken for it
    assert f"network and {files / 'truth.h5'}" in capsys.readouterr().out
    with open(tmp_path / "a.csv", newline="", encoding="utf-8") as file:
        assert [row["index"] for row in csv.DictReader(file)] == ["20", "2"]
    assert matplotlib.image.imread(tmp_path / "a.png").ndim == 3


def test_compare_with_indexing(files, capsys):
    status = run(
        "compare", files / "network.h5", "--truth", files / "truth.h5", "--patterns",
        files / "patterns.h5", "--with", "hough", "--with", "dictionary", "--phase", "Ni",
        "--phase", "Ni3Al", "--resolution", "8", "--no-progress",
    )  # fmt: skip
    printed = capsys.readouterr()
    assert status == 0, printed.err
    lines = [line.split("  ")[0] for line in printed.out.splitlines()]
    assert lines[1:5] == ["network", "hough indexing", "dictionary indexing", "truth"]
    # Both fit equally well, and the first is taken
    assert printed.out.splitlines()[2].split()[-2:] == ["0.0%", "100.0%"]


def test_maps_of_the_same_name_are_told_by_their_paths(files, tmp_path, capsys):
    other = tmp_path / "network.h5"
    other.write_bytes((files / "network.h5").read_bytes())
    assert run("compare", files / "network.h5", other) == 0
    assert f"{files / 'network.h5'} and {other}" in capsys.readouterr().out
