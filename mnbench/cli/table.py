"""`mnbench table`."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnbench.cli.options import (
    FORMATS,
    CommaSeparated,
    Duration,
    TableName,
    echo_json,
    format_option,
    parsed,
    results_option,
    where_option,
)
from mnbench.units import NS_PER_S

if TYPE_CHECKING:
    from mnbench.columns import Table
    from mnbench.records.record import Record


@click.command(
    epilog="\b\nExample:\n  mnbench table\n  mnbench table --columns variant,mult_adds,latency_ns --sort latency_ns\n"
    "  mnbench table --where 'graph=v3-*' --where 'latency_ns<10ms' --ratio v3-large-a1-r224\n"
    "  mnbench table --beside\n  mnbench table --budget 1ms,2ms,5ms --format latex"
)
@click.argument("devices", nargs=-1, metavar="[DEVICE]...", type=TableName("devices"))
@results_option
@click.option("--columns", metavar="COLUMN,…", help="Which columns, with commas between.")
@click.option("--sort", metavar="COLUMN,…", help="Smallest first; -COLUMN for largest first.")
@where_option
@click.option("--group", metavar="COLUMN", help="A table for each value in a column, as device or graph.")
@click.option("--ratio", metavar="[DEVICE/]VARIANT", help="Add each latency's ratio to that row's.")
@click.option("--beside", is_flag=True, help="One row a variant, the devices side by side.")
@click.option(
    "--budget",
    type=CommaSeparated(lambda text: Duration().convert(text, None, None), "a duration such as 10ms"),
    help="One row a device and budget: the best that is as fast as that.",
)
@click.option("--best", metavar="COLUMN", default="top1", show_default=True, help="What is best: the largest of that.")
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
    budget: Sequence[float] | None,
    best: str,
    output: str,
) -> None:
    """Show the results.

    The newest record of every cell, of every device or of those named.
    """
    if (group is not None) + beside + (budget is not None) > 1:
        raise click.UsageError("--group, --beside and --budget each make another table: give one")
    if ratio and (beside or budget):
        raise click.UsageError("--ratio adds columns to a table of one row a record: leave --beside and --budget out")
    from mnbench.records.arrange import RATIO_NOTE, best_table, groups, ratio_columns, side_by_side
    from mnbench.records.choose import Condition, by_columns, chosen, column_name
    from mnbench.records.table import latency_table

    names = [parsed(column_name, name) for name in columns.split(",")] if columns else []
    keys = sort.split(",") if sort else []
    for key in keys:
        parsed(column_name, key.strip().removeprefix("-"))
    best, group = parsed(column_name, best), group and parsed(column_name, group)
    conditions = [parsed(Condition.parse, text) for text in where]

    rows = by_columns(chosen(results, devices, conditions), [key.strip() for key in keys])
    extra = ratio_columns(chosen(results, devices), ratio) if ratio else []

    def plain(rows: "list[Record]") -> "Table[Any]":
        table = latency_table(rows, names)
        return table.with_columns([*table.columns, *extra], [*table.notes, RATIO_NOTE]) if extra else table

    if budget:
        tables = [best_table(rows, [within * NS_PER_S for within in budget], best)]
    elif beside:
        tables = [side_by_side(rows, names)]
    else:
        parts = list(groups(rows, group).values()) if group else [rows]
        apart = output not in ("csv", "json")
        tables = [plain(part) for part in (parts if apart else [list(chain.from_iterable(parts))])]
    _print(tables, output, records=not (budget or beside or ratio))


def _print(tables: "Sequence[Table[Any]]", output: str, *, records: bool) -> None:
    """Print tables one below the other; for programs, whole records where the rows are that."""
    import msgspec

    from mnbench.show.render import echo

    if output == "json":
        (table,) = tables
        echo_json({"records": msgspec.to_builtins(table.rows)} if records else {"rows": table.payload()})
        return
    for at, table in enumerate(tables):
        if at:
            click.echo()
        echo(table, output)
