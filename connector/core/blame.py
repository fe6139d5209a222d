"""Who is at fault when a request fails: one event of it, or something that would fail every event.

Only evidence decides (docs/how-it-works.md#shared-failures). An event is at fault when a request
that was started after the event had failed got a verdict on other events: Amazon was answering, and
took the others. An answer to what was sent before the failure says nothing of the time after it.
"""

from __future__ import annotations

from connector.core.request import Request
from connector.model import Failure, RequestFailed

__all__ = ["Blame"]


class Blame:
    """Remembers what Amazon has judged and taken."""

    __slots__ = ("_judged", "largest_taken")

    def __init__(self) -> None:
        self._judged = 0  # number of the latest request whose answer held a final verdict on some event
        self.largest_taken = 0
        """Bytes of the largest body of which something was delivered."""

    def judged(self, request: Request) -> None:
        """Note an answer with a final verdict on some event."""
        self._judged = max(self._judged, request.number)

    def taken(self, request: Request) -> None:
        """Note an answer by which something was delivered."""
        self.largest_taken = max(self.largest_taken, request.size)

    def proven(self, request: Request) -> bool:
        """Return whether others got a verdict in a request started after these events failed."""
        return request.since is not None and self._judged > request.since

    def at_fault(self, request: Request, failed: RequestFailed) -> bool:
        """Return whether a request failed as a whole because of its one event."""
        if request.count > 1:
            return False
        if failed.failure is Failure.TOO_LARGE:
            return self.proven(request) or 0 < self.largest_taken < request.size
        return failed.failure is Failure.REFUSED and self.proven(request)

    def of_these_alone(self, request: Request) -> bool:
        """Return whether others got a verdict since these events were refused for the account."""
        return request.held or self.proven(request)
