"""The schedule: trials run in rounds, each stored at once, until every case has its record."""

import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

from mnbench.bench.aggregate import aggregate, aggregate_latency, failed_record
from mnbench.bench.plan import BenchmarkCase, Plan, SamplingConfig, shuffle_round
from mnbench.bench.trial import run_trial
from mnbench.errors import MnbenchError, RuntimeUnavailable, TrialError, UnreachableError
from mnbench.results.host_identity import host_difference
from mnbench.results.record import Record
from mnbench.results.store import ResultsFile, RunFolder
from mnbench.results.trial_result import TrialResult
from mnbench.units import NS_PER_S, format_ms

logger = logging.getLogger(__name__)

OnTrial = Callable[[BenchmarkCase, int, Record | None], None]
"""Called after every trial, new or stored, with the case's record if the trial completed it."""


@dataclass(frozen=True, kw_only=True)
class DeviceRun:
    """A plan with the file and folder of its results."""

    plan: Plan
    results_file: ResultsFile
    folder: RunFolder

    @property
    def device(self) -> str:
        return self.plan.device.name

    @property
    def open_cases(self) -> list[BenchmarkCase]:
        """The cases that have no record yet."""
        return [case for case in self.plan.cases if case.row.id not in self.folder.recorded_rows]

    def append(self, record: Record) -> None:
        self.results_file.append(record)
        self.folder.recorded_rows.add(record.row.id)

    def read_records(self) -> list[Record]:
        """Return the records of this run, in the plan's order."""
        order = {case.row: index for index, case in enumerate(self.plan.cases)}
        mine = {record.row: record for record in self.results_file.read_records() if record.run == self.folder.id}
        return sorted(mine.values(), key=lambda record: order[record.row])


@contextmanager
def unlocking(runs: Sequence[DeviceRun]) -> Generator[None]:
    """Unlock the runs after the block; if it failed, remove those without a trial."""
    try:
        yield
    except MnbenchError:
        for run in runs:
            run.folder.discard_if_empty()
        raise
    finally:
        for run in runs:
            run.folder.unlock()


def run_all(
    runs: Sequence[DeviceRun],
    *,
    on_trial: OnTrial,
    run_trial: Callable[[Plan, BenchmarkCase], TrialResult] = run_trial,
) -> dict[str, MnbenchError]:
    """Run one trial of every incomplete case per round, and append the record of each completed case.

    Stored trials count. All runs share rounds, so slow drift of the host affects their cases alike. A case that fails
    gets a record with the error, and the others continue.

    Returns:
        The error of each device that cannot be used any more; the runs of the others continued.

    Raises:
        FileError: storing cannot continue; stored trials stay.
    """
    lost: dict[str, MnbenchError] = {}
    jobs = [(run, case) for run in runs for case in run.plan.cases]
    with unlocking(runs):
        trials = {
            (run.device, case.row.id): run.folder.load_trials(case.row.id) for run in runs for case in run.open_cases
        }
        for process in count():
            if all(device in lost for device, _ in trials):
                break
            for run, case in shuffle_round(jobs, runs[0].plan.sampling.seed, process):
                key = run.device, case.row.id
                if key not in trials or run.device in lost:
                    continue
                try:
                    record = run_next_trial(run, case, process, trials[key], run_trial)
                except (RuntimeUnavailable, UnreachableError) as failure:
                    lost[run.device] = failure
                    run.folder.discard_if_empty()
                    continue
                if record:
                    run.append(record)
                    del trials[key]
                on_trial(case, process, record)
    return lost


def run_next_trial(
    run: DeviceRun,
    case: BenchmarkCase,
    process: int,
    trials: dict[int, TrialResult],
    run_trial: Callable[[Plan, BenchmarkCase], TrialResult],
) -> Record | None:
    """Run one trial unless it is stored; return the case's record if it is now complete."""
    plan, folder = run.plan, run.folder
    if process not in trials:
        try:
            trials[process] = run_trial(plan, case)
        except TrialError as failure:
            return failed_record(plan, case, folder.id, failure.message, list(trials.values()))
        folder.save_trial(case.row.id, process, trials[process])
        _log_trial(run, case, process, trials[process])
    results = of_last_host(trials)
    complete = is_complete(plan.sampling, results) or is_over_budget(plan.sampling, list(trials.values()))
    return aggregate(plan, case, folder.id, results) if complete else None


def of_last_host(trials: Mapping[int, TrialResult]) -> list[TrialResult]:
    """Return the trials on the host of the last one: a run may be continued on another machine."""
    last = trials[max(trials)]
    return [trial for trial in trials.values() if not host_difference(trial.host, last.host)]


def _log_trial(run: DeviceRun, case: BenchmarkCase, process: int, trial: TrialResult) -> None:
    logger.info(
        "%s on %s, process %d: median %s ms of %d runs, first run %s ms, session %s ms",
        *(case.variant, run.device, process + 1, format_ms(trial.median_ns), len(trial.latencies_ns)),
        *(format_ms(trial.first_run_ns), format_ms(trial.session_ns)),
    )


def is_complete(sampling: SamplingConfig, trials: Sequence[TrialResult]) -> bool:
    """Return whether a case is complete: it has its processes and is precise, or its budget allows no more trials."""
    if is_over_budget(sampling, trials):
        return True
    return len(trials) >= sampling.processes and aggregate_latency(trials).precision <= sampling.precision


def is_over_budget(sampling: SamplingConfig, trials: Sequence[TrialResult]) -> bool:
    """Return whether one more trial would exceed the budget of the case."""
    spent_s = sum(trial.duration_ns for trial in trials) / NS_PER_S
    return spent_s * (1 + 1 / len(trials)) > sampling.budget_s
