"""The Helm chart without a cluster: Kubernetes' own schemas, and the connector itself, judge what it makes."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import pytest
from ruamel.yaml import YAML

from connector import assembly
from connector.avro.decoding import EventDecoder
from connector.avro.framing import Framing
from connector.config import SETTINGS, Settings, is_secret
from connector.config.declaration import FAMILY
from connector.config.environment import IN_FILES_TOO
from connector.mapping.plan import Mapper
from connector.operations.health import Health
from connector.operations.server import Operations
from tests.avro.samples import EVENT, Known, ours, written
from tests.deploy import generated, tools
from tests.mapping.support import Record
from tests.operations.documents import document

_EXAMPLES = pytest.mark.parametrize("values", generated.EXAMPLES, ids=lambda path: path.stem)


def _safe() -> YAML:
    return YAML(typ="safe")


@cache
def _resources(values: Path) -> tuple[dict[str, Any], ...]:
    return tuple(document for document in _safe().load_all(generated.rendered(values)) if document)


def _example(name: str) -> tuple[dict[str, Any], ...]:
    (values,) = [path for path in generated.EXAMPLES if path.stem == name]
    return _resources(values)


def _of_kind(resources: tuple[dict[str, Any], ...], *kinds: str) -> dict[str, Any]:
    (found,) = [resource for resource in resources if resource["kind"] in kinds]
    return found


def _workload(values: Path) -> dict[str, Any]:
    return _of_kind(_resources(values), "Deployment", "StatefulSet")


def _container(workload: dict[str, Any]) -> dict[str, Any]:
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    return dict(container)


def _schema(resource: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a resource's kind; what it does not know is refused."""
    group, _, version = resource["apiVersion"].rpartition("/")
    if resource["kind"] in tools.custom_resources():
        definition = tools.custom_resources()[resource["kind"]]["spec"]
        (found,) = [one for one in definition["versions"] if one["name"] == version]
        assert definition["group"] == group
        schema: dict[str, Any] = _strict(found["schema"]["openAPIV3Schema"])
        schema["properties"]["metadata"] = {"type": "object"}
        return schema
    known = {"group": group, "version": version, "kind": resource["kind"]}
    definitions = tools.kubernetes()
    (name,) = [name for name, one in definitions.items() if one.get("x-kubernetes-group-version-kind") == [known]]
    return {"$ref": f"#/$defs/{name}", "$defs": definitions}


def _strict(schema: Any) -> Any:
    """Return a copy of a schema that refuses the properties that it does not name."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    copied = {name: _strict(each) for name, each in schema.items()}
    open_ended = copied.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in copied
    if isinstance(copied.get("properties"), dict) and copied.get("type") == "object" and not open_ended:
        copied["additionalProperties"] = False
    return copied


def _settings(values: Path, tmp_path: Path) -> Settings:
    """Give the container's environment to the connector, with stand-ins for what is mounted."""
    pod, environment = _workload(values)["spec"]["template"]["spec"], {}
    resources = _resources(values)
    for variable in _container(_workload(values))["env"]:
        value = variable.get("value", "conversions-0")  # a pod's name is known to its cluster only
        if value.startswith(("/run/", "/etc/")):
            file = tmp_path / value.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.name == "mapping.toml":
                file.write_text(_of_kind(resources, "ConfigMap")["data"][file.name], "utf-8")
            elif file.suffix == ".avsc":
                file.write_text((generated.CHECKOUT / "schemas" / file.name).read_text("utf-8"), "utf-8")
            else:
                paths = [
                    item["path"]
                    for source in pod["volumes"][0]["projected"]["sources"]
                    for item in source["secret"]["items"]
                ]
                assert file.name in paths
                file.write_text("http://proxy:3128" if file.name == "amazon-proxy" else "secret", "utf-8")
            value = str(file)
        environment[variable["name"]] = value
    return assembly.read_settings(environment)


def _made(directory: Path, example: str, **changes: Any) -> tuple[dict[str, Any], ...]:
    """Return what the chart makes of an example with other values; a mapping is merged with the example's."""
    return tuple(
        document for document in _safe().load_all(generated.rendered(_changed(directory, example, changes))) if document
    )


def _plain_values() -> dict[str, Any]:
    """Return the values of the plain example with the chart's own, as Helm joins them."""
    example = _safe().load(generated.CHECKOUT / "deploy/helm/examples/plain.yaml")
    return {**_safe().load(generated.CHART / "values.yaml"), **example}


def _changed(directory: Path, example: str, changes: dict[str, Any]) -> Path:
    values = _safe().load(generated.CHECKOUT / f"deploy/helm/examples/{example}.yaml")
    for name, value in changes.items():
        values[name] = values.get(name, {}) | value if isinstance(value, dict) else value
    file = directory / "values.yaml"
    _safe().dump(values, file)
    return file


@_EXAMPLES
def test_helm_finds_nothing_wrong(values: Path) -> None:
    command = [tools.helm(), "lint", str(generated.CHART), "--strict", "--values", str(values)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout + ended.stderr


@_EXAMPLES
def test_kubernetes_takes_every_resource(values: Path) -> None:
    assert _resources(values)
    for resource in _resources(values):
        jsonschema.Draft202012Validator(_schema(resource)).validate(resource)


def test_misspelt_field_is_refused() -> None:
    workload = _workload(generated.EXAMPLES[0])
    spelt = workload | {"spec": workload["spec"] | {"replica": 3}}
    scaled = _of_kind(_example("keda"), "ScaledObject")
    wrong = scaled | {"spec": scaled["spec"] | {"maxReplicas": 3}}

    for resource in (spelt, wrong):
        assert not jsonschema.Draft202012Validator(_schema(resource)).is_valid(resource)


@_EXAMPLES
def test_connector_accepts_its_environment_and_the_pod_fits_it(values: Path, tmp_path: Path) -> None:
    settings, container, workload = _settings(values, tmp_path), _container(_workload(values)), _workload(values)
    pod = workload["spec"]["template"]["spec"]
    (port,) = container["ports"]
    probes = [container["livenessProbe"]["httpGet"], container["readinessProbe"]["httpGet"]]

    assert port["containerPort"] == settings.listen.port
    assert [probe["port"] for probe in probes] == [port["name"]] * 2
    assert pod["terminationGracePeriodSeconds"] == int(-(-settings.drain_timeout_seconds // 1)) + 20
    held = 186e6 + settings.buffer.max_bytes
    assert _bytes(container["resources"]["limits"]["memory"]) >= held * 1.25
    assert _bytes(container["resources"]["requests"]["memory"]) <= _bytes(container["resources"]["limits"]["memory"])
    assert "cpu" not in container["resources"]["limits"]
    assert pod["enableServiceLinks"] is False
    assert container["args"] == ["run"]


def _bytes(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)([MG])i", text).groups()  # type: ignore[union-attr]
    return int(number) << {"M": 20, "G": 30}[unit]


async def test_probes_and_scrapes_ask_for_pages_that_exist() -> None:
    container = _container(_workload(generated.EXAMPLES[0]))
    paths = [container[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe")]
    paths.append(_of_kind(_example("monitored"), "PodMonitor")["spec"]["podMetricsEndpoints"][0]["path"])
    operations = Operations(lambda: Health(None, ()), lambda _: (b"", "text/plain"), document)
    await operations.start("127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession() as session:
            for path in paths:
                async with session.get(f"http://127.0.0.1:{operations.port}{path}") as answer:
                    assert answer.status == 200, path
    finally:
        await operations.stop()


@_EXAMPLES
def test_pod_runs_as_the_image_does_and_may_nothing(values: Path) -> None:
    pod = _workload(values)["spec"]["template"]["spec"]
    (user,) = re.findall(r"^USER (\d+):\d+$", (generated.CHECKOUT / "Dockerfile").read_text("utf-8"), re.MULTILINE)

    assert pod["securityContext"]["runAsUser"] == int(user)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert _container(_workload(values))["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_rollout_adds_no_pod_and_takes_one_at_a_time() -> None:
    spec = _of_kind(_example("plain"), "Deployment")["spec"]

    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert spec["replicas"] == 2
    assert _of_kind(_example("plain"), "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


def test_static_member_has_the_name_of_its_pod() -> None:
    workload = _of_kind(_example("static-membership"), "StatefulSet")
    (variable,) = [one for one in _container(workload)["env"] if one["name"] == "KAFKA_GROUP_INSTANCE_ID"]

    assert variable["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert workload["spec"]["serviceName"] == _of_kind(_example("static-membership"), "Service")["metadata"]["name"]


def test_account_of_several_takes_its_own_events_and_leaves_the_others(tmp_path: Path) -> None:
    (values,) = [path for path in generated.EXAMPLES if path.stem == "several-accounts"]
    settings = _settings(values, tmp_path)
    assert settings.mapping is not None
    decoder = EventDecoder(Framing.CONFLUENT, Known(id1=ours()), Mapper(settings.mapping))

    def takes(country: str) -> bool:
        return decoder.decode(Record(value_=written(ours(), EVENT | {"countryCode": country}))) is not None

    assert [takes(country) for country in ("DE", "AT", "FR")] == [True, True, False]
    assert settings.dead_letters.topic_for("conversions") == "conversions.dead-letter.germany"


def test_change_of_the_mapping_restarts_the_pods(tmp_path: Path) -> None:
    (values,) = [path for path in generated.EXAMPLES if path.stem == "mapping"]
    changed = tmp_path / "values.yaml"
    changed.write_text(values.read_text("utf-8").replace("STORE", "SHOP"), "utf-8")
    sums = [_workload(path)["spec"]["template"]["metadata"]["annotations"]["checksum/mapping"] for path in (values, changed)]

    assert sums[0] != sums[1]


def test_scaling_follows_the_lag_but_not_in_an_outage() -> None:
    workload, scaled = _of_kind(_example("keda"), "Deployment"), _of_kind(_example("keda"), "ScaledObject")["spec"]
    behavior = scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    (timeout,) = [int(one.default.removesuffix("s")) for one in SETTINGS if one.name == "AMAZON_TIMEOUT"]

    assert "replicas" not in workload["spec"]
    assert scaled["scaleTargetRef"]["name"] == workload["metadata"]["name"]
    assert [trigger["metadata"]["topic"] for trigger in scaled["triggers"]] == ["conversions", "refunds"]
    for trigger in scaled["triggers"]:
        assert trigger["metadata"]["excludePersistentLag"] == "true"
        assert trigger["metadata"]["consumerGroup"] == "amazon-conversions-eu"
        assert trigger["metadata"]["lagThreshold"] == "5000"
    assert scaled["pollingInterval"] > timeout
    assert (behavior["scaleUp"]["stabilizationWindowSeconds"], behavior["scaleDown"]["stabilizationWindowSeconds"]) == (
        300,
        600,
    )
    assert not [one for one in _example("plain") if one["kind"] == "ScaledObject"]


def _rules(resources: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    (group,) = _of_kind(resources, "PrometheusRule")["spec"]["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def test_rules_of_the_chart_are_those_of_the_file_with_the_release_s_own_age_and_links() -> None:
    rules = _rules(_example("monitored"))
    age = 3 * 86_400

    assert list(rules) == [alert["alert"] for alert in generated.alerts()]
    for alert in generated.alerts():
        rule, url = rules[alert["alert"]], alert["annotations"]["runbook_url"]
        assert rule["annotations"]["runbook_url"] == f"https://git.example.com/connector/blob/main/{url}"
        general = re.sub(r'job="conversions", namespace="ads"(, )?', "", rule["expr"]).replace("{}", "")
        file_s = alert["expr"].replace("> 259200", f"> {age * 3 // 7}").replace("604800 *", f"{age} *")
        assert general.split() == file_s.split(), "without the labels of the release it is the file's"
    assert f"> {age} *" in rules["LagGrows"]["expr"]
    assert f"> {age * 3 // 7}" in rules["EventsLate"]["expr"]


def test_rules_of_a_release_are_about_it_alone(tmp_path: Path) -> None:
    """One of two deployments is gone for longer than Prometheus remembers it."""
    rules = _of_kind(_example("monitored"), "PrometheusRule")["spec"]
    _safe().dump(rules, tmp_path / "rules.yml")
    other = 'connector_build_info{job="others", namespace="ads", instance="b"}'
    labels = 'job="conversions", namespace="ads", severity="critical"'
    fires = f'ALERTS{{alertname="ConnectorAbsent", alertstate="firing", {labels}}}'
    test = {
        "interval": "1h",
        "input_series": [
            {"series": other, "values": "1x60"},
            {"series": 'connector_build_info{job="conversions", namespace="ads", instance="a"}', "values": "1x2 stale"},
            {"series": 'connector_operator_needed{job="others", namespace="ads", instance="b"}', "values": "1x60"},
            {"series": 'connector_operator_needed{job="conversions", namespace="old", instance="b"}', "values": "1x60"},
        ],
        "promql_expr_test": [
            {"expr": 'ALERTS{alertstate="firing"}', "eval_time": time, "exp_samples": [{"labels": fires, "value": 1}]}
            for time in ("5h", "50h")
        ],
    }
    file = tmp_path / "rules.test.yml"
    _safe().dump({"rule_files": ["rules.yml"], "evaluation_interval": "5m", "tests": [test]}, file)

    ended = subprocess.run([tools.promtool(), "test", "rules", str(file)], capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_stopped_connector_has_no_replicas_and_is_not_missed(tmp_path: Path) -> None:
    made = _made(tmp_path, "monitored", replicas=0)

    assert _of_kind(made, "Deployment")["spec"]["replicas"] == 0
    assert [alert["alert"] for alert in generated.alerts() if alert["alert"] not in _rules(made)] == ["ConnectorAbsent"]


def _ports(resources: tuple[dict[str, Any], ...]) -> set[int]:
    egress = _of_kind(resources, "NetworkPolicy")["spec"]["egress"]
    return {port["port"] for rule in egress for port in rule["ports"]}


def test_network_policy_lets_out_what_the_settings_name() -> None:
    assert _ports(_example("mapping")) == {53, 443, 8081, 9093, 9094}


@pytest.mark.parametrize(
    ("changes", "opened"),
    [
        ({"settings": {"KAFKA_BOOTSTRAP_SERVERS": "kafka, [::1], SSL://other:9095"}}, {9092, 9095}),
        ({"settings": {"SCHEMA_REGISTRY_URL": "http://a, https://b:18081/path, https://[::1]:18082"}}, {80, 18_081, 18_082}),
        ({"settings": {"SCHEMA_REGISTRY_PROXY": "http://proxy:3129"}}, {3129}),
        ({"settings": {"AMAZON_BASE_URL": "https://sandbox:8443/x"}}, {8443}),
        ({"settings": {"KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL": "https://login:8444/token"}}, {8444}),
        ({"settings": {"KAFKA_TOKEN_SOURCE": "gcp-adc"}}, {80, 988}),
        ({"networkPolicy": {"proxyPort": 3130}}, {3130}),
    ],
)
def test_network_policy_opens_the_port_of_every_address(tmp_path: Path, changes: dict[str, Any], opened: set[int]) -> None:
    found = _ports(_made(tmp_path, "monitored", **changes))

    assert opened <= found <= opened | _ports(_example("monitored"))


@pytest.mark.parametrize(
    ("example", "changes", "said"),
    [
        ("mapping", {"settings": {"MAPPING_FILE": "/etc/m.toml"}}, "mapping and settings.MAPPING_FILE are both set"),
        (
            "mapping",
            {"secretFiles": {"KAFKA_SASL_USERNAME": {"secret": "kafka", "key": "user"}}},
            "secretFiles.KAFKA_SASL_USERNAME and settings.KAFKA_SASL_USERNAME are both set",
        ),
        ("plain", {"settings": {"KAFKA_GROUP_INSTANCE_ID": "one"}}, "set staticMembership: true instead"),
        ("plain", {"settings": {"LISTEN_HOST": "127.0.0.1"}}, "settings.LISTEN_HOST is 127.0.0.1"),
        ("plain", {"extraEnv": [{"name": "KAFKA_TOPIC", "value": "b"}]}, "extraEnv names KAFKA_TOPIC"),
        ("plain", {"extraEnv": [{"name": "AMAZON_REFRESH_TOKEN", "value": "b"}]}, "extraEnv names AMAZON_REFRESH_TOKEN"),
        ("plain", {"extraEnv": [{"name": "TZ", "value": "a"}, {"name": "TZ", "value": "b"}]}, "extraEnv names TZ"),
        ("keda", {"keda": {"minReplicas": 13}}, "keda.minReplicas 13 is above keda.maxReplicas 12"),
        ("keda", {"settings": {"KAFKA_GROUP_ID": ""}}, "keda needs settings.KAFKA_GROUP_ID"),
        ("monitored", {"networkPolicy": {"proxyPort": 0}}, "networkPolicy.proxyPort is missing"),
        ("monitored", {"podMonitor": {"enabled": False}}, "prometheusRule.enabled needs podMonitor.enabled"),
        ("plain", {"settings": {"BATCH_MAX_EVENTS": "501"}}, "/settings/BATCH_MAX_EVENTS"),
        ("mapping", {"extraEnv": [{"name": "MAPPING", "value": ""}]}, "extraEnv names MAPPING"),
        ("plain", {"secretFiles": None}, "secretFiles.AMAZON_CLIENT_SECRET is missing"),
        (
            "plain",
            {"secretFiles": {"AMAZON_ACCESS_TOKEN": {"secret": "amazon-ads", "key": "access-token"}}},
            "secretFiles.AMAZON_ACCESS_TOKEN is set together with",
        ),
        ("plain", {"settings": {"SCHEMA_REGISTRY_URL": ""}}, "settings.SCHEMA_REGISTRY_URL is missing"),
        ("plain", {"resources": {"memoryLimit": "256Mi"}}, "resources.requests.memory 384Mi is above the limit 256Mi"),
        (
            "plain",
            {"resources": {"requests": {"memory": "1.5G"}}},
            "resources.requests.memory 1.5G is above the limit 512Mi",
        ),
        ("monitored", {"settings": {"KAFKA_BOOTSTRAP_SERVERS": "kafka:70000"}}, "has the port 70000"),
        ("plain", {"extraEnv": [{"name": "LISTEN_PORT", "value": "9000"}]}, "set settings.LISTEN_PORT instead"),
        ("plain", {"extraEnv": [{"name": "TZ", "value": 1}]}, "/extraEnv/0/value"),
        ("plain", {"extraVolumes": [{"name": "secrets", "emptyDir": {}}]}, "extraVolumes has a volume secrets"),
        ("keda", {"replicas": 0}, "replicas is 0, but with keda.enabled"),
        (
            "keda",
            {"settings": {"KAFKA_SECURITY_PROTOCOL": "sasl_ssl"}, "keda": {"authentication": ""}},
            "keda.authentication is missing",
        ),
        (
            "keda",
            {"settings": {"KAFKA_TOKEN_SOURCE": "aws-msk-iam"}, "keda": {"authentication": ""}},
            "keda.authentication is missing",
        ),
        ("plain", {"keda": None}, "missing property 'keda'"),
        ("plain", {"image": {"pullPolicy": None}}, "missing property 'pullPolicy'"),
    ],
)
def test_values_that_contradict_each_other_are_refused_by_their_names(
    tmp_path: Path, example: str, changes: dict[str, Any], said: str
) -> None:
    values = _changed(tmp_path, example, changes)
    command = [tools.helm(), "template", "conversions", str(generated.CHART), "--values", str(values)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode != 0
    assert said in ended.stderr


@pytest.mark.parametrize("release", ["9conversions", "eu.conversions"])
def test_release_whose_name_no_service_may_have_is_refused_where_one_is_made(release: str) -> None:
    for example, refused in (("static-membership", True), ("plain", False)):
        values = generated.CHECKOUT / f"deploy/helm/examples/{example}.yaml"
        command = [tools.helm(), "template", release, str(generated.CHART), "--values", str(values)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)

        assert ("choose another name for the release" in ended.stderr) is refused
        assert (ended.returncode != 0) is refused


def test_settings_that_the_chart_reads_are_not_taken_from_the_other_environment() -> None:
    helpers = (generated.CHART / "templates/_helpers.tpl").read_text("utf-8")
    (refused,) = re.findall(r"\$read := list ((?:\"[A-Z_]+\" ?)+)", helpers)
    templates = "".join(path.read_text("utf-8") for path in (generated.CHART / "templates").glob("*"))
    names = set(re.findall(r"settings\.([A-Z_]+)", templates))

    # What is only told apart as given or not may come from there too.
    assert names - {"MAPPING_FILE", "SCHEMA_REGISTRY_URL"} <= set(re.findall(r"[A-Z_]+", refused))


def test_memory_is_that_of_the_window_in_the_image(tmp_path: Path) -> None:
    def limit(**changes: Any) -> int:
        container = _container(_of_kind(_made(tmp_path, "plain", dedupeKeys=20_000_000, **changes), "Deployment"))
        return _bytes(container["resources"]["limits"]["memory"])

    native, python = limit(), limit(settings={"CODEC": "Python"})
    assert native == pytest.approx(1.25 * (186e6 + 64e6 + 24 * 20e6), rel=0.01)
    assert python == pytest.approx(1.25 * (186e6 + 64e6 + 110 * 20e6), rel=0.01)


def test_plain_manifests_are_those_of_the_chart() -> None:
    made = dict(generated.manifests())

    assert made
    assert {file: file.read_text("utf-8") for file in made} == made, "run: python -m tests.deploy.generated"
    assert set((generated.CHECKOUT / "deploy/kubernetes").glob("*.yaml")) <= set(made)


def test_logins_of_keda_are_what_keda_takes() -> None:
    logins = list(_safe().load_all(generated.CHECKOUT / "deploy/keda/authentication.yaml"))

    assert [one["metadata"]["name"] for one in logins] == ["kafka", "msk"]
    for one in logins:
        jsonschema.Draft202012Validator(_schema(one)).validate(one)


@pytest.mark.parametrize(
    ("section", "name", "value", "accepted"),
    [
        ("settings", "MAX_IN_FLIGHT", "4", True),
        ("settings", "MAX_IN_FLIGHT", 4, False),
        ("settings", "MAX_INFLIGHT", "4", False),
        ("settings", "KAFKA_FETCH_WAIT_MAX_MS", "20", True),
        ("settings", "KAFKA_SASL_PASSWORD", "secret", False),
        ("settings", "AMAZON_CLIENT_SECRET", "secret", False),
        ("secretFiles", "KAFKA_SASL_PASSWORD", {"secret": "kafka", "key": "password"}, True),
        ("secretFiles", "AMAZON_CLIENT_SECRET", {"secret": "amazon", "key": "secret"}, True),
        ("secretFiles", "AMAZON_CLIENT_SECRET", "secret", False),
        ("secretFiles", "AMAZON_REGION", {"secret": "amazon", "key": "region"}, False),
        ("secretFiles", "KAFKA_SASL_USERNAME", {"secret": "kafka", "key": "user"}, True),
        ("secretFiles", "KAFKA_SASL_PASSWORD_FILE", {"secret": "kafka", "key": "user"}, False),
        ("secretFiles", "KAFKA_sasl.password or PASSWORD", {"secret": "kafka", "key": "user"}, False),
        ("secretFiles", "AMAZON_CLIENT_SECRET", {"secret": "Amazon_Ads", "key": "secret"}, False),
        ("settings", "SCHEMA_REGISTRY_URL", "https://user:password@registry", False),
        ("settings", "SCHEMA_REGISTRY_PROXY", "http://user:password@proxy:3128", False),
        ("settings", "DRAIN_TIMEOUT", "40", False),
        ("settings", "BUFFER_MAX_BYTES", "1GB", False),
        ("settings", "LISTEN_PORT", "0", False),
        ("settings", "LISTEN_PORT", "65536", False),
        ("settings", "AMAZON_ACCOUNT_ID", "", False),
        ("settings", "AMAZON_REGION", "eu", True),
        ("settings", "AMAZON_REGION", "", True),
        ("image", "digest", "sha256:short", False),
        ("image", "repository", "registry.example.com:5000/ads/connector", True),
        ("image", "repository", "registry.example.com/connector:1.0", False),
        ("image", "pullPolicy", "Sometimes", False),
        ("networkPolicy", "extraPorts", [0], False),
        ("networkPolicy", "extraPorts", [65_536], False),
        ("podMonitor", "interval", "often", False),
        ("prometheusRule", "docs", "git.example.com", False),
        ("keda", "minReplicas", 0, False),
        ("keda", "metadata", {"lagThreshold": "10"}, False),
        ("keda", "metadata", {"sasl": "aws_msk_iam"}, True),
        ("podLabels", "app.kubernetes.io/name", "other", False),
        ("resources", "memoryLimit", "plenty", False),
    ],
)
def test_values_are_refused_where_the_connector_would_refuse_them_or_they_would_show_a_secret(
    section: str, name: str, value: object, accepted: bool
) -> None:
    values = _plain_values()
    values[section][name] = value
    validator = jsonschema.Draft7Validator(_safe().load(generated.CHART / "values.schema.json"))

    assert validator.is_valid(values) is accepted


@pytest.mark.parametrize(("replicas", "accepted"), [(0, True), (1, True), (-1, False), ("2", False)])
def test_replicas_may_be_none(replicas: object, accepted: bool) -> None:
    values = _plain_values() | {"replicas": replicas}
    validator = jsonschema.Draft7Validator(_safe().load(generated.CHART / "values.schema.json"))

    assert validator.is_valid(values) is accepted


_TEXTS = (
    *[
        "0",
        "1",
        "11",
        "12",
        "500",
        "501",
        "65535",
        "65536",
        "1000000000",
        "1000000001",
        "0.5",
        "0.0",
        "1.0",
        "1.1",
        "1000",
        "1000.5",
        "0.000001",
        "040s",
        "0s",
        "1ms",
        "999ms",
    ],
    *[
        "1000ms",
        "40s",
        "5m",
        "7d",
        "40",
        "1GB",
        "0B",
        "900B",
        "64KB",
        "1MB",
        "true",
        "FALSE",
        "yes",
        "NA",
        "eu",
        "mars",
        "wait",
        "stop",
        "native",
        "kafka:9092",
        "kafka",
    ],
    *[
        "2026-11-05",
        "2026-13-45",
        "05.11.2026",
        "a/b",
        "conversions,refunds",
        "https://host",
        "https://host/path",
        "http://host:80",
        "host",
    ],
    *[
        "https://u:p@host",
        "https://host?x=1",
        "ads-v1",
        "EVENTS-V1",
        "send",
        "denied",
        "earliest",
        "info",
        "json",
        "gcp-adc",
        "file:/x",
        "file:x",
    ],
    *[
        "clientDedupeId",
        "name,value",
        "names",
        "Shop_Events",
        "1Shop",
        "glue",
        "confluent",
        "a,b",
        ":9092",
        "0.0.0.0",
        "SSL://kafka:1",
    ],
    "a b",
    "a, b",
    "two  words",
)
_STRICTER = {("LISTEN_PORT", "0"), ("SCHEMA_REGISTRY_URL", "https://u:p@host")}
"""What the connector accepts and the chart does not, beside leading zeros: no probe finds it, or it shows a secret."""


def test_patterns_of_settings_accept_what_the_connector_accepts() -> None:
    differ = set()
    for one in SETTINGS:
        for text in _TEXTS if generated.accepted(one) else ():
            problems: list[str] = []
            one.kind.parse(text, problems.append)
            found = re.fullmatch(f"(?:{generated.accepted(one)})", text) is not None
            if found == bool(problems) and not (text == "040s" and not problems):
                differ.add((one.name, text))

    assert differ == _STRICTER


def test_settings_of_the_schema_are_those_of_the_code() -> None:
    properties = _safe().load(generated.CHART / "values.schema.json")["properties"]
    names = {one.name for one in SETTINGS if not one.name.endswith(FAMILY)} - {"MAPPING"}

    assert properties["settings"]["properties"].keys() == {name for name in names if not is_secret(name)}
    assert properties["secretFiles"]["properties"].keys() == {name for name in names if is_secret(name)} | IN_FILES_TOO


def test_values_of_the_chart_are_all_described_and_each_is_in_an_example() -> None:
    schema = _safe().load(generated.CHART / "values.schema.json")["properties"]
    values = _safe().load(generated.CHART / "values.yaml")

    assert values.keys() == schema.keys() - {"global"}
    used = {name for path in generated.EXAMPLES for name in _safe().load(path)}
    assert schema.keys() - used - {"global", "dedupeKeys"} == set()


def test_chart_has_the_version_of_the_package() -> None:
    (version,) = re.findall(r'^version = "(.+)"$', (generated.CHECKOUT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    chart = _safe().load(generated.CHART / "Chart.yaml")

    assert (chart["version"], chart["appVersion"]) == (version, version)
