"""One consumer group under load: a steady producer, members that come and go, and everything the oracle wants to see.

    group = Group(world, "consumer", partitions=6)
    group.join(2)                   # two members; the load begins when they have all partitions
    ...                             # whatever may happen to them or to the brokers
    outcome = group.finish()        # the load ends, everything is resolved and committed, members leave, the account is made

What happened is read from outside: the members' pages, logs and processes, the sandbox's record, the brokers' topics.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tests.integration.accounts import account_of
from tests.integration.brokers import committed_if_said
from tests.integration.events import now_ms
from tests.integration.kafka.link import Link
from tests.integration.load import STEADY, Load, Traffic
from tests.integration.oracle import Account, Breach, Interruption, judge, second_acceptances
from tests.integration.ordeals.members import lines_of, losses, stamp_ms, taken_over_ms
from tests.integration.ports import reserved
from tests.integration.program import ConnectorProcess, World
from tests.patience import eventually

__all__ = ["PROTOCOLS", "Group", "Outcome"]

PROTOCOLS: dict[str, dict[str, str]] = {
    "classic": {
        "KAFKA_GROUP_PROTOCOL": "classic",
        "KAFKA_SESSION_TIMEOUT_MS": "6000",
        "KAFKA_HEARTBEAT_INTERVAL_MS": "500",  # a rebalance is heard of at a heartbeat
    },
    "consumer": {"KAFKA_GROUP_PROTOCOL": "consumer"},
}
"""Settings by group protocol; what the second's members get from the brokers instead stands in the cluster's properties."""

_LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    account: Account
    breaches: list[Breach]
    lost: int
    twice: Counter[str]
    """Further acceptances, by excuse."""
    moved: int
    """Assignments of a partition beyond the first."""
    gone: int
    """Partitions lost without a drain."""
    refused: Counter[str]
    """Commits refused, by code."""
    recoveries: list[float]
    """For each fault and partition the seconds from the fault until an event produced after it reached Amazon."""
    lines: int
    """The most log lines a member wrote in a minute."""

    def check(self) -> None:
        """Fail with every breach of the oracle's invariants."""
        assert not self.breaches, "\n".join(f"{invariant}: {what}" for invariant, what in self.breaches)


@dataclass
class Group:
    """A group of one protocol, with its own topic, sandbox and load."""

    world: World
    protocol: str
    partitions: int = 6
    rate: float = 40.0
    seed: int = 1
    settings: dict[str, str | None] = field(default_factory=dict)
    held: bool = False
    """Whether the sandbox's answers come by a link, on which one can be held."""
    members: list[ConnectorProcess] = field(default_factory=list)
    faults: list[tuple[str, int]] = field(default_factory=list)
    """What happened, and when."""

    def __post_init__(self) -> None:
        self.sandbox = self.world.sandbox
        self.sandbox.set_faults(latency_ms=60)
        self.world.create_topic(self.partitions)
        self.load = Load(self.world, Traffic(self.world, self.partitions, self.seed, STEADY), self.rate)
        self.settings = {**PROTOCOLS[self.protocol], "BATCH_MAX_EVENTS": "20", "DRAIN_TIMEOUT": "10s", **self.settings}
        self.answers: Link | None = None
        if self.held:
            (port,) = reserved(1)
            self.answers = Link([(port, int(self.sandbox.url.rpartition(":")[2]))]).__enter__()
            self.settings["AMAZON_BASE_URL"] = f"http://127.0.0.1:{port}"
        self._settings: list[dict[str, str]] = []
        self._interruptions: list[Interruption] = []
        self._scrapes: list[dict[str, float]] = []
        self._stopped: set[int] = set()
        self._finished = threading.Event()
        self._watch = threading.Thread(target=self._look, name="watch", daemon=True)

    # ---- members

    def join(self, count: int = 1, /, **changes: str | None) -> ConnectorProcess:
        """Start members; return the last."""
        for _ in range(count):
            self._settings.append(self.world.settings(**(self.settings | changes)))
            self.members.append(self.world.unstarted().start(self._settings[-1]))
        return self.members[-1]

    def start_again(self, member: ConnectorProcess, **changes: str | None) -> None:
        """Start a member that has ended, with the settings it joined with, but for changes."""
        settings = self._settings[self.members.index(member)] | changes
        member.start({name: value for name, value in settings.items() if value is not None})

    def begin(self) -> None:
        """Start the load, once the members share all partitions."""
        self.until_shared()
        self.load.start()
        self._watch.start()
        eventually(lambda: len(self.sandbox.accepted()) >= self.rate, "events reach the sandbox")

    def leave(self, member: ConnectorProcess, seconds: float = 30.0) -> None:
        """SIGTERM; it must drain and exit 0. One that has not said that it started has nothing to drain yet."""
        ends = {0} if member.log("started") else {0, -signal.SIGTERM}
        member.terminate()
        code = member.wait(seconds)
        assert code in ends, f"exit code {code} after SIGTERM\n{member.output[-3000:]}"

    def kill(self, member: ConnectorProcess) -> None:
        """SIGKILL."""
        began = now_ms()
        member.kill()
        self.interrupted(began, now_ms())

    def stop(self, member: ConnectorProcess) -> None:
        """SIGSTOP."""
        self._stopped.add(self.members.index(member))
        os.kill(member.pid, signal.SIGSTOP)

    def go_on(self, member: ConnectorProcess) -> None:
        """SIGCONT."""
        os.kill(member.pid, signal.SIGCONT)
        self._stopped.discard(self.members.index(member))

    def interrupted(self, began_ms: int, ended_ms: int, partitions: frozenset[int] | None = None) -> None:
        """Note that a member may have lost partitions without a drain between the two moments."""
        self._interruptions.append(Interruption(began_ms, ended_ms, partitions))

    def struck(self, name: str) -> None:
        """Note a fault, to measure the recovery from it."""
        self.faults.append((name, now_ms()))

    @property
    def running(self) -> list[ConnectorProcess]:
        """Members that have not ended."""
        return [member for member in self.members if member.running]

    def until_shared(self, seconds: float = 120.0) -> None:
        """Wait until every partition is worked on by exactly one running member, and each has about as many as another."""

        def shared() -> bool:
            held = [member.works_on() for member in self.running]
            counts = [len(each) for each in held]
            return (
                sorted(p for each in held for p in each) == list(range(self.partitions)) and max(counts) - min(counts) <= 1
            )

        eventually(shared, f"{len(self.running)} members share {self.partitions} partitions ({self.protocol})", seconds)

    def flows(self, seconds: float = 90.0) -> None:
        """Wait until events of every partition that are produced from now on reach the sandbox."""
        since = now_ms()
        eventually(
            lambda: len(self._arrivals(since)) == self.partitions, f"every partition moves ({self.protocol})", seconds
        )

    # ---- the end

    def finish(self, seconds: float = 120.0) -> Outcome:
        """End the load, wait until all is resolved and committed, have the members leave, and make the account."""
        self.load.stop()
        ends = self.load.ends()
        eventually(lambda: self.committed() == ends, f"{self.protocol}: committed offsets are {ends}", seconds)
        # A commit is known to the brokers first; and a member that has just lost a partition shows it no more.
        eventually(lambda: self._shown() == list(ends.items()), f"{self.protocol}: members show what is committed", seconds)
        self._finished.set()
        self._watch.join()
        last = eventually(self._last_scrapes, f"{self.protocol}: every member has begun", seconds)
        for member in self.running:
            self.leave(member)
        self._note_losses()
        account = account_of(
            self.world,
            self.load.records,
            scrapes=self._scrapes,
            last_scrapes=last,
            interruptions=self._interruptions,
            writes_repeated=True,
            unanswered=[(at - _LATE_MS, at + _LATE_MS) for at in self._unanswered()],
        )
        return self._outcome(account)

    def _last_scrapes(self) -> list[dict[str, float]]:
        """Return every member's metrics; none while one that joined last is still starting."""
        scrapes = [member.metrics() for member in self.running]
        return scrapes if all("connector_records_total" in each for each in scrapes) else []

    def close(self) -> None:
        """End whatever is still there."""
        self._finished.set()
        self.load.abandon()
        self.world.close()
        if self.answers is not None:
            self.answers.__exit__()

    def _shown(self) -> list[tuple[int, int]]:
        """Return ``connector_committed_offset`` by partition as the members show it; where two show one, both."""
        names = [item for member in self.running for item in member.metrics().items()]
        shown = [(re.findall(r'partition="(\d+)"', name), value) for name, value in names if name.startswith(_COMMITTED)]
        return sorted((int(partition), int(value)) for (partition,), value in shown)

    def committed(self) -> dict[int, int]:
        """Return what is committed; nothing while the brokers do not say."""
        world = self.world
        found = committed_if_said(world.servers, world.group, world.topic) or {}
        return {partition: place.offset for partition, place in found.items()}

    def _outcome(self, account: Account) -> Outcome:
        letters = {letter.value for letter in account.letters}
        found = [line for member in self.members for line in lines_of(member)]
        refused = Counter[str]()
        for line in found:
            if line["event"] == "commit_refused":
                refused[line["code"]] += 1 + line.get("left_out", 0)
        return Outcome(
            account=account,
            breaches=judge(account),
            lost=sum(
                event_id not in account.accepted and not any(record.value in letters for record in records)
                for event_id, records in account.by_id.items()
            ),
            twice=Counter(why for found in second_acceptances(account).values() for why in found),
            moved=sum(line["event"] == "partition_assigned" for line in found) - self.partitions,
            gone=sum(line["event"] == "partition_lost" for line in found),
            refused=refused,
            recoveries=[(arrival - at) / 1000 for _, at in self.faults for arrival in self._arrivals(at, account).values()],
            lines=max((_most_in_a_minute(lines_of(member)) for member in self.members), default=0),
        )

    def _arrivals(self, since_ms: int, account: Account | None = None) -> dict[int, int]:
        """Return by partition when the first event produced after a moment reached the sandbox."""
        records = account.received if account is not None else self.sandbox.record()
        accepted = {line["id"]: line["arrival"] for line in reversed(records) if line["verdict"] == "accepted"}
        first: dict[int, int] = {}
        for record in list(self.load.made.values()):
            arrival = accepted.get(record.event_id or "")
            if arrival is not None and record.timestamp_ms >= since_ms and arrival >= since_ms:
                first[record.partition] = min(arrival, first.get(record.partition, arrival))
        return first

    def _unanswered(self) -> list[int]:
        """Return when members said that a commit had no answer, which leaves open whether it is made."""
        found = [line for member in self.members for line in lines_of(member)]
        return [stamp_ms(line) for line in found if line["event"] == "commit_refused" and line["code"] in _NO_ANSWER]

    def _note_losses(self) -> None:
        """What a member says it lost was interrupted: from when the brokers may have given it away until that line."""
        for member in self.members:
            own = lines_of(member)
            others = [line for other in self.members if other is not member for line in lines_of(other)]
            for lost in losses(own):
                began = min(lost[1] - _LOSS_NOTICED_MS, taken_over_ms(lost, own, others))
                self.interrupted(began, lost[1], frozenset({lost[0]}))

    # ---- watching

    def _look(self) -> None:
        while not self._finished.wait(_LOOK_SECONDS):
            for number, member in enumerate(list(self.members)):
                if member.running and number not in self._stopped:
                    with suppress(OSError, TimeoutError):
                        if scrape := member.metrics():
                            self._scrapes.append(scrape)


_NO_ANSWER = {"_TIMED_OUT", "_TIMED_OUT_QUEUE", "_TRANSPORT", "_WAIT_COORD", "REQUEST_TIMED_OUT"}
_LATE_MS = 60_000
"""As long as a broker may stand still with a commit on a connection, before and after the member has given it up."""
_COMMITTED = "connector_committed_offset{"
_LOSS_NOTICED_MS = 8_000
"""So much later than the brokers decide it a member learns of its loss: the session, and a bit. Where a machine is so
loaded that it takes longer, who was given the partition says when that was."""


def _most_in_a_minute(lines: list[dict[str, Any]]) -> int:
    stamps = [stamp_ms(line) for line in lines]
    return max((sum(at <= other < at + 60_000 for other in stamps) for at in stamps), default=0)
