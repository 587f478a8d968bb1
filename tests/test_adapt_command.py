import csv
from dataclasses import replace

import numpy as np
import pytest
from kikuchipy.signals import EBSD

from kikuchipy_cnn import load_model
from kikuchipy_cnn.cli import main
from kikuchipy_cnn.models import Ensemble, build_network
from kikuchipy_cnn.training import iterative_data

SMALL = ["--confidence", "0.8", "--no-progress"]


@pytest.fixture
def files(drift, tmp_path, monkeypatch):
    """Arguments with two models, a map and a folder; the clean patterns are replayed."""
    monkeypatch.setattr(iterative_data, "simulate_replay", lambda *_, **__: drift.clean)
    drift.map.save(tmp_path / "map.h5")
    for member in drift.members:
        member.save(tmp_path / member.name)
    models = [f"--model={tmp_path / member.name}" for member in drift.members]
    output = ["--work", tmp_path / "rounds", "--output", tmp_path / "mine"]
    return ["adapt", tmp_path / "map.h5", *models, *output]


def run(*arguments):
    return main([str(argument) for argument in (*arguments, *SMALL)])


def test_adapts(files, drift, tmp_path, fake_training, capsys):
    """One of two networks that are the same prefers a class, until it is trained."""
    *body, kernel, bias = drift.members[1].network.get_weights()
    network = build_network("tiny", (32, 32, 1), 3)
    network.set_weights([*body, kernel, bias + np.array([1.5, 0, 0])])
    replace(drift.members[1], network=network).save(tmp_path / "net0", overwrite=True)
    fake_training(lambda *_: (kernel, bias))

    assert run(*files, "--rounds", 1, "--patterns", 200, "--seed", 2) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0].split()[:2] == ["round", "members"]
    assert lines[2].startswith("1      0: net1; 1: net1  kept")
    assert "Stopped (max_rounds): The agreement gained 0." in out
    assert "The best round is 1." in out
    model = load_model(tmp_path / "mine")
    assert isinstance(model, Ensemble)
    assert model.name == "mine"
    record = model.training["self_training"]
    assert record["seed"] == 2
    assert record["settings"]["n_patterns"] == 200
    assert load_model(tmp_path / "rounds" / "round_1").name == "adapted"
    with open(tmp_path / "rounds" / "rounds.csv", newline="") as file:
        assert [row["decision"] for row in csv.DictReader(file)] == ["start", "kept"]


def test_known_and_replay(files, drift, tmp_path, fake_training, capsys):
    fake = fake_training()
    for i, number in enumerate(drift.numbers):
        EBSD(drift.test[drift.test_classes == i][:20]).save(tmp_path / f"{number}.h5")
    (tmp_path / "known.csv").write_text(
        "file,space_group,material\n"
        + "".join(f"{number}.h5,{number},true\n" for number in drift.numbers)
    )
    manifest = ["--known", tmp_path / "known.csv", "--replay", tmp_path / "known.csv"]
    assert run(*files, *manifest) == 0
    assert "No round is better" in capsys.readouterr().out
    training = fake.calls[0][0]
    # Half of both are learned from.
    assert (training.material == "true").sum() == 60
    model = load_model(tmp_path / "mine")
    assert [member.name for member in model.members] == ["net0", "net1"]
    # The rounds are those of other arguments.
    assert run(*files, "--overwrite") == 1
    assert "rounds of another training" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options, match",
    [
        (["--rounds", "0"], "max_rounds=0"),
        (["--patterns", "5"], "n_patterns=5"),
        (["--output", "{}/rounds"], "lies in the folder of the rounds"),
        (["--output", "{}/rounds/mine"], "lies in the folder of the rounds"),
        (["--output", "{}"], "exists"),
        (["--known", "{}/none.csv"], "none.csv"),
        (["--model", "{}/none"], "none"),
        (["--model", "fast_fewshot"], "tells apart"),
    ],
)
def test_told_before_the_work(files, options, match, tmp_path, fake_training, capsys):
    fake_training(lambda *_: pytest.fail("trained"))
    assert run(*files, *(option.format(tmp_path) for option in options)) == 1
    assert match in capsys.readouterr().err
    assert not (tmp_path / "rounds").exists()


def test_one_model(files, tmp_path, capsys):
    assert run(*(a for a in files if a != f"--model={tmp_path / 'net1'}")) == 1
    assert "at least 2" in capsys.readouterr().err
