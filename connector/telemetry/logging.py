"""How log lines are written: ours and those of the libraries, in one format."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any, TextIO

import structlog

__all__ = ["REPEAT_SECONDS", "configure_logging"]

REPEAT_SECONDS = 10.0
"""Interval at which a line that repeats is written, with the number of lines left out."""
_FOREIGN_LINES = 10
"""Maximum lines of one library's logger per interval: enough for a traceback or two, and for what
led to it."""


def configure_logging(level: str, style: str) -> None:
    """Write structured lines to standard error: ``json`` for machines, ``console`` for people."""
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if style == "console"
        else structlog.processors.JSONRenderer()
    )
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    shared: list[Any] = [structlog.processors.add_log_level, stamp, structlog.processors.format_exc_info, _event_first]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # Lines of the libraries (aiohttp, asyncio, librdkafka), in the same format.
    lines = _Throttled(sys.stderr)
    lines.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    lines.addFilter(_Seldom())
    logging.basicConfig(level=max(logging.WARNING, getattr(logging, level.upper())), handlers=[lines], force=True)


class _Seldom(logging.Filter):
    """Passes one line of each kind from librdkafka per `REPEAT_SECONDS`, as a warning.

    While no broker is reachable, each client logs every attempt to connect to each of them: two
    lines a second. The connector's own lines say when an operator is needed.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said_at: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to write the line."""
        if record.name.partition(".")[0] != "librdkafka":
            return True
        what = record.getMessage().partition(" ")[0]  # "FAIL", "REQTMOUT"
        if record.created - self._said_at.get(what, 0.0) < REPEAT_SECONDS:
            return False
        self._said_at[what] = record.created
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


class _Throttled(logging.StreamHandler[TextIO]):
    """Writes up to `_FOREIGN_LINES` of each library's logger per `REPEAT_SECONDS`.

    After that interval it writes how many lines were left out. A library may log one fault for
    every connection, and at every attempt.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._written: dict[str, _Written] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line, or count it as left out. Called under the handler's lock."""
        written = self._written.get(record.name)
        if written is None or (not written.left_out and not 0 <= record.created - written.since < REPEAT_SECONDS):
            written = self._written[record.name] = _Written(record.created)
        written.lines += 1
        if written.lines <= _FOREIGN_LINES:
            super().emit(record)
            return
        if not written.left_out:
            timer = threading.Timer(REPEAT_SECONDS, self._say_left_out, [record.name])
            timer.daemon = True
            timer.start()
        written.left_out += 1

    def _say_left_out(self, name: str) -> None:
        with self.lock or threading.Lock():
            count = self._written.pop(name).left_out
            what = "%d lines of this logger were left out"
            super().emit(logging.LogRecord(name, logging.WARNING, "", 0, what, (count,), None))


@dataclass(slots=True)
class _Written:
    """The lines of one logger since a point in time."""

    since: float
    lines: int = 0
    left_out: int = 0


def _event_first(_logger: object, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Order a line as people read it: timestamp, level, event, then the rest."""
    first = {name: fields.pop(name) for name in ("timestamp", "level", "event") if name in fields}
    return first | dict(fields)
