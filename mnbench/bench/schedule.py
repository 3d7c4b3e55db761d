"""The schedule: processes run in rounds, their results stored at once, until every case has its record."""

import logging
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from math import inf
from statistics import fmean, median

from mnbench.bench.aggregate import aggregate, failed_record
from mnbench.bench.case_trials import CaseResults, MeasureCases, measure_cases
from mnbench.bench.groups import MAX_BYTES, group_rows
from mnbench.bench.plan import BenchmarkCase, Plan, SamplingConfig, shuffle_round
from mnbench.bench.trial import PlannedSession, ProcessError
from mnbench.errors import MnbenchError, RuntimeUnavailable, TrialError, UnreachableError
from mnbench.results.host_identity import host_difference
from mnbench.results.record import Record
from mnbench.results.store import ResultsFile, RunFolder
from mnbench.results.trial_result import TrialResult
from mnbench.stats import median_interval, quantile
from mnbench.units import NS_PER_S, format_ms

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingStatus:
    """How far a run is.

    `done` cases have a record or meet the target. `widest` is the half width of the widest interval of the cases that
    have no record, as a share of the median.
    """

    done: int
    widest: float | None = None
    remaining_s: float | None = None


OnProcess = Callable[[Sequence[Record], SamplingStatus], None]
"""Called after every process with the records of the cases that are complete now."""

SHARED_COST = 0.3
"""What a case costs in a process with others, as a share of a process alone; expected before it has been in one."""

MIN_BUDGET_CASES = 8
"""A process takes long to start, so a run of fewer cases has the budget of so many: six processes also with --quick."""

MIN_SPREAD_PROCESSES, TYPICAL_PROCESSES = 4, 20
"""The spread of fewer processes says nothing; then, and at most, so many are expected."""


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
    runs: Sequence[DeviceRun], *, on_process: OnProcess, measure: MeasureCases = measure_cases
) -> dict[str, MnbenchError]:
    """Measure every open case once a round, and append the record of each case that is complete.

    Stored results count. All runs share rounds, so slow drift of the host affects their cases alike. A case that fails
    gets a record with the error, and the others continue.

    Returns:
        The error of each device that cannot be used any more; the runs of the others continued.

    Raises:
        FileError: storing cannot continue; stored results stay.
    """
    lost: dict[str, MnbenchError] = {}

    def status() -> SamplingStatus:
        statuses = [sampling.status for device, sampling in samplings.items() if device not in lost]
        return SamplingStatus(
            done=sum(status.done for status in statuses),
            widest=max((status.widest for status in statuses if status.widest is not None), default=None),
            remaining_s=sum(status.remaining_s or 0.0 for status in statuses),
        )

    with unlocking(runs):
        samplings = {run.device: CaseSampling(run, measure) for run in runs}
        for process in count():
            jobs = [
                (device, group)
                for device, sampling in samplings.items()
                if device not in lost
                for group in sampling.groups(process)
            ]
            if not jobs:
                return lost
            for device, group in shuffle_round(jobs, runs[0].plan.sampling.seed, process):
                if device not in lost:
                    try:
                        for records in samplings[device].measure(group, process):
                            on_process(records, status())
                    except (RuntimeUnavailable, UnreachableError) as failure:
                        lost[device] = failure
                        samplings[device].run.folder.discard_if_empty()
            for device, sampling in samplings.items():
                if device not in lost and (records := sampling.end_over_budget(process)):
                    on_process(records, status())
    raise AssertionError


class CaseSampling:
    """The cases of a run, with their results by process, and those that must be alone because a process ended."""

    def __init__(self, run: DeviceRun, measure: MeasureCases = measure_cases) -> None:
        self.run = run
        self._sampling = run.plan.sampling
        self._measure = measure
        self._trials = {case.row.id: run.folder.load_trials(case.row.id) for case in run.plan.cases}
        self._alone: set[str] = set()

    def groups(self, process: int) -> list[list[BenchmarkCase]]:
        """Return the cases of a round in groups that share a process."""
        plan, cases = self.run.plan, self._due(process)
        alone = process < self._sampling.alone or plan.device.emulated
        lonely = [[case] for case in cases if alone or case.row.id in self._alone]
        return lonely + group_rows(
            [case for case in cases if [case] not in lonely],
            lambda case: [PlannedSession(case=case, device=plan.device)],
            seed=f"{self._sampling.seed}/{process}",
            max_bytes=self._max_bytes,
        )

    def _due(self, process: int) -> list[BenchmarkCase]:
        """Return the open cases of a round; those that met the target before it wait for those that did not.

        A continued run repeats the rounds that are stored, so later trials do not count.
        """
        open_cases, target = self.run.open_cases, self._sampling.precision
        results = {case.row.id: self._results(case, before=process) for case in open_cases}
        return [
            case for case in open_cases if not is_precise(self._sampling, results[case.row.id], target)
        ] or open_cases

    def _is_precise(self, case: BenchmarkCase, precision: float) -> bool:
        return is_precise(self._sampling, self._results(case), precision)

    @property
    def _max_bytes(self) -> int:
        """The memory of a group: not more than half of what the device has."""
        conditions = [trial.conditions[1] for trials in self._trials.values() for trial in trials.values()]
        free_bytes = min(filter(None, (facts.get("free_memory_bytes") for facts in conditions)), default=MAX_BYTES)
        return min(MAX_BYTES, free_bytes // 2)

    def measure(self, group: Sequence[BenchmarkCase], process: int) -> Iterator[list[Record]]:
        """Measure a group unless its results are stored; yield the records of the cases that each process completes."""
        missing = [case for case in group if process not in self._trials[case.row.id]]
        if stored := [case for case in group if case not in missing]:
            yield [self._append(case) for case in stored if self._is_precise(case, self._sampling.precision / 2)]
        for results in self._measure_apart(missing, process) if missing else ():
            yield [record for case in missing if (record := self._store(case, process, results.get(case.row.id)))]

    def _store(self, case: BenchmarkCase, process: int, result: TrialResult | TrialError | None) -> Record | None:
        """Store what a process measured of a case; return the case's record if it is complete now."""
        if isinstance(result, TrialError):
            return self._append_failed(case, result)
        if result:
            self._trials[case.row.id][process] = result
            self.run.folder.save_trial(case.row.id, process, result)
            _log_trial(self.run, case, process, result)
        return self._append(case) if result and self._is_precise(case, self._sampling.precision / 2) else None

    def _measure_apart(self, cases: Sequence[BenchmarkCase], process: int) -> Iterator[CaseResults]:
        """Measure cases in one process, and those that failed there alone: other cases may be the cause.

        If the process ends, the case that it worked on is measured alone, and the others again without it.
        """
        alone, others = list[BenchmarkCase](), list[BenchmarkCase]()
        try:
            results = self._measure(self.run.plan, cases, f"{self._sampling.seed}/{process}")
            alone = [case for case in cases if isinstance(results[case.row.id], TrialError)]
        except ProcessError as failure:
            results: CaseResults = {case.row.id: failure for case in cases}
            alone = list(cases) if failure.session is None else [cases[failure.session]]
            others = [case for case in cases if case not in alone]
        if len(cases) == 1:
            yield results
            return
        self._alone.update(case.row.id for case in alone)
        yield {case.row.id: results[case.row.id] for case in cases if case not in (*alone, *others)}
        for part in (*([case] for case in alone), *([others] if others else [])):
            yield from self._measure_apart(part, process)

    def end_over_budget(self, process: int) -> list[Record]:
        """Return the records of all open cases, which are complete if the budget is too small for another process.

        A continued run first completes the round in which it was interrupted.
        """
        if any(max(trials, default=0) > process for trials in self._trials.values()):
            return []
        cost_s = sum(map(self._cost_s, self._due(process + 1)))
        return [self._append(case) for case in self.run.open_cases] if cost_s > self._left_s else []

    def _append(self, case: BenchmarkCase) -> Record:
        record = aggregate(self.run.plan, case, self.run.folder.id, self._results(case))
        self.run.append(record)
        return record

    def _append_failed(self, case: BenchmarkCase, failure: TrialError) -> Record:
        trials = list(self._trials[case.row.id].values())
        record = failed_record(self.run.plan, case, self.run.folder.id, failure.message, trials)
        self.run.append(record)
        return record

    @property
    def status(self) -> SamplingStatus:
        open_cases = self.run.open_cases
        measured = [case for case in open_cases if self._trials[case.row.id]]
        needed_s = [self._cost_s(case) * processes_left(self._sampling, self._results(case)) for case in measured]
        widths = [
            half_width(trials) for trials in map(self._results, measured) if len(trials) >= self._sampling.processes
        ]
        precise = sum(self._is_precise(case, self._sampling.precision) for case in open_cases)
        return SamplingStatus(
            done=len(self._trials) - len(open_cases) + precise,
            widest=max(widths, default=None),
            remaining_s=max(0.0, min(self._left_s, fmean(needed_s or [inf]) * len(open_cases))),
        )

    def _results(self, case: BenchmarkCase, *, before: float = inf) -> list[TrialResult]:
        trials = self._trials[case.row.id]
        return of_last_host({process: trial for process, trial in trials.items() if process < before})

    @property
    def _left_s(self) -> float:
        """The rest of the budget, which all cases share: what precise cases leave is for the others."""
        spent_ns = sum(trial.duration_ns for trials in self._trials.values() for trial in trials.values())
        return run_budget_s(self._sampling, len(self._trials)) - spent_ns / NS_PER_S

    def _cost_s(self, case: BenchmarkCase) -> float:
        """Return the expected cost of the next process of a case that was in one."""
        trials = self._trials[case.row.id]
        alone = case.row.id in self._alone or self.run.plan.device.emulated or len(self._trials) == 1
        is_first_shared = not alone and len(trials) == self._sampling.alone
        return trials[max(trials)].duration_ns / NS_PER_S * (SHARED_COST if is_first_shared else 1.0)


def of_last_host(trials: Mapping[int, TrialResult]) -> list[TrialResult]:
    """Return the trials on the host of the last one: a run may be continued on another machine."""
    if not trials:
        return []
    last = trials[max(trials)]
    return [trial for trial in trials.values() if not host_difference(trial.host, last.host)]


def half_width(trials: Sequence[TrialResult]) -> float:
    """Return the larger distance of an end of the interval from the median, as a share; infinite if there is none."""
    medians = [trial.median_ns for trial in trials]
    if len(medians) < 2:
        return inf
    (low, high, _), middle = median_interval(medians), median(medians)
    return max(high / middle - 1, 1 - low / middle)


def run_budget_s(sampling: SamplingConfig, case_count: int) -> float:
    """Return the budget that so many cases share."""
    return sampling.budget_s * max(case_count, MIN_BUDGET_CASES)


def is_precise(sampling: SamplingConfig, trials: Sequence[TrialResult], precision: float) -> bool:
    """Return whether a case has its processes and an interval within ± this share of the median."""
    return len(trials) >= sampling.processes and half_width(trials) <= precision


def processes_left(sampling: SamplingConfig, trials: Sequence[TrialResult]) -> float:
    """Return how many more processes a case may need.

    The half width of order statistics of n values is about twice their interquartile range, divided by the root of n.
    """
    count, ordered = len(trials), sorted(trial.median_ns for trial in trials)
    spread = (quantile(ordered, 0.75) - quantile(ordered, 0.25)) / median(ordered)
    needed = (4 * spread / sampling.precision) ** 2 if count >= MIN_SPREAD_PROCESSES else inf
    return max(1.0, sampling.processes - count, min(needed, TYPICAL_PROCESSES) - count)


def is_complete(sampling: SamplingConfig, trials: Sequence[TrialResult]) -> bool:
    """Return whether a case that is measured by itself is precise, or one more process would exceed its budget."""
    spent_s = sum(trial.duration_ns for trial in trials) / NS_PER_S
    is_over_budget = spent_s * (1 + 1 / len(trials)) > run_budget_s(sampling, 1)
    return is_over_budget or is_precise(sampling, trials, sampling.precision / 2)


def _log_trial(run: DeviceRun, case: BenchmarkCase, process: int, trial: TrialResult) -> None:
    logger.info(
        "%s on %s, process %d: median %s ms of %d runs",
        *(case.variant, run.device, process + 1, format_ms(trial.median_ns), len(trial.latencies_ns)),
    )
