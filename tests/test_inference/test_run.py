"""Classification in threads: complete, bounded, and nothing left behind."""

import threading
import time
import tracemalloc
from dataclasses import replace

import dask
import dask.array as da
import numpy as np
import pytest
from threadpoolctl import threadpool_info
from tqdm import tqdm

from kikuchipy_cnn import Ensemble, PatternTransform
from kikuchipy_cnn.inference import Runner, batches, lazy_prediction, predict, run


def at_ease(data, model, **settings):
    return predict(data, model, show_progressbar=False, **settings)


def expected_of(model, patterns, forward):
    """Probabilities of an engine, without threads and batches."""
    images, valid = model.transform(patterns.reshape(-1, *patterns.shape[-2:]))
    return model.outputs_of(*map(np.float64, forward(images))).probabilities, valid


@pytest.fixture
def threads_end():
    """All threads that a test starts end with it."""
    before = set(threading.enumerate())
    yield
    # The one of tqdm stays for the next bar.
    left = set(threading.enumerate()) - before - {tqdm.monitor}
    for thread in left:
        thread.join(2)
    assert [thread.name for thread in left if thread.is_alive()] == []


class TestPrediction:
    @pytest.mark.parametrize("concurrency", [1, 3])
    @pytest.mark.parametrize("batch_size", [1, 5, 64])
    def test_each_in_its_place(
        self, patterns, tiny_bundle, fake_engine, batch_size, concurrency, threads_end
    ):
        """Batches end in another order than they begin."""
        calls = []

        def forward(images):
            calls.append(len(images))
            time.sleep(0.003 * (len(calls) % 3))
            return fake_engine.three_pixels(images)

        fake_engine(forward, concurrency=concurrency)
        data = patterns.copy()
        data[2, 3] = 9
        used = np.ones((6, 7), bool)
        used[1, 1:4] = False
        found = at_ease(data, tiny_bundle, batch_size=batch_size, navigation_mask=~used)
        expected, valid = expected_of(tiny_bundle, data, fake_engine.three_pixels)
        valid &= used.ravel()
        np.testing.assert_array_equal(found.valid.ravel(), valid)
        probabilities = found.probabilities.reshape(-1, 3)
        np.testing.assert_allclose(probabilities[valid], expected[valid], atol=1e-6)
        assert np.isnan(probabilities[~valid]).all()
        n_used = int(used.sum())
        size = min(batch_size, n_used)
        assert calls == [size] * -(-n_used // size)

    def test_calls_of_an_ensemble(self, patterns, tiny_bundle, fake_engine):
        calls = []

        def forward(images):
            calls.append(images.shape)
            return fake_engine.three_pixels(images)

        fake_engine(forward)
        at_ease(patterns, Ensemble("two", (tiny_bundle, tiny_bundle)), batch_size=16)
        assert calls == [(16, 32, 32, 1)] * 6

    def test_further_values(self, patterns, tiny_bundle, fake_engine):
        fake_engine()
        functions = {
            "mean": lambda images: images.mean(axis=(1, 2, 3)),
            "row": lambda images: images[:, 7, :, 0].astype(np.float16),
        }
        mask = np.zeros((6, 7), bool)
        mask[0, 0] = True
        found = at_ease(
            patterns, tiny_bundle, of_images=functions, batch_size=5, navigation_mask=mask
        )
        images, _ = tiny_bundle.transform(patterns.reshape(-1, 48, 48))
        assert found.of_images["row"].shape == (6, 7, 32)
        assert found.of_images["row"].dtype == np.float16
        for name, function in functions.items():
            values = found.of_images[name].reshape(42, -1)
            expected = function(images).reshape(42, -1)
            np.testing.assert_allclose(values[1:], expected[1:], atol=1e-3)
            assert not values[0].any()

    @pytest.mark.parametrize("lazy", [False, True])
    def test_single_pattern(self, patterns, tiny_bundle, fake_engine, lazy):
        fake_engine()
        data = da.from_array(patterns[0, 0]) if lazy else patterns[0, 0]
        found = at_ease(data, tiny_bundle)
        expected, _ = expected_of(tiny_bundle, patterns[0, 0], fake_engine.three_pixels)
        assert found.probabilities.shape == (3,)
        np.testing.assert_allclose(found.probabilities, expected[0], atol=1e-6)

    def test_progress(self, patterns, tiny_bundle, fake_engine, capsys):
        fake_engine(concurrency=2)
        steps = []
        mask = np.zeros((6, 7), bool)
        mask[3] = True
        at_ease(patterns, tiny_bundle, navigation_mask=mask, batch_size=8, on_progress=steps.append)
        assert sorted(steps, reverse=True) == [8, 8, 8, 8, 3]
        predict(patterns, tiny_bundle, navigation_mask=mask)
        assert "35/35" in capsys.readouterr().err

    def test_memory_runs_out(self, patterns, tiny_bundle, fake_engine):
        """While several batches are at work."""

        def forward(images):
            if len(images) > 4:
                raise MemoryError
            return fake_engine.three_pixels(images)

        fake_engine(forward, concurrency=2)
        with pytest.warns(UserWarning, match="Memory ran out") as caught:
            found = at_ease(patterns, tiny_bundle, batch_size=16)
        assert len(caught) == 2
        expected, _ = expected_of(tiny_bundle, patterns, fake_engine.three_pixels)
        np.testing.assert_allclose(found.probabilities.reshape(-1, 3), expected, atol=1e-6)


@pytest.mark.usefixtures("threads_end")
class TestEnd:
    """What happens when there is no result."""

    @pytest.fixture
    def reader(self, monkeypatch):
        """Whether the generator that reads has come to its end."""
        ended = threading.Event()
        read = run.raw_batches

        def watched(*arguments):
            try:
                yield from read(*arguments)
            finally:
                ended.set()

        monkeypatch.setattr(run, "raw_batches", watched)
        monkeypatch.setattr(batches, "CHUNK_BYTES", 2 * 48 * 48)
        return ended

    def test_network(self, patterns, tiny_bundle, fake_engine, reader):
        calls = []

        def forward(images):
            calls.append(1)
            if len(calls) == 3:
                raise RuntimeError("the driver is gone")
            return fake_engine.three_pixels(images)

        fake_engine(forward)
        with pytest.raises(RuntimeError, match="the driver is gone"):
            at_ease(patterns, tiny_bundle, batch_size=2)
        assert reader.wait(5)
        # Of the 21 batches, few are begun after that.
        assert len(calls) < 10

    def test_preprocessing(self, patterns, tiny_bundle, fake_engine, reader):
        class Failing(PatternTransform):
            def __call__(self, *arguments):
                raise FloatingPointError("no contrast")

        fake_engine()
        model = replace(tiny_bundle, transform=Failing(size=32))
        with pytest.raises(FloatingPointError, match="no contrast"):
            at_ease(patterns, model, batch_size=2)
        assert reader.wait(5)

    def test_progress(self, patterns, tiny_bundle, fake_engine, reader):
        def stop(n):
            raise InterruptedError("no time left")

        fake_engine()
        with pytest.raises(InterruptedError, match="no time left"):
            at_ease(patterns, tiny_bundle, batch_size=2, on_progress=stop)
        assert reader.wait(5)

    def test_reading(self, patterns, tiny_bundle, fake_engine, monkeypatch):
        def fail(block, block_info=None):
            if block_info and block_info[0]["chunk-location"][0] == 4:
                raise OSError("disk gone")
            return block

        fake_engine()
        monkeypatch.setattr(batches, "CHUNK_BYTES", 7 * 48 * 48)
        data = da.from_array(patterns, chunks=(1, 7, 48, 48)).map_blocks(fail, dtype=np.uint8)
        with (
            dask.config.set(scheduler="synchronous"),
            pytest.raises(OSError, match="disk gone"),
        ):
            at_ease(data, tiny_bundle, batch_size=2)

    def test_interrupted(self, patterns, tiny_bundle, fake_engine, reader, capsys):
        def stop(n):
            raise KeyboardInterrupt

        fake_engine()
        with pytest.raises(KeyboardInterrupt):
            at_ease(patterns, tiny_bundle, batch_size=2, on_progress=stop)
        assert reader.wait(5)
        assert "Interrupted" not in capsys.readouterr().out


class TestMemory:
    @pytest.mark.parametrize("concurrency", [1, 3])
    def test_batches_at_once(self, patterns, tiny_bundle, fake_engine, monkeypatch, concurrency):
        """Reading waits for the network."""
        monkeypatch.setattr(batches, "CHUNK_BYTES", 1)
        n_read, n_done, outstanding = [], [], []
        data = np.concatenate([patterns.reshape(-1, 48, 48)] * 2)
        read = run.raw_batches

        def watched(*arguments):
            for batch in read(*arguments):
                n_read.append(1)
                outstanding.append(len(n_read) - len(n_done))
                yield batch

        def slow(images):
            time.sleep(0.004)
            return fake_engine.three_pixels(images)

        monkeypatch.setattr(run, "raw_batches", watched)
        fake_engine(slow, concurrency=concurrency)
        at_ease(data, tiny_bundle, batch_size=1, on_progress=n_done.append)
        assert len(n_read) == len(n_done) == 84
        # At work, waiting for a thread, read ahead, and in the hands of those between.
        assert max(outstanding) <= max(2, concurrency) + 6
        # The next batches wait where the network takes them from.
        assert max(outstanding) > concurrency

    def test_peak(self, tiny_bundle, fake_engine, monkeypatch):
        """What is allocated at once does not depend on the size of the map."""
        monkeypatch.setattr(batches, "CHUNK_BYTES", 2**20)
        fake_engine()
        model = Runner(tiny_bundle, batch_size=64)
        block = np.random.default_rng(0).integers(0, 255, (200, 60, 60)).astype(np.uint8)

        def peak(n):
            data = da.map_blocks(
                lambda block_info=None: block.copy(),
                chunks=((200,) * (n // 200), (60,), (60,)),
                dtype=np.uint8,
                meta=np.zeros((0, 0, 0), np.uint8),
            )
            tracemalloc.start()
            try:
                found = at_ease(data, model)
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
                assert found.valid.all()

        peak(400)  # compiles
        small, large = peak(4000), peak(20_000)
        # 72 MB of patterns. Each pattern leaves some bytes of results, and Dask's graph grows.
        assert large < 12e6
        assert large - small < 3e6


def test_threads_of_blas():
    """The last classification that ends gives them back, whichever it is."""

    def numbers():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    limit = run._OneThreadOfBlas()
    before = numbers()
    limit.__enter__()
    limit.__enter__()
    limit.__exit__()
    assert set(numbers()) == {1}
    limit.__exit__()
    assert numbers() == before


def test_nothing_left(patterns, tiny_bundle):
    for function in (at_ease, lazy_prediction):
        with pytest.raises(ValueError, match="navigation_mask is all True, which leaves nothing"):
            function(patterns, tiny_bundle, navigation_mask=np.ones((6, 7), bool))
