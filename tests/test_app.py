"""The connector's life before it runs: what it waits for."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace

import pytest

from connector.app import Connector
from connector.assembly import read_settings, sink_for
from connector.errors import KafkaDenied, KafkaUnavailable
from tests.test_assembly import ENVIRONMENT


def test_a_member_waits_for_its_groups_session_where_the_brokers_do_not_tell_it(monkeypatch: pytest.MonkeyPatch) -> None:
    connector = Connector(read_settings(ENVIRONMENT))
    answers: list[float | KafkaUnavailable] = [KafkaUnavailable("settings of the group: no answer"), 6.0]

    def session_seconds(_group: str) -> float:
        answer = answers.pop(0)
        if isinstance(answer, KafkaUnavailable):
            raise answer
        return answer

    asked = SimpleNamespace(describe=lambda _: object(), committed=lambda _: None, session_seconds=session_seconds)
    monkeypatch.setattr(connector, "_topics", asked)
    monkeypatch.setattr("connector.app.properties.session_timeout_seconds", lambda _: None)

    with pytest.raises(KafkaUnavailable):
        connector._missing()
    assert connector._missing() is None
    assert connector._session_seconds == 6.0


async def test_clients_are_made_off_the_loop_because_they_may_wait_for_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, bool] = {}

    def producer(*_: object, **__: object) -> AbstractContextManager[object]:
        made["producer"] = threading.current_thread() is not threading.main_thread()
        return nullcontext(SimpleNamespace())

    def consumer(*_: object) -> None:
        made["consumer"] = threading.current_thread() is not threading.main_thread()
        raise KafkaUnavailable("no token")

    monkeypatch.setattr("connector.app.ConfirmingProducer", producer)
    monkeypatch.setattr("connector.app.SourceConsumer", consumer)
    settings = read_settings(ENVIRONMENT)
    connector = Connector(settings)
    sink = sink_for(settings, connector.contract)
    try:
        with pytest.raises(KafkaUnavailable):
            await connector._run_pipeline("cluster", sink)
    finally:
        await sink.close()
    assert made == {"producer": True, "consumer": True}


def _shown(connector: Connector, name: str) -> float:
    lines = connector.telemetry.exposition()[0].decode().splitlines()
    (value,) = [line.split()[-1] for line in lines if line.startswith(f"{name} ")]
    return float(value)


async def test_a_right_that_is_missing_at_the_first_start_needs_an_operator_until_it_is_granted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connector = Connector(read_settings(ENVIRONMENT))
    monkeypatch.setattr("connector.app._TOPIC_AGAIN_SECONDS", 0.0)
    answers: list[Exception | None] = [
        KafkaUnavailable("away"),
        KafkaDenied("group g: may not"),
        KafkaUnavailable("away"),
        None,
    ]
    needed: list[tuple[float, float]] = []

    def missing() -> None:
        needed.append((_shown(connector, "connector_operator_needed"), _shown(connector, "connector_ready")))
        if (answer := answers.pop(0)) is not None:
            raise answer

    monkeypatch.setattr(connector, "_topics", SimpleNamespace(cluster_id=lambda: "cluster"))
    monkeypatch.setattr(connector, "_missing", missing)

    async with asyncio.timeout(30):
        assert await connector._until_there() == "cluster"

    assert needed == [(0, 0), (0, 0), (1, 0), (1, 0)]
    assert _shown(connector, "connector_operator_needed") == 0


async def test_source_topic_that_is_missing_for_a_minute_needs_an_operator_until_it_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connector = Connector(read_settings(ENVIRONMENT))
    monkeypatch.setattr("connector.app._TOPIC_AGAIN_SECONDS", 0.0)
    looks, needed = 40, list[float]()

    def describe(_topic: str) -> object | None:
        needed.append(_shown(connector, "connector_operator_needed"))
        return None if len(needed) <= looks else object()

    def committed(_partition: object) -> None:
        pass

    asked = SimpleNamespace(cluster_id=lambda: "cluster", describe=describe, committed=committed)
    monkeypatch.setattr(connector, "_topics", asked)
    monkeypatch.setattr("connector.app.properties.session_timeout_seconds", lambda _: 45.0)

    async with asyncio.timeout(30):
        assert await connector._until_there() == "cluster"

    in_a_minute = 30
    assert needed == [0.0] * in_a_minute + [1.0] * (looks + 1 - in_a_minute)
    assert _shown(connector, "connector_operator_needed") == 0
