"""Trust what the files of a folder start, install or set."""

from pathlib import Path

import click

from mnbench.cli.options import format_option
from mnbench.cli.output import emit


@click.command(epilog="\b\nExample:\n  mnbench trust\n  mnbench trust --remove")
@click.argument("folder", default=".", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--remove", is_flag=True, help="Take the trust back.")
@format_option()
def command(*, folder: Path, remove: bool, output: str) -> None:
    """Trust what the files of a folder start, install or set.

    Device files can start programs, install packages, set variables and connect to other machines, and so can tables
    that `mnbench gate` measures again. No command does that before you trust the files. Show what the folder's
    devices/*.toml and results/*.jsonl demand, and trust them until they change. --trust trusts for one command, and
    MNBENCH_TRUST=1 in the environment for all.
    """
    from mnbench.comparison.folder_demands import demand_table, folder_demands
    from mnbench.trust import remove_trust, trust

    demands, notes = folder_demands(folder)
    (remove_trust if remove else trust)(demands)
    table = demand_table(demands)
    data = {"folder": str(folder), "trusted": not remove, "demands": table.to_dicts()}
    emit(table, output, data, notes=[*notes, _summary(len(demands), remove=remove)])


def _summary(count: int, *, remove: bool) -> str:
    files = "1 file" if count == 1 else f"{count} files"
    if not count:
        return "the folder's files start, install and set nothing"
    return f"{files} no longer trusted" if remove else f"{files} trusted until they change"
