"""The ledger and the commits that e0780c9 and this version share: each reads what the other writes.

So a group may be updated, or put back, one member at a time (CHANGELOG.md). The live run of both in
one group is ``make mixed``.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from connector.avro.ledger_entry import decode, encode
from connector.core.commit_metadata import commit_metadata, parse_metadata
from connector.core.dedupe import derived_id, digest
from connector.core.letters import LETTER_HEADERS, REPLAY_HEADERS
from connector.model import Facts
from tests.avro.ledger_facts import unpacked
from tests.compatibility.golden import FACTS, GOLDEN, IDENTITY, PLACE, facts_of, policies, written


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(GOLDEN.read_text("utf-8"))
    return found


def _rows(facts: Facts) -> list[list[Any]]:
    columns = zip(facts.offsets, facts.epochs, facts.outcomes, facts.keys, facts.times, strict=True)
    return [[offset, epoch, int(outcome), key and key.hex(), time] for offset, epoch, outcome, key, time in columns]


def test_entries_of_the_earlier_version_are_read_and_written_alike(golden: dict[str, Any]) -> None:
    entry, opening = (bytes.fromhex(golden["writes"][name]) for name in ("entry", "opening"))

    assert _rows(unpacked(decode(entry))) == [list(row) for row in FACTS]
    assert decode(entry).header == IDENTITY
    assert encode(IDENTITY, facts_of(golden["reads"]["entry"])) == entry
    assert (decode(opening).runs, decode(opening).start) == ([], None)


def test_commits_of_the_earlier_version_are_understood(golden: dict[str, Any]) -> None:
    plain, behind = (parse_metadata(text) for text in golden["writes"]["metadata"])

    assert plain is not None
    assert behind is not None
    assert (plain.topic_id, plain.ledger, plain.after_last_record) == (IDENTITY.source_topic_id, PLACE, None)
    assert (behind.topic_id, behind.ledger, behind.after_last_record) == (IDENTITY.source_topic_id, PLACE, 4_799)
    assert golden["writes"]["metadata"] == [
        commit_metadata(IDENTITY.source_topic_id, PLACE, after) for after in (None, 4_799)
    ]


def test_what_this_version_writes_is_what_the_earlier_one_was_seen_to_read(golden: dict[str, Any]) -> None:
    assert written() == golden["reads_of_ours"], "if on purpose: python -m tests.compatibility.golden, and CHANGELOG.md"
    assert golden["reads"]["entry"] == [list(row) for row in FACTS]
    assert golden["reads"]["opening"] == []


def test_commit_with_landmarks_is_an_operators_to_the_earlier_version_and_not_refused_by_it(golden: dict[str, Any]) -> None:
    topic, ledger = IDENTITY.source_topic_id, [PLACE.topic_id, PLACE.next_offset]

    assert golden["reads"]["metadata"] == [[topic, *ledger, None], [topic, *ledger, 4_799], None]
    assert not any(golden["reads"]["newer"]), "it would refuse the partition"


def test_facts_and_keys_count_for_both(golden: dict[str, Any]) -> None:
    writes = golden["writes"]

    assert policies() == writes["policies"]
    assert (digest(["purchase", "order-1"]) or b"").hex() == writes["digest"]
    assert derived_id("cluster", "topic-id", 3, 4, 5) == writes["derived_id"]


def test_dead_letters_have_the_same_headers(golden: dict[str, Any]) -> None:
    assert (list(LETTER_HEADERS), list(REPLAY_HEADERS)) == (
        golden["writes"]["letter_headers"],
        golden["writes"]["replay_headers"],
    )
