"""A listener of the cluster with TLS, SASL and rights, beside those where everything is allowed.

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
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from tests.patience import patience

__all__ = [
    "LOGIN_AGAIN_SECONDS",
    "PASSWORD",
    "USER",
    "Right",
    "certificate",
    "grant",
    "make_keys",
    "revoke",
    "secured",
    "set_password",
]

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


_MODULES = "org.apache.kafka.common.security"
_PLAIN = f'{_MODULES}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
_TOKENS = f'{_MODULES}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="node";'
LOGIN_AGAIN_SECONDS = 5
"""How long a client with a token or by SCRAM may stay connected before it must log in again."""


def secured(properties: dict[str, str], address: str, directory: Path) -> dict[str, str]:
    """Return a node's properties with a secured listener at ``address``.

    It takes a user and a password (PLAIN, SCRAM), and tokens (OAUTHBEARER) that anybody may have signed.
    """
    listener = f",SECURED://{address}"
    return properties | {
        "listeners": properties["listeners"] + listener,
        "advertised.listeners": properties["advertised.listeners"] + listener,
        "listener.security.protocol.map": properties["listener.security.protocol.map"] + ",SECURED:SASL_SSL",
        "listener.name.secured.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512,OAUTHBEARER",
        "listener.name.secured.plain.sasl.jaas.config": _PLAIN,
        "listener.name.secured.scram-sha-512.sasl.jaas.config": f"{_MODULES}.scram.ScramLoginModule required;",
        "listener.name.secured.oauthbearer.sasl.jaas.config": _TOKENS,
        "listener.name.secured.oauthbearer.connections.max.reauth.ms": str(1_000 * LOGIN_AGAIN_SECONDS),
        "listener.name.secured.scram-sha-512.connections.max.reauth.ms": str(1_000 * LOGIN_AGAIN_SECONDS),
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
        done.result(patience(_SECONDS))


def set_password(servers: str, password: str) -> None:
    """Give `USER` a password of SCRAM, in the place of the one it had."""
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    how = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    for done in admin.alter_user_scram_credentials([UserScramCredentialUpsertion(USER, how, password.encode())]).values():
        done.result(patience(_SECONDS))


def revoke(servers: str, rights: Iterable[Right]) -> None:
    """Let `USER` do these things no longer."""
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    for done in admin.delete_acls([right.binding(AclBindingFilter) for right in rights]).values():
        assert done.result(patience(_SECONDS)), "there was no such right"
