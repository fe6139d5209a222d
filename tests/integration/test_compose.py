"""The compose file's services of ours: their commands and environments move events from Kafka to the sandbox."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.deploy import compose


def _start(arguments: Sequence[str], environment: Mapping[str, str], output: Path) -> subprocess.Popen[bytes]:
    with output.open("wb") as written:
        return subprocess.Popen(
            [sys.executable, "-m", "connector", *arguments],
            env={"PATH": os.environ["PATH"], **environment},
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.DEVNULL,
        )


def test_services_of_ours_deliver_every_sample_once(kafka: str, tmp_path: Path) -> None:
    account = compose.play(_start, kafka, tmp_path, f"conversions-{uuid.uuid4().hex[:8]}")

    assert account.replicas == 2
    assert account.accounted_for
    assert 150 <= account.accepted < account.records
    assert account.accepted == account.accepted_ids == account.delivered
    assert set(account.exit_codes) == {0}
