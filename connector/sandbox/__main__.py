"""``python -m connector.sandbox``: the sandbox in a process of its own."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from connector.sandbox import Limits, Options, run

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Run the sandbox until a signal; return the exit code."""
    parser = argparse.ArgumentParser(prog="connector sandbox", description="A strict stand-in for Amazon's endpoint.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=8090, help="port to listen on; 0 takes a free one (default: %(default)s)"
    )
    parser.add_argument("--port-file", type=Path, help="write the port here once it listens")
    parser.add_argument("--token-life", type=float, default=3600.0, help="seconds an access token lives (default: 3600)")
    parser.add_argument(
        "--max-body-bytes", type=int, default=Options().max_body_bytes, help="answer 413 above (default: 1 MiB)"
    )
    parser.add_argument("--consent-required", action="store_true", help="judge as for an advertiser of the EU region")
    given = parser.parse_args(argv)
    options = Options(
        token_life_ms=round(given.token_life * 1000),
        max_body_bytes=given.max_body_bytes,
        limits=Limits(consent_required=given.consent_required),
    )
    return run(given.host, given.port, options=options, port_file=given.port_file)


if __name__ == "__main__":
    sys.exit(main())
