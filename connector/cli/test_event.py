"""`connector check --send-test-event`: the one event that tries it for real, and what Amazon's answer means. Pure.

No contract has a test mode, so the event is like any other and counts as one conversion (in region EU it says that nobody
consented, and Amazon may leave it out); its name and its id say what it is. It can match nobody: its match key is the hash
of a random address at a domain that cannot exist (RFC 2606).
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
"""It must not change anybody's revenue, and without a value Amazon books that of the event's definition (LEG-GO; OAS)."""

_COUNTRIES: Final = {"NA": "US", "EU": "DE", "FE": "JP"}
_NOBODY: Final = {"ipAddress": None, "amznAdStorage": "DENIED", "amznUserData": "DENIED", "tcf": None, "gpp": None}
"""Nobody consented. In region EU an event has to say so, and Amazon takes it and leaves it out of what it counts; elsewhere
the question is not asked (docs/amazon-contract.md#consent)."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What is asked for on the command line."""

    name: str = EVENT_NAME
    event_type: str = EVENT_TYPE
    agreed: bool = False
    """That it counts was agreed to beforehand: there is nobody to ask."""

    def dedupe_id(self, now_ms: int) -> str:
        """Return the id that marks it as ours."""
        return f"connector-test-{datetime.fromtimestamp(now_ms / 1000, UTC):%Y%m%dT%H%M%SZ}"

    def inputs(self, region: str, now_ms: int, random: bytes) -> dict[str, object]:
        """Return the inputs of the event, as a record of the source topic would hold them.

        ``random``: enough bytes that no one has had them before.
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
    """An answer in plain words."""

    taken: bool
    messages: tuple[str, ...]


def meaning_of(answer: Answer) -> Meaning:
    """Say what Amazon's answer to the one event means, and what to do about it."""
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
    "Credentials and account were accepted, or it would have refused the whole request. The codes say what it did not like "
    "of the event (if it is the name, --event-name gives another); connector run would make a dead letter of it."
)
_LATER: Final = "That passes. Try again in a minute; connector run would send it again by itself."
_IN_DOUBT: Final = (
    "It may have taken the event or not. Check that AMAZON_BASE_URL is Amazon's and that no proxy answers in its place; "
    "connector run would send the event again, with the same id."
)


def _what_failed(failed: RequestFailed) -> str:
    if failed.detail:
        return f"{failed.detail}."
    return f"Amazon answered {failed.status}." if failed.status is not None else f"No answer from Amazon ({failed.reason})."


def _kind(failed: RequestFailed) -> int | str | None:
    """Return what there is advice for: a token that cannot be had, the status, the kind of status, or the lack of one."""
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
    "account": "account",  # likewise, as the next
    "certificate": None,
    "credentials": 403,  # refused per event, in a 207
    "token-unusable": "fixed token",
}

_ADVICE: Final[dict[int | str | None, str]] = {
    "fixed token": "Nothing was sent. AMAZON_ACCESS_TOKEN, or its file, must hold the token alone: no quotes, no blanks.",
    "token": (
        "It is Login with Amazon that gives no access token; nothing was sent to the conversions endpoint. invalid_client: "
        "AMAZON_CLIENT_ID or AMAZON_CLIENT_SECRET is wrong. invalid_grant: the refresh token is wrong, expired (a year "
        "after consent), revoked, or of another application: ask the user for consent again."
    ),
    400: (
        "A 400 for the whole request usually means a wrong AMAZON_ACCOUNT_ID or AMAZON_DATASET_NAME: the account id is the "
        "DSP advertiser id, in digits; where Amazon gave you an Entity ID, try that."
    ),
    401: (
        "The access token was not accepted, or no advertiser goes with it: AMAZON_CLIENT_ID must be of the application that "
        "the refresh token was granted to, and AMAZON_REGION the one of the advertiser."
    ),
    403: (
        "The token is good, and may not send for this account: in Events Manager the user who consented needs View and Edit "
        "(event_manager_edit), the terms there must be accepted, and the account must be a self-service DSP advertiser."
    ),
    "account": (
        "It is about the account and not about the event, so that no other would be taken, either: connector run would hold "
        "its events, and ask for an operator."
    ),
    404: "There is no such endpoint: check AMAZON_API, AMAZON_REGION and AMAZON_BASE_URL.",
    415: "The endpoint does not take this media type: check AMAZON_API and AMAZON_BASE_URL.",
    429: "Too many requests for this account at the moment, from whomever: credentials may well be right. Try again later.",
    "redirect": "A redirect is never followed, so that no token goes to another host: check AMAZON_BASE_URL.",
    "request": "The request was refused as a whole, so it is not about this event: check the settings and AMAZON_BASE_URL.",
    "server": "Amazon is not well at the moment: this says nothing of credentials or account. Try again later.",
    None: (
        "Nothing came back: check that this machine reaches AMAZON_BASE_URL (name resolution, firewall, certificates; "
        "proxies of the environment are not used). After a time-out or a broken connection the event may have been taken."
    ),
}
