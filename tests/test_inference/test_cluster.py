"""Classification on a Dask cluster of two processes."""

import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import dask.array as da
import kikuchipy as kp
import numpy as np
import pytest
from kikuchipy.signals import EBSD, LazyEBSD

from kikuchipy_cnn.inference import client_to_use, describe_client, predict
from kikuchipy_cnn.inference.cluster import n_threads_of
from kikuchipy_cnn.inference.parts import Task
from kikuchipy_cnn.models.packing import PackedModel

distributed = pytest.importorskip("distributed")

N = 96


@pytest.fixture(scope="module")
def client(environment):
    """Client that is active."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PYTHONPATH", "TF_CPP_MIN_LOG_LEVEL"):
            patch.setenv(name, environment[name])
        cluster = distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0"
        )
        with cluster, distributed.Client(cluster) as client:
            yield client


@pytest.fixture
def one_pattern_parts(monkeypatch):
    """Small maps are cut as large ones are."""
    monkeypatch.setattr("kikuchipy_cnn.inference.parts.CPU_BATCH_SIZE", 1)


@pytest.fixture(scope="module")
def many():
    return np.random.default_rng(5).integers(1, 255, (N, 48, 48)).astype(np.uint8)


def here(data, model, **settings):
    return predict(data, model, precision="float32", show_progressbar=False, **settings)


def there(client, data, model, **settings):
    return here(data, model, client=client, **settings)


def traced(data, folder, seconds=0.0, chunk=4):
    """Lazy patterns that take their time, and leave a trace of each chunk that is computed."""

    def trace(block, block_info=None):
        if block_info:
            i = block_info[0]["chunk-location"][0]
            Path(folder, f"{i}-{os.getpid()}-{time.time_ns()}").touch()
            time.sleep(seconds)
        return block

    lazy = da.from_array(data, chunks=(chunk, *data.shape[1:])).map_blocks(trace, dtype=data.dtype)
    for path in Path(folder).iterdir():
        path.unlink()
    return lazy


def traces(folder):
    """Numbers of the chunks that were computed."""
    return sorted(int(path.name.split("-")[0]) for path in Path(folder).iterdir())


def assert_same(found, expected):
    for a, b in zip(found.outputs, expected.outputs, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a, b, atol=1e-5)
    np.testing.assert_array_equal(found.valid, expected.valid)
    assert found.of_images.keys() == expected.of_images.keys()
    for name in found.of_images:
        np.testing.assert_allclose(found.of_images[name], expected.of_images[name], atol=1e-5)


class TestClient:
    def test_active_one_is_for_lazy_signals(self, client):
        lazy = da.zeros((2, 3))
        assert client_to_use(None, lazy) is client
        assert client_to_use(None, np.zeros((2, 3))) is None
        assert client_to_use("threads", lazy) is None
        assert client_to_use(client, np.zeros((2, 3))) is client

    def test_description(self, client):
        assert describe_client(client).startswith("2 worker(s) with 2 thread(s) of tcp://127")
        assert n_threads_of(client) == 2

    def test_without_workers(self, client, many, tiny_bundle):
        with (
            distributed.LocalCluster(
                n_workers=0, processes=False, dashboard_address=":0"
            ) as cluster,
            distributed.Client(cluster, set_as_default=False) as idle,
            pytest.raises(ValueError, match=r"has no workers.*wait_for_workers\(1\)"),
        ):
            EBSD(many).classify_space_group(tiny_bundle, scheduler=idle)

    def test_not_imported(self, client, monkeypatch):
        """Without the module there is no client, and it takes its time to import."""
        monkeypatch.delitem(sys.modules, "distributed")
        assert client_to_use(None, da.zeros(3)) is None
        assert "distributed" not in sys.modules


@pytest.mark.usefixtures("one_pattern_parts")
class TestResult:
    @pytest.mark.parametrize("lazy", [False, True])
    def test_same(self, client, many, tiny_bundle, lazy):
        """Order, masks and values that are not finite."""
        data = many.reshape(8, 12, 48, 48).astype(np.float32)
        data[3, 4, 5, 6] = np.nan
        mask = np.random.default_rng(0).random((8, 12)) < 0.4
        mask[5] = True
        settings = {
            "navigation_mask": mask,
            "static_background": np.linspace(1, 3, 48 * 48, dtype=np.float32).reshape(48, 48),
            "signal_mask": np.eye(48, dtype=bool),
            "of_images": {"mean": lambda images: images.mean(axis=(1, 2, 3))},
            "batch_size": 3,
        }
        expected = here(data, tiny_bundle, **settings)
        steps = []
        chunks = ((3, 4, 1), (5, 7), 48, 48)
        data = da.from_array(data, chunks=chunks) if lazy else data
        found = there(client, data, tiny_bundle, **settings, on_progress=steps.append)
        assert_same(found, expected)
        assert sum(steps) == (~mask).sum()
        assert len(steps) > 4

    def test_error(self, client, many, tiny_bundle):
        def fail(block, block_info=None):
            if block_info and block_info[0]["chunk-location"][0] == 3:
                raise OSError("disk gone")
            return block

        data = da.from_array(many, chunks=(8, 48, 48)).map_blocks(fail, dtype=np.uint8)
        with pytest.raises(OSError, match="disk gone"):
            there(client, data, tiny_bundle)
        assert nothing_to_do(client)

    def test_model_stays_with_the_workers(self, client, many, tiny_bundle, monkeypatch):
        """It is sent once and unpacked once by each process, for all maps that follow."""

        def count():
            from kikuchipy_cnn.models import packing

            build = packing.build_in_single_precision
            packing.n_built = 0

            def counting(*arguments):
                packing.n_built += 1
                return build(*arguments)

            packing.build_in_single_precision = counting

        def counted():
            from kikuchipy_cnn.models import packing

            return packing.n_built

        sent, scatter = [], client.scatter

        def spy(data, **how):
            sent.append(type(data))
            return scatter(data, **how)

        monkeypatch.setattr(client, "scatter", spy)
        client.run(count)
        # A model of its own: other tests may have sent the other one.
        model = replace(tiny_bundle, temperature=0.9)
        for n_maps in (1, 2):
            steps = []
            found = there(client, many, model, on_progress=steps.append)
            assert_same(found, here(many, model))
            assert len(steps) >= 8
            assert list(client.run(counted).values()) == [1, 1]
            assert (sent.count(PackedModel), sent.count(Task)) == (1, n_maps)

    def test_changed_model(self, client, many, tiny_bundle):
        """Of the same name, and the same object."""
        model = replace(tiny_bundle, temperature=0.8)
        there(client, many, model)
        model.temperature = 2.0
        assert_same(there(client, many, model), here(many, model))

    def test_restarted(self, many, tiny_bundle):
        """Workers that have lost the model are sent it again."""
        with (
            distributed.LocalCluster(
                n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
            ) as cluster,
            distributed.Client(cluster, set_as_default=False) as own,
        ):
            expected = there(own, many, tiny_bundle)
            cluster.scale(0)
            while own.nthreads():
                time.sleep(0.05)
            cluster.scale(1)
            own.wait_for_workers(1)
            assert_same(there(own, many, tiny_bundle), expected)

    # A bug when written: parts that are smaller than the chunks compute these anew.
    def test_chunks_are_computed_once(self, client, many, tiny_bundle, tmp_path):
        data = traced(many, tmp_path, chunk=48)
        there(client, data, tiny_bundle)
        assert traces(tmp_path) == [0, 1]


def nothing_to_do(client):
    """Whether the workers will compute nothing more."""

    def n_left(dask_scheduler):
        ahead = {"waiting", "queued", "no-worker", "processing"}
        return sum(task.state in ahead for task in dask_scheduler.tasks.values())

    for _ in range(100):
        if client.run_on_scheduler(n_left) == 0:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.usefixtures("one_pattern_parts")
class TestSignal:
    def test_where(self, client, many, tiny_bundle, capsys):
        """Lazy signals go where the active client is; others where they are told to."""
        settings = {"show_progressbar": False, "precision": "float32"}
        eager, lazy = EBSD(many), LazyEBSD(da.from_array(many, chunks=(10, 48, 48)))
        expected = eager.classify_space_group(tiny_bundle, **settings)
        assert "Engine: OpenVINO" in capsys.readouterr().out
        for one, scheduler, where in (
            (lazy, None, "2 worker(s) with 2 thread(s) of tcp"),
            (lazy, "threads", "OpenVINO"),
            (eager, client, "2 worker(s) with 2 thread(s) of tcp"),
        ):
            found = one.classify_space_group(tiny_bundle, scheduler=scheduler, **settings)
            assert f"Engine: {where}" in capsys.readouterr().out
            np.testing.assert_allclose(found.p_225, expected.p_225, atol=1e-5)

    # A bug when written: Dask's own default, the active client, still reads the patterns.
    def test_threads_read_here(self, client, many, tiny_bundle, tmp_path):
        """Not by workers that send them back."""
        lazy = LazyEBSD(traced(many, tmp_path))
        lazy.classify_space_group(tiny_bundle, scheduler="threads", show_progressbar=False)
        assert {path.name.split("-")[1] for path in tmp_path.iterdir()} == {str(os.getpid())}

    def test_file(self, client, many, tiny_bundle, tmp_path):
        """As kikuchipy loads it."""
        EBSD(many.reshape(8, 12, 48, 48)).save(tmp_path / "patterns.h5")
        lazy = kp.load(tmp_path / "patterns.h5", lazy=True)
        settings = {"show_progressbar": False, "precision": "float32"}
        expected = EBSD(many.reshape(8, 12, 48, 48)).classify_space_group(tiny_bundle, **settings)
        for found in (
            lazy.classify_space_group(tiny_bundle, **settings),
            lazy.classify_space_group(tiny_bundle, compute=False, **settings).compute(),
        ):
            assert found.shape == (8, 12)
            np.testing.assert_allclose(found.p_225, expected.p_225, atol=1e-5)


@pytest.mark.usefixtures("one_pattern_parts")
class TestInterrupted:
    def test_store(self, client, many, tiny_bundle, tmp_path, monkeypatch, capsys):
        """Ctrl-C ends what the workers were to do; the same call goes on, here or there."""
        monkeypatch.setattr("kikuchipy_cnn.inference.results._INTERVAL", -1)
        monkeypatch.setattr("kikuchipy_cnn.inference.parts.CPU_BATCH_SIZE", 4)
        (tmp_path / "traces").mkdir()
        store = tmp_path / "results.h5"

        def stop(n):
            raise KeyboardInterrupt

        data = traced(many, tmp_path / "traces", seconds=0.05)
        with pytest.raises(KeyboardInterrupt):
            there(client, data, tiny_bundle, store=store, on_progress=stop)
        assert nothing_to_do(client)
        n_computed = len(traces(tmp_path / "traces"))
        # Nine of them to tell the map.
        assert n_computed < 9 + 16
        time.sleep(0.3)
        assert len(traces(tmp_path / "traces")) <= n_computed + 2
        out = capsys.readouterr().out
        assert f"of 96 patterns are in '{store}'. The same call goes on" in out
        n_done = int(out.split("Interrupted: ")[1].split()[0])
        assert 0 < n_done < N

        class Enough(Exception):
            pass

        steps = []

        def some_more(n):
            steps.append(n)
            if sum(steps) >= 20:
                raise Enough

        with pytest.raises(Enough):
            there(client, data, tiny_bundle, store=store, on_progress=some_more)
        found = here(data, tiny_bundle, store=store, on_progress=steps.append)
        assert n_done + sum(steps) == N
        assert_same(found, here(many, tiny_bundle))
        assert_same(there(client, data, tiny_bundle, store=store), found)

    @pytest.mark.skipif(sys.platform == "win32", reason="needs signals of POSIX")
    def test_worker_dies(self, client, many, tiny_bundle, tmp_path):
        """Only the parts that it was at work on, and what it held, are computed anew."""
        data = traced(many, tmp_path, seconds=0.05)
        steps = []
        killed = threading.Event()

        def kill(n):
            steps.append(n)
            if sum(steps) >= N // 3 and not killed.is_set():
                killed.set()
                os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)

        found = there(client, data, tiny_bundle, on_progress=kill)
        assert killed.is_set()
        assert sum(steps) == N
        assert_same(found, here(many, tiny_bundle))
        computed = traces(tmp_path)
        assert set(computed) == set(range(N // 4))
        assert len(computed) <= N // 4 + 6
        client.wait_for_workers(2, timeout=30)
