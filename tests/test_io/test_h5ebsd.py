import subprocess
import sys

import h5py
import kikuchipy as kp
import numpy as np
import orix.io
import pytest
from diffpy.structure import Atom, Lattice, Structure
from orix.crystal_map import Phase

from kikuchipy_cnn.io import load, save

SUFFIXES = (".h5", ".hdf5", ".h5ebsd", ".oh5")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_suffix(tmp_path, make_map, suffix):
    xmap = make_map(prop={"scores": np.full(12, 0.8), "words": np.arange(12)})
    save(tmp_path / f"a{suffix}", xmap)
    loaded = load(tmp_path / f"a{suffix}")
    assert np.array_equal(loaded.phase_id, xmap.phase_id)
    assert sorted(loaded.prop) == ["scores", "words"]
    assert loaded.prop["words"].dtype == xmap.prop["words"].dtype


def test_manufacturers(tmp_path, make_map):
    save(tmp_path / "a.h5", make_map())
    with h5py.File(tmp_path / "a.h5") as file:
        assert sorted(file) == ["Manufacturer", "Scan 1", "Version", "crystal_map", "manufacturer",
                                "version"]  # fmt: skip
        assert file["Manufacturer"][0] == b"EDAX layout, written by kikuchipy_cnn"
        assert file["manufacturer"][0] == b"orix"


def test_data(tmp_path, make_map):
    prop = {
        "scores": np.full(12, 0.8),
        "iq": np.arange(12.0),
        "fit": np.full(12, 1.25),
        "p_221": np.full(12, 0.7),
        "is_good": np.arange(12) > 5,
        "two": np.ones((12, 2)),
        "Mean angle (deg)": np.arange(12),
    }
    is_in_data = np.arange(12) != 11
    xmap = make_map(prop=prop, is_in_data=is_in_data)
    save(tmp_path / "a.h5", xmap)
    with h5py.File(tmp_path / "a.h5") as file:
        data = {name: values[()] for name, values in file["Scan 1/EBSD/Data"].items()}
    assert sorted(data) == [
        "CI", "Fit", "IQ", "Mean_angle__deg_", "Phase", "Phi", "Phi1", "Phi2", "X Position",
        "Y Position", "is_good", "p_221", "prop_fit", "prop_iq", "scores",
    ]  # fmt: skip
    assert data["Phase"].tolist() == [1, 1, 2, 2, 1, 0, 2, 3, 3, 3, 1, 0]
    assert data["CI"] == pytest.approx([0.8] * 5 + [-1] + [0.8] * 5 + [-1])
    assert data["Fit"].tolist() == [1.25] * 5 + [180] + [1.25] * 5 + [180]
    assert data["IQ"].tolist() == [0, 1, 2, 3, 4, 0, 6, 7, 8, 9, 10, 0]
    assert data["X Position"] == pytest.approx([0, 0.5, 1, 1.5] * 3)
    assert data["Y Position"] == pytest.approx([0] * 4 + [0.25] * 4 + [0.5] * 4)
    assert data["is_good"].tolist() == [0] * 6 + [1] * 5 + [0]
    assert data["Mean_angle__deg_"].tolist() == [*range(11), 0]
    eulers = np.linspace(0.1, 1.5, 36).reshape(12, 3)
    eulers[[5, 11]] = 4 * np.pi
    assert np.allclose(np.column_stack((data["Phi1"], data["Phi"], data["Phi2"])), eulers)


def test_properties_that_would_get_the_same_name(tmp_path, make_map):
    prop = {"a b": np.full(12, 1.0), "a_b": np.full(12, 2.0), "a-b": np.full(12, 3.0)}
    prop |= {"iq": np.full(12, 4.0), "prop_iq": np.full(12, 5.0)}
    save(tmp_path / "a.h5", make_map(prop=prop))
    with h5py.File(tmp_path / "a.h5") as file:
        data = file["Scan 1/EBSD/Data"]
        ours = [i for i in data if i.startswith(("a", "prop"))]
        assert sorted(data[i][0] for i in ours) == [1, 2, 3, 4, 5]
    assert {i: load(tmp_path / "a.h5").prop[i][0] for i in prop} == {i: prop[i][0] for i in prop}


def test_header(tmp_path, make_map):
    save(tmp_path / "a.h5", make_map())
    with h5py.File(tmp_path / "a.h5") as file:
        header = file["Scan 1/EBSD/Header"]
        assert header["nColumns"][0] == 4
        assert header["nRows"][0] == 3
        assert header["Step X"][0] == 0.5
        assert header["Step Y"][0] == 0.25
        assert header["Grid Type"][0] == b"SqrGrid"
        assert header["Coordinate System/ID"][0] == 2
        phase = header["Phase/3"]
        assert phase["MaterialName"][0] == b"Al2O3 (R-3c)"
        assert phase["Name"].asstr()[()] == "Al₂O₃"
        assert phase["SpaceGroup"][0] == b"R-3c"
        assert phase["SpaceGroupNumber"][0] == 167
        assert phase["Symmetry"][0] == 32
        assert phase["Point Group"][0] == b"Trigonal (D3d) [-3m]"
        assert phase["Id"][0] == 11
        assert phase["LatticeConstants"][()] == pytest.approx([4.759, 4.759, 12.993, 90, 90, 120])


@pytest.mark.parametrize(
    ("atoms", "formula"),
    [
        ([("Ni", 3), ("Al", 1)], b"Ni3Al"),
        ([("Fe", 8), ("O", 12)], b"Fe2O3"),
        ([("Ni", 4)], b"Ni"),
        ([], b"a (Fm-3m)"),
    ],
)
def test_formula(tmp_path, make_map, atoms, formula):
    structure = Structure(
        [Atom(element, (0, 0, 0)) for element, n in atoms for _ in range(n)],
        lattice=Lattice(4, 4, 4, 90, 90, 90),
    )
    phase = Phase("a", space_group=225, structure=structure)
    save(tmp_path / "a.h5", make_map({1: phase}, [1] * 4, (2, 2)))
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["Scan 1/EBSD/Header/Phase/1/Formula"][0] == formula


@pytest.mark.parametrize("number", [2, 3, 6, 14, 62, 87, 141, 148, 160, 167, 176, 189, 205, 225])
def test_space_group(round_trip, make_map, make_phase, number):
    loaded = round_trip(make_map({1: make_phase("a", number)}, [1] * 4, (2, 2)), ".h5")
    assert loaded.phases[1].space_group.number == number


def test_phases_are_shared_with_orix(tmp_path, make_map, make_phase):
    # Names are cut by orix if they are not in ASCII
    save(tmp_path / "a.h5", make_map(), phase_list=[make_phase("β-Sn", 229)])
    xmap = orix.io.load(tmp_path / "a.h5")
    assert xmap.phases.names == ["not_indexed", "gamma'-Ni3Al", "beta-Sn", "Al2O3"]
    assert load(tmp_path / "a.h5").phases[7].name == "β-Sn"


def test_colors_are_those_of_the_map(round_trip, make_map, make_phase):
    xmap = make_map()
    loaded = round_trip(xmap, ".h5", phase_list=[make_phase("iron", 229, color="black")])
    assert loaded.phases.colors == xmap.phases.colors


def test_file_of_orix(tmp_path, make_map):
    xmap = make_map()
    for i, name in ((3, "a"), (7, "b"), (11, "c")):
        xmap.phases[i].name = name
    orix.io.save(str(tmp_path / "a.h5"), xmap)
    loaded = load(tmp_path / "a.h5")
    assert np.array_equal(loaded.phase_id, xmap.phase_id)
    assert loaded.phases.names == ["not_indexed", "a", "b", "c"]


def test_file_of_half_the_size(tmp_path, make_map):
    save(tmp_path / "a.h5", make_map())
    content = (tmp_path / "a.h5").read_bytes()
    (tmp_path / "a.h5").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="a.h5' is cut short or no HDF5 file .*Copy or write it"):
        load(tmp_path / "a.h5")


def test_file_that_is_no_hdf5(tmp_path):
    (tmp_path / "a.h5").write_text("no")
    with pytest.raises(ValueError, match="no HDF5 file"):
        load(tmp_path / "a.h5")


def kikuchipy_map(make_map, make_phase):
    phases = {5: make_phase("Ni", 225), 9: make_phase("Al2O3", 167)}
    y, x = (1.5 * i.ravel() for i in np.indices((3, 3)))
    scores = np.linspace(0.1, 0.9, 9)
    phase_id = [5, 5, 9, 9, 5, 5, 5, 9, -1]
    return make_map(phases, phase_id, x=x, y=y, prop={"scores": scores, "p_225": 1 - scores})


@pytest.mark.parametrize("suffix", [None, ".ang", ".ctf", ".h5"])
def test_map_is_kept_by_kikuchipy(tmp_path, round_trip, make_map, make_phase, suffix):
    import kikuchipy as kp

    xmap = kikuchipy_map(make_map, make_phase)
    if suffix is not None:
        xmap = round_trip(xmap, suffix)
    signal = kp.data.nickel_ebsd_small()
    signal.xmap = xmap
    signal.save(tmp_path / "patterns.h5")
    loaded = kp.load(tmp_path / "patterns.h5").xmap
    assert loaded.phase_id.tolist() == [5, 5, 9, 9, 5, 5, 5, 9, -1]
    assert loaded.phases.names == ["not_indexed", "Ni", "Al2O3"]
    assert [i.number for i in loaded.phases.space_groups[1:]] == [225, 167]
    assert sorted(loaded.prop) == sorted(xmap.prop)
    assert all(np.allclose(loaded.prop[i], xmap.prop[i]) for i in xmap.prop)
    assert np.allclose(loaded.rotations.angle_with(xmap.rotations), 0, atol=1e-5)


def test_first_thing_that_is_done(tmp_path):
    # orix has imported none of its plugins then
    path = str(tmp_path / "a.h5")
    code = f"""
import numpy as np
from orix.crystal_map import CrystalMap, Phase, PhaseList
from orix.quaternion import Rotation
from kikuchipy_cnn.io import save
phases = PhaseList([Phase("Ni", space_group=225)])
rotations = Rotation.from_euler(np.full((2, 3), 0.5))
save({path!r}, CrystalMap(rotations, x=np.arange(2.0), phase_list=phases, scan_unit="um"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert load(path).phases.names == ["Ni"]


def test_map_that_is_stored_with_patterns(tmp_path):
    signal = kp.data.nickel_ebsd_small()
    signal.save(tmp_path / "patterns.h5")
    loaded = load(tmp_path / "patterns.h5")
    assert loaded.shape == (3, 3)
    assert loaded.phases.names == signal.xmap.phases.names
    assert np.allclose(loaded.rotations.data, signal.xmap.rotations.data)


def test_hdf5_without_a_map(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["numbers"] = np.arange(3)
    with pytest.raises(ValueError, match="a.h5' has no crystal map that orix or kikuchipy read"):
        load(tmp_path / "a.h5")
