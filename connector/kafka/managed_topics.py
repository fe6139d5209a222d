"""The topics that the connector owns, ledgers and dead letters: created, checked, or refused.

Nothing in them may disappear by itself. A ledger keeps its entries for the dedupe window and a day;
a dead-letter topic keeps its letters for ever, or as long as is asked for. Both are as replicated,
and as strict about replicas in sync, as the source: a fact must not be lost with a broker whose
loss the source survives.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from confluent_kafka import KafkaError

from connector.core.recovery import accept_value
from connector.errors import KafkaDenied, KafkaUnavailable, LedgerRefused
from connector.kafka.cluster import Cluster, error_code
from connector.kafka.host import HOST, Host
from connector.model import TopicDescription

__all__ = ["ManagedTopics", "forgets", "letter_problems", "letter_settings"]

_DAY_MS = 86_400_000
_LETTER_HEADROOM_BYTES = 65_536
"""Room for the headers that a dead letter adds to its record
(docs/how-it-works.md#dead-letters)."""
_ENTRY_BYTES = 524_288
"""Size of the largest ledger entry: 10,000 facts of at most 24 bytes, their runs, and the
header."""
_ANY_TIME = {
    "message.timestamp.type": "CreateTime",
    "message.timestamp.before.max.ms": str(2**63 - 1),
    "message.timestamp.after.max.ms": str(2**63 - 1),
}
"""A letter keeps the timestamp of its record, which the source may have taken from any clock."""
_LEFT_OUT = (
    frozenset[str](),
    frozenset(_ANY_TIME),
    frozenset({*_ANY_TIME, "unclean.leader.election.enable", "min.insync.replicas"}),
)
"""What to leave out when a broker refuses a topic's settings, one attempt after the other. Brokers
before Kafka 3.6 do not know `_ANY_TIME`; some managed clusters do not allow the other two. Whether
the topic keeps what is written to it is checked afterwards in any case."""
_FOR_EVER = -1
_UNBOUNDED = 2**53
"""A limit from here on never applies: milliseconds of 285,000 years, or 9 PB of one partition."""
_SETTING_REFUSED = frozenset({KafkaError.INVALID_CONFIG, KafkaError.POLICY_VIOLATION})
_VISIBLE_TRIES = 20
_VISIBLE_AGAIN_SECONDS = 0.25


class ManagedTopics:
    """Our topics on a real cluster; a ``ports.LedgerTopics`` (docs/how-it-works.md#the-ledger)."""

    def __init__(
        self,
        cluster: Cluster,
        ledger_for: Callable[[str], str],
        letters_for: Callable[[str], str],
        *,
        servers: str,
        window_ms: int,
        letters_ms: int | None = None,
        auto_create: bool,
        accept: frozenset[str] = frozenset(),
        host: Host = HOST,
    ) -> None:
        self._host = host
        self._cluster = cluster
        self._servers = servers
        self._ledger_for = ledger_for
        self._letters_for = letters_for
        self._retention_ms = window_ms + _DAY_MS
        self._letters_ms = _FOR_EVER if letters_ms is None else letters_ms
        self._accept = accept
        self.auto_create = auto_create
        """Whether missing topics and partitions are created."""

    def ensure(self, source: TopicDescription) -> TopicDescription:
        """Create or check the ledger and dead-letter topics of a source topic; return the ledger.

        Raises:
            LedgerRefused: a topic is missing or would lose facts; the text has the command that
            fixes it.
            KafkaUnavailable: the brokers do not answer.
        """
        inherited = self._cluster.settings(source.name)
        ledger = self._make(self._ledger_for(source.name), source, self.ledger_settings(inherited))
        self._refuse_what_loses_facts(ledger, inherited)
        letters = self._make(self._letters_for(source.name), source, letter_settings(inherited, self._letters_ms))
        self._refuse_what_loses_letters(letters, inherited)
        return ledger

    def rehearse(self, source: TopicDescription, *, letters: bool) -> TopicDescription | None:
        """Check the ledger, or the ``letters``, and change nothing; None if it does not exist yet.

        Raises:
            LedgerRefused, KafkaUnavailable: as `ensure` would.
        """
        inherited = self._cluster.settings(source.name)
        topic = (self._letters_for if letters else self._ledger_for)(source.name)
        found = self._cluster.describe(topic)
        if found is None or found.partitions < source.partitions:
            settings = letter_settings(inherited, self._letters_ms) if letters else self.ledger_settings(inherited)
            self._make_missing(topic, found, source, settings, rehearsal=True)
        if found is not None and letters:
            self._refuse_what_loses_letters(found, inherited)
        elif found is not None:
            self._refuse_what_loses_facts(found, inherited)
        return found

    def trouble(self, source: TopicDescription) -> str | None:
        """Return what `ensure` would mend or refuse by now; None if nothing. Change nothing.

        Raises:
            KafkaUnavailable: the brokers do not answer.
        """
        inherited = self._cluster.settings(source.name)
        for topic, refuse in (
            (self._ledger_for(source.name), self._refuse_what_loses_facts),
            (self._letters_for(source.name), self._refuse_what_loses_letters),
        ):
            found = self._cluster.describe(topic)
            if found is None:
                return f"topic {topic} is gone, with what was in it: a restore creates it, or says why not"
            try:
                refuse(found, inherited)
            except LedgerRefused as refusal:
                return str(refusal)
        return None

    def _refuse_what_loses_facts(self, ledger: TopicDescription, source: dict[str, str]) -> None:
        problems = self.ledger_problems(self._cluster.settings(ledger.name), source, ledger.replication)
        if problems:
            raise LedgerRefused(self.fix(f"the ledger {ledger.name} would lose facts", ledger.name, problems))

    def _refuse_what_loses_letters(self, letters: TopicDescription, source: dict[str, str]) -> None:
        """Refuse a topic that loses letters: they are all that is left of their events.

        Without the right to read the topic's settings, it is accepted unseen.
        """
        with contextlib.suppress(KafkaDenied):
            settings = self._cluster.settings(letters.name)
            problems = letter_problems(settings, source, letters.replication, self._letters_ms)
            case = [f"{name}={settings.get(name)}" for name in problems]
            accept = accept_value("letters-lost", letters.topic_id, *case)
            if problems and accept not in self._accept:
                what = f"the dead-letter topic {letters.name} would lose letters"
                raise LedgerRefused(f"{self.fix(what, letters.name, problems)}; or go on with ACCEPT={accept}")

    def letters_note(self, source: TopicDescription, letters: TopicDescription) -> str | None:
        """Return what is wrong with a dead-letter topic in use; None if nothing is."""
        inherited = self._cluster.settings(source.name)
        try:
            settings = self._cluster.settings(letters.name)
        except KafkaDenied:
            return "without the right DescribeConfigs it is unknown whether it keeps letters"
        if lost := letter_problems(settings, inherited, letters.replication, self._letters_ms):
            kept = ", ".join(f"{name} is {settings.get(name)}" for name in lost)
            return f"it may lose letters, which was accepted: {kept}"
        largest, wanted = settings.get("max.message.bytes"), letter_settings(inherited)["max.message.bytes"]
        if largest is not None and int(largest) < int(wanted):
            return f"letters of the source's largest records do not fit: set max.message.bytes={wanted}"
        return None

    def _make(self, topic: str, source: TopicDescription, settings: dict[str, str]) -> TopicDescription:
        found = self._cluster.describe(topic)
        if found is not None and found.partitions >= source.partitions:
            return found
        self._make_missing(topic, found, source, settings)
        for _ in range(_VISIBLE_TRIES):
            made = self._cluster.describe(topic)
            if made is not None and made.partitions >= source.partitions:
                return made
            self._host.sleep(_VISIBLE_AGAIN_SECONDS)  # the brokers' metadata lags behind the controller's
        raise KafkaUnavailable(f"topic {topic} was created but is not visible yet")

    def _make_missing(
        self,
        topic: str,
        found: TopicDescription | None,
        source: TopicDescription,
        settings: dict[str, str],
        *,
        rehearsal: bool = False,
    ) -> None:
        if not self.auto_create:
            state, verb = ("does not exist", "create") if found is None else (f"has {found.partitions} partitions", "alter")
            given = "".join(f" --config {name}={value}" for name, value in settings.items()) if found is None else ""
            raise LedgerRefused(
                f"topic {topic} {state}, {source.partitions} partitions are needed; set LEDGER_AUTO_CREATE=true to "
                "have it created, or run: "
                f"kafka-topics.sh --bootstrap-server {self._servers} --{verb} --topic {topic} "
                f"--partitions {source.partitions}{given}"
            )
        if found is not None:
            self._cluster.add_partitions(topic, source.partitions, rehearsal=rehearsal)
        else:
            self._create(topic, source, settings, rehearsal=rehearsal)

    def _create(self, topic: str, source: TopicDescription, settings: dict[str, str], *, rehearsal: bool) -> None:
        for left_out in _LEFT_OUT:
            fewer = {name: value for name, value in settings.items() if name not in left_out}
            try:
                self._cluster.create(topic, source.partitions, source.replication, fewer, rehearsal=rehearsal)
            except KafkaUnavailable as error:
                if error_code(error) not in _SETTING_REFUSED or left_out is _LEFT_OUT[-1]:
                    raise
            else:
                return

    def ledger_settings(self, source: dict[str, str]) -> dict[str, str]:
        """Return the settings that a ledger is created with."""
        return {
            "cleanup.policy": "delete",
            "retention.ms": str(self._retention_ms),
            "retention.bytes": "-1",
            "message.timestamp.type": "LogAppendTime",
            "unclean.leader.election.enable": "false",
            "min.insync.replicas": source.get("min.insync.replicas", "1"),
        }

    def ledger_problems(self, settings: dict[str, str], source: dict[str, str], replication: int) -> dict[str, str]:
        """Return the settings that would lose facts, with values that would not.

        Before an offset is committed, its fact must be on as many replicas as the record. Otherwise
        a broker's loss that the source survives would take facts with it.
        """
        wanted = self.ledger_settings(source)
        retention = _limit(settings, "retention.ms")
        if retention == _FOR_EVER or retention >= self._retention_ms:
            del wanted["retention.ms"]
        if int(settings.get("max.message.bytes", _ENTRY_BYTES)) < _ENTRY_BYTES:
            wanted["max.message.bytes"] = str(_ENTRY_BYTES)
        return _lacking(wanted, settings, replication)

    def fix(self, what: str, topic: str, problems: dict[str, str]) -> str:
        """Return the text that says which command fixes a topic's settings."""
        settings = ",".join(f"{name}={value}" for name, value in problems.items())
        return (
            f"{what} with its settings; fix it with: "
            f"kafka-configs.sh --bootstrap-server {self._servers} --alter --entity-type topics "
            f"--entity-name {topic} --add-config {settings}"
        )


def letter_settings(source: dict[str, str], retention_ms: int = _FOR_EVER) -> dict[str, str]:
    """Return the settings that a dead-letter topic is created with: it has to keep its letters."""
    largest = int(source.get("max.message.bytes", "1048588")) + _LETTER_HEADROOM_BYTES
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(retention_ms),
        "retention.bytes": "-1",
        **_ANY_TIME,
        "max.message.bytes": str(largest),
        "unclean.leader.election.enable": "false",
        "min.insync.replicas": source.get("min.insync.replicas", "1"),
    }


_KEEPS_LETTERS = (
    "cleanup.policy",
    "retention.ms",
    "retention.bytes",
    "unclean.leader.election.enable",
    "min.insync.replicas",
)


def letter_problems(
    settings: dict[str, str], source: dict[str, str], replication: int, retention_ms: int = _FOR_EVER
) -> dict[str, str]:
    """Return the settings that would lose letters, with values that would not."""
    wanted = letter_settings(source, retention_ms)
    kept_ms = _limit(settings, "retention.ms")
    if kept_ms == _FOR_EVER or 0 <= retention_ms <= kept_ms:
        del wanted["retention.ms"]
    return _lacking({name: wanted[name] for name in _KEEPS_LETTERS if name in wanted}, settings, replication)


def forgets(settings: dict[str, str]) -> bool:
    """Return whether a topic with these settings may have deleted records by itself."""
    limits = [_limit(settings, name) for name in ("retention.ms", "retention.bytes") if name in settings]
    return "compact" in settings.get("cleanup.policy", "") or any(limit != _FOR_EVER for limit in limits)


def _limit(settings: dict[str, str], name: str) -> int:
    """Return a limit of retention; `_FOR_EVER` if it never applies, 0 if it is unknown."""
    limit = int(settings.get(name, "0"))
    return limit if 0 <= limit < _UNBOUNDED else _FOR_EVER


def _lacking(wanted: dict[str, str], settings: dict[str, str], replication: int) -> dict[str, str]:
    """Return the wanted settings that a topic lacks.

    No more replicas in sync are asked for than there are replicas.
    """
    in_sync = min(int(wanted["min.insync.replicas"]), replication)
    if int(settings.get("min.insync.replicas", "1")) >= in_sync:
        wanted = {name: value for name, value in wanted.items() if name != "min.insync.replicas"}
    else:
        wanted = wanted | {"min.insync.replicas": str(in_sync)}
    if _limit(settings, "retention.bytes") == _FOR_EVER:
        wanted = {name: value for name, value in wanted.items() if name != "retention.bytes"}
    return {name: value for name, value in wanted.items() if settings.get(name) != value}
