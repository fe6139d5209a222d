"""A real Apache Kafka on loopback, for tests and for a person: one combined KRaft node, or three.

    with Cluster(nodes=3) as cluster:
        cluster.bootstrap_servers   # "127.0.0.1:20411,127.0.0.1:18734,127.0.0.1:29120"
        cluster.kill(1)             # SIGKILL; `restart(1)` brings the node back with what it had on disk
        cluster.pause(2)            # SIGSTOP: its connections stay open and answer nothing; `resume(2)`
        cluster.shut_down(3)        # SIGTERM: it hands over what it leads first, as in a rolling restart
        cluster.link()              # another way to the same nodes, which can be cut
    with Cluster(secured=True) as cluster:
        cluster.secured_servers     # TLS, SASL/PLAIN and rights; those who come by `bootstrap_servers` may do everything

``python -m tests.integration.kafka.cluster [--nodes 3]`` runs one in the foreground and prints its address.

The broker's jars (43 MB) come from Maven Central once, into the user's cache and never into the checkout; `pom.xml` beside
this file names them. Everything else a cluster writes is in a temporary directory that goes when it stops. No node
outlives the process that started it, even one that was killed: see `_Node._guard`.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.cache import kept
from tests.integration.kafka import security
from tests.integration.kafka.link import Link
from tests.integration.ports import reserved
from tests.patience import patience

__all__ = ["Cluster", "ClusterFailed"]

_HERE = Path(__file__).parent
_POM = _HERE / "pom.xml"
_LOOPBACK = "127.0.0.1"

_START_SECONDS = 90.0
"""For a machine ten times slower than the one measured (4.5 s for one node, 7 s for three)."""

_STOP_SECONDS = 5.0
"""A controlled shutdown takes a second or two; one that waits for a controller which is gone never ends."""

_SHUT_DOWN_SECONDS = 30.0
"""A node that hands over what it leads, on a loaded machine."""

_ENDS = frozenset({signal.SIGINT, signal.SIGTERM})

_JAVA_FLAGS = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""A small node that starts fast: no server-grade garbage collector, no optimising compiler."""

_INSTALL = (
    "Tests on a real Apache Kafka need {missing}: install a JDK (17 or newer) and Maven, "
    "or name a running cluster in TEST_KAFKA_BOOTSTRAP_SERVERS, or run those that need none: make test-fast"
)


class ClusterFailed(Exception):
    """The cluster cannot be had; the text says what to install, or ends with what a node logged last."""


class Cluster:
    """One or three combined KRaft nodes on free ports of the loopback interface.

    Raises:
        ClusterFailed: from `start`, if Java or Maven is missing, or the nodes do not answer in time.
    """

    def __init__(self, nodes: int = 1, *, secured: bool = False) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="kafka-"))
        self._secured = secured
        ports = reserved(5 * nodes)
        self._ports, controllers, self._linked, self._links, self._secured_ports = (ports[at::5] for at in range(5))
        cluster_id = _cluster_id()
        self._nodes = [
            _Node(
                self._directory / f"node-{number}",
                cluster_id,
                self._made_secure(_server_properties(number, self._ports, controllers) | _listeners(*ports), number),
            )
            for number, ports in enumerate(zip(self._ports, controllers, self._linked, self._links, strict=True), start=1)
        ]

    def _made_secure(self, properties: dict[str, str], number: int) -> dict[str, str]:
        if not self._secured:
            return properties
        return security.secured(properties, f"{_LOOPBACK}:{self._secured_ports[number - 1]}", self._directory)

    @property
    def secured_servers(self) -> str:
        """The addresses at which nodes want TLS and SASL, and grant rights."""
        return ",".join(f"{_LOOPBACK}:{port}" for port in self._secured_ports)

    @property
    def certificate(self) -> Path:
        """The certificate that the nodes' TLS is trusted by."""
        return security.certificate(self._directory)

    @property
    def bootstrap_servers(self) -> str:
        """The addresses of all nodes, comma-separated."""
        return ",".join(f"{_LOOPBACK}:{port}" for port in self._ports)

    def start(self) -> None:
        """Start all nodes and return when the metadata of the cluster names every one."""
        try:
            libraries = _libraries()
            if self._secured:
                security.make_keys(_program("keytool", "Java"), self._directory)
            for node in self._nodes:
                node.format(libraries)
            for node in self._nodes:
                node.start(libraries)
            self.wait_until_complete()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End every node, with SIGKILL where SIGTERM does not do, and remove what they wrote."""
        for node in self._nodes:
            node.signal(signal.SIGCONT)  # a paused node cannot answer SIGTERM
            node.signal(signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        for node in self._nodes:
            node.reap(max(0.0, deadline - time.monotonic()))
        shutil.rmtree(self._directory, ignore_errors=True)

    def wait_until_complete(self) -> None:
        """Return when every node takes connections and the metadata of the cluster names it: after `start` or `restart`."""
        client = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
        deadline = time.monotonic() + patience(_START_SECONDS)
        while not self._is_complete(client):
            for node in self._nodes:
                node.raise_if_ended()
            if time.monotonic() > deadline:
                raise ClusterFailed(f"Kafka did not answer within {_START_SECONDS:.0f} s.\n{self._nodes[0].last_words()}")
            time.sleep(0.1)

    def kill(self, number: int) -> None:
        """SIGKILL node ``number``, counted from 1, and return when it is gone."""
        self._nodes[number - 1].kill()

    def shut_down(self, number: int) -> None:
        """SIGTERM node ``number``, and return when it has handed over what it leads and is gone."""
        node = self._nodes[number - 1]
        node.signal(signal.SIGTERM)
        node.reap(patience(_SHUT_DOWN_SECONDS))

    def link(self) -> Link:
        """Return a way to the nodes that can be cut: a context, one at a time."""
        return Link(list(zip(self._links, self._linked, strict=True)))

    def restart(self, number: int) -> None:
        """Start a killed node on its old port with what it had on disk; `wait_until_complete` waits for it."""
        self._nodes[number - 1].start(_libraries())

    def segment(self, number: int, topic: str, partition: int) -> Path:
        """Return the file of the last segment of a partition's log, to be altered while node ``number`` is down."""
        return max(self._nodes[number - 1].logs.glob(f"{topic}-{partition}/*.log"))

    def pause(self, number: int) -> None:
        """SIGSTOP node ``number``: its connections stay open and nothing answers on them."""
        self._nodes[number - 1].signal(signal.SIGSTOP)

    def resume(self, number: int) -> None:
        """Let a paused node go on."""
        self._nodes[number - 1].signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    def _is_complete(self, client: AdminClient) -> bool:
        # Metadata alone would do for a first start, but it names a killed node for some seconds more.
        if not all(_listens(port) for port in self._ports):
            return False
        with contextlib.suppress(KafkaException):
            metadata = client.list_topics(timeout=1)
            return len(metadata.brokers) == len(self._nodes) and metadata.controller_id in metadata.brokers
        return False


class _Node:
    def __init__(self, directory: Path, cluster_id: str, properties: dict[str, str]) -> None:
        self._cluster_id = cluster_id
        self._properties = directory / "server.properties"
        self._output = directory / "output.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._guardian: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True)
        self.logs = directory / "logs"
        lines = [f"{name}={value}" for name, value in {**properties, "log.dirs": str(self.logs)}.items()]
        self._properties.write_text("\n".join(lines) + "\n")

    def format(self, libraries: Path) -> None:
        command = ["kafka.tools.StorageTool", "format", "-t", self._cluster_id, "-c", str(self._properties)]
        ended = subprocess.run(_java(libraries, *command), capture_output=True, text=True, check=False)
        if ended.returncode:
            raise ClusterFailed(f"Kafka's storage cannot be formatted:\n{ended.stdout}{ended.stderr}")

    def start(self, libraries: Path) -> None:
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                _java(libraries, "kafka.Kafka", str(self._properties)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the process that stops us in order, not for the broker
            )
        self._guardian = self._guard(self._process.pid)

    @staticmethod
    def _guard(pid: int) -> subprocess.Popen[bytes]:
        """Start a shell that kills ``pid`` when we are gone: however we end, our end of its pipe closes."""
        command = ["sh", "-c", 'read -r _; kill -9 "$0"', str(pid)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)

    def signal(self, number: signal.Signals) -> None:
        if self._process:
            self._process.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.reap(_STOP_SECONDS)

    def reap(self, seconds: float) -> None:
        """Wait for the end of the process, and bring it about after ``seconds``."""
        if self._process is None or self._guardian is None:
            return
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        finally:
            self._guardian.kill()  # not by closing its pipe: it would shoot at a number that may be another's by now
            self._guardian.communicate()
        self._process = self._guardian = None

    def raise_if_ended(self) -> None:
        if self._process and self._process.poll() is not None:
            raise ClusterFailed(f"Kafka ended with exit code {self._process.returncode}.\n{self.last_words()}")

    def last_words(self) -> str:
        return "\n".join(self._output.read_text(errors="replace").splitlines()[-20:])


def _server_properties(number: int, ports: list[int], controllers: list[int]) -> dict[str, str]:
    """Return the properties of node ``number``: small, fast to rebalance, and nothing created by accident."""
    replicas = str(len(ports))
    in_sync = "1" if len(ports) == 1 else "2"
    voters = ",".join(f"{voter}@{_LOOPBACK}:{port}" for voter, port in enumerate(controllers, start=1))
    return {
        "process.roles": "broker,controller",
        "node.id": str(number),
        "controller.quorum.voters": voters,
        "controller.listener.names": "CONTROLLER",
        "offsets.topic.replication.factor": replicas,
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.num.partitions": "4",
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "auto.create.topics.enable": "false",
        # Records of 1970 stay until their test has seen them, whenever that is; retention is asked for, not waited for.
        "log.retention.check.interval.ms": "86400000",
        "group.initial.rebalance.delay.ms": "0",
        # By default a killed node is missed after 9 s, and what it led has no leader so long.
        "broker.session.timeout.ms": "6000",
        "broker.heartbeat.interval.ms": "1000",
        # Under KIP-848 the broker sets the time-outs of members: by default a killed one is missed after 45 s only.
        # Tests that kill many members ask for less, each for its own group.
        "group.min.session.timeout.ms": "1000",
        "group.consumer.min.session.timeout.ms": "1000",
        "group.consumer.max.session.timeout.ms": "600000",
        "group.consumer.session.timeout.ms": "6000",
        "group.consumer.min.heartbeat.interval.ms": "200",
        "group.consumer.heartbeat.interval.ms": "1000",
    }


def _listeners(port: int, controller: int, linked: int, link: int) -> dict[str, str]:
    """Return what makes a node listen on a port of its own and on one behind a link, and send those who come by it there."""
    plain = f"PLAINTEXT://{_LOOPBACK}:{port}"
    return {
        "listeners": f"{plain},CONTROLLER://{_LOOPBACK}:{controller},LINK://{_LOOPBACK}:{linked}",
        "advertised.listeners": f"{plain},LINK://{_LOOPBACK}:{link}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,LINK:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
    }


def _libraries() -> Path:
    """Return the directory of the broker's jars; download them if this is the first time."""
    return kept(f"kafka-{hashlib.sha256(_POM.read_bytes()).hexdigest()[:12]}", _download)


def _download(directory: Path) -> None:
    command = [_program("mvn", "Maven"), "-q", "-B", "-f", str(_POM), "dependency:copy-dependencies"]
    command += [f"-DoutputDirectory={directory}", "-DincludeScope=runtime"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise ClusterFailed(f"Maven cannot download Apache Kafka:\n{ended.stdout}{ended.stderr}")


def _java(libraries: Path, *arguments: str) -> list[str]:
    logging = f"-Dlog4j2.configurationFile={_HERE / 'log4j2.properties'}"
    return [_program("java", "Java"), *_JAVA_FLAGS, logging, "-cp", f"{libraries}/*", *arguments]


def _program(name: str, title: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise ClusterFailed(_INSTALL.format(missing=title))
    return path


def _cluster_id() -> str:
    """Return a random UUID as Kafka writes one: URL-safe base64 without padding, and no dash in front, as of an option."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((_LOOPBACK, port), timeout=1):
        return True
    return False


def _main() -> int:
    parser = argparse.ArgumentParser(description="Run a real Apache Kafka on loopback until Ctrl-C.")
    parser.add_argument("--nodes", type=int, default=1, choices=(1, 3))
    nodes = parser.parse_args().nodes
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with Cluster(nodes) as cluster:
            # Blocked, a signal waits for who waits for it. `signal.pause` would miss one that comes just before it.
            signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
            print(cluster.bootstrap_servers, flush=True)
            print("Ctrl-C stops it and removes what it wrote.", file=sys.stderr)
            signal.sigwait(_ENDS)
    except KeyboardInterrupt:
        return 0
    except ClusterFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())
