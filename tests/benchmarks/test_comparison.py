"""The harness of ``make bench-peers``: reports of peers, peers that fail, and ratios by round."""

from __future__ import annotations

import ast
import json
import re
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pytest

from tests.benchmarks.comparison import BARE, Comparison, PeerFailed, Run, Side, compare, peer, picture, table, wall
from tests.benchmarks.members import run_members
from tests.benchmarks.sides import bare_loop
from tests.benchmarks.surroundings import Topic, endpoint, filled_broker, received
from tests.benchmarks.traffic import Traffic, due, records
from tests.benchmarks.work import Measured, Task

_HERE = Path(__file__).parent
_TASK = Task("kafka:9092", "http://endpoint", "conversions", "group", 10)


def _python(directory: Path, script: str) -> Path:
    """Return a program in place of the peers' Python."""
    program = directory / "python"
    program.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    program.chmod(0o755)
    return program


def test_a_peer_is_given_its_task_and_its_last_line_is_read(tmp_path: Path) -> None:
    measured = Measured(2.0, 3.0, 1.5, 10_000)
    python = _python(tmp_path, f"echo \"$2 $3\" > {tmp_path}/told; echo starting; echo '{json.dumps(asdict(measured))}'")

    assert peer(python, "with_quix", _TASK) == measured
    module, _, task = (tmp_path / "told").read_text("utf-8").partition(" ")
    assert module == "tests.benchmarks.peers.with_quix"
    assert Task(**json.loads(task)) == _TASK


def test_a_peer_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(PeerFailed, match=r"^ImportError: no RocksDB$"):
        peer(_python(tmp_path, "echo Traceback >&2; echo 'ImportError: no RocksDB' >&2; exit 1"), "with_quix", _TASK)
    with pytest.raises(PeerFailed, match=r"^exit code 3$"):
        peer(_python(tmp_path, "exit 3"), "with_quix", _TASK)
    with pytest.raises(PeerFailed, match=r"No such file.*make bench-peers"):
        peer(tmp_path / "nowhere", "with_quix", _TASK)


def _run(seconds: float, cpu_seconds: float, committed: int = 1_000) -> Run:
    return Run(Measured(seconds, seconds, cpu_seconds, 50_000_000), committed)


def _found() -> Comparison:
    rounds = [
        {BARE: _run(4, 2), "ours": _run(2, 0.5), "peer": _run(8, 8, 0)},
        {BARE: _run(6, 2), "ours": _run(6, 1.0), "peer": _run(8, 4, 0)},
        {BARE: _run(9, 3), "ours": _run(3, 1.0), "peer": _run(9, 3, 0)},
    ]
    return Comparison(1_000, [90_000.0] * 3, rounds, {"broken": "no RocksDB"})


def test_a_ratio_is_of_the_runs_of_one_round() -> None:
    assert _found().ratios("ours", wall) == [2, 1, 3]
    assert _found().ratios("peer", wall) == [0.5, 0.75, 1]
    assert _found().ratios(BARE, wall) == [1, 1, 1]
    assert _found().ratios("broken", wall) == []


def test_the_table_has_medians_and_names_who_could_not_run() -> None:
    shown = table(_found(), [BARE, "ours", "peer", "broken"], "title")
    rows = {cells[0]: cells[1:] for cells in zip(*(column.cells for column in shown.columns), strict=True)}

    assert rows["ours"] == ("333", "2.00 (1.00 to 3.00)", "3.00 (2.00 to 4.00)", "1000.0 µs", "50 MB", "100%")
    assert rows["peer"][-1] == "0%"
    assert rows["broken"][0] == "cannot run: no RocksDB"


def test_the_picture_has_both_ratios_of_all_that_ran() -> None:
    drawn = picture(_found(), [BARE, "ours", "broken"], "3 rounds")

    texts = re.findall(r">([^<]+)</text>", drawn)
    assert texts[2:] == [BARE, "1.00", "1.00", "ours", "2.00", "3.00", "3 rounds"]
    lengths = [int(width) for width in re.findall(r'width="(\d+)" height="12"', drawn)]
    assert lengths[3] == max(lengths) == pytest.approx(3 * lengths[0], abs=3)


def test_sides_take_turns_and_one_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    broken = partial(peer, _python(tmp_path, "echo 'no RocksDB' >&2; exit 1"), "with_quix")
    to_deliver = due(Traffic.MIXED, 600)

    found = compare(
        [Side(BARE, bare_loop, to_deliver.bare_loop), Side("broken", broken, to_deliver.peer)],
        Traffic.MIXED,
        600,
        rounds=2,
        warm_up=False,
        say=lambda _: None,
    )

    assert [list(runs) for runs in found.rounds] == [[BARE], [BARE]]
    assert [run.committed for run in found.runs(BARE)] == [600, 600]
    assert found.failed == {"broken": "no RocksDB"}
    assert len(found.ceilings) == 2
    assert min(found.ceilings) > 0


def test_what_runs_in_the_peers_environment_imports_nothing_of_the_connector() -> None:
    files = [_HERE / "work.py", *(_HERE / "peers").glob("*.py")]
    imported = {
        node.module or ""
        for file in files
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom)
    }

    assert len(files) == 5
    assert {name for name in imported if name.split(".")[0] in ("connector", "tests")} == {
        "tests.benchmarks.peers.report",
        "tests.benchmarks.work",
    }


def test_two_members_share_the_work_of_one_group() -> None:
    topic = Topic("conversions", 0, Traffic.CLEAN, ("group",))
    values = list(records(Traffic.CLEAN, 2_000, time.time_ns() // 1_000_000))
    with filled_broker((topic,)) as servers, endpoint() as url:
        found = run_members(Task(servers, url, topic.name, "group", len(values)), 2, values)
        arrived = received(url)

    assert sum(found.resolved) == arrived == 2_000
    assert min(found.resolved) > 500
    assert found.seconds > 0
    assert found.cpu_seconds > 0
