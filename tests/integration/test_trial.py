"""`connector check --send-test-event` on the sandbox: what it shows, asks, sends and explains."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from typing import Any

import pytest

from tests.integration.brokers import read_topic
from tests.integration.program import World
from tests.patience import patience


def _shown(screen: str) -> dict[str, Any]:
    """Return the body that the screen shows."""
    _, _, rest = screen.partition("Content-Type: application/json")
    body: dict[str, Any] = json.loads(rest[rest.index("{") : rest.index("Amazon has no test mode")])
    return body


def test_event_sent_is_the_one_shown_and_the_answer_is_told(world: World) -> None:
    world.create_topic()
    checked = world.command("check", "--send-test-event", "--yes", AMAZON_API="events-v1")

    assert checked.returncode == 0, checked.stdout + checked.stderr
    (line,) = world.sandbox.record()
    assert (line["verdict"], line["contract"]) == ("accepted", "events-v1")
    assert line["id"].startswith("connector-test-")
    assert line["id"] in str(_shown(checked.stdout))
    assert "the event will count as one conversion 'connector_test'" in checked.stdout
    assert "took the event" in checked.stdout
    assert [secret for secret in ("Atza|", "Atzr|", "sandbox-secret") if secret in checked.stdout + checked.stderr] == []
    assert read_topic(world.servers, world.topic) == []


def test_without_a_terminal_and_a_yes_it_sends_nothing_and_ends_with_code_2(world: World) -> None:
    checked = world.command("check", "--send-test-event")
    assert checked.returncode == 2
    assert "there is no terminal to ask on: add --yes to send it" in checked.stderr
    assert world.sandbox.status()["requests"] == 0


@pytest.mark.parametrize(("answer", "sent"), [("y", 1), ("", 0)])
def test_at_a_terminal_it_asks_and_only_a_yes_sends(world: World, answer: str, sent: int) -> None:
    world.create_topic()
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer.encode() + b"\n")
        checked = subprocess.run(
            [sys.executable, "-m", "connector", "check", "--send-test-event"],
            env={"PATH": os.environ["PATH"], "COLUMNS": "200", **world.settings()},
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=patience(60),
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "Send it? [y/N]" in checked.stdout
    assert ("Nothing was sent." in checked.stdout) == (not sent)
    assert len(world.sandbox.record()) == sent


@pytest.mark.parametrize(
    ("changes", "faults", "words"),
    [
        ({"AMAZON_ACCOUNT_ID": "77"}, {}, "needs View and Edit"),
        ({}, {"reject_names": ["connector_test"]}, "refused this event: INVALID_INPUT"),
        ({}, {"next": [{"fault": "withhold"}]}, "the event may have been taken"),
    ],
)
def test_answer_that_is_no_yes_is_told_with_what_to_do_and_code_1(
    world: World, changes: dict[str, str], faults: dict[str, Any], words: str
) -> None:
    world.create_topic()
    world.sandbox.set_faults(**faults)
    checked = world.command("check", "--send-test-event", "--yes", **changes)
    assert checked.returncode == 1
    assert words in checked.stdout
    assert "Atza|" not in checked.stdout + checked.stderr


def test_without_a_token_nothing_is_sent(world: World) -> None:
    world.create_topic()
    checked = world.command("check", "--send-test-event", "--yes", AMAZON_CLIENT_SECRET="wrong")
    assert checked.returncode == 1
    assert "The test event was not sent: there is no access token" in checked.stdout
    assert world.sandbox.status()["requests"] == 0


def test_type_that_amazon_does_not_have_is_not_sent(world: World) -> None:
    world.create_topic()
    checked = world.command("check", "--send-test-event", "--yes", "--event-type", "WISHFUL")
    assert checked.returncode == 1
    assert "The test event was not sent, because it breaks a rule: eventType" in checked.stdout
    assert world.sandbox.status()["requests"] == 0
