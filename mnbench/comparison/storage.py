"""Store every pair of a comparison beside the records, so that its verdict can be computed again."""

import shutil
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from mnbench import atomic_files
from mnbench.comparison.decide import DecisionRules, Effect, Finding, trial_effect
from mnbench.comparison.paired_trial import PAIR_COLUMNS, SIDES, PairedTrial
from mnbench.comparison.verdicts import ComparisonContext, conclude
from mnbench.errors import FileError, MnbenchError, ResultsError, first_line
from mnbench.json_files import BROKEN_DATA, read_json
from mnbench.results.facts import Text
from mnbench.results.npz_archive import read_archive, write_archive
from mnbench.results.store import new_run_folder, remove_unused

Stage: TypeAlias = Literal["first", "again"]

CONTEXT_FILE = "comparison.json"


@dataclass
class PairedTrialLog:
    """The trials of a comparison, one per process; stored in `folder`, if there is one."""

    folder: Path | None
    processes: list[tuple[Stage, PairedTrial]] = field(default_factory=list[tuple[Stage, PairedTrial]])

    def add(self, stage: Stage, trial: PairedTrial) -> None:
        """Add a trial, and store it. Counts take the smallest integer type that holds them, nanoseconds take int64.

        Raises:
            FileError: no space, no permission.
        """
        if self.folder:
            columns = {
                name: values if name.endswith("_ns") else values.astype(np.min_scalar_type(int(values.max(initial=0))))
                for name, values in trial.columns.items()
            }
            facts = {"stage": stage, "variants": trial.variants, "failed": trial.failed, **trial.facts}
            write_archive(self.folder / f"pairs.{len(self.processes)}.npz", columns, facts, durable=False)
        self.processes.append((stage, trial))

    def effects(self, stage: Stage, variants: Iterable[str]) -> dict[str, list[Effect]]:
        """Return the effects of each row in the processes of that stage, in order."""
        effects: dict[str, list[Effect]] = {variant: [] for variant in variants}
        for trial in (trial for trial_stage, trial in self.processes if trial_stage == stage):
            for variant in effects.keys() & set(trial.variants) - trial.failed.keys():
                columns = trial.columns_of(variant)
                if columns["first"].size:
                    effects[variant].append(trial_effect(columns, blocking_waits=trial.blocking_waits(variant)))
        return effects

    def save_context(self, context: ComparisonContext) -> None:
        """Store what was compared, by which rules: all that `Comparison.load` needs beside the trials."""
        if self.folder:
            atomic_files.write_atomically(
                self.folder / CONTEXT_FILE, msgspec.json.format(msgspec.json.encode(context)) + b"\n"
            )


@contextmanager
def unfinished_folders(results: Path | None, name: str) -> Generator[Callable[[], Path | None]]:
    """Create folders for pairs under `results/raw/` on request; delete them if the comparison does not finish.

    Without `results` there is none. `name` is what the message about an interrupt calls the comparison.
    """
    folders: list[Path] = []

    def new_folder() -> Path | None:
        if results is None:
            return None
        try:
            folders.append(new_run_folder(results / "raw", "compare"))
        except OSError as failure:
            raise atomic_files.write_error(results / "raw", failure) from failure
        return folders[-1]

    try:
        yield new_folder
    except (KeyboardInterrupt, MnbenchError) as error:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
            remove_unused(folder.parent)
        if isinstance(error, KeyboardInterrupt):
            error.add_note(f"the unfinished {name} is not stored")
        raise


def load_context_and_findings(
    folder: Path, rules: DecisionRules | None = None
) -> tuple[ComparisonContext, tuple[Finding, ...]]:
    """Decide a stored comparison again, by its own rules or by others.

    Raises:
        ResultsError: the folder holds no comparison, or a file in it cannot be read.
    """
    try:
        context = read_json(folder / CONTEXT_FILE, ComparisonContext)
        context = msgspec.structs.replace(context, rules=rules or context.rules)
        log = PairedTrialLog(None, [_load(folder / f"pairs.{process}.npz") for process in range(context.processes)])
        return context, conclude(
            log.effects("first", context.measured), log.effects("again", context.measured), context
        )
    except (FileNotFoundError, MnbenchError, ArithmeticError, *BROKEN_DATA) as failure:
        raise ResultsError(
            f"{folder}: holds no comparison that can be read: {first_line(failure)}",
            hint="name a folder under results/raw",
        ) from failure


class _Session(msgspec.Struct, frozen=True):
    """What deciding needs of a session."""

    waits: bool


class _StoredTrial(msgspec.Struct, frozen=True):
    """What deciding needs of the facts that are stored with the pairs."""

    stage: Stage
    variants: tuple[Text, ...]
    failed: dict[str, tuple[str, str]]
    sessions: dict[Text, _Session] = {}


def _load(path: Path) -> tuple[Stage, PairedTrial]:
    columns, encoded = read_archive(path)
    facts = msgspec.json.decode(encoded, type=dict[str, Any])
    for names, old_name, name in ((columns, "sweep", "round"), (facts, "arms", "sessions")):
        if old_name in names:  # in folders from before both were renamed
            names[name] = names.pop(old_name)
    stored = msgspec.convert(facts, _StoredTrial)
    trial = PairedTrial(
        variants=stored.variants,
        columns={name: values.astype(np.int64) for name, values in columns.items()},
        failed=stored.failed,
        facts=facts,
    )
    problem = _problem(trial, columns)
    if problem:
        raise FileError(f"{path}: {problem}", hint="restore it from version control")
    return stored.stage, trial


def _problem(trial: PairedTrial, columns: Mapping[str, NDArray[Any]]) -> str:
    """Return why these cannot be pairs, or an empty string."""
    if sorted(columns) != sorted(PAIR_COLUMNS) or {values.dtype.kind for values in columns.values()} - {"i", "u"}:
        return f"the columns are not whole numbers named {', '.join(PAIR_COLUMNS)}"
    if {values.shape for values in columns.values()} != {(columns["row"].size,)}:
        return "the columns are not of one length"
    limits = {"row": (0, len(trial.variants) - 1), "first": (0, 1), "base_ns": (1, None), "candidate_ns": (1, None)}
    for name, values in trial.columns.items():
        low, high = limits.get(name, (0, None))
        if values.size and (values.min() < low or (high is not None and values.max() > high)):
            return f"the column {name} holds impossible numbers"
    rows: list[int] = np.unique(trial.columns["row"]).tolist()
    known = trial.facts.get("sessions", {}).keys() | trial.failed.keys()
    sessions = {f"{trial.variants[row]} {side}": trial.variants[row] for row in rows for side in SIDES}
    missing = [session for session, variant in sessions.items() if not {session, variant} & known]
    return f"the facts of session {missing[0]} are missing" if missing else ""
