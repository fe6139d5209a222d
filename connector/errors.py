"""The exception tree, by whose fault it is.

ConnectorError
  * SettingsError              the operator: a setting is missing, unknown or senseless (exit code 2)
  * RecordError                the producer: this record cannot be sent
      + Undecodable            its bytes do not parse by its writer's schema
      + UnknownSchema          its schema id is unknown to the registry, which answered
      + Oversized              it is larger, or of more parts, than an event that could ever be sent
  * Unavailable                the surroundings, for now: pause, say so, go on trying
      + SchemaUnavailable      the registry does not answer, or not with a schema
      + KafkaUnavailable       a broker does not answer, or refuses
          + KafkaDenied        this client lacks a right
      + LedgerUnavailable      the ledger, or its end, cannot be read
  * Refused                    going on could lose events: an operator must decide
      + LedgerRefused          the ledger is another's, of an unknown format, or would lose facts
  * OutOfOrder                 the Kafka client, or us: end, and begin again from the committed offset
"""

from __future__ import annotations

__all__ = [
    "ConnectorError",
    "KafkaDenied",
    "KafkaUnavailable",
    "LedgerRefused",
    "LedgerUnavailable",
    "OutOfOrder",
    "Oversized",
    "RecordError",
    "Refused",
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


class KafkaUnavailable(Unavailable):
    """The cluster cannot be asked for now."""


class KafkaDenied(KafkaUnavailable):
    """The brokers answer, but this client lacks a right; it is tried again, and an operator is told."""


class LedgerUnavailable(Unavailable):
    """The ledger cannot be read or its end cannot be had for now; never taken for empty."""


class Refused(ConnectorError):
    """Going on could lose events."""


class LedgerRefused(Refused):
    """The ledger cannot be trusted or would lose facts; the text says which command mends it."""


class OutOfOrder(ConnectorError):
    """A record came after a later one of its partition, so which were received is not known any more."""
