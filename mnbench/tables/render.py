"""One table in any format."""

import csv
import sys
from collections.abc import Sequence
from typing import Any, TypeVar

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from mnbench.tables.markup import to_html, to_latex
from mnbench.tables.table import Column, Table

R = TypeVar("R")

PIPE_WIDTH = 100
GAP = 2
MAX_RICH_ROWS = 200
"""So many rows are rich's to lay out."""


def render(table: Table[Any], output: str) -> None:
    """Print on stdout as `rich`, `md`, `csv`, `latex` or `html`."""
    written = {"md": to_markdown, "latex": to_latex, "html": to_html}
    if output in written:
        sys.stdout.write(written[output](table))
    elif output == "csv":
        print_csv(table)
    else:
        print_rich(table, Console())


def print_rich(table: Table[R], console: Console) -> None:
    """Print to the terminal, leaving out what does not fit; 100 columns wide when piped."""
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    columns, dropped = _fitting(table, console.width)
    shown = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    excess = _total(columns, table.rows) - console.width
    names = [column for column in columns if column.left]
    longest = max(names, key=lambda column: _width(column, table.rows)) if names else None
    for column in columns:
        # A name may be cut short where nothing else helps, a number never.
        width = _width(column, table.rows) - (max(0, excess) if column is longest else 0)
        justify = "left" if column.left else "right"
        shown.add_column(
            column.header, justify=justify, no_wrap=True, width=max(1, width), header_style="bold", vertical="bottom"
        )
    long = len(table.rows) > MAX_RICH_ROWS
    for row in table.rows[: MAX_RICH_ROWS if long else None]:
        shown.add_row(*(Text(column.text(row), style=column.style(row) if column.style else "") for column in columns))
    if table.title:
        console.print(table.title, style="bold", markup=False, highlight=False)
        console.print()
    console.print(shown)
    if long:
        _rest(table.rows[MAX_RICH_ROWS:], columns, shown, console)
    notes = [*table.notes]
    if dropped:
        notes.append(f"no room for {', '.join(column.name for column in dropped)}")
    if notes:
        console.print()
    for note in notes:
        console.print(note, style="dim", markup=False, highlight=False)


def _rest(rows: Sequence[R], columns: Sequence[Column[R]], shown: RichTable, console: Console) -> None:
    """The rows of a long table, in the same columns: rich takes seconds for thousands."""
    every = list(zip(columns, [column.width or 1 for column in shown.columns], strict=True))
    for row in rows:
        texts = [(column, column.text(row), width) for column, width in every]
        cells = [text[:width].ljust(width) if column.left else text.rjust(width) for column, text, width in texts]
        console.file.write((" " * GAP).join(cells).rstrip() + "\n")


def to_markdown(table: Table[Any]) -> str:
    """A pipe table with its title above and its notes below."""
    above = [f"{line}\n" for line in table.title.splitlines()]
    header = _pipes([column.header.replace("\n", " ") for column in table.columns])
    rule = _pipes(["---" if column.left else "---:" for column in table.columns])
    rows = [_pipes([column.text(row) for column in table.columns]) for row in table.rows]
    return "\n".join([*above, header, rule, *rows, *(f"\n{note}" for note in table.notes)]) + "\n"


def print_csv(table: Table[Any]) -> None:
    """Print base units, under the columns' own names."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([column.name for column in table.columns])
    writer.writerows([column.value(row) for column in table.columns] for row in table.rows)


def _pipes(cells: Sequence[str]) -> str:
    escaped = (cell.replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def _fitting(table: Table[R], width: int) -> tuple[list[Column[R]], list[Column[R]]]:
    """The columns that fit, in order, and those dropped, the least important first."""
    columns, dropped = list(table.columns), list[Column[R]]()
    while _total(columns, table.rows) > width:
        last = max(columns, key=lambda column: (column.drop_priority, columns.index(column)))
        if last.drop_priority == 0:
            break
        columns.remove(last)
        dropped.append(last)
    return columns, dropped


def _total(columns: Sequence[Column[R]], rows: Sequence[R]) -> int:
    return sum(_width(column, rows) + GAP for column in columns) - GAP


def _width(column: Column[R], rows: Sequence[R]) -> int:
    return max(map(len, (*column.header.splitlines(), *map(column.text, rows))))
