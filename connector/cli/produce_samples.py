"""`connector produce-samples`: sample events at a steady rate, for docker compose.

The demo uses its parts.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from connector.avro.encoding import EventEncoder
from connector.avro.framing import framed
from connector.avro.registry_client import register
from connector.cli import times
from connector.cli.samples import Fate, SampleRecord, samples
from connector.config import Kafka
from connector.errors import SettingsError
from connector.kafka import clients
from connector.kafka.producer import ConfirmingProducer
from connector.ports import Confirmation

__all__ = ["Produced", "encoded", "run", "set_up"]

_SAMPLES_AT_ONCE = 1000
_LAST_SECONDS = 5.0
"""How long the end waits for samples on their way: less than the 10 s after which a container is
killed."""
_UNDECODABLE = b"not Avro at all"
_SETTINGS = ("KAFKA_BOOTSTRAP_SERVERS", "KAFKA_TOPIC", "SCHEMA_REGISTRY_URL")


def set_up(parser: argparse.ArgumentParser) -> None:
    """Declare the description and the options of the command."""
    parser.description = (
        "Produce sample events to KAFKA_TOPIC at a steady rate, with their schema in the registry. Needs "
        "KAFKA_BOOTSTRAP_SERVERS, KAFKA_TOPIC and SCHEMA_REGISTRY_URL."
    )
    parser.add_argument("--rate", type=_positive, metavar="N", default=20.0, help="events per second (default: 20)")
    parser.add_argument("--count", type=int, metavar="N", default=None, help="number of events (default: no limit)")


def _positive(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise argparse.ArgumentTypeError("must be above zero")
    return number


@dataclass(slots=True)
class Produced:
    """How many records the brokers confirmed, and how many failed."""

    confirmed: int = 0
    failed: int = 0

    def report(self, confirmation: Confirmation) -> None:
        """Count the delivery report of a record."""
        if confirmation.error is None:
            self.confirmed += 1
        else:
            self.failed += 1


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Produce samples to ``KAFKA_TOPIC`` until stopped; return 0, or 1 if one failed.

    The schema is registered at ``SCHEMA_REGISTRY_URL``.

    Raises:
        SettingsError: one of the three settings is missing.
    """
    missing = [name for name in _SETTINGS if not environ.get(name)]
    if missing:
        raise SettingsError([f"{name} is missing: produce-samples needs it" for name in missing])
    servers, topic, registry = (environ[name] for name in _SETTINGS)
    encoder, produced = EventEncoder(), Produced()
    schema_id = register({"url": registry}, f"{topic}-value", encoder.schema)
    kafka = Kafka(servers, (topic,), "samples", {})
    # Errors of the client are not reported: deliveries that fail are counted.
    properties = clients.producer_properties(kafka, clients.unreported, logging.getLogger("librdkafka"))
    written = 0
    try:
        with ConfirmingProducer(properties, last_seconds=_LAST_SECONDS) as producer:
            for sample in islice(_endless_samples(), arguments.count):
                producer.write(topic, None, encoded(encoder, schema_id, sample), produced.report, key=sample.key.encode())
                written += 1
                if written % 100 == 0:
                    _say_produced(produced, topic)
                time.sleep(1 / arguments.rate)
    except KeyboardInterrupt:
        print("stopped")
    finally:  # however it ended, the count is shown
        _say_produced(produced, topic, written)
    return 0 if produced.failed == 0 else 1


def encoded(encoder: EventEncoder, schema_id: int, sample: SampleRecord) -> bytes | None:
    """Return the value of a sample's record."""
    if sample.event is None:
        return None
    return _UNDECODABLE if sample.fate is Fate.UNDECODABLE else framed(schema_id, encoder.encode(sample.event))


def _endless_samples() -> Iterator[SampleRecord]:
    """Yield samples whose times keep up with the clock, so that they do not all become stale."""
    while True:
        now_ms = times.now_ms()
        yield from samples(_SAMPLES_AT_ONCE, now_ms, seed=now_ms)


def _say_produced(produced: Produced, topic: str, written: int | None = None) -> None:
    """Print the counts. ``written``, given at the end, also tells how many have no answer yet."""
    confirmed, failed = produced.confirmed, produced.failed
    why = ": does the topic exist?" if failed and not confirmed else ""
    open_ = 0 if written is None else max(written - confirmed - failed, 0)
    more = f", {open_:,} without an answer yet" if open_ else ""
    print(f"produced {confirmed:,} samples to {topic}, {failed:,} failed{why}{more}", flush=True)
