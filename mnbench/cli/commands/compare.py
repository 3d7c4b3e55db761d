"""`mnbench compare`."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mnbench.cli.options import format_option, select_sources, variant_options
from mnbench.cli.output import emit
from mnbench.cli.param_types import Duration, Percent, ReportFile, WorkspaceName
from mnbench.targets.device import read_device

if TYPE_CHECKING:
    from mnbench.comparison.decide import Comparison, Finding
    from mnbench.comparison.procedure import ComparisonSettings
    from mnbench.comparison.sides import ComparisonRequest
    from mnbench.targets.device import Device

Command = TypeVar("Command", bound=Callable[..., Any])

DECISION_OPTIONS = (
    "min_effect",
    "margin",
    "tolerance",
    "alpha_level",
    "processes",
    "budget",
    "seed",
    "allow",
    "self_check",
)
EXIT_CODES = {"pass": 0, "slower": 3, "inconclusive": 4}
REPORT_FORMATS = ("markdown", "annotations", "junit", "json", "bencher", "benchmark-action", "series")
ALLOWABLE = ("busy", "cpu", "fallback", "inconclusive", "missing", "shapes", "threads")


def decision_options(command: Command) -> Command:
    """By which rules a table is judged, and what may be spent on it."""
    for decorate in (
        click.option(
            "--report",
            "reports",
            multiple=True,
            type=ReportFile(*REPORT_FORMATS),
            help="Write also a report, for people or a service: junit=FILE. Repeatable. Formats: "
            f"{', '.join(REPORT_FORMATS)} (a folder that each comparison adds a line a row to).",
        ),
        click.option("--self-check", is_flag=True, help="Compare the base with itself: is this machine fit to judge?"),
        click.option(
            "--allow",
            multiple=True,
            type=click.Choice(ALLOWABLE),
            help="Do not refuse, or fail, because of this. Repeatable.",
        ),
        click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Of weights and order."),
        click.option(
            "--processes",
            default=12,
            show_default=True,
            type=click.IntRange(min=4, max=64),
            help="Fresh processes a row, at most.",
        ),
        click.option(
            "--budget",
            default="120s",
            show_default=True,
            type=Duration(),
            help="What measuring may cost in all, decided or not: 90s, 2m.",
        ),
        click.option(
            "--alpha-level",
            default="1%",
            show_default=True,
            type=Percent(),
            help="The chance that any innocent row of the table is called slower.",
        ),
        click.option(
            "--tolerance",
            default="2%",
            show_default=True,
            type=Percent(),
            help="A row is the same once it is beyond doubt less than this slower.",
        ),
        click.option(
            "--margin",
            default="0.5%",
            show_default=True,
            type=Percent(),
            help="A row is slower only if it is so by more than this beyond doubt, …",
        ),
        click.option(
            "--min-effect",
            default="1%",
            show_default=True,
            type=Percent(),
            help="… and by this at least by estimate.",
        ),
        click.option(
            "--results",
            default="results",
            show_default=True,
            type=click.Path(path_type=Path),
            help="Folder of the results: every pair is kept in its raw/.",
        ),
        click.option(
            "--device",
            type=WorkspaceName("devices", ".toml"),
            help="Where to measure. Default: cpu, or what the table is named after.",
        ),
    ):
        command = decorate(command)
    return command


@click.command(
    epilog="\b\nExample:\n  mnbench compare old.onnx new.onnx\n  mnbench compare v1-a0.5-r160 v2-a0.5-r160"
    "\n  mnbench compare fp32 int8 v1 --alpha 1,0.5\n  mnbench compare onnxruntime==1.30.0 onnxruntime v1"
    "\n  mnbench compare default session.intra_op.allow_spinning=1 v1"
)
@click.argument("base")
@click.argument("candidate")
@variant_options
@decision_options
@format_option()
def command(
    *,
    base: str,
    candidate: str,
    device: str | None,
    results: Path,
    reports: Sequence[tuple[str, Path]],
    output: str,
    **rest: Any,
) -> None:
    """Tell whether one of two is slower.

    BASE and CANDIDATE are two .onnx files, two folders of them, two variants, or two precisions, runtimes or settings
    with the graphs to compare them with. Both are measured beside each other, run by run, in fresh processes, until
    every row is decided. Exit code 0: no row is slower; 3: some are; 4: nobody can tell.
    """
    from mnbench.comparison.sides import pair_sides, parse_side

    settings = read_settings(**{name: rest.pop(name) for name in DECISION_OPTIONS})
    if rest["batch"] is None:
        raise click.UsageError("a measurement needs a batch of fixed size: --batch dynamic is for build")
    chosen = pair_sides(parse_side(base), parse_side(candidate), select_sources(**rest))
    names = (base, base if settings.self_check else candidate)
    judgement = run_comparison(chosen, settings, device=read_device(device or "cpu"), results=results, labels=names)
    report_comparison(judgement, results, output, reports)


def read_settings(
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
    **_: Any,
) -> "ComparisonSettings":
    """What `decision_options` ask for."""
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


def run_comparison(
    chosen: Sequence["ComparisonRequest"],
    settings: "ComparisonSettings",
    *,
    device: "Device",
    results: Path,
    labels: tuple[str, str],
    known_findings: Sequence["Finding"] = (),
    raise_errors: bool | None = None,
) -> "Comparison":
    """Make the models, measure the rows, judge the table. Ctrl-C leaves nothing behind.

    An `alone` row, as the only one is, fails with the error that another would get for a reason.
    """
    from mnbench.cli.measuring import announce_environment, discard_unfinished, reject_emulated
    from mnbench.cli.progress_bar import show_progress
    from mnbench.comparison.compare import CaseBuilder, compare
    from mnbench.targets.environments import prepare_device

    device = prepare_device(device, on_create=announce_environment)
    reject_emulated(device, "and are not compared")
    with (
        discard_unfinished(results, "comparison") as new_folder,
        tempfile.TemporaryDirectory(prefix="mnbench-") as models,
    ):
        preparation = CaseBuilder(device, Path(models), settings)
        with show_progress("building", len(chosen)) as step:
            for pairing in chosen:
                preparation.add(pairing, raise_errors=len(chosen) == 1 if raise_errors is None else raise_errors)
                step()
        folder = new_folder() if preparation.cases else None
        with show_progress("comparing", settings.rules.processes) as step:
            return compare(
                preparation.cases,
                [*preparation.findings, *known_findings],
                settings,
                names=labels,
                folder=folder,
                on_progress=step,
            )


def report_comparison(judgement: "Comparison", results: Path, output: str, reports: Sequence[tuple[str, Path]]) -> None:
    """Print the judgement, write the reports, and exit as it says."""
    from mnbench.comparison.exports import write_exports
    from mnbench.comparison.findings_table import findings_table

    emit(findings_table(judgement, reason_column=output == "csv"), output, judgement)
    write_exports(judgement, reports)
    if judgement.run:
        click.echo(f"every pair is kept in {results / 'raw' / judgement.run}", err=True)
    if EXIT_CODES[judgement.verdict]:
        raise click.exceptions.Exit(EXIT_CODES[judgement.verdict])
