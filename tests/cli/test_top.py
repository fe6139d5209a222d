"""`connector top`: one frame over replicas that answer, that do not, and that are something else."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from rich.console import Console

from connector.__main__ import main, parser
from connector.cli import top
from connector.cli.top_frame import Fitted, Replica, frame, problem_of
from connector.operations.health import Health
from connector.operations.server import Operations
from tests.operations.documents import REFUSED, document


@asynccontextmanager
async def _replica(status: Callable[[], Mapping[str, Any]]) -> AsyncIterator[str]:
    """Have a real operations server answer with a document; yield its address."""
    server = Operations(lambda: Health(None, ()), lambda _: (b"", "text/plain"), status)
    await server.start("127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        await server.stop()


async def _top(*arguments: str) -> int:
    """Run the command beside the loop that answers it."""
    found = parser(["top"]).parse_args(["top", *arguments])
    return await asyncio.to_thread(top.run, found, os.environ)


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "220")
    monkeypatch.setattr(top, "_SECONDS", 30.0)  # for a machine that is busy


def _row(shown: str, first: str) -> list[str]:
    """Return the cells of the line that begins with a text."""
    (line,) = [line for line in shown.splitlines() if line.strip().startswith(first)]
    return re.split(r"\s{2,}", line.strip())


async def test_frame_in_a_file_is_wide_enough_for_its_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS")
    async with _replica(document) as url:
        assert await _top(url) == 0

    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 140
    for words in ("delivered/s", "dead letters", "last success", "already resolved"):
        assert words in shown


async def test_replicas_are_shown_side_by_side_and_summed(capsys: pytest.CaptureFixture[str]) -> None:
    async with AsyncExitStack() as replicas:
        urls = [
            await replicas.enter_async_context(_replica(lambda: document(recent_seconds=100.0))),
            await replicas.enter_async_context(_replica(lambda: document(held_up=True))),
        ]
        code = await _top("--once", *urls)
    shown = capsys.readouterr().out

    assert code == 0
    names = [url.removeprefix("http://") for url in urls]
    assert _row(shown, f"{names[0]} ")[1:8] == ["right", "1.4.0", "6", "350", "27", "1,950", "3 of 8"]
    assert _row(shown, f"{names[1]} ")[1:8] == ["not ready", "1.4.0", "6", "117", "27", "1,950", "3 of 8"]
    assert _row(shown, "2 of 2")[1:] == ["12", "467", "54", "3,900", "6 of 16", "0 s ago"]
    assert f"{names[1]}: {REFUSED}" in shown
    assert f"{names[1]}: 6 partitions held up: Amazon refuses everything" in shown
    assert _row(shown, "delivered")[:4] == ["delivered", "70,008", "467", "22,041,222"]
    assert re.search(r"timeout +2 +0\.013 +34", shown)
    assert re.search(r"rejected +40 +0\.3 +2,000", shown)
    assert len(re.findall(r" ago +conversions-\d@", shown)) == 10
    assert len(re.findall(r"^ *conversions-\d .*running", shown, re.MULTILINE)) == 12
    assert "window 12,240,822 keys, 1.38 GB" in shown


async def test_replica_that_does_not_answer_is_said_and_the_others_are_shown(
    capsys: pytest.CaptureFixture[str], unused_tcp_port: int
) -> None:
    dead = f"127.0.0.1:{unused_tcp_port}"
    async with _replica(document) as url, _replica(lambda: {"other": 1}) as another:
        code = await _top("--once", url, dead, another)
    shown = capsys.readouterr().out

    assert code == 0
    assert _row(shown, f"{dead} ")[1] == "no answer"
    assert re.search(rf"{dead}: it does not answer: .*refused", shown)
    assert f"{another.removeprefix('http://')}: the answer is not the status of a connector" in shown
    assert _row(shown, "1 of 3")[1:3] == ["6", "117"]


def test_frame_without_any_answer_is_a_failure(capsys: pytest.CaptureFixture[str], unused_tcp_port: int) -> None:
    assert main(["top", "--once", f"127.0.0.1:{unused_tcp_port}"]) == 1
    assert "no answer" in capsys.readouterr().out


async def test_proxy_of_the_environment_is_not_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_tcp_port}")
    async with _replica(document) as url:
        assert await _top(url) == 0  # no terminal: one frame
    assert "right" in capsys.readouterr().out


@pytest.mark.parametrize("url", ["ftp://host:1", "http://", "http://host:port", "host:99999"])
def test_address_of_nothing_is_refused(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["top", url])
    assert ended.value.code == 2
    assert f"{url} is not the address of a replica" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "often"])
def test_interval_that_makes_no_sense_is_refused(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["top", "--interval", seconds])
    assert "is not a number of seconds" in capsys.readouterr().err


async def test_terminal_without_bars_or_size_has_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii"))
    monkeypatch.setenv("COLUMNS", "0")
    monkeypatch.setenv("LINES", "0")
    async with _replica(document) as url:
        assert await _top("--once", url) == 0
    sys.stdout.flush()
    shown = written.getvalue().decode("ascii")

    assert re.search(r" events +[1-8]{30,} ", shown)
    assert "delivered/s" in shown


async def test_replica_behind_a_path_and_a_login_is_asked_there_and_its_password_is_not_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[tuple[str, str | None]] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        asked.append((request.path, request.headers.get("Authorization")))
        return web.json_response(document())

    async with AsyncExitStack() as stack:
        place = f"127.0.0.1:{await _serving(stack, answer)}/eu"
        assert await _top("--once", f"http://me:p%40ss@{place}/", f"http://me:p%40ss@{place}/status.json") == 0
    shown = capsys.readouterr().out

    assert asked == [("/eu/status.json", f"Basic {b64encode(b'me:p@ss').decode()}")] * 2
    assert len(re.findall(rf"{re.escape(place)} +right ", shown)) == 2
    assert "p%40ss" not in shown


async def test_answer_that_does_not_end_holds_up_no_frame(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(top, "_SECONDS", 1.0)

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        stream = web.StreamResponse()
        await stream.prepare(request)
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                await stream.write(b" ")
                await asyncio.sleep(0.2)
        return stream

    async with AsyncExitStack() as stack:
        assert await _top("--once", f"127.0.0.1:{await _serving(stack, answer)}") == 1
    assert "it does not answer: " in capsys.readouterr().out


async def _serving(stack: AsyncExitStack, answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> int:
    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port: int = runner.addresses[0][1]
    return port


def test_document_whose_parts_have_another_form_is_named_too() -> None:
    for name, value in {
        "fates": {},
        "state": "right",
        "amazon": {},
        "partitions": [{"partition": "conversions-0"}],
        "records": 7,
        "window": {"keys": "many", "bytes": 1},
        "recent_seconds": None,
    }.items():
        assert problem_of(document() | {name: value}) == "its version has another form of status"


def test_document_of_another_version_is_named() -> None:
    newer = document(more=1)
    older = document()
    del older["window"]

    assert problem_of(newer) == ""
    assert problem_of(older) == "its version has another form of status: it lacks window"
    assert problem_of([1]) == problem_of({}) == "the answer is not the status of a connector"


def _printed(*replicas: Replica, width: int = 220) -> str:
    console = Console(width=width, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as capture:
        console.print(frame(replicas, width))
    return capture.get()


def test_nothing_that_a_replica_says_is_obeyed_by_the_terminal() -> None:
    bad = "[red]\x1b]0;title\x07\x1b[2J"
    said = document(state={"word": bad, "live": True, "ready": False, "messages": [bad]})
    said["dead_letters"]["newest"][0]["detail"] = bad
    shown = _printed(Replica(bad, said), Replica(bad, None, bad))

    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "[red]·]0;title··[2J" in shown


def test_replicas_of_different_age_are_joined_from_the_newest_point_on() -> None:
    young = {name: line[-1:] if isinstance(line, list) else line for name, line in document()["history"].items()}
    none = {name: [None] * 3 if isinstance(line, list) else line for name, line in document()["history"].items()}
    shown = _printed(*(Replica("r", document(history=history)) for history in (young, none)))

    (lag,) = [line for line in shown.splitlines() if line.strip().startswith("lag")]
    assert lag.count("█") <= 1
    assert "records" in lag


def test_narrow_terminal_and_a_replica_that_just_started_have_a_frame() -> None:
    empty = {name: [] if isinstance(line, list) else line for name, line in document()["history"].items()}
    amazon = dict.fromkeys(document()["amazon"]) | {"statuses": {}}
    started = document(recent_seconds=0.0, history=empty, amazon=amazon, partitions=[], schemas=[])
    shown = _printed(Replica("a", started), width=120)

    assert max(map(len, shown.splitlines())) <= 120
    assert "never" in shown


def test_terminal_of_eighty_columns_breaks_no_word_and_no_name() -> None:
    addresses = ("10.244.13.7:8080", "10.244.13.8:8080")
    shown = _printed(*(Replica(name, document(held_up=True)) for name in addresses), width=80)
    lines = [line.rstrip() for line in shown.splitlines()]

    assert max(map(len, lines)) <= 80
    for name in addresses:
        assert _row(shown, f"{name} ")[1:3] == ["not ready", "6"]
    for words in ("delivered", "partitions", "letters", "success", "outcome", "already resolved", "answer of Amazon"):
        assert words in shown
    assert len(re.findall(r"^ conversions-\d  10\.244\.13\.\d:8080  running ", shown, re.MULTILINE)) == 12
    bars = [re.split(r" up to ", line)[0] for line in lines if " up to " in line]
    assert len(bars) == 5
    assert all(len(re.findall("[▁▂▃▄▅▆▇█ ]", line)) >= 40 for line in bars), "the last hour is drawn, if in fewer bars"


def test_what_replicas_say_alike_is_said_once_and_what_needs_somebody_comes_first() -> None:
    replicas = [Replica("a", document(held_up=True)), Replica("b", document(held_up=True)), Replica("c", None, "it is away")]
    shown = _printed(*replicas)

    assert shown.count(REFUSED[:40]) == 1
    assert f"a, b: {REFUSED[:40]}" in shown
    assert shown.index(REFUSED[:40]) < shown.index("c: it is away") < shown.index("a, b: 6 partitions held up")


@pytest.mark.parametrize(("height", "cut"), [(24, True), (500, False)])
def test_terminal_that_is_too_low_shows_the_first_lines_and_how_many_more_there_are(height: int, *, cut: bool) -> None:
    replica = Replica("10.244.13.7:8080", document(held_up=True))
    console = Console(width=80, height=height, force_terminal=False)
    with console.capture() as capture:
        console.print(Fitted(frame([replica], 80)), end="")
    lines, whole = capture.get().splitlines(), _printed(replica, width=80).splitlines()

    if not cut:
        assert [line.rstrip() for line in lines] == [line.rstrip() for line in whole]
        return
    assert len(lines) == height
    assert [line.rstrip() for line in lines[:-1]] == [line.rstrip() for line in whole[: height - 1]]
    assert lines[-1].startswith(f"{len(whole) - height + 1} more lines: enlarge the terminal")
