"""A judgement as a table, and what was decided in plain words."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from mnbench.comparison.decide import Finding, Judgement
from mnbench.tables.table import Column, Table

STYLES = {"slower": "red", "faster": "green", "same": "", "identical": "dim"}
UNSURE = "yellow"
NAMED = 3


def findings_table(judgement: Judgement, *, beside: bool = False) -> Table[Finding]:
    """One row a finding; reasons stand in notes below, or `beside`, for programs, in a column."""
    devices = {finding.device for finding in judgement.findings}
    columns = [Column[Finding](name="variant", value=lambda f: f.variant, left=True)]
    if len(devices) > 1:
        columns.append(Column[Finding](name="device", value=lambda f: f.device, left=True))
    columns += [
        Column[Finding](name="ratio", title="change", value=lambda f: f.ratio, show=change),
        Column[Finding](name="low", title="at least", value=lambda f: f.low, show=change, rank=1),
        Column[Finding](name="high", title="at most", value=lambda f: f.high, show=change, rank=1),
        Column[Finding](
            name="verdict", value=lambda f: f.verdict, left=True, style=lambda f: STYLES.get(f.verdict, UNSURE)
        ),
        Column[Finding](name="processes", value=lambda f: f.processes, rank=3),
        Column[Finding](name="pairs", value=lambda f: f.pairs, show="{:,}".format, rank=2),
    ]
    if beside:
        columns.append(Column[Finding](name="reason", value=lambda f: f.reason, left=True))
    title = f"{judgement.base} → {judgement.candidate}"
    told = [f"{_list(names)}: {reason}" for reason, names in reasons(judgement.findings)]
    notes = [*told, decision(judgement), grounds(judgement)]
    return Table(columns=columns, rows=judgement.findings, title=title, notes=notes)


def judgement_payload(judgement: Judgement) -> dict[str, Any]:
    """For programs."""
    return msgspec.to_builtins(judgement)


def change(ratio: float) -> str:
    """A ratio as a person reads it: +3.1 %."""
    return f"{100 * (ratio - 1):+.1f} %"


def reasons(findings: Sequence[Finding]) -> list[tuple[str, list[str]]]:
    """Each reason once, with the rows that it is for."""
    rows: dict[str, list[str]] = {}
    for finding in findings:
        if finding.reason:
            rows.setdefault(finding.reason, []).append(finding.variant)
    return list(rows.items())


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= NAMED else f"{', '.join(names[:NAMED])} and {len(names) - NAMED} more"


def decision(judgement: Judgement) -> str:
    """What was decided, and what that means."""
    rules, findings = judgement.rules, judgement.findings
    counts = Counter(finding.verdict for finding in findings)
    rows = f"{len(findings)} row{'s' if len(findings) != 1 else ''}"
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    match judgement.verdict:
        case "slower":
            return (
                f"SLOWER: {told} of {rows}. Of tables in which no row is slower, "
                f"at most {100 * rules.alpha:g} % are accused."
            )
        case "pass":
            which = "None of the others" if counts["inconclusive"] else "No row"
            return f"PASS: {told} of {rows}. {which} is slower by more than {rules.tolerance:.1%}."
        case "inconclusive":
            return f"COULD NOT TELL: {told} of {rows}. What nobody can tell does not pass."


def grounds(judgement: Judgement) -> str:
    """What the decision rests on."""
    if not any(finding.ratio for finding in judgement.findings):
        return "Nothing was measured."
    level = f"with {100 - 100 * judgement.rules.alpha:g} % to each side"
    seconds = f"seed {judgement.seed}, {judgement.duration_s:.0f} s"
    return f"The bounds hold for all rows of the table at once, {level}; {seconds}."
