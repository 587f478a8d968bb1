import csv

import imageio.v3 as iio
import numpy as np
import pytest

from kikuchipy_cnn import load_model
from kikuchipy_cnn.cli import main
from kikuchipy_cnn.training import few_shot

QUICK = ["--architecture", "tiny", "--size", "32", "--batch-size", "16", "--no-progress"]
SMALL = ["--training", "20", "--validation", "5", "--learning-rate", "0.005"]


@pytest.fixture
def manifest(tmp_path, rng):
    """Images of gratings in folders, one of each material, and a table of them."""
    y, x = np.mgrid[:40, :40] / 40
    for material, angle in (("Ni", 0.3), ("Al", 1.1), ("Fe", 1.9)):
        (tmp_path / material).mkdir()
        for i in range(30):
            wave = 5 * (x * np.cos(angle) + y * np.sin(angle)) + rng.uniform()
            image = 100 + 40 * np.sin(2 * np.pi * wave) + rng.normal(0, 10, x.shape)
            iio.imwrite(tmp_path / material / f"{i:02d}.png", image.astype(np.uint8))
    path = tmp_path / "patterns.csv"
    path.write_text("file,space_group,material\nNi,225,Ni\nAl,Fm-3m,Al\nFe,229,Fe\n")
    return path


def train(manifest, output, *more):
    arguments = ["train", str(manifest), "--output", str(output), "--start", "scratch"]
    return main([*arguments, *QUICK, *SMALL, *map(str, more)])


def test_train_and_evaluate(manifest, tmp_path, capsys):
    output, folder = tmp_path / "mine", tmp_path / "test"
    files = {"--history": tmp_path / "losses.csv", "--figure": tmp_path / "losses.png"}
    options = [text for pair in files.items() for text in pair]
    assert train(manifest, output, "--max-epochs", 15, *options, "--evaluation", folder) == 0
    out = capsys.readouterr().out
    assert "40 patterns, claimed to be of new patterns, are right" in out
    bundle = load_model(output)
    assert bundle.name == "mine"
    assert bundle.classes.numbers == (225, 229)
    assert bundle.training["materials"] == [[225, "Al"], [225, "Ni"], [229, "Fe"]]
    with open(files["--history"], newline="") as file:
        assert len(list(csv.DictReader(file))) == 15
    assert files["--figure"].stat().st_size > 10_000
    # What it was saved for is done.
    assert not (tmp_path / "mine.training").exists()

    with open(folder / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    # 30 patterns of each of three materials, 25 of each of two classes drawn.
    assert len(rows) == 40
    right = [row["predicted"] == row["true"] for row in rows]
    assert np.mean(right) > 0.9
    names = {path.name for path in folder.iterdir()}
    assert names == {
        *("predictions.csv", "report.csv", "scores.png", "confusion.png"),
        *("confusion_by_material.png", "quality.png", "atomic_number.png"),
    }

    again = tmp_path / "again"
    arguments = ["evaluate", str(manifest), "--model", str(output), "--output", str(again)]
    assert main([*arguments, "--no-progress"]) == 0
    assert "90 patterns" in capsys.readouterr().out
    with pytest.warns(UserWarning, match="Al"):
        assert main([*arguments, "--new-materials", "--overwrite", "--no-progress"]) == 0
    assert main([*arguments, "--no-progress"]) == 1
    assert "--overwrite" in capsys.readouterr().err


def test_work_folder_of_the_user(manifest, tmp_path):
    """Nothing else in it is ever deleted."""
    (tmp_path / "mine.training").mkdir()
    (tmp_path / "mine.training" / "notes.txt").write_text("...")
    assert train(manifest, tmp_path / "mine", "--max-epochs", 1) == 0
    assert [path.name for path in (tmp_path / "mine.training").iterdir()] == ["notes.txt"]


def test_nothing_left_for_a_test(manifest, tmp_path, capsys):
    options = ["--max-epochs", 1, "--allow-fewer", "--training", 400, "--validation", 100]
    assert train(manifest, tmp_path / "mine", *options, "--evaluation", tmp_path / "test") == 0
    assert "No pattern is left for a test" in capsys.readouterr().out
    assert not (tmp_path / "test").exists()


def test_held_out_material(manifest, tmp_path, capsys):
    options = ["--max-epochs", 1, "--split-by", "material", "--held-out", "Al"]
    assert train(manifest, tmp_path / "mine", *options, "--evaluation", tmp_path / "test") == 0
    assert "30 patterns, claimed to be of new materials, are right" in capsys.readouterr().out
    assert load_model(tmp_path / "mine").training["materials"] == [[225, "Ni"], [229, "Fe"]]
    with open(tmp_path / "test" / "predictions.csv", newline="") as file:
        assert {row["material"] for row in csv.DictReader(file)} == {"Al"}


def test_options_of_the_protocol(manifest, tmp_path):
    options = [
        *("--max-epochs", 1, "--schedule", "cosine", "--mirror"),
        *("--severity", 0.1, "--patience", 3, "--level", "phase"),
        *("--seed", 4, "--new-head", "--channels", 3),
    ]
    assert train(manifest, tmp_path / "mine", *options) == 0
    bundle = load_model(tmp_path / "mine")
    assert bundle.classes.names == ("Al", "Fe", "Ni")
    assert bundle.network.input_shape == (None, 32, 32, 3)
    protocol = bundle.training["protocol"]
    assert protocol["augmentation"] == {"mirror": True, "severity": 0.1}
    assert protocol["schedule"] == "cosine"
    assert protocol["patience"] == 3
    assert bundle.training["seed"] == 4


def test_interrupted_and_resumed(manifest, tmp_path, monkeypatch, capsys):
    epochs = []
    epoch = few_shot._Run._train_epoch

    def interrupt(self):
        epochs.append(len(self.history) + 1)
        if len(epochs) == 3:
            raise KeyboardInterrupt
        return epoch(self)

    monkeypatch.setattr(few_shot._Run, "_train_epoch", interrupt)
    options = ["--max-epochs", 4]
    with pytest.warns(UserWarning, match="Interrupted after epoch 2"):
        assert train(manifest, tmp_path / "mine", *options) == 0
    assert "give the same command with --overwrite" in capsys.readouterr().out
    assert load_model(tmp_path / "mine").training["epochs"] == 2
    assert train(manifest, tmp_path / "mine", *options, "--overwrite") == 0
    assert epochs == [1, 2, 3, 3, 4]
    assert load_model(tmp_path / "mine").training["epochs"] == 4


def test_interrupted_at_once(manifest, tmp_path, monkeypatch, capsys):
    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(few_shot._Run, "_train_epoch", interrupt)
    assert train(manifest, tmp_path / "mine") == 130
    assert capsys.readouterr().err.endswith("interrupted\n")
    assert not (tmp_path / "mine").exists()


def test_full_disk(manifest, tmp_path, monkeypatch, capsys):
    """The trained model is not lost when it cannot be saved."""
    save = few_shot.ModelBundle.save

    def fail(self, *arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(few_shot.ModelBundle, "save", fail)
    assert train(manifest, tmp_path / "mine", "--max-epochs", 2) == 1
    assert "Nothing is lost: the training is in" in capsys.readouterr().err
    monkeypatch.setattr(few_shot.ModelBundle, "save", save)
    monkeypatch.setattr(few_shot._Run, "_train_epoch", None)
    assert train(manifest, tmp_path / "mine", "--max-epochs", 2) == 0
    assert load_model(tmp_path / "mine").training["epochs"] == 2


@pytest.mark.parametrize(
    "options, match",
    [
        (["--training", "400"], "allow"),
        (["--validation", "0"], "validation"),
        (["--learning-rate", "-1"], "learning_rate=-1.0 must be positive"),
        (["--severity", "2"], "severity=2.0"),
        (["--start", "nothing"], "no model 'nothing'"),
        (["--figure", "losses.doc"], "Suffix '.doc'"),
        (["--history", "nowhere/losses.csv"], "does not exist"),
        (["--split-by", "material", "--held-out", "Cu"], "Cu"),
        (["--split-by", "grain"], "grain"),
        (["--evaluation", "mine/test"], "lies in the model's folder"),
        (["--evaluation", "patterns.csv"], "is a file"),
    ],
)
def test_told_before_the_work(options, match, manifest, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(few_shot._Run, "train", lambda *_: pytest.fail("worked"))
    assert train(manifest, tmp_path / "mine", *options) == 1
    assert match in capsys.readouterr().err
    assert not (tmp_path / "mine").exists()


def test_existing_output(manifest, tmp_path, monkeypatch, capsys):
    """A folder that is no bundle is never replaced, and this is told before the work."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("...")
    monkeypatch.setattr(few_shot._Run, "train", lambda *_: pytest.fail("worked"))
    assert train(manifest, tmp_path / "mine", "--overwrite") == 1
    assert "exists" in capsys.readouterr().err
    assert (tmp_path / "mine" / "thesis.tex").exists()


def test_bad_manifest(tmp_path, capsys):
    path = tmp_path / "patterns.csv"
    path.write_text("file,space_group\nnone.h5,225\n")
    assert train(path, tmp_path / "mine") == 1
    error = capsys.readouterr().err
    assert "none.h5" in error
    assert "line 2" in error
