"""Results on disk outlive whatever ends a classification."""

import contextlib
import importlib.util
import signal
import subprocess
import sys
from dataclasses import replace

import dask.array as da
import h5py
import numpy as np
import pytest
from kikuchipy.signals import EBSD

from kikuchipy_cnn import Ensemble, PatternTransform, load_model
from kikuchipy_cnn.inference import batches, predict, results
from kikuchipy_cnn.inference.results import Results, StoredResults
from kikuchipy_cnn.models import build_network
from kikuchipy_cnn.uncertainty import Detector

JOB = {"model": "tiny", "weights": "abc", "shape": [4, 5, 48, 48]}


def at_ease(data, model, **settings):
    settings = {"show_progressbar": False, "precision": "float32"} | settings
    return predict(data, model, **settings)


def values_of(indices):
    """Values that tell which patterns they are of."""
    probabilities = np.stack([indices, indices / 2, indices / 4], axis=1).astype(np.float32)
    return {"probabilities": probabilities, "extra": np.repeat(indices[:, None], 6, axis=1)}


def fill(results, *parts):
    for part in parts:
        indices = np.array(part)
        results.add(indices, values_of(indices), indices % 5 != 0)


def done_in(path):
    with h5py.File(path) as file:
        return file["done"][...]


def assert_filled(results, done):
    """What is said to be done is right."""
    indices = np.array(sorted(done), int)
    assert np.flatnonzero(results.done).tolist() == indices.tolist()
    for name, expected in values_of(indices).items():
        np.testing.assert_array_equal(results.values[name][indices], expected)
    np.testing.assert_array_equal(results.valid[indices], indices % 5 != 0)


@pytest.fixture
def at_once(monkeypatch):
    """Results are put on disk as soon as they come."""
    monkeypatch.setattr(results, "_INTERVAL", -1)


@pytest.fixture
def counted(fake_engine):
    """Number of patterns that the network saw, without what fills up batches."""
    seen = []

    def forward(images):
        # A padded image is black, a preprocessed one never is.
        seen.extend(images.any(axis=(1, 2, 3)).nonzero()[0])
        return fake_engine.three_pixels(images)

    fake_engine(forward)
    return seen


class TestArrays:
    def test_prediction(self):
        found = Results((4, 5))
        fill(found, [7, 5, 6], [19], [0, 1])
        prediction = found.prediction(np.ones((4, 5), bool))
        expected = np.full((20, 3), np.nan, np.float32)
        for i in (1, 6, 7, 19):
            expected[i] = i, i / 2, i / 4
        np.testing.assert_array_equal(prediction.probabilities, expected.reshape(4, 5, 3))
        assert prediction.valid.shape == (4, 5)
        assert np.flatnonzero(prediction.valid).tolist() == [1, 6, 7, 19]
        assert prediction.of_images["extra"].shape == (4, 5, 6)

    def test_in_memory_until_there_is_something(self, tmp_path):
        path = tmp_path / "results.h5"
        StoredResults(path, (4, 5), JOB).close()
        assert not path.exists()

    def test_written_and_read(self, tmp_path):
        path = tmp_path / "results.h5"
        parts = [12, 3], [4], [19, 0]
        first = StoredResults(path, (4, 5), JOB)
        for i, part in enumerate(parts):
            fill(first, part)
            if i < 2:
                first.flush()
        first.close()
        again = StoredResults(path, (4, 5), JOB)
        assert_filled(again, {12, 3, 4, 19, 0})
        fill(again, [7, 8])
        again.close()
        assert_filled(StoredResults(path, (4, 5), JOB), {12, 3, 4, 19, 0, 7, 8})
        assert sorted(i.name for i in tmp_path.iterdir()) == ["results.h5"]

    def test_interval(self, tmp_path, monkeypatch):
        """Few writes, however many batches."""
        now = [100.0]
        monkeypatch.setattr(results.time, "monotonic", lambda: now[0])
        flushed = []

        class Counting(StoredResults):
            def flush(self):
                flushed.append(now[0])
                super().flush()

        found = Counting(tmp_path / "results.h5", (4, 5), JOB)
        for i in range(20):
            fill(found, [i])
            now[0] += 0.25
        assert len(flushed) == 2
        found.close()
        assert_filled(StoredResults(tmp_path / "results.h5", (4, 5), JOB), range(20))

    @pytest.mark.parametrize("n_writes", range(0, 17, 2))
    def test_ends_between_any_two_writes(self, tmp_path, monkeypatch, at_once, n_writes):
        """A pattern is never said to be done whose values are not on disk."""
        path = tmp_path / "results.h5"
        left = [n_writes]
        write = h5py.Dataset.__setitem__

        def limited(dataset, *arguments):
            if not left[0]:
                raise SystemExit
            left[0] -= 1
            write(dataset, *arguments)

        monkeypatch.setattr(h5py.Dataset, "__setitem__", limited)
        found = StoredResults(path, (4, 5), JOB)
        with pytest.raises(SystemExit):
            fill(found, *np.arange(20).reshape(5, 4)[::-1])
        found._file.close()
        monkeypatch.undo()
        again = StoredResults(path, (4, 5), JOB)
        # Four arrays are written each time, the last of which says what is done.
        n_done = 4 * (n_writes // 4)
        assert_filled(again, range(20 - n_done, 20))
        fill(again, np.flatnonzero(~again.done))
        again.close()
        assert_filled(StoredResults(path, (4, 5), JOB), range(20))

    def test_ends_while_the_file_is_made(self, tmp_path, monkeypatch, at_once):
        def fail(*arguments, **settings):
            raise SystemExit

        monkeypatch.setattr(h5py.File, "create_dataset", fail)
        with pytest.raises(SystemExit):
            fill(StoredResults(tmp_path / "results.h5", (4, 5), JOB), [1])
        assert not list(tmp_path.iterdir())


class TestRefused:
    @pytest.mark.parametrize("name", JOB)
    def test_another_job(self, tmp_path, name):
        path = tmp_path / "results.h5"
        found = StoredResults(path, (4, 5), JOB)
        fill(found, [1])
        found.close()
        before = path.read_bytes()
        with pytest.raises(ValueError, match=f"results.h5' holds .*its {name} is .*Delete it"):
            StoredResults(path, (4, 5), JOB | {name: "other"})
        assert path.read_bytes() == before

    def test_other_files(self, tmp_path):
        text = tmp_path / "notes.h5"
        text.write_text("not HDF5")
        other = tmp_path / "other.h5"
        with h5py.File(other, "w") as file:
            file["done"] = np.ones(20, bool)
            file.attrs["format"] = "something else"
        kikuchipy = tmp_path / "patterns.h5"
        EBSD(np.ones((2, 2, 5, 5), np.uint8)).save(kikuchipy)
        for path, match in (
            (text, "'.*notes.h5' cannot be read as a store of results"),
            (other, "'.*other.h5' is no store of results of this version"),
            (kikuchipy, "'.*patterns.h5' is no store of results of this version"),
            (tmp_path, "cannot be read as a store"),
        ):
            before = None if path.is_dir() else path.read_bytes()
            with pytest.raises(ValueError, match=match):
                StoredResults(path, (4, 5), JOB)
            assert path.is_dir() or path.read_bytes() == before

    def test_missing_folder(self, tmp_path, patterns, tiny_bundle, counted):
        """Told before the work."""
        with pytest.raises((OSError, ValueError), match="nowhere"):
            at_ease(patterns, tiny_bundle, store=tmp_path / "nowhere" / "results.h5")
        assert not counted

    @pytest.mark.parametrize(
        ("name", "match"),
        [
            ("model", "model is 'tiny', not 'renamed'"),
            ("weights", "weights is"),
            ("detector", "weights is"),
            ("temperature", r"temperature is \[1.5, 1.5\], not \[2.0, 2.0\]"),
            ("ensemble", "model is 'tiny', not 'tiny . tiny'|weights|temperature"),
            ("transform", "transform is"),
            ("patterns", "patterns is"),
            ("data type", "data type is 'uint8', not 'uint16'"),
            ("shape", r"shape is \[6, 7, 48, 48\], not \[7, 6, 48, 48\]"),
            ("signal mask", "signal mask is"),
            ("static background", "static background is"),
            ("further values", r"further values is \[\], not \['mean'\]"),
            ("precision", "precision is 'float32', not 'bfloat16'"),
        ],
    )
    def test_another_classification(self, tmp_path, patterns, tiny_bundle, counted, name, match):
        path = tmp_path / "results.h5"
        at_ease(patterns, tiny_bundle, store=path)
        before = path.read_bytes()
        data, model, settings = patterns, tiny_bundle, {}
        if name == "model":
            model = replace(model, name="renamed")
        elif name == "weights":
            model = replace(model, network=build_network("tiny", (32, 32, 1), 3))
        elif name == "detector":
            n = 32 + 4
            detector = Detector(np.zeros(n), np.ones(n), np.zeros((n, 3)), np.zeros(3))
            model = replace(model, detector=detector)
        elif name == "temperature":
            model = replace(model, temperature=2.0)
        elif name == "ensemble":
            model = Ensemble("tiny + tiny", (model, model))
        elif name == "transform":
            model = replace(model, transform=PatternTransform(size=32, clip=2.0))
        elif name == "patterns":
            data = data.copy()
            data[-1, -1, 0, 0] ^= 1
        elif name == "data type":
            data = data.astype(np.uint16)
        elif name == "shape":
            data = data.reshape(7, 6, 48, 48)
        elif name == "signal mask":
            settings = {"signal_mask": np.eye(48, dtype=bool)}
        elif name == "static background":
            settings = {"static_background": np.ones((48, 48), np.float32)}
        elif name == "further values":
            settings = {"of_images": {"mean": lambda images: images.mean(axis=(1, 2, 3))}}
        elif name == "precision":
            settings = {"precision": "bfloat16"}
        counted.clear()
        with pytest.raises(ValueError, match=match):
            at_ease(data, model, store=path, **settings)
        assert not counted
        assert path.read_bytes() == before


class TestContinued:
    def test_all_done(self, tmp_path, patterns, tiny_bundle, counted):
        path = tmp_path / "results.h5"
        data = patterns.copy()
        data[3, 3] = 4
        expected = at_ease(data, tiny_bundle)
        first = at_ease(data, tiny_bundle, store=path)
        counted.clear()
        steps = []
        again = at_ease(data, tiny_bundle, store=path, on_progress=steps.append)
        assert not counted and not steps
        for found in (first, again):
            np.testing.assert_array_equal(found.probabilities, expected.probabilities)
            np.testing.assert_array_equal(found.valid, expected.valid)
        assert not again.valid[3, 3]

    def test_lazy_and_in_memory(self, tmp_path, patterns, tiny_bundle, counted):
        """It is the same classification."""
        path = str(tmp_path / "results.h5")
        at_ease(patterns, tiny_bundle, store=path)
        counted.clear()
        at_ease(da.from_array(patterns, chunks=(2, 3, 48, 48)), tiny_bundle, store=path)
        assert not counted

    def test_mask_then_none(self, tmp_path, patterns, tiny_bundle, counted):
        """A part of the map first."""
        path = tmp_path / "results.h5"
        mask = np.ones((6, 7), bool)
        mask[2:4, 1:] = False
        part = at_ease(patterns, tiny_bundle, store=path, navigation_mask=mask)
        assert (len(counted), int(part.valid.sum())) == (12, 12)
        assert np.isnan(part.probabilities[mask]).all()
        counted.clear()
        found = at_ease(patterns, tiny_bundle, store=path)
        assert len(counted) == 30
        np.testing.assert_array_equal(
            found.probabilities, at_ease(patterns, tiny_bundle).probabilities
        )

    def test_none_then_mask(self, tmp_path, patterns, tiny_bundle, counted):
        path = tmp_path / "results.h5"
        full = at_ease(patterns, tiny_bundle, store=path)
        counted.clear()
        mask = np.zeros((6, 7), bool)
        mask[0] = True
        found = at_ease(patterns, tiny_bundle, store=path, navigation_mask=mask)
        assert not counted
        np.testing.assert_array_equal(found.probabilities[~mask], full.probabilities[~mask])
        # A bug when written: a masked pattern is not valid, says Prediction.
        assert not found.valid[mask].any()

    def test_further_values(self, tmp_path, patterns, tiny_bundle, counted, at_once):
        path = tmp_path / "results.h5"
        functions = {"pixel": lambda images: images[:, 4, :5, 0].astype(np.float16)}
        expected = at_ease(patterns, tiny_bundle, of_images=functions)

        def stop(n):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            at_ease(
                patterns,
                tiny_bundle,
                of_images=functions,
                store=path,
                batch_size=5,
                on_progress=stop,
            )
        found = at_ease(patterns, tiny_bundle, of_images=functions, store=path)
        np.testing.assert_array_equal(found.of_images["pixel"], expected.of_images["pixel"])

    def test_interrupted_in_a_thread(
        self, tmp_path, patterns, tiny_bundle, counted, monkeypatch, capsys
    ):
        """What is done is written, people are told how to go on, and the interruption goes on."""
        path = tmp_path / "results.h5"
        monkeypatch.setattr(batches, "CHUNK_BYTES", 7 * 48 * 48)

        seen = []

        def interrupt(block, block_info=None):
            if block_info and block_info[0]["chunk-location"][0] == 4:
                seen.append(block)
                # The first time it is one of the patterns by which the map is told.
                if len(seen) > 1:
                    raise KeyboardInterrupt
            return block

        lazy = da.from_array(patterns, chunks=(1, 7, 48, 48))
        broken = lazy.map_blocks(interrupt, dtype=np.uint8)
        with pytest.raises(KeyboardInterrupt):
            at_ease(broken, tiny_bundle, store=path, batch_size=7)
        n_done = int(done_in(path).sum())
        assert 7 <= n_done <= 28
        out = capsys.readouterr().out
        assert f"Interrupted: {n_done} of 42 patterns are in '{path}'. The same call goes on" in out
        counted.clear()
        steps = []
        found = at_ease(lazy, tiny_bundle, store=path, on_progress=steps.append)
        assert sum(steps) == len(counted) == 42 - n_done
        expected = at_ease(patterns, tiny_bundle)
        np.testing.assert_array_equal(found.probabilities, expected.probabilities)

    def test_interrupted_often(self, tmp_path, patterns, tiny_bundle, counted):
        """Each run gets further than the one before."""
        path = tmp_path / "results.h5"

        def stop(n):
            raise KeyboardInterrupt

        n_runs = 0
        while not path.exists() or not done_in(path).all():
            n_runs += 1
            assert n_runs < 30
            with contextlib.suppress(KeyboardInterrupt):
                at_ease(patterns, tiny_bundle, store=path, batch_size=8, on_progress=stop)
        assert n_runs > 1
        found = at_ease(patterns, tiny_bundle, store=path)
        expected = at_ease(patterns, tiny_bundle)
        np.testing.assert_array_equal(found.probabilities, expected.probabilities)


class TestSignal:
    def test_judged_anew(self, tmp_path, patterns, tiny_bundle, counted):
        """Another prior and the neighbours take what is there."""
        signal = EBSD(patterns)
        settings = {"show_progressbar": False, "pooling_radius": 1}
        prior = {"prior": {225: 0.9, 229: 0.1}}
        expected = signal.classify_space_group(tiny_bundle, **settings)
        expected_prior = signal.classify_space_group(tiny_bundle, **settings, **prior)
        settings["store"] = tmp_path / "results.h5"
        signal.classify_space_group(tiny_bundle, **settings)
        counted.clear()
        again = signal.classify_space_group(tiny_bundle, **settings)
        with_prior = signal.classify_space_group(tiny_bundle, **settings, **prior)
        larger = signal.classify_space_group(tiny_bundle, **settings | {"pooling_radius": 2})
        assert not counted
        for found, other in ((again, expected), (with_prior, expected_prior)):
            assert found.prop.keys() == other.prop.keys()
            for name, values in found.prop.items():
                np.testing.assert_array_equal(values, other.prop[name])
            np.testing.assert_array_equal(found.phase_id, other.phase_id)
        assert larger.n_pooled.max() >= again.n_pooled.max()


_JOB = """
import os, signal, sys, threading, time
from pathlib import Path

import dask.array as da
import numpy as np

N = 120


def lazy_patterns(folder):
    # Patterns that take their time and leave a trace.
    def make(block_info=None):
        i = block_info[None]["chunk-location"][0]
        if folder is not None:
            Path(folder, str(i)).touch()
            time.sleep(0.02)
        return np.random.default_rng(i).integers(1, 255, (2, 48, 48)).astype(np.uint8)

    chunks = ((2,) * (N // 2), (48,), (48,))
    return da.map_blocks(make, chunks=chunks, dtype=np.uint8, meta=np.zeros((0, 0, 0), np.uint8))


def main():
    from kikuchipy_cnn import load_model
    from kikuchipy_cnn.inference import batches, predict, results

    # Shells start what runs in the background with this signal ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    results._INTERVAL = 0.05
    batches.CHUNK_BYTES = 4 * 48 * 48
    bundle, store, folder, number = sys.argv[1:]
    end = threading.Timer(0.01, os.kill, (os.getpid(), int(number)))
    done = [0]

    def tell(n):
        done[0] += n
        if done[0] == 40:
            end.start()

    predict(lazy_patterns(folder), load_model(bundle), precision="float32", batch_size=4,
            store=store, on_progress=tell, show_progressbar=False)


if __name__ == "__main__":
    main()
"""


@pytest.fixture(scope="module")
def ended(tmp_path_factory, tiny_bundle, environment):
    """Two classifications, ended half-way by different signals."""
    folder = tmp_path_factory.mktemp("processes")
    (folder / "job.py").write_text(_JOB)
    tiny_bundle.save(folder / "bundle")
    processes = {}
    for number in (signal.SIGKILL, signal.SIGINT):
        (folder / number.name).mkdir()
        processes[number] = subprocess.Popen(
            [sys.executable, folder / "job.py", folder / "bundle", folder / f"{number.name}.h5"]
            + [folder / number.name, str(int(number))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
    output = {number: process.communicate(timeout=120) for number, process in processes.items()}
    codes = {number: process.returncode for number, process in processes.items()}
    return folder, output, codes


@pytest.fixture(scope="module")
def job(ended):
    spec = importlib.util.spec_from_file_location("job", ended[0] / "job.py")
    job = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(job)
    return job


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals of POSIX")
class TestProcesses:
    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
    def test_goes_on(self, ended, job, tmp_path, monkeypatch, number):
        monkeypatch.setattr(batches, "CHUNK_BYTES", 4 * 48 * 48)
        folder, output, codes = ended
        out, err = output[number]
        store = folder / f"{number.name}.h5"
        done = done_in(store)
        assert 0 < done.sum() < job.N, err
        read = {int(path.name) for path in (folder / number.name).iterdir()}
        # Only what was read is done.
        assert set(np.flatnonzero(done) // 2) <= read
        if number == signal.SIGKILL:
            assert codes[number] == -signal.SIGKILL
        else:
            assert codes[number] != 0
            assert f"Interrupted: {done.sum()} of {job.N} patterns are in '{store}'" in out
            assert "KeyboardInterrupt" in err
        model = load_model(folder / "bundle")
        expected = at_ease(job.lazy_patterns(None), model, batch_size=4)
        steps = []
        settings = {"store": store, "batch_size": 4, "on_progress": steps.append}
        found = at_ease(job.lazy_patterns(tmp_path), model, **settings)
        assert sum(steps) == job.N - done.sum()
        read = {int(path.name) for path in tmp_path.iterdir()}
        # Beside those that were left, some are read to tell the map.
        sampled = {int(i) // 2 for i in np.linspace(0, job.N - 1, 9)}
        assert read == set(np.flatnonzero(~done) // 2) | sampled
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-6)
        assert found.valid.all()

    def test_work_is_not_waited_for(self, ended):
        """An interruption ends what has begun, not what was to come."""
        folder, *_ = ended
        n_read = len(list((folder / "SIGINT").iterdir()))
        assert n_read < 60
