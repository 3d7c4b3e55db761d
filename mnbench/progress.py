"""Progress: what a long call reports to the function that its caller passes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Stage: TypeAlias = Literal["prepare", "build", "roofline", "measure", "profile", "compare", "calibrate", "download"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One report: `done` of `total` steps of a stage are complete. A message that belongs to no step has no `total`.

    `record` is the result that the step completed, if it completed one.
    """

    stage: Stage
    done: int = 0
    total: int | None = None
    message: str = ""
    record: Any = None


OnProgress: TypeAlias = Callable[[Progress], None]


def report(on_progress: OnProgress | None, stage: Stage, message: str) -> None:
    """Report a message that belongs to no step."""
    if on_progress:
        on_progress(Progress(stage=stage, message=message))


class StageProgress:
    """Count the steps of one stage and report each."""

    def __init__(self, on_progress: OnProgress | None, stage: Stage, total: int) -> None:
        self._on_progress = on_progress
        self._stage: Stage = stage
        self._done = 0
        self._total = total
        self._report("", None)

    def advance(self, message: str = "", *, added_steps: int = 0, record: Any = None) -> None:
        """Report one completed step; `added_steps` change the number of steps."""
        self._done += 1
        self._total += added_steps
        self._report(message, record)

    def _report(self, message: str, record: Any) -> None:
        if self._on_progress:
            self._on_progress(
                Progress(stage=self._stage, done=self._done, total=self._total, message=message, record=record)
            )
