"""Builds each part of a connector from settings, for `app`, the commands and the tests."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from connector.amazon.ads_v1 import AdsV1
from connector.amazon.client import AmazonSink
from connector.amazon.contract import Contract
from connector.amazon.events_v1 import EventsV1
from connector.amazon.regions import REGIONS
from connector.amazon.rules import differ
from connector.avro import registry_client
from connector.avro.apicurio import Apicurio
from connector.avro.azure import Azure, namespace_client
from connector.avro.decoding import EventDecoder, WriterSchemas
from connector.avro.framing import Framing
from connector.avro.glue import Glue, session_client
from connector.avro.registry import Registry
from connector.avro.registry_connection import RegistryApi
from connector.avro.schema_directory import SchemaDirectory
from connector.avro.schema_file import SchemaFile
from connector.config import Amazon, RegistrySettings, Settings
from connector.core.batching import Envelope
from connector.core.dispatch import DispatchPolicy
from connector.core.policy import BufferPolicy, FlushPolicy, Policy
from connector.core.recovery import OutOfRange
from connector.errors import SettingsError
from connector.kafka import clients, properties
from connector.kafka.cluster import Cluster
from connector.kafka.consumer import MOST_POLLS_AFTER_A_PAUSE, PollPolicy
from connector.kafka.ledger import LedgerPolicy
from connector.kafka.managed_topics import ManagedTopics
from connector.kafka.monitor import LEDGER_RIGHTS, LETTER_RIGHTS, SOURCE_RIGHTS, MonitorPolicy
from connector.kafka.tokens import Tokens, source_of
from connector.mapping.file import MappingFile
from connector.mapping.plan import Mapper
from connector.mapping.reading import WireTarget, read
from connector.mapping.refusal import MappingRefused
from connector.native import codec_for
from connector.operations.status import identity
from connector.ports import WireContract

__all__ = [
    "HostClock",
    "cluster_for",
    "contract_for",
    "decoder_for",
    "identity_of",
    "ledger_policy",
    "managed_topics",
    "monitor_policy",
    "pipeline_policy",
    "poll_policy",
    "read_settings",
    "registry_for",
    "schemas_for",
    "sink_for",
]

_MAX_SILENCE_SECONDS = 5.0
"""How long the ledger may stay unwritable before sending stops. A leader that fails is replaced
sooner, and what is sent in this time may be sent again."""


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Parse the environment.

    Raises:
        SettingsError: with every problem, those of the libraries' properties included.
    """
    settings = Settings.from_environment(
        environ,
        kafka_problems=properties.problems,
        registry_problems=registry_client.problems,
        read_mapping=_read_mapping,
    )
    by_address = settings.registry is not None and settings.registry.type not in ("glue", "azure")
    schemas = None if by_address else schemas_for(settings)  # refuse what is bad now, not at the first record
    codec_for(settings.codec)
    return replace(settings, schemas=schemas, kafka=replace(settings.kafka, tokens=_tokens_for(settings)))


def _tokens_for(settings: Settings) -> Tokens | None:
    """Return the one cache of tokens that all clients of Kafka share."""
    clock = HostClock()
    found = source_of(settings.kafka_token, clock.wall_ms)
    return None if found is None else Tokens(*found, clock.wall_ms)


def contract_for(amazon: Amazon) -> Contract:
    """Return the wire contract that the settings choose."""
    if amazon.api == "events-v1":
        return EventsV1(amazon.account_id, amazon.client_id, amazon.region, amazon.without_consent)
    return AdsV1(amazon.account_id, amazon.client_id, amazon.region, amazon.dataset_name, amazon.without_consent)


def _read_mapping(settings: Settings) -> MappingFile | None:
    path, text = settings.mapping_file, settings.mapping_text
    if path is None and text is None:
        return None
    name = "MAPPING" if path is None else f"MAPPING_FILE {path}"
    if path is not None:
        try:
            text = path.read_text("utf-8-sig")
        except OSError as error:
            raise SettingsError([f"{name} cannot be read: {error.strerror}"]) from error
        except ValueError as error:
            raise SettingsError([f"{name} is not UTF-8 text"]) from error
    contract = contract_for(settings.amazon)
    target = WireTarget(settings.amazon.api, contract.limits.match_key_types, contract.encode)
    beside = Path() if path is None else path.parent
    try:
        return read(text or "", target, lambda table: (beside / table).read_text("utf-8-sig"))
    except MappingRefused as refused:
        raise SettingsError([f"{name}: {refused}"]) from None


def decoder_for(
    settings: Settings, note: Callable[[str], None], plain: WriterSchemas | None = None
) -> tuple[EventDecoder, Mapper | None]:
    """Return the decoder of records, and its mapper if there is a mapping file.

    ``note`` is called with a text for each part of the mapping file that a schema lacks. ``plain``
    has the schema of plain Avro values that do not come from a topic, but from a file.
    """
    mapper = None if settings.mapping is None else Mapper(settings.mapping, note)
    framing = _framing(settings) if plain is None else Framing.PLAIN
    return EventDecoder(framing, plain or settings.schemas or schemas_for(settings), mapper), mapper


def _framing(settings: Settings) -> Framing:
    if settings.registry is not None:
        return _FRAMINGS[settings.registry.type]
    return Framing.PLAIN if settings.schema_dir is None else Framing.SINGLE_OBJECT


_FRAMINGS = {
    "confluent": Framing.CONFLUENT,
    "glue": Framing.GLUE,
    "apicurio": Framing.APICURIO,
    "azure": Framing.AZURE,
}


def schemas_for(settings: Settings) -> WriterSchemas:
    """Return the source of the writers' schemas: a registry or a file."""
    if settings.registry is not None:
        return registry_for(settings.registry)
    if settings.schema_dir is not None:
        return SchemaDirectory(settings.schema_dir)
    if settings.schema_file is None:
        raise SettingsError(["SCHEMA_REGISTRY_URL is missing: set it, AVRO_SCHEMA_FILE or AVRO_SCHEMA_DIR"])
    return SchemaFile(settings.schema_file)


def registry_for(registry: RegistrySettings) -> Registry:
    """Return the schema registry that the settings name."""
    return Registry(
        registry.properties,
        patience_seconds=registry.patience_seconds,
        api=_api(registry),
        over=Apicurio if registry.type == "apicurio" else None,
        login=registry.login,
    )


def _api(registry: RegistrySettings) -> RegistryApi | None:
    match registry.type:
        case "glue":
            return Glue(session_client(registry.region, registry.role_arn))
        case "azure":
            return Azure(namespace_client(registry.urls[0]))
        case _:
            return None


def sink_for(settings: Settings, contract: WireContract) -> AmazonSink:
    """Return the sink that sends to Amazon."""
    amazon = settings.amazon
    return AmazonSink(
        contract,
        amazon.base_url,
        amazon.credentials,
        timeout_seconds=amazon.timeout_seconds,
        max_connections=settings.sending.max_in_flight,
        proxy=amazon.proxy or None,
    )


def _fingerprint(*parts: str) -> bytes:
    return blake2b("\x00".join(parts).encode(), digest_size=16).digest()


def ledger_policy(settings: Settings) -> LedgerPolicy:
    """Return which facts are this connector's, and how long the ledger keeps them."""
    amazon = settings.amazon
    key = list(settings.dedupe.key_fields)
    if settings.mapping is not None:  # another expression for the id makes other keys
        key.append(settings.mapping.identity_of(settings.dedupe.key_fields))
    return LedgerPolicy(
        settings.kafka.group_id,
        destination=_fingerprint(amazon.api, amazon.base_url, amazon.account_id, amazon.dataset_name or ""),
        dedupe_key=_fingerprint(*key),
        accept=_accepted(settings),
        out_of_range=OutOfRange(settings.offset_out_of_range == "earliest"),
        retention_ms=settings.dedupe.ledger_ms,
        wall_ms=HostClock().wall_ms,
        seen=codec_for(settings.codec).seen,
    )


def _accepted(settings: Settings) -> frozenset[str]:
    return frozenset((settings.accept or "").replace(" ", "").split(",")) - {""}


def pipeline_policy(settings: Settings, contract: WireContract, poll: PollPolicy, session_seconds: float) -> Policy:
    """Return the policy of the pipeline."""
    buffer = settings.buffer
    return Policy(
        freshness=settings.freshness,
        dedupe=replace(settings.dedupe, differ=differ),
        dispatch=DispatchPolicy(
            settings.batch,
            Envelope(contract.prefix, contract.suffix),
            max_in_flight=settings.sending.max_in_flight,
            poll_gate_seconds=session_seconds / 2,
            max_per_second=settings.sending.max_per_second,
            breaker=settings.dead_letters.policy,
        ),
        buffer=BufferPolicy(
            buffer.max_events,
            buffer.max_bytes,
            headroom_events=MOST_POLLS_AFTER_A_PAUSE * poll.records,
            headroom_bytes=buffer.max_bytes * 3 // 8,
        ),
        drain_seconds=settings.drain_timeout_seconds,
        flush=FlushPolicy(
            settings.ledger.flush_interval_seconds, max_silence_seconds=min(_MAX_SILENCE_SECONDS, session_seconds / 2)
        ),
        stop_on_verdict=settings.on_verdict == "stop",
        session_seconds=session_seconds if poll.names_itself else float("inf"),
    )


def poll_policy(settings: Settings, session_seconds: float) -> PollPolicy:
    """Return how the consumer polls.

    Polls are so small that those in progress at a pause fit into the buffer.
    """
    buffer = settings.buffer
    usual = PollPolicy(
        settings.kafka.topics,
        clients.incremental(settings.kafka),
        settings.drain_timeout_seconds,
        sleep_seconds=session_seconds / 2,
        names_itself=clients.names_itself(settings.kafka),
    )
    # The polls in progress may fill a quarter of the buffer, by records and by bytes. A record
    # takes up to twice the bytes that a poll counts, because its encoded event is held beside it.
    # The last record of a poll may have any size, hence the larger headroom for bytes.
    records = min(usual.records, max(1, buffer.max_events // (4 * MOST_POLLS_AFTER_A_PAUSE)))
    return replace(usual, records=records, size=max(1, buffer.max_bytes // (8 * MOST_POLLS_AFTER_A_PAUSE)))


def cluster_for(settings: Settings) -> Cluster:
    """Return the client that asks the cluster about topics and the group."""
    kafka = settings.kafka
    return Cluster(lambda: clients.admin(kafka), lambda: clients.offsets_reader(kafka), login=kafka.login)


def managed_topics(settings: Settings, cluster: Cluster) -> ManagedTopics:
    """Return the ledger and dead-letter topics of a real cluster."""
    return ManagedTopics(
        cluster,
        settings.ledger.topic_for,
        settings.dead_letters.topic_for,
        servers=settings.kafka.bootstrap_servers,
        window_ms=settings.dedupe.window_ms,
        letters_ms=settings.dead_letters.retention_ms,
        auto_create=settings.ledger.auto_create,
        accept=_accepted(settings),
    )


def monitor_policy(settings: Settings) -> MonitorPolicy:
    """Return the topics that are watched while the connector runs, with the rights needed."""
    sources = settings.kafka.topics
    rights: dict[str, tuple[str, ...]] = dict.fromkeys(sources, SOURCE_RIGHTS)
    rights |= {settings.ledger.topic_for(source): LEDGER_RIGHTS for source in sources}
    rights |= {settings.dead_letters.topic_for(source): LETTER_RIGHTS for source in sources}
    return MonitorPolicy(sources, rights)


def identity_of(settings: Settings, build: Mapping[str, str]) -> dict[str, Any]:
    """Return the constant part of the page and of ``/status.json``."""
    amazon = settings.amazon
    destination = {
        "api": amazon.api,
        "region": amazon.region,
        "account": amazon.account_id,
        "dataset": amazon.dataset_name,
        "host": urlsplit(amazon.base_url).netloc.rpartition("@")[2],
        "is_amazon": amazon.base_url in {region.base_url for region in REGIONS.values()},
    }
    return identity(build, platform.node(), settings.kafka.group_id, destination, settings.describe())


class HostClock:
    """The clocks of this host; a ``ports.Clock``."""

    def wall_ms(self) -> int:
        """Return the milliseconds since 1970 UTC."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Return the seconds since an arbitrary fixed point."""
        return time.monotonic()
