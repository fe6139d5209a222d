"""The sandbox alone in a process: what it says when it starts, and how it stops."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from connector.sandbox.server import Options, RunningSandbox, serve

__all__ = ["run"]


def run(host: str = "127.0.0.1", port: int = 8090, *, options: Options | None = None, port_file: Path | None = None) -> int:
    """Run a sandbox alone until SIGTERM or SIGINT, and return the exit code: 0, or 1 where the port cannot be had.

    ``port_file``: where the port is written once it listens, for whoever asked for port 0.
    """
    try:
        asyncio.run(_run(host, port, options, port_file))
    except OSError as error:
        sys.stderr.write(f"The sandbox cannot listen on {host}:{port}: {error.strerror}\n")
        return 1
    return 0


async def _run(host: str, port: int, options: Options | None, port_file: Path | None) -> None:
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
    """Write a file so that no reader finds half of it."""
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
  curl {url}/sandbox/record          one JSON line an event
  curl {url}/sandbox/requests        one JSON line a request
  curl {url}/sandbox/status          the counts

Make it fail:
  curl {url}/sandbox/faults/names    every fault there is
  curl -X PUT {url}/sandbox/faults -d '{{"seed": 1, "fail_503": 0.1, "withhold": 0.02}}'
  curl -X PUT {url}/sandbox/faults -d '{{"next": [{{"fault": "throttle_429", "retry_after": 3, "times": 5}}]}}'
  curl -X DELETE {url}/sandbox/faults

Ctrl-C stops it.
"""
