"""The fault plan: the same seed gives the same faults, at about the asked rate, and a plan that is none is refused."""

from __future__ import annotations

from typing import Any

import pytest

from connector.sandbox.faults import NO_FAULTS, REQUEST_FAULTS, Faults, FaultsRefused, RequestFault, wait_ms

MIXED = Faults(
    seed=7, fail_503=0.1, throttle_429=0.1, withhold=0.1, fail_500_after_accept=0.1, truncated=0.1, empty=0.1, html=0.1
)


def names(faults: Faults, count: int) -> list[str | None]:
    return [fault.name if (fault := faults.of_request(ordinal)) else None for ordinal in range(count)]


def test_the_same_seed_gives_the_same_faults_and_another_seed_others() -> None:
    again = Faults.parse(MIXED.as_json())
    other = Faults.parse(MIXED.as_json() | {"seed": 8})
    assert names(MIXED, 200) == names(again, 200)
    assert names(MIXED, 200) != names(other, 200)


def test_each_fault_comes_about_as_often_as_asked() -> None:
    drawn = names(MIXED, 10_000)
    assert all(900 < drawn.count(name) < 1100 for name in REQUEST_FAULTS)
    assert 2800 < drawn.count(None) < 3200


def test_a_certain_fault_comes_always_and_an_unasked_one_never() -> None:
    assert set(names(Faults(withhold=1), 100)) == {"withhold"}
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


def test_an_event_rejected_by_chance_is_rejected_each_time_it_comes() -> None:
    plan = Faults(seed=3, reject=0.5)
    events = [bytes([number]) for number in range(100)]
    first = [plan.of_event(0, 0, event, "n") for event in events]
    assert first == [plan.of_event(99, 7, event, "n") for event in events]
    assert 30 < first.count("reject") < 70


def test_an_event_that_is_to_be_retried_passes_in_another_request() -> None:
    plan = Faults(seed=3, retry=0.5, omit=0.2)
    found = [plan.of_event(ordinal, 0, b"same", "n") for ordinal in range(100)]
    assert {"retry", "omit", None} == set(found)


def test_an_event_is_rejected_by_its_name() -> None:
    plan = Faults.parse({"reject_names": ["cursed"]})
    assert plan.of_event(0, 0, b"", "cursed") == "reject"
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
        ({"next": [{"fault": "none", "times": 0}]}, "next.times"),
        ({"next": [{"fault": "delay", "ms": 10**9}]}, "next.ms"),
        ({"token_next": [{"fault": "html", "often": 1}]}, "token_next"),
    ],
)
def test_a_plan_that_is_none_is_refused_by_the_name_of_its_field(document: Any, named: str) -> None:
    with pytest.raises(FaultsRefused, match=named):
        Faults.parse(document)
