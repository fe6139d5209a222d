"""The facts of a ledger entry one by one, as tests compare them; the connector reads whole runs."""

from __future__ import annotations

from connector.avro.ledger_entry import KEY_BYTES, LedgerEntry
from connector.model import Facts, Outcome

__all__ = ["unpacked"]


def unpacked(entry: LedgerEntry) -> Facts:
    facts = Facts()
    delivered = 0
    for first, length, outcome, epoch in entry.runs:
        for offset in range(first, first + length):
            if outcome is Outcome.DELIVERED:
                key = entry.keys[delivered * KEY_BYTES : (delivered + 1) * KEY_BYTES]
                facts.add(offset, epoch, outcome, key if any(key) else None, entry.times[delivered])
                delivered += 1
            else:
                facts.add(offset, epoch, outcome)
    return facts
