"""The tokens that Kafka's clients log in with (OAUTHBEARER): their sources, and the clients' cache.

The client asks for a token on a thread of its own, without being polled (confluent-kafka 2.16). It
asks again after 80 % of the life that it was told. An exception reaches ``error_cb`` without its
text, and the client asks again 10 s later. Before a client has had a token, the same exception
makes its constructor wait 10 s and fail. Therefore `Tokens.require` comes before every constructor,
and the message that says what is wrong is kept here.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC
from importlib import import_module
from pathlib import Path
from queue import Empty
from typing import Any, Final

import orjson

from connector.config import TokenSettings
from connector.config.secret import trimmed
from connector.errors import KafkaTokenLacking, SettingsError
from connector.kafka.host import HOST, Host

__all__ = ["AWS", "GOOGLE", "Token", "TokenRefused", "Tokens", "source_of"]

AWS: Final = "aws-msk-iam"
GOOGLE: Final = "gcp-adc"
_FILE: Final = "file:"

_LIMIT_SECONDS = 5.0
"""How long a source may take. The client waits 10 s for its first token."""
_AGAIN_SECONDS = 10.0
"""Pause after a failure, as long as the client's own, but for all clients together."""
_TOLD = 0.8
"""The share of a token's life that clients are told of, so that none begins to log in with a token
that ends."""
_LONGEST_SECONDS = 3_600.0
"""How long a token is used at most before the source is asked again. One that lives for months may
be revoked, and its file replaced, long before its end."""
_KEPT = 0.5
"""The share of its life after which the next client to ask gets a new token. Clients ask again at
0.64 of its life (80 % of what they are told), and a client that was made in between asks later."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token, which is never shown, and the second (since 1970) at which its life ends."""

    text: str
    expires_at: float

    def __repr__(self) -> str:
        return f"Token(expires_at={self.expires_at})"


class TokenRefused(Exception):
    """No token can be had. The text says why, in our own words, and never quotes a token."""


Source = Callable[[], Token]


@dataclass(frozen=True, slots=True)
class _Held:
    token: Token
    new_from: float
    """The second from which a new one is fetched."""
    told: float
    """The second at which clients are told that it ends."""


class Tokens:
    """The one token of all clients; an ``oauth_cb``. Safe to call from any thread.

    ``fetch`` may block, and raises `TokenRefused`. ``name`` is what operators know the source by.
    """

    def __init__(self, fetch: Source, name: str, wall_ms: Callable[[], int], host: Host = HOST) -> None:
        self._fetch = fetch
        self._name = name
        self._wall_ms = wall_ms
        self._host = host
        self._lock: AbstractContextManager[Any] = host.semaphore(1)
        self._held: _Held | None = None
        self._under_way: Any = None
        self._failure: str | None = None
        self._not_before = float("-inf")
        self._report: Callable[[list[str]], None] = lambda _: None

    def report_to(self, report: Callable[[list[str]], None]) -> None:
        """Tell ``report`` what an operator must do while clients cannot log in.

        The text is empty once they can.
        """
        self._report = report

    def __call__(self, _config: str) -> tuple[str, float]:
        """Return the token, and when it ends, to a client.

        Raises:
            KafkaTokenLacking: there is none.
        """
        held = self._current()
        return held.token.text, min(held.told, self._now() + _TOLD * _LONGEST_SECONDS)

    def require(self) -> None:
        """Return if there is a token, so that a client can be made.

        Raises:
            KafkaTokenLacking: there is none. The text says why.
        """
        self._current()

    def _current(self) -> _Held:
        with self._lock:
            held = self._held
            if (held is None or self._now() >= held.new_from) and self._host.monotonic() >= self._not_before:
                held = self._fetched() or held
            if held is not None and self._now() < held.told:
                self._report([])
                return held
            message = f"no token to log in to the brokers with: {self._failure}"
            self._report([message])
            raise KafkaTokenLacking(message)

    def _fetched(self) -> _Held | None:
        try:
            token = self._within_the_limit()
            now = self._now()
            if token.expires_at - now < 1:
                raise TokenRefused("the token it gave has expired")  # noqa: TRY301 - one place keeps the message
        except TokenRefused as refused:
            self._failure = f"{self._name}: {refused}"
            self._not_before = self._host.monotonic() + _AGAIN_SECONDS
            return None
        self._failure = None
        life = token.expires_at - now
        self._held = _Held(token, now + _KEPT * min(life, _LONGEST_SECONDS), now + _TOLD * life)
        return self._held

    def _within_the_limit(self) -> Token:
        if self._under_way is None:  # one that hangs goes on, and a later call gets what it finds
            self._under_way = done = self._host.queue()
            self._host.thread(lambda: done.put(_outcome(self._fetch)), "kafka-token").start()
        try:
            outcome = self._under_way.get(timeout=_LIMIT_SECONDS)
        except Empty:
            raise TokenRefused(f"there was no answer within {_LIMIT_SECONDS:.0f} s") from None
        self._under_way = None
        if isinstance(outcome, TokenRefused):
            raise outcome
        found: Token = outcome
        return found

    def _now(self) -> float:
        return self._wall_ms() / 1_000


def _outcome(fetch: Source) -> Token | TokenRefused:
    try:
        return fetch()
    except TokenRefused as refused:
        return refused
    except Exception as error:  # noqa: BLE001 - of the vendors' libraries, whose texts may hold anything
        return TokenRefused(f"it failed ({type(error).__name__})")


# ---- the sources


def source_of(settings: TokenSettings, wall_ms: Callable[[], int]) -> tuple[Source, str] | None:
    """Return what fetches tokens, and its name; None without ``KAFKA_TOKEN_SOURCE``.

    Raises:
        SettingsError: the extra that it needs is not installed.
    """
    if settings.source is None:
        return None
    name = f"KAFKA_TOKEN_SOURCE={settings.source}"
    if settings.source == AWS:
        signer = _imported(name, "aws", "aws_msk_iam_sasl_signer.MSKAuthTokenProvider")
        return lambda: _by_aws(signer, settings.region or "", settings.role_arn), name
    if settings.source == GOOGLE:
        auth = _imported(name, "gcp", "google.auth")
        requests = _imported(name, "gcp", "google.auth.transport.requests")
        return _Google(auth, requests, wall_ms).fetch, name
    path = Path(settings.source.removeprefix(_FILE))
    return lambda: _from_file(path), name


def _imported(name: str, extra: str, module: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        raise SettingsError(
            [f"{name} needs the extra {extra}: pip install 'amazon-conversions-connector[{extra}]'"]
        ) from None


def _by_aws(signer: Any, region: str, role_arn: str | None) -> Token:
    try:
        if role_arn is None:
            text, expires_ms = signer.generate_auth_token(region)
        else:
            text, expires_ms = signer.generate_auth_token_from_role_arn(region, role_arn, _SESSION)
    except Exception as error:
        response = getattr(error, "response", None)  # botocore's ClientError has one: an answer of STS
        if isinstance(response, dict):
            code = response.get("Error", {}).get("Code")
            raise TokenRefused(f"AWS answered {code}; check KAFKA_TOKEN_ROLE_ARN and who may assume it") from None
        if isinstance(error, AttributeError) or type(error).__name__ in _NO_CREDENTIALS:  # the signer got None
            raise TokenRefused(
                "boto3 finds no credentials in the environment, a profile, the container or the instance"
            ) from None
        raise
    return Token(text, expires_ms / 1_000)


_SESSION = "amazon-conversions-connector"
_NO_CREDENTIALS = frozenset({"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"})


class _Google:
    """Tokens of Google's default credentials, as its Managed Service for Apache Kafka takes them.

    Three parts, each as base64: a header that names the form, who it is and how long, and the
    access token (github.com/googleapis/managedkafka, kafka-auth-local-server).
    """

    def __init__(self, auth: Any, requests: Any, wall_ms: Callable[[], int]) -> None:
        self._auth, self._requests, self._wall_ms = auth, requests, wall_ms
        self._credentials: Any = None

    def fetch(self) -> Token:
        try:
            if self._credentials is None:
                self._credentials, _ = self._auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
            self._credentials.refresh(self._requests.Request())
        except Exception as error:  # noqa: BLE001 - of google-auth, whose texts may hold anything
            if type(error).__name__ == "DefaultCredentialsError":
                raise TokenRefused(
                    "google-auth finds no default credentials: bind the workload to a service account, or set "
                    "GOOGLE_APPLICATION_CREDENTIALS"
                ) from None
            raise TokenRefused(f"Google gave none ({type(error).__name__}); check the service account") from None
        found = self._credentials
        expires_at = found.expiry.replace(tzinfo=UTC).timestamp()  # google-auth's times are UTC and do not say so
        who = getattr(found, "service_account_email", None)
        claims = {"exp": expires_at, "iat": self._wall_ms() / 1_000, "iss": "Google", "scope": "kafka", "sub": who}
        parts = (b'{"typ":"JWT","alg":"GOOG_OAUTH2_TOKEN"}', orjson.dumps(claims), found.token.encode())
        return Token(".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts), expires_at)


def _from_file(path: Path) -> Token:
    try:
        text = trimmed(path.read_text("utf-8"))
    except OSError as error:
        raise TokenRefused(f"the file cannot be read: {error.strerror}") from None
    except ValueError:
        raise TokenRefused("the file is not UTF-8 text") from None
    found = _JWT.fullmatch(text)
    try:
        payload = found[1] if found else ""
        expires_at = float(orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"])
    except (KeyError, TypeError, ValueError, binascii.Error):
        expires_at = math.nan
    if not math.isfinite(expires_at):
        raise TokenRefused("the file holds no JWT with a time of expiry (exp)")
    return Token(text, expires_at)


_JWT = re.compile(r"[\w-]+\.([\w-]+)\.[\w-]*", re.ASCII)
