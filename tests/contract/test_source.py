"""What the pipeline expects of its source, on a real Kafka and in the simulation."""

from __future__ import annotations

import pytest

from connector.core import commands, inputs
from connector.core.commands import CommitPoint
from connector.model import TopicPartition
from tests.contract.kafka_stage import KafkaStage, Member


def assigned(stage: KafkaStage, member: Member, partitions: int = 1) -> dict[int, int]:
    """Wait until a source has so many partitions; return the generation of each."""

    def mine() -> dict[int, int]:
        given = {told.partition.partition: told.generation for told in member.of(inputs.Assigned)}
        ended: list[inputs.Revoked | inputs.Lost] = [*member.of(inputs.Revoked), *member.of(inputs.Lost)]
        gone = {generation for told in ended for generation in told.generations}
        return {partition: generation for partition, generation in given.items() if generation not in gone}

    stage.until(lambda: len(mine()) == partitions, f"{partitions} partitions are assigned")
    return mine()


def start(stage: KafkaStage, member: Member, generation: int, offset: int = 0, partition: int = 0, epoch: int = -1) -> None:
    place = TopicPartition(stage.topic, partition)
    member.source.submit(commands.Start(place, generation, offset, epoch, "topic-id"))
    member.source.submit(commands.Resume(place, generation))


def commit(stage: KafkaStage, member: Member, generation: int, offset: int, metadata: str = "", partition: int = 0) -> None:
    point = CommitPoint(TopicPartition(stage.topic, partition), generation, offset, 0, metadata)
    member.source.submit(commands.Commit((point,)))


def polled(stage: KafkaStage, member: Member, generation: int, *offsets: int) -> None:
    def so_far() -> bool:
        for _ in range(len(member.of(inputs.Polled)) - handled.get(id(member), 0)):
            member.source.polled_handled()
        handled[id(member)] = len(member.of(inputs.Polled))
        return len(member.offsets(generation)) >= len(offsets)

    handled: dict[int, int] = {}
    stage.until(so_far, f"{len(offsets)} records are polled")
    assert member.offsets(generation) == list(offsets)


def two_polled(stage: KafkaStage) -> tuple[Member, int]:
    """Have a member that has polled both records of a partition."""
    stage.create()
    stage.produce(b"0", b"1")
    member = stage.member()
    generation = assigned(stage, member)[0]
    start(stage, member, generation)
    polled(stage, member, generation, 0, 1)
    return member, generation


def test_an_assignment_is_told_of_and_nothing_is_fetched_before_it_is_started(stage: KafkaStage) -> None:
    stage.create()
    stage.produce(b"0", b"1")
    member = stage.member()

    assigned(stage, member)
    stage.turns(member)

    assert member.of(inputs.Polled) == []


def test_a_start_begins_at_its_offset_and_goes_on_in_order(stage: KafkaStage) -> None:
    stage.create()
    stage.produce(*(b"%d" % number for number in range(5)))
    member = stage.member()
    generation = assigned(stage, member)[0]

    start(stage, member, generation, offset=2)
    polled(stage, member, generation, 2, 3, 4)
    stage.produce(b"5")
    polled(stage, member, generation, 2, 3, 4, 5)


def test_a_record_has_its_key_value_time_and_the_epoch_of_its_leader(stage: KafkaStage) -> None:
    stage.create()
    stage.produce(b"value")
    member = stage.member()
    generation = assigned(stage, member)[0]
    start(stage, member, generation)
    polled(stage, member, generation, 0)

    (record,) = member.records(generation)
    assert (record.key(), record.value(), record.leader_epoch()) == (b"key", b"value", 0)
    assert not record.headers()
    assert record.timestamp()[1] > 1_600_000_000_000


def test_what_is_paused_is_not_fetched_and_goes_on_where_it_was(stage: KafkaStage) -> None:
    member, generation = two_polled(stage)

    member.source.submit(commands.Pause(TopicPartition(stage.topic, 0), generation))
    stage.turns(member)
    stage.produce(b"2", b"3")
    stage.turns(member, 8)
    assert member.offsets(generation) == [0, 1]

    member.source.submit(commands.Resume(TopicPartition(stage.topic, 0), generation))
    polled(stage, member, generation, 0, 1, 2, 3)


def test_each_partition_has_a_generation_of_its_own(stage: KafkaStage) -> None:
    stage.create(partitions=2)
    stage.produce(b"0", b"1", partition=0)
    stage.produce(b"0", partition=1)
    member = stage.member()
    generations = assigned(stage, member, 2)
    assert generations[0] != generations[1]

    for partition, generation in generations.items():
        start(stage, member, generation, partition=partition)
    polled(stage, member, generations[1], 0)
    polled(stage, member, generations[0], 0, 1)


def test_no_more_than_two_polls_are_under_way(stage: KafkaStage) -> None:
    stage.create()
    member = stage.member()
    generation = assigned(stage, member)[0]
    start(stage, member, generation)

    for number in range(4):
        stage.produce(b"%d" % number)
        if number < 2:
            stage.until(lambda number=number: len(member.of(inputs.Polled)) == number + 1, "it is polled")  # type: ignore[misc]  # mypy cannot infer a lambda's default
    stage.until(lambda: member.source._slots._value == 0, "both are taken")
    assert len(member.of(inputs.Polled)) == 2

    member.source.polled_handled()
    stage.until(lambda: len(member.of(inputs.Polled)) == 3, "the third is posted once one was handled")


def test_an_offset_without_a_record_is_passed_over(stage: KafkaStage) -> None:
    stage.create()
    stage.produce(b"0")
    stage.gap()
    stage.produce(b"3")
    member = stage.member()
    generation = assigned(stage, member)[0]

    start(stage, member, generation)
    polled(stage, member, generation, 0, 1, 3)


def test_the_end_of_a_log_is_told_where_it_is_behind_a_marker(stage: KafkaStage) -> None:
    stage.create()
    stage.produce(b"0")
    stage.gap()
    member = stage.member()
    generation = assigned(stage, member)[0]

    start(stage, member, generation)
    polled(stage, member, generation, 0, 1)
    stage.until(lambda: member.reached(generation) == 3, "the end is told of")

    member.source.submit(commands.Pause(TopicPartition(stage.topic, 0), generation))
    stage.produce(b"3")
    member.source.submit(commands.Resume(TopicPartition(stage.topic, 0), generation))
    polled(stage, member, generation, 0, 1, 3)
    stage.until(lambda: member.reached(generation) == 4, "the next end is told of")


def test_a_commit_says_its_epoch_and_its_metadata(stage: KafkaStage) -> None:
    member, generation = two_polled(stage)

    commit(stage, member, generation, 2, "v1 topic ledger:5")
    stage.until(lambda: stage.committed() == (2, 0, "v1 topic ledger:5"), "the commit is there")


def test_a_partition_begins_anew_only_after_the_answer_to_its_last_commit(stage: KafkaStage) -> None:
    member, generation = two_polled(stage)

    commit(stage, member, generation, 1, "in flight")
    commit(stage, member, generation, 2, "queued behind it")
    member.source.submit(commands.StartOver(TopicPartition(stage.topic, 0), generation))
    commit(stage, member, generation, 2, "too late")

    stage.until(lambda: len(member.of(inputs.Assigned)) == 2, "it begins anew")
    assert stage.committed() == (2, 0, "queued behind it")


def test_the_coordinator_vouches_for_a_member_whose_commit_it_takes_again_and_again(stage: KafkaStage) -> None:
    stage.create()
    member = stage.member()
    generation = assigned(stage, member)[0]
    start(stage, member, generation)
    stage.turns(member)
    assert member.source.vouched == float("-inf"), "to be given a partition is not enough"

    commit(stage, member, generation, 0, "the beginning")
    stage.until(lambda: member.source.vouched > float("-inf"), "it vouches")
    first = member.source.vouched
    commit(stage, member, generation, 0, "the beginning")
    stage.until(lambda: member.source.vouched > first, "it vouches again for what was committed already")
    assert stage.committed() == (0, 0, "the beginning")


@pytest.mark.parametrize("incremental", [True, False], ids=["cooperative", "eager"])
def test_a_partition_that_moves_is_the_next_owners_only_after_its_release(stage: KafkaStage, incremental: bool) -> None:
    stage.create(partitions=2)
    first = stage.member(incremental=incremental, drain_seconds=50.0)
    generations = assigned(stage, first, 2)
    for partition, generation in generations.items():
        start(stage, first, generation, partition=partition)

    second = stage.member(incremental=incremental)
    stage.until(lambda: first.of(inputs.Revoked), "a partition is wanted back")
    revoked = [generation for told in first.of(inputs.Revoked) for generation in told.generations]
    assert second.of(inputs.Assigned) == []
    partition = next(partition for partition, generation in generations.items() if generation in revoked)
    commit(stage, first, generations[partition], 1, partition=partition)  # what is submitted before the release still counts
    assert second.of(inputs.Assigned) == []
    for number, generation in generations.items():
        if generation in revoked:
            first.source.submit(commands.Release(TopicPartition(stage.topic, number), generation, 0))

    assigned(stage, second)
    stage.until(lambda: stage.committed(partition) is not None, "the commit before the release is there")


def test_what_is_addressed_to_an_assignment_that_ended_is_not_done(stage: KafkaStage) -> None:
    stage.create(partitions=2)
    first = stage.member()
    generations = assigned(stage, first, 2)
    stage.produce(b"0", partition=0)
    stage.produce(b"0", partition=1)
    second = stage.member()
    stage.until(lambda: first.of(inputs.Revoked), "a partition is wanted back")
    (revoked,) = first.of(inputs.Revoked)[0].generations
    partition = next(number for number, generation in generations.items() if generation == revoked)
    first.source.submit(commands.Release(TopicPartition(stage.topic, partition), revoked, 0))
    assigned(stage, second)

    commit(stage, first, revoked, 1, partition=partition)
    start(stage, first, revoked, partition=partition)
    stage.turns(first, 6)

    assert stage.committed(partition) is None
    assert first.offsets(revoked) == []


def test_one_that_leaves_commits_first_and_the_other_has_everything(stage: KafkaStage) -> None:
    stage.create(partitions=2)
    first, second = stage.member(), stage.member()
    generations = assigned(stage, first), assigned(stage, second)
    (partition,) = generations[0]
    stage.produce(b"0", partition=partition)

    commit(stage, first, generations[0][partition], 1, "the last", partition=partition)
    stage.leave(first)

    assigned(stage, second, 2)
    assert stage.committed(partition) == (1, 0, "the last")


def test_an_offset_outside_the_log_begins_the_partition_anew(stage: KafkaStage) -> None:
    stage.create()
    stage.produce(b"0", b"1", b"2")
    stage.cut_start(2)
    member = stage.member()
    generation = assigned(stage, member)[0]

    start(stage, member, generation, offset=0)
    stage.until(lambda: member.of(inputs.Lost), "the assignment ends")
    assert member.of(inputs.Lost)[0].generations == (generation,)

    anew = assigned(stage, member)[0]
    start(stage, member, anew, offset=2)
    polled(stage, member, anew, 2)
    assert member.offsets(generation) == []


def test_records_wait_in_order_while_they_cannot_be_decoded(stage: KafkaStage) -> None:
    stage.create()
    stage.produce(b"0", b"1")
    member = stage.member()
    member.intake.down = True
    generation = assigned(stage, member)[0]
    start(stage, member, generation)
    stage.until(member.source._positions.held, "it waits for the schema")
    stage.produce(b"2")
    stage.turns(member)
    assert member.of(inputs.Polled) == []

    member.intake.down = False
    polled(stage, member, generation, 0, 1, 2)
