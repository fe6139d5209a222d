"""Dashboard and alerts against a real run: each metric that they name exists, and each is shown."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from ruamel.yaml import YAML

from connector import sandbox
from connector.app import Connector
from connector.assembly import read_settings
from connector.cli import demo
from connector.kafka.embedded import EmbeddedBroker, EmbeddedLedgerTopics
from tests.deploy import generated, tools
from tests.deploy.dashboard import LEFT_OUT, ROWS, tried
from tests.patience import patience

_RECORDS = 500
_SCRAPED = {"job", "namespace", "instance", "group", "le"}
"""Labels that come with a scrape, and that of histograms."""
_ELSEWHERE = {
    "connector_refresh_token_expires_timestamp_seconds": set[str](),
}
"""Metrics that a demo may be without, and their labels."""
_EXPRESSIONS = [expression for row in ROWS.values() for panel in row for _, expression in panel.queries]


@pytest.fixture
async def labels() -> AsyncIterator[dict[str, set[str]]]:
    """Run the demo's pipeline and return the labels of each metric that its `/metrics` has, by name."""
    amazon = await sandbox.serve(options=sandbox.Options())
    try:
        with EmbeddedBroker() as broker:
            ledger = f"{demo._TOPIC}.{demo._GROUP}.ledger"
            for topic in (demo._TOPIC, ledger, f"{demo._TOPIC}.dead-letter"):
                broker.create_topic(topic, 1)
            settings = read_settings(demo._environment(broker.bootstrap_servers, amazon))
            await demo._on_a_thread(lambda stop: demo._produce(settings, amazon.registry.register, _RECORDS, stop))
            connector = Connector(settings, lambda topics: EmbeddedLedgerTopics(topics, ledger))
            running = asyncio.create_task(connector.run())
            try:
                async with asyncio.timeout(patience(60)), aiohttp.ClientSession() as session:
                    found: dict[str, set[str]] = {}
                    while "connector_committed_offset" not in found or "connector_lag" not in found:
                        await asyncio.sleep(0.2)
                        if connector.operations.port and not running.done():
                            async with session.get(f"http://127.0.0.1:{connector.operations.port}/metrics") as answer:
                                found = _labels(await answer.text())
            finally:
                connector.request_shutdown()
                await running
            yield found
    finally:
        await amazon.stop()


def _labels(page: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, labels in re.findall(r"^([a-z_]+)(?:\{(.*)\})? \S+$", page, re.MULTILINE):
        found.setdefault(name, set()).update(re.findall(r"(\w+)=\"", labels))
    # A counter with labels has no line before its first value.
    for family, kind in re.findall(r"^# TYPE (\S+) (\w+)$", page, re.MULTILINE):
        if kind in {"counter", "gauge"}:
            found.setdefault(family, set())
    return {name: labels for name, labels in found.items() if not name.endswith("_created")}


def _documented() -> dict[str, set[str]]:
    page = (generated.CHECKOUT / "docs/operating.md").read_text("utf-8")
    return {name: set(labels.split(",")) for name, labels in re.findall(r"`(connector_\w+)\{([\w,]+)\}`", page)}


def _used(expression: str) -> tuple[set[str], set[str]]:
    """Return the metrics and the labels that an expression names."""
    metrics = set(re.findall(r"\b(?:connector|process)_\w+", expression))
    labels = {label for group in re.findall(r"(?:by|on) \(([^)]*)\)", expression) for label in group.split(", ")}
    return metrics, labels | set(re.findall(r"(\w+)(?:=~|!~|=|!=)\"", expression))


async def test_metrics_and_labels_of_dashboard_and_rules_are_those_of_a_run(labels: dict[str, set[str]]) -> None:
    known = {name: found or _documented().get(name, set()) for name, found in labels.items()} | {
        name: found for name, found in _ELSEWHERE.items() if name not in labels
    }
    rules = [alert["expr"] for alert in generated.alerts()]

    for expression in [*_EXPRESSIONS, *rules]:
        metrics, named = _used(expression)
        assert metrics <= known.keys(), expression
        assert named <= _SCRAPED.union(*(known[metric] for metric in metrics)), expression

    shown = {metric for expression in _EXPRESSIONS for metric in _used(expression)[0]}
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in labels}
    assert families - {re.sub(r"_bucket$", "", name) for name in shown} == set(LEFT_OUT)


def test_promtool_understands_every_expression(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": tried(one)} for number, one in enumerate(_EXPRESSIONS)]
    file = tmp_path / "panels.yml"
    YAML(typ="safe").dump({"groups": [{"name": "panels", "rules": rules}]}, file)

    ended = subprocess.run([tools.promtool(), "check", "rules", str(file)], capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"{len(_EXPRESSIONS)} rules found" in ended.stdout


def test_dashboard_has_its_rows_and_variables_and_leads_to_the_page() -> None:
    model = json.loads(generated.DASHBOARD.read_text("utf-8"))
    panels = model["panels"]
    places = [(cell, row) for one in panels for cell in _columns(one["gridPos"]) for row in _lines(one["gridPos"])]

    assert [one["title"] for one in panels if one["type"] == "row"] == ["Is it right?", "Kafka", "Amazon", "Process"]
    assert [one["name"] for one in model["templating"]["list"]] == ["datasource", "job", "namespace", "group"]
    assert len({one["id"] for one in panels}) == len(panels)
    assert len(set(places)) == len(places), "panels overlap"
    assert max(cell for cell, _ in places) < 24
    assert '"http://${__value.text}/"' in generated.DASHBOARD.read_text("utf-8")


def _columns(place: dict[str, int]) -> range:
    return range(place["x"], place["x"] + place["w"])


def _lines(place: dict[str, int]) -> range:
    return range(place["y"], place["y"] + place["h"])
