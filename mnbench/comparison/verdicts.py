"""Verdicts: from the effects of all processes to a finding with its reason for each row."""

from math import exp, expm1
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from mnbench.comparison.comparison import format_change
from mnbench.comparison.decide import (
    MIN_PAIRS,
    MIN_PROCESSES,
    Decision,
    DecisionRules,
    Effects,
    Finding,
    decide,
    row_variances,
)
from mnbench.results.facts import Count, Text

MAX_SELF_DIFFERENCE = 0.01
"""The largest difference of a row from itself at which a self-check passes."""

RAISE_BUDGET = "raise --budget"


class ComparisonContext(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about a comparison except its pairs.

    `measured` names the device of each measured row, and `notes` say how its sides were chosen; `known` are the
    findings that needed no measurement; `failed` holds the failed side of a row and its error; `stopped` says why
    measuring ended early.
    """

    base: Text
    candidate: Text
    rules: DecisionRules
    seed: Count
    measured: dict[Text, Text]
    notes: dict[Text, Text] = {}
    known: tuple[Finding, ...] = ()
    failed: dict[Text, tuple[Text, Text]] = {}
    stopped: Text = ""
    incomparable: Text = ""
    self_check: bool = False
    processes: Annotated[int, Meta(ge=0, le=10_000)] = 0


def suspected_regressions(first: Effects, rules: DecisionRules, row_count: int) -> list[str]:
    """Return the rows, of this many, that look slower and must be measured again."""
    decisions = decide(first, rules, final=True, row_count=row_count)
    return [row for row, decision in decisions.items() if decision.verdict == "slower"]


def confirm(
    again: Effects, first: Effects, rules: DecisionRules, row_count: int, *, final: bool
) -> dict[str, Decision]:
    """Decide the suspected rows again, from a second sample that is independent of the first."""
    variances = row_variances(first)
    return decide(again, rules, final=final, row_count=row_count, prior_variances=variances, second_sample=True)


def failed_side_verdict(side: str) -> Literal["missing", "incomparable"]:
    """Return the verdict of a row with a failed side."""
    return "missing" if side == "candidate" else "incomparable"


def conclude(first: Effects, again: Effects, context: ComparisonContext) -> tuple[Finding, ...]:
    """Return one finding per row: first the measured rows in order, then the others."""
    able = {row: effects for row, effects in first.items() if row not in context.failed}
    decisions = decide(able, context.rules, final=True, row_count=len(context.measured))
    suspected = {
        row: again[row] for row, decision in decisions.items() if decision.verdict == "slower" and again.get(row)
    }
    repeats = confirm(suspected, able, context.rules, len(context.measured), final=True)
    findings: list[Finding] = []
    for row, device in context.measured.items():
        if row in context.failed:
            side, error = context.failed[row]
            finding = Finding(
                variant=row, device=device, verdict=failed_side_verdict(side), reason=f"the {side} fails: {error}"
            )
        elif context.incomparable:
            finding = Finding(variant=row, device=device, verdict="incomparable", reason=context.incomparable)
        elif row in decisions:
            finding = _finding(row, device, decisions[row], repeats.get(row), context)
        else:
            processes = len(first[row])
            finding = Finding(
                variant=row,
                device=device,
                verdict="inconclusive",
                processes=processes,
                pairs=sum(effect.pairs for effect in first[row]),
                reason=f"{processes} of at least {MIN_PROCESSES} processes: {context.stopped or RAISE_BUDGET}",
            )
        findings.append(finding)
    return (*findings, *context.known)


def _finding(row: str, device: str, decision: Decision, repeat: Decision | None, context: ComparisonContext) -> Finding:
    decision, reason = _check_itself(decision) if context.self_check else _explain(decision, repeat, context)
    estimate = decision.estimate
    return Finding(
        variant=row,
        device=device,
        verdict=decision.verdict or "inconclusive",
        ratio=exp(estimate.mean),
        low=exp(decision.low),
        high=exp(decision.high),
        processes=estimate.processes,
        pairs=estimate.pairs,
        reason="; ".join(filter(None, (reason, context.notes.get(row, "")))),
    )


def _explain(decision: Decision, repeat: Decision | None, context: ComparisonContext) -> tuple[Decision, str]:
    """Return the decision on a row with its reason; `repeat` is that on a suspected row which was measured again."""
    estimate = decision.estimate
    if decision.verdict == "slower":
        if repeat is None:
            why = context.stopped or RAISE_BUDGET
            return decision._replace(verdict="inconclusive"), f"looks slower, but could not be measured again: {why}"
        if repeat.verdict == "slower":
            reason = f"{format_change(exp(repeat.estimate.mean))} when measured again, alone"
            samples = [(sample.estimate.mean, sample.sample_half_width) for sample in (decision, repeat)]
            # A bound of one sample holds with less confidence than the table's; the wider of both holds with it.
            low = min(mean - half_width for mean, half_width in samples)
            high = max(mean + half_width for mean, half_width in samples)
            return decision._replace(low=low, high=high), reason
        cleared = repeat._replace(verdict="same" if repeat.verdict == "same" else "inconclusive")
        return cleared, f"looked {format_change(exp(estimate.mean))} at first"
    if decision.verdict != "inconclusive":
        return decision, ""
    if estimate.pairs < MIN_PAIRS:
        return decision, f"{estimate.pairs} of at least {MIN_PAIRS} pairs: {RAISE_BUDGET}"
    return decision, context.stopped or "slower or the same: raise --budget and --processes, or use a quieter machine"


def _check_itself(decision: Decision) -> tuple[Decision, str]:
    """Return the decision on a row that was compared with itself."""
    if decision.verdict == "same" and abs(expm1(decision.estimate.mean)) <= MAX_SELF_DIFFERENCE:
        return decision, ""
    reason = "differs from itself, or is inconclusive: this machine is too noisy to decide"
    return decision._replace(verdict="inconclusive"), reason
