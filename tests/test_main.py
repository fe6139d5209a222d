"""The command line: what it takes, what it says of itself, and how it ends."""

from __future__ import annotations

import argparse
import time

import pytest

from connector.__main__ import _time_ms, main
from connector.cli import audit, replay
from connector.model import Reason


def test_time_is_iso_8601_in_utc_unless_it_names_a_zone() -> None:
    assert _time_ms("2026-11-22T10:00Z") == _time_ms("2026-11-22T10:00") == 1_795_341_600_000
    assert _time_ms("2026-11-22T12:00+02:00") == 1_795_341_600_000
    assert _time_ms("2026-11-22") == 1_795_305_600_000


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("2h", 7_200), ("3d", 259_200), ("5m", 300)])
def test_duration_is_before_now(text: str, seconds: int) -> None:
    before = time.time_ns() // 1_000_000
    assert before <= _time_ms(text) + seconds * 1_000 <= time.time_ns() // 1_000_000


@pytest.mark.parametrize("text", ["", "yesterday", "2 hours", "-2h", "10:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="neither a time"):
        _time_ms(text)


def test_interrupted_command_says_so_and_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(audit, "run", interrupted)

    assert main(["audit"]) == 1
    assert capsys.readouterr().err == "Interrupted.\n"


def test_replay_is_told_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[replay.Asked] = []

    def run(_environ: object, asked: replay.Asked, *, now_ms: int) -> int:
        assert now_ms > 0
        told.append(asked)
        return 0

    monkeypatch.setattr(replay, "run", run)
    many = ["--reason", "rejected", "--reason", "no-verdict", "--since", "2026-11-22T10:00Z", "--until", "2026-11-22T11:00Z"]

    assert main(["replay"]) == 0
    assert main(["replay", *many, "--limit", "3", "--max-replays", "2", "--dry-run", "--yes"]) == 0

    hour_ms = 3_600_000
    since = 1_795_341_600_000
    assert told == [
        replay.Asked(),
        replay.Asked(frozenset({"rejected", "no-verdict"}), since, since + hour_ms, 2, 3, dry_run=True, yes=True),
    ]


@pytest.mark.parametrize(
    "wrong", [["--reason", "bad-luck"], ["--limit", "0"], ["--max-replays", "none"], ["--since", "soon"]]
)
def test_what_replay_does_not_take_ends_it_with_code_2(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["replay", *wrong])
    assert ended.value.code == 2
    assert wrong[0] in capsys.readouterr().err


def test_help_of_replay_names_every_reason(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["replay", "--help"])
    shown = "".join(capsys.readouterr().out.split())
    assert [reason for reason in Reason if reason.value not in shown] == []
