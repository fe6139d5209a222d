"""The command line: runs the given command and returns its exit code."""

from __future__ import annotations

from connector import signals

if __name__ == "__main__":
    signals.listen()  # before the imports, which take long enough to miss a signal

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from connector.cli import COMMANDS
from connector.errors import ConnectorError, SettingsError

__all__ = ["SETTINGS_REFUSED", "main"]

_FAILED = 1
SETTINGS_REFUSED = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code."""
    given = sys.argv[1:] if argv is None else argv
    try:
        # This loads the command's libraries. An exception amid the loading of one in C may crash
        # the process, so no signal raises one before that is done.
        arguments = parser(given).parse_args(given)
        with signals.raised():
            code: int = arguments.run(arguments, os.environ)
    except SettingsError as error:
        print("Settings refused:", *(f"  - {problem}" for problem in error.problems), sep="\n", file=sys.stderr)
        print("\n`connector run --help` lists every setting.", file=sys.stderr)
        return SETTINGS_REFUSED
    except ConnectorError as error:
        print(f"Failed: {error}", file=sys.stderr)
        return _FAILED
    except signals.Terminated:
        code = signals.exit_code("".join(given[:1]))
        print("Ended by SIGTERM before it", "was done." if code else "began.", file=sys.stderr)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return _FAILED
    return code


def parser(given: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the parser for these arguments.

    It lists every command, and declares the options of the given one.
    """
    top = argparse.ArgumentParser(
        prog="connector",
        description="Forwards Avro conversion events from Kafka to Amazon Ads, losing none and counting none twice.",
        epilog="`connector run --help` lists every setting. Exit codes: 0 done; 1 failed; 2 settings refused; 3 stopped "
        "because an operator is needed (ON_VERDICT=stop); 143 ended by SIGTERM. SIGTERM is the usual end of run, sandbox "
        "and produce-samples, which then exit with 0.",
    )
    top.add_argument(
        "--version", action=_Version, nargs=0, help="show the version of the connector and its libraries, and exit"
    )
    commands = top.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary)
        if name in given:
            module = import_module(f"connector.cli.{name.replace('-', '_')}")
            module.set_up(command)
            command.set_defaults(run=module.run)
    return top


class _Version(argparse.Action):
    """Shows the version. Loads Kafka's client for it, which no other command should wait for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        clients, of = import_module("connector.kafka.clients"), import_module("connector.build")
        shown = of.build(clients.librdkafka_version())
        print("connector {version} (revision {revision}, Python {python}, librdkafka {librdkafka})".format(**shown))
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())
