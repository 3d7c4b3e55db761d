"""Simulate comparisons whose processes scatter like those of a log: inconclusive, false and found rows, and seconds.

A simulated row draws its effects from those of a row of the log, without their mean and with random signs. Statistics
and procedure are mnbench's own; only the processes and the clock are simulated.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean
from types import SimpleNamespace
from typing import Any

import click
import numpy as np

from benchmarks.gate.aa import PLANS
from benchmarks.gate.power import read, scatter
from mnbench import Comparison, DecisionRules
from mnbench.comparison.decide import Effect
from mnbench.comparison.paired_trial import PairedSampling, PairedTrial, pair_columns
from mnbench.comparison.procedure import ComparisonSettings, Procedure
from mnbench.comparison.storage import PairedTrialLog, Stage

START_S, SESSION_S = 0.35, 0.05
"""How long a process takes to start, and to open a session and warm it up."""

PAIRS = 30
SLOWER_ROWS = 5


class SimulatedLog(PairedTrialLog):
    """A log of trials that have their effects among their facts."""

    def effects(self, stage: Stage, variants: Iterable[str]) -> dict[str, list[Effect]]:
        """Return the effects of each row in the processes of that stage, in order."""
        drawn = [trial.facts["effects"] for trial_stage, trial in self.processes if trial_stage == stage]
        return {row: [effects[row] for effects in drawn if row in effects] for row in variants}


@click.command()
@click.argument("gate", type=click.Choice(list(PLANS)))
@click.argument("log", type=click.Path(exists=True, path_type=Path))
@click.option("--tables", default=200, help="Number of simulated tables of each kind.")
@click.option("--scatter", "scales", default="0.8,1,1.25", help="Multiples of the logged scatter, with commas between.")
@click.option("--slower", default="0.009,0.02", help="The least and the largest slowdown of the slower rows.")
@click.option("--budget", "budget_s", default=120.0)
def main(gate: str, log: Path, tables: int, scales: str, slower: str, budget_s: float) -> None:
    """Print what this gate says of tables whose processes scatter like those in LOG."""
    logged, rules = read(log), PLANS[gate].rules
    least, largest = map(float, slower.split(","))
    print("| scatter | unchanged rows inconclusive | false tables | seconds | slower rows found | seconds |")
    print("|---:|---:|---:|---:|---:|---:|")
    for scale in map(float, scales.split(",")):
        draw = np.random.default_rng(0)
        verdicts: dict[bool, list[str]] = {False: [], True: []}
        seconds: dict[bool, list[float]] = {False: [], True: []}
        false_tables = 0
        for _ in range(tables):
            for with_slower in (False, True):
                rows = logged_scatter(logged[draw.integers(len(logged))], scale)
                shifts = np.zeros(len(rows))
                if with_slower:
                    shifts[:SLOWER_ROWS] = np.log1p(draw.uniform(least, largest, SLOWER_ROWS))
                result = simulate(rows, shifts, rules, draw, budget_s)
                seconds[with_slower].append(result.duration_s)
                decided = [finding.verdict for finding in result.findings]
                verdicts[with_slower] += decided[:SLOWER_ROWS] if with_slower else decided
                false_tables += "slower" in decided[SLOWER_ROWS if with_slower else 0 :]
        inconclusive, slower_found = (
            verdicts[kind].count(verdict) / len(verdicts[kind])
            for kind, verdict in ((False, "inconclusive"), (True, "slower"))
        )
        print(
            f"| {scale * scatter(logged):.2f} % | {inconclusive:.1%} | {false_tables} / {2 * tables} "
            f"| {mean(seconds[False]):.0f} | {slower_found:.0%} | {mean(seconds[True]):.0f} |",
            flush=True,
        )


def logged_scatter(table: dict[str, Any], scale: float) -> list[np.ndarray]:
    """Return each row's effects around their mean, with the variance of the population that they are a sample of."""
    rows = (np.array(row["wall"]) for row in table["rows"].values() if len(row.get("wall", ())) > 3)
    return [scale * (row - row.mean()) * (len(row) / (len(row) - 1)) ** 0.5 for row in rows]


def simulate(
    rows: Sequence[np.ndarray], shifts: np.ndarray, rules: DecisionRules, draw: np.random.Generator, budget_s: float
) -> Comparison:
    """Compare rows that are slower by these log ratios."""
    now_s = 0.0

    def run_trial(cases: Sequence[Any], sampling: PairedSampling) -> PairedTrial:
        nonlocal now_s
        slices_s = sampling.protocol.slices * sampling.protocol.slice_s
        now_s += START_S + len(cases) * (2 * SESSION_S + slices_s)
        effects = {
            case.variant: Effect(
                float(shifts[case.index] + draw.choice(rows[case.index]) * draw.choice((-1, 1))), PAIRS
            )
            for case in cases
        }
        return PairedTrial(
            variants=tuple(effects),
            columns=pair_columns([(index, 0, 0, 1, 1, 1, 1) for index in range(len(cases))]),
            facts={"host": {}, "effects": effects},
        )

    device = SimpleNamespace(name="simulated")
    cases: list[Any] = [
        SimpleNamespace(
            variant=f"row {index}", index=index, sides=(), note="", candidate=SimpleNamespace(device=device)
        )
        for index in range(len(rows))
    ]
    procedure = Procedure(
        cases,
        ComparisonSettings(rules=rules, budget_s=budget_s),
        SimulatedLog(None),
        on_progress=lambda _: None,
        run_trial=run_trial,
        clock=lambda: now_s,
    )
    return procedure.run("base", "candidate")


if __name__ == "__main__":
    main()
