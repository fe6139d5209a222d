"""What log and metrics say about partitions that come and go."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from connector.core.commit_metadata import LedgerPosition
from connector.core.dedupe import SeenKeys
from connector.core.doubts import Doubt, DoubtKind
from connector.core.offsets import ResolvedOffsets
from connector.core.pipeline import Pipeline
from connector.core.recovery import Recovery
from connector.errors import SchemaDenied, SchemaUnavailable
from connector.model import Reason, TopicPartition
from connector.telemetry import Telemetry, configure_logging
from connector.telemetry import logging as lines_of
from tests.core.conversation import POLICY
from tests.patience import patience

PLACE = TopicPartition("conversions", 0)


def shown(telling: Telemetry, metric: str) -> list[float]:
    lines = telling.exposition()[0].decode().splitlines()
    return [float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{metric}{{", f"{metric} "))]


def test_commit_of_a_partition_that_is_given_up_leaves_no_gauge_behind() -> None:
    telling = Telemetry()
    telling.watch(Pipeline(POLICY), object())
    telling.restored(
        PLACE, Recovery(5, -1, LedgerPosition("ledger-id", 0), "topic-id", SeenKeys(), ResolvedOffsets(), ""), 0.1
    )
    telling.lag(PLACE, 9)
    telling.committed(PLACE, 7)
    assert (shown(telling, "connector_committed_offset"), shown(telling, "connector_lag")) == ([7], [2])

    telling.released(PLACE, 0)
    telling.committed(PLACE, 9)
    telling.lag(PLACE, 9)

    assert (shown(telling, "connector_committed_offset"), shown(telling, "connector_lag")) == ([], [])


def test_metrics_are_openmetrics_where_the_request_asks_for_it() -> None:
    telling = Telemetry()
    telling.watch(Pipeline(POLICY), object())
    plain, plain_type = telling.exposition("text/plain;version=0.0.4;q=0.5,*/*;q=0.1")
    asked, asked_type = telling.exposition("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")

    assert plain_type == "text/plain; version=0.0.4; charset=utf-8"
    assert asked_type.startswith("application/openmetrics-text; version=1.0.0")
    assert asked.endswith(b"# EOF\n")
    names = {sample.name for family in cast("Any", openmetrics)(asked.decode()) for sample in family.samples}
    assert names == {sample.name for family in prometheus(plain.decode()) for sample in family.samples}


@pytest.mark.parametrize(
    ("accept", "openmetrics_wanted"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain;version=0.0.4", False),
        ("application/openmetrics-text", True),
        ("Application/OpenMetrics-Text ; Version=1.0.0 ; charset=utf-8", True),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            True,
        ),
        ("application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.3", False),
        ("application/openmetrics-text;q=0.3,text/plain;q=0.7", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;version=9", False),
        ("application/openmetrics-text;version=x;escaping=y", False),
        ("application/openmetrics-text;q=often", False),
        (";;=,;q==,application/openmetrics-text", True),
    ],
)
def test_form_of_metrics_is_what_the_request_prefers_and_nothing_asked_for_fails(
    accept: str, *, openmetrics_wanted: bool
) -> None:
    text, its_type = Telemetry().exposition(accept)

    assert text.endswith(b"# EOF\n") is openmetrics_wanted
    assert its_type.startswith(
        "application/openmetrics-text; version=1.0.0;" if openmetrics_wanted else "text/plain; version=0.0.4;"
    )


def test_each_reason_of_a_dead_letter_is_counted_from_the_start() -> None:
    telling = Telemetry()
    telling.watch(Pipeline(POLICY), object())

    assert shown(telling, "connector_dead_letters_total") == [0.0] * len(Reason)


@pytest.mark.parametrize("ends", ["restored", "restore_failed", "released", "lost"])
def test_progress_of_a_restore_is_shown_while_it_lasts_and_logged_every_ten_seconds(ends: str) -> None:
    now = 100.0
    telling = Telemetry(lambda: now)
    telling.watch(Pipeline(POLICY), object())
    recovery = Recovery(5, -1, LedgerPosition("ledger-id", 0), "topic-id", SeenKeys(), ResolvedOffsets(), "")
    ways: dict[str, Callable[[], None]] = {
        "restored": lambda: telling.restored(PLACE, recovery, 0.1),
        "restore_failed": lambda: telling.restore_failed(PLACE, "away", needs_operator=False),
        "released": lambda: telling.released(PLACE, 0),
        "lost": lambda: telling.lost(PLACE),
    }
    with structlog.testing.capture_logs() as lines:
        for read in range(0, 260, 10):
            telling.restoring(PLACE, read, 1_000)
            now += 1.0
        assert shown(telling, "connector_ledger_restore_progress") == [0.25]
        ways[ends]()
        now += 60.0
        assert (shown(telling, "connector_ledger_restore_progress"), telling.restores()) == ([], {})
        telling.restoring(PLACE, 0, 1_000)
    told = [(line["entries"], line["of"]) for line in lines if line["event"] == "partition_restoring"]
    assert told == [(100, 1_000), (200, 1_000)]


def test_doubtful_key_is_said_by_its_places_seldom_for_each_kind(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    now = [0.0]
    telling = Telemetry(lambda: now[0])
    telling.watch(Pipeline(POLICY), object())
    assert shown(telling, "connector_doubtful_duplicates_total") == [0, 0], "there from the start, for an alert's increase"

    for seconds in (0.0, 1.0, 11.0):
        now[0] = seconds
        for kind in DoubtKind:
            telling.key_doubted(Doubt(kind, "conversions-0@3", "conversions-0@300", 100))

    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["level"], line["event"], line["kind"]) for line in lines] == [
        ("warning", "dedupe_key_doubtful", kind.value) for kind in (*DoubtKind, *DoubtKind)
    ]
    assert (lines[0]["first"], lines[0]["last"], lines[0]["copies"]) == ("conversions-0@3", "conversions-0@300", 100)
    assert "DEDUPE_KEY" in lines[0]["message"]
    assert [line.get("left_out") for line in lines] == [None, None, 1, 1]


def test_native_code_that_is_given_up_is_said_and_counted_as_is_what_it_declines(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    telling = Telemetry()
    telling.watch(Pipeline(POLICY), object(), codec=SimpleNamespace(declined={"match-keys": 3}))
    telling.codec_distrusted("different")

    (line,) = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (line["level"], line["event"], line["reason"]) == ("warning", "codec_distrusted", "different")
    assert "Python reads all records" in line["message"]
    assert shown(telling, "connector_codec_distrusted_total") == [1]
    assert shown(telling, "connector_codec_declined_total") == [3]


def test_a_registry_that_refuses_us_needs_an_operator_and_one_that_is_away_does_not() -> None:
    telling = Telemetry()
    telling.watch(Pipeline(POLICY), object())
    said = []
    for failure in (SchemaUnavailable("away"), SchemaDenied("refused", 401), SchemaUnavailable("away"), None):
        telling.schema_unavailable(failure, 0 if failure is None else 3)
        page = telling.exposition()[0].decode()
        said.append((len(telling.denied_schemas), f"connector_operator_needed {len(telling.denied_schemas)}.0" in page))
        assert f'connector_paused{{reason="schema"}} {0 if failure is None else 3}.0' in page
    assert said == [(0, True), (1, True), (0, True), (0, True)]


def test_before_a_pipeline_runs_the_messages_for_an_operator_and_readiness_are_shown() -> None:
    telling = Telemetry()
    ready = [False]
    telling.watch_health(lambda: ready[0])
    said = []
    for lacks in ([], ["topic a: may not"], []):
        telling.lacking(lacks)
        ready[0] = not lacks
        said.append((shown(telling, "connector_operator_needed"), shown(telling, "connector_ready")))

    assert said == [([0], [1]), ([1], [0]), ([0], [1])]


def test_the_end_of_the_refresh_token_is_a_metric_if_it_is_known() -> None:
    telling = Telemetry()
    name = "connector_refresh_token_expires_timestamp_seconds"
    assert f"\n{name} " not in telling.exposition()[0].decode()
    telling.refresh_token_expires(1_825_372_800.0)
    assert f"\n{name} 1.8253728e+09\n" in telling.exposition()[0].decode()


def test_a_login_that_the_brokers_refuse_needs_an_operator_until_they_have_not_for_a_while(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("info", "json")
    now = [0.0]
    telling = Telemetry(lambda: now[0])
    said = []
    for seconds, code in ((0.0, "_TRANSPORT"), (1.0, "_AUTHENTICATION"), (11.0, "_AUTHENTICATION"), (30.0, ""), (40.0, "")):
        now[0] = seconds
        if code:
            telling.client_error("producer", code)
        telling.look_at_logins()
        said.append(len(telling.no_login))
    assert said == [0, 1, 1, 1, 0]
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    told = [line["event"] for line in lines if line["event"].startswith("operator")]
    assert told == ["operator_needed", "operator_no_longer_needed"]


def test_a_library_that_says_much_is_cut_short_and_the_rest_is_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = patience(1.0)
    monkeypatch.setattr(lines_of, "REPEAT_SECONDS", seconds)
    configure_logging("info", "json")
    for number in range(100):
        logging.getLogger("asyncio").error("line %d", number)
    logging.getLogger("aiohttp.server").error("another's line")
    time.sleep(1.5 * seconds)
    logging.getLogger("asyncio").error("a line later")

    said = [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]
    assert said == [
        *(f"line {number}" for number in range(10)),
        "another's line",
        "90 lines of this logger were left out",
        "a line later",
    ]


def test_a_library_that_says_little_is_heard(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(lines_of, "REPEAT_SECONDS", 0.1)
    configure_logging("info", "json")
    for number in range(30):
        logging.getLogger("asyncio").error("line %d", number)
        time.sleep(0.012)
    assert len(capsys.readouterr().err.splitlines()) == 30
