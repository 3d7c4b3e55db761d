"""`mnbench table`."""

from pathlib import Path

import click

from mnbench.cli.options import TableName, echo_json, format_option
from mnbench.errors import RecordError


@click.command(
    epilog="\b\nExample:\n  mnbench table\n  mnbench table --columns variant,mult_adds,latency_ns --sort latency_ns"
)
@click.argument("devices", nargs=-1, metavar="[DEVICE]...", type=TableName("devices"))
@click.option(
    "--results", default="results", show_default=True, type=click.Path(path_type=Path), help="Folder of the results."
)
@click.option("--columns", help="Which columns, with commas between.")
@click.option("--sort", metavar="COLUMN", help="Smallest first; -COLUMN for largest first.")
@format_option()
def command(*, devices: tuple[str, ...], results: Path, columns: str | None, sort: str | None, output: str) -> None:
    """Show the results.

    The newest record of every cell, of every device or of those named.
    """
    import msgspec

    from mnbench.records.store import Store
    from mnbench.records.table import by_column, latency_table, latest
    from mnbench.show.render import echo

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
    if key:
        records = by_column(records, key, descending=bool(sort and sort.startswith("-")))
    if output == "json":
        echo_json({"records": msgspec.to_builtins(records)})
        return
    echo(latency_table(records, chosen), output)


def _column(name: str) -> str:
    from mnbench.records.table import COLUMNS

    if name not in COLUMNS:
        from difflib import get_close_matches

        close = get_close_matches(name, COLUMNS, n=1)
        guess = f"; did you mean {close[0]}?" if close else ""
        raise click.UsageError(f"there is no column {name!r}{guess} Known: {', '.join(COLUMNS)}")
    return name
