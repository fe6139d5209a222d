"""The client of Azure Schema Registry, in the form that `registry.Registry` expects.

Answers and errors have the form of a registry with Confluent's API. The libraries come with the
extra ``azure``. They find their credentials as usual: a service principal in the environment, a
workload identity, or a managed identity.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from confluent_kafka.schema_registry.error import SchemaRegistryError

from connector.avro.framing import SchemaId
from connector.avro.vendor import VendorApi
from connector.avro.writer_schema import Json
from connector.errors import SettingsError

__all__ = ["Azure", "namespace_client"]

_REQUESTS = {
    "connection_timeout": 3,
    "read_timeout": 3,
    "retry_total": 1,
    "retry_backoff_factor": 0.2,
    "retry_backoff_max": 1,
    "use_env_settings": False,
}
"""For all requests: time-outs, retries, and no proxy of the environment (docs/settings.md#http)."""
_ON_DEVELOPERS_MACHINES = ("cli", "developer_cli", "powershell", "visual_studio_code", "shared_token_cache", "broker")
"""Sources of credentials that start other programs or open a browser. They would take too long."""
_NOT_FOUND = 404
_UNKNOWN = 40403
_NO_SUCH_SCHEMA = "ItemNotFound"


def namespace_client(url: str, **how: Any) -> Any:
    """Return Azure's client for the schema registry of a namespace.

    The URL is such as ``https://NAME.servicebus.windows.net``.

    ``how`` is for the client, and overrides its time-outs and the credentials.

    Raises:
        SettingsError: the libraries are not installed, or the address is not that of a namespace.
    """
    try:
        registry, identity = import_module("azure.schemaregistry"), import_module("azure.identity")
    except ImportError:
        raise SettingsError(
            ["SCHEMA_REGISTRY_TYPE=azure needs Azure's libraries: install the connector with its extra azure"]
        ) from None
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.path.strip("/") or parts.username:
        raise SettingsError(
            ["SCHEMA_REGISTRY_URL: give the namespace of a registry of type azure: https://NAME.servicebus.windows.net"]
        )
    if "credential" not in how:
        excluded = {f"exclude_{source}_credential": True for source in _ON_DEVELOPERS_MACHINES}
        how["credential"] = identity.DefaultAzureCredential(**excluded, **_REQUESTS)
    return registry.SchemaRegistryClient(parts.netloc, **{**_REQUESTS, **how})


class Azure(VendorApi):
    """A `connector.avro.registry_connection.RegistryApi` over Azure's client."""

    probed: SchemaId = "0" * 32

    def _ask(self, path: str) -> Json:
        found = self._client.get_schema(path)
        return {"schema": found.definition, "schemaType": getattr(found.properties.format, "name", found.properties.format)}

    def newest(self, _topic: str) -> Json:
        """Return None: only its producers know the group that a schema is in."""
        return None

    def _refusal(self, error: Exception) -> SchemaRegistryError | None:
        if type(error).__name__ in _WITHOUT_CREDENTIALS:
            return SchemaRegistryError(401, -1, type(error).__name__)
        status = getattr(error, "status_code", None)  # of an answer; other errors got none
        if not isinstance(status, int):
            return None
        code = getattr(getattr(error, "error", None), "code", None)
        unknown = status == _NOT_FOUND and code == _NO_SUCH_SCHEMA
        return SchemaRegistryError(status, _UNKNOWN if unknown else -1, str(code))


_WITHOUT_CREDENTIALS = ("ClientAuthenticationError", "CredentialUnavailableError")
