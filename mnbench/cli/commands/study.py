"""Reproduce the papers' experiments on this device."""

from pathlib import Path

import click

from mnbench.cli.options import (
    device_option,
    format_option,
    max_processes_option,
    results_option,
    seed_option,
    trust_option,
)
from mnbench.cli.output import emit
from mnbench.cli.param_types import DURATION_S, WorkspaceName
from mnbench.cli.progress_bar import ProgressBar, echo_note, verbosity_options
from mnbench.targets.device import read_device


@click.command(epilog="\b\nExample:\n  mnbench study\n  mnbench study g1\n  mnbench study g1 --kept --format md")
@click.argument("names", nargs=-1, metavar="[NAME]...", type=WorkspaceName("graphs/studies"))
@device_option("Device to measure on.")
@results_option
@click.option("--kept", "stored", is_flag=True, help="Show the stored result; measure nothing.")
@max_processes_option("comparison")
@click.option("--budget", default="120s", type=DURATION_S, help="Time limit per study: 90s, 2m.")
@click.option(
    "--allow",
    multiple=True,
    type=click.Choice(["busy", "fallback"]),
    help="Measure despite this condition. Repeatable.",
)
@seed_option("Seed for the random weights and the order.")
@trust_option
@verbosity_options
@format_option()
def command(
    *,
    names: tuple[str, ...],
    device: str,
    results: Path,
    stored: bool,
    processes: int,
    budget: float,
    allow: tuple[str, ...],
    seed: int,
    output: str,
) -> None:
    """Reproduce the papers' experiments on this device.

    Measure the networks of an experiment in pairs, and show the figures with the paper's. Each claim of the paper holds
    on this device, does not hold, or is inconclusive. Without a NAME, list the studies.
    """
    from mnbench.studies.study_result import load_result

    measured_on = read_device(device)
    if not names:
        from mnbench.studies.study_list import list_studies, study_list_table

        studies = list_studies(results, measured_on.name)
        data = {"studies": [study.to_dict() for study in studies]}
        emit(study_list_table(studies, measured_on.name), output, data)
        return
    if stored:
        outcomes = [load_result(results, measured_on.name, name) for name in names]
        tables = [table for outcome in outcomes for table in outcome.tables()]
        emit(tables, output, {"studies": [outcome.to_dict() for outcome in outcomes]})
        return
    from mnbench.comparison.decide import DecisionRules
    from mnbench.comparison.procedure import ComparisonSettings
    from mnbench.studies.run_study import measure_study

    settings = ComparisonSettings(
        rules=DecisionRules(processes=processes), budget_s=budget, seed=seed, allow=frozenset(allow)
    )
    payloads: list[object] = []
    for name in names:
        with ProgressBar() as bar:
            path, outcome = measure_study(name, measured_on, settings, results, bar)
        echo_note(f"stored in {path}")
        if output == "json":
            payloads.append(outcome.to_dict())
        else:
            emit(outcome.tables(), output, None)
    if payloads:
        emit((), output, {"studies": payloads})
