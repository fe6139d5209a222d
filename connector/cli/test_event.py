"""The event of `connector check --send-test-event`, and the meaning of Amazon's answer. Pure.

No contract has a test mode, so the event is like any other and counts as one conversion. In region
EU it denies consent, and Amazon may leave it out. Its name and its id mark it as a test. It can
match nobody: its match key is the hash of a random address at a domain that cannot exist (RFC
2606).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from connector.model import Answer, Failure, RequestFailed, VerdictKind

__all__ = ["EVENT_NAME", "EVENT_TYPE", "Meaning", "Trial", "meaning_of"]

EVENT_NAME: Final = "connector_test"
EVENT_TYPE: Final = "PAGE_VIEW"
_VALUE: Final = 0
"""Zero, so that nobody's revenue changes: without a value Amazon books that of the event's
definition (LEG-GO; OAS)."""

_COUNTRIES: Final = {"NA": "US", "EU": "DE", "FE": "JP"}
_NOBODY: Final = {"ipAddress": None, "amznAdStorage": "DENIED", "amznUserData": "DENIED", "tcf": None, "gpp": None}
"""Consent, denied. In region EU an event has to state consent; Amazon accepts one that denies it,
and leaves it out of its counts. Elsewhere nothing has to be stated
(docs/amazon-contract.md#consent)."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What the command line asks for."""

    name: str = EVENT_NAME
    event_type: str = EVENT_TYPE
    agreed: bool = False
    """Whether the user agreed beforehand (``--yes``) that the event counts."""

    def dedupe_id(self, now_ms: int) -> str:
        """Return the id, which marks the event as ours."""
        return f"connector-test-{datetime.fromtimestamp(now_ms / 1000, UTC):%Y%m%dT%H%M%SZ}"

    def inputs(self, region: str, now_ms: int, random: bytes) -> dict[str, object]:
        """Return the inputs of the event, as a record of the source topic would hold them.

        ``random`` has enough bytes to be unique.
        """
        nobody = sha256(f"{random.hex()}@connector-test.invalid".encode()).hexdigest()
        return {
            "name": self.name,
            "eventType": self.event_type,
            "eventActionSource": "WEBSITE",
            "clientDedupeId": self.dedupe_id(now_ms),
            "timestamp": now_ms,
            "matchKeys": [{"type": "EMAIL", "value": nobody}],
            "value": _VALUE,
            "countryCode": _COUNTRIES[region],
            "consent": _NOBODY if region == "EU" else None,
        }


@dataclass(frozen=True, slots=True)
class Meaning:
    """An answer, explained."""

    taken: bool
    messages: tuple[str, ...]


def meaning_of(answer: Answer) -> Meaning:
    """Explain Amazon's answer to the test event, and what to do about it."""
    if isinstance(answer, RequestFailed):
        return Meaning(False, (_what_failed(answer), _ADVICE[_kind(answer)]))
    (verdict,) = answer.verdicts
    said = f"Amazon answered {answer.status}"
    odd = (f"Its answer is odd ({', '.join(answer.anomalies)}): please report it.",) if answer.anomalies else ()
    match verdict.kind:
        case VerdictKind.DELIVERED:
            return Meaning(True, (f"{said} and took the event: credentials, account and contract are right.", *odd, _SHOWS))
        case VerdictKind.REJECTED:
            refused = f"{said} and refused this event: {verdict.detail}."
            return Meaning(False, (refused, *odd, _REFUSED))
        case VerdictKind.RETRY:
            return Meaning(False, (f"{said} and could not take the event just now: {verdict.detail}.", *odd, _LATER))
        case VerdictKind.NONE:
            return Meaning(False, (f"{said}, and nothing in the answer is about this event.", *odd, _IN_DOUBT))


_SHOWS: Final = "Events Manager shows it within two hours, in the total before filtering."
_REFUSED: Final = (
    "Credentials and account were accepted; otherwise the whole request would have been refused. The codes say what is "
    "wrong with the event (if it is the name, --event-name sets another). connector run would make a dead letter of it."
)
_LATER: Final = "This is temporary. Try again in a minute; connector run would send the event again by itself."
_IN_DOUBT: Final = (
    "Amazon may have taken the event or not. Check that AMAZON_BASE_URL is Amazon's and that no proxy answers in its place. "
    "connector run would send the event again, with the same id."
)


def _what_failed(failed: RequestFailed) -> str:
    if failed.detail:
        return f"{failed.detail}."
    return f"Amazon answered {failed.status}." if failed.status is not None else f"No answer from Amazon ({failed.reason})."


def _kind(failed: RequestFailed) -> int | str | None:
    """Return the key of the advice: a word, the status, or None without a status."""
    if failed.reason in _BY_REASON:
        return _BY_REASON[failed.reason]
    if failed.reason.startswith("token-") or (failed.failure is Failure.OPERATOR and not failed.reason.startswith("http-")):
        return "token"
    if failed.failure is Failure.UNREADABLE:
        return None
    if failed.status is None or failed.status in _ADVICE:
        return failed.status
    return "redirect" if failed.status < 400 else "server" if failed.failure is Failure.TRANSIENT else "request"


_BY_REASON: Final[dict[str, int | str | None]] = {
    "account": "account",  # refused per event, in a 207
    "certificate": None,
    "credentials": 403,  # refused per event, in a 207
    "token-unusable": "fixed token",
}

_ADVICE: Final[dict[int | str | None, str]] = {
    "fixed token": "Nothing was sent. AMAZON_ACCESS_TOKEN, or its file, must hold the token alone: no quotes, no blanks.",
    "token": (
        "Login with Amazon gave no access token; nothing was sent to the conversions endpoint. invalid_client: "
        "AMAZON_CLIENT_ID or AMAZON_CLIENT_SECRET is wrong. invalid_grant: the refresh token is wrong, expired (a year "
        "after consent), revoked, or of another application: ask the user for consent again."
    ),
    400: (
        "A 400 for the whole request usually means a wrong AMAZON_ACCOUNT_ID or AMAZON_DATASET_NAME: the account id is the "
        "DSP advertiser id, in digits; where Amazon gave you an Entity ID, try that."
    ),
    401: (
        "The access token was not accepted, or no advertiser belongs to it: AMAZON_CLIENT_ID must be that of the "
        "application that the refresh token was granted to, and AMAZON_REGION that of the advertiser."
    ),
    403: (
        "The token is valid, but may not send for this account: in Events Manager the user who consented needs View "
        "and Edit (event_manager_edit), the terms there must be accepted, and the account must be a self-service DSP "
        "advertiser."
    ),
    "account": (
        "The cause is the account and not the event, so other events would be refused too: connector run would hold its "
        "events, and report that an operator is needed."
    ),
    404: "There is no such endpoint: check AMAZON_API, AMAZON_REGION and AMAZON_BASE_URL.",
    415: "The endpoint does not take this media type: check AMAZON_API and AMAZON_BASE_URL.",
    429: "Too many requests for this account now, whoever sent them. Credentials may well be right. Try again later.",
    "redirect": "The connector never follows a redirect, so that no token goes to another host: check AMAZON_BASE_URL.",
    "request": "The request was refused as a whole, so the event is not the cause: check the settings and AMAZON_BASE_URL.",
    "server": "Amazon has a fault at the moment, which says nothing about credentials or account. Try again later.",
    None: (
        "Nothing came back: check that this machine reaches AMAZON_BASE_URL (name resolution, firewall, certificates; "
        "proxies of the environment are not used). After a time-out or a broken connection the event may have been taken."
    ),
}
