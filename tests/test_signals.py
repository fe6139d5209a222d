"""SIGTERM and SIGINT from the first moment on: every command ends, says so, and leaves nothing running."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from connector import __main__ as program
from connector import signals
from tests.patience import patience
from tests.processes import ending

_SECONDS = 60.0
_TRIES = 20
"""To see a process in the moment between two steps of its start, by a test that waits for its turn itself."""
_CAUGHT = 1 << (signal.SIGTERM - 1)


@pytest.fixture
def silent_brokers() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def _environment(brokers: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "KAFKA_BOOTSTRAP_SERVERS": brokers,
        "KAFKA_TOPIC": "conversions",
        "AVRO_SCHEMA_FILE": str(Path(__file__).parents[1] / "schemas" / "conversion_event.avsc"),
        "AMAZON_ACCOUNT_ID": "5850000000001",
        "AMAZON_CLIENT_ID": "amzn1.application-oa2-client.example",
        "AMAZON_ACCESS_TOKEN": "example",
        "LISTEN_HOST": "127.0.0.1",
        "LISTEN_PORT": "0",
    }


def _started(
    arguments: list[str], environment: dict[str, str], before: Callable[[], None] | None = None
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *(arguments if arguments[0] == "-c" else ["-m", *arguments])],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=before,  # noqa: PLW1509 - no thread of ours holds a lock that it takes
    )


def _until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + patience(_SECONDS)
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.002)


def _ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for the end; return exit code and last line, once no process of its group is left."""
    output, _ = process.communicate(timeout=patience(_SECONDS))
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    assert "Traceback" not in output
    return process.returncode, output.splitlines()[-1]


def _dropped() -> None:
    """Drop the signal until there is a handler, as the kernel does for the first process of a container."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _dropped_but_blocked() -> None:
    _dropped()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _interruptible() -> None:
    """Let SIGINT be heard, also where the tests are a shell's job in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _is_listening(process: subprocess.Popen[str]) -> bool:
    status = Path(f"/proc/{process.pid}/status").read_text()
    (caught,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught, 16) & _CAUGHT)


def _clients(process: subprocess.Popen[str]) -> int:
    """Return how many clients of Kafka it has: each has one thread of this name."""
    names = []
    for thread in Path(f"/proc/{process.pid}/task").glob("*/comm"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            names.append(thread.read_text().strip())
    return names.count("rdk:main")


_COMMANDS = [
    "connector run",
    "connector audit",
    "connector replay",
    "connector demo",
    "connector sandbox",
    "connector produce-samples",
]
_UNTIL_TOLD = ("connector run", "connector sandbox", "connector produce-samples")


def _signalled_as_it_listens(
    arguments: list[str], brokers: str, number: signal.Signals, before: Callable[[], None]
) -> tuple[int, str]:
    """Return how a command ends that is sent a signal before it has loaded its libraries."""
    for _ in range(_TRIES):
        with ending(_started(arguments, _environment(brokers), before)) as process:
            _until(lambda process=process: process.poll() is not None or _is_listening(process), "it listens")  # type: ignore[misc]
            os.kill(process.pid, signal.SIGSTOP)
            loaded = Path(f"/proc/{process.pid}/maps").read_text()
            process.send_signal(number)
            os.kill(process.pid, signal.SIGCONT)
            ended = _ended(process)
        if "confluent_kafka" not in loaded and "aiohttp" not in loaded:
            return ended
    pytest.fail("whenever it was seen to listen, the libraries were loaded")


@pytest.mark.parametrize("command", _COMMANDS)
def test_the_signal_is_heard_before_anything_is_loaded(command: str, silent_brokers: str) -> None:
    ended = _signalled_as_it_listens(command.split(), silent_brokers, signal.SIGTERM, _dropped)
    assert ended == (0 if command in _UNTIL_TOLD else 143, "Ended by SIGTERM before it began.")


_SCRIPT = "import sys; from connector.signals import program; sys.exit(program())"
"""What the console script does."""


@pytest.mark.parametrize("command", [*(command.split() for command in _COMMANDS), ["-c", _SCRIPT, "run"]], ids=" ".join)
def test_an_interrupt_is_heard_before_anything_is_loaded(command: list[str], silent_brokers: str) -> None:
    assert _signalled_as_it_listens(command, silent_brokers, signal.SIGINT, _interruptible) == (1, "Interrupted.")


@pytest.mark.parametrize("milliseconds", range(60, 460, 20))
def test_no_interrupt_tears_a_library_apart_as_it_is_loaded(milliseconds: int, silent_brokers: str) -> None:
    arguments = ["connector", "replay", "--yes"]
    with ending(_started(arguments, _environment(silent_brokers), _interruptible)) as process:
        _until(lambda: process.poll() is not None or _is_listening(process), "it listens")
        time.sleep(milliseconds / 1_000)
        process.send_signal(signal.SIGINT)
        assert _ended(process) == (1, "Interrupted.")


def test_whoever_imports_the_program_keeps_his_handlers() -> None:
    """As pytest does, whose tests Ctrl-C has to end."""
    handlers = "[signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]"
    code = f"import signal; before = {handlers}; import connector.__main__; assert {handlers} == before"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("usual", ["signal.default_int_handler", "signal.SIG_IGN"], ids=["usual", "a job in the background"])
def test_an_interrupt_is_an_exception_while_a_command_is_at_work_and_ignored_where_it_was(usual: str) -> None:
    code = f"""
import signal
from connector import signals
signal.signal(signal.SIGINT, {usual})
signals.listen()
with signals.raised():
    assert signal.getsignal(signal.SIGINT) == {usual}
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("command", _COMMANDS)
def test_a_blocked_signal_waits_until_it_can_be_heard(command: str, silent_brokers: str) -> None:
    with ending(_started(command.split(), _environment(silent_brokers), _dropped_but_blocked)) as process:
        process.terminate()
        assert _ended(process) == (0 if command in _UNTIL_TOLD else 143, "Ended by SIGTERM before it began.")


@pytest.mark.parametrize("milliseconds", [50, 100, 200, 300, 500, 800, 1_200, 5_000])
def test_run_ends_well_whenever_the_signal_comes(milliseconds: int, silent_brokers: str) -> None:
    with ending(_started(["connector", "run"], _environment(silent_brokers), _dropped_but_blocked)) as process:
        time.sleep(milliseconds / 1_000)
        process.terminate()
        code, last = _ended(process)
        assert code == 0
        assert last == "Ended by SIGTERM before it began." or '"stopped"' in last


@pytest.mark.parametrize(
    ("command", "clients"),
    [
        ("audit", 1),
        ("replay --yes", 1),
        ("check", 1),
        ("demo --events 1000000", 2),  # the broker counts as one, the producer is the other
    ],
)
@pytest.mark.parametrize(
    ("number", "end"),
    [(signal.SIGTERM, (143, "Ended by SIGTERM before it was done.")), (signal.SIGINT, (1, "Interrupted."))],
    ids=["SIGTERM", "SIGINT"],
)
def test_a_command_ends_in_the_midst_of_it(
    command: str, clients: int, number: signal.Signals, end: tuple[int, str], silent_brokers: str
) -> None:
    with ending(_started(["connector", *command.split()], _environment(silent_brokers), _interruptible)) as process:
        _until(lambda: _clients(process) >= clients, "Kafka's clients are made")
        time.sleep(1.0)
        process.send_signal(number)
        assert _ended(process) == end


def test_the_sandbox_ends_well(tmp_path: Path) -> None:
    with ending(
        _started(["connector", "sandbox", "--port", "0", "--port-file", str(tmp_path / "port")], _environment("-"))
    ) as process:
        _until((tmp_path / "port").exists, "it listens")
        process.terminate()
        assert _ended(process)[0] == 0


def test_a_signal_that_is_held_waits_for_its_moment() -> None:
    with signals.held() as raise_what_waits:
        raise_what_waits()
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)  # as `timeout` sends it: to the process, and to its group
        with pytest.raises(signals.Terminated):
            raise_what_waits()


def test_a_second_signal_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    with signals.held():
        os.kill(os.getpid(), signal.SIGINT)
        monkeypatch.setattr(signals, "SAME_SIGNAL_SECONDS", 0.0)
        time.sleep(0.01)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_no_exception_is_raised_while_libraries_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers = []

    def loaded(name: str) -> ModuleType:
        handlers.append(signal.getsignal(signal.SIGTERM))
        return import_module(name)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(program, "import_module", loaded)
    with pytest.raises(SystemExit):
        program.main(["lint", "--help"])
    assert handlers == [before]
