"""Landmarks: one that retention deleted is never missed, and any other that is gone always is."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from connector.core.commit_metadata import LedgerPosition, commit_metadata, parse_metadata
from connector.core.landmarks import Landmarks
from tests.core.builders import DAY_MS, NOW_MS

_HOUR_MS = 3_600_000
_WINDOW_MS = 7 * DAY_MS
_RETENTION_MS = _WINDOW_MS + DAY_MS
_GAPS = st.lists(st.one_of(st.integers(0, 2 * _HOUR_MS), st.integers(0, 10 * DAY_MS)), min_size=1, max_size=60)


def _ledger(gaps: list[int]) -> list[int]:
    """Return the append times of entries so far apart."""
    at, times = NOW_MS, []
    for gap in gaps:
        at += gap
        times.append(at)
    return times


def _landmarks(times: list[int], retention_ms: int = _RETENTION_MS) -> Landmarks:
    landmarks = Landmarks(retention_ms)
    for offset, at in enumerate(times):
        landmarks.passed(offset, at)
    return Landmarks.read(str(landmarks))


@given(gaps=_GAPS, away=st.integers(0, 20 * DAY_MS), skew=st.integers(-_HOUR_MS, _HOUR_MS), data=st.data())
def test_what_retention_deleted_is_never_missed(gaps: list[int], away: int, skew: int, data: st.DataObject) -> None:
    """Whenever the brokers look, and however many entries are in a segment, at most those older than retention are gone."""
    times = _ledger(gaps)
    now = times[-1] + away
    due = sum(at < now - _RETENTION_MS for at in times)
    first = data.draw(st.integers(0, due))
    assert _landmarks(times).missing(first, _RETENTION_MS, now + skew) is None


@given(
    gaps=_GAPS,
    away=st.integers(0, 20 * DAY_MS),
    skew=st.integers(-_HOUR_MS, _HOUR_MS),
    window_days=st.sampled_from([7, 26, 40, 80]),
    data=st.data(),
)
def test_what_was_deleted_younger_than_the_window_is_always_missed(
    gaps: list[int], away: int, skew: int, window_days: int, data: st.DataObject
) -> None:
    times = _ledger(gaps)
    now, window, retention = times[-1] + away, window_days * DAY_MS, (window_days + 1) * DAY_MS
    young = [offset for offset, at in enumerate(times) if at > now - window]
    if young:
        first = data.draw(st.sampled_from(young)) + 1
        assert _landmarks(times, retention).missing(first, retention, now + skew) is not None


def test_an_entry_an_hour_apart_from_the_next_is_missed_in_a_window_of_eighty_days() -> None:
    times = [NOW_MS + hour * _HOUR_MS for hour in range(80 * 24)]
    landmarks = _landmarks(times, 81 * DAY_MS)
    assert all(landmarks.missing(first, 81 * DAY_MS, times[first - 1] + 80 * DAY_MS) for first in range(1, len(times)))


def test_the_beginning_is_a_landmark_and_then_one_twenty_hours_after_the_last_and_the_end() -> None:
    times = [NOW_MS + hour * _HOUR_MS for hour in range(60)]
    assert [place.offset for place in _landmarks(times[:41]).places] == [0, 20, 40]
    assert [place.offset for place in _landmarks(times).places] == [0, 20, 40, 59]  # the last entry is named, too


@given(days=st.integers(1, 4000))
@example(days=8)
@example(days=85)
def test_a_commit_has_room_for_the_landmarks_of_any_window(days: int) -> None:
    landmarks = Landmarks(days * DAY_MS)
    for at in range(0, (days + 20) * 24, max(1, days // 100)):
        landmarks.passed(2**63 - 10**6 + at, NOW_MS + at * _HOUR_MS)
    assert 1 < len(landmarks.places) <= 102
    position = LedgerPosition("a-topic-id-of-22-bytes", 2**63 - 1)
    metadata = commit_metadata("a-topic-id-of-22-bytes", position, 2**63 - 1, str(landmarks))
    assert len(metadata) < 4_096
    found = parse_metadata(metadata)
    assert found is not None
    assert str(found.landmarks) == str(landmarks)


def test_without_a_retention_there_is_no_landmark() -> None:
    landmarks = Landmarks()
    landmarks.passed(1, NOW_MS)
    assert str(landmarks) == ""
    assert landmarks.missing(9, _RETENTION_MS, NOW_MS) is None


def test_a_clock_that_goes_back_leaves_the_landmarks_as_they_are() -> None:
    landmarks = Landmarks(_RETENTION_MS)
    for offset, at in ((0, NOW_MS), (1, NOW_MS - DAY_MS), (2, NOW_MS + DAY_MS)):
        landmarks.passed(offset, at)
    assert [place.offset for place in landmarks.places] == [0, 2]


def test_no_other_text_has_landmarks() -> None:
    for text in ("", "691200", "691200 ", "691200 1:", "x 1:2", "691200 1:2 3", "691200 1:2 and more"):
        assert Landmarks.read(text).places == []
