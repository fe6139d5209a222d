"""The commands of ``connector``, a module each: what it takes (`set_up`) and what it does (`run`).

A module is imported once its command is given: it loads the libraries that the command needs, and no other command waits
for them. What commands share, or must be tested without Kafka, stands beside them:

    findings         what `check` and `lint` find, a line each
    partial_settings settings of which the account may be missing
    preview_verdicts what would become of one record
    test_event     the one event of ``check --send-test-event``, and what Amazon's answer means
    audit_account  what became of every offset
    replay_plan    which dead letters are replayed, and why the others are not
    samples        the events that ``demo`` and ``produce-samples`` produce
    times          points in time as a person types them
    progress       progress bars
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["COMMANDS"]

COMMANDS: Mapping[str, str] = {
    "run": "forward events until SIGTERM, which drains and exits 0",
    "check": "say what is right and what is wrong, and change nothing",
    "preview": "show what would become of records, send nothing",
    "lint": "say whether settings and mapping file are right, without any network",
    "audit": "say what became of every record of the source topics, and change nothing",
    "replay": "put dead letters of this group back on the source topic",
    "demo": "the whole pipeline on simulators, with a reconciliation at the end",
    "produce-samples": "produce sample events to KAFKA_TOPIC (for docker compose)",
    "sandbox": "run the stand-in for Amazon's endpoint alone",
}
"""Every command with its line in ``connector --help``; the module of ``produce-samples`` is ``produce_samples``."""
