"""The command line."""

from __future__ import annotations

from connector import signals

signals.listen()  # before the imports, which take long enough to miss a signal

import argparse
import os
import re
import sys
import time
from datetime import UTC, datetime

from connector.cli.test_event import EVENT_NAME, EVENT_TYPE, Trial
from connector.config import SETTINGS
from connector.errors import ConnectorError, SettingsError
from connector.model import Reason
from connector.sandbox import arguments as sandbox_arguments

__all__ = ["main"]

_FAILED = 1
_SETTINGS_REFUSED = 2


def main(argv: list[str] | None = None) -> int:
    """Run a command; return its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        with signals.raised():
            code: int = arguments.run(arguments)
    except SettingsError as error:
        print("Settings refused:", *(f"  - {problem}" for problem in error.problems), sep="\n", file=sys.stderr)
        print("\n`connector run --help` lists every setting.", file=sys.stderr)
        return _SETTINGS_REFUSED
    except ConnectorError as error:
        print(f"Failed: {error}", file=sys.stderr)
        return _FAILED
    except signals.Terminated:
        code = signals.exit_code(arguments.command)
        print("Ended by SIGTERM before it", "was done." if code else "began.", file=sys.stderr)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return _FAILED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="connector",
        description="Forwards Avro conversion events from Kafka to Amazon Ads, losing none and counting none twice.",
        epilog="Exit codes: 0 done; 1 failed; 2 settings refused; 3 stopped by a verdict that needs an operator; 143 ended "
        "by SIGTERM (but 0 where that is the usual end: run, sandbox, produce-samples).",
    )
    commands = parser.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")
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
    check.add_argument(
        "--send-test-event",
        action="store_true",
        help="then send one real event, which counts, and say what Amazon's answer means; asks first",
    )
    check.add_argument("--yes", action="store_true", help="send the test event without asking")
    check.add_argument("--event-name", default=EVENT_NAME, help="of the test event (default: %(default)s)")
    check.add_argument(
        "--event-type", default=EVENT_TYPE, help="of the test event, one of Amazon's standard types (default: %(default)s)"
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
    _add_replay(commands)
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
        "sandbox", help="run the stand-in for Amazon's endpoint alone", description=sandbox_arguments.DESCRIPTION
    )
    sandbox_arguments.add_arguments(sandbox)
    sandbox.set_defaults(run=sandbox_arguments.run_with)
    return parser


def _add_replay(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    replay = commands.add_parser(
        "replay",
        help="put dead letters of this group back on the source topic",
        description="Put dead letters of this group back on the source topic: key, value, timestamp and headers as they "
        "were, with the id they had. Shows what it would do and asks first. Each record is replayed once, however often "
        "this is run, killed, or run twice at once; what was delivered after all is left out. Every reader of the source "
        "topic gets the copies. Mend the cause first: events that are refused again become dead letters again. Settings "
        "come from the environment, as those of `run`.",
        epilog="TIME is 2026-11-22T10:00Z, or 2h (ago). Exit codes: 0 done; 1 declined, interrupted or failed; 2 settings "
        "refused, or nobody to ask and no --yes.",
    )
    replay.add_argument(
        "--reason",
        action="append",
        choices=[reason.value for reason in Reason],
        metavar="REASON",
        help="only letters of this reason; may be given several times ("
        + ", ".join(reason.value for reason in Reason)
        + ")",
    )
    replay.add_argument(
        "--since",
        type=_time_ms,
        metavar="TIME",
        help="only what was dead-lettered at or after this time, by the ledger; letters older than the ledger are left out",
    )
    replay.add_argument("--until", type=_time_ms, metavar="TIME", help="only what was dead-lettered before this time")
    replay.add_argument("--limit", type=_count, metavar="N", help="at most so many of each topic, to try the first ones")
    replay.add_argument(
        "--max-replays",
        type=_count,
        default=1,
        metavar="N",
        help="how often one event may be replayed in all (default: 1); the guard against going round in circles",
    )
    replay.add_argument("--dry-run", action="store_true", help="show what would be done, and write nothing")
    replay.add_argument("--yes", action="store_true", help="do not ask")
    replay.set_defaults(run=_replay)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


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


# The commands import what they need: neither `--help` nor `sandbox` should load Kafka's client and the pipeline.


def _run(_arguments: argparse.Namespace) -> int:
    from connector import app  # noqa: PLC0415 - as said above

    return app.run(os.environ)


def _check(arguments: argparse.Namespace) -> int:
    from connector.cli import check  # noqa: PLC0415 - as said above

    trial = Trial(arguments.event_name, arguments.event_type, agreed=arguments.yes)
    return check.run(os.environ, trial if arguments.send_test_event else None)


def _audit(arguments: argparse.Namespace) -> int:
    from connector.cli import audit  # noqa: PLC0415 - as said above

    return audit.run(os.environ, now_ms=_now_ms(), since_ms=arguments.since, as_json=arguments.json)


def _replay(arguments: argparse.Namespace) -> int:
    from connector.cli import replay  # noqa: PLC0415 - as said above

    asked = replay.Asked(
        reasons=frozenset(arguments.reason or ()),
        since_ms=arguments.since,
        until_ms=arguments.until,
        max_replays=arguments.max_replays,
        limit=arguments.limit,
        dry_run=arguments.dry_run,
        yes=arguments.yes,
    )
    return replay.run(os.environ, asked, now_ms=_now_ms())


def _demo(arguments: argparse.Namespace) -> int:
    from connector.cli import demo  # noqa: PLC0415 - as said above

    return demo.run(arguments.events)


def _produce_samples(arguments: argparse.Namespace) -> int:
    from connector.cli import demo  # noqa: PLC0415 - as said above

    return demo.produce_samples(os.environ, arguments.rate, arguments.count)


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
