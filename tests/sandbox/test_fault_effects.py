"""Each fault does on the wire what the catalogue says, and the record tells what became of the events."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import orjson
import pytest

from connector.sandbox import Options, RunningSandbox, serve
from connector.sandbox.catalogue import CATALOGUE, REQUEST_FAULTS, TOKEN_FAULTS, FaultTarget
from connector.sandbox.tokens import SandboxCredentials, fingerprint
from tests.patience import patience
from tests.sandbox.asking import (
    ADS_PATH,
    EVENTS_PATH,
    FORM,
    KNOWN,
    Clock,
    column,
    headers,
    post,
    raw,
    record,
    set_faults,
    status,
)
from tests.sandbox.examples import ADS_NOW, ADS_PURCHASE, EVENTS_NOW, EVENTS_PURCHASE, put

TWO = [ADS_PURCHASE, ADS_PURCHASE | {"eventId": "order-2"}]
BODY = orjson.dumps({"events": TWO})
GOOD = {"success": [{"index": at, "event": event} for at, event in enumerate(TWO)], "error": []}
HTML = "text/html"
NOT_JUDGED, ACCEPTED = "not judged", "accepted"


@dataclass(frozen=True)
class Seen:
    """What a client gets, and what the record says of both events."""

    status: int
    fate: str = ACCEPTED
    kind: str = "application/json"
    answer: str | None = None
    """The record's word; the fault's name unless given."""
    body: Any = None
    """Parsed, or as bytes where it is no JSON; None where it has no verdicts in whatever form."""
    undone: Callable[[bytes], bytes] = bytes
    """From the bytes that came to those that parse."""


def of(**changes: Any) -> dict[str, Any]:
    return GOOD | changes


def numbered(*indices: object) -> list[dict[str, Any]]:
    return [{"index": index, "event": event} for index, event in zip(indices, TWO, strict=True)]


SEEN = {
    "throttle_429": Seen(429, NOT_JUDGED, answer="failed:429"),
    "throttle_429_html": Seen(429, NOT_JUDGED, HTML, "failed:429"),
    "fail_500": Seen(500, NOT_JUDGED, answer="failed:500"),
    "fail_502": Seen(502, NOT_JUDGED, HTML, "failed:502"),
    "fail_503": Seen(503, NOT_JUDGED, answer="failed:503"),
    "fail_504": Seen(504, NOT_JUDGED, answer="failed:504"),
    "fail_500_after_accept": Seen(500, answer="failed:500"),
    "gzip": Seen(207, body=GOOD, undone=gzip.decompress),
    "truncated": Seen(207),
    "empty": Seen(207, body=b""),
    "html": Seen(207, kind=HTML),
    "html_200": Seen(200, kind=HTML),
    "wrong_content_type": Seen(207, kind="text/plain", body=GOOD),
    "byte_order_mark": Seen(207, body=GOOD, undone=lambda body: body.removeprefix(b"\xef\xbb\xbf")),
    "invalid_utf8": Seen(207),
    "index_missing": Seen(207, body=of(success=[{"event": TWO[0]}, GOOD["success"][1]])),
    "index_doubled": Seen(207, body=of(success=numbered(0, 0))),
    "index_out_of_range": Seen(207, body=of(success=numbered(0, 1001))),
    "index_negative": Seen(207, body=of(success=numbered(-1, 1))),
    "index_string": Seen(207, body=of(success=numbered("0", "1"))),
    "index_float": Seen(207, body=of(success=numbered(0.0, 1.0))),
    "success_and_error": Seen(207, body=of(error=[{"index": 0, "errors": [{"code": "BAD_REQUEST", "message": "and yet"}]}])),
    "more_items": Seen(207, body=of(success=[*GOOD["success"], {"index": 2, "event": None}, {"index": 3, "event": None}])),
    "other_base": Seen(207, body=of(success=numbered(1, 2))),
    "status_200": Seen(200, body=GOOD),
    "status_200_empty": Seen(200, body=b""),
    "status_202": Seen(202, body=b""),
    "status_204": Seen(204, body=b""),
    "redirect": Seen(307, NOT_JUDGED, answer="failed:307", body=b""),
    "expire_tokens": Seen(207, answer="sent", body=GOOD),  # of a token that never expires
    "unauthorized_401": Seen(401, NOT_JUDGED, answer="failed:401"),
    "forbidden_403": Seen(403, NOT_JUDGED, answer="failed:403"),
    "account_400": Seen(400, NOT_JUDGED, answer="failed:400"),
    "too_large_413": Seen(413, NOT_JUDGED, answer="failed:413"),
    "close_idle": Seen(207, body=GOOD),
}


def has_verdicts(body: bytes) -> bool:
    try:
        return "success" in orjson.loads(body)
    except orjson.JSONDecodeError:
        return False


BELOW_HTTP = {
    "slow_headers",
    "slow_body",
    "endless_body",
    "huge_body",
    "gzip_bomb",
    "reset_at_head",
    "reset_mid_request",
    "withhold",
    "reset_after_headers",
    "reset_mid_answer",
}


def test_every_fault_of_a_request_is_looked_at_in_this_file() -> None:
    assert SEEN.keys() | BELOW_HTTP == set(REQUEST_FAULTS)
    assert SEEN.keys() & BELOW_HTTP == set()


@pytest.mark.parametrize("name", SEEN)
async def test_an_http_answer_is_as_the_fault_says(http: aiohttp.ClientSession, name: str) -> None:
    seen = SEEN[name]
    await set_faults(http, {"next": [{"fault": name}]})
    plain = {**headers(ADS_PATH), "Accept-Encoding": "identity"}
    async with aiohttp.ClientSession(http._base_url, auto_decompress=False) as looking:
        async with looking.post(ADS_PATH, data=BODY, headers=plain, allow_redirects=False) as response:
            body = await response.read()
        assert (response.status, response.content_type) == (seen.status, seen.kind)
        if seen.body is not None:
            assert (body if isinstance(seen.body, bytes) else orjson.loads(seen.undone(body))) == seen.body
            assert has_verdicts(body) == (seen.body != b"" and seen.undone is bytes)
        else:
            assert not has_verdicts(body)

    lines = await record(http)
    assert column(lines, "verdict") == [seen.fate] * 2
    assert column(lines, "answer") == [seen.answer or name] * 2
    assert column(lines, "fault") == [name] * 2


class Wire:
    """A connection looked at byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, sandbox: RunningSandbox) -> Wire:
        return cls(*await asyncio.open_connection("127.0.0.1", sandbox.port))

    async def send(self, sent: bytes) -> None:
        self._writer.write(sent)
        await self._writer.drain()

    async def read(self, most: int = 1 << 20) -> tuple[bytes, str]:
        """Read until the connection ends or ``most`` bytes came; say which, and how it ended."""
        found = b""
        try:
            while len(found) < most:
                chunk = await asyncio.wait_for(self._reader.read(65_536), patience(10))
                if not chunk:
                    return found, "closed"
                found += chunk
        except ConnectionResetError:
            return found, "reset"
        return found, "goes on"

    async def read_head(self) -> bytes:
        return await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), patience(10))

    async def leave(self) -> None:
        self._writer.transport.abort()


async def answered(http: aiohttp.ClientSession) -> list[dict[str, Any]]:
    """Return the requests of the record once none is pending."""
    while True:
        async with http.get("/sandbox/requests") as response:
            lines = [orjson.loads(line) for line in (await response.read()).splitlines()]
        if lines and all(line["answer"] != "pending" for line in lines):
            return lines
        await asyncio.sleep(0.01)


async def test_reset_at_head_needs_no_body_and_reads_no_event(sandbox: RunningSandbox, http: aiohttp.ClientSession) -> None:
    await set_faults(http, {"next": [{"fault": "reset_at_head"}]})
    wire = await Wire.open(sandbox)
    await wire.send(raw(BODY).partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
    assert await wire.read() == (b"", "reset")
    (told,) = await answered(http)
    assert (told["answer"], told["events"], told["status"]) == ("reset_at_head", 0, None)
    assert await record(http) == []


async def test_reset_mid_request_waits_for_half_of_the_body_and_no_more(
    sandbox: RunningSandbox, http: aiohttp.ClientSession
) -> None:
    await set_faults(http, {"next": [{"fault": "reset_mid_request"}]})
    whole = raw(BODY)
    half = len(whole) - len(BODY) + len(BODY) // 2
    wire = await Wire.open(sandbox)
    await wire.send(whole[: half - 1])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await wire.read()
    await wire.send(whole[half - 1 : half])
    assert await wire.read() == (b"", "reset")
    assert [line["answer"] for line in await answered(http)] == ["reset_mid_request"]
    assert await record(http) == []


async def exchanged(
    sandbox: RunningSandbox, http: aiohttp.ClientSession, name: str, **entry: Any
) -> tuple[bytes, bytes, str]:
    """Send a request that a fault happens to; return the answer's head and body, and how the connection ended."""
    await set_faults(http, {"next": [{"fault": name, **entry}]})
    wire = await Wire.open(sandbox)
    await wire.send(raw(BODY))
    found, end = await wire.read(4 << 20)
    await wire.leave()
    head, _, body = found.partition(b"\r\n\r\n")
    (line, *_) = await answered(http)
    assert (line["answer"], line["accepted"]) == ("withheld" if name == "withhold" else name, 2)
    return head, body, end


async def test_withheld_answer_is_none(sandbox: RunningSandbox, http: aiohttp.ClientSession) -> None:
    assert await exchanged(sandbox, http, "withhold") == (b"", b"", "closed")


async def test_reset_after_headers_leaves_no_body(sandbox: RunningSandbox, http: aiohttp.ClientSession) -> None:
    head, body, end = await exchanged(sandbox, http, "reset_after_headers")
    assert head.startswith(b"HTTP/1.1 207 ")
    assert f"Content-Length: {len(orjson.dumps(GOOD))}".encode() in head
    assert (body, end) == (b"", "reset")


async def test_reset_mid_answer_leaves_half_of_the_body_that_was_announced(
    sandbox: RunningSandbox, http: aiohttp.ClientSession
) -> None:
    head, body, end = await exchanged(sandbox, http, "reset_mid_answer")
    length = len(orjson.dumps(GOOD))
    assert f"Content-Length: {length}".encode() in head
    assert (len(body), end) == (length // 2, "reset")


async def test_slow_body_comes_whole_in_the_end(sandbox: RunningSandbox, http: aiohttp.ClientSession) -> None:
    began = asyncio.get_running_loop().time()
    head, body, end = await exchanged(sandbox, http, "slow_body", ms=1)
    assert head.startswith(b"HTTP/1.1 207 ")
    assert (orjson.loads(body), end) == (GOOD, "closed")
    assert asyncio.get_running_loop().time() - began >= 0.001 * len(body)


async def test_slow_headers_never_end(sandbox: RunningSandbox, http: aiohttp.ClientSession) -> None:
    await set_faults(http, {"next": [{"fault": "slow_headers", "ms": 1}]})
    wire = await Wire.open(sandbox)
    await wire.send(raw(BODY))
    found, end = await wire.read(500)
    assert end == "goes on"
    assert found.startswith(b"HTTP/1.1 207 ")
    assert found.count(b"\r\nX-Slow: and so on") > 5
    assert b"\r\n\r\n" not in found
    await wire.leave()
    assert [line["answer"] for line in await answered(http)] == ["slow_headers"]


async def test_slow_answers_take_a_second_a_byte_unless_told_otherwise(
    sandbox: RunningSandbox, http: aiohttp.ClientSession
) -> None:
    await set_faults(http, {"next": [{"fault": "slow_body"}]})
    wire = await Wire.open(sandbox)
    await wire.send(raw(BODY))
    await wire.read_head()
    found, _ = await wire.read(1)
    assert len(found) == 1
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await wire.read(1)
    await wire.leave()


async def test_endless_body_goes_on_until_the_client_has_enough(
    sandbox: RunningSandbox, http: aiohttp.ClientSession
) -> None:
    await set_faults(http, {"next": [{"fault": "endless_body"}]})
    wire = await Wire.open(sandbox)
    await wire.send(raw(BODY))
    assert b"Transfer-Encoding: chunked" in await wire.read_head()
    found, end = await wire.read(20 << 20)
    assert (len(found) >= 20 << 20, end) == (True, "goes on")
    await wire.leave()
    assert [line["answer"] for line in await answered(http)] == ["endless_body"]


async def test_huge_body_announces_a_gigabyte(sandbox: RunningSandbox, http: aiohttp.ClientSession) -> None:
    await set_faults(http, {"next": [{"fault": "huge_body"}]})
    wire = await Wire.open(sandbox)
    await wire.send(raw(BODY))
    assert b"Content-Length: 1073741824" in await wire.read_head()
    found, end = await wire.read(20 << 20)
    assert (len(found) >= 20 << 20, end) == (True, "goes on")
    await wire.leave()
    assert [line["answer"] for line in await answered(http)] == ["huge_body"]


async def test_gzip_bomb_is_a_sound_gigabyte_in_a_megabyte(sandbox: RunningSandbox, http: aiohttp.ClientSession) -> None:
    head, body, end = await exchanged(sandbox, http, "gzip_bomb")
    assert b"Content-Encoding: gzip" in head
    assert (len(body) < 2 << 20, end) == (True, "closed")
    inflating, inflated = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16), 0
    while not inflating.eof:
        inflated += len(inflating.decompress(body, 16 << 20))
        body = inflating.unconsumed_tail
    assert (inflated, inflating.unused_data) == (1 << 30, b"")


async def test_connection_that_was_left_is_reset_when_something_comes_on_it(
    sandbox: RunningSandbox, http: aiohttp.ClientSession
) -> None:
    await set_faults(http, {"next": [{"fault": "close_idle"}]})
    wire = await Wire.open(sandbox)
    await wire.send(raw(BODY))
    head = await wire.read_head()
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    assert len((await wire.read(length))[0]) == length
    await wire.send(raw(BODY))
    assert await wire.read() == (b"", "reset")
    # Nothing of the second request was taken, and another connection is served.
    assert (await status(http))["requests"] == 1
    assert (await post(http, ADS_PATH, BODY))[0] == 207


async def test_retry_after_comes_in_every_form(http: aiohttp.ClientSession) -> None:
    asked: list[Any] = [None, 0, 1, 3600, -5, "soon", "", "Wed, 21 Oct 2026 07:28:00 GMT", "date+7", "date+x"]
    await set_faults(http, {"next": [{"fault": "throttle_429", "retry_after": form} for form in asked]})
    found = []
    for _ in asked:
        async with http.post(ADS_PATH, data=BODY, headers=headers(ADS_PATH)) as response:
            assert response.status == 429
            found.append(response.headers.get("Retry-After"))
    assert found[:8] == [None, "0", "1", "3600", "-5", "soon", "", "Wed, 21 Oct 2026 07:28:00 GMT"]
    assert parsedate_to_datetime(found[8] or "").timestamp() * 1000 // 1000 == ADS_NOW // 1000 + 7
    assert found[9] == "date+x"


async def test_requests_beyond_the_limit_of_a_second_are_throttled(http: aiohttp.ClientSession, clock: Clock) -> None:
    await set_faults(http, {"max_requests_per_second": 2, "retry_after": None, "next": [{"fault": "fail_503"}]})
    found = []
    for ms in (0, 0, 600, 999, 1000, 1001, 1599, 1600):
        clock.now_ms = ADS_NOW + ms
        found.append((await post(http, ADS_PATH, BODY))[0])
    # What another fault or the limit refuses does not count: at each moment at most two of a second were let pass.
    assert found == [503, 207, 207, 429, 207, 429, 429, 207]


async def test_misnumbered_answers_of_events_v1_count_from_1_and_other_base_from_0(
    http: aiohttp.ClientSession, clock: Clock
) -> None:
    clock.now_ms = EVENTS_NOW
    body = {"ingestionMethod": "SERVER_TO_SERVER", "eventData": [EVENTS_PURCHASE, EVENTS_PURCHASE]}
    await set_faults(http, {"next": [{"fault": name} for name in ("other_base", "more_items", "success_and_error")]})
    found = [(await post(http, EVENTS_PATH, body))[1] for _ in range(3)]
    assert [column(answer["success"], "index") for answer in found] == [[0, 1], [1, 2, 3, 4], [1, 2]]
    assert found[2]["error"] == [{"index": 1, "httpStatusCode": "400", "subErrors": [{"errorCode": 400}]}]


async def test_a_doubled_index_of_a_single_event_stands_there_twice(http: aiohttp.ClientSession) -> None:
    await set_faults(http, {"next": [{"fault": "index_doubled"}]})
    _, answer = await post(http, ADS_PATH, {"events": [ADS_PURCHASE]})
    assert column(answer["success"], "index") == [0, 0]


async def test_redirect_leads_to_another_host_that_counts_who_comes_with_a_token(http: aiohttp.ClientSession) -> None:
    await set_faults(http, {"next": [{"fault": "redirect"}, {"fault": "redirect", "status": 302}]})
    places = []
    for expected in (307, 302):
        async with http.post(ADS_PATH, data=BODY, headers=headers(ADS_PATH), allow_redirects=False) as response:
            assert response.status == expected
            places.append(response.headers["Location"])
    place = f"http://localhost:{http._base_url.port if http._base_url else 0}/elsewhere{ADS_PATH}"
    assert places == [place, place]

    async with aiohttp.ClientSession() as stranger:
        await stranger.post(place)
        counts = await status(http)
        assert (counts["elsewhere"], counts["elsewhere_with_a_token"]) == (1, 0)
        await stranger.post(place, headers={"Authorization": f"Bearer {KNOWN.access_token}-1"})
        await stranger.post(place, data=FORM)
    counts = await status(http)
    assert (counts["elsewhere"], counts["elsewhere_with_a_token"]) == (3, 2)


async def test_tokens_end_as_a_request_arrives_and_a_new_one_holds(http: aiohttp.ClientSession) -> None:
    async def token() -> str:
        async with http.post("/auth/o2/token", data=FORM) as response:
            return f"Bearer {(await response.json())['access_token']}"

    first = await token()
    await set_faults(http, {"next": [{"fault": "none"}, {"fault": "expire_tokens"}]})
    codes = [(await post(http, ADS_PATH, BODY, Authorization=first))[0] for _ in range(3)]
    assert codes == [207, 401, 401]
    second = await token()
    assert (await post(http, ADS_PATH, BODY, Authorization=second))[0] == 207
    told = await answered(http)
    assert column(told, "token") == [fingerprint(first[7:])] * 3 + [fingerprint(second[7:])]
    assert fingerprint(first[7:]) != fingerprint(second[7:])
    assert "Atza" not in str(told) + str(await record(http))


async def test_revoked_refresh_token_gives_no_token_and_ends_those_given(http: aiohttp.ClientSession) -> None:
    await set_faults(http, {"refresh_token_revoked": True})
    async with http.post("/auth/o2/token", data=FORM) as response:
        assert (response.status, (await response.json())["error"]) == (400, "invalid_grant")
    assert (await post(http, ADS_PATH, BODY))[0] == 401
    await set_faults(http, {})
    assert (await post(http, ADS_PATH, BODY))[0] == 207


TOKEN_SEEN = {
    "token_invalid_grant": (400, "application/json", b"invalid_grant"),
    "token_invalid_client": (401, "application/json", b"invalid_client"),
    "token_500": (500, "application/json", b"server_error"),
    "token_503": (503, "application/json", b"temporarily_unavailable"),
    "token_429": (429, "application/json", b"too_many_requests"),
    "token_garbage": (200, "application/json", b"\xff"),
    "token_missing": (200, "application/json", b"expires_in"),
    "token_html": (200, HTML, b"<html>"),
    "token_redirect": (307, "application/json", b""),
    "token_slow": (200, "application/json", b"access_token"),
    "token_withhold": None,
}


def test_every_fault_of_a_token_request_is_looked_at_in_this_file() -> None:
    assert TOKEN_SEEN.keys() == set(TOKEN_FAULTS)


@pytest.mark.parametrize("name", TOKEN_SEEN)
async def test_a_token_request_fails_as_the_fault_says(http: aiohttp.ClientSession, name: str) -> None:
    seen = TOKEN_SEEN[name]
    await set_faults(http, {"token_at": [{"fault": name, "request": 1, "ms": 200}]})
    asking = http.post("/auth/o2/token", data=FORM, allow_redirects=False)
    if seen is None:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await asking
        return
    began = asyncio.get_running_loop().time()
    async with asking as response:
        body = await response.read()
    assert (response.status, response.content_type, seen[2] in body) == (*seen[:2], True)
    assert (b"access_token" in body) == (name == "token_slow")
    assert (asyncio.get_running_loop().time() - began >= 0.2) == (name == "token_slow") or name != "token_slow"
    async with http.post("/auth/o2/token", data=FORM) as response:
        assert response.status == 200


async def test_events_are_afflicted_with_a_code_and_at_a_place(http: aiohttp.ClientSession) -> None:
    plan = [
        {"fault": "reject", "code": "FIELD_VALUE_IS_INVALID"},
        {"fault": "conflict", "index": 1},
        {"fault": "retry"},
        {"fault": "omit", "index": 0},
    ]
    await set_faults(http, {"next": plan})
    answers = [(await post(http, ADS_PATH, BODY))[1] for _ in plan]
    codes = [[[error["code"] for error in item["errors"]] for item in answer["error"]] for answer in answers]
    assert codes == [[["FIELD_VALUE_IS_INVALID"]] * 2, [["CONFLICT"]], [["INTERNAL_ERROR"]] * 2, []]
    assert [column(answer["success"], "index") for answer in answers] == [[], [0], [], [1]]
    lines = await record(http)
    assert column(lines, "fault") == ["reject", "reject", None, "conflict", "retry", "retry", "omit", None]
    assert set(column(lines, "answer")) == {"sent"}


async def test_events_v1_tells_a_conflict_with_its_status(http: aiohttp.ClientSession, clock: Clock) -> None:
    clock.now_ms = EVENTS_NOW
    await set_faults(http, {"next": [{"fault": "conflict"}]})
    body = {"ingestionMethod": "SERVER_TO_SERVER", "eventData": [EVENTS_PURCHASE]}
    _, answer = await post(http, EVENTS_PATH, body)
    assert answer["error"][0]["httpStatusCode"] == "409"
    assert column(answer["error"][0]["subErrors"], "errorType") == ["CONFLICT"]


async def test_one_poisonous_event_sinks_its_request_and_is_named_in_the_record_only(http: aiohttp.ClientSession) -> None:
    await set_faults(http, {"poison_names": ["bad"]})
    bad = put(ADS_PURCHASE, "eventDescription.name", "bad")
    code, answer = await post(http, ADS_PATH, {"events": [ADS_PURCHASE, bad]})
    assert (code, answer) == (400, {"code": "BAD_REQUEST", "message": "the request is invalid"})
    lines = await record(http)
    assert column(lines, "verdict") == ["not judged", "rejected"]
    assert column(lines, "fault") == [None, "poison"]
    assert column(lines, "answer") == ["failed:400"] * 2
    assert (await post(http, ADS_PATH, {"events": [ADS_PURCHASE]}))[0] == 207


async def test_the_limit_of_a_body_is_set_at_run_time(http: aiohttp.ClientSession) -> None:
    await set_faults(http, {"max_body_bytes": len(BODY)})
    assert (await post(http, ADS_PATH, BODY))[0] == 207
    code, answer = await post(http, ADS_PATH, BODY + b" ")
    assert (code, answer["code"]) == (413, "CONTENT_TOO_LARGE")
    (_, told) = await answered(http)
    assert (told["status"], told["events"]) == (413, 0)
    await set_faults(http, {})
    assert (await post(http, ADS_PATH, BODY + b" "))[0] == 207


async def test_several_accounts_are_told_apart_whatever_the_form_of_their_ids(clock: Clock) -> None:
    accounts = SandboxCredentials(account_id="5850000000001", more_accounts=("ENTITY1A2B3C4D5E6F",))
    running = await serve(options=Options(clock=clock, credentials=accounts))
    async with aiohttp.ClientSession(running.url) as http:
        for account, code in (("5850000000001", 207), ("ENTITY1A2B3C4D5E6F", 207), ("ENTITY0", 403)):
            assert (await post(http, ADS_PATH, BODY, Amazon_Ads_AccountId=account))[0] == code
        told = await answered(http)
        lines = await record(http)
    await running.stop()
    assert column(told, "account") == ["5850000000001", "ENTITY1A2B3C4D5E6F", None]
    # The same ids in two accounts are not duplicates.
    assert column(lines, "counted") == [True] * 4 + [None] * 2


async def test_of_duplicates_the_first_by_event_time_is_counted(http: aiohttp.ClientSession) -> None:
    for second in ("05", "01", "05"):
        await post(http, ADS_PATH, {"events": [put(ADS_PURCHASE, "eventTime", f"2026-08-20T18:04:{second}Z")]})
    assert column(await record(http), "counted") == [False, True, False]
    counts = await status(http)
    assert (counts["accepted"], counts["counted"], counts["filtered"]) == (3, 1, 2)


async def test_the_server_lists_the_faults_and_names_the_list_in_a_refusal(http: aiohttp.ClientSession) -> None:
    async with http.get("/sandbox/faults/names") as response:
        listed = await response.json()
    assert [line["name"] for line in listed] == [fault.name for fault in CATALOGUE]
    assert {line["of"] for line in listed} == {one.value for one in FaultTarget}
    async with http.put("/sandbox/faults", data=b'{"fail_599": 1}') as response:
        assert "/sandbox/faults/names" in (await response.json())["message"]
