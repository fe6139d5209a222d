"""`connector replay`: puts dead letters back on their source topic, each record exactly once.

What is written. The record as it was: key, value, timestamp and its own headers byte for byte, to
the partition that it came from. If the letter lacks a part of the record, which was too large for
the letter's topic, the record is read from the source topic again. It carries three of our headers:

- ``connector.dedupe-id`` stays. An event without an id of its own keeps the derived one, and Amazon
  can recognise a copy.
- ``connector.replay-of`` names the record that it is a copy of.
- ``connector.replays`` counts its replays.

What is not replayed (`replay_plan.Skipped` has the full list): records that were delivered after
all by the ledger, that were replayed before, that the connector has not committed and will judge
again by itself, that were replayed and dead-lettered again ``--max-replays`` times, or that the
source topic's retention would delete at once.

Exactly once, also after SIGKILL and with two operators at once. Earlier replays are read from the
source topic itself, by ``connector.replay-of``. Batches are written in transactions, under one
transactional id for each source topic. A run takes these steps:

1. It reads, shows the plan and asks.
2. It takes the transactional id. That ends any open transaction of another run, and fences that
   run.
3. It reads what came to the source topic since step 1.
4. It writes.

The second of two runs therefore finds what the first one wrote. A mark is missing only if the
source topic deleted it before its time (``retention.bytes``, an operator). The summary says how
many letters that may concern.

Nothing else is written. The ledger learns of the copy as of any record, and the letter stays where
it is. Every reader of the source topic gets the copy. Another group that delivered the record
judges the copy again; it has the same id.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping

from rich.console import Console

from connector import signals
from connector.assembly import read_settings
from connector.cli import times
from connector.cli.progress import ProgressBar
from connector.cli.replay_topic import Asked, TopicReplay
from connector.kafka.topic_reader import TopicReader
from connector.model import Reason
from connector.telemetry import configure_logging

__all__ = ["run", "set_up"]

_DONE, _FAILED, _REFUSED = 0, 1, 2


def set_up(parser: argparse.ArgumentParser) -> None:
    """Declare the description and the options of the command."""
    parser.description = (
        "Put dead letters of this group back on the source topic: key, value, timestamp and headers as they were, with "
        "the id they had. Shows the plan and asks first. Each record is replayed once, even if the command is killed, "
        "run again, or run twice at once. Records that were delivered after all are left out. Every reader of the "
        "source topic gets the copies. Fix the cause first: events that are refused again become dead letters again. "
        "Settings come from the environment, as for `run`."
    )
    parser.epilog = (
        "TIME is 2026-11-22T10:00Z, or 2h for two hours ago. Exit codes: 0 done; 1 declined, interrupted or failed; 2 "
        "settings refused, or no terminal to ask on and no --yes."
    )
    reasons = [reason.value for reason in Reason]
    parser.add_argument(
        "--reason",
        action="append",
        choices=reasons,
        metavar="REASON",
        help=f"only letters with this reason; may be given several times ({', '.join(reasons)})",
    )
    parser.add_argument(
        "--since",
        type=times.time_ms,
        metavar="TIME",
        help="only letters from this time on, by the ledger; letters older than the ledger are left out",
    )
    parser.add_argument("--until", type=times.time_ms, metavar="TIME", help="only letters before this time, by the ledger")
    parser.add_argument(
        "--limit", type=_count, metavar="N", help="replay at most N letters of each topic, to try a few first"
    )
    parser.add_argument(
        "--max-replays",
        type=_count,
        default=1,
        metavar="N",
        help="how often one event may be replayed in all (default: 1), so that none goes round in circles",
    )
    parser.add_argument("--dry-run", action="store_true", help="show the plan, and write nothing")
    parser.add_argument("--yes", action="store_true", help="write without asking")


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Replay; return 0 when done, 1 if declined or failed, 2 if there is no terminal to ask on.

    Raises:
        SettingsError: with every problem of the settings.
    """
    asked, started_ms = Asked.read(arguments), times.now_ms()
    settings = read_settings(environ)
    configure_logging("error", "console")
    if not (asked.yes or asked.dry_run or sys.stdin.isatty()):
        message = "connector replay asks before it writes, and there is no terminal to ask on: give --yes, or --dry-run"
        print(message, file=sys.stderr)
        return _REFUSED
    console = Console()
    with ProgressBar() as bar:
        reader = TopicReader(settings.kafka, bar.advance)
        replays = [TopicReplay(settings, reader, bar, topic, asked, started_ms) for topic in settings.kafka.topics]
        for one in replays:
            one.look()
    for one in replays:
        one.show(console)
    count = sum(len(one.plan.chosen) for one in replays)
    if not count or asked.dry_run:
        console.print("a dry run: nothing was written" if count else "nothing to replay", highlight=False)
        return _DONE
    if not (asked.yes or _agreed(console, count)):
        console.print("declined: nothing was written")
        return _FAILED
    return _write(replays, console)


def _agreed(console: Console, count: int) -> bool:
    try:
        return console.input(f"Replay {count:,} dead letters? \\[y/N] ").strip().lower() in {"y", "yes"}
    except EOFError:
        return False


def _write(replays: list[TopicReplay], console: Console) -> int:
    try:
        # A signal ends the replay between batches, when the count is exact.
        with ProgressBar() as bar, signals.held() as end_if_asked:
            for one in replays:
                one.write(bar, end_if_asked)
    finally:  # what was written stays, also after an interruption or a failure
        for one in replays:
            one.say_written(console)
    return _FAILED if any(one.left for one in replays) else _DONE
