"""The progress of a long command on stderr: a bar on a terminal, lines elsewhere; and how much of it is shown."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import click

from mnbench.cli.log import QUIET, VERBOSE, is_quiet
from mnbench.cli.output import echo
from mnbench.progress import Progress, Stage
from mnbench.units import format_time

if TYPE_CHECKING:
    from rich.console import Console

Command = TypeVar("Command", bound=Callable[..., Any])

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

LINE_INTERVAL_S = 10.0
"""Seconds between two lines that say how far a stage is, where no terminal shows a bar."""

BAR_WIDTH = 12
"""Narrow, so that a line of 80 characters has space for how the stage stands."""


def _set_verbosity(ctx: click.Context, option: click.Parameter, value: bool) -> None:  # noqa: FBT001  Click's call
    if not value:
        return
    ctx.meta[QUIET if option.name == "quiet" else VERBOSE] = True
    if ctx.meta.get(QUIET) and ctx.meta.get(VERBOSE):
        raise click.UsageError("--quiet and --verbose exclude each other")
    if option.name == "verbose":
        import logging

        logging.getLogger("mnbench").setLevel(logging.INFO)


def verbosity_options(command: Command) -> Command:
    """Add `--quiet` and `--verbose` to a command that reports progress."""
    quiet = "Show only the result and errors: no progress, and not where results are stored."
    verbose = "Also show each process, and the files and programs that are used."
    flags: dict[str, Any] = {"is_flag": True, "expose_value": False, "callback": _set_verbosity}
    return click.option("-q", "--quiet", help=quiet, **flags)(
        click.option("-v", "--verbose", help=verbose, **flags)(command)
    )


def echo_note(text: str) -> None:
    """Write a line to stderr that `--quiet` leaves out."""
    if not is_quiet():
        echo(text, err=True)


class ProgressBar:
    """Shows the reports of a library call, as its `on_progress`; nothing is shown before the first one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._quiet = is_quiet()
        self._console: Console | None = None
        self._bar: Any = None
        self._task: Any = None
        self._stage: Stage | None = None
        self._last_line = 0.0
        self._first_end: tuple[int, float] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._remove()

    def __call__(self, progress: Progress) -> None:
        if self._quiet:
            return
        if progress.total is None:
            if progress.message:
                echo(progress.message, err=True)
            return
        if self._console is None:
            from rich.console import Console

            self._console = Console(stderr=True)
        if self._console.is_terminal:
            self._draw(progress, progress.total, self._console)
            return
        if progress.message:
            echo(progress.message, err=True)
        self._print_line(progress, progress.total)

    def _print_line(self, progress: Progress, total: int) -> None:
        """Print how the stage stands, if the last such line is some time ago."""
        now = self._clock()
        if self._begins(progress):
            self._last_line = now
        state = self._state(progress, total)
        if state and now - self._last_line >= LINE_INTERVAL_S:
            self._last_line = now
            echo(f"{LABELS[progress.stage]}: {progress.done} of {total}, {state}", err=True)

    def _draw(self, progress: Progress, total: int, console: "Console") -> None:
        from rich import progress as rich_progress

        if self._begins(progress):
            self._remove()
            self._bar = rich_progress.Progress(
                rich_progress.TextColumn("{task.description}"),
                rich_progress.BarColumn(bar_width=BAR_WIDTH),
                rich_progress.MofNCompleteColumn(),
                rich_progress.TextColumn("{task.elapsed:.0f} s"),  # also of a stage that goes on when all is done
                rich_progress.TextColumn("{task.fields[state]}", markup=False),
                console=console,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(LABELS[progress.stage], total=total, state="")
        self._bar.update(self._task, completed=progress.done, total=total, state=self._state(progress, total))

    def _begins(self, progress: Progress) -> bool:
        """Return whether a stage begins with this report."""
        begins = progress.stage != self._stage or (progress.done == 0 and progress.remaining_s is None)
        if begins:
            self._stage, self._first_end = progress.stage, None
        return begins

    def _state(self, progress: Progress, total: int) -> str:
        """Return the detail and the remaining time; where the stage does not say it, its steps so far do.

        The first step does not count: packages are imported in it.
        """
        remaining_s, now = progress.remaining_s, self._clock()
        if progress.done and not self._first_end:
            self._first_end = progress.done, now
        first, first_end = self._first_end or (0, now)
        if remaining_s is None and progress.done > first:
            remaining_s = (now - first_end) / (progress.done - first) * (total - progress.done)
        remaining = f"about {format_time(remaining_s)} remaining" if remaining_s else ""
        return ", ".join(filter(None, (progress.detail, remaining)))

    def _remove(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None
