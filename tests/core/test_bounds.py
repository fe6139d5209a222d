"""The buffer's bounds hold for any input in any order, with headroom for the polls under way."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import replace
from random import Random

import pytest

from connector.core import commands, inputs, status
from connector.core.policy import BufferPolicy
from connector.model import DELIVERED, Failure, RequestFailed, Verdicts
from tests.core.builders import NOW_MS, poll_of
from tests.core.conversation import POLICY, Conversation

_POSTED = 2
"""Polls that may wait to be handled; the consumer holds one more in its hands (`connector.kafka.consumer`)."""
_POLL_EVENTS = 5
_POLL_BYTES = 900


class Consumer:
    """The consumer's thread as far as it matters here: commands reach it between two polls only."""

    def __init__(self, talk: Conversation) -> None:
        self._talk = talk
        self._told: list[commands.Command] = []
        self._posted: deque[inputs.Polled] = deque()
        self._in_hand: inputs.Polled | None = None
        self._fetching = False
        self._offset = 0

    def told(self, out: list[commands.Command]) -> None:
        self._told += out

    def turn(self, sizes: list[int], keys: list[str | None]) -> None:
        """Carry out what it was told, and poll; a thread that waits for a slot does neither."""
        if self._in_hand is not None:
            return
        for command in self._told:
            if isinstance(command, commands.Pause | commands.Resume):
                self._fetching = isinstance(command, commands.Resume)
        self._told = []
        if not self._fetching:
            return
        shapes = [(self._offset + at, key, b"%d" % (self._offset + at), NOW_MS) for at, key in enumerate(keys)]
        self._offset += len(shapes)
        self._in_hand = inputs.Polled((poll_of(*shapes, sizes=sizes),))
        self._post()

    def handled(self) -> None:
        """The loop takes the next poll."""
        if self._posted:
            self.told(self._talk.tell(self._posted.popleft()))
            self._post()

    def _post(self) -> None:
        if self._in_hand is not None and len(self._posted) < _POSTED:
            self._posted.append(self._in_hand)
            self._in_hand = None


@pytest.mark.parametrize("large", [0.0, 0.5, 1.0], ids=["small records", "mixed records", "large records"])
def test_neither_bound_is_ever_exceeded(large: float) -> None:
    reached = Counter[str]()
    for seed in range(150):
        dice = Random(seed)
        most_events, most_bytes = dice.randint(20, 40), dice.randint(3_000, 5_000)
        headroom = (3 * _POLL_EVENTS, 3 * _POLL_BYTES)
        talk = Conversation(replace(POLICY, buffer=BufferPolicy(most_events, most_bytes, *headroom)))
        consumer = Consumer(talk)
        consumer.told(talk.start())
        for _ in range(60):
            step = dice.choices(["turn", "handle", "deliver", "throttle"], (5, 4, 1, 1))[0]
            if step == "turn":
                sizes = [_POLL_BYTES // _POLL_EVENTS if dice.random() < large else 1 for _ in range(_POLL_EVENTS)]
                consumer.turn(sizes, [dice.choice(["a", "b", None]) for _ in sizes])
            elif step == "handle":
                consumer.handled()
            else:
                answer(talk, consumer, delivered=step == "deliver")
            held = status.buffered_events(talk.pipeline) + status.in_flight_events(talk.pipeline)
            assert held <= most_events, f"seed {seed}"
            assert status.held_bytes(talk.pipeline) <= most_bytes, f"seed {seed}"
            reached["events"] += held >= most_events - 1
            reached["bytes"] += status.held_bytes(talk.pipeline) >= most_bytes - _POLL_BYTES
    assert reached["events" if large < 1 else "bytes"], "the bound was put to the test"


def answer(talk: Conversation, consumer: Consumer, *, delivered: bool) -> None:
    """Answer the oldest request out."""
    if not talk.requests:
        return
    body = next(iter(talk.requests))
    number = talk.requests.pop(body)
    verdicts = Verdicts([DELIVERED] * (body.count(b",") + 1))
    told = inputs.RequestFinished(number, verdicts if delivered else RequestFailed(Failure.THROTTLED, "http-429"))
    consumer.told(talk.tell(told, after=1.0))


def test_a_full_buffer_resumes_once_it_drains() -> None:
    talk = Conversation(replace(POLICY, buffer=BufferPolicy(20, 10_000, 15, 0)))
    consumer = Consumer(talk)
    consumer.told(talk.start())
    for _ in range(10):
        consumer.turn([10] * 5, [None] * 5)
        consumer.handled()
    assert status.paused(talk.pipeline)["buffer_full"] == 1
    while talk.requests:
        answer(talk, consumer, delivered=True)
    assert status.paused(talk.pipeline)["buffer_full"] == 0
    assert status.held_bytes(talk.pipeline) == 0
