"""Progress bars for commands that read whole topics. Without a terminal nothing is shown."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn

__all__ = ["ProgressBar", "columns"]


def columns() -> tuple[ProgressColumn, ...]:
    """Return the columns of a bar: description, bar, count and elapsed time."""
    return TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()


class ProgressBar:
    """A bar on standard error that shows one phase at a time.

    Each phase replaces the one before.
    """

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._progress = Progress(*columns(), console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task("asking the brokers", total=None)

    def __enter__(self) -> Self:
        """Show the bar."""
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Remove the bar."""
        self._progress.stop()

    def phase(self, description: str, total: int) -> None:
        """Begin a phase of ``total`` steps."""
        self._progress.reset(self._task, description=description, total=total)

    def advance(self, steps: int) -> None:
        """Advance the bar by ``steps``."""
        self._progress.advance(self._task, steps)
