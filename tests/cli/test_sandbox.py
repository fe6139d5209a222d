"""`connector sandbox` as a process: it prints address and credentials, and stops on SIGTERM."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.patience import patience
from tests.processes import ending

COMMAND = [sys.executable, "-m", "connector", "sandbox"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_listens_tells_how_to_use_it_and_stops_on_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    port_file = tmp_path / "port"
    command = [*COMMAND, "--port", "0", "--port-file", str(port_file)]
    with ending(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)) as process:
        deadline = time.monotonic() + patience(20)
        while not port_file.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        url = f"http://127.0.0.1:{int(port_file.read_text())}"
        with urllib.request.urlopen(url + "/sandbox/status", timeout=patience(5)) as answer:  # noqa: S310 - the URL is ours, and http
            counts = json.load(answer)
        process.send_signal(number)
        screen, _ = process.communicate(timeout=patience(10))
    assert counts["events"] == 0
    assert process.returncode == 0
    for wanted in (f"AMAZON_BASE_URL={url}", "AMAZON_REFRESH_TOKEN=", "SCHEMA_REGISTRY_URL=", f"{url}/sandbox/faults"):
        assert wanted in screen


def test_a_port_that_is_taken_is_said_in_a_sentence_and_exits_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run([*COMMAND, "--port", port], capture_output=True, text=True, timeout=patience(20), check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"The sandbox cannot listen on 127.0.0.1:{port}: ")
    assert done.stderr.count("\n") == 1
