# SPDX-License-Identifier: GPL-3.0-or-later

"""Work in another thread in front of a network."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")


def in_background(items: Iterator[T], ahead: int = 4) -> Iterator[T]:
    """Iterate in another thread, at most *ahead* items ahead.

    An error in the thread is raised where the items are used, and the thread ends when the
    iteration is given up.
    """
    waiting: queue.Queue = queue.Queue(ahead)
    stop = threading.Event()
    end = object()

    def put(item) -> None:
        while not stop.is_set():
            try:
                return waiting.put(item, timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put(item)
                if stop.is_set():
                    return
            put(end)
        except BaseException as error:  # handed to the thread that waits for it
            put(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not end:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()
