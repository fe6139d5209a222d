"""How soon sending is at full speed again after a vendor failed, in virtual time."""

from __future__ import annotations

import pytest

from connector.model import Failure, RequestFailed
from tests.core.play import UNAVAILABLE, Play, Vendor

_LATENCY = 0.2


def away(begins: float, ends: float, answers_after: float) -> Vendor:
    """A vendor that refuses everything for a while, each request after these seconds."""
    return lambda now: (answers_after, UNAVAILABLE) if begins <= now < ends else (_LATENCY, None)


@pytest.mark.parametrize("max_in_flight", [8, 32])
@pytest.mark.parametrize("answers_after", [0.005, _LATENCY], ids=["refused at once", "refused late"])
@pytest.mark.parametrize(("away_seconds", "within"), [(0.4, 2.0), (6.0, 10.0), (100.0, 10.0)])
def test_it_is_at_full_speed_soon_after_a_hiccup_and_after_an_outage(
    away_seconds: float, within: float, answers_after: float, max_in_flight: int
) -> None:
    ends = 3.0 + away_seconds
    for seed in range(3):
        play = Play(away(3.0, ends, answers_after), max_in_flight=max_in_flight, seed=seed).until(ends + within + 1.0)
        assert play.full_speed_after(ends, max_in_flight / _LATENCY) < within, f"seed {seed}"


def test_a_long_outage_is_asked_about_by_one_request_every_few_seconds() -> None:
    play = Play(away(3.0, 503.0, _LATENCY)).until(503.0)
    assert 90 < len([each for each in play.refused if each > 103.0]) < 200


def test_a_batch_that_alone_waits_is_sent_soon_after_a_long_outage() -> None:
    for seed in range(3):
        play = Play(away(0.0, 300.0, _LATENCY), events=2, seed=seed).until(305.0)
        assert len(play.taken) == 1, f"seed {seed}"


def test_after_a_round_of_requests_that_hang_one_at_a_time_is_sent() -> None:
    hangs = RequestFailed(Failure.TIMEOUT, "timeout")
    play = Play(lambda now: (35.0, hangs) if 3.0 <= now < 303.0 else (_LATENCY, None)).until(400.0)
    together = [each for each in play.refused if each < 38.0]
    assert len(together) == 8
    assert len(play.refused) - len(together) <= 8, "300 s have room for eight probes of 35 s"
    assert play.full_speed_after(303.0, 8 / _LATENCY) < 35.0 + 2.0
