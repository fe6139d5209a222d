"""What an operator of Kubernetes does, under load, with the environment of the rendered manifests.

No cluster runs here. Two processes stand for the pods of ``deploy/kubernetes/workload.yaml``: each has
the container's environment, with the addresses of this machine's Kafka and sandbox, and a directory
for the Secrets that are mounted, which changes as the kubelet changes it. A rollout takes one pod at
a time, waits until it is ready, and gives it the grace period of the manifest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.compatibility.history import BEFORE, environment, extracted
from tests.integration.ordeals.driver import Ordeal
from tests.integration.ordeals.group import Group
from tests.integration.ordeals.members import lines_of
from tests.integration.ordeals.rolling import RATE, until_events_flow
from tests.integration.ports import reserved
from tests.integration.program import ConnectorProcess
from tests.patience import eventually

__all__ = ["Secrets", "container_environment", "ordeals"]

_MANIFEST = Path(__file__).parents[3] / "deploy/kubernetes/workload.yaml"
_OURS = ("KAFKA_BOOTSTRAP_SERVERS", "KAFKA_TOPIC", "KAFKA_GROUP_ID", "SCHEMA_REGISTRY_URL", "AMAZON_CLIENT_ID")
"""Variables whose values belong to a place: those of this machine stand in for them."""
_OF_TESTS = (
    "AMAZON_CLIENT_SECRET",
    "AMAZON_REFRESH_TOKEN",
    "BATCH_LINGER",
    "BATCH_MAX_EVENTS",
    "DRAIN_TIMEOUT",
    "KAFKA_GROUP_PROTOCOL",
    "KAFKA_HEARTBEAT_INTERVAL_MS",
    "KAFKA_SESSION_TIMEOUT_MS",
    "LEDGER_FLUSH_INTERVAL",
    "UNKNOWN_SCHEMA_PATIENCE",
)
"""Variables that other tests set, and the manifest does not."""
_SECRETS = {"amazon-client-secret": "sandbox-secret", "amazon-refresh-token": "Atzr|sandbox"}
_READY_SECONDS = 120.0
_OUTAGE_SECONDS = 120.0


class Secrets:
    """A directory as the kubelet mounts Secrets: its files are links, and all change at once."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._version = 0

    def write(self, files: Mapping[str, str]) -> None:
        """Write another version of all files."""
        self._version += 1
        version = self.directory / f"..{self._version}"
        version.mkdir(parents=True)
        for name, text in files.items():
            (version / name).write_text(text, "utf-8")
            if not (self.directory / name).is_symlink():
                (self.directory / name).symlink_to(Path("..data") / name)
        link = self.directory / "..data_tmp"
        link.symlink_to(version.name)
        link.rename(self.directory / "..data")


def _pod() -> dict[str, Any]:
    workload = next(one for one in YAML(typ="safe").load_all(_MANIFEST) if one["kind"] == "Deployment")
    pod: dict[str, Any] = workload["spec"]["template"]["spec"]
    return pod


def container_environment(secrets: Path) -> dict[str, str | None]:
    """Return what the manifest's container changes in the settings of a test's member; None leaves one out."""
    (container,) = _pod()["containers"]
    (mounted,) = [one["mountPath"] for one in container["volumeMounts"] if one["name"] == "secrets"]
    given = {one["name"]: one["value"].replace(mounted, str(secrets)) for one in container["env"]}
    # The load has no consent, which region EU asks for.
    consent = {"AMAZON_MISSING_CONSENT": "send"}
    return dict.fromkeys(_OF_TESTS) | {name: value for name, value in given.items() if name not in _OURS} | consent


def ordeals(directory: Path) -> dict[str, Ordeal]:
    """Return the ordeal. ``directory`` is for the earlier version and the Secrets."""
    secrets = Secrets(directory / "secrets")
    secrets.write(_SECRETS)
    package = environment(extracted(BEFORE, directory / "earlier"))
    ports = [{"LISTEN_PORT": str(port)} for port in reserved(3)]
    earlier, now = [{**package, **port} for port in ports], [{**dict.fromkeys(package), **port} for port in ports]
    return {
        "kubernetes": Ordeal(
            lambda _, __, groups, ___: _operate(groups[0], secrets, earlier, now),
            settings={**container_environment(secrets.directory), **earlier[0]},
            rate=RATE,
            members=1,
            may_repeat=False,
        )
    }


def _operate(
    group: Group, secrets: Secrets, earlier: Sequence[Mapping[str, str]], now: Sequence[Mapping[str, str | None]]
) -> None:
    group.join(1, **earlier[1])
    group.until_shared()
    until_events_flow(group)

    group.struck("upgrade")
    _roll(group, group.members, now)

    group.struck("scale up")
    _until_ready(group.join(1, **now[2]))
    group.until_shared()
    until_events_flow(group)
    group.struck("scale down")
    group.leave(group.members[2], _grace_seconds())
    group.until_shared()
    until_events_flow(group)

    group.struck("rotation")
    secrets.write(_SECRETS | {"amazon-refresh-token": "Atzr|mistyped"})
    _until_all(group, lambda member: "AMAZON_REFRESH_TOKEN" in member.page("/readyz")[1], "an operator is needed")
    secrets.write(_SECRETS)
    _until_all(group, lambda member: member.page("/readyz")[0] == 200, "the token is good again")
    until_events_flow(group)

    group.struck("outage of Amazon")
    group.sandbox.set_faults(next=[{"fault": "status", "status": 503, "times": 100_000}])
    _until_all(group, _is_away, "the outage shows")
    assert all(member.page(path)[0] == 200 for member in group.running for path in ("/livez", "/readyz")), "pods stay"
    group.sandbox.set_faults(latency_ms=100)
    until_events_flow(group)

    group.struck("deploy")
    _roll(group, group.members[:2], now)
    assert ["revision" in line for line in _starts(group.members[0])] == [False, True, True]


def _roll(group: Group, members: Sequence[ConnectorProcess], versions: Sequence[Mapping[str, str | None]]) -> None:
    """Replace one pod after the other, as ``maxSurge: 0`` and ``maxUnavailable: 1`` say."""
    for member, version in zip(members, versions, strict=False):
        group.leave(member, _grace_seconds())
        group.start_again(member, **version)
        _until_ready(member)
    group.until_shared()
    until_events_flow(group)


def _grace_seconds() -> float:
    return float(_pod()["terminationGracePeriodSeconds"])


def _until_ready(member: ConnectorProcess) -> None:
    member.eventually(lambda: member.page("/readyz")[0] == 200, "the pod is ready", _READY_SECONDS)


def _until_all(group: Group, holds: Any, what: str) -> None:
    eventually(lambda: all(map(holds, group.running)), what, _OUTAGE_SECONDS)


def _is_away(member: ConnectorProcess) -> bool:
    return member.metrics().get('connector_paused{reason="outage"}', 0) > 0


def _starts(member: ConnectorProcess) -> list[dict[str, Any]]:
    return [line for line in lines_of(member) if line["event"] == "started"]
