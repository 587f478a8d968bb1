# SPDX-License-Identifier: GPL-3.0-or-later

"""Patterns classified while they come, round by round."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from orix.crystal_map import CrystalMap

from kikuchipy_cnn._checks import check_integer
from kikuchipy_cnn._outcome import invalid_warning
from kikuchipy_cnn.inference import check_engine
from kikuchipy_cnn.models import Ensemble, ModelBundle, as_model
from kikuchipy_cnn.models.registry import ModelLike
from kikuchipy_cnn.watching.classifier import Classifier
from kikuchipy_cnn.watching.opening import check_name_pattern, open_source
from kikuchipy_cnn.watching.source import Arrivals, NotReady, Source

# Patterns that must be there before it is decided which pixels to use and what to divide by.
_N_TO_DECIDE = 9


@dataclass(frozen=True)
class Round:
    """What has been classified after a look at what there is.

    Parameters
    ----------
    n_new
        Number of patterns that were classified in this round.
    n_done
        Number of patterns that were classified so far.
    n_expected
        Number of patterns of the whole map, or None if nobody knows.
    counts
        Number of patterns so far by the name of their class, in the order of the model; those that
        are not indexed come last.
    latency
        Seconds from the arrival of the new pattern that waited longest until it was classified, at
        most: it is not known when a file was written between two looks.
    speed
        Patterns per second that were read and classified.
    finished
        When the round was finished, in seconds since the epoch.

    Examples
    --------
    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn.watching import PatternStream
    >>> kp.data.nickel_ebsd_small().save("nickel.h5")
    >>> stream = PatternStream("nickel.h5", "fast_fewshot", timeout=5)
    >>> last = list(stream)[-1]
    >>> last.n_done, last.n_expected
    (9, 9)
    >>> last.xmap.shape
    (3, 3)
    """

    n_new: int
    n_done: int
    n_expected: int | None
    counts: dict[str, int]
    latency: float
    speed: float
    finished: float
    _make_map: Callable[[int], CrystalMap] = field(repr=False)

    @cached_property
    def xmap(self) -> CrystalMap:
        """Crystal map as of :func:`~kikuchipy_cnn.classify_space_group`.

        Points whose patterns have not come yet are not in its data.
        """
        return self._make_map(self.n_done)

    def __str__(self) -> str:
        expected = "" if self.n_expected is None else f" of {self.n_expected}"
        counts = ", ".join(f"{name} {count}" for name, count in self.counts.items() if count)
        return (
            f"{time.strftime('%H:%M:%S', time.localtime(self.finished))}  "
            f"{self.n_done}{expected} patterns: {counts}; {self.speed:.0f} patterns/s, "
            f"latency {self.latency:.1f} s"
        )


class PatternStream:
    """Classifies the patterns of a scan that is still being written.

    Iterate over it: there is a :class:`Round` whenever new patterns were classified. It ends when
    the map is complete, nothing has come for some time, or :meth:`stop` is called. The model is
    loaded and compiled when the stream is made.

    Parameters
    ----------
    path
        What to watch, which need not be there yet: an HDF5 file that kikuchipy reads, of a map that
        is filled or lengthened in the order of the scan; NORDIF's *.dat* beside its *Setting.txt*;
        a folder with one such file; a folder that images of single patterns arrive in, *.tif*,
        *.png* or *.bmp*; or images by a name with wildcards.
    model, max_risk, reject
        As for :func:`~kikuchipy_cnn.classify_space_group`.
    signal_mask, static_background
        As for :func:`~kikuchipy_cnn.classify_space_group`. What is not given is decided from the
        first nine patterns, for good.
    name_pattern
        Regular expression for the names of images with a group of digits for the column and one for
        the row, in this order, or groups of the names x and y. If not given, ``_x(\\d+)y(\\d+)``
        and ``-(\\d+)-(\\d+)`` are tried before the suffix, as kikuchipy does. If no name is like
        this, images are a line in the order of their names.
    shape
        Rows and columns of the map that images make. If not given, the map becomes larger as
        they come, and is never complete.
    interval
        Seconds from one look to the next one.
    timeout
        Seconds without a new pattern after which the stream ends. If not given, it does not.
    engine, precision, batch_size
        As for :func:`~kikuchipy_cnn.classify_space_group`.
    report
        Function that is called with what the user is to know, a line of text.

    Attributes
    ----------
    ended
        Why the stream has ended: ``"complete"``, ``"timeout"`` or ``"stopped"``. None before.

    Raises
    ------
    ValueError
        If an argument makes no sense, there is no such model, or the risk cannot be had. While
        iterating, if what is there cannot be watched or classified, or is not what was there.
    TimeoutError
        While iterating, if no pattern has come at all.

    Warns
    -----
    UserWarning
        If some patterns are constant or have values that are not finite, at the end.

    Examples
    --------
    The file is complete here. While a microscope writes, there are more
    rounds.

    >>> import kikuchipy as kp
    >>> from kikuchipy_cnn.watching import PatternStream
    >>> kp.data.nickel_ebsd_small().save("nickel.h5")
    >>> stream = PatternStream("nickel.h5", "fast_fewshot", timeout=5)
    >>> for one in stream:
    ...     print(one.n_done, "of", one.n_expected)
    9 of 9
    >>> stream.ended
    'complete'
    """

    def __init__(
        self,
        path: str | os.PathLike,
        model: ModelLike | Sequence[ModelLike] = "xception_fewshot",
        *,
        max_risk: float | None = None,
        reject: bool = True,
        signal_mask: np.ndarray | None = None,
        static_background: np.ndarray | bool | None = None,
        name_pattern: str | None = None,
        shape: tuple[int, int] | None = None,
        interval: float = 1.0,
        timeout: float | None = None,
        engine: str = "auto",
        precision: str = "auto",
        batch_size: int | None = None,
        report: Callable[[str], object] = print,
    ) -> None:
        for name, seconds in (("interval", interval), ("timeout", timeout)):
            if seconds is not None and not seconds > 0:
                raise ValueError(f"{name}={seconds!r} must be a positive number of seconds.")
        if name_pattern is not None:
            check_name_pattern(name_pattern)
        for size in shape or ():
            check_integer("shape", size, 1)
        if batch_size is not None:
            check_integer("batch_size", batch_size, 1)
        check_engine(engine, precision)
        self._path = Path(path)
        self._images = {"name_pattern": name_pattern, "shape": shape, "report": report}
        self._interval, self._timeout, self._report = interval, timeout, report
        self._stop = threading.Event()
        self._reported: str | None = None
        self._has_begun = False
        self.ended: str | None = None
        self._classifier = Classifier(
            as_model(model),
            max_risk=max_risk,
            reject=reject,
            signal_mask=signal_mask,
            static_background=static_background,
            engine=engine,
            precision=precision,
            batch_size=batch_size,
        )

    @property
    def model(self) -> ModelBundle | Ensemble:
        """The model."""
        return self._classifier.model

    @property
    def engine(self) -> str:
        """What runs the networks, and in which precision, for people."""
        return self._classifier.engine

    @property
    def signal_mask(self) -> np.ndarray | None:
        """Boolean mask of shape (rows, columns), False for the pixels used.

        None for all pixels, and before the first round.
        """
        return self._classifier.signal_mask

    @property
    def static_background(self) -> np.ndarray | None:
        """Background of shape (rows, columns) that patterns are divided by.

        None for none, and before the first round.
        """
        background = self._classifier.static_background
        return background if isinstance(background, np.ndarray) else None

    def stop(self) -> None:
        """End the stream after the round that is at work, if there is one.

        It can be called by any thread.
        """
        self._stop.set()

    def __iter__(self) -> Iterator[Round]:
        if self.ended is not None:
            return
        # From the start again, patterns would count twice.
        if self._has_begun:
            raise RuntimeError(
                f"The stream of '{self._path}' has been begun already and was left. Make another "
                "one, which classifies from the first pattern on."
            )
        self._has_begun = True
        source = self._wait_for_source()
        if source is not None:
            yield from self._rounds(source)
        if self._classifier.n_invalid:
            message = invalid_warning(self._classifier.n_invalid, self._classifier.n_done)
            warnings.warn(message, UserWarning, stacklevel=2)

    def _wait_for_source(self) -> Source | None:
        start, looked = time.monotonic(), time.time()
        while not self._stop.is_set():
            now = time.time()
            try:
                return open_source(self._path, since=looked, **self._images)
            except NotReady as reason:
                self._say_once(f"Waiting: {reason}")
                if self._is_over(start):
                    raise TimeoutError(
                        f"No pattern has come for {self._timeout:g} s. {reason}"
                    ) from reason
            looked = now
            self._stop.wait(self._interval)
        self.ended = "stopped"
        return None

    def _rounds(self, source: Source) -> Iterator[Round]:
        waiting: list[Arrivals] = []
        news = time.monotonic()
        last = is_decided = False
        while self.ended is None:
            start, started = time.monotonic(), time.perf_counter()
            arrivals = self._look(source, last)
            if arrivals is not None and len(arrivals.patterns):
                waiting.append(arrivals)
                news = time.monotonic()
            n_waiting = sum(len(one.patterns) for one in waiting)
            more = arrivals is not None and arrivals.more
            if self._classifier.n_done + n_waiting == source.n_expected:
                self.ended = "complete"
            elif self._stop.is_set():
                self.ended = "stopped"
            elif last and not more:
                self.ended = "timeout"
            if n_waiting and (is_decided or n_waiting >= _N_TO_DECIDE or self.ended):
                patterns = np.concatenate([one.patterns for one in waiting])
                since = np.concatenate([one.since for one in waiting])
                waiting.clear()
                if not is_decided:
                    self._classifier.decide(patterns, source.static_background)
                    is_decided = True
                yield self._round(source, patterns, since, started)
            if self.ended == "timeout" and not self._classifier.n_done:
                raise TimeoutError(f"No pattern has come for {self._timeout:g} s.")
            last = self._is_over(news)
            if not (self.ended or more or last):
                self._stop.wait(max(0.0, start + self._interval - time.monotonic()))

    def _look(self, source: Source, last: bool) -> Arrivals | None:
        # A look costs a moment; what was asked to stop is not to read on.
        if self._stop.is_set():
            return None
        try:
            return source.look(last)
        except NotReady as reason:
            self._say_once(f"Waiting: {reason}")
            return None

    def _round(
        self, source: Source, patterns: np.ndarray, since: np.ndarray, started: float
    ) -> Round:
        classifier = self._classifier
        classifier.classify(patterns)
        finished = time.time()
        counts = {name: classifier.counts[name] for name in classifier.model.classes.names}
        counts["not indexed"] = classifier.n_done - sum(counts.values())
        return Round(
            n_new=len(patterns),
            n_done=classifier.n_done,
            n_expected=source.n_expected,
            counts=counts,
            latency=float(finished - since.min()),
            speed=len(patterns) / (time.perf_counter() - started),
            finished=finished,
            _make_map=lambda n: classifier.crystal_map(source.layout(n)),
        )

    def _is_over(self, since: float) -> bool:
        return self._timeout is not None and time.monotonic() - since >= self._timeout

    def _say_once(self, text: str) -> None:
        if text != self._reported:
            self._report(text)
            self._reported = text
