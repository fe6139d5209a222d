"""The consumer's thread without a broker: what the simulation's client hands out is scripted, step by step."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaTopicPartition

from connector.core import commands, inputs
from connector.errors import KafkaUnavailable, SchemaUnavailable
from connector.intake import Intake, Origin
from connector.kafka import backlog, commits, consumer
from connector.kafka.consumer import PollPolicy, SourceConsumer
from connector.kafka.host import Host
from connector.kafka.membership import GroupAdmission
from connector.model import Poll, TopicPartition
from connector.ports import Record
from tests.simulation.cluster import Cluster, MemberClient, Odds, Stored
from tests.simulation.virtual_time import Process, VirtualLoop

ZERO, ONE = TopicPartition("conversions", 0), TopicPartition("conversions", 1)


class FakeMessage(Stored):
    """A record of so many bytes, or an error of a partition, as the client hands it out."""

    def __init__(
        self,
        partition: TopicPartition,
        offset: int,
        error: KafkaError | None = None,
        *,
        size: int = 1,
        key: bytes | None = None,
        headers: Sequence[tuple[str, bytes | None]] = (),
    ) -> None:
        super().__init__(partition, offset, bytes(size), key, headers, under=4, failure=error)


class ScriptedClient(MemberClient):
    """The simulation's client of the group; only what its polls bring is the test's."""

    def __init__(self, properties: dict[str, Any]) -> None:
        super().__init__(properties)
        self.sought: list[tuple[TopicPartition, int, int | None, bool]] = []
        """Where to, by offset and epoch, and whether it was paused then."""
        self.commits: list[dict[TopicPartition, int]] = []
        """Offsets by partition."""
        self.waiting: list[FakeMessage | Callable[[], None]] = []
        """Records; a callback among them is served by the call that reaches it, as the client serves a rebalance.

        What that call had found before is dropped, which is the client's doing too.
        """
        self.unsettled = False
        """Whether it refuses to seek until it is polled, as after a rebalance that it has not handed out."""
        self.fetched_end: int | None = None
        """As the last fetch told it; None where the client knows none."""

    @property
    def paused(self) -> set[TopicPartition]:
        return self._paused

    def get_watermark_offsets(self, _place: KafkaTopicPartition, *, cached: bool) -> tuple[int, int]:
        assert cached, "the thread that polls does not wait for an answer"
        if self.fetched_end is None:
            raise KafkaException(KafkaError(KafkaError._UNKNOWN_PARTITION))
        return 0, self.fetched_end

    def consume(self, count: int, _seconds: float) -> list[Stored]:
        found: list[Stored] = []
        self.unsettled = False
        while self.waiting and len(found) < count:
            next_one = self.waiting.pop(0)
            if isinstance(next_one, FakeMessage):
                found.append(next_one)
            else:
                found.clear()
                next_one()
        return found

    def memberid(self) -> str:
        return "member"

    def seek(self, place: KafkaTopicPartition) -> None:
        if self.unsettled:
            raise KafkaException(KafkaError(KafkaError._STATE))
        super().seek(place)
        partition = TopicPartition(place.topic, place.partition)
        self.sought.append((partition, place.offset, place.leader_epoch, partition in self.paused))

    def commit(self, *, offsets: list[KafkaTopicPartition], asynchronous: bool) -> list[KafkaTopicPartition]:
        self.commits.append({TopicPartition(place.topic, place.partition): place.offset for place in offsets})
        return super().commit(offsets=offsets, asynchronous=asynchronous)


class FakeIntake(Intake):
    """Makes a poll of offsets alone, up to the first whose schema is lacking."""

    def __init__(self) -> None:
        self.lacking: set[tuple[TopicPartition, int]] = set()
        self.waited: list[float] = []
        self.at_once = 1_000_000

    def read(
        self,
        origin: Origin,
        records: Sequence[Record],
        waited: float = 0.0,
        is_enough: Callable[[], bool] = lambda: False,
    ) -> tuple[Poll, SchemaUnavailable | None]:
        assert not is_enough()
        self.waited.append(waited)
        poll = Poll(origin.partition, origin.generation)
        for record in records[: self.at_once]:
            if (origin.partition, record.offset()) in self.lacking:
                return poll, SchemaUnavailable("the registry does not answer")
            poll.offsets.append(record.offset())
        return poll, None


class Silent:
    """A watcher that notes nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


class SetClock(Host):
    """A machine whose clock the test sets."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Scene:
    """A `SourceConsumer` with two partitions that are fetched."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.posted: list[Any] = []
        self.intake = FakeIntake()
        cluster = Cluster(loop, Random(1), Odds(), cast("Any", Silent()))
        cluster.create("conversions", 2, {})
        simulated = {"simulated.cluster": cluster, "simulated.process": Process(loop, "process")}

        def make_client(properties: dict[str, Any]) -> Any:
            self.client = ScriptedClient(properties | simulated)
            return self.client

        policy = PollPolicy(("conversions",), incremental=True, drain_seconds=0.0, seconds=0.01, records=250, size=1_000_000)
        self.source = SourceConsumer({}, policy, self.intake, "cluster", self._post, Silent(), make_client=make_client)
        self.source._on_assign(cast("Any", self.client), [KafkaTopicPartition(*ZERO), KafkaTopicPartition(*ONE)])
        for partition, generation in ((ZERO, 1), (ONE, 2)):
            self.start(partition, generation)

    def _post(self, told: object) -> None:
        self.posted.append(told)

    def start(self, partition: TopicPartition, generation: int) -> None:
        self.source._carry_out(commands.Start(partition, generation, 0, -1, "topic-id"))
        self.source._carry_out(commands.Resume(partition, generation))

    def take(self, *messages: FakeMessage | Callable[[], None]) -> None:
        self.client.waiting += messages
        self.source._poll()

    def polled(self) -> list[tuple[TopicPartition, int, list[int]]]:
        polls = [poll for told in self.posted if isinstance(told, inputs.Polled) for poll in told.polls]
        return [(poll.partition, poll.generation, poll.offsets) for poll in polls]


@pytest.fixture
def scene() -> Iterator[Scene]:
    loop = VirtualLoop()  # never runs: no answer comes but the test's
    yield Scene(loop)
    loop.close()


def error(code: int, *, fatal: bool = False) -> KafkaError:
    return KafkaError(code, "", fatal)


def test_records_are_posted_under_the_assignment_they_were_read_for(scene: Scene) -> None:
    scene.take(FakeMessage(ZERO, 0), FakeMessage(ONE, 7), FakeMessage(ZERO, 1))

    assert scene.polled() == [(ZERO, 1, [0, 1]), (ONE, 2, [7])]


def test_records_read_before_a_partition_began_anew_do_not_pass_for_those_of_the_new_assignment(scene: Scene) -> None:
    scene.take(FakeMessage(ZERO, 500), FakeMessage(ZERO, -1, error(KafkaError._LOG_TRUNCATION)), FakeMessage(ONE, 7))

    assert scene.polled() == [(ONE, 2, [7])]
    assert scene.posted[-3:-1] == [inputs.Lost((1,)), inputs.Assigned(ZERO, 3, truncated=True, anew=True)]


def test_every_resume_ends_in_a_seek_to_where_the_partition_is_for_an_error_told_before_it_may_be_lost(scene: Scene) -> None:
    scene.take(FakeMessage(ZERO, 0), FakeMessage(ZERO, 1))
    scene.source._carry_out(commands.Pause(ZERO, 1))
    scene.source._carry_out(commands.Resume(ZERO, 1))

    assert scene.client.sought == [(ZERO, 0, None, False), (ONE, 0, None, False), (ZERO, 2, 4, False)]


def test_a_seek_that_is_refused_until_the_client_is_polled_is_tried_again_after_a_poll(scene: Scene) -> None:
    """Tried again in place, the seeks of a few partitions kept the thread from polling for ever."""
    scene.client.sought.clear()
    scene.client.unsettled = True
    for partition, generation in ((ZERO, 1), (ONE, 2)):
        scene.source._carry_out(commands.Resume(partition, generation))
    assert scene.client.sought == []
    assert scene.client.paused == {ZERO, ONE}, "what is fetched before the seek would come from elsewhere"

    scene.source._turn()
    scene.source._turn()
    assert scene.client.sought == [(ZERO, 0, None, False), (ONE, 0, None, False)]
    scene.take(FakeMessage(ZERO, 0), FakeMessage(ONE, 0))
    assert scene.polled() == [(ZERO, 1, [0]), (ONE, 2, [0])]


def test_a_seek_that_is_refused_for_seconds_begins_the_partition_anew(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SetClock()
    scene.source._positions._host = clock

    def refuse(_place: KafkaTopicPartition) -> None:
        raise KafkaException(KafkaError(KafkaError._STATE))

    monkeypatch.setattr(scene.client, "seek", refuse)
    scene.source._carry_out(commands.Resume(ZERO, 1))
    clock.now += 4.9
    scene.source._turn()
    assert inputs.Lost((1,)) not in scene.posted
    # Neither counts on where nobody wants its records.
    scene.source._carry_out(commands.Pause(ZERO, 1))
    clock.now += 10.0
    scene.source._turn()
    scene.source._carry_out(commands.Resume(ZERO, 1))
    clock.now += 4.9
    scene.source._turn()
    assert inputs.Lost((1,)) not in scene.posted

    clock.now += 0.2
    scene.source._turn()
    assert scene.posted[-2:] == [inputs.Lost((1,)), inputs.Assigned(ZERO, 3, anew=True)]


def test_a_partition_that_begins_anew_is_sought_where_it_is_told_to_start(scene: Scene) -> None:
    scene.take(FakeMessage(ZERO, 500), FakeMessage(ZERO, -1, error(KafkaError._AUTO_OFFSET_RESET)))
    scene.start(ZERO, 3)

    assert scene.client.sought[-1] == (ZERO, 0, None, False)


@pytest.mark.parametrize("offsets", [(7, 8), (12, 8)])
def test_a_record_below_the_position_shows_that_the_client_is_elsewhere_and_the_partition_begins_anew(
    scene: Scene, offsets: tuple[int, int]
) -> None:
    scene.take(*[FakeMessage(ZERO, offset) for offset in range(10)])
    scene.take(*[FakeMessage(ZERO, offset) for offset in offsets], FakeMessage(ONE, 3))

    assert scene.polled() == [(ZERO, 1, list(range(10))), (ONE, 2, [3])]
    assert inputs.Assigned(ZERO, 3, anew=True) in scene.posted


def test_a_record_that_comes_before_the_partition_was_sought_is_not_taken_in_for_it_comes_again(scene: Scene) -> None:
    scene.source._on_lost(cast("Any", scene.client), [KafkaTopicPartition(*ZERO)])
    scene.source._on_assign(cast("Any", scene.client), [KafkaTopicPartition(*ZERO)])
    scene.take(FakeMessage(ZERO, 900))
    assert scene.polled() == []

    scene.start(ZERO, 3)
    scene.take(FakeMessage(ZERO, 500))
    assert scene.polled() == [(ZERO, 3, [500])]


def test_a_poll_ends_at_its_number_of_records(scene: Scene) -> None:
    scene.take(*[FakeMessage(ZERO, offset) for offset in range(400)])

    assert scene.polled() == [(ZERO, 1, list(range(250)))]


def test_a_poll_of_small_records_takes_few_calls(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    consume = scene.client.consume

    def noting(count: int, seconds: float) -> list[Stored]:
        asked.append(count)
        return consume(count, seconds)

    monkeypatch.setattr(scene.client, "consume", noting)
    scene.take(*[FakeMessage(ZERO, offset) for offset in range(400)])

    assert asked == [1, 249]


def test_a_poll_of_large_records_ends_by_its_size_with_one_at_most_above_it(scene: Scene) -> None:
    scene.client.waiting += [FakeMessage(ZERO, offset, size=900_000) for offset in range(6)]
    for _ in range(3):
        scene.take()
        scene.source.polled_handled()

    assert [len(offsets) for _, _, offsets in scene.polled()] == [2, 2, 2]


@pytest.mark.parametrize(
    "large", [{"key": bytes(900_000)}, {"headers": [("trace", bytes(900_000))]}], ids=["keys", "headers"]
)
def test_a_poll_of_records_with_large_keys_or_headers_ends_by_their_size(scene: Scene, large: Any) -> None:
    scene.client.waiting += [FakeMessage(ZERO, offset, size=1, **large) for offset in range(6)]
    for _ in range(3):
        scene.take()
        scene.source.polled_handled()

    assert [len(offsets) for _, _, offsets in scene.polled()] == [2, 2, 2]


def test_records_read_before_their_partition_was_given_up_and_given_back_in_one_poll_belong_to_neither(scene: Scene) -> None:
    place = [KafkaTopicPartition(*ZERO)]

    def rebalance() -> None:
        scene.source._on_lost(cast("Any", scene.client), place)
        scene.source._on_assign(cast("Any", scene.client), [KafkaTopicPartition(*ZERO)])

    scene.take(*[FakeMessage(ZERO, offset) for offset in range(100)], rebalance, FakeMessage(ONE, 7))

    assert scene.polled() == [(ONE, 2, [7])]


def decode_again(scene: Scene, *lacking: tuple[TopicPartition, int]) -> None:
    scene.intake.lacking = set(lacking)
    scene.source._backlog._due = 0.0
    scene.source._decode_again()
    scene.source.polled_handled()


def test_a_record_that_cannot_be_decoded_for_now_holds_up_those_after_it_in_its_partition_and_nothing_else(
    scene: Scene,
) -> None:
    scene.intake.lacking = {(ZERO, 1)}
    scene.take(*(FakeMessage(ZERO, offset) for offset in range(3)), FakeMessage(ONE, 7))
    scene.source.polled_handled()
    assert scene.polled() == [(ZERO, 1, [0]), (ONE, 2, [7])]
    assert scene.client.paused == {ZERO}

    scene.take(FakeMessage(ONE, 8))
    scene.source.polled_handled()
    decode_again(scene, (ZERO, 2))
    assert scene.polled()[2:] == [(ONE, 2, [8]), (ZERO, 1, [1])]
    assert scene.client.paused == {ZERO}

    decode_again(scene)
    assert scene.polled()[4:] == [(ZERO, 1, [2])]
    assert scene.client.paused == set()
    assert scene.client.sought[-1] == (ZERO, 3, 4, False)


def test_it_is_told_how_long_records_have_waited_since_they_were_polled(scene: Scene) -> None:
    scene.intake.lacking = {(ZERO, 0)}
    scene.take(FakeMessage(ZERO, 0))
    scene.source._backlog._waiting[0].since -= 30.0
    decode_again(scene, (ZERO, 0))
    decode_again(scene, (ZERO, 0))

    assert [round(waited) for waited in scene.intake.waited] == [0, 30, 30]


def test_what_stood_in_the_log_when_an_earlier_record_began_to_wait_has_waited_as_long(scene: Scene) -> None:
    """Else each unknown id in the log would hold its partition up for the whole patience, one after the other."""
    clock = SetClock()
    scene.source._backlog._host = scene.source._poller._host = clock
    scene.client.fetched_end = 7
    scene.intake.lacking = {(ZERO, 3)}
    scene.take(FakeMessage(ZERO, 3))
    clock.now += 30.0
    decode_again(scene)
    scene.intake.waited.clear()

    scene.client.fetched_end = 8
    scene.take(FakeMessage(ZERO, 6), FakeMessage(ZERO, 7), FakeMessage(ONE, 6))
    assert scene.polled()[-3:] == [(ZERO, 1, [6]), (ZERO, 1, [7]), (ONE, 2, [6])]
    assert [round(waited) for waited in scene.intake.waited] == [30, 0, 0]

    # What waits behind that end is seen from then on; an end that is not known dates nothing back.
    scene.intake.lacking, scene.client.fetched_end = {(ZERO, 8)}, None
    scene.take(FakeMessage(ZERO, 8))
    clock.now += 30.0
    decode_again(scene)
    scene.take(FakeMessage(ZERO, 9))
    assert round(scene.intake.waited[-1]) == 0


def test_what_was_seen_in_the_log_of_an_assignment_is_forgotten_with_it(scene: Scene) -> None:
    scene.client.fetched_end = 7
    scene.intake.lacking = {(ZERO, 3)}
    scene.take(FakeMessage(ZERO, 3))
    scene.source._carry_out(commands.StartOver(ZERO, 1))
    assert scene.source._backlog._seen == {}


def test_records_that_come_behind_those_that_wait_wait_too(scene: Scene) -> None:
    scene.intake.lacking = {(ZERO, 0)}
    scene.take(FakeMessage(ZERO, 0))
    scene.take(FakeMessage(ZERO, 1))
    assert scene.polled() == []
    decode_again(scene)

    assert scene.polled() == [(ZERO, 1, [0]), (ZERO, 1, [1])]


def test_nothing_is_fetched_once_a_poll_of_records_waits_for_schemas(scene: Scene) -> None:
    scene.intake.lacking = {(ZERO, 0)}
    scene.take(FakeMessage(ZERO, 0, size=1_000_000))
    assert scene.client.paused == {ZERO, ONE}
    scene.source._carry_out(commands.Pause(ONE, 2))
    scene.source._carry_out(commands.Resume(ONE, 2))
    assert scene.client.paused == {ZERO, ONE}

    decode_again(scene)
    assert scene.client.paused == set()


def test_a_schema_is_not_said_to_be_there_while_what_lacked_it_waits_for_its_turn(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[SchemaUnavailable | None] = []
    monkeypatch.setattr(Silent, "schema_unavailable", lambda _self, failure, _count: said.append(failure), raising=False)
    scene.intake.at_once, scene.intake.lacking = 1, {(ONE, 7)}
    scene.take(*(FakeMessage(ZERO, offset) for offset in range(3)), FakeMessage(ONE, 7))
    scene.source.polled_handled()
    with monkeypatch.context() as slow:
        slow.setattr(backlog, "_SLICE_SECONDS", -1.0)
        slow.setattr(FakeIntake, "read", lambda self, *args: _READ(self, *args[:3]))
        decode_again(scene, (ONE, 7))
    scene.source.polled_handled()
    assert None not in said

    decode_again(scene)
    assert said[-1] is None
    assert [poll for poll in scene.polled() if poll[0] == ONE] == [(ONE, 2, [7])]


_READ = FakeIntake.read


def test_partitions_that_stay_are_fetched_again_though_the_one_that_waited_for_a_schema_was_revoked(scene: Scene) -> None:
    scene.intake.lacking = {(ZERO, 0)}
    scene.take(FakeMessage(ZERO, 0, size=1_000_000))
    scene.source._on_revoke(cast("Any", scene.client), [KafkaTopicPartition(*ZERO)])
    assert ONE in scene.client.paused

    decode_again(scene)

    assert scene.client.paused == set()
    assert scene.polled() == []


def test_a_command_addressed_to_an_assignment_that_ended_is_not_carried_out(scene: Scene) -> None:
    scene.source._on_lost(cast("Any", scene.client), [KafkaTopicPartition(*ZERO)])
    scene.source._carry_out(commands.Pause(ZERO, 1))

    assert scene.client.paused == set()


def commit(scene: Scene, partition: TopicPartition, generation: int, offset: int) -> None:
    point = commands.CommitPoint(partition, generation, offset, 0, "")
    scene.source._carry_out(commands.Commit((point,)))


def test_one_commit_is_out_at_a_time_and_the_next_has_the_newest_of_each_partition(scene: Scene) -> None:
    for partition, generation, offset in ((ZERO, 1, 10), (ZERO, 1, 20), (ONE, 2, 7), (ZERO, 1, 30)):
        commit(scene, partition, generation, offset)
    assert scene.client.commits == [{ZERO: 10}]

    scene.source._on_commit(None, [KafkaTopicPartition(*ZERO, 10)])
    scene.source._commits.send()

    assert scene.client.commits[1:] == [{ZERO: 30, ONE: 7}]


def revoke(scene: Scene, *out: Any) -> None:
    for command in (*out, commands.Release(ZERO, 1, 0)):
        scene.source.submit(command)
    scene.source._on_revoke(cast("Any", scene.client), [KafkaTopicPartition(*ZERO)])


def test_what_a_drain_leaves_to_commit_is_committed_at_once_and_nobody_waits_for_the_answer(scene: Scene) -> None:
    revoke(
        scene,
        commands.Commit((commands.CommitPoint(ZERO, 1, 10, 0, ""),)),
        commands.Commit((commands.CommitPoint(ZERO, 1, 20, 0, ""),)),
    )

    assert scene.client.commits == [{ZERO: 20}]


def test_while_a_commit_is_out_a_drain_makes_none_or_the_older_might_be_made_last(scene: Scene) -> None:
    commit(scene, ZERO, 1, 10)
    revoke(scene, commands.Commit((commands.CommitPoint(ZERO, 1, 20, 0, ""),)))
    scene.source._on_commit(None, [KafkaTopicPartition(*ZERO, 10)])
    scene.source._commits.send()

    assert scene.client.commits == [{ZERO: 10}]


def test_before_it_leaves_it_waits_for_the_answer_to_a_commit_and_makes_the_last(scene: Scene) -> None:
    commit(scene, ZERO, 1, 10)
    commit(scene, ZERO, 1, 20)
    answers: list[FakeMessage | Callable[[], None]] = [
        lambda: scene.source._on_commit(None, []),
        FakeMessage(ZERO, 7),
        lambda: scene.source._on_commit(None, []),
    ]
    scene.client.waiting += answers
    scene.source._send_last_commits()

    assert scene.client.commits == [{ZERO: 10}, {ZERO: 20}]
    assert scene.client.waiting == []


def test_before_it_leaves_it_does_not_wait_for_ever(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "_LAST_COMMIT_SECONDS", 0.05)
    commit(scene, ZERO, 1, 10)
    scene.source._send_last_commits()

    assert scene.client.commits == [{ZERO: 10}]


def test_what_a_drain_is_told_of_other_partitions_is_carried_out_after_it(scene: Scene) -> None:
    """An assignment that began anew within the callback of another would be given up with it, and nobody told."""
    revoke(scene, commands.StartOver(ZERO, 1), commands.Pause(ONE, 2), commands.StartOver(ONE, 2))
    assert scene.posted == [inputs.Assigned(ZERO, 1), inputs.Assigned(ONE, 2), inputs.Revoked((1,))]
    scene.source._carry_out_all()

    assert scene.posted[3:] == [inputs.Lost((2,)), inputs.Assigned(ONE, 3, anew=True)]


def test_a_partition_given_up_before_it_had_drained_is_lost(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "_DRAIN_GRACE_SECONDS", 0.05)
    scene.source._on_revoke(cast("Any", scene.client), [KafkaTopicPartition(*ZERO)])

    assert scene.posted[-2:] == [inputs.Revoked((1,)), inputs.Lost((1,))]


def test_a_spare_that_was_refused_once_counts_as_let_in_when_nothing_was_heard_of_it_for_long() -> None:
    clock = SetClock()
    admission = GroupAdmission(clock, names_itself=True)
    joined = []
    for _ in range(2):
        admission.put_out()
        clock.now += 11.0
        admission.look(lambda: "an id of its own")
        joined.append(admission.joined)
        admission.put_out()
        clock.now += 1.0
        admission.refuse("TOPIC_AUTHORIZATION_FAILED")
        clock.now += 59.0
        admission.look(lambda: "an id of its own")
        joined.append(admission.joined)
        clock.now += 2.0
        admission.look(lambda: "an id of its own")
        joined.append(admission.joined)
    assert joined == [True, False, True] * 2


def test_what_waits_for_its_turn_to_be_committed_is_not_committed_once_its_partition_is_lost(scene: Scene) -> None:
    commit(scene, ZERO, 1, 10)
    commit(scene, ZERO, 1, 20)
    scene.source._on_lost(cast("Any", scene.client), [KafkaTopicPartition(*ZERO)])
    scene.source._on_commit(None, [KafkaTopicPartition(*ZERO, 10)])
    scene.source._commits.send()

    assert scene.client.commits == [{ZERO: 10}]


def test_a_fatal_error_of_the_group_ends_the_thread_with_its_reason(scene: Scene) -> None:
    with pytest.raises(KafkaUnavailable, match="FENCED_INSTANCE_ID"):
        scene.take(FakeMessage(ZERO, -1, error(KafkaError.FENCED_INSTANCE_ID, fatal=True)))


def test_a_right_taken_away_is_said_to_need_an_operator_and_polling_goes_on(scene: Scene) -> None:
    scene.take(FakeMessage(ZERO, -1, error(KafkaError.TOPIC_AUTHORIZATION_FAILED)))

    assert scene.source.refused is not None
    assert scene.source.refused[1] == "TOPIC_AUTHORIZATION_FAILED"


def test_client_that_does_not_end_without_brokers_holds_up_nobody(scene: Scene) -> None:
    scene.source._thread = threading.Thread(target=threading.Event().wait, daemon=True)
    scene.source.start()

    assert scene.source.close(seconds=0.2) is False


def test_the_end_of_the_log_travels_with_the_records_before_it(scene: Scene) -> None:
    scene.intake.lacking = {(ZERO, 0)}
    scene.take(FakeMessage(ZERO, 0), FakeMessage(ZERO, 3, error(KafkaError._PARTITION_EOF)))
    decode_again(scene)
    scene.take(FakeMessage(ONE, 7))

    ends = [(poll.offsets, poll.read_end) for told in scene.posted if isinstance(told, inputs.Polled) for poll in told.polls]
    assert ends == [([0], 3), ([7], 0)]


def test_a_record_below_an_end_that_was_told_of_took_the_place_of_markers_and_the_partition_begins_anew(
    scene: Scene,
) -> None:
    """A leader without the last markers was elected, and told its end, before the next record was produced."""
    end = KafkaError._PARTITION_EOF
    scene.take(FakeMessage(ZERO, 0), FakeMessage(ZERO, 3, error(end)), FakeMessage(ZERO, 1, error(end)))
    scene.take(FakeMessage(ZERO, 2), FakeMessage(ONE, 5))

    assert scene.polled()[-1] == (ONE, 2, [5])
    assert inputs.Assigned(ZERO, 3, anew=True) in scene.posted


def test_an_assignment_that_is_to_start_over_is_lost_and_begins_anew(scene: Scene) -> None:
    scene.source._carry_out(commands.StartOver(ZERO, 1))
    assert scene.posted[-2:] == [inputs.Lost((1,)), inputs.Assigned(ZERO, 3, anew=True)]
    posted = len(scene.posted)
    scene.source._carry_out(commands.StartOver(ZERO, 1))
    assert len(scene.posted) == posted


def test_a_partition_waits_for_the_answer_to_its_commit_before_it_begins_anew_but_not_for_long(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SetClock()
    monkeypatch.setattr(scene.source._commits, "_host", clock)
    commit(scene, ZERO, 1, 7)
    scene.source._carry_out(commands.StartOver(ZERO, 1))
    scene.source._carry_out(commands.StartOver(ZERO, 1))
    posted = len(scene.posted)
    clock.now += 4.9
    scene.source._carry_out_all()
    assert len(scene.posted) == posted
    clock.now += 0.2
    scene.source._carry_out_all()
    assert scene.posted[posted:] == [inputs.Lost((1,)), inputs.Assigned(ZERO, 3, anew=True)]


def test_start_inside_the_log_that_is_refused_twice_is_that_of_a_log_that_was_cut(scene: Scene) -> None:
    lost = FakeMessage(ZERO, -1, error(KafkaError._AUTO_OFFSET_RESET))
    scene.take(lost)
    scene.start(ZERO, 3)
    scene.take(lost)
    begun = [told for told in scene.posted if isinstance(told, inputs.Assigned) and told.partition == ZERO]
    assert [told.truncated for told in begun] == [False, False, True]


def test_start_that_yields_a_record_before_it_is_refused_again_is_not(scene: Scene) -> None:
    lost = FakeMessage(ZERO, -1, error(KafkaError._AUTO_OFFSET_RESET))
    scene.take(lost)
    scene.start(ZERO, 3)
    scene.take(FakeMessage(ZERO, 0))
    scene.take(lost)
    begun = [told for told in scene.posted if isinstance(told, inputs.Assigned) and told.partition == ZERO]
    assert [told.truncated for told in begun] == [False, False, False]


def test_polls_right_after_a_sleep_longer_than_half_the_session_do_not_count(scene: Scene) -> None:
    awake = scene.source.last_poll
    counted = []
    for began in (0.1, 60.0, 60.1, 60.9, 61.1):
        scene.source._poll_clock.polled(awake + began)
        counted.append(round(scene.source.last_poll - awake, 1))

    assert counted == [0.1, 0.1, 0.1, 0.1, 61.1]


GARBAGE = 7_286_878_318_512_988_525
"""An offset that the client finds in the middle of a batch."""


def unreadable(scene: Scene) -> list[inputs.Unreadable]:
    return [told for told in scene.posted if isinstance(told, inputs.Unreadable)]


def test_a_batch_that_cannot_be_read_is_told_after_what_was_read_before_it_and_nothing_after_it_counts(
    scene: Scene,
) -> None:
    scene.take(
        *[FakeMessage(ZERO, offset) for offset in range(5)],
        FakeMessage(ZERO, 5, error(KafkaError._BAD_MSG)),
        FakeMessage(ZERO, 10),
        FakeMessage(ONE, 7),
        FakeMessage(ZERO, GARBAGE, error(KafkaError._AUTO_OFFSET_RESET)),
        FakeMessage(ZERO, 15, error(KafkaError._PARTITION_EOF)),
    )

    assert scene.polled() == [(ZERO, 1, [0, 1, 2, 3, 4]), (ONE, 2, [7])]
    assert scene.posted[-1] == inputs.Unreadable(1, 5, "_BAD_MSG")
    assert scene.client.paused == {ZERO}
    assert scene.source.reading() == {ONE: 8}


def test_a_batch_that_could_not_be_read_is_read_on_from_where_it_begins(scene: Scene) -> None:
    scene.take(FakeMessage(ZERO, 0), FakeMessage(ZERO, 1, error(KafkaError._BAD_COMPRESSION)))
    scene.source._carry_out(commands.Resume(ZERO, 1))
    assert scene.client.sought[-1] == (ZERO, 1, 4, False)

    scene.take(FakeMessage(ZERO, 1), FakeMessage(ZERO, 2))
    assert scene.polled() == [(ZERO, 1, [0]), (ZERO, 1, [1, 2])]


def test_what_the_client_says_of_an_offset_that_it_had_jumped_to_does_not_begin_the_partition_anew(scene: Scene) -> None:
    scene.take(FakeMessage(ZERO, 0), FakeMessage(ZERO, 1, error(KafkaError._BAD_MSG)))
    scene.source._carry_out(commands.Resume(ZERO, 1))
    jumped = FakeMessage(ZERO, GARBAGE, error(KafkaError._AUTO_OFFSET_RESET))
    scene.take(jumped)
    assert unreadable(scene) == [inputs.Unreadable(1, 1, "_BAD_MSG")] * 2

    # What is told of the position itself is true: retention may have deleted the batch.
    scene.source._carry_out(commands.Resume(ZERO, 1))
    scene.take(FakeMessage(ZERO, 1, error(KafkaError._AUTO_OFFSET_RESET)))
    assert scene.posted[-2:] == [inputs.Lost((1,)), inputs.Assigned(ZERO, 3, anew=True)]
    scene.take(jumped)
    assert len(unreadable(scene)) == 2, "before it is started it stands still anyway"
    assert scene.posted[-1] == inputs.Assigned(ZERO, 3, anew=True)


@pytest.mark.parametrize(
    ("offsets", "sound"),
    [
        ([0, 1, 2, 5, 6, 7, 5, 6], [0, 1, 2]),
        ([0, 1, 4, 5, 6, 9, 10, 7], [0, 1, 4, 5, 6]),
        ([0, 1, 2, 1, 2, 3, 6], [0, 1, 2]),
        ([0, 1, 1], [0, 1]),
        ([3, 4, 2], []),
    ],
    ids=["ahead", "ahead, behind a usual gap", "back", "twice", "from the start"],
)
def test_records_that_are_out_of_order_are_not_taken_in_back_to_the_gap_before_them(
    scene: Scene, offsets: list[int], sound: list[int]
) -> None:
    """No checksum covers the offset of a batch: on disk, it may have changed."""
    scene.take(FakeMessage(ONE, 0))  # the first call asks for one record alone
    scene.take(*(FakeMessage(ZERO, offset) for offset in offsets), FakeMessage(ONE, 1))

    assert scene.polled()[1:] == [*([(ZERO, 1, sound)] if sound else []), (ONE, 2, [1])]
    assert unreadable(scene) == [inputs.Unreadable(1, (sound or [-1])[-1] + 1, "OFFSETS_OUT_OF_ORDER")]
    assert scene.client.paused == {ZERO}


def test_records_of_one_poll_are_out_of_order_also_with_those_of_another_partition_between_them(scene: Scene) -> None:
    scene.take(FakeMessage(ZERO, 0), FakeMessage(ZERO, 1), FakeMessage(ONE, 0), FakeMessage(ZERO, 1), FakeMessage(ZERO, 2))
    assert scene.polled() == [(ZERO, 1, [0, 1]), (ONE, 2, [0])]
    assert unreadable(scene) == [inputs.Unreadable(1, 2, "OFFSETS_OUT_OF_ORDER")]


def test_after_records_out_of_order_no_gap_is_believed_until_the_log_is_whole(scene: Scene) -> None:
    """Read again, the batch may be passed over in part or whole, and the rest looks sound."""
    scene.take(*(FakeMessage(ZERO, offset) for offset in (0, 1, 2, 1, 2)))
    for again in ((6, 7), (3, 6)):
        scene.source._carry_out(commands.Resume(ZERO, 1))
        scene.take(*(FakeMessage(ZERO, offset) for offset in again))
        scene.source.polled_handled()
    assert scene.polled() == [(ZERO, 1, [0, 1, 2])]
    assert [told.offset for told in unreadable(scene)] == [3, 3, 3]

    scene.source._carry_out(commands.Resume(ZERO, 1))
    scene.take(FakeMessage(ZERO, 3), FakeMessage(ZERO, 4))
    scene.take(FakeMessage(ZERO, 6))
    assert scene.polled()[1:] == [(ZERO, 1, [3, 4]), (ZERO, 1, [6])]


def test_records_behind_a_gap_and_the_end_of_the_log_are_not_taken_in(scene: Scene) -> None:
    scene.client.fetched_end = 6
    scene.take(*(FakeMessage(ZERO, offset) for offset in (0, 1, 3, 1_000, 1_001)))
    assert scene.polled() == [(ZERO, 1, [0, 1, 3])]
    assert unreadable(scene) == [inputs.Unreadable(1, 4, "OFFSET_BEHIND_THE_END")]

    scene.source._carry_out(commands.Resume(ZERO, 1))
    scene.take(FakeMessage(ZERO, 5))
    assert scene.polled()[1:] == [(ZERO, 1, [5])]


def test_whatever_else_a_broker_says_of_a_partition_makes_it_wait_but_for_a_right_that_lacks(scene: Scene) -> None:
    scene.take(FakeMessage(ZERO, 0, error(KafkaError.TOPIC_AUTHORIZATION_FAILED)))
    assert unreadable(scene) == []
    scene.take(FakeMessage(ZERO, 0, error(KafkaError.UNKNOWN)))
    assert unreadable(scene) == [inputs.Unreadable(1, 0, "UNKNOWN")]


def test_a_partition_is_read_up_to_the_end_of_its_log_where_it_was_told_that(scene: Scene) -> None:
    scene.take(FakeMessage(ZERO, 0), FakeMessage(ZERO, 3, error(KafkaError._PARTITION_EOF)))
    assert scene.source.reading() == {ZERO: 3, ONE: 0}
    scene.source._carry_out(commands.Pause(ONE, 2))
    assert scene.source.reading() == {ZERO: 3}
    scene.source._positions.hold(ZERO, everything=False)
    assert scene.source.reading() == {}


# ---- what the coordinator says


NEVER = float("-inf")
DONE = [KafkaTopicPartition(*ZERO, 1)]


def a_commit(scene: Scene) -> float:
    """Commit, and return when at the earliest."""
    began = time.monotonic()
    scene.source._carry_out(commands.Commit((commands.CommitPoint(ZERO, 1, 1, -1, ""),)))
    return began


def test_a_commit_that_was_taken_vouches_from_when_it_was_made(scene: Scene) -> None:
    assert scene.source.vouched == NEVER
    began = a_commit(scene)
    ended = time.monotonic()
    time.sleep(0.05)
    scene.source._on_commit(None, DONE)

    assert began <= scene.source.vouched <= ended


def test_a_commit_of_which_a_part_was_taken_vouches_too(scene: Scene) -> None:
    a_commit(scene)
    places = cast("Any", [_Answered(error(KafkaError.UNKNOWN_TOPIC_OR_PART)), _Answered(None)])
    scene.source._on_commit(None, places)

    assert scene.source.vouched > NEVER


class _Answered:
    topic, partition, offset = *ZERO, 1

    def __init__(self, found: KafkaError | None) -> None:
        self.error = found


@pytest.mark.parametrize(
    ("code", "out"),
    [
        (KafkaError.UNKNOWN_MEMBER_ID, True),
        (KafkaError.FENCED_MEMBER_EPOCH, True),
        (KafkaError.FENCED_INSTANCE_ID, True),
        (KafkaError.STALE_MEMBER_EPOCH, False),
        (KafkaError.ILLEGAL_GENERATION, False),
        (KafkaError.REBALANCE_IN_PROGRESS, False),
        (KafkaError._TIMED_OUT, False),
    ],
)
def test_only_the_answer_that_we_are_no_member_takes_back_what_was_vouched(scene: Scene, code: int, out: bool) -> None:
    a_commit(scene)
    scene.source._on_commit(None, DONE)
    vouched = scene.source.vouched
    a_commit(scene)
    scene.source._on_commit(error(code), DONE)

    assert scene.source.vouched == (NEVER if out else vouched)


def test_the_answer_to_a_commit_from_before_a_loss_does_not_vouch_for_the_member_that_joined_again(scene: Scene) -> None:
    a_commit(scene)
    scene.source._on_lost(cast("Any", scene.client), [KafkaTopicPartition(*ZERO), KafkaTopicPartition(*ONE)])
    scene.source._on_assign(cast("Any", scene.client), [KafkaTopicPartition(*ZERO)])
    scene.source._on_commit(None, DONE)

    assert scene.source.vouched == NEVER


def test_a_poll_that_takes_long_to_decode_is_decoded_in_slices_with_polls_between(scene: Scene) -> None:
    scene.intake.at_once = 2
    scene.take(*(FakeMessage(ZERO, offset) for offset in range(5)), FakeMessage(ONE, 7))
    scene.source.polled_handled()
    assert scene.polled() == [(ZERO, 1, [0, 1]), (ONE, 2, [7])]
    assert scene.client.paused == {ZERO}

    for _ in range(2):
        scene.source._decode_again()
        scene.source.polled_handled()
    assert scene.polled() == [(ZERO, 1, [0, 1]), (ONE, 2, [7]), (ZERO, 1, [2, 3]), (ZERO, 1, [4])]
    assert scene.client.paused == set()


def test_a_member_goes_on_polling_while_the_polls_it_posted_are_not_handled(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "_SLICE_SECONDS", 0.05)
    scene.take(FakeMessage(ZERO, 0))
    scene.take(FakeMessage(ZERO, 1))
    began = time.monotonic()
    scene.take(FakeMessage(ZERO, 2), FakeMessage(ZERO, 3))
    for _ in range(3):
        scene.source._decode_again()
        scene.take()
    assert time.monotonic() - began < 10
    assert scene.source.last_poll > began
    assert scene.polled() == [(ZERO, 1, [0]), (ZERO, 1, [1])]
    assert scene.client.paused == {ZERO, ONE}

    scene.source.polled_handled()
    scene.source._decode_again()
    assert scene.polled()[2:] == [(ZERO, 1, [2, 3])]
    assert scene.client.paused == set()
    assert scene.client.sought[-1][1] in (0, 4)


def test_what_waits_for_its_turn_is_dropped_with_its_assignment(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "_SLICE_SECONDS", 0.05)
    for offset in range(3):
        scene.take(FakeMessage(ZERO, offset), FakeMessage(ONE, offset))
    scene.source._on_revoke(cast("Any", scene.client), [KafkaTopicPartition(*ZERO)])
    scene.source.polled_handled()
    scene.source._decode_again()

    assert scene.polled()[4:] == [(ONE, 2, [2])]
    assert scene.client.paused == set()


def test_nothing_is_taken_for_a_poll_of_which_nothing_could_be_decoded(scene: Scene) -> None:
    scene.intake.lacking = {(ZERO, 0)}
    scene.take(FakeMessage(ZERO, 0))
    for _ in range(3):
        scene.source._backlog._due = 0.0
        scene.source._decode_again()
    scene.take(FakeMessage(ONE, 7))

    assert scene.polled() == [(ONE, 2, [7])]


def test_what_comes_after_the_time_of_a_slice_waits_for_the_next(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "_SLICE_SECONDS", -1.0)
    monkeypatch.setattr(
        FakeIntake,
        "read",
        lambda _self, origin, records, *_: (Poll(origin.partition, origin.generation, [records[0].offset()]), None),
    )
    scene.take(FakeMessage(ZERO, 0), FakeMessage(ONE, 7))
    scene.source.polled_handled()
    assert scene.polled() == [(ZERO, 1, [0])]
    scene.source._decode_again()
    assert scene.polled() == [(ZERO, 1, [0]), (ONE, 2, [7])]


def test_the_late_answer_to_an_older_commit_does_not_pass_for_that_of_the_next(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_commit(scene)
    ended = time.monotonic()
    monkeypatch.setattr(commits, "_ANSWER_SECONDS", 0.0)
    scene.source._commits._waiting_until = 0.0  # as after ten minutes without an answer
    time.sleep(0.05)
    a_commit(scene)
    scene.source._on_commit(None, DONE)

    assert NEVER < scene.source.vouched <= ended
