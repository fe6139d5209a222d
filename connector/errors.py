"""The exception tree, by whose fault it is.

ConnectorError
  * SettingsError              the operator: a setting is missing, unknown or senseless (exit code 2)
  * RecordError                the producer: this record cannot be sent
      + Undecodable            its bytes do not parse by its writer's schema
      + UnknownSchema          its schema id is unknown to the registry, which answered
      + Oversized              it is larger, or of more parts, than an event that could ever be sent
  * Unavailable                the surroundings, for now: pause, say so, go on trying
      + SchemaUnavailable      the registry does not answer, or not with a schema
          + SchemaDenied       it refuses this client, or is not at its address
      + KafkaUnavailable       a broker does not answer, or refuses
          + KafkaDenied        this client lacks a right
          + RecordsRefused     it refuses records, for what one of them is
          + KafkaStalled       a partition yields nothing where something must be
      + LedgerUnavailable      the ledger, or its end, cannot be read
  * Refused                    going on could lose events: an operator must decide
      + LedgerRefused          the ledger is another's, of an unknown format, or would lose facts
      + LogDamaged             the brokers hold bytes that are not those that were written
  * OutOfOrder                 the Kafka client, or us: end, and begin again from the committed offset
"""

from __future__ import annotations

__all__ = [
    "ConnectorError",
    "KafkaDenied",
    "KafkaStalled",
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
    """Base of all; never raised itself."""


class SettingsError(ConnectorError):
    """Settings refused: one message that names every variable at fault."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class RecordError(ConnectorError):
    """This record cannot become an event; the text says why, without any of its values."""


class Undecodable(RecordError):
    """The bytes do not parse."""


class UnknownSchema(RecordError):
    """The registry answered that it does not have the schema."""


class Oversized(RecordError):
    """It is larger, or of more parts, than an event that could ever be sent; reading it would hold up everything else."""


class Unavailable(ConnectorError):
    """Something around us does not work for now."""


class SchemaUnavailable(Unavailable):
    """The schema cannot be had for now."""


class SchemaDenied(SchemaUnavailable):
    """What answers is no registry, or one that refuses this client; it is tried again, and an operator is told."""

    def __init__(self, answer: str, status: int) -> None:
        super().__init__(answer)
        self.message = (
            f"the schema registry refuses this client, or is not at its address (HTTP {status}). "
            "Fix that, or the SCHEMA_REGISTRY_… settings and restart"
        )


class KafkaUnavailable(Unavailable):
    """The cluster cannot be asked for now."""


class KafkaDenied(KafkaUnavailable):
    """The brokers answer, but this client lacks a right; it is tried again, and an operator is told."""


class RecordsRefused(KafkaUnavailable):
    """The brokers refuse records that are written together, for what one of them is; the others they would take."""


class KafkaStalled(KafkaUnavailable):
    """A partition yields nothing where something must be, and no error."""


class LedgerUnavailable(Unavailable):
    """The ledger cannot be read or its end cannot be had for now; never taken for empty."""


class Refused(ConnectorError):
    """Going on could lose events."""


class LedgerRefused(Refused):
    """The ledger cannot be trusted or would lose facts; the text says which command fixes it."""


class LogDamaged(Refused):
    """A stretch of a log is not what was written; the text names the place. It is neither skipped nor guessed."""


class OutOfOrder(ConnectorError):
    """A record came after a later one of its partition, so which were received is not known any more."""
