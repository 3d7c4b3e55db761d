"""The cases of a run: which are measured next, together or alone, and which are complete."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from mnbench.bench.aggregate import aggregate, failed_record
from mnbench.bench.case_trials import CaseResults, MeasureCases, measure_cases
from mnbench.bench.groups import MAX_BYTES, group_rows, usable_bytes
from mnbench.bench.plan import BenchmarkCase, Plan
from mnbench.bench.stop_rule import half_width, is_precise, processes_left, run_budget_s
from mnbench.bench.trial import PlannedSession, ProcessError
from mnbench.errors import TrialError
from mnbench.results.facts import HostFacts
from mnbench.results.host_identity import host_difference
from mnbench.results.record import Record
from mnbench.results.store import ResultsFile, RunFolder
from mnbench.results.trial_result import TrialResult
from mnbench.units import NS_PER_S, format_ms

logger = logging.getLogger(__name__)

SHARED_COST = 0.3
"""What a case costs in a process with others, as a share of a process alone; expected before it has been in one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingStatus:
    """How far a run is.

    `done` cases have a record or meet the target. `widest` is the half width of the widest interval of the cases that
    have no record, as a share of the median.
    """

    done: int
    widest: float | None = None
    remaining_s: float | None = None

    @classmethod
    def join(cls, statuses: Iterable["SamplingStatus"]) -> "SamplingStatus":
        """Return the status of several runs, whose processes take turns."""
        parts = list(statuses)
        return cls(
            done=sum(part.done for part in parts),
            widest=max((part.widest for part in parts if part.widest is not None), default=None),
            remaining_s=sum(part.remaining_s or 0.0 for part in parts),
        )


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


class CaseSampling:
    """The open cases of a run, with all results by case, and those that must be alone because a process failed."""

    def __init__(self, run: DeviceRun, measure: MeasureCases = measure_cases) -> None:
        self.run = run
        self._sampling = run.plan.sampling
        self._measure = measure
        self._trials = {case.row.id: run.folder.load_trials(case.row.id) for case in run.plan.cases}
        self._alone: set[str] = set()
        self._round = 0

    def complete(self) -> list[Record]:
        """Append and return the records of the cases that are complete: precise enough, or without a budget."""
        cases, half = self.run.open_cases, self._sampling.precision / 2
        if self._is_affordable(self._due()):
            cases = [case for case in cases if is_precise(self._sampling, self._results(case), half)]
        return [self._append(case) for case in cases]

    def groups(self) -> list[list[BenchmarkCase]]:
        """Return the cases of the next round, in groups that share a process."""
        plan, cases = self.run.plan, self._due()
        self._round += 1
        hosts: list[HostFacts] = [trial.host for trials in self._trials.values() for trial in trials.values()]
        lonely = [[case] for case in cases if self._is_alone(case)]
        return lonely + group_rows(
            [case for case in cases if [case] not in lonely],
            lambda case: [PlannedSession(case=case, device=plan.device)],
            seed=self._seed,
            max_bytes=min(map(usable_bytes, hosts), default=MAX_BYTES),
        )

    def _due(self) -> list[BenchmarkCase]:
        """Return the open cases of the next round; every second round leaves out those that meet the target.

        So the processes of each case spread over the whole run, and drift of the host affects all cases.
        """
        cases, target = self.run.open_cases, self._sampling.precision
        wide = [case for case in cases if not is_precise(self._sampling, self._results(case), target)]
        return wide if wide and (self._round % 2 or not self._is_affordable(cases)) else cases

    def _is_affordable(self, cases: Sequence[BenchmarkCase]) -> bool:
        """Return whether the budget has room for one more process of each case; what the first costs is not known."""
        trials = [self._trials[case.row.id] for case in cases]
        return not all(trials) or sum(map(self._cost_s, cases)) <= self._left_s

    def _is_alone(self, case: BenchmarkCase) -> bool:
        """Return whether the case's next process is its own."""
        is_early = len(self._trials[case.row.id]) < self._sampling.alone
        return is_early or case.row.id in self._alone or self.run.plan.device.emulated

    @property
    def _seed(self) -> str:
        return f"{self._sampling.seed}/{sum(map(len, self._trials.values()))}"

    def measure(self, cases: Sequence[BenchmarkCase]) -> Iterator[list[Record]]:
        """Measure cases in one process, and store the results; yield the records of those that failed.

        A case that fails among others is measured again alone, because they may be the cause. If the process ends, that
        is the case that it worked on, and the others are measured again without it.
        """
        results: CaseResults
        try:
            results = self._measure(self.run.plan, cases, self._seed)
        except ProcessError as failure:
            culprits = cases if failure.session is None else [cases[failure.session]]
            results = {case.row.id: failure for case in culprits}
        again = [[case] for case in cases if len(cases) > 1 and isinstance(results.get(case.row.id), TrialError)]
        self._alone.update(case.row.id for (case,) in again)
        if others := [case for case in cases if case.row.id not in results]:
            again.append(others)
        yield [
            record
            for case in cases
            if case.row.id in results and [case] not in again
            if (record := self._store(case, results[case.row.id]))
        ]
        for part in again:
            yield from self.measure(part)

    def _store(self, case: BenchmarkCase, result: TrialResult | TrialError) -> Record | None:
        """Store what a process measured of a case; append and return its record if it failed."""
        run, trials = self.run, self._trials[case.row.id]
        if isinstance(result, TrialError):
            record = failed_record(run.plan, case, run.folder.id, result.message, list(trials.values()))
            run.append(record)
            return record
        process = max(trials, default=-1) + 1
        trials[process] = result
        run.folder.save_trial(case.row.id, process, result)
        logger.info(
            "%s on %s, process %d: median %s ms of %d runs",
            *(case.variant, run.device, process + 1, format_ms(result.median_ns), len(result.latencies_ns)),
        )
        return None

    def _append(self, case: BenchmarkCase) -> Record:
        record = aggregate(self.run.plan, case, self.run.folder.id, self._results(case))
        self.run.append(record)
        return record

    @property
    def status(self) -> SamplingStatus:
        """How far the run is."""
        cases, sampling = self.run.open_cases, self._sampling
        measured = [case for case in cases if self._trials[case.row.id]]
        needed_s = [self._cost_s(case) * processes_left(sampling, self._results(case)) for case in measured]
        results = [trials for trials in map(self._results, cases) if len(trials) >= sampling.processes]
        precise = sum(is_precise(sampling, trials, sampling.precision) for trials in results)
        return SamplingStatus(
            done=len(self._trials) - len(cases) + precise,
            widest=max(map(half_width, results), default=None),
            remaining_s=max(0.0, min(self._left_s, fmean(needed_s or [self._left_s]) * len(cases))),
        )

    def _results(self, case: BenchmarkCase) -> list[TrialResult]:
        return of_last_host(self._trials[case.row.id])

    @property
    def _left_s(self) -> float:
        """The rest of the budget, which all cases share: what precise cases leave is for the others."""
        spent_ns = sum(trial.duration_ns for trials in self._trials.values() for trial in trials.values())
        return run_budget_s(self._sampling, len(self._trials)) - spent_ns / NS_PER_S

    def _cost_s(self, case: BenchmarkCase) -> float:
        """Return the expected cost of the next process of a case that was in one."""
        trials = self._trials[case.row.id]
        is_first_shared = len(trials) == self._sampling.alone and not self._is_alone(case) and len(self._trials) > 1
        return trials[max(trials)].duration_ns / NS_PER_S * (SHARED_COST if is_first_shared else 1.0)


def of_last_host(trials: Mapping[int, TrialResult]) -> list[TrialResult]:
    """Return the trials on the host of the last one: a run may be continued on another machine."""
    if not trials:
        return []
    last = trials[max(trials)]
    return [trial for trial in trials.values() if not host_difference(trial.host, last.host)]
