"""Store every pair of a comparison beside the records, so that its verdict can be computed again."""

import shutil
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias
from zipfile import BadZipFile

import msgspec
import numpy as np

from mnbench import atomic_files
from mnbench.comparison.decide import DecisionRules, Effect, Finding, trial_effect
from mnbench.comparison.paired_trial import PairedTrial
from mnbench.comparison.verdicts import ComparisonContext, conclude
from mnbench.errors import MnbenchError, ResultsError
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
        context = msgspec.json.decode((folder / CONTEXT_FILE).read_bytes(), type=ComparisonContext)
        log = PairedTrialLog(None, [_load(folder / f"pairs.{process}.npz") for process in range(context.processes)])
    except (OSError, ValueError, KeyError, TypeError, BadZipFile, msgspec.DecodeError) as failure:
        raise ResultsError(
            f"{folder}: holds no comparison that can be read: {failure}", hint="name a folder under results/raw"
        ) from failure
    context = msgspec.structs.replace(context, rules=rules or context.rules)
    findings = conclude(log.effects("first", context.measured), log.effects("again", context.measured), context)
    return context, findings


def _load(path: Path) -> tuple[Stage, PairedTrial]:
    columns, facts = read_archive(path)
    for names, old_name, name in ((columns, "sweep", "round"), (facts, "arms", "sessions")):
        if old_name in names:  # in folders from before both were renamed
            names[name] = names.pop(old_name)
    return facts.pop("stage"), PairedTrial(
        variants=tuple(facts.pop("variants")),
        columns={name: values.astype(np.int64) for name, values in columns.items()},
        failed={variant: (side, message) for variant, (side, message) in facts.pop("failed").items()},
        facts=facts,
    )
