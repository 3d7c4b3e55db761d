"""Write to stdout and stderr: the only place of the command line that does."""

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import click

from mnbench.errors import MnbenchError
from mnbench.text import printable, without_commands

if TYPE_CHECKING:
    from mnbench.model.attempts import Rejection
    from mnbench.tables.table import Table


def echo(line: object, *, err: bool = False) -> None:
    """Write one line: whatever it holds stays text, on a terminal and in the log of a CI job."""
    click.echo(printable(str(line)), err=err)


def echo_rendered(text: str) -> None:
    """Write what a format has made of texts that are printable: it may have several lines, and colours."""
    # Whether there are colours has been decided; click would take them away in a pipe that forces them.
    click.echo(without_commands(text), nl=False, color=True)


def failure(error: MnbenchError) -> click.ClickException:
    """Return an error as Click shows it: one line, and one with the hint."""
    return click.ClickException(f"{printable(error.message)}\nHint: {printable(error.hint)}")


@contextmanager
def printable_usage_errors() -> Generator[None]:
    """Make Click's own errors printable, which repeat what the user typed or a script passed on."""
    try:
        yield
    except click.ClickException as error:
        cast("Any", error).message = printable(error.message)
        raise


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


def emit(tables: "Table[Any] | Iterable[Table[Any]]", output: str, data: Any, *, notes: Sequence[str] = ()) -> None:
    """Write tables in a format, one below the other; or, as JSON, `data`.

    `notes` stand below the last table; formats without notes have them on stderr.
    """
    from mnbench.tables.json_text import pieces
    from mnbench.tables.table import Table

    if output in ("json", "csv"):
        for note in notes:
            echo(note, err=True)
    if output == "json":
        for piece in pieces(data):
            echo_rendered(piece)
        return
    shown = [tables] if isinstance(tables, Table) else list(tables)
    shown[-1:] = [table.with_notes(notes) for table in shown[-1:]]
    echo_rendered("\n".join(table.to(output) for table in shown))
