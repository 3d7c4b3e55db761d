"""Show the results."""

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mnbench.cli.options import (
    FORMATS,
    devices_argument,
    format_option,
    host_option,
    parse_option,
    results_option,
    where_option,
)
from mnbench.cli.output import emit
from mnbench.cli.param_types import ReportFile

if TYPE_CHECKING:
    from mnbench.results.record import Record
    from mnbench.results.selection import Condition


@click.command(
    epilog="\b\nExample:\n  mnbench table\n  mnbench table --columns variant,mult_adds,latency_ns --sort latency_ns\n"
    "  mnbench table --where 'graph=v3-*' --where 'latency_ns<10ms' --ratio v3-large-a1-r224\n"
    "  mnbench table --beside\n  mnbench table --history"
)
@devices_argument
@results_option
@host_option
@click.option("--columns", metavar="COLUMN,…", default="", help="Show these columns.")
@click.option(
    "--sort", metavar="COLUMN,…", default="", help="Sort by these columns, smallest first; -COLUMN puts largest first."
)
@where_option
@click.option("--group", metavar="COLUMN", help="Show a table for each value in this column, such as device or graph.")
@click.option("--ratio", metavar="[DEVICE/]VARIANT", help="Add the ratio of each latency to that of this row.")
@click.option("--beside", is_flag=True, help="Show one row per variant, with the devices side by side.")
@click.option("--history", is_flag=True, help="Show every run of each row, also those in older git revisions.")
@click.option(
    "--report",
    "reports",
    multiple=True,
    type=ReportFile("bencher", "benchmark-action", "series"),
    help="Also write a report for a service: bencher=FILE. Repeatable. Formats: bencher, benchmark-action, series (a "
    "folder, with --history).",
)
@format_option(*FORMATS, "latex", "html")
def command(
    *,
    devices: tuple[str, ...],
    results: Path,
    host: str | None,
    columns: str,
    sort: str,
    conditions: "Sequence[Condition]",
    group: str | None,
    ratio: str | None,
    beside: bool,
    history: bool,
    reports: Sequence[tuple[str, Path]],
    output: str,
) -> None:
    """Show the results.

    Show the newest record of each case, on each DEVICE or on all devices.
    """
    if beside and (group or ratio):
        raise click.UsageError("--beside shows all devices in one table: remove --group and --ratio")
    if not history and any(name == "series" for name, _ in reports):
        raise click.UsageError("--report series needs --history")
    if history and (columns or sort or conditions or ratio or group or beside):
        raise click.UsageError("--history has fixed rows, columns and order: remove the options that change them")
    from mnbench.results.by_device import RATIO_NOTE, group_by_column, ratio_columns, table_by_device
    from mnbench.results.latency_table import latency_table
    from mnbench.results.selection import load_records, parse_column_name, parse_sort_key, sort_records

    names = [parse_option(parse_column_name, name) for name in columns.split(",")] if columns else []
    keys = [key.strip() for key in sort.split(",")] if sort else []
    for key in keys:
        parse_option(parse_sort_key, key.removeprefix("-"))
    group = group and parse_option(parse_column_name, group)
    records, notes = load_records(results, devices, conditions, host=host)
    _write_reports(records, reports)
    if history:
        devices = devices or tuple(dict.fromkeys(record.device for record in records))
        del records  # which would be twice in memory
        _show_histories(results, devices, host, reports, output)
        return
    rows = sort_records(records, keys)
    if beside:
        table = table_by_device(rows, names)
        emit(table, output, {"rows": table.to_dicts()}, notes=notes)
        return
    groups = list(group_by_column(rows, group).values()) if group else [rows]
    if output in ("csv", "json"):
        groups = [list(chain.from_iterable(groups))]
    tables = [latency_table(group_rows, names) for group_rows in groups]
    if ratio:
        ratios = ratio_columns(load_records(results, devices, host=host).records, ratio)
        tables = [table.with_columns([*table.columns, *ratios], [*table.notes, RATIO_NOTE]) for table in tables]
    emit(tables, output, {"rows": tables[0].to_dicts()} if ratio else {"records": tables[0].rows}, notes=notes)


def _write_reports(records: "Sequence[Record]", reports: Sequence[tuple[str, Path]]) -> None:
    from mnbench import atomic_files
    from mnbench.comparison.exports import bencher, benchmark_action
    from mnbench.comparison.metrics import record_metrics

    exports = {"bencher": bencher.write, "benchmark-action": benchmark_action.write}
    for name, path in reports:
        if name in exports:
            atomic_files.write_atomically(path, exports[name](record_metrics(records)).encode(), durable=False)


def _show_histories(
    results: Path, devices: Iterable[str], host: str | None, reports: Sequence[tuple[str, Path]], output: str
) -> None:
    from mnbench.analysis.history import load_histories
    from mnbench.analysis.history_table import histories_to_dict, histories_to_series, history_table
    from mnbench.comparison.exports import otava
    from mnbench.results.store import ResultsFile

    histories, notes = load_histories((ResultsFile(results, device) for device in devices), host)
    for name, path in reports:
        if name == "series":
            otava.write_series(path, histories_to_series(histories))
    emit(history_table(histories), output, histories_to_dict(histories) if output == "json" else None, notes=notes)
