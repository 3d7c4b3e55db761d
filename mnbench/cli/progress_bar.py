"""The progress of a long command on stderr: a bar on a terminal, a line per completed case elsewhere."""

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

from mnbench.progress import Progress, Stage

if TYPE_CHECKING:
    from rich.console import Console

LABELS: dict[Stage, str] = {
    "prepare": "preparing",
    "build": "building",
    "roofline": "peak and bandwidth",
    "measure": "measuring",
    "profile": "profiling",
    "compare": "comparing",
    "calibrate": "calibrating",
    "download": "megabytes",
}


class ProgressBar:
    """A bar that shows the reports of a library call, as its `on_progress`; nothing is shown before the first one."""

    def __init__(self) -> None:
        self._console: Console | None = None
        self._bar: Any = None
        self._task: Any = None
        self._stage: Stage | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._remove()

    def __call__(self, progress: Progress) -> None:
        if progress.total is None:
            if progress.message:
                click.echo(progress.message, err=True)
            return
        if self._console is None:
            from rich.console import Console

            self._console = Console(stderr=True)
        if self._console.is_terminal:
            self._draw(progress, self._console)
        elif progress.message:
            self._console.print(progress.message, markup=False, highlight=False, soft_wrap=True)

    def _draw(self, progress: Progress, console: "Console") -> None:
        from rich import progress as rich_progress

        if progress.stage != self._stage or progress.done == 0:
            self._remove()
            self._stage = progress.stage
            self._bar = rich_progress.Progress(
                rich_progress.TextColumn("{task.description}"),
                rich_progress.BarColumn(),
                rich_progress.MofNCompleteColumn(),
                rich_progress.TimeElapsedColumn(),
                rich_progress.TextColumn("remaining"),
                rich_progress.TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(LABELS[progress.stage], total=progress.total)
        self._bar.update(self._task, completed=progress.done, total=progress.total)

    def _remove(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None
