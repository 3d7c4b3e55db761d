"""The procedure of a comparison: process after process, until every row is decided or the budget is spent."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import expm1, inf
from statistics import median
from typing import Any

import numpy as np

from mnbench.bench.groups import group_rows, usable_bytes
from mnbench.comparison.comparison import Comparison
from mnbench.comparison.decide import Decision, DecisionRules, Effect, Effects, Finding, decide, overall_verdict
from mnbench.comparison.paired_trial import (
    PROTOCOL,
    ComparisonCase,
    PairedSampling,
    PairedTrial,
    run_paired_trial,
)
from mnbench.comparison.storage import PairedTrialLog, Stage
from mnbench.comparison.verdicts import ComparisonContext, conclude, confirm, suspected_regressions
from mnbench.errors import TrialError
from mnbench.results.host_identity import host_difference

logger = logging.getLogger(__name__)

MIN_SLICES = 18
"""Slices of all rows of a process together, at least: starting it takes time too."""

FIRST_STAGE_SHARE = 0.7
"""The share of the budget for the first stage. The remainder is for suspected rows, if there are any."""

PAUSE_S = 5.0
MAX_PAUSED_S = 30.0
MAX_DRIFT_RATIO = 1.4


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonSettings:
    """Settings of a comparison; `allow` names the preconditions that may fail."""

    rules: DecisionRules = field(default_factory=DecisionRules)
    budget_s: float = 120.0
    seed: int = 0
    allow: frozenset[str] = frozenset()
    self_check: bool = False


class Stopped(Exception):  # noqa: N818  a reason to end, and no fault
    """Measuring cannot continue; the reason goes to all undecided rows, or to all rows if they are `incomparable`."""

    def __init__(self, reason: str, *, incomparable: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.incomparable = incomparable


class Procedure:
    """A running comparison."""

    def __init__(
        self,
        cases: Sequence[ComparisonCase],
        settings: ComparisonSettings,
        log: PairedTrialLog,
        *,
        on_progress: Callable[[str], object],
        run_trial: Callable[[Sequence[ComparisonCase], PairedSampling], PairedTrial] = run_paired_trial,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.cases = {case.variant: case for case in cases}
        self.settings = settings
        self.log = log
        self.failed: dict[str, tuple[str, str]] = {}
        self._alone: set[str] = set()
        self._on_progress = on_progress
        self._run_trial = run_trial
        self._clock = clock
        self._sleep = sleep
        self._begin = clock()
        self._paused_s = 0.0
        self._longest_s: dict[Stage, float] = {"first": 0.0, "again": 0.0}
        self._processes: dict[Stage, int] = {"first": 0, "again": 0}
        self._first_host: Mapping[str, Any] | None = None
        self._first_base_ns: dict[str, float] = {}

    def run(self, base: str, candidate: str, known_findings: Sequence[Finding] = ()) -> Comparison:
        """Measure all rows, and suspected rows again; `known_findings` are of rows that need no measuring."""
        stopped = Stopped("")
        try:
            if self.cases:
                self._measure()
        except Stopped as reason:
            stopped = reason
        context = ComparisonContext(
            base=base,
            candidate=candidate,
            rules=self.settings.rules,
            seed=self.settings.seed,
            measured={variant: case.candidate.device.name for variant, case in self.cases.items()},
            notes={variant: case.note for variant, case in self.cases.items() if case.note},
            known=tuple(known_findings),
            failed=self.failed,
            stopped="" if stopped.incomparable else stopped.reason,
            incomparable=stopped.reason if stopped.incomparable else "",
            self_check=self.settings.self_check,
            processes=len(self.log.processes),
        )
        self.log.save_context(context)
        findings = conclude(self.log.effects("first", self.cases), self.log.effects("again", self.cases), context)
        return Comparison(
            verdict=overall_verdict(findings, self.settings.allow),
            base=base,
            candidate=candidate,
            findings=findings,
            rules=self.settings.rules,
            seed=self.settings.seed,
            run=self.log.folder.name if self.log.folder else None,
            duration_s=round(self._spent_s, 1),
        )

    def _measure(self) -> None:
        """Measure all rows, then suspected rows again, then undecided rows until the budget is spent."""
        rules, count = self.settings.rules, len(self.cases)

        def look_first(effects: Effects) -> Mapping[str, Decision]:
            return decide(effects, rules, final=False, row_count=count)

        def look_again(effects: Effects) -> Mapping[str, Decision]:
            return confirm(effects, self._effects("first"), rules, count, final=False)

        suspected: list[str] = []
        for budget_share in (FIRST_STAGE_SHARE, 1.0):
            self._run_stage("first", [row for row in self.cases if row not in suspected], look_first, budget_share)
            if not self.settings.self_check:
                suspected = suspected_regressions(self._effects("first"), rules, count)
                self._run_stage("again", suspected, look_again, 1.0)

    def _run_stage(
        self,
        stage: Stage,
        rows: Sequence[str],
        look: Callable[[Effects], Mapping[str, Decision]],
        budget_share: float,
    ) -> None:
        """Measure the undecided of these rows, until none is left or the budget's share is spent."""
        while self._processes[stage] < self.settings.rules.processes:
            effects = self._effects(stage)
            decisions = look(effects)
            undecided = [
                row for row in rows if row in effects and (row not in decisions or decisions[row].verdict is None)
            ]
            expected_s = self._longest_s[stage] or self._longest_s["first"]
            if not undecided or self._spent_s + expected_s > budget_share * self.settings.budget_s:
                return
            begin = self._clock()
            seed = f"{self.settings.seed}/{stage}/{self._processes[stage]}"
            for number, group in enumerate(self._groups(undecided, seed)):
                self._run_process(stage, f"{seed}/{number}", group)
            self._longest_s[stage] = max(self._longest_s[stage], self._clock() - begin)
            self._processes[stage] += 1
            self._on_progress(f"process {self._processes[stage]}: {len(undecided)} rows")

    def _groups(self, rows: Sequence[str], seed: str) -> list[list[str]]:
        shared = [row for row in rows if row not in self._alone]
        memory_bytes = usable_bytes(self._first_host or {})
        groups = group_rows(shared, lambda row: self.cases[row].sides, seed=seed, max_bytes=memory_bytes)
        return [[row] for row in rows if row in self._alone] + groups

    def _run_process(self, stage: Stage, seed: str, rows: list[str]) -> None:
        """Run one process when the machine is quiet enough; start it again without the rows that make it fail.

        A row that fails among others is measured again alone, because they may be the cause.
        """
        while rows:
            sampling = PairedSampling(
                seed=seed,
                protocol=replace(PROTOCOL, slices=max(PROTOCOL.slices, MIN_SLICES // len(rows))),
                allow_fallback="fallback" in self.settings.allow,
            )
            if "busy" in self.settings.allow:
                sampling = replace(sampling, pressure=inf, load=inf)
            try:
                trial = self._run_trial([self.cases[row] for row in rows], sampling)
            except TrialError as failure:
                raise Stopped(f"a process failed: {failure.message}") from failure
            if trial.busy_reason:
                logger.info("waiting and starting again: %s", trial.busy_reason)
                self._pause(trial.busy_reason)
                continue
            if len(rows) == 1:
                self.failed.update(trial.failed)
            suspects = [row for row in trial.failed if row not in self.failed]
            self._alone.update(suspects)
            rows = [row for row in rows if row not in trial.failed]
            measured = trial.columns["row"].size
            if measured:
                self._require_same_host(trial)
                self.log.add(stage, trial)
                if logger.isEnabledFor(logging.INFO):
                    self._log_process(stage, rows)
                self._await_first_speed(trial)
            for row in suspects:
                self._run_process(stage, f"{seed}/{row}", [row])
            if measured:
                return

    def _log_process(self, stage: Stage, rows: Sequence[str]) -> None:
        effects = self._effects(stage)
        changes = (f"{row} {expm1(effects[row][-1].log_ratio):+.1%}" for row in rows if effects.get(row))
        logger.info("process %d: %s", len(self.log.processes), ", ".join(changes))

    def _effects(self, stage: Stage) -> dict[str, list[Effect]]:
        return self.log.effects(stage, (row for row in self.cases if row not in self.failed))

    def _require_same_host(self, trial: PairedTrial) -> None:
        """Stop if a process of either side ran on another host, or on an emulated processor."""
        hosts = [trial.facts[name] for name in ("host", "candidate_host") if name in trial.facts]
        if any(host.get("emulated") for host in hosts):
            raise Stopped("the CPU is emulated: latencies are meaningless", incomparable=True)
        first = self._first_host = self._first_host or hosts[0]
        difference = next(filter(None, (host_difference(first, host) for host in hosts)), "")
        if difference and "cpu" not in self.settings.allow:
            raise Stopped(f"another host: {difference} (--allow cpu)", incomparable=True)

    def _await_first_speed(self, trial: PairedTrial) -> None:
        """Pause if the baseline is much slower or faster than in the first process."""
        ratios: list[float] = []
        for row in trial.variants:
            if row not in trial.failed:
                base_ns = float(np.median(trial.columns_of(row)["base_ns"]))
                ratios.append(base_ns / self._first_base_ns.setdefault(row, base_ns))
        drift = median(ratios or [1.0])
        if not 1 / MAX_DRIFT_RATIO < drift < MAX_DRIFT_RATIO and "busy" not in self.settings.allow:
            self._pause(f"the base takes {drift:.2f} times as long as at first")

    def _pause(self, reason: str) -> None:
        if self._paused_s >= MAX_PAUSED_S or self._spent_s + PAUSE_S > self.settings.budget_s:
            raise Stopped(f"the machine is too busy: {reason} (--allow busy)")
        self._paused_s += PAUSE_S
        self._sleep(PAUSE_S)

    @property
    def _spent_s(self) -> float:
        return self._clock() - self._begin
