"""Settings of how events are processed: staleness, duplicates, batches, ledger and dead letters.

A class derived from a policy of ``core`` declares the settings that give the policy its values.
"""

from __future__ import annotations

from dataclasses import dataclass

from connector.config import kinds
from connector.config.declaration import section, setting
from connector.core.batching import BatchPolicy
from connector.core.breaker import DeadLetterPolicy
from connector.core.dedupe import DedupePolicy
from connector.core.freshness import FreshnessPolicy
from connector.core.policy import BufferPolicy

__all__ = [
    "BatchSettings",
    "BufferSettings",
    "DeadLetterSettings",
    "DedupeSettings",
    "FreshnessSettings",
    "LedgerSettings",
    "Sending",
    "TopicTemplate",
]

_MAX_EVENTS = 500
"""Maximum events per request in both wire contracts (``eventData`` and ``events``)."""
_MIN_SKEW_MS = 1_000
_MIN_SKEW_REASON = "brokers report their time in the answer to a write, so a slow write looks like a wrong clock"
_MIN_BUFFER = 12
"""Three polls of one record each may be in progress, and they may fill a quarter of the buffer."""


@dataclass(frozen=True, slots=True)
class TopicTemplate:
    """Names the topic that belongs to a source topic: the ledger, or the dead letters."""

    text: str
    """The name. ``{topic}`` stands for the source topic."""

    def __call__(self, source: str) -> str:
        """Return the name for a source topic."""
        return self.text.replace("{topic}", source)


@dataclass(frozen=True, slots=True)
class FreshnessSettings(FreshnessPolicy):
    """When an event is stale, or too far ahead."""

    max_age_ms: int = setting("MAX_EVENT_AGE", kinds.milliseconds(), "age beyond which an event is stale", default="7d")
    max_skew_ms: int = setting(
        "MAX_CLOCK_SKEW",
        kinds.milliseconds(_MIN_SKEW_MS, _MIN_SKEW_REASON),
        "how far ahead of the clock an event may be; beyond it, the event becomes a dead letter",
        default="5m",
    )


@dataclass(frozen=True, slots=True)
class DedupeSettings(DedupePolicy):
    """What a duplicate is, and how long one is recognised."""

    window_ms: int = setting(
        "DEDUPE_WINDOW", kinds.milliseconds(), "how far back duplicates are recognised; at least MAX_EVENT_AGE", default="7d"
    )
    key_fields: tuple[str, ...] = setting(
        "DEDUPE_KEY",
        kinds.FIELDS,
        "fields that identify an event, separated by commas; unless this is clientDedupeId alone, the id that is sent is "
        "derived from all of them",
        default="clientDedupeId",
    )


@dataclass(frozen=True, slots=True)
class BatchSettings(BatchPolicy):
    """How large a request may be, and how long it waits for events."""

    max_events: int = setting("BATCH_MAX_EVENTS", kinds.whole(1, _MAX_EVENTS), "most events in one request", default="500")
    max_bytes: int = setting("BATCH_MAX_BYTES", kinds.size(), "largest request", default="1MB")
    linger_seconds: float = setting("BATCH_LINGER", kinds.seconds(0), "how long a batch waits for more events", default="1s")


@dataclass(frozen=True, slots=True)
class BufferSettings(BufferPolicy):
    """How many events may be unresolved at once."""

    max_events: int = setting(
        "BUFFER_MAX_EVENTS",
        kinds.whole(_MIN_BUFFER),
        "most unresolved events held in memory; fetching pauses before it is exceeded",
        default="20000",
    )
    max_bytes: int = setting(
        "BUFFER_MAX_BYTES",
        kinds.size(),
        "most bytes of unresolved events held in memory; fetching pauses before it is exceeded",
        default="64MB",
    )


@dataclass(frozen=True, slots=True)
class Sending:
    """How many requests may be sent."""

    max_in_flight: int = setting(
        "MAX_IN_FLIGHT", kinds.whole(), "most requests at once; the adaptive limit stays at or below it", default="8"
    )
    max_per_second: float | None = setting(
        "AMAZON_MAX_REQUESTS_PER_SECOND",
        kinds.optional(kinds.number("number above 0, up to 1000, such as 5 or 0.5", 1_000, above_zero=True)),
        "most requests per second from this process; without it, the connector adapts to Amazon's unknown limit",
    )


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """Where facts are written, and how often."""

    topic_for: TopicTemplate = setting(
        "LEDGER_TOPIC",
        kinds.TEXT.then(TopicTemplate),
        "ledger topic; with several source topics it must contain {topic}",
        default="<topic>.<group>.ledger",
        derive=lambda variables: f"{{topic}}.{variables.text('KAFKA_GROUP_ID')}.ledger",
    )
    flush_interval_seconds: float = setting(
        "LEDGER_FLUSH_INTERVAL", kinds.seconds(), "how long a fact waits for others before it is written", default="1s"
    )
    auto_create: bool = setting(
        "LEDGER_AUTO_CREATE",
        kinds.boolean(),
        "whether to create ledger and dead-letter topics that do not exist",
        default="true",
    )


@dataclass(frozen=True, slots=True)
class _DeadLetterLimits(DeadLetterPolicy):
    max_consecutive: int = setting(
        "DEAD_LETTER_MAX_CONSECUTIVE",
        kinds.whole(0),
        "number of dead letters in a row that pauses consumption; 0 means no limit",
        default="1000",
    )
    max_ratio: float = setting(
        "DEAD_LETTER_MAX_RATIO",
        kinds.number("share from 0 to 1", 1),
        "share of dead letters among the latest 1,000 to 2,000 events that pauses consumption; 0 means no limit",
        default="0.5",
    )


@dataclass(frozen=True, slots=True)
class DeadLetterSettings:
    """Where records are set aside, and when they are too many."""

    topic_for: TopicTemplate = setting(
        "DEAD_LETTER_TOPIC",
        kinds.TEXT.then(TopicTemplate),
        "dead-letter topic; with several source topics it must contain {topic}",
        default="<topic>.dead-letter",
        derive=lambda _: "{topic}.dead-letter",
    )
    retention_ms: int | None = setting(
        "DEAD_LETTER_RETENTION",
        kinds.optional(kinds.milliseconds()),
        "how long dead-letter topics that the connector creates keep letters; without it, for ever",
    )
    policy: DeadLetterPolicy = section("", _DeadLetterLimits)
