"""The shell around the pipeline: feeds it inputs and carries out its commands. Decides nothing.

    consumer thread ──post──▶ inbox ──▶ Pipeline.handle(input, now) ──▶ commands ──▶ consumer thread,
    reports of the producer ───┘  ▲                                                 sink, ledger,
                                  └─────────────── answers, restores ◀───────────── letters

The inbox needs no bound of its own, because everything that feeds it has one: two polls, one answer
per request, one report per flush or letter.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import assert_never, cast

from connector.core import commands, inputs, status
from connector.core.pipeline import Pipeline
from connector.core.recovery import Recovery
from connector.errors import KafkaDenied, Refused, Unavailable
from connector.intake import Origin
from connector.model import Moment, TopicPartition
from connector.ports import Clock, Confirmation, Ledger, Letters, Record, Sink, Source
from connector.telemetry import Telemetry

__all__ = ["Runtime"]

_RESTORES_AT_ONCE = 4
_BREATH_SECONDS = 0.005
"""Minimum sleep, so that a wake-up time in the past does not become a busy loop."""


class Runtime:
    """Runs one connector until it is asked to stop, or must.

    ``chance`` returns a random number from [0, 1), for the jitter of retries. Clock and chance are
    parameters, so that a run can be repeated from a seed. ``clock.monotonic`` must be the clock of
    the event loop.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        sink: Sink,
        ledger: Ledger,
        letters: Letters,
        telemetry: Telemetry,
        clock: Clock,
        chance: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._chance = chance
        self._pipeline = pipeline
        self._sink = sink
        self._ledger = ledger
        self._letters = letters
        self._telemetry = telemetry
        self._inbox: asyncio.Queue[inputs.Input | Exception] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._partitions: dict[int, TopicPartition] = {}
        self._written: deque[tuple[int, int]] = deque()
        """Letters that the brokers confirmed, by generation and offset; filled on their threads."""
        self._letters_wait = False  # whether `_post_letters` is called soon
        self._stop: commands.Stop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._restoring = ThreadPoolExecutor(_RESTORES_AT_ONCE, thread_name_prefix="restore")

    def post(self, input_: inputs.Input | Exception) -> None:
        """Queue an input, or the error that must end the process. May be called on any thread."""
        self._on_loop(self._inbox.put_nowait, input_)

    def _on_loop(self, call: Callable[..., None], *arguments: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *arguments)

    async def run(self, source: Source) -> str | None:
        """Run until drained; return the reason for a stop by itself, None after a requested one."""
        source.start()
        try:
            while self._stop is None:
                input_ = await self._next(source)
                self._observe(input_)
                for command in self._pipeline.handle(input_, self._now(source)):
                    self._carry_out(command, source)
                if isinstance(input_, inputs.Polled):
                    source.polled_handled()
                self._telemetry.needs_operator(status.needs_operator(self._pipeline))
                for doubt in self._pipeline.doubts():
                    self._telemetry.key_doubted(doubt)
        finally:
            for task in self._tasks:
                task.cancel()
            self._partitions.clear()  # ends every restore under way
            if not await asyncio.to_thread(source.close):
                self._telemetry.group_not_left()
            self._restoring.shutdown(wait=False, cancel_futures=True)
        return self._stop.verdict

    async def _next(self, source: Source) -> inputs.Input:
        if self._inbox.empty():
            wake_at = self._pipeline.wake_at(self._now(source))
            wait = None if wake_at is None else max(wake_at - self._clock.monotonic(), _BREATH_SECONDS)
            try:
                async with asyncio.timeout(wait):
                    input_ = await self._inbox.get()
            except TimeoutError:
                return inputs.TimePassed()
        else:
            input_ = self._inbox.get_nowait()
        if isinstance(input_, Exception):
            raise input_
        return input_

    def _now(self, source: Source) -> Moment:
        return Moment(self._clock.wall_ms(), self._clock.monotonic(), source.last_poll, source.vouched, self._chance())

    def _observe(self, input_: inputs.Input) -> None:
        match input_:
            case inputs.Assigned(partition, generation):
                self._partitions[generation] = partition
                self._telemetry.assigned(partition)
            case inputs.Lost(generations):
                for generation in generations:
                    if (lost := self._partitions.pop(generation, None)) is not None:
                        self._telemetry.lost(lost)
            case _:
                pass

    # ---- commands

    def _carry_out(self, command: commands.Command, source: Source) -> None:
        match command:
            case commands.Send():
                self._spawn(self._send(command, source))
            case commands.AppendFacts():
                self._append(command)
            case commands.WriteLetter():
                self._write_letter(command)
            case commands.Restore():
                self._spawn(self._restore(command))
            case commands.Release(partition, generation, unresolved):
                self._partitions.pop(generation, None)
                self._telemetry.released(partition, unresolved)
                source.submit(command)
            case commands.Start() | commands.Commit() | commands.Pause() | commands.Resume() | commands.StartOver():
                source.submit(command)
            case commands.Stop():
                self._stop = command
            case _:
                assert_never(command)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.post(error if isinstance(error, Exception) else RuntimeError(type(error).__name__))

    async def _send(self, command: commands.Send, source: Source) -> None:
        def may_start() -> bool:
            return self._pipeline.may_start(command.generations, self._now(source))

        began = self._clock.monotonic()
        answer = await self._sink.send(command.body, command.count, may_start=may_start)
        self._telemetry.answered(answer, self._clock.monotonic() - began, command.count, command.attempt)
        self._inbox.put_nowait(inputs.RequestFinished(command.request, answer))

    def _append(self, command: commands.AppendFacts) -> None:
        topic = self._ledger.topic_for(command.partition.topic)

        def report(confirmation: Confirmation) -> None:
            if confirmation.error is None:
                self.post(inputs.FactsAppended(command.generation, confirmation.offset + 1, confirmation.append_ms))
            else:
                self._telemetry.facts_failed(command.partition, topic, confirmation.error)
                self.post(inputs.FactsFailed(command.generation, topic, confirmation.error))

        try:
            self._ledger.append(command.partition, command.topic_id, command.facts, report)
        except Exception as error:  # noqa: BLE001 - this entry alone fails: it is retried, and nothing is sent meanwhile
            report(Confirmation(type(error).__name__, -1, None))

    def _write_letter(self, command: commands.WriteLetter) -> None:
        def report(confirmation: Confirmation) -> None:
            if confirmation.error is None:
                self._telemetry.letter_written(command.partition, command.offset, command.flaw)
                self._written.append((command.generation, command.offset))
                if not self._letters_wait:
                    self._letters_wait = True
                    self._on_loop(self._post_letters)
            else:
                self._telemetry.letter_failed(self._letters.topic_for(command.partition.topic), confirmation.error)
                self.post(inputs.LetterFailed(command.generation, command.offset, confirmation.error))

        origin = Origin(command.partition, command.generation, self._ledger.cluster_id, command.topic_id)
        record = cast("Record", command.record)
        try:
            self._letters.write(origin, record, command.flaw, report, command.manner)
        except Exception as error:  # noqa: BLE001 - this letter alone fails: its partition waits, and an operator is told
            report(Confirmation(type(error).__name__, -1, None))

    def _post_letters(self) -> None:
        """Post the letters confirmed until now as one input: a turn costs more than a letter.

        What a reporting thread adds from here on finds ``_letters_wait`` lowered, and calls again.
        """
        self._letters_wait = False
        letters: list[tuple[int, int]] = []
        while self._written:
            letters.append(self._written.popleft())
        if letters:
            self._inbox.put_nowait(inputs.LettersWritten(tuple(letters)))

    def _restore_wanted(self, command: commands.Restore, since: float) -> tuple[Recovery, float]:
        """Restore an assignment; give up once it has ended, even before this restore's turn.

        Return how many seconds it took, too, without the wait for its turn.
        """
        if not self._is_ours(command):
            raise Unavailable(f"{command.partition} is not ours any more")
        began = self._clock.monotonic()
        recovery = self._ledger.restore(
            command.partition,
            truncated=command.truncated,
            wanted=lambda: self._is_ours(command),
            progress=lambda read, of: self._on_loop(self._tell_progress, command, read, of),
            since=since,
        )
        return recovery, self._clock.monotonic() - began

    def _is_ours(self, command: commands.Restore) -> bool:
        return command.generation in self._partitions

    def _tell_progress(self, command: commands.Restore, read: int, of: int) -> None:
        if self._is_ours(command):
            self._telemetry.restoring(command.partition, read, of)

    async def _restore(self, command: commands.Restore) -> None:
        since = self._clock.monotonic()
        try:
            recovery, seconds = await self._loop.run_in_executor(self._restoring, self._restore_wanted, command, since)
        except (Refused, Unavailable) as error:
            if not self._is_ours(command):
                return
            needs_operator = isinstance(error, Refused | KafkaDenied)
            self._telemetry.restore_failed(command.partition, str(error), needs_operator)
            self._inbox.put_nowait(inputs.RestoreFailed(command.generation, str(error), needs_operator))
            return
        if not self._is_ours(command):
            return  # else our gauges would show a partition that belongs to another member
        self._telemetry.restored(command.partition, recovery, seconds)
        self._inbox.put_nowait(inputs.Restored(command.generation, recovery))
