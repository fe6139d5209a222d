"""What e0780c9 writes, and how it reads what this version writes: ``python -m tests.compatibility.golden``.

The result is kept in ``e0780c9.json``, so that the tests need no history. It is made again only when
this version writes something else, which `test_golden` notices.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from connector.assembly import ledger_policy, read_settings
from connector.avro import ledger_entry
from connector.core.commit_metadata import LedgerPosition, commit_metadata
from connector.core.landmarks import Landmarks
from connector.model import Facts, LedgerIdentity, Outcome
from tests.compatibility.history import BEFORE, environment, extracted
from tests.environment import LEAST

__all__ = ["FACTS", "GOLDEN", "IDENTITY", "PLACE", "facts_of", "policies", "written"]

GOLDEN = Path(__file__).with_name("e0780c9.json")

IDENTITY = LedgerIdentity(
    cluster_id="5L6g3nShT-eMCtK--X86sw",
    source_topic="conversions",
    source_topic_id="3Yv0T5kpQ0iqTk0qbZbSGA",
    partition=3,
    group="amazon-conversions-1",
    destination=b"\x01" * 16,
    dedupe_key=b"\x02" * 16,
)
FACTS: list[tuple[int, int, int, str | None, int]] = [
    (1_000, 4, Outcome.DELIVERED, "6b" * 16, 1_783_900_800_123),
    (1_001, 4, Outcome.DELIVERED, None, -1),
    (1_002, 5, Outcome.DUPLICATE, None, 0),
    (1_003, -1, Outcome.DUPLICATE, None, 0),
    (1_200, 5, Outcome.STALE, None, 0),
    (1_201, 5, Outcome.IGNORED, None, 0),
    (1_000_000, 6, Outcome.DEAD_LETTERED, None, 0),
]
"""Offset, leader epoch, outcome, digest of the dedupe key, event time."""
PLACE = LedgerPosition("Yd8hm2oTSGyNYCnYyCe_Ag", 4_711)
SETTINGS: list[dict[str, str]] = [
    LEAST,
    {**LEAST, "AMAZON_API": "events-v1", "AMAZON_REGION": "EU", "DEDUPE_KEY": "name,clientDedupeId"},
    {**LEAST, "AMAZON_DATASET_NAME": "purchases", "AMAZON_BASE_URL": "https://proxy.example/amazon"},
]

_EARLIER = """
import json, sys
from connector import app
from connector.avro import ledger_entry
from connector.config import Settings
from connector.core import dedupe, letters, recovery
from connector.model import Facts, Outcome, TopicPartition

asked = json.load(sys.stdin)
identity = {name: bytes.fromhex(value) if name in ("destination", "dedupe_key") else value
            for name, value in asked["identity"].items()}
header = ledger_entry.LedgerHeader(**identity)

def facts_of(rows):
    facts = Facts()
    for offset, epoch, outcome, key, time in rows:
        facts.add(offset, epoch, Outcome(outcome), key and bytes.fromhex(key), time)
    return facts

def rows_of(facts):
    return [[offset, epoch, int(outcome), key and key.hex(), time] for offset, epoch, outcome, key, time
            in zip(facts.offsets, facts.epochs, facts.outcomes, facts.keys, facts.times)]

def policy(environ):
    found = app.ledger_policy(Settings.from_environment(environ))
    return {"destination": found.destination.hex(), "dedupe_key": found.dedupe_key.hex()}

def understood(text):
    found = recovery.parse_metadata(text)
    return found and [found.topic_id, found.ledger.topic_id, found.ledger.next_offset, found.behind]

position = recovery.LedgerPosition(*asked["place"])
answer = {
    "writes": {
        "entry": ledger_entry.encode(header, facts_of(asked["facts"])).hex(),
        "opening": ledger_entry.encode(header, Facts()).hex(),
        "metadata": [recovery.commit_metadata(header.source_topic_id, position, behind) for behind in (None, 4799)],
        "policies": [policy(environ) for environ in asked["settings"]],
        "digest": dedupe.digest(["purchase", "order-1"]).hex(),
        "derived_id": dedupe.derived_id("cluster", "topic-id", 3, 4, 5),
        "letter_headers": list(letters.LETTER_HEADERS),
        "replay_headers": list(letters.REPLAY_HEADERS),
    },
    "reads": {
        "entry": rows_of(ledger_entry.decode(bytes.fromhex(asked["written"]["entry"])).facts()),
        "opening": rows_of(ledger_entry.decode(bytes.fromhex(asked["written"]["opening"])).facts()),
        "metadata": [understood(text) for text in asked["written"]["metadata"]],
        "newer": [bool(recovery._NEWER.match(text)) for text in asked["written"]["metadata"]],
    },
}
json.dump(answer, sys.stdout)
"""


def facts_of(rows: list[Any]) -> Facts:
    """Return facts from rows as JSON has them."""
    facts = Facts()
    for offset, epoch, outcome, key, time in rows:
        facts.add(offset, epoch, Outcome(outcome), None if key is None else bytes.fromhex(key), time)
    return facts


def written() -> dict[str, Any]:
    """Return what this version writes: an entry, the entry that opens an assignment, and metadata of commits."""
    landmarks = Landmarks(retention_ms=8 * 86_400_000)
    landmarks.passed(0, 1_783_900_800_123)
    landmarks.passed(4_710, 1_783_900_900_000)
    topic = IDENTITY.source_topic_id
    return {
        "entry": ledger_entry.encode(IDENTITY, facts_of(FACTS)).hex(),
        "opening": ledger_entry.encode(IDENTITY, Facts(start=1_000)).hex(),
        "metadata": [
            commit_metadata(topic, PLACE),
            commit_metadata(topic, PLACE, 4_799),
            commit_metadata(topic, PLACE, None, str(landmarks)),
        ],
    }


def _asked() -> dict[str, Any]:
    identity = {
        name: value.hex() if isinstance(value, bytes) else value
        for name, value in ((name, getattr(IDENTITY, name)) for name in LedgerIdentity.__slots__)
    }
    return {
        "identity": identity,
        "facts": FACTS,
        "place": [PLACE.topic_id, PLACE.next_offset],
        "settings": SETTINGS,
        "written": written(),
    }


def policies() -> list[dict[str, str]]:
    """Return by which fingerprints this version knows its facts, for each of the settings."""
    found = [ledger_policy(read_settings(environ)) for environ in SETTINGS]
    return [{"destination": each.destination.hex(), "dedupe_key": each.dedupe_key.hex()} for each in found]


def main() -> None:
    """Ask e0780c9, and keep what it answers."""
    asked = _asked()
    with tempfile.TemporaryDirectory() as directory:
        ended = subprocess.run(
            [sys.executable, "-c", _EARLIER],
            env=environment(extracted(BEFORE, Path(directory))),
            input=json.dumps(asked),
            cwd=directory,
            capture_output=True,
            text=True,
            check=False,
        )
    if ended.returncode:
        raise SystemExit(ended.stderr)
    kept = {"version": BEFORE, "reads_of_ours": asked["written"], **json.loads(ended.stdout)}
    GOLDEN.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
    print(f"{GOLDEN} is written")


if __name__ == "__main__":
    main()
