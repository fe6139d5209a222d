"""Nothing is lost and nothing is counted twice: two processes, one of them killed mid-way, a vendor that fails.

Everything is judged from outside, by the oracle: what was produced, what the sandbox recorded, what lies in the dead-letter
and ledger topics, what the group committed.
"""

from __future__ import annotations

from typing import Any
from zlib import crc32

import pytest

from connector.cli.samples import REFUSED_NAME, SampleRecord, samples
from connector.cli.samples import Fate as SampleFate
from tests.integration.accounts import account_of, assert_account_closes, produce_all
from tests.integration.brokers import end_offsets
from tests.integration.events import now_ms
from tests.integration.oracle import Fate, Interruption, Source
from tests.integration.program import Sandbox, World
from tests.patience import eventually

_EVENTS = 20_000
_PARTITIONS = 6
_KILL_AFTER = 6_000
"""Events received by the sandbox when one process is killed."""
_SLOW_MS = 10_000
"""Delay of the answer that is awaited at the kill: long enough for a look and a kill on a loaded machine."""
_BATCH = 25
_IN_FLIGHT = 8
_FLUSH_MS = 100
_UNWRITTEN_MS = _FLUSH_MS + 10_000
"""What was acknowledged so shortly before the kill may not have been in the ledger yet
(docs/how-it-works.md#what-may-be-sent-twice): a flush is due every `_FLUSH_MS`, and brokers of a loaded machine stand
still for seconds before they append. A fact that was there before the kill is never excused."""

_WANTED = {
    SampleFate.DELIVERED: Fate.DELIVERED,
    SampleFate.DUPLICATE: Fate.DELIVERED,
    SampleFate.STALE: Fate.STALE,
    SampleFate.IGNORED: Fate.IGNORED,
}
"""What is not in here becomes a dead letter. Which of several copies is delivered, is judged by what was accepted."""


def _source(world: World, sample: SampleRecord) -> Source:
    event = sample.event or {}
    value = None if sample.event is None else world.value(sample.event)
    wanted = _WANTED.get(sample.fate, Fate.DEAD_LETTERED)
    time_ms = event.get("timestamp")
    return Source(
        wanted=wanted,
        value=b"not Avro" if sample.fate is SampleFate.UNDECODABLE else value,
        key=sample.key.encode(),
        event_id=sample.dedupe_id,
        event_time_ms=time_ms if isinstance(time_ms, int) else None,
        reason=sample.fate.value if wanted is Fate.DEAD_LETTERED else None,
        partition=crc32(sample.key.encode()) % _PARTITIONS,
    )


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_of_20000_events_none_is_lost_and_none_counted_twice_when_a_process_is_killed(world: World, protocol: str) -> None:
    world.create_topic(_PARTITIONS)
    sandbox = world.another_sandbox()
    faults: dict[str, Any] = {"seed": 3, "fail_503": 0.10, "withhold": 0.02, "reject_names": [REFUSED_NAME]}
    sandbox.set_faults(**faults, latency_ms=60)
    settings = {
        "KAFKA_GROUP_PROTOCOL": protocol,
        "KAFKA_SESSION_TIMEOUT_MS": "6000" if protocol == "classic" else None,
        "AMAZON_BASE_URL": sandbox.url,
        "AMAZON_TOKEN_URL": sandbox.token_url,
        "BATCH_MAX_EVENTS": str(_BATCH),
        "MAX_IN_FLIGHT": str(_IN_FLIGHT),
        "BUFFER_MAX_EVENTS": "2000",
        "LEDGER_FLUSH_INTERVAL": f"{_FLUSH_MS}ms",
    }

    killed, other = world.connector(**settings), world.connector(**settings)
    eventually(
        lambda: len(killed.works_on()) == len(other.works_on()) == _PARTITIONS // 2, "both have half of the partitions"
    )
    records = produce_all(world, (_source(world, sample) for sample in samples(_EVENTS, now_ms(), seed=11)))
    eventually(lambda: sandbox.status()["events"] >= _KILL_AFTER, "the sandbox has received enough", seconds=90)
    held = killed.works_on()
    theirs = {record.event_id for record in records if record.partition in held and record.event_id is not None}
    sandbox.set_faults(**faults, latency_ms=_SLOW_MS)
    eventually(lambda: theirs & _unanswered(sandbox), "a request of the one to be killed is out")
    began_ms = now_ms()
    killed.kill()
    sandbox.set_faults(**faults, latency_ms=60)
    kill = Interruption(began_ms, now_ms(), held, at_most=_IN_FLIGHT * _BATCH, unwritten_ms=_UNWRITTEN_MS)
    killed.start(world.settings(**settings))
    ends = end_offsets(world.servers, world.topic)
    eventually(lambda: world.committed() == ends, "committed offsets end at the end of every partition", seconds=150)
    last = [killed.metrics(), other.metrics()]
    assert killed.stop() == 0
    assert other.stop() == 0

    account = account_of(world, records, sandbox=sandbox, interruptions=[kill], last_scrapes=last)
    assert_account_closes(account)
    withheld = {line["request"] for line in account.received if line["answer"] == "withheld"}
    assert len(withheld) >= 5, "the faults bit"
    out = {line["id"] for line in account.received if line["arrival"] <= began_ms <= (line["answered"] or now_ms())}
    assert theirs & out, "a request of the killed process was out at the kill"


def _unanswered(sandbox: Sandbox) -> set[str]:
    """Return the ids in requests that were not answered yet."""
    return {line["id"] for line in sandbox.record() if line["answered"] is None}
