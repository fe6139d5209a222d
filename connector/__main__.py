"""The command line."""

from __future__ import annotations

import argparse
import os
import sys

from connector.config import SETTINGS
from connector.errors import ConnectorError, SettingsError
from connector.sandbox import arguments as sandbox_arguments
from connector.trial import EVENT_NAME, EVENT_TYPE, Trial

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


def _positive(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise argparse.ArgumentTypeError("must be above zero")
    return number


# The commands import what they need: neither `--help` nor `sandbox` should load Kafka's client and the pipeline.


def _run(_arguments: argparse.Namespace) -> int:
    from connector import app  # noqa: PLC0415 - as said above

    return app.run(os.environ)


def _check(arguments: argparse.Namespace) -> int:
    from connector import check  # noqa: PLC0415 - as said above

    trial = Trial(arguments.event_name, arguments.event_type, agreed=arguments.yes)
    return check.run(os.environ, trial if arguments.send_test_event else None)


def _demo(arguments: argparse.Namespace) -> int:
    from connector import demo  # noqa: PLC0415 - as said above

    return demo.run(arguments.events)


def _produce_samples(arguments: argparse.Namespace) -> int:
    from connector import demo  # noqa: PLC0415 - as said above

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
