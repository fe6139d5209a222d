"""The alerts of ``deploy/prometheus``: tried by promtool, tested one by one, each with its page."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.deploy import generated, tools

_RULES = generated.RULES
_TESTS = _RULES.with_name("rules.test.yml")
_RUNBOOK = generated.CHECKOUT / "docs/runbook.md"


@cache
def _tests() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = YAML(typ="safe").load(_TESTS)["tests"]
    return found


def _ended(*command: str) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_promtool_accepts_the_rules_and_their_tests_pass() -> None:
    assert f"{len(generated.alerts())} rules found" in _ended(tools.promtool(), "check", "rules", str(_RULES))
    assert "SUCCESS" in _ended(tools.promtool(), "test", "rules", str(_TESTS))


def test_test_of_an_alert_fails_when_the_alert_is_changed(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(
        _RULES.read_text("utf-8").replace("operator_needed > 0", "operator_needed > 2"), "utf-8"
    )
    file = tmp_path / "rules.test.yml"
    tests = [one for one in _tests() if one["name"].startswith("OperatorNeeded")]
    YAML(typ="safe").dump({"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests}, file)

    ended = subprocess.run([tools.promtool(), "test", "rules", str(file)], capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert "FAILED" in ended.stdout + ended.stderr


@pytest.mark.parametrize("alert", [alert["alert"] for alert in generated.alerts()])
def test_alert_has_a_test_that_fires_one_that_does_not_and_one_at_the_edge(alert: str) -> None:
    expected = {
        kind: [bool(expectation["exp_samples"]) for expectation in one["promql_expr_test"]]
        for kind in ("fires", "does not fire", "at the edge")
        for one in _tests()
        if one["name"] == f"{alert} {kind}" and all(f'"{alert}"' in each["expr"] for each in one["promql_expr_test"])
    }

    assert expected.keys() == {"fires", "does not fire", "at the edge"}
    assert expected["fires"] == [True]
    assert expected["does not fire"] == [False]
    assert True in expected["at the edge"]


@pytest.mark.parametrize("alert", generated.alerts(), ids=lambda alert: alert["alert"])
def test_alert_says_how_bad_it_is_what_it_means_and_what_to_do(alert: dict[str, Any]) -> None:
    section = alert["alert"].lower()
    _, _, rest = _RUNBOOK.read_text("utf-8").partition(f"\n## {alert['alert']}\n")
    section_text = rest.partition("\n## ")[0]

    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["runbook_url"] == f"docs/runbook.md#{section}"
    assert re.findall(r"^\*\*(.+?)\.\*\*", section_text, re.MULTILINE) == ["Symptom", "Cause", "What to do"]


def test_runbook_has_a_page_for_each_alert_and_no_other() -> None:
    sections = re.findall(r"^## (.+)$", _RUNBOOK.read_text("utf-8"), re.MULTILINE)

    assert sections == [alert["alert"] for alert in generated.alerts()]
