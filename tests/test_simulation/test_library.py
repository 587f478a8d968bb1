import sys
from dataclasses import replace

import numpy as np
import pytest

from kikuchipy_cnn.simulation import (
    BlochParameters,
    PhaseJitter,
    build_library,
    library,
    load_library,
    load_master_pattern,
    load_phases,
    simulate_master_pattern,
    vary_phase,
)
from kikuchipy_cnn.simulation.bloch import backscattered_intensity, build_tables
from kikuchipy_cnn.simulation.lambert import (
    _representatives,
    direction_to_lambert,
    operations_of_phase,
    symmetric_grid,
)

QUICK = {"half_width": 12, "workers": 1, "show_progressbar": False}


@pytest.fixture(scope="module")
def phases():
    return load_phases()


@pytest.fixture(scope="module")
def packaged():
    return load_library()


def correlation(a, b):
    return np.corrcoef(np.ravel(a), np.ravel(b))[0, 1]


class TestPackaged:
    def test_every_phase(self, packaged, phases):
        assert packaged.names == list(phases)
        for name, phase in phases.items():
            assert packaged.space_groups[name] == phase.space_group.number
            assert packaged.energies[name] == 20

    # One of each crystal system, some without an inversion centre.
    @pytest.mark.parametrize(
        "name", ["Ni", "WNi6-model", "SiC-3C", "Mg", "quartz", "Sn-beta", "Fe3C"]
    )
    def test_as_computed_now(self, packaged, phases, name):
        """Independent directions, computed anew."""
        directions = symmetric_grid(phases[name], 150).directions
        representatives = _representatives(directions, operations_of_phase(phases[name]))
        directions = directions[np.abs(representatives - directions).max(axis=1) < 1e-6]
        directions = np.random.default_rng(0).permutation(directions)[:40]
        parameters = BlochParameters()
        tables = build_tables(phases[name], 20, parameters)
        expected = [backscattered_intensity(d, tables, parameters) for d in directions]
        x, y = (np.round(150 * c).astype(int) + 150 for c in direction_to_lambert(directions))
        found = packaged[name][(directions[:, 2] < 0).astype(int), y, x]
        assert correlation(found, expected) > 0.999

    def test_in_range(self, packaged):
        for name in ("Ni", "quartz", "kyanite"):
            assert packaged[name].shape == (2, 301, 301) and packaged[name].dtype == np.float32
            assert packaged[name].min() >= 0 and packaged[name].max() <= 1

    def test_as_signal(self, packaged, phases):
        signal = load_master_pattern("Mg")
        np.testing.assert_array_equal(signal.data, packaged["Mg"])
        assert signal.phase.name == "Mg" and signal.phase.space_group.number == 194
        assert len(signal.phase.structure) == len(phases["Mg"].structure)
        assert signal.metadata.General.title == "Mg, 20 keV, dynamical"

    def test_unknown(self, packaged):
        with pytest.raises(KeyError, match="No master pattern of 'Unobtainium'. There are: Fe"):
            packaged["Unobtainium"]
        with pytest.raises(KeyError, match="No master pattern of 'Unobtainium'"):
            load_master_pattern("Unobtainium")
        with pytest.raises(KeyError, match="No master pattern of 'Unobtainium'"):
            packaged.subset(["Ni", "Unobtainium"])

    def test_subset(self, packaged):
        some = packaged.subset(["Si", "Mg"])
        assert some.names == ["Si", "Mg"] and list(some.space_groups.values()) == [227, 194]
        np.testing.assert_array_equal(some["Mg"], packaged["Mg"])


class TestBuild:
    def test_round_trip(self, tmp_path, phases):
        chosen = {name: phases[name] for name in ("Ni", "quartz", "Mg")}
        built = build_library(tmp_path / "a.npz", chosen, **QUICK)
        loaded = load_library(tmp_path / "a.npz")
        assert loaded.names == list(chosen) and loaded.half_width == 12
        assert repr(loaded) == "MasterPatternLibrary(3 phases, 25 x 25 pixels)"
        for name, phase in chosen.items():
            np.testing.assert_array_equal(loaded[name], built[name])
            direct = simulate_master_pattern(phase, half_width=12, show_progressbar=False).data
            assert correlation(loaded[name], direct) > 0.9999
        # Nothing is left over.
        assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]

    def test_resumes(self, tmp_path, phases, monkeypatch):
        """After a broken-off run, what is done is kept and what is wrong is not taken."""
        chosen = {name: phases[name] for name in ("Ni", "Si")}
        bad = chosen | {"broken": phases["Ni"].deepcopy()}
        with monkeypatch.context() as patch:
            simulate = library.simulate_independent

            def fail_for_broken(phase, *arguments):
                if phase is bad["broken"]:
                    raise np.linalg.LinAlgError("no eigenvalues")
                return simulate(phase, *arguments)

            patch.setattr(library, "simulate_independent", fail_for_broken)
            with pytest.raises(ValueError, match="pattern of broken failed: no eigenvalues"):
                build_library(tmp_path / "a.npz", bad, **QUICK)
        parts = tmp_path / "a.npz.parts"
        kept = {path.name.split("-")[0]: path for path in parts.iterdir()}
        assert set(kept) == {"Ni", "Si"} and not (tmp_path / "a.npz").exists()

        marked = np.load(kept["Ni"])
        np.save(kept["Ni"], marked[::-1])
        resumed = build_library(tmp_path / "a.npz", chosen, **QUICK)
        assert not parts.exists()
        # It was not computed again: the mark is still there.
        clean = simulate_master_pattern(chosen["Ni"], half_width=12, show_progressbar=False).data
        assert correlation(resumed["Ni"], clean) < 0.9

    @pytest.mark.parametrize(
        "change",
        [{"energy": 15.0}, {"half_width": 13}, {"parameters": BlochParameters(dmin=0.06)}, "atoms"],
    )
    def test_cache_belongs_to_its_setting(self, tmp_path, phases, change):
        cache, phase = tmp_path / "cache", phases["Ni"].deepcopy()
        build_library(tmp_path / "a.npz", {"Ni": phase}, cache=cache, **QUICK)
        arguments = QUICK
        if change == "atoms":
            phase.structure[0].Uisoequiv *= 2
        else:
            arguments = QUICK | change
        build_library(tmp_path / "b.npz", {"Ni": phase}, cache=cache, **arguments)
        assert len(list(cache.iterdir())) == 2

    def test_variants(self, tmp_path, phases):
        arguments = QUICK | {"variants": 2, "seed": 1}
        both = {name: phases[name] for name in ("Ni", "Si")}
        built = build_library(tmp_path / "a.npz", both, **arguments)
        assert built.names == ["Ni", "Ni#1", "Ni#2", "Si", "Si#1", "Si#2"]
        assert built.energies["Ni"] == 20 and built.energies["Ni#1"] != 20
        assert built.space_groups["Ni#2"] == 225
        assert 0.5 < correlation(built["Ni"], built["Ni#1"]) < 0.9999
        # Those of a phase do not depend on which other phases there are.
        alone = build_library(tmp_path / "b.npz", {"Si": phases["Si"]}, **arguments)
        np.testing.assert_array_equal(alone["Si#2"], built["Si#2"])
        signal = load_master_pattern("Si#2", tmp_path / "a.npz")
        assert signal.phase.name == "Si"

    def test_processes(self, tmp_path, phases):
        chosen = {name: phases[name] for name in ("Ni", "Mg")}
        one = build_library(tmp_path / "a.npz", chosen, **QUICK)
        two = build_library(tmp_path / "b.npz", chosen, **(QUICK | {"workers": 2}))
        for name in chosen:
            np.testing.assert_array_equal(one[name], two[name])

    def test_name_of_another_crystal(self, tmp_path, phases):
        """Not the catalogue's nickel is what a library calls so."""
        other = phases["Mg"].deepcopy()
        build_library(tmp_path / "a.npz", {"Ni": other, "x#A": phases["Al"]}, **QUICK)
        assert load_master_pattern("Ni", tmp_path / "a.npz").phase.space_group.number == 194
        assert load_master_pattern("x#A", tmp_path / "a.npz").phase.name == "x#A"

    @pytest.mark.parametrize(
        "change, match",
        [
            ({"phases": {}}, "No phase is given"),
            ({"phases": ["Ni", "Ni#1"], "variants": 1}, "Ni#1: named twice"),
            ({"half_width": 0}, "half_width=0 must be an integer of at least 1"),
            ({"variants": -1}, "variants=-1 must be an integer of at least 0"),
            ({"workers": 0}, "workers=0 must be an integer of at least 1"),
            ({"energy": 50}, "energy=50 keV is not supported"),
        ],
    )
    def test_invalid(self, tmp_path, phases, change, match):
        names = change.pop("phases", ["Ni"])
        chosen = {name: phases["Ni"] for name in names}
        with pytest.raises(ValueError, match=match):
            build_library(tmp_path / "a.npz", chosen, **(QUICK | change))
        assert list(tmp_path.iterdir()) == []

    def test_without_ebsdsim(self, tmp_path, phases, monkeypatch):
        monkeypatch.setitem(sys.modules, "ebsdsim.physics", None)
        with pytest.raises(ImportError, match=r"pip install 'kikuchipy-cnn\[simulation\]'"):
            build_library(tmp_path / "a.npz", {"Ni": phases["Ni"]}, **QUICK)
        assert list(tmp_path.iterdir()) == []

    def test_damaged_files_are_made_anew(self, tmp_path, phases):
        cache = tmp_path / "cache"
        chosen = {"Ni": phases["Ni"]}
        first = build_library(tmp_path / "a.npz", chosen, cache=cache, **QUICK)
        (file,) = cache.iterdir()
        file.write_bytes(b"")
        second = build_library(tmp_path / "a.npz", chosen, cache=cache, **QUICK)
        np.testing.assert_array_equal(first["Ni"], second["Ni"])

    def test_phase_of_the_user(self, tmp_path, phases):
        mine = phases["Ni"].deepcopy()
        mine.name = "alloy/1"
        build_library(tmp_path / "a.npz", {"alloy/1": mine}, **QUICK)
        signal = load_master_pattern("alloy/1", tmp_path / "a.npz")
        assert signal.phase.name == "alloy/1" and signal.phase.space_group.number == 225

    def test_no_library(self, tmp_path):
        np.savez(tmp_path / "a.npz", names=np.array(["Ni"]))
        with pytest.raises(ValueError, match="no library of master patterns: energies, half_width"):
            load_library(tmp_path / "a.npz")
        with pytest.raises(FileNotFoundError):
            load_library(tmp_path / "b.npz")
        (tmp_path / "empty.npz").touch()
        (tmp_path / "text.npz").write_text("Ni")
        (tmp_path / "cut.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:100])
        np.save(tmp_path / "array.npy", np.zeros(3))
        for name in ("empty.npz", "text.npz", "cut.npz", "array.npy"):
            with pytest.raises(ValueError, match=f"{name}' is no library of master patterns"):
                load_library(tmp_path / name)

    def test_simulate(self, tmp_path, phases):
        """For the energy and the size of the others."""
        library = build_library(tmp_path / "a.npz", {"Ni": phases["Ni"]}, energy=15, **QUICK)
        found = library.simulate(phases["Al"], show_progressbar=False)
        assert found.data.shape == library.signal("Ni").data.shape
        assert found.metadata.General.title == "Al, 15 keV, dynamical"
        several = build_library(tmp_path / "b.npz", {"Ni": phases["Ni"]}, variants=1, **QUICK)
        with pytest.raises(ValueError, match="of 2 energies, .* 'Al' is to be simulated for"):
            several.simulate(phases["Al"])


class TestVariants:
    def test_change(self, phases):
        rng = np.random.default_rng(0)
        jitter = PhaseJitter(lattice=0.02, debye_waller=0.5)
        variants = [vary_phase(phases["Mg"], jitter, rng) for _ in range(200)]
        original = phases["Mg"].structure
        scales = np.array([v.structure.lattice.a for v in variants]) / original.lattice.a
        assert abs(scales.mean() - 1) < 0.005 and abs(scales.std() - 0.02) < 0.004
        factors = np.log([v.structure[0].Uisoequiv / original[0].Uisoequiv for v in variants])
        assert abs(factors.mean()) < 0.1 and abs(factors.std() - 0.5) < 0.1

    def test_escape_depth_changes(self, phases, tmp_path):
        """All else the same, variants differ where the electrons escape from another depth."""
        jitter = PhaseJitter(lattice=0, debye_waller=0, energy=0, escape_depth=0.5)
        for name, this in (("with", jitter), ("without", replace(jitter, escape_depth=0))):
            path = tmp_path / f"{name}.npz"
            made = build_library(path, {"Ni": phases["Ni"]}, variants=2, jitter=this, **QUICK)
            same = [np.array_equal(made["Ni"], made[f"Ni#{i}"]) for i in (1, 2)]
            assert same == [name == "without"] * 2

    def test_structure_is_kept(self, phases):
        """The cell is scaled and not turned or sheared, and fractional coordinates stay."""
        original = phases["Mg"]
        variant = vary_phase(original, PhaseJitter(lattice=0.05), np.random.default_rng(2))
        ratio = variant.structure.lattice.base / np.where(
            original.structure.lattice.base == 0, np.nan, original.structure.lattice.base
        )
        np.testing.assert_allclose(ratio[~np.isnan(ratio)], ratio[0, 0])
        np.testing.assert_allclose(variant.structure.xyz, original.structure.xyz)
        assert variant.name == "Mg" and variant.space_group.number == 194

    @pytest.mark.parametrize(
        "name, value", [("lattice", 0.8), ("debye_waller", -1), ("energy", 9), ("escape_depth", 2)]
    )
    def test_invalid(self, name, value):
        with pytest.raises(ValueError, match=f"{name}={value} must be from 0 to"):
            PhaseJitter(**{name: value})
