"""How a command is asked to end: SIGTERM is heard from the first moment on, and does not tear what is under way.

The first process of a container gets no signal that it has no handler for: the kernel drops it, as if it was never sent.
Hence `listen` is the first thing the program does, before it loads the libraries, which takes a third of a second. What
comes before Python runs waits where the signal was blocked (the image's entry point sees to it), and is unblocked here.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["SAME_SIGNAL_SECONDS", "Terminated", "exit_code", "held", "listen", "raised"]

_TERMINATED = 128 + signal.SIGTERM
"""The exit code that shells and supervisors give a process which that signal ended."""
_UNTIL_TOLD = frozenset({"run", "sandbox", "produce-samples"})
"""Commands that the signal ends as they are meant to end."""
SAME_SIGNAL_SECONDS = 0.5
"""Supervisors signal a process and then its group (``timeout`` does): that is one request to end, not two."""


class Terminated(KeyboardInterrupt):
    """SIGTERM came."""


def listen() -> None:
    """End at SIGTERM: nothing was begun that could be left half done. `raised` replaces this once something is."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _end_at_once)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})


def exit_code(command: str) -> int:
    """Return the exit code of a command that SIGTERM ended."""
    return 0 if command in _UNTIL_TOLD else _TERMINATED


def _end_at_once(_number: int, _frame: FrameType | None) -> None:
    os.write(sys.stderr.fileno(), b"Ended by SIGTERM before it began.\n")
    os._exit(exit_code("".join(sys.argv[1:2])))


@contextmanager
def raised() -> Iterator[None]:
    """Have SIGTERM raise `Terminated`, as SIGINT raises ``KeyboardInterrupt``."""

    def terminate(_number: int, _frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def held() -> Iterator[Callable[[], None]]:
    """Let a signal wait for the next call of what this gives, which then raises it. A second one does not wait.

    In the midst of a call it would also come out of librdkafka's callbacks as a ``SystemError`` (seen with 2.16).
    """
    asked: list[tuple[float, KeyboardInterrupt]] = []

    def note(number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        error = Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
        if asked and now - asked[0][0] > SAME_SIGNAL_SECONDS:
            raise error
        asked.append((now, error))

    def raise_what_waits() -> None:
        if asked:
            raise asked[0][1]

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield raise_what_waits
    finally:
        for number, usual in before.items():
            signal.signal(number, usual)
