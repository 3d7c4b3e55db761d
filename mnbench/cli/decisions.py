"""The options that `compare` and `gate` share, and how both print a comparison."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mnbench.cli.options import seed_option
from mnbench.cli.output import emit
from mnbench.cli.param_types import Duration, Percent, ReportFile, WorkspaceName
from mnbench.comparison.exports import REPORT_FORMATS

if TYPE_CHECKING:
    from mnbench.comparison.comparison import Comparison
    from mnbench.comparison.procedure import ComparisonSettings

Command = TypeVar("Command", bound=Callable[..., Any])

DECISION_OPTIONS = (
    *("min_effect", "margin", "tolerance", "alpha_level", "processes", "budget", "seed", "allow", "self_check"),
)
EXIT_CODES = {"pass": 0, "slower": 3, "inconclusive": 4}
ALLOWABLE = ("busy", "cpu", "fallback", "inconclusive", "missing", "shapes", "threads")


def decision_options(command: Command) -> Command:
    """Add the rules of the decision, the budget, the reports and the device."""
    for decorate in (
        click.option(
            "--report",
            "reports",
            multiple=True,
            type=ReportFile(*REPORT_FORMATS),
            help="Write a report for people or a service too: junit=FILE. Repeatable. Formats: "
            f"{', '.join(REPORT_FORMATS)} (a folder; each comparison adds a line per row).",
        ),
        click.option(
            "--self-check", is_flag=True, help="Compare BASE with itself, to test whether this machine is quiet enough."
        ),
        click.option(
            "--allow",
            multiple=True,
            type=click.Choice(ALLOWABLE),
            help="Continue, or pass, despite this. Repeatable.",
        ),
        seed_option("Seed for the random weights and the order."),
        click.option(
            "--processes",
            default=12,
            show_default=True,
            type=click.IntRange(min=4, max=64),
            help="Maximum number of processes per row.",
        ),
        click.option(
            "--budget",
            default="120s",
            show_default=True,
            type=Duration(),
            help="Time limit for the whole comparison: 90s, 2m.",
        ),
        click.option(
            "--alpha-level",
            default="1%",
            show_default=True,
            type=Percent(),
            help="Family-wise false-positive rate: the chance that an unchanged table is reported slower.",
        ),
        click.option(
            "--tolerance",
            default="2%",
            show_default=True,
            type=Percent(),
            help='Equivalence margin: report "same" when the upper confidence bound of the slowdown is below this.',
        ),
        click.option(
            "--margin",
            default="0.5%",
            show_default=True,
            type=Percent(),
            help='Report "slower" only if the lower confidence bound of the slowdown exceeds this.',
        ),
        click.option(
            "--min-effect",
            default="1%",
            show_default=True,
            type=Percent(),
            help='Report "slower" only if the estimated slowdown is at least this.',
        ),
        click.option(
            "--results",
            default="results",
            show_default=True,
            type=click.Path(path_type=Path),
            help="Results folder; the pairs are stored in its raw/.",
        ),
        click.option(
            "--device",
            type=WorkspaceName("devices", ".toml"),
            help="Device to measure on. Default: cpu, or the device that the table is named after.",
        ),
    ):
        command = decorate(command)
    return command


def comparison_settings(
    *,
    min_effect: float,
    margin: float,
    tolerance: float,
    alpha_level: float,
    processes: int,
    budget: float,
    seed: int,
    allow: Sequence[str],
    self_check: bool,
) -> "ComparisonSettings":
    """Return the settings that `decision_options` read."""
    from mnbench.comparison.decide import DecisionRules
    from mnbench.comparison.procedure import ComparisonSettings

    return ComparisonSettings(
        rules=DecisionRules(
            error_rate=alpha_level,
            noise_margin=margin,
            min_effect=min_effect,
            equivalence_margin=tolerance,
            processes=processes,
        ),
        budget_s=budget,
        seed=seed,
        allow=frozenset(allow),
        self_check=self_check,
    )


def emit_comparison(comparison: "Comparison", results: Path, output: str, reports: Sequence[tuple[str, Path]]) -> None:
    """Print the comparison, write the reports, and exit with the code of its verdict."""
    from mnbench.comparison.exports import write_exports

    emit(comparison.table(reason_column=output == "csv"), output, comparison)
    write_exports(comparison, reports)
    if comparison.run:
        click.echo(f"every pair is kept in {results / 'raw' / comparison.run}", err=True)
    if EXIT_CODES[comparison.verdict]:
        raise click.exceptions.Exit(EXIT_CODES[comparison.verdict])
