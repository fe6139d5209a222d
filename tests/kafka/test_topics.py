"""Which client is asked, with fakes for answers; what brokers answer is in test_asking and the integration tests."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException

from connector.errors import KafkaUnavailable
from connector.kafka.topics import Topics


class _Asked:
    """Makes clients, and notes how many; every question ends with the next of the answers."""

    def __init__(self, *answers: KafkaError | str) -> None:
        self.made = 0
        self._answers = list(answers)
        self.topics = Topics(cast("Any", self._make), cast("Any", None))

    def _make(self) -> SimpleNamespace:
        self.made += 1
        return SimpleNamespace(describe_cluster=self._describe)

    def _describe(self, **_asked: object) -> Future[SimpleNamespace]:
        answer, future = self._answers.pop(0), Future[SimpleNamespace]()
        if isinstance(answer, str):
            future.set_result(SimpleNamespace(cluster_id=answer))
        else:
            future.set_exception(KafkaException(answer))
        return future


def test_a_client_that_is_answered_is_asked_again() -> None:
    asked = _Asked("id", "id", KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED), "id")
    assert [asked.topics.cluster_id() for _ in range(2)] == ["id", "id"]
    with pytest.raises(KafkaUnavailable):
        asked.topics.cluster_id()
    assert asked.topics.cluster_id() == "id"
    assert asked.made == 1


@pytest.mark.parametrize("code", [KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError.NOT_CONTROLLER])
def test_after_a_question_without_an_answer_another_client_is_asked(code: int) -> None:
    asked = _Asked(KafkaError(code), "id")
    with pytest.raises(KafkaUnavailable):
        asked.topics.cluster_id()
    assert asked.topics.cluster_id() == "id"
    assert asked.made == 2
