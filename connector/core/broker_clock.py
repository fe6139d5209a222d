"""The brokers' clock, heard through the ledger.

It shows whether the wall clock may be believed, and whether the brokers answer.

Every ledger entry comes back with the time at which a broker appended it. That makes each append an
anchor for the wall clock, and a sign of life. Staleness is the one outcome that keeps no copy of an
event, so a clock is believed only while it agrees with the brokers' (docs/how-it-works.md#clocks).
And a process whose ledger is silent may have lost its partitions without knowing.

While nothing may be sent, nothing would be written either, and so nothing would be heard: `probe`
asks for an empty entry every few seconds.
"""

from __future__ import annotations

from collections.abc import Iterable

from connector.model import Moment

__all__ = ["PROBE_SECONDS", "BrokerClock"]

PROBE_SECONDS = 5.0
"""While the clocks disagree, or the ledger is silent, the brokers are asked this often."""


class BrokerClock:
    """Compares the wall clock with the brokers', and watches for their silence."""

    __slots__ = (
        "_anchor",
        "_confirmed_at",
        "_max_silence_seconds",
        "_max_skew_ms",
        "agrees",
        "disagreement_ms",
        "probe_at",
        "silent",
    )

    def __init__(self, max_skew_ms: int, max_silence_seconds: float) -> None:
        self._max_skew_ms = max_skew_ms
        self._max_silence_seconds = max_silence_seconds
        self._anchor: float | None = None  # brokers' milliseconds at monotonic second 0
        self._confirmed_at = float("-inf")  # monotonic second of the last append confirmed
        self.disagreement_ms = 0
        """How far the wall clock was ahead of the brokers' at the last look."""
        self.agrees = True
        """Whether the wall clock may be believed; before any append nothing contradicts it."""
        self.silent = False
        """Whether the ledger has not answered for longer than it may."""
        self.probe_at = 0.0
        """Monotonic second of the next probe, while one is needed."""

    def look(self, now: Moment) -> None:
        """Compare the clocks."""
        self.disagreement_ms = now.wall_ms - self.brokers_ms(now)
        self.agrees = abs(self.disagreement_ms) <= self._max_skew_ms

    def brokers_ms(self, now: Moment) -> int:
        """Return the time by the brokers' clock in milliseconds.

        Before the first append is confirmed, this is our own clock.
        """
        return now.wall_ms if self._anchor is None else round(self._anchor + now.monotonic * 1000)

    def appended(self, append_ms: int | None, now: Moment) -> None:
        """Note an append that was confirmed just now, and its time by the broker, if it has one."""
        self._confirmed_at = now.monotonic
        if append_ms is not None:
            self._anchor = append_ms - now.monotonic * 1000
            self.look(now)

    def listen(self, unconfirmed_since: Iterable[float | None], now: Moment) -> None:
        """Judge the silence.

        The argument says for each partition since when it waits for an append, or None.

        The trouble of one partition does not silence the ledger: an append of any other ends it.
        """
        since = min((each for each in unconfirmed_since if each is not None), default=None)
        self.silent = since is not None and now.monotonic - max(since, self._confirmed_at) > self._max_silence_seconds

    def probe(self, now: Moment) -> bool:
        """Return whether to ask for an empty entry now, because nothing else would ask the brokers.

        Without it one ledger partition that cannot be written would stop all others: they have
        nothing to write, so nothing is ever confirmed.
        """
        if (self.agrees and not self.silent) or now.monotonic < self.probe_at:
            return False
        self.probe_at = now.monotonic + PROBE_SECONDS
        return True
