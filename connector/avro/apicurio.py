"""The client of Apicurio Registry's own API, in the form that `registry.Registry` expects.

Apicurio has two ids for a schema: the contentId of its text, and the globalId of the version that
has it. Its own API (version 3, and 2 alike) finds a schema by either; its API of Confluent's kind
knows one of them. (Apicurio Registry, REST API, "/ids/globalIds" and "/ids/contentIds".)
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from connector.avro.deadline import Deadline
from connector.avro.framing import SchemaId
from connector.avro.writer_schema import Json

__all__ = ["Apicurio"]

_NOT_FOUND = 404
_UNKNOWN = 40403
_NO_SUCH_SCHEMA = frozenset(
    {"ArtifactNotFoundException", "ContentNotFoundException", "GroupNotFoundException", "VersionNotFoundException"}
)
"""Names of errors that say that there is no such schema. For an address that it does not know,
Apicurio answers 404 too, with another name."""
_SUCCESS = range(200, 300)
_PASSING = frozenset({408, 429, *range(500, 600)})
"""Statuses after which the next address is asked."""


class Apicurio:
    """A `registry_connection.RegistryApi` over the HTTP client of Confluent's registry client."""

    probed: SchemaId = "globalId 1"

    def __init__(self, client: SchemaRegistryClient, deadline: Deadline) -> None:
        self._rest: Any = client._rest_client  # noqa: SLF001 - it has the addresses, their security and its retries
        self._deadline = deadline
        self._content = "" if all("/v2" in url for url in self._rest.base_urls) else "/content"

    def path(self, schema_id: SchemaId) -> str:
        """Return what to pass to `get` for a schema."""
        kind, _, number = str(schema_id).partition(" ")
        return f"ids/{kind}s/{number}"

    def get(self, path: str) -> Json:
        """Return a schema and what it refers to, as Confluent's registry would.

        Raises:
            SchemaRegistryError: with the codes of Confluent's registry: 404 and 40403 if there is
                no such schema.
        """
        self._deadline.begin()
        schema = self._asked(path).text
        references = self._asked(f"{path.removesuffix('/content')}/references").json()
        return {"schema": schema, "references": [self._reference(each) for each in references]}

    def newest(self, topic: str) -> Json:
        """Return the newest version of the artifact of a topic's values.

        Its name is the default of Apicurio's serialiser. Both versions of the API give its
        contentId (REST API, "/groups/{groupId}/artifacts").
        """
        self._deadline.begin()
        artifact = f"groups/default/artifacts/{quote(f'{topic}-value', safe='')}"
        found = self._asked(f"{artifact}/versions/branch=latest" if self._content else f"{artifact}/meta").json()
        return self.get(f"ids/contentIds/{int(found['contentId'])}")

    def _reference(self, reference: Json) -> Json:
        group, artifact, version = reference.get("groupId") or "default", reference["artifactId"], reference["version"]
        of = f"groups/{quote(group, safe='')}/artifacts/{quote(artifact, safe='')}/versions/{quote(version, safe='')}"
        return {"subject": f"{group}/{artifact}", "version": version, "path": f"{of}{self._content}"}

    def _asked(self, path: str) -> Any:
        """Return the answer to a request at the first address that gives one."""
        headers: dict[str, str] = {}
        if self._rest.bearer_auth_credentials_source:
            self._rest.handle_bearer_auth(headers)
        *others, last = self._rest.base_urls
        for url in others:
            try:
                answer = self._rest.send_http_request(url, path, "GET", headers)
            except Exception:  # noqa: BLE001, S112 - raised by HTTP: no answer came, so the next address is asked
                continue
            if answer.status_code not in _PASSING:
                return _passed(answer)
        return _passed(self._rest.send_http_request(last, path, "GET", headers))


def _passed(answer: Any) -> Any:
    status = answer.status_code
    if status in _SUCCESS:
        return answer
    if status == _NOT_FOUND and _name(answer) in _NO_SUCH_SCHEMA:
        raise SchemaRegistryError(_NOT_FOUND, _UNKNOWN, "not found")
    raise SchemaRegistryError(status, -1, "refused")


def _name(answer: Any) -> str:
    """Return the name of the error in an answer."""
    try:
        return str(answer.json()["name"])
    except (ValueError, LookupError, TypeError):
        return ""
