from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import ending
from tests.suite import Step, run

_CHECKOUT = Path(__file__).parents[1]

_SLOW_STEP = """
from tests import suite
suite._FAST = (suite.Step("sleeps", ("timeit", "-s", "import time; print('began', flush=True)", "time.sleep(60)")),)
raise SystemExit(suite.main(["--fast"]))
"""


def test_every_step_runs_and_one_failure_fails_all(capfd: pytest.CaptureFixture[str]) -> None:
    code = run((Step("absent", ("no_such_module",)), Step("present", ("timeit", "-n1", "-r1"))))

    output = capfd.readouterr().out
    assert code == 1
    assert "FAILED  absent" in output
    assert "passed  present" in output


def test_steps_that_all_pass_pass() -> None:
    assert run((Step("present", ("timeit", "-n1", "-r1")),)) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_stop_from_outside_stops_the_step_that_runs(number: signal.Signals) -> None:
    command = [sys.executable, "-u", "-c", _SLOW_STEP]
    with ending(
        subprocess.Popen(command, cwd=_CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    ) as process:
        assert process.stdout
        while "began" not in process.stdout.readline():
            pass
        process.send_signal(number)
        process.stdout.read()  # ends only when the step, which shares it, has ended too

    assert process.returncode == 130


def test_suite_started_without_java_says_what_to_install(tmp_path: Path) -> None:
    script = _SLOW_STEP.replace('"time.sleep(60)"', '"pass"').replace('["--fast"]', "[]")
    environment = {name: value for name, value in os.environ.items() if name != "TEST_KAFKA_BOOTSTRAP_SERVERS"}
    environment |= {"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=_CHECKOUT, env=environment, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 1
    assert "install a JDK (17 or newer) and Maven" in ended.stdout
