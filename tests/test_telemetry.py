"""What the program says of partitions that come and go."""

from __future__ import annotations

from connector.core.dedupe import SeenKeys
from connector.core.offsets import ResolvedOffsets
from connector.core.pipeline import Pipeline
from connector.core.recovery import LedgerPosition, Recovery
from connector.errors import SchemaDenied, SchemaUnavailable
from connector.model import TopicPartition
from connector.telemetry import Telemetry
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


def test_a_registry_that_refuses_us_needs_an_operator_and_one_that_is_away_does_not() -> None:
    telemetry = Telemetry()
    telemetry.watch(Pipeline(POLICY), object())
    said = []
    for failure in (SchemaUnavailable("away"), SchemaDenied("refused", 401), SchemaUnavailable("away"), None):
        telemetry.schema_unavailable(failure, 0 if failure is None else 3)
        page = telemetry.exposition().decode()
        said.append((len(telemetry.denied_schemas), f"connector_operator_needed {len(telemetry.denied_schemas)}.0" in page))
        assert f'connector_paused{{reason="schema"}} {0 if failure is None else 3}.0' in page
    assert said == [(0, True), (1, True), (0, True), (0, True)]
