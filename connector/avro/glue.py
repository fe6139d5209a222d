"""The client of AWS Glue Schema Registry, in the form that `registry.Registry` expects.

Answers and errors have the form of a registry with Confluent's API. boto3 comes with the extra
``aws``. It finds its credentials as usual: in the environment, a profile, the container or the
instance.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any
from uuid import UUID

from confluent_kafka.schema_registry.error import SchemaRegistryError

from connector.avro.framing import SchemaId
from connector.avro.vendor import VendorApi
from connector.avro.writer_schema import Json
from connector.errors import SettingsError

__all__ = ["Glue", "session_client"]

_TIMEOUT_SECONDS = 3.0
_ATTEMPTS = 2
_UNKNOWN = 40403
_REGISTRY = "default-registry"
"""The registry that AWS's serialiser uses unless it is told another
(AWSSchemaRegistryConstants.java)."""
_DENIED = frozenset(
    {
        "AccessDeniedException",
        "ExpiredTokenException",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "UnrecognizedClientException",
    }
)


def session_client(region: str | None, role_arn: str | None) -> Any:
    """Return boto3's client of Glue.

    Without ``region`` the region is that of the environment. With ``role_arn`` the client assumes
    that role.

    Raises:
        SettingsError: boto3 is not installed, or refuses the region or the role.
    """
    try:
        boto3, config = import_module("boto3"), import_module("botocore.config")
    except ImportError:
        raise SettingsError(["SCHEMA_REGISTRY_TYPE=glue needs boto3: install the connector with its extra aws"]) from None
    bounded = config.Config(
        connect_timeout=_TIMEOUT_SECONDS,
        read_timeout=_TIMEOUT_SECONDS,
        retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
        proxies={},  # not those of the environment (docs/settings.md#http)
    )
    try:
        session = boto3.Session(region_name=region)
        if role_arn is not None:
            session = _assumed(session, role_arn, bounded)
        return session.client("glue", config=bounded)
    except Exception as error:  # noqa: BLE001 - botocore's texts may hold anything of its files
        raise SettingsError(
            [f"SCHEMA_REGISTRY_REGION, SCHEMA_REGISTRY_ROLE_ARN: boto3 refuses them ({type(error).__name__})"]
        ) from None


def _assumed(session: Any, role_arn: str, bounded: Any) -> Any:
    """Return a session with the credentials of a role. botocore renews them before they expire."""
    credentials, core = import_module("botocore.credentials"), import_module("botocore.session")
    fetcher = credentials.AssumeRoleCredentialFetcher(
        client_creator=lambda service, **how: session.client(service, **how, config=bounded),
        source_credentials=session.get_credentials(),
        role_arn=role_arn,
    )
    inner = core.get_session()
    inner._credentials = credentials.DeferredRefreshableCredentials(  # noqa: SLF001 - botocore has no other way in
        refresh_using=fetcher.fetch_credentials, method="assume-role"
    )
    return import_module("boto3").Session(botocore_session=inner, region_name=session.region_name)


class Glue(VendorApi):
    """A `connector.avro.registry_connection.RegistryApi` over boto3's client of Glue."""

    probed: SchemaId = UUID(int=0)

    def newest(self, topic: str) -> Json:
        """Return the newest version of the schema that AWS's serialiser registers by default."""
        schema = {"RegistryName": _REGISTRY, "SchemaName": topic}
        return self._answer(lambda: self._version(SchemaId=schema, SchemaVersionNumber={"LatestVersion": True}))

    def _ask(self, path: str) -> Json:
        return self._version(SchemaVersionId=path)

    def _version(self, **which: Any) -> Json:
        answer: Mapping[str, Any] = self._client.get_schema_version(**which)
        return {"schema": answer["SchemaDefinition"], "schemaType": answer["DataFormat"]}

    def _refusal(self, error: Exception) -> SchemaRegistryError | None:
        response = getattr(error, "response", None)  # ClientError has one; other errors got no answer
        if not isinstance(response, Mapping):
            return None
        code = response.get("Error", {}).get("Code")
        if code == "EntityNotFoundException":
            return SchemaRegistryError(404, _UNKNOWN, "not found")
        status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 500)
        return SchemaRegistryError(403 if code in _DENIED else max(status, 500), -1, str(code))
