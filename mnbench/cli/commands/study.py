"""`mnbench study`."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mnbench.cli.options import format_option
from mnbench.cli.output import emit
from mnbench.cli.param_types import Duration, WorkspaceName
from mnbench.errors import ResultsError
from mnbench.studies.study_file import read_study
from mnbench.targets.device import read_device
from mnbench.workspace import table_paths

if TYPE_CHECKING:
    from mnbench.studies.study_result import StudyResult


@click.command(epilog="\b\nExample:\n  mnbench study\n  mnbench study g1\n  mnbench study g1 --kept --format md")
@click.argument("names", nargs=-1, metavar="[NAME]...", type=WorkspaceName("graphs/studies", ".toml"))
@click.option(
    "--device", default="cpu", show_default=True, type=WorkspaceName("devices", ".toml"), help="Where to measure."
)
@click.option(
    "--results", default="results", show_default=True, type=click.Path(path_type=Path), help="Folder of the results."
)
@click.option("--kept", is_flag=True, help="Measure nothing: show what was found last.")
@click.option(
    "--processes",
    default=12,
    show_default=True,
    type=click.IntRange(min=4, max=64),
    help="Fresh processes a comparison, at most.",
)
@click.option(
    "--budget", default="120s", show_default=True, type=Duration(), help="What measuring a study may cost: 90s, 2m."
)
@click.option("--allow", multiple=True, type=click.Choice(["busy", "fallback"]), help="Measure in spite of this.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Of weights and order.")
@format_option()
def command(
    *,
    names: tuple[str, ...],
    device: str,
    results: Path,
    kept: bool,
    processes: int,
    budget: float,
    allow: tuple[str, ...],
    seed: int,
    output: str,
) -> None:
    """Make the papers' experiments again.

    Measures the networks of a paper's experiment beside each other, puts its figures beside the paper's, and says of
    each claim whether it holds on this device, does not hold, or nobody can tell. Without a NAME, lists the studies.
    """
    if not names:
        _list(device, results, output)
        return
    from mnbench.studies import study_result as kept_result

    study_results: list[StudyResult] = []
    for name in names:
        if kept:
            study_results.append(kept_result.load_result(results, read_device(device).name, name))
        else:
            study_results.append(_measured(name, device, results, processes, budget, frozenset(allow), seed))
            if output != "json":
                _show(study_results[-1], output)
    if output == "json":
        from mnbench.studies.study_tables import study_result_to_dict

        emit((), output, {"studies": [study_result_to_dict(study_result) for study_result in study_results]})
    elif kept:
        for study_result in study_results:
            _show(study_result, output)


def _measured(
    name: str, device: str, results: Path, processes: int, budget_s: float, allow: frozenset[str], seed: int
) -> "StudyResult":
    """Measure one study and keep what was found. Ctrl-C leaves nothing behind."""
    from mnbench.cli.measuring import announce_environment, discard_unfinished, reject_emulated
    from mnbench.cli.progress_bar import show_progress
    from mnbench.comparison.decide import DecisionRules
    from mnbench.comparison.procedure import ComparisonSettings
    from mnbench.studies import study_result as kept_result
    from mnbench.studies.run_study import StudySession, required_pairs, run_study
    from mnbench.targets.environments import prepare_device

    study, profile = read_study(name), prepare_device(read_device(device), on_create=announce_environment)
    reject_emulated(profile, "and are not studied")
    settings = ComparisonSettings(rules=DecisionRules(processes=processes), budget_s=budget_s, seed=seed, allow=allow)
    with (
        discard_unfinished(results, "study") as new_folder,
        tempfile.TemporaryDirectory(prefix="mnbench-") as folder,
        show_progress(f"studying {name}", processes) as step,
    ):
        raw = new_folder() if required_pairs(study) else None
        bench = StudySession(device=profile, settings=settings, folder=Path(folder), pairs_folder=raw, on_progress=step)
        result = run_study(Path(name).stem, study, bench)
    path = kept_result.save_result(results, result)
    click.echo(f"kept in {path}", err=True)
    return result


def _list(device: str, results: Path, output: str) -> None:
    from mnbench.studies.study_result import load_result
    from mnbench.studies.study_tables import ListedStudy, listed_study_to_dict, study_list_table

    name = read_device(device).name

    def found(one: str) -> "StudyResult | None":
        try:
            return load_result(results, name, one)
        except ResultsError:
            return None

    listed = [
        ListedStudy(name=table_path, study=read_study(table_path), result=found(table_path))
        for table_path in table_paths("graphs/studies")
    ]
    emit(study_list_table(listed, name), output, {"studies": [listed_study_to_dict(study) for study in listed]})


def _show(result: "StudyResult", output: str) -> None:
    from mnbench.studies.study_tables import study_tables

    emit(study_tables(result), output, None)
