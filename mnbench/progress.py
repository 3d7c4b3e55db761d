"""Progress: what a long call reports to the function that its caller passes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Stage: TypeAlias = Literal["prepare", "build", "roofline", "measure", "profile", "compare", "calibrate", "download"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One report: `done` of `total` steps of a stage are complete. A message that belongs to no step has no `total`.

    `record` is the result that the step completed, if it completed one. `detail` says how the stage stands.
    `remaining_s` is the stage's expected remaining time, None if the duration of its steps says it.
    """

    stage: Stage
    done: int = 0
    total: int | None = None
    message: str = ""
    record: Any = None
    detail: str = ""
    remaining_s: float | None = None


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
        self.report()

    def advance(self, message: str = "") -> None:
        """Report one completed step."""
        self._done += 1
        self.report(message)

    def report(self, message: str = "", **state: Any) -> None:
        """Report how the stage stands; `state` are other fields of Progress."""
        if self._on_progress:
            common: dict[str, Any] = {"stage": self._stage, "done": self._done, "total": self._total}
            self._on_progress(Progress(message=message, **{**common, **state}))
