"""The fault plan: a seed always gives the same faults, at about the rate that was asked for."""

from __future__ import annotations

from typing import Any

import pytest

from connector.sandbox.catalogue import EVENT_FAULTS, REQUEST_FAULTS, TOKEN_FAULTS
from connector.sandbox.faults import NO_FAULTS, EventFault, Faults, FaultsRefused, RequestFault, wait_ms

DRAWN = ("fail_503", "throttle_429", "withhold", "fail_500_after_accept", "truncated", "empty", "html")
MIXED = Faults(seed=7, chances=dict.fromkeys(DRAWN, 0.1))


def names(faults: Faults, count: int) -> list[str | None]:
    return [fault.name if (fault := faults.of_request(ordinal)) else None for ordinal in range(count)]


def test_the_same_seed_gives_the_same_faults_and_another_seed_others() -> None:
    again = Faults.parse(MIXED.as_json())
    other = Faults.parse(MIXED.as_json() | {"seed": 8})
    assert names(MIXED, 200) == names(again, 200)
    assert names(MIXED, 200) != names(other, 200)


def test_each_fault_comes_about_as_often_as_asked() -> None:
    drawn = names(MIXED, 10_000)
    assert all(900 < drawn.count(name) < 1100 for name in DRAWN)
    assert 2800 < drawn.count(None) < 3200


def test_a_certain_fault_comes_always_and_an_unasked_one_never() -> None:
    assert set(names(Faults(chances={"withhold": 1}), 100)) == {"withhold"}
    assert set(names(NO_FAULTS, 100)) == {None}


def test_planned_faults_come_in_turn_and_then_the_probabilities_hold() -> None:
    plan = Faults.parse(
        {
            "html": 1,
            "next": [
                {"fault": "none", "times": 2},
                {"fault": "status", "status": 429, "retry_after": "soon", "times": 2},
                {"fault": "delay", "ms": 70},
            ],
        }
    )
    assert [plan.of_request(ordinal) for ordinal in range(6)] == [
        None,
        None,
        RequestFault("status", 429, "soon"),
        RequestFault("status", 429, "soon"),
        RequestFault("delay", ms=70),
        RequestFault("html"),
    ]


def test_a_numbered_fault_comes_at_its_number_and_before_all_others() -> None:
    plan = Faults.parse(
        {
            "fail_503": 1,
            "next": [{"fault": "empty", "times": 2}],
            "at": [{"request": 2, "fault": "html", "times": 2}, {"request": 5, "fault": "none"}],
            "token_at": [{"request": 2, "fault": "token_html"}],
            "token_next": [{"fault": "token_500"}],
        }
    )
    assert names(plan, 6) == ["empty", "html", "html", "fail_503", None, "fail_503"]
    assert [plan.of_token_request(ordinal) for ordinal in range(3)] == [
        RequestFault("token_500"),
        RequestFault("token_html"),
        None,
    ]


@pytest.mark.parametrize("name", [*REQUEST_FAULTS, *EVENT_FAULTS, *TOKEN_FAULTS])
def test_every_fault_comes_in_all_three_ways(name: str) -> None:
    prefix = "token_" if name in TOKEN_FAULTS else ""

    def found(plan: Faults, ordinal: int) -> str | None:
        request = plan.of_token_request(ordinal) if prefix else plan.of_request(ordinal)
        if name not in EVENT_FAULTS:
            return request.name if request else None
        event = plan.of_event(ordinal, 0, b"", None, request)
        return event.name if event else None

    by_chance = Faults.parse({"seed": 1, name: 0.5})
    in_turn = Faults.parse({prefix + "next": [{"fault": "none"}, {"fault": name}]})
    by_number = Faults.parse({prefix + "at": [{"fault": name, "request": 2}]})

    if name in ("reject", "poison"):  # drawn by content, not by request
        drawn = [by_chance.of_event(0, 0, bytes([number]), None) for number in range(100)]
        assert {None, EventFault(name)} == set(drawn)
    else:
        assert {found(by_chance, ordinal) for ordinal in range(100)} == {None, name}
    for plan in (in_turn, by_number):
        assert [found(plan, ordinal) for ordinal in range(3)] == [None, name, None]
        assert Faults.parse(plan.as_json()) == plan


def test_a_fault_of_an_event_can_name_its_place_and_its_code() -> None:
    plan = Faults.parse({"next": [{"fault": "reject", "code": "FIELD_VALUE_IS_INVALID", "index": 1}]})
    request = plan.of_request(0)
    assert [plan.of_event(0, index, b"", None, request) for index in range(3)] == [
        None,
        EventFault("reject", "FIELD_VALUE_IS_INVALID"),
        None,
    ]


def test_flapping_passes_some_and_fails_as_many_in_turn() -> None:
    assert names(Faults(flapping=2), 8) == [None, None, "fail_503", "fail_503"] * 2


def test_a_brown_out_has_the_percentiles_that_were_asked_for() -> None:
    plan = Faults(seed=4, latency_p50_ms=100, latency_p99_ms=2000)
    waits = sorted(wait_ms(plan, ordinal) for ordinal in range(10_000))
    assert 95 < waits[5000] < 105
    assert 1700 < waits[9900] < 2300


def test_an_event_rejected_by_chance_is_rejected_each_time_it_comes() -> None:
    plan = Faults(seed=3, chances={"reject": 0.5})
    events = [bytes([number]) for number in range(100)]
    first = [plan.of_event(0, 0, event, "n") for event in events]
    assert first == [plan.of_event(99, 7, event, "n") for event in events]
    assert 30 < first.count(EventFault("reject")) < 70


def test_an_event_that_is_to_be_retried_passes_in_another_request() -> None:
    plan = Faults(seed=3, chances={"retry": 0.5, "omit": 0.2})
    found = [plan.of_event(ordinal, 0, b"same", "n") for ordinal in range(100)]
    assert {EventFault("retry"), EventFault("omit"), None} == set(found)


def test_an_event_is_rejected_by_its_name() -> None:
    plan = Faults.parse({"reject_names": ["cursed"]})
    assert plan.of_event(0, 0, b"", "cursed") == EventFault("reject")
    assert plan.of_event(0, 0, b"", "blessed") is None
    assert plan.of_event(0, 0, b"", None) is None


def test_waits_stay_between_their_bounds() -> None:
    plan = Faults(seed=1, latency_ms=5, delay=0.5, delay_min_ms=10, delay_max_ms=20)
    waits = [wait_ms(plan, ordinal) for ordinal in range(500)]
    assert min(waits) == 5
    assert all(wait == 5 or 15 <= wait <= 25 for wait in waits)
    assert len(set(waits)) == 12


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ([], "the plan"),
        ({"fail": 1}, "fail"),
        ({"seed": 1.5}, "seed"),
        ({"fail_503": 1.1}, "fail_503"),
        ({"fail_503": -0.1}, "fail_503"),
        ({"fail_503": "often"}, "fail_503"),
        ({"fail_503": True}, "fail_503"),
        ({"fail_503": 0.6, "withhold": 0.6}, "together"),
        ({"latency_ms": -1}, "latency_ms"),
        ({"delay_min_ms": 2, "delay_max_ms": 1}, "delay_min_ms"),
        ({"retry_after": 1.5}, "retry_after"),
        ({"retry_after": "1\r\nX: y"}, "retry_after"),
        ({"reject_names": "one"}, "reject_names"),
        ({"reject_names": [1]}, "reject_names"),
        ({"registry_down": 1}, "registry_down"),
        ({"next": {}}, "next"),
        ({"next": [{"fault": "flood"}]}, "next.fault"),
        ({"next": [{}]}, "next"),
        ({"next": [{"fault": "status", "status": 207}]}, "next.status"),
        ({"next": [{"fault": "token_html"}]}, "next.fault"),
        ({"next": [{"fault": "html", "request": 1}]}, "next.request"),
        ({"next": [{"fault": "redirect", "status": 304}]}, "next.status"),
        ({"next": [{"fault": "reject", "index": 500}]}, "next.index"),
        ({"next": [{"fault": "reject", "code": "A\r\nB"}]}, "next.code"),
        ({"at": [{"fault": "html"}]}, "at.request"),
        ({"at": [{"fault": "html", "request": 0}]}, "at.request"),
        ({"token_at": [{"fault": "html", "request": 1}]}, "token_at.fault"),
        ({"token_html": 0.6, "token_500": 0.6}, "token request"),
        ({"chances": {"html": 1}}, "chances"),
        ({"flapping": -1}, "flapping"),
        ({"max_requests_per_second": -1}, "max_requests_per_second"),
        ({"latency_p50_ms": 2, "latency_p99_ms": 1}, "latency_p50_ms"),
        ({"latency_p99_ms": 1}, "latency_p50_ms"),
        ({"max_body_bytes": 0}, "max_body_bytes"),
        ({"reject_code": 7}, "reject_code"),
        ({"next": [{"fault": "none", "times": 0}]}, "next.times"),
        ({"next": [{"fault": "delay", "ms": 10**9}]}, "next.ms"),
        ({"token_next": [{"fault": "token_html", "often": 1}]}, "token_next"),
    ],
)
def test_a_plan_that_is_none_is_refused_by_the_name_of_its_field(document: Any, named: str) -> None:
    with pytest.raises(FaultsRefused, match=named):
        Faults.parse(document)
