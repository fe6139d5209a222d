"""Who may import whom: the core nothing that does I/O, each outside library one room, the core's parts not each other.

The rooms are those of docs/how-it-works.md#shape; lint guards the same line by line, this guards it as a whole.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "connector"
CORE = sorted((PACKAGE / "core").glob("*.py"))
PURE = [*CORE, PACKAGE / "cli" / "audit_account.py", PACKAGE / "cli" / "replay_plan.py"]
"""What decides: the core, and the pure halves of two commands."""

PURE_STANDARD_LIBRARY = {
    "__future__",
    "bisect",
    "collections",
    "dataclasses",
    "enum",
    "hashlib",
    "heapq",
    "itertools",
    "re",
    "struct",
    "typing",
}
"""An allow-list: what is not here has not been looked at. None of it does I/O or knows a clock, a loop or chance."""

CORE_IMPORTS = {
    "admission": {"assignment", "dedupe", "dispatch", "freshness", "letter_box", "outcomes", "runs", "statistics"},
    "answers": {"assignment", "dispatch", "inputs", "outcomes", "request", "retry", "runs", "statistics"},
    "assignment": {
        "commands",
        "commit_metadata",
        "dedupe",
        "fact_log",
        "landmarks",
        "letter_box",
        "offsets",
        "recovery",
        "retry",
        "runs",
    },
    "batching": {"runs"},
    "blame": {"request"},
    "breaker": {"retry"},
    "broker_clock": set[str](),
    "commands": set[str](),
    "commit_metadata": {"landmarks"},
    "concurrency": set[str](),
    "dedupe": {"runs"},
    "dispatch": {"batching", "blame", "breaker", "concurrency", "pace", "request", "retry", "runs"},
    "doubts": set[str](),
    "expiry": {"dedupe"},
    "fact_log": {"policy", "retry"},
    "freshness": set[str](),
    "inputs": {"recovery"},
    "landmarks": set[str](),
    "letter_box": {"refused_writes", "retry"},
    "letters": {"dedupe"},
    "offsets": set[str](),
    "outcomes": {
        "assignment",
        "broker_clock",
        "commands",
        "dedupe",
        "dispatch",
        "doubts",
        "inputs",
        "letter_box",
        "policy",
        "runs",
        "statistics",
    },
    "pace": {"retry"},
    "pipeline": {
        "admission",
        "answers",
        "assignment",
        "broker_clock",
        "commands",
        "dispatch",
        "doubts",
        "expiry",
        "inputs",
        "outcomes",
        "policy",
        "refused_writes",
        "retry",
        "roster",
        "statistics",
        "vouching",
    },
    "policy": {"dedupe", "dispatch", "freshness"},
    "recovery": {"commit_metadata", "dedupe", "landmarks", "offsets"},
    "refused_writes": set[str](),
    "request": {"runs"},
    "retry": {"request", "runs"},
    "roster": {"assignment"},
    "runs": set[str](),
    "statistics": {"doubts"},
    "status": {"assignment", "pipeline"},
    "vouching": {"assignment"},
}
"""Which part of the core may import which: the parts do not know each other, but for those that compose them."""

AMAZON_DOERS = ("amazon/access_tokens.py", "amazon/resolver.py", "amazon/transport.py")
"""The files of the room that do I/O; the others know what Amazon wants."""

ROOMS = {
    "connector_native": ("native.py",),
    "aiohttp": (*AMAZON_DOERS, "amazon/network_failures.py", "operations/", "sandbox/"),
    "confluent_kafka": ("kafka/",),
    "confluent_kafka.schema_registry": ("avro/",),
    "fastavro": ("avro/",),
    "jmespath": ("mapping/syntax.py",),
    "jsonschema_rs": ("sandbox/",),
    "orjson": ("",),  # turns values into bytes and back: no room of its own
    "phonenumbers": ("amazon/normalisation.py",),
    "prometheus_client": ("telemetry/metrics.py",),
    "rich": ("cli/",),
    "structlog": ("telemetry/",),
}
"""Every outside library, and the only places that may import it; the longest name that fits counts."""


def _imports(file: Path) -> Iterator[str]:
    """Yield the full names of all modules a file imports, also inside functions; of ``from a import b`` both a and a.b."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name}: a relative import"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def _places(directory: Path) -> list[str]:
    return sorted(file.relative_to(PACKAGE).as_posix() for file in directory.rglob("*.py"))


@pytest.mark.parametrize("file", PURE, ids=lambda file: file.stem)
def test_what_decides_imports_only_what_can_do_neither_io_nor_time_nor_chance(file: Path) -> None:
    foreign = [
        name
        for name in _imports(file)
        if name.partition(".")[0] not in PURE_STANDARD_LIBRARY
        and not any(_is_within(name, ours) for ours in ("connector.core", "connector.model", "connector.errors"))
    ]
    assert foreign == []


def test_the_nouns_and_the_errors_import_nothing_of_ours() -> None:
    for leaf in ("model.py", "errors.py"):
        assert [name for name in _imports(PACKAGE / leaf) if _is_within(name, "connector")] == []


def test_each_name_of_a_class_is_one_thing() -> None:
    names = Counter(
        node.name
        for file in PACKAGE.rglob("*.py")
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_the_parts_of_the_core_import_only_the_parts_they_compose() -> None:
    parts = {file.stem for file in CORE} - {"__init__"}
    found = {
        file.stem: {part for part in parts for name in _imports(file) if _is_within(name, f"connector.core.{part}")}
        for file in CORE
        if file.stem != "__init__"
    }
    assert found == CORE_IMPORTS


@pytest.mark.parametrize("place", _places(PACKAGE))
def test_each_outside_library_stays_in_its_room(place: str) -> None:
    for name in _imports(PACKAGE / place):
        if name.partition(".")[0] in sys.stdlib_module_names | {"connector"}:
            continue
        library = max((library for library in ROOMS if _is_within(name, library)), key=len, default=None)
        assert library is not None, f"{place} imports {name}, which has no room"
        assert place.startswith(ROOMS[library]), f"{place} imports {name}, whose room is {ROOMS[library]}"


@pytest.mark.parametrize("place", [place for place in _places(PACKAGE / "amazon") if place not in AMAZON_DOERS])
def test_what_amazon_wants_is_known_without_a_loop_a_clock_or_a_socket(place: str) -> None:
    doers = {"asyncio", "logging", "os", "random", "secrets", "socket", "threading", "time"}
    assert [name for name in _imports(PACKAGE / place) if name.partition(".")[0] in doers] == []


@pytest.mark.parametrize("place", [place for place in _places(PACKAGE / "kafka") if place != "kafka/host.py"])
def test_the_kafka_room_has_clock_and_threads_from_its_host(place: str) -> None:
    """So the simulation gives it others, and nothing of the machine reaches a simulated run."""
    makers = {"asyncio", "random", "threading", "time"}
    assert [name for name in _imports(PACKAGE / place) if name in makers] == []


def test_the_oracle_shares_no_code_with_what_it_judges() -> None:
    oracle = Path(__file__).parent / "integration" / "oracle.py"
    ours = [name for name in _imports(oracle) if any(_is_within(name, package) for package in ("connector", "tests"))]
    assert ours == []
