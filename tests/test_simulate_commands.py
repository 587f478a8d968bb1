import kikuchipy as kp
import numpy as np
import pytest

from kikuchipy_cnn.cli import main
from kikuchipy_cnn.simulation import load_library


@pytest.fixture
def cif(tmp_path, gallium_nitride):
    file = tmp_path / "gan.cif"
    file.write_text(gallium_nitride.format(symmetry="_symmetry_space_group_name_H-M 'P 63 m c'"))
    return str(file)


def run(*arguments):
    return main(["simulate", *map(str, arguments), "--no-progress"])


def test_phases(capsys):
    assert main(["simulate", "phases", "--space-group", "222", "--space-group", "226"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines} == {"222", "226"}
    assert sum("NaZn13" in line for line in lines) >= 8


class TestMasterPatterns:
    def test_library_of_names_and_cifs(self, cif, tmp_path, capsys):
        output = tmp_path / "library.npz"
        arguments = ["master-patterns", "Ni", cif, "--output", output, "--half-width", 12]
        assert run(*arguments, "--workers", 1, "--variants", 1) == 0
        assert f"Library: {output}" in capsys.readouterr().out
        library = load_library(output)
        assert library.names == ["Ni", "Ni#1", "gan", "gan#1"]
        assert library.space_groups["gan"] == 186 and library.energies["gan"] == 20
        assert library["gan"].shape == (2, 25, 25)

    @pytest.mark.parametrize("method", ["dynamical", "kinematical"])
    def test_one_in_emsofts_layout(self, tmp_path, method):
        output = tmp_path / "ni.h5"
        arguments = ["--half-width", 20, "--energy", 15, "--method", method, "--workers", 1]
        assert run("master-patterns", "Ni", "--output", output, *arguments) == 0
        signal = kp.load(output, projection="lambert", hemisphere="both")
        assert signal.data.shape == (2, 41, 41) and signal.phase.space_group.number == 225

    @pytest.mark.parametrize(
        "arguments, match",
        [
            (["Ni", "--output", "a.txt"], "Suffix '.txt' of .* must be .npz or .h5"),
            (["Ni", "Si", "--output", "a.h5"], "2 phases do not fit into one .h5"),
            (["--output", "a.npz"], "No phase is given"),
            (["--all", "Ni", "--output", "a.npz"], "exclude each other"),
            (["Unobtainium", "--output", "a.npz"], "'Unobtainium' is neither a phase of"),
            (["none.cif", "--output", "a.npz"], "none.cif"),
            (["Ni", "--output", "a.npz", "--method", "kinematical"], "holds dynamical"),
            (["Ni", "--output", "a.h5", "--variants", "1"], "several master patterns"),
            (["Ni", "--output", "a.h5", "--energy", "99"], "energy=99.0 keV is not supported"),
        ],
    )
    def test_invalid(self, tmp_path, monkeypatch, capsys, arguments, match):
        import re

        monkeypatch.chdir(tmp_path)
        assert run("master-patterns", *arguments) == 1
        assert re.search(match, capsys.readouterr().err)
        assert not [path for path in tmp_path.iterdir() if path.is_file()]

    def test_existing(self, tmp_path, capsys):
        (tmp_path / "a.h5").touch()
        assert run("master-patterns", "Ni", "--output", tmp_path / "a.h5") == 1
        assert "--overwrite" in capsys.readouterr().err


class TestPatterns:
    def test_names(self, tmp_path):
        output = tmp_path / "patterns.h5"
        arguments = ["--number", 8, "--shape", 20, 30, "--seed", 2]
        assert run("patterns", "Ni", "quartz", "--output", output, *arguments) == 0
        signal = kp.load(output)
        assert signal.data.shape == (8, 20, 30) and signal.data.dtype == np.uint8
        names = [signal.xmap.phases[int(i)].name for i in signal.xmap.phase_id]
        assert dict(zip(names, signal.xmap.space_group, strict=True)) == {"Ni": 225, "quartz": 152}
        assert signal.detector.pc.shape == (8, 3)

    def test_cif_and_geometry(self, tmp_path, monkeypatch, gallium_nitride):
        """A CIF without symmetry, simulated first; here with a small master pattern."""
        from kikuchipy_cnn import simulation

        file = tmp_path / "mine.cif"
        atoms = gallium_nitride.format(symmetry="") + (
            "Ga 0.66667 0.33333 0.5 0.3\nN 0.66667 0.33333 0.877 0.4\n"
        )
        file.write_text(atoms)
        full = simulation.simulate_master_pattern
        monkeypatch.setattr(
            simulation,
            "simulate_master_pattern",
            lambda phase, *energy, **arguments: full(
                phase, *energy, **(arguments | {"half_width": 20})
            ),
        )
        output = tmp_path / "patterns.h5"
        arguments = ["--number", 3, "--pc", 0.5, 0.3, 0.6, "--severity", 0, "--space-group", "find"]
        assert run("patterns", file, "--output", output, *arguments) == 0
        signal = kp.load(output)
        assert signal.xmap.phases[0].space_group.number == 186
        np.testing.assert_allclose(signal.detector.pc, np.tile([0.5, 0.3, 0.6], (3, 1)), atol=1e-6)

    def test_cif_with_the_name_of_another_crystal(self, tmp_path, capsys, gallium_nitride):
        """A file Ni.cif is not the catalogue's nickel."""
        file = tmp_path / "Ni.cif"
        symmetry = "_symmetry_space_group_name_H-M 'P 63 m c'"
        file.write_text(gallium_nitride.format(symmetry=symmetry))
        library, output = tmp_path / "small.npz", tmp_path / "patterns.h5"
        quick = ["--half-width", 12, "--workers", 1]
        assert run("master-patterns", "Ni", "--output", library, *quick) == 0
        arguments = ["--output", output, "--number", 2, "--library", library]
        assert run("patterns", file, *arguments) == 0
        assert (kp.load(output).xmap.space_group == 186).all()
        assert run("patterns", file, "Ni", *arguments, "--overwrite") == 1
        assert "Two phases are named 'Ni'" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "arguments, match",
        [
            (["Ni", "--output", "a.npz"], "must be .h5"),
            (["Ni", "--output", "a.h5", "--number", "0"], "n=0 patterns"),
            (["Ni", "--output", "a.h5", "--severity", "2"], "severity"),
        ],
    )
    def test_invalid(self, tmp_path, monkeypatch, capsys, arguments, match):
        monkeypatch.chdir(tmp_path)
        assert run("patterns", *arguments) == 1
        assert match in capsys.readouterr().err
        assert not list(tmp_path.iterdir())
