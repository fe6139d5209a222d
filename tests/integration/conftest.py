"""What the tests of the whole program stand on: one sandbox for all, emptied between them, and a world for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.kafka.cluster import Cluster, ClusterFailed
from tests.integration.program import Sandbox, World


@pytest.fixture(scope="session")
def _one_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    sandbox = Sandbox(tmp_path_factory.mktemp("sandbox"))
    yield sandbox
    sandbox.kill()


@pytest.fixture
def world(kafka: str, _one_sandbox: Sandbox, tmp_path: Path) -> Iterator[World]:
    """Topics of names nobody else has, a sandbox that remembers nothing, and an end for every process."""
    _one_sandbox.clear()
    world = World(kafka, _one_sandbox, tmp_path)
    yield world
    world.close()


@pytest.fixture(scope="session")
def three_nodes() -> Iterator[Cluster]:
    """Three nodes of our own, for tests that hurt them; each test leaves them whole."""
    try:
        with Cluster(nodes=3) as cluster:
            yield cluster
    except ClusterFailed as failure:
        pytest.fail(str(failure), pytrace=False)
