"""What an error of the network means for a request: its reason, and whether it passes by itself.

aiohttp's errors become a `RequestFailed` by their type (see `REASONS`). Their texts are not quoted,
because they may hold values of an event.

What counts as not HTTP. Two cases are `Failure.UNREADABLE`: an answer that does not parse as HTTP,
and one that begins and then breaks off. Several of them in a row need an operator, because
something other than Amazon may be answering. A certificate that is not valid needs an operator at
once: time alone fixes neither trust, nor a clock, nor a name. Every other failure of the network is
transient; a time-out among them also tells the pipeline to send fewer requests at once.

What must change together. A new row of `REASONS` needs its class in `_FAILURES` unless it is
transient, a place in the list of ``connector_requests_total`` in docs/operating.md, and a text in
`_DETAILS` if an operator can do something about it.
"""

from __future__ import annotations

import ssl
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from connector.amazon.proxy import Proxy
from connector.model import Failure, RequestFailed

__all__ = ["PROXY_UNUSABLE", "REASONS", "failure_of", "failure_of_proxy"]

PROXY_UNUSABLE: Final = RequestFailed(
    Failure.OPERATOR,
    "proxy-connect",
    detail="The file of AMAZON_PROXY does not hold http://host:port or http://user:password@host:port",
)
_PROXY_WANTS_LOGIN: Final = 407
_PASSING_OF_PROXIES: Final = frozenset({408, 425, 429})


def failure_of_proxy(error: Exception, proxy: Proxy, url: str) -> RequestFailed | None:
    """Return the failure of the proxy, by which nothing reached Amazon; None if it did not fail."""
    where = f"{proxy.host}:{proxy.port}"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        status = error.status
        transient = status >= 500 or status in _PASSING_OF_PROXIES
        if status == _PROXY_WANTS_LOGIN:
            advice = "check user and password in AMAZON_PROXY"
        else:
            advice = f"check whether it lets this host connect to {urlsplit(url).netloc}"
        detail = f"The proxy {where} answered {status}; {advice}"
        return RequestFailed(Failure.TRANSIENT if transient else Failure.OPERATOR, f"proxy-{status}", detail=detail)
    at_proxy = isinstance(error, aiohttp.ClientConnectorError) and (error.host, error.port) == (proxy.host, proxy.port)
    if at_proxy:
        detail = f"The proxy {where} cannot be reached; check AMAZON_PROXY, the name servers and the firewall"
        return RequestFailed(Failure.TRANSIENT, "proxy-connect", detail=detail)
    return None


REASONS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (TimeoutError, "timeout"),
    (aiohttp.ClientConnectorCertificateError, "certificate"),
    (aiohttp.ClientSSLError, "tls"),
    (aiohttp.ServerFingerprintMismatch, "tls"),
    (aiohttp.ClientConnectorDNSError, "dns"),
    (aiohttp.ClientConnectorError, "connect"),
    (aiohttp.ServerDisconnectedError, "disconnected"),
    (aiohttp.ClientPayloadError, "disconnected"),
    (aiohttp.ClientOSError, "disconnected"),
    (aiohttp.ClientResponseError, "not-http"),
)
"""The reason for each type of error. The first type that fits counts, so narrower types come
first."""

_FAILURES: Final = {
    "timeout": Failure.TIMEOUT,
    "certificate": Failure.OPERATOR,
    "not-http": Failure.UNREADABLE,
}
"""What each reason means for the request. Reasons that are not here are transient."""

_DETAILS: Final = {
    "certificate": "The certificate of {host} is not valid ({why}); check the clock, the trusted certificates "
    "(SSL_CERT_FILE), the URL, and any proxy in between",
    "connect": "Nothing accepts connections at {host}:{port}; check the URL, the firewall, and any proxy in between",
    "dns": "The name {host} cannot be resolved; check the URL and the name servers",
    "tls": "No TLS connection to {host}:{port} can be made; check the URL, and any proxy in between",
}


def failure_of(error: Exception, status: int, url: str) -> RequestFailed:
    """Return the failure of a request to a URL. ``status`` is 0 if no answer had begun."""
    reason = _reason(error)
    failure = _FAILURES.get(reason, Failure.TRANSIENT)
    detail = _detail(error, reason)
    began = isinstance(error, aiohttp.ServerDisconnectedError) and not isinstance(error.message, str)
    if reason == "disconnected" and (status or began):
        failure = Failure.UNREADABLE
    if failure is Failure.UNREADABLE:
        host = urlsplit(url).netloc
        if began:
            what = "began to answer and broke off before the end of the headers"
        else:
            what = f"began to answer {status} and broke off" if status else "sent an answer that is not HTTP"
        detail = f"{host} {what}; check the URL, and any proxy in between"
    return RequestFailed(failure, reason, status=status or None, detail=detail)


def _reason(error: Exception) -> str:
    return next((reason for kind, reason in REASONS if isinstance(error, kind)), "network")


def _detail(error: Exception, reason: str) -> str:
    """Return what an operator can check if no connection was made; empty for other errors."""
    if not isinstance(error, aiohttp.ClientConnectorError):
        return ""
    cause = error.os_error
    why = cause.verify_message.rstrip(".") if isinstance(cause, ssl.SSLCertVerificationError) else ""
    return _DETAILS.get(reason, "").format(host=error.host, port=error.port, why=why)
