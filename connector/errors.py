"""The exception tree, sorted by who has to act.

ConnectorError
  * SettingsError              the operator: a setting is missing, unknown or invalid (exit code 2)
  * RecordError                the producer: this record cannot be sent, it becomes a dead letter
      + Undecodable            its bytes do not parse by its writer's schema
      + UnknownSchema          the registry answered that it does not know the schema id
      + Oversized              it is larger, or has more parts, than any event that can be sent
  * Unavailable                nobody yet: a service fails for now; pause, report it, retry
      + SchemaUnavailable      the registry does not answer, or not with a schema
          + SchemaDenied       the registry refuses this client, or something else answers
      + KafkaUnavailable       a broker does not answer, or refuses
          + KafkaDenied        this client lacks a permission
          + KafkaTokenLacking  there is no token to log in with
          + RecordsRefused     the brokers refuse a batch because of one of its records
          + KafkaStalled       a partition yields nothing where a record must be
      + LedgerUnavailable      the ledger, or its end, cannot be read
  * Refused                    the operator: going on could lose events, a person must decide
      + LedgerRefused          the ledger is another's, of an unknown format, or would lose facts
      + LogDamaged             the brokers hold other bytes than those that were written
  * OutOfOrder                 nobody: the process ends, and restarts from the committed offset
"""

from __future__ import annotations

__all__ = [
    "ConnectorError",
    "KafkaDenied",
    "KafkaStalled",
    "KafkaTokenLacking",
    "KafkaUnavailable",
    "LedgerRefused",
    "LedgerUnavailable",
    "LogDamaged",
    "OutOfOrder",
    "Oversized",
    "RecordError",
    "RecordsRefused",
    "Refused",
    "SchemaDenied",
    "SchemaUnavailable",
    "SettingsError",
    "Unavailable",
    "Undecodable",
    "UnknownSchema",
]


class ConnectorError(Exception):
    """Base of all exceptions of the connector; never raised itself."""


class SettingsError(ConnectorError):
    """The settings are invalid. The text names every variable at fault."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class RecordError(ConnectorError):
    """The record cannot become an event. The text gives the reason and no value of the record."""


class Undecodable(RecordError):
    """The bytes of the record do not parse."""


class UnknownSchema(RecordError):
    """The registry answered that it does not have the schema."""


class Oversized(RecordError):
    """The record is larger, or has more parts, than any event that can be sent.

    Reading it would delay everything else.
    """


class Unavailable(ConnectorError):
    """A service that we depend on does not work for now."""


class SchemaUnavailable(Unavailable):
    """The schema cannot be fetched for now."""


class SchemaDenied(SchemaUnavailable):
    """A registry refuses this client, or something else answers. Retried; an operator is told."""

    def __init__(self, answer: str, status: int) -> None:
        super().__init__(answer)
        self.message = (
            f"the schema registry refuses this client, or is not at its address (HTTP {status}). "
            "Fix that, or change the SCHEMA_REGISTRY_… settings and restart"
        )


class KafkaUnavailable(Unavailable):
    """The Kafka cluster does not answer for now, or refuses."""


class KafkaDenied(KafkaUnavailable):
    """The brokers answer that this client lacks a permission. Retried; an operator is told."""


class KafkaTokenLacking(KafkaUnavailable):
    """There is no token to log in to the brokers with. Retried; an operator is told."""


class RecordsRefused(KafkaUnavailable):
    """The brokers refuse a batch because of one of its records. They would accept the others."""


class KafkaStalled(KafkaUnavailable):
    """A partition yields neither a record where one must be, nor an error."""


class LedgerUnavailable(Unavailable):
    """The ledger, or its end, cannot be read for now. Never treated as an empty ledger."""


class Refused(ConnectorError):
    """Going on could lose events, so an operator must decide."""


class LedgerRefused(Refused):
    """The ledger cannot be trusted, or would lose facts. The text names the command to fix it."""


class LogDamaged(Refused):
    """A part of a log is not what was written. The text names it; it is not skipped or guessed."""


class OutOfOrder(ConnectorError):
    """A record came after a later one of its partition, so what was received is no longer known."""
