"""Runs are cut without loss or doubling, and how they are cut changes no result."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from connector.core.runs import Run, count, divide
from connector.model import Facts, Outcome
from tests.core.builders import NOW_MS, a_run, an_event, key_of

_LENGTHS = st.lists(st.integers(1, 4), max_size=6)
Columns = tuple[list[object], ...]


def _columns(runs: list[Run]) -> Columns:
    return tuple(
        [each for run in runs for each in getattr(run, column)]
        for column in ("offsets", "epochs", "times", "keys", "payloads", "sizes", "records")
    )


def _runs(lengths: list[int]) -> list[Run]:
    firsts = [sum(lengths[:at]) for at in range(len(lengths))]
    return [
        a_run([key_of(f"{first + at}") for at in range(length)], first=first)
        for first, length in zip(firsts, lengths, strict=True)
    ]


@given(lengths=_LENGTHS, at=st.integers(0, 30))
def test_runs_are_divided_at_any_record_and_no_part_is_empty(lengths: list[int], at: int) -> None:
    runs = _runs(lengths)
    first, rest = divide(runs, at)
    assert count(first) == min(at, count(runs))
    assert all(len(run) for run in first + rest)
    assert _columns(first + rest) == _columns(runs)


@given(labels=st.lists(st.sampled_from("abc"), min_size=1, max_size=9))
def test_a_run_is_cut_where_the_label_changes_and_nowhere_else(labels: list[str]) -> None:
    (run,) = _runs([len(labels)])
    parts = list(run.stretches(labels))
    assert _columns([part for part, _ in parts]) == _columns([run])
    assert [label for part, label in parts for _ in range(len(part))] == labels
    assert all(one != following for (_, one), (_, following) in pairwise(parts))


def test_a_part_is_of_the_same_assignment_and_as_old_and_was_tried_as_often() -> None:
    run = a_run(payloads=[b"1", b"22", b"333"], generation=7)
    run.tries, run.since = 3, 4.5
    part = run.part(1, 3)
    assert (part.generation, part.tries, part.since) == (7, 3, 4.5)
    assert (part.offsets, part.size, part.length) == ([1, 2], 5, 7)


def test_a_part_keeps_nothing_of_the_rest_in_memory() -> None:
    run = a_run(payloads=[b"1", b"22", b"333"])
    part = run.part(1, 2)
    assert _columns([part]) == ([1], [0], [NOW_MS], [None], [b"22"], [2], ["record 1"])


def test_the_facts_of_delivered_events_have_their_keys_and_times() -> None:
    assert an_event(5, key="a").delivered() == Facts([5], [0], [Outcome.DELIVERED], [key_of("a")], [NOW_MS])
