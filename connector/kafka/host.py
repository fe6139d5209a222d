"""The clock and the threads of the machine, as one object that a simulation can replace.

Nothing else in this room imports ``time``, ``threading`` or ``queue`` for what the simulation
plays, so that a test gives virtual time and threads that take turns instead of patching modules.
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
    """Seconds since some fixed point. Asked once a record, so there is no call of ours in
    between."""

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
