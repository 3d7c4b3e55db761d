"""Show the results."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnbench.cli.options import FORMATS, format_option, parse_option, results_option, where_option
from mnbench.cli.output import emit
from mnbench.cli.param_types import ReportFile, WorkspaceName

if TYPE_CHECKING:
    from mnbench.results.record import Record
    from mnbench.results.store import ResultsFile
    from mnbench.tables.table import Table


@click.command(
    epilog="\b\nExample:\n  mnbench table\n  mnbench table --columns variant,mult_adds,latency_ns --sort latency_ns\n"
    "  mnbench table --where 'graph=v3-*' --where 'latency_ns<10ms' --ratio v3-large-a1-r224\n"
    "  mnbench table --beside\n  mnbench table --history"
)
@click.argument("devices", nargs=-1, metavar="[DEVICE]...", type=WorkspaceName("devices"))
@results_option
@click.option("--columns", metavar="COLUMN,…", help="Which columns, with commas between.")
@click.option("--sort", metavar="COLUMN,…", help="Smallest first; -COLUMN for largest first.")
@where_option
@click.option("--group", metavar="COLUMN", help="A table for each value in a column, as device or graph.")
@click.option("--ratio", metavar="[DEVICE/]VARIANT", help="Add each latency's ratio to that row's.")
@click.option("--beside", is_flag=True, help="One row a variant, the devices side by side.")
@click.option("--history", is_flag=True, help="Show what became of each row, from run to run and commit to commit.")
@click.option(
    "--report",
    "reports",
    multiple=True,
    type=ReportFile("bencher", "benchmark-action", "series"),
    help="Write also a report for a service: bencher=FILE. Repeatable. Formats: bencher, benchmark-action, "
    "series (a folder, of --history).",
)
@format_option(*FORMATS, "latex", "html")
def command(
    *,
    devices: tuple[str, ...],
    results: Path,
    columns: str | None,
    sort: str | None,
    where: Sequence[str],
    group: str | None,
    ratio: str | None,
    beside: bool,
    history: bool,
    reports: Sequence[tuple[str, Path]],
    output: str,
) -> None:
    """Show the results.

    The newest record of every cell, of every device or of those named.
    """
    if beside and (group or ratio):
        raise click.UsageError("--beside puts devices side by side: leave out --group and --ratio")
    from mnbench.results.by_device import RATIO_NOTE, group_by_column, ratio_columns, table_by_device
    from mnbench.results.latency_table import latency_table
    from mnbench.results.selection import Condition, load_records, parse_column_name, sort_records
    from mnbench.results.store import ResultsFile

    if not history and any(name == "series" for name, _ in reports):
        raise click.UsageError("a series is of --history")
    if history and (columns or sort or where or ratio or group or beside):
        raise click.UsageError("--history has rows, columns and an order of its own")
    names = [parse_option(parse_column_name, name) for name in columns.split(",")] if columns else []
    keys = sort.split(",") if sort else []
    for key in keys:
        parse_option(parse_column_name, key.strip().removeprefix("-"))
    group = group and parse_option(parse_column_name, group)
    conditions = [parse_option(Condition.parse, text) for text in where]

    records = load_records(results, devices, conditions)
    _write(records, reports)
    if history:
        known = devices or list(dict.fromkeys(record.device for record in records))
        _history([ResultsFile(results, device) for device in known], reports, output)
        return
    rows = sort_records(records, [key.strip() for key in keys])
    extra = ratio_columns(load_records(results, devices), ratio) if ratio else []

    def plain(rows: "list[Record]") -> "Table[Any]":
        table = latency_table(rows, names)
        return table.with_columns([*table.columns, *extra], [*table.notes, RATIO_NOTE]) if extra else table

    if beside:
        tables = [table_by_device(rows, names)]
    else:
        parts = list(group_by_column(rows, group).values()) if group else [rows]
        apart = output not in ("csv", "json")
        tables = [plain(part) for part in (parts if apart else [list(chain.from_iterable(parts))])]
    data = {"rows": tables[0].to_dicts()} if beside or ratio else {"records": tables[0].rows}
    emit(tables, output, data)


def _write(records: Sequence["Record"], reports: Sequence[tuple[str, Path]]) -> None:
    """What services take in of the newest records."""
    from mnbench import atomic_files
    from mnbench.comparison.exports import bencher, benchmark_action

    writers = {"bencher": bencher.export_records, "benchmark-action": benchmark_action.export_records}
    for name, path in reports:
        if name in writers:
            atomic_files.write_atomically(path, writers[name](records).encode(), durable=False)


def _history(stores: Sequence["ResultsFile"], reports: Sequence[tuple[str, Path]], output: str) -> None:
    from mnbench.analysis.history import histories_to_dict, histories_to_series, history_table, load_histories
    from mnbench.comparison.exports import otava

    histories = [history for store in stores for history in load_histories(store)]
    for name, path in reports:
        if name == "series":
            otava.write_series(path, histories_to_series(histories))
    emit(history_table(histories), output, histories_to_dict(histories))
