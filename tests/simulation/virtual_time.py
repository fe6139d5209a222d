"""Virtual time: an event loop whose clock jumps, and threads that run one at a time, in an order that a seed decides.

The connector has threads (the consumer's, the producer's reports, restores) and an event loop. Here all of them run for
real, but strictly by turns: a thread runs only while the loop waits for it, and hands the baton back wherever production
code would block (a queue, a semaphore, a sleep, a call to Kafka's client). Every wake-up is a callback of the loop, so there
is one order of events, and time passes only when nothing else is left to do. Nothing of the connector is changed for it: its
parts are given `VirtualHost` for the clock and the threads of the machine.

A `Process` is what may crash: its threads are unwound where they stand by `Killed`, which no ``except Exception`` catches.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import queue
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, Final

from connector.kafka.host import Host

__all__ = ["HOST", "PROCESS", "Killed", "Process", "VirtualHost", "VirtualLoop"]


class Killed(BaseException):
    """The process of this thread or task is gone."""


class Process:
    """What the threads and tasks of one process have in common: they end together."""

    def __init__(self, loop: VirtualLoop, name: str) -> None:
        self.loop = loop
        self.name = name
        self.alive = True
        self.steps = 0
        """Calls to the world around, so far."""
        self.crash_at = 0
        """The step that it does not survive; 0 for none."""
        self.on_crash: Callable[[], None] = lambda: None
        self._threads: list[_Thread] = []

    def step(self) -> None:
        """Pass a point at which it may crash: every call to the world around is one."""
        self.steps += 1
        if self.steps == self.crash_at:
            self.on_crash()
        if not self.alive:
            raise Killed

    def spawn(self, run: Callable[[], None]) -> _Thread:
        """Start a thread."""
        thread = _Thread(self, run)
        self._threads.append(thread)
        thread.start()
        return thread

    def kill(self) -> None:
        """End every thread where it stands; they unwind at their next turn."""
        self.alive = False
        self.wake_all()

    def wake_all(self) -> None:
        """Let every thread that blocks look again at what it waits for."""
        self._threads = [thread for thread in self._threads if not thread.ended]
        for thread in self._threads:
            thread.wake()

    def block(self, until: float | None) -> None:
        """Hand the baton back until a second of the loop's clock, or until woken; from one of its threads."""
        _running().block(until)


PROCESS: Final[contextvars.ContextVar[Process]] = contextvars.ContextVar("process")
"""Of the task or thread that runs."""


class _Worker:
    """A thread of the operating system, lent to one simulated thread after another."""

    idle: Final[list[_Worker]] = []

    def __init__(self) -> None:
        self._go, self._back = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._back.acquire()
        self._job: Callable[[], None] = lambda: None
        threading.Thread(target=self._serve, name="simulated", daemon=True).start()

    @classmethod
    def hire(cls, job: Callable[[], None]) -> _Worker:
        worker = cls.idle.pop() if cls.idle else cls()
        worker._job = job
        return worker

    def _serve(self) -> None:
        while True:
            self._go.acquire()
            self._job()
            self.idle.append(self)
            self._back.release()

    def resume(self) -> None:
        """Let it run until it blocks or ends; from the loop."""
        self._go.release()
        self._back.acquire()

    def pause(self) -> None:
        """Let the loop run until it resumes this; from the worker."""
        self._back.release()
        self._go.acquire()


class _Thread:
    """One simulated thread."""

    running: _Thread | None = None
    """The one whose turn it is; None while it is the loop's."""

    def __init__(self, process: Process, run: Callable[[], None]) -> None:
        self._process = process
        self._run = run
        self._worker: _Worker | None = None
        self._context = contextvars.copy_context()
        self._turn = 0  # names one stretch of blocking: a wake-up for an earlier one is void
        self._blocked = False
        self._joining: list[_Thread] = []
        self.ended = False

    def start(self) -> None:
        self._worker = _Worker.hire(lambda: self._context.run(self._main))
        self._blocked = True
        self.wake()

    def _main(self) -> None:
        PROCESS.set(self._process)
        try:
            if self._process.alive:
                self._run()
        except Killed:
            pass
        except BaseException as error:  # the world must hear of it: nobody else looks
            self._process.loop.failed(error)
        finally:
            self.ended = True
            for thread in self._joining:
                thread.wake()

    def wake(self) -> None:
        if self._blocked:
            self._process.loop.call_soon(self._resume, self._turn)

    def _resume(self, turn: int) -> None:
        if self._blocked and turn == self._turn and self._worker is not None:
            self._blocked = False
            _Thread.running = self
            self._worker.resume()
            _Thread.running = None

    def block(self, until: float | None) -> None:
        self._turn += 1
        self._blocked = True
        timer = None if until is None else self._process.loop.call_at(until, self._resume, self._turn)
        if self._worker is not None:
            self._worker.pause()
        if timer is not None:
            timer.cancel()
        if not self._process.alive:
            raise Killed

    def join(self) -> None:
        if not self.ended:
            self._joining.append(_running())
        while not self.ended:
            self._process.block(None)


def _running() -> _Thread:
    if _Thread.running is None:
        raise RuntimeError("the event loop would block")
    return _Thread.running


_MANY_TIMERS: Final = 100
_INSTANT_SECONDS: Final = 1e-9
"""Two moments that are no further apart are one."""


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop without sockets, on virtual time."""

    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]
    _timer_cancelled_count: int

    def __init__(self) -> None:
        super().__init__()
        self._seconds = 0.0
        self._busy: dict[Executor, int] = {}
        self._queued: dict[Executor, deque[Callable[[], None]]] = {}
        self.failed: Callable[[BaseException], None] = self._give_up
        """Told of an error that nobody caught."""

    def time(self) -> float:
        """Return the virtual second."""
        return self._seconds

    def call_at(  # type: ignore[override]  # typeshed has it generic
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Do as asyncio does, without its looks at what is forbidden."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True  # type: ignore[attr-defined]
        return timer

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Do as asyncio does, without its looks at what is forbidden."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def _run_once(self) -> None:
        """Do as asyncio does, but with no sockets to look at: let time pass instead."""
        ready = self._ready
        self._drop_cancelled_timers()
        if not ready and not self._stopping:  # type: ignore[attr-defined]
            if not self._scheduled:
                raise RuntimeError("a dead end: nothing is scheduled, and somebody waits")
            self._seconds = max(self._seconds, self._scheduled[0]._when)  # type: ignore[attr-defined]
        timers, end = self._scheduled, self._seconds + _INSTANT_SECONDS
        while timers and timers[0]._when < end:  # type: ignore[attr-defined]
            timer = heapq.heappop(timers)
            timer._scheduled = False  # type: ignore[attr-defined]
            ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def _drop_cancelled_timers(self) -> None:
        """Drop those that come first, or all where they are many: so asyncio's heap keeps its order, also of equal times."""
        timers = self._scheduled
        if len(timers) > _MANY_TIMERS and 2 * self._timer_cancelled_count > len(timers):
            self._scheduled = [timer for timer in timers if not timer._cancelled]
            heapq.heapify(self._scheduled)
            self._timer_cancelled_count = 0
        while self._scheduled and self._scheduled[0]._cancelled:
            self._timer_cancelled_count -= 1
            heapq.heappop(self._scheduled)._scheduled = False  # type: ignore[attr-defined]

    def _write_to_self(self) -> None:
        """Nothing sleeps: asyncio asks for this."""

    def _give_up(self, error: BaseException) -> None:
        raise error

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]  # typeshed has it generic
        """Run a function on a simulated thread of the process that asks, as many at once as the executor has workers."""
        future: asyncio.Future[Any] = self.create_future()
        process = PROCESS.get()

        def work() -> None:
            try:
                result = func(*args)
            except Exception as error:
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(result)
            finally:
                if isinstance(executor, ThreadPoolExecutor):
                    self._busy[executor] -= 1
                    if self._queued[executor]:
                        self._begin(executor, self._queued[executor].popleft())

        if not process.alive:
            future.cancel()
        elif isinstance(executor, ThreadPoolExecutor):
            if self._busy.get(executor, 0) >= executor._max_workers:
                self._queued[executor].append(lambda: void(process.spawn(work)))
            else:
                self._queued.setdefault(executor, deque())
                self._begin(executor, lambda: void(process.spawn(work)))
        else:
            process.spawn(work)
        return future

    def _begin(self, executor: Executor, start: Callable[[], None]) -> None:
        self._busy[executor] = self._busy.get(executor, 0) + 1
        start()


def void(_: object) -> None:
    """Return nothing, whatever was returned."""


# ---- what the connector's parts are given in place of the standard library's


class _Semaphore:
    def __init__(self, value: int) -> None:
        self._value = value
        self._process = PROCESS.get()
        self._waiting: _Thread | None = None

    def acquire(self, timeout: float) -> bool:
        deadline = self._process.loop.time() + timeout
        while not self._value:
            if self._process.loop.time() >= deadline:
                return False
            self._waiting = _running()
            self._process.block(deadline)
        self._value -= 1
        return True

    def release(self) -> None:
        self._value += 1
        if self._waiting is not None:
            self._waiting.wake()


class _Event:
    def __init__(self) -> None:
        self._set = False
        self._process = PROCESS.get()

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        self._process.wake_all()


class _StartedLater:
    """``threading.Thread``."""

    def __init__(self, target: Callable[[], None]) -> None:
        self._target = target
        self._process = PROCESS.get()
        self._thread: _Thread | None = None

    def start(self) -> None:
        self._thread = self._process.spawn(self._target)

    def join(self, timeout: float | None = None) -> None:
        """Wait, as long as it takes: no client of the simulation hangs."""
        if self._thread is not None:
            self._thread.join()

    def is_alive(self) -> bool:
        return False  # asked after a join


class _SimpleQueue:
    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._process = PROCESS.get()
        self._waiting: _Thread | None = None

    def put(self, item: Any) -> None:
        self._items.append(item)
        if self._waiting is not None:
            self._waiting.wake()

    def get_nowait(self) -> Any:
        if not self._items:
            raise queue.Empty
        return self._items.popleft()

    def get(self, timeout: float) -> Any:
        deadline = self._process.loop.time() + timeout
        while not self._items:
            if self._process.loop.time() >= deadline:
                raise queue.Empty
            self._waiting = _running()
            self._process.block(deadline)
            self._waiting = None
        return self._items.popleft()


class VirtualHost(Host):
    """The clock and the threads of a simulated machine."""

    def monotonic(self) -> float:
        return PROCESS.get().loop.time()

    def sleep(self, seconds: float) -> None:
        process = PROCESS.get()
        deadline = process.loop.time() + seconds
        while process.loop.time() < deadline:
            process.block(deadline)

    def event(self) -> Any:
        return _Event()

    def semaphore(self, value: int) -> Any:
        return _Semaphore(value)

    def queue(self) -> Any:
        return _SimpleQueue()

    def thread(self, run: Callable[[], None], name: str) -> Any:
        return _StartedLater(run)


HOST: Final = VirtualHost()
