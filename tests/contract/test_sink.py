"""What the pipeline expects of its sink: over HTTP to the sandbox, and in the simulation."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from random import Random
from typing import Any, Protocol, TypeVar

import pytest

from connector.amazon.ads_v1 import AdsV1
from connector.amazon.client import AmazonSink
from connector.amazon.tokens import Credentials
from connector.model import NO_VERDICT, Answer, Failure, RequestFailed, VerdictKind, Verdicts
from tests.integration.events import event
from tests.integration.program import Sandbox
from tests.simulation.records import Nature, Row
from tests.simulation.vendor import BASE_URL, TOKEN_URL, Acceptance, Transport, Vendor, VendorOdds
from tests.simulation.virtual_time import Process, VirtualLoop

_TIMEOUT_SECONDS = 4.0
_ACCOUNT, _CLIENT = "5850000000001", "amzn1.application-oa2-client.sandbox"
T = TypeVar("T")


class Amazon(Protocol):
    """The other side, and a sink that is bound to it."""

    sink: AmazonSink

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something on the loop of the sink."""

    def next(self, fault: str) -> None:
        """Let the next request go wrong, by the sandbox's name for it."""

    def judge(self, verdict: str) -> None:
        """Let every event be ``reject``-ed, ``retry``-ed, or ``omit``-ted from the answer."""

    def accepted(self) -> Counter[str]:
        """Return how often each id was taken in."""


class Real:
    """``connector sandbox``, over HTTP."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._runner = asyncio.Runner()
        credentials = Credentials(_CLIENT, lambda: "sandbox-secret", lambda: "Atzr|sandbox", sandbox.token_url)
        contract = AdsV1(_ACCOUNT, _CLIENT, "NA")
        self.sink = AmazonSink(contract, sandbox.url, credentials, timeout_seconds=_TIMEOUT_SECONDS, max_connections=4)
        sandbox.set_faults(reject_names=["refused"])

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def next(self, fault: str) -> None:
        planned: dict[str, Any] = {
            "never": {"fault": "delay", "ms": int(_TIMEOUT_SECONDS * 5_000)},
            "unauthorized": {"fault": "status", "status": 401},
            "throttle_429": {"fault": "throttle_429", "retry_after": 7},
        }.get(fault, {"fault": fault})
        self._sandbox.set_faults(next=[planned], reject_names=["refused"])

    def judge(self, verdict: str) -> None:
        self._sandbox.set_faults(**{verdict: 1.0})

    def accepted(self) -> Counter[str]:
        return self._sandbox.accepted()

    def close(self) -> None:
        self._runner.run(self.sink.close())
        self._runner.close()


class _Witness:
    """Counts what was accepted."""

    def __init__(self) -> None:
        self.ids: dict[Row, str] = {}
        self.accepted_ids = Counter[str]()

    def leaving(self, process: Process, rows: list[Row]) -> None:
        """It is watched by what arrives."""

    def received(self, rows: list[Row], events: list[dict[str, Any]]) -> None:
        self.ids |= {row: event["eventId"] for row, event in zip(rows, events, strict=True)}

    def accepted(self, acceptance: Acceptance) -> None:
        self.accepted_ids[self.ids[acceptance.row]] += 1

    def happened(self, what: str) -> None:
        """It was asked for."""


class Fake:
    """The simulation's vendor, where nothing goes wrong unasked."""

    def __init__(self) -> None:
        self._loop = VirtualLoop()
        self._witness = _Witness()
        self._nature: Nature | None = None
        self._vendor = Vendor(self._loop, Random(1), VendorOdds(), self._witness, self._find)
        self._process = Process(self._loop, "process")
        self.sink = AmazonSink(
            AdsV1(_ACCOUNT, _CLIENT, "NA"),
            BASE_URL,
            Credentials(_CLIENT, lambda: "secret", lambda: "refresh", TOKEN_URL),
            timeout_seconds=_TIMEOUT_SECONDS,
            max_connections=4,
            transport=Transport(self._vendor, self._process, _TIMEOUT_SECONDS),
        )

    def _find(self, name: str) -> Row:
        nature = self._nature or (Nature.REJECTED if name == "refused" else Nature.GOOD)
        return Row(0, 0, 0, 0.0, nature, 0, 0, None, None, None, [], None)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)

    def next(self, fault: str) -> None:
        self._vendor.planned.append("withhold" if fault == "never" else fault)

    def judge(self, verdict: str) -> None:
        self._nature = {"reject": Nature.REJECTED, "retry": Nature.NEVER}.get(verdict)
        self._vendor.odds = VendorOdds(missing=1.0 if verdict == "omit" else 0.0)

    def accepted(self) -> Counter[str]:
        return self._witness.accepted_ids

    def close(self) -> None:
        self.run(self.sink.close())
        self._loop.close()


@pytest.fixture(scope="module")
def _sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    directory: Path = tmp_path_factory.mktemp("sandbox")
    sandbox = Sandbox(directory)
    yield sandbox
    sandbox.kill()


@pytest.fixture(params=["fake", "real"])
def amazon(request: pytest.FixtureRequest) -> Iterator[Amazon]:
    """Both of them, one after the other."""
    if request.param == "real":
        sandbox: Sandbox = request.getfixturevalue("_sandbox")
        sandbox.clear()
    other = Fake() if request.param == "fake" else Real(sandbox)
    yield other
    other.close()


def body_of(*events: tuple[str, str]) -> tuple[bytes, int]:
    """Return the request of events given by id and name, and their number."""
    contract = AdsV1(_ACCOUNT, _CLIENT, "NA")
    payloads = [contract.encode(event(dedupe_id, name=name), dedupe_id) for dedupe_id, name in events]
    encoded = [payload for payload in payloads if isinstance(payload, bytes)]
    assert len(encoded) == len(events)
    return contract.prefix + b",".join(encoded) + contract.suffix, len(encoded)


def sent(amazon: Amazon, *names: str, may_start: Callable[[], bool] = lambda: True) -> Answer:
    """Send events with ids 0, 1, … and these names."""
    body, count = body_of(*((f"id-{number}", name) for number, name in enumerate(names)))
    return amazon.run(amazon.sink.send(body, count, may_start=may_start))


def kinds(answer: Answer) -> list[VerdictKind]:
    assert isinstance(answer, Verdicts), answer
    return [verdict.kind for verdict in answer.verdicts]


def test_a_request_has_one_answer_with_one_verdict_an_event_in_its_order(amazon: Amazon) -> None:
    answer = sent(amazon, "order", "refused", "order", "refused", "refused")

    good, bad = VerdictKind.DELIVERED, VerdictKind.REJECTED
    assert kinds(answer) == [good, bad, good, bad, bad]
    assert isinstance(answer, Verdicts)
    assert answer.status == 207
    assert answer.verdicts[1].detail
    assert amazon.accepted() == {"id-0": 1, "id-2": 1}


def test_a_copy_that_is_sent_is_taken_in_again(amazon: Amazon) -> None:
    sent(amazon, "order")
    sent(amazon, "order")

    assert amazon.accepted() == {"id-0": 2}


def test_an_error_of_the_vendors_own_is_to_be_tried_again(amazon: Amazon) -> None:
    amazon.judge("retry")

    assert kinds(sent(amazon, "order", "order")) == [VerdictKind.RETRY, VerdictKind.RETRY]
    assert not amazon.accepted()


def test_an_event_that_the_answer_leaves_out_has_no_verdict_though_it_was_taken(amazon: Amazon) -> None:
    amazon.judge("omit")
    answer = sent(amazon, "order", "order")

    assert isinstance(answer, Verdicts)
    assert answer.verdicts == [NO_VERDICT, NO_VERDICT]
    assert amazon.accepted() == {"id-0": 1, "id-1": 1}


@pytest.mark.parametrize("fault", ["truncated", "empty", "html"])
def test_an_answer_that_cannot_be_read_gives_no_verdict_though_all_was_taken(amazon: Amazon, fault: str) -> None:
    amazon.next(fault)
    answer = sent(amazon, "order", "order")

    assert isinstance(answer, Verdicts)
    assert answer.verdicts == [NO_VERDICT, NO_VERDICT]
    assert answer.anomalies
    assert amazon.accepted() == {"id-0": 1, "id-1": 1}


def test_an_answer_that_never_comes_ends_in_a_time_out_though_all_was_taken(amazon: Amazon) -> None:
    amazon.next("never")
    answer = sent(amazon, "order")

    assert answer == RequestFailed(Failure.TIMEOUT, "timeout")
    assert amazon.accepted() == {"id-0": 1}


def test_a_request_that_fails_before_it_is_judged_takes_nothing_in(amazon: Amazon) -> None:
    amazon.next("fail_503")
    answer = sent(amazon, "order")

    assert isinstance(answer, RequestFailed)
    assert (answer.failure, answer.reason, answer.status) == (Failure.TRANSIENT, "http-503", 503)
    assert not amazon.accepted()


def test_a_request_that_fails_after_it_was_judged_has_taken_all_in(amazon: Amazon) -> None:
    amazon.next("fail_500_after_accept")
    answer = sent(amazon, "order")

    assert isinstance(answer, RequestFailed)
    assert (answer.failure, answer.status) == (Failure.TRANSIENT, 500)
    assert amazon.accepted() == {"id-0": 1}


def test_a_request_too_many_says_how_long_to_wait(amazon: Amazon) -> None:
    amazon.next("throttle_429")
    answer = sent(amazon, "order")

    assert isinstance(answer, RequestFailed)
    assert (answer.failure, answer.retry_after) == (Failure.THROTTLED, 7.0)
    assert not amazon.accepted()


def test_a_token_that_is_refused_is_renewed_and_the_request_sent_once_more(amazon: Amazon) -> None:
    amazon.next("unauthorized")

    assert kinds(sent(amazon, "order")) == [VerdictKind.DELIVERED]
    assert amazon.accepted() == {"id-0": 1}


def test_what_may_not_start_is_not_sent(amazon: Amazon) -> None:
    answer = sent(amazon, "order", may_start=lambda: False)

    assert isinstance(answer, RequestFailed)
    assert answer.reason == "not-sent"
    assert not amazon.accepted()


def test_what_may_not_start_any_more_is_not_sent_once_more_with_another_token(amazon: Amazon) -> None:
    amazon.next("unauthorized")
    allowed = iter([True, False])
    answer = sent(amazon, "order", may_start=lambda: next(allowed))

    assert isinstance(answer, RequestFailed)
    assert answer.reason == "not-sent"
    assert not amazon.accepted()


def test_requests_at_once_have_each_their_own_answer(amazon: Amazon) -> None:
    async def all_at_once() -> list[Answer]:
        requests = [body_of((f"id-{number}", "refused" if number % 2 else "order")) for number in range(4)]
        return await asyncio.gather(*(amazon.sink.send(*request, may_start=lambda: True) for request in requests))

    answers = amazon.run(all_at_once())

    assert [kinds(answer) for answer in answers] == [[VerdictKind.DELIVERED], [VerdictKind.REJECTED]] * 2


def test_a_good_request_goes_through_after_any_fault(amazon: Amazon) -> None:
    for fault in ("fail_503", "truncated", "unauthorized"):
        amazon.next(fault)
        sent(amazon, "order")
        assert kinds(sent(amazon, "order")) == [VerdictKind.DELIVERED]
