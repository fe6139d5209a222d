"""Checks settings against each other, one function for each rule; each is valid by itself already.

Every message begins with the variable that it is about.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from connector.amazon.tokens import refresh_token_expires
from connector.config.declaration import Variables
from connector.config.kinds import host_of, topic_problem

if TYPE_CHECKING:
    from connector.config.processing import TopicTemplate
    from connector.config.settings import Settings

__all__ = ["notes", "problems"]

_LOOPBACK = re.compile(r"127\.[\d.]+|localhost|::1")
_ON_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})


def problems(settings: Settings, variables: Variables) -> Iterator[str]:
    """Yield every contradiction; one is enough to refuse the settings."""
    yield from _source_of_schemas(settings, variables)
    yield from _tokens(settings)
    yield from _one_mapping(settings)
    yield from _credentials(variables)
    yield from _day_of_consent(settings)
    yield from _contract(settings)
    yield from _topic_names(settings)
    yield from _shared_topics(settings)
    yield from _window(settings)
    yield from _buffer(settings)
    yield from _free_port(settings)


def notes(settings: Settings, variables: Variables) -> Iterator[str]:
    """Yield a message for whatever is allowed, but worth a line in the log at start."""
    yield from _unencrypted(settings)
    yield from _short_drain(settings)
    yield from _unused_proxy(settings, variables)
    yield from _unknown_end(settings)


def _source_of_schemas(settings: Settings, variables: Variables) -> Iterator[str]:
    registry_type = variables.text("SCHEMA_REGISTRY_TYPE").lower()
    registry = "SCHEMA_REGISTRY_TYPE=glue" if registry_type == "glue" else "SCHEMA_REGISTRY_URL"
    sources = {registry: settings.registry, "AVRO_SCHEMA_FILE": settings.schema_file, "AVRO_SCHEMA_DIR": settings.schema_dir}
    given = [name for name, source in sources.items() if source is not None]
    if len(given) > 1:
        both = "both" if len(given) == 2 else "all"
        yield f"{', '.join(given[:-1])} and {given[-1]} are {both} set: keep the one that has the schemas of the records"
    elif not given:
        yield "SCHEMA_REGISTRY_URL is missing: set it, SCHEMA_REGISTRY_TYPE=glue, AVRO_SCHEMA_FILE or AVRO_SCHEMA_DIR"
    yield from _registry_variables(settings, variables, registry_type, some_source=bool(given))


def _registry_variables(settings: Settings, variables: Variables, registry_type: str, *, some_source: bool) -> Iterator[str]:
    """Yield the variables of the registry that do not fit its type, or have no registry."""
    glue = registry_type == "glue"
    others = variables.family("SCHEMA_REGISTRY_…")
    if not settings.registry and (others or (some_source and registry_type in ("apicurio", "azure"))):
        yield "SCHEMA_REGISTRY_URL is missing, but other SCHEMA_REGISTRY_… variables are set: set it, or remove them"
    if glue and (others or variables.given("SCHEMA_REGISTRY_URL")):
        yield (
            "SCHEMA_REGISTRY_TYPE is glue, which has neither address nor properties: remove SCHEMA_REGISTRY_URL and the "
            "properties of other registries"
        )
    if registry_type == "azure" and (others or len(settings.registry.urls if settings.registry else ()) > 1):
        yield "SCHEMA_REGISTRY_TYPE is azure, which has one address and no properties: remove the others"
    if not glue:
        for name in ("SCHEMA_REGISTRY_REGION", "SCHEMA_REGISTRY_ROLE_ARN"):
            if variables.given(name):
                yield f"{name} is for SCHEMA_REGISTRY_TYPE=glue: set that too, or remove it"


def _tokens(settings: Settings) -> Iterator[str]:
    token = settings.kafka_token
    if token.source == "aws-msk-iam":
        if token.region is None:
            yield (
                "KAFKA_TOKEN_REGION is missing: KAFKA_BOOTSTRAP_SERVERS does not name the AWS region "
                "(as in ….kafka.eu-west-1.amazonaws.com:9098), and neither does AWS_REGION"
            )
        return
    for name, value in (("KAFKA_TOKEN_REGION", token.region), ("KAFKA_TOKEN_ROLE_ARN", token.role_arn)):
        if value is not None:
            yield f"{name} is for KAFKA_TOKEN_SOURCE=aws-msk-iam: set that too, or remove it"


def _one_mapping(settings: Settings) -> Iterator[str]:
    if settings.mapping_file is not None and settings.mapping_text is not None:
        yield "MAPPING_FILE and MAPPING are both set: remove one of them"


def _credentials(variables: Variables) -> Iterator[str]:
    login = ("AMAZON_CLIENT_SECRET", "AMAZON_REFRESH_TOKEN")
    given = [name for name in login if variables.given(name)]
    if not variables.given("AMAZON_ACCESS_TOKEN"):
        yield from (
            f"{name} is missing: set it, or a fixed token in AMAZON_ACCESS_TOKEN" for name in login if name not in given
        )
    elif given:
        others = " and ".join(given)
        yield f"AMAZON_ACCESS_TOKEN is set together with {others}: keep the fixed token or the login, and remove the other"


def _day_of_consent(settings: Settings) -> Iterator[str]:
    if settings.amazon.refresh_token_granted is not None and not settings.amazon.refresh_token:
        yield "AMAZON_REFRESH_TOKEN_GRANTED is set without AMAZON_REFRESH_TOKEN: set that too, or remove it"


def _contract(settings: Settings) -> Iterator[str]:
    if settings.amazon.dataset_name and settings.amazon.api == "events-v1":
        yield "AMAZON_DATASET_NAME exists in ads-v1 only: remove it, or remove AMAZON_API=events-v1"


def _topic_names(settings: Settings) -> Iterator[str]:
    sources = settings.kafka.topics
    for name, template in _templates(settings):
        if len(sources) > 1 and "{topic}" not in template.text:
            yield f"{name} must contain {{topic}}, because KAFKA_TOPIC names several topics"
        for source in sources:
            if not topic_problem(source) and (problem := topic_problem(template(source))):
                yield f"{name} {problem}"


def _shared_topics(settings: Settings) -> Iterator[str]:
    sources = settings.kafka.topics
    used_by = dict.fromkeys(sources, "KAFKA_TOPIC")
    for name, template in _templates(settings):
        for topic in map(template, sources):
            if used_by.setdefault(topic, name) != name:
                yield f"{name} names {topic!r}, which {used_by[topic]} names too: choose another name"


def _templates(settings: Settings) -> tuple[tuple[str, TopicTemplate], ...]:
    return ("LEDGER_TOPIC", settings.ledger.topic_for), ("DEAD_LETTER_TOPIC", settings.dead_letters.topic_for)


def _window(settings: Settings) -> Iterator[str]:
    if settings.dedupe.window_ms < settings.freshness.max_age_ms:
        yield (
            "DEDUPE_WINDOW is below MAX_EVENT_AGE: some duplicates would be neither recognised nor stale; "
            "raise DEDUPE_WINDOW or lower MAX_EVENT_AGE"
        )


def _buffer(settings: Settings) -> Iterator[str]:
    buffer, batch = settings.buffer, settings.batch
    if buffer.max_events < batch.max_events or buffer.max_bytes < batch.max_bytes:
        yield "BUFFER_MAX_EVENTS and BUFFER_MAX_BYTES hold less than one batch: raise them, or lower BATCH_MAX_…"


def _free_port(settings: Settings) -> Iterator[str]:
    if settings.listen.port == 0 and not _LOOPBACK.fullmatch(settings.listen.host):
        yield (
            "LISTEN_PORT is 0, a free port that neither a probe nor the image's health check can know: name a port, "
            "or set LISTEN_HOST=127.0.0.1, where only this host asks, and read the port in the log"
        )


def _unencrypted(settings: Settings) -> Iterator[str]:
    amazon = settings.amazon
    urls = [("AMAZON_BASE_URL", amazon.base_url), ("AMAZON_TOKEN_URL", amazon.token_url)]
    urls += [("SCHEMA_REGISTRY_URL", url) for url in (settings.registry.urls if settings.registry else ())]
    for name, url in urls:
        if url.startswith("http:") and host_of(url) not in _ON_THIS_MACHINE:
            yield f"{name} is not https: requests to it are not encrypted"


def _short_drain(settings: Settings) -> Iterator[str]:
    if settings.drain_timeout_seconds <= settings.amazon.timeout_seconds:
        yield (
            "DRAIN_TIMEOUT does not exceed AMAZON_TIMEOUT: when a member stops or loses a partition, a request that is "
            "answered slowly is sent again by the partition's next owner (with the same ids)"
        )


def _unused_proxy(settings: Settings, variables: Variables) -> Iterator[str]:
    given = next((name for name in ("HTTPS_PROXY", "https_proxy") if variables.given(name)), None)
    if given is not None and not settings.amazon.proxy:
        yield f"{given} is not used: set AMAZON_PROXY to reach Amazon by a proxy, and SCHEMA_REGISTRY_PROXY for the registry"


def _unknown_end(settings: Settings) -> Iterator[str]:
    granted = settings.amazon.refresh_token_granted
    if granted is not None and refresh_token_expires(granted) is None:
        yield f"AMAZON_REFRESH_TOKEN_GRANTED is {granted}: no source says that such a token ends, so no metric shows it"
