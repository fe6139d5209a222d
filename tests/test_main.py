"""The command line: what it says of itself, what it loads, and how it ends."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from connector.__main__ import main, parser
from connector.cli import COMMANDS, audit


def test_interrupted_command_says_so_and_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(audit, "run", interrupted)

    assert main(["audit"]) == 1
    assert capsys.readouterr().err == "Interrupted.\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_what_it_does_and_is_run_by_its_module(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert parser([command]).parse_args([command]).run is import_module(f"connector.cli.{command.replace('-', '_')}").run
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"usage: connector {command} " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "unused"),
    [
        (["--help"], {"confluent_kafka", "aiohttp", "fastavro", "phonenumbers", "rich", "structlog"}),
        (["sandbox", "--help"], {"confluent_kafka", "fastavro", "phonenumbers"}),
        (["no-such-command"], {"confluent_kafka", "aiohttp"}),
    ],
)
def test_no_command_waits_for_libraries_of_another(arguments: list[str], unused: set[str]) -> None:
    loaded = f"""
import sys
from connector.__main__ import main
try:
    main({arguments})
except SystemExit:
    print(*sorted(sys.modules), file=sys.stderr)
"""
    ended = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert "connector.cli" in ended.stderr.split()
    assert unused & set(ended.stderr.split()) == set()
