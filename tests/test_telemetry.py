"""What the program says of partitions that come and go."""

from __future__ import annotations

import json

import pytest

from connector.core.dedupe import SeenKeys
from connector.core.doubts import Doubt, Kind
from connector.core.offsets import ResolvedOffsets
from connector.core.pipeline import Pipeline
from connector.core.recovery import LedgerPosition, Recovery
from connector.model import TopicPartition
from connector.telemetry import Telemetry, configure_logging
from tests.core.test_pipeline import POLICY

PLACE = TopicPartition("conversions", 0)


def shown(telemetry: Telemetry, metric: str) -> list[float]:
    lines = telemetry.exposition().decode().splitlines()
    return [float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(metric + "{")]


def test_commit_of_a_partition_that_is_given_up_leaves_no_gauge_behind() -> None:
    telemetry = Telemetry()
    telemetry.watch(Pipeline(POLICY), object())
    telemetry.restored(
        PLACE, Recovery(5, -1, LedgerPosition("ledger-id", 0), "topic-id", SeenKeys(), ResolvedOffsets(), ""), 0.1
    )
    telemetry.lag(PLACE, 9)
    telemetry.committed(PLACE, 7)
    assert (shown(telemetry, "connector_committed_offset"), shown(telemetry, "connector_lag")) == ([7], [2])

    telemetry.released(PLACE, 0)
    telemetry.committed(PLACE, 9)
    telemetry.lag(PLACE, 9)

    assert (shown(telemetry, "connector_committed_offset"), shown(telemetry, "connector_lag")) == ([], [])


def test_doubtful_key_is_said_by_its_places_seldom_for_each_kind(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    now = [0.0]
    telemetry = Telemetry(lambda: now[0])
    telemetry.watch(Pipeline(POLICY), object())
    assert shown(telemetry, "connector_doubtful_duplicates_total") == [0, 0], "there from the start, for an alert's increase"

    for seconds in (0.0, 1.0, 11.0):
        now[0] = seconds
        for kind in Kind:
            telemetry.key_doubted(Doubt(kind, "conversions-0@3", "conversions-0@300", 100))

    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["level"], line["event"], line["kind"]) for line in lines] == [
        ("warning", "dedupe_key_doubtful", kind.value) for kind in (*Kind, *Kind)
    ]
    assert (lines[0]["first"], lines[0]["last"], lines[0]["copies"]) == ("conversions-0@3", "conversions-0@300", 100)
    assert "DEDUPE_KEY" in lines[0]["sentence"]
    assert [line.get("left_out") for line in lines] == [None, None, 1, 1]
