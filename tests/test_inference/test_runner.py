"""Batches that fit into memory, of the size that is fastest."""

import threading
import warnings
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from kikuchipy_cnn import Ensemble
from kikuchipy_cnn.inference import Runner
from kikuchipy_cnn.inference.runner import CPU_BATCH_SIZE, find_batch_size, is_out_of_memory
from kikuchipy_cnn.models import build_network

OUT_OF_MEMORY = (
    RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1 bytes."),
    RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    MemoryError(),
    type("ResourceExhaustedError", (Exception,), {})("failed to allocate memory"),
    ValueError("OOM when allocating tensor with shape[1024]"),
)


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(23, 32, 32, 1)).astype(np.float32)


class Limited:
    """Engine whose memory is enough for some images only."""

    def __init__(self, forward, most, error=OUT_OF_MEMORY[0]):
        self._forward, self._most, self._error = forward, most, error
        self.sizes = []

    def __call__(self, images):
        self.sizes.append(len(images))
        if len(images) > self._most:
            raise self._error
        return self._forward(images)


class TestOutOfMemory:
    @pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
    def test_halved(self, tiny_bundle, fake_engine, images, error):
        forward = Limited(fake_engine.three_pixels, 5, error)
        fake_engine(forward)
        runner = Runner(tiny_bundle, batch_size=16)
        with pytest.warns(UserWarning) as caught:
            outputs = runner.outputs(images)
        logits = fake_engine.three_pixels(images)[1].astype(float)
        expected = softmax(logits / tiny_bundle.temperature, axis=1)
        np.testing.assert_allclose(outputs.probabilities, expected, atol=1e-6)
        assert [str(i.message).split(".")[0] for i in caught] == [
            "Memory ran out with batches of 16 patterns",
            "Memory ran out with batches of 8 patterns",
        ]
        assert "batch_size=4 " in str(caught[-1].message)
        assert forward.sizes == [16, 8, 4, 4, 4, 4, 4, 4]
        # From now on none is too large.
        assert runner.batch_size == 4
        forward.sizes.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            runner.outputs(images)
        assert set(forward.sizes) == {4}

    def test_in_between(self, tiny_bundle, fake_engine, images):
        """What was classified before memory ran out is kept, and not classified again."""
        seen = []

        def forward(images):
            if len(seen) == 2 and len(images) > 4:
                raise MemoryError
            seen.append(len(images))
            return fake_engine.three_pixels(images)

        fake_engine(forward)
        with pytest.warns(UserWarning, match="batches of 8"):
            outputs = Runner(tiny_bundle, batch_size=8).outputs(images)
        logits = fake_engine.three_pixels(images)[1].astype(float)
        expected = softmax(logits / tiny_bundle.temperature, axis=1)
        np.testing.assert_allclose(outputs.probabilities, expected, atol=1e-6)
        assert seen == [8, 8, 4, 4]

    def test_not_even_one(self, tiny_bundle, fake_engine, images):
        forward = Limited(fake_engine.three_pixels, 0, MemoryError("all gone"))
        fake_engine(forward)
        with (
            pytest.warns(UserWarning, match="Memory ran out with batches of"),
            pytest.raises(MemoryError, match="all gone"),
        ):
            Runner(tiny_bundle, batch_size=4).outputs(images)
        assert forward.sizes == [4, 2, 1]

    def test_other_errors(self, tiny_bundle, fake_engine, images):
        forward = Limited(fake_engine.three_pixels, 0, RuntimeError("shapes do not match"))
        fake_engine(forward)
        with pytest.raises(RuntimeError, match="shapes do not match"):
            Runner(tiny_bundle, batch_size=4).outputs(images)
        assert forward.sizes == [4]

    def test_threads(self, tiny_bundle, fake_engine, images):
        """Of several threads whose memory runs out together, one warns."""
        together = threading.Barrier(2)

        def forward(images):
            if len(images) > 4:
                together.wait(10)
                raise MemoryError
            return fake_engine.three_pixels(images)

        fake_engine(forward, concurrency=2)
        runner = Runner(tiny_bundle, batch_size=8)
        found = {}
        with pytest.warns(UserWarning) as caught:
            threads = [
                threading.Thread(target=lambda i=i: found.update({i: runner.outputs(images)}))
                for i in range(2)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(20)
        assert len(caught) == 1
        np.testing.assert_array_equal(found[0].probabilities, found[1].probabilities)

    def test_told_from_others(self):
        assert all(is_out_of_memory(error) for error in OUT_OF_MEMORY)
        assert not is_out_of_memory(RuntimeError("memory format is not supported"))


class TestBatches:
    @pytest.mark.parametrize("n", [1, 8, 9, 23])
    def test_calls(self, tiny_bundle, fake_engine, images, n):
        """As few as can be, and one shape for all: others would be compiled anew."""
        shapes = []

        def forward(images):
            shapes.append(images.shape)
            return fake_engine.three_pixels(images)

        fake_engine(forward)
        ensemble = Ensemble("three", (tiny_bundle,) * 3)
        outputs = Runner(ensemble, batch_size=8).outputs(images[:n])
        assert shapes == [(8, 32, 32, 1)] * (3 * -(-n // 8))
        assert outputs.probabilities.shape == (n, 3)

    # A bug when written: ValueError, there is nothing to join.
    def test_no_images(self, tiny_bundle):
        outputs = Runner(tiny_bundle, precision="float32").outputs(np.zeros((0, 32, 32, 1), "f4"))
        assert outputs.probabilities.shape == (0, 3)

    def test_calls_at_once(self, tiny_bundle, fake_engine, images):
        """As many as the engine gains from, and no more."""
        running, most = Counter(), []
        lock = threading.Lock()
        both = threading.Barrier(2)

        def forward(images):
            with lock:
                running["n"] += 1
                most.append(running["n"])
            both.wait(10)
            with lock:
                running["n"] -= 1
            return fake_engine.three_pixels(images)

        fake_engine(forward, concurrency=2)
        runner = Runner(tiny_bundle, batch_size=23)
        threads = [threading.Thread(target=runner.outputs, args=(images,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert (len(most), max(most)) == (6, 2)

    @pytest.mark.parametrize(
        ("given", "n_patterns", "expected"),
        [(None, None, CPU_BATCH_SIZE), (None, 9, 9), (100, None, 100), (100, 9, 9), (3, 9, 3)],
    )
    def test_size_on_a_cpu(self, tiny_bundle, fake_engine, given, n_patterns, expected):
        def forward(images):
            raise AssertionError("There is nothing to find out.")

        fake_engine(forward)
        runner = Runner(tiny_bundle, batch_size=given, n_patterns=n_patterns)
        assert runner.batch_size == expected

    def test_size_on_an_accelerator(self, tiny_bundle, fake_engine):
        shapes = set()

        def forward(images):
            shapes.add(images.shape)
            return fake_engine.three_pixels(images)

        fake_engine(forward, on_accelerator=True)
        assert Runner(tiny_bundle, n_patterns=40).batch_size == 40
        assert shapes == {(40, 32, 32, 1)}
        shapes.clear()
        assert Runner(tiny_bundle, batch_size=7).batch_size == 7
        assert not shapes


class TestModels:
    def test_ensemble(self, tiny_bundle, images):
        """As without the runner, with engines of its own for each member."""
        members = [tiny_bundle]
        for seed in (1, 2):
            rng = np.random.default_rng(seed)
            network = build_network("tiny", (32, 32, 3), 3)
            network.set_weights([w + rng.uniform(0, 0.05, w.shape) for w in network.get_weights()])
            members.append(replace(tiny_bundle, network=network, temperature=0.5))
        ensemble = Ensemble("three", members, temperature=0.8)
        runner = Runner(ensemble, precision="float32", batch_size=8)
        for found, expected in zip(runner.outputs(images), ensemble.outputs(images), strict=True):
            if expected is None:
                assert found is None
            else:
                np.testing.assert_allclose(found, expected, atol=1e-5)
        assert np.ptp(ensemble.outputs(images).spread) > 0

    def test_description(self, tiny_bundle):
        """That of several members says once what is the same."""
        one = Runner(tiny_bundle, precision="float32")
        two = Runner(Ensemble("two", (tiny_bundle, tiny_bundle)), precision="float32")
        assert one.description == two.description
        assert "CPU" in one.description and one.description.endswith(", float32")


class _Clock:
    """Stands still but while a forward pass runs."""

    def __init__(self, rates, most=10**9):
        self.now, self.sizes = 0.0, []
        self._rates, self._most = rates, most

    def __call__(self):
        return self.now

    def forward(self, images):
        size = len(images)
        self.sizes.append(size)
        if size > self._most:
            raise RuntimeError("CUDA out of memory")
        # The first pass of each size compiles.
        first = self.sizes.count(size) == 1
        self.now += 100.0 if first else size / self._rates.get(size, 1.0)


class TestFindBatchSize:
    shape = (8, 8, 1)

    @pytest.mark.parametrize(
        ("rates", "largest", "expected"),
        [
            # Rises, then hardly.
            ({64: 100, 128: 180, 256: 300, 512: 310}, 4096, 256),
            ({64: 100, 128: 90}, 4096, 64),
            ({64: 100, 128: 200, 256: 400}, 256, 256),
            ({64: 100, 128: 200, 256: 400}, 255, 128),
            ({10: 100}, 10, 10),
        ],
    )
    def test_rates(self, rates, largest, expected):
        clock = _Clock(rates)
        assert find_batch_size(clock.forward, self.shape, largest, clock) == expected
        assert max(clock.sizes) <= largest
        # Timed passes are of shapes that were compiled before.
        assert set(Counter(clock.sizes).values()) == {2}

    @pytest.mark.parametrize(("most", "expected"), [(200, 128), (64, 64), (63, 32)])
    def test_memory(self, most, expected):
        clock = _Clock({64: 1, 128: 2, 256: 4}, most)
        assert find_batch_size(clock.forward, self.shape, 4096, clock) == expected

    def test_memory_for_one(self):
        clock = _Clock({}, most=0)
        assert find_batch_size(clock.forward, self.shape, 1, clock) == 1

    def test_other_errors(self):
        def forward(images):
            raise RuntimeError("no kernel image")

        with pytest.raises(RuntimeError, match="no kernel image"):
            find_batch_size(forward, self.shape, 4096)
