"""Logins that change while records flow: tokens end, passwords are replaced. No record is lost."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest

from tests.integration.events import event
from tests.integration.kafka.cluster import Cluster
from tests.integration.kafka.security import LOGIN_AGAIN_SECONDS, USER, Right, grant, set_password
from tests.integration.program import ConnectorProcess, Sandbox, World
from tests.patience import eventually, patience

pytestmark = pytest.mark.kafka

_LIFE_SECONDS = 20.0
"""Life of a token, on an idle machine. Clients ask for another when two thirds of it are over."""
_LONGEST_LIFE_SECONDS = 60.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(secured=True) as cluster:
        yield cluster


class Login(World):
    """A world whose connectors come by the secured listener."""

    def __init__(self, cluster: Cluster, sandbox: Sandbox, directory: Path) -> None:
        super().__init__(cluster.bootstrap_servers, sandbox, directory)
        self._cluster = cluster
        self.create_topic(2)
        rights = {"topic": (self.topic, self.ledger, self.dead_letters), "group": (self.group,)}
        grant(self.servers, [Right(kind, name, "All") for kind, names in rights.items() for name in names])

    def settings(self, **changes: str | None) -> dict[str, str]:
        secured: dict[str, str | None] = {
            "KAFKA_BOOTSTRAP_SERVERS": self._cluster.secured_servers,
            "KAFKA_SSL_CA_LOCATION": str(self._cluster.certificate),
        }
        return super().settings(**(secured | changes))


@pytest.fixture
def world(cluster: Cluster, _one_sandbox: Sandbox, tmp_path: Path) -> Iterator[Login]:
    _one_sandbox.clear()
    world = Login(cluster, _one_sandbox, tmp_path)
    yield world
    world.close()


class _Flow:
    """Events that are produced one after the other until they shall stop."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.ids: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ends.wait(0.1):
            name = f"bought-{len(self.ids)}"
            self._world.produce(event(name), partition=len(self.ids) % 2)
            self.ids.append(name)

    def until_delivered(self, connector: ConnectorProcess) -> None:
        """Wait until what was produced so far is delivered."""
        ids = set(self.ids)
        connector.eventually(lambda: ids <= self._world.sandbox.accepted().keys(), "what was produced is delivered")


def _token(path: Path, life: float) -> float:
    """Put a new token in the place of the old one; return when it ends."""
    now = time.time()
    parts = ({"alg": "none"}, {"sub": USER, "iat": now, "exp": now + life})
    coded = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    _write(path, ".".join(coded) + ".")
    return now + life


def _write(path: Path, text: str) -> None:
    """Put a new file in the place of the old one, which nobody sees half written."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


@contextmanager
def _renewed(path: Path, life: float) -> Iterator[None]:
    """Put a new token there every second."""
    ends = threading.Event()

    def renew() -> None:
        while not ends.wait(1.0):
            _token(path, life)

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        yield
    finally:
        ends.set()
        thread.join()


def test_tokens_end_and_are_renewed_and_one_day_there_is_none_and_nothing_is_lost(world: Login, tmp_path: Path) -> None:
    life = min(_LONGEST_LIFE_SECONDS, patience(_LIFE_SECONDS))
    assert life > 2 * LOGIN_AGAIN_SECONDS, "clients log in again with a token that they have, too"
    path = tmp_path / "token"
    settings = {"KAFKA_TOKEN_SOURCE": f"file:{path}"}
    checked = world.command("check", **settings)
    assert checked.returncode == 1
    assert "no token to log in to the brokers with: KAFKA_TOKEN_SOURCE=file:" in checked.stdout
    connector = world.connector(**settings)
    connector.until_said("waiting", message="the file cannot be read: No such file or directory")
    assert connector.page("/readyz")[0] == 503
    assert connector.metrics()["connector_operator_needed"] == 1, "before the first start too"

    ends = _token(path, life)
    with _Flow(world) as flow:
        with _renewed(path, life):
            connector.until_ready()
            flow.until_delivered(connector)
            second = world.connector(**settings)  # partitions move, so that ledgers are read
            second.until_ready()
            eventually(lambda: time.time() > ends + life, "two lives of a token are over", 2.5 * life)
            flow.until_delivered(connector)
            assert second.log("operator_needed") == []
            assert second.stop() == 0

        before = len(connector.log("operator_needed"))  # the first was at the start
        path.unlink()
        connector.eventually(
            lambda: len(connector.log("operator_needed")) > before, "it is told that there is none again", 60
        )
        told = connector.log("operator_needed")[-1]["message"]
        assert "no token to log in to the brokers with" in told
        assert "the file cannot be read" in told
        assert "no token" in connector.page("/readyz")[1]
        assert connector.metrics()["connector_operator_needed"] >= 1
        with _renewed(path, life):
            connector.eventually(lambda: "no token" not in connector.page("/readyz")[1], "there is one again")
            flow.until_delivered(connector)
            connector.until_ready()
            assert connector.stop() == 0
    assert path.read_text() not in connector.output
    assert world.sandbox.accepted().keys() <= set(flow.ids)


def test_a_password_that_changes_is_taken_from_its_file_and_a_wrong_one_is_told(world: Login, tmp_path: Path) -> None:
    password = tmp_path / "password"
    _write(password, "the first password")
    set_password(world.servers, "the first password")
    connector = world.connector(
        KAFKA_SECURITY_PROTOCOL="SASL_SSL",
        KAFKA_SASL_MECHANISM="SCRAM-SHA-512",
        KAFKA_SASL_USERNAME=USER,
        KAFKA_SASL_PASSWORD_FILE=str(password),
    )
    connector.until_ready()
    with _Flow(world) as flow:
        set_password(world.servers, "the second password")
        _write(password, "a wrong password")
        connector.until_said("credentials_changed", whose="kafka")
        connector.until_said("operator_needed", message="the brokers refuse this client's login")
        assert "refuse this client's login" in connector.page("/readyz")[1]

        _write(password, "the second password")
        # Half a minute after the last refusal, and files are looked at every ten seconds.
        connector.eventually(lambda: connector.log("operator_no_longer_needed"), "the login is not refused any more", 60)
        connector.until_ready()
        flow.until_delivered(connector)
    flow.until_delivered(connector)
    assert connector.stop() == 0
    for secret in ("the first password", "the second password", "a wrong password"):
        assert secret not in connector.output
