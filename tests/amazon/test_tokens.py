"""Login with Amazon, without a network or a clock."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.amazon.tokens import AccessToken, Credentials, FixedToken, postponed, read_token, refresh_form
from connector.model import Failure, RequestFailed

CREDENTIALS = Credentials("client", lambda: "s3cret", lambda: "Atzr|refresh", "https://api.amazon.com/auth/o2/token")


def token(**changes: object) -> AccessToken | RequestFailed:
    answer = {"access_token": "Atza|x", "token_type": "bearer", "expires_in": 3600, "refresh_token": "Atzr|y", **changes}
    return read_token(200, {}, orjson.dumps(answer), now=1000.0)


def failure(status: int, body: bytes = b"", **headers: str) -> RequestFailed:
    failed = read_token(status, headers, body, now=0.0)
    assert isinstance(failed, RequestFailed)
    return failed


def test_a_refresh_asks_with_the_four_fields() -> None:
    assert refresh_form(CREDENTIALS) == {
        "grant_type": "refresh_token",
        "refresh_token": "Atzr|refresh",
        "client_id": "client",
        "client_secret": "s3cret",
    }


def test_a_token_of_an_hour_is_refreshed_five_minutes_ahead() -> None:
    assert token() == AccessToken("Atza|x", refresh_at=1000 + 3300, expires_at=1000 + 3600)


@pytest.mark.parametrize(
    ("life", "refresh_after", "end_after"),
    [
        (60, 30, 60),
        (600, 300, 600),
        (None, 3300, 3600),
        ("3600", 3300, 3600),
        (-1, 3300, 3600),
        (True, 3300, 3600),
        (1e30, 86100, 86400),
    ],
)
def test_an_odd_life_is_read_so_that_a_token_is_refreshed_too_early_rather_than_too_late(
    life: object, refresh_after: float, end_after: float
) -> None:
    assert token(expires_in=life) == AccessToken("Atza|x", 1000 + refresh_after, 1000 + end_after)


@pytest.mark.parametrize("text", [None, 7, "", "two words", "line\r\nX-Injected: 1", "é", "x" * 9000])
def test_a_token_that_no_header_can_hold_is_no_token(text: object) -> None:
    failed = token(access_token=text)
    assert isinstance(failed, RequestFailed)
    assert (failed.failure, failed.reason) == (Failure.UNREADABLE, "token-unreadable")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"Atza|x"', b'{"access_token":'])
def test_an_answer_that_is_not_one_passes(body: bytes) -> None:
    assert failure(200, body).failure is Failure.UNREADABLE


def test_a_refused_refresh_needs_the_operator_and_names_oauths_code_only() -> None:
    failed = failure(
        400, b'{"error":"invalid_grant","error_description":"token Atzr|refresh of jo@example.com was revoked"}'
    )
    assert (failed.failure, failed.reason, failed.status) == (Failure.OPERATOR, "invalid_grant", 400)
    assert "AMAZON_REFRESH_TOKEN" in failed.detail
    assert "Atzr" not in failed.detail
    assert "jo@" not in failed.detail


@pytest.mark.parametrize("status", [302, 401, 403, 404])
def test_another_refusal_needs_the_operator_too(status: int) -> None:
    failed = failure(status, b'{"error":["invalid_grant"]}')
    assert (failed.failure, failed.reason) == (Failure.OPERATOR, f"token-http-{status}")


@pytest.mark.parametrize("status", [204, 408, 429, 500, 503])
def test_an_outage_of_login_with_amazon_passes(status: int) -> None:
    failed = failure(status, b'{"error":"server_error"}', **{"Retry-After": "7"})
    assert (failed.failure, failed.reason, failed.retry_after) == (Failure.TRANSIENT, f"token-http-{status}", 7.0)


def test_a_refresh_that_failed_is_tried_again_while_the_token_still_holds() -> None:
    old = AccessToken("Atza|x", 3300.0, 3600.0)
    assert postponed(old, now=3300.0) == AccessToken("Atza|x", 3310.0, 3600.0)


def test_no_repr_shows_a_secret() -> None:
    shown = repr((CREDENTIALS, FixedToken(lambda: "Atza|fixed"), AccessToken("Atza|x", 0.0, 1.0)))
    assert "s3cret" not in shown
    assert "Atz" not in shown


ANSWER = st.dictionaries(
    st.sampled_from(["access_token", "expires_in", "error"]),
    st.text(max_size=9) | st.floats() | st.none() | st.lists(st.text()),
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    status=st.sampled_from([200, 400, 500]) | st.integers(100, 599),
    body=st.binary() | ANSWER.map(json.dumps).map(str.encode),
)
def test_reading_is_total_and_only_200_gives_a_token(status: int, body: bytes) -> None:
    if isinstance(read_token(status, {}, body, now=0.0), AccessToken):
        assert status == 200
