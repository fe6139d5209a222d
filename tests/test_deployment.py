"""What can be said of the image and the compose file without a container engine: no engine runs in these tests."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from connector.config import Settings
from connector.kafka import properties
from connector.sandbox.tokens import SandboxCredentials
from tests.deploy import generated, tools
from tests.deploy.dashboard import dashboard
from tests.patience import patience
from tests.processes import ending

_CHECKOUT = Path(__file__).parents[1]
_TRIES = 20
"""To see a process in the moment between two steps of its start, by a test that waits for its turn itself."""
_COMPOSE = _CHECKOUT / "docker-compose.yml"
_COMMANDS = {"run", "check", "demo", "sandbox", "produce-samples"}


@pytest.fixture
def services() -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load(_COMPOSE)["services"]
    return found


@pytest.fixture
def settings(services: dict[str, Any]) -> Settings:
    return Settings.from_environment(services["connector"]["environment"], kafka_problems=properties.problems)


def test_compose_file_keeps_the_compose_specification() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(_COMPOSE)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_variables_of_the_compose_file_are_settings(settings: Settings) -> None:
    assert settings.kafka.bootstrap_servers == "kafka:9092"


def test_credentials_of_the_compose_file_are_those_of_the_sandbox(settings: Settings) -> None:
    amazon = settings.amazon
    given = (amazon.account_id, amazon.client_id, amazon.client_secret(), amazon.refresh_token())
    known = SandboxCredentials()

    assert given == (known.account_id, known.client_id, known.client_secret, known.refresh_token)


def test_replicas_are_given_longer_than_a_drain_to_end(services: dict[str, Any], settings: Settings) -> None:
    grace = re.fullmatch(r"(\d+)s", services["connector"]["stop_grace_period"])

    assert grace
    assert int(grace[1]) > settings.drain_timeout_seconds


def test_two_replicas_share_the_partitions_of_the_topic(services: dict[str, Any], settings: Settings) -> None:
    assert services["connector"]["deploy"]["replicas"] == 2
    assert f"--topic={settings.kafka.topics[0]}" in services["topics"]["command"]


def test_service_that_is_waited_for_until_healthy_can_say_so(services: dict[str, Any]) -> None:
    for service in services.values():
        for name, wait in service.get("depends_on", {}).items():
            assert name in services
            assert wait["condition"] == "service_completed_successfully" or "test" in services[name]["healthcheck"]


def test_our_image_is_built_once_and_given_commands_that_exist(services: dict[str, Any]) -> None:
    ours = {name: service for name, service in services.items() if service["image"] == "amazon-conversions-connector"}

    assert set(ours) == {"sandbox", "events", "connector"}
    assert [name for name, service in ours.items() if "build" in service] == ["sandbox"]
    assert {service["command"][0] for service in ours.values()} <= _COMMANDS


def test_images_of_others_are_pinned_to_a_version(services: dict[str, Any]) -> None:
    images = [service["image"] for service in services.values() if service["image"] != "amazon-conversions-connector"]

    assert images
    assert all(re.search(r":v?\d+\.\d+\.\d+$", image) for image in images)


def test_every_file_that_is_mounted_is_there(services: dict[str, Any]) -> None:
    mounted = [volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])]

    assert mounted
    assert [path for path in mounted if not (_CHECKOUT / path).is_file()] == []


def test_prometheus_takes_its_configuration_and_scrapes_what_is_there(
    services: dict[str, Any], settings: Settings, tmp_path: Path
) -> None:
    for volume in services["prometheus"]["volumes"]:
        source, target, _ = volume.split(":")
        shutil.copy(_CHECKOUT / source, tmp_path / Path(target).name)
    ended = subprocess.run(
        [tools.promtool(), "check", "config", str(tmp_path / "prometheus.yml")], capture_output=True, text=True, check=False
    )
    (job,) = YAML(typ="safe").load(tmp_path / "prometheus.yml")["scrape_configs"]
    (found,) = job["dns_sd_configs"]

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"{len(generated.alerts())} rules found" in ended.stdout
    assert set(found["names"]) <= services.keys()
    assert found["port"] == settings.listen.port
    assert job["relabel_configs"] == [{"target_label": "group", "replacement": settings.kafka.group_id}]


def test_grafana_finds_the_dashboard_and_prometheus(services: dict[str, Any]) -> None:
    targets = {
        target: _CHECKOUT / source for source, target, _ in (one.split(":") for one in services["grafana"]["volumes"])
    }
    sources = YAML(typ="safe").load(targets["/etc/grafana/provisioning/datasources/connector.yml"])
    providers = YAML(typ="safe").load(targets["/etc/grafana/provisioning/dashboards/connector.yml"])
    (source,), (provider,) = sources["datasources"], providers["providers"]

    assert sources["apiVersion"] == providers["apiVersion"] == 1

    # A field that Grafana does not know is passed over in silence. These are known to provisioning's version 1.
    assert source.keys() <= {"name", "type", "access", "url", "isDefault", "uid", "jsonData", "editable"}
    assert provider.keys() <= {"name", "type", "options", "folder", "orgId", "editable", "disableDeletion"}
    assert (source["type"], source["access"], provider["type"]) == ("prometheus", "proxy", "file")
    (chosen,) = [one for one in dashboard()["templating"]["list"] if one["name"] == "datasource"]
    assert chosen["query"] == source["type"], "the dashboard offers the data source, of which there is one"
    assert f"localhost:3000/d/{dashboard()['uid']}" in _COMPOSE.read_text("utf-8")
    assert source["url"] == "http://prometheus:9090"
    assert targets[f"{provider['options']['path']}/connector.json"] == generated.DASHBOARD


def test_all_that_is_copied_into_the_image_is_there_and_nothing_else_is_sent_to_its_build() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (_CHECKOUT / "Dockerfile").read_text(), re.MULTILINE)
    sources = {source for line in copied for source in line.split()}
    let_in = re.findall(r"^!(.+)$", (_CHECKOUT / ".dockerignore").read_text(), re.MULTILINE)

    assert sources == set(let_in)
    assert all((_CHECKOUT / source).exists() for source in sources)


def test_wheel_holds_the_package_and_its_schemas_and_nothing_else(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=_CHECKOUT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()

    assert "connector/schemas/conversion_event.avsc" in names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"connector", "amazon_conversions_connector"}
    assert not [name for name in names if name.endswith((".md", ".lock", ".css"))]


def test_image_runs_as_nobody_in_particular_and_ends_by_the_signal_that_drains() -> None:
    final = (_CHECKOUT / "Dockerfile").read_text().rpartition("\nFROM ")[2]

    assert re.search(r"^USER [1-9]\d+:[1-9]\d+$", final, re.MULTILINE)
    assert "STOPSIGNAL SIGTERM" in final
    assert "pip" not in final


_IGNORING = """
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("about to become it", flush=True)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def _blocks(pid: int) -> bool:
    """Tell whether a process blocks SIGTERM."""
    blocked = re.findall(r"^SigBlk:\s+([0-9a-f]+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return any(int(mask, 16) & 1 << signal.SIGTERM - 1 for mask in blocked)  # one that has ended has none


@pytest.mark.parametrize(("command", "code"), [("run", 0), ("audit", 143)])
def test_signal_to_the_image_is_heard_however_early_it_comes(command: str, code: int) -> None:
    (entry_point,) = re.findall(r"^ENTRYPOINT (.+)$", (_CHECKOUT / "Dockerfile").read_text(), re.MULTILINE)
    # Exec form, so no shell is between. It drops the signal until it has a handler, as the first process of a container.
    ignoring = [sys.executable, "-c", _IGNORING, *json.loads(entry_point), command]
    path = {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    for _ in range(_TRIES):
        starting = subprocess.Popen(
            ignoring, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | path
        )
        with ending(starting) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "about to become it\n"
            while process.poll() is None and not _blocks(process.pid):
                time.sleep(0.0001)
            process.send_signal(signal.SIGSTOP)
            early = process.poll() is None and _blocks(process.pid)
            process.terminate()
            process.send_signal(signal.SIGCONT)
            _, said = process.communicate(timeout=patience(60))
        if early:
            break
    else:
        pytest.fail("it was never seen to block the signal")
    assert (process.returncode, said) == (code, "Ended by SIGTERM before it began.\n")


def test_what_the_image_installs_is_checked_by_hash() -> None:
    assert "--require-hashes --requirement requirements.lock" in (_CHECKOUT / "Dockerfile").read_text()
