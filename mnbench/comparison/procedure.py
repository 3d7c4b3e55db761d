"""The measuring behind a judgement: fresh process after fresh process, until every row is decided or time is up."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from random import Random
from statistics import median
from typing import Any

import numpy as np

from mnbench.bench.plan import Cell
from mnbench.comparison.decide import Decision, Effects, Finding, Rules, decide
from mnbench.comparison.paired_trial import Dose, Pairs, Row, take_pairs
from mnbench.comparison.storage import Kept, Stage
from mnbench.comparison.verdicts import Context, conclude, repeated, suspects
from mnbench.errors import MeasureError

ROW_S = 0.35
LEAST_S = 1.0
"""What a process measures: so long a row, and so long at least. Its start costs about as much."""

FIRST_SHARE = 0.7
"""How much of the budget may pass before suspects are measured again; without any, all of it may."""

GROUP_ROWS, GROUP_BYTES = 32, 4 * 2**30
"""What one process holds at once, of rows and of memory; larger tables take several processes in its place."""

PAUSE_S = 5.0
PATIENCE_S = 30.0
DRIFT = 1.4

Take = Callable[..., Pairs]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a comparison is made; `allow` names what would else be refused."""

    rules: Rules = field(default_factory=Rules)
    budget_s: float = 120.0
    seed: int = 0
    allow: frozenset[str] = frozenset()
    self_check: bool = False


class Stopped(Exception):  # noqa: N818  a reason to end, and no fault
    """The rest cannot be measured now: the reason is for the rows that are undecided."""

    def __init__(self, reason: str, *, incomparable: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.incomparable = incomparable


class Contest:
    """One comparison under way."""

    def __init__(
        self,
        rows: Sequence[Row],
        settings: Settings,
        kept: Kept,
        *,
        seen: Callable[[str], object],
        take: Take = take_pairs,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.rows = {row.variant: row for row in rows}
        self.settings = settings
        self.kept = kept
        self.failed: dict[str, tuple[str, str]] = {}
        self._seen = seen
        self._take = take
        self._clock = clock
        self._sleep = sleep
        self._begin = clock()
        self._waited_s = 0.0
        self._longest_s: dict[Stage, float] = {"first": 0.0, "again": 0.0}
        self._made: dict[Stage, int] = {"first": 0, "again": 0}
        self._first: tuple[Any, dict[str, float]] | None = None

    def held(self, base: str, candidate: str, known: Sequence[Finding] = ()) -> tuple[Context, tuple[Finding, ...]]:
        """Measure all rows, and again what looks slower; `known` are findings of rows that need no measuring."""
        rules, stopped = self.settings.rules, Stopped("")
        try:
            if self.rows:
                self._measure(rules)
        except Stopped as reason:
            stopped = reason
        context = Context(
            base=base,
            candidate=candidate,
            rules=rules,
            seed=self.settings.seed,
            measured={variant: row.candidate.device.name for variant, row in self.rows.items()},
            known=tuple(known),
            failed=self.failed,
            stopped="" if stopped.incomparable else stopped.reason,
            incomparable=stopped.reason if stopped.incomparable else "",
            self_check=self.settings.self_check,
            processes=len(self.kept.processes),
        )
        self.kept.write(context)
        return context, conclude(self.kept.effects("first", self.rows), self.kept.effects("again", self.rows), context)

    def _measure(self, rules: Rules) -> None:
        """All rows, then again what looks slower; if nothing does, the rest of the budget is for what is undecided.

        That second chance to look slower accuses nobody: to be accused, a row must look so once more, alone.
        """
        rows = len(self.rows)

        def look(effects: Effects) -> Mapping[str, Decision]:
            return decide(effects, rules, ended=False, rows=rows)

        def doubtful() -> list[str]:
            return [] if self.settings.self_check else suspects(self._effects("first"), rules, rows)

        self._stage("first", self.rows, look, FIRST_SHARE)
        if not doubtful():
            self._stage("first", self.rows, look, 1.0)
        if again := doubtful():
            first = self._effects("first")
            self._stage("again", again, lambda effects: repeated(effects, first, rules, ended=False), 1.0)

    def _stage(
        self,
        stage: Stage,
        variants: Sequence[str] | Mapping[str, Row],
        look: Callable[[Effects], Mapping[str, Decision]],
        share: float,
    ) -> None:
        """Process after process with all rows that are undecided, until none is, or the budget's share is spent."""
        effects = {row: each for row, each in self._effects(stage).items() if row in variants}
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
            effects = {row: each for row, each in self._effects(stage).items() if row in effects}
            self._seen(f"process {process + 1}: {len(left)} rows")

    def _measured(self, stage: Stage, seed: str, left: list[str]) -> None:
        """One process, begun anew without what makes it crash, and when the machine is quiet enough."""
        while left:
            try:
                pairs = self._take([self.rows[row] for row in left], self._dose(seed, len(left)), heard=_ignored)
            except MeasureError as failure:
                raise Stopped(f"a process failed: {failure.message}") from failure
            if pairs.busy:
                self._wait(pairs.busy)
                continue
            self.failed.update(pairs.failed)
            left = [row for row in left if row not in self.failed]
            if pairs.columns["row"].size:
                self._same_cpu(pairs)
                self.kept.add(stage, pairs)
                self._steady(pairs)
                return

    def _groups(self, rows: Sequence[str], seed: str) -> list[list[str]]:
        """The rows, drawn anew into as few groups as fit into a process each, or into two that take turns."""
        groups: list[list[str]] = []
        held: dict[tuple[object, ...], tuple[list[str], int]] = {}
        for row in Random(seed).sample(rows, len(rows)):  # noqa: S311  an order, not a secret
            places = tuple(arm.place for arm in self.rows[row].arms)
            need = sum(_held_bytes(arm.cell) for arm in self.rows[row].arms)
            full = places not in held or len(held[places][0]) >= GROUP_ROWS or held[places][1] + need > GROUP_BYTES
            group, size_bytes = (list[str](), 0) if full else held[places]
            if full:
                groups.append(group)
            group.append(row)
            held[places] = group, size_bytes + need
        return [[row for row in rows if row in group] for group in groups]

    def _dose(self, seed: str, rows: int) -> Dose:
        dose = Dose(duration_s=max(LEAST_S, ROW_S * rows), seed=seed, allow_fallback="fallback" in self.settings.allow)
        return replace(dose, pressure=inf, load=inf) if "busy" in self.settings.allow else dose

    def _effects(self, stage: Stage) -> dict[str, list[Any]]:
        return self.kept.effects(stage, (row for row in self.rows if row not in self.failed))

    def _same_cpu(self, pairs: Pairs) -> None:
        """All processes, of both sides, must have run on the same kind of CPU, and a real one."""
        hosts = [pairs.facts[name] for name in ("host", "candidate_host") if name in pairs.facts]
        if any(host.get("emulated") for host in hosts):
            raise Stopped("the CPU is emulated: times tell nothing", incomparable=True)
        cpus = [_cpu(host) for host in hosts]
        first, _ = self._first or (cpus[0], {})
        other = next((cpu for cpu in cpus if cpu != first), first)
        if other != first and "cpu" not in self.settings.allow:
            raise Stopped(f"another CPU: {first[0]}, then {other[0]} (--allow cpu)", incomparable=True)
        self._first = self._first or (cpus[0], {})

    def _steady(self, pairs: Pairs) -> None:
        """Wait where the base has become much slower or faster than it was in the first process."""
        assert self._first
        _, reference = self._first
        now = {row: float(np.median(pairs.of(row)["base_ns"])) for row in pairs.variants if row not in pairs.failed}
        drift = median([now[row] / reference.setdefault(row, now[row]) for row in now] or [1.0])
        if not 1 / DRIFT < drift < DRIFT and "busy" not in self.settings.allow:
            self._wait(f"the base takes {drift:.2f} times as long as at first")

    def _wait(self, reason: str) -> None:
        if self._waited_s >= PATIENCE_S or self._spent_s + PAUSE_S > self.settings.budget_s:
            raise Stopped(f"the machine is too busy: {reason} (--allow busy)")
        self._waited_s += PAUSE_S
        self._sleep(PAUSE_S)

    @property
    def _spent_s(self) -> float:
        return self._clock() - self._begin


def _held_bytes(cell: Cell) -> int:
    """What a session of the model holds, roughly: its weights, also as the runtime packs them, and its activations."""
    return 2 * (cell.path.stat().st_size + cell.peak_activation_bytes)


def _ignored(_left_s: float) -> None:
    """A process is short: what is heard of it in between keeps it from being thought dead, and that is all."""


def _cpu(host: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """What makes two CPUs differ: by name and number, and by what they can do."""
    named = (host.get(key) for key in ("cpu", "cpu_family", "cpu_model", "cpu_stepping", "hypervisor"))
    return " ".join(str(one) for one in named if one is not None), tuple(host.get("cpu_flags", ()))
