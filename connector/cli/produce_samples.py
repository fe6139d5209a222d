"""`connector produce-samples`: sample events at a steady rate, for docker compose; and what the demo produces with."""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from connector.avro.encoding import EventEncoder
from connector.avro.framing import framed
from connector.avro.schemas import register
from connector.cli.samples import Fate, Sample, samples
from connector.config import Kafka
from connector.errors import SettingsError
from connector.kafka import clients
from connector.kafka.producer import ConfirmingProducer
from connector.ports import Confirmation

__all__ = ["Produced", "encoded", "run", "say_nothing", "set_up"]

_SAMPLES_AT_ONCE = 1000
_LAST_SECONDS = 5.0
"""Wait for samples on their way at the end: less than the 10 s after which a container is killed."""
_UNDECODABLE = b"not Avro at all"
_SETTINGS = ("KAFKA_BOOTSTRAP_SERVERS", "KAFKA_TOPIC", "SCHEMA_REGISTRY_URL")


def set_up(parser: argparse.ArgumentParser) -> None:
    """Say what the command does and takes."""
    parser.description = "Produce sample events, at a steady rate, to KAFKA_TOPIC, with the schema in the registry."
    parser.add_argument("--rate", type=_positive, default=20.0, help="events per second (default: 20)")
    parser.add_argument("--count", type=int, default=None, help="how many; the default is to go on until stopped")


def _positive(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise argparse.ArgumentTypeError("must be above zero")
    return number


@dataclass(slots=True)
class Produced:
    """How many records the brokers confirmed, and how many not."""

    confirmed: int = 0
    failed: int = 0

    def report(self, confirmation: Confirmation) -> None:
        """Count a record."""
        if confirmation.error is None:
            self.confirmed += 1
        else:
            self.failed += 1


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Produce samples to ``KAFKA_TOPIC``, by the schema registered at ``SCHEMA_REGISTRY_URL``, until stopped.

    Returns the exit code: 1 if one failed. Raises `SettingsError` where one of its three settings is missing.
    """
    missing = [name for name in _SETTINGS if not environ.get(name)]
    if missing:
        raise SettingsError([f"{name} is missing: produce-samples needs it" for name in missing])
    servers, topic, registry = (environ[name] for name in _SETTINGS)
    encoder, produced = EventEncoder(), Produced()
    schema_id = register({"url": registry}, f"{topic}-value", encoder.schema)
    kafka = Kafka(servers, (topic,), "samples", {})
    properties = clients.producer_properties(kafka, say_nothing, logging.getLogger("librdkafka"))
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
    finally:  # however it ended: what was delivered by then is there
        _say_produced(produced, topic, written)
    return 0 if produced.failed == 0 else 1


def encoded(encoder: EventEncoder, schema_id: int, sample: Sample) -> bytes | None:
    """Return the value of a sample's record."""
    if sample.event is None:
        return None
    return _UNDECODABLE if sample.fate is Fate.UNDECODABLE else framed(schema_id, encoder.encode(sample.event))


def say_nothing(_client: str, _code: str) -> None:
    """Take no note of a client's error: what fails is counted."""


def _endless_samples() -> Iterator[Sample]:
    """Yield samples whose times keep up with the clock, or those of a long run would all be stale in the end."""
    while True:
        now_ms = time.time_ns() // 1_000_000
        yield from samples(_SAMPLES_AT_ONCE, now_ms, seed=now_ms)


def _say_produced(produced: Produced, topic: str, written: int | None = None) -> None:
    """Say what was confirmed; at the end, of so many written, also what neither was nor failed."""
    confirmed, failed = produced.confirmed, produced.failed
    why = ": does the topic exist?" if failed and not confirmed else ""
    open_ = 0 if written is None else max(written - confirmed - failed, 0)
    more = f", {open_:,} without an answer yet" if open_ else ""
    print(f"produced {confirmed:,} samples to {topic}, {failed:,} failed{why}{more}", flush=True)
