"""A judgement as a table, and what was decided in plain words."""

from collections import Counter
from collections.abc import Sequence

from mnbench.comparison.decide import Comparison, Finding
from mnbench.tables.quantities import quantity
from mnbench.tables.table import Column, Table

VERDICT_STYLES = {"slower": "red", "faster": "green", "same": "", "identical": "dim"}
INCONCLUSIVE_STYLE = "yellow"
MAX_LISTED_NAMES = 3


def findings_table(judgement: Comparison, *, reason_column: bool = False) -> Table[Finding]:
    """One row a finding; reasons stand in notes below, or `beside`, for programs, in a column."""
    devices = {finding.device for finding in judgement.findings}
    columns = [quantity("variant")]
    if len(devices) > 1:
        columns.append(quantity("device"))
    columns += [
        Column[Finding](name="ratio", title="change", format=format_change),
        Column[Finding](name="low", title="at least", format=format_change, drop_priority=1),
        Column[Finding](name="high", title="at most", format=format_change, drop_priority=1),
        Column[Finding](name="verdict", left=True, style=lambda f: VERDICT_STYLES.get(f.verdict, INCONCLUSIVE_STYLE)),
        Column[Finding](name="processes", drop_priority=3),
        Column[Finding](name="pairs", format="{:,}".format, drop_priority=2),
    ]
    if reason_column:
        columns.append(Column[Finding](name="reason", left=True))
    title = f"{judgement.base} → {judgement.candidate}"
    reported = [f"{_list(names)}: {reason}" for reason, names in group_by_reason(judgement.findings)]
    notes = [*reported, verdict_sentence(judgement), statistics_note(judgement)]
    return Table(columns=columns, rows=judgement.findings, title=title, notes=notes)


def format_change(ratio: float) -> str:
    """A ratio as a person reads it: +3.1 %."""
    return f"{100 * (ratio - 1):+.1f} %"


def group_by_reason(findings: Sequence[Finding]) -> list[tuple[str, list[str]]]:
    """Each reason once, with the rows that it is for."""
    rows: dict[str, list[str]] = {}
    for finding in findings:
        if finding.reason:
            rows.setdefault(finding.reason, []).append(finding.variant)
    return list(rows.items())


def _list(names: Sequence[str]) -> str:
    return (
        ", ".join(names)
        if len(names) <= MAX_LISTED_NAMES
        else f"{', '.join(names[:MAX_LISTED_NAMES])} and {len(names) - MAX_LISTED_NAMES} more"
    )


def verdict_sentence(judgement: Comparison) -> str:
    """What was decided, and what that means."""
    rules, findings = judgement.rules, judgement.findings
    counts = Counter(finding.verdict for finding in findings)
    rows = f"{len(findings)} row{'s' if len(findings) != 1 else ''}"
    message = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    match judgement.verdict:
        case "slower":
            return (
                f"SLOWER: {message} of {rows}. Of tables in which no row is slower, "
                f"at most {100 * rules.error_rate:g} % are accused."
            )
        case "pass":
            which = "None of the others" if counts["inconclusive"] else "No row"
            return f"PASS: {message} of {rows}. {which} is slower by more than {rules.equivalence_margin:.1%}."
        case "inconclusive":
            return f"COULD NOT TELL: {message} of {rows}. What nobody can tell does not pass."


def statistics_note(judgement: Comparison) -> str:
    """What the decision rests on."""
    if not any(finding.ratio for finding in judgement.findings):
        return "Nothing was measured."
    level = f"with {100 - 100 * judgement.rules.error_rate:g} % to each side"
    seconds = f"seed {judgement.seed}, {judgement.duration_s:.0f} s"
    return f"The bounds hold for all rows of the table at once, {level}; {seconds}."
