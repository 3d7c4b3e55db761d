"""Annotations: GitHub's workflow commands, which the log of a step is read for.

`::error title={title}::{message}`, with `%`, CR and LF escaped, in a title `:` and `,` too: see
https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#setting-an-error-message and
`escapeData` and `escapeProperty` of https://github.com/actions/toolkit/blob/main/packages/core/src/command.ts.
A step has ten errors and ten warnings (https://docs.github.com/en/rest/checks/runs#create-a-check-run).
"""

from collections.abc import Iterator

from mnbench.comparison.decide import Comparison, Finding, Verdict
from mnbench.comparison.exports.github_summary import headline, sort_by_severity
from mnbench.comparison.findings_table import format_change, verdict_sentence

MAX_ANNOTATIONS = 10
LEVELS: dict[Verdict, str] = {
    "slower": "error",
    "missing": "error",
    "incomparable": "warning",
    "inconclusive": "warning",
}


def to_annotations(judgement: Comparison) -> str:
    """The verdict, then each row that fails, as many as are shown; the last one counts those that are not."""
    level = {"slower": "error", "inconclusive": "warning", "pass": "notice"}[judgement.verdict]
    lines = [_command(level, f"mnbench: {headline(judgement)}", verdict_sentence(judgement))]
    for kind in ("error", "warning"):
        lines += _rows(judgement, kind, MAX_ANNOTATIONS - (kind == level))
    return "\n".join(lines) + "\n"


def _rows(judgement: Comparison, level: str, room: int) -> Iterator[str]:
    rows = [finding for finding in sort_by_severity(judgement.findings) if LEVELS.get(finding.verdict) == level]
    shown = rows if len(rows) <= room else rows[: room - 1]
    for finding in shown:
        yield _command(level, f"{finding.variant} is {finding.verdict}", _figures(finding))
    if len(shown) < len(rows):
        yield _command(level, f"{len(rows) - len(shown)} more rows", "The summary of the job names them.")


def _figures(finding: Finding) -> str:
    """The change between its bounds, and the reason."""
    parts: list[str] = []
    if finding.ratio and finding.low and finding.high:
        parts.append(
            f"{format_change(finding.ratio)}, between {format_change(finding.low)} and {format_change(finding.high)}"
        )
    return ". ".join([*parts, *filter(None, [finding.reason])])


def _command(level: str, title: str, message: str) -> str:
    return f"::{level} title={_data(title).replace(':', '%3A').replace(',', '%2C')}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
