"""The compose file: our services move events from Kafka to the sandbox, and Prometheus sees them by its configuration."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.deploy import compose, generated, tools
from tests.integration.ports import reserved
from tests.patience import eventually, patience
from tests.processes import ending

_COMPOSE = generated.CHECKOUT / "docker-compose.yml"


def _start(arguments: Sequence[str], environment: Mapping[str, str], output: Path) -> subprocess.Popen[bytes]:
    with output.open("wb") as written:
        return subprocess.Popen(
            [sys.executable, "-m", "connector", *arguments],
            env={"PATH": os.environ["PATH"], **environment},
            stdin=subprocess.DEVNULL,
            stdout=written,
        )


def _configured(directory: Path, replicas: Sequence[int]) -> Path:
    """Write what the compose file mounts into Prometheus, with addresses for names and a second for each pace."""
    directory.mkdir()
    for volume in YAML(typ="safe").load(_COMPOSE)["services"]["prometheus"]["volumes"]:
        source, target, _ = volume.split(":")
        shutil.copy(generated.CHECKOUT / source, directory / Path(target).name)
    file = directory / "prometheus.yml"
    configuration = YAML(typ="safe").load(file)
    configuration["global"] = dict.fromkeys(configuration["global"], "1s")
    (job,) = configuration["scrape_configs"]
    del job["dns_sd_configs"]
    job["static_configs"] = [{"targets": [f"127.0.0.1:{port}" for port in replicas]}]
    YAML(typ="safe").dump(configuration, file)
    return file


def _look_by_prometheus(directory: Path, replicas: Sequence[int]) -> None:
    (port,) = reserved(1)
    options = [f"--web.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={directory / 'data'}"]
    command = [tools.prometheus(), f"--config.file={_configured(directory, replicas)}", *options]

    def asked(path: str) -> Any:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/{path}", timeout=patience(10)) as answer:
                return json.load(answer)["data"]
        except OSError:
            return {}

    def found(expression: str) -> list[Any]:
        series: list[Any] = asked(f"query?query={urllib.parse.quote(expression)}").get("result", [])
        return series

    def rules() -> list[Any]:
        return [rule for group in asked("rules").get("groups", []) for rule in group["rules"]]

    with (directory / "log").open("wb") as log, ending(subprocess.Popen(command, stdout=log, stderr=log)):
        group = compose.ours()["connector"]["environment"]["KAFKA_GROUP_ID"]
        eventually(
            lambda: len(found(f'connector_ready{{group="{group}"}} == 1')) == len(replicas), "replicas are scraped", 60
        )
        eventually(lambda: rules() and all(rule["health"] == "ok" for rule in rules()), "every rule was evaluated", 60)
        assert {rule["name"] for rule in rules()} == {alert["alert"] for alert in generated.alerts()}


def test_services_deliver_every_sample_once_and_prometheus_sees_them(kafka: str, tmp_path: Path) -> None:
    def meanwhile(_sandbox: int, replicas: Sequence[int]) -> None:
        _look_by_prometheus(tmp_path / "prometheus", replicas)

    account = compose.play(_start, kafka, tmp_path, f"conversions-{uuid.uuid4().hex[:8]}", meanwhile)

    assert account.replicas == 2
    assert account.accounted_for
    assert 150 <= account.accepted < account.records
    assert account.accepted == account.accepted_ids == account.delivered
    assert set(account.exit_codes) == {0}
