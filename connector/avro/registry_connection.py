"""One question at a time to a schema registry, and what its answer means.

Confluent's API is asked over its own client. Another registry is asked through a `RegistryApi`,
which answers as Confluent's would.

A schema does not exist only if the registry answers HTTP 404 with an error code of its own; the 404
of a proxy proves nothing. (Confluent documentation, Schema Registry API reference, "Schemas".)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol
from urllib.parse import quote
from uuid import UUID

from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from connector.avro.deadline import Deadline
from connector.avro.framing import SchemaId, named
from connector.avro.registry_client import USER_INFO, open_client, registry_client
from connector.avro.writer_schema import Json
from connector.config import Login
from connector.errors import SchemaDenied, SchemaUnavailable, UnknownSchema

__all__ = ["ASKING_SECONDS", "Connection", "NoRoute", "RegistryApi"]

_NOT_FOUND = 404
_UNKNOWN = frozenset({(404, 40401), (404, 40402), (404, 40403)})
"""Answers that say: no such subject, version, schema. The first two come for a schema that is
referred to."""
_GUIDS = "schemas/guids/"
_UNKNOWN_GUID = frozenset({(404, 40403)})
"""The one answer that says that a GUID is unknown. Any other 404 says that there is no such route:
the registry is not Confluent's, or older than 8.0, or a proxy answers in its place."""
_OPERATORS = frozenset({301, 302, 303, 307, 308, 401, 403, 404, 407})
"""Statuses that an operator has to fix; 404 only without an error code of the registry."""
_PROBED_ID = 1
"""Id for asking whether the registry answers. Any id would do; the first one is the likeliest to
exist."""

ASKING_SECONDS = 3.0
"""Maximum time for questions in a row, before the thread must poll: hundreds of ids may be new at
once."""
_PAUSE_SECONDS = 0.25
"""Gap between two questions after which they no longer count as in a row."""


class NoRoute(Exception):
    """HTTP 404 for a GUID, without the registry's error code for an unknown one."""


class RegistryApi(Protocol):
    """Another registry, which answers as Confluent's would."""

    probed: SchemaId
    """What to ask for to see whether it answers."""

    def path(self, schema_id: SchemaId) -> str:
        """Return what `get` takes for a schema."""

    def get(self, path: str) -> Json:
        """Return the answer that Confluent's registry would give.

        A reference may have a ``path`` of its own to pass to this method.

        Raises:
            SchemaRegistryError: the answer is no schema. Other exceptions: no answer came.
        """

    def newest(self, topic: str) -> Json:
        """Return such an answer for the newest schema of a topic's values.

        Return None if the registry cannot tell it.

        A topic has the schema that the registry's serialiser registers for it by default.

        Raises:
            SchemaRegistryError: the answer is no schema. Other exceptions: no answer came.
        """


class Connection:
    """The registry at the other end, for one thread. Arguments are those of `registry.Registry`."""

    def __init__(
        self,
        config: Mapping[str, str],
        monotonic: Callable[[], float] = time.monotonic,
        api: RegistryApi | None = None,
        over: Callable[[SchemaRegistryClient, Deadline], RegistryApi] | None = None,
        login: Login | None = None,
    ) -> None:
        self._api, self._over = api, over
        self._config, self._login = config, login
        self._logged_in = login.current if login is not None else ()
        if api is None:
            self._use(*registry_client(config))
        self._monotonic = monotonic
        self._asking_since = self._answered_at = float("-inf")
        self._silent_since = float("inf")  # monotonic second; infinity while the registry answers
        self._silent = float("-inf"), float("-inf")  # start and end of the last outage

    @property
    def probed(self) -> SchemaId:
        """The id to ask for to see whether the registry answers."""
        return _PROBED_ID if self._api is None else self._api.probed

    def path(self, schema_id: SchemaId) -> str:
        """Return the path of a schema."""
        return _path(schema_id) if self._api is None else self._api.path(schema_id)

    def ask(self, path: str, asked: str) -> Json:
        """Return the answer for a path. ``asked`` says in words what is asked for.

        Raises:
            UnknownSchema: the registry says that it has no such schema.
            SchemaUnavailable: it did not answer, or refused; or the thread has asked for so long
                that it must poll.
            NoRoute: the path is that of a GUID, and nothing says that the registry has GUIDs.
        """
        now = self._monotonic()
        if now - self._answered_at > _PAUSE_SECONDS:
            self._asking_since = now
        if now - self._asking_since > ASKING_SECONDS:
            raise SchemaUnavailable(f"the schema registry has been asked for {ASKING_SECONDS:g} s without a pause")
        try:
            found = self._get(path)
        except SchemaRegistryError as error:
            unknown = _UNKNOWN_GUID if path.startswith(_GUIDS) else _UNKNOWN
            if (error.http_status_code, error.error_code) in unknown:
                self._heard()
                raise UnknownSchema(f"the schema registry has no {asked}") from None
            if error.http_status_code == _NOT_FOUND and path.startswith(_GUIDS):
                raise NoRoute from None
            self._silent_since = min(now, self._silent_since)
            raise _refused(error, asked) from None
        except Exception as error:  # noqa: BLE001 - raised by HTTP, JSON or OAuth: no answer came
            self._silent_since = min(now, self._silent_since)
            # From None: the texts may hold addresses with credentials.
            failure = f"the schema registry did not answer with {asked} ({type(error).__name__})"
            raise SchemaUnavailable(failure) from None
        finally:
            self._answered_at = self._monotonic()
        self._heard()
        return found

    def check_ids(self) -> None:
        """Check that the registry answers about ids, so that a 404 is its own and not a proxy's.

        Raises:
            SchemaUnavailable: it does not.
        """
        with suppress(UnknownSchema):
            self.ask(_path(_PROBED_ID), named(_PROBED_ID))

    def newest(self, subject: str, asked: str) -> Json:
        """Return the answer for the newest schema of a subject; None if there is no such subject.

        Raises:
            SchemaUnavailable: the registry does not answer, or refuses.
        """
        return self._if_any(lambda: self._get(f"subjects/{quote(subject, safe='')}/versions/latest"), asked)

    def newest_of_topic(self, topic: str, asked: str) -> Json:
        """Return the answer of a `RegistryApi` for the newest schema of a topic.

        Return None if it cannot tell.

        Raises:
            SchemaUnavailable: the registry does not answer, or refuses.
        """
        api = self._api
        return None if api is None else self._if_any(lambda: api.newest(topic), asked)

    def answering_seconds(self, waited: float) -> float:
        """Return how many seconds of a record's wait the registry has been answering.

        Only time since the last outage counts.
        """
        _, ended = self._silent
        return min(waited, self._monotonic() - ended)

    def _if_any(self, ask: Callable[[], Json], asked: str) -> Json:
        try:
            return ask()
        except SchemaRegistryError as error:
            if error.http_status_code == _NOT_FOUND:
                return None
            raise _refused(error, asked) from None
        except Exception as error:  # noqa: BLE001 - raised by HTTP, JSON, OAuth or a vendor's library: no answer came
            raise SchemaUnavailable(f"the schema registry did not answer ({type(error).__name__})") from None

    def _get(self, path: str) -> Json:
        """Ask the registry.

        The client's own methods cache every answer, and fail on one with tags in its metadata
        (confluent-kafka 2.16.0).
        """
        if self._login is not None and (user := self._login.current) is not self._logged_in:
            before, made = self._client, open_client({**self._config, USER_INFO: user[0]})
            self._use(*made)
            self._logged_in = user
            before.close()
        if self._api is not None:
            return self._api.get(path)
        self._deadline.begin()
        return self._client._rest_client.get(path)  # noqa: SLF001 - the client's own methods call this

    def _use(self, client: SchemaRegistryClient, deadline: Deadline) -> None:
        self._client, self._deadline = client, deadline
        if self._over is not None:
            self._api = self._over(client, deadline)

    def _heard(self) -> None:
        """Note an answer, which ends an outage."""
        if self._silent_since < float("inf"):
            self._silent, self._silent_since = (self._silent_since, self._monotonic()), float("inf")


def _path(schema_id: SchemaId) -> str:
    return f"{_GUIDS}{schema_id}" if isinstance(schema_id, UUID) else f"schemas/ids/{schema_id!r}"


def _refused(error: SchemaRegistryError, asked: str) -> SchemaUnavailable:
    status = error.http_status_code
    answer = f"the schema registry answered HTTP {status}, code {error.error_code} to the request for {asked}"
    return SchemaDenied(answer, status) if status in _OPERATORS else SchemaUnavailable(answer)
