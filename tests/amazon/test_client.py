"""The client against a real server on loopback, which answers by script."""

from __future__ import annotations

import asyncio
import gzip
import math
import socket
import threading
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, cast

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from connector.amazon import resolver, transport
from connector.amazon.access_tokens import FreshTokens
from connector.amazon.ads_v1 import AdsV1
from connector.amazon.client import AmazonSink
from connector.amazon.tokens import AccessToken, Credentials, FixedToken, Secret, refresh_form
from connector.amazon.transport import RawAnswer
from connector.model import DELIVERED, NO_VERDICT, Answer, Failure, RequestFailed, Verdicts
from tests.patience import patience

ACCEPTED = orjson.dumps({"success": [{"index": 0}]})
Reply = Callable[[web.Request], Awaitable[web.StreamResponse]]


def answering(status: int, body: bytes = b"", **headers: str) -> Reply:
    async def reply(_request: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, body=body, content_type="application/json", headers=named)

    return reply


def giving(token: str, expires_in: float = 3600) -> Reply:
    return answering(200, orjson.dumps({"access_token": token, "expires_in": expires_in}))


@dataclass
class Amazon:
    """Both of Amazon's endpoints: replies in order, the last one again and again; and what they were asked."""

    url: str = ""
    events: list[Reply] = field(default_factory=lambda: [answering(207, ACCEPTED)])
    tokens: list[Reply] = field(default_factory=lambda: [giving("first"), giving("second")])
    requests: list[web.Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    refreshes: list[dict[str, str]] = field(default_factory=list)

    async def on_events(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.bodies.append(await request.read())
        return await (self.events.pop(0) if len(self.events) > 1 else self.events[0])(request)

    async def on_token(self, request: web.Request) -> web.StreamResponse:
        assert "Authorization" not in request.headers
        self.refreshes.append({name: str(value) for name, value in (await request.post()).items()})
        return await (self.tokens.pop(0) if len(self.tokens) > 1 else self.tokens[0])(request)

    def authorizations(self) -> list[str]:
        return [request.headers["Authorization"] for request in self.requests]


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def amazon(stack: AsyncExitStack) -> Amazon:
    amazon = Amazon()
    app = web.Application(client_max_size=10_000_000)
    app.router.add_post("/adsApi/v1/create/events", amazon.on_events)
    app.router.add_get("/v2/profiles", amazon.on_events)
    app.router.add_post("/auth/o2/token", amazon.on_token)
    server = await stack.enter_async_context(TestServer(app))
    amazon.url = str(server.make_url("")).rstrip("/")
    return amazon


SinkMaker = Callable[..., AmazonSink]


@pytest.fixture
def sink_to(stack: AsyncExitStack, amazon: Amazon) -> SinkMaker:
    """Return a maker of sinks that are closed with the test, before the server."""

    def make(
        *,
        token: str | Secret | None = None,
        secret: Secret = lambda: "s3cret",
        timeout_seconds: float = 5.0,
        url: str | None = None,
        token_url: str | None = None,
    ) -> AmazonSink:
        asked_at = token_url or f"{amazon.url}/auth/o2/token"
        refreshed = Credentials("client", secret, lambda: "Atzr|refresh", asked_at)
        credentials = refreshed if token is None else FixedToken(token if callable(token) else lambda: token)
        contract = AdsV1("585", "client", "NA")
        sink = AmazonSink(contract, url or amazon.url, credentials, timeout_seconds=timeout_seconds, max_connections=8)
        stack.push_async_callback(sink.close)
        return sink

    return make


async def raw_server(stack: AsyncExitStack, answer: bytes) -> str:
    """Listen, answer every request with these bytes, and close; return the URL."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await stack.enter_async_context(await asyncio.start_server(talk, "127.0.0.1"))
    return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def always() -> bool:
    return True


async def failure(sink: AmazonSink) -> RequestFailed:
    answer: Answer = await sink.send(b"{}", 1, may_start=always)
    assert isinstance(answer, RequestFailed), answer
    return answer


async def test_a_request_carries_body_and_headers_of_the_contract(amazon: Amazon, sink_to: SinkMaker) -> None:
    sink = sink_to()
    assert await sink.send(b'{"events":[{}]}', 1, may_start=always) == Verdicts([DELIVERED])
    assert amazon.bodies == [b'{"events":[{}]}']
    assert amazon.requests[0].headers["Content-Type"] == "application/json"
    assert amazon.requests[0].headers["Amazon-Ads-AccountId"] == "585"
    assert amazon.authorizations() == ["Bearer first"]
    assert amazon.refreshes == [
        {"grant_type": "refresh_token", "refresh_token": "Atzr|refresh", "client_id": "client", "client_secret": "s3cret"}
    ]


async def test_one_token_serves_many_requests(amazon: Amazon, sink_to: SinkMaker) -> None:
    sink = sink_to()
    await asyncio.gather(*(sink.send(b"{}", 1, may_start=always) for _ in range(20)))
    assert len(amazon.refreshes) == 1
    assert set(amazon.authorizations()) == {"Bearer first"}


async def test_on_401_many_requests_share_one_refresh_and_each_is_sent_once_more(amazon: Amazon, sink_to: SinkMaker) -> None:
    async def by_token(request: web.Request) -> web.StreamResponse:
        expired = request.headers["Authorization"] == "Bearer first"
        return await (answering(401) if expired else answering(207, ACCEPTED))(request)

    amazon.events = [by_token]
    sink = sink_to()
    answers = await asyncio.gather(*(sink.send(b"{}", 1, may_start=always) for _ in range(8)))
    assert answers == [Verdicts([DELIVERED])] * 8
    assert len(amazon.refreshes) == 2
    assert sorted(amazon.authorizations()) == ["Bearer first"] * 8 + ["Bearer second"] * 8


async def test_a_401_that_comes_after_the_refresh_it_asks_for_causes_no_other(amazon: Amazon, sink_to: SinkMaker) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def late(request: web.Request) -> web.StreamResponse:
        arrived.set()
        await go_on.wait()
        return await answering(401)(request)

    amazon.events = [late, answering(401), answering(207, ACCEPTED)]
    sink = sink_to()
    slow = asyncio.create_task(sink.send(b"{}", 1, may_start=always))
    await arrived.wait()
    assert await sink.send(b"{}", 1, may_start=always) == Verdicts([DELIVERED])
    go_on.set()
    assert await slow == Verdicts([DELIVERED])
    assert len(amazon.refreshes) == 2
    assert amazon.authorizations() == ["Bearer first", "Bearer first", "Bearer second", "Bearer second"]


async def test_a_second_401_is_the_operators(amazon: Amazon, sink_to: SinkMaker) -> None:
    amazon.events = [answering(401)]
    failed = await failure(sink_to())
    assert (failed.failure, failed.reason) == (Failure.OPERATOR, "http-401")
    assert len(amazon.requests) == 2


async def test_a_refresh_that_is_refused_after_401_says_so(amazon: Amazon, sink_to: SinkMaker) -> None:
    amazon.events = [answering(401)]
    amazon.tokens = [giving("first"), answering(400, b'{"error":"invalid_grant"}')]
    failed = await failure(sink_to())
    assert (failed.failure, failed.reason) == (Failure.OPERATOR, "invalid_grant")


async def test_a_request_that_may_not_start_any_more_is_not_sent(amazon: Amazon, sink_to: SinkMaker) -> None:
    asked = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        asked.set()
        return await giving("first")(request)

    amazon.tokens = [slow]
    answer = await sink_to().send(b"{}", 1, may_start=lambda: not asked.is_set())  # it might have before the token was there
    assert isinstance(answer, RequestFailed)
    assert (answer.failure, answer.reason) == (Failure.NOT_SENT, "not-sent")
    assert (amazon.requests, len(amazon.refreshes)) == ([], 1)


async def test_after_a_401_a_request_that_may_not_start_any_more_is_not_sent_again(
    amazon: Amazon, sink_to: SinkMaker
) -> None:
    amazon.events = [answering(401), answering(207, ACCEPTED)]
    answer = await sink_to().send(b"{}", 1, may_start=lambda: not amazon.requests)
    assert isinstance(answer, RequestFailed)
    assert answer.reason == "not-sent"
    assert amazon.authorizations() == ["Bearer first"]


async def test_a_fixed_token_is_never_refreshed(amazon: Amazon, sink_to: SinkMaker) -> None:
    amazon.events = [answering(401)]
    sink = sink_to(token="Atza|fixed")
    assert (await failure(sink)).reason == "http-401"
    assert amazon.authorizations() == ["Bearer Atza|fixed"]
    assert amazon.refreshes == []


async def test_a_fixed_token_that_was_renewed_where_it_stands_is_used_from_then_on(
    amazon: Amazon, sink_to: SinkMaker
) -> None:
    amazon.events = [answering(207, ACCEPTED), answering(401), answering(207, ACCEPTED)]
    tokens = iter(["Atza|old", "Atza|old", "Atza|new", "Atza|new"])
    sink = sink_to(token=lambda: next(tokens))
    assert await sink.send(b"{}", 1, may_start=always) == Verdicts([DELIVERED])
    assert await sink.send(b"{}", 1, may_start=always) == Verdicts([DELIVERED])
    assert amazon.authorizations() == ["Bearer Atza|old", "Bearer Atza|old", "Bearer Atza|new"]


@pytest.mark.parametrize("text", ["", "two words", "a\r\nb: c"])
async def test_a_fixed_token_that_no_header_takes_is_the_operators(amazon: Amazon, sink_to: SinkMaker, text: str) -> None:
    failed = await failure(sink_to(token=lambda: text))
    assert (failed.failure, failed.reason) == (Failure.OPERATOR, "token-unusable")
    assert amazon.requests == []


async def test_a_secret_that_was_fixed_where_it_stands_is_used_at_the_next_refresh(
    amazon: Amazon, sink_to: SinkMaker
) -> None:
    amazon.tokens = [answering(401, b'{"error":"invalid_client"}'), giving("first")]
    secret = ["wrong"]
    sink = sink_to(secret=lambda: secret[0])
    assert (await failure(sink)).reason == "invalid_client"
    secret[0] = "right"
    assert await sink.send(b"{}", 1, may_start=always) == Verdicts([DELIVERED])
    assert [form["client_secret"] for form in amazon.refreshes] == ["wrong", "right"]


async def test_a_token_made_from_a_secret_that_was_replaced_is_not_used(amazon: Amazon, sink_to: SinkMaker) -> None:
    secret = ["old"]
    sink = sink_to(secret=lambda: secret[0])
    await sink.send(b"{}", 1, may_start=always)
    secret[0] = "new"
    await sink.send(b"{}", 1, may_start=always)
    await sink.send(b"{}", 1, may_start=always)
    assert [form["client_secret"] for form in amazon.refreshes] == ["old", "new"]
    assert amazon.authorizations() == ["Bearer first", "Bearer second", "Bearer second"]


async def test_a_secret_that_is_replaced_while_a_refresh_is_under_way_is_used_at_the_next_request(
    amazon: Amazon, sink_to: SinkMaker
) -> None:
    secret = ["old"]

    async def replacing(request: web.Request) -> web.StreamResponse:
        secret[0] = "new"
        return await giving("first")(request)

    amazon.tokens = [replacing, giving("second")]
    sink = sink_to(secret=lambda: secret[0])
    await sink.send(b"{}", 1, may_start=always)
    await sink.send(b"{}", 1, may_start=always)
    assert [form["client_secret"] for form in amazon.refreshes] == ["old", "new"]
    assert amazon.authorizations()[-1] == "Bearer second"


async def test_a_403_is_the_operators_at_once(amazon: Amazon, sink_to: SinkMaker) -> None:
    amazon.events = [answering(403)]
    assert (await failure(sink_to())).reason == "http-403"
    assert (len(amazon.requests), len(amazon.refreshes)) == (1, 1)


async def test_nothing_is_sent_without_a_token(amazon: Amazon, sink_to: SinkMaker) -> None:
    amazon.tokens = [answering(503, Retry_After="7"), giving("late")]
    sink = sink_to()
    failed = await failure(sink)
    assert (failed.failure, failed.reason, failed.retry_after) == (Failure.TRANSIENT, "token-http-503", 7.0)
    assert amazon.requests == []
    assert await sink.send(b"{}", 1, may_start=always) == Verdicts([DELIVERED])


async def test_a_token_near_its_end_is_used_while_its_refresh_goes_on_beside(amazon: Amazon, sink_to: SinkMaker) -> None:
    go_on = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        await go_on.wait()
        return await giving("second")(request)

    amazon.tokens = [slow]
    sink = sink_to()
    assert isinstance(sink._tokens, FreshTokens)
    sink._tokens._token = AccessToken("first", refresh_at=0.0, expires_at=math.inf)
    sink._tokens._made_from = refresh_form(sink._tokens._credentials)
    assert await sink.send(b"{}", 1, may_start=always) == Verdicts([DELIVERED])
    assert await sink.send(b"{}", 1, may_start=always) == Verdicts([DELIVERED])
    assert amazon.authorizations() == ["Bearer first", "Bearer first"]
    go_on.set()
    while amazon.authorizations()[-1] != "Bearer second":
        await sink.send(b"{}", 1, may_start=always)
    assert len(amazon.refreshes) == 1


async def test_a_cancelled_request_does_not_cancel_the_refresh_of_the_others(amazon: Amazon, sink_to: SinkMaker) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        asked.set()
        await go_on.wait()
        return await giving("first")(request)

    amazon.tokens = [slow]
    sink = sink_to()
    cancelled, waiting = (
        asyncio.create_task(sink.send(b"{}", 1, may_start=always)),
        asyncio.create_task(sink.send(b"{}", 1, may_start=always)),
    )
    await asked.wait()
    cancelled.cancel()
    go_on.set()
    assert await waiting == Verdicts([DELIVERED])
    assert len(amazon.refreshes) == 1


async def test_profiles_are_asked_for_with_the_token_and_the_older_name_of_the_clients_header(
    amazon: Amazon, sink_to: SinkMaker
) -> None:
    amazon.events = [answering(200, b"[]")]
    sink = sink_to()
    assert isinstance(answer := await sink.profiles("client"), RawAnswer)
    assert (answer.status, answer.body) == (200, b"[]")
    (asked,) = amazon.requests
    assert (asked.method, asked.headers["Authorization"]) == ("GET", "Bearer first")
    assert asked.headers["Amazon-Advertising-API-ClientId"] == "client"
    assert "Content-Type" not in asked.headers

    amazon.tokens = [answering(400, b'{"error":"invalid_client"}')]
    failed = await sink_to().profiles("client")
    assert isinstance(failed, RequestFailed)
    assert failed.reason == "invalid_client"


async def test_the_token_can_be_checked_without_sending(amazon: Amazon, sink_to: SinkMaker) -> None:
    assert await sink_to().check_token() is None
    assert await sink_to(token="Atza|fixed").check_token() is None
    amazon.tokens = [answering(400, b'{"error":"invalid_client"}')]
    failed = await sink_to().check_token()
    assert failed is not None
    assert failed.reason == "invalid_client"
    assert amazon.requests == []


async def test_a_redirect_is_not_followed_and_the_token_stays(amazon: Amazon, sink_to: SinkMaker) -> None:
    amazon.events = [answering(307, Location=f"{amazon.url}/adsApi/v1/create/events?elsewhere")]
    failed = await failure(sink_to())
    assert (failed.failure, failed.reason) == (Failure.OPERATOR, "http-307")
    assert len(amazon.requests) == 1


async def test_no_cookie_is_kept(amazon: Amazon, sink_to: SinkMaker) -> None:
    amazon.events = [answering(207, ACCEPTED, Set_Cookie="session=1")]
    sink = sink_to(url=amazon.url.replace("127.0.0.1", "localhost"))  # no jar keeps cookies of a bare address
    await sink.send(b"{}", 1, may_start=always)
    await sink.send(b"{}", 1, may_start=always)
    assert "Cookie" not in amazon.requests[1].headers


def dripping(status: int, first: bytes, **headers: str) -> Reply:
    async def reply(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers=headers)
        await response.prepare(request)
        await response.write(first)
        await asyncio.Event().wait()
        return response

    return reply


async def test_an_answer_that_never_ends_ends_at_the_deadline(amazon: Amazon, sink_to: SinkMaker) -> None:
    amazon.events = [dripping(207, b'{"success":')]
    failed = await failure(sink_to(timeout_seconds=0.2))
    assert (failed.failure, failed.reason) == (Failure.TIMEOUT, "timeout")


async def test_a_status_that_says_it_all_is_not_lost_with_its_body(amazon: Amazon, sink_to: SinkMaker) -> None:
    amazon.events = [dripping(429, b"<html>", **{"Retry-After": "9"})]
    failed = await failure(sink_to(timeout_seconds=patience(0.5)))  # its head comes before that
    assert (failed.failure, failed.reason, failed.retry_after) == (Failure.THROTTLED, "http-429", 9.0)


async def test_an_answer_larger_than_the_cap_is_no_verdict(amazon: Amazon, sink_to: SinkMaker) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=207)
        await response.prepare(request)
        while True:
            await response.write(b" " * 65536)

    amazon.events = [endless, answering(207, ACCEPTED)]
    sink = sink_to()
    answer = await sink.send(b"{}", 1, may_start=always)
    assert isinstance(answer, Verdicts)
    assert answer.verdicts == [NO_VERDICT]
    assert "body-unreadable" in answer.anomalies
    assert await sink.send(b"{}", 1, may_start=always) == Verdicts([DELIVERED])


@pytest.mark.parametrize("coded", [bytes, gzip.compress])
async def test_the_echo_of_a_large_request_is_read_to_its_end(
    amazon: Amazon, sink_to: SinkMaker, coded: Callable[[bytes], bytes]
) -> None:
    answer = coded(orjson.dumps({"success": [{"index": 0, "event": {"eventDescription": {"name": "x" * 5_500_000}}}]}))
    amazon.events = [answering(207, answer, **({} if coded is bytes else {"Content_Encoding": "gzip"}))]
    assert await sink_to().send(b"x" * 2_000_000, 1, may_start=always) == Verdicts([DELIVERED])


async def test_a_gzip_bomb_is_cut_off(amazon: Amazon, sink_to: SinkMaker) -> None:
    bomb = zlib.compressobj(wbits=31)
    body = b"".join(bomb.compress(b" " * 1_000_000) for _ in range(200)) + bomb.flush()
    assert len(body) < 250_000
    amazon.events = [answering(207, body, Content_Encoding="gzip")]
    answer = await sink_to().send(b"{}", 1, may_start=always)
    assert isinstance(answer, Verdicts)
    assert answer.verdicts == [NO_VERDICT]


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(ACCEPTED, mtime=0)),
        ("deflate", zlib.compress(ACCEPTED)),
        ("deflate", zlib.compress(ACCEPTED)[2:-4]),  # without zlib's header, as some servers write it
        ("gzip", gzip.compress(ACCEPTED[:9], mtime=0) + gzip.compress(ACCEPTED[9:], mtime=0)),
        ("gzip", gzip.compress(ACCEPTED, mtime=0) + b"\x00" * 9),
        ("gzip, gzip", gzip.compress(gzip.compress(ACCEPTED, mtime=0), mtime=0)),
        ("GZip,Identity", gzip.compress(ACCEPTED, mtime=0)),
        ("gzip", ACCEPTED),
        ("deflate", ACCEPTED),
    ],
)
async def test_a_compressed_answer_is_read_though_none_was_asked_for(
    amazon: Amazon, sink_to: SinkMaker, encoding: str, body: bytes
) -> None:
    amazon.events = [answering(207, body, Content_Encoding=encoding)]
    assert await sink_to().send(b"{}", 1, may_start=always) == Verdicts([DELIVERED])
    assert amazon.requests[0].headers["Accept-Encoding"] == "identity"


async def test_many_compressed_members_cost_no_time(amazon: Amazon, sink_to: SinkMaker) -> None:
    """Each of them copies the rest, so all of 200,000 would take minutes."""
    amazon.events = [answering(207, gzip.compress(b"", mtime=0) * 200_000, Content_Encoding="gzip")]
    answer = await sink_to(timeout_seconds=60.0).send(b"{}", 1, may_start=always)
    assert isinstance(answer, Verdicts)
    assert answer.verdicts == [NO_VERDICT]


async def test_what_does_not_decompress_is_no_verdict(amazon: Amazon, sink_to: SinkMaker) -> None:
    amazon.events = [answering(207, b"not gzip", Content_Encoding="gzip")]
    answer = await sink_to().send(b"{}", 1, may_start=always)
    assert isinstance(answer, Verdicts)
    assert answer.verdicts == [NO_VERDICT]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"HTTP/1.1 207 Multi-Status\r\nContent-Length: 1000\r\n\r\n{", "disconnected"),
        (b"HTTP/1.1", "disconnected"),
        (b"HTTP/1.1 207 Multi-Status\r\n", "disconnected"),
        (b"HTTP/1.1 207 Multi-Status\r\nContent-Le", "disconnected"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 207 Mul", "disconnected"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "not-http"),
        (b"HTTP/1.1 207 Multi-Status\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", "not-http"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", "http-101"),
    ],
)
async def test_an_answer_that_cannot_be_read_is_said_to_be_perhaps_of_accepted_events(
    stack: AsyncExitStack, sink_to: SinkMaker, raw: bytes, reason: str
) -> None:
    url = await raw_server(stack, raw)
    failed = await failure(sink_to(token="Atza|fixed", url=url))
    assert (failed.failure, failed.reason) == (Failure.UNREADABLE, reason)
    assert "may have been accepted" in failed.detail


async def test_a_connection_that_is_closed_unanswered_passes(stack: AsyncExitStack, sink_to: SinkMaker) -> None:
    failed = await failure(sink_to(token="Atza|fixed", url=await raw_server(stack, b"")))
    assert (failed.failure, failed.reason) == (Failure.TRANSIENT, "disconnected")


async def test_a_token_endpoint_that_cannot_be_read_is_said_to_be_that(
    stack: AsyncExitStack, amazon: Amazon, sink_to: SinkMaker
) -> None:
    url = await raw_server(stack, b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    failed = await failure(sink_to(token_url=url))
    assert (failed.failure, failed.reason) == (Failure.UNREADABLE, "token-not-http")
    assert "may have been accepted" not in failed.detail
    assert amazon.requests == []


_BODY = b"Content-Length: %d\r\n\r\n" % len(ACCEPTED) + ACCEPTED
_CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n%x%s\r\n" + ACCEPTED + b"\r\n0\r\n%s\r\n"
_MULTI_STATUS = b"HTTP/1.1 207 Multi-Status\r\nContent-Type: application/json\r\n"
_LAVISH = {
    "a header of 9 KB": _MULTI_STATUS + b"X: " + b"x" * 9_000 + b"\r\n" + _BODY,
    "a header of 64 KB": _MULTI_STATUS + b"X-Trace: " + b"x" * 65_536 + b"\r\n" + _BODY,
    "a cookie of 16 KB": _MULTI_STATUS + b"Set-Cookie: a=" + b"x" * 16_384 + b"\r\n" + _BODY,
    "500 headers": _MULTI_STATUS + b"".join(b"X-%d: y\r\n" % number for number in range(500)) + _BODY,
    "a status line of 20 KB": b"HTTP/1.1 207 " + b"m" * 20_000 + b"\r\nContent-Type: application/json\r\n" + _BODY,
    "1,000 early hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 1_000 + _MULTI_STATUS + _BODY,
    "1,000 times continue": b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000 + _MULTI_STATUS + _BODY,
    "a trailer of 20 KB": _MULTI_STATUS + _CHUNKED % (len(ACCEPTED), b"", b"X: " + b"x" * 20_000 + b"\r\n"),
    "200 trailers": _MULTI_STATUS + _CHUNKED % (len(ACCEPTED), b"", b"X: y\r\n" * 200),
    "a chunk's extension of 20 KB": _MULTI_STATUS + _CHUNKED % (len(ACCEPTED), b";e=" + b"e" * 20_000, b""),
}


@pytest.mark.parametrize("answer", _LAVISH)
async def test_an_answer_with_much_around_it_is_read(stack: AsyncExitStack, sink_to: SinkMaker, answer: str) -> None:
    sink = sink_to(token="Atza|fixed", url=await raw_server(stack, _LAVISH[answer]))
    assert await sink.send(b"{}", 1, may_start=always) == Verdicts([DELIVERED])


async def test_a_token_with_much_around_it_is_read(amazon: Amazon, sink_to: SinkMaker) -> None:
    amazon.tokens = [answering(200, orjson.dumps({"access_token": "first", "expires_in": 3600}), X_Trace="x" * 65_536)]
    assert await sink_to().send(b"{}", 1, may_start=always) == Verdicts([DELIVERED])


class _Names:
    """Stands in for the host's resolver: one name, whose address moves, or which cannot be resolved."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.address: str | None = "127.0.0.1"
        self.hangs: threading.Event | None = None
        self.threads: list[threading.Thread] = []
        self._resolve = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._asked)

    def _asked(self, host: str, *more: Any, **named: Any) -> Any:
        if host != "amazon.example":
            return self._resolve(host, *more, **named)
        if self.hangs is not None:
            self.threads.append(threading.current_thread())
            self.hangs.wait(600)
        if self.address is None:
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return self._resolve(self.address, *more, **named)


async def _named_server(stack: AsyncExitStack, address: str, port: int, met: list[str], go_on: asyncio.Event) -> int:
    async def reply(request: web.Request) -> web.StreamResponse:
        met.append(address)
        if await request.read() == b'{"wait":1}':
            await go_on.wait()
        return await answering(207, ACCEPTED)(request)

    app = web.Application()
    app.router.add_post("/adsApi/v1/create/events", reply)
    server = await stack.enter_async_context(TestServer(app, host=address, port=port))
    assert server.port is not None
    return server.port


async def test_a_name_that_moved_is_followed_while_its_old_address_answers(
    stack: AsyncExitStack, sink_to: SinkMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_SESSION_SECONDS", 0.2)
    met: list[str] = []
    names, go_on = _Names(monkeypatch), asyncio.Event()
    port = await _named_server(stack, "127.0.0.1", 0, met, go_on)
    await _named_server(stack, "127.0.0.2", port, met, go_on)
    sink = sink_to(token="Atza|fixed", url=f"http://amazon.example:{port}")
    slow = asyncio.create_task(sink.send(b'{"wait":1}', 1, may_start=always))
    assert await sink.send(b"{}", 1, may_start=always) == Verdicts([DELIVERED])
    names.address = "127.0.0.2"
    deadline = asyncio.get_running_loop().time() + patience(30)
    while met[-1] != "127.0.0.2":
        assert asyncio.get_running_loop().time() < deadline
        assert await sink.send(b"{}", 1, may_start=always) == Verdicts([DELIVERED])
        await asyncio.sleep(0.02)
    go_on.set()
    assert await slow == Verdicts([DELIVERED])  # what was in flight was not disturbed
    assert len(cast("Any", sink._http)._out) == 1


async def test_a_name_that_cannot_be_resolved_for_now_has_its_last_address(
    stack: AsyncExitStack, sink_to: SinkMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_SESSION_SECONDS", 0.0)
    met: list[str] = []
    names = _Names(monkeypatch)
    names.address = None
    port = await _named_server(stack, "127.0.0.1", 0, met, asyncio.Event())
    sink = sink_to(token="Atza|fixed", url=f"http://amazon.example:{port}")
    assert (await failure(sink)).reason == "dns"
    names.address = "127.0.0.1"
    assert await sink.send(b"{}", 1, may_start=always) == Verdicts([DELIVERED])
    names.address = None
    assert await sink.send(b"{}", 1, may_start=always) == Verdicts([DELIVERED])


@pytest.mark.parametrize(("lookup", "timeout", "reason"), [(60.0, 0.2, "timeout"), (0.2, 60.0, "dns")])
async def test_a_request_ends_in_time_though_the_look_up_of_its_name_hangs(
    lookup: float, timeout: float, reason: str, sink_to: SinkMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver, "_LOOKUP_SECONDS", lookup)
    names = _Names(monkeypatch)
    names.hangs = threading.Event()
    sink = sink_to(token="Atza|fixed", url="http://amazon.example:1", timeout_seconds=timeout)
    began = time.monotonic()
    for _ in range(8):  # more than a small executor has threads
        assert (await failure(sink)).reason == reason
    assert time.monotonic() - began < patience(20)
    await sink.close()
    # Nothing ends the look-up itself: one thread is left behind, and it does not hold the process up.
    assert [thread.daemon for thread in names.threads] == [True]
    names.hangs.set()
    names.threads[0].join(patience(10))


async def test_a_name_whose_look_up_hangs_has_its_last_address(
    stack: AsyncExitStack, sink_to: SinkMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_SESSION_SECONDS", 0.0)
    names = _Names(monkeypatch)
    port = await _named_server(stack, "127.0.0.1", 0, [], asyncio.Event())
    sink = sink_to(token="Atza|fixed", url=f"http://amazon.example:{port}")
    assert await sink.send(b"{}", 1, may_start=always) == Verdicts([DELIVERED])
    monkeypatch.setattr(resolver, "_LOOKUP_SECONDS", 0.2)
    names.hangs = threading.Event()
    assert [await sink.send(b"{}", 1, may_start=always) for _ in range(3)] == [Verdicts([DELIVERED])] * 3
    assert len(names.threads) == 1
    names.hangs.set()
    names.threads[0].join(patience(10))


async def test_nobody_listening_passes(unused_tcp_port: int, sink_to: SinkMaker) -> None:
    failed = await failure(sink_to(token="Atza|fixed", url=f"http://127.0.0.1:{unused_tcp_port}"))
    assert (failed.failure, failed.reason) == (Failure.TRANSIENT, "connect")
    assert f"127.0.0.1:{unused_tcp_port}" in failed.detail


async def test_a_server_without_tls_passes(amazon: Amazon, sink_to: SinkMaker) -> None:
    failed = await failure(sink_to(token="Atza|fixed", url=amazon.url.replace("http:", "https:")))
    assert (failed.failure, failed.reason) == (Failure.TRANSIENT, "tls")


async def test_proxies_of_the_environment_are_not_used(
    monkeypatch: pytest.MonkeyPatch, amazon: Amazon, sink_to: SinkMaker, unused_tcp_port: int
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{unused_tcp_port}")
    assert await sink_to().send(b"{}", 1, may_start=always) == Verdicts([DELIVERED])


async def test_no_secret_shows_in_a_failure_or_a_repr(amazon: Amazon, sink_to: SinkMaker) -> None:
    amazon.events = [answering(401, b'{"message":"Bearer first is not good"}')]
    amazon.tokens = [giving("first"), answering(400, b'{"error":"s3cret","error_description":"Atzr|refresh"}')]
    sink = sink_to()
    shown = repr(await failure(sink)) + repr(sink) + repr(vars(sink))
    for secret in ("first", "s3cret", "Atzr"):
        assert secret not in shown


async def test_closing_while_a_refresh_hangs_does_not_wait_for_it(amazon: Amazon, sink_to: SinkMaker) -> None:
    asked = asyncio.Event()

    async def hanging(_request: web.Request) -> web.StreamResponse:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    amazon.tokens = [hanging]
    sink = sink_to()
    sending = asyncio.create_task(sink.send(b"{}", 1, may_start=always))
    await asked.wait()
    await sink.close()
    assert await sending == RequestFailed(Failure.TRANSIENT, "closed")


async def test_what_nobody_foresaw_of_an_answer_is_a_failure_of_that_request_alone(
    sink_to: SinkMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = sink_to()

    def read(*_: object) -> Answer:
        raise RecursionError("jo@example.com")

    with monkeypatch.context() as odd:
        odd.setattr(AdsV1, "read", read)
        failed = await failure(sink)
    assert (failed.failure, failed.reason) == (Failure.TRANSIENT, "unforeseen")
    assert "RecursionError" in failed.detail
    assert "jo@example.com" not in failed.detail
    assert await sink.send(b"{}", 1, may_start=always) == Verdicts([DELIVERED])
