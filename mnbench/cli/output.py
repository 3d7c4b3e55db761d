"""Write what a command returns to stdout."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mnbench.tables.table import Table


def emit(tables: "Table[Any] | Iterable[Table[Any]]", output: str, data: Any) -> None:
    """Write tables in a format, one below the other; or, as JSON, `data`."""
    from mnbench.tables.json_text import dump
    from mnbench.tables.table import Table

    if output == "json":
        text = dump(data)
    else:
        text = "\n".join(table.to(output) for table in ([tables] if isinstance(tables, Table) else tables))
    # Whether there are colours has been decided; click would take them away in a pipe that forces them.
    click.echo(text, nl=False, color=True)
