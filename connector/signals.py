"""Handles SIGTERM and SIGINT from the first moment on, without tearing apart what is under way.

Three stages, each with its handler:

    libraries are loaded      `listen`   SIGTERM ends the process at once
    a command is at work      `raised`   SIGTERM raises `Terminated`, like SIGINT
    within a call to Kafka    `held`     a first signal waits until the call has returned

The first process of a container receives no signal that it has no handler for: the kernel drops
such a signal. So `listen` is the first thing the program does, before it loads the libraries, which
takes a third of a second. A signal that comes before Python runs stays pending if signals were
blocked (the entry point of the image blocks them), and `listen` unblocks it.
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
"""Exit code that shells and supervisors use for a process that SIGTERM ended."""
_UNTIL_SIGNALLED = frozenset({"run", "sandbox", "produce-samples"})
"""Commands that run until a signal ends them. For them that is success."""
SAME_SIGNAL_SECONDS = 0.5
"""Two signals within this time count as one request. Supervisors such as ``timeout`` signal a
process and then its group."""


class Terminated(KeyboardInterrupt):
    """SIGTERM came."""


def listen() -> None:
    """End the process at SIGTERM, until `raised` replaces this handler.

    No work has begun by then that could be left half done.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _end_at_once)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})


def exit_code(command: str) -> int:
    """Return the exit code of a command that SIGTERM ended."""
    return 0 if command in _UNTIL_SIGNALLED else _TERMINATED


def _end_at_once(_number: int, _frame: FrameType | None) -> None:
    os.write(sys.stderr.fileno(), b"Ended by SIGTERM before it began.\n")
    os._exit(exit_code("".join(sys.argv[1:2])))


@contextmanager
def raised() -> Iterator[None]:
    """Make SIGTERM raise `Terminated`, as SIGINT raises ``KeyboardInterrupt``."""

    def terminate(_number: int, _frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def held() -> Iterator[Callable[[], None]]:
    """Delay the first signal; yield a function that raises it. A second signal is raised at once.

    In the middle of a call, a signal would also surface as a ``SystemError`` from the callbacks of
    librdkafka (seen with confluent-kafka 2.16).
    """
    asked: list[tuple[float, KeyboardInterrupt]] = []

    def note(number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        error = Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
        if asked and now - asked[0][0] > SAME_SIGNAL_SECONDS:
            raise error
        asked.append((now, error))

    def raise_delayed() -> None:
        if asked:
            raise asked[0][1]

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield raise_delayed
    finally:
        for number, usual in before.items():
            signal.signal(number, usual)
