"""What this member knows of itself: whether the group has let it in, and whether it slept."""

from __future__ import annotations

from collections.abc import Callable

from connector.kafka.host import Host

__all__ = ["NEVER", "GroupAdmission", "PollClock"]

NEVER = float("-inf")
_JOIN_SECONDS = 10.0
_REFUSED_SECONDS = 60.0
"""A waiting member counts as admitted once no authorization error has been seen for this long."""
_WAKING_SECONDS = 1.0
"""Grace period after a suspended process resumes: long enough for one heartbeat to be sent and
answered."""


class PollClock:
    """When the thread last polled. A poll that follows a long sleep does not count at once."""

    def __init__(self, host: Host, sleep_seconds: float) -> None:
        self._sleep_seconds = sleep_seconds
        self._began = self.last_poll = host.monotonic()
        """Monotonic second at which the last poll that counts began. Read by other threads."""
        self._awake_at = 0.0

    def polled(self, began: float) -> None:
        """Note that a poll began.

        The process may have slept past its session. The first polls after that hand out records
        that were fetched before the sleep. Only then does the client hear from the brokers, or see
        by its own clock, that its partitions belong to another member.
        """
        if began - self._began > self._sleep_seconds:
            self._awake_at = began + _WAKING_SECONDS
        self._began = began
        if began >= self._awake_at:
            self.last_poll = began


class GroupAdmission:
    """Whether the group has let this member in, and what the brokers refused it last.

    ``names_itself``: a member of the KIP-848 protocol has an id before the group has let it in.
    """

    def __init__(self, host: Host, *, names_itself: bool) -> None:
        self._host = host
        self._names_itself = names_itself
        self._waiting_since = host.monotonic()
        self.joined = False
        """Whether the group has let this member in. Read by other threads."""
        self.refused: tuple[float, str] | None = None
        """The monotonic second and the code of the last error that needs operator action."""

    def refuse(self, code: str) -> None:
        """Note an error that needs operator action."""
        self.refused = (self._host.monotonic(), code)

    def let_in(self) -> None:
        """Note that the group has answered with an assignment, which may be empty."""
        self.joined = True

    def put_out(self) -> None:
        """Note that the group has taken everything away: the member has to join again."""
        self.joined, self._waiting_since = False, self._host.monotonic()

    def look(self, member_id: Callable[[], str | None]) -> None:
        """Update `joined`: the group may have let this member in although it assigned nothing.

        A KIP-848 member is not told of an empty assignment (seen with Apache Kafka 4.4). One that
        has been neither refused nor given anything for `_JOIN_SECONDS` is taken for a spare.
        """
        if not self.joined:
            self.joined = self._has_waited_long() if self._names_itself else bool(member_id())

    def _has_waited_long(self) -> bool:
        now = self._host.monotonic()
        since = max(self._waiting_since, now - _REFUSED_SECONDS)
        refused = self.refused is not None and self.refused[0] > since
        return not refused and now - self._waiting_since > _JOIN_SECONDS
