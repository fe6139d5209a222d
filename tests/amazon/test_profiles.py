"""What the list of profiles tells about the account: one sentence, whatever the answer."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.amazon.profiles import account_note
from connector.model import Failure, RequestFailed

_LISTED = [
    {"profileId": 101, "accountInfo": {"id": "ENTITY1ABC", "name": "Shop"}},
    {"profileId": 102, "accountInfo": {"id": "585"}},
    {"profileId": 103},
]


def _note(account: str, listed: object = _LISTED, status: int = 200) -> str:
    return account_note(account, (status, {}, orjson.dumps(listed)))


@pytest.mark.parametrize("account", ["585", "ENTITY1ABC", "103"])
def test_an_account_that_is_listed_by_either_id_is_said_to_be(account: str) -> None:
    assert _note(account) == "AMAZON_ACCOUNT_ID is among the profiles of this token (3 listed)"


def test_an_account_that_is_not_listed_need_not_be_and_those_that_are_are_named_by_their_ids() -> None:
    said = _note("586")

    assert said.startswith("AMAZON_ACCOUNT_ID is not among the profiles of this token (101 or ENTITY1ABC, 102 or 585, 103).")
    assert "It need not be" in said
    assert "Shop" not in said


def test_few_of_many_are_named() -> None:
    assert "(0, 1, 2, 3, 4, …)" in _note("x", [{"profileId": number} for number in range(500)])


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (RequestFailed(Failure.TRANSIENT, "timeout"), "GET /v2/profiles got no answer (timeout)"),
        ((403, {}, b"secret"), "GET /v2/profiles answered 403"),
        ((200, {}, b"<html>"), "something else than a list"),
        ((200, {}, b'{"profileId": 1}'), "something else than a list"),
        ((200, {}, b"[1]"), "something else than a list"),
        ((200, {}, b"[]"), "not among the profiles of this token (none listed)"),
    ],
)
def test_any_other_answer_tells_nothing_of_the_account(answer: tuple[int, object, bytes] | RequestFailed, said: str) -> None:
    note = account_note("585", answer)

    assert said in note
    assert "secret" not in note


_json = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda one: st.lists(one, max_size=3))


@given(st.lists(st.dictionaries(st.sampled_from(["profileId", "accountInfo", "id"]), _json | st.just({"id": "a\n"}))))
def test_note_is_one_printable_line(listed: list[object]) -> None:
    try:
        body = orjson.dumps(listed)
    except TypeError:  # what JSON cannot hold
        return
    assert account_note("585", (200, {}, body)).isprintable()
