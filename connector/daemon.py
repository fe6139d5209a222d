"""Runs calls that nothing can interrupt, each in a daemon thread.

A look-up of a name hangs in C while the name servers are silent, and so does a read of a file on a
mount that hangs. The caller waits for as long as it wants, then leaves the thread behind. Unlike an
executor's threads, it does not keep the process alive.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

__all__ = ["in_daemon"]

T = TypeVar("T")


def in_daemon(call: Callable[[], T], name: str) -> Future[T]:
    """Start a call in a daemon thread; return the future of its outcome. It cannot be cancelled."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - whoever asked is told
            future.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future
