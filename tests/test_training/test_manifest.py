import dask.array as da
import hyperspy.api as hs
import imageio.v3 as iio
import numpy as np
import pytest
from kikuchipy.signals import EBSD
from orix.crystal_map import CrystalMap, Phase, PhaseList

from kikuchipy_cnn import PatternTransform
from kikuchipy_cnn.simulation import load_library, save_master_pattern
from kikuchipy_cnn.training import manifest
from kikuchipy_cnn.training.labelled import LabelledPatterns


@pytest.fixture
def read(tmp_path):
    """Read a table of these lines."""

    def read(*lines, encoding="utf-8"):
        path = tmp_path / "table.csv"
        path.write_text("\n".join(lines) + "\n", encoding=encoding)
        return manifest.read_manifest(path, show_progressbar=False)

    return read


@pytest.fixture
def make_image(tmp_path, rng):
    """Write an image of random pixels, which tell it apart, and return these."""

    def make(name, shape=(44, 40), dtype=np.uint8):
        pattern = rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype)
        write(tmp_path / name, pattern)
        return pattern

    return make


def write(path, pattern):
    path.parent.mkdir(exist_ok=True, parents=True)
    iio.imwrite(path, pattern)


@pytest.fixture
def make_signal(tmp_path, rng):
    """Write a file of EBSD patterns, and return these in a row."""

    def make(name, shape=(2, 3), **kwargs):
        patterns = rng.integers(0, 255, (*shape, 42, 40), dtype=np.uint8)
        (tmp_path / name).parent.mkdir(exist_ok=True)
        signal = EBSD(patterns, static_background=np.ones((42, 40), np.uint8), **kwargs)
        signal.save(str(tmp_path / name))
        return patterns.reshape(-1, 42, 40)

    return make


def pixels(patterns):
    """Patterns as the sources give them, in the order of the labels."""
    return [
        np.asarray(patterns.sources[source].data[index])
        for source, index in zip(patterns.source, patterns.index, strict=True)
    ]


def labels(patterns):
    columns = (patterns.space_group, patterns.material, patterns.map_name, patterns.grain)
    return list(zip(*(column.tolist() for column in columns), strict=True))


class TestImages:
    def test_labels_and_maps(self, read, make_image):
        """By default, images of one folder and material are one map."""
        names = ("a/1.png", "b/1.tif", "a/2.bmp", "a/al.png", "b/named.tiff", "named.png")
        images = [make_image(name) for name in names]
        patterns = read(
            "file,space_group,material,map,grain",
            "a/1.png,225,Ni,,g1",
            "b/1.tif,Fm-3m,Ni,,",
            "a/2.bmp,F m -3 m,Ni,,g2",
            "a/al.png,225,Al,,",
            "b/named.tiff,229,,scan,",
            "named.png,229,Fe,scan,",
        )
        assert labels(patterns) == [
            (225, "Ni", "a", "g1"),
            (225, "Ni", "a", "g2"),
            (225, "Ni", "b", ""),
            (225, "Al", "a", ""),
            (229, "Im-3m", "scan", ""),
            (229, "Fe", "scan", ""),
        ]
        assert patterns.source.tolist() == [0, 0, 1, 2, 3, 3]
        for found, i in zip(pixels(patterns), (0, 2, 1, 3, 4, 5), strict=True):
            np.testing.assert_array_equal(found, images[i])

    def test_folder_and_wildcard(self, read, make_image, tmp_path):
        """More images than are read at once."""
        folder = {f"ni/{i:02}.PNG": make_image(f"ni/{i:02}.PNG") for i in range(35)}
        (tmp_path / "ni/notes.txt").write_text("not an image")
        wildcard = {name: make_image(name) for name in ("x/1/b_1.tif", "x/2/b_2.tif")}
        make_image("x/2/c_1.tif")
        patterns = read("file,space_group", "ni,225", "x/**/b_*.tif,229")
        assert patterns.counts() == {(225, "Fm-3m"): 35, (229, "Im-3m"): 2}
        assert patterns.map_name.tolist() == ["ni"] * 35 + ["x/1", "x/2"]
        expected = [*folder.values(), *wildcard.values()]
        np.testing.assert_array_equal(pixels(patterns), expected)
        assert isinstance(patterns.sources[0].data, da.Array)
        images, _ = patterns.images(PatternTransform(size=32), show_progressbar=False)
        np.testing.assert_array_equal(images, PatternTransform(size=32)(np.stack(expected))[0])

    def test_names_of_windows(self, read, make_image):
        images = [make_image(name) for name in ("Ni/1/a.png", "Ni/1/b.png", "Fe/a.png", "W/a.png")]
        patterns = read("file,space_group", r"Ni\1\*.png,225", r"Fe\a.png,229", "W\\,229")
        assert patterns.map_name.tolist() == ["Ni/1", "Ni/1", "Fe", "W"]
        np.testing.assert_array_equal(pixels(patterns), images)
        with pytest.raises(ValueError, match="line 3: file 'Fe/a.png' is given already"):
            read("file,space_group", "Fe/a.png,229", r"Fe\a.png,229")
        with pytest.raises(FileNotFoundError, match="there is no file .*Cu.*a.png"):
            read("file,space_group", r"Cu\a.png,225")

    def test_progress(self, make_image, tmp_path, monkeypatch, capfd):
        make_image("a.png")
        (tmp_path / "table.csv").write_text("file,space_group\na.png,225\n")
        for is_shown in (True, False):
            monkeypatch.setattr(hs.preferences.General, "show_progressbar", is_shown)
            manifest.read_manifest(tmp_path / "table.csv")
            assert ("1/1" in capfd.readouterr().err) == is_shown

    def test_nothing_is_read_but_some_patterns(self, read, make_image, monkeypatch):
        for i in range(300):
            make_image(f"{i}.bmp")
        opened = []
        imread = iio.imread
        monkeypatch.setattr(iio, "imread", lambda path: opened.append(path) or imread(path))
        patterns = read("file,space_group", "*.bmp,225")
        assert len(patterns) == 300 and len(opened) < 160

    def test_16_bits(self, read, make_image):
        image = make_image("a.png", dtype=np.uint16)
        found = pixels(read("file,space_group", "a.png,225"))[0]
        assert found.dtype == np.uint16
        np.testing.assert_array_equal(found, image)

    @pytest.mark.parametrize("channels", [2, 3, 4])
    def test_grey_of_several_channels(self, read, make_image, tmp_path, channels):
        grey = make_image("a.png")
        opaque = np.full_like(grey, 255)
        layers = {2: [grey, opaque], 3: [grey] * 3, 4: [*[grey] * 3, opaque]}[channels]
        write(tmp_path / "b.png", np.stack(layers, axis=-1))
        patterns = read("file,space_group", "a.png,225", "b.png,225")
        np.testing.assert_array_equal(pixels(patterns), [grey, grey])

    def test_colour(self, read, make_image, tmp_path):
        grey = make_image("a.png")
        write(tmp_path / "b.png", np.stack([grey, grey, 255 - grey], axis=-1))
        with pytest.raises(ValueError, match=r"table.csv', line 3: .*'b.png' is coloured\. Give"):
            read("file,space_group", "a.png,225", "b.png,225")

    def test_sizes_and_data_types_of_one_map(self, read, make_image):
        make_image("a.png", (44, 40))
        make_image("b.png", (40, 44))
        make_image("c.png", (44, 40), np.uint16)
        for name, size in (("b", "40 x 44 pixels of data type uint8"), ("c", "44 x 40 .* uint16")):
            with pytest.raises(
                ValueError,
                match=rf"line 3: the image '{name}.png' has {size}, but 'a.png' .* has 44 x 40 "
                "pixels of data type uint8. Give maps of their own",
            ):
                read("file,space_group", "a.png,225", f"{name}.png,225")
        patterns = read("file,space_group,map", "a.png,225,1", "b.png,225,2", "c.png,225,3")
        assert len(patterns.sources) == 3

    def test_too_small(self, read, make_image):
        make_image("a.png")
        make_image("b/b.png", (39, 60))
        with pytest.raises(
            ValueError, match="line 3: 'b/b.png': Patterns of 39 x 60 pixels are too small"
        ):
            read("file,space_group", "a.png,225", "b/b.png,225")

    def test_unreadable(self, read, make_image, tmp_path):
        make_image("a.png")
        whole = (tmp_path / "a.png").read_bytes()
        # Neither an image at all nor, which the header does not tell, a whole one.
        for content in (b"text", whole[: len(whole) // 2]):
            (tmp_path / "b.png").write_bytes(content)
            with pytest.raises(ValueError, match="line 3: the image 'b.png' cannot be read: "):
                read("file,space_group", "a.png,225", "b.png,225")

    def test_several_patterns_in_one_image(self, read, rng, tmp_path):
        iio.imwrite(tmp_path / "a.tif", rng.integers(0, 255, (5, 44, 40), dtype=np.uint8))
        with pytest.raises(
            ValueError, match=r"'a.tif' is of shape \(5, 44, 40\). Give each pattern as an image"
        ):
            read("file,space_group", "a.tif,225")


class TestSignals:
    def test_all_of_one_phase(self, read, make_signal):
        data = make_signal("maps/a.h5")
        patterns = read("file,space_group,material,map,grain", "maps/a.h5,227,Si,,wafer")
        assert labels(patterns) == [(227, "Si", "maps/a.h5", "wafer")] * 6
        assert patterns.sources[0].file == "maps/a.h5"
        assert isinstance(patterns.sources[0].data, da.Array)
        np.testing.assert_array_equal(pixels(patterns), data)

    def test_phases_of_the_crystal_map(self, read, make_signal):
        grid = CrystalMap.empty((2, 3))
        phases = PhaseList({0: Phase("Ni", 225), 1: Phase("Ni3Al", 221), -1: Phase("not_indexed")})
        ids = np.array([1, 0, -1, 0, 0, 1])
        xmap = CrystalMap(grid.rotations, ids, x=grid.x, y=grid.y, phase_list=phases)
        data = make_signal("a.h5", xmap=xmap)
        patterns = read("file,map", "a.h5,first")
        assert labels(patterns) == [
            (number, name, "first", "")
            for number, name in ((221, "Ni3Al"), *[(225, "Ni")] * 3, (221, "Ni3Al"))
        ]
        np.testing.assert_array_equal(pixels(patterns), data[[0, 1, 3, 4, 5]])

    def test_wildcard_gives_maps_of_their_own(self, read, make_signal):
        data = [make_signal(f"{name}.h5", (2,)) for name in "ab"]
        patterns = read("file,space_group", "*.h5,225")
        assert patterns.map_name.tolist() == ["a.h5"] * 2 + ["b.h5"] * 2
        np.testing.assert_array_equal(pixels(patterns), np.concatenate(data))

    def test_errors(self, read, make_signal, tmp_path):
        make_signal("a.h5")
        with pytest.raises(ValueError, match="line 2: 'a.h5': Phase .* no space group. Give the"):
            read("file,space_group", "a.h5,")
        (tmp_path / "b.h5").write_bytes(b"text")
        with pytest.raises(ValueError, match="line 2: kikuchipy cannot read 'b.h5': "):
            read("file,space_group", "b.h5,225")
        (tmp_path / "c.xyz").write_bytes(b"text")
        with pytest.raises(ValueError, match="line 2: kikuchipy cannot read 'c.xyz': "):
            read("file,space_group", "c.xyz,225")
        save_master_pattern(tmp_path / "d.h5", load_library().signal("Al"))
        with pytest.raises(ValueError, match="line 2: 'd.h5' holds <.*MasterPattern, .* Give a"):
            read("file,space_group", "d.h5,225")


class TestSimulation:
    def test_patterns_of_the_catalogue(self, read):
        patterns = read(
            "phase,number,seed,material,map,space_group",
            "Ni,2,,,,",
            "Ni,3,7,nickel,mine,Fm-3m",
        )
        assert labels(patterns) == [
            *((225, "Ni", "Ni (simulated, seed 0)", str(i)) for i in (1, 2)),
            *((225, "nickel", "mine", str(i)) for i in (1, 2, 3)),
        ]
        assert np.isfinite(patterns.rotation).all()
        expected = LabelledPatterns.from_simulation(["Ni"], 3, seed=7, show_progressbar=False)
        np.testing.assert_array_equal(pixels(patterns)[2:], expected.sources[0].data)

    def test_cif(self, read, tmp_path, monkeypatch, gallium_nitride):
        from kikuchipy.signals import EBSDMasterPattern

        monkeypatch.setattr(
            "kikuchipy_cnn.simulation.simulate_master_pattern",
            lambda phase, **kwargs: EBSDMasterPattern(
                load_library()["Al"], projection="lambert", hemisphere="both", phase=phase
            ),
        )
        (tmp_path / "cifs").mkdir()
        (tmp_path / "cifs/gan.cif").write_text(
            gallium_nitride.format(symmetry="_symmetry_space_group_name_H-M 'P 63 m c'")
        )
        for name in ("cifs/gan.cif", r"cifs\gan.cif"):
            patterns = read("phase,number", f"{name},2")
            assert patterns.counts() == {(186, "gan"): 2}

    def test_default_number(self, read, monkeypatch):
        asked = []

        def from_simulation(phases, n, *, seed, **kwargs):
            asked.append((phases, n, seed))
            raise ValueError("stop")

        monkeypatch.setattr(LabelledPatterns, "from_simulation", from_simulation)
        with pytest.raises(ValueError, match="line 2: stop"):
            read("phase", "Ge")
        assert asked == [(["Ge"], 500, 0)]

    def test_broken_cif(self, read, tmp_path):
        (tmp_path / "a.cif").write_text("data_a\n_cell_length_a 3\n")
        with pytest.raises(ValueError, match="line 2: 'a.cif': .* has no atoms"):
            read("phase", "a.cif")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_as_spreadsheets_write_it(read, make_image, encoding):
    """Mark in front, spaces, an empty row, values in quotes."""
    make_image("a.png")
    patterns = read(
        "file, space_group ,material", "", ",,", '"a.png", 225,"Fe, α"', encoding=encoding
    )
    assert labels(patterns)[0][:2] == (225, "Fe, α")


HEADER = "file,phase,space_group,material,map,grain,number,seed"


class TestErrors:
    @pytest.mark.parametrize(
        ("line", "match"),
        [
            ("a.png,,999,,,,,", "space_group '999' is no space group. Give a number from 1 to 230"),
            ("a.png,,0,,,,,", "space_group '0'"),
            ("a.png,,-5,,,,,", "space_group '-5'"),
            ("a.png,,Fm-3q,,,,,", "space_group 'Fm-3q' .* such as Fm-3m"),
            ("a.png,,,,,,,", "'a.png' has no crystal map .* Give its space_group"),
            ("a.png,,,Ni,,,,", "material 'Ni' is given without its space_group"),
            ("a.png,Ni,225,,,,,", "file is 'a.png' and phase is 'Ni'. Give either"),
            (",,225,,,,,", "file is '' and phase is ''. Give either"),
            ("a.png,,225,,,,7,", "number '7' says nothing about a file"),
            ("a.png,,225,,,,,7", "seed '7' says nothing about a file"),
            (",Ni,,,,7,,", "grain '7' says nothing about simulated"),
            (",Ni,,,,,0,", "number '0' is no whole number of at least 1"),
            (",Ni,,,,,-3,", "number '-3'"),
            (",Ni,,,,,some,", "number 'some' is .* leave it empty for 500"),
            (",Ni,,,,,,x", "seed 'x' is no whole number of at least 0"),
            (",Unobtainium,,,,,,", "'Unobtainium' is neither a phase of the catalogue nor a .cif"),
            (",Ni,229,,,,,", "space_group is 229, but 'Ni' has 225. Correct it or leave it empty"),
            ("a.png,,225,,,,,,more", "more values than the 8 columns .* more is left over"),
        ],
    )
    def test_rows(self, read, make_image, line, match):
        make_image("a.png")
        make_image("good.png")
        with pytest.raises(ValueError, match=rf"table.csv', line 3: .*{match}"):
            read(HEADER, "good.png,,225,,,,,", line)

    @pytest.mark.parametrize("name", ["none.png", "none.h5", "no*.png", "none"])
    def test_missing_file(self, read, tmp_path, name):
        match = rf"line 2: there is no file '{name.replace('*', '.')}'.*relative to '{tmp_path}'"
        with pytest.raises(FileNotFoundError, match=match):
            read("file,space_group", f"{name},225")
        with pytest.raises(FileNotFoundError, match="line 2: there is no file 'none.cif'"):
            read("phase", "none.cif")

    def test_folder_without_images(self, read, tmp_path):
        (tmp_path / "empty").mkdir()
        with pytest.raises(FileNotFoundError, match="line 2: there are no images .* 'empty'"):
            read("file,space_group", "empty,225")

    def test_given_twice(self, read, make_image):
        """Patterns that are there twice would be in the training and in the test."""
        make_image("a/1.png")
        with pytest.raises(
            ValueError, match="line 3: file 'a/1.png' is given already by .*line 2. Give it once"
        ):
            read("file,space_group", "a,225", "a/../a/1.png,225")
        with pytest.raises(ValueError, match="line 3: phase 'Ni' is given already by .*line 2"):
            read("phase,seed", "Ni,0", "Ni,")

    @pytest.mark.parametrize(
        ("lines", "match"),
        [
            (["file;space_group", "a;225"], "one column, 'file;space_group'. Save it with commas"),
            (["file\tspace_group", "a\t225"], "one column, .*not semicolons or tabs. The columns"),
            (["datei", "a"], "unknown columns: 'datei'. .* with commas"),
            (["file,group,color", "a,1,2"], "unknown columns: 'group', 'color'. The columns are f"),
            (["file,map,file", "a,b,c"], "columns twice: file"),
            (["space_group,map", "225,a"], "neither a column file nor a column phase"),
            ([""], "neither a column file"),
            (["file,space_group"], "has no rows"),
            (["file,space_group", ",", ""], "has no rows"),
            (["file,map", '"a.png,b'], "line 2: unexpected end of data"),
        ],
    )
    def test_tables(self, read, lines, match):
        with pytest.raises(ValueError, match=rf"table.csv'.*{match}"):
            read(*lines)

    def test_files(self, read, tmp_path):
        with pytest.raises(FileNotFoundError, match="There is no manifest"):
            manifest.read_manifest(tmp_path / "none.csv")
        with pytest.raises(ValueError, match="table.csv' is not in UTF-8: .* Save it as CSV"):
            read("file,material", "a.png,α", encoding="utf-16")

    def test_before_anything_is_read(self, read, make_image, make_signal, monkeypatch):
        """The last row is wrong, which shows before the first is worked on."""
        make_image("a.png")
        make_signal("b.h5")
        make_image("c/c.png", (30, 30))

        def fail(*args, **kwargs):
            raise AssertionError("read too early")

        monkeypatch.setattr(iio, "imread", fail)
        monkeypatch.setattr(manifest.PatternSource, "from_signal", fail)
        monkeypatch.setattr(LabelledPatterns, "from_simulation", fail)
        good = [HEADER, "a.png,,225,,,,,", "b.h5,,225,,,,,", ",Ni,,,,,,"]
        for last in ("c/c.png,,225,,,,,", "none.png,,225,,,,,", ",Nothing,,,,,,"):
            with pytest.raises((ValueError, FileNotFoundError), match="line 5: "):
                read(*good, last)
