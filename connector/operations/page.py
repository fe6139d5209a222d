"""The page at ``/``: the document of `status` as HTML.

The module is pure. The page has no scripts and needs no other files.

The page first answers what an operator asks: is all well, and if not, why not. Then it shows what
happened lately, and the last hour as charts. What is seldom needed comes last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

from connector.operations.drawing import Line, lines, scale_top, stack
from connector.operations.figures import ago, amount, duration, number, rate, seconds, seconds_pair, size
from connector.operations.status import FATES
from connector.operations.style import STYLE

__all__ = ["REFRESH_SECONDS", "page"]

REFRESH_SECONDS = 5
_POINTS = 120
"""Points of a picture: one for each 30 seconds of the last hour."""
_LONG = 64
"""Characters after which the value of a setting may break anywhere."""

_STATES = {
    "right": ("good", "Right", "Events are read, sent and committed."),
    "held up": ("warn", "Held up", "It goes on by itself once the cause has passed."),
    "not ready": ("bad", "Not ready", "What is missing, or must be done:"),
    "hung": ("bad", "Hung", "The process must be restarted."),
}


def page(document: Mapping[str, Any]) -> str:
    """Return the page of a document."""
    build = document["build"]
    title = f"amazon conversions · {document['group']}"
    word, name, _ = _STATES[document["state"]["word"]]
    return (
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        f"<meta http-equiv=refresh content={REFRESH_SECONDS}>"
        '<meta name=viewport content="width=device-width,initial-scale=1"><meta name=color-scheme content="light dark">'
        f"<title>{name} · {escape(title)}</title><style>{STYLE}</style></head><body>"
        f"<header><h1>{escape(title)}</h1><p class=quiet>{escape(document['host'])} sends "
        f"{_destination(document['destination'])}"
        f" · version {escape(build['version'])} · up {duration(document['uptime_seconds'])}</p></header><main>"
        f"{_state(document, word)}{_tiles(document)}{_pictures(document['history'])}"
        f"<div class=columns>{_events(document)}{_amazon(document)}</div>"
        f"{_dead_letters(document)}{_partitions(document)}"
        f"<div class=columns>{_memory(document)}{_schemas(document)}</div>{_settings(document)}"
        "</main><footer class=quiet>"
        f"revision {escape(build['revision'])} · Python {escape(build['python'])} · "
        f"librdkafka {escape(build['librdkafka'])} · "
        "<a href=/status.json>status.json</a> · <a href=/metrics>metrics</a> · <a href=/livez>livez</a> · "
        "<a href=/readyz>readyz</a></footer></body></html>\n"
    )


# ---- the sections


def _destination(destination: Mapping[str, Any]) -> str:
    marked = "" if destination["is_amazon"] else " <strong class=warn>not Amazon</strong>"
    dataset = f", data set {escape(destination['dataset'])}" if destination["dataset"] else ""
    return (
        f"to {escape(destination['host'])}{marked}, {escape(destination['api'])}, region {escape(destination['region'])}, "
        f"account {escape(destination['account'])}{dataset}"
    )


def _state(document: Mapping[str, Any], word: str) -> str:
    _, name, sentence = _STATES[document["state"]["word"]]
    messages = "".join(f"<li>{escape(message)}</li>" for message in document["state"]["messages"])
    held = "".join(
        f"<li>{_many(each['partitions'], 'partition')} held up: {escape(each['message'])} "
        f"<code>{escape(each['reason'])}</code></li>"
        for each in document["held_up"]
    )
    return (
        f'<section class="state {word}" id=state><h2>{name}</h2><p>{sentence}</p>'
        f"{f'<ul class=messages>{messages}</ul>' if messages else ''}{f'<ul>{held}</ul>' if held else ''}</section>"
    )


def _tiles(document: Mapping[str, Any]) -> str:
    fates, amazon, span = document["fates"], document["amazon"], document["recent_seconds"]
    lags = [row["lag"] for row in document["partitions"] if row["lag"] is not None]
    tiles = [
        ("delivered", rate(fates["delivered"]["recent"], span), "events per second"),
        ("lag", number(sum(lags)) if lags else "-", "records not committed"),
        ("answers", seconds_pair(amazon["p50_seconds"], amazon["p99_seconds"]), "p50 / p99"),
        ("dead letters", number(fates["dead_lettered"]["recent"]), f"in the last {duration(span)}"),
        ("last success", ago(amazon["last_success_seconds_ago"]), "of a request to Amazon"),
    ]
    shown = "".join(f"<div><dt>{name}</dt><dd>{value}<small>{unit}</small></dd></div>" for name, value, unit in tiles)
    return f"<dl class=tiles>{shown}</dl>"


def _pictures(history: Mapping[str, Any]) -> str:
    def line(name: str, colour: int, key: str = "") -> Line:
        return Line(name, colour, history[key or name])

    fates = [line("delivered", 0), line("duplicate", 1), line("ignored", 2), line("stale", 3)]
    fates.append(line("dead-lettered", 4, "dead_lettered"))
    answers = [
        line("taken (2xx)", 0, "answers 2xx"),
        line("throttled (429)", 3, "answers 429"),
        line("failed", 4, "failures"),
    ]
    times = [line("p50", 0), line("p99", 5)]
    lag = [line("records", 5, "lag")]
    return (
        "<section><h2>The last hour</h2><div class=pictures>"
        + _picture("Events by outcome", fates, f"{amount(scale_top(fates, stacked=True))} a second", stack)
        + _picture("Requests by answer", answers, f"{amount(scale_top(answers, stacked=True))} a second", stack)
        + _picture("Lag", lag, f"{number(int(scale_top(lag)))} records", lines)
        + _picture("Latency of Amazon", times, seconds(scale_top(times)) if scale_top(times) else "0 s", lines)
        + "</div></section>"
    )


def _picture(title: str, drawn: Sequence[Line], top: str, draw: Callable[[Sequence[Line], str, int], str]) -> str:
    legend = "".join(f"<li><i class=c{each.colour}></i>{each.name}</li>" for each in drawn)
    return (
        f"<figure><figcaption><b>{title}</b> <span class=quiet>up to {top}</span></figcaption>"
        f"{draw(drawn, f'{title} in the last hour', _POINTS)}"
        f'<div class="axis quiet"><span>1 h ago</span><span>now</span></div><ul class=legend>{legend}</ul></figure>'
    )


def _events(document: Mapping[str, Any]) -> str:
    span = document["recent_seconds"]
    rows = [
        [f"<b>{escape(fate.replace('_', ' '))}</b><small>{meaning}</small>", *_both(document["fates"][fate], span)]
        for fate, meaning in FATES.items()
    ]
    rows.append(["<b>all records read</b>", *_both(document["records"], span)])
    more = {**document["adjustments"], **{f"filtered by {name}": count for name, count in document["filtered"].items()}}
    extra = _pairs({name: number(count) for name, count in more.items()})
    return _section(
        "Events", _counts("outcome", rows, span, "fates") + (f"<h3>Adjusted or filtered</h3>{extra}" if more else "")
    )


def _amazon(document: Mapping[str, Any]) -> str:
    amazon, span = document["amazon"], document["recent_seconds"]
    pace_limit = amazon.get("requests_per_second_limit")
    rows = [[f"<b>{escape(status)}</b>", *_both(counts, span)] for status, counts in amazon["statuses"].items()]
    table = _counts("answer", rows, span, "answers") if rows else _none("no request yet")
    pace = {
        "latency p50 / p99, since start": seconds_pair(amazon["p50_seconds_since_start"], amazon["p99_seconds_since_start"]),
        "requests in flight": number(amazon.get("requests_in_flight")),
        "concurrency limit": number(amazon.get("concurrency_limit")),
        "most requests a second": "no limit" if pace_limit is None else amount(pace_limit),
        "events in flight": number(amazon.get("events_in_flight")),
        "largest request": size(amazon.get("request_bytes_limit")),
        "last success": ago(amazon["last_success_seconds_ago"]),
    }
    return _section("Amazon", table + _pairs(pace))


def _dead_letters(document: Mapping[str, Any]) -> str:
    letters, span = document["dead_letters"], document["recent_seconds"]
    if not letters["reasons"] and not letters["newest"]:
        return _section("Dead letters", _none("none since the start"))
    rows = [[f"<b>{escape(reason)}</b>", *_both(counts, span)] for reason, counts in letters["reasons"].items()]
    newest = [
        [f"<span class=number>{duration(each['seconds_ago'])} ago</span>", f"<code>{escape(each['record'])}</code>",
         f"<b>{escape(each['reason'])}</b>", escape(each["detail"])]
        for each in letters["newest"]
    ]  # fmt: skip
    return _section(
        "Dead letters",
        _counts("reason", rows, span, "reasons")
        + "<h3>The newest</h3>"
        + _table(["when", "record", "reason", "detail"], newest, "newest", numbers=False),
    )


def _partitions(document: Mapping[str, Any]) -> str:
    rows = [
        [
            f"<b>{escape(row['partition'])}</b>",
            f'<span class="{_phase_class(row)}">{escape(row["phase"])}</span>',
            number(row["committed"]),
            number(row["lag"]),
            number(row["unresolved"]),
            "-" if row["oldest_unresolved_seconds"] is None else duration(row["oldest_unresolved_seconds"]),
            escape(", ".join(row["held_up_by"])) or "-",
        ]
        for row in document["partitions"]
    ]
    head = ["partition", "phase", "committed", "lag", "unresolved", "oldest for", "held up by"]
    return _section("Partitions", _table(head, rows, "partitions") if rows else _none("none is assigned to this member"))


def _phase_class(row: Mapping[str, Any]) -> str:
    if row["phase"] == "running" and not row["held_up_by"]:
        return "good"
    return "bad" if {"refused", "operator", "breaker"} & {*row["held_up_by"]} else "warn"


def _memory(document: Mapping[str, Any]) -> str:
    window, buffer = document["window"], document["buffer"]
    return _section(
        "Memory",
        _pairs(
            {
                "dedupe window": f"{_many(window['keys'], 'key')}, {size(window['bytes'])}",
                "buffer": f"{_many(buffer['events'], 'event')}, {size(buffer['bytes'])}",
            }
        ),
    )


def _schemas(document: Mapping[str, Any]) -> str:
    rows = [[escape(each["schema"]), escape(each["records"]), escape(each["mapping"])] for each in document["schemas"]]
    table = _table(["schema", "records", "mapping"], rows, "schemas", numbers=False)
    return _section("Newest schemas", table if rows else _none("no record yet"))


def _settings(document: Mapping[str, Any]) -> str:
    rows = [[f"<code>{escape(name)}</code>", _breakable(value)] for name, value in document["settings"].items()]
    table = _table(["setting", "value"], rows, "settings", numbers=False)
    summary = "<summary><h2>Settings</h2> <span class=quiet>secrets are masked</span></summary>"
    return f"<section><details>{summary}{table}</details></section>"


# ---- pieces


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>"


def _none(text: str) -> str:
    return f"<p class=quiet>{text}</p>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], name: str, *, numbers: bool = True) -> str:
    """Return a table, whose cells are HTML.

    With ``numbers``, all cells of a row but the first are aligned as numbers.
    """
    shown = "".join(f"<th>{each}</th>" for each in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    kind = " class=numbers" if numbers else ""
    return f"<div class=wide><table id={name}{kind}><thead><tr>{shown}</tr></thead><tbody>{body}</tbody></table></div>"


def _counts(what: str, rows: Iterable[Sequence[str]], span: float, name: str) -> str:
    """Return a table of counts; each row is a name and `_both` of its counts."""
    return _table([what, f"last {duration(span)}", "per s", "since start"], rows, name)


def _pairs(values: Mapping[str, str]) -> str:
    return (
        "<dl class=pairs>"
        + "".join(f"<div><dt>{escape(name)}</dt><dd>{value}</dd></div>" for name, value in values.items())
        + "</dl>"
    )


def _both(counts: Mapping[str, int], span: float) -> list[str]:
    return [number(counts["recent"]), rate(counts["recent"], span), number(counts["since_start"])]


def _breakable(value: str) -> str:
    return f"<span class=long>{escape(value)}</span>" if len(value) > _LONG else escape(value)


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
