"""The URL of the proxy on the way to Amazon: what is accepted, and its parts."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit

__all__ = ["Proxy", "proxy_problem", "proxy_shown"]

_FORM = "must be http://host:port or http://user:password@host:port, with special characters percent-encoded"
_HOST = re.compile(r"[^\s\\^<>\"{}|`]+")


class Proxy(NamedTuple):
    """A proxy, and who we are there."""

    host: str
    port: int
    login: bytes = b""
    """User and password, with a colon in between; empty if the proxy asks for none."""

    @property
    def url(self) -> str:
        """The URL without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def headers(self) -> dict[str, str]:
        """The headers that tell the proxy who we are."""
        return {"Proxy-Authorization": f"Basic {b64encode(self.login).decode()}"} if self.login else {}

    @classmethod
    def read(cls, text: str) -> Proxy | None:
        """Return the proxy at a URL; None if `proxy_problem` has something to say of it."""
        if proxy_problem(text):
            return None
        parts = urlsplit(text)
        user, password = (unquote_to_bytes(part or "") for part in (parts.username, parts.password))
        return cls(parts.hostname or "", parts.port or 0, user + b":" + password if user or password else b"")


def proxy_problem(text: str) -> str | None:
    """Return why a text is not the URL of a proxy; None if it is one. Never quotes it."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return _FORM
    if parts.scheme in {"https", "socks4", "socks5", "socks5h"}:
        return f"begins with {parts.scheme}://, which is not supported: {_FORM}; TLS to Amazon passes through it unopened"
    if b":" in unquote_to_bytes(parts.username or ""):
        return f"has a colon in its user, which no proxy can be told: {_FORM}"
    more = parts.path.strip("/") or parts.query or parts.fragment
    return _FORM if parts.scheme != "http" or not _HOST.fullmatch(parts.hostname or "") or not port or more else None


def proxy_shown(text: str) -> str:
    """Return what may be shown of the URL: host and port."""
    proxy = Proxy.read(text)
    return "***" if proxy is None else proxy.url
