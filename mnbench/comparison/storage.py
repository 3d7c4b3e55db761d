"""Every pair of a comparison, kept beside the records: any verdict can be computed again."""

import shutil
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias
from zipfile import BadZipFile

import msgspec
import numpy as np

from mnbench import atomic_files
from mnbench.comparison.decide import DecisionRules, Effect, Finding, trial_effect
from mnbench.comparison.paired_trial import PairedTrial
from mnbench.comparison.verdicts import ComparisonContext, conclude
from mnbench.errors import MnbenchError, ResultsError
from mnbench.results.npz_archive import read_archive, write_archive
from mnbench.results.store import new_run_folder

Stage: TypeAlias = Literal["first", "again"]

CONTEXT_FILE = "comparison.json"


@dataclass
class PairedTrialLog:
    """The pairs of a comparison, process by process, in a folder of its own; with no folder, in memory alone."""

    folder: Path | None
    processes: list[tuple[Stage, PairedTrial]] = field(default_factory=list[tuple[Stage, PairedTrial]])

    def add(self, stage: Stage, pairs: PairedTrial) -> None:
        """Keep what a process found.

        Raises:
            FileError: no space, no permission.
        """
        if self.folder:
            facts = {"stage": stage, "variants": pairs.variants, "failed": pairs.failed, **pairs.facts}
            write_archive(self.folder / f"pairs.{len(self.processes)}.npz", _narrow(pairs), facts, durable=False)
        self.processes.append((stage, pairs))

    def effects(self, stage: Stage, variants: Iterable[str]) -> dict[str, list[Effect]]:
        """What each row's processes found in that stage, in order."""
        entries: dict[str, list[Effect]] = {variant: [] for variant in variants}
        for kind, pairs in self.processes:
            if kind != stage:
                continue
            for variant in pairs.variants:
                columns = pairs.columns_of(variant)
                if variant in entries and variant not in pairs.failed and columns["first"].size:
                    entries[variant].append(trial_effect(columns, blocking_waits=pairs.blocking_waits(variant)))
        return entries

    def save_context(self, context: ComparisonContext) -> None:
        """Keep what was compared, by which rules, so that `Comparison.load` needs nothing else."""
        if self.folder:
            atomic_files.write_atomically(
                self.folder / CONTEXT_FILE, msgspec.json.format(msgspec.json.encode(context)) + b"\n"
            )


def new_comparison_folder(results: Path) -> Path:
    """Create a folder under `results/raw/` for one comparison.

    Raises:
        FileError: no permission.
    """
    try:
        return new_run_folder(results / "raw", "compare")
    except OSError as failure:
        raise atomic_files.write_error(results / "raw", failure) from failure


@contextmanager
def unfinished_folders(results: Path | None, name: str) -> Generator[Callable[[], Path | None]]:
    """Create folders for pairs on request; delete them if the comparison is interrupted or fails.

    Without a results folder there is none. `name` is that of what is not finished.
    """
    folders: list[Path] = []

    def new_folder() -> Path | None:
        if results is None:
            return None
        folders.append(new_comparison_folder(results))
        return folders[-1]

    try:
        yield new_folder
    except (KeyboardInterrupt, MnbenchError) as error:
        for folder in folders:
            delete_comparison(folder)
        if isinstance(error, KeyboardInterrupt):
            error.add_note(f"nothing is kept of a {name} that is not finished")
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


def delete_comparison(folder: Path) -> None:
    """Remove the folder of an unfinished comparison, and its parents if they are empty."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        for above in (folder.parent, folder.parent.parent):
            above.rmdir()


def _load(path: Path) -> tuple[Stage, PairedTrial]:
    arrays, facts = read_archive(path)
    failed: Mapping[str, Sequence[str]] = facts.pop("failed")
    return facts.pop("stage"), PairedTrial(
        variants=tuple(facts.pop("variants")),
        columns={name: values.astype(np.int64) for name, values in arrays.items()},
        failed={variant: (side, message) for variant, (side, message) in failed.items()},
        facts=facts,
    )


def _narrow(pairs: PairedTrial) -> dict[str, Any]:
    """The columns, those that count in few bytes; nanoseconds in eight."""
    return {
        name: values if name.endswith("_ns") else values.astype(np.min_scalar_type(int(values.max(initial=0))))
        for name, values in pairs.columns.items()
    }
