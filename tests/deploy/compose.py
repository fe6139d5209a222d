"""The services of ``docker-compose.yml`` that are ours, played with the commands and environments that the file gives them.

An address of a container (``kafka:9092``) is replaced by one of this machine, and nothing else. How
a command becomes a process is the caller's: from the checkout, or in a root file system that the
Dockerfile made (``tests/deploy/image.py``). The registry is the sandbox's, because Karapace cannot
be had here.
"""

from __future__ import annotations

import contextlib
import json
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ruamel.yaml import YAML

from tests.integration.brokers import committed, create_topic, end_offsets, set_group
from tests.integration.ports import reserved
from tests.patience import eventually, patience

__all__ = ["Account", "Running", "Start", "ours", "play"]

_FILE = Path(__file__).parents[2] / "docker-compose.yml"
_IMAGE = "amazon-conversions-connector"
_EVENTS = 150
_SECONDS = 60.0
_SESSION_MS = 120_000


class Running(Protocol):
    """A service that was started."""

    def terminate(self) -> None:
        """Send SIGTERM."""

    def wait(self, timeout: float) -> int:
        """Wait for its end; return the exit code."""

    def kill(self) -> None:
        """End it at once; nothing if it has ended."""


Start = Callable[[Sequence[str], Mapping[str, str], Path], Running]
"""Starts the connector's command line with an environment, and has the output go to a file."""


@dataclass(frozen=True, slots=True)
class Account:
    """What became of a run: the records of the topic, and the events that the sandbox accepted."""

    records: int
    delivered: int
    accepted: int
    accepted_ids: int
    replicas: int
    accounted_for: bool
    exit_codes: tuple[int, ...]


def ours() -> dict[str, dict[str, Any]]:
    """Return the services that run our image, by name."""
    services: dict[str, dict[str, Any]] = YAML(typ="safe").load(_FILE)["services"]
    return {name: one for name, one in services.items() if one["image"] == _IMAGE}


def play(
    start: Start, servers: str, directory: Path, topic: str, meanwhile: Callable[[int, Sequence[int]], object] | None = None
) -> Account:
    """Run our services until some events were accepted; end them in order, and audit what they did.

    ``topic`` stands for that of the file where a cluster is shared; the group takes its name from it. ``meanwhile`` is
    called with the ports of the sandbox and of the replicas while they work.
    """
    services, ports = ours(), reserved(1 + int(ours()["connector"]["deploy"]["replicas"]))
    sandbox_port, listening = ports[0], ports[1:]
    given = services["connector"]["environment"]
    sandbox = f"http://127.0.0.1:{sandbox_port}"
    here = {
        given["KAFKA_BOOTSTRAP_SERVERS"]: servers,
        given["SCHEMA_REGISTRY_URL"]: f"{sandbox}/registry",
        given["AMAZON_BASE_URL"]: sandbox,
        given["KAFKA_TOPIC"]: topic,
        given["KAFKA_GROUP_ID"]: f"{topic}.group",
    }

    def placed(value: str) -> str:
        return here.get(value) or value.replace(given["AMAZON_BASE_URL"], sandbox)

    def started(name: str, number: int = 0, command: Sequence[str] = (), **more: str) -> Running:
        arguments = list(command or services[name]["command"])
        if name == "sandbox":
            arguments[arguments.index("--port") + 1] = str(sandbox_port)
        environment = {key: placed(value) for key, value in services[name].get("environment", {}).items()}
        return start(arguments, environment | more, directory / f"{name}-{number}.log")

    with contextlib.ExitStack() as ends:

        def kept(running: Running) -> Running:
            ends.callback(running.wait, patience(_SECONDS))
            ends.callback(running.kill)  # before it is waited for
            return running

        stand_in = kept(started("sandbox"))
        eventually(lambda: _asked(f"{sandbox}/sandbox/status"), "the sandbox answers", _SECONDS)
        create_topic(servers, topic, _partitions())
        # What is delivered twice is the services' doing: no machine is too slow for a session of minutes.
        set_group(servers, here[given["KAFKA_GROUP_ID"]], consumer_session_timeout_ms=_SESSION_MS)
        producer = kept(started("events"))
        replicas = [
            kept(started("connector", number, LISTEN_HOST="127.0.0.1", LISTEN_PORT=str(port)))
            for number, port in enumerate(listening)
        ]
        eventually(lambda: all(_works(port) for port in listening), "every replica has partitions", _SECONDS)
        eventually(
            lambda: json.loads(_asked(f"{sandbox}/sandbox/status") or "{}").get("accepted", 0) >= _EVENTS,
            "events are accepted",
            _SECONDS,
        )
        if meanwhile is not None:
            meanwhile(sandbox_port, listening)
        codes = [_ended(producer)]
        ends_at = end_offsets(servers, topic)
        group = here[given["KAFKA_GROUP_ID"]]
        eventually(
            lambda: {number: place.offset for number, place in committed(servers, group, topic).items()} == ends_at,
            "the group has committed to the end",
            _SECONDS,
        )
        codes += [_ended(replica) for replica in replicas]
        audit = kept(started("connector", len(replicas), ["audit", "--json"]))
        audit_code = audit.wait(patience(_SECONDS))
        (account,) = json.loads((directory / f"connector-{len(replicas)}.log").read_text("utf-8"))["topics"]
        record = [json.loads(line) for line in _asked(f"{sandbox}/sandbox/record").splitlines()]
        codes.append(_ended(stand_in))
    ids = [line["id"] for line in record if line["verdict"] == "accepted"]
    return Account(
        records=sum(ends_at.values()),
        delivered=sum(each["delivered"] for each in account["partitions"]),
        accepted=len(ids),
        accepted_ids=len(set(ids)),
        replicas=len(replicas),
        accounted_for=audit_code == 0 and account["accounted_for"],
        exit_codes=tuple(codes),
    )


def _partitions() -> int:
    """Return how many partitions the service gives the topic that makes it."""
    (option,) = _options("topics", "--partitions=")
    return int(option)


def _options(service: str, prefix: str) -> Iterator[str]:
    for word in YAML(typ="safe").load(_FILE)["services"][service]["command"]:
        if word.startswith(prefix):
            yield word.removeprefix(prefix)


def _works(port: int) -> bool:
    text = _asked(f"http://127.0.0.1:{port}/status.json")
    return bool(text) and any(row["phase"] == "running" for row in json.loads(text)["partitions"])


def _asked(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=patience(10)) as answer:  # noqa: S310 - the URL is ours, and http
            return str(answer.read().decode())
    except OSError:
        return ""


def _ended(running: Running) -> int:
    running.terminate()
    return running.wait(patience(_SECONDS))
