"""Topics that refuse what we write to them, as opposed to brokers that are away for a while.

The brokers' trouble passes by itself, and a record is written again until then. A topic whose
settings, rights or very existence have changed refuses each record until somebody mends it.
"""

from __future__ import annotations

__all__ = ["TOO_LARGE", "fix", "refusal"]

TOO_LARGE = frozenset({"MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE", "INVALID_MSG_SIZE"})
"""Kafka's codes for a record larger than client, topic (``max.message.bytes``) or segment allow."""

_PASSING = frozenset(
    {
        "",
        "BROKER_NOT_AVAILABLE",
        "FENCED_LEADER_EPOCH",
        "KAFKA_STORAGE_ERROR",
        "LEADER_NOT_AVAILABLE",
        "NETWORK_EXCEPTION",
        "NOT_ENOUGH_REPLICAS",
        "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
        "NOT_LEADER_FOR_PARTITION",
        "REPLICA_NOT_AVAILABLE",
        "REQUEST_TIMED_OUT",
        "THROTTLING_QUOTA_EXCEEDED",
        "UNKNOWN_LEADER_EPOCH",
        "_ALL_BROKERS_DOWN",
        "_DESTROY",
        "_MSG_TIMED_OUT",
        "_PURGE_INFLIGHT",
        "_PURGE_QUEUE",
        "_QUEUE_FULL",
        "_RESOLVE",
        "_TIMED_OUT",
        "_TIMED_OUT_QUEUE",
        "_TRANSPORT",
    }
)
"""Codes that say nothing about the topic. Every other code does, also one that nobody foresaw."""
_GONE = "it was deleted, or lost the partition. Restart: the start creates it, or says what is missing"
_DENIED = "grant this client Write: this client's rights to it lack that"
_FIXES = {
    "INVALID_RECORD": "where its cleanup.policy has compact, it takes no record without a key: set cleanup.policy=delete",
    "INVALID_TIMESTAMP": "set message.timestamp.type=LogAppendTime",
    "INVALID_REQUIRED_ACKS": "these brokers do not confirm with acks=all: use brokers that do",
    "POLICY_VIOLATION": "let the brokers' policy take these records",
    "TOPIC_AUTHORIZATION_FAILED": _DENIED,
    "CLUSTER_AUTHORIZATION_FAILED": _DENIED,
    "UNKNOWN_TOPIC_OR_PART": _GONE,
    "UNKNOWN_TOPIC_ID": _GONE,
    "_UNKNOWN_TOPIC": _GONE,
    "_UNKNOWN_PARTITION": _GONE,
}
_TOO_SMALL = "raise its max.message.bytes to 1048588 (the brokers' default), and its segment.bytes above that"
_LOOK = "look at its settings, this client's rights to it, and the brokers' logs"


def fix(code: str) -> str:
    """Return what to do about a topic that refuses records, but not for their size."""
    return _FIXES.get(code, _LOOK)


def refusal(topic: str, code: str) -> str | None:
    """Return what an operator must know and do about a ledger.

    None if the code is of trouble that passes.
    """
    if code in _PASSING:
        return None
    what = _TOO_SMALL if code in TOO_LARGE else fix(code)
    return (
        f"the ledger {topic} refuses entries ({code}): {what}. Until then facts wait, nothing of their "
        "partitions is committed, and sending stops. Never delete the ledger. Once it takes them, all goes on by itself"
    )
