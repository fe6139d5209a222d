"""A listener of the cluster with TLS, SASL/PLAIN and rights, beside those where everything is allowed.

A test comes by the open listener as nobody in particular, who is a super user, and grants and takes rights there
(`grant`, `revoke`); the program under test comes by the secured one, as `USER`, who may do what it was granted.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

__all__ = ["PASSWORD", "USER", "Right", "certificate", "grant", "make_keys", "revoke", "secured"]

USER = "connector"
PASSWORD = "a secret that must not show"
_STORE = "keys.p12"
_STORE_PASSWORD = "changeit"
_SECONDS = 30.0

B = TypeVar("B", AclBinding, AclBindingFilter)


@dataclass(frozen=True, slots=True)
class Right:
    """One thing that `USER` may do."""

    kind: str
    """``topic``, ``group`` or ``cluster``."""
    name: str
    operation: str
    """As Kafka's tools write it: ``Read``, ``DescribeConfigs``."""

    def binding(self, kind: type[B]) -> B:
        """Return it as the client wants it, to be made or to be found."""
        operation = "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in self.operation).lstrip("_")
        return kind(
            ResourceType.BROKER if self.kind == "cluster" else ResourceType[self.kind.upper()],
            self.name,
            ResourcePatternType.LITERAL,
            f"User:{USER}",
            "*",
            AclOperation[operation],
            AclPermissionType.ALLOW,
        )


def secured(properties: dict[str, str], address: str, directory: Path) -> dict[str, str]:
    """Return a node's properties with a secured listener at ``address``."""
    login = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
    listener = f",SECURED://{address}"
    return properties | {
        "listeners": properties["listeners"] + listener,
        "advertised.listeners": properties["advertised.listeners"] + listener,
        "listener.security.protocol.map": properties["listener.security.protocol.map"] + ",SECURED:SASL_SSL",
        "listener.name.secured.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.secured.plain.sasl.jaas.config": login,
        "listener.name.secured.ssl.keystore.location": str(directory / _STORE),
        "listener.name.secured.ssl.keystore.password": _STORE_PASSWORD,
        "listener.name.secured.ssl.keystore.type": "PKCS12",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }


def certificate(directory: Path) -> Path:
    """Return the place of the certificate that clients trust."""
    return directory / "certificate.pem"


def make_keys(keytool: str, directory: Path) -> None:
    """Make a key for 127.0.0.1 and the certificate by which it signs itself."""
    store = ["-keystore", str(directory / _STORE), "-storetype", "PKCS12", "-storepass", _STORE_PASSWORD, "-alias", "node"]
    made = ["-genkeypair", "-keyalg", "EC", "-dname", "CN=127.0.0.1", "-ext", "san=ip:127.0.0.1", "-ext", "bc=ca:true"]
    for command in (made, ["-exportcert", "-rfc", "-file", str(certificate(directory))]):
        subprocess.run([keytool, *command, *store], capture_output=True, check=True)


def grant(servers: str, rights: Iterable[Right]) -> None:
    """Let `USER` do these things; ``servers`` are those of the open listener."""
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    for done in admin.create_acls([right.binding(AclBinding) for right in rights]).values():
        done.result(_SECONDS)


def revoke(servers: str, rights: Iterable[Right]) -> None:
    """Let `USER` do these things no longer."""
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    for done in admin.delete_acls([right.binding(AclBindingFilter) for right in rights]).values():
        assert done.result(_SECONDS), "there was no such right"
