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
        order = {case.variant: index for index, case in enumerate(self.plan.cases)}
        mine = {record.variant: record for record in self.results_file.read_records() if record.run == self.folder.id}
        return sorted(mine.values(), key=lambda record: order[record.variant])


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
                case.variant: task.folder.load_trials(case.variant)
                for case in task.plan.cases
                if case.variant not in task.folder.recorded_variants
            }
            for task in tasks
        ]
        for process in count():
            open_cases = [
                (index, case)
                for index, case in _round(tasks, process)
                if case.variant in stored[index] and index not in lost
            ]
            if not open_cases:
                return lost
            for index, case in open_cases:
                if index in lost:
                    continue
                task = tasks[index]
                try:
                    record = run_next_trial(task, case, process, stored[index][case.variant], run_trial)
                except (RuntimeUnavailable, UnreachableError) as failure:
                    lost[index] = failure
                    task.folder.discard_if_empty()
                    continue
                if record:
                    task.results_file.append(record)
                    task.folder.recorded_variants.add(case.variant)
                    del stored[index][case.variant]
                on_trial(case, process, record)
    raise AssertionError


def _round(tasks: Sequence[DeviceRun], process: int) -> list[tuple[int, BenchmarkCase]]:
    """Return every case of every task, in an order drawn for this round."""
    cases = [(index, case) for index, task in enumerate(tasks) for case in task.plan.cases]
    return shuffle_round(cases, tasks[0].plan.sampling.seed, process)


def is_complete(sampling: SamplingConfig, trials: Sequence[TrialResult]) -> bool:
    """Return whether a case is complete: it has its processes and is precise, or its budget allows no more trials."""
    spent_s = sum(trial.duration_ns for trial in trials) / NS_PER_S
    if spent_s * (1 + 1 / len(trials)) > sampling.budget_s:
        return True
    return len(trials) >= sampling.processes and aggregate_latency(trials).precision <= sampling.precision


def run_next_trial(
    task: DeviceRun,
    case: BenchmarkCase,
    process: int,
    stored: dict[int, TrialResult],
    run_trial: Callable[[Plan, BenchmarkCase], TrialResult],
) -> Record | None:
    """Run one trial unless it is stored; return the case's record if it is now complete."""
    plan, run = task.plan, task.folder
    if process not in stored:
        try:
            stored[process] = run_trial(plan, case)
        except TrialError as failure:
            return failed_record(plan, case, run.id, failure.message, list(stored.values()))
        run.save_trial(case.variant, process, stored[process])
    trials = list(stored.values())
    return aggregate(plan, case, run.id, trials) if is_complete(plan.sampling, trials) else None


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
