"""Other programs read what is written: orix and DefDAP themselves, and MTEX and DREAM.3D by the
rules of their readers."""

import re
import warnings

import h5py
import numpy as np
import orix.io
import pytest
from orix.quaternion import Rotation

from kikuchipy_cnn.io import load, save

PHASES = [1, 1, 2, 2, 1, 0, 2, 3, 3, 3, 1, 2]
INDEXED = np.array(PHASES) > 0
NAMES = ["gamma'-Ni3Al (Pm-3m)", "alpha-Fe (Im-3m)", "Al2O3 (R-3c)"]
NASTY = (
    "phase_fit", "phi_error", "X position error", "p_221", "Best phase", "A phase", "CI", "IQ",
    "Phi", "Phase", "y", "x", "2nd", "Step X", "_a", "ci (%)", "EBSD", "Symmetry", "coordinates",
)  # fmt: skip


@pytest.fixture
def written(tmp_path, make_map):
    """Function that writes a map of three phases and gives the file."""

    def written(suffix, xmap=None, **kwargs):
        path = tmp_path / f"map{suffix}"
        if xmap is None:
            prop = {"scores": np.full(12, 0.8), "iq": np.arange(12.0), "fit": np.full(12, 1.25)}
            xmap = make_map(prop=prop)
        save(path, xmap, **kwargs)
        return path

    return written


def eulers_of(xmap):
    return xmap.rotations[INDEXED].to_euler()


def own_eulers():
    return np.linspace(0.1, 1.5, 36).reshape(12, 3)[INDEXED]


# orix


def test_ang_in_orix(written, capsys):
    xmap = orix.io.load(written(".ang"))
    # It prints if it makes up names
    assert capsys.readouterr().out == ""
    assert np.where(xmap.is_indexed, xmap.phase_id, 0).tolist() == PHASES
    assert [xmap.phases[i].name for i in (1, 2, 3)] == NAMES
    assert [xmap.phases[i].point_group.name for i in (1, 2, 3)] == ["432", "432", "321"]
    lattice = xmap.phases[3].structure.lattice.abcABG()
    assert lattice == pytest.approx((4.759, 4.759, 12.993, 90, 90, 120))
    assert np.allclose(eulers_of(xmap), own_eulers(), atol=1e-5)
    assert xmap.ci.tolist() == [0.8] * 5 + [-1] + [0.8] * 6
    assert xmap.iq[:5].tolist() == [0, 1, 2, 3, 4]
    assert xmap.fit[0] == 1.25
    assert xmap.shape == (3, 4)


def test_ctf_in_orix(written):
    xmap = orix.io.load(written(".ctf"))
    assert np.where(xmap.is_indexed, xmap.phase_id, 0).tolist() == PHASES
    assert [xmap.phases[i].name for i in (1, 2, 3)] == NAMES
    assert [xmap.phases[i].space_group.number for i in (1, 2, 3)] == [221, 229, 167]
    lattice = xmap.phases[3].structure.lattice.abcABG()
    assert lattice == pytest.approx((4.759, 4.759, 12.993, 90, 90, 120))
    assert np.allclose(eulers_of(xmap) - own_eulers(), (np.pi / 2, 0, 0), atol=1e-5)
    assert xmap.prop["BS"].tolist() == [204] * 5 + [0] + [204] * 6
    assert xmap.prop["error"].tolist() == [0] * 5 + [3] + [0] * 6
    assert xmap.shape == (3, 4)


def test_hdf5_in_orix(written):
    xmap = orix.io.load(written(".h5"))
    assert xmap.phase_id.tolist() == [3, 3, 7, 7, 3, -1, 7, 11, 11, 11, 3, 7]
    assert xmap.phases.names == ["not_indexed", "gamma'-Ni3Al", "alpha-Fe", "Al2O3"]
    assert np.allclose(eulers_of(xmap), own_eulers())
    assert sorted(xmap.prop) == ["fit", "iq", "scores"]


# DefDAP


def defdap_map(path):
    ebsd = pytest.importorskip("defdap.ebsd")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ebsd.Map(path)


@pytest.fixture
def metals(make_phase):
    return {
        4: make_phase("γ-Fe", 225, (3.59, 3.59, 3.59, 90, 90, 90)),
        6: make_phase("Ti", 194, (2.95, 2.95, 4.686, 90, 90, 120)),
    }


def test_ctf_in_defdap(written, make_map, metals):
    eulers = np.linspace(0.1, 1.5, 36).reshape(12, 3)
    phase_id = [4, 4, 6, 6, 4, -1, 6, 6, 4, 4, 6, 6]
    xmap = make_map(metals, phase_id, dy=0.5, prop={"scores": np.full(12, 0.8)})
    read = defdap_map(written(".ctf", xmap))
    assert read.data.phase.tolist() == [[1, 1, 2, 2], [1, 0, 2, 2], [1, 1, 2, 2]]
    assert [i.name for i in read.phases] == ["gamma-Fe (Fm-3m)", "Ti (P63/mmc)"]
    assert [i.spaceGroup for i in read.phases] == [225, 194]
    assert [i.laue_group for i in read.phases] == [11, 9]
    lattice = (2.95, 2.95, 4.686, np.pi / 2, np.pi / 2, 2 * np.pi / 3)
    assert read.phases[1].lattice_params == pytest.approx(lattice)
    assert read.step_size == 0.5
    found = np.moveaxis(read.data.euler_angle, 0, -1).reshape(12, 3)
    expected = eulers + (np.pi / 2, 0, 0)
    expected[5] = 0
    assert np.allclose(found, expected, atol=1e-5)
    assert read.data.band_slope.ravel().tolist() == [204] * 5 + [0] + [204] * 6


def test_ang_in_defdap(written, make_map, make_phase):
    nickel = make_phase("Ni", 225, (3.52, 3.52, 3.52, 90, 90, 90))
    prop = {"scores": np.full(12, 0.8), "iq": np.arange(12)}
    read = defdap_map(written(".ang", make_map({7: nickel}, [7] * 12, dy=0.5, prop=prop)))
    assert read.data.phase.tolist() == [[1] * 4] * 3
    assert read.phases[0].name == "Ni"
    assert read.phases[0].laue_group == 11
    assert read.phases[0].lattice_params[:3] == (3.52, 3.52, 3.52)
    assert read.data.image_quality.ravel().tolist() == list(range(12))
    found = np.moveaxis(read.data.euler_angle, 0, -1).reshape(12, 3)
    # It takes EDAX's first angle to be 90 degrees more than its own
    expected = (np.linspace(0.1, 1.5, 36).reshape(12, 3) - (np.pi / 2, 0, 0)) % (2 * np.pi)
    assert np.allclose(found, expected, atol=1e-4)


# DREAM.3D


def dream3d_ang(path):
    header, phases, data = {}, {}, []
    for line in path.read_text(encoding="ascii").split("\n"):
        words = line[1:].split()
        if not line.startswith("#"):
            data.append(line.split())
        elif words and words[0] == "Phase":
            phases[int(words[1])] = phase = {}
        elif words and words[0] in ("MaterialName", "Formula", "Info"):
            phase[words[0]] = " ".join(words[1:])
        elif words and words[0] == "Symmetry":
            phase["Symmetry"] = int(words[1])
        elif words and words[0] == "LatticeConstants":
            phase[words[0]] = [float(i) for i in words[1:7]]
            assert len(phase[words[0]]) == 6
        elif words and words[0] != "NumberFamilies":
            header[words[0].rstrip(":")] = " ".join(words[1:])
    assert float(header["XSTEP"]) != 0 and float(header["YSTEP"]) != 0
    n_rows, n_odd, n_even = (int(header[i]) for i in ("NROWS", "NCOLS_ODD", "NCOLS_EVEN"))
    assert n_rows >= 1
    assert phases
    n = n_rows * n_odd
    if header["GRID"] == "HexGrid":
        n = sum(n_even if i % 2 else n_odd for i in range(n_rows))
    else:
        assert header["GRID"] == "SqrGrid"
    assert len(data) >= n
    assert all(len(words) == 10 for words in data[:n])
    phase = [int(words[7]) for words in data[:n]]
    assert set(phase) - {0} <= set(phases)
    return header, phases, phase, np.array(data[:n], dtype=float)


def dream3d_ctf(path):
    lines = path.read_text(encoding="ascii").split("\n")
    first = next(i for i, line in enumerate(lines) if line.startswith("Phases"))
    header = {}
    for line in lines[1:first]:
        if line.startswith("Euler angles refer to Sample Coordinate system (CS0)!"):
            words = line.split("\t")[1:]
            found = dict(zip(words[::2], words[1::2], strict=True))
            for key in ("Mag", "Coverage", "Device", "KV"):
                header[key] = int(found.pop(key))
            assert set(found) == {"TiltAngle", "TiltAxis"}
            assert all(np.isfinite(float(i)) for i in found.values())
        else:
            key, value = line.split("\t")
            header[key] = value
    shape = int(header["YCells"]), int(header["XCells"])
    assert min(shape) > 0
    assert float(header["XStep"]) != 0 and float(header["YStep"]) != 0
    assert "Mag" in header
    n_phases = int(lines[first].split("\t")[1])
    phases = []
    for line in lines[first + 1 : first + 1 + n_phases]:
        fields = line.split("\t")
        assert len(fields) in (5, 8)
        lattice = [float(i) for triple in fields[:2] for i in triple.split(";")]
        assert len(lattice) == 6
        phases.append((fields[2], int(fields[3]), int(fields[4]), lattice))
    names = lines[first + 1 + n_phases].split("\t")
    integers = {"Phase", "Bands", "Error", "BC", "BS"}
    others = {"X", "Y", "Euler1", "Euler2", "Euler3", "MAD"}
    assert set(names) <= integers | others
    columns = {name: [] for name in names}
    for line in lines[first + 2 + n_phases :][: shape[0] * shape[1]]:
        for name, field in zip(names, line.split("\t"), strict=True):
            columns[name].append(int(field) if name in integers else float(field))
    assert len(columns["Phase"]) == shape[0] * shape[1]
    return header, phases, {name: np.array(values) for name, values in columns.items()}


def test_ang_in_dream3d(written):
    header, phases, phase, data = dream3d_ang(written(".ang"))
    assert phase == PHASES
    assert [phases[i]["MaterialName"] for i in (1, 2, 3)] == NAMES
    assert [phases[i]["Symmetry"] for i in (1, 2, 3)] == [43, 43, 32]
    assert phases[3]["LatticeConstants"] == [4.759, 4.759, 12.993, 90, 90, 120]
    assert header["NROWS"] == "3"
    assert np.allclose(data[INDEXED, :3], own_eulers(), atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 12), (12, 1), (4, 3)])
@pytest.mark.parametrize("unit", ["um", "nm"])
def test_steps_in_dream3d(written, make_map, shape, unit):
    xmap = make_map(shape=shape, dx=50, dy=50, scan_unit=unit)
    header, _, phase, _ = dream3d_ang(written(".ang", xmap))
    assert phase == PHASES
    assert float(header["XSTEP"]) == float(header["YSTEP"]) == {"um": 50, "nm": 0.05}[unit]
    header, _, columns = dream3d_ctf(written(".ctf", xmap))
    assert columns["Phase"].tolist() == PHASES
    assert float(header["XStep"]) == float(header["YStep"]) == {"um": 50, "nm": 0.05}[unit]


def test_hexagonal_ang_in_dream3d(written, make_map, honeycomb):
    x, y = honeycomb(4, 3, 5)
    xmap = make_map(None, np.resize([3, 7, 11, 7], 18), x=x, y=y)
    _, _, phase, data = dream3d_ang(written(".ang", xmap))
    assert phase == np.resize([1, 2, 3, 2], 18).tolist()
    assert np.allclose(data[:, 3], x)


def test_ctf_in_dream3d(written):
    header, phases, columns = dream3d_ctf(written(".ctf"))
    assert columns["Phase"].tolist() == PHASES
    assert [i[:3] for i in phases] == list(zip(NAMES, (11, 11, 7), (221, 229, 167), strict=True))
    assert phases[2][3] == [4.759, 4.759, 12.993, 90, 90, 120]
    assert (header["XCells"], header["YCells"]) == ("4", "3")
    assert columns["BS"].tolist() == [204] * 5 + [0] + [204] * 6


def test_ctf_with_notes_in_dream3d(written, make_map):
    with pytest.warns(UserWarning, match="identity"):
        path = written(".ctf", make_map(identity=range(12)))
    header, _, columns = dream3d_ctf(path)
    assert "NO ORIENTATION" in header["Author"]
    assert columns["Phase"].tolist() == PHASES


# MTEX

NOT_INDEXED = 4 * np.pi
MTEX_SYMMETRY = {"1", "2", "20", "22", "3", "32", "4", "42", "6", "62", "23", "43"}
LATTICE_SETS = (
    "/Symmetry$", "MaterialName", "Lattice Constant a$", "Lattice Constant b$",
    "Lattice Constant c$", "Lattice Constant alpha", "Lattice Constant beta",
    "Lattice Constant gamma",
)  # fmt: skip
MTEX_LAUE = ["-1", "2/m", "mmm", "4/m", "4/mmm", "-3", "-3m", "6/m", "6/mmm", "m3", "m3m"]


def mtex_ang(path):
    lines = path.read_text(encoding="ascii").splitlines()
    header = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    assert not any(line.startswith("#") for line in lines[header:])
    phases = {}
    for start in (i for i, line in enumerate(lines) if re.search(r"# Phase \d", line)):
        block = lines[start : start + 101]
        found = [
            next(m[1].strip() for m in (re.search(f"{key}\\s*(.*)", i) for i in block) if m)
            for key in ("# Phase", "# MaterialName", "# Symmetry", "# LatticeConstants")
        ]
        assert found[2] in MTEX_SYMMETRY
        phases[int(found[0])] = (found[1], found[2], [float(i) for i in found[3].split()])
    data = np.array([line.split() for line in lines[header:]], dtype=float)
    allowed = set(range(len(phases) + 2))
    n_values = [
        len(values) if values <= allowed else 0 for values in (set(data[:, 7]), set(data[:, 8]))
    ]
    phase = data[:, 8 if n_values[1] > n_values[0] else 7].astype(int)
    dropped = np.all(np.abs(data[:, :3] - NOT_INDEXED) < 1e-4, axis=1)
    phase[dropped | (data[:, 6] < 0)] = 0
    return phases, phase.tolist(), data


def mtex_ctf(path):
    lines = path.read_text(encoding="ascii").splitlines()
    assert lines[0].startswith("Channel Text File")
    (first,) = (i for i, line in enumerate(lines[:100]) if "Phases" in line)
    n_phases = int(re.fullmatch(r"\S+\t(\d+)", lines[first])[1])
    phases = []
    for line in lines[first + 1 : first + 1 + n_phases]:
        fields = line.split("\t")
        lattice = [float(i) for triple in fields[:2] for i in triple.split(";")]
        assert len(lattice) == 6
        phases.append((fields[2], MTEX_LAUE[int(fields[3]) - 1], lattice))
    data = np.array([line.split("\t") for line in lines[first + 2 + n_phases :]], dtype=float)
    assert data.shape[1] == 11
    assert set(data[:, 0]) <= set(range(n_phases + 1))
    return phases, data[:, 0].astype(int).tolist(), data


def groups_of(group):
    found = []
    group.visititems(
        lambda name, item: found.append(f"/{name}") if isinstance(item, h5py.Group) else None
    )
    return found


def sets_of(group):
    """Sets of a group by name, and then those of its subgroups by name."""
    for kind in (h5py.Dataset, h5py.Group):
        for name in sorted(group):
            item = group[name]
            if isinstance(item, kind):
                yield from [item] if kind is h5py.Dataset else sets_of(item)


def text_of(dataset):
    (text,) = np.atleast_1d(dataset[()])
    return text.decode()


def mtex_classic_h5(path):
    with h5py.File(path) as file:
        paths = groups_of(file)
        assert min(map(len, paths)) >= 5
        (ebsd,) = (i for i in paths if i.endswith("/EBSD"))
        first = min(i for i in file[ebsd] if isinstance(file[ebsd][i], h5py.Group))
        data = {}
        for name, values in file[ebsd][first].items():
            if values.ndim > 1:
                continue
            word = name.replace(" ", "_").replace("X_Position", "x").replace("Y_Position", "y")
            word = word.replace("X_SAMPLE", "x").replace("Y_SAMPLE", "y")
            word = re.sub("phi", "Phi", word, flags=re.IGNORECASE)
            for angle in ("phi1", "phi2"):
                word = re.sub(angle, angle, word, flags=re.IGNORECASE)
            assert re.fullmatch(r"[A-Za-z]\w{0,62}", word, flags=re.ASCII), word
            assert word not in data, word
            data[word] = values[()].astype(float)
        assert {"phi1", "Phi", "phi2", "Phase", "x", "y"} <= set(data)
        assert len({values.size for values in data.values()}) == 1
        indexed = np.abs(data["phi1"] - NOT_INDEXED) > 1e-5
        assert max(data["phi1"][indexed].max(), data["phi2"][indexed].max()) <= 2.001 * np.pi
        assert data["Phi"][indexed].max() <= 1.001 * np.pi
        phases = []
        groups = file[ebsd]["Header/Phase"]
        for name in groups:
            phase = groups[name]
            symbol = re.search(r"\[([1-6m/-]*)\]", text_of(phase["Point Group"]))[1]
            assert symbol in MTEX_LAUE
            assert text_of(phase["Formula"])
            lattice = [
                float(phase[f"Lattice Constant {i}"][0])
                for i in ("a", "b", "c", "alpha", "beta", "gamma")
            ]
            phases.append((text_of(phase["MaterialName"]), symbol, lattice))
    return phases, data


def mtex_oh5(path):
    with h5py.File(path) as file:
        (ebsd,) = (i for i in groups_of(file) if i.endswith("/EBSD"))
        data = {name: values[()] for name, values in file[ebsd]["Data"].items()}
        assert {"Phi1", "Phi", "Phi2", "Phase", "X Position", "Y Position"} <= set(data)
        words = [re.sub(r"\W", "_", name) for name in data]
        assert len(set(words)) == len(words)
        header = file[ebsd]["Header"]
        parts = text_of(header["Cartesian Alignment"]).split(", ")
        assert all(re.fullmatch(r"[abc]\*? \|\| [xyz]", i) for i in parts)
        phases = []
        for name in header["Phase"]:
            number = int(header["Phase"][name]["SpaceGroupNumber"][0])
            assert 1 <= number <= 230
            phases.append((text_of(header["Phase"][name]["MaterialName"]), number))
        setting = int(header["Coordinate System/ID"][0])
    assert setting in (1, 2, 3, 4)
    return phases, data, setting


def mtex_new_h5(path):
    with h5py.File(path) as file:
        maker = text_of(file["Manufacturer"])
        assert "EDAX" in maker
        others = ("bruker", "oxford", "emsphinx", "thermo")
        assert not any(i in maker.lower() for i in others)
        (ebsd,) = (i for i in groups_of(file) if i.endswith("/EBSD"))
        found = {}
        for pattern in ("X Position", "Y Position", "Phase", "Phi1", "Phi", "Phi2",
                        "/Coordinate System/ID", "Step X", "Step Y"):  # fmt: skip
            found[pattern] = next(
                i for i in sets_of(file[ebsd]) if re.search(pattern, i.name, re.IGNORECASE)
            )
        names = {pattern: dataset.name for pattern, dataset in found.items()}
        values = {pattern: dataset[()] for pattern, dataset in found.items()}
        phases = []
        for phase in file[ebsd]["Header/Phase"].values():
            fields = []
            for pattern in LATTICE_SETS:
                (match,) = (i for i in sets_of(phase) if re.search(pattern, i.name, re.IGNORECASE))
                fields.append(match[0])
            assert str(fields[0]) in MTEX_SYMMETRY
            phases.append((fields[1].decode(), int(fields[0]), [float(i) for i in fields[2:]]))
    return phases, names, values


def test_ang_in_mtex(written):
    phases, phase, data = mtex_ang(written(".ang"))
    assert phase == PHASES
    assert [phases[i][0] for i in (1, 2, 3)] == NAMES
    assert [phases[i][1] for i in (1, 2, 3)] == ["43", "43", "32"]
    assert phases[3][2] == [4.759, 4.759, 12.993, 90, 90, 120]
    assert np.allclose(data[INDEXED, :3], own_eulers(), atol=1e-5)


def test_ang_of_one_phase_in_mtex(written, make_map, make_phase):
    xmap = make_map({5: make_phase("a", 225)}, [5] * 12, prop={"fit": np.arange(12) % 2})
    _, phase, _ = mtex_ang(written(".ang", xmap))
    assert phase == [1] * 12


def test_ang_of_many_phases_in_mtex(written, make_map, make_phase):
    phases = {i: make_phase(f"phase {i}", 200 + i) for i in range(1, 21)}
    found, phase, _ = mtex_ang(written(".ang", make_map(phases, range(1, 21), (4, 5))))
    assert phase == list(range(1, 21))
    assert [found[i][0].split(" (")[0] for i in phase] == [f"phase {i}" for i in phase]


def test_ctf_in_mtex(written):
    phases, phase, data = mtex_ctf(written(".ctf"))
    assert phase == PHASES
    assert [i[:2] for i in phases] == list(zip(NAMES, ("m3m", "m3m", "-3m"), strict=True))
    assert phases[2][2] == [4.759, 4.759, 12.993, 90, 90, 120]
    assert np.allclose(np.deg2rad(data[INDEXED, 6:8]), own_eulers()[:, 1:], atol=1e-5)


def test_ctf_of_phases_called_phases_in_mtex(written, make_map, make_phase):
    xmap = make_map({5: make_phase("Other Phases", 225)}, [5] * 12)
    _, phase, _ = mtex_ctf(written(".ctf", xmap))
    assert phase == [1] * 12


@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".h5ebsd", ".oh5"])
def test_hdf5_in_classic_mtex(written, suffix):
    phases, data = mtex_classic_h5(written(suffix))
    assert data["Phase"].tolist() == PHASES
    assert [i[:2] for i in phases] == list(zip(NAMES, ("m3m", "m3m", "-3m"), strict=True))
    assert phases[2][2] == pytest.approx([4.759, 4.759, 12.993, 90, 90, 120])
    eulers = np.column_stack([data[i] for i in ("phi1", "Phi", "phi2")])
    assert np.allclose(eulers[INDEXED], own_eulers())
    assert np.allclose(eulers[~INDEXED], NOT_INDEXED)
    assert data["x"] == pytest.approx(np.tile([0, 0.5, 1, 1.5], 3))


def test_oh5_in_mtex(written):
    phases, data, setting = mtex_oh5(written(".oh5"))
    assert phases == list(zip(NAMES, (221, 229, 167), strict=True))
    assert data["Phase"].tolist() == PHASES
    assert setting == 2


def test_hdf5_in_new_mtex(written):
    phases, names, values = mtex_new_h5(written(".h5"))
    check_names(names)
    assert [i[:2] for i in phases] == list(zip(NAMES, (43, 43, 32), strict=True))
    assert values["Phase"].tolist() == PHASES
    assert values["Step X"] == 0.5
    assert values["/Coordinate System/ID"] == 2


def check_names(names):
    data, header = "/Scan 1/EBSD/Data", "/Scan 1/EBSD/Header"
    assert names == {
        "X Position": f"{data}/X Position",
        "Y Position": f"{data}/Y Position",
        "Phase": f"{data}/Phase",
        "Phi1": f"{data}/Phi1",
        "Phi": f"{data}/Phi",
        "Phi2": f"{data}/Phi2",
        "/Coordinate System/ID": f"{header}/Coordinate System/ID",
        "Step X": f"{header}/Step X",
        "Step Y": f"{header}/Step Y",
    }


@pytest.mark.parametrize("name", NASTY)
def test_property_of_any_name_in_mtex(written, make_map, name):
    path = written(".h5", make_map(prop={name: np.full(12, 0.5)}))
    _, names, values = mtex_new_h5(path)
    check_names(names)
    assert values["Phase"].tolist() == PHASES
    _, data = mtex_classic_h5(path)
    assert data["Phase"].tolist() == PHASES
    assert np.allclose(data["phi1"][INDEXED], own_eulers()[:, 0])


def test_hdf5_of_many_phases_in_mtex(written, make_map, make_phase):
    # MTEX takes groups in the order of their names, which is that of their numbers up to 9
    phases = {i: make_phase(f"phase {i}", 200 + i) for i in range(1, 13)}
    found, data = mtex_classic_h5(written(".h5", make_map(phases, range(1, 13), (3, 4))))
    read = [found[int(i) - 1][0].split(" (")[0] for i in data["Phase"]]
    assert read == [f"phase {i}" for i in range(1, 13)]


# Frames


def mtex_orientations(xmap):
    """From crystal to sample, as MTEX has them and orix has not."""
    return ~xmap.rotations[INDEXED]


def half_turn(*axis):
    return Rotation.from_axes_angles(axis, 180, degrees=True)


def test_three_formats_have_one_frame_in_mtex(written, make_map, rng):
    rotations = Rotation.random(12)
    paths = {i: written(i, make_map(rotations=rotations)) for i in (".ang", ".ctf", ".h5")}
    read = {i: mtex_orientations(orix.io.load(path)) for i, path in paths.items()}
    setting_2 = half_turn(1, -1, 0)
    # Bunge's angles are from sample to crystal in orix, and the other way round in MTEX
    setting_2_of_hdf5 = ~Rotation.from_euler(np.deg2rad((135, 180, 225)))
    assert np.allclose(setting_2.angle_with(setting_2_of_hdf5), 0, atol=1e-6)
    ang = setting_2 * read[".ang"]
    hdf5 = setting_2_of_hdf5 * read[".h5"]
    ctf = half_turn(1, 0, 0) * read[".ctf"]
    assert np.allclose(ang.angle_with(hdf5), 0, atol=5e-5)
    assert np.allclose(ang.angle_with(ctf), 0, atol=5e-5)
    # Without the turns, they differ
    assert not np.allclose(read[".ang"].angle_with(read[".ctf"]), 0, atol=0.1)
    for path in paths.values():
        assert np.allclose(
            load(path).rotations[INDEXED].angle_with(rotations[INDEXED]), 0, atol=5e-5
        )


def bunge(eulers):
    """Matrices from crystal to sample."""
    matrices = []
    for phi1, phi, phi2 in eulers:
        turns = []
        for angle, axis in ((phi1, 2), (phi, 0), (phi2, 2)):
            c, s = np.cos(angle), np.sin(angle)
            i, j = [k for k in range(3) if k != axis]
            turn = np.eye(3)
            turn[[i, i, j, j], [i, j, i, j]] = c, -s, s, c
            turns.append(turn)
        matrices.append(turns[0] @ turns[1] @ turns[2])
    return np.array(matrices)


def test_three_formats_have_one_frame_by_the_numbers_in_them(written):
    _, _, ang = mtex_ang(written(".ang"))
    _, _, ctf = mtex_ctf(written(".ctf"))
    _, data = mtex_classic_h5(written(".h5"))
    h5 = np.column_stack([data[i] for i in ("phi1", "Phi", "phi2")])
    setting_2 = np.array([[0, -1, 0], [-1, 0, 0], [0, 0, -1]])
    about_x = np.diag([1, -1, -1])
    ang = setting_2 @ bunge(ang[INDEXED, :3])
    assert np.allclose(bunge(np.deg2rad([(135, 180, 225)])), setting_2)
    assert np.allclose(setting_2 @ bunge(h5[INDEXED]), ang, atol=5e-5)
    assert np.allclose(about_x @ bunge(np.deg2rad(ctf[INDEXED, 5:8])), ang, atol=5e-5)
