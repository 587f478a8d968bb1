"""Patterns that come while they are classified."""

import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import h5py
import imageio.v3 as iio
import kikuchipy as kp
import numpy as np
import pytest

from kikuchipy_cnn import classify_space_group
from kikuchipy_cnn.watching import PatternStream
from kikuchipy_cnn.watching.growing_file import GrowingFile
from kikuchipy_cnn.watching.hdf5 import HDF5Patterns
from kikuchipy_cnn.watching.images import ImageFolder
from kikuchipy_cnn.watching.nordif import NordifPatterns
from kikuchipy_cnn.watching.opening import check_name_pattern, open_source
from kikuchipy_cnn.watching.rows import Rows
from kikuchipy_cnn.watching.source import NotReady

SHAPE = (4, 6)
NAME = "Scan 1/EBSD/Data/patterns"
SETTINGS = Path(kp.__file__).parent / "data/nordif/Setting.txt"


@pytest.fixture(scope="session")
def patterns():
    """Patterns of a map, of shape (24, 60, 60), no two of which are the same."""
    nickel = kp.data.nickel_ebsd_small().data.reshape(-1, 60, 60)
    rng = np.random.default_rng(0)
    several = np.tile(nickel, (3, 1, 1))[: np.prod(SHAPE)]
    return np.clip(several + rng.normal(0, 8, several.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def stream(tiny_bundle):
    """Function that makes a stream that looks often, in single precision."""

    def stream(path, **settings):
        settings = {"interval": 0.02, "timeout": 60, "precision": "float32"} | settings
        return PatternStream(path, tiny_bundle, report=lambda _: None, **settings)

    return stream


def write_hdf5(path, patterns, n=None, **settings):
    """Make a file of a map in which only the first patterns are written."""
    patterns = patterns.copy()
    patterns[len(patterns) if n is None else n :] = 0
    signal = kp.signals.EBSD(patterns.reshape(*SHAPE, 60, 60), **settings)
    signal.save(path, overwrite=True)


def write_settings(folder, shape=SHAPE):
    text = SETTINGS.read_text(encoding="latin-1")
    assert "Number of samples\t3x3\t" in text
    text = text.replace("samples\t3x3\t", f"samples\t{shape[0]}x{shape[1]}\t")
    (folder / "Setting.txt").write_text(text, encoding="latin-1")


def write_images(folder, patterns, suffix="tif", name="map_x{x}y{y}.{suffix}"):
    for i, pattern in enumerate(patterns):
        y, x = divmod(i, SHAPE[1])
        iio.imwrite(folder / name.format(x=x, y=y, i=i, suffix=suffix), pattern)


def assert_same(xmap, expected):
    assert xmap.shape == expected.shape
    assert (xmap.dx, xmap.dy, xmap.scan_unit) == (expected.dx, expected.dy, expected.scan_unit)
    np.testing.assert_array_equal(xmap.is_in_data, expected.is_in_data)
    np.testing.assert_array_equal(xmap.phase_id, expected.phase_id)
    assert list(xmap.prop) == list(expected.prop)
    for name in expected.prop:
        np.testing.assert_allclose(xmap.prop[name], expected.prop[name], atol=2e-6, err_msg=name)


def classified(signal, model):
    return classify_space_group(signal, model, precision="float32", show_progressbar=False)


class Writer:
    """Another process that writes the next patterns when it is told to."""

    def __init__(self, code, *arguments):
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout.readline() == "ready\n"

    def write(self, start, stop):
        self._process.stdin.write(f"{start} {stop}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "written\n"

    def close(self):
        self._process.stdin.close()
        assert self._process.wait(30) == 0


LOOP = """
print("ready", flush=True)
for line in sys.stdin:
    start, stop = map(int, line.split())
    write(start, stop)
    print("written", flush=True)
"""
# The file stays open for writing.
HDF5_WRITER = (
    """
import sys, h5py, numpy as np
patterns = np.load(sys.argv[2])
file = h5py.File(sys.argv[1], "r+")
data = file["Scan 1/EBSD/Data/patterns"]
def write(start, stop):
    data[start:stop] = patterns[start:stop]
    file.flush()
"""
    + LOOP
)
SWMR_WRITER = (
    """
import sys, h5py, numpy as np
patterns = np.load(sys.argv[2])
source = h5py.File(sys.argv[1].replace("swmr", "full"))
file = h5py.File(sys.argv[1], "w", libver="latest")
for name in source:
    source.copy(name, file)
name = "Scan 1/EBSD/Data/patterns"
del file[name]
shape = (1, *patterns.shape[1:])
data = file.create_dataset(
    name, (0, *shape[1:]), patterns.dtype, maxshape=(None, *shape[1:]), chunks=shape
)
file.swmr_mode = True
def write(start, stop):
    data.resize(stop, axis=0)
    data[start:stop] = patterns[start:stop]
    data.flush()
"""
    + LOOP
)


class TestFile:
    def follow(self, stream, writer, path, patterns, steps):
        """Write a part after each round, and return the rounds."""
        np.save(path.parent / "patterns.npy", patterns)
        writing = Writer(writer, path, path.parent / "patterns.npy")
        steps = [0, *steps]
        writing.write(*steps[:2])
        rounds = []
        todo = list(zip(steps[1:], steps[2:], strict=False))
        for part in stream:
            rounds.append(part)
            if todo:
                writing.write(*todo.pop(0))
        writing.close()
        return rounds

    def test_preallocated(self, patterns, stream, tiny_bundle, tmp_path):
        path = tmp_path / "scan.h5"
        write_hdf5(path, patterns, 0)
        rounds = self.follow(stream(path), HDF5_WRITER, path, patterns, (10, 12, 20, 24))
        # The last pattern that is there may not be complete.
        assert [part.n_done for part in rounds][:3] == [9, 11, 19]
        assert sum(part.n_new for part in rounds) == rounds[-1].n_done == 24
        assert_same(rounds[-1].xmap, classified(kp.load(path), tiny_bundle))

    def test_extended_for_readers(self, patterns, stream, tiny_bundle, tmp_path):
        path = tmp_path / "swmr.h5"
        write_hdf5(tmp_path / "full.h5", patterns)
        rounds = self.follow(stream(path), SWMR_WRITER, path, patterns, (10, 24))
        assert [part.n_done for part in rounds][0] == 9
        assert_same(rounds[-1].xmap, classified(kp.load(tmp_path / "full.h5"), tiny_bundle))

    def test_nordif(self, patterns, stream, tiny_bundle, tmp_path):
        path = tmp_path / "Pattern.dat"
        write_settings(tmp_path)
        content = patterns.tobytes()
        path.write_bytes(content[: 10 * 3600 + 100])
        following = stream(path)
        rounds = []
        for part in following:
            rounds.append(part)
            path.write_bytes(content[: [15 * 3600 + 3599, 24 * 3600][len(rounds) > 1]])
        assert [part.n_done for part in rounds] == [10, 15, 24]
        assert following.ended == "complete"
        with pytest.warns(UserWarning, match="static background"):
            assert_same(rounds[-1].xmap, classified(kp.load(path), tiny_bundle))

    def test_map_so_far(self, patterns, stream, tmp_path):
        path = tmp_path / "Pattern.dat"
        write_settings(tmp_path)
        path.write_bytes(patterns[:10].tobytes())
        part = next(iter(stream(path)))
        assert part.xmap.is_in_data.tolist() == [True] * 10 + [False] * 14
        assert part.n_expected == 24
        assert part.xmap.size == sum(part.counts.values()) == 10
        assert part.xmap.dx == 1.5
        assert 0 <= part.latency < 60
        assert "10 of 24 patterns" in str(part)

    def test_nothing_read_twice(self, patterns, tmp_path, monkeypatch):
        path = tmp_path / "Pattern.dat"
        write_settings(tmp_path)
        read = []
        fromfile = np.fromfile
        monkeypatch.setattr(
            np,
            "fromfile",
            lambda *a, offset: read.append((offset, a[2])) or fromfile(*a, offset=offset),
        )
        source = GrowingFile(NordifPatterns(path)) if path.exists() else None
        assert source is None
        path.write_bytes(patterns[:10].tobytes())
        source = GrowingFile(NordifPatterns(path))
        assert len(source.look().patterns) == 10
        assert len(source.look().patterns) == 0
        path.write_bytes(patterns.tobytes())
        np.testing.assert_array_equal(source.look().patterns, patterns[10:])
        assert [i for i in read if i[1]] == [(0, 36000), (36000, 14 * 3600)]

    def test_constant_patterns(self, patterns, stream, tiny_bundle, tmp_path):
        patterns = patterns.copy()
        patterns[[3, 14, 15]] = 7
        path = tmp_path / "scan.h5"
        write_hdf5(path, patterns, 15)
        source = GrowingFile(HDF5Patterns(path))
        # Patterns 14 and 15 may not be written yet, and 13 may not be complete.
        assert len(source.look().patterns) == 13
        write_hdf5(path, patterns)
        assert len(source.look().patterns) == 10
        assert len(source.look().patterns) == 1
        with pytest.warns(UserWarning, match="3 of 24 patterns are constant"):
            rounds = list(stream(path))
        with pytest.warns(UserWarning, match="3 of 24 patterns are constant"):
            assert_same(rounds[-1].xmap, classified(kp.load(path), tiny_bundle))

    def test_many_constant_patterns(self, patterns, tmp_path, monkeypatch):
        monkeypatch.setattr("kikuchipy_cnn.watching.growing_file._BLOCK_BYTES", 2 * 3600)
        patterns = patterns.copy()
        patterns[2:9] = 0
        path = tmp_path / "scan.h5"
        write_hdf5(path, patterns, 10)
        source = GrowingFile(HDF5Patterns(path))
        assert len(source.look(last=True).patterns) == 10
        source = GrowingFile(HDF5Patterns(path))
        found = [len(source.look().patterns)]
        write_hdf5(path, patterns, 20)
        found.append(len(source.look().patterns))
        assert found[0] in (1, 9)
        assert sum(found) == 19

    def test_unfinished_pattern(self, patterns, tmp_path):
        half = patterns.copy()
        half[5, 30:] = 0
        path = tmp_path / "scan.h5"
        write_hdf5(path, half, 6)
        source = GrowingFile(HDF5Patterns(path))
        first = source.look()
        assert len(first.patterns) == 5
        assert len(source.look().patterns) == 0
        write_hdf5(path, patterns, 8)
        np.testing.assert_array_equal(source.look().patterns, patterns[5:7])

    def test_bounded_memory(self, patterns, stream, tiny_bundle, tmp_path, monkeypatch):
        monkeypatch.setattr("kikuchipy_cnn.watching.growing_file.CHUNK_BYTES", 10 * 3600)
        path = tmp_path / "scan.h5"
        write_hdf5(path, patterns)
        source = GrowingFile(HDF5Patterns(path))
        looks = [source.look() for _ in range(4)]
        # The last one of each is read again, except for the last one of the map.
        assert [(len(look.patterns), look.more) for look in looks] == [
            (9, True),
            (9, True),
            (5, False),
            (1, False),
        ]
        rounds = list(stream(path))
        assert_same(rounds[-1].xmap, classified(kp.load(path), tiny_bundle))

    def test_background(self, patterns, stream, tiny_bundle, tmp_path):
        path = tmp_path / "scan.h5"
        background = np.clip(patterns.mean(axis=0), 1, 255).astype(np.uint8)
        write_hdf5(path, patterns, static_background=background)
        following = stream(path)
        rounds = list(following)
        np.testing.assert_array_equal(following.static_background, background)
        assert_same(rounds[-1].xmap, classified(kp.load(path), tiny_bundle))
        without = stream(path, static_background=False)
        list(without)
        assert without.static_background is None

    def test_circular_detector(self, patterns, stream, tiny_bundle, tmp_path):
        y, x = np.mgrid[:60, :60] - 29.5
        outside = x**2 + y**2 > 30**2
        path = tmp_path / "scan.h5"
        write_hdf5(path, np.where(outside, 0, patterns).astype(np.uint8))
        following = stream(path)
        rounds = list(following)
        assert following.signal_mask.mean() == pytest.approx(outside.mean(), abs=0.05)
        assert_same(rounds[-1].xmap, classified(kp.load(path), tiny_bundle))

    def test_shorter(self, patterns, tmp_path):
        path = tmp_path / "Pattern.dat"
        write_settings(tmp_path)
        path.write_bytes(patterns[:10].tobytes())
        source = GrowingFile(NordifPatterns(path))
        source.look()
        path.write_bytes(patterns[:4].tobytes())
        with pytest.raises(ValueError, match="replaced by a shorter file"):
            source.look()

    def test_gone(self, patterns, tmp_path):
        path = tmp_path / "scan.h5"
        write_hdf5(path, patterns)
        source = GrowingFile(HDF5Patterns(path))
        path.unlink()
        with pytest.raises(NotReady, match="cannot be read now"):
            source.look()

    @pytest.mark.parametrize("libver", ["earliest", "latest"])
    def test_open_for_writing(self, patterns, tmp_path, libver):
        path = tmp_path / "scan.h5"
        write_hdf5(tmp_path / "full.h5", patterns)
        np.save(tmp_path / "patterns.npy", patterns)
        code = SWMR_WRITER.replace("file.swmr_mode = True", "file.flush()")
        code = code.replace('"swmr", "full"', '"scan", "full"').replace('"latest"', f'"{libver}"')
        code = code.replace("file.flush()\ndef", "data.resize(2, axis=0); file.flush()\ndef")
        writing = Writer(code, path, tmp_path / "patterns.npy")
        writing.write(0, 5)
        if libver == "latest":
            with pytest.raises(NotReady, match="lets nobody read it: it would have to write"):
                HDF5Patterns(path)
        writing.close()
        assert len(GrowingFile(HDF5Patterns(path)).look().patterns) == 4

    def test_locked(self, patterns, tmp_path):
        path = tmp_path / "scan.h5"
        write_hdf5(path, patterns, 3)
        np.save(tmp_path / "patterns.npy", patterns)
        writing = Writer(HDF5_WRITER, path, tmp_path / "patterns.npy")
        with pytest.raises(OSError, match="unable to lock"):
            h5py.File(path)
        source = GrowingFile(HDF5Patterns(path))
        assert len(source.look().patterns) == 2
        writing.write(3, 8)
        assert len(source.look().patterns) == 5
        writing.close()

    @pytest.mark.parametrize("make", ["edax", "bruker", "bruker_roi", "oxford"])
    def test_other_manufacturers(self, make, tmp_path):
        path = tmp_path / ("patterns.h5oina" if make == "oxford" else "patterns.h5")
        if make == "edax":
            shutil.copy(Path(kp.__file__).parent / "data/edax_h5ebsd/patterns.h5", path)
        else:
            makers = pytest.importorskip(
                f"kikuchipy.data._dummy_files.{make.removesuffix('_roi')}_h5ebsd"
            )
            manufacturer, *roi = make.split("_")
            name = "_".join(["create_dummy", manufacturer, "h5ebsd", *roi, "file"])
            getattr(makers, name)(path)
        whole = kp.load(path).data
        name = HDF5Patterns(path)._name
        with h5py.File(path, "r+") as file:
            file[name][-2:] = 0  # the last ones of the file, if not of the map
            with pytest.raises(NotReady, match="open in this process"):
                HDF5Patterns(path)
        source = GrowingFile(HDF5Patterns(path))
        read = source.look(last=True).patterns
        positions = source.layout(len(read)).positions
        whole = whole.reshape(-1, *whole.shape[-2:])
        np.testing.assert_array_equal(read, whole[positions])
        assert source.n_expected == len(whole) == len(read) + 2

    def test_unreadable(self, tmp_path, patterns):
        path = tmp_path / "scan.h5"
        path.write_bytes(b"not HDF5")
        with pytest.raises(NotReady, match="cannot be read now"):
            HDF5Patterns(path)
        with h5py.File(path, "w") as file:
            file["version"] = "1"
        with pytest.raises(NotReady, match="no manufacturer yet"):
            HDF5Patterns(path)
        with h5py.File(path, "w") as file:
            file["manufacturer"] = "kikuchipy"
        with pytest.raises(NotReady, match="no scan yet"):
            HDF5Patterns(path)
        with h5py.File(path, "r+") as file:
            file.create_dataset(NAME, (0, 60, 60), "u1")
        with pytest.raises(NotReady, match="no patterns yet"):
            HDF5Patterns(path)
        with h5py.File(path, "r+") as file:
            del file[NAME]
            file[NAME] = patterns
        with pytest.raises(NotReady, match="kikuchipy cannot read"):
            HDF5Patterns(path)
        with h5py.File(path, "r+") as file:
            del file[NAME]
            file[NAME] = patterns.ravel()
        with pytest.raises(ValueError, match="1 dimensions"):
            HDF5Patterns(path)
        with h5py.File(path, "w") as file:
            file["manufacturer"] = "somebody"
        with pytest.raises(ValueError, match="manufacturer 'somebody'"):
            HDF5Patterns(path)
        with pytest.raises(NotReady, match="No setting file"):
            (tmp_path / "Pattern.dat").write_bytes(b"1")
            NordifPatterns(tmp_path / "Pattern.dat")


class TestFolder:
    @pytest.mark.parametrize("suffix", ["tif", "png", "bmp"])
    def test_complete(self, suffix, patterns, stream, tiny_bundle, tmp_path):
        write_images(tmp_path, patterns[:11], suffix)
        following = stream(tmp_path, shape=SHAPE)
        rounds = []
        for part in following:
            rounds.append(part)
            write_images(tmp_path, patterns, suffix)
        assert following.ended == "complete"
        assert [part.n_done for part in rounds][0] in (10, 11)
        expected = classified(kp.load(tmp_path / f"*.{suffix}", lazy=True), tiny_bundle)
        assert_same(rounds[-1].xmap, expected)

    def test_written_by_another_thread(self, patterns, stream, tiny_bundle, tmp_path):
        writing = threading.Thread(target=write_images, args=(tmp_path, patterns))
        following = stream(tmp_path / "*.tif", timeout=1)
        writing.start()
        rounds = list(following)
        writing.join()
        assert following.ended == "timeout"
        assert_same(
            rounds[-1].xmap, classified(kp.load(tmp_path / "*.tif", lazy=True), tiny_bundle)
        )

    def test_unfinished_image(self, patterns, tmp_path):
        write_images(tmp_path, patterns[:3], "png")
        whole = (tmp_path / "map_x1y0.png").read_bytes()
        (tmp_path / "map_x1y0.png").write_bytes(whole[:1500])
        time.sleep(0.02)
        write_images(tmp_path, patterns[3:4], "png", "map_x3y0.png")
        source = ImageFolder(tmp_path)
        read = []
        original = source._read
        source._read = lambda name, stamp: read.append(name) or original(name, stamp)
        np.testing.assert_array_equal(source.look().patterns, patterns[[0, 2]])
        # The newest one, which may not be complete, is the same now; the broken one is left.
        np.testing.assert_array_equal(source.look().patterns, patterns[[3]])
        assert len(source.look().patterns) == 0
        assert len(read) == 4
        (tmp_path / "map_x1y0.png").write_bytes(whole)
        found = [*source.look().patterns, *source.look().patterns]
        np.testing.assert_array_equal(found, patterns[[1]])
        assert source.layout(4).positions.tolist() == [0, 2, 3, 1]

    def test_line(self, patterns, stream, tmp_path):
        for i in (2, 10, 1):
            iio.imwrite(tmp_path / f"pattern{i}.png", patterns[i])
        source = ImageFolder(tmp_path)
        first = source.look(last=True).patterns
        order = source.layout(3).positions
        np.testing.assert_array_equal(first[np.argsort(order)], patterns[[1, 2, 10]])
        assert source.layout(3).scan["navigation_shape"] == (3,)

    def test_more_than_places(self, patterns, tmp_path):
        for i in range(7):
            iio.imwrite(tmp_path / f"pattern{i}.png", patterns[i])
        source = ImageFolder(tmp_path, shape=(2, 3))
        with pytest.raises(ValueError, match=r"shape=\(2, 3\) has places for 6 .*'pattern6.png'"):
            source.look(last=True)

    def test_own_names(self, patterns, tmp_path):
        write_images(tmp_path, patterns[:8], name="r{y}c{x}.{suffix}")
        iio.imwrite(tmp_path / "background.tif", patterns[0])
        told = []
        source = ImageFolder(tmp_path, name_pattern=r"r(?P<y>\d+)c(?P<x>\d+)", report=told.append)
        read = source.look(last=True).patterns
        layout = source.layout(8)
        assert layout.scan["navigation_shape"] == (2, 6)
        np.testing.assert_array_equal(read, patterns[layout.positions])
        assert len(told) == 1
        assert "'background.tif', are left out" in told[0]

    def test_constant_image(self, patterns, tmp_path):
        constant = patterns[:3].copy()
        constant[2] = 0
        write_images(tmp_path, constant)
        np.testing.assert_array_equal(ImageFolder(tmp_path).look(last=True).patterns, constant)

    def test_other_shape(self, patterns, stream, tmp_path):
        write_images(tmp_path, patterns[:10])
        rounds = iter(stream(tmp_path))
        next(rounds)
        iio.imwrite(tmp_path / "map_x0y3.tif", patterns[0, :50])
        with pytest.raises(ValueError, match="50 x 60 pixels of uint8, but 'map_.*' has 60 x 60"):
            list(rounds)

    def test_color(self, patterns, tmp_path):
        iio.imwrite(tmp_path / "map_x0y0.png", np.stack([patterns[0]] * 3, axis=-1))
        with pytest.raises(ValueError, match="rows and columns only"):
            ImageFolder(tmp_path).look(last=True)

    def test_same_position(self, patterns, tmp_path):
        write_images(tmp_path, patterns[:1])
        write_images(tmp_path, patterns[:1], "png")
        with pytest.raises(ValueError, match="have the same position"):
            ImageFolder(tmp_path).look(last=True)

    def test_other_map(self, patterns, tmp_path):
        write_images(tmp_path, patterns)
        source = ImageFolder(tmp_path, shape=(2, 6))
        source.look(last=True)
        with pytest.raises(ValueError, match="4 rows and 6 columns, but shape=\\(2, 6\\)"):
            source.layout(24)

    def test_bounded_memory(self, patterns, tmp_path, monkeypatch):
        monkeypatch.setattr("kikuchipy_cnn.watching.images.CHUNK_BYTES", 10 * 3600)
        write_images(tmp_path, patterns)
        source = ImageFolder(tmp_path)
        looks = [source.look(last=True) for _ in range(3)]
        assert [(len(look.patterns), look.more) for look in looks] == [
            (10, True),
            (10, True),
            (4, False),
        ]

    def test_gone(self, patterns, tmp_path):
        source = ImageFolder(tmp_path / "none")
        with pytest.raises(NotReady, match="cannot be read now"):
            source.look()


class TestOpening:
    def test_nothing_yet(self, tmp_path, patterns):
        for path in (tmp_path / "scan.h5", tmp_path / "scan"):
            with pytest.raises(NotReady, match="There is no '.*scan"):
                open_source(path)
        with pytest.raises(NotReady, match="no folder"):
            open_source(tmp_path / "scan" / "*.tif")
        with pytest.raises(NotReady, match="has 0 image"):
            open_source(tmp_path)
        iio.imwrite(tmp_path / "Background acquisition pattern.bmp", patterns[0])
        with pytest.raises(NotReady, match="has 1 image"):
            open_source(tmp_path)
        write_settings(tmp_path)
        with pytest.raises(NotReady, match="settings of NORDIF"):
            open_source(tmp_path)
        (tmp_path / "Pattern.dat").write_bytes(patterns[:3].tobytes())
        assert open_source(tmp_path).n_expected == 24

    def test_ambiguous(self, tmp_path):
        for name in ("a.h5", "b.h5"):
            (tmp_path / name).write_bytes(b"")
        with pytest.raises(ValueError, match="files a.h5, b.h5. Give the one"):
            open_source(tmp_path)

    def test_unsupported(self, tmp_path):
        for name in ("patterns.up1", "nothing.ebsp"):
            with pytest.raises(ValueError, match="cannot be watched"):
                open_source(tmp_path / name)

    def test_shape_of_a_file(self, tmp_path, patterns):
        write_hdf5(tmp_path / "scan.h5", patterns)
        with pytest.raises(ValueError, match="give them for images only"):
            open_source(tmp_path / "scan.h5", shape=(4, 6))

    @pytest.mark.parametrize(("name", "match"), [("(", "no regular"), (r"(\d+)", "1 group")])
    def test_name_pattern(self, name, match):
        with pytest.raises(ValueError, match=match):
            check_name_pattern(name)


class TestStream:
    def test_stop(self, patterns, stream, tmp_path):
        write_images(tmp_path, patterns[:12])
        following = stream(tmp_path, timeout=None)
        rounds = []
        for part in following:
            rounds.append(part)
            following.stop()
        assert following.ended == "stopped"
        assert len(rounds) == 1
        assert list(following) == []

    def test_begun_twice(self, patterns, stream, tmp_path):
        """Patterns would count twice, and come to lie in wrong places."""
        write_hdf5(tmp_path / "map.h5", patterns)
        following = stream(tmp_path / "map.h5")
        next(iter(following))
        with pytest.raises(RuntimeError, match="has been begun already"):
            list(following)

    def test_stop_while_waiting(self, stream, tmp_path):
        following = stream(tmp_path / "none", timeout=None)
        threading.Timer(0.1, following.stop).start()
        assert list(following) == []
        assert following.ended == "stopped"

    def test_timeout(self, patterns, stream, tmp_path):
        path = tmp_path / "scan.h5"
        write_hdf5(path, patterns, 4)
        following = stream(path, timeout=0.1)
        rounds = list(following)
        assert following.ended == "timeout"
        # Fewer than are asked for to find the mask, and the last one as it is.
        assert [part.n_done for part in rounds] == [4]

    def test_nothing_comes(self, patterns, stream, tmp_path):
        with pytest.raises(TimeoutError, match="No pattern has come for 0.05 s. There is no"):
            list(stream(tmp_path / "none", timeout=0.05))
        write_hdf5(tmp_path / "scan.h5", patterns, 0)
        with pytest.raises(TimeoutError, match="No pattern has come for 0.05 s."):
            list(stream(tmp_path / "scan.h5", timeout=0.05))

    def test_waits_with_a_message(self, patterns, tiny_bundle, tmp_path):
        told = []
        path = tmp_path / "scan.h5"

        def report(text):
            told.append(text)
            write_hdf5(path, patterns)

        rounds = list(PatternStream(path, tiny_bundle, interval=0.02, report=report))
        assert rounds[-1].n_done == 24
        assert told == [f"Waiting: There is no '{path}'."]

    @pytest.mark.parametrize(
        ("settings", "match"),
        [
            ({"interval": 0}, "interval=0 must"),
            ({"timeout": -1}, "timeout=-1 must"),
            ({"shape": (0, 3)}, "shape=0 must"),
            ({"batch_size": 0}, "batch_size=0 must"),
            ({"name_pattern": "x"}, "has 0 group"),
            ({"engine": "none"}, "engine='none'"),
            ({"max_risk": 0.01}, "does not know its risk"),
        ],
    )
    def test_arguments(self, settings, match, stream):
        with pytest.raises(ValueError, match=match):
            stream("anything", **settings)

    def test_too_small(self, stream, tmp_path, patterns):
        write_images(tmp_path, patterns[:10, :30])
        with pytest.raises(ValueError, match="too small"):
            list(stream(tmp_path))


def test_rows():
    rows = Rows()
    rows.append({"a": np.arange(3), "b": np.zeros((3, 2))})
    before = rows.first(2)
    rows.append({"a": np.arange(10), "b": np.ones((10, 2))})
    assert before["a"].tolist() == [0, 1]
    assert len(rows) == 13
    assert rows.first(13)["a"].tolist() == [0, 1, 2, *range(10)]
    assert rows.first(13)["b"].sum() == 20
