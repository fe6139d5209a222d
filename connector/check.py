"""`connector check`: what is right and what is wrong, on one screen. It changes nothing; it sends an event only if asked.

Each line is one thing that must be right before `connector run` can work, in the order in which `run` needs them.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

import orjson
from rich.console import Console
from rich.text import Text

from connector.app import contract_for, own_topics, read_settings, schemas_for, sink_for
from connector.config import Settings
from connector.errors import KafkaUnavailable, SchemaUnavailable, SettingsError
from connector.kafka import clients
from connector.kafka.topics import OwnTopics, TopicDescription, Topics
from connector.model import Answer, Flaw
from connector.ports import WireContract
from connector.telemetry import configure_logging
from connector.trial import Trial, meaning_of

__all__ = ["Finding", "State", "run"]


class State(Enum):
    """Of one thing looked at."""

    RIGHT = "ok"
    NOTE = "note"
    WRONG = "WRONG"


_STYLE = {State.RIGHT: "green", State.NOTE: "yellow", State.WRONG: "bold red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the screen."""

    state: State
    what: str
    sentence: str


def run(environ: Mapping[str, str], trial: Trial | None = None) -> int:
    """Look at everything; return 0 if `connector run` can work, 1 if not. With ``trial`` then send that event, if agreed.

    Raises:
        SettingsError: the settings are not right, or there is nobody to ask whether to send.
    """
    if trial is not None and not trial.agreed and not sys.stdin.isatty():
        raise SettingsError(["--send-test-event: the event will count, and there is no terminal to ask at; --yes sends it"])
    settings = read_settings(environ)
    configure_logging("error", "console")
    console = Console()
    wrong = set()
    count = 0
    for finding in _findings(settings):
        if finding.state is State.WRONG:
            wrong.add(finding.what)
            count += 1
        line = Text.assemble(
            (f"{finding.state.value:>5}", _STYLE[finding.state]), f"  {finding.what:<14} {finding.sentence}"
        )
        console.print(line, soft_wrap=True)
    console.print(
        "\nconnector run can work." if not count else f"\n{count} of these must be mended before connector run can work."
    )
    if trial is not None:
        if "token" in wrong:
            console.print("\nThe test event was not sent: there is no access token to send it with.")
        elif not _tried(settings, trial, console):
            return 1
    return 1 if wrong else 0


def _tried(settings: Settings, trial: Trial, console: Console) -> bool:
    """Show the event, ask, send it, and say what the answer means; return False if Amazon did not take it."""
    amazon, now_ms = settings.amazon, time.time_ns() // 1_000_000
    contract = contract_for(amazon)
    event = contract.encode(trial.inputs(amazon.region, now_ms, os.urandom(16)), trial.dedupe_id(now_ms))
    if isinstance(event, Flaw):
        console.print(f"\nThe test event was not sent, for it breaks a rule: {event.detail}")
        return False
    body = contract.prefix + event + contract.suffix
    headers = [f"  {name}: {value}" for name, value in contract.headers("<access token>").items()]
    shown = orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2).decode()
    console.print(
        f"\nThe test event, as it goes out:\n\n  POST {amazon.base_url}{contract.path}",
        *headers,
        *(f"  {line}" for line in ("", *shown.splitlines())),
        f"\nAmazon has no test mode: it will count as one conversion {trial.name!r} of account {amazon.account_id}.",
        sep="\n",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )
    if not trial.agreed and console.input("Send it? [y/N] ", markup=False).strip().lower() not in ("y", "yes"):
        console.print("Nothing was sent.")
        return True
    meaning = meaning_of(asyncio.run(_sent(settings, contract, body)))
    console.print("", *meaning.sentences, sep="\n", soft_wrap=True, markup=False, highlight=False)
    return meaning.taken


async def _sent(settings: Settings, contract: WireContract, body: bytes) -> Answer:
    sink = sink_for(settings, contract)
    try:
        return await sink.send(body, 1)
    finally:
        await sink.close()


def _findings(settings: Settings) -> Iterator[Finding]:
    given = ", ".join(f"{name}={value}" for name, value in settings.describe() if name in _SHOWN)
    yield Finding(State.RIGHT, "settings", given)
    for note in settings.notes:
        yield Finding(State.NOTE, "settings", note)
    yield from _kafka(settings)
    yield _schemas(settings)
    yield from asyncio.run(_amazon(settings))


_SHOWN = ("KAFKA_TOPIC", "KAFKA_GROUP_ID", "AMAZON_API", "AMAZON_REGION", "AMAZON_ACCOUNT_ID")


def _kafka(settings: Settings) -> Iterator[Finding]:
    topics = Topics(lambda: clients.admin(settings.kafka))
    servers = settings.kafka.bootstrap_servers

    try:
        yield Finding(State.RIGHT, "brokers", f"{servers}: cluster {topics.cluster_id()}")
    except KafkaUnavailable as error:
        yield Finding(State.WRONG, "brokers", f"{servers} do not answer ({error}); topics were not looked at")
        return
    own = own_topics(settings, topics)
    for name in settings.kafka.topics:
        try:
            source = topics.describe(name)
        except KafkaUnavailable as error:
            yield Finding(State.WRONG, "source", str(error))
            continue
        if source is None:
            yield Finding(State.WRONG, "source", f"topic {name} does not exist, or may not be described by this client")
            continue
        yield _rights("source", source, "READ", f"{source.partitions} partitions, id {source.topic_id}")
        yield _own("ledger", topics, own, source, settings.ledger.topic_for(name))
        yield _own("dead letters", topics, own, source, settings.dead_letters.topic_for(name))


def _rights(what: str, topic: TopicDescription, needed: str, sentence: str) -> Finding:
    if topic.may and needed not in topic.may and "ALL" not in topic.may:
        return Finding(
            State.WRONG, what, f"{topic.name}: this client may not {needed.lower()} it; grant it with kafka-acls.sh"
        )
    return Finding(State.RIGHT, what, f"{topic.name}: {sentence}")


def _own(what: str, topics: Topics, own: OwnTopics, source: TopicDescription, name: str) -> Finding:
    try:
        return _looked_at(what, topics, own, source, name)
    except KafkaUnavailable as error:
        return Finding(State.WRONG, what, str(error))


def _looked_at(what: str, topics: Topics, own: OwnTopics, source: TopicDescription, name: str) -> Finding:
    found = topics.describe(name)
    if found is None:
        if own.auto_create:
            return Finding(State.RIGHT, what, f"{name}: not there yet, connector run makes it")
        return Finding(State.WRONG, what, f"{name}: does not exist, and LEDGER_AUTO_CREATE is false")
    if found.partitions < source.partitions and not own.auto_create:
        return Finding(State.WRONG, what, f"{name}: has {found.partitions} partitions, {source.partitions} are needed")
    problems = own.ledger_problems(topics.settings(name)) if what == "ledger" else {}
    if problems:
        return Finding(State.WRONG, what, own.mend(name, problems))
    return _rights(what, found, "WRITE", f"{found.partitions} partitions, may be written")


def _schemas(settings: Settings) -> Finding:
    what = "registry" if settings.registry is not None else "schema file"
    try:
        schemas_for(settings).check()
    except SchemaUnavailable as error:
        return Finding(State.WRONG, what, str(error))
    named = settings.registry.properties["url"] if settings.registry is not None else str(settings.schema_file)
    return Finding(State.RIGHT, what, named)


async def _amazon(settings: Settings) -> list[Finding]:
    amazon = settings.amazon
    sink = sink_for(settings, contract_for(amazon))
    try:
        failed = await sink.check_token()
    finally:
        await sink.close()
    if failed is not None:
        return [Finding(State.WRONG, "token", failed.detail or f"{amazon.token_url} gives none ({failed.reason})")]
    told = "a fixed one; only a request tells whether it holds" if amazon.access_token else f"{amazon.token_url} gives one"
    return [
        Finding(State.RIGHT, "token", told),
        Finding(
            State.NOTE, "Amazon", f"{amazon.base_url}: no contract has a test mode; --send-test-event sends one that counts"
        ),
    ]
