"""The client of a Confluent-compatible registry: its properties, its addresses, its deadline.

Only this package imports the registry's client. A text about a property never holds its value, for
some are secrets.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final
from urllib.parse import unquote, urlsplit

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from connector.avro.deadline import Deadline
from connector.avro.writer_schema import Json
from connector.errors import SchemaUnavailable, SettingsError

__all__ = ["PROPERTIES", "QUESTION_SECONDS", "USER_INFO", "open_client", "problems", "register", "registry_client"]

QUESTION_SECONDS = 15.0
"""Deadline of one question, with its retries and at all addresses, some of which may not answer.
Together with `registry_connection.ASKING_SECONDS` it stays below half a session time-out
(docs/how-it-works.md#what-may-be-sent-twice)."""

USER_INFO = "basic.auth.user.info"
_NUMBERS: dict[str, Callable[[str], float]] = {
    "timeout": float,
    "max.retries": int,
    "retries.wait.ms": int,
    "retries.max.wait.ms": int,
    "cache.capacity": int,
    "cache.latest.ttl.sec": float,
}
_DEFAULTS = {"timeout": 3.0, "max.retries": 1, "retries.wait.ms": 200, "retries.max.wait.ms": 1000}
"""Our defaults: at most seven seconds in all with one address. Here the time-out is that of a whole
request. The client's own defaults are no time limit, and three retries a second and more apart."""

PROPERTIES = frozenset(
    {
        *_NUMBERS,
        "url",
        "proxy",
        USER_INFO,
        "ssl.ca.location",
        "ssl.key.location",
        "ssl.key.password",
        "ssl.certificate.location",
        "bearer.auth.credentials.source",
        "bearer.auth.token",
        "bearer.auth.logical.cluster",
        "bearer.auth.identity.pool.id",
        "bearer.auth.client.id",
        "bearer.auth.client.secret",
        "bearer.auth.scope",
        "bearer.auth.issuer.endpoint.url",
        "bearer.auth.issuer.endpoint.query",
    }
)
"""Properties of the client that are text (confluent-kafka 2.16.0)."""


def registry_client(config: Mapping[str, str]) -> tuple[SchemaRegistryClient, Deadline]:
    """Return the registry's client, and its deadline, which has to begin with each question.

    Raises:
        SettingsError: a property is unknown or invalid. The text has no value: some are secrets.
    """
    properties = _properties(config)
    try:
        return _open(properties)
    except Exception as error:  # noqa: BLE001 - of the client, its HTTP library and TLS; the texts may hold secrets
        names = ", ".join(map(_variable, sorted(config)))
        raise SettingsError([f"{names}: the registry's client refuses these settings ({type(error).__name__})"]) from None


def open_client(config: Mapping[str, str]) -> tuple[SchemaRegistryClient, Deadline]:
    """Do as `registry_client`, but raise the client's own errors: their texts may hold secrets."""
    return _open(_properties(config))


_NO_PROXY: Final = "http://proxy.invalid"
"""Stands for no proxy while the client is made. Without one it would read those of the environment,
and fail if one of them is of a kind that it lacks (SOCKS) or is no URL."""


def _open(properties: Mapping[str, str | float]) -> tuple[SchemaRegistryClient, Deadline]:
    """Make the registry's client, with a deadline for each request and each question.

    It ignores the proxies of the environment, which the client offers no way to turn off
    (confluent-kafka 2.16.0).
    """
    client = SchemaRegistryClient({"proxy": _NO_PROXY, **properties})
    timeout = float(properties["timeout"])
    deadline = Deadline(timeout, max(timeout, QUESTION_SECONDS))
    rest = client._rest_client  # noqa: SLF001 - the only way to the HTTP clients
    proxy = None if rest.proxy == _NO_PROXY else rest.proxy
    rest.session.close()
    rest.session = type(rest.session)(verify=rest.verify, auth=rest.auth, proxy=proxy, timeout=rest.timeout, trust_env=False)
    deadline.hold(rest.session)
    if (tokens := getattr(rest.bearer_field_provider, "client", None)) is not None:
        tokens.close()
        credentials = {
            name: getattr(tokens, name) for name in ("client_id", "client_secret", "scope") if hasattr(tokens, name)
        }
        # The certificates of the environment still apply: those set for the registry need not be
        # right for the issuer of tokens.
        rest.bearer_field_provider.client = type(tokens)(**credentials, verify=ssl.create_default_context(), trust_env=False)
        deadline.hold(rest.bearer_field_provider.client)
    return client, deadline


def _properties(config: Mapping[str, str]) -> dict[str, str | float]:
    problems = [
        f"{_variable(name)}: the registry's client has no property {name}" for name in config if name not in PROPERTIES
    ]
    parsed: dict[str, str | float] = {**_DEFAULTS, **config}
    if not config.get("url", "").startswith(("http://", "https://")):
        problems.append("SCHEMA_REGISTRY_URL: must begin with http:// or https://")
    else:
        try:
            parsed |= _addresses(config["url"], USER_INFO in config)
        except ValueError as error:
            problems.append(f"SCHEMA_REGISTRY_URL: {error}")
    for name in config.keys() & _NUMBERS.keys():
        try:
            parsed[name] = _NUMBERS[name](config[name])
        except ValueError:
            problems.append(f"{_variable(name)}: is not a number")
    if problems:
        raise SettingsError(problems)
    return parsed


def _addresses(urls: str, has_user: bool) -> dict[str, str]:
    """Return the client's properties for addresses that may contain user and password.

    User and password are taken out of the addresses, because the HTTP library writes addresses to
    its log and its errors. The client would send those of the first address to all.

    Raises:
        ValueError: the addresses are invalid; the text says what to do.
    """
    addresses: list[str] = []
    users: set[str | None] = set()
    for url in urls.split(","):
        address, user = _split(url.strip())
        addresses.append(address)
        users.add(user)
    if len(users) > 1:
        raise ValueError("has different users in its addresses: give SCHEMA_REGISTRY_BASIC_AUTH_USER_INFO instead")
    user_info = users.pop()
    if user_info is not None and has_user:
        raise ValueError("has a user in it, and SCHEMA_REGISTRY_BASIC_AUTH_USER_INFO is set too: give one of them")
    return {"url": ",".join(addresses)} | ({} if user_info is None else {USER_INFO: user_info})


def _split(url: str) -> tuple[str, str | None]:
    """Return an address without user and password, and those as text."""
    parts = urlsplit("")
    with suppress(ValueError):  # the error's text would hold the address
        parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    address = parts._replace(netloc=host).geturl()
    if not host or "@" in address:
        raise ValueError("is not an address, or has a /, ? or # in its user or password: percent-encode these characters")
    if parts.query or parts.fragment:
        raise ValueError("has a query or a fragment, which is never sent to a registry: give scheme, host and path only")
    name, _, password = user.partition(":")
    return address, f"{unquote(name)}:{unquote(password)}" if at else None


def problems(config: Mapping[str, str]) -> list[str]:
    """Return the problems of the registry's properties, one message each, the variable first."""
    try:
        registry_client(config)
    except SettingsError as error:
        return error.problems
    return []


def register(config: Mapping[str, str], subject: str, schema: Json) -> int:
    """Register a schema and return its id. For the producers of samples.

    Raises:
        SchemaUnavailable: the registry does not accept the schema.
    """
    try:
        client, _ = open_client(config)
        return client.register_schema(subject, Schema(json.dumps(schema), "AVRO"))
    except Exception as error:  # noqa: BLE001 - as above: the texts may hold secrets
        raise SchemaUnavailable(f"the schema registry did not accept the schema ({type(error).__name__})") from None


def _variable(name: str) -> str:
    return "SCHEMA_REGISTRY_" + name.upper().replace(".", "_")
