"""How many requests a second may start.

The setting gives a maximum, and refusals (429) teach what is allowed.

The problem. A vendor that takes two requests a second says so by a 429 to every other. Backing off
after each of them wastes half of what is allowed, and so does asking again at once.

The way. The pace is learnt as TCP learns the rate of a path: a little less after a refusal, more
while there is none.

- Nothing is learnt, and nothing held back, until the first 429. Then the pace is what was taken of
  late.
- Requests start at even intervals. A refusal shows what is allowed: the pace at which its request
  was sent, or, where requests were refused since the last change, the share that was taken. From
  there on `_SHARE` of that is used.
- After a while at this pace it grows, slowly at first, then twofold within a second, until the next
  refusal. The while is long where a refusal costs much: at a slow pace, or with a long
  ``Retry-After``.
- After a refusal one request at a time, a wait after the other, asks whether it is taken. Refusals
  in a row make each wait longer, but so short that sending is at full speed within 10 s of the end
  of a storm, however long it was.
- A minute after the last refusal the pace is forgotten.

Requests that are out together when one is refused tell the same as that one. They are counted, and
change nothing.
"""

from __future__ import annotations

from connector.core.retry import RetryPolicy

__all__ = ["Pace"]

_SHARE = 0.93
"""Share of the allowed pace that is used after a refusal. What is left covers that vendors count in
different ways."""
_JITTER = 0.02
"""Share by which intervals differ, so that members whose requests fall between each other's do not
stay there."""
_CHANGE_SECONDS = 1.0
"""Refusals within this time of a change say nothing new: a vendor that counts by the second refuses
until it is over."""
_LEAST_SHARE = 0.4
"""Minimum share of the pace that one change leaves."""
_SLOWEST = 0.3
"""Slowest pace, in requests a second. Waits after refusals in a row may slow it down further."""
_STEADY_SECONDS = 4.0
_STEADY_WAITS = 15.0
_STEADY_MOST_SECONDS = 30.0
"""How long the pace stays as it is after a refusal: so many seconds, or so many times the wait, and
at most this."""
_GENTLE = 0.04
"""Growth after that, as a share of the pace, by the square of the seconds."""
_BEYOND = 1.3
"""Share of the refused pace beyond which the limit is taken to have changed, and the pace
doubles."""
_DOUBLES_SECONDS = 0.5
"""Time for doubling, in addition to the time of an answer, which may be a refusal."""
_LEAST_WAIT = 0.1
"""Seconds after a single refusal."""
_STORM = 4
"""Refusals in a row after which nothing is known of what is allowed."""
_BEGIN = 1.0
"""Requests a second where nothing is known."""
_WAITS = RetryPolicy(first_seconds=0.5, cap_seconds=4.0)
"""Waits after refusals in a row."""
_FORGET_SECONDS = 60.0


class Pace:
    """When the next request may start."""

    __slots__ = (
        "_allowed",
        "_changed_at",
        "_doubling",
        "_grown_at",
        "_learnt",
        "_most",
        "_paced",
        "_recent",
        "_refused",
        "_refused_at",
        "_row",
        "_steady_seconds",
        "_taken",
        "_used_seconds",
        "_wait",
        "due",
    )

    def __init__(self, most: float | None) -> None:
        self._most = most
        self._learnt: float | None = None
        self._allowed: float | None = None  # the pace that was refused last; None where nothing is known of it
        self._doubling = False
        self._paced = False  # whether the last request started about as early as it might
        self._used_seconds = 0.0  # since the last change, and only while as much was sent as might be
        self._steady_seconds = 0.0
        self._changed_at = self._grown_at = self._refused_at = float("-inf")
        self._taken = self._refused = 0  # requests since the last change
        self._row = 0  # rounds that were refused since a request was taken
        self._wait = 0.0  # after the last refusal, until a request is taken
        self._recent = _Recent()
        self.due = 0.0
        """Monotonic second before which no request starts."""

    @property
    def per_second(self) -> float | None:
        """The requests that may start in a second; None for no limit."""
        limits = [limit for limit in (self._most, self._learnt) if limit is not None]
        return min(limits, default=None)

    def started(self, now: float, chance: float) -> None:
        """Note that a request starts."""
        if self._learnt is not None:
            interval = (1 + _JITTER * (2 * chance - 1)) / self._learnt
            self._paced = now - self.due < interval
            self.due = max(self.due, now - _JITTER * interval) + max(interval, min(self._wait, _WAITS.cap_seconds))
        if self._most is not None:
            self.due = max(self.due, now + 1 / self._most)

    def taken(self, started: float, now: float) -> None:
        """Note a request that was not refused, by the monotonic seconds of its start and answer."""
        self._recent.add(now)
        if self._learnt is None:
            return
        if now - self._refused_at > _FORGET_SECONDS:
            self._learnt, self._row, self._wait = None, 0, 0.0
            return
        self._taken += 1
        if started > self._refused_at:
            if self._row >= _STORM:
                self._allowed, self._learnt = None, max(_BEGIN, self._learnt)
            if self._row:
                self.due = min(self.due, now + 1 / (self.per_second or _BEGIN))
            self._row, self._wait = 0, 0.0
        if self._paced:
            self._learnt = self._grown(self._learnt, min(now - self._grown_at, 1 / self._learnt), now - started)
        self._grown_at = now

    def _grown(self, learnt: float, seconds: float, took: float) -> float:
        """Return the pace after so many seconds of use more, by an answer that took so long."""
        self._used_seconds += seconds
        if self._allowed is not None and (share := self._share(0.0)) <= _BEYOND:
            return self._allowed * share
        self._doubling = True
        return learnt * _doubled(seconds, took)

    def _share(self, ago: float) -> float:
        """Return the share of the allowed pace that was used so many seconds ago."""
        growing = max(0.0, self._used_seconds - ago - self._steady_seconds)
        return _SHARE * (1 + _GENTLE * growing * growing)

    def refused(self, started: float, now: float, retry_after: float | None, chance: float) -> float:
        """Note a 429; return the seconds for which nothing is to be sent."""
        self._refused += 1
        if started <= self._refused_at:
            return 0.0
        self._refused_at = now
        self._row += 1
        learnt = self._learn(started, now)
        least = _WAITS.delay(self._row - 1, chance) if self._row > 1 else _LEAST_WAIT
        self._wait = max(least, (0.25 + 0.5 * chance) / learnt, retry_after or 0.0)
        self._steady_seconds = min(max(_STEADY_SECONDS, _STEADY_WAITS * self._wait), _STEADY_MOST_SECONDS)
        self.due = max(self.due, now + self._wait)
        return self._wait

    def _learn(self, started: float, now: float) -> float:
        """Change the pace after a refusal, and return it."""
        if self._learnt is None:
            self._allowed, pace = None, max(_BEGIN, self._recent.per_second(now))
        elif now - self._changed_at < _CHANGE_SECONDS:
            return self._learnt
        elif self._doubling:  # the refused request was sent before the answers since
            self._allowed = pace = self._learnt / _doubled(now - started, now - started)
        else:
            others = self._refused - 1
            share = self._taken / (self._taken + others) if self._taken else 0.0
            # The pace has grown since. What timed the refused request was the pace at the start of
            # the one before it, an interval earlier.
            ago = now - started + 1 / self._learnt
            pace = self._learnt if self._allowed is None else self._allowed * self._share(ago)
            self._allowed = pace = pace * max(_LEAST_SHARE, share)
        self._learnt = max(_SLOWEST, _SHARE * pace)
        self._changed_at = self._grown_at = now
        self._taken = self._refused = 0
        self._used_seconds, self._doubling = 0.0, False
        return self._learnt


class _Recent:
    """How many requests were taken within the last second, about."""

    __slots__ = ("_before", "_began", "_count")

    def __init__(self) -> None:
        self._began, self._count, self._before = float("-inf"), 0, 0

    def add(self, now: float) -> None:
        passed = now - self._began
        if passed >= 1:
            self._before = self._count if passed < 2 else 0
            self._began, self._count = now, 0
        self._count += 1

    def per_second(self, now: float) -> float:
        passed = now - self._began
        if passed >= 1:
            return self._count / passed
        return self._count + self._before * (1 - passed)


def _doubled(seconds: float, took: float) -> float:
    """Return the growth within these seconds, by answers that take so long."""
    return float(min(2.0, 2 ** (seconds / (_DOUBLES_SECONDS + took))))
