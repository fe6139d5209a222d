"""The virtual clock and its threads: time jumps, one thread runs at a time, a crash unwinds where it stands."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.simulation.virtual_time import HOST, PROCESS, Killed, Process, VirtualLoop


def play(story: Callable[[Process], object]) -> list[str]:
    """Run a coroutine function with a process, and return what was noted."""
    loop = VirtualLoop()
    noted: list[str] = []
    process = Process(loop, "process")

    async def tell() -> None:
        PROCESS.set(process)
        await story(process, lambda what: noted.append(f"{loop.time():g} {what}"))  # type: ignore[call-arg, misc]  # a story takes both

    try:
        loop.run_until_complete(tell())
    finally:
        loop.close()
    return noted


def test_time_passes_only_by_waiting() -> None:
    async def story(process: Process, note: Callable[[str], None]) -> None:
        await asyncio.sleep(3600)
        note("an hour later")
        await asyncio.sleep(0)
        note("at once")

    assert play(story) == ["3600 an hour later", "3600 at once"]  # type: ignore[arg-type]  # as above


def test_threads_take_turns_by_the_clock() -> None:
    async def story(process: Process, note: Callable[[str], None]) -> None:
        def count(name: str, seconds: float) -> None:
            for number in range(3):
                HOST.sleep(seconds)
                note(f"{name}{number}")

        process.spawn(lambda: count("a", 1.0))
        process.spawn(lambda: count("b", 0.8))
        await asyncio.sleep(10)

    assert play(story) == ["0.8 b0", "1 a0", "1.6 b1", "2 a1", "2.4 b2", "3 a2"]  # type: ignore[arg-type]  # as above


def test_a_queue_wakes_who_waits_and_gives_up_in_time() -> None:
    async def story(process: Process, note: Callable[[str], None]) -> None:
        commands = HOST.queue()

        def serve() -> None:
            note(commands.get(timeout=5))
            with pytest.raises(queue.Empty):
                commands.get(timeout=5)
            note("nothing more")

        thread = HOST.thread(serve, "serves")
        thread.start()
        await asyncio.sleep(2)
        commands.put("a command")
        await asyncio.to_thread(thread.join)
        note("joined")

    assert play(story) == ["2 a command", "7 nothing more", "7 joined"]  # type: ignore[arg-type]  # as above


def test_an_executor_has_so_many_workers() -> None:
    async def story(process: Process, note: Callable[[str], None]) -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(2) as executor:
            await asyncio.gather(*(loop.run_in_executor(executor, HOST.sleep, 1.0) for _ in range(5)))
        note("done")

    assert play(story) == ["3 done"]  # type: ignore[arg-type]  # as above


def test_a_crash_ends_threads_where_they_stand_and_no_handler_of_theirs_keeps_them() -> None:
    async def story(process: Process, note: Callable[[str], None]) -> None:
        def work() -> None:
            try:
                HOST.sleep(100)
                note("never")
            except Exception:
                note("never either")

        process.spawn(work)
        process.on_crash = process.kill
        process.crash_at = 2
        await asyncio.sleep(1)
        process.step()
        with pytest.raises(Killed):
            process.step()
        await asyncio.sleep(1)
        note("gone" if all(thread.ended for thread in process._threads) else "still there")

    assert play(story) == ["2 gone"]  # type: ignore[arg-type]  # as above


def test_a_loop_that_nobody_will_ever_wake_says_so() -> None:
    async def story(process: Process, note: Callable[[str], None]) -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(RuntimeError, match="a dead end"):
        play(story)  # type: ignore[arg-type]  # as above
