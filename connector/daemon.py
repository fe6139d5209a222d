"""Calls that nothing can interrupt, each in a thread of its own.

A call of C that hangs, as a look-up of a name does while the name servers are silent, ends when it
likes. Whoever asked waits for as long as it wants, and leaves the thread behind. Such a thread does
not keep the process alive, unlike those of an executor.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

__all__ = ["in_daemon"]

T = TypeVar("T")


def in_daemon(call: Callable[[], T], name: str) -> Future[T]:
    """Begin a call in a daemon thread; return its outcome to come, which cannot be cancelled."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - whoever asked is told
            future.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
