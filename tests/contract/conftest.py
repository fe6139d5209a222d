"""Each suite plays on two stages: the simulation's fakes, and the real thing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.contract.kafka_stage import FakeStage, KafkaStage, RealStage


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.kafka)])
def stage(request: pytest.FixtureRequest) -> Iterator[KafkaStage]:
    """A Kafka with topics of its own."""
    with ExitStack() as ends:
        if request.param == "fake":
            yield ends.enter_context(FakeStage().open())
        else:
            yield RealStage(request.getfixturevalue("kafka"), ends)
