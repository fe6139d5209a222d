"""Kills the connector over and over, at random, and shows what it cost (``make prove``).

A round is one topic, a group of two members, traffic that does not stop, a sandbox that fails in every way it can, and
several deaths: at a random point of a batch's life (`failpoints`), or by SIGKILL from outside at a random moment. At its end
the oracle judges all evidence. What is drawn repeats with the seed, what the machine makes of it does not.
"""

from __future__ import annotations

import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.integration.accounts import account_of
from tests.integration.brokers import end_offsets
from tests.integration.events import now_ms
from tests.integration.failpoints import POINTS
from tests.integration.load import REFUSED_NAME, Load, Traffic
from tests.integration.oracle import Account, Breach, Interruption, judge, second_acceptances
from tests.integration.ordeals.members import SESSION_MS, Member, lines_of, losses, prepare, taken_over_ms
from tests.integration.program import Sandbox, World
from tests.patience import eventually

__all__ = ["Round", "Tally", "play", "run"]

_PARTITIONS = 4
_RATE = 120
_OUTSIDE = "from outside"
_START_SECONDS = 60.0
_PATIENCE_SECONDS = 20.0
"""A point that is not passed for so long by a member with partitions is given up, and the process killed from outside."""
_DONE_SECONDS = 120.0
_HEARS_LATE_MS = 5000
"""After its session ended a member may learn of it so late, on a loaded machine."""
_FAULTS = {
    "latency_ms": 40,
    "delay": 0.1,
    "delay_min_ms": 50,
    "delay_max_ms": 400,
    "fail_503": 0.03,
    "throttle_429": 0.01,
    "withhold": 0.03,
    "fail_500_after_accept": 0.02,
    "truncated": 0.01,
    "empty": 0.01,
    "html": 0.01,
    "retry": 0.01,
    "omit": 0.01,
}


@dataclass(frozen=True, slots=True)
class Death:
    """A process died, and was started again."""

    where: str
    interruption: Interruption
    restarted_ms: int


@dataclass(slots=True)
class Round:
    """What was seen of one round."""

    protocol: str
    account: Account
    deaths: list[Death]
    breaches: list[Breach]


def play(world: World, protocol: str, deaths: int, dice: Random) -> Round:
    """Play one round with so many deaths."""
    settings = prepare(world, protocol, _PARTITIONS)
    world.sandbox.set_faults(seed=dice.randrange(1 << 32), reject_names=[REFUSED_NAME], **_FAULTS)
    members = [Member(world.unstarted(), settings) for _ in range(2)]
    load = Load(world, Traffic(world, _PARTITIONS, dice.randrange(1 << 16)), _RATE)
    found: list[Death] = []
    lost: list[Interruption] = []
    scrapes: list[Mapping[str, float]] = []
    load.start()
    try:
        members[1].start()
        point = _draw(members[0], dice)
        while len(found) < deaths:
            where, interruption = _die(members[0], point, dice, scrapes)
            other = members[1].kill() if dice.random() < 0.2 else None  # both are gone
            lost += [each for member in members if not member.process.running for each in _sessions_lost(member, members)]
            point = _draw(members[0], dice, plain=len(found) + 1 + bool(other) >= deaths)
            found.append(Death(where, interruption, now_ms()))
            if other is not None:
                members[1].start()
                found.append(Death(_OUTSIDE, other, now_ms()))
        _until_moving(world, scrapes, members)
    finally:
        load.stop()
    ends = end_offsets(world.servers, world.topic)
    eventually(lambda: world.committed() == ends, f"{protocol}: committed offsets are {ends}", _DONE_SECONDS)
    # One that was just started hears SIGTERM only once it is up.
    eventually(lambda: all(member.process.page("/readyz")[0] == 200 for member in members), "both are ready", _DONE_SECONDS)
    last = [member.process.metrics() for member in members]
    lost += [each for member in members for each in _sessions_lost(member, members)]
    for member in members:
        assert member.process.stop() == 0, member.process.output[-3000:]
    interruptions = [*(death.interruption for death in found), *lost]
    account = account_of(world, load.records, scrapes=scrapes, last_scrapes=last, interruptions=interruptions)
    return Round(protocol, account, found, judge(account))


def _draw(member: Member, dice: Random, *, plain: bool = False) -> str | None:
    """Start a member; return the point it is to die at, None if it dies from outside or not at all."""
    point = None if plain or dice.random() < 0.25 else dice.choice(list(POINTS))
    member.start(point, None if point is None else dice.randint(1, 2 * POINTS[point].nth))
    return point


def _die(member: Member, point: str | None, dice: Random, scrapes: list[Mapping[str, float]]) -> tuple[str, Interruption]:
    """See a member die, as it was drawn; or from outside, if it never comes to its point."""
    began = time.monotonic()
    ends_by = began + (_START_SECONDS + _PATIENCE_SECONDS if point else dice.uniform(0.5, 8.0))
    works = False
    drains_at = began + dice.uniform(2.0, 6.0)
    asked = not (point and POINTS[point].draining)
    while member.process.running and time.monotonic() < ends_by:
        scrapes.append(member.process.metrics())
        if point and not works and member.process.assigned():
            works, ends_by = True, time.monotonic() + _PATIENCE_SECONDS
        if not asked and time.monotonic() > drains_at and member.process.assigned():
            member.process.terminate()
            asked = True
        time.sleep(0.1)
    if member.process.running:
        return _OUTSIDE, member.kill()
    if member.process.wait() == 0 and point and POINTS[point].draining:
        # It had nothing left to do when it was asked to end: a clean stop, which excuses nothing.
        return "clean stop", Interruption(0, 0, frozenset(), at_most=0)
    return point or "?", member.until_dead()


def _until_moving(world: World, scrapes: list[Mapping[str, float]], members: Sequence[Member]) -> None:
    """Wait until something is committed that was produced after the last death."""
    wanted = end_offsets(world.servers, world.topic)

    def moved() -> bool:
        scrapes.extend(member.process.metrics() for member in members)
        committed = world.committed()
        return all(committed.get(partition, 0) >= end for partition, end in wanted.items())

    eventually(moved, "the group goes on", _DONE_SECONDS)


def _sessions_lost(member: Member, members: Sequence[Member]) -> Iterator[Interruption]:
    """Yield the losses of partitions that a living member spoke of: the machine was too slow for a session this short."""
    own = member.process.log()
    others = [line for other in members if other is not member for line in lines_of(other.process)]
    for lost in losses(own):
        began_ms = min(lost[1] - SESSION_MS - _HEARS_LATE_MS, taken_over_ms(lost, own, others))
        yield Interruption(began_ms, lost[1], frozenset({lost[0]}))


@dataclass(slots=True)
class Tally:
    """The sum of all rounds."""

    rounds: int = 0
    records: int = 0
    accepted: int = 0
    letters: int = 0
    commits: int = 0
    scrapes: int = 0
    sessions_lost: int = 0
    deaths: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    again: Counter[str] = field(default_factory=Counter)
    worst: int = 0
    """Events accepted again after one death."""
    from_death: list[float] = field(default_factory=list)
    from_restart: list[float] = field(default_factory=list)
    breaches: list[str] = field(default_factory=list)

    def add(self, played: Round) -> None:
        """Add a round."""
        account = played.account
        self.rounds += 1
        self.records += len(account.records)
        self.accepted += len(account.accepted)
        self.letters += len(account.letters)
        self.commits += len(account.commits)
        self.scrapes += len(account.scrapes)
        self.sessions_lost += len(account.interruptions) - len(played.deaths)
        self.deaths.update(death.where for death in played.deaths)
        requests = {line["request"]: line["answer"] for line in account.received}
        self.answers.update(answer for answer in requests.values() if answer != "sent")
        again = second_acceptances(account)
        self.again.update(why for excuses in again.values() for why in excuses)
        after_deaths = sum(why in {"in flight", "unwritten"} for excuses in again.values() for why in excuses)
        self.worst = max(self.worst, -(-after_deaths // max(len(played.deaths), 1)))
        for death in played.deaths:
            self._recovery(account, death)
        self.breaches += [f"round {self.rounds} ({played.protocol}) {name}: {what}" for name, what in played.breaches]

    def _recovery(self, account: Account, death: Death) -> None:
        """Note how long a partition of the dead stood still: until a commit beyond the last before the death."""
        died_ms, partitions = death.interruption.ended_ms, death.interruption.partitions or frozenset()
        before: dict[int, int] = dict.fromkeys(partitions, 0)
        for commit in account.commits:
            if commit.partition in before and commit.at_ms <= died_ms:
                before[commit.partition] = max(before[commit.partition], commit.offset)
        advances = [
            commit.at_ms
            for commit in account.commits
            if commit.partition in before and commit.at_ms > died_ms and commit.offset > before[commit.partition]
        ]
        if not advances:
            return
        self.from_death.append((min(advances) - died_ms) / 1000)
        if min(advances) >= death.restarted_ms:  # else the other member was faster than the restart
            self.from_restart.append((min(advances) - death.restarted_ms) / 1000)

    def lines(self) -> list[str]:
        """Return the table."""
        killed = self.deaths.total() - self.deaths["clean stop"]
        lost = sum(": lost: " in breach for breach in self.breaches)
        return [
            f"{'rounds, with two members each':<44}{self.rounds:>10,}",
            f"{'processes killed':<44}{killed:>10,}",
            *(f"  {where:<42}{count:>10,}" for where, count in sorted(self.deaths.items())),
            f"{'requests that were not answered as they should':<44}{self.answers.total():>8,}",
            *(f"  {answer:<42}{count:>10,}" for answer, count in sorted(self.answers.items())),
            f"{'sessions lost by a living member':<44}{self.sessions_lost:>10,}",
            f"{'records':<44}{self.records:>10,}",
            f"{'ids accepted':<44}{self.accepted:>10,}",
            f"{'dead letters':<44}{self.letters:>10,}",
            f"{'commits judged':<44}{self.commits:>10,}",
            f"{'scrapes judged':<44}{self.scrapes:>10,}",
            f"{'lost':<44}{lost:>10,}",
            f"{'accepted twice':<44}{self.again.total():>10,}",
            f"  {'answer not read, or it left the event out':<42}{self.again['unread']:>10,}",
            f"  {'in flight when a process died':<42}{self.again['in flight']:>10,}",
            f"  {'acknowledged, not yet in the ledger':<42}{self.again['unwritten']:>10,}",
            f"  {'without an excuse':<42}{self.again['no excuse']:>10,}",
            f"{'breaches of any invariant':<44}{len(self.breaches):>10,}",
            f"a partition stood still, from the death:         {_quantiles(self.from_death)}",
            f"                         from the next start:    {_quantiles(self.from_restart)}",
            f"(sessions of {SESSION_MS / 1000:.0f} s; the default is 45 s)",
        ]


def _quantiles(seconds: Sequence[float]) -> str:
    if not seconds:
        return "-"
    ordered = sorted(seconds)
    return f"p50 {ordered[len(ordered) // 2]:.1f} s, p99 {ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]:.1f} s"


def run(servers: str, seeds: Iterable[int], deaths: int) -> bool:
    """Play a round of each seed, and print the table; return whether any was played and all is accounted for."""
    tally, broken = Tally(), 0
    with tempfile.TemporaryDirectory(prefix="kills-") as directory:
        sandbox = Sandbox(Path(directory))
        try:
            for seed in seeds:
                broken += _play_and_say(tally, servers, sandbox, Path(directory), seed, deaths)
        except KeyboardInterrupt:
            print("stopped")
        finally:
            sandbox.kill()
    print("", *tally.lines(), *tally.breaches, sep="\n")
    return not broken and not tally.breaches and tally.rounds > 0


def _play_and_say(tally: Tally, servers: str, sandbox: Sandbox, directory: Path, seed: int, deaths: int) -> bool:
    """Play one round, and print a line about it; return whether it could not be played to its end."""
    dice = Random(seed)
    protocol = dice.choice(["classic", "consumer"])
    sandbox.clear()
    world = World(servers, sandbox, directory)
    began = time.monotonic()
    try:
        played = play(world, protocol, deaths, dice)
    except Exception:  # the rounds that follow may tell more
        traceback.print_exc()
        print(f"seed {seed}  {protocol:<9}broken off", flush=True)
        return True
    finally:
        world.close()
    tally.add(played)
    records, again = len(played.account.records), sum(map(len, second_acceptances(played.account).values()))
    seconds = time.monotonic() - began
    what = f"{len(played.deaths)} deaths  {records} records  {again} accepted twice  {len(played.breaches)} breaches"
    print(f"seed {seed}  {protocol:<9}{what}  {seconds:.0f} s", flush=True)
    for breach in played.breaches:
        print(f"  {breach.invariant}: {breach.what}", flush=True)
    return False
