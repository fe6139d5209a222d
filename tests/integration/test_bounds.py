"""The buffer's bounds and the group's peace while Amazon throttles every request, with a full topic behind it.

``make throttle`` is the same for ten minutes, with the curve.
"""

from __future__ import annotations

import time

from tests.benchmarks.throttle import PARTITIONS, ThrottledRun, fill, ride_out, watch
from tests.integration.program import World
from tests.patience import patience

_SECONDS = 20.0
_GROWTH_BYTES = 12_000_000
"""Most growth of memory while Amazon throttles, once the buffer is full; the buffer holds five times that."""


def _check(run: ThrottledRun, most_events: int, most_bytes: int) -> None:
    samples = run.throttled + run.drained
    assert max(sample.held_events for sample in samples) <= most_events
    assert max(sample.held_bytes for sample in samples) <= most_bytes
    assert len(run.full) >= 3, "the buffer was full"
    assert run.full[-1].throttled >= 2, "Amazon did throttle"
    assert run.full[-1].resident_bytes - run.full[0].resident_bytes < _GROWTH_BYTES
    assert run.full[-1].files <= run.full[0].files + 8  # connections come and go
    assert run.rebalances == 0


def test_while_amazon_throttles_memory_stays_flat_polling_goes_on_and_afterwards_everything_drains(world: World) -> None:
    events = 9_000
    world.create_topic(PARTITIONS)
    fill(world, events)
    # A member that stops to poll loses its partitions, while Amazon throttles and by its own doing, whatever the protocol.
    most = str(round(min(_SECONDS - 2, patience(10)) * 1000))
    polls = {"KAFKA_MAX_POLL_INTERVAL_MS": most, "KAFKA_SESSION_TIMEOUT_MS": most, "DRAIN_TIMEOUT": "5s"}

    run = ride_out(world, world.sandbox, events, _SECONDS, KAFKA_GROUP_PROTOCOL="classic", BUFFER_MAX_EVENTS="3000", **polls)

    _check(run, 3_000, 64_000_000)
    accepted = world.sandbox.accepted()
    assert len(accepted) == events
    assert set(accepted.values()) == {1}


def test_large_records_stay_within_the_bytes_and_a_buffer_below_a_poll_within_its_events(world: World) -> None:
    events = 1_200
    world.create_topic(PARTITIONS)
    fill(world, events, name="web_order", customAttributes={f"attribute{n}": "x" * 5_000 for n in range(4)})
    world.sandbox.set_faults(throttle_429=1.0, retry_after=None)
    limits = {"BUFFER_MAX_EVENTS": "500", "BUFFER_MAX_BYTES": "3MB"}

    connector = world.connector(**limits)
    samples = watch(connector, time.monotonic(), lambda sample: sample.seconds >= 8 and sample.full, 40)

    assert max(sample.held_bytes for sample in samples) <= 3_000_000
    assert max(sample.held_bytes for sample in samples) > 1_000_000, "they are large"
    assert max(sample.held_events for sample in samples) <= 500
    world.sandbox.set_faults()
    assert connector.stop() == 0
