import kikuchipy as kp
import numpy as np
import pytest
from orix.io import load

import kikuchipy_cnn
from kikuchipy_cnn.cli import main


@pytest.fixture
def model(tiny_bundle, tmp_path):
    return str(tiny_bundle.save(tmp_path / "models" / "tiny"))


@pytest.fixture
def patterns(tmp_path):
    file = tmp_path / "patterns.h5"
    kp.data.nickel_ebsd_small().save(file)
    return str(file)


def test_classify(model, patterns, tmp_path, capsys):
    ang, h5, figure = (tmp_path / name for name in ("map.ang", "map.h5", "map.png"))
    arguments = ["classify", patterns, "--model", model, "--no-progress"]
    arguments += ["--output", str(ang), "--output", str(h5), "--figure", str(figure)]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "Classifying 9 pattern(s)" in out
    assert "Im-3m" in out
    direct = kp.load(patterns).classify_space_group(model, show_progressbar=False)
    np.testing.assert_array_equal(load(h5).phase_id, direct.phase_id)
    read = load(ang)
    assert read.size == 9
    assert sorted(read.phases_in_data.names) == sorted(direct.phases_in_data.names)
    assert figure.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("extra", "match"),
    [
        (["--output", "there.ang"], "exists"),
        (["--output", "map.xyz"], "Suffix '.xyz'"),
        (["--output", "nowhere/map.ang"], "does not exist"),
        (["--output", "map.ang", "--figure", "map.doc"], "Suffix '.doc'"),
        (["--output", "map.ang", "--figure", "there.png"], "exists"),
        (["--output", "map.ang", "--model", "nothing"], "no model 'nothing'"),
        (["--output", "patterns.h5", "--overwrite"], "given for more than one file"),
        (["--output", "map.ang", "--output", "../{}/map.ang"], "given for more than one file"),
    ],
)
def test_told_before_the_work(extra, match, patterns, model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("there.ang", "there.png"):
        (tmp_path / name).write_text("old")
    monkeypatch.setattr("kikuchipy_cnn.signal.predict", lambda *_, **__: pytest.fail("worked"))
    extra = [argument.format(tmp_path.name) for argument in extra]
    extra = extra if "--model" in extra else [*extra, "--model", model]
    assert main(["classify", patterns, *extra]) == 1
    assert match in capsys.readouterr().err
    assert (tmp_path / "there.ang").read_text() == "old"


def test_unreadable_file(tmp_path, model, capsys):
    arguments = ["--output", str(tmp_path / "map.ang"), "--model", model]
    assert main(["classify", str(tmp_path / "none.h5"), *arguments]) == 1
    assert "There is no file" in capsys.readouterr().err
    broken = tmp_path / "broken.h5"
    broken.write_text("not hdf5")
    assert main(["classify", str(broken), *arguments]) == 1
    assert "cannot read" in capsys.readouterr().err


def test_models(capsys):
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert "xception_fewshot" in out
    assert "225 Fm-3m" in out


def test_demo(model, tmp_path, capsys):
    assert main(["demo", "--folder", str(tmp_path), "--model", model, "--no-progress"]) == 0
    assert "Classifying 9 pattern(s) of 60 x 60 pixels" in capsys.readouterr().out
    assert load(tmp_path / "nickel.ang").size == 9
    assert load(tmp_path / "nickel.h5").size == 9
    assert (tmp_path / "nickel.png").stat().st_size > 20_000
    before = (tmp_path / "nickel.h5").read_bytes()
    assert main(["demo", "--folder", str(tmp_path), "--model", model]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "nickel.h5").read_bytes() == before


def test_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"kikuchipy-cnn {kikuchipy_cnn.__version__}\n"


def test_no_command(capsys):
    with pytest.raises(SystemExit):
        main([])
    assert "usage" in capsys.readouterr().err


class TestDoubt:
    def classify(self, patterns, tmp_path, model, *extra):
        output = tmp_path / "map.h5"
        arguments = ["classify", patterns, "--model", model, "--output", str(output)]
        status = main([*arguments, "--no-progress", "--overwrite", *extra])
        return load(output) if status == 0 else None

    def test_prior(self, patterns, tmp_path, model):
        only = self.classify(patterns, tmp_path, model, "--prior", "221")
        assert (only.phase_id == 221).all()
        fractions = self.classify(patterns, tmp_path, model, "--prior", "221=0.25", "229=0.75")
        plain = self.classify(patterns, tmp_path, model)
        expected = 3 * (0.25 * plain.prop["p_221"] + 0.75 * plain.prop["p_229"])
        np.testing.assert_allclose(fractions.prop["evidence_ratio"], expected, rtol=1e-3)

    def test_half_a_prior(self, patterns, tmp_path, model, capsys):
        assert self.classify(patterns, tmp_path, model, "--prior", "221=0.25", "229") is None
        assert "--prior 221=0.25 229: give all labels a fraction" in capsys.readouterr().err

    def test_two_models(self, patterns, tmp_path, model):
        both = self.classify(patterns, tmp_path, model, "--model", model)
        assert both.prop["spread"].tolist() == [0] * 9

    def test_risk_of_a_model_that_knows_none(self, patterns, tmp_path, model, capsys):
        assert self.classify(patterns, tmp_path, model, "--max-risk", "0.01") is None
        assert "does not know its risk" in capsys.readouterr().err

    def test_risk_or_no_rejection(self, patterns, tmp_path, model):
        with pytest.raises(SystemExit):
            self.classify(patterns, tmp_path, model, "--max-risk", "0.01", "--no-rejection")

    def test_pooling(self, patterns, tmp_path, model):
        pooled = self.classify(patterns, tmp_path, model, "--pooling-radius", "1")
        assert pooled.prop["n_pooled"].min() >= 1

    def test_figure(self, patterns, tmp_path, model):
        figure = tmp_path / "doubt.png"
        self.classify(patterns, tmp_path, model, "--doubt", str(figure))
        assert figure.read_bytes().startswith(b"\x89PNG")
