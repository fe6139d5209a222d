"""A pipeline between a full topic and a vendor, in virtual time: how fast it sends when the vendor fails."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import replace
from heapq import heappop, heappush
from random import Random

from connector.core import commands, inputs, status
from connector.core.batching import BatchPolicy
from connector.core.dispatch import DispatchPolicy
from connector.core.pipeline import Pipeline
from connector.core.policy import BufferPolicy, FlushPolicy, Policy
from connector.model import DELIVERED, Answer, Failure, Moment, RequestFailed, Verdicts
from tests.core.builders import NOW_MS, PLACE, at, poll_of
from tests.core.conversation import POLICY, a_recovery

__all__ = ["UNAVAILABLE", "Play", "Vendor"]

Vendor = Callable[[float], tuple[float, RequestFailed | None]]
"""Takes the second at which a request arrives; returns the seconds until its answer, and its failure, if it fails."""

UNAVAILABLE = RequestFailed(Failure.TRANSIENT, "http-503", status=503)
_BATCH = 2
_POLL = 100
_LEDGER_SECONDS = 0.01


def _policy(max_in_flight: int) -> Policy:
    batch = BatchPolicy(_BATCH, 100_000, 1.0)
    dispatch = DispatchPolicy(batch, POLICY.dispatch.envelope, max_in_flight=max_in_flight, poll_gate_seconds=22.5)
    return replace(POLICY, dispatch=dispatch, buffer=BufferPolicy(4_000, 1_000_000), flush=FlushPolicy())


class Play:
    """One run. Events come as fast as they are taken, or ``per_second``."""

    def __init__(
        self,
        vendor: Vendor,
        *,
        max_in_flight: int = 8,
        per_second: float | None = None,
        events: int = 1_000_000,
        seed: int = 1,
    ) -> None:
        self._vendor = vendor
        self._dice = Random(seed)
        self._pipeline = Pipeline(_policy(max_in_flight))
        self._per_second = per_second
        self._left = events
        self._now = 0.0
        self._offset = 0
        self._coming: list[tuple[float, int, inputs.Input]] = []
        self._number = 0
        self._ledger_end = 0
        self.arrivals: list[float] = []
        """When each request arrived."""
        self.refused: list[float] = []
        """When each request arrived that was refused."""
        self.taken: list[float] = []
        """When each request was answered that was taken."""
        self._tell(inputs.Assigned(PLACE, 1))

    def until(self, seconds: float) -> Play:
        """Play on until then."""
        while True:
            wake_at = self._pipeline.wake_at(self._moment())
            produced = self._produced_at()
            times = [time for time in (wake_at, produced) if time is not None]
            if self._coming:
                times.append(self._coming[0][0])
            now = max(min(times, default=seconds), self._now)
            if now >= seconds:
                self._now = seconds
                return self
            self._now = now
            if self._coming and self._coming[0][0] <= now:
                self._tell(heappop(self._coming)[2])
            elif produced is not None and produced <= now:
                self._poll()
            else:
                self._now += 1e-6 if wake_at is not None and wake_at <= now else 0.0
                self._tell(inputs.TimePassed())

    def rate(self, begins: float, ends: float) -> float:
        """Return how many requests were taken a second, between these seconds."""
        return (bisect_right(self.taken, ends) - bisect_left(self.taken, begins)) / (ends - begins)

    def full_speed_after(self, since: float, rate: float, *, window: float = 0.5) -> float:
        """Return the seconds from ``since`` until nine tenths of this rate were taken for a while; infinity for never."""
        ends = (each for each in self.taken if each >= since + window)
        return next((each - since - window for each in ends if self.rate(each - window, each) >= 0.9 * rate), float("inf"))

    def _moment(self) -> Moment:
        return at(self._now, chance=self._dice.random())

    def _produced_at(self) -> float | None:
        room = status.buffered_events(self._pipeline) < _POLL
        if not self._left or not room or not any(each.fetching for each in self._pipeline.assignments):
            return None
        return self._now if self._per_second is None else self._offset / self._per_second

    def _poll(self) -> None:
        count = min(_POLL if self._per_second is None else 1, self._left)
        shapes = [(self._offset + each, None, b"{}", NOW_MS + round(self._now * 1000)) for each in range(count)]
        self._offset, self._left = self._offset + count, self._left - count
        self._tell(inputs.Polled((poll_of(*shapes),)))

    def _tell(self, told: inputs.Input) -> None:
        for command in self._pipeline.handle(told, self._moment()):
            match command:
                case commands.Restore(_, generation):
                    self._later(0.0, inputs.Restored(generation, a_recovery()))
                case commands.AppendFacts(_, generation):
                    self._ledger_end += 1
                    append_ms = NOW_MS + round((self._now + _LEDGER_SECONDS) * 1000)
                    self._later(_LEDGER_SECONDS, inputs.FactsAppended(generation, self._ledger_end, append_ms))
                case commands.Send():
                    self._send(command)
                case _:
                    pass

    def _send(self, command: commands.Send) -> None:
        seconds, failure = self._vendor(self._now)
        self.arrivals.append(self._now)
        if failure is not None:
            self.refused.append(self._now)
        else:
            self.taken.append(self._now + seconds)
        answer: Answer = failure or Verdicts([DELIVERED] * command.count)
        self._later(seconds, inputs.RequestFinished(command.request, answer))

    def _later(self, seconds: float, told: inputs.Input) -> None:
        self._number += 1
        heappush(self._coming, (self._now + seconds, self._number, told))
