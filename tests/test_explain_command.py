import kikuchipy as kp
import matplotlib.image
import numpy as np
import pytest
from kikuchipy.signals import EBSD

from kikuchipy_cnn.cli import main


@pytest.fixture(scope="module")
def model(tiny_bundle, tmp_path_factory):
    return tiny_bundle.save(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def nickel(tmp_path_factory):
    """Indexed patterns with a static background."""
    path = tmp_path_factory.mktemp("nickel") / "nickel.h5"
    kp.data.nickel_ebsd_small().save(path)
    return path


@pytest.fixture
def run(nickel, model, tmp_path, capsys):
    """Function that explains patterns, and returns the status, what is printed and the picture."""

    def run(*arguments, output="explained.png", file=nickel):
        path = tmp_path / output
        required = ["explain", file, "--model", model, "--output", path, "--no-progress"]
        status = main([str(argument) for argument in (*required, *arguments)])
        return status, capsys.readouterr(), path

    return run


def test_shapley_values(run):
    status, printed, picture = run("--index", "0,2", "--index", "1,1", "--background", 1)
    assert status == 0
    lines = printed.out.splitlines()
    assert lines[0] == "DeepSHAP of tiny:"
    assert lines[1].split()[:3] == ["pattern", "class", "probability"]
    # The winner and the next of each.
    assert [line.split()[0] for line in lines[2:6:2]] == ["0,2", "1,1"]
    assert len(lines) == 7
    assert all(float(line.split()[-1]) < 1e-3 for line in lines[2:6])
    assert matplotlib.image.imread(picture).ndim == 3


def test_seed_changes_the_background(run):
    same = ["--index", "0,0", "--background", 1]
    first = run(*same, "--seed", 1)[1].out
    assert run(*same, "--seed", 1, "--overwrite")[1].out == first
    assert run(*same, "--seed", 2, "--overwrite")[1].out != first


def test_grad_cam_with_zone_axes(run):
    status, printed, picture = run("--method", "gradcam", "--index", "0,2", "--phase", "Ni")
    assert status == 0
    assert "Grad-CAM of tiny:" in printed.out
    assert "Parts of Grad-CAM of tiny:" in printed.out
    assert "Parts of guided Grad-CAM of tiny:" in printed.out
    assert printed.out.count("within 3 deg of zone axes") == 2
    assert printed.out.count("{111} {200} {220}") == 2
    assert picture.exists()


def test_space_groups(run):
    arguments = ["--method", "gradcam", "--index", "0,2", "--space-group", 221, 229]
    status, printed, _ = run(*arguments)
    assert status == 0
    lines = printed.out.splitlines()
    assert "221 Pm-3m" in lines[2]
    assert "229 Im-3m" in lines[3]


def test_comparison(run, model):
    arguments = ["--index", "0,2", "--background", 1, "--compare", model, "--space-group", 225]
    status, printed, picture = run(*arguments)
    assert status == 0
    assert printed.out.count("DeepSHAP of tiny:") == 2
    assert printed.out.count("225 Fm-3m") == 2
    assert picture.exists()


def test_single_pattern(run, tmp_path):
    rng = np.random.default_rng(0)
    EBSD(rng.integers(0, 255, (40, 60), np.uint8)).save(tmp_path / "one.h5")
    status, printed, _ = run("--method", "gradcam", file=tmp_path / "one.h5")
    assert status == 0
    assert len(printed.out.splitlines()) == 4


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--index", "0,9"], "no pattern at"),
        ([], "Give either the index"),
        (["--index", "0"], "no place in a map of shape"),
        (["--index", "0,0", "--layer", "conv"], "--layer is for --method gradcam"),
        (["--index", "0,0", "--method", "gradcam", "--seed", "1"], "for --method shap only"),
        (["--index", "0,0", "--method", "gradcam", "--layer", "x"], "has no layer 'x'"),
        (["--index", "0,0", "--compare", "fast_fewshot"], "needs one --space-group"),
        (["--index", "0,0", "--space-group", "230"], "no space group 230"),
        (["--index", "0,0", "--phase", "Nickel"], "neither a phase of the catalogue"),
        (["--index", "0,0", "--background", "0"], "n_background=0"),
    ],
)
def test_errors(arguments, match, run):
    status, printed, picture = run(*arguments)
    assert status == 1
    assert match in printed.err
    assert not picture.exists()


def test_place_that_is_none(run):
    with pytest.raises(SystemExit):
        run("--index", "a,b")


def test_file_is_kept(run):
    assert run("--method", "gradcam", "--index", "0,0")[0] == 0
    status, printed, _ = run("--method", "gradcam", "--index", "0,0")
    assert status == 1
    assert "--overwrite" in printed.err


def test_orientations_are_needed(run, tmp_path):
    rng = np.random.default_rng(0)
    EBSD(rng.integers(0, 255, (2, 2, 40, 40), np.uint8)).save(tmp_path / "map.h5")
    arguments = ["--method", "gradcam", "--index", "0,0", "--phase", "Ni"]
    status, printed, _ = run(*arguments, file=tmp_path / "map.h5")
    assert status == 1
    assert "never indexed" in printed.err
