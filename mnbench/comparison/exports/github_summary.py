"""Markdown for a job summary or a comment, with a plot made of text.

In a job summary, GitHub renders GitHub Flavored Markdown, up to 1 MiB per step
(https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#adding-a-job-summary), and filters
HTML (https://github.github.com/gfm/#disallowed-raw-html-extension-). A picture would need a server, and Mermaid's
xychart has no error bars (https://mermaid.js.org/syntax/xyChart.html); text in a code block looks the same on GitHub,
on GitLab and in a terminal.
"""

from collections.abc import Sequence

from mnbench.comparison.comparison import Comparison, format_change, group_by_reason, statistics_note, verdict_sentence
from mnbench.comparison.decide import Finding
from mnbench.tables.markdown import code, escape
from mnbench.text import shorten

SEVERITY_ORDER = ("slower", "missing", "incomparable", "inconclusive", "faster", "same", "identical")
MAX_ROWS = 500
"""Rows shown: 500 take some 100 KB of the 1 MiB that a summary may have."""

PLOT_WIDTH = 41
NAME_WIDTH = 40


def export(comparison: Comparison) -> str:
    """Return the verdict as a heading, the plot, the table and the reasons."""
    findings = sort_by_severity(comparison.findings)
    identical = [finding for finding in findings if finding.verdict == "identical"]
    shown = [finding for finding in findings if finding.verdict != "identical"][:MAX_ROWS]
    left_out = len(findings) - len(identical) - len(shown)
    parts = [f"### mnbench: {headline(comparison)}", f"{code(comparison.base)} → {code(comparison.candidate)}"]
    measured = [finding for finding in shown if finding.ratio]
    if measured:
        parts.append("```text\n" + "\n".join(plot_intervals(measured, comparison.rules.equivalence_margin)) + "\n```")
    if shown:
        parts.append("\n".join(_table(shown)))
    if left_out:
        parts.append(f"{left_out} more rows are not shown: none is worse than these.")
    reported = [f"- {_list(names)}: {escape(reason)}" for reason, names in group_by_reason(shown)]
    if reported:
        parts.append("\n".join(reported))
    if identical:
        names = ", ".join(code(finding.variant) for finding in identical[:MAX_ROWS])
        parts.append(
            f"<details><summary>{len(identical)} identical: nothing was measured</summary>\n\n{names}\n\n</details>"
        )
    parts += [escape(verdict_sentence(comparison)), escape(statistics_note(comparison))]
    return "\n\n".join(parts) + "\n"


def headline(comparison: Comparison) -> str:
    """Return the verdict in a few words."""
    rows = len(comparison.findings)
    of_rows = f"of {rows} row{'s' if rows != 1 else ''}"
    if comparison.verdict == "slower":
        return f"{sum(finding.verdict == 'slower' for finding in comparison.findings)} {of_rows} slower"
    unclear = sum(finding.verdict in ("missing", "incomparable", "inconclusive") for finding in comparison.findings)
    if comparison.verdict == "pass":
        return f"no row is found slower, {unclear} {of_rows} unclear" if unclear else f"no row is slower, {rows} passed"
    return f"inconclusive, {unclear} {of_rows} not decided"


def sort_by_severity(findings: Sequence[Finding]) -> list[Finding]:
    """Sort failing rows before passing ones, and slower rows before faster ones."""
    return sorted(findings, key=lambda finding: (SEVERITY_ORDER.index(finding.verdict), -(finding.ratio or 0)))


def plot_intervals(findings: Sequence[Finding], tolerance: float) -> list[str]:
    """Return a line a row: its interval, with the estimate as a cross and "no change" as a dot."""
    bounds = [bound - 1 for finding in findings for bound in (finding.low, finding.high, finding.ratio) if bound]
    span = max(2 * tolerance, *map(abs, bounds))
    # A line of three backticks would end the block of code.
    names = [shorten(finding.variant, NAME_WIDTH).replace("`", "'") for finding in findings]
    width = max(map(len, names))
    ends = f"{-100 * span:+.1f} %", "0", f"{100 * span:+.1f} %"
    axis = f"{ends[0]:<{PLOT_WIDTH // 2}}{ends[1]}{ends[2]:>{PLOT_WIDTH // 2}}"
    return [
        f"{'':<{width}}  {axis}",
        *(f"{name:<{width}}  {_bar(finding, span)}" for name, finding in zip(names, findings, strict=True)),
    ]


def _bar(finding: Finding, span: float) -> str:
    cells = [" "] * PLOT_WIDTH
    low, middle, high = (
        round((bound - 1 + span) / (2 * span) * (PLOT_WIDTH - 1))
        for bound in (finding.low or 1.0, finding.ratio or 1.0, finding.high or 1.0)
    )
    cells[PLOT_WIDTH // 2] = "·"
    cells[low : high + 1] = "─" * (high + 1 - low)
    cells[low], cells[high], cells[middle] = "├", "┤", "┼"
    return f"{''.join(cells)}  {format_change(finding.ratio or 1.0):>8}  {finding.verdict}"


def _table(findings: Sequence[Finding]) -> list[str]:
    devices = len({finding.device for finding in findings}) > 1
    lines = [
        f"| row |{' device |' if devices else ''} verdict | change | at least | at most | processes |",
        f"| --- |{' --- |' if devices else ''} --- | ---: | ---: | ---: | ---: |",
    ]
    for finding in findings:
        figures = (format_change(bound) if bound else "–" for bound in (finding.ratio, finding.low, finding.high))
        verdict = f"**{finding.verdict}**" if finding.verdict == "slower" else finding.verdict
        device = f" {code(finding.device)} |" if devices else ""
        lines.append(f"| {code(finding.variant)} |{device} {verdict} | {' | '.join(figures)} | {finding.processes} |")
    return lines


def _list(names: Sequence[str]) -> str:
    few = ", ".join(map(code, names[:3]))
    return few if len(names) <= 3 else f"{few} and {len(names) - 3} more"
