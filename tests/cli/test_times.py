"""Points in time as a person types them."""

from __future__ import annotations

import argparse
import time

import pytest

from connector.cli.times import time_ms


def test_time_is_iso_8601_in_utc_unless_it_names_a_zone() -> None:
    assert time_ms("2026-11-22T10:00Z") == time_ms("2026-11-22T10:00") == 1_795_341_600_000
    assert time_ms("2026-11-22T12:00+02:00") == 1_795_341_600_000
    assert time_ms("2026-11-22") == 1_795_305_600_000


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("2h", 7_200), ("3d", 259_200), ("5m", 300)])
def test_duration_is_before_now(text: str, seconds: int) -> None:
    before = time.time_ns() // 1_000_000
    assert before <= time_ms(text) + seconds * 1_000 <= time.time_ns() // 1_000_000


@pytest.mark.parametrize("text", ["", "yesterday", "2 hours", "-2h", "10:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="neither a time"):
        time_ms(text)
