"""The options that `compare` and `gate` share, and how both print a comparison."""

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnbench.cli.options import combine, max_processes_option, results_option, seed_option, trust_option
from mnbench.cli.output import emit
from mnbench.cli.param_types import DURATION_S, SHARE_BELOW_1, ReportFile, WorkspaceName
from mnbench.cli.progress_bar import echo_note
from mnbench.comparison.exports import REPORT_FORMATS

if TYPE_CHECKING:
    from mnbench.comparison.comparison import Comparison

EXIT_CODES = {"pass": 0, "slower": 3, "inconclusive": 4}
ALLOWABLE = ("busy", "cpu", "fallback", "inconclusive", "missing", "shapes", "threads")

OPTIONS = combine(
    click.option(
        "--device",
        type=WorkspaceName("devices"),
        help="Device to measure on. Default: cpu, or the device that the table is named after.",
    ),
    results_option,
    click.option(
        "--min-effect",
        default="1%",
        type=SHARE_BELOW_1,
        help='Report "slower" only if the estimated slowdown is at least this.',
    ),
    click.option(
        "--margin",
        "noise_margin",
        default="0.5%",
        type=SHARE_BELOW_1,
        help='Report "slower" only if the lower confidence bound of the slowdown exceeds this.',
    ),
    click.option(
        "--tolerance",
        "equivalence_margin",
        default="2%",
        type=SHARE_BELOW_1,
        help='Equivalence margin: report "same" when the upper confidence bound of the slowdown is below this.',
    ),
    click.option(
        "--alpha-level",
        "error_rate",
        default="1%",
        type=SHARE_BELOW_1,
        help="Family-wise false-positive rate: the chance that an unchanged table is reported slower.",
    ),
    click.option(
        "--budget", "budget_s", default="120s", type=DURATION_S, help="Time limit for the whole comparison: 90s, 2m."
    ),
    max_processes_option("row"),
    seed_option("Seed for the random weights and the order."),
    click.option(
        "--allow",
        multiple=True,
        type=click.Choice(ALLOWABLE),
        help="Continue despite this condition, or let it pass. Repeatable.",
    ),
    click.option(
        "--self-check", is_flag=True, help="Compare BASE with itself, to test whether this machine is quiet enough."
    ),
    click.option(
        "--report",
        "reports",
        multiple=True,
        type=ReportFile(*REPORT_FORMATS),
        help="Also write a report for people or a service: junit=FILE. Repeatable. Formats: "
        f"{', '.join(REPORT_FORMATS)} (a folder, to which each comparison adds a line per row).",
    ),
    trust_option,
)


def decision_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the device, the reports, and the options that the command gets as `settings`."""

    @wraps(command)
    def with_settings(*, budget_s: float, seed: int, allow: Sequence[str], self_check: bool, **arguments: Any) -> None:
        from mnbench.comparison.decide import DecisionRules
        from mnbench.comparison.procedure import ComparisonSettings

        rules = DecisionRules(**{name: arguments.pop(name) for name in DecisionRules.__struct_fields__})
        settings = ComparisonSettings(
            rules=rules, budget_s=budget_s, seed=seed, allow=frozenset(allow), self_check=self_check
        )
        command(settings=settings, **arguments)

    return OPTIONS(with_settings)


def emit_comparison(comparison: "Comparison", results: Path, output: str, reports: Sequence[tuple[str, Path]]) -> None:
    """Print the comparison, write the reports, and exit with the code of its verdict."""
    from mnbench.comparison.exports import write_exports

    emit(comparison.table(reason_column=output == "csv"), output, comparison)
    write_exports(comparison, reports)
    if comparison.run:
        echo_note(f"every pair is stored in {results / 'raw' / comparison.run}")
    if EXIT_CODES[comparison.verdict]:
        raise click.exceptions.Exit(EXIT_CODES[comparison.verdict])
