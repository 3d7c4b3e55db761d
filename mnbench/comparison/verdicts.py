"""Verdicts: from the effects of all processes to a finding with its reason for each row."""

from collections.abc import Mapping
from math import expm1
from typing import Literal

import msgspec

from mnbench.comparison.decide import (
    MIN_PAIRS,
    MIN_PROCESSES,
    Decision,
    DecisionRules,
    Effects,
    Finding,
    RatioEstimate,
    decide,
    finding_from_decision,
    row_variances,
)

MAX_SELF_DIFFERENCE = 0.01
"""The largest difference of a row from itself at which a self-check passes."""


class ComparisonContext(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about a comparison except its pairs.

    `measured` names the device of each measured row; `known` are the findings that needed no measurement; `failed`
    holds the failed side of a row and its error; `stopped` says why measuring ended early.
    """

    base: str
    candidate: str
    rules: DecisionRules
    seed: int
    measured: dict[str, str]
    known: tuple[Finding, ...] = ()
    failed: dict[str, tuple[str, str]] = {}
    stopped: str = ""
    incomparable: str = ""
    self_check: bool = False
    processes: int = 0


def suspected_regressions(first: Effects, rules: DecisionRules, row_count: int) -> list[str]:
    """Return the rows, of this many, that look slower and must be measured again."""
    return [
        row
        for row, decision in decide(first, rules, final=True, row_count=row_count).items()
        if decision.verdict == "slower"
    ]


def confirm(again: Effects, first: Effects, rules: DecisionRules, *, final: bool) -> dict[str, Decision]:
    """Decide the suspected rows again, each at the full error rate: the first stage corrected for their number."""
    return decide(again, rules, final=final, row_count=1, prior_variances=row_variances(first))


def conclude(first: Effects, again: Effects, context: ComparisonContext) -> tuple[Finding, ...]:
    """Return one finding per row: first the measured rows in order, then the others."""
    able = {row: effects for row, effects in first.items() if row not in context.failed}
    decided = decide(able, context.rules, final=True, row_count=len(context.measured))
    doubtful = [row for row, decision in decided.items() if decision.verdict == "slower"]
    second = confirm({row: again[row] for row in doubtful if again.get(row)}, able, context.rules, final=True)
    findings: list[Finding] = []
    for row, device in context.measured.items():
        if row in context.failed:
            findings.append(_broken(row, device, *context.failed[row]))
        elif context.incomparable:
            findings.append(Finding(variant=row, device=device, verdict="incomparable", reason=context.incomparable))
        elif row not in decided:
            findings.append(_too_few(row, device, first, context))
        elif context.self_check:
            findings.append(_checked(row, device, decided[row]))
        else:
            findings.append(_finding(row, device, decided[row], second, context))
    return (*findings, *context.known)


def failed_side_verdict(side: str) -> Literal["missing", "incomparable"]:
    """Return the verdict of a row with a failed side."""
    return "missing" if side == "candidate" else "incomparable"


def _broken(row: str, device: str, side: str, message: str) -> Finding:
    return Finding(variant=row, device=device, verdict=failed_side_verdict(side), reason=f"the {side} fails: {message}")


def _too_few(row: str, device: str, first: Effects, context: ComparisonContext) -> Finding:
    built = len(first[row])
    why = context.stopped or "raise --budget"
    return Finding(
        variant=row,
        device=device,
        verdict="inconclusive",
        processes=built,
        pairs=sum(effect.pairs for effect in first[row]),
        reason=f"{built} of at least {MIN_PROCESSES} processes: {why}",
    )


def _finding(
    row: str, device: str, decision: Decision, second: Mapping[str, Decision], context: ComparisonContext
) -> Finding:
    estimate = decision.estimate
    if decision.verdict == "slower":
        repeat = second.get(row)
        if repeat is None:
            why = context.stopped or "raise --budget"
            unsure = decision._replace(verdict="inconclusive")
            return finding_from_decision(row, device, unsure, f"looks slower, but could not be measured again: {why}")
        alone = f"{format_log_ratio(repeat.estimate.mean)} when measured again, alone"
        if repeat.verdict == "slower":
            return finding_from_decision(row, device, decision, alone)
        cleared = repeat._replace(verdict="same" if repeat.verdict == "same" else "inconclusive")
        return finding_from_decision(row, device, cleared, f"looked {format_log_ratio(estimate.mean)} at first")
    if decision.verdict == "inconclusive":
        return finding_from_decision(row, device, decision, _doubt(estimate, context))
    return finding_from_decision(row, device, decision)


def _doubt(estimate: RatioEstimate, context: ComparisonContext) -> str:
    if estimate.pairs < MIN_PAIRS:
        return f"{estimate.pairs} of at least {MIN_PAIRS} pairs: raise --budget"
    if context.stopped:
        return context.stopped
    return "slower or the same: raise --budget and --processes, or use a quieter machine"


def _checked(row: str, device: str, decision: Decision) -> Finding:
    """Return the finding of a row that was compared with itself."""
    fit = decision.verdict == "same" and abs(expm1(decision.estimate.mean)) <= MAX_SELF_DIFFERENCE
    verdict = "same" if fit else "inconclusive"
    reason = "" if fit else "differs from itself, or is inconclusive: this machine is too noisy to decide"
    return finding_from_decision(row, device, decision._replace(verdict=verdict), reason)


def format_log_ratio(log_ratio: float) -> str:
    """Format a log ratio as a change: +3.1 %."""
    return f"{100 * expm1(log_ratio):+.1f} %"
