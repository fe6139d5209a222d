"""`connector check`: shows on one screen whether `connector run` can work.

The command changes nothing, and sends an event only on request. Each line is one thing that `run`
needs. The lines are in the order in which `run` needs them.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping

import orjson
from rich.console import Console
from rich.text import Text

from connector.amazon.profiles import account_note
from connector.assembly import (
    cluster_for,
    contract_for,
    ledger_policy,
    managed_topics,
    read_settings,
    registry_for,
    sink_for,
)
from connector.avro.registry import Registry
from connector.cli import times
from connector.cli.findings import Finding, State, schema_findings, schemas_in_files
from connector.cli.test_event import EVENT_NAME, EVENT_TYPE, Trial, meaning_of
from connector.config import Settings
from connector.errors import (
    KafkaTokenLacking,
    KafkaUnavailable,
    LedgerRefused,
    SchemaUnavailable,
    SettingsError,
    Unavailable,
    Undecodable,
)
from connector.kafka import clients
from connector.kafka.cluster import Cluster
from connector.kafka.ledger import LedgerReader
from connector.kafka.managed_topics import ManagedTopics
from connector.kafka.monitor import LEDGER_RIGHTS, LETTER_RIGHTS, SOURCE_RIGHTS, lacking_message
from connector.mapping.file import MappingFile
from connector.mapping.money import doubtful_amounts
from connector.model import Answer, Flaw, TopicDescription, TopicPartition, missing
from connector.native import codec_for
from connector.ports import WireContract
from connector.telemetry import configure_logging

__all__ = ["run", "set_up"]


def set_up(parser: argparse.ArgumentParser) -> None:
    """Declare the description and the options of the command."""
    parser.description = (
        "Check settings, brokers, topics and rights, registry, schema and token. Changes nothing. Settings come from the "
        "environment, as for `run`."
    )
    parser.epilog = "Exit codes: 0 connector run can work; 1 something is wrong; 2 settings refused."
    parser.add_argument(
        "--send-test-event",
        action="store_true",
        help="then send one real event, which counts as a conversion, and explain Amazon's answer; asks first",
    )
    parser.add_argument("--yes", action="store_true", help="send the test event without asking")
    parser.add_argument(
        "--event-name", metavar="NAME", default=EVENT_NAME, help="name of the test event (default: %(default)s)"
    )
    parser.add_argument(
        "--event-type",
        metavar="TYPE",
        default=EVENT_TYPE,
        help="type of the test event, one of Amazon's standard types (default: %(default)s)",
    )


_STYLE = {State.RIGHT: "green", State.NOTE: "yellow", State.WRONG: "bold red"}


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Check everything, and send the test event on request.

    Return 0 if `connector run` can work, 1 if not.

    Raises:
        SettingsError: the settings are refused, or there is no terminal to ask whether to send.
    """
    trial = Trial(arguments.event_name, arguments.event_type, agreed=arguments.yes) if arguments.send_test_event else None
    if trial is not None and not trial.agreed and not sys.stdin.isatty():
        raise SettingsError(
            ["--send-test-event: the event counts as a conversion, and there is no terminal to ask on: add --yes to send it"]
        )
    settings = read_settings(environ)
    configure_logging("error", "console")
    console = Console()
    wrong = set()
    count = 0
    for finding in _findings(settings):
        if finding.state is State.WRONG:
            wrong.add(finding.what)
            count += 1
        line = Text.assemble((f"{finding.state.value:>5}", _STYLE[finding.state]), f"  {finding.what:<14} {finding.message}")
        console.print(line, soft_wrap=True)
    console.print(
        "\nconnector run can work." if not count else f"\n{count} of these must be fixed before connector run can work."
    )
    if trial is not None:
        if "token" in wrong:
            console.print("\nThe test event was not sent: there is no access token to send it with.")
        elif not _test_event_passes(settings, trial, console):
            return 1
    return 1 if wrong else 0


def _test_event_passes(settings: Settings, trial: Trial, console: Console) -> bool:
    """Show the test event, ask whether to send it, send it, and explain the answer.

    Return False if Amazon did not take the event.
    """
    amazon, now_ms = settings.amazon, times.now_ms()
    contract = contract_for(amazon)
    event = contract.encode(trial.inputs(amazon.region, now_ms, os.urandom(16)), trial.dedupe_id(now_ms))
    if isinstance(event, Flaw):
        console.print(f"\nThe test event was not sent, because it breaks a rule: {event.detail}")
        return False
    body = contract.prefix + event + contract.suffix
    headers = [f"  {name}: {value}" for name, value in contract.headers("<access token>").items()]
    shown = orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2).decode()
    console.print(
        f"\nThe test event, as it goes out:\n\n  POST {amazon.base_url}{contract.path}",
        *headers,
        *(f"  {line}" for line in ("", *shown.splitlines())),
        f"\nAmazon has no test mode: the event will count as one conversion {trial.name!r} of account {amazon.account_id}.",
        sep="\n",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )
    if not trial.agreed and console.input("Send it? [y/N] ", markup=False).strip().lower() not in ("y", "yes"):
        console.print("Nothing was sent.")
        return True
    meaning = meaning_of(asyncio.run(_sent(settings, contract, body)))
    console.print("", *meaning.messages, sep="\n", soft_wrap=True, markup=False, highlight=False)
    return meaning.taken


async def _sent(settings: Settings, contract: WireContract, body: bytes) -> Answer:
    sink = sink_for(settings, contract)
    try:
        return await sink.send(body, 1, may_start=lambda: True)  # no partition that could be lost
    finally:
        await sink.close()


def _findings(settings: Settings) -> Iterator[Finding]:
    given = ", ".join(f"{name}={value}" for name, value in settings.describe() if name in _SHOWN)
    yield Finding(State.RIGHT, "settings", given)
    for note in settings.notes:
        yield Finding(State.NOTE, "settings", note)
    codec = codec_for(settings.codec)
    yield Finding(State.NOTE if codec.is_second_best else State.RIGHT, "codec", codec.message)
    yield from _kafka(settings)
    if settings.mapping is not None:
        yield from _unread_topics(settings.mapping, settings.kafka.topics)
        yield from (Finding(State.NOTE, "mapping", doubt) for doubt in doubtful_amounts(settings.mapping))
    yield from _schemas(settings)
    yield from asyncio.run(_amazon(settings))


_SHOWN = ("KAFKA_TOPIC", "KAFKA_GROUP_ID", "AMAZON_API", "AMAZON_REGION", "AMAZON_ACCOUNT_ID")


def _kafka(settings: Settings) -> Iterator[Finding]:
    topics = cluster_for(settings)
    servers = settings.kafka.bootstrap_servers

    try:
        yield Finding(State.RIGHT, "brokers", f"{servers}: cluster {topics.cluster_id()}")
    except KafkaTokenLacking as error:
        yield Finding(State.WRONG, "brokers", f"{servers} were not asked: {error}; topics were not checked")
        return
    except KafkaUnavailable as error:
        yield Finding(State.WRONG, "brokers", f"{servers} do not answer ({error}); topics were not checked")
        return
    own = managed_topics(settings, topics)
    for name in settings.kafka.topics:
        try:
            source = topics.describe(name)
        except KafkaUnavailable as error:
            yield Finding(State.WRONG, "source", str(error))
            continue
        if source is None:
            yield Finding(State.WRONG, "source", f"topic {name} does not exist")
            continue
        yield _topic("source", source, SOURCE_RIGHTS, f"{source.partitions} partitions, id {source.topic_id}")
        ledger, finding = _ledger(own, source, settings.ledger.topic_for(name))
        yield finding
        yield _letters(own, source, settings.dead_letters.topic_for(name))
        if finding.state is not State.WRONG:
            yield from _start(settings, topics, source, ledger)
    yield _group(topics, settings.kafka.group_id)


def _topic(what: str, topic: TopicDescription, rights: tuple[str, ...], message: str) -> Finding:
    if lacking := topic.lacks(*rights):
        return Finding(State.WRONG, what, lacking_message(f"topic {topic.name}", lacking))
    return Finding(State.RIGHT, what, f"{topic.name}: {message}")


def _ledger(own: ManagedTopics, source: TopicDescription, name: str) -> tuple[TopicDescription | None, Finding]:
    try:
        found = own.rehearse(source, letters=False)
    except (KafkaUnavailable, LedgerRefused) as error:
        return None, Finding(State.WRONG, "ledger", str(error))
    if found is None:
        return None, Finding(State.RIGHT, "ledger", f"{name}: does not exist yet, connector run creates it")
    return found, _topic("ledger", found, LEDGER_RIGHTS, f"{_partitions(found, source)}, loses no fact")


def _letters(own: ManagedTopics, source: TopicDescription, name: str) -> Finding:
    try:
        found = own.rehearse(source, letters=True)
    except (KafkaUnavailable, LedgerRefused) as error:
        return Finding(State.WRONG, "dead letters", str(error))
    if found is None:
        return Finding(State.RIGHT, "dead letters", f"{name}: does not exist yet, connector run creates it")
    finding = _topic("dead letters", found, LETTER_RIGHTS, f"{_partitions(found, source)}, may be written")
    note = own.letters_note(source, found) if finding.state is State.RIGHT else None
    return finding if note is None else Finding(State.NOTE, finding.what, f"{finding.message}; {note}")


def _partitions(topic: TopicDescription, source: TopicDescription) -> str:
    more = source.partitions - topic.partitions
    return f"{topic.partitions} partitions" + (f", connector run adds {more}" if more > 0 else "")


def _start(
    settings: Settings, topics: Cluster, source: TopicDescription, ledger: TopicDescription | None
) -> Iterator[Finding]:
    """Check whether each partition could start, by its commit and its newest ledger entries."""
    reader = LedgerReader(
        ledger_policy(settings),
        topics,
        clients.reader_properties(settings.kafka, clients.unreported, logging.getLogger("librdkafka")),
    )
    cluster_id = topics.cluster_id()
    refusals: dict[str, None] = {}
    committed = 0
    for number in range(source.partitions):
        try:
            found = reader.recover(cluster_id, TopicPartition(source.name, number), source, ledger, newest=_NEWEST)
            committed += found.committed
        except LedgerRefused as error:
            refusals[str(error) if ledger is not None else _LEDGER_GONE] = None
        except Unavailable as error:
            refusals[str(error)] = None
            break  # the other partitions would fail in the same way, each after its time-out
    yield from (Finding(State.WRONG, "start", refusal) for refusal in refusals)
    if not refusals:
        elsewhere = "the others at their beginning or after their last judged record"
        rest = elsewhere if committed < source.partitions else "none at its beginning"
        yield Finding(State.RIGHT, "start", f"{source.name}: {committed} partitions start where the group committed, {rest}")


_NEWEST = 100
"""Number of ledger entries that are read for each partition. `run` reads all."""
_LEDGER_GONE = (
    "the group has committed offsets, but the ledger that they rest on does not exist; connector run says how to go on"
)


def _group(topics: Cluster, group: str) -> Finding:
    try:
        lacking = missing(topics.group_may(group), ("READ",))
    except KafkaUnavailable as error:
        return Finding(State.WRONG, "group", str(error))
    if lacking:
        return Finding(State.WRONG, "group", lacking_message(f"group {group}", lacking))
    return Finding(State.RIGHT, "group", group)


def _unread_topics(mapping: MappingFile, topics: Collection[str]) -> Iterator[Finding]:
    """Yield a note for each mapping that names topics which the connector does not read."""
    for route in mapping.routes:
        if others := sorted((route.topics or frozenset()).difference(topics)):
            message = f"{route.label}.topic: {', '.join(others)} not in KAFKA_TOPIC ({', '.join(topics)})"
            yield Finding(State.NOTE, "mapping", message)


def _schemas(settings: Settings) -> Iterator[Finding]:
    mapping = settings.mapping
    if settings.registry is None:
        found = list(schemas_in_files(settings.schema_file, settings.schema_dir))  # read with the settings
        if settings.schema_dir is not None:
            yield Finding(State.RIGHT, "schema files", f"{settings.schema_dir}: {len(found)}")
        else:
            yield Finding(State.RIGHT, "schema file", str(settings.schema_file))
        for place, definitions in found:
            yield from schema_findings(mapping, definitions, place)
        return
    registry = registry_for(settings.registry)
    if settings.registry.type in _OTHER_REGISTRIES:
        yield from _other_registry(registry, _OTHER_REGISTRIES[settings.registry.type], mapping, settings.kafka.topics)
        return
    try:
        registry.check()
        known = {topic: registry.knows(f"{topic}-value") for topic in settings.kafka.topics}
    except SchemaUnavailable as error:
        yield Finding(State.WRONG, "registry", str(error))
        return
    yield Finding(State.RIGHT, "registry", dict(settings.describe())["SCHEMA_REGISTRY_URL"])  # with its password masked
    for topic, there in known.items():
        if not there:
            # This is not wrong: subjects may follow another naming strategy, and records name their
            # schema by its id.
            yield Finding(State.NOTE, "schema", f"no subject {topic}-value: no producer registered a schema by that name")
            if mapping is not None:
                yield _not_checked(f"there is no subject {topic}-value")
        else:
            yield from _newest(registry, mapping, topic)


_OTHER_REGISTRIES = {"glue": "AWS Glue", "apicurio": "Apicurio", "azure": "Azure Schema Registry"}
"""Names of the registries without Confluent's API, by ``SCHEMA_REGISTRY_TYPE``."""


def _other_registry(registry: Registry, name: str, mapping: MappingFile | None, topics: Iterable[str]) -> Iterator[Finding]:
    try:
        registry.check()
    except SchemaUnavailable as error:
        yield Finding(State.WRONG, "registry", f"{name}: {error}")
        return
    yield Finding(State.RIGHT, "registry", f"{name} answers, and lets this client ask for schemas")
    for topic in topics:
        yield from _newest_of_topic(registry, mapping, topic, name)


def _newest_of_topic(registry: Registry, mapping: MappingFile | None, topic: str, registry_name: str) -> Iterator[Finding]:
    try:
        definitions = registry.newest_of_topic(topic)
        why = f"{registry_name} does not tell which schema topic {topic} has"
    except (SchemaUnavailable, Undecodable) as error:
        definitions, why = None, f"{registry_name}, topic {topic}: {error}"
    if definitions is not None:
        yield from schema_findings(mapping, definitions, f"the newest schema of {topic}", topic)
    elif mapping is not None:
        yield _not_checked(why)


def _not_checked(why: str) -> Finding:
    how = "the file's paths are checked when the first record is read; connector lint --schema FILE checks them now"
    return Finding(State.NOTE, "mapping", f"{why}: {how}")


def _newest(registry: Registry, mapping: MappingFile | None, topic: str) -> Iterator[Finding]:
    subject = f"{topic}-value"
    try:
        found = registry.newest(subject)
    except (SchemaUnavailable, Undecodable) as error:
        yield Finding(State.WRONG, "schema" if mapping is None else "mapping", f"{subject}: {error}")
        return
    if found is not None:
        schema_id, definitions = found
        yield from schema_findings(mapping, definitions, f"schema {schema_id} of {subject}", topic)


async def _amazon(settings: Settings) -> list[Finding]:
    amazon = settings.amazon
    sink = sink_for(settings, contract_for(amazon))
    try:
        failed = await sink.check_token()
        profiles = await sink.profiles(amazon.client_id) if failed is None else failed
    finally:
        await sink.close()
    if failed is not None:
        return [Finding(State.WRONG, "token", failed.detail or f"{amazon.token_url} gave none ({failed.reason})")]
    token = "fixed; only a request shows whether it is valid" if amazon.access_token else f"{amazon.token_url} gave one"
    return [
        Finding(State.RIGHT, "token", token),
        Finding(State.NOTE, "account", account_note(amazon.account_id, profiles)),
        Finding(
            State.NOTE,
            "Amazon",
            f"{amazon.base_url}: not tried, as Amazon has no test mode; --send-test-event sends a real event",
        ),
    ]
