"""Reading answers: each event gets one verdict, and none that is doubtful counts as delivered."""

from __future__ import annotations

import json
from unittest.mock import patch

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connector.amazon import answers
from connector.amazon.answers import MOST_RETRY_AFTER, failed_request, read_answer, retry_after_seconds
from connector.model import DELIVERED, NO_VERDICT, Failure, RequestFailed, Verdict, VerdictKind, Verdicts

JSON = {"Content-Type": "application/json"}


def read(answer: object, count: int, *, first_index: int = 0, status: int = 207) -> Verdicts:
    body = answer if isinstance(answer, bytes) else orjson.dumps(answer)
    verdicts = read_answer(status, JSON, body, count, first_index=first_index)
    assert isinstance(verdicts, Verdicts)
    return verdicts


def kinds(verdicts: Verdicts) -> str:
    """Return one letter a verdict: delivered, rejected, retry (t), none."""
    letters = {VerdictKind.DELIVERED: "d", VerdictKind.REJECTED: "r", VerdictKind.RETRY: "t", VerdictKind.NONE: "n"}
    return "".join(letters[verdict.kind] for verdict in verdicts.verdicts)


def bad(index: object, code: str = "BAD_REQUEST") -> dict[str, object]:
    return {
        "index": index,
        "errors": [{"code": code, "message": "jo@example.com is bad", "fieldLocation": "events[1].eventTime"}],
    }


def test_ads_v1_numbers_events_from_zero() -> None:
    verdicts = read({"success": [{"index": 0, "event": {}}], "error": [bad(1)]}, 2)
    assert verdicts.verdicts == [DELIVERED, Verdict(VerdictKind.REJECTED, "BAD_REQUEST events[1].eventTime")]
    assert verdicts.anomalies == ()


def test_events_v1_numbers_events_from_one() -> None:
    error = {
        "index": 2,
        "httpStatusCode": "400",
        "itemRequestId": "req-0002",
        "subErrors": [{"errorCode": 400, "errorType": "INVALID_ARGUMENT", "errorMessage": "jo@example.com"}],
    }
    verdicts = read({"success": [{"index": 1, "message": None}], "error": [error]}, 2, first_index=1)
    assert verdicts.verdicts == [DELIVERED, Verdict(VerdictKind.REJECTED, "400 INVALID_ARGUMENT")]
    assert verdicts.anomalies == ()


def test_the_ancestors_error_shape_is_read_too() -> None:
    error = {"index": 1, "code": "400", "errors": [{"errorType": "InvalidField", "fieldName": "timestamp", "message": "x"}]}
    assert read({"error": [error]}, 1, first_index=1).verdicts == [
        Verdict(VerdictKind.REJECTED, "400 InvalidField timestamp")
    ]


@pytest.mark.parametrize("codes", [("UNAUTHORIZED", "FORBIDDEN"), ("401", "401")])
def test_credentials_refused_for_every_event_are_the_operators(codes: tuple[str, str]) -> None:
    errors = [{"index": index, "errors": [{"code": code}]} for index, code in enumerate(codes)]
    failed = read_answer(207, JSON, orjson.dumps({"error": errors}), 2, first_index=0)
    assert isinstance(failed, RequestFailed)
    assert (failed.failure, failed.reason, failed.status) == (Failure.OPERATOR, "credentials", 207)
    assert "event_manager_edit" in failed.detail


ACCOUNT_CODES = [
    "ACCOUNT_NOT_ELIGIBLE",
    "ACCESS_DENIED_FOR_MANAGER_ACCOUNT",
    "PAYMENT_ISSUE",
    "FEATURE_NOT_AVAILABLE",
    "FEATURE_DISCONTINUED",
    "UNSUPPORTED_MARKETPLACE",
    "ACTION_NOT_SUPPORTED",
    "NOT_FOUND",
    "RESOURCE_ID_NOT_FOUND",
    "TOTAL_RESOURCE_LIMIT_EXCEEDED",
    "ACTIVE_RESOURCE_LIMIT_EXCEEDED",
    "ARCHIVED_PARENT_CANNOT_CREATE",
]
OWN_CODES = ["FORBIDDEN", "UNAUTHORIZED", "401", "403", "402", "PaymentIssue", "AccountNotEligible", "AccessDeniedException"]


def items_of(code: str, index: int) -> list[dict[str, object]]:
    """Return one error item in each shape there is: of ads-v1, of events-v1 and of the ancestor."""
    return [
        {"index": index, "errors": [{"code": code, "message": "no", "fieldLocation": f"events[{index}]"}]},
        {
            "index": index,
            "httpStatusCode": "400",
            "subErrors": [{"errorCode": 400, "errorType": code, "errorMessage": "no"}],
        },
        {"index": index, "httpStatusCode": "403", "subErrors": [{"errorCode": 403, "errorType": code}]},
        {"index": index, "code": "400", "errors": [{"errorType": code, "message": "no"}]},
    ]


@pytest.mark.parametrize("first_index", [0, 1])
@pytest.mark.parametrize("code", [*ACCOUNT_CODES, *OWN_CODES])
def test_what_is_about_the_account_is_the_operators_whether_said_of_every_event_or_of_some(
    code: str, first_index: int
) -> None:
    for shape in range(4):
        items = [items_of(code, first_index + at)[shape] for at in range(2)]
        every = read_answer(207, JSON, orjson.dumps({"error": items}), 2, first_index=first_index)
        assert isinstance(every, RequestFailed)
        assert (every.failure, every.status) == (Failure.OPERATOR, 207)
        some = read({"success": [{"index": first_index}], "error": items[1:]}, 2, first_index=first_index)
        assert kinds(some) == "dt"
        assert "is about the account; " in some.verdicts[1].account
        assert code.isdigit() or some.verdicts[1].account.startswith(code)
        assert some.verdicts[1].account == every.account


@pytest.mark.parametrize(
    "item",
    [
        {"httpStatusCode": "404", "subErrors": [{"errorType": "NOT_FOUND"}]},
        {"httpStatusCode": "410", "subErrors": [{"errorType": "FEATURE_DISCONTINUED"}]},
        {"errors": [{"code": "BAD_REQUEST"}, {"code": "PAYMENT_ISSUE"}]},
    ],
)
def test_a_code_about_the_account_explains_what_says_no_more_than_refused(item: dict[str, object]) -> None:
    assert kinds(read({"success": [{"index": 0}], "error": [{"index": 1, **item}]}, 2)) == "dt"


@pytest.mark.parametrize(
    ("spelt", "named"),
    [
        (" ACCOUNT_NOT_ELIGIBLE ", "ACCOUNT_NOT_ELIGIBLE"),
        ("ACCOUNT-NOT-ELIGIBLE", "ACCOUNT_NOT_ELIGIBLE"),
        ("Account not eligible", "Account_not_eligible"),
        ("AccountNotEligibleError", "AccountNotEligibleError"),
        ("com.amazon.ads#PaymentIssueException", "PaymentIssueException"),
        ("com.amazon.ads.ACCESS_DENIED_FOR_MANAGER_ACCOUNT", "ACCESS_DENIED_FOR_MANAGER_ACCOUNT"),
        ("FeatureNotAvailableException:http://internal.amazon.com/", "FeatureNotAvailableException"),
    ],
)
def test_a_code_about_the_account_is_read_in_any_spelling_and_place(spelt: str, named: str) -> None:
    for item in (
        {"errors": [{"code": spelt}]},
        {"errors": {"code": spelt}},
        {"errors": [spelt]},
        {"error": {"code": spelt}},
        {"httpStatusCode": "400", "subErrors": [{"errorCode": 400, "errorType": spelt}]},
    ):
        verdicts = read({"success": [{"index": 0}], "error": [{"index": 1, **item}]}, 2)
        assert kinds(verdicts) == "dt"
        assert verdicts.verdicts[1].account.startswith(f"{named} is about the account; ")


@pytest.mark.parametrize("code", ["PAYMENT_ISSUE", "FORBIDDEN", "NOT_FOUND"])
def test_beside_a_permanent_error_of_the_event_itself_the_account_does_not_matter(code: str) -> None:
    own = "FIELD_VALUE_IS_INVALID"
    both = [
        {"index": 0, "errors": [{"code": code}, {"code": own}]},
        {"index": 0, "httpStatusCode": "400", "subErrors": [{"errorType": code}, {"errorType": own}]},
    ]
    for item in both:
        assert kinds(read({"error": [item]}, 1)) == "r"
    passing = read({"success": [{"index": 0}], "error": [{"index": 1, "errors": [{"code": code}, {"code": "CONFLICT"}]}]}, 2)
    assert kinds(passing) == "dt"
    assert passing.verdicts[1].account


@pytest.mark.parametrize(
    "code", ["BAD_REQUEST", "INVALID_INPUT", "FIELD_VALUE_NOT_FOUND", "PRODUCT_INELIGIBLE", "CONTENT_TOO_LARGE"]
)
def test_what_is_about_the_event_is_still_its_own(code: str) -> None:
    for item in items_of(code, 0)[::2]:
        verdicts = read({"error": [item]}, 1) if item.get("httpStatusCode") != "403" else None
        assert verdicts is None or kinds(verdicts) == "r"


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("code", ACCOUNT_CODES)
def test_a_whole_request_refused_for_the_account_is_not_searched_for_the_event_at_fault(status: int, code: str) -> None:
    failed = failed_request(status, JSON, orjson.dumps({"code": code, "message": "no"}))
    assert (failed.failure, failed.reason) == (Failure.OPERATOR, f"http-{status}")
    assert failed.detail.startswith(f"Amazon answered {status} {code}; ")


@pytest.mark.parametrize(
    "code",
    [
        *("INTERNAL_ERROR", "CONFLICT", "TOO_MANY_REQUESTS", "503", "429", "internal_error", "InternalServerException"),
        *("ThrottlingException", "com.amazon.coral#InternalFailure", "SERVICE_UNAVAILABLE", "Gateway Timeout"),
    ],
)
def test_an_error_that_passes_is_to_be_tried_again(code: str) -> None:
    assert kinds(read({"error": [bad(0, code)]}, 1)) == "t"


@pytest.mark.parametrize("status", ["429", "500", 503])
def test_the_items_own_status_decides_in_events_v1(status: object) -> None:
    assert (
        kinds(read({"error": [{"index": 1, "httpStatusCode": status, "subErrors": [{"errorType": "X"}]}]}, 1, first_index=1))
        == "t"
    )


def test_one_permanent_error_among_passing_ones_rejects() -> None:
    errors = [{"code": "INTERNAL_ERROR"}, {"code": "FIELD_VALUE_IS_INVALID"}]
    assert kinds(read({"error": [{"index": 0, "errors": errors}]}, 1)) == "r"


@pytest.mark.parametrize(
    "leak",
    [
        "jo@example.com",
        "+49 30 1234567",
        "86e0b9e56c17cc4d12387e1949b85053fbe73bc3ce5a1188713a9d300cc6133d",
        "x" * 500,
        "10.0.0.1",
        "Jo Doe",
        "jo.doe#Doe",
        "Doe: CONFLICT",
    ],
)
def test_a_detail_quotes_codes_and_places_by_shape_and_never_a_value(leak: str) -> None:
    error = {"index": 0, "message": leak, "errors": [{"code": leak, "message": leak, "fieldLocation": leak}]}
    assert read({"error": [error]}, 1).verdicts == [Verdict(VerdictKind.REJECTED, "no code that could be read")]


def test_a_detail_is_bounded() -> None:
    errors = [
        {"code": "A" * 50 + letter, "fieldLocation": f"events[{n}].matchKeys[{n}]"}
        for n, letter in enumerate("ABCDEFGHIJKLMNOPQRST")
    ]
    assert len(read({"error": [{"index": 0, "errors": errors}]}, 1).verdicts[0].detail) < 1000


@pytest.mark.parametrize(
    ("answer", "verdicts", "anomalies"),
    [
        ({"success": [{"index": 0}]}, "dnn", {"index-missing"}),
        ({"success": [{"index": 0}, {"index": 0}, {"index": 1}, {"index": 2}]}, "ddd", {"index-doubled"}),
        ({"success": [{"index": 0}, {"index": 1}, {"index": 2}], "error": [bad(1)]}, "drd", {"success-and-error"}),
        ({"success": [{"index": 0}], "error": [bad(1), bad(1), bad(2)]}, "drr", {"index-doubled"}),
        ({"error": [bad(0, "CONFLICT"), bad(0), bad(1), bad(1, "CONFLICT"), bad(2)]}, "rrr", {"index-doubled"}),
        ({"success": [{"index": 0}, {"index": 1}, {"index": 2}, {"index": 99}]}, "ddd", {"index-out-of-range"}),
        ({"success": [{"index": 0}, {"index": 1}, {"index": -1}]}, "ddn", {"index-out-of-range", "index-missing"}),
        ({"success": [{"index": "0"}, {"index": 1.0}, {"index": 2}]}, "ddd", {"index-not-integer"}),
        ({"success": [{"index": "first"}, {"index": 1}, {"index": 2}]}, "ndd", {"index-not-integer", "index-missing"}),
        ({"success": [{"index": True}, {"index": 0}, {"index": 2}]}, "dnd", {"index-not-integer", "index-missing"}),
        ({"success": [{"index": 1.5}, {"index": 0}, {"index": 2}]}, "dnd", {"index-not-integer", "index-missing"}),
        ({"success": [{}, None, 7, {"index": 0}]}, "dnn", {"item-unreadable", "index-missing"}),
        ({"success": {"index": 0}, "error": []}, "nnn", {"item-unreadable", "index-missing"}),
        ({"success": []}, "nnn", {"index-missing"}),
        ({"success": None, "error": None}, "nnn", {"index-missing"}),
        ({"code": "UNAUTHORIZED"}, "nnn", {"body-unreadable"}),
        ([], "nnn", {"body-unreadable"}),
        (b"", "nnn", {"body-empty"}),
        (b"<html>ok</html>", "nnn", {"body-unreadable"}),
        (b'{"success":[{"index":0},{"ind', "nnn", {"body-unreadable"}),
        (b'{"success":[{"index":0,"event":"\xff"}]}', "nnn", {"body-unreadable"}),
        (b"[" * 100_000, "nnn", {"body-unreadable"}),
        (b'\xef\xbb\xbf{"success":[{"index":0},{"index":1},{"index":2}]}', "ddd", {"byte-order-mark"}),
        (b'{"success":[{"index":0,"event":"cut \\ud83d"},{"index":1},{"index":2}]}', "ddd", set()),
        (b'{"success":[{"index":0},{"index":2}],"error":[{"index":1,"errors":[{"message":"\\udc00"}]}]}', "drd", set()),
        ('{"success":[{"index":0},{"index":1},{"index":2}]}'.encode("utf-16"), "ddd", set()),
        (b'{"success":[{"index":0},{"index":1},{"index":NaN}]}', "nnn", {"body-unreadable"}),
    ],
)
def test_each_event_has_one_verdict_and_each_oddity_a_label(answer: object, verdicts: str, anomalies: set[str]) -> None:
    read_as = read(answer, 3)
    assert kinds(read_as) == verdicts
    assert set(read_as.anomalies) == anomalies


def test_numbers_complete_by_the_other_contracts_counting_are_read_by_it() -> None:
    """TRACK reads events/v1 from 0 (docs/amazon-contract.md#response-index); n numbers from 0 mean one thing only."""
    shifted = read({"success": [{"index": 0}, {"index": 2}], "error": [bad(1)]}, 3, first_index=1)
    assert (kinds(shifted), shifted.anomalies) == ("drd", ("index-counting",))
    shifted = read({"success": [{"index": 3}, {"index": 1}], "error": [bad(2)]}, 3, first_index=0)
    assert (kinds(shifted), shifted.anomalies) == ("drd", ("index-counting",))


@pytest.mark.parametrize(
    ("answer", "first_index", "verdicts"),
    [
        ({"success": [{"index": 0}, {"index": 1}]}, 1, "dnn"),
        ({"success": [{"index": 3}, {"index": 1}]}, 0, "nnn"),
        ({"success": [{"index": 0}, {"index": 1}, {"index": 2}, {"index": 3}]}, 0, "ddd"),
        ({"success": [{"index": 0}, {"index": 1}, {"index": 2}, {"index": 3}]}, 1, "ddd"),
        ({"success": [{"index": 0}, {"index": 1}], "error": [bad(2), bad(3)]}, 0, "dnr"),
        ({"success": [{"index": 3}], "error": [bad(0), bad(1, "CONFLICT"), bad(2)]}, 0, "nnn"),
    ],
)
def test_of_numbers_that_may_be_counted_either_way_what_both_countings_say_is_believed(
    answer: object, first_index: int, verdicts: str
) -> None:
    """From 1, "0" and "1" are nobody and the first; from 0, the first two. Believing either could lose the second."""
    doubtful = read(answer, 3, first_index=first_index)
    assert (kinds(doubtful), doubtful.anomalies) == (verdicts, ("index-counting",))


@pytest.mark.parametrize("status", [200, 201])
def test_another_2xx_with_a_body_is_read_like_207(status: int) -> None:
    verdicts = read({"success": [{"index": 0}]}, 1, status=status)
    assert (kinds(verdicts), verdicts.status, verdicts.anomalies) == ("d", status, ("status",))


@pytest.mark.parametrize("status", [200, 202, 204])
def test_a_2xx_without_a_body_leaves_every_event_without_verdict(status: int) -> None:
    verdicts = read(b"", 2, status=status)
    assert verdicts.verdicts == [NO_VERDICT, NO_VERDICT]
    assert set(verdicts.anomalies) == {"status", "body-empty"}


def test_a_wrong_content_type_is_an_oddity_and_no_reason_to_doubt_what_parses() -> None:
    answer = read_answer(207, {"content-type": "text/html"}, b'{"success":[{"index":0}]}', 1, first_index=0)
    assert answer == Verdicts([DELIVERED], 207, ("content-type",))


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (302, Failure.OPERATOR),
        (307, Failure.OPERATOR),
        (400, Failure.REFUSED),
        (401, Failure.OPERATOR),
        (403, Failure.OPERATOR),
        (404, Failure.OPERATOR),
        (407, Failure.OPERATOR),
        (408, Failure.TRANSIENT),
        (409, Failure.TRANSIENT),
        (413, Failure.TOO_LARGE),
        (415, Failure.OPERATOR),
        (422, Failure.REFUSED),
        (425, Failure.TRANSIENT),
        (429, Failure.THROTTLED),
        (500, Failure.TRANSIENT),
        (502, Failure.TRANSIENT),
        (503, Failure.TRANSIENT),
        (504, Failure.TRANSIENT),
        (599, Failure.TRANSIENT),
    ],
)
def test_a_request_fails_as_a_whole_by_its_status(status: int, failure: Failure) -> None:
    for body in (b"", b"<html>", b'{"code":"SOME_CODE","message":"jo@example.com"}', b'{"success":[{"index":0}]}'):
        failed = read_answer(status, JSON, body, 1, first_index=0)
        assert isinstance(failed, RequestFailed)
        assert (failed.failure, failed.reason, failed.status) == (failure, f"http-{status}", status)
        assert "jo@" not in failed.detail


def test_an_operator_reads_amazons_code_and_what_to_check() -> None:
    failed = read_answer(403, JSON, b'{"code":"FORBIDDEN","message":"no"}', 1, first_index=0)
    assert isinstance(failed, RequestFailed)
    assert failed.detail.startswith("Amazon answered 403 FORBIDDEN; the account needs the permission event_manager_edit")


DATE = "Mon, 02 Mar 2026 09:15:30 GMT"


@pytest.mark.parametrize(
    ("retry_after", "date", "seconds"),
    [
        (None, DATE, None),
        ("0", None, 0.0),
        ("1", None, 1.0),
        (" 30 ", None, 30.0),
        ("3600", None, 3600.0),
        ("86400", None, MOST_RETRY_AFTER),
        ("9" * 5000, None, MOST_RETRY_AFTER),
        ("-5", DATE, None),
        ("soon", DATE, None),
        ("1.5", DATE, None),
        ("²", DATE, None),
        ("Mon, 02 Mar 2026 09:17:30 GMT", DATE, 120.0),
        ("Tue, 03 Mar 2026 09:17:30 GMT", DATE, MOST_RETRY_AFTER),
        ("Mon, 02 Mar 2026 09:15:29 GMT", DATE, None),
        ("Mon, 02 Mar 2026 09:17:30 GMT", None, None),
        ("Mon, 02 Mar 2026 09:17:30 GMT", "yesterday", None),
        ("Mon, 02 Mar 2026 09:17:30 -0000", DATE, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_against_the_answers_own_date(
    retry_after: str | None, date: str | None, seconds: float | None
) -> None:
    headers = {name: value for name, value in {"Retry-After": retry_after, "Date": date}.items() if value is not None}
    assert retry_after_seconds(headers) == seconds
    failed = read_answer(429, headers, b"", 1, first_index=0)
    assert isinstance(failed, RequestFailed)
    assert failed.retry_after == seconds


INDEX = st.integers(-2, 6) | st.floats() | st.text(max_size=3) | st.none() | st.booleans() | st.integers()
ITEM = st.fixed_dictionaries(
    {"index": INDEX},
    optional={
        "httpStatusCode": st.sampled_from(["400", "500", 429]) | st.text() | st.integers(),
        "errors": st.lists(
            st.dictionaries(st.sampled_from(["code", "fieldLocation"]), st.sampled_from(["CONFLICT", "X"]) | st.text())
        ),
        "subErrors": st.integers() | st.lists(st.none() | st.dictionaries(st.just("errorCode"), st.integers() | st.none())),
    },
)
ITEMS = st.lists(ITEM | st.integers() | st.none(), max_size=6) | st.none() | st.text(max_size=3)
ANSWER = st.fixed_dictionaries({}, optional={"success": ITEMS, "error": ITEMS}) | st.integers() | st.text()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    status=st.sampled_from([200, 204, 207, 301, 400, 429, 500]) | st.integers(-1, 700),
    body=ANSWER.map(json.dumps).map(str.encode) | st.binary(),
    count=st.integers(0, 5),
    first_index=st.integers(0, 1),
    headers=st.dictionaries(st.sampled_from(["Retry-After", "Date", "Content-Type"]), st.text(max_size=30)),
)
@example(status=207, body=b'{"success":[{"index":99999999999999999999}]}', count=1, first_index=0, headers={})
def test_read_is_total(status: int, body: bytes, count: int, first_index: int, headers: dict[str, str]) -> None:
    answer = read_answer(status, headers, body, count, first_index=first_index)
    if isinstance(answer, Verdicts):
        assert 200 <= status < 300
        assert len(answer.verdicts) == count
    else:
        assert not 200 <= status < 300


_NEARLY_PLAIN = (
    st.permutations([0, 1, 2])
    | st.permutations([1, 2, 3])
    | st.lists(st.sampled_from([0, 1, 2, 3, 1.0, True, "1", None]), min_size=2, max_size=4)
)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    indices=st.sampled_from([[0, 1, 2], [1, 2, 3]]) | _NEARLY_PLAIN,
    error=st.sampled_from([None, [], {}, 0, "", [{"index": 1}]]),
    odd=st.sampled_from([None, [], "text", {}, 1]),
    count=st.integers(2, 4),
    first_index=st.integers(0, 1),
)
def test_an_answer_that_takes_every_event_in_order_is_read_as_its_items_would_be(
    indices: list[object], error: object, odd: object, count: int, first_index: int
) -> None:
    success: list[object] = [{"index": index, "message": "ok"} for index in indices]
    if odd is not None:
        success[1] = odd
    body = orjson.dumps({"success": success, "error": error})
    at_once = read_answer(200, {}, body, count, first_index=first_index)
    with patch.object(answers, "_all_delivered_in_order", lambda *_: False):
        by_item = read_answer(200, {}, body, count, first_index=first_index)
    assert at_once == by_item


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    success=st.lists(st.integers(-1, 5), max_size=6),
    error=st.lists(st.integers(-1, 5), max_size=3),
    count=st.integers(1, 5),
    first_index=st.integers(0, 1),
)
def test_delivered_means_named_in_success_and_not_in_error(
    success: list[int], error: list[int], count: int, first_index: int
) -> None:
    answer = {"success": [{"index": index} for index in success], "error": [bad(index) for index in error]}
    verdicts = read(answer, count, first_index=first_index)
    first = 1 - first_index if "index-counting" in verdicts.anomalies else first_index
    for position, verdict in enumerate(verdicts.verdicts):
        if verdict is DELIVERED:
            assert position + first in success
            assert position + first not in error
