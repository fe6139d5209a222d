"""`connector sandbox`: runs the stand-in for Amazon as a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import orjson

from connector.sandbox import EventLimits, Faults, FaultsRefused, Options, RunningSandbox, SandboxCredentials, serve

__all__ = ["run", "set_up"]


def set_up(parser: argparse.ArgumentParser) -> None:
    """Declare the description and the options of the command."""
    usual = Options()
    parser.description = (
        "Run a strict stand-in for Amazon's endpoint, its token endpoint and a schema registry, with faults on request. "
        "Prints the settings that point the connector at it. GET /sandbox/faults/names lists the faults."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=8090, help="port to listen on; 0 takes a free one (default: %(default)s)"
    )
    parser.add_argument("--port-file", type=Path, metavar="FILE", help="write the port here once it listens")
    parser.add_argument(
        "--account",
        action="append",
        metavar="ID",
        help="account that accepts events, in either form of an id; may be given several times "
        f"(default: {usual.credentials.account_id})",
    )
    parser.add_argument("--consent-required", action="store_true", help="require consent, as for an advertiser of region EU")
    parser.add_argument(
        "--token-life", type=float, default=3600.0, metavar="SECONDS", help="lifetime of an access token (default: 3600)"
    )
    parser.add_argument(
        "--max-body-bytes",
        type=int,
        default=usual.max_body_bytes,
        metavar="N",
        help="answer 413 to a larger body; Amazon's limit is unknown (default: %(default)s)",
    )
    parser.add_argument(
        "--faults", type=_faults, default=usual.faults, metavar="FILE", help="JSON file with the fault plan to begin with"
    )


def _faults(path: str) -> Faults:
    try:
        return Faults.parse(orjson.loads(Path(path).read_bytes()))
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{path}: {error.strerror}") from None
    except (orjson.JSONDecodeError, FaultsRefused) as error:
        raise argparse.ArgumentTypeError(f"{path}: {error}") from None


def run(arguments: argparse.Namespace, _environ: Mapping[str, str]) -> int:
    """Run a sandbox until SIGTERM or SIGINT; return 0, or 1 if the port cannot be bound."""
    known = SandboxCredentials()
    first, *more = arguments.account or [known.account_id]
    options = Options(
        credentials=replace(known, account_id=first, more_accounts=tuple(more)),
        token_life_ms=round(arguments.token_life * 1000),
        max_body_bytes=arguments.max_body_bytes,
        limits=EventLimits(consent_required=arguments.consent_required),
        faults=arguments.faults,
    )
    try:
        asyncio.run(_run(arguments.host, arguments.port, options, arguments.port_file))
    except OSError as error:
        sys.stderr.write(f"The sandbox cannot listen on {arguments.host}:{arguments.port}: {error.strerror}\n")
        return 1
    return 0


async def _run(host: str, port: int, options: Options, port_file: Path | None) -> None:
    asked_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked_to_stop.set)
    sandbox = await serve(host, port, options=options)
    try:
        if port_file is not None:
            _write_whole(port_file, str(sandbox.port))
        sys.stdout.write(_first_screen(sandbox))
        sys.stdout.flush()
        await asked_to_stop.wait()
    finally:
        await sandbox.stop()


def _write_whole(path: Path, text: str) -> None:
    """Write a file in one step, so that no reader finds half of it."""
    beside = path.with_name(path.name + ".new")
    beside.write_text(text, encoding="ascii")
    beside.replace(path)


def _first_screen(sandbox: RunningSandbox) -> str:
    known, url = sandbox.options.credentials, sandbox.url
    return f"""The sandbox listens on {url}: a stand-in for Amazon's conversions endpoint. Nothing it receives leaves it.

Point the connector at it:
  AMAZON_BASE_URL={url}
  AMAZON_TOKEN_URL={sandbox.token_url}
  AMAZON_ACCOUNT_ID={known.account_id}{"".join(f" (or {more})" for more in known.more_accounts)}
  AMAZON_CLIENT_ID={known.client_id}
  AMAZON_CLIENT_SECRET={known.client_secret}
  AMAZON_REFRESH_TOKEN='{known.refresh_token}'      (or AMAZON_ACCESS_TOKEN='{known.access_token}', which never expires)
  SCHEMA_REGISTRY_URL={sandbox.registry_url}      (a stand-in too, if you have no registry)

See what it received:
  curl {url}/sandbox/record          one JSON line per event
  curl {url}/sandbox/requests        one JSON line per request
  curl {url}/sandbox/status          the counts

Make it fail:
  curl {url}/sandbox/faults/names    every fault there is
  curl -X PUT {url}/sandbox/faults -d '{{"seed": 1, "fail_503": 0.1, "withhold": 0.02}}'
  curl -X PUT {url}/sandbox/faults -d '{{"next": [{{"fault": "throttle_429", "retry_after": 3, "times": 5}}]}}'
  curl -X DELETE {url}/sandbox/faults

Ctrl-C stops it.
"""
