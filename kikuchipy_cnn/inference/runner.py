# SPDX-License-Identifier: GPL-3.0-or-later

"""A model as it is run on this machine."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable

import numpy as np

from kikuchipy_cnn.inference.batches import filled_up
from kikuchipy_cnn.inference.engines import Engine, compiled
from kikuchipy_cnn.models.bundle import ModelBundle, Outputs
from kikuchipy_cnn.models.ensemble import Ensemble, members_of

# On a CPU, larger batches than this gain nothing and take memory.
CPU_BATCH_SIZE = 64
# Batches tried on an accelerator, up to the first that gains less than this factor over the last.
_LARGEST_BATCH_SIZE = 4096
_LEAST_GAIN = 1.05
# Phrases by which TensorFlow, torch, JAX and drivers say that memory has run out.
_OUT_OF_MEMORY = (
    "out of memory",
    "resource_exhausted",
    "resourceexhausted",
    "oom when allocating",
)


class Runner:
    """Runs the networks of a model with compiled engines.

    Batches that do not fit into memory are halved, now and from then on. Calls from several threads
    are as many at once as the engine gains from.

    Parameters
    ----------
    model
        Model.
    engine, precision, threads
        As for :func:`~kikuchipy_cnn.inference.engines.compiled`.
    batch_size
        Number of patterns that a network takes at once. If not given, it is found.
    n_patterns
        Number of patterns that there are to classify, if it is known: batches need not be larger.
    """

    def __init__(
        self,
        model: ModelBundle | Ensemble,
        *,
        engine: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        batch_size: int | None = None,
        n_patterns: int | None = None,
    ) -> None:
        self.model = model
        self.engines: tuple[Engine, ...] = tuple(
            compiled(member.network, engine, precision, threads) for member in members_of(model)
        )
        if batch_size is None:
            batch_size = self._find_batch_size(n_patterns)
        self.batch_size = batch_size if n_patterns is None else min(batch_size, max(n_patterns, 1))
        self._free = threading.BoundedSemaphore(self.concurrency)

    @property
    def concurrency(self) -> int:
        """How many calls at once pay."""
        return min(engine.concurrency for engine in self.engines)

    @property
    def on_accelerator(self) -> bool:
        """Whether it runs on something else than the CPU."""
        return any(engine.on_accelerator for engine in self.engines)

    @property
    def description(self) -> str:
        """Engine and precision, for people."""
        return " and ".join(dict.fromkeys(map(str, self.engines)))

    def outputs(self, images: np.ndarray) -> Outputs:
        """Classify preprocessed patterns.

        Parameters
        ----------
        images
            As for :meth:`ModelBundle.outputs() <kikuchipy_cnn.ModelBundle.outputs>`, of any number.

        Returns
        -------
        outputs
            As that returns them.
        """
        each = []
        for engine, member in zip(self.engines, members_of(self.model), strict=True):
            with self._free:
                features, logits = self._run(engine.forward, member.network_input(images))
            each.append(member.outputs_of(features.astype(np.float64), logits.astype(np.float64)))
        return self.model.outputs_of(each) if isinstance(self.model, Ensemble) else each[0]

    def _run(
        self, forward: Callable[[np.ndarray], tuple[np.ndarray, ...]], images: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """Call a function of images in batches of one size, smaller ones once memory runs out."""
        parts, start = [], 0
        # Of no images, too, something has to tell the shape of the outputs.
        while start < len(images) or not parts:
            size = self.batch_size
            batch = images[start : start + size]
            n = len(batch)
            try:
                parts.append([values[:n] for values in forward(filled_up(batch, size))])
            except Exception as error:
                if size == 1 or not is_out_of_memory(error):
                    raise
                self._halve(size)
            else:
                start += n
        return tuple(np.concatenate(values) for values in zip(*parts, strict=True))

    def _halve(self, size: int) -> None:
        # Another thread may have been here before.
        if self.batch_size == size:
            self.batch_size = size // 2
            warnings.warn(
                f"Memory ran out with batches of {size} patterns. They are of {size // 2} from "
                f"here on; pass batch_size={size // 2} to begin with it.",
                stacklevel=2,
            )

    def _find_batch_size(self, n_patterns: int | None) -> int:
        if not self.on_accelerator:
            return CPU_BATCH_SIZE
        largest = _LARGEST_BATCH_SIZE if n_patterns is None else n_patterns
        first, member = self.engines[0], members_of(self.model)[0]
        shape = member.network.input_shape[1:]
        return find_batch_size(first.forward, shape, min(largest, _LARGEST_BATCH_SIZE))


def find_batch_size(
    forward: Callable[[np.ndarray], object],
    shape: tuple[int, int, int],
    largest: int,
    clock: Callable[[], float] = time.perf_counter,
) -> int:
    """Find the batch size from which on a device gets no faster.

    Parameters
    ----------
    forward
        Function of images of shape (n, *shape).
    shape
        Rows, columns and channels.
    largest
        Largest size to try.
    clock
        Function that tells the time in seconds.

    Returns
    -------
    batch_size
        A doubling of 64, or *largest* if that is smaller. Where memory does not suffice for the
        first one, half of it.
    """
    size = best = min(CPU_BATCH_SIZE, largest)
    best_rate = 0.0
    while size <= largest:
        images = np.zeros((size, *shape), np.float32)
        try:
            forward(images)  # compiles
            start = clock()
            forward(images)
            rate = size / (clock() - start)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return max(1, min(best, size // 2))
        if rate < _LEAST_GAIN * best_rate:
            return best
        size, best, best_rate = 2 * size, size, rate
    return best


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error of any backend says that memory has run out.

    Parameters
    ----------
    error
        Error.
    """
    text = f"{type(error).__name__}: {error}".lower()
    return isinstance(error, MemoryError) or any(phrase in text for phrase in _OUT_OF_MEMORY)
