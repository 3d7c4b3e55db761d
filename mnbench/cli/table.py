"""`mnbench table`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mnbench.cli.options import Report, TableName, echo_json, format_option
from mnbench.errors import RecordError

if TYPE_CHECKING:
    from mnbench.records.record import Record
    from mnbench.records.store import Store


@click.command(
    epilog="\b\nExample:\n  mnbench table\n  mnbench table --columns variant,mult_adds,latency_ns --sort latency_ns"
    "\n  mnbench table --history"
)
@click.argument("devices", nargs=-1, metavar="[DEVICE]...", type=TableName("devices"))
@click.option(
    "--results", default="results", show_default=True, type=click.Path(path_type=Path), help="Folder of the results."
)
@click.option("--columns", help="Which columns, with commas between.")
@click.option("--sort", metavar="COLUMN", help="Smallest first; -COLUMN for largest first.")
@click.option("--history", is_flag=True, help="Show what became of each row, from run to run and commit to commit.")
@click.option(
    "--report",
    "reports",
    multiple=True,
    type=Report("bencher", "benchmark-action", "series"),
    help="Write also a report for a service: bencher=FILE. Repeatable. Formats: bencher, benchmark-action, "
    "series (a folder, of --history).",
)
@format_option()
def command(
    *,
    devices: tuple[str, ...],
    results: Path,
    columns: str | None,
    sort: str | None,
    history: bool,
    reports: Sequence[tuple[str, Path]],
    output: str,
) -> None:
    """Show the results.

    The newest record of every cell, of every device or of those named.
    """
    import msgspec

    from mnbench.records.store import Store
    from mnbench.records.table import by_column, latency_table, latest
    from mnbench.show.render import echo

    if not history and any(name == "series" for name, _ in reports):
        raise click.UsageError("a series is of --history")
    if history and (columns or sort):
        raise click.UsageError("--history has columns and an order of its own")

    chosen = [_column(name.strip()) for name in columns.split(",")] if columns else []
    key = _column(sort.removeprefix("-")) if sort else None
    known = sorted(path.stem for path in results.glob("*.jsonl"))
    for device in devices:
        if device not in known:
            raise RecordError(
                f"{results}: holds no results of device {device}", hint=f"known: {', '.join(known) or 'none yet'}"
            )
    records = latest(record for device in devices or known for record in Store(results, device).records())
    if not records:
        raise RecordError(f"{results}: holds no results yet", hint="measure some: mnbench run v1")
    _write(records, reports)
    if history:
        _history([Store(results, device) for device in devices or known], reports, output)
        return
    if key:
        records = by_column(records, key, descending=bool(sort and sort.startswith("-")))
    if output == "json":
        echo_json({"records": msgspec.to_builtins(records)})
        return
    echo(latency_table(records, chosen), output)


def _write(records: Sequence["Record"], reports: Sequence[tuple[str, Path]]) -> None:
    """What services take in of the newest records."""
    from mnbench import files
    from mnbench.show.reports import services

    writers = {"bencher": services.bencher, "benchmark-action": services.benchmark_action}
    for name, path in reports:
        if name in writers:
            files.write(path, writers[name](services.of_records(records)).encode(), durable=False)


def _history(stores: Sequence["Store"], reports: Sequence[tuple[str, Path]], output: str) -> None:
    from mnbench.records.history import histories
    from mnbench.show.history import history_payload, history_table, of_histories
    from mnbench.show.render import echo
    from mnbench.show.reports import series

    found = [one for store in stores for one in histories(store)]
    for name, path in reports:
        if name == "series":
            series.replace(path, of_histories(found))
    if output == "json":
        echo_json(history_payload(found))
    else:
        echo(history_table(found), output)


def _column(name: str) -> str:
    from mnbench.records.table import COLUMNS

    if name not in COLUMNS:
        from difflib import get_close_matches

        close = get_close_matches(name, COLUMNS, n=1)
        guess = f"; did you mean {close[0]}?" if close else ""
        raise click.UsageError(f"there is no column {name!r}{guess} Known: {', '.join(COLUMNS)}")
    return name
