"""A progress bar for commands that read whole topics; nothing where no person looks on."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn

__all__ = ["ProgressBar", "columns"]


def columns() -> tuple[ProgressColumn, ...]:
    """Return what a bar shows: what is done, how much of how much, and since when."""
    return TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()


class ProgressBar:
    """One bar on standard error at a time, for one phase after another; each leaves when the next begins."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._progress = Progress(*columns(), console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task("asking the brokers", total=None)

    def __enter__(self) -> Self:
        """Show it."""
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Take it away."""
        self._progress.stop()

    def phase(self, description: str, total: int) -> None:
        """Begin a phase of so many steps."""
        self._progress.reset(self._task, description=description, total=total)

    def advance(self, steps: int) -> None:
        """Go on by so many steps."""
        self._progress.advance(self._task, steps)
