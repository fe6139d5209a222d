"""The tables of README and docs against the code: settings, metrics, commands, codes, log lines, faults and targets."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import json
import re
from collections import Counter
from pathlib import Path

from connector import app, assembly, signals
from connector.__main__ import SETTINGS_REFUSED, parser
from connector.amazon.network_failures import REASONS
from connector.config import SETTINGS
from connector.core import status
from connector.core.pipeline import Pipeline
from connector.kafka.consumer import PollPolicy
from connector.model import Outcome, Reason
from connector.sandbox.catalogue import CATALOGUE
from connector.sandbox.checks import Rule
from connector.sandbox.faults import Faults
from connector.telemetry import Telemetry, messages
from tests import settings_page
from tests.deploy import generated
from tests.environment import LEAST
from tests.integration.test_scenarios import ROWS

_CHECKOUT = Path(__file__).parents[1]
_DOCS = _CHECKOUT / "docs"


def _text(page: str) -> str:
    return (_DOCS / page).read_text("utf-8")


def _rows(page: str, first_header: str) -> list[list[str]]:
    """Return the cells of a page's table whose first header cell is this one, without its two header lines."""
    _, _, rest = _text(page).partition(f"\n| {first_header} |")
    assert rest, f"{page} has no table {first_header!r}"
    lines = rest.split("\n")[2:]
    table = lines[: next(at for at, line in enumerate(lines) if not line.startswith("|"))]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table]


def _codes(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def _pipeline() -> Pipeline:
    settings = assembly.read_settings(LEAST)
    poll = PollPolicy(("conversions",), incremental=True, drain_seconds=40)
    return Pipeline(assembly.pipeline_policy(settings, assembly.contract_for(settings.amazon), poll, 45))


def test_settings_are_those_of_the_code() -> None:
    page = settings_page.PAGE.read_text("utf-8")

    assert page == settings_page.with_tables(page), "run: python -m tests.settings_page"
    assert re.findall(r"^\| `(\S+)` \|.*\|.*\|$", page.partition("\n## Values")[0], re.MULTILINE) == [
        one.name for one in SETTINGS
    ]


def test_settings_that_matter_have_the_defaults_of_the_code() -> None:
    defaults = {setting.name: setting.default for setting in SETTINGS}
    rows = _rows("../README.md", "variable")

    assert len(rows) == 10
    assert [(name, usual) for name, usual, _ in rows] == [(name, f"`{defaults[name.strip('`')]}`") for name, _, _ in rows]


def test_metrics_are_those_exposed() -> None:
    said = Telemetry()
    said.watch(_pipeline(), assembly.contract_for(assembly.read_settings(LEAST).amazon))
    exposed = re.findall(r"^# TYPE (\S+) ", said.exposition()[0].decode(), re.MULTILINE)

    named = [name.partition("{")[0] for first, _ in _rows("operating.md", "metric") for name in _codes(first)]

    assert sorted(named) == sorted(name for name in exposed if not name.endswith("_created"))


def test_reasons_of_a_pause_are_those_of_the_pipeline_and_the_registry() -> None:
    (meaning,) = [meaning for name, meaning in _rows("operating.md", "metric") if "connector_paused" in name]

    assert sorted(_codes(meaning)) == sorted([*status.paused(_pipeline()), "schema"])


def test_outcomes_are_those_of_the_code() -> None:
    (meaning,) = [meaning for name, meaning in _rows("operating.md", "metric") if "connector_events_total" in name]

    assert sorted(_codes(meaning)) == sorted([*(outcome.name.lower() for outcome in Outcome), "already_resolved"])


def test_alerts_of_the_readme_are_some_of_the_rules() -> None:
    rules = {alert["alert"] for alert in generated.alerts()}
    named = [re.sub(r"\[(\w+)\].*", r"\1", first) for first, _ in _rows("../README.md", "alert")]

    assert named
    assert [name for name in named if name not in rules] == []


def test_commands_are_those_of_theparser() -> None:
    (commands,) = [one for one in parser()._actions if isinstance(one, argparse._SubParsersAction)]

    assert sorted(cell for first, _ in _rows("commands.md", "command") for cell in _codes(first)) == sorted(
        f"connector {name}" for name in commands.choices
    )


def test_exit_codes_are_those_of_the_code() -> None:
    codes = [0, app.FAILED, SETTINGS_REFUSED, app.NEEDS_OPERATOR, signals.exit_code("audit")]
    assert [first for first, _ in _rows("commands.md", "code")] == [f"`{code}`" for code in codes]


def test_reasons_of_dead_letters_are_those_of_the_code() -> None:
    assert [first for first, _ in _rows("events.md", "reason")] == [f"`{reason.value}`" for reason in Reason]


def test_log_events_are_those_telemetry_writes() -> None:
    tree = ast.parse(Path(messages.__file__).read_text(encoding="utf-8"))
    (speaker,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Telemetry"]
    texts = {node.value for node in ast.walk(speaker) if isinstance(node, ast.Constant)}
    named = {name for *_, events in _rows("operating.md", "level") for name in _codes(events)}

    assert _written(speaker) <= named
    assert named <= texts


def _written(speaker: ast.ClassDef) -> set[str]:
    """Return the event of every line that is written under a literal name."""
    found = set()
    for call in ast.walk(speaker):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            continue
        at = {"info": 0, "warning": 0, "error": 0, "_seldom": 1}.get(call.func.attr)
        if at is not None and isinstance(event := call.args[at], ast.Constant):
            found.add(str(event.value))
    assert found
    return found


def test_faults_of_the_sandbox_are_those_of_its_catalogue() -> None:
    assert _rows("sandbox.md", "fault") == [
        [f"`{one.name}`", str(one.scenario), one.of.value, one.what] for one in CATALOGUE
    ]


def test_rules_of_the_sandbox_are_those_of_its_checks() -> None:
    assert _rows("sandbox.md", "broken rule") == [[f"`{rule.label}`", f"`{rule.code}`", rule.message] for rule in Rule]


def test_fields_of_a_fault_plan_are_named() -> None:
    fields = [one.name for one in dataclasses.fields(Faults) if one.name != "chances"]

    assert [name for name in fields if name not in _text("sandbox.md")] == []


def test_scenarios_of_amazons_side_are_those_of_the_table_that_is_run() -> None:
    assert (
        [int(number) for number, *_ in _rows("sandbox.md", "scenario")]
        == sorted({row.number for row in ROWS})
        == [*range(30, 42)]
    )


def test_failures_of_a_request_are_named() -> None:
    (meaning,) = [meaning for name, meaning in _rows("operating.md", "metric") if "connector_requests_total" in name]

    assert {reason for _, reason in REASONS} <= set(_codes(meaning))


def test_vectors_of_match_keys_are_counted() -> None:
    vectors = json.loads((_CHECKOUT / "tests/amazon/vectors.json").read_text(encoding="utf-8"))["vectors"]
    sources = Counter(vector["source"] for vector in vectors)
    (sentence,) = re.findall(r"tested with the .*?is published\.", _text("events.md"), re.DOTALL)

    read = sources["OAS"] + sources["numbering plan"]
    counts = [len(vectors), sources["AWS-AMC"], sources["AWS-AMC code"], read, sources["choice"]]
    assert [int(number) for number in re.findall(r"\b\d+\b", sentence)] == counts


def test_make_targets_are_those_of_the_makefile() -> None:
    targets = re.findall(r"^([a-z-]+):.*## ", (_CHECKOUT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)

    assert [first for first, _ in _rows("development.md", "target")] == [f"`make {target}`" for target in targets]
