"""Handles SIGTERM and SIGINT from the first moment on, without tearing apart what is under way.

Three stages, each with its handler:

    libraries are loaded      `listen`   either ends the process at once
    a command is at work      `raised`   SIGTERM raises `Terminated`, SIGINT `KeyboardInterrupt`
    within a call to Kafka    `held`     a first signal waits until the call has returned

The first process of a container receives no signal that it has no handler for: the kernel drops
such a signal. An exception amid the loading of a library in C may crash the process (seen with
confluent-kafka 2.16). So `listen` is the first thing the program does, before it loads the
libraries, which takes a third of a second. An import of the program changes no handler. A signal
that comes before Python runs stays pending if signals were blocked (the entry point of the image
blocks them), and `listen` unblocks it.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import FrameType

__all__ = ["SAME_SIGNAL_SECONDS", "Terminated", "exit_code", "held", "listen", "program", "raised"]

_INTERRUPTED = 1
_TERMINATED = 128 + signal.SIGTERM
"""Exit code that shells and supervisors use for a process that SIGTERM ended."""
_UNTIL_SIGNALLED = frozenset({"run", "sandbox", "produce-samples"})
"""Commands that run until a signal ends them. For them that is success."""
SAME_SIGNAL_SECONDS = 0.5
"""Two signals within this time count as one request. Supervisors such as ``timeout`` signal a
process and then its group."""


class Terminated(KeyboardInterrupt):
    """SIGTERM came."""


def program() -> int:
    """Run the program, and return its exit code. The console script calls it."""
    listen()
    code: int = import_module("connector.__main__").main()
    return code


def listen() -> None:
    """End the process at SIGTERM and SIGINT, until `raised` replaces this handler.

    No work has begun by then that could be left half done. A shell's job in the background ignores
    SIGINT, and goes on to do so.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end_at_once)
    signal.signal(signal.SIGTERM, _end_at_once)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})


def exit_code(command: str) -> int:
    """Return the exit code of a command that SIGTERM ended."""
    return 0 if command in _UNTIL_SIGNALLED else _TERMINATED


def _end_at_once(number: int, _frame: FrameType | None) -> None:
    interrupted = number == signal.SIGINT
    os.write(2, b"Interrupted.\n" if interrupted else b"Ended by SIGTERM before it began.\n")
    os._exit(_INTERRUPTED if interrupted else exit_code("".join(sys.argv[1:2])))


@contextmanager
def raised() -> Iterator[None]:
    """Make SIGTERM raise `Terminated`, and SIGINT ``KeyboardInterrupt`` again after `listen`."""

    def terminate(_number: int, _frame: FrameType | None) -> None:
        raise Terminated

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        signal.signal(signal.SIGTERM, terminate)
        if before[signal.SIGINT] is _end_at_once:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
    finally:
        for number, usual in before.items():
            signal.signal(number, usual)


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
