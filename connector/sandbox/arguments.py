"""The options of the command line: those of ``connector sandbox`` and of ``python -m connector.sandbox``."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import orjson

from connector.sandbox.alone import run
from connector.sandbox.contract import Limits
from connector.sandbox.faults import NO_FAULTS, Faults, FaultsRefused
from connector.sandbox.server import Options
from connector.sandbox.tokens import Credentials

__all__ = ["DESCRIPTION", "add_arguments", "run_with"]

DESCRIPTION = (
    "A strict stand-in for Amazon's endpoint, its tokens, and a schema registry; with faults on request. "
    "It prints the settings that point the connector at it. GET /sandbox/faults/names lists the faults."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    usual = Options()
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=8090, help="port to listen on; 0 takes a free one (default: %(default)s)"
    )
    parser.add_argument("--port-file", type=Path, metavar="FILE", help="write the port here once it listens")
    parser.add_argument(
        "--account",
        action="append",
        metavar="ID",
        help="account that may be sent to, in either form of an id; may be given several times "
        f"(default: {usual.credentials.account_id})",
    )
    parser.add_argument("--consent-required", action="store_true", help="judge as for an advertiser of the EU region")
    parser.add_argument(
        "--token-life", type=float, default=3600.0, metavar="SECONDS", help="of an access token (default: 3600)"
    )
    parser.add_argument(
        "--max-body-bytes",
        type=int,
        default=usual.max_body_bytes,
        metavar="N",
        help="answer 413 above; Amazon's limit is unknown (default: %(default)s)",
    )
    parser.add_argument("--faults", type=_faults, default=NO_FAULTS, metavar="FILE", help="fault plan to begin with, JSON")


def run_with(given: argparse.Namespace) -> int:
    """Run a sandbox alone with the options given; return the exit code."""
    first, *more = given.account or [Credentials().account_id]
    options = Options(
        credentials=replace(Credentials(), account_id=first, more_accounts=tuple(more)),
        token_life_ms=round(given.token_life * 1000),
        max_body_bytes=given.max_body_bytes,
        limits=Limits(consent_required=given.consent_required),
        faults=given.faults,
    )
    return run(given.host, given.port, options=options, port_file=given.port_file)


def _faults(path: str) -> Faults:
    try:
        return Faults.parse(orjson.loads(Path(path).read_bytes()))
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{path}: {error.strerror}") from None
    except (orjson.JSONDecodeError, FaultsRefused) as error:
        raise argparse.ArgumentTypeError(f"{path}: {error}") from None
