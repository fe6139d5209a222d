"""One frame of ``connector top``: the status of several replicas, side by side and in sum. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, Group, JustifyMethod, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from connector.model import natural_order
from connector.operations.figures import ago, amount, duration, number, rate, seconds_pair, size
from connector.operations.status import FATES

__all__ = ["WIDE", "Fitted", "Replica", "frame", "problem_of"]

WIDE = 140
"""Columns for the words of each table."""
_NARROW = 130
"""Columns below which a frame has fewer columns and no tables side by side."""

_STATES = {"right": "bold green", "held up": "bold yellow", "not ready": "bold red", "hung": "bold red"}
_BARS = " ▁▂▃▄▅▆▇█"
_POINTS = 120
"""Points of the last hour."""
_MOST_BARS = 60
_BESIDE_BARS = 38
"""Columns for the name of a line of bars, and for what its highest bar stands for."""
_NEWEST = 10
_ANOTHER_FORM = "its version has another form of status"
_WANTED = {
    *("build", "group", "destination", "state", "held_up", "uptime_seconds", "recent_seconds", "records", "fates"),
    *("dead_letters", "amazon", "partitions", "window", "buffer", "schemas", "history"),
}


@dataclass(frozen=True, slots=True)
class Replica:
    """What a replica answered, or why it did not."""

    name: str
    status: Mapping[str, Any] | None = None
    problem: str = ""


def problem_of(answer: object) -> str:
    """Return what is wrong with an answer that should be a document; empty if nothing is."""
    if not isinstance(answer, dict) or (lacking := sorted(_WANTED - answer.keys())) == sorted(_WANTED):
        return "the answer is not the status of a connector"
    if lacking:
        return f"{_ANOTHER_FORM}: it lacks {', '.join(lacking)}"
    try:
        frame([Replica("", answer)])
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
        return _ANOTHER_FORM
    return ""


def frame(replicas: Sequence[Replica], width: int = WIDE) -> RenderableType:
    """Return the frame for a terminal of so many columns.

    Replicas that do not answer are named, and left out of the sums. What an operator asks first is
    at the top, because a small terminal shows no more than that.
    """
    there = [each.status for each in replicas if each.status is not None]
    narrow = width < _NARROW
    parts: list[RenderableType] = [_replicas(replicas, narrow=narrow), *_messages(replicas)]
    if there:
        counts = (_answers(there), _fates(there)) if narrow else (_side_by_side(_fates(there), _answers(there)),)
        parts += [_history(there, width), *counts, *_letters(there), _partitions(replicas, narrow=narrow), _summary(there)]
    return Group(*parts)


class Fitted:
    """The lines of a frame that fit the terminal; the last one says how many more there are."""

    def __init__(self, whole: RenderableType) -> None:
        self._whole = whole

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the first lines."""
        lines = console.render_lines(self._whole, options.update(height=None), pad=False)
        if (more := len(lines) - options.size.height) > 0:
            del lines[-more - 1 :]
            note = f"{more + 1} more lines: enlarge the terminal, or run it with --once"
            lines += console.render_lines(Text(note, "reverse", overflow="ellipsis", no_wrap=True), options, pad=False)[:1]
        for number_, line in enumerate(lines):
            if number_:
                yield Segment.line()
            yield from line


# ---- the parts


def _replicas(replicas: Sequence[Replica], *, narrow: bool) -> Table:
    """Return a line for each replica; a narrow one has no version, pace or latency."""
    names = {
        "version": "version",
        "partitions": "partitions",
        "delivered": "delivered\n/s" if narrow else "delivered/s",
        "letters": "dead\nletters" if narrow else "dead letters",
        "lag": "lag",
        "in flight": "in flight",
        "latency": "p50 / p99",
        "success": "last\nsuccess" if narrow else "last success",
    }
    shown = [name for name in names if not narrow or name not in {"version", "in flight", "latency"}]
    left = 2 if narrow else 3
    table = _table("replica", "state", *(names[name] for name in shown), left=left, folded=1)
    for each in replicas:
        if each.status is None:
            table.add_row(_text(each.name), Text("no answer", "bold red"), *["-"] * len(shown))
            continue
        status, amazon = each.status, each.status["amazon"]
        word = str(status["state"]["word"])
        cells: dict[str, RenderableType] = {
            "version": _text(status["build"]["version"]),
            "partitions": number(len(status["partitions"])),
            "delivered": rate(status["fates"]["delivered"]["recent"], status["recent_seconds"]),
            "letters": number(status["fates"]["dead_lettered"]["recent"]),
            "lag": number(_lag(status)),
            "in flight": f"{number(amazon.get('requests_in_flight'))} of {number(amazon.get('concurrency_limit'))}",
            "latency": seconds_pair(amazon["p50_seconds"], amazon["p99_seconds"]),
            "success": ago(amazon["last_success_seconds_ago"]),
        }
        table.add_row(_text(each.name), _text(word, _STATES.get(word, "bold")), *(cells[name] for name in shown))
    there = [each.status for each in replicas if each.status is not None]
    if len(replicas) > 1:
        table.add_section()
        lags = [lag for lag in map(_lag, there) if lag is not None]
        success = [past for each in there if (past := each["amazon"]["last_success_seconds_ago"]) is not None]
        sums = {
            "partitions": number(sum(len(each["partitions"]) for each in there)),
            "delivered": amount(
                sum(each["fates"]["delivered"]["recent"] / max(each["recent_seconds"], 1) for each in there)
            ),
            "letters": number(sum(each["fates"]["dead_lettered"]["recent"] for each in there)),
            "lag": number(sum(lags) if lags else None),
            "in flight": f"{_sum(there, 'requests_in_flight')} of {_sum(there, 'concurrency_limit')}",
            "success": ago(min(success, default=None)),
        }
        table.add_row(Text(f"{len(there)} of {len(replicas)}", "bold"), "", *(sums.get(name, "") for name in shown))
    return table


def _messages(replicas: Sequence[Replica]) -> Iterable[Text]:
    """Return what is wrong, the worst first; what several replicas say is said once."""
    who: dict[tuple[str, str], list[str]] = {}
    for each in replicas:
        if each.status is None:
            who.setdefault(("red", each.problem), []).append(each.name)
            continue
        for message in each.status["state"]["messages"]:
            who.setdefault(("red", message), []).append(each.name)
        for held in each.status["held_up"]:
            many = "1 partition" if held["partitions"] == 1 else f"{held['partitions']} partitions"
            said = f"{many} held up: {held['message']} ({held['reason']})"
            who.setdefault(("yellow", said), []).append(each.name)
    for (style, message), names in sorted(who.items(), key=lambda one: one[0][0] != "red"):
        yield _message(", ".join(names), message, style)


def _history(there: Sequence[Mapping[str, Any]], width: int) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1), title="the last hour", title_justify="left")
    bars = min(_MOST_BARS, max(width - _BESIDE_BARS, 1))
    fates = [name for name in FATES if name != "already_resolved"]
    answers = ["answers 2xx", "answers 429", "failures"]
    for name, values, unit in (
        ("events", _summed(there, fates), "a second"),
        ("requests", _summed(there, answers), "a second"),
        ("failures", _summed(there, ["failures"]), "a second"),
        ("lag", _summed(there, ["lag"]), "records"),
        ("p99", _joined([each["history"]["p99"] for each in there], max), "s"),
    ):
        top = max((value for value in values if value is not None), default=0)
        colour = "red" if name == "failures" else "green"
        table.add_row(name, Text(_bars(values, top, bars), colour), f"up to {amount(top)} {unit}")
    return table


def _fates(there: Sequence[Mapping[str, Any]]) -> Table:
    table = _counts("outcome", there)
    for fate in FATES:
        _add_sums(table, fate.replace("_", " "), [(each["fates"].get(fate), each["recent_seconds"]) for each in there])
    _add_sums(table, "all records read", [(each["records"], each["recent_seconds"]) for each in there])
    return table


def _answers(there: Sequence[Mapping[str, Any]]) -> Table:
    table = _counts("answer of Amazon", there)
    for status in sorted({name for each in there for name in each["amazon"]["statuses"]}):
        _add_sums(table, status, [(each["amazon"]["statuses"].get(status), each["recent_seconds"]) for each in there])
    return table


def _letters(there: Sequence[Mapping[str, Any]]) -> Iterable[Table]:
    reasons = sorted({name for each in there for name in each["dead_letters"]["reasons"]})
    if reasons:
        table = _counts("dead letters", there)
        for reason in reasons:
            _add_sums(
                table, reason, [(each["dead_letters"]["reasons"].get(reason), each["recent_seconds"]) for each in there]
            )
        yield table
    newest = sorted(
        (letter for each in there for letter in each["dead_letters"]["newest"]), key=lambda letter: letter["seconds_ago"]
    )
    if newest:
        table = _table("newest", "record", "reason", "detail", left=4, folded=4)
        for letter in newest[:_NEWEST]:
            row = (letter["record"], letter["reason"], letter["detail"])
            table.add_row(f"{duration(letter['seconds_ago'])} ago", *map(_text, row))
        yield table


def _partitions(replicas: Sequence[Replica], *, narrow: bool) -> Table:
    """Return a line for each partition. A narrow one has its phase or what holds it up."""
    states = ["state"] if narrow else ["phase", "held up by"]
    counted = ["committed", "lag"] if narrow else ["committed", "lag", "unresolved"]
    left = 2 + len(states)
    table = _table("partition", "replica", *states, *counted, "oldest for", left=left, folded=left)
    rows = [(row, each.name) for each in replicas if each.status is not None for row in each.status["partitions"]]
    for row, name in sorted(rows, key=lambda one: natural_order(str(one[0]["partition"]))):
        held_up = ", ".join(row["held_up_by"])
        colour = "green" if row["phase"] == "running" and not held_up else "yellow"
        oldest = row["oldest_unresolved_seconds"]
        table.add_row(
            _text(row["partition"]),
            _text(name),
            _text(held_up or row["phase"] if narrow else row["phase"], colour),
            *([] if narrow else [_text(held_up or "-")]),
            *(number(row[column]) for column in counted),
            "-" if oldest is None else duration(oldest),
        )
    return table


def _summary(there: Sequence[Mapping[str, Any]]) -> Text:
    keys, held = sum(each["window"]["keys"] for each in there), sum(each["window"]["bytes"] for each in there)
    events, buffered = sum(each["buffer"]["events"] for each in there), sum(each["buffer"]["bytes"] for each in there)
    groups = sorted({f"group {each['group']} to {each['destination']['host']}" for each in there})
    schemas = {f"{one['schema']} {one['records']} ({one['mapping']})": None for each in there for one in each["schemas"]}
    lines = [
        *groups,
        f"window {keys:,} keys, {size(held)}; buffer {events:,} events, {size(buffered)}",
        *([f"schemas: {'; '.join(schemas)}"] if schemas else []),
    ]
    return _text("\n".join(map(_printable, lines)), "dim", keep_lines=True)


# ---- pieces


def _table(*columns: str, left: int, folded: int) -> Table:
    """Return a table of texts and then numbers; the first columns fold where space is short."""
    table = Table(box=box.SIMPLE_HEAD, header_style="dim", pad_edge=False, padding=(0, 1), collapse_padding=True)
    for number_, name in enumerate(columns):
        side: JustifyMethod = "left" if number_ < left else "right"
        table.add_column(name, justify=side, overflow="fold", no_wrap=number_ >= folded)
    return table


def _counts(name: str, there: Sequence[Mapping[str, Any]]) -> Table:
    span = max(each["recent_seconds"] for each in there)
    return _table(name, f"last {duration(span)}", "per s", "since start", left=1, folded=1)


def _add_sums(table: Table, name: str, counts: Sequence[tuple[Mapping[str, int] | None, float]]) -> None:
    """Add a row of sums. Each replica has its own span of recent time."""
    known = [(each, span) for each, span in counts if each is not None]
    table.add_row(
        _text(name),
        number(sum(each["recent"] for each, _ in known)),
        amount(sum(each["recent"] / max(span, 1) for each, span in known)),
        number(sum(each["since_start"] for each, _ in known)),
    )


def _side_by_side(*tables: Table) -> Table:
    grid = Table.grid(padding=(0, 4))
    grid.add_row(*tables)
    return grid


def _summed(there: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[float | None]:
    return _joined([each["history"].get(name, []) for each in there for name in names], lambda one, other: one + other)


def _joined(lines: Sequence[Sequence[float | None]], join: Any) -> list[float | None]:
    """Join lines point by point, aligned at the newest: replicas did not start at the same time."""
    joined: list[float | None] = [None] * max(map(len, lines), default=0)
    for line in lines:
        for at, value in enumerate(line, start=len(joined) - len(line)):
            before = joined[at]
            joined[at] = before if value is None else value if before is None else join(before, value)
    return joined


def _bars(values: Sequence[float | None], top: float, most: int) -> str:
    """Draw the last hour as bars, each the largest of some points, the newest at the right."""
    each = -(-_POINTS // most)
    count = -(-_POINTS // each)
    groups = [values[max(0, at - each) : at] for at in range(len(values), 0, -each)][:count]
    heights = [max((value for value in group if value is not None), default=None) for group in reversed(groups)]
    drawn = ("·" if height is None else _BARS[round(8 * height / (top or 1))] for height in heights)
    return "".join(drawn).rjust(count)


def _lag(status: Mapping[str, Any]) -> int | None:
    lags = [row["lag"] for row in status["partitions"] if row["lag"] is not None]
    return sum(lags) if lags else None


def _sum(there: Sequence[Mapping[str, Any]], name: str) -> str:
    return number(sum(each["amazon"].get(name) or 0 for each in there))


def _message(name: str, message: str, style: str) -> Text:
    return Text.assemble((f"{_printable(name)}: ", "bold"), (_printable(message), style))


def _text(value: str, style: str = "", *, keep_lines: bool = False) -> Text:
    return Text(value if keep_lines else _printable(value), style)


def _printable(value: str) -> str:
    """Return a text without control characters, which a terminal might obey."""
    return "".join(each if each.isprintable() else "·" for each in str(value))
