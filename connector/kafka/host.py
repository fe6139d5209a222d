"""The clock and the threads of the machine, as one object that a simulation can replace.

The rest of this room takes clocks, threads and queues from here, and not from the standard library.
So a test gives it a host with virtual time and threads that take turns, and patches no module.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

__all__ = ["HOST", "Host", "Semaphore"]

Semaphore = threading.Semaphore


class Host:
    """The clock and the threads of this machine."""

    monotonic = staticmethod(time.monotonic)
    """Seconds since some fixed point. It is the function itself, because it is called for each
    record."""

    def sleep(self, seconds: float) -> None:
        """Block the calling thread."""
        time.sleep(seconds)

    def event(self) -> threading.Event:
        """Make an event."""
        return threading.Event()

    def local(self) -> Any:
        """Make an object whose attributes each thread has to itself."""
        return threading.local()

    def semaphore(self, value: int) -> threading.Semaphore:
        """Make a semaphore."""
        return threading.Semaphore(value)

    def queue(self) -> queue.SimpleQueue[Any]:
        """Make a queue."""
        return queue.SimpleQueue()

    def thread(self, run: Callable[[], None], name: str) -> threading.Thread:
        """Make a thread that does not keep the process alive."""
        return threading.Thread(target=run, name=name, daemon=True)


HOST = Host()
"""This machine: the default wherever a host is asked for."""
