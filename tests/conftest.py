"""What every test has: an environment without connector settings, and a real Apache Kafka for those that ask for one."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.integration.kafka.cluster import Cluster, ClusterFailed
from tests.integration.ports import reserved
from tests.native.presence import LEFT_OUT

# How long an example takes is the machine's affair: beside other load one of a millisecond took half a second.
settings.register_profile("beside others", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("beside others")

_LAST_CHARACTERS = 4_000
"""Characters of each process's output that the report of a failed test has."""
_SETTINGS = ("KAFKA_", "AMAZON_", "SCHEMA_REGISTRY_")


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_shell() -> Iterator[None]:
    """Keep tests and the processes they start away from a real cluster or account that the shell may name."""
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith(_SETTINGS)]:
            environment.delenv(name)
        yield


@pytest.fixture(autouse=True)
def _log_as_nobody_has_set_it_up() -> Iterator[None]:
    """Undo what a command does that a test runs in this process: its handler would write to that test's closed stream."""
    structlog.reset_defaults()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def unused_tcp_port() -> int:
    """A port that nobody listens on, in the place of pytest-asyncio's, which anybody may be given meanwhile."""
    (port,) = reserved(1)
    return port


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """Bootstrap servers of an Apache Kafka that topics may be created in: the one named, or one of our own."""
    if named := os.environ.get("TEST_KAFKA_BOOTSTRAP_SERVERS"):
        yield named
        return
    try:
        cluster = Cluster()
        cluster.start()
    except ClusterFailed as failure:
        pytest.fail(str(failure), pytrace=False)
    try:
        yield cluster.bootstrap_servers
    finally:
        cluster.stop()


@pytest.hookimpl(tryfirst=True)  # before pytest deselects by ``-m``
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that asks for `kafka`, so that none can forget it."""
    for item in items:
        if isinstance(item, pytest.Function) and "kafka" in item.fixturenames:
            item.add_marker(pytest.mark.kafka)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show of a test that failed what the processes that it started wrote last; in its directory each has a log."""
    report: pytest.TestReport = yield  # type: ignore[assignment] # what the other implementations returned
    directory = getattr(item, "funcargs", {}).get("tmp_path")
    if report.failed and isinstance(directory, Path):
        for log in sorted(directory.rglob("*.log")):
            report.sections.append((f"end of {log.name}", log.read_text("utf-8", errors="replace")[-_LAST_CHARACTERS:]))
    return report  # type: ignore[return-value]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say that tests were left out, for nothing else would."""
    if LEFT_OUT:
        terminalreporter.write_line("tests/native was left out: neither connector_native nor cargo is there")
