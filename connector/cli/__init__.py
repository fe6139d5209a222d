"""The commands of ``connector``, one module each: `set_up` declares options, `run` does the work.

A module is imported only when its command is given, so no command waits for the libraries of
another. Code that commands share, or that must be tested without Kafka, stands beside them:

    findings          what `check` and `lint` find, a line each
    partial_settings  settings for `lint` and `preview`, which need no account
    preview_verdicts  what would become of one record
    test_event        the event of ``check --send-test-event``, and what Amazon's answer means
    audit_account     the outcome of every offset of a partition
    replay_plan       which dead letters are replayed, and why the others are not
    replay_topic      the replay of one topic: look, show, write
    top_frame         one frame of `top`: what it shows of all replicas
    samples           the events that ``demo`` and ``produce-samples`` produce
    times             points in time as a person types them
    progress          progress bars
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["COMMANDS"]

COMMANDS: Mapping[str, str] = {
    "run": "forward events until SIGTERM, then drain and exit with 0",
    "check": "show what is right and what is wrong; change nothing",
    "preview": "show what would become of records; send nothing",
    "lint": "show whether settings and mapping file are right, without any network",
    "top": "show running replicas in a terminal, as their page does",
    "audit": "account for every record of the source topics; change nothing",
    "replay": "put dead letters of this group back on the source topic",
    "demo": "run the whole pipeline on simulators, with a reconciliation at the end",
    "produce-samples": "produce sample events to KAFKA_TOPIC (for docker compose)",
    "sandbox": "run only the stand-in for Amazon's endpoint",
}
"""Each command with its line in ``connector --help``. The module of ``produce-samples`` is
``produce_samples``."""
