"""The record: one line for each event in the order of arrival, bounded, and counted."""

from __future__ import annotations

import orjson
import pytest

from connector.sandbox.record import ACCEPTED, REJECTED, Judgement, Received, RequestRecord


def request(
    record: RequestRecord, *ids: str | None, verdict: str = ACCEPTED, times: tuple[int, ...] = (), account: str | None = "1"
) -> Received:
    received = record.open("ads-v1", 1000, account, "4f0c")
    received.ids, received.verdict = list(ids), verdict
    received.digests = b"".join(bytes([number]) * 16 for number in range(len(ids)))
    received.times = [f"2026-08-20T18:04:{second:02}Z" for second in times or [0] * len(ids)]
    record.add(received)
    return received


def lines(record: RequestRecord, first: int = 0) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in record.lines(first)]


def counted(record: RequestRecord) -> list[object]:
    return [line["counted"] for line in lines(record)]


def test_a_request_is_in_the_record_before_it_is_answered() -> None:
    record = RequestRecord()
    received = request(record, "a")
    assert [line["answer"] for line in lines(record)] == ["pending"]
    record.close(received, "sent", 207, 1500)
    assert lines(record) == [
        {
            "request": 1,
            "arrival": 1000,
            "contract": "ads-v1",
            "account": "1",
            "token": "4f0c",
            "index": 0,
            "id": "a",
            "digest": "00" * 16,
            "verdict": "accepted",
            "counted": True,
            "codes": [],
            "flaws": [],
            "fault": None,
            "answer": "sent",
            "answered": 1500,
        }
    ]


def test_an_event_with_a_judgement_of_its_own_shows_it() -> None:
    record = RequestRecord()
    received = request(record, "a", "b")
    received.judgements[1] = Judgement(REJECTED, ("BAD_REQUEST",), ("eventTime time-form",), "reject")
    assert [(line["id"], line["verdict"], line["codes"], line["fault"]) for line in lines(record)] == [
        ("a", "accepted", [], None),
        ("b", "rejected", ["BAD_REQUEST"], "reject"),
    ]


def test_lines_are_read_from_an_offset() -> None:
    record = RequestRecord()
    request(record, "a", "b", "c")
    request(record, "d")
    assert [[line["id"] for line in lines(record, first)] for first in (0, 2, 3, 4, 9)] == [
        ["a", "b", "c", "d"],
        ["c", "d"],
        ["d"],
        [],
        [],
    ]


def test_at_the_bound_the_oldest_requests_leave_and_are_counted_and_offsets_stay() -> None:
    record = RequestRecord(max_lines=3)
    for event_id in "abcd":
        request(record, event_id)
    assert [line["id"] for line in lines(record)] == ["b", "c", "d"]
    assert [line["id"] for line in lines(record, 2)] == ["c", "d"]
    status = record.status()
    assert (status["events"], status["lines"], status["lines_dropped"]) == (4, 3, 1)


def test_the_status_counts_ids_accepted_again_but_not_those_refused_before() -> None:
    record = RequestRecord()
    request(record, "twice", "once", None)
    request(record, "twice", "failed", None, verdict="not judged")
    request(record, "twice", "failed")
    status = record.status()
    assert (status["distinct_ids"], status["ids_accepted"], status["ids_accepted_again"]) == (3, 3, 1)
    assert (status["requests"], status["events"], status["accepted"], status["not_judged"]) == (3, 8, 5, 3)


def test_of_accepted_events_with_one_id_the_one_that_happened_first_is_counted() -> None:
    record = RequestRecord()
    request(record, "a", "b", None, times=(20, 20, 20))
    assert counted(record) == [True, True, True]
    request(record, "a", "b", None, times=(10, 30, 20))
    assert counted(record) == [False, True, True, True, False, True]
    request(record, "b", "b", times=(20, 20))
    assert counted(record) == [False, True, True, True, False, True, False, False]
    assert (record.status()["counted"], record.status()["filtered"]) == (4, 4)


def test_an_id_is_one_accounts_and_a_refused_event_takes_no_ones_place() -> None:
    record = RequestRecord()
    request(record, "a", verdict="not judged")
    request(record, "a", times=(5,))
    request(record, "a", account="2")
    assert counted(record) == [None, True, True]


def test_a_request_that_leaves_takes_its_ids_along() -> None:
    record = RequestRecord(max_lines=2)
    request(record, "a", times=(1,))
    request(record, "b")
    request(record, "c")
    request(record, "a", times=(9,))
    assert counted(record) == [True, True]
    assert record.status()["filtered"] == 0


def test_requests_are_told_with_counts_and_those_without_events_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connector.sandbox.record._MAX_REQUESTS", 3)
    record = RequestRecord()
    received = request(record, "a", "b")
    received.judgements[1] = Judgement(REJECTED)
    record.close(received, "sent", 207, 1500)
    (told,) = map(orjson.loads, record.requests())
    assert told | {"bytes": 0} == {
        "request": 1,
        "arrival": 1000,
        "answered": 1500,
        "contract": "ads-v1",
        "account": "1",
        "token": "4f0c",
        "bytes": 0,
        "events": 2,
        "accepted": 1,
        "rejected": 1,
        "fault": None,
        "status": 207,
        "answer": "sent",
    }
    for _ in range(9):
        record.open("ads-v1", 1000)
    assert [orjson.loads(line)["request"] for line in record.requests()] == [8, 9, 10]
    assert record.status()["lines_dropped"] == 2


def test_a_cleared_record_is_empty_and_goes_on_numbering_requests() -> None:
    record = RequestRecord()
    request(record, "a")
    record.clear()
    assert lines(record) == []
    assert record.status()["requests"] == 0
    assert request(record, "b").number == 2
