"""The program as tests see it: connectors and a sandbox as processes, and a `World` of one topic that joins them.

Everything is looked at from outside: the processes by HTTP, log and exit code, Kafka by the clients of `brokers`. Waiting is
polling with a deadline (`eventually`); nothing here waits for a fixed time. Each test has topics of its own name, so that
tests share a cluster and see nothing of each other.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self, TypeVar

from confluent_kafka import Producer

from connector.avro.encoding import EventEncoder
from connector.avro.framing import framed
from connector.model import Outcome
from tests.integration.brokers import Produced, committed, create_topic, end_offsets, ledger_fates, produce, topics
from tests.integration.events import event
from tests.patience import eventually, patience
from tests.processes import ending

__all__ = ["ConnectorProcess", "Sandbox", "Transactions", "World"]

_SECONDS = 30.0
_ASK_SECONDS = 10.0

_ACCOUNT = "5850000000001"
_CLIENT = "amzn1.application-oa2-client.sandbox"

T = TypeVar("T")


def _ask(url: str, method: str = "GET", body: object = None) -> tuple[int, str]:
    """Ask by HTTP; return status and text, also of a refusal."""
    asked = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), method=method)  # noqa: S310 - the URL is ours, and http
    try:
        with urllib.request.urlopen(asked, timeout=patience(_ASK_SECONDS)) as answer:  # noqa: S310 - the same
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read().decode()


class _Process:
    """A process of the program under test; its output goes to a file."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def output(self) -> str:
        """What it wrote so far to both of its streams; over several starts, all of it."""
        # Of a character of several bytes the last may be still to come.
        return self._output.read_text("utf-8", errors="replace") if self._output.exists() else ""

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The id of the process that runs."""
        assert self._process is not None
        return self._process.pid

    def terminate(self) -> None:
        """Send SIGTERM."""
        assert self._process is not None
        self._process.terminate()

    def kill(self) -> None:
        """Kill it; nothing of it runs afterwards."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(patience(_SECONDS))

    def wait(self, seconds: float = _SECONDS) -> int:
        """Wait for its end; return the exit code."""
        assert self._process is not None
        process = self._process
        try:
            return eventually(lambda: [] if process.poll() is None else [process.returncode], "it ends", seconds)[0]
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self.output[-3000:]}") from None

    def _spawn(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        assert not self.running
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                env={"PATH": os.environ["PATH"], **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )


class Sandbox(_Process):
    """``connector sandbox`` as a process; it listens once this is made."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        name = f"sandbox-{uuid.uuid4().hex[:8]}"
        super().__init__(directory / f"{name}.log")
        port_file = directory / f"{name}.port"
        self._spawn(["connector", "sandbox", "--port", "0", "--port-file", str(port_file), *arguments], {})
        port = eventually(lambda: port_file.exists() and port_file.read_text(), "the sandbox listens")
        self.url = f"http://127.0.0.1:{port}"
        """For ``AMAZON_BASE_URL``."""
        self.token_url = self.url + "/auth/o2/token"
        self.registry_url = self.url + "/registry"

    def record(self) -> list[dict[str, Any]]:
        """Return a line for each event received; `connector.sandbox` documents its fields."""
        return [json.loads(line) for line in self._asked("/sandbox/record").splitlines()]

    def requests(self) -> list[dict[str, Any]]:
        """Return a line for each request received, those included whose events were never read."""
        return [json.loads(line) for line in self._asked("/sandbox/requests").splitlines()]

    def accepted(self) -> Counter[str]:
        """Return how often each id was accepted."""
        return Counter(line["id"] for line in self.record() if line["verdict"] == "accepted")

    def status(self) -> dict[str, Any]:
        """Return the counts."""
        counts: dict[str, Any] = json.loads(self._asked("/sandbox/status"))
        return counts

    def set_faults(self, **plan: Any) -> None:
        """Set the fault plan; none clears it."""
        self._asked("/sandbox/faults", "PUT", plan)

    def clear(self) -> None:
        """Forget what was received, and the faults; schemas stay."""
        self.set_faults()
        self._asked("/sandbox/record", "DELETE")

    def register(self, subject: str, schema: Any) -> int:
        """Register a writer's schema with the stand-in for a registry; return its id."""
        text = self._asked(f"/registry/subjects/{subject}/versions", "POST", {"schema": json.dumps(schema)})
        return int(json.loads(text)["id"])

    def stop(self) -> None:
        """End it."""
        if self.running:
            self.terminate()
            self.wait()

    def _asked(self, path: str, method: str = "GET", body: object = None) -> str:
        status, text = _ask(self.url + path, method, body)
        assert status < 300, f"{method} {path}: {status} {text}"
        return text


class ConnectorProcess(_Process):
    """``connector run`` as a process; it may be started again after it ended."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory / f"connector-{uuid.uuid4().hex[:8]}.log")
        self._port: int | None = None
        self._starts_at = 0

    def start(self, environment: Mapping[str, str], program: Sequence[str] = ("connector", "run")) -> Self:
        """Start it with these settings, and a port of its own; ``program`` is what follows ``python -m``."""
        given = environment.get("LISTEN_PORT", "0")
        self._port = int(given) if given != "0" else None
        self._starts_at = len(self.output)
        self._spawn(program, {"LISTEN_HOST": "127.0.0.1", "LISTEN_PORT": "0", **environment})
        return self

    @property
    def port(self) -> int | None:
        """The port of `/`, `/metrics`, `/livez` and `/readyz`; None until the program says on which it listens."""
        if self._port is None:
            self._port = next((int(line["port"]) for line in self.log("listening")), None)
        return self._port

    def page(self, path: str) -> tuple[int, str]:
        """Return status and text of a page; status 0 while it does not listen."""
        if self.port is None:
            return 0, ""
        try:
            return _ask(f"http://127.0.0.1:{self.port}{path}")
        except (OSError, http.client.HTTPException):  # it has ended, perhaps in the midst of the answer
            return 0, ""

    def metrics(self) -> dict[str, float]:
        """Return every sample by its name as exposed, as ``connector_events_total{outcome="stale"}``; none if silent."""
        status, text = self.page("/metrics")
        samples = (line.rsplit(" ", 1) for line in text.splitlines() if status == 200 and not line.startswith("#"))
        return {name: float(value) for name, value in samples}

    def outcomes(self) -> dict[str, int]:
        """Return ``connector_events_total`` by outcome, those above zero."""
        prefix = 'connector_events_total{outcome="'
        found = {name[len(prefix) : -2]: int(value) for name, value in self.metrics().items() if name.startswith(prefix)}
        return {outcome: count for outcome, count in found.items() if count}

    def log(self, what: str | None = None) -> list[dict[str, Any]]:
        """Return the lines it wrote since it was last started, those of event ``what`` if one is named."""
        whole = self.output[self._starts_at :].rpartition("\n")[0].splitlines()
        lines = [json.loads(line) for line in whole if line.startswith("{")]
        return [line for line in lines if what in (None, line["event"])]

    def works_on(self) -> frozenset[int]:
        """Return the partitions of its one topic that it works on, from its status."""
        status, text = self.page("/status.json")
        if status == 404:  # a member of an earlier version has the page alone
            return frozenset(map(int, re.findall(r"-(\d+)<td>running<td>", self.page("/")[1])))
        rows = json.loads(text)["partitions"] if status == 200 else []
        return frozenset(int(row["partition"].rpartition("-")[2]) for row in rows if row["phase"] == "running")

    def assigned(self) -> frozenset[int]:
        """Return the partitions it was given and has not given back, by its log since its start."""
        held = set[int]()
        for line in self.log():
            if line["event"] == "partition_assigned":
                held.add(int(line["partition"].rpartition("-")[2]))
            elif line["event"] in {"partition_released", "partition_lost"}:
                held.discard(int(line["partition"].rpartition("-")[2]))
        return frozenset(held)

    def until_said(self, what: str, **fields: Any) -> dict[str, Any]:
        """Wait for a log line of this event, and return it; a field given as text may be part of the line's."""

        def fits(line: dict[str, Any]) -> bool:
            return all(line.get(n) == v or (isinstance(v, str) and v in str(line.get(n))) for n, v in fields.items())

        def said() -> dict[str, Any]:
            return next((line for line in self.log(what) if fits(line)), {})

        return self.eventually(said, f"it says {what} {fields}")

    def until_ready(self) -> None:
        """Wait until ``/readyz`` says so."""
        self.eventually(lambda: self.page("/readyz")[0] == 200, "it is ready")

    def until_resolved(self, **outcomes: int) -> None:
        """Wait until exactly so many records had these outcomes since its start, and no others."""
        self.eventually(lambda: self.outcomes() == outcomes, f"outcomes {outcomes}")

    def eventually(self, looked_at: Callable[[], T], what: str, seconds: float = _SECONDS) -> T:
        """Wait; a failure shows what it wrote last, and what it counted."""
        try:
            return eventually(looked_at, what, seconds)
        except AssertionError as late:
            raise AssertionError(f"{late}; outcomes are {self.outcomes()}\n{self.output[-3000:]}") from None

    def stop(self) -> int:
        """Send SIGTERM and wait; return the exit code."""
        self.terminate()
        return self.wait()


class World:
    """A cluster, a sandbox and one source topic's names, for one test; ends the processes it started."""

    def __init__(self, servers: str, sandbox: Sandbox, directory: Path) -> None:
        self.servers = servers
        self.sandbox = sandbox
        self.directory = directory
        self.topic = f"conversions-{uuid.uuid4().hex[:8]}"
        self.group = f"group-{self.topic}"
        self.ledger = f"{self.topic}.{self.group}.ledger"
        self.dead_letters = f"{self.topic}.dead-letter"
        self._processes: list[_Process] = []
        self._ends = ExitStack()
        self._writers: dict[str, tuple[int, EventEncoder]] = {}

    def settings(self, **changes: str | None) -> dict[str, str]:
        """Return settings of a connector that hurries, but for ``changes``; None leaves one out."""
        settings: dict[str, str | None] = {
            "KAFKA_BOOTSTRAP_SERVERS": self.servers,
            "KAFKA_TOPIC": self.topic,
            "KAFKA_GROUP_ID": self.group,
            "KAFKA_GROUP_PROTOCOL": "consumer",
            "SCHEMA_REGISTRY_URL": self.sandbox.registry_url,
            "AMAZON_ACCOUNT_ID": _ACCOUNT,
            "AMAZON_CLIENT_ID": _CLIENT,
            "AMAZON_CLIENT_SECRET": "sandbox-secret",
            "AMAZON_REFRESH_TOKEN": "Atzr|sandbox",
            "AMAZON_BASE_URL": self.sandbox.url,
            "AMAZON_TOKEN_URL": self.sandbox.token_url,
            "BATCH_LINGER": "20ms",
            "LEDGER_FLUSH_INTERVAL": "50ms",
            "UNKNOWN_SCHEMA_PATIENCE": "500ms",
        }
        return {name: value for name, value in (settings | changes).items() if value is not None}

    def connector(self, **changes: str | None) -> ConnectorProcess:
        """Start ``connector run``."""
        return self.unstarted().start(self.settings(**changes))

    def unstarted(self) -> ConnectorProcess:
        """Return a process that is ended with the test, once it was started."""
        process = ConnectorProcess(self.directory)
        self._processes.append(process)
        return process

    def another_sandbox(self, *arguments: str) -> Sandbox:
        """Start a sandbox of this test's own."""
        sandbox = Sandbox(self.directory, *arguments)
        self._processes.append(sandbox)
        return sandbox

    def command(self, *arguments: str, **changes: str | None) -> subprocess.CompletedProcess[str]:
        """Run another command of the program to its end."""
        return subprocess.run(
            [sys.executable, "-m", "connector", *arguments],
            env=self._environment(**changes),
            capture_output=True,
            text=True,
            timeout=patience(180),
            check=False,
        )

    def started(
        self,
        *arguments: str,
        stdin: int = subprocess.DEVNULL,
        program: Sequence[str] = ("-m", "connector"),
        **changes: str | None,
    ) -> subprocess.Popen[str]:
        """Start another command of the program; ``program`` is what follows ``python``."""
        process = subprocess.Popen(
            [sys.executable, *program, *arguments],
            env=self._environment(**changes),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._ends.enter_context(ending(process))
        return process

    def _environment(self, **changes: str | None) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "COLUMNS": "200", **self.settings(**changes)}

    def create_topic(self, partitions: int = 1, **settings: str) -> None:
        """Create the source topic."""
        create_topic(self.servers, self.topic, partitions, **settings)

    def value(self, inputs: Mapping[str, Any], schema: Any = None) -> bytes:
        """Write an event by a writer's schema (ours if none is given), registered with the sandbox."""
        schema_id, encoder = self._writer(schema)
        return framed(schema_id, encoder.encode(inputs))

    def schema_id(self, schema: Any = None) -> int:
        """Return the id of a writer's schema (ours if none is given), registered with the sandbox."""
        return self._writer(schema)[0]

    def _writer(self, schema: Any) -> tuple[int, EventEncoder]:
        text = json.dumps(schema)
        if text not in self._writers:
            encoder = EventEncoder(schema)
            self._writers[text] = (self.sandbox.register(f"{self.topic}-value", encoder.schema), encoder)
        return self._writers[text]

    def produce(self, *records: Produced | Mapping[str, Any], partition: int = 0) -> None:
        """Produce records and events to the source topic; an event's key is its dedupe id."""
        produce(self.servers, self.topic, [self._produced(record, partition) for record in records])

    def _produced(self, record: Produced | Mapping[str, Any], partition: int) -> Produced:
        if isinstance(record, Produced):
            return record
        key = str(record["clientDedupeId"]).encode()
        return Produced(self.value(record), key, partition=partition)

    def committed(self) -> dict[int, int]:
        """Return the group's committed offsets by partition."""
        return {number: place.offset for number, place in committed(self.servers, self.group, self.topic).items()}

    def deliver_and_stop(self, count: int) -> ConnectorProcess:
        """Deliver events "1" to ``count`` on one partition, stop, and return the process."""
        self.create_topic()
        self.produce(*(event(f"{number}") for number in range(1, count + 1)))
        connector = self.connector()
        connector.until_resolved(delivered=count)
        assert connector.stop() == 0
        assert self.committed() == {0: count}
        return connector

    def topics(self) -> set[str]:
        """Return the names of the topics that are there for this test; others run beside it on the same cluster."""
        return {name for name in topics(self.servers) if self.topic in name}

    def has_committed_nothing(self) -> bool:
        """Tell whether no record counts as resolved. A beginning may be committed: it asks whether we are a member still."""
        return set(self.committed().values()) <= {0}

    def until_committed_to_the_end(self) -> None:
        """Wait until the group has committed the end of every partition that has records."""
        ends = {partition: end for partition, end in end_offsets(self.servers, self.topic).items() if end}

        def beyond_the_beginning() -> dict[int, int]:
            return {partition: offset for partition, offset in self.committed().items() if offset}

        eventually(lambda: beyond_the_beginning() == ends, f"committed offsets are {ends}")

    def fates(self) -> dict[tuple[int, int], list[Outcome]]:
        """Return what the ledger says, by partition and offset."""
        return ledger_fates(self.servers, self.ledger)

    def close(self) -> None:
        """End every process that this test started."""
        self._ends.close()
        for process in self._processes:
            process.kill()


class Transactions:
    """A producer of the source topic that writes in transactions."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._producer = Producer(
            {
                "bootstrap.servers": world.servers,
                "transactional.id": world.topic,
                "transaction.timeout.ms": 600_000,  # or the brokers end one that a slow test leaves open
                "linger.ms": 0,
                "log_level": 0,
            }
        )
        self._producer.init_transactions(patience(_SECONDS))

    def begin(self, *dedupe_ids: str) -> None:
        """Write events, whose fate is open."""
        self._producer.begin_transaction()
        for dedupe_id in dedupe_ids:
            self._producer.produce(self._world.topic, self._world.value(event(dedupe_id)), partition=0)
        assert self._producer.flush(patience(_SECONDS)) == 0

    def commit(self, *dedupe_ids: str) -> None:
        """Write events, and commit them."""
        self.begin(*dedupe_ids)
        self.end()

    def end(self) -> None:
        """Commit what was begun."""
        self._producer.commit_transaction(patience(_SECONDS))

    def abort(self, *dedupe_ids: str) -> None:
        """Write events, and abort them."""
        self.begin(*dedupe_ids)
        self.roll_back()

    def roll_back(self) -> None:
        """Abort what was begun."""
        self._producer.abort_transaction(patience(_SECONDS))
