"""``connector run`` from end to end: every fate a record can have, what is committed, and what a restart finds."""

from __future__ import annotations

import time
from typing import Any

import pytest

from connector.avro.framing import framed
from connector.model import Outcome
from tests.integration.brokers import Produced, headers_of, read_topic
from tests.integration.events import DAY_MS, event, now_ms
from tests.integration.program import World
from tests.patience import eventually, patience

_PROTOCOLS = pytest.mark.parametrize("protocol", ["classic", "consumer"])


@_PROTOCOLS
def test_every_record_has_its_fate_and_a_restart_sends_nothing_again(world: World, protocol: str) -> None:
    world.create_topic(2)
    world.produce(
        event("bought-1"),
        event("bought-1"),
        event("old", timestamp=now_ms() - 8 * DAY_MS),
        Produced(None, b"tombstone"),
        event(None),
        Produced(b"not Avro", b"broken"),
    )
    world.produce(event("bought-2"), partition=1)

    connector = world.connector(KAFKA_GROUP_PROTOCOL=protocol)
    connector.until_resolved(delivered=3, duplicate=1, stale=1, ignored=1, dead_lettered=1)
    world.until_committed_to_the_end()
    assert connector.stop() == 0

    assert world.fates() == {
        (0, 0): [Outcome.DELIVERED],
        (0, 1): [Outcome.DUPLICATE],
        (0, 2): [Outcome.STALE],
        (0, 3): [Outcome.IGNORED],
        (0, 4): [Outcome.DELIVERED],
        (0, 5): [Outcome.DEAD_LETTERED],
        (1, 0): [Outcome.DELIVERED],
    }
    assert len(read_topic(world.servers, world.dead_letters)) == 1
    once = world.sandbox.accepted()
    assert len(once) == 3
    assert set(once.values()) == {1}
    assert once.keys() > {"bought-1", "bought-2"}

    world.produce(event("bought-1"), event("bought-3"))
    connector.start(world.settings(KAFKA_GROUP_PROTOCOL=protocol))
    connector.until_resolved(delivered=1, duplicate=1)
    world.until_committed_to_the_end()
    assert connector.stop() == 0
    assert world.sandbox.accepted() == once | {"bought-3": 1}


def test_what_the_dedupe_key_tells_apart_amazon_counts_apart_and_a_copy_after_a_restart_is_none(world: World) -> None:
    world.create_topic()
    both = event("order-1", eventType="CHECKOUT"), event("order-1", eventType="OFF_AMAZON_PURCHASES")
    world.produce(*both)
    connector = world.connector(DEDUPE_KEY="clientDedupeId, eventType")
    connector.until_resolved(delivered=2)
    world.until_committed_to_the_end()
    assert connector.stop() == 0
    once = world.sandbox.accepted()
    assert len(once) == 2
    assert all(line["counted"] for line in world.sandbox.record())

    world.produce(*both, event("order-1", eventType="LEAD"))
    connector.start(world.settings(DEDUPE_KEY="clientDedupeId, eventType"))
    connector.until_resolved(delivered=1, duplicate=2)
    assert connector.stop() == 0
    assert {dedupe_id: world.sandbox.accepted()[dedupe_id] for dedupe_id in once} == once

    world.produce(*both)
    connector.start(world.settings(DEDUPE_KEY="eventType,clientDedupeId"))
    connector.until_resolved(delivered=2)  # a window of another key knows none of them
    assert world.sandbox.accepted() == {dedupe_id: 2 if dedupe_id in once else 1 for dedupe_id in world.sandbox.accepted()}
    assert len(world.sandbox.accepted()) == 3, "but they have the ids they had"


def test_a_constant_in_the_place_of_an_id_is_said_by_its_places_and_counted(world: World) -> None:
    world.create_topic()
    constant = "shop-frontend"
    world.produce(*(event(constant, value=float(number)) for number in range(150)))
    connector = world.connector()
    connector.until_resolved(delivered=1, duplicate=149)

    repeated = connector.until_said("dedupe_key_doubtful", kind="repeated")
    different = connector.until_said("dedupe_key_doubtful", kind="different")
    assert repeated["first"] == f"{world.topic}-0@1"
    assert different["first"] == f"{world.topic}-0@0"
    metrics = connector.metrics()
    assert metrics['connector_doubtful_duplicates_total{kind="repeated"}'] == 149
    assert metrics['connector_doubtful_duplicates_total{kind="different"}'] > 0
    assert connector.page("/readyz")[0] == 200
    assert constant not in connector.output


def test_each_way_a_record_can_be_wrong_is_a_dead_letter_with_its_reason(world: World) -> None:
    world.create_topic()
    world.sandbox.set_faults(reject_names=["refused"])
    wrong: dict[str, Produced | dict[str, Any]] = {
        "undecodable": Produced(framed(world.schema_id(), b"\x02")),
        "unknown-schema": Produced(framed(999_999, b"")),
        "implausible-time": _consented("a", timestamp=now_ms() // 1000),
        "missing-field": _consented("b", name=""),
        "invalid-field": _consented("c", countryCode="Narnia"),
        "no-match-key": _consented("e", matchKeys=[]),
        "missing-consent": event("f"),
        "too-large": _consented("g", customAttributes={f"attribute{n}": "x" * 200 for n in range(15)}),
        "rejected": _consented("h", name="refused"),
    }
    world.produce(*wrong.values(), _consented("right"))

    connector = world.connector(AMAZON_REGION="EU", BATCH_MAX_BYTES="2000B")
    connector.until_resolved(delivered=1, dead_lettered=len(wrong))
    world.until_committed_to_the_end()

    letters = [dict(headers_of(letter)) for letter in read_topic(world.servers, world.dead_letters)]
    found = {int(letter["connector.offset"] or -1): (letter["connector.reason"] or b"").decode() for letter in letters}
    assert [found[offset] for offset in sorted(found)] == list(wrong)
    letters_of = "connector_dead_letters_total"
    counted = {name: count for name, count in connector.metrics().items() if name.startswith(letters_of) and count}
    assert counted == {f'connector_dead_letters_total{{reason="{reason}"}}': 1.0 for reason in wrong}
    assert world.sandbox.accepted() == {"right": 1}
    assert connector.stop() == 0


def test_sigterm_finishes_what_is_in_flight_and_gives_back_the_rest(world: World) -> None:
    world.create_topic()
    world.produce(*(event(f"bought-{number}") for number in range(3)))
    late = patience(2)  # SIGTERM comes before the answer
    world.sandbox.set_faults(next=[{"fault": "delay", "ms": round(late * 1000)}])
    connector = world.connector(BATCH_MAX_EVENTS="1", MAX_IN_FLIGHT="1")
    eventually(world.sandbox.record, "a request is out")

    assert connector.stop() == 0

    assert world.sandbox.accepted() == {"bought-0": 1}
    assert world.sandbox.record()[0]["answer"] == "sent"
    assert connector.log("partition_released")[0]["unresolved"] == 2
    assert connector.log("stopped")[0]["delivered"] == 1
    assert world.committed() == {0: 1}
    connector.start(world.settings())
    connector.until_resolved(delivered=2)
    assert world.sandbox.accepted() == {"bought-0": 1, "bought-1": 1, "bought-2": 1}


def test_second_sigterm_ends_it_at_once_and_commits_nothing(world: World) -> None:
    world.create_topic()
    world.produce(event("bought"))
    world.sandbox.set_faults(latency_ms=270_000)
    connector = world.connector(AMAZON_TIMEOUT="275s", DRAIN_TIMEOUT="280s")
    eventually(world.sandbox.record, "a request is out")

    connector.terminate()
    asked_at = time.monotonic()
    connector.until_said("draining")
    time.sleep(0.6)  # two signals within half a second are one request to end
    connector.terminate()

    assert connector.wait() == 1
    assert time.monotonic() - asked_at < patience(30), "it waits for no answer"
    assert world.has_committed_nothing()


def test_event_in_flight_at_a_kill_is_sent_again_with_the_same_id_and_content(world: World) -> None:
    world.create_topic()
    world.produce(event("with an id"), event(None))
    world.sandbox.set_faults(next=[{"fault": "delay", "ms": 20_000}])
    connector = world.connector()
    eventually(lambda: len(world.sandbox.record()) == 2, "a request with both is out")
    connector.kill()

    connector.start(world.settings())
    connector.until_resolved(delivered=2)

    first, second = (
        {(line["index"], line["id"], line["digest"]) for line in world.sandbox.record() if line["request"] == request}
        for request in sorted({line["request"] for line in world.sandbox.record()})
    )
    assert first == second
    world.until_committed_to_the_end()
    assert world.fates() == {(0, 0): [Outcome.DELIVERED], (0, 1): [Outcome.DELIVERED]}


def _consented(dedupe_id: str, **changes: Any) -> dict[str, Any]:
    """Return an event that the EU region takes."""
    granted = {"ipAddress": None, "amznAdStorage": "GRANTED", "amznUserData": "GRANTED", "tcf": None, "gpp": None}
    return event(dedupe_id, consent=granted, **changes)
