"""The procedure of a comparison: process after process, until every row is decided or the budget is spent."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from random import Random
from statistics import median
from typing import Any

import numpy as np

from mnbench.bench.plan import BenchmarkCase
from mnbench.comparison.decide import Decision, DecisionRules, Effects, Finding, decide
from mnbench.comparison.paired_trial import ComparisonCase, PairedSampling, PairedTrial, run_paired_trial
from mnbench.comparison.storage import PairedTrialLog, Stage
from mnbench.comparison.verdicts import ComparisonContext, conclude, confirm, suspected_regressions
from mnbench.errors import TrialError
from mnbench.results.host_identity import host_difference

SECONDS_PER_CASE = 0.35
MIN_PROCESS_S = 1.0
"""Seconds that a process measures per row, and at least. Starting it takes about as long."""

FIRST_STAGE_SHARE = 0.7
"""The share of the budget for the first stage. The remainder is for suspected rows, if there are any."""

MAX_GROUP_CASES, MAX_GROUP_BYTES = 32, 4 * 2**30
"""Limits of one process, in rows and memory; larger tables use several processes instead."""

PAUSE_S = 5.0
MAX_PAUSED_S = 30.0
MAX_DRIFT_RATIO = 1.4

RunPairedTrial = Callable[..., PairedTrial]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonSettings:
    """Settings of a comparison; `allow` names the preconditions that may fail."""

    rules: DecisionRules = field(default_factory=DecisionRules)
    budget_s: float = 120.0
    seed: int = 0
    allow: frozenset[str] = frozenset()
    self_check: bool = False


class Stopped(Exception):  # noqa: N818  a reason to end, and no fault
    """Measuring cannot continue; the reason goes to all undecided rows."""

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
        run_trial: RunPairedTrial = run_paired_trial,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.cases = {row.variant: row for row in cases}
        self.settings = settings
        self.log = log
        self.failed: dict[str, tuple[str, str]] = {}
        self._seen = on_progress
        self._take = run_trial
        self._clock = clock
        self._sleep = sleep
        self._begin = clock()
        self._waited_s = 0.0
        self._longest_s: dict[Stage, float] = {"first": 0.0, "again": 0.0}
        self._made: dict[Stage, int] = {"first": 0, "again": 0}
        self._first: tuple[Mapping[str, Any], dict[str, float]] | None = None

    def run(
        self, baseline: str, candidate: str, known_findings: Sequence[Finding] = ()
    ) -> tuple[ComparisonContext, tuple[Finding, ...]]:
        """Measure all rows, and suspected rows again; `known_findings` are of rows that need no measuring."""
        rules, stopped = self.settings.rules, Stopped("")
        try:
            if self.cases:
                self._measure(rules)
        except Stopped as reason:
            stopped = reason
        context = ComparisonContext(
            base=baseline,
            candidate=candidate,
            rules=rules,
            seed=self.settings.seed,
            measured={variant: row.candidate.device.name for variant, row in self.cases.items()},
            known=tuple(known_findings),
            failed=self.failed,
            stopped="" if stopped.incomparable else stopped.reason,
            incomparable=stopped.reason if stopped.incomparable else "",
            self_check=self.settings.self_check,
            processes=len(self.log.processes),
        )
        self.log.save_context(context)
        return context, conclude(self.log.effects("first", self.cases), self.log.effects("again", self.cases), context)

    def _measure(self, rules: DecisionRules) -> None:
        """Measure all rows, then suspected rows again; without any, spend the whole budget on undecided rows.

        The longer first stage adds no false positives, because a suspected row must be slower again, alone.
        """
        rows = len(self.cases)

        def look(effects: Effects) -> Mapping[str, Decision]:
            return decide(effects, rules, final=False, row_count=rows)

        def doubtful() -> list[str]:
            return [] if self.settings.self_check else suspected_regressions(self._effects("first"), rules, rows)

        self._stage("first", self.cases, look, FIRST_STAGE_SHARE)
        if not doubtful():
            self._stage("first", self.cases, look, 1.0)
        if again := doubtful():
            first = self._effects("first")
            self._stage("again", again, lambda effects: confirm(effects, first, rules, final=False), 1.0)

    def _stage(
        self,
        stage: Stage,
        variants: Sequence[str] | Mapping[str, ComparisonCase],
        look: Callable[[Effects], Mapping[str, Decision]],
        share: float,
    ) -> None:
        """Measure the undecided rows, process after process, until none is left or the budget's share is spent."""
        effects = {row: item for row, item in self._effects(stage).items() if row in variants}
        while self._made[stage] < self.settings.rules.processes:
            process = self._made[stage]
            decided = look(effects)
            left = [row for row in effects if row not in decided or decided[row].verdict is None]
            expected_s = self._longest_s[stage] or self._longest_s["first"]
            if not left or self._spent_s + expected_s > share * self.settings.budget_s:
                return
            begin = self._clock()
            for number, group in enumerate(self._groups(left, f"{self.settings.seed}/{stage}/{process}")):
                self._measured(stage, f"{self.settings.seed}/{stage}/{process}/{number}", group)
            self._longest_s[stage] = max(self._longest_s[stage], self._clock() - begin)
            self._made[stage] += 1
            effects = {row: item for row, item in self._effects(stage).items() if row in effects}
            self._seen(f"process {process + 1}: {len(left)} rows")

    def _measured(self, stage: Stage, seed: str, left: list[str]) -> None:
        """Run one process when the machine is quiet enough; start it again without the rows that make it fail."""
        while left:
            try:
                pairs = self._take([self.cases[row] for row in left], self._dose(seed, len(left)), on_progress=_ignored)
            except TrialError as failure:
                raise Stopped(f"a process failed: {failure.message}") from failure
            if pairs.busy_reason:
                self._wait(pairs.busy_reason)
                continue
            self.failed.update(pairs.failed)
            left = [row for row in left if row not in self.failed]
            if pairs.columns["row"].size:
                self._require_same_host(pairs)
                self.log.add(stage, pairs)
                self._steady(pairs)
                return

    def _groups(self, rows: Sequence[str], seed: str) -> list[list[str]]:
        """Draw the rows into as few groups as fit into one process each, or into two alternating processes."""
        groups: list[list[str]] = []
        held: dict[tuple[object, ...], tuple[list[str], int]] = {}
        for row in Random(seed).sample(rows, len(rows)):  # noqa: S311  an order, not a secret
            places = tuple(arm.process_key for arm in self.cases[row].sides)
            need = sum(_held_bytes(arm.case) for arm in self.cases[row].sides)
            full = (
                places not in held
                or len(held[places][0]) >= MAX_GROUP_CASES
                or held[places][1] + need > MAX_GROUP_BYTES
            )
            group, size_bytes = (list[str](), 0) if full else held[places]
            if full:
                groups.append(group)
            group.append(row)
            held[places] = group, size_bytes + need
        return [[row for row in rows if row in group] for group in groups]

    def _dose(self, seed: str, rows: int) -> PairedSampling:
        dose = PairedSampling(
            duration_s=max(MIN_PROCESS_S, SECONDS_PER_CASE * rows),
            seed=seed,
            allow_fallback="fallback" in self.settings.allow,
        )
        return replace(dose, pressure=inf, load=inf) if "busy" in self.settings.allow else dose

    def _effects(self, stage: Stage) -> dict[str, list[Any]]:
        return self.log.effects(stage, (row for row in self.cases if row not in self.failed))

    def _require_same_host(self, pairs: PairedTrial) -> None:
        """Stop if a process of either side ran on another host, or on an emulated processor."""
        hosts = [pairs.facts[name] for name in ("host", "candidate_host") if name in pairs.facts]
        if any(host.get("emulated") for host in hosts):
            raise Stopped("the CPU is emulated: latencies are meaningless", incomparable=True)
        self._first = self._first or (hosts[0], {})
        first, _ = self._first
        difference = next(filter(None, (host_difference(first, host) for host in hosts)), "")
        if difference and "cpu" not in self.settings.allow:
            raise Stopped(f"another host: {difference} (--allow cpu)", incomparable=True)

    def _steady(self, pairs: PairedTrial) -> None:
        """Wait if the baseline is much slower or faster than in the first process."""
        assert self._first
        _, reference = self._first
        now = {
            row: float(np.median(pairs.columns_of(row)["base_ns"])) for row in pairs.variants if row not in pairs.failed
        }
        drift = median([now[row] / reference.setdefault(row, now[row]) for row in now] or [1.0])
        if not 1 / MAX_DRIFT_RATIO < drift < MAX_DRIFT_RATIO and "busy" not in self.settings.allow:
            self._wait(f"the base takes {drift:.2f} times as long as at first")

    def _wait(self, reason: str) -> None:
        if self._waited_s >= MAX_PAUSED_S or self._spent_s + PAUSE_S > self.settings.budget_s:
            raise Stopped(f"the machine is too busy: {reason} (--allow busy)")
        self._waited_s += PAUSE_S
        self._sleep(PAUSE_S)

    @property
    def _spent_s(self) -> float:
        return self._clock() - self._begin


def _held_bytes(cell: BenchmarkCase) -> int:
    """Estimate a session's memory: the weights, twice because the runtime packs them, and the activations."""
    return 2 * (cell.path.stat().st_size + cell.peak_activation_bytes)


def _ignored(_left_s: float) -> None:
    """Ignore a heartbeat: it only resets the timeout."""
