"""Annotations: GitHub's workflow commands, which GitHub reads from the log of a step.

`::error title={title}::{message}` in one line, with `%` escaped, in a title `:` and `,` too: see
https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#setting-an-error-message and
`escapeData` and `escapeProperty` of https://github.com/actions/toolkit/blob/main/packages/core/src/command.ts.
A step has ten errors and ten warnings (https://docs.github.com/en/rest/checks/runs#create-a-check-run).
"""

from collections.abc import Iterator

from mnbench.comparison.comparison import Comparison, format_change, verdict_sentence
from mnbench.comparison.decide import Finding, Verdict
from mnbench.comparison.exports.github_summary import headline, sort_by_severity
from mnbench.text import printable

MAX_ANNOTATIONS = 10
LEVELS: dict[Verdict, str] = {
    "slower": "error",
    "missing": "error",
    "incomparable": "warning",
    "inconclusive": "warning",
}


def export(comparison: Comparison) -> str:
    """Return the verdict and each failing row, as many as GitHub shows; the last annotation counts the others."""
    level = {"slower": "error", "inconclusive": "warning", "pass": "notice"}[comparison.verdict]
    lines = [_command(level, f"mnbench: {headline(comparison)}", verdict_sentence(comparison))]
    for kind in ("error", "warning"):
        lines += _rows(comparison, kind, MAX_ANNOTATIONS - (kind == level))
    return "\n".join(lines) + "\n"


def _rows(comparison: Comparison, level: str, room: int) -> Iterator[str]:
    rows = [finding for finding in sort_by_severity(comparison.findings) if LEVELS.get(finding.verdict) == level]
    shown = rows if len(rows) <= room else rows[: room - 1]
    for finding in shown:
        yield _command(level, f"{finding.variant} is {finding.verdict}", _figures(finding))
    if len(shown) < len(rows):
        yield _command(level, f"{len(rows) - len(shown)} more rows", "The summary of the job names them.")


def _figures(finding: Finding) -> str:
    """Return the change with its bounds, and the reason."""
    parts: list[str] = []
    if finding.ratio and finding.low and finding.high:
        parts.append(
            f"{format_change(finding.ratio)}, between {format_change(finding.low)} and {format_change(finding.high)}"
        )
    return ". ".join([*parts, *filter(None, [finding.reason])])


def _command(level: str, title: str, message: str) -> str:
    return f"::{level} title={_data(title).replace(':', '%3A').replace(',', '%2C')}::{_data(message)}"


def _data(text: str) -> str:
    return printable(text).replace("%", "%25")
