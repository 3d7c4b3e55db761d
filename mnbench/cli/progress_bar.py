"""How far a long command is, on stderr: a bar on a terminal, a line a cell elsewhere."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class OnProgress(Protocol):
    """Tells that one more step is done; `line` is what a log should keep of it, `more` how many have been added."""

    def __call__(self, line: str = "", *, added_steps: int = 0) -> None:
        """One more step."""


@contextmanager
def show_progress(what: str, total: int) -> Generator[OnProgress]:
    """Show how many of `total` steps are done and how long the rest will take."""
    console = Console(stderr=True)
    if not console.is_terminal:

        def log(line: str = "", *, added_steps: int = 0) -> None:  # noqa: ARG001  a log has no end to show
            if line:
                console.print(line, markup=False, highlight=False, soft_wrap=True)

        yield log
        return
    parts = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("remaining"),
        TimeRemainingColumn(),
    )
    with Progress(*parts, console=console, transient=True) as bars:
        task = bars.add_task(what, total=total)

        def step(line: str = "", *, added_steps: int = 0) -> None:  # noqa: ARG001  the bar says it all
            nonlocal total
            total += added_steps
            bars.update(task, advance=1, total=total)

        yield step
