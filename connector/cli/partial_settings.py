"""Settings for commands that need no account. What they do not use may be missing."""

from __future__ import annotations

from collections.abc import Mapping

from connector.assembly import read_settings
from connector.config import Settings

__all__ = ["without_account"]

_LOGIN = ("AMAZON_CLIENT_SECRET", "AMAZON_REFRESH_TOKEN", "AMAZON_ACCESS_TOKEN")
_ACCOUNT = {"AMAZON_ACCOUNT_ID": "none", "AMAZON_CLIENT_ID": "none", "AMAZON_ACCESS_TOKEN": "none"}
_BROKERS = {"KAFKA_BOOTSTRAP_SERVERS": "localhost", "KAFKA_TOPIC": "file"}
_SCHEMAS = ("SCHEMA_REGISTRY_URL", "AVRO_SCHEMA_FILE", "AVRO_SCHEMA_DIR")


def without_account(environ: Mapping[str, str], *, brokers: bool) -> Settings:
    """Read settings in which the account and its secrets may be missing.

    Without ``brokers``, the brokers, the topic and the schemas may be missing too.

    Raises:
        SettingsError: another setting is wrong or missing.
    """
    secrets = {name for one in _LOGIN for name in (one, f"{one}_FILE")}
    given = {name: value for name, value in environ.items() if name not in secrets and value.strip()}
    missing = _ACCOUNT if brokers else _ACCOUNT | _BROKERS
    glue = given.get("SCHEMA_REGISTRY_TYPE", "").strip().lower() == "glue"
    if not brokers and not glue and given.keys().isdisjoint(_SCHEMAS):
        missing = {**missing, "SCHEMA_REGISTRY_URL": "https://localhost"}
    return read_settings({**missing, **given})
