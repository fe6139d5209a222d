"""Amazon's side gone wrong, one scenario after the other, before the program as a process: each event has one outcome.

The table says what goes wrong and what must come of it; the account is the same for all: every event is delivered, or set
aside where Amazon refused it alone; none is accepted again but one whose answer Amazon left in doubt, and then unchanged; no
token goes to another host or into the log; memory is bounded. Rows share a connector, as the days of one process do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from connector.sandbox.catalogue import CATALOGUE
from tests.integration.brokers import read_topic
from tests.integration.events import event
from tests.integration.program import ConnectorProcess, Sandbox, World
from tests.patience import eventually, patience

_EVENTS = 4
_FOR_LONG = 1000
"""Requests that a fault happens to which does not pass by itself."""
_MOST_MEMORY = 250 * 1024 * 1024
"""Some 90 MB is what it takes; a body read whole would be 1 GB."""
_SLACK_SECONDS = 10.0
"""To the millisecond it is shown by ``tests/core``."""
_SECRETS = ("Atza|", "Atzr|", "sandbox-secret")


@dataclass(frozen=True, slots=True)
class Row:
    """A scenario: what goes wrong, and what must come of it."""

    number: int
    """Its number in the list of failure scenarios."""
    fault: str
    """The one of the catalogue that it is about, or the field of the plan."""
    plan: Mapping[str, Any]
    again: bool = False
    """Whether events are accepted again, because their first answer left it in doubt."""
    odd: Mapping[str, Any] = field(default_factory=dict)
    """Inputs by which the first event differs from the others."""
    rejected: int = 0
    """Events that become dead letters; where it is one, the first."""
    operator: str | None = None
    """What `/readyz` says of it while it lasts."""
    lifted: bool = False
    """Whether it lasts until the operator was asked for; of what passes by itself nobody may have seen the page."""
    rounds: int = 1
    """How often events are produced, each time after the last were resolved."""
    apis: tuple[str, ...] = ("ads-v1",)
    tag: str = ""


_BOTH = ("ads-v1", "events-v1")
_LARGE = {f"attr{number}": "x" * 200 for number in range(10)}


def _once(number: int, fault: str, *, tag: str = "", rounds: int = 1, **row: Any) -> Row:
    """Return a row whose fault happens to one request."""
    entry = {name: row.pop(name) for name in ("retry_after", "ms", "status", "code", "index") if name in row}
    return Row(number, fault, {"next": [{"fault": fault, **entry}]}, tag=tag, rounds=rounds, **row)


def _for_long(number: int, fault: str, operator: str, **row: Any) -> Row:
    """Return a row whose fault happens to every request until an operator was asked for."""
    entry = {"times": _FOR_LONG} | {name: row.pop(name) for name in ("status",) if name in row}
    return Row(number, fault, {"next": [{"fault": fault, **entry}]}, operator=operator, lifted=True, **row)


def _token(fault: str, **row: Any) -> Row:
    """Return a row whose fault happens to the refresh that an ended token leads to; to all of them, for an operator."""
    times = {"times": _FOR_LONG} if "operator" in row else {}
    entry = {"fault": fault, **times, **({"ms": row.pop("ms")} if "ms" in row else {})}
    return Row(38, fault, {"next": [{"fault": "expire_tokens"}], "token_next": [entry]}, lifted="operator" in row, **row)


ROWS = [
    *(
        _once(30, "throttle_429", retry_after=form, tag=tag)
        for form, tag in ((None, "absent"), (0, "0"), (1, "1"), ("date+1", "date"), ("soon", "garbage"), (-5, "negative"))
    ),
    _once(30, "throttle_429_html", retry_after=1),
    _once(31, "fail_500"),
    _once(31, "fail_502"),
    _once(31, "fail_503"),
    _once(31, "fail_504"),
    _once(31, "fail_500_after_accept", again=True),
    Row(31, "flapping", {"flapping": 1}, rounds=3),
    Row(31, "latency_p99_ms", {"seed": 2, "latency_p50_ms": 50, "latency_p99_ms": 1000}, rounds=3),
    _once(32, "slow_headers", ms=1000, again=True),
    _once(32, "slow_body", ms=1000, again=True),
    _once(32, "endless_body", again=True),
    _once(32, "huge_body", again=True),
    _once(32, "gzip_bomb", again=True),
    _once(32, "gzip"),
    _once(33, "reset_at_head"),
    _once(33, "reset_mid_request"),
    _once(33, "withhold", again=True),
    _once(33, "reset_after_headers", again=True),
    _once(33, "reset_mid_answer", again=True),
    _once(33, "close_idle", rounds=2),
    _once(34, "truncated", again=True, apis=_BOTH),
    _once(34, "empty", again=True, apis=_BOTH),
    _once(34, "html", again=True, apis=_BOTH),
    _once(34, "html_200", again=True, apis=_BOTH),
    _once(34, "wrong_content_type", apis=_BOTH),
    _once(34, "byte_order_mark", apis=_BOTH),
    _once(34, "invalid_utf8", again=True, apis=_BOTH),
    _once(35, "index_missing", again=True, apis=_BOTH),
    _once(35, "index_doubled", again=True, apis=_BOTH),
    _once(35, "index_out_of_range", again=True, apis=_BOTH),
    _once(35, "index_negative", again=True, apis=_BOTH),
    _once(35, "index_string", apis=_BOTH),
    _once(35, "index_float", apis=_BOTH),
    _once(35, "success_and_error", rejected=1, apis=_BOTH),  # the error is believed: a dead letter keeps a copy
    _once(35, "more_items", apis=_BOTH),
    _once(35, "other_base", apis=_BOTH),
    _once(35, "omit", index=0, again=True, apis=_BOTH),
    _once(36, "status_200", apis=_BOTH),
    _once(36, "status_200_empty", again=True),
    _once(36, "status_202", again=True),
    _once(36, "status_204", again=True),
    *(
        _for_long(36, "redirect", "a redirect is never followed", status=status, tag=str(status))
        for status in (301, 302, 303, 307, 308)
    ),
    _once(37, "reject", code="FIELD_VALUE_IS_INVALID", index=0, rejected=1, apis=_BOTH),
    _once(37, "retry", apis=_BOTH),
    _once(38, "expire_tokens"),
    _once(38, "unauthorized_401"),
    _for_long(38, "unauthorized_401", "AMAZON_CLIENT_SECRET", tag="again and again"),
    _token("token_invalid_grant", operator="AMAZON_REFRESH_TOKEN"),
    _token("token_invalid_client", operator="AMAZON_CLIENT_SECRET"),
    _token("token_500"),
    _token("token_503"),
    _token("token_429"),
    _token("token_slow", ms=500),
    _token("token_garbage"),
    _token("token_missing"),
    _token("token_html"),
    _token("token_redirect", operator="AMAZON_REFRESH_TOKEN"),
    _token("token_withhold"),
    Row(38, "refresh_token_revoked", {"refresh_token_revoked": True}, operator="AMAZON_REFRESH_TOKEN", lifted=True),
    _once(39, "forbidden_403"),
    Row(39, "forbidden_403", {"forbidden_403": 1}, operator="event_manager_edit", lifted=True, tag="for long"),
    _once(39, "account_400"),
    Row(39, "account_400", {"account_400": 1}, operator="AMAZON_ACCOUNT_ID", lifted=True, tag="for long"),
    *(
        Row(39, "reject", {"reject": 1, "reject_code": code}, operator=code, lifted=True, tag=code, apis=_BOTH)
        for code in ("PAYMENT_ISSUE", "ACCOUNT_NOT_ELIGIBLE")
    ),
    Row(
        39,
        "reject",
        {"reject_names": ["odd"], "reject_code": "UNSUPPORTED_MARKETPLACE"},
        odd={"name": "odd"},
        operator="Amazon refuses some events, and takes others: UNSUPPORTED_MARKETPLACE",
        lifted=True,
        tag="some for the account",
        apis=_BOTH,
    ),
    Row(39, "poison", {"poison_names": ["bad"]}, odd={"name": "bad"}, rejected=1, apis=_BOTH),
    _once(40, "too_large_413"),
    Row(40, "max_body_bytes", {"max_body_bytes": 1000}),
    _once(40, "conflict", apis=_BOTH),
    Row(40, "max_body_bytes", {"max_body_bytes": 100}, operator="413", lifted=True, tag="for any event"),
    Row(40, "max_body_bytes", {"max_body_bytes": 1500}, odd={"customAttributes": _LARGE}, rejected=1, tag="for one event"),
    _for_long(41, "status", "AMAZON_REGION", status=404, tag="region moved"),
    _for_long(41, "status", "AMAZON_REGION", status=410, tag="region gone"),
    _for_long(41, "status", "a proxy asks for credentials", status=407, tag="proxy"),
]


@dataclass(slots=True)
class Steady:
    """A connector that goes on from row to row, and what it has resolved so far."""

    world: World
    connector: ConnectorProcess
    outcomes: dict[str, int] = field(default_factory=lambda: {"delivered": 0, "dead_lettered": 0})
    broken: bool = False


class Days:
    """The connectors of this file, one a contract; one that failed a row is not given to the next."""

    def __init__(self, kafka: str, directory: Path) -> None:
        self._kafka, self._directory = kafka, directory
        self._sandbox = Sandbox(directory)
        self._steady: dict[str, Steady] = {}

    def steady(self, api: str) -> Steady:
        """Return the connector of a contract; broken until the row says otherwise."""
        self._sandbox.clear()
        found = self._steady.get(api)
        if found is None or found.broken:
            if found is not None:
                found.world.close()
            world = World(self._kafka, self._sandbox, self._directory)
            world.create_topic()
            timeout = f"{round(patience(3))}s"  # waited for by every row without an answer; others' answers come before it
            connector = world.connector(AMAZON_API=api, AMAZON_TIMEOUT=timeout, BATCH_LINGER="150ms")
            found = self._steady[api] = Steady(world, connector)
        found.broken = True
        return found

    def close(self) -> None:
        for one in self._steady.values():
            one.world.close()
        self._sandbox.kill()


@pytest.fixture(scope="module")
def days(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Days]:
    days = Days(kafka, tmp_path_factory.mktemp("scenarios"))
    yield days
    days.close()


def _cases() -> Iterator[Any]:
    for row in ROWS:
        for api in row.apis:
            yield pytest.param(row, api, id="-".join(filter(None, (str(row.number), row.fault, row.tag, api))))


def test_every_fault_of_the_catalogue_is_in_the_table() -> None:
    assert {fault.name for fault in CATALOGUE} - {row.fault for row in ROWS} == set()


@pytest.mark.parametrize(("row", "api"), list(_cases()))
def test_each_event_has_one_outcome(days: Days, row: Row, api: str) -> None:
    steady = days.steady(api)
    world, connector = steady.world, steady.connector
    connector.until_ready()
    letters = len(read_topic(world.servers, world.dead_letters))
    world.sandbox.set_faults(**row.plan)

    own_ids: list[str] = []
    for _ in range(row.rounds):
        own_ids += _produced(steady, row)
        if row.operator is not None:
            _until_unready(connector, row.operator)
            assert len(read_topic(world.servers, world.dead_letters)) == letters
        if row.lifted:
            world.sandbox.set_faults()
        connector.until_resolved(**{name: count for name, count in steady.outcomes.items() if count})
    connector.until_ready()

    record = world.sandbox.record()
    if row.again:  # or it was nothing but a time-out that left them in doubt
        assert any(line["fault"] == row.fault and line["answer"] != "unread" for line in record)
    accepted = _accepted(record, again=row.again)
    assert set(own_ids) - accepted <= set(own_ids[: row.rejected])
    assert _EVENTS * row.rounds - row.rejected <= len(accepted) <= _EVENTS * row.rounds
    assert len(read_topic(world.servers, world.dead_letters)) == letters + row.rejected
    world.until_committed_to_the_end()
    assert {len(facts) for facts in world.fates().values()} == {1}
    assert world.sandbox.status()["elsewhere"] == 0
    assert [secret for secret in _SECRETS if secret in connector.output] == []
    assert _peak_memory(connector) < _MOST_MEMORY
    steady.broken = False


def _produced(steady: Steady, row: Row) -> list[str]:
    """Produce the events of a round; return their ids, which one of them does not have."""
    number = sum(steady.outcomes.values())
    ids = [None if index == 2 else f"event-{number + index}" for index in range(_EVENTS)]
    steady.world.produce(event(ids[0], **row.odd), *map(event, ids[1:]))
    steady.outcomes["delivered"] += _EVENTS - row.rejected
    steady.outcomes["dead_lettered"] += row.rejected
    return [one for one in ids if one is not None]


def _until_unready(connector: ConnectorProcess, why: str) -> None:
    def unready() -> bool:
        status, text = connector.page("/readyz")
        return status == 503 and why in text

    eventually(unready, f"it is not ready because {why}")
    assert connector.page("/livez")[0] == 200


def _accepted(record: list[dict[str, Any]], *, again: bool) -> set[str]:
    """Return the ids that were accepted, having judged those that were so more than once."""
    lines: dict[str, list[dict[str, Any]]] = {}
    for line in record:
        if line["verdict"] == "accepted":
            lines.setdefault(line["id"], []).append(line)
    copies = [pair for found in lines.values() for pair in pairwise(found)]
    for first, second in copies:
        assert first["answer"] != "sent" or first["fault"] == "omit", f"sent again without need: {first}, {second}"
        assert first["digest"] == second["digest"]
    assert bool(copies) == again, f"accepted again: {copies}"
    return set(lines)


def _peak_memory(connector: ConnectorProcess) -> int:
    """Return the most bytes that it ever had in memory."""
    text = Path(f"/proc/{connector.pid}/status").read_text(encoding="ascii")
    return 1024 * int(text.partition("VmHWM:")[2].split()[0])


_FIRST_BACK_OFF_SECONDS = 0.5


@pytest.mark.parametrize(
    ("form", "least", "most"),
    [
        # Without a wait that can be read, the pace decides, which this one refusal has taught.
        pytest.param(None, 0.1, 1.0, id="absent"),
        pytest.param(0, 0.1, 1.0, id="0"),
        pytest.param(1, 1.0, 1.0, id="1"),
        pytest.param(2, 2.0, 2.0, id="2"),
        pytest.param("date+3", 2.0, 3.0, id="date"),  # whole seconds: the answer's own date may be the next one
        pytest.param("soon", 0.1, 1.0, id="garbage"),
        pytest.param(-5, 0.1, 1.0, id="negative"),
    ],
)
def test_no_request_of_the_process_comes_before_the_wait_is_over_and_none_much_later(
    days: Days, form: object, least: float, most: float
) -> None:
    steady = days.steady("ads-v1")
    world, connector = steady.world, steady.connector
    connector.until_ready()
    world.sandbox.set_faults(next=[{"fault": "throttle_429", "retry_after": form}])
    number = sum(steady.outcomes.values())
    world.produce(event(f"event-{number}"))
    eventually(world.sandbox.record, "the first request was refused")
    world.produce(*(event(f"event-{number + index}") for index in range(1, _EVENTS)))
    steady.outcomes["delivered"] += _EVENTS
    connector.until_resolved(**{name: count for name, count in steady.outcomes.items() if count})

    refused, *others = world.sandbox.record()
    assert refused["answer"] == "failed:429"
    assert min(line["arrival"] for line in others) - refused["arrival"] >= 1000 * least
    assert min(line["arrival"] for line in others) - refused["answered"] <= 1000 * (most + patience(_SLACK_SECONDS))
    again = next(line for line in others if line["id"] == refused["id"])
    assert again["arrival"] - refused["arrival"] >= 1000 * max(least, _FIRST_BACK_OFF_SECONDS)
    steady.broken = False


def test_when_all_are_rejected_with_one_code_it_pauses_long_before_all_are_dead_letters(world: World) -> None:
    world.create_topic()
    world.sandbox.set_faults(reject=1, reject_code="FIELD_VALUE_IS_INVALID")
    ids = [f"event-{number}" for number in range(200)]
    world.produce(*map(event, ids))

    changes = {"DEAD_LETTER_MAX_CONSECUTIVE": "20", "BATCH_MAX_EVENTS": "5", "MAX_IN_FLIGHT": "1"}
    connector = world.connector(**changes)
    _until_unready(connector, "20 events in a row became dead letters")
    assert connector.stop() == 0
    letters = len(read_topic(world.servers, world.dead_letters))
    assert 10 <= letters <= 20

    world.sandbox.clear()
    connector.start(world.settings(**changes))
    eventually(lambda: connector.outcomes().get("delivered") == 200 - letters, "all but the letters are delivered")
    assert len(world.sandbox.accepted()) == 200 - letters
    assert len(read_topic(world.servers, world.dead_letters)) == letters
    assert {len(facts) for facts in world.fates().values()} == {1}


def test_wait_of_an_hour_is_kept_to_and_does_not_outlast_a_stop(world: World) -> None:
    world.create_topic()
    world.sandbox.set_faults(next=[{"fault": "throttle_429", "retry_after": 3600}])
    world.produce(event("1"))

    connector = world.connector(BATCH_LINGER="20ms")
    eventually(world.sandbox.record, "the first request was refused")
    world.produce(event("2"), event("3"))
    eventually(lambda: connector.metrics().get("connector_buffered_events") == 3, "three events wait")
    assert [connector.page(path)[0] for path in ("/readyz", "/livez")] == [200, 200]

    assert connector.stop() == 0
    assert len(world.sandbox.record()) == 1
    assert world.has_committed_nothing()
