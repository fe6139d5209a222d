"""The connector's life before it runs: what it waits for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from connector.app import Connector
from connector.assembly import read_settings
from connector.errors import KafkaUnavailable
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
