"""The command kikuchipy-cnn watch."""

import inspect
import signal
import subprocess
import sys

import imageio.v3 as iio
import kikuchipy as kp
import numpy as np
import pytest
from orix.io import load

from kikuchipy_cnn import cli
from kikuchipy_cnn.cli import main
from kikuchipy_cnn.watching import PatternStream

pytestmark = pytest.mark.filterwarnings("ignore:All rotations are identity")


@pytest.fixture
def model(tiny_bundle, tmp_path):
    return str(tiny_bundle.save(tmp_path / "models" / "tiny"))


@pytest.fixture
def patterns():
    return kp.data.nickel_ebsd_small().data.reshape(-1, 60, 60)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "scan"
    folder.mkdir()
    return folder


def write_images(folder, patterns, start=0):
    for i, pattern in enumerate(patterns, start):
        iio.imwrite(folder / f"_x{i % 3}y{i // 3}.tif", pattern)


def arguments(path, model, tmp_path, *extra):
    output = str(tmp_path / "map.h5")
    return ["watch", str(path), "--model", model, "--output", output, "--interval", "0.02", *extra]


def test_file(model, tmp_path, patterns, capsys):
    path = tmp_path / "patterns.h5"
    kp.data.nickel_ebsd_small().save(path)
    ang, figure = tmp_path / "map.ang", tmp_path / "map.png"
    extra = ["--output", str(ang), "--figure", str(figure), "--timeout", "60"]
    assert main(arguments(path, model, tmp_path, *extra)) == 0
    out = capsys.readouterr().out
    assert f"Watching '{path}'" in out
    assert "9 of 9 patterns" in out
    assert "Static background: divided by\n  Signal mask: none" in out
    assert "Fraction" in out
    direct = kp.load(path).classify_space_group(model, batch_size=64, show_progressbar=False)
    np.testing.assert_array_equal(load(tmp_path / "map.h5").phase_id, direct.phase_id)
    assert load(ang).size == 9
    assert figure.read_bytes().startswith(b"\x89PNG")


def after_each_round(monkeypatch, do):
    """Have something done after a round was shown."""
    following = PatternStream.__iter__

    def rounds(stream):
        for part in following(stream):
            yield part
            do()

    monkeypatch.setattr(PatternStream, "__iter__", rounds)


def test_figure_is_refreshed(model, tmp_path, folder, patterns, monkeypatch):
    figure = tmp_path / "map.png"
    pictures = []

    def go_on():
        pictures.append(figure.read_bytes())
        # Nothing half-written is left.
        assert not any(i.name.startswith(".") for i in tmp_path.iterdir())
        if len(pictures) == 1:
            write_images(folder, patterns[:6], 9)

    after_each_round(monkeypatch, go_on)
    write_images(folder, patterns)
    extra = ["--figure", str(figure), "--refresh", "0.001", "--timeout", "1"]
    assert main(arguments(folder, model, tmp_path, *extra)) == 0
    assert len(pictures) >= 2
    assert len({*pictures, figure.read_bytes()}) == len(pictures)
    seldom = ["--refresh", "100", "--overwrite", "--timeout", "0.2"]
    pictures.clear()
    assert main(arguments(folder, model, tmp_path, "--figure", str(figure), *seldom)) == 0
    assert len(set(pictures)) == 1


def test_interrupted(model, tmp_path, folder, patterns, monkeypatch, capsys):
    after_each_round(monkeypatch, lambda: signal.raise_signal(signal.SIGINT))
    write_images(folder, patterns)
    before = signal.getsignal(signal.SIGINT)
    figure = tmp_path / "map.png"
    assert main(arguments(folder, model, tmp_path, "--figure", str(figure))) == 130
    assert "interrupted" in capsys.readouterr().err
    assert load(tmp_path / "map.h5").size == 9
    assert figure.exists()
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
def test_interrupted_process(model, tmp_path, folder, patterns):
    write_images(folder, patterns)
    command = arguments(folder, model, tmp_path, "--figure", str(tmp_path / "map.png"))
    code = "import sys; from kikuchipy_cnn.cli import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "9 patterns" in line:
            process.send_signal(signal.SIGINT)
    error = process.stderr.read()
    assert process.wait(60) == 130, error
    assert "interrupted" in error
    assert "Traceback" not in error
    assert load(tmp_path / "map.h5").size == 9
    assert (tmp_path / "map.png").exists()


def test_what_is_done_is_kept_after_an_error(
    model, tmp_path, folder, patterns, monkeypatch, capsys
):
    after_each_round(monkeypatch, lambda: iio.imwrite(folder / "_x0y3.tif", patterns[0, :50]))
    write_images(folder, patterns)
    assert main(arguments(folder, model, tmp_path)) == 1
    assert "50 x 60 pixels" in capsys.readouterr().err
    assert load(tmp_path / "map.h5").size == 9


def test_one_file_fails(model, tmp_path, folder, patterns, capsys):
    write_images(folder, patterns[:1])
    extra = ["--timeout", "0.2", "--output", str(tmp_path / "other.h5")]
    # A single pattern is none of a text file.
    command = arguments(folder / "*.tif", model, tmp_path, *extra)
    command[command.index(str(tmp_path / "map.h5"))] = str(tmp_path / "map.ang")
    assert main(command) == 1
    assert "cannot be read from .ang" in capsys.readouterr().err
    assert load(tmp_path / "other.h5").size == 1


def test_figure_that_cannot_be_replaced(model, tmp_path, folder, patterns, monkeypatch, capsys):
    def draw(*_):
        raise PermissionError("in use")

    monkeypatch.setattr("kikuchipy_cnn._watch_command._draw", draw)
    write_images(folder, patterns)
    extra = ["--timeout", "0.2", "--figure", str(tmp_path / "map.png")]
    assert main(arguments(folder, model, tmp_path, *extra)) == 1
    assert "The figure could not be refreshed: in use" in capsys.readouterr().out
    assert load(tmp_path / "map.h5").size == 9


def test_timeout(model, tmp_path, folder, patterns, capsys):
    write_images(folder, patterns[:4])
    extra = ["--timeout", "0.2", "--shape", "3", "3", "--no-progress"]
    assert main(arguments(folder, model, tmp_path, *extra)) == 0
    out = capsys.readouterr().out
    assert "Nothing has come for 0.2 s." in out
    assert "4 of 9" not in out
    xmap = load(tmp_path / "map.h5")
    assert xmap.is_in_data.tolist() == [True] * 4 + [False] * 5


def test_nothing_comes(model, tmp_path, folder, capsys):
    assert main(arguments(folder, model, tmp_path, "--timeout", "0.1")) == 1
    captured = capsys.readouterr()
    assert "Waiting: " in captured.out
    assert "No pattern has come for 0.1 s" in captured.err
    assert not (tmp_path / "map.h5").exists()


def test_background(model, tmp_path, folder, patterns, capsys):
    write_images(folder, patterns)
    background = tmp_path / "background.png"
    iio.imwrite(background, patterns.mean(axis=0).astype(np.uint8))
    extra = ["--timeout", "0.2", "--background", str(background)]
    assert main(arguments(folder, model, tmp_path, *extra)) == 0
    assert "Static background: divided by" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("extra", "match"),
    [
        (["--output", "there.ang"], "exists"),
        (["--output", "map.xyz"], "Suffix '.xyz'"),
        (["--figure", "map.doc"], "Suffix '.doc'"),
        (["--figure", "there.png"], "exists"),
        (["--figure", "scan/map.png"], "would be taken for patterns"),
        (["--output", "scan/map.h5"], "would be taken for patterns"),
        (["--output", "map.h5"], "given for more than one file"),
        (["--background", "there.png"], "background 'there.png' cannot be read"),
        (["--background", "color.png"], "shape (40, 40, 3)"),
        (["--interval", "0"], "interval=0.0"),
        (["--name-pattern", "x"], "0 group(s)"),
    ],
)
def test_told_before_the_work(extra, match, model, tmp_path, folder, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(PatternStream, "__iter__", lambda _: pytest.fail("watched"))
    for name in ("there.ang", "there.png"):
        (tmp_path / name).write_text("old")
    iio.imwrite(tmp_path / "color.png", np.zeros((40, 40, 3), np.uint8))
    assert main(arguments(folder, model, tmp_path, *extra)) == 1
    assert match in capsys.readouterr().err
    assert (tmp_path / "there.ang").read_text() == "old"


def test_output_is_the_input(model, tmp_path, capsys):
    path = tmp_path / "map.h5"
    path.write_bytes(b"patterns")
    assert main(arguments(path, model, tmp_path, "--overwrite")) == 1
    assert "given for more than one file" in capsys.readouterr().err
    assert path.read_bytes() == b"patterns"


def test_defaults():
    """Those of the command are those of the library."""
    command = ["watch", "path", "--output", "map.h5"]
    options = vars(cli._parser().parse_args(command))
    settings = inspect.signature(PatternStream).parameters
    for name in ("interval", "timeout", "max_risk", "name_pattern", "shape"):
        assert options[name] == settings[name].default
    assert options["refresh"] > options["interval"]
