"""Trust what the files of a folder start, install or set."""

from pathlib import Path

import click

from mnbench.cli.options import format_option
from mnbench.cli.output import emit


@click.command(epilog="\b\nExample:\n  mnbench trust --show\n  mnbench trust\n  mnbench trust --remove")
@click.argument("path", default=".", metavar="[FOLDER|FILE]", type=click.Path(exists=True, path_type=Path))
@click.option("--show", is_flag=True, help="Show what the files demand, and change nothing.")
@click.option("--remove", is_flag=True, help="Take the trust back.")
@format_option()
def command(*, path: Path, show: bool, remove: bool, output: str) -> None:
    """Trust what the files of a folder start, install or set.

    Device files can start programs, install packages, set variables and connect to other machines, and so can tables
    that `mnbench gate` measures again. No command does that before you trust the files. Trust what a folder's
    devices/*.toml and results/*.jsonl demand, or one FILE, until they change. --trust trusts for one command, and
    MNBENCH_TRUST=1 in the environment for all.
    """
    from mnbench.comparison.folder_demands import demand_table, folder_demands
    from mnbench.trust import is_trusted, remove_trust, trust

    if show and remove:
        raise click.UsageError("--show and --remove exclude each other")
    demands, notes = folder_demands(path)
    if not show:
        (remove_trust if remove else trust)(demands)
    trusted = all(map(is_trusted, demands))
    table = demand_table(demands)
    data = {"path": str(path), "trusted": trusted, "demands": table.to_dicts()}
    state = "trusted until changed" if trusted else "not trusted"
    state += f": {len(demands)} file{'s' * (len(demands) != 1)}"
    notes.append(state if demands else "nothing here starts, installs or sets anything")
    emit(table, output, data, notes=notes)
