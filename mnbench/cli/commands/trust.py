"""Trust what the files of a folder start, install or set."""

from pathlib import Path

import click

from mnbench.cli.options import format_option
from mnbench.cli.output import emit


@click.command(epilog="\b\nExample:\n  mnbench trust\n  mnbench trust --remove")
@click.argument("path", default=".", metavar="[FOLDER|FILE]", type=click.Path(exists=True, path_type=Path))
@click.option("--remove", is_flag=True, help="Take the trust back.")
@format_option()
def command(*, path: Path, remove: bool, output: str) -> None:
    """Trust what the files of a folder start, install or set.

    Device files can start programs, install packages, set variables and connect to other machines, and so can tables
    that `mnbench gate` measures again. No command does that before you trust the files. Show what a folder's
    devices/*.toml and results/*.jsonl demand, or one FILE, and trust them until they change. --trust trusts for one
    command, and MNBENCH_TRUST=1 in the environment for all.
    """
    from mnbench.comparison.folder_demands import demand_table, folder_demands
    from mnbench.trust import remove_trust, trust

    demands, notes = folder_demands(path)
    (remove_trust if remove else trust)(demands)
    table = demand_table(demands)
    data = {"path": str(path), "trusted": not remove, "demands": table.to_dicts()}
    emit(table, output, data, notes=[*notes, _summary(len(demands), remove=remove)])


def _summary(count: int, *, remove: bool) -> str:
    files = "1 file" if count == 1 else f"{count} files"
    if not count:
        return "nothing here starts, installs or sets anything"
    return f"{files} no longer trusted" if remove else f"{files} trusted until they change"
