"""Requests through a proxy: to the sandbox with TLS, and every way in which the proxy may fail."""

from __future__ import annotations

import asyncio
import base64
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from connector.amazon.ads_v1 import AdsV1
from connector.amazon.client import AmazonSink
from connector.amazon.proxy import Proxy, proxy_problem, proxy_shown
from connector.amazon.tokens import Credentials
from connector.assembly import read_settings, sink_for
from connector.errors import SettingsError
from connector.model import Failure, RequestFailed, Verdicts
from connector.sandbox import serve
from tests.environment import LEAST
from tests.patience import patience

_LOGIN = b"Basic " + base64.b64encode(b"us@er:p:ss")
_CLIENT = "amzn1.application-oa2-client.sandbox"
_USER = "us%40er:p%3Ass@"


class ConnectProxy:
    """A proxy that knows CONNECT, asks for a login, and fails as it is told."""

    def __init__(self, refuses: bytes | None = None) -> None:
        self._refuses = refuses
        """What it answers instead of opening a tunnel; an empty answer breaks off, and `b"..."` never comes."""
        self.asked: list[bytes] = []
        self.passed = 0
        """Bytes towards Amazon."""
        self.dies_after: int | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, tls: ssl.SSLContext | None = None, port: int = 0) -> int:
        self._tls = tls
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._tunnel(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head.split(b"\r\n")[0])
        if self._refuses is not None:
            if self._refuses == b"...":
                await asyncio.sleep(3600)
            writer.write(self._refuses)
            return
        if b"proxy-authorization: " + _LOGIN.lower() not in head.lower():
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        host, _, port = head.split()[1].decode().rpartition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(self._pass(reader, far_writer, towards=True), self._pass(far_reader, writer, towards=False))
        finally:
            far_writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, towards: bool) -> None:
        while data := await reader.read(65_536):
            self.passed += len(data) if towards else 0
            if self.dies_after is not None and self.passed > self.dies_after:
                raise ConnectionResetError
            writer.write(data)
            await writer.drain()
        with suppress(OSError):
            writer.write_eof() if writer.can_write_eof() else writer.close()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key, in one file."""
    place = tmp_path_factory.mktemp("keys") / "key.pem"
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(place))
    named = ("-subj", "/CN=amazon", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "1")
    made = subprocess.run(["openssl", "req", "-x509", *curve, *named], capture_output=True, check=True)
    place.write_bytes(place.read_bytes() + made.stdout)
    return place


def _shown(keys: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys)
    return context


@pytest.fixture
def _trusted(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", ssl.create_default_context(cafile=str(keys)))


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def amazon(stack: AsyncExitStack, keys: Path) -> str:
    """The sandbox behind TLS; its URL."""
    sandbox = await serve()
    stack.push_async_callback(sandbox.stop)
    port = int(sandbox.url.rpartition(":")[2])

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)

        async def send(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                while data := await source.read(65_536):
                    sink.write(data)
                    await sink.drain()
            sink.close()

        await asyncio.gather(send(reader, far_writer), send(far_reader, writer))

    server = await asyncio.start_server(forward, "127.0.0.1", ssl=_shown(keys))
    stack.callback(server.close)
    return f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


SinkBy = Callable[[str], AmazonSink]


@pytest.fixture
def sink_by(stack: AsyncExitStack, amazon: str, _trusted: None) -> SinkBy:
    def make(proxy: str, timeout_seconds: float = 0) -> AmazonSink:
        login = Credentials(_CLIENT, lambda: "sandbox-secret", lambda: "Atzr|sandbox", f"{amazon}/auth/o2/token")
        seconds = timeout_seconds or patience(10)
        contract = AdsV1("5850000000001", _CLIENT, "NA")
        sink = AmazonSink(contract, amazon, login, timeout_seconds=seconds, max_connections=2, proxy=lambda: proxy)
        stack.push_async_callback(sink.close)
        return sink

    return make


async def _proxy(stack: AsyncExitStack, refuses: bytes | None = None) -> tuple[ConnectProxy, str]:
    proxy = ConnectProxy(refuses)
    port = await proxy.start()
    stack.push_async_callback(proxy.stop)
    return proxy, f"127.0.0.1:{port}"


async def _send(sink: AmazonSink) -> Verdicts | RequestFailed:
    return await sink.send(b'{"events":[{}]}', 1, may_start=lambda: True)


async def test_token_and_events_pass_through_the_proxy_unopened(stack: AsyncExitStack, amazon: str, sink_by: SinkBy) -> None:
    proxy, where = await _proxy(stack)
    answer = await _send(sink_by(f"http://{_USER}{where}"))
    assert isinstance(answer, Verdicts), answer
    assert set(proxy.asked) == {f"CONNECT {amazon.removeprefix('https://')} HTTP/1.1".encode()}
    assert proxy.passed > 500


@pytest.mark.parametrize(
    ("answers", "failure", "reason", "says"),
    [
        (b"HTTP/1.1 407 No\r\n\r\n", Failure.OPERATOR, "proxy-407", "check user and password in AMAZON_PROXY"),
        (b"HTTP/1.1 403 No\r\n\r\n", Failure.OPERATOR, "proxy-403", "check whether it lets this host connect to 127.0.0.1"),
        (b"HTTP/1.1 502 No\r\n\r\n", Failure.TRANSIENT, "proxy-502", "answered 502"),
        (b"HTTP/1.1 429 No\r\n\r\n", Failure.TRANSIENT, "proxy-429", "answered 429"),
    ],
)
async def test_what_the_proxy_answers_is_told_as_its_own(
    stack: AsyncExitStack, sink_by: SinkBy, answers: bytes, failure: Failure, reason: str, says: str
) -> None:
    _, where = await _proxy(stack, answers)
    answer = await _send(sink_by(f"http://{where}"))
    assert isinstance(answer, RequestFailed)
    assert (answer.failure, answer.reason, answer.status) == (failure, f"token-{reason}", None)
    assert answer.detail.startswith(f"The proxy {where} answered")
    assert says in answer.detail


async def test_a_wrong_password_of_the_proxy_needs_an_operator_and_is_not_shown(
    stack: AsyncExitStack, sink_by: SinkBy
) -> None:
    _, where = await _proxy(stack)
    answer = await _send(sink_by(f"http://someone:else@{where}"))
    assert isinstance(answer, RequestFailed)
    assert (answer.failure, answer.reason) == (Failure.OPERATOR, "token-proxy-407")
    assert "else" not in repr(answer)


async def test_a_proxy_that_is_not_there_is_told_by_its_own_address(stack: AsyncExitStack, sink_by: SinkBy) -> None:
    proxy, where = await _proxy(stack)
    await proxy.stop()
    for place in (where, "proxy.invalid:3128"):
        answer = await _send(sink_by(f"http://{place}"))
        assert isinstance(answer, RequestFailed)
        assert (answer.failure, answer.reason) == (Failure.TRANSIENT, "token-proxy-connect")
        assert answer.detail.startswith(f"The proxy {place} cannot be reached")


@pytest.mark.parametrize(
    ("answers", "reasons"),
    [(b"...", {"token-timeout"}), (b"", {"token-disconnected"}), (b"SSH-2.0\r\n", {"token-not-http", "token-disconnected"})],
)
async def test_a_proxy_that_is_silent_breaks_off_or_is_none_is_a_failure_in_time(
    stack: AsyncExitStack, sink_by: Callable[..., AmazonSink], answers: bytes, reasons: set[str]
) -> None:
    _, where = await _proxy(stack, answers)
    answer = await _send(sink_by(f"http://{where}", timeout_seconds=1.0))
    assert isinstance(answer, RequestFailed)
    assert answer.reason in reasons


async def test_a_proxy_that_dies_in_a_request_leaves_the_events_to_be_sent_again(
    stack: AsyncExitStack, sink_by: SinkBy
) -> None:
    proxy, where = await _proxy(stack)
    sink = sink_by(f"http://{_USER}{where}")
    assert isinstance(await _send(sink), Verdicts)
    proxy.dies_after = proxy.passed
    answer = await _send(sink)
    assert isinstance(answer, RequestFailed)
    assert answer.failure in {Failure.TRANSIENT, Failure.UNREADABLE}
    proxy.dies_after = None
    assert isinstance(await _send(sink), Verdicts)


async def test_a_proxy_that_opens_tls_shows_as_a_certificate(
    stack: AsyncExitStack, sink_by: SinkBy, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, where = await _proxy(stack)
    sink = sink_by(f"http://{_USER}{where}")
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", ssl.create_default_context())  # which does not know it
    answer = await _send(sink)
    assert isinstance(answer, RequestFailed)
    assert (answer.failure, answer.reason) == (Failure.OPERATOR, "token-certificate")


async def test_a_proxy_file_that_is_spoilt_is_told_and_not_quoted(sink_by: SinkBy) -> None:
    answer = await _send(sink_by("secret nonsense"))
    assert isinstance(answer, RequestFailed)
    assert (answer.failure, answer.reason) == (Failure.OPERATOR, "token-proxy-connect")
    assert "nonsense" not in repr(answer)


@pytest.mark.parametrize(
    "text",
    [
        "https://proxy:3128",
        "socks5://proxy:1080",
        "proxy:3128",
        "http://proxy",
        "http://:3128",
        "http://p:3128/x",
        "http://a:b:c",
        "http://a%3Ab:c@proxy:3128",
        "http://pro xy:3128",
        "http://pro\\xy:3128",
    ],
)
def test_what_is_no_proxy_is_refused_and_not_quoted(text: str) -> None:
    problem = proxy_problem(text)
    assert problem is not None
    assert "must be http://host:port" in problem
    assert text not in problem
    assert Proxy.read(text) is None
    assert proxy_shown(text) == "***"


def test_of_a_proxy_only_the_place_is_shown() -> None:
    assert Proxy.read("http://us%40er:p%3Ass@[::1]:3128") == Proxy("::1", 3128, b"us@er:p:ss")
    assert proxy_shown("http://user:pass@proxy:3128/") == "http://proxy:3128"


@pytest.mark.parametrize(
    ("login", "sent"),
    [
        ("", None),
        ("user@", b"user:"),
        (":password@", b":password"),  # some proxies take a token as the password of nobody
        ("us%40er:p%3Ass%25@", b"us@er:p:ss%"),
        ("user:50%off@", b"user:50%off"),
        ("user:p@ss@", b"user:p@ss"),
        ("user:%E4@", b"user:\xe4"),  # not UTF-8: what was given is what is sent
        ("user:ä@", "user:ä".encode()),
    ],
)
def test_user_and_password_reach_the_proxy_as_they_were_given(login: str, sent: bytes | None) -> None:
    proxy = Proxy.read(f"http://{login}proxy:3128")
    assert proxy is not None
    header = proxy.headers.get("Proxy-Authorization")

    assert (base64.b64decode(header.removeprefix("Basic ")) if header else None) == sent
    assert proxy.url == "http://proxy:3128"


def test_the_setting_is_a_secret_that_shows_its_place_and_the_environments_proxy_is_noted(tmp_path: Path) -> None:
    place = tmp_path / "proxy"
    place.write_text("http://user:hidden@proxy:3128\n")
    settings = read_settings(LEAST | {"AMAZON_PROXY_FILE": str(place), "HTTPS_PROXY": "http://other:hidden@other:1"})
    assert dict(settings.describe())["AMAZON_PROXY"] == "http://proxy:3128"
    assert "hidden" not in repr(settings)
    assert settings.notes == ()
    assert settings.amazon.proxy() == "http://user:hidden@proxy:3128"

    (note,) = read_settings(LEAST | {"https_proxy": "http://other:hidden@other:1"}).notes
    assert note.startswith("https_proxy is not used: set AMAZON_PROXY")
    assert "hidden" not in note
    with pytest.raises(SettingsError, match="AMAZON_PROXY begins with socks5://, which is not supported"):
        read_settings(LEAST | {"AMAZON_PROXY": "socks5://user:hidden@proxy:1080"})


async def test_the_sink_of_the_settings_goes_by_the_proxy(stack: AsyncExitStack) -> None:
    proxy, where = await _proxy(stack, b"HTTP/1.1 502 No\r\n\r\n")
    settings = read_settings(LEAST | {"AMAZON_PROXY": f"http://{where}", "AMAZON_BASE_URL": "https://amazon.invalid"})
    sink = sink_for(settings, AdsV1("1", "client", "NA"))
    stack.push_async_callback(sink.close)
    answer = await _send(sink)
    assert isinstance(answer, RequestFailed)
    assert answer.reason == "proxy-502"
    assert proxy.asked == [b"CONNECT amazon.invalid:443 HTTP/1.1"]
