"""`mnbench study`."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mnbench.cli.options import echo_json, format_option
from mnbench.cli.param_types import Duration, TableName
from mnbench.errors import RecordError
from mnbench.studies.study_file import study
from mnbench.targets.device import read_device
from mnbench.workspace import table_paths

if TYPE_CHECKING:
    from mnbench.studies.study_result import Result


@click.command(epilog="\b\nExample:\n  mnbench study\n  mnbench study g1\n  mnbench study g1 --kept --format md")
@click.argument("names", nargs=-1, metavar="[NAME]...", type=TableName("graphs/claims", ".toml"))
@click.option(
    "--device", default="cpu", show_default=True, type=TableName("devices", ".toml"), help="Where to measure."
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

    found: list[Result] = []
    for name in names:
        if kept:
            found.append(kept_result.kept(results, read_device(device).name, name))
        else:
            found.append(_measured(name, device, results, processes, budget, frozenset(allow), seed))
            if output != "json":
                _show(found[-1], output)
    if output == "json":
        from mnbench.studies.study_tables import study_payload

        echo_json({"studies": [study_payload(one) for one in found]})
    elif kept:
        for one in found:
            _show(one, output)


def _measured(
    name: str, device: str, results: Path, processes: int, budget_s: float, allow: frozenset[str], seed: int
) -> "Result":
    """Measure one study and keep what was found. Ctrl-C leaves nothing behind."""
    from mnbench.cli.measuring import all_or_nothing, announced, real
    from mnbench.cli.progress_bar import progress
    from mnbench.comparison.decide import Rules
    from mnbench.comparison.procedure import Settings
    from mnbench.studies import study_result as kept_result
    from mnbench.studies.run_study import Bench, measured, pairs_of
    from mnbench.targets.environments import installed

    found, profile = study(name), installed(read_device(device), making=announced)
    real(profile, "and are not studied")
    settings = Settings(rules=Rules(processes=processes), budget_s=budget_s, seed=seed, allow=allow)
    with (
        all_or_nothing(results, "study") as new_folder,
        tempfile.TemporaryDirectory(prefix="mnbench-") as folder,
        progress(f"studying {name}", processes) as step,
    ):
        raw = new_folder() if pairs_of(found) else None
        bench = Bench(device=profile, settings=settings, folder=Path(folder), raw=raw, seen=step)
        result = measured(Path(name).stem, found, bench)
    path = kept_result.keep(results, result)
    click.echo(f"kept in {path}", err=True)
    return result


def _list(device: str, results: Path, output: str) -> None:
    from mnbench.studies.study_result import kept
    from mnbench.studies.study_tables import Listed, listed_payload, study_list

    name = read_device(device).name

    def found(one: str) -> "Result | None":
        try:
            return kept(results, name, one)
        except RecordError:
            return None

    listed = [Listed(name=one, study=study(one), result=found(one)) for one in table_paths("graphs/claims")]
    if output == "json":
        echo_json({"studies": [listed_payload(one) for one in listed]})
        return
    from mnbench.tables.render import echo

    echo(study_list(listed, name), output)


def _show(result: "Result", output: str) -> None:
    from mnbench.studies.study_tables import study_tables
    from mnbench.tables.render import echo

    for at, table in enumerate(study_tables(result)):
        if at:
            click.echo()
        echo(table, output)
