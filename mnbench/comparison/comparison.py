"""A finished comparison: its findings, its verdict, its table and the formats it can be exported to."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import msgspec

from mnbench.comparison.decide import DecisionRules, Finding, overall_verdict
from mnbench.tables.data_frame import to_data_frame
from mnbench.tables.quantities import quantity
from mnbench.tables.table import Column, Table

VERDICT_STYLES = {"slower": "red", "faster": "green", "same": "", "identical": "dim"}
INCONCLUSIVE_STYLE = "yellow"
MAX_LISTED_NAMES = 3


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a comparison. `rules` are those that it was decided by; `run` names the folder of its pairs."""

    verdict: Literal["pass", "slower", "inconclusive"]
    base: str
    candidate: str
    findings: tuple[Finding, ...]
    rules: DecisionRules
    seed: int
    run: str | None = None
    duration_s: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether no row is slower and every row is decided."""
        return self.verdict == "pass"

    @classmethod
    def load(cls, folder: Path | str, rules: DecisionRules | None = None) -> Self:
        """Decide a stored comparison again, by its own rules or by others.

        Raises:
            ResultsError: the folder holds no comparison, or a file in it cannot be read.
        """
        from mnbench.comparison.storage import load_context_and_findings  # noqa: PLC0415  it needs a device's transport

        folder = Path(folder)
        context, findings = load_context_and_findings(folder, rules)
        return cls(
            verdict=overall_verdict(findings),
            base=context.base,
            candidate=context.candidate,
            findings=findings,
            rules=context.rules,
            seed=context.seed,
            run=folder.name,
        )

    def table(self, *, reason_column: bool = False) -> Table[Finding]:
        """Return one row per finding. Reasons are notes below the table, and a column too with `reason_column`."""
        columns = [quantity("variant")]
        if len({finding.device for finding in self.findings}) > 1:
            columns.append(quantity("device"))
        columns += [
            Column[Finding](name="ratio", title="change", format=format_change),
            Column[Finding](name="low", title="at least", format=format_change, drop_priority=1),
            Column[Finding](name="high", title="at most", format=format_change, drop_priority=1),
            Column[Finding](
                name="verdict",
                left=True,
                style=lambda finding: VERDICT_STYLES.get(finding.verdict, INCONCLUSIVE_STYLE),
            ),
            Column[Finding](name="processes", drop_priority=3),
            Column[Finding](name="pairs", format="{:,}".format, drop_priority=2),
        ]
        if reason_column:
            columns.append(Column[Finding](name="reason", left=True))
        notes = [f"{_list(names)}: {reason}" for reason, names in group_by_reason(self.findings)]
        return Table(
            columns=columns,
            rows=self.findings,
            title=f"{self.base} → {self.candidate}",
            notes=[*notes, verdict_sentence(self), statistics_note(self)],
        )

    def export(self, format: str) -> str:  # noqa: A002  the word of the command line
        """Return the comparison in a format that CI services read, such as "junit" or "markdown".

        Raises:
            MnbenchError: the format is unknown.
        """
        from mnbench.comparison.exports import export  # noqa: PLC0415  the exports import this module

        return export(self, format)

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as the command line's JSON."""
        return msgspec.to_builtins(self)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return each finding as a dictionary."""
        return msgspec.to_builtins(self.findings)

    def to_pandas(self) -> Any:
        """Return one row per finding.

        Raises:
            MissingDependency: pandas is not installed.
        """
        return to_data_frame(self.to_dicts(), Finding.__struct_fields__)

    def __str__(self) -> str:
        return verdict_sentence(self)


def format_change(ratio: float) -> str:
    """Format a ratio as a change: +3.1 %."""
    return f"{100 * (ratio - 1):+.1f} %"


def group_by_reason(findings: Sequence[Finding]) -> list[tuple[str, list[str]]]:
    """Return each reason once, with the rows that it applies to."""
    rows: dict[str, list[str]] = {}
    for finding in findings:
        if finding.reason:
            rows.setdefault(finding.reason, []).append(finding.variant)
    return list(rows.items())


def _list(names: Sequence[str]) -> str:
    omitted = len(names) - MAX_LISTED_NAMES
    return ", ".join(names) if omitted <= 0 else f"{', '.join(names[:MAX_LISTED_NAMES])} and {omitted} more"


def verdict_sentence(comparison: Comparison) -> str:
    """Return the decision and what it means."""
    rules, findings = comparison.rules, comparison.findings
    counts = Counter(finding.verdict for finding in findings)
    rows = f"{len(findings)} row{'s' if len(findings) != 1 else ''}"
    summary = f"{', '.join(f'{count} {verdict}' for verdict, count in counts.items())} of {rows}."
    match comparison.verdict:
        case "slower":
            return f"SLOWER: {summary} At most {100 * rules.error_rate:g} % of unchanged tables fail."
        case "pass":
            subject = "None of the others" if counts["inconclusive"] else "No row"
            return f"PASS: {summary} {subject} is slower by more than {rules.equivalence_margin:.1%}."
        case "inconclusive":
            return f"INCONCLUSIVE: {summary} A row that is not decided does not pass."


def statistics_note(comparison: Comparison) -> str:
    """Return what the decision is based on."""
    if not any(finding.ratio for finding in comparison.findings):
        measured = any(finding.pairs for finding in comparison.findings)
        return "Too few pairs were measured for a figure." if measured else "Nothing was measured."
    confidence = f"{100 - 100 * comparison.rules.error_rate:g} % confidence on each side"
    return (
        f"All verdicts hold at once, and each bound for its row, with {confidence}; "
        f"seed {comparison.seed}, {comparison.duration_s:.0f} s."
    )
