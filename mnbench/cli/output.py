"""Write what a command returns to stdout."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from mnbench.errors import MnbenchError

if TYPE_CHECKING:
    from mnbench.model.attempts import Rejection
    from mnbench.tables.table import Table


def rejected_to_dict(rejected: "Sequence[Rejection]") -> dict[str, Any]:
    """Return what JSON says of the models that could not be used; nothing if there are none."""
    entries = [{"variant": name, "error": error.message, "hint": error.hint} for name, error in rejected]
    return {"rejected": entries} if entries else {}


def fail_if_rejected(rejected: "Sequence[Rejection]", total: int) -> None:
    """End the command with an error if models could not be used; a table has shown why.

    Raises:
        MnbenchError: some could not.
    """
    if rejected:
        raise MnbenchError(
            f"{len(rejected)} of {total} models could not be used", hint="the notes below the table say why"
        )


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
