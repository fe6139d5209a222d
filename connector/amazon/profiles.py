"""The profiles that a token reaches (``GET /v2/profiles``), and what they tell of the account.

Only a hint. Profiles belong to the Sponsored Ads side of the Ads API, and how they relate to DSP
advertisers is not published (docs/amazon-contract.md#profiles).
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from connector.model import RequestFailed

__all__ = ["PATH", "account_note", "headers"]

PATH: Final = "/v2/profiles"
_SHOWN: Final = 5
_LONGEST_ID: Final = 64


def headers(client_id: str, access_token: str) -> dict[str, str]:
    """Return the headers of the request. This path has the client's older header (SEG-NEW)."""
    return {
        "Authorization": f"Bearer {access_token}",
        "Amazon-Advertising-API-ClientId": client_id,
        "Accept": "application/json",
    }


def account_note(account: str, answer: tuple[int, object, bytes] | RequestFailed) -> str:
    """Return in a sentence whether the account is among the profiles. Total: any answer has one."""
    if isinstance(answer, RequestFailed):
        return f"GET {PATH} got no answer ({answer.reason}), so nothing is known of the account"
    status, _, body = answer
    if status != 200:
        return f"GET {PATH} answered {status}, so nothing is known of the account"
    found = _ids(body)
    if found is None:
        return f"GET {PATH} answered with something else than a list of profiles, so nothing is known of the account"
    if account in {name for names in found for name in names}:
        return f"AMAZON_ACCOUNT_ID is among the profiles of this token ({len(found)} listed)"
    named = ", ".join([*(" or ".join(names) for names in found[:_SHOWN]), *(["…"] if len(found) > _SHOWN else [])])
    return (
        f"AMAZON_ACCOUNT_ID is not among the profiles of this token ({named or 'none listed'}). It need not be: a DSP "
        "advertiser may have no profile. If requests are refused with 401 or 403, look for the account under another user "
        "or region"
    )


def _ids(body: bytes) -> list[tuple[str, ...]] | None:
    """Return the ids of each profile and its account; None if the body is no list of profiles."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(answer, list) or not all(isinstance(profile, dict) for profile in answer):
        return None
    return [_names(profile) for profile in answer]


def _names(profile: dict[str, Any]) -> tuple[str, ...]:
    account = profile.get("accountInfo")
    given = (profile.get("profileId"), account.get("id") if isinstance(account, dict) else None)
    texts = [str(one) for one in given if isinstance(one, (int, str)) and not isinstance(one, bool)]
    return tuple(text for text in texts if text.isalnum() and text.isascii() and len(text) <= _LONGEST_ID)
