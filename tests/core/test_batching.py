"""Batches are what was added, in order, within the limits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connector.core.batching import Batcher, BatchPolicy, Envelope
from tests.core.builders import a_run, an_event

ENVELOPE = Envelope(b'{"e":[', b"]}")


def _batcher(*, max_events: int = 3, max_bytes: int = 100, linger: float = 1.0) -> Batcher:
    return Batcher(BatchPolicy(max_events, max_bytes, linger), ENVELOPE)


@given(
    runs=st.lists(st.lists(st.integers(0, 22), min_size=1, max_size=9), max_size=9),
    max_events=st.integers(1, 5),
    limits=st.lists(st.sampled_from([None, 1, 2, 9]), min_size=1, max_size=4),
)
def test_the_batches_joined_are_what_was_added_and_none_is_over_a_limit(
    runs: list[list[int]], max_events: int, limits: list[int | None]
) -> None:
    batcher = _batcher(max_events=max_events, max_bytes=30)
    added: list[tuple[int, bytes]] = []
    for sizes in runs:
        first = len(added)
        payloads = [bytes([first + at]) * size for at, size in enumerate(sizes)]
        assert all(batcher.fits(len(payload)) for payload in payloads)
        batcher.add(a_run(payloads=payloads, first=first))
        added += list(enumerate(payloads, start=first))
    assert len(batcher) == len(added)
    taken: list[tuple[int, bytes]] = []
    turn = 0
    while len(batcher):
        most = min(max_events, limits[turn % len(limits)] or max_events)
        batch = batcher.take(limits[turn % len(limits)])
        events = [event for run in batch for event in zip(run.offsets, run.payloads, strict=True)]
        assert 1 <= len(events) <= most
        body = ENVELOPE.wrap(batch)
        assert len(body) <= 30
        taken += events
        left = added[len(taken) :]
        assert len(events) == most or not left or len(body) + len(left[0][1]) + 1 > 30, "no further event fits"
        assert len(batcher) == len(left)
        turn += 1
    assert taken == added
    assert not batcher.full
    assert batcher.take() == []


def test_an_event_fits_if_it_can_be_sent_alone() -> None:
    batcher = _batcher(max_bytes=20)
    assert batcher.fits(12)
    assert not batcher.fits(13)
    assert len(ENVELOPE.wrap([an_event(payload=b"x" * 12)])) == 20


def test_a_batch_takes_events_until_the_body_has_exactly_the_allowed_bytes() -> None:
    batcher = _batcher(max_bytes=8 + 5 + 1 + 6)
    batcher.add(an_event(0, payload=b"x" * 5))
    batcher.add(an_event(1, payload=b"x" * 6))
    batch = batcher.take()
    assert len(batch) == 2
    assert len(ENVELOPE.wrap(batch)) == 20


def test_it_is_full_by_count() -> None:
    batcher, full = _batcher(max_events=2), []
    for offset in range(3):
        batcher.add(an_event(offset))
        full.append(batcher.full)
    assert full == [False, True, True]


def test_it_is_full_when_no_further_event_could_join() -> None:
    batcher, full = _batcher(max_bytes=20), []
    for payload in (b"x" * 11, b""):  # beside the first, an empty payload and its comma still fit
        batcher.add(an_event(payload=payload))
        full.append(batcher.full)
    assert full == [False, True]


def test_it_is_due_when_its_oldest_event_has_waited_for_the_linger() -> None:
    batcher = _batcher(linger=0.25)
    assert batcher.due() is None
    batcher.add(an_event(0, since=4.0))
    batcher.add(an_event(1, since=9.0))
    assert batcher.due() == 4.25
    batcher.take(1)
    assert batcher.due() == 9.25


def test_an_assignment_that_ends_takes_its_events_and_their_bytes_along() -> None:
    batcher = _batcher(max_events=3, max_bytes=40)  # two bodies of 20 bytes are too large for one request
    for offset in range(4):
        batcher.add(an_event(offset, generation=offset % 2, payload=b"x" * 20))
    batcher.drop(0)
    assert len(batcher) == 2
    left = [(batcher.full, [run.offsets for run in batcher.take()], batcher.full) for _ in range(2)]
    assert left == [(True, [[1]], False), (False, [[3]], False)]


def test_a_body_is_the_payloads_between_prefix_and_suffix() -> None:
    assert ENVELOPE.wrap([an_event(payload=b"1"), an_event(payload=b"2")]) == b'{"e":[1,2]}'


def test_events_above_the_size_learnt_are_sent_one_at_a_time() -> None:
    batcher = _batcher(max_bytes=40)
    batcher.learn(20)
    batcher.add(a_run(payloads=[b"x" * 20] * 2))
    assert [[run.offsets for run in batcher.take()] for _ in range(3)] == [[[0]], [[1]], []]
    assert len(batcher) == 0


def test_building_a_body_leaves_the_payloads_as_they_are() -> None:
    run = an_event(payload=b"1")
    assert (ENVELOPE.wrap([run]), run.payloads) == (b'{"e":[1]}', [b"1"])
