"""Where each assigned partition is read, whether it is fetched, and every seek with its reason.

The client keeps positions of its own, and they cannot be trusted. All of this was seen with
librdkafka 2.16, most of it on a loaded machine:

* **Resume ends in a seek.** The client says once that a position is outside the log, or that the
  log was cut below it, and then stands still. A pause or a resume in between makes it forget to say
  so. A seek makes it look again.
* **A seek carries the epoch.** With the epoch of the record before it, the client checks the offset
  against the log's history, and a log that was cut is reported as such. Without it, reading would
  go on from another record.
* **A seek can be refused.** While an assignment settles, the client refuses to seek, and it may
  have to be polled to settle. So nothing waits in place: the partition stays paused, and the seek
  is tried again after the next poll. After some seconds of that the partition begins anew.
* **A seek can be lost.** An assignment begins at "the beginning", which the client asks the broker
  for. If that answer comes after the seek, the client believes the answer. So a record below the
  position means that the client is elsewhere, and the partition must begin anew. An assignment at
  an absolute offset would make the client ask nothing, but fails if the log begins later.
* **Markers can be lost.** If the log loses transaction markers at its end, which the client had
  reported, records may take their place. So a record below such an end begins the partition anew,
  too.
* **A cut log has two names.** Because the client may not reset offsets, it reports a cut log by the
  code for an offset outside the log. The restore tells the second case by the ends of the log. If
  an offset inside the log is refused again before a record came, the log was cut.
* **A damaged batch has no way on.** The client asks for a batch that it cannot decompress again and
  again. After a batch with a wrong checksum it may take the middle of that batch for the next one,
  jump to whatever offset stands there, and report that as outside the log; or it goes on behind the
  batch. It then refuses to seek. So the partition is assigned anew at its position and stands still
  until the pipeline resumes it.
* **No checksum covers a batch's own offset.** If it has changed on disk, the client hands out the
  records of the batch under offsets of other records, or of records to come. A fact about such an
  offset would lose the record that stands there. So records that are out of order, or that follow a
  gap and lie behind the end of the log, are not taken in, back to the gap before them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as KafkaTopicPartition

from connector.kafka.cluster import MAY_NOT
from connector.kafka.host import Host
from connector.model import UNKNOWN_EPOCH, TopicPartition

__all__ = ["DENIED", "Gone", "Positions", "kafka_place"]

_SEEK_SECONDS = 5.0
"""How long the client may refuse a seek before the partition begins anew."""
_MISPLACED = "OFFSETS_OUT_OF_ORDER"
_BEHIND_THE_END = "OFFSET_BEHIND_THE_END"
_GONE = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError._LOG_TRUNCATION, KafkaError.OFFSET_OUT_OF_RANGE})  # noqa: SLF001 - librdkafka's own codes are named so
DENIED = MAY_NOT | {KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._AUTHENTICATION}  # noqa: SLF001 - the same
"""Errors that need operator action. The client goes on by itself once they are fixed."""


class Gone(Enum):
    """Why a position cannot be read from any more."""

    OUT_OF_RANGE = auto()
    """The offset is outside the log, as far as the client can tell."""
    CUT = auto()
    """The log was cut below the offset, and other records may stand there by now."""


@dataclass(slots=True)
class _Partition:
    """One assigned partition, as it is read."""

    position: KafkaTopicPartition | None = None
    """The next record to read, with the epoch of the record before it. None until the pipeline says
    where to start."""
    read_end: int = 0
    """The highest end of the log at which the client has said that it arrived; 0 if it never
    has."""
    wanted: bool = False
    """Whether the pipeline has asked for the partition's records."""
    held: bool = False
    """Whether fetching is paused because earlier records wait to be decoded."""
    stands_still: bool = False
    """Whether reading has stopped until the partition is resumed."""
    damage: str | None = None
    """The error that last stopped reading. None once a record was read again."""
    seek_until: float | None = None
    """Monotonic second until which a seek that the client refused is tried again; None without
    one."""
    refused_at: int | None = None
    """The offset that the client last refused. None once a record was read again."""


class Positions:
    """The positions of the partitions that are assigned to us."""

    def __init__(self, client: Consumer, host: Host, *, incremental: bool) -> None:
        self._client = client
        self._host = host
        self._incremental = incremental
        self._partitions: dict[TopicPartition, _Partition] = {}
        self._unreported: dict[TopicPartition, str] = {}
        """Partitions whose reading stopped, with the error, until the pipeline is told."""

    # ---- the life of an assignment

    def begin(self, partition: TopicPartition) -> None:
        """Forget the position of a partition. The offset that the client refused last is kept."""
        before = self._partitions.get(partition, _Partition())
        self._partitions[partition] = _Partition(damage=before.damage, refused_at=before.refused_at)
        self._unreported.pop(partition, None)

    def forget(self, partition: TopicPartition) -> None:
        """Forget a partition that is no longer assigned."""
        self._partitions.pop(partition, None)
        self._unreported.pop(partition, None)

    def start(self, partition: TopicPartition, offset: int, epoch: int) -> None:
        """Set the position from which a partition is read once it is resumed."""
        self._partitions[partition].position = kafka_place(partition, offset, epoch)

    def assign_anew(self, partitions: list[TopicPartition]) -> None:
        """Assign these partitions again, paused at the beginning: the client forgets them."""
        places = [kafka_place(each, OFFSET_BEGINNING) for each in partitions]
        if self._incremental:
            self._client.incremental_unassign(places)
            self._client.incremental_assign(places)
        else:
            self._client.assign(places)
        self._client.pause(places)

    # ---- what is fetched

    def want(self, partition: TopicPartition) -> bool:
        """Note that the pipeline wants a partition's records; return whether to resume it now."""
        self._partitions[partition].wanted = True
        return not self._partitions[partition].held

    def pause(self, partition: TopicPartition) -> None:
        """Stop fetching a partition, because the pipeline does not want its records."""
        known = self._partitions[partition]
        known.wanted, known.seek_until = False, None
        self._client.pause([KafkaTopicPartition(*partition)])

    def hold(self, partition: TopicPartition, *, everything: bool) -> None:
        """Stop fetching a partition, or all, while records wait to be decoded."""
        for name, known in self._partitions.items():
            known.held = known.held or name == partition or (everything and known.wanted)
            known.seek_until = None if known.held else known.seek_until
        self._client.pause([KafkaTopicPartition(*each) for each in self.held()])

    def held(self) -> list[TopicPartition]:
        """Return the partitions that are not fetched because records wait to be decoded."""
        return [partition for partition, known in self._partitions.items() if known.held]

    def stop_holding(self) -> list[TopicPartition]:
        """End every hold and return the partitions that were held. Nothing is resumed."""
        held = self.held()
        for partition in held:
            self._partitions[partition].held = False
        return held

    def is_fetched(self, partition: TopicPartition) -> bool:
        """Return whether a partition is to be fetched at this moment."""
        known = self._partitions.get(partition)
        return known is not None and known.wanted and not known.held

    def reading(self) -> dict[TopicPartition, int]:
        """Return the fetched partitions with the end of what was read. Called from any thread."""
        return {
            partition: max(known.position.offset, known.read_end)
            for partition, known in list(self._partitions.items())
            if known.wanted and not known.held and known.position is not None
        }

    def resume(self, partition: TopicPartition) -> bool:
        """Fetch a partition from its position; return False if the client will not seek there.

        It refuses while an assignment settles, and for that it must be polled: so the seek is tried
        again after the next poll (`refused_seeks`), for some seconds.
        """
        known, place, now = self._partitions[partition], [KafkaTopicPartition(*partition)], self._host.monotonic()
        self._unreported.pop(partition, None)
        self._client.resume(place)
        position = cast("KafkaTopicPartition", known.position)  # a resume follows a start
        try:
            self._client.seek(position)
        except KafkaException as error:
            if error.args[0].code() != KafkaError._STATE:  # noqa: SLF001 - librdkafka's own codes are named so
                raise
            self._client.pause(place)
            if known.seek_until is None:
                known.seek_until = now + _SEEK_SECONDS
            return now < known.seek_until
        known.stands_still, known.seek_until = False, None
        return True

    def refused_seeks(self) -> list[TopicPartition]:
        """Return the partitions whose seek the client has refused, and which are tried again."""
        return [partition for partition, known in self._partitions.items() if known.seek_until is not None]

    # ---- what a poll brings

    def takes(self, partition: TopicPartition | None) -> bool:
        """Return whether a record of a partition is taken in.

        One that comes before the partition was started, or while it stands still, is dropped. It
        will be read again.
        """
        known = self._partitions.get(partition) if partition is not None else None
        return known is not None and known.position is not None and not known.stands_still

    def is_below(self, partition: TopicPartition, offset: int) -> bool:
        """Return whether a record lies below the position, or below an end that was reached."""
        known = self._partitions[partition]
        return known.position is not None and offset < max(known.position.offset, known.read_end)

    def take_in_order(self, partition: TopicPartition, offsets: list[int], before: int | None) -> tuple[int, str | None]:
        """Return how many of these records can stand where they say; stop reading behind them.

        ``before`` is the offset of the record before them in this poll; it counts if it is of the
        same call of the client. Gaps are usual: compaction and transactions leave them. But after
        records that were out of order, what stands around a gap may be what is left of them.
        Returns an error, too, if reading was stopped.
        """
        known = self._partitions[partition]
        expected = known.position.offset if known.position is not None else 0
        # A record below the position is another matter: `is_below`.
        expected = before + 1 if before is not None and before >= expected else min(expected, offsets[0])
        if offsets == list(range(expected, expected + len(offsets))):
            return len(offsets), None
        sound, error = _misplaced(offsets, expected, self.fetched_end(partition), gaps=known.damage != _MISPLACED)
        if error is not None:
            self._stand_still(partition, error)
        return sound, error

    def reached_end(self, partition: TopicPartition, offset: int) -> int:
        """Take the report that reading arrived at the end of the log; return the highest so far."""
        known = self._partitions[partition]
        known.read_end = max(offset, known.read_end)
        return known.read_end

    def advance(self, partition: TopicPartition, last: Message | None) -> None:
        """Note progress of a partition, and its last record if records were read."""
        known = self._partitions[partition]
        known.refused_at = None
        if not known.stands_still:
            known.damage = None
        if last is not None:
            epoch = last.leader_epoch()
            epoch = UNKNOWN_EPOCH if epoch is None else epoch
            known.position = kafka_place(partition, (last.offset() or 0) + 1, epoch)

    # ---- what the client cannot read

    def failed(self, partition: TopicPartition | None, error: KafkaError, offset: int | None) -> Gone | None:
        """Take an error of a partition; return why it must begin anew, or None if it need not."""
        known = self._partitions.get(partition) if partition is not None else None
        if partition is None or known is None or known.stands_still:
            return None
        code, position = error.code(), known.position
        if code in _GONE:
            # After damage, the client may talk about an offset that it has jumped to by mistake.
            if known.damage is None or (position is not None and position.offset == offset):
                return Gone.CUT if self._was_cut(known, code) else Gone.OUT_OF_RANGE
            if position is not None:
                self._stand_still(partition, known.damage)
        elif code not in DENIED and position is not None:
            self._stand_still(partition, error.name())
        return None

    def fetched_end(self, partition: TopicPartition) -> int:
        """Return the end of the log as of the last fetch, read or not; 0 without a fetch."""
        try:
            _, end = self._client.get_watermark_offsets(KafkaTopicPartition(*partition), cached=True)
        except KafkaException:
            return 0
        return max(end, 0)

    def take_unreported(self) -> list[tuple[TopicPartition, int, str]]:
        """Return the partitions that stopped since the last call, with offset and error."""
        unreported, self._unreported = self._unreported, {}
        found = ((partition, self._partitions[partition].position, code) for partition, code in unreported.items())
        return [(partition, position.offset, code) for partition, position, code in found if position is not None]

    def _was_cut(self, known: _Partition, code: int) -> bool:
        position = known.position
        again = position is not None and known.refused_at == position.offset
        if position is not None:
            known.refused_at = position.offset
        return again or code == KafkaError._LOG_TRUNCATION  # noqa: SLF001 - librdkafka's own codes are named so

    def _stand_still(self, partition: TopicPartition, code: str) -> None:
        """Stop reading a partition until it is resumed from its position."""
        known = self._partitions[partition]
        known.stands_still, known.damage, known.wanted, known.seek_until = True, code, False, None
        self._unreported[partition] = code
        if self._incremental:
            self._client.incremental_unassign([KafkaTopicPartition(*partition)])
            self._client.incremental_assign([known.position or kafka_place(partition, OFFSET_BEGINNING)])
            self._client.pause([KafkaTopicPartition(*partition)])
        else:
            everything = self._partitions.items()
            self._client.assign([each.position or kafka_place(name, OFFSET_BEGINNING) for name, each in everything])
            self._client.pause([KafkaTopicPartition(*name) for name in self._partitions if not self.is_fetched(name)])


def _misplaced(offsets: list[int], expected: int, log_end: int, *, gaps: bool) -> tuple[int, str | None]:
    """Return how many records are surely where they belong, and an error if that is not all."""
    gap: int | None = None
    for number, offset in enumerate(offsets):
        if offset < expected:
            return number if gap is None else gap, _MISPLACED
        if offset > expected:
            if not gaps:
                return 0, _MISPLACED
            gap = number
        expected = offset + 1
    if gap is not None and 0 < log_end <= offsets[-1]:
        return gap, _BEHIND_THE_END
    return len(offsets), None


def kafka_place(
    partition: TopicPartition, offset: int, epoch: int = UNKNOWN_EPOCH, metadata: str = ""
) -> KafkaTopicPartition:
    """Return an offset of a partition in the client's own type, which takes no unknown epoch."""
    if epoch == UNKNOWN_EPOCH:
        return KafkaTopicPartition(partition.topic, partition.partition, offset, metadata=metadata)
    return KafkaTopicPartition(partition.topic, partition.partition, offset, metadata=metadata, leader_epoch=epoch)
