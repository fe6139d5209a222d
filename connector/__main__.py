"""The command line."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from datetime import UTC, datetime

from connector.config import SETTINGS
from connector.errors import ConnectorError, SettingsError

__all__ = ["main"]

_FAILED = 1
_SETTINGS_REFUSED = 2


def main(argv: list[str] | None = None) -> int:
    """Run a command; return its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except SettingsError as error:
        print("Settings refused:", *(f"  - {problem}" for problem in error.problems), sep="\n", file=sys.stderr)
        print("\n`connector run --help` lists every setting.", file=sys.stderr)
        return _SETTINGS_REFUSED
    except ConnectorError as error:
        print(f"Failed: {error}", file=sys.stderr)
        return _FAILED
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return _FAILED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="connector",
        description="Forwards Avro conversion events from Kafka to Amazon Ads, losing none and counting none twice.",
        epilog="Exit codes: 0 done; 1 failed; 2 settings refused; 3 stopped by a verdict that needs an operator.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run",
        help="forward events until SIGTERM, which drains and exits 0",
        description="Forward events until SIGTERM, which drains and exits 0. Settings come from the environment:",
        epilog=_settings_text(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.set_defaults(run=_run)
    check = commands.add_parser(
        "check",
        help="say what is right and what is wrong, and change nothing",
        description="Look at settings, brokers, topics and rights, registry, schema and token. Changes nothing.",
    )
    check.set_defaults(run=_check)
    audit = commands.add_parser(
        "audit",
        help="say what became of every record of the source topics, and change nothing",
        description="Read source topics, ledger and dead letters, and account for every offset: delivered, dead-lettered, "
        "duplicate, stale, ignored, pending (not committed yet), or unaccounted. May run beside live connectors. Changes "
        "nothing. Settings come from the environment, as those of `run`.",
        epilog="Exit codes: 0 the account closes; 1 records or dead letters are missing, or it failed; 2 settings refused.",
    )
    audit.add_argument(
        "--since",
        type=_time_ms,
        metavar="TIME",
        help="only records from this time on: 2026-11-22T10:00Z, or 2h (ago); the default is all there are",
    )
    audit.add_argument("--json", action="store_true", help="write the account as JSON, for machines")
    audit.set_defaults(run=_audit)
    demo = commands.add_parser(
        "demo",
        help="the whole pipeline on simulators, with a reconciliation at the end",
        description="Run the same pipeline as `run` on librdkafka's embedded broker and the sandbox: no Kafka, no account.",
    )
    demo.add_argument("--events", type=int, default=30_000, help="records to produce (default: 30000)")
    demo.set_defaults(run=_demo)
    samples = commands.add_parser(
        "produce-samples",
        help="produce sample events to KAFKA_TOPIC (for docker compose)",
        description="Produce sample events, at a steady rate, to KAFKA_TOPIC, with the schema in the registry.",
    )
    samples.add_argument("--rate", type=_positive, default=20.0, help="events per second (default: 20)")
    samples.add_argument("--count", type=int, default=None, help="how many; the default is to go on until stopped")
    samples.set_defaults(run=_produce_samples)
    sandbox = commands.add_parser(
        "sandbox",
        help="run the stand-in for Amazon's endpoint alone",
        description="A strict stand-in for Amazon's endpoint, its tokens, and a schema registry; with faults on request.",
    )
    sandbox.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    sandbox.add_argument("--port", type=int, default=8090, help="port to listen on; 0 takes a free one (default: 8090)")
    sandbox.set_defaults(run=_sandbox)
    return parser


def _positive(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise argparse.ArgumentTypeError("must be above zero")
    return number


_AGO_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def _time_ms(text: str) -> int:
    """Read a point in time: ISO 8601, in UTC where it names no zone, or a duration before now."""
    if ago := re.fullmatch(r"(\d{1,9})([smhd])", text):
        return _now_ms() - int(ago[1]) * _AGO_MS[ago[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a time (2026-11-22T10:00Z) nor a duration (2h)") from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


# The commands import what they need: `--help` should not load Kafka's client, nor `sandbox` the pipeline.


def _run(_arguments: argparse.Namespace) -> int:
    from connector import app  # noqa: PLC0415 - as said above

    return app.run(os.environ)


def _check(_arguments: argparse.Namespace) -> int:
    from connector import check  # noqa: PLC0415 - as said above

    return check.run(os.environ)


def _audit(arguments: argparse.Namespace) -> int:
    from connector import audit  # noqa: PLC0415 - as said above

    return audit.run(os.environ, now_ms=_now_ms(), since_ms=arguments.since, as_json=arguments.json)


def _demo(arguments: argparse.Namespace) -> int:
    from connector import demo  # noqa: PLC0415 - as said above

    return demo.run(arguments.events)


def _produce_samples(arguments: argparse.Namespace) -> int:
    from connector import demo  # noqa: PLC0415 - as said above

    return demo.produce_samples(os.environ, arguments.rate, arguments.count)


def _sandbox(arguments: argparse.Namespace) -> int:
    from connector import sandbox  # noqa: PLC0415 - as said above

    return sandbox.run(arguments.host, arguments.port)


def _settings_text() -> str:
    width = max(len(setting.name) for setting in SETTINGS)
    lines = []
    for setting in SETTINGS:
        default = "required" if setting.required else setting.default and f"default: {setting.default}"
        lines.append(f"  {setting.name:<{width}}  {setting.meaning}" + (f" ({default})" if default else ""))
    secrets = ", ".join(setting.name for setting in SETTINGS if setting.secret)
    return "settings:\n" + "\n".join(lines) + f"\n\nSecrets ({secrets}) may come from the file named by <NAME>_FILE."


if __name__ == "__main__":
    sys.exit(main())
