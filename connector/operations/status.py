"""The document that ``/status.json`` returns, and that the page and ``connector top`` show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from connector.operations.health import Health

__all__ = ["FATES", "HELD_UP", "Status", "identity"]

HELD_UP: Mapping[str, str] = {
    "restoring": "the ledger is read",
    "refused": "the ledger does not allow a start: an operator is needed",
    "dead_letter": "a dead letter cannot be written",
    "unreadable": "the log cannot be read, or yields nothing",
    "coordinator": "the group's coordinator does not answer: nothing is sent",
    "ahead": "one record is unresolved, and very many after it are resolved",
    "draining": "requests in flight are finished before the partition is given up",
    "buffer_full": "the buffer is full: events arrive faster than Amazon takes them",
    "clock": "the clocks of this host and the brokers disagree",
    "operator": "Amazon refuses everything: an operator is needed",
    "breaker": "too many dead letters: an operator is needed",
    "outage": "Amazon is down: every request fails, and one at a time tests whether it is back",
    "ledger": "the ledger cannot be written",
    "schema": "the schema registry does not give a schema",
}
"""Each reason for which a partition is held up, in words."""

FATES: Mapping[str, str] = {
    "delivered": "Amazon took it",
    "duplicate": "its key was delivered before",
    "stale": "too old for Amazon",
    "ignored": "no value, or not selected by the mapping file",
    "dead_lettered": "set aside in the dead-letter topic",
    "already_resolved": "read again, and found in the ledger",
}
"""Each outcome of a record, in words."""


class Status:
    """Makes the status document of one connector.

    ``identity`` is what does not change: build, group, destination and settings. ``overview``
    returns what telemetry has gathered.
    """

    def __init__(
        self, identity: Mapping[str, Any], health: Callable[[], Health], overview: Callable[[], Mapping[str, Any]]
    ) -> None:
        self._identity = identity
        self._health = health
        self._overview = overview

    def __call__(self) -> dict[str, Any]:
        """Return the document, as JSON has it."""
        health, overview = self._health(), self._overview()
        held_up = [
            {"reason": reason, "partitions": partitions, "message": HELD_UP[reason]}
            for reason, partitions in overview["held_up"].items()
        ]
        state = {
            "word": _word(health, held_up),
            "live": health.not_live is None,
            "ready": not health.not_ready,
            "messages": [*([health.not_live] if health.not_live else []), *health.not_ready],
        }
        return {**self._identity, "state": state, **overview, "held_up": held_up}


def _word(health: Health, held_up: Sequence[object]) -> str:
    """Return the state in a word or two."""
    if health.not_live:
        return "hung"
    if health.not_ready:
        return "not ready"
    return "held up" if held_up else "right"


def identity(
    build: Mapping[str, str], host: str, group: str, destination: Mapping[str, Any], settings: Iterable[tuple[str, str]]
) -> dict[str, Any]:
    """Return what does not change while the connector runs; ``settings`` have secrets masked.

    ``host`` tells replicas apart that are seen through one address; in Kubernetes it is the pod's
    name.
    """
    return {
        "build": dict(build),
        "host": host,
        "group": group,
        "destination": dict(destination),
        "settings": dict(settings),
    }
