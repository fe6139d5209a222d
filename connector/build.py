"""Which build of the connector runs: its version, and the commit that it was made from."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path

__all__ = ["build", "version"]

_NAME = "amazon-conversions-connector"
_REVISION = Path(__file__).with_name("REVISION")
"""Written by the release before it builds wheel and image. A checkout has none."""


def version() -> str:
    """Return the version, which pyproject.toml states."""
    return metadata.version(_NAME)


def build(librdkafka: str) -> dict[str, str]:
    """Return what identifies this build, for ``connector --version``, the log and the metric.

    The version of librdkafka is given, because only the Kafka room may ask the client for it.
    """
    return {
        "version": version(),
        "revision": _REVISION.read_text("utf-8").strip() if _REVISION.exists() else "unknown",
        "python": platform.python_version(),
        "librdkafka": librdkafka,
    }
