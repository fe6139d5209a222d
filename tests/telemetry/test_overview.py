"""What telemetry gathers for the page: what was counted, what was refused, and where each partition stands."""

from __future__ import annotations

from connector.model import Failure, Flaw, Outcome, Reason, RequestFailed, Verdicts
from connector.telemetry import Telemetry
from tests.core.builders import PLACE
from tests.core.conversation import Conversation, good


def test_counts_are_recent_and_since_the_start() -> None:
    now = [0.0]
    telling = Telemetry(lambda: now[0])
    talk = Conversation()
    telling.watch(talk.pipeline, object())
    talk.pipeline.statistics.outcomes[Outcome.DELIVERED] = 100
    telling.answered(Verdicts([]), 0.1, 100, 0)
    for second in range(10, 1_000, 10):
        now[0] = float(second)
        telling.sample()
    talk.pipeline.statistics.outcomes[Outcome.DELIVERED] = 130
    shown = telling.overview()

    assert shown["recent_seconds"] == 300
    assert shown["fates"]["delivered"] == {"recent": 30, "since_start": 130}
    assert shown["fates"]["stale"] == {"recent": 0, "since_start": 0}
    assert shown["amazon"]["statuses"] == {"207": {"recent": 0, "since_start": 1}}
    assert shown["amazon"]["last_success_seconds_ago"] == 990
    assert shown["amazon"]["p50_seconds"] is None
    assert 0.1 <= shown["amazon"]["p50_seconds_since_start"] <= 0.13
    assert len(shown["history"]["delivered"]) == 33
    assert shown["history"]["answers 2xx"][0] > 0


def test_newest_ten_dead_letters_are_kept_with_their_details() -> None:
    now = [0.0]
    telling = Telemetry(lambda: now[0])
    for number in range(12):
        now[0] = float(number)
        telling.letter_written(PLACE, number, Flaw(Reason.REJECTED, f"detail {number}"))
    newest = telling.overview()["dead_letters"]["newest"]

    assert [each["detail"] for each in newest] == [f"detail {number}" for number in reversed(range(2, 12))]
    assert newest[0] == {"seconds_ago": 0, "record": f"{PLACE}@11", "reason": "rejected", "detail": "detail 11"}


def test_partition_says_what_it_has_committed_what_is_unresolved_for_how_long_and_what_holds_it() -> None:
    now = [0.0]
    telling = Telemetry(lambda: now[0])
    talk = Conversation()
    telling.watch(talk.pipeline, object(), schemas=lambda: [("schema 7", "shop.Order", "order")])
    talk.start()
    talk.poll(good(0), good(1))
    telling.overview()
    now[0] = 20.0
    telling.schema_unavailable(None, 2)
    shown = telling.overview()
    (partition,) = shown["partitions"]

    assert partition == {
        "partition": str(PLACE),
        "phase": "running",
        "committed": None,
        "lag": None,
        "unresolved": 2,
        "oldest_unresolved_seconds": 20.0,
        "held_up_by": [],
    }
    assert shown["held_up"] == {"schema": 2}
    assert shown["amazon"]["events_in_flight"] == 2
    assert shown["amazon"]["requests_in_flight"] == 1
    assert shown["schemas"] == [{"schema": "schema 7", "records": "shop.Order", "mapping": "order"}]


def test_failures_are_told_apart_from_what_amazon_took() -> None:
    telling = Telemetry(lambda: 5.0)
    talk = Conversation()
    telling.watch(talk.pipeline, object())
    telling.answered(RequestFailed(Failure.TRANSIENT, "timeout"), 35.0, 1, 0)
    shown = telling.overview()["amazon"]

    assert shown["statuses"] == {"timeout": {"recent": 1, "since_start": 1}}
    assert shown["last_success_seconds_ago"] is None


def test_overview_before_the_start_shows_nothing_and_does_not_fail() -> None:
    telling = Telemetry()
    telling.sample()
    shown = telling.overview()

    assert shown["partitions"] == []
    assert shown["records"] == {"recent": 0, "since_start": 0}
