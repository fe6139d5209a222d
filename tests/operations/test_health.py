"""What the probes say about a running connector."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from connector.model import TopicPartition
from connector.operations.health import Health, Vitals

NOW = 10_000.0
NEVER = float("-inf")


@dataclass
class Pipeline:
    """What a pipeline says of itself."""

    restoring: int = 0
    refused: int = 0
    messages: list[str] = field(default_factory=list)
    restores: dict[TopicPartition, tuple[int, int]] = field(default_factory=dict)

    def paused(self) -> dict[str, int]:
        return {"restoring": self.restoring, "refused": self.refused}

    def needs_operator(self) -> list[str]:
        return self.messages


@dataclass
class Member:
    """A member that is well."""

    last_poll: float = NOW
    vouched: float = NOW
    refused: tuple[float, str] | None = None
    joined: bool = True
    mine: tuple[str, ...] = ("source-0",)

    def partitions(self) -> tuple[str, ...]:
        return self.mine


@dataclass
class Watch:
    """A look at topics and group."""

    answered: float = NOW


@dataclass
class Blockers:
    """What waits for an operator."""

    no_login: list[str] = field(default_factory=list)
    lacks: list[str] = field(default_factory=list)
    denied_schemas: list[str] = field(default_factory=list)


def health(
    member: Member, *, watch: Watch | None = None, pipeline: Pipeline | None = None, session_seconds: float = 6.0
) -> Health:
    said = pipeline or Pipeline()
    parts = (
        said.paused,
        said.needs_operator,
        lambda: said.restores,
        member,
        watch or Watch(),
        Blockers(["a right"], ["a registry"]),
    )
    vitals = Vitals(*parts, group="g", drain_seconds=40, session_seconds=session_seconds, clock=lambda: NOW)
    return vitals.health()


def why(member: Member, *, watch: Watch | None = None, pipeline: Pipeline | None = None) -> tuple[str, ...]:
    *mine, right, registry = health(member, watch=watch, pipeline=pipeline).not_ready
    assert (right, registry) == ("a right", "a registry")
    return tuple(mine)


@pytest.mark.parametrize(("silent", "live"), [(99.0, True), (101.0, False)])
def test_consumer_that_does_not_poll_for_a_minute_beyond_a_drain_is_not_live(silent: float, live: bool) -> None:
    said = health(Member(last_poll=NOW - silent)).not_live
    assert said == (None if live else "the consumer's thread has not polled for 101 s")


def test_member_that_has_not_joined_or_not_restored_everything_is_not_ready() -> None:
    assert why(Member(joined=False), pipeline=Pipeline(restoring=2)) == (
        "has not joined group g yet",
        "2 partitions are not restored yet",
    )


def test_member_that_restores_says_how_far_it_is() -> None:
    restores = {TopicPartition("source", 0): (0, 7), TopicPartition("source", 3): (2, 3)}
    assert why(Member(), pipeline=Pipeline(restoring=3, restores=restores)) == (
        "3 partitions are not restored yet (of the ledger is read: source-0 0 %, source-3 66 %)",
    )


@pytest.mark.parametrize(("ago", "ready"), [(14.0, False), (16.0, True)])
def test_member_that_is_refused_is_not_ready_until_nothing_more_is_heard_of_it(ago: float, ready: bool) -> None:
    said = "the brokers refuse this client: no. Grant it the rights that docs/kafka/index.md lists"
    assert why(Member(refused=(NOW - ago, "no"))) == (() if ready else (said,))


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(("mine", "most"), [(("source-0",), 6.0), ((), 30.0)], ids=["member", "spare"])
def test_member_that_its_coordinator_does_not_answer_for_a_session_is_not_ready(
    mine: tuple[str, ...], most: float, late: bool
) -> None:
    seconds = most + (1 if late else -1)
    # A member's own commits count, and for one that has nothing to commit what else the coordinator was asked.
    heard, unheard = NOW - seconds, NOW - 1000 if late else NOW
    vouched, answered = (heard, unheard) if mine else (unheard, heard)

    said = f"the group's coordinator has not answered this member for {seconds:.0f} s: nothing is sent until it does"
    assert why(Member(vouched=vouched, mine=mine), watch=Watch(answered)) == ((said,) if late else ())


def test_member_that_its_coordinator_has_not_answered_yet_is_not_ready() -> None:
    assert why(Member(vouched=NEVER)) == (
        "the group's coordinator has not answered this member yet: nothing is sent until it does",
    )


def test_coordinator_is_not_blamed_where_every_partition_is_refused() -> None:
    """Nothing is committed of them, so no commit is answered."""
    pipeline = Pipeline(refused=1, messages=["why"])
    assert health(Member(vouched=NEVER), pipeline=pipeline, session_seconds=45.0).not_ready == (
        "a right",
        "a registry",
        "why",
    )
