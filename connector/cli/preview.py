"""`connector preview`: shows what would become of records, and sends none.

It writes nothing, joins no consumer group, does not ask the ledger and needs no secret. Records of
a topic are read beside the group; a file needs no brokers at all. Each record goes through the code
of `run`, up to the event as it would go out.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, cast

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from connector.assembly import contract_for, decoder_for
from connector.avro.files import OneSchema, container, json_lines
from connector.avro.schema_file import SchemaFile
from connector.avro.writer_schema import Json
from connector.cli import times
from connector.cli.partial_settings import without_account
from connector.cli.preview_verdicts import DEAD_LETTER, DUPLICATE, IGNORED, SEND, STALE, Previewed, Previewer
from connector.config import Settings
from connector.errors import SettingsError, Undecodable
from connector.intake import Intake, Origin
from connector.kafka.topic_reader import TopicReader
from connector.model import Reason, TopicPartition
from connector.ports import Record
from connector.telemetry import configure_logging

__all__ = ["run", "set_up"]

_RECORDS = 5
_MOST_RECORDS = 1_000
_WHOLE_EVENTS = 3
"""Events that are shown in full. ``--json`` shows all."""
_STYLES = {SEND: "green", IGNORED: "dim", STALE: "yellow", DUPLICATE: "yellow", DEAD_LETTER: "bold red"}
_WORDS = {SEND: "would be sent"}
_ONLY = {"dead-letter": DEAD_LETTER, "sent": SEND, "ignored": IGNORED}


def set_up(parser: argparse.ArgumentParser) -> None:
    """Declare the description and the options of the command."""
    parser.description = (
        "Show what would become of records: which are events, how they would go out, what is wrong. The command reads the "
        "topic beside the group, or a file. It sends and writes nothing, and needs neither account nor secret. Exit 1 if "
        "there is a dead letter; with --expect, if the result differs."
    )
    parser.add_argument(
        "--records",
        type=_count,
        default=_RECORDS,
        metavar="N",
        help=f"read N records of each partition, below {_MOST_RECORDS} (default: %(default)s); a file is read whole",
    )
    parser.add_argument(
        "--from",
        dest="start",
        type=_start,
        default="end",
        metavar="WHERE",
        help="end (the newest N), beginning, an offset, or a time: 2026-11-22T10:00Z, or 2h (ago) (default: end)",
    )
    parser.add_argument("--partition", type=int, metavar="N", help="read only this partition")
    parser.add_argument(
        "--only",
        choices=tuple(_ONLY),
        help="show only records with this verdict (sent: what would be sent); all are counted",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object for each record")
    parser.add_argument(
        "--file",
        type=Path,
        metavar="FILE",
        help="read a container file of Avro (.avro), or JSON lines in Avro's JSON encoding",
    )
    parser.add_argument("--schema", type=Path, metavar="FILE", help="the schema of JSON lines (default: AVRO_SCHEMA_FILE)")
    parser.add_argument(
        "--expect",
        type=Path,
        metavar="FILE",
        help="compare with the JSON objects of this file, one a line, and show what differs; an object may leave out names",
    )
    parser.add_argument("--show-identifiers", action="store_true", help="also show identifiers that are sent unhashed")


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < _MOST_RECORDS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {_MOST_RECORDS - 1}")
    return int(text)


def _start(text: str) -> str:
    if text not in ("end", "beginning") and not text.isdecimal():
        times.time_ms(text)  # raises the error that says what is wrong
    return text


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Show what would become of records, and return the exit code.

    The code is 1 if the result differs from ``--expect`` or, without that option, if there is a
    dead letter.

    Raises:
        SettingsError: settings or files are wrong.
    """
    settings = without_account(environ, brokers=arguments.file is None)
    configure_logging("error", "console")
    expected = None if arguments.expect is None else _expected(arguments.expect)
    notes: list[str] = []
    looked = _of_topics(settings, arguments, notes) if arguments.file is None else _of_file(settings, arguments, notes)
    found = _Found(arguments.only, expected)
    for each in looked:
        if not found.note(each):
            continue
        if arguments.json:
            print(json.dumps(each.row(), ensure_ascii=False))
        else:
            found.keep(each)
    if not arguments.json:
        _show(Console(), found, notes, is_mapped=settings.mapping is not None)
    if expected is not None and (differing := list(_differences(expected, found.compared))):
        print(*differing, sep="\n", file=sys.stderr)
        return 1
    return 1 if found.verdicts[DEAD_LETTER] and expected is None else 0


class _Found:
    """Counts and lines of the records read so far. Not the records: a file may exceed the memory.

    ``expected`` has the objects of ``--expect``, whose names are compared.
    """

    def __init__(self, only: str | None, expected: list[dict[str, Any]] | None) -> None:
        self._only = None if only is None else _ONLY[only]
        self._expected = expected
        self.verdicts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.lines: list[tuple[str, ...]] = []
        """The lines of the table for people."""
        self.whole: list[Previewed] = []
        """The first events that would be sent."""
        self.compared: list[dict[str, Any]] = []
        """For each record, its fields that ``--expect`` names. One record more than expected is
        kept, with all its fields."""

    def note(self, each: Previewed) -> bool:
        """Count a record, and return whether it is one to show."""
        self.verdicts[each.verdict] += 1
        if each.reason:
            self.reasons[each.reason] += 1
        if self._expected is not None and (at := len(self.compared)) <= len(self._expected):
            row = each.row()
            names = self._expected[at] if at < len(self._expected) else row
            self.compared.append({name: row[name] for name in names if name in row})
        return self._only is None or each.verdict == self._only

    def keep(self, each: Previewed) -> None:
        """Keep what the table for people says of a record."""
        self.lines.append(_line(each))
        if each.verdict == SEND and len(self.whole) < _WHOLE_EVENTS:
            self.whole.append(each)


def _previewer(
    settings: Settings, arguments: argparse.Namespace, notes: list[str], schema: Json = None, now_ms: int | None = None
) -> Previewer:
    plain = None if schema is None else OneSchema(schema)
    decoder, mapper = decoder_for(settings, notes.append, plain)
    contract = contract_for(settings.amazon)
    most = settings.batch.max_bytes
    return Previewer(
        Intake(decoder, contract, settings.dedupe.key_fields, request_bytes=most),
        decoder,
        contract,
        mapper,
        settings.freshness,
        now_ms,
        most,
        arguments.show_identifiers,
    )


# ---- from a topic


def _of_topics(settings: Settings, arguments: argparse.Namespace, notes: list[str]) -> Iterator[Previewed]:
    reader = TopicReader(settings.kafka)
    previewer = _previewer(settings, arguments, notes, now_ms=times.now_ms())
    for topic in settings.kafka.topics:
        source = reader.source(topic)
        bounds = reader.bounds(topic)
        if arguments.partition is not None:
            bounds = {place: each for place, each in bounds.items() if place.partition == arguments.partition}
            if not bounds:
                raise SettingsError([f"--partition: {topic} has {source.partitions} partitions, counted from 0"])
        for place, (first, end) in bounds.items():
            origin = Origin(place, 0, reader.cluster_id, source.topic_id)
            start = _first_offset(reader, place, first, end, arguments)
            for message in islice(reader.read(place, start, end), arguments.records):
                yield previewer.look(origin, cast("Record", message))  # the stub's types are wider


def _first_offset(reader: TopicReader, place: TopicPartition, first: int, end: int, arguments: argparse.Namespace) -> int:
    match arguments.start:
        case "end":
            return max(first, end - int(arguments.records))
        case "beginning":
            return first
        case offset if offset.isdecimal():
            return max(first, int(offset))
        case time:
            at = reader.cluster.offset_at(place, times.time_ms(time))
            return end if at is None else max(first, at)


# ---- from a file


class _FileRecord:
    """A `connector.ports.Record` of a value from a file."""

    def __init__(self, topic: str, number: int, value: bytes) -> None:
        self._topic = topic
        self._number = number
        self._value = value

    def value(self) -> bytes | None:
        return self._value

    def key(self) -> bytes | None:
        return None

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        return None

    def topic(self) -> str | None:
        return self._topic

    def offset(self) -> int:
        return self._number

    def leader_epoch(self) -> int | None:
        return None

    def timestamp(self) -> tuple[int, int]:
        return 0, -1


def _of_file(settings: Settings, arguments: argparse.Namespace, notes: list[str]) -> Iterator[Previewed]:
    """Yield what would become of every value. No event is stale, so a test passes years later."""
    topic = settings.kafka.topics[0]
    origin = Origin(TopicPartition(topic, 0), 0, "file", "file")
    try:
        schema, values = _values(arguments.file, arguments.schema, settings.schema_file)
        previewer = _previewer(settings, arguments, notes, schema)
        for number, value in enumerate(values):
            yield previewer.look(origin, _FileRecord(topic, number, value))
    except Undecodable as error:
        raise SettingsError([f"--file: {error}"]) from error
    except OSError as error:
        raise SettingsError([f"--file: {arguments.file} cannot be read: {error.strerror}"]) from error


def _values(path: Path, option: Path | None, setting: Path | None) -> tuple[Json, Iterator[bytes]]:
    if path.suffix == ".avro":
        return container(path)
    if option is not None:
        (schema,) = SchemaFile(option, "--schema").definitions()
    elif setting is not None:
        (schema,) = SchemaFile(setting).definitions()
    else:
        raise SettingsError(["--schema: is needed for JSON lines (or AVRO_SCHEMA_FILE); a container file ends in .avro"])
    return schema, json_lines(path, schema)


# ---- what is expected


def _expected(path: Path) -> list[dict[str, Any]]:
    try:
        lines = path.read_text("utf-8-sig").splitlines()
        rows = [json.loads(line) for line in lines if line.strip()]
    except OSError as error:
        raise SettingsError([f"--expect: {path} cannot be read: {error.strerror}"]) from error
    except ValueError as error:
        raise SettingsError([f"--expect: {path} is not a file of JSON objects, one a line"]) from error
    if not all(isinstance(row, dict) for row in rows):
        raise SettingsError([f"--expect: {path} is not a file of JSON objects, one a line"])
    return rows


def _differences(expected: list[dict[str, Any]], found: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of a diff between the expected objects and those that were found."""
    if found != expected:
        yield from difflib.unified_diff(_lines(expected), _lines(found), "expected", "found", lineterm="", n=2)


def _lines(rows: Iterable[dict[str, Any]]) -> list[str]:
    return [line for row in rows for line in json.dumps(row, ensure_ascii=False, indent=1, sort_keys=True).splitlines()]


# ---- for people


def _line(each: Previewed) -> tuple[str, ...]:
    schema = " ".join(filter(None, [str(each.schema_id or ""), each.schema_name.rpartition(".")[2]]))
    why = each.detail if not each.reason else f"{each.reason}: {each.detail}"
    if each.adjustments:
        why = "; ".join(filter(None, [why, *(f"{name} ({count})" for name, count in each.adjustments.items())]))
    verdict = f"[{_STYLES[each.verdict]}]{_WORDS.get(each.verdict, each.verdict)}[/]"
    return _place(each), schema, escape(each.mapping or ""), verdict, escape(why)


def _place(each: Previewed) -> str:
    return f"{each.partition}@{each.offset}"


def _show(console: Console, found: _Found, notes: list[str], *, is_mapped: bool) -> None:
    if not found.verdicts:
        console.print(
            "No record was found: topic or file is empty, or has no record where --from and --partition point.",
            soft_wrap=True,
        )
        return
    table = Table("record", "schema", "mapping", "verdict", "why", box=SIMPLE)
    above = ""
    for *line, why in found.lines:
        table.add_row(*line, "as above" if why and why == above else why)
        above = why
    if found.lines:
        console.print(table)
    for each in found.whole:
        console.print(f"{_place(each)} would go out as", markup=False, highlight=False)
        console.print_json(json.dumps(each.event, ensure_ascii=False))
    for note in notes:
        console.print(f"left out: {note}", markup=False, highlight=False, soft_wrap=True)
    why = ", ".join(f"{count} {reason}" for reason, count in found.reasons.most_common())
    counted = [
        f"{count} {_WORDS.get(verdict, verdict)}" + (f" ({why})" if verdict == DEAD_LETTER else "")
        for verdict, count in found.verdicts.most_common()
    ]
    console.print(
        f"\n{found.verdicts.total()} records: {', '.join(counted) or 'nothing to show'}. The ledger was not asked: a copy "
        "of an event that was delivered before looks like one to send.",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    if not is_mapped and found.reasons[Reason.MISSING_FIELD.value]:
        console.print(_UNMAPPED, markup=False, highlight=False, soft_wrap=True)


_UNMAPPED = (
    "There is no mapping file, so inputs are read by the connector's own field names. If the records have a schema of your "
    "own, write a mapping file and set MAPPING_FILE."
)
