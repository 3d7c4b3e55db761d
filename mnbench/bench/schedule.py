"""The schedule: trials run in rounds, each stored at once, until every case has its record."""

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count

from mnbench.bench.aggregate import aggregate, aggregate_latency, failed_record
from mnbench.bench.plan import BenchmarkCase, Plan, SamplingConfig, shuffle_round
from mnbench.bench.trial import run_trial
from mnbench.errors import MnbenchError, RuntimeUnavailable, TrialError, UnreachableError
from mnbench.results.record import Record
from mnbench.results.store import ResultsFile, RunFolder
from mnbench.results.trial_result import TrialResult
from mnbench.units import NS_PER_S

OnTrial = Callable[[BenchmarkCase, int, Record | None], None]
"""Called after every trial, new or stored, with the case's record if the trial completed it."""


@dataclass(frozen=True, kw_only=True)
class DeviceRun:
    """A plan with the file and folder of its results."""

    plan: Plan
    results_file: ResultsFile
    folder: RunFolder

    def read_records(self) -> list[Record]:
        """Return the records of this run, in the plan's order."""
        order = {cell.variant: index for index, cell in enumerate(self.plan.cases)}
        mine = {record.variant: record for record in self.results_file.read_records() if record.run == self.folder.id}
        return sorted(mine.values(), key=lambda record: order[record.variant])


def collect(
    plan: Plan,
    store: ResultsFile,
    run: RunFolder,
    *,
    on_trial: OnTrial,
    run_trial: Callable[[Plan, BenchmarkCase], TrialResult] = run_trial,
) -> list[Record]:
    """Measure every case of a plan and append its records.

    Raises:
        RuntimeUnavailable, UnreachableError, FileError: measuring or storing cannot continue; stored trials stay.
    """
    task = DeviceRun(plan=plan, results_file=store, folder=run)
    for failure in run_all([task], on_trial=on_trial, run_trial=run_trial).values():
        raise failure
    return task.read_records()


def run_all(
    tasks: Sequence[DeviceRun],
    *,
    on_trial: OnTrial,
    run_trial: Callable[[Plan, BenchmarkCase], TrialResult] = run_trial,
) -> dict[int, MnbenchError]:
    """Run one trial of every incomplete case per round, and append the record of each completed case.

    Stored trials count. All tasks share rounds, so slow drift of the host affects their cases alike. A case that fails
    gets a record with the error, and the others continue.

    Returns:
        The error of each device that cannot be used any more, by the index of its task; the other tasks continued.

    Raises:
        FileError: storing cannot continue; stored trials stay.
    """
    lost: dict[int, MnbenchError] = {}
    with ExitStack() as stack:
        for task in tasks:
            stack.enter_context(unlocked(task.folder))
        stored = [
            {
                cell.variant: task.folder.load_trials(cell.variant)
                for cell in task.plan.cases
                if cell.variant not in task.folder.recorded_variants
            }
            for task in tasks
        ]
        for process in count():
            left = [(at, cell) for at, cell in _round(tasks, process) if cell.variant in stored[at] and at not in lost]
            if not left:
                return lost
            for at, cell in left:
                if at in lost:
                    continue
                task = tasks[at]
                try:
                    record = run_next_trial(task, cell, process, stored[at][cell.variant], run_trial)
                except (RuntimeUnavailable, UnreachableError) as failure:
                    lost[at] = failure
                    task.folder.discard_if_empty()
                    continue
                if record:
                    task.results_file.append(record)
                    task.folder.recorded_variants.add(cell.variant)
                    del stored[at][cell.variant]
                on_trial(cell, process, record)
    raise AssertionError


def _round(tasks: Sequence[DeviceRun], process: int) -> list[tuple[int, BenchmarkCase]]:
    """Return every case of every task, in an order drawn for this round."""
    cells = [(at, cell) for at, task in enumerate(tasks) for cell in task.plan.cases]
    return shuffle_round(cells, tasks[0].plan.sampling.seed, process)


def is_complete(protocol: SamplingConfig, samples: Sequence[TrialResult]) -> bool:
    """Return whether a case is complete: it has its processes and is precise, or its budget allows no more trials."""
    spent_s = sum(sample.duration_ns for sample in samples) / NS_PER_S
    if spent_s * (1 + 1 / len(samples)) > protocol.budget_s:
        return True
    return len(samples) >= protocol.processes and aggregate_latency(samples).precision <= protocol.precision


def run_next_trial(
    task: DeviceRun,
    cell: BenchmarkCase,
    process: int,
    stored: dict[int, TrialResult],
    run_trial: Callable[[Plan, BenchmarkCase], TrialResult],
) -> Record | None:
    """Run one trial unless it is stored; return the case's record if it is now complete."""
    plan, run = task.plan, task.folder
    if process not in stored:
        try:
            stored[process] = run_trial(plan, cell)
        except TrialError as failure:
            return failed_record(plan, cell, run.id, failure.message, list(stored.values()))
        run.save_trial(cell.variant, process, stored[process])
    samples = list(stored.values())
    return aggregate(plan, cell, run.id, samples) if is_complete(plan.sampling, samples) else None


@contextmanager
def unlocked(run: RunFolder) -> Generator[None]:
    """Unlock the run after the block, and remove it if it failed without a trial."""
    try:
        yield
    except MnbenchError:
        run.discard_if_empty()
        raise
    finally:
        run.unlock()
