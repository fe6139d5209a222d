"""`connector top`: shows in a terminal what the page shows, for one or several replicas.

It asks each replica for ``/status.json``, and changes nothing. A replica that does not answer is
named; the others are shown all the same.
"""

from __future__ import annotations

import argparse
import codecs
import io
import sys
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException, HTTPResponse
from typing import NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import unquote_to_bytes, urlsplit
from urllib.request import OpenerDirector, ProxyHandler, Request, build_opener

import orjson
from rich.console import Console
from rich.live import Live

from connector.cli.top_frame import WIDE, Fitted, Replica, frame, problem_of

__all__ = ["run", "set_up"]

_USUAL = "http://127.0.0.1:8080"
_SECONDS = 3.0
"""Limit for each wait on one replica, and for the whole of its answer once that has begun."""
_MOST_BYTES = 16_000_000
"""Maximum size of a document. With a thousand partitions it has less than 1 MB."""
_MOST_AT_ONCE = 32
_URLS = f"a replica's address (default: {_USUAL}); with a path or a user and a password where something before it wants them"
_HIGH = 40
"""Height of a terminal that reports none."""
_PLAIN = str.maketrans("▁▂▃▄▅▆▇█·…", "12345678..")
"""Substitutes for bars that the terminal's encoding lacks."""


class _Place(NamedTuple):
    """Where a replica is asked, and as whom."""

    name: str
    """What it is called: host, port and path, without a password."""
    url: str
    login: bytes = b""


def set_up(parser: argparse.ArgumentParser) -> None:
    """Declare the description and the options of the command."""
    parser.description = (
        "Show state, rates, answers and partitions of running replicas, as their page does. Ends with Ctrl-C. It needs no "
        "settings. Without a terminal, or with --once, it prints one frame."
    )
    parser.add_argument("urls", nargs="*", metavar="URL", type=_place, default=[_place(_USUAL)], help=_URLS)
    parser.add_argument("--once", action="store_true", help="print one frame, and exit with 1 if no replica answers")
    parser.add_argument(
        "--interval", type=_interval, default=2.0, metavar="SECONDS", help="time between updates (default: 2)"
    )


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Show frames until Ctrl-C, or only one; return 1 if no replica answers for only one."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        codecs.register_error("connector-top", _plainly)
        sys.stdout.reconfigure(errors="connector-top")
    console = Console()
    if console.width < 1 or (not console.is_terminal and "COLUMNS" not in environ):
        console.width = WIDE  # nothing shows it, such as a file
    if console.height < 1:
        console.height = _HIGH
    opener = build_opener(ProxyHandler({}))
    if arguments.once or not console.is_terminal:
        replicas = _asked(opener, arguments.urls)
        console.print(frame(replicas, console.width))
        return 0 if any(each.status is not None for each in replicas) else 1

    def fitted() -> Fitted:
        return Fitted(frame(_asked(opener, arguments.urls), console.width))

    try:
        with Live(fitted(), console=console, screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(arguments.interval)
                live.update(fitted(), refresh=True)
    except KeyboardInterrupt:
        return 0


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """Replace characters that the terminal's encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return lacking.translate(_PLAIN).encode("ascii", "replace").decode(), error.end


def _asked(opener: OpenerDirector, places: Sequence[_Place]) -> list[Replica]:
    """Ask all replicas at once, so that one that hangs holds up no other."""
    with ThreadPoolExecutor(min(len(places), _MOST_AT_ONCE)) as pool:
        return list(pool.map(lambda place: _answer(opener, place), places))


def _answer(opener: OpenerDirector, place: _Place) -> Replica:
    name, request = place.name, Request(f"{place.url}/status.json")  # noqa: S310 - http or https, see _place
    if place.login:  # "unredirected": a redirect must not carry the login to another host
        request.add_unredirected_header("Authorization", f"Basic {b64encode(place.login).decode()}")
    try:
        with opener.open(request, timeout=_SECONDS) as answer:
            text = _read(answer)
        status = orjson.loads(text)
    except HTTPError as error:
        with error:
            return Replica(
                name, problem=f"it answers {error.code}: it is not a connector, or a version without /status.json"
            )
    except URLError as error:
        return Replica(name, problem=f"it does not answer: {error.reason}")
    except (OSError, HTTPException) as error:
        return Replica(name, problem=f"it does not answer: {str(error) or type(error).__name__}")
    except orjson.JSONDecodeError:
        return Replica(name, problem="its answer is not JSON: it is not a connector")
    problem = problem_of(status)
    return Replica(name, problem=problem) if problem else Replica(name, status)


def _read(answer: HTTPResponse) -> bytes:
    """Read an answer within a time limit. The opener limits only the wait for each part."""
    ends, read = time.monotonic() + _SECONDS, bytearray()
    while part := answer.read1(65_536):
        read += part
        if len(read) > _MOST_BYTES or time.monotonic() > ends:
            raise TimeoutError("the answer does not end")
    return bytes(read)


def _place(text: str) -> _Place:
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise argparse.ArgumentTypeError(f"{text} is not the address of a replica, such as {_USUAL}")
    user, at, host = parts.netloc.rpartition("@")
    path = parts.path.removesuffix("/status.json").rstrip("/")
    login = unquote_to_bytes(user if ":" in user else f"{user}:") if at else b""
    return _Place(f"{host}{path}", f"{parts.scheme}://{host}{path}", login)


def _interval(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0.2 <= found <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds from 0.2 to 3600")
    return found
