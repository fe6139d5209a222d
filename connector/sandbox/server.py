"""The sandbox's HTTP server: receives requests, and asks the other files what to answer.

The package docstring lists the paths that it serves.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote_plus
from weakref import WeakSet

import orjson
from aiohttp import web
from aiohttp.typedefs import Middleware

from connector.sandbox import registry
from connector.sandbox.catalogue import CATALOGUE, EVENT_FAULTS
from connector.sandbox.contract import CONTRACTS, EventLimits, RequestRefusal, SandboxContract, open_body
from connector.sandbox.delivery import as_json, deliver, read_half, reset
from connector.sandbox.faults import NO_FAULTS, Faults, FaultsRefused, RequestFault, wait_ms
from connector.sandbox.record import ACCEPTED, MAX_LINES, NOT_JUDGED, Received, RequestRecord
from connector.sandbox.registry import SchemaStore
from connector.sandbox.replies import Reply, fault_refusal, refusal_reply, spoiled, token_refusal, token_spoiled
from connector.sandbox.tokens import IssuedTokens, SandboxCredentials, bearer, fingerprint
from connector.sandbox.verdicts import Events, judge_events, read_events

__all__ = ["Options", "RunningSandbox", "serve"]

_Endpoint = Callable[[web.Request], Awaitable[web.StreamResponse]]

_BEFORE_ITS_EVENTS = frozenset({"reset_at_head", "reset_mid_request"})
"""Faults that hit a request while it is being read."""
_PROFILES_CLIENT = "Amazon-Advertising-API-ClientId"
"""The header of the client id that ``/v2/profiles`` knows (docs/amazon-contract.md#profiles)."""
_LINES_A_WRITE = 1000
_SHUTDOWN_SECONDS = 1.0
"""How long a stop waits for requests in progress; a request still waiting after it is recorded as
unread."""


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of a sandbox. Their defaults are those of ``connector sandbox``."""

    credentials: SandboxCredentials = field(default_factory=SandboxCredentials)
    token_life_ms: int = 3_600_000
    """How long an access token lives (docs/amazon-contract.md#login-with-amazon: 60 minutes)."""
    max_body_bytes: int = 1_048_576
    """Largest body of a request. Amazon's limit is unknown
    (docs/amazon-contract.md#size-of-a-request); Tealium flushes at 1 MB."""
    limits: EventLimits = field(default_factory=EventLimits)
    faults: Faults = NO_FAULTS
    """The fault plan at the start."""
    max_lines: int = MAX_LINES
    """Most lines of the record; the oldest requests are dropped first."""
    clock: Callable[[], int] = _wall_clock_ms
    """Returns milliseconds since 1970 UTC, for the age of events, the life of tokens, and the
    record."""


class _Turn(NamedTuple):
    """A request's place in the fault plan.

    It is fixed when the request arrives: a plan that is set afterwards is for later requests.
    """

    faults: Faults
    ordinal: int
    fault: RequestFault | None


class _Sandbox:
    """The state of one sandbox and its endpoints."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.record = RequestRecord(options.max_lines)
        self.registry = SchemaStore()
        self.tokens = IssuedTokens(options.credentials, options.token_life_ms)
        self._left: WeakSet[asyncio.BaseTransport] = WeakSet()
        """Open connections that are reset as soon as another request comes on them."""
        self.set_faults(options.faults)

    def set_faults(self, faults: Faults) -> None:
        """Set the plan and restart its ordinals at 0."""
        self.faults = faults
        self._events_ordinal = 0
        self._token_ordinal = 0
        self._let_pass: deque[int] = deque()  # arrivals of the latest requests below the limit

    def application(self) -> web.Application:
        """Return the web application with all routes."""
        application = web.Application(client_max_size=self.options.max_body_bytes, middlewares=[self._resetting()])
        application.add_routes(
            [
                *(web.post(contract.path, self._events_of(contract)) for contract in CONTRACTS),
                web.post("/auth/o2/token", self._token),
                web.get("/v2/profiles", self._profiles),
                web.route("*", "/elsewhere/{path:.*}", self._elsewhere),
                web.get("/sandbox/record", self._get_record),
                web.get("/sandbox/requests", self._get_requests),
                web.delete("/sandbox/record", self._delete_record),
                web.get("/sandbox/status", self._get_status),
                web.get("/sandbox/faults", self._get_faults),
                web.put("/sandbox/faults", self._put_faults),
                web.delete("/sandbox/faults", self._delete_faults),
                web.get("/sandbox/faults/names", self._get_names),
                *registry.routes("/registry", self.registry, lambda: self.faults),
            ]
        )
        return application

    def _events_of(self, contract: SandboxContract) -> _Endpoint:
        async def events(request: web.Request) -> web.StreamResponse:
            return await self._events(request, contract)

        return events

    async def _events(self, request: web.Request, contract: SandboxContract) -> web.StreamResponse:
        turn = self._turn()
        if turn.fault is not None and turn.fault.name in _BEFORE_ITS_EVENTS:
            return await self._break_off(request, contract, turn.fault.name)
        try:
            body = await _read_body(request, turn.faults.max_body_bytes)
        except ConnectionError:
            self.record.count("broken_off")
            raise
        received = self._open(request, contract)
        received.size = 0 if isinstance(body, RequestRefusal) else len(body)
        reply = self._reply(contract, request, body, received, turn)
        reply = dataclasses.replace(reply, wait_ms=reply.wait_ms + wait_ms(turn.faults, turn.ordinal))
        answer, status = "unread", None
        try:
            response, answer = await self._deliver(request, reply)
            status = response.status
        finally:
            self.record.close(received, answer, status, self.options.clock())
        return response

    def _turn(self) -> _Turn:
        ordinal, self._events_ordinal = self._events_ordinal, self._events_ordinal + 1
        fault = self.faults.of_request(ordinal)
        if fault is None and self._exceeds_rate():
            fault = RequestFault("throttle_429", retry_after=self.faults.retry_after)
        return _Turn(self.faults, ordinal, fault)

    def _exceeds_rate(self) -> bool:
        """Return whether a request exceeds the plan's rate.

        A request that is refused because of the rate does not count towards it.
        """
        limit, now_ms = self.faults.max_requests_per_second, self.options.clock()
        if limit == 0:
            return False
        while self._let_pass and now_ms - self._let_pass[0] >= 1000:
            self._let_pass.popleft()
        if len(self._let_pass) >= limit:
            return True
        self._let_pass.append(now_ms)
        return False

    def _open(self, request: web.Request, contract: SandboxContract) -> Received:
        token = fingerprint(bearer(request.headers))
        return self.record.open(contract.name, self.options.clock(), self.tokens.account_of(request.headers), token)

    async def _break_off(self, request: web.Request, contract: SandboxContract, name: str) -> web.StreamResponse:
        """Reset a connection before its request has been read."""
        received = self._open(request, contract)
        received.fault = name
        if name == "reset_mid_request":
            await read_half(request)
        if request.transport is not None:
            reset(request.transport)
        self.record.close(received, name, None, self.options.clock())
        return web.Response()

    def _reply(
        self, contract: SandboxContract, request: web.Request, body: bytes | RequestRefusal, received: Received, turn: _Turn
    ) -> Reply:
        """Judge and record a request, and return the answer to it."""
        now_ms, fault = received.arrival_ms, turn.fault
        if fault is not None and fault.name == "expire_tokens":
            self.tokens.expire()
        received.fault = None if fault is None or fault.name in EVENT_FAULTS else fault.name
        refusal = fault_refusal(fault) or self.tokens.refuse(
            contract, request.headers, now_ms, revoked=turn.faults.refresh_token_revoked
        )
        opened = body if isinstance(body, RequestRefusal) else open_body(contract, body)
        if isinstance(opened, RequestRefusal):
            refusal = refusal or opened
        else:
            events = read_events(contract, opened)
            received.ids, received.digests = events.ids, b"".join(events.digests)
            if refusal is None:
                return self._judged(contract, events, received, turn)
            self.record.add(received)
        elsewhere = _elsewhere_of(request)
        return refusal_reply(contract, refusal, received.number, fault, now_ms=now_ms, elsewhere=elsewhere)

    def _judged(self, contract: SandboxContract, events: Events, received: Received, turn: _Turn) -> Reply:
        """Judge and record the events of a request, and return the answer."""
        now_ms = received.arrival_ms
        judged = judge_events(
            contract,
            events,
            now_ms=now_ms,
            limits=self.options.limits,
            faults=turn.faults,
            ordinal=turn.ordinal,
            fault=turn.fault,
        )
        received.verdict, received.judgements = NOT_JUDGED if judged.sunk else ACCEPTED, judged.judgements
        received.times = events.times(contract)
        self.record.add(received)
        self.record.count("clear_match_keys", judged.clear_match_keys)
        if judged.sunk:
            sunk = RequestRefusal(400, "BAD_REQUEST", "the request is invalid")
            return refusal_reply(contract, sunk, received.number, None, now_ms=now_ms)
        return spoiled(Reply(207, judged.body, "sent"), turn.fault, first_index=contract.first_index)

    async def _deliver(self, request: web.Request, reply: Reply) -> tuple[web.Response, str]:
        if reply.last and request.transport is not None:
            self._left.add(request.transport)
        return await deliver(request, reply)

    def _resetting(self) -> Middleware:
        """Return a middleware that resets a connection whose last answer was sent."""

        @web.middleware
        async def reset_left(request: web.Request, handler: _Endpoint) -> web.StreamResponse:  # aiohttp says `handler`
            transport = request.transport
            if transport is None or transport not in self._left:
                return await handler(request)
            self.record.count("left_connections_reset")
            reset(transport)
            return web.Response()

        return reset_left

    async def _elsewhere(self, request: web.Request) -> web.StreamResponse:
        """Answer as the other host that a redirect leads to; count requests that carry a secret."""
        self.record.count("elsewhere")
        texts = [request.path_qs, *request.headers.values(), (await request.read()).decode(errors="replace")]
        if any(secret in unquote_plus(text) for secret in self.tokens.secrets() for text in texts):
            self.record.count("elsewhere_with_a_token")
        return as_json(200, {})

    async def _token(self, request: web.Request) -> web.StreamResponse:
        form = dict(parse_qsl((await request.read()).decode(errors="replace")))
        fault = self.faults.of_token_request(self._token_ordinal)
        self._token_ordinal += 1
        now_ms = self.options.clock()
        answer = token_refusal(fault) or self.tokens.refresh(
            form if request.content_type == "application/x-www-form-urlencoded" else {},
            authorized="Authorization" in request.headers,
            revoked=self.faults.refresh_token_revoked,
            now_ms=now_ms,
        )
        self.record.count("tokens_refused" if isinstance(answer, RequestRefusal) else "tokens")
        response, _ = await deliver(request, token_spoiled(answer, fault, now_ms=now_ms, elsewhere=_elsewhere_of(request)))
        return response

    async def _profiles(self, request: web.Request) -> web.StreamResponse:
        revoked = self.faults.refresh_token_revoked
        refused = self.tokens.refuse_client(_PROFILES_CLIENT, request.headers, self.options.clock(), revoked=revoked)
        if refused is not None:
            return as_json(refused.status, {"code": refused.code, "details": refused.message})
        return as_json(200, self.tokens.profiles())

    async def _get_record(self, request: web.Request) -> web.StreamResponse:
        first = request.query.get("from", "0")
        if not (first.isascii() and first.isdigit()):
            return as_json(400, {"message": "from must be a number of lines"})
        return await _stream(request, self.record.lines(int(first)))

    async def _get_requests(self, request: web.Request) -> web.StreamResponse:
        return await _stream(request, self.record.requests())

    async def _delete_record(self, _request: web.Request) -> web.StreamResponse:
        self.record.clear()
        return web.Response(status=204)

    async def _get_status(self, _request: web.Request) -> web.StreamResponse:
        return as_json(200, self.record.status())

    async def _get_names(self, _request: web.Request) -> web.StreamResponse:
        return as_json(200, [{**fault._asdict(), "of": fault.of.value} for fault in CATALOGUE])

    async def _get_faults(self, _request: web.Request) -> web.StreamResponse:
        return as_json(200, self.faults.as_json())

    async def _put_faults(self, request: web.Request) -> web.StreamResponse:
        try:
            self.set_faults(Faults.parse(orjson.loads(await request.read())))
        except (orjson.JSONDecodeError, FaultsRefused) as error:
            return as_json(400, {"message": str(error)})
        return as_json(200, self.faults.as_json())

    async def _delete_faults(self, _request: web.Request) -> web.StreamResponse:
        self.set_faults(NO_FAULTS)
        return web.Response(status=204)


async def _stream(request: web.Request, lines: Iterator[bytes]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    while chunk := b"".join(itertools.islice(lines, _LINES_A_WRITE)):
        await response.write(chunk)
        # A write that fits into the buffer does not yield to the event loop, and requests must not
        # wait while a long record is sent.
        await asyncio.sleep(0)
    await response.write_eof()
    return response


async def _read_body(request: web.Request, most: int | None) -> bytes | RequestRefusal:
    if request.content_type != "application/json" or "Content-Encoding" in request.headers:
        return RequestRefusal(415, "BAD_REQUEST", "the content type must be application/json, uncompressed")
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        body = None
    if body is None or (most is not None and len(body) > most):
        return RequestRefusal(413, "CONTENT_TOO_LARGE", "the request is too large: split it")
    return body


def _elsewhere_of(request: web.Request) -> str:
    """Return the URL of a request on another host, which is this sandbox under its other name."""
    other = "127.0.0.1" if request.url.host == "localhost" else "localhost"
    return f"http://{other}:{request.url.port}/elsewhere{request.path}"


class RunningSandbox:
    """A sandbox that listens. `stop` ends it; its record can be read afterwards."""

    def __init__(self, sandbox: _Sandbox, runner: web.AppRunner, host: str, port: int) -> None:
        self._sandbox = sandbox
        self._runner = runner
        self.port = port
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        """The value for ``AMAZON_BASE_URL``."""
        self.token_url = self.url + "/auth/o2/token"
        """The value for ``AMAZON_TOKEN_URL``."""
        self.registry_url = self.url + "/registry"
        """The value for ``SCHEMA_REGISTRY_URL``."""

    @property
    def options(self) -> Options:
        """The options that it was started with."""
        return self._sandbox.options

    @property
    def record(self) -> RequestRecord:
        """The record of what it received."""
        return self._sandbox.record

    @property
    def registry(self) -> SchemaStore:
        """The schemas in its registry."""
        return self._sandbox.registry

    @property
    def faults(self) -> Faults:
        """The fault plan; setting one starts its ordinals at 0."""
        return self._sandbox.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._sandbox.set_faults(faults)

    async def stop(self) -> None:
        """Stop listening, give requests in progress a second, and close every connection."""
        await self._runner.cleanup()


async def serve(host: str = "127.0.0.1", port: int = 0, *, options: Options | None = None) -> RunningSandbox:
    """Start a sandbox in the running event loop; port 0 takes any free port.

    Raises:
        OSError: the port is not available.
    """
    sandbox = _Sandbox(options or Options())
    runner = web.AppRunner(sandbox.application(), access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError:
        await runner.cleanup()
        raise
    return RunningSandbox(sandbox, runner, host, runner.addresses[0][1])
