import numpy as np
import pytest
from orix.crystal_map import Phase

from kikuchipy_cnn.io import load, save
from kikuchipy_cnn.io._names import ascii_text, name_with_space_group, split_name
from kikuchipy_cnn.space_groups import hermann_mauguin_symbol


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ni", "Ni"),
        ("", ""),
        ("Fm3\N{COMBINING MACRON}m", "Fm-3m"),
        ("Fm3\N{COMBINING OVERLINE}m", "Fm-3m"),
        ("R3\N{COMBINING OVERLINE}c", "R-3c"),
        ("P1\N{COMBINING MACRON}", "P-1"),
        ("\N{COMBINING MACRON}3m", "3m"),
        ("α-Fe", "alpha-Fe"),
        ("γ′", "gamma'"),
        ("γ″-Ni₃Nb", "gamma''-Ni3Nb"),
        ("Δ and Ωmega", "Delta and Omegamega"),
        ("ς", "sigma"),
        ("ά", "alpha"),
        ("Al₂O₃", "Al2O3"),
        ("Fe³⁺", "Fe3+"),
        ("Fe–C — D−E", "Fe-C - D-E"),
        ("MgSO₄·7H₂O", "MgSO4.7H2O"),
        ("Å", "A"),
        ("naïve Žižkov", "naive Zizkov"),
        ("ﬁne", "fine"),
        ("tab\there\nline\r\nend", "tab here line end"),
        ("bell\a and\0null", "bell and null"),
        ("  many   spaces ", "many spaces"),
        ("non\N{NO-BREAK SPACE}breaking", "non breaking"),
        ("鉄", "?"),
        ("\N{SNOWMAN}man", "?man"),
        ("\N{LINE SEPARATOR}x", "?x"),
    ],
)
def test_ascii_text(text, expected):
    assert ascii_text(text) == expected
    assert ascii_text(text).isascii()


@pytest.mark.parametrize(
    ("name", "number", "expected"),
    [
        ("Ni", 225, "Ni (Fm-3m)"),
        ("Fm-3m", 225, "Fm-3m"),
        ("Fm-3m", 229, "Fm-3m (Im-3m)"),
        ("Al₂O₃", 167, "Al2O3 (R-3c)"),
        ("R-3m", 166, "R-3m"),
        ("H-3m", 166, "H-3m"),
        ("Fm3̄m", 225, "Fm-3m"),
        ("Ni3Al (L1_2)", 221, "Ni3Al (L1_2) (Pm-3m)"),
        ("", 225, "Fm-3m"),
        ("steel", None, "steel"),
        ("", None, ""),
    ],
)
def test_name_with_space_group(name, number, expected):
    phase = Phase(name, space_group=number)
    # Phase() gives other names to phases without one
    phase.name = name
    assert name_with_space_group(phase) == expected


@pytest.mark.parametrize(
    ("text", "name", "number"),
    [
        ("Ni (Fm-3m)", "Ni", 225),
        ("Fm-3m", "Fm-3m", 225),
        ("R-3m", "R-3m", 166),
        ("H-3m", "H-3m", 166),
        ("Bi2Te3 (R-3m)", "Bi2Te3", 166),
        ("Bi2Te3 (H-3m)", "Bi2Te3", 166),
        ("Ni3Al (L1_2) (Pm-3m)", "Ni3Al (L1_2)", 221),
        ("Ni3Al (L1_2)", "Ni3Al (L1_2)", None),
        ("Ni(Fm-3m)", "Ni(Fm-3m)", None),
        ("Ni (Fm-3m) 2", "Ni (Fm-3m) 2", None),
        ("(Fm-3m)", "(Fm-3m)", None),
        ("(", "(", None),
        ("", "", None),
    ],
)
def test_split_name(text, name, number):
    assert split_name(text) == (name, number)


@pytest.mark.parametrize("name", ["Ni", "Ni3Al (L1_2)", "a (b) c", "x (Fm-3m)"])
def test_every_space_group_is_found_in_the_name(name):
    for number in range(1, 231):
        phase = Phase(name, space_group=number)
        assert split_name(name_with_space_group(phase)) == (name, number)


def test_name_that_is_the_symbol():
    for number in range(1, 231):
        symbol = hermann_mauguin_symbol(number)
        text = name_with_space_group(Phase(symbol, space_group=number))
        assert text == symbol
        assert split_name(text) == (symbol, number)


def names_in(path):
    """Names of the phases in the file itself, in the order of their numbers."""
    if path.suffix == ".h5":
        import h5py

        with h5py.File(path) as file:
            phases = file["Scan 1/EBSD/Header/Phase"]
            return [phases[i]["MaterialName"][0].decode() for i in sorted(phases, key=int)]
    lines = path.read_text(encoding="ascii").splitlines()
    if path.suffix == ".ang":
        starts = [i for i, line in enumerate(lines) if line.startswith("# Phase ")]
        names = {
            int(lines[i].split()[2]): lines[i + 1].split(maxsplit=2)[2].strip() for i in starts
        }
        return [names[i] for i in sorted(names)]
    first = next(i for i, line in enumerate(lines) if line.startswith("Phases\t"))
    n = int(lines[first].split("\t")[1])
    return [line.split("\t")[2] for line in lines[first + 1 : first + 1 + n]]


@pytest.mark.parametrize("suffix", [".ang", ".ctf", ".h5"])
def test_same_names_are_told_apart(tmp_path, make_map, make_phase, suffix):
    phases = {
        1: make_phase("α", 225),
        2: make_phase("alpha", 225),
        3: make_phase("alpha", 229),
        4: make_phase("alpha"),
    }
    xmap = make_map(phases, [1, 2, 3, 4], (2, 2))
    save(tmp_path / f"a{suffix}", xmap)
    names = names_in(tmp_path / f"a{suffix}")
    assert names[0] == "alpha (Fm-3m)"
    assert names[2:] == ["alpha (Im-3m)", "alpha"]
    assert len(set(names)) == 4
    assert load(tmp_path / f"a{suffix}").phase_id.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("suffix", [".ang", ".ctf", ".h5"])
def test_same_names_keep_their_space_groups(round_trip, make_map, make_phase, suffix):
    phases = {1: make_phase("α", 225), 2: make_phase("alpha", 225), 3: make_phase("ἀ", 225)}
    loaded = round_trip(make_map(phases, [1, 2, 3, 1], (2, 2)), suffix)
    assert loaded.phase_id.tolist() == [1, 2, 3, 1]
    assert [i and i.number for i in loaded.phases.space_groups] == [225, 225, 225]
    assert len(set(loaded.phases.names)) == 3


@pytest.mark.parametrize("suffix", [".ang", ".ctf", ".h5"])
def test_name_that_another_one_would_be_given(tmp_path, make_map, make_phase, suffix):
    phases = {1: make_phase("a"), 2: make_phase("a 2"), 3: make_phase("a")}
    save(tmp_path / f"a{suffix}", make_map(phases, [1, 2, 3, 1], (2, 2)))
    assert len(set(names_in(tmp_path / f"a{suffix}"))) == 3


@pytest.mark.parametrize("suffix", [".ang", ".ctf", ".h5"])
def test_names_in_files(tmp_path, make_map, suffix):
    save(tmp_path / f"a{suffix}", make_map())
    expected = ["gamma'-Ni3Al (Pm-3m)", "alpha-Fe (Im-3m)", "Al2O3 (R-3c)"]
    assert names_in(tmp_path / f"a{suffix}") == expected


@pytest.mark.parametrize("suffix", [".ang", ".ctf", ".h5"])
def test_text_files_are_ascii(tmp_path, make_map, make_phase, suffix):
    phases = {1: make_phase("鉄\t\n ;,#", 229), 2: make_phase("", None)}
    save(tmp_path / f"a{suffix}", make_map(phases, np.array([1, 2, 2, 1]), (2, 2)))
    assert names_in(tmp_path / f"a{suffix}") == ["? ;,# (Im-3m)", "phase2"]
    loaded = load(tmp_path / f"a{suffix}")
    assert loaded.phase_id.tolist() == [1, 2, 2, 1]
    assert loaded.phases[1].space_group.number == 229
