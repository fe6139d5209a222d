"""What the watch takes note of, with fakes for answers; what it finds on real brokers is in the integration tests."""

from __future__ import annotations

import time
from typing import Any, cast

import pytest

from connector.errors import KafkaDenied, KafkaUnavailable
from connector.kafka.topics import TopicDescription
from connector.kafka.watch import Watch, Watched


class _Topics:
    """Answers every question in one way."""

    def __init__(self, answer: TopicDescription | KafkaUnavailable | None) -> None:
        self._answer = answer

    def describe(self, _topic: str) -> TopicDescription | None:
        if isinstance(self._answer, KafkaUnavailable):
            raise self._answer
        return self._answer

    def committed(self, _partition: object) -> None:
        raise KafkaUnavailable("no coordinator")


class _Watcher:
    def lacking(self, sentences: list[str]) -> None:
        """Take no note."""


@pytest.mark.parametrize(
    ("answer", "counts"),
    [
        (TopicDescription("source", "id", 1, 1, frozenset()), True),
        (None, True),
        (KafkaDenied("not allowed"), True),
        (KafkaUnavailable("no answer"), False),
    ],
)
def test_whatever_a_broker_says_is_an_answer(
    answer: TopicDescription | KafkaUnavailable | None, counts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(("source",), {"source": ("READ",)})
    watch = Watch(cast("Any", _Topics(answer)), watched, list, lambda _: None, cast("Any", _Watcher()))
    before = watch.answered
    monkeypatch.setattr("connector.kafka.watch._SECONDS", 0.01)

    with watch:
        time.sleep(0.2)

    assert (watch.answered > before) == counts
