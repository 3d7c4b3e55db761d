"""A judgement as a table, and what was decided in plain words."""

from collections import Counter
from typing import Any

import msgspec

from mnbench.columns import Column, Table
from mnbench.gate.judge import Finding, Judgement

STYLES = {"slower": "red", "faster": "green", "same": "", "identical": "dim"}
UNSURE = "yellow"


def findings_table(judgement: Judgement) -> Table[Finding]:
    """One row a finding."""
    devices = {finding.device for finding in judgement.findings}
    columns = [Column[Finding](name="variant", value=lambda f: f.variant, left=True)]
    if len(devices) > 1:
        columns.append(Column[Finding](name="device", value=lambda f: f.device, left=True))
    columns += [
        Column[Finding](name="ratio", title="change", value=lambda f: f.ratio, show=_change),
        Column[Finding](name="low", title="at least", value=lambda f: f.low, show=_change, rank=1),
        Column[Finding](name="high", title="at most", value=lambda f: f.high, show=_change, rank=1),
        Column[Finding](
            name="verdict", value=lambda f: f.verdict, left=True, style=lambda f: STYLES.get(f.verdict, UNSURE)
        ),
        Column[Finding](name="processes", value=lambda f: f.processes, rank=3),
        Column[Finding](name="pairs", value=lambda f: f.pairs, show="{:,}".format, rank=2),
    ]
    if any(finding.reason for finding in judgement.findings):
        columns.append(Column[Finding](name="reason", value=lambda f: f.reason or None, left=True))
    title = f"{judgement.base} → {judgement.candidate}"
    return Table(columns=columns, rows=judgement.findings, title=title, notes=_words(judgement))


def judgement_payload(judgement: Judgement) -> dict[str, Any]:
    """For programs."""
    return msgspec.to_builtins(judgement)


def _change(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f} %"


def _words(judgement: Judgement) -> list[str]:
    """The decision, and what it rests on."""
    rules, findings = judgement.rules, judgement.findings
    counts = Counter(finding.verdict for finding in findings)
    rows = f"{len(findings)} row{'s' if len(findings) != 1 else ''}"
    sure = f"{1 - rules.alpha:.3g}".replace("0.", "").ljust(2, "0")
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    match judgement.verdict:
        case "slower":
            decided = (
                f"SLOWER: {told} of {rows}. Of tables in which no row is slower, "
                f"fewer than {rules.alpha:.3g} in one are accused."
            )
        case "pass":
            decided = f"PASS: {told} of {rows}. No row is slower by more than {rules.tolerance:.1%}."
        case "inconclusive":
            decided = f"COULD NOT TELL: {told} of {rows}. What nobody can tell does not pass."
    level = f"The bounds hold for all rows of the table at once, with {sure} % each side"
    return [decided, f"{level}; seed {judgement.seed}, {judgement.duration_s:.0f} s."]
