"""librdkafka's properties: what may be set, what the guarantee fixes, what each client gets.

All clients share the operator's properties. A property that only consumers have goes to the
consumer alone, and one that only producers have to the producer alone, because librdkafka warns
otherwise. A property that would break the guarantee is refused by name (`problems`). What the
guarantee needs is set last, so that nothing can override it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer

from connector.config import Kafka, is_secret
from connector.kafka.logins import LOGIN

__all__ = ["admin_properties", "consumer_properties", "problems", "producer_properties", "session_timeout_seconds"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_COMMITS = "offsets are committed only after their facts are in the ledger"
_ACKNOWLEDGED = "a fact counts only once all in-sync replicas have it"
_NO_TRANSACTION = "the ledger needs no transaction"
_OURS = "the connector sets it itself"
_NEW_PROTOCOL = "with an older protocol, events of aborted transactions could not be told apart"

_REFUSED = {
    "enable.auto.commit": _COMMITS,
    "auto.commit.enable": _COMMITS,
    "auto.commit.interval.ms": _COMMITS,
    "enable.auto.offset.store": _COMMITS,
    "offset.store.method": _COMMITS,
    "offset.store.path": _COMMITS,
    "offset.store.sync.interval.ms": _COMMITS,
    "acks": _ACKNOWLEDGED,
    "request.required.acks": _ACKNOWLEDGED,
    "enable.idempotence": _OURS,
    "delivery.report.only.error": _ACKNOWLEDGED,
    "message.timeout.ms": "a fact that is not written in time is written again until it is",
    "delivery.timeout.ms": "a fact that is not written in time is written again until it is",
    "transactional.id": _NO_TRANSACTION,
    "transaction.timeout.ms": _NO_TRANSACTION,
    "allow.auto.create.topics": "a misspelt topic would be created, with default settings; see LEDGER_AUTO_CREATE",
    "enable.partition.eof": _OURS,
    "group.protocol.type": _OURS,
    "api.version.request": _NEW_PROTOCOL,
    "api.version.fallback.ms": _NEW_PROTOCOL,
    "default.topic.config": "set its properties one by one, each by its own variable",
    "logger": _OURS,
    "metadata.broker.list": "it is another name of bootstrap.servers: set KAFKA_BOOTSTRAP_SERVERS",
    "plugin.library.paths": "foreign code could break what the connector guarantees",
}

_FROM_THE_BEGINNING = frozenset({"earliest", "smallest", "beginning"})
_RESET = (
    "without a committed offset the connector starts at the beginning of the partition; events older than MAX_EVENT_AGE are "
    "stale anyway. To start from now, set the group's offsets with Kafka's own tool"
)

_CHECKED = frozenset({"true", "t", "1"})
"""Values of ``check.crcs`` that librdkafka reads as true, in upper or lower case."""
_UNCHECKED = "a record that was altered on a broker's disk would be taken as valid"

_ENUMERATED = frozenset({"auto.offset.reset", "group.protocol", "isolation.level"})
"""We compare these values ourselves, so they are normalised first: librdkafka accepts any case and
surrounding spaces."""

_MILLISECONDS = frozenset({"max.poll.interval.ms", "session.timeout.ms"})
"""We compute with these values. librdkafka reads 045000 as octal and 0x10 as hexadecimal, and stops
at the first character that is no digit."""

_CONSUMER_ONLY = _words(
    "group.instance.id partition.assignment.strategy session.timeout.ms heartbeat.interval.ms group.protocol "
    "group.remote.assignor coordinator.query.interval.ms max.poll.interval.ms queued.min.messages "
    "queued.max.messages.kbytes fetch.wait.max.ms fetch.queue.backoff.ms fetch.message.max.bytes "
    "max.partition.fetch.bytes fetch.max.bytes fetch.min.bytes fetch.error.backoff.ms isolation.level check.crcs "
    "auto.offset.reset consume.callback.max.messages"
)
"""Marked C in librdkafka's CONFIGURATION.md, without those refused."""

_PRODUCER_ONLY = _words(
    "enable.gapless.guarantee queue.buffering.max.messages queue.buffering.max.kbytes queue.buffering.max.ms linger.ms "
    "message.send.max.retries retries queue.buffering.backpressure.threshold compression.codec compression.type "
    "compression.level batch.num.messages batch.size sticky.partitioning.linger.ms request.timeout.ms queuing.strategy "
    "produce.offset.report partitioner msg_order_cmp"
)
"""Marked P there, without those refused."""

_COMMON = _words(
    "security.protocol sasl.mechanism sasl.mechanisms sasl.username sasl.password ssl.ca.location ssl.ca.pem "
    "ssl.key.location ssl.key.password ssl.key.pem ssl.certificate.location ssl.certificate.pem ssl.keystore.location "
    "ssl.keystore.password ssl.endpoint.identification.algorithm enable.ssl.certificate.verification "
    "sasl.oauthbearer.method sasl.oauthbearer.client.id sasl.oauthbearer.client.secret sasl.oauthbearer.token.endpoint.url "
    "sasl.oauthbearer.scope client.id client.rack socket.timeout.ms socket.keepalive.enable "
    "message.max.bytes receive.message.max.bytes debug"
)
"""More names to suggest for a typo. Whether a property exists is for librdkafka to say."""

_ALIASES = {
    "compression.type": "compression.codec",
    "linger.ms": "queue.buffering.max.ms",
    "max.in.flight": "max.in.flight.requests.per.connection",
    "max.partition.fetch.bytes": "fetch.message.max.bytes",
    "retries": "message.send.max.retries",
    "sasl.mechanism": "sasl.mechanisms",
}
"""Other names of properties. librdkafka's messages may use them instead of the given names."""

_DEFAULT_MAX_POLL_MS = "300000"
_DEFAULT_SESSION_MS = "45000"
_FIXED = {"allow.auto.create.topics": False}


def problems(properties: Mapping[str, str], drain_timeout_seconds: float, by_token: bool = False) -> list[str]:
    """Return a message for each wrong property. It begins with the variable and shows no secret.

    ``by_token`` says that clients log in with the tokens of ``KAFKA_TOKEN_SOURCE``.

    librdkafka itself judges names and values: a consumer and a producer are made for it, which know
    no broker.
    """
    allowed = _normal(properties)
    found = []
    for name, value in list(allowed.items()):
        if why := _refusal(name, value):
            found.append(f"{_variable(name)} is refused: {why}")
            del allowed[name]
    wrong_logins = _beside_tokens(allowed) if by_token else _impossible(allowed)
    refused = [f"{_variable(name)} is refused: {why}" for name, why in wrong_logins]
    found += refused
    if refused or by_token:  # librdkafka need not judge the login: it is wrong, or not one of properties
        allowed = {name: value for name, value in allowed.items() if not name.startswith("sasl.")}
        allowed.pop("security.protocol", None)
    if by_token:
        allowed["security.protocol"] = "ssl"  # so that its properties are judged; without a token there is no login
    found += _refused_by_librdkafka(allowed)
    if not found and float(allowed.get("max.poll.interval.ms", _DEFAULT_MAX_POLL_MS)) <= drain_timeout_seconds * 1_000:
        found.append("KAFKA_MAX_POLL_INTERVAL_MS does not exceed DRAIN_TIMEOUT: a member would be expelled while it drains")
    return found


def consumer_properties(kafka: Kafka) -> dict[str, Any]:
    """Return the properties of the member of the group."""
    given = _without(_normal(kafka.properties), _PRODUCER_ONLY | {"auto.offset.reset"})
    if given.get("group.protocol", "classic") == "classic":
        given.setdefault("partition.assignment.strategy", "cooperative-sticky")
    return (
        given
        | _login(kafka)
        | {
            "group.protocol": given.get("group.protocol", "classic"),
            "bootstrap.servers": kafka.bootstrap_servers,
            "group.id": kafka.group_id,
            "auto.offset.reset": "error",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            **_FIXED,
        }
    )


def producer_properties(kafka: Kafka) -> dict[str, Any]:
    """Return the properties of the producer of facts and dead letters."""
    given = _without(kafka.properties, _CONSUMER_ONLY)
    return given | _login(kafka) | {"bootstrap.servers": kafka.bootstrap_servers, "acks": "all", **_FIXED}


def admin_properties(kafka: Kafka) -> dict[str, Any]:
    """Return the properties of the admin client."""
    given = _without(kafka.properties, _CONSUMER_ONLY | _PRODUCER_ONLY)
    return given | _login(kafka) | {"bootstrap.servers": kafka.bootstrap_servers, **_FIXED}


def _login(kafka: Kafka) -> dict[str, Any]:
    """Return how a client logs in, if not as the given properties say."""
    if kafka.tokens is None:
        return {} if kafka.login is None else {LOGIN: kafka.login}
    return {"security.protocol": "SASL_SSL", "sasl.mechanisms": "OAUTHBEARER", "oauth_cb": kafka.tokens}


def session_timeout_seconds(kafka: Kafka) -> float | None:
    """Return the session timeout; None if the brokers set it (``group.protocol=consumer``)."""
    given = _normal(kafka.properties)
    if given.get("group.protocol") == "consumer":
        return None
    return float(given.get("session.timeout.ms", _DEFAULT_SESSION_MS)) / 1_000


def _normal(properties: Mapping[str, str]) -> dict[str, str]:
    """Return properties; the values that we compare are brought into their normal form."""
    return {name: _normal_value(name, value) for name, value in properties.items()}


def _normal_value(name: str, value: str) -> str:
    if name == "partition.assignment.strategy":
        return ",".join(dict.fromkeys(value.lower().replace(",", " ").split()))
    return value.strip().lower() if name in _ENUMERATED else value


def _refusal(name: str, value: str) -> str | None:
    if name.startswith("test."):
        return "it is meant for librdkafka's own tests"
    if name == "auto.offset.reset" and value not in _FROM_THE_BEGINNING:
        return _RESET
    if name == "isolation.level" and value == "read_uncommitted":
        return "events of aborted transactions would be sent"
    if name == "check.crcs" and value.strip().lower() not in _CHECKED:
        return _UNCHECKED
    if name in _MILLISECONDS and not re.fullmatch("[1-9][0-9]*", value):
        return f"it is {value!r}; it takes a whole number of milliseconds"
    return _REFUSED.get(name)


def _impossible(properties: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield logins that this build of the client cannot do, and reports badly or not at all."""
    name = next((name for name in _MECHANISM_NAMES if name in properties), "sasl.mechanism")
    mechanism = properties.get(name, _DEFAULT_MECHANISM).strip()
    method = properties.get("sasl.oauthbearer.method", "").strip().lower()
    if properties.get("sasl.oauthbearer.metadata.authentication.type", "").strip().lower() == "aws_iam":
        yield "sasl.oauthbearer.metadata.authentication.type", _NO_AWS
    protocol = properties.get("security.protocol", "").strip()
    uses_sasl = protocol.lower().startswith("sasl")
    if not uses_sasl and name not in properties:
        return
    if mechanism == _DEFAULT_MECHANISM:
        said = "it is GSSAPI" if name in properties else "it is not set, which means GSSAPI"
        yield name, f"{said}, and {_NO_KERBEROS}"
    elif mechanism == "AWS_MSK_IAM":
        yield name, "AWS_MSK_IAM is Java's name; remove it, and set KAFKA_TOKEN_SOURCE=aws-msk-iam"
    elif mechanism not in _MECHANISMS:
        yield name, f"it is {mechanism!r}; it takes {_MECHANISMS_TEXT}"
    elif not uses_sasl:
        said = f"is {protocol}" if protocol else "is not set, which means PLAINTEXT"
        yield name, f"KAFKA_SECURITY_PROTOCOL {said}, so that nobody would log in; set that to SASL_SSL, or remove this"
    elif mechanism == "OAUTHBEARER" and method != "oidc":
        yield "sasl.oauthbearer.method", _NO_METHOD


def _beside_tokens(properties: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield properties that contradict ``KAFKA_TOKEN_SOURCE``, which decides how to log in."""
    for name, value in properties.items():
        if name == "security.protocol" and value.strip().lower() != "sasl_ssl":
            yield name, f"it is {value!r}, and with KAFKA_TOKEN_SOURCE it is SASL_SSL: remove it"
        elif name in _MECHANISM_NAMES and value.strip() != "OAUTHBEARER":
            yield name, f"it is {value!r}, and with KAFKA_TOKEN_SOURCE it is OAUTHBEARER: remove it"
        elif name.startswith("sasl.") and name not in _MECHANISM_NAMES:
            yield name, "KAFKA_TOKEN_SOURCE is set, which is another way to log in: remove one of them"


_MECHANISM_NAMES = ("sasl.mechanisms", "sasl.mechanism")
_DEFAULT_MECHANISM = "GSSAPI"
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
_MECHANISMS_TEXT = f"{', '.join(_MECHANISMS[:-1])} or {_MECHANISMS[-1]}"
_NO_KERBEROS = (
    "the wheel of confluent-kafka has no Kerberos: build it with `--no-binary confluent-kafka` against a librdkafka with "
    f"libsasl2, or set it to {_MECHANISMS_TEXT}"
)
_NO_AWS = (
    "it gets a web identity token of AWS STS, by a package that the connector does not contain; for Amazon MSK remove it, "
    "and set KAFKA_TOKEN_SOURCE=aws-msk-iam"
)
_NO_METHOD = (
    "OAUTHBEARER needs a source of tokens; set it to oidc, and set KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL, "
    "KAFKA_SASL_OAUTHBEARER_CLIENT_ID and KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET as well; or remove all KAFKA_SASL_… and set "
    "KAFKA_TOKEN_SOURCE"
)


def _refused_by_librdkafka(properties: Mapping[str, str]) -> list[str]:
    """Return a message for each property that librdkafka refuses.

    It names one property at a time, so it is asked again without that one.
    """
    text = _complaint(properties)
    if text is None:
        return []
    shown = _masked(text, properties)
    if missing := _missing(text, properties):
        return [f"{_variable(missing)} is missing: the Kafka client says: {shown}"]
    culprit = _culprit(text, properties)
    if culprit is None:
        return [f"KAFKA_… is refused by the Kafka client: {shown}"]
    hint = _suggestion(culprit, text) + _unreadable(culprit, properties[culprit])
    others = {name: value for name, value in properties.items() if name != culprit}
    return [f"{_variable(culprit)} is refused by the Kafka client: {shown}{hint}", *_refused_by_librdkafka(others)]


def _complaint(properties: Mapping[str, str]) -> str | None:
    """Return librdkafka's message about these properties; None if it accepts them."""
    kafka = Kafka(bootstrap_servers="", topics=(), group_id="settings", properties=properties)
    try:
        Consumer(_quiet(consumer_properties(kafka))).close()
        Producer(_quiet(producer_properties(kafka)))
    except KafkaException as refusal:
        return str(refusal.args[0].str())
    except Exception as refusal:  # noqa: BLE001 - the Python client raises whatever it meets: ValueError, ImportError
        return str(refusal)
    return None


# The message is parsed only to name the variable.


def _missing(text: str, properties: Mapping[str, str]) -> str | None:
    """Return the property that a message says must be set, and is not."""
    if "mandatory" not in text and "must be set" not in text:
        return None
    every = "mandatory" not in text  # for a mandatory property the message goes on to say which other one requires it
    named = re.findall(r"[a-z]+(?:\.[a-z0-9]+)+", text)
    return next((name for name in named[: None if every else 1] if name not in properties), None)


def _culprit(text: str, properties: Mapping[str, str]) -> str | None:
    """Return the property that a message quotes or mentions, or depends on."""
    for is_in in (_quotes, _mentions):
        for name in properties:
            if is_in(text, name) or is_in(text, _ALIASES.get(name, name)):
                return name
    for name in sorted(properties, key="security.protocol".__eq__):  # last: without it most others do not matter
        if _complaint({other: value for other, value in properties.items() if other != name}) != text:
            return name
    return None


def _quotes(text: str, name: str) -> bool:
    return f'"{name}"' in text or f"`{name}`" in text


def _mentions(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.])", text) is not None


def _unreadable(name: str, value: str) -> str:
    """Return why a file cannot be read, which librdkafka does not say."""
    if name in {"ssl.key.location", "ssl.key.pem"}:
        hint = "; if the key is encrypted, KAFKA_SSL_KEY_PASSWORD must be its password"
    elif name == "ssl.keystore.location":
        hint = "; KAFKA_SSL_KEYSTORE_PASSWORD must be its password"
    else:
        hint = ""
    if not name.endswith((".location", ".file")):
        return hint
    try:
        with suppress(IsADirectoryError), Path(value).open("rb"):
            pass
    except OSError as error:
        return f"; the file cannot be read: {error.strerror}"
    return hint


def _quiet(properties: Mapping[str, str | bool]) -> dict[str, str | bool | int]:
    """Return the properties of a client that is made only to try them."""
    return {"log_level": 0} | {name: value for name, value in properties.items() if name != "bootstrap.servers"}


def _suggestion(name: str, text: str) -> str:
    if not text.startswith("No such"):
        return ""
    known = _COMMON | _CONSUMER_ONLY | _PRODUCER_ONLY | {"topic", "group.id", "bootstrap.servers"}
    close = get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {_variable(close[0])}?" if close else ""


def _masked(text: str, properties: Mapping[str, str]) -> str:
    for name, value in properties.items():
        if is_secret(_variable(name)):
            text = text.replace(value, "***")
    return text


def _without(properties: Mapping[str, str], names: frozenset[str]) -> dict[str, str | bool]:
    return {name: value for name, value in properties.items() if name not in names}


def _variable(name: str) -> str:
    return "KAFKA_" + name.upper().replace(".", "_")
