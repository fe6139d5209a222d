"""The sandbox as a server: the file of this room that speaks HTTP. The package docstring documents what it serves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import parse_qsl

import orjson
from aiohttp import web

from connector.sandbox.contract import CONTRACTS, Contract, Limits, Refusal, open_body
from connector.sandbox.faults import NO_FAULTS, Faults, FaultsRefused, RequestFault, planned, wait_ms
from connector.sandbox.record import ACCEPTED, MAX_LINES, Received, Record
from connector.sandbox.registry import Registry, RegistryRefusal
from connector.sandbox.replies import Reply, asked_refusal, refusing, retry_header, spoiled
from connector.sandbox.tokens import Credentials, Tokens
from connector.sandbox.verdicts import judge_events, read_events

__all__ = ["Options", "RunningSandbox", "serve"]

_Endpoint = Callable[[web.Request], Awaitable[web.StreamResponse]]

_LINES_A_WRITE = 1000
_SHUTDOWN_SECONDS = 1.0
"""How long a stop waits for requests under way; what is still waiting then is recorded as unread."""


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a sandbox accepts. The defaults are what ``connector sandbox`` runs with."""

    credentials: Credentials = field(default_factory=Credentials)
    token_life_ms: int = 3_600_000
    """Of the access tokens it gives out (section 2: 60 minutes)."""
    max_body_bytes: int = 1_048_576
    """Of a request. Amazon's limit is unknown (section 3.5); 1 MB is what Tealium flushes at."""
    limits: Limits = field(default_factory=Limits)
    max_lines: int = MAX_LINES
    """Of the record; the oldest requests leave first."""
    clock: Callable[[], int] = _wall_clock_ms
    """Milliseconds since 1970 UTC: for the age of events, the life of tokens, and the record."""


class _Turn(NamedTuple):
    """A request's place in the fault plan, fixed when it arrives: a plan set meanwhile is for later ones."""

    faults: Faults
    ordinal: int
    fault: RequestFault | None


class _Sandbox:
    """The state of one sandbox and its endpoints."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.record = Record(options.max_lines)
        self.registry = Registry()
        self.tokens = Tokens(options.credentials, options.token_life_ms)
        self.set_faults(NO_FAULTS)

    def set_faults(self, faults: Faults) -> None:
        """Set the plan; its ordinals begin at 0."""
        self.faults = faults
        self._events_ordinal = 0
        self._token_ordinal = 0

    def application(self) -> web.Application:
        """Return what the server serves."""
        application = web.Application(client_max_size=self.options.max_body_bytes)
        application.add_routes(
            [
                *(web.post(contract.path, self._events_of(contract)) for contract in CONTRACTS),
                web.post("/auth/o2/token", self._token),
                web.get("/sandbox/record", self._get_record),
                web.delete("/sandbox/record", self._delete_record),
                web.get("/sandbox/status", self._get_status),
                web.get("/sandbox/faults", self._get_faults),
                web.put("/sandbox/faults", self._put_faults),
                web.delete("/sandbox/faults", self._delete_faults),
                *self._registry_routes(),
            ]
        )
        return application

    def _events_of(self, contract: Contract) -> _Endpoint:
        async def events(request: web.Request) -> web.StreamResponse:
            return await self._events(request, contract)

        return events

    async def _events(self, request: web.Request, contract: Contract) -> web.StreamResponse:
        try:
            body = await _read_body(request)
        except ConnectionError:
            self.record.count("broken_off")
            raise
        ordinal, self._events_ordinal = self._events_ordinal, self._events_ordinal + 1
        turn = _Turn(self.faults, ordinal, self.faults.of_request(ordinal))
        received = self.record.open(contract.name, self.options.clock())
        reply = self._reply(contract, request.headers, body, received, turn)
        wait = wait_ms(turn.faults, ordinal) + (turn.fault.ms if turn.fault else 0)
        answer = "unread"
        try:
            response, answer = await _deliver(request, reply, wait)
        finally:
            self.record.close(received, answer, self.options.clock())
        return response

    def _reply(
        self, contract: Contract, headers: Mapping[str, str], body: bytes | Refusal, received: Received, turn: _Turn
    ) -> Reply:
        """Judge and record a request, and return the answer to it."""
        now_ms, fault = received.arrival_ms, turn.fault
        parsed = body if isinstance(body, Refusal) else open_body(contract, body)
        wrong = asked_refusal(fault) or self.tokens.refuse(contract, headers, now_ms)
        if isinstance(parsed, Refusal):
            return refusing(contract, wrong or parsed, received.number, fault)
        events = read_events(contract, parsed)
        received.ids, received.digests = events.ids, b"".join(events.digests)
        if wrong is not None:
            received.fault = fault.name if fault is not None and fault.status is not None else None
            self.record.add(received)
            return refusing(contract, wrong, received.number, fault)
        judged = judge_events(
            contract, events, now_ms=now_ms, limits=self.options.limits, faults=turn.faults, ordinal=turn.ordinal
        )
        received.fault = fault.name if fault is not None else None
        received.verdict, received.judgements = ACCEPTED, judged.judgements
        self.record.add(received)
        self.record.count("clear_match_keys", judged.clear_match_keys)
        return spoiled(Reply(207, judged.body, "sent"), fault)

    async def _token(self, request: web.Request) -> web.StreamResponse:
        form = dict(parse_qsl((await request.read()).decode(errors="replace")))
        fault = planned(self.faults.token_next, self._token_ordinal)
        self._token_ordinal += 1
        answer = asked_refusal(fault) or self.tokens.refresh(
            form if request.content_type == "application/x-www-form-urlencoded" else {},
            authorized="Authorization" in request.headers,
            now_ms=self.options.clock(),
        )
        if isinstance(answer, Refusal):
            self.record.count("tokens_refused")
            body = {"error": answer.code, "error_description": answer.message}
            reply = Reply(answer.status, orjson.dumps(body), f"failed:{answer.status}", headers=retry_header(fault))
        else:
            self.record.count("tokens")
            reply = spoiled(Reply(200, orjson.dumps(answer), "sent"), fault)
        response, _ = await _deliver(request, reply, fault.ms if fault else 0)
        return response

    async def _get_record(self, request: web.Request) -> web.StreamResponse:
        first = request.query.get("from", "0")
        if not (first.isascii() and first.isdigit()):
            return _json(400, {"message": "from must be a number of lines"})
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        chunk: list[bytes] = []
        for line in self.record.lines(int(first)):
            chunk.append(line)
            if len(chunk) == _LINES_A_WRITE:
                await response.write(b"".join(chunk))
                chunk.clear()
                # A write that fits the buffer does not yield, and events must not wait for a long record.
                await asyncio.sleep(0)
        await response.write(b"".join(chunk))
        await response.write_eof()
        return response

    async def _delete_record(self, _request: web.Request) -> web.StreamResponse:
        self.record.clear()
        return web.Response(status=204)

    async def _get_status(self, _request: web.Request) -> web.StreamResponse:
        return _json(200, self.record.status())

    async def _get_faults(self, _request: web.Request) -> web.StreamResponse:
        return _json(200, self.faults.as_json())

    async def _put_faults(self, request: web.Request) -> web.StreamResponse:
        try:
            self.set_faults(Faults.parse(orjson.loads(await request.read())))
        except (orjson.JSONDecodeError, FaultsRefused) as error:
            return _json(400, {"message": str(error)})
        return _json(200, self.faults.as_json())

    async def _delete_faults(self, _request: web.Request) -> web.StreamResponse:
        self.set_faults(NO_FAULTS)
        return web.Response(status=204)

    def _registry_routes(self) -> list[web.RouteDef]:
        registry, at = self.registry, "/registry"
        subject = at + "/subjects/{subject}"
        return [
            web.get(at + "/subjects", self._registry_call(lambda _match, _query, _body: registry.subjects())),
            web.get(
                subject + "/versions",
                self._registry_call(lambda match, _query, _body: registry.versions(match["subject"])),
            ),
            web.get(
                subject + "/versions/{version}",
                self._registry_call(lambda match, _query, _body: registry.by_version(match["subject"], match["version"])),
            ),
            web.get(
                at + "/schemas/ids/{id}",
                self._registry_call(lambda match, query, _body: registry.by_id(match["id"], query.get("subject"))),
            ),
            web.post(
                subject + "/versions",
                self._registry_call(lambda match, _query, body: registry.register_document(match["subject"], body)),
            ),
            web.post(subject, self._registry_call(lambda match, _query, body: registry.lookup(match["subject"], body))),
        ]

    def _registry_call(self, call: Callable[[Mapping[str, str], Mapping[str, str], object], object]) -> _Endpoint:
        async def answer(request: web.Request) -> web.StreamResponse:
            await asyncio.sleep(self.faults.registry_latency_ms / 1000)
            if self.faults.registry_down:
                return _json(503, {"error_code": 50301, "message": "down on request of the sandbox's faults"})
            try:
                body = orjson.loads(await request.read()) if request.method == "POST" else None
                return _json(200, call(request.match_info, request.query, body))
            except orjson.JSONDecodeError:
                return _json(400, {"error_code": 400, "message": "the body is not JSON"})
            except RegistryRefusal as refusal:
                return _json(refusal.status, refusal.body)

        return answer


async def _read_body(request: web.Request) -> bytes | Refusal:
    if request.content_type != "application/json" or "Content-Encoding" in request.headers:
        return Refusal(415, "BAD_REQUEST", "the content type must be application/json, uncompressed")
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        return Refusal(413, "CONTENT_TOO_LARGE", "the request is too large: split it")


async def _deliver(request: web.Request, reply: Reply, wait: int) -> tuple[web.Response, str]:
    """Send an answer, and return it with the record's word for what became of it."""
    if wait:
        await asyncio.sleep(wait / 1000)
    response = web.Response(
        status=reply.status, body=reply.body, content_type=reply.content_type, headers=dict(reply.headers)
    )
    transport = request.transport
    if transport is None or transport.is_closing():
        return response, "unread"
    if reply.label == "withheld":
        transport.abort()
        return response, reply.label
    try:
        await response.prepare(request)
        await response.write_eof()
    except ConnectionError:
        return response, "unread"
    return response, reply.label


def _json(status: int, document: object) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(document), content_type="application/json")


class RunningSandbox:
    """A sandbox that listens. `stop` ends it; its record can be read afterwards."""

    def __init__(self, sandbox: _Sandbox, runner: web.AppRunner, host: str, port: int) -> None:
        self._sandbox = sandbox
        self._runner = runner
        self.port = port
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        """For ``AMAZON_BASE_URL``."""
        self.token_url = self.url + "/auth/o2/token"
        """For ``AMAZON_TOKEN_URL``."""
        self.registry_url = self.url + "/registry"
        """For ``SCHEMA_REGISTRY_URL``."""

    @property
    def options(self) -> Options:
        """What it accepts."""
        return self._sandbox.options

    @property
    def record(self) -> Record:
        """What it received."""
        return self._sandbox.record

    @property
    def registry(self) -> Registry:
        """Its schemas."""
        return self._sandbox.registry

    @property
    def faults(self) -> Faults:
        """The fault plan; setting one starts its ordinals at 0."""
        return self._sandbox.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._sandbox.set_faults(faults)

    async def stop(self) -> None:
        """Stop listening, give requests under way a second, and close every connection."""
        await self._runner.cleanup()


async def serve(host: str = "127.0.0.1", port: int = 0, *, options: Options | None = None) -> RunningSandbox:
    """Start a sandbox in the running event loop; port 0 takes any that is free.

    Raises:
        OSError: the port cannot be had.
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
