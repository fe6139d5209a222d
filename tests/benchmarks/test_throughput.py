"""The benchmark runs, and compares like with like. None of its figures can fail a test."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from connector.amazon.ads_v1 import AdsV1
from connector.avro.decoding import EventDecoder
from connector.avro.framing import Framing
from connector.intake import Intake, Origin
from connector.mapping.plan import Mapper
from connector.model import TopicPartition
from tests.avro.samples import Known
from tests.benchmarks.throughput import compare
from tests.benchmarks.traffic import SCHEMA_IDS, Traffic, due, records
from tests.benchmarks.work import OLDEST_SECONDS, Reader, body, schema
from tests.mapping.support import Record, example, read_file

_NOW_MS = 1_780_000_000_000
_ORIGIN = Origin(TopicPartition("conversions", 0), 1, "cluster", "topic-id")


def test_both_sides_forward_and_commit_everything_between_the_same_surroundings() -> None:
    said: list[str] = []

    found = compare(2_000, rounds=1, warm_up=False, say=said.append)

    runs = [*found.connector, *found.bare_loop, *found.mixed]
    assert len(runs) == 3
    assert all(0 < run.acknowledged_seconds <= run.committed_seconds for run in runs)
    assert all(run.cpu_seconds > 0 and run.peak_bytes > 0 for run in runs)
    assert [run.longest_step > 0 for run in runs] == [True, False, True]
    assert found.ratios == [found.bare_loop[0].acknowledged_seconds / found.connector[0].acknowledged_seconds]
    assert [line.split(":")[0] for line in said[1:]] == ["ours-0", "bare-0", "mixed-0"]


_SOUND = [traffic for traffic in Traffic if traffic is not Traffic.MIXED]


@pytest.mark.parametrize("traffic", _SOUND)
def test_the_bare_loop_and_the_peers_send_what_the_connector_sends(traffic: Traffic) -> None:
    mapper = Mapper(read_file(example("order")[0])) if traffic is Traffic.MAPPED else None
    decoder = EventDecoder(Framing.CONFLUENT, Known(**{f"id{SCHEMA_IDS[traffic]}": schema(traffic)}), mapper)
    intake = Intake(decoder, AdsV1("account", "client", "EU" if traffic is Traffic.EU else "NA"), ("clientDedupeId",))
    values = [value for _, value in records(traffic, 200, _NOW_MS) if value is not None]

    poll, _ = intake.read(_ORIGIN, [Record(value_=value) for value in values])

    theirs = body([Reader(traffic).read(value) for value in values])
    ours = [orjson.loads(payload) for payload in poll.payloads if isinstance(payload, bytes)]
    assert len(ours) == 200
    assert orjson.loads(theirs) == {"events": ours}


def test_of_mixed_traffic_there_is_as_much_to_deliver_as_is_said() -> None:
    oldest = datetime.fromtimestamp(_NOW_MS / 1000, UTC) - timedelta(seconds=OLDEST_SECONDS)
    reader = Reader(Traffic.MIXED)
    read = [reader.read_if_sound(value) for _, value in records(Traffic.MIXED, 3_000, _NOW_MS)]
    decoded: list[dict[str, Any]] = [event for event in read if event is not None]
    fresh = [event["eventId"] for event in decoded if event["eventTime"] >= oldest]

    assert due(Traffic.MIXED, 3_000).bare_loop == len(decoded) < len(read)
    assert due(Traffic.MIXED, 3_000).peer == len(set(fresh) - {None}) + fresh.count(None) < len(fresh)
