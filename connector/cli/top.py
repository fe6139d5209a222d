"""`connector top`: what the page shows, in a terminal, over one or several replicas.

It asks each replica for ``/status.json``, and changes nothing. A replica that does not answer is
named; the others are shown all the same.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import OpenerDirector, ProxyHandler, build_opener

import orjson
from rich.console import Console
from rich.live import Live

from connector.cli.top_frame import Replica, frame, problem_of

__all__ = ["run", "set_up"]

_USUAL = "http://127.0.0.1:8080"
_SECONDS = 3.0
"""Limit for the answer of one replica."""
_MOST_BYTES = 16_000_000
"""A document of a replica with a thousand partitions has less than one."""
_MOST_AT_ONCE = 32
_WIDE = 140
"""Columns of a frame that no terminal shows, such as in a file: enough for the words of each
table."""


def set_up(parser: argparse.ArgumentParser) -> None:
    """Declare the description and the options of the command."""
    parser.description = (
        "Show state, rates, answers and partitions of running replicas, as their page does. Ends with Ctrl-C. It needs no "
        "settings. Without a terminal, or with --once, it prints one frame."
    )
    parser.add_argument(
        "urls", nargs="*", metavar="URL", type=_url, default=[_USUAL], help=f"a replica's port (default: {_USUAL})"
    )
    parser.add_argument("--once", action="store_true", help="print one frame, and exit with 1 if no replica answers")
    parser.add_argument(
        "--interval", type=_interval, default=2.0, metavar="SECONDS", help="time between updates (default: 2)"
    )


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Show frames until Ctrl-C, or one; return 1 if no replica answers the only one."""
    console = Console()
    if not console.is_terminal and "COLUMNS" not in environ:
        console.width = _WIDE
    opener = build_opener(ProxyHandler({}))
    if arguments.once or not console.is_terminal:
        replicas = _asked(opener, arguments.urls)
        console.print(frame(replicas))
        return 0 if any(each.status is not None for each in replicas) else 1
    try:
        with Live(frame(_asked(opener, arguments.urls)), console=console, screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(arguments.interval)
                live.update(frame(_asked(opener, arguments.urls)), refresh=True)
    except KeyboardInterrupt:
        return 0


def _asked(opener: OpenerDirector, urls: Sequence[str]) -> list[Replica]:
    """Ask all replicas at once, so that one that hangs holds up no other."""
    with ThreadPoolExecutor(min(len(urls), _MOST_AT_ONCE)) as pool:
        return list(pool.map(lambda url: _answer(opener, url), urls))


def _answer(opener: OpenerDirector, url: str) -> Replica:
    name = urlsplit(url).netloc
    try:
        with opener.open(f"{url}/status.json", timeout=_SECONDS) as answer:
            text = answer.read(_MOST_BYTES)
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


def _url(text: str) -> str:
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise argparse.ArgumentTypeError(f"{text} is not the address of a replica, such as {_USUAL}")
    return f"{parts.scheme}://{parts.netloc}"


def _interval(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0.2 <= found <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds from 0.2 to 3600")
    return found
