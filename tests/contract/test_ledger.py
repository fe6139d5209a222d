"""What the pipeline expects of ledger and dead letters, on a real Kafka and in the simulation."""

from __future__ import annotations

import time
from typing import Any

import pytest

from connector.core.commit_metadata import LedgerPosition, commit_metadata
from connector.core.recovery import Recovery
from connector.errors import KafkaUnavailable, LedgerUnavailable, Refused, Unavailable
from connector.intake import Origin
from connector.kafka.ledger import KafkaLedger
from connector.model import Facts, Flaw, Outcome, Reason, TopicPartition
from connector.ports import Confirmation
from tests.contract.kafka_stage import KafkaStage
from tests.contract.test_source import assigned, polled, start
from tests.patience import patience

_DAY_MS = 86_400_000
_SECONDS = 30.0
_NOW_MS = 1_800_000_000_000
KEY = b"k" * 16


def restored(stage: KafkaStage, ledger: KafkaLedger, partition: int = 0, *, truncated: bool = False) -> Recovery:
    """Restore; where the brokers do not answer for now, ask again, as the pipeline does."""
    place = TopicPartition(stage.topic, partition)
    deadline = time.monotonic() + patience(_SECONDS)
    while True:
        try:
            return stage.blocking(lambda: ledger.restore(place, truncated=truncated))
        except KafkaUnavailable:  # a cluster that was just started has no coordinator yet
            assert time.monotonic() < deadline
            time.sleep(0.2)


def appended(stage: KafkaStage, ledger: KafkaLedger, topic_id: str, facts: Facts, partition: int = 0) -> Confirmation:
    told: list[Confirmation] = []
    stage.blocking(lambda: ledger.append(TopicPartition(stage.topic, partition), topic_id, facts, told.append))
    stage.until(lambda: told, "the append is reported")
    (confirmation,) = told
    return confirmation


def facts_of(*facts: tuple[int, int, Outcome]) -> Facts:
    """Return facts of offset, epoch and outcome; delivered ones with `KEY`."""
    found = Facts()
    for offset, epoch, outcome in facts:
        delivered = outcome is Outcome.DELIVERED
        found.add(offset, epoch, outcome, KEY if delivered else None, _NOW_MS if delivered else 0)
    return found


def test_the_first_restore_makes_the_topics_and_starts_at_the_beginning(stage: KafkaStage) -> None:
    stage.create(partitions=2)
    stage.produce(b"0", b"1")

    found = restored(stage, stage.ledger())

    assert (found.offset, found.position.next_offset, len(found.seen), found.resolved.end) == (0, 0, 0, 0)
    assert stage.written(f"{stage.topic}.{stage.group}.ledger") == []
    assert stage.written(f"{stage.topic}.dead-letter") == []
    assert found.topic_id
    assert found.position.topic_id not in {"", found.topic_id}


def test_what_was_appended_is_found_by_another_member(stage: KafkaStage) -> None:
    stage.create()
    stage.produce(b"0", b"1", b"2", b"3")
    first = stage.ledger()
    topic_id = restored(stage, first).topic_id
    appended(stage, first, topic_id, facts_of((0, 0, Outcome.DELIVERED), (2, 0, Outcome.STALE)))
    appended(stage, first, topic_id, facts_of((3, 0, Outcome.DEAD_LETTERED)))

    found = restored(stage, stage.ledger())

    assert [offset for offset in range(5) if found.resolved.covers(offset, 0)] == [0, 2, 3]
    assert not found.resolved.covers(0, 1)
    assert KEY in found.seen
    assert len(found.seen) == 1
    assert found.position.next_offset == 2


def test_a_report_names_the_place_and_the_brokers_time_once(stage: KafkaStage) -> None:
    stage.create()
    ledger = stage.ledger()
    topic_id = restored(stage, ledger).topic_id

    confirmations = [appended(stage, ledger, topic_id, Facts()) for _ in range(3)]

    assert [(told.error, told.offset) for told in confirmations] == [(None, 0), (None, 1), (None, 2)]
    times = [told.append_ms or 0 for told in confirmations]
    assert times == sorted(times)
    assert times[0] > 1_600_000_000_000
    assert restored(stage, ledger).position.next_offset == 3


def test_each_partition_has_a_ledger_of_its_own(stage: KafkaStage) -> None:
    stage.create(partitions=2)
    stage.produce(b"0", partition=1)
    ledger = stage.ledger()
    topic_id = restored(stage, ledger).topic_id
    appended(stage, ledger, topic_id, facts_of((0, 0, Outcome.DELIVERED)), partition=1)

    assert restored(stage, ledger, 0).position.next_offset == 0
    assert len(restored(stage, ledger, 0).seen) == 0
    assert restored(stage, ledger, 1).resolved.covers(0, 0)


def test_the_ledger_of_another_group_is_refused(stage: KafkaStage) -> None:
    stage.create()
    ledger = stage.ledger(LEDGER_TOPIC=f"{stage.topic}.shared")
    appended(stage, ledger, restored(stage, ledger).topic_id, Facts())

    with pytest.raises(Refused, match="LEDGER_TOPIC"):
        restored(stage, stage.ledger(LEDGER_TOPIC=f"{stage.topic}.shared", KAFKA_GROUP_ID="another"))


def test_facts_of_another_destination_or_topic_resolve_nothing(stage: KafkaStage) -> None:
    stage.create()
    stage.produce(b"0", b"1")
    ledger = stage.ledger()
    topic_id = restored(stage, ledger).topic_id
    appended(stage, stage.ledger(AMAZON_ACCOUNT_ID="2"), topic_id, facts_of((0, 0, Outcome.DELIVERED)))
    appended(stage, ledger, "an-older-topic", facts_of((1, 0, Outcome.STALE)))

    found = restored(stage, ledger)

    assert not found.resolved.covers(0, 0)
    assert not found.resolved.covers(1, 0)
    assert KEY not in found.seen
    assert found.position.next_offset == 2


def test_a_restore_starts_at_the_commit_when_its_ledger_is_whole(stage: KafkaStage) -> None:
    stage.create()
    stage.produce(b"0", b"1", b"2")
    ledger = stage.ledger()
    first = restored(stage, ledger)
    appended(stage, ledger, first.topic_id, facts_of((0, 0, Outcome.DELIVERED), (1, 0, Outcome.IGNORED)))
    stage.commit(2, commit_metadata(first.topic_id, LedgerPosition(first.position.topic_id, 1)))

    assert restored(stage, ledger).offset == 2


def test_a_commit_that_rests_on_more_than_there_is_refuses_to_start(stage: KafkaStage) -> None:
    stage.create()
    stage.produce(b"0", b"1", b"2")
    ledger = stage.ledger()
    first = restored(stage, ledger)
    stage.commit(2, commit_metadata(first.topic_id, LedgerPosition(first.position.topic_id, 1)))

    with pytest.raises(Refused, match="ACCEPT=ledger-lost"):
        restored(stage, ledger)


def test_a_commit_of_a_topic_that_was_there_before_is_not_used(stage: KafkaStage) -> None:
    stage.create()
    stage.produce(b"0", b"1", b"2")
    ledger = stage.ledger()
    first = restored(stage, ledger)
    stage.commit(2, commit_metadata("an-older-topic", first.position))

    assert restored(stage, ledger).offset == 0


def test_a_commit_outside_the_log_waits_for_an_operator_unless_told(stage: KafkaStage) -> None:
    stage.create()
    stage.produce(b"0", b"1", b"2", b"3")
    stage.cut_start(3)
    stage.commit(1)

    with pytest.raises(Refused, match="OFFSET_OUT_OF_RANGE=earliest"):
        restored(stage, stage.ledger())
    assert restored(stage, stage.ledger(OFFSET_OUT_OF_RANGE="earliest")).offset == 3


def test_a_log_that_was_cut_and_grew_again_is_outside_too(stage: KafkaStage) -> None:
    stage.create()
    stage.produce(b"0", b"1", b"2")
    ledger = stage.ledger(OFFSET_OUT_OF_RANGE="earliest")
    first = restored(stage, ledger)
    stage.commit(2, commit_metadata(first.topic_id, first.position))

    assert restored(stage, ledger).offset == 2
    assert restored(stage, ledger, truncated=True).offset == 0


def test_a_source_that_is_not_there_is_not_an_empty_one(stage: KafkaStage) -> None:
    with pytest.raises(Unavailable):
        restored(stage, stage.ledger())


def test_a_restore_that_nobody_waits_for_ends(stage: KafkaStage) -> None:
    stage.create()
    ledger = stage.ledger()
    appended(stage, ledger, restored(stage, ledger).topic_id, Facts())

    with pytest.raises(LedgerUnavailable, match="nobody waits"):
        stage.blocking(lambda: ledger.restore(TopicPartition(stage.topic, 0), wanted=lambda: False))


@pytest.mark.parametrize("rests_on", [0, 100])
def test_what_the_commit_alone_refuses_is_refused_before_the_ledger_is_read(stage: KafkaStage, rests_on: int) -> None:
    stage.create()
    stage.produce(b"0")
    ledger = stage.ledger()
    first = restored(stage, ledger)
    appended(stage, ledger, first.topic_id, Facts())
    offset = 1 if rests_on else 100
    stage.commit(offset, commit_metadata(first.topic_id, LedgerPosition(first.position.topic_id, rests_on)))

    with pytest.raises(Refused, match="100"):
        stage.blocking(lambda: ledger.restore(TopicPartition(stage.topic, 0), wanted=lambda: False))


def test_a_letter_is_its_record_with_the_reason_beside(stage: KafkaStage) -> None:
    stage.create()
    stage.produce(b"a value")
    restored(stage, stage.ledger())  # makes the topic
    member = stage.member()
    generation = assigned(stage, member)[0]
    start(stage, member, generation)
    polled(stage, member, generation, 0)
    (record,) = member.records(generation)
    origin = Origin(TopicPartition(stage.topic, 0), generation, "cluster", "topic-id")
    flaw = Flaw(Reason.REJECTED, "INVALID_ARGUMENT")
    told: list[Confirmation] = []

    letters = stage.letters()
    stage.blocking(lambda: letters.write(origin, record, flaw, told.append))
    stage.until(lambda: told, "the letter is reported")

    assert told[0].error is None
    (letter,) = stage.written(f"{stage.topic}.dead-letter")
    assert (letter.value(), letter.key(), letter.timestamp()[1]) == (b"a value", b"key", record.timestamp()[1])
    headers: dict[str, Any] = dict(letter.headers())
    assert headers["connector.reason"] == b"rejected"
    assert headers["connector.offset"] == b"0"
    assert headers["connector.dedupe-id"].decode() == origin.derived_id(record)


def test_a_write_to_a_topic_that_is_not_there_is_reported_as_failed(stage: KafkaStage) -> None:
    stage.create()
    ledger = stage.ledger(LEDGER_TOPIC=f"{stage.topic}.nowhere")

    confirmation = appended(stage, ledger, "topic-id", Facts())

    assert confirmation.error is not None
    assert confirmation.append_ms is None
