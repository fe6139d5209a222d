"""The options of `connector replay`, and what its help says about them."""

from __future__ import annotations

import argparse

import pytest

from connector.__main__ import main
from connector.cli import replay
from connector.cli.replay_topic import Asked
from connector.model import Reason


def asked(*arguments: str) -> Asked:
    parser = argparse.ArgumentParser()
    replay.set_up(parser)
    return Asked.read(parser.parse_args(arguments))


def test_replay_is_told_what_was_asked_for() -> None:
    many = ["--reason", "rejected", "--reason", "no-verdict", "--since", "2026-11-22T10:00Z", "--until", "2026-11-22T11:00Z"]

    hour_ms = 3_600_000
    since = 1_795_341_600_000
    assert asked() == Asked()
    assert asked(*many, "--limit", "3", "--max-replays", "2", "--dry-run", "--yes") == Asked(
        frozenset({"rejected", "no-verdict"}), since, since + hour_ms, 2, 3, dry_run=True, yes=True
    )


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
